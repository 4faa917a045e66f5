//! What images are read from: a file, or bytes. Nothing in an image is trusted, so that a place beyond its end is
//! nothing unusual.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes that can be read at any place.
pub trait Storage {
    /// How many.
    fn size(&self) -> u64;

    /// Fills the buffer with those from `offset` on.
    ///
    /// # Errors
    /// Those of the file; `UnexpectedEof` beyond the end.
    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}

impl Storage for [u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).ok();
        let part = start.and_then(|start| self.get(start..start.checked_add(buffer.len())?));
        buffer.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// An open file or block device, whose size has been found out.
#[derive(Debug)]
pub struct FileStorage<'a> {
    /// Open for reading.
    pub file: &'a File,
    /// In bytes.
    pub size: u64,
}

impl Storage for FileStorage<'_> {
    fn size(&self) -> u64 {
        self.size
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}

/// The bytes from `offset` on; none where the storage is not that long.
pub(super) fn array<const N: usize>(storage: &(impl Storage + ?Sized), offset: u64) -> io::Result<Option<[u8; N]>> {
    if offset.checked_add(N as u64).is_none_or(|end| end > storage.size()) {
        return Ok(None);
    }
    let mut bytes = [0; N];
    match storage.read(offset, &mut bytes) {
        // Somebody has made it shorter.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        other => other.map(|()| Some(bytes)),
    }
}

/// A field of 16 bits, little endian; zero beyond the end.
pub(super) fn le16(bytes: &[u8], at: usize) -> u16 {
    field(bytes, at).map_or(0, u16::from_le_bytes)
}

/// A field of 32 bits, likewise.
pub(super) fn le32(bytes: &[u8], at: usize) -> u32 {
    field(bytes, at).map_or(0, u32::from_le_bytes)
}

/// A field of 64 bits, likewise.
pub(super) fn le64(bytes: &[u8], at: usize) -> u64 {
    field(bytes, at).map_or(0, u64::from_le_bytes)
}

/// A field of 32 bits, big endian.
pub(super) fn be32(bytes: &[u8], at: usize) -> u32 {
    field(bytes, at).map_or(0, u32::from_be_bytes)
}

/// A field of 64 bits, big endian.
pub(super) fn be64(bytes: &[u8], at: usize) -> u64 {
    field(bytes, at).map_or(0, u64::from_be_bytes)
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}
