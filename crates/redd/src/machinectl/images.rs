//! What the verbs about images share.

use image::pool::{Error, Image, Pool, UNKNOWN};
use serde_json::{Value, json};

use super::Options;
use crate::failure::Failure;

/// The images that are meant.
pub(crate) fn pool() -> Pool {
    Pool::system()
}

/// The image of this name.
pub(crate) fn find(pool: &Pool, name: &str) -> Result<Image, Failure> {
    pool.find(name).map_err(failure)
}

/// The images of these names, up to the first that there is not, and why.
pub(crate) fn find_all(pool: &Pool, names: &[String], options: &Options) -> (Vec<Image>, Option<Failure>) {
    let mut found = Vec::with_capacity(names.len());
    for name in names {
        match pool.find(name) {
            Ok(image) => found.push(image),
            Err(Error::Unknown(_) | Error::Name(_)) if options.as_machinectl => {
                let words = anyhow::anyhow!("Could not get path to image: No image '{name}' known");
                return (found, Some(Failure::new(words, None)));
            }
            Err(error) => return (found, Some(failure(error))),
        }
    }
    (found, None)
}

/// With the next step where there is one.
pub(crate) fn failure(error: Error) -> Failure {
    let hint = match &error {
        Error::Unknown(_) => Some("'list-images --all' shows the images that there are"),
        Error::Name(_) => Some("letters, digits, dashes and single dots between them make a name that fits everywhere"),
        Error::Running(_) => Some("'poweroff NAME' ends a machine, 'terminate NAME' does so at once"),
        Error::NotBtrfs(_) => Some("without btrfs, a disk image of a fixed size is a limit, too"),
        _ => None,
    };
    Failure::new(error, hint)
}

/// A number that may not be known.
pub(crate) fn known(number: u64) -> Option<u64> {
    (number != UNKNOWN).then_some(number)
}

/// A size in the form that systemd's tools have: one figure after the point, unless that is none; cut off, not rounded.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [(&str, u32); 6] = [("E", 60), ("P", 50), ("T", 40), ("G", 30), ("M", 20), ("K", 10)];
    let Some((unit, shift)) = UNITS.into_iter().find(|(_, shift)| bytes >> shift > 0) else {
        return format!("{bytes}B");
    };
    let tenths = u64::try_from((u128::from(bytes) * 10) >> shift).unwrap_or(u64::MAX);
    match tenths % 10 {
        0 => format!("{}{unit}", tenths / 10),
        tenth => format!("{}.{tenth}{unit}", tenths / 10),
    }
}

/// An image for programs: the names and units are those of `io.systemd.MachineImage`.
pub(crate) fn as_json(image: &Image) -> Value {
    let time = |microseconds: u64| (microseconds != 0).then_some(microseconds);
    json!({
        "name": image.name,
        "path": image.path.to_string_lossy(),
        "type": image.kind.name(),
        "class": "machine",
        "readOnly": image.read_only,
        "creationTimestamp": time(image.created),
        "modificationTimestamp": time(image.modified),
        "usage": known(image.usage),
        "usageExclusive": known(image.usage_exclusive),
        "limit": known(image.limit),
        "limitExclusive": known(image.limit_exclusive),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_the_original() {
        let shown = [0, 1023, 1024, 1_536_000, 10 << 20, 3_162_112, 16_384, (1 << 30) - 1, UNKNOWN].map(size);
        assert_eq!(shown, ["0B", "1023B", "1K", "1.4M", "10M", "3M", "16K", "1023.9M", "15.9E"]);
    }
}
