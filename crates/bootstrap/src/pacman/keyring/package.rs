//! The keyring in a package of one: `archlinux-keyring` and those of other distributions. What is newer than what one has
//! comes from there.

use std::collections::BTreeMap;
use std::io::Read;

use super::{Error, Keyring};
use crate::tar_reader::{self, Kind, TarReader};

/// Where such packages have them.
const DIRECTORY: &str = "usr/share/pacman/keyrings/";
/// The longest file of a keyring that is read, in bytes.
const LONGEST: u64 = 64 * 1024 * 1024;

impl Keyring {
    /// Adds the keyrings of a package, which the caller has verified, as its scriptlet would: see [`Keyring::populate`].
    /// Gives their names.
    ///
    /// # Errors
    /// An archive or keyring that cannot be read; `place` says which package it is. What was added before stays.
    pub fn populate_from<R: Read>(&mut self, place: &str, package: &mut TarReader<R>) -> Result<Vec<String>, Error> {
        let files = files(package).map_err(|source| Error::Package { place: place.to_owned(), source })?;
        let text = |name: &str| files.get(name).map(|content| String::from_utf8_lossy(content)).unwrap_or_default();
        let mut names = Vec::new();
        for (file, certificates) in &files {
            let Some(name) = file.strip_suffix(".gpg") else { continue };
            let (trusted, revoked) = (text(&format!("{name}-trusted")), text(&format!("{name}-revoked")));
            self.populate(&format!("'{name}' of {place}"), certificates, &trusted, &revoked)?;
            names.push(name.to_owned());
        }
        Ok(names)
    }
}

/// The files of the directory, by their names.
fn files<R: Read>(package: &mut TarReader<R>) -> Result<BTreeMap<String, Vec<u8>>, tar_reader::Error> {
    let mut files = BTreeMap::new();
    while let Some(entry) = package.next_entry()? {
        let Some(name) = std::str::from_utf8(&entry.path).ok().and_then(|path| path.strip_prefix(DIRECTORY)) else {
            continue;
        };
        if entry.kind != Kind::File || name.contains('/') {
            continue;
        }
        if entry.size > LONGEST {
            return Err(tar_reader::Error::Damaged("a keyring in it is larger than any can be"));
        }
        let mut content = Vec::new();
        package.read_to_end(&mut content)?;
        files.insert(name.to_owned(), content);
    }
    Ok(files)
}
