//! What goes from the process that reads to the one that writes: a walk through a tree, in order.
//!
//! A frame is its kind (one byte), its length (four bytes, little-endian) and so many bytes. What comes out of a machine is as
//! hostile as that: names, lengths and the order of frames are checked here, before anything is done with them.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;

/// The longest frame, in bytes.
pub const LONGEST: usize = 1 << 20;
/// How deep directories may be in each other: each level costs descriptors.
pub const DEEPEST: usize = 256;
/// The longest name, see readdir(3).
const LONGEST_NAME: usize = 255;
/// The longest target of a link, see symlink(2).
const LONGEST_TARGET: usize = 4095;
/// What a header takes, in bytes.
const HEADER: usize = 5;
/// What the facts about a file take, in bytes.
const FACTS: usize = 36;
/// Nanoseconds of a second.
const SECOND: u32 = 1_000_000_000;

/// What is known of a file beside its contents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The twelve bits of chmod(2).
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// When it was read last: seconds and nanoseconds.
    pub accessed: (i64, u32),
    /// When it was written last.
    pub modified: (i64, u32),
}

/// A step of the walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A directory begins. What follows is in it, until [`Frame::Up`].
    Directory(Facts, &'a OsStr),
    /// A file begins. What follows is of it, until [`Frame::End`].
    File(Facts, &'a OsStr),
    /// A symbolic link and its target.
    Link(Facts, &'a OsStr, &'a OsStr),
    /// A fifo.
    Fifo(Facts, &'a OsStr),
    /// An extended attribute of what has begun last, and its value.
    Attribute(&'a OsStr, &'a [u8]),
    /// Contents of the file from this offset on; what is left out are holes.
    Data(u64, &'a [u8]),
    /// The file ends, and has this size.
    End(u64),
    /// The directory ends.
    Up,
    /// All was sent.
    Done,
}

/// Why bytes are no such walk.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A frame that means nothing, or not here.
    #[error("the stream has {0}")]
    Malformed(&'static str),
    /// It ends too early, or cannot be read.
    #[error("the stream ends early")]
    Cut(#[source] io::Error),
}

impl Frame<'_> {
    /// Writes it.
    ///
    /// # Errors
    /// Those of writing.
    pub fn write(&self, output: &mut impl Write) -> io::Result<()> {
        let named = |facts: &Facts, name: &OsStr| [&facts.bytes()[..], name.as_bytes()].concat();
        match self {
            Self::Directory(facts, name) => frame(output, b'D', &[&named(facts, name)]),
            Self::File(facts, name) => frame(output, b'F', &[&named(facts, name)]),
            Self::Fifo(facts, name) => frame(output, b'P', &[&named(facts, name)]),
            Self::Link(facts, name, target) => {
                frame(output, b'L', &[&facts.bytes(), &length_of(name), name.as_bytes(), target.as_bytes()])
            }
            Self::Attribute(name, value) => frame(output, b'A', &[&length_of(name), name.as_bytes(), value]),
            Self::Data(offset, bytes) => frame(output, b'B', &[&offset.to_le_bytes(), bytes]),
            Self::End(size) => frame(output, b'E', &[&size.to_le_bytes()]),
            Self::Up => frame(output, b'U', &[]),
            Self::Done => frame(output, b'Z', &[]),
        }
    }
}

fn length_of(name: &OsStr) -> [u8; 2] {
    u16::try_from(name.len()).unwrap_or(u16::MAX).to_le_bytes()
}

fn frame(output: &mut impl Write, kind: u8, parts: &[&[u8]]) -> io::Result<()> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let length = u32::try_from(length).ok().filter(|length| *length as usize <= LONGEST);
    let length = length.ok_or(io::ErrorKind::InvalidInput)?;
    output.write_all(&[kind])?;
    output.write_all(&length.to_le_bytes())?;
    parts.iter().try_for_each(|part| output.write_all(part))
}

impl Facts {
    fn bytes(&self) -> [u8; FACTS] {
        let mut bytes = [0; FACTS];
        let parts: [&[u8]; 7] = [
            &self.mode.to_le_bytes(),
            &self.uid.to_le_bytes(),
            &self.gid.to_le_bytes(),
            &self.accessed.0.to_le_bytes(),
            &self.accessed.1.to_le_bytes(),
            &self.modified.0.to_le_bytes(),
            &self.modified.1.to_le_bytes(),
        ];
        let mut at = 0;
        for part in parts {
            bytes[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        bytes
    }

    fn read(bytes: &mut Bytes<'_>) -> Result<Self, Error> {
        let facts = Self {
            mode: bytes.u32()?,
            uid: bytes.u32()?,
            gid: bytes.u32()?,
            accessed: (bytes.i64()?, bytes.u32()?),
            modified: (bytes.i64()?, bytes.u32()?),
        };
        if facts.mode & !0o7777 != 0 {
            return Err(Error::Malformed("a mode of other bits"));
        }
        if facts.uid == u32::MAX || facts.gid == u32::MAX {
            return Err(Error::Malformed("an id that is none"));
        }
        if facts.accessed.1 >= SECOND || facts.modified.1 >= SECOND {
            return Err(Error::Malformed("a time that is none"));
        }
        Ok(facts)
    }
}

/// What is left of a frame.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Error::Malformed("a frame that is too short"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        self.take(N)?.try_into().map_err(|_| Error::Malformed("a frame that is too short"))
    }

    fn u16(&mut self) -> Result<u16, Error> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Error> {
        self.array().map(u64::from_le_bytes)
    }

    fn i64(&mut self) -> Result<i64, Error> {
        self.array().map(i64::from_le_bytes)
    }

    fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// The name of one file in its directory.
    fn name(&mut self, length: usize) -> Result<&'a OsStr, Error> {
        let name = self.take(length)?;
        if matches!(name, b"" | b"." | b"..")
            || name.len() > LONGEST_NAME
            || name.iter().any(|byte| [b'/', 0].contains(byte))
        {
            return Err(Error::Malformed("a name that is none"));
        }
        Ok(OsStr::from_bytes(name))
    }

    fn last_name(&mut self) -> Result<&'a OsStr, Error> {
        self.name(self.0.len())
    }
}

