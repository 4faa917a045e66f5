//! Extended attributes.

use image::disk::storage::Storage;

use super::metadata::{Metadata, Position};
use crate::bytes::{le16, le32, le64, read};
use crate::reader::{Attribute, Error, Result};

/// The largest value that the kernel takes, see xattr(7), and how many of them one file may have.
const LARGEST_VALUE: u32 = 65536;
const MOST: u32 = 4096;
/// The longest name of one, and what all names and values of a file may have together, in bytes.
const LONGEST_NAME: usize = 255;
const LARGEST: usize = 8 << 20;
/// The bit of values that are elsewhere.
const ELSEWHERE: u16 = 0x100;

/// Where attributes are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table {
    /// The list of the blocks with where those of each file begin.
    list: u64,
    count: u32,
    /// Where all of them begin.
    start: u64,
}

impl Table {
    pub(super) fn open<S: Storage + ?Sized>(metadata: &mut Metadata<'_, S>, at: u64) -> Result<Self> {
        let header = read(metadata.storage, at, 16)?;
        Ok(Self { list: at + 16, count: le32(&header, 8), start: le64(&header, 0) })
    }

    pub(super) fn read<S: Storage + ?Sized>(
        &self,
        metadata: &mut Metadata<'_, S>,
        number: u32,
    ) -> Result<Vec<Attribute>> {
        if number >= self.count {
            return Err(Error::Damaged("attributes are not in their table"));
        }
        let entry = metadata.entry::<16>(self.list, u64::from(number))?;
        let mut at = Position::of_reference(self.start, le64(&entry, 0))?;
        let count = le32(&entry, 8);
        if count > MOST {
            return Err(Error::Damaged("a file has too many attributes"));
        }
        let (mut attributes, mut length) = (Vec::new(), 0);
        for _ in 0..count {
            let (name, value) = self.one(metadata, &mut at)?;
            length += name.len() + value.len();
            if length > LARGEST {
                return Err(Error::Damaged("the attributes of a file are too large"));
            }
            attributes.push((name, value));
        }
        Ok(attributes)
    }

    fn one<S: Storage + ?Sized>(&self, metadata: &mut Metadata<'_, S>, at: &mut Position) -> Result<Attribute> {
        let header = metadata.array::<4>(at)?;
        let (sort, length) = (le16(&header, 0), le16(&header, 2));
        let mut name = match sort & !ELSEWHERE {
            0 => b"user.".to_vec(),
            1 => b"trusted.".to_vec(),
            2 => b"security.".to_vec(),
            _ => return Err(Error::Damaged("an attribute is of no known kind")),
        };
        let prefix = name.len();
        if prefix + usize::from(length) > LONGEST_NAME {
            return Err(Error::Damaged("the name of an attribute is too long"));
        }
        name.resize(prefix + usize::from(length), 0);
        metadata.read(at, &mut name[prefix..])?;
        let mut value = value(metadata, at)?;
        if sort & ELSEWHERE != 0 {
            let reference = value.get(..8).ok_or(Error::Damaged("an attribute is nowhere"))?;
            let mut there = Position::of_reference(self.start, le64(reference, 0))?;
            value = self::value(metadata, &mut there)?;
        }
        Ok((name, value))
    }
}

fn value<S: Storage + ?Sized>(metadata: &mut Metadata<'_, S>, at: &mut Position) -> Result<Vec<u8>> {
    let length = le32(&metadata.array::<4>(at)?, 0);
    if length > LARGEST_VALUE {
        return Err(Error::Damaged("an attribute is too large"));
    }
    let mut value = vec![0; length as usize];
    metadata.read(at, &mut value)?;
    Ok(value)
}
