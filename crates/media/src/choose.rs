//! Which file of a medium has the system: by the places where distributions put it, else by what files begin with.

use image::disk::Format;
use image::disk::format::detect;
use image::disk::storage::Storage;

use crate::iso::{Entry, Iso, Kind};
use crate::reader::{Error as Damage, Result as Reading};

/// Files that are smaller have no system in them.
const SMALLEST: u64 = 64 << 10;
/// Images in images: where a system is in a file system that is in a squashfs (Fedora and its kin, old Arch media).
pub const NESTED: [&str; 4] = ["LiveOS/rootfs.img", "LiveOS/ext3fs.img", "airootfs.img", "rootfs.img"];

/// How many images a medium may have to choose from.
const MOST: usize = 1000;

/// Why there is no file to choose.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The medium.
    #[error("the medium cannot be read")]
    Medium(#[from] Damage),
    /// There is none of that name.
    #[error("there is no file '{0}' on the medium")]
    Missing(String),
    /// There is none.
    #[error("no file on the medium has a file system with a system in it")]
    None,
    /// There are several.
    #[error("several files on the medium may have the system: {}", listed(.0))]
    Several(Vec<String>),
}

/// What was chosen.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// Its path on the medium.
    pub path: String,
    /// Where it lies.
    pub entry: Entry,
    /// What a person should know of it.
    pub notices: Vec<String>,
}

/// Chooses a file: the one that is wanted, or the one that there is. `architecture` is the machine's by the kernel's name.
///
/// # Errors
/// [`Error`].
pub fn choose<S: Storage + ?Sized>(
    iso: &Iso<'_, S>,
    storage: &S,
    wanted: Option<&str>,
    architecture: &str,
) -> Result<Chosen, Error> {
    let found = |path: String, entry| Chosen { path, entry, notices: Vec::new() };
    if let Some(path) = wanted {
        let entry = iso.find(path)?.filter(|entry| entry.kind == Kind::File);
        return entry.map(|entry| found(path.to_owned(), entry)).ok_or_else(|| Error::Missing(path.to_owned()));
    }
    let known = [
        format!("arch/{architecture}/airootfs.erofs"),
        format!("arch/{architecture}/airootfs.sfs"),
        "live/filesystem.squashfs".to_owned(),
        "casper/filesystem.squashfs".to_owned(),
        "LiveOS/squashfs.img".to_owned(),
    ];
    for path in known {
        if let Some(entry) = iso.find(&path)?.filter(|entry| entry.kind == Kind::File) {
            return Ok(found(path, entry));
        }
    }
    let mut all = Vec::new();
    for (path, entry) in iso.files()? {
        if entry.size() >= SMALLEST && is_image(storage, &entry)? {
            all.push((path, entry));
            if all.len() > MOST {
                return Err(Error::Several(all.into_iter().map(|(path, _)| path).collect()));
            }
        }
    }
    let layers: Vec<String> = all.iter().map(|(path, _)| path.clone()).collect();
    // What lies upon another layer has that one's name in front (Ubuntu).
    all.retain(|(path, _)| !layers.iter().any(|other| is_upon(path, other)));
    // Directories are named after processors that are not this one's.
    if all.iter().any(|(path, _)| path.contains(architecture)) {
        all.retain(|(path, _)| path.contains(architecture));
    }
    match all.len() {
        0 => Err(Error::None),
        1 => {
            let (path, entry) = all.remove(0);
            let upon: Vec<&str> = layers.iter().filter(|other| is_upon(other, &path)).map(String::as_str).collect();
            let mut chosen = found(path, entry);
            if !upon.is_empty() {
                let text =
                    format!("{} is the lowest layer; those upon it are left out: {}", chosen.path, listed(&upon));
                chosen.notices.push(text);
            }
            Ok(chosen)
        }
        _ => Err(Error::Several(all.into_iter().map(|(path, _)| path).collect())),
    }
}

/// The first ones of many.
fn listed(paths: &[impl AsRef<str>]) -> String {
    const SHOWN: usize = 10;
    let mut text = paths.iter().take(SHOWN).map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    if paths.len() > SHOWN {
        text.push_str(&format!(", and {} more", paths.len() - SHOWN));
    }
    text
}

/// Whether the first is a layer upon the second: `a.b.squashfs` upon `a.squashfs`.
fn is_upon(path: &str, other: &str) -> bool {
    let stem = |path: &str| path.rsplit_once('.').map(|(stem, _)| stem.to_owned());
    match (stem(path), stem(other)) {
        (Some(path), Some(other)) => path.strip_prefix(&*other).is_some_and(|rest| rest.starts_with('.')),
        _ => false,
    }
}

fn is_image<S: Storage + ?Sized>(storage: &S, entry: &Entry) -> Reading<bool> {
    let Some((start, length)) = entry.parts.first().copied().filter(|_| !entry.compressed) else { return Ok(false) };
    if start.checked_add(length).is_none_or(|end| end > storage.size()) {
        return Ok(false);
    }
    let found = detect(storage, start, length)?.map(|found| found.format);
    Ok(matches!(found, Some(Format::Squashfs | Format::Erofs)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_told_by_their_names() {
        assert!(is_upon("casper/minimal.standard.squashfs", "casper/minimal.squashfs"));
        assert!(is_upon("casper/minimal.standard.live.squashfs", "casper/minimal.standard.squashfs"));
        assert!(!is_upon("casper/minimal.squashfs", "casper/minimal.squashfs"));
        assert!(!is_upon("casper/minimalist.squashfs", "casper/minimal.squashfs"));
    }

    #[test]
    fn of_many_files_some_are_named() {
        let paths: Vec<String> = (0..12).map(|number| format!("{number}.sfs")).collect();
        assert!(Error::Several(paths.clone()).to_string().ends_with("8.sfs, 9.sfs, and 2 more"));
        assert!(Error::Several(paths[..10].to_vec()).to_string().ends_with("8.sfs, 9.sfs"));
    }
}