fn parse(kind: u8, bytes: &[u8]) -> Result<Frame<'_>, Error> {
    let mut bytes = Bytes(bytes);
    let frame = match kind {
        b'D' => Frame::Directory(Facts::read(&mut bytes)?, bytes.last_name()?),
        b'F' => Frame::File(Facts::read(&mut bytes)?, bytes.last_name()?),
        b'P' => Frame::Fifo(Facts::read(&mut bytes)?, bytes.last_name()?),
        b'L' => {
            let facts = Facts::read(&mut bytes)?;
            let length = bytes.u16()?;
            let (name, target) = (bytes.name(length.into())?, bytes.rest());
            if target.is_empty() || target.len() > LONGEST_TARGET || target.contains(&0) {
                return Err(Error::Malformed("a link to nothing"));
            }
            Frame::Link(facts, name, OsStr::from_bytes(target))
        }
        b'A' => {
            let length = bytes.u16()?;
            let name = bytes.name(length.into())?;
            // Others mean something to the kernel, such as privileges of a program.
            if !name.as_bytes().starts_with(b"user.") || name.len() == b"user.".len() {
                return Err(Error::Malformed("an attribute that is not the user's"));
            }
            Frame::Attribute(name, bytes.rest())
        }
        b'B' => {
            let (offset, data) = (bytes.u64()?, bytes.rest());
            if offset.checked_add(data.len() as u64).is_none_or(|end| i64::try_from(end).is_err()) {
                return Err(Error::Malformed("data beyond the end of all files"));
            }
            Frame::Data(offset, data)
        }
        b'E' => {
            let size = bytes.u64()?;
            if i64::try_from(size).is_err() {
                return Err(Error::Malformed("a size beyond that of all files"));
            }
            Frame::End(size)
        }
        b'U' => Frame::Up,
        b'Z' => Frame::Done,
        _ => return Err(Error::Malformed("a frame of no known kind")),
    };
    if bytes.0.is_empty() { Ok(frame) } else { Err(Error::Malformed("a frame that is too long")) }
}

/// Where a walk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Nothing was sent yet.
    Start,
    /// Among the entries of a directory; whether that has just begun.
    Directory(bool),
    /// In a file; whether that has just begun.
    File(bool),
    /// The one entry that the walk is about has ended.
    Complete,
    /// All was sent.
    Done,
}

/// Reads a walk, frame by frame.
#[derive(Debug)]
pub struct Frames<R> {
    input: R,
    buffer: Vec<u8>,
    depth: usize,
    at: At,
}

impl<R: Read> Frames<R> {
    /// From its beginning.
    pub fn new(input: R) -> Self {
        Self { input, buffer: Vec::new(), depth: 0, at: At::Start }
    }

    /// The next frame; nothing after the last one.
    ///
    /// # Errors
    /// An [`Error`]; nothing can be read after that.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, Error> {
        if self.at == At::Done {
            return Ok(None);
        }
        let mut header = [0; HEADER];
        self.input.read_exact(&mut header).map_err(Error::Cut)?;
        let [kind, a, b, c, d] = header;
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        if length > LONGEST {
            return Err(Error::Malformed("a frame that is too long"));
        }
        self.buffer.resize(length, 0);
        self.input.read_exact(&mut self.buffer).map_err(Error::Cut)?;
        let frame = parse(kind, &self.buffer)?;
        (self.at, self.depth) = follow(self.at, self.depth, &frame)?;
        Ok(Some(frame))
    }
}

/// Where the walk is after this frame.
fn follow(at: At, depth: usize, frame: &Frame<'_>) -> Result<(At, usize), Error> {
    let entry = matches!(at, At::Start | At::Directory(_));
    let behind_entry = if depth == 0 { At::Complete } else { At::Directory(false) };
    let place = match frame {
        Frame::Directory(..) if entry && depth >= DEEPEST => {
            return Err(Error::Malformed("directories too deep in each other"));
        }
        Frame::Directory(..) if entry => (At::Directory(true), depth + 1),
        Frame::File(..) if entry => (At::File(true), depth),
        Frame::Link(..) | Frame::Fifo(..) if entry => (behind_entry, depth),
        Frame::Attribute(..) if matches!(at, At::Directory(true) | At::File(true)) => (at, depth),
        Frame::Data(..) if matches!(at, At::File(_)) => (At::File(false), depth),
        Frame::End(..) if matches!(at, At::File(_)) => (behind_entry, depth),
        Frame::Up if matches!(at, At::Directory(_)) => {
            let depth = depth.checked_sub(1).ok_or(Error::Malformed("an end of no directory"))?;
            (if depth == 0 { At::Complete } else { At::Directory(false) }, depth)
        }
        Frame::Done if at == At::Complete => (At::Done, depth),
        _ => return Err(Error::Malformed("a frame out of order")),
    };
    Ok(place)
}

#[cfg(test)]
mod tests;
