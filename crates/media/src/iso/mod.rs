//! ISO 9660 (ECMA-119) with the names of Rock Ridge, else of Joliet, else its own: enough to find files and where they
//! lie.

mod record;

use std::collections::HashSet;

use image::disk::storage::Storage;

use crate::bytes;
use crate::reader::{Error, Result};

use record::Names;

/// The size of a sector, and of the logical blocks that are read here.
pub const SECTOR: u64 = 2048;
/// Where volume descriptors begin, in sectors.
const DESCRIPTORS: u64 = 16;
/// How many of them are looked at.
const MOST_DESCRIPTORS: u64 = 64;
/// The largest directory that is read, in bytes.
const LARGEST_DIRECTORY: u64 = 16 << 20;
/// How deep directories may lie, and how many names there may be in all.
const DEEPEST: usize = 64;
const MOST_NAMES: usize = 1 << 20;
/// How long a path may be, and all of them together.
const LONGEST_PATH: usize = 4096;
const MOST_OF_PATHS: usize = 64 << 20;
/// How large all directories may be together, in bytes.
const MOST_OF_DIRECTORIES: u64 = 1 << 30;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A file.
    File,
    /// A link, or anything else that is no file here.
    Other,
}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name.
    pub name: String,
    /// What it stands for.
    pub kind: Kind,
    /// Where its parts begin and how long they are, in bytes.
    pub parts: Vec<(u64, u64)>,
    /// It is compressed (zisofs), so that its parts are not what is in it.
    pub compressed: bool,
}

impl Entry {
    /// How long it is, in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.parts.iter().fold(0, |sum, (_, length)| sum.saturating_add(*length))
    }
}

/// A volume.
#[derive(Debug)]
pub struct Iso<'a, S: ?Sized> {
    storage: &'a S,
    root: Entry,
    names: Names,
}

/// Whether there is one.
///
/// # Errors
/// Those of reading.
pub fn is_one(storage: &(impl Storage + ?Sized)) -> std::io::Result<bool> {
    let mut mark = [0; 5];
    let place = DESCRIPTORS * SECTOR + 1;
    if storage.size() < place + 5 {
        return Ok(false);
    }
    storage.read(place, &mut mark)?;
    Ok(&mark == b"CD001")
}

impl<'a, S: Storage + ?Sized> Iso<'a, S> {
    /// Opens one.
    ///
    /// # Errors
    /// Where it is none, or a damaged one.
    pub fn open(storage: &'a S) -> Result<Self> {
        let (mut primary, mut joliet) = (None, None);
        for index in 0..MOST_DESCRIPTORS {
            let sector = bytes::read(storage, (DESCRIPTORS + index) * SECTOR, SECTOR as usize)?;
            if &sector[1..6] != b"CD001" {
                return Err(Error::Damaged("a volume descriptor has no mark"));
            }
            match sector[0] {
                1 if primary.is_none() => primary = Some(sector),
                2 if joliet.is_none() && is_joliet(&sector) => joliet = Some(sector),
                255 => break,
                _ => {}
            }
        }
        let primary = primary.ok_or(Error::Damaged("there is no primary volume descriptor"))?;
        if u64::from(bytes::le16(&primary, 128)) != SECTOR {
            return Err(Error::Damaged("its blocks do not have 2048 bytes"));
        }
        let root = root(&primary)?;
        let first = bytes::read(storage, start(&root), SECTOR as usize)?;
        let (root, names) = match (record::rock_ridge(&first), joliet) {
            (Some(skip), _) => (root, Names::RockRidge { skip }),
            (None, Some(sector)) => (self::root(&sector)?, Names::Joliet),
            (None, None) => (root, Names::Plain),
        };
        Ok(Self { storage, root, names })
    }

    /// The root directory.
    #[must_use]
    pub fn root(&self) -> &Entry {
        &self.root
    }

