//! Directories of versions, see [`systemd.v(7)`](https://www.freedesktop.org/software/systemd/man/latest/systemd.v.html).

use std::cmp::Ordering;
use std::os::fd::OwnedFd;

use rustix::fs::Dir;

use crate::disk::version::compare;

/// One name, taken apart: `NAME_VERSION_ARCHITECTURE+LEFT-DONE.SUFFIX`.
#[derive(Debug, PartialEq, Eq)]
struct Version<'a> {
    version: &'a str,
    /// How often it may still be tried, if that is counted.
    left: Option<u64>,
}

/// The name of the newest version of `name` in the directory, of those for this processor.
pub(crate) fn newest(directory: &OwnedFd, name: &str, suffix: &str) -> Option<String> {
    let entries = Dir::read_from(directory).ok()?;
    let names = entries.flatten().filter_map(|entry| Some(entry.file_name().to_str().ok()?.to_owned()));
    let fitting = names.filter(|file| take_apart(file, name, suffix).is_some());
    fitting.max_by(|one, other| match (take_apart(one, name, suffix), take_apart(other, name, suffix)) {
        (Some(one), Some(other)) => order(&one, &other),
        _ => Ordering::Equal,
    })
}

fn order(one: &Version<'_>, other: &Version<'_>) -> Ordering {
    let usable = |version: &Version<'_>| version.left != Some(0);
    usable(one).cmp(&usable(other)).then_with(|| compare(one.version, other.version))
}

fn take_apart<'a>(file: &'a str, name: &str, suffix: &str) -> Option<Version<'a>> {
    let variable = file.strip_prefix(name)?.strip_prefix('_')?.strip_suffix(suffix)?;
    let (rest, left) = match variable.rsplit_once('+').map(|(rest, counters)| (rest, tries_left(counters))) {
        Some((rest, Some(left))) => (rest, Some(left)),
        _ => (variable, None),
    };
    let version = match rest.rsplit_once('_') {
        Some((version, architecture)) if ARCHITECTURES.contains(&architecture) => {
            if architecture != OWN_ARCHITECTURE {
                return None;
            }
            version
        }
        _ => rest,
    };
    (!version.is_empty()).then_some(Version { version, left })
}

/// `LEFT` or `LEFT-DONE`.
fn tries_left(counters: &str) -> Option<u64> {
    let (left, done) = counters.split_once('-').unwrap_or((counters, "0"));
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok())?;
    number(done)?;
    number(left)
}

/// As `ConditionArchitecture=` of systemd.unit(5) names them.
const ARCHITECTURES: [&str; 27] = [
    "x86",
    "x86-64",
    "ppc",
    "ppc-le",
    "ppc64",
    "ppc64-le",
    "ia64",
    "parisc",
    "parisc64",
    "s390",
    "s390x",
    "sparc",
    "sparc64",
    "mips",
    "mips-le",
    "mips64",
    "mips64-le",
    "alpha",
    "arm",
    "arm-be",
    "arm64",
    "arm64-be",
    "sh",
    "sh64",
    "m68k",
    "riscv64",
    "loongarch64",
];

const OWN_ARCHITECTURE: &str = {
    if cfg!(target_arch = "x86_64") {
        "x86-64"
    } else if cfg!(target_arch = "aarch64") {
        "arm64"
    } else if cfg!(target_arch = "riscv64") {
        "riscv64"
    } else if cfg!(target_arch = "s390x") {
        "s390x"
    } else if cfg!(target_arch = "loongarch64") {
        "loongarch64"
    } else if cfg!(all(target_arch = "powerpc64", target_endian = "little")) {
        "ppc64-le"
    } else if cfg!(target_arch = "x86") {
        "x86"
    } else if cfg!(target_arch = "arm") {
        "arm"
    } else {
        ""
    }
};

#[cfg(test)]
mod tests {
    use super::*;

    fn newest_of(files: &[&str]) -> Option<String> {
        let place = tempfile::tempdir().expect("directory");
        for file in files {
            std::fs::write(place.path().join(file), "").expect("file");
        }
        let directory = std::fs::File::open(place.path()).expect("open").into();
        newest(&directory, "mymachine", ".raw")
    }

    #[test]
    fn the_newest_one_that_can_be_used_is_picked() {
        let foreign = if OWN_ARCHITECTURE == "arm64" { "x86-64" } else { "arm64" };
        let own = format!("mymachine_7.5.14_{OWN_ARCHITECTURE}.raw");
        let (other, tried) =
            (format!("mymachine_7.6.0_{foreign}.raw"), format!("mymachine_7.7.0_{OWN_ARCHITECTURE}+0-5.raw"));
        let all = ["mymachine_7.5.13.raw", &own, &other, &tried, "mymachine_9.txt", "other_9.raw"];
        assert_eq!(newest_of(&all).as_deref(), Some(own.as_str()));
        assert_eq!(newest_of(&[&tried]).as_deref(), Some(tried.as_str()));
        assert_eq!(newest_of(&["mymachine_9.raw", "mymachine_10.raw"]).as_deref(), Some("mymachine_10.raw"));
        assert_eq!(newest_of(&["mymachine_2+3-1.raw", "mymachine_1.raw"]).as_deref(), Some("mymachine_2+3-1.raw"));
        assert_eq!(newest_of(&["mymachine_.raw", "mymachine.raw"]), None);
    }
}
