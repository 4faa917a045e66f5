//! A file inside of a file, which need not be in one piece.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use image::disk::storage::Storage;

/// Parts of an open file, one behind the other.
#[derive(Clone, Debug)]
pub struct Extents<'a> {
    file: &'a File,
    /// Where each begins, and how long it is.
    parts: Vec<(u64, u64)>,
    size: u64,
}

impl<'a> Extents<'a> {
    /// Those parts; none if they are longer than numbers go.
    #[must_use]
    pub fn new(file: &'a File, parts: &[(u64, u64)]) -> Option<Self> {
        let size = parts.iter().try_fold(0u64, |sum, (start, length)| {
            start.checked_add(*length)?;
            sum.checked_add(*length)
        })?;
        Some(Self { file, parts: parts.to_vec(), size })
    }

    /// The file that all are in.
    #[must_use]
    pub fn file(&self) -> &'a File {
        self.file
    }

    /// Where it begins in the file, if it is in one piece there.
    #[must_use]
    pub fn start(&self) -> Option<u64> {
        let (first, _) = *self.parts.first()?;
        let mut next = first;
        for (start, length) in &self.parts {
            if *start != next {
                return None;
            }
            next += length;
        }
        Some(first)
    }
}

impl Storage for Extents<'_> {
    fn size(&self) -> u64 {
        self.size
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let (mut skip, mut done) = (offset, 0);
        for (start, length) in &self.parts {
            if skip >= *length {
                skip -= length;
                continue;
            }
            let there = usize::try_from(length - skip).unwrap_or(usize::MAX);
            let wanted = there.min(buffer.len() - done);
            self.file.read_exact_at(&mut buffer[done..done + wanted], start + skip)?;
            (skip, done) = (0, done + wanted);
            if done == buffer.len() {
                return Ok(());
            }
        }
        if done == buffer.len() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn parts_are_read_as_one() {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(b"0123456789").expect("written");
        let parts = Extents::new(&file, &[(2, 3), (7, 0), (7, 2)]).expect("parts");
        let mut bytes = [0; 4];
        parts.read(1, &mut bytes).expect("read");
        assert_eq!((&bytes, parts.size(), parts.start()), (b"3478", 5, None));
        assert!(parts.read(2, &mut bytes).is_err());
        let whole = Extents::new(&file, &[(2, 3), (5, 2)]).expect("parts");
        assert_eq!(whole.start(), Some(2));
        assert!(Extents::new(&file, &[(u64::MAX, 2)]).is_none());
        // The file is shorter than its description.
        assert!(Extents::new(&file, &[(8, 5)]).expect("parts").read(0, &mut bytes).is_err());
    }
}
