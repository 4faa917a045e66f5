//! The files of a package, as they become known from a list that may be of any length.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use super::super::mtree::Listed;
use super::{Problem, above};
use crate::tar_reader::lossy;

/// The most files that a package may have. The largest of Arch Linux have a tenth of that.
pub(super) const MOST_FILES: usize = 1_000_000;
/// The most that their paths may take together: as many of a hundred bytes each.
const LONGEST_PATHS: usize = 96 << 20;

/// The files that are known.
#[derive(Debug, Default)]
pub(in super::super) struct FileList {
    files: Vec<Listed>,
    /// How long their paths are together.
    length: usize,
    /// The hashes of their paths, by which one that is there twice is known before there are too many.
    seen: HashSet<u64>,
    hasher: RandomState,
}

impl FileList {
    /// Adds a file.
    ///
    /// # Errors
    /// Where its path is none of a file below the root or there already, or there are too many.
    pub(in super::super) fn push(&mut self, file: Listed) -> Result<(), Problem> {
        if !is_path(&file.path) {
            return Err(Problem::Path(lossy(&file.path)));
        }
        self.length += file.path.len();
        if self.files.len() == MOST_FILES || self.length > LONGEST_PATHS {
            return Err(Problem::TooMany);
        }
        // Two paths have the same hash once in a blue moon: nobody can choose them so.
        let new = self.seen.insert(self.hasher.hash_one(&file.path));
        if !new && self.files.iter().any(|other| other.path == file.path) {
            return Err(Problem::Twice(lossy(&file.path)));
        }
        self.files.push(file);
        Ok(())
    }

    /// All of them.
    ///
    /// # Errors
    /// Where one is below something that is no directory.
    pub(in super::super) fn finish(self) -> Result<Vec<Listed>, Problem> {
        let others: HashSet<&[u8]> = self.files.iter().filter(|file| !file.directory).map(|file| &*file.path).collect();
        for file in &self.files {
            if above(&file.path).any(|above| others.contains(above)) {
                return Err(Problem::Path(lossy(&file.path)));
            }
        }
        Ok(self.files)
    }
}

/// Whether it is the path of a file below the root, and one that a list can hold.
pub(super) fn is_path(path: &[u8]) -> bool {
    let parts = path.split(|byte| *byte == b'/');
    let fits = |part: &[u8]| !part.is_empty() && part.len() <= 255 && part != b"." && part != b"..";
    let depth = parts.clone().count();
    path.len() < 4096 && depth <= 256 && !path.contains(&b'\n') && !path.contains(&0) && parts.into_iter().all(fits)
}