    /// What is in a directory.
    ///
    /// # Errors
    /// Where it is damaged.
    pub fn entries(&self, directory: &Entry) -> Result<Vec<Entry>> {
        if directory.size() > LARGEST_DIRECTORY {
            return Err(Error::Damaged("a directory is too large"));
        }
        let mut entries: Vec<Entry> = Vec::new();
        // Several parts of a file have a record each, one behind the other.
        let mut unfinished: Option<Entry> = None;
        for (place, length) in &directory.parts {
            let whole = bytes::read(self.storage, *place, *length as usize)?;
            for sector in whole.chunks(SECTOR as usize) {
                let mut rest = sector;
                while let Some(raw) = record::next(&mut rest)? {
                    let read = record::read(raw, self.names, self.storage)?;
                    let Some((entry, more)) = read else { continue };
                    let whole = match unfinished.take() {
                        Some(mut begun) if begun.name == entry.name => {
                            begun.parts.extend(entry.parts);
                            begun
                        }
                        Some(_) => return Err(Error::Damaged("a file in several parts has no last one")),
                        None => entry,
                    };
                    if more {
                        unfinished = Some(whole);
                    } else {
                        entries.push(whole);
                    }
                }
            }
        }
        if unfinished.is_some() {
            return Err(Error::Damaged("a file in several parts has no last one"));
        }
        Ok(entries)
    }

    /// What is at a path; where names have no lower case it does not matter.
    ///
    /// # Errors
    /// Where a directory on the way is damaged.
    pub fn find(&self, path: &str) -> Result<Option<Entry>> {
        let mut here = self.root.clone();
        for name in path.split('/').filter(|name| !name.is_empty()) {
            if here.kind != Kind::Directory {
                return Ok(None);
            }
            let entries = self.entries(&here)?;
            let exact = entries.iter().find(|entry| entry.name == name);
            let found = exact.or_else(|| entries.iter().find(|entry| entry.name.eq_ignore_ascii_case(name)));
            let Some(entry) = found else { return Ok(None) };
            here = entry.clone();
        }
        Ok(Some(here))
    }

    /// All files with their paths.
    ///
    /// # Errors
    /// Where a directory is damaged, or there is no end to them.
    pub fn files(&self) -> Result<Vec<(String, Entry)>> {
        let mut files = Vec::new();
        let mut seen = HashSet::from([start(&self.root)]);
        let mut next = vec![(String::new(), self.root.clone(), 0)];
        let (mut count, mut paths, mut directories) = (0, 0, 0u64);
        while let Some((path, directory, depth)) = next.pop() {
            // The same bytes can be in many of them.
            directories = directories.saturating_add(directory.size());
            if directories > MOST_OF_DIRECTORIES {
                return Err(Error::Damaged("its directories are too large"));
            }
            for entry in self.entries(&directory)? {
                let path = if path.is_empty() { entry.name.clone() } else { format!("{path}/{}", entry.name) };
                if path.len() > LONGEST_PATH {
                    return Err(Error::Damaged("a path is too long"));
                }
                // A name has a part at least.
                (count, paths) = (count + entry.parts.len(), paths + path.len());
                if count > MOST_NAMES || paths > MOST_OF_PATHS {
                    return Err(Error::Damaged("it has too many names"));
                }
                match entry.kind {
                    Kind::File => files.push((path, entry)),
                    Kind::Directory if depth >= DEEPEST => return Err(Error::Damaged("its directories lie too deep")),
                    // One that was seen before is a loop.
                    Kind::Directory if seen.insert(start(&entry)) => next.push((path, entry, depth + 1)),
                    _ => {}
                }
            }
        }
        files.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(files)
    }
}

fn start(entry: &Entry) -> u64 {
    entry.parts.first().map_or(0, |(start, _)| *start)
}

/// The escape sequences that stand for UCS-2 (the Joliet specification).
fn is_joliet(descriptor: &[u8]) -> bool {
    descriptor[88..].starts_with(b"%/@") || descriptor[88..].starts_with(b"%/C") || descriptor[88..].starts_with(b"%/E")
}

fn root(descriptor: &[u8]) -> Result<Entry> {
    let record = &descriptor[156..190];
    let (place, length) = (u64::from(bytes::le32(record, 2)) * SECTOR, u64::from(bytes::le32(record, 10)));
    if record[0] != 34 || record[25] & record::DIRECTORY == 0 || length == 0 {
        return Err(Error::Damaged("its root is no directory"));
    }
    Ok(Entry { name: String::new(), kind: Kind::Directory, parts: vec![(place, length)], compressed: false })
}

#[cfg(test)]
mod tests;
