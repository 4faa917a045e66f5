//! Fields of bytes, and bytes of a storage; nothing is where nothing is.

use image::disk::storage::Storage;

use crate::reader::{Error, Result};

/// A field at a place.
fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// A field of 16 bits, little endian; zero beyond the end.
#[must_use]
pub fn le16(bytes: &[u8], at: usize) -> u16 {
    field(bytes, at).map_or(0, u16::from_le_bytes)
}

/// A field of 32 bits, likewise.
#[must_use]
pub fn le32(bytes: &[u8], at: usize) -> u32 {
    field(bytes, at).map_or(0, u32::from_le_bytes)
}

/// A field of 64 bits, likewise.
#[must_use]
pub fn le64(bytes: &[u8], at: usize) -> u64 {
    field(bytes, at).map_or(0, u64::from_le_bytes)
}

/// The bytes from `offset` on.
///
/// # Errors
/// [`Error::CutOff`] where the storage is not that long, and those of reading.
pub fn read(storage: &(impl Storage + ?Sized), offset: u64, length: usize) -> Result<Vec<u8>> {
    // Looked at first, so that nothing is reserved for what is not there.
    if offset.checked_add(length as u64).is_none_or(|end| end > storage.size()) {
        return Err(Error::CutOff);
    }
    let mut bytes = vec![0; length];
    storage.read(offset, &mut bytes)?;
    Ok(bytes)
}
