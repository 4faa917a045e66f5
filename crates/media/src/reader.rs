//! What file systems have in common that are read here.

use std::io;

/// What is wrong with a file system.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file below.
    #[error("it cannot be read")]
    Io(#[from] io::Error),
    /// Something would be beyond its end.
    #[error("it is cut off: it refers to what is behind its end")]
    CutOff,
    /// It does not follow its format, or goes beyond a limit.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    /// It has something that is not read here.
    #[error("it has {0}, which is read by the kernel alone")]
    Unsupported(String),
}

/// The result of reading.
pub type Result<T> = std::result::Result<T, Error>;

/// What something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharacterDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

impl Kind {
    /// From the type bits of a mode, see inode(7).
    #[must_use]
    pub fn of_mode(mode: u32) -> Option<Self> {
        Some(match mode & 0o170_000 {
            0o040_000 => Self::Directory,
            0o100_000 => Self::File,
            0o120_000 => Self::Symlink,
            0o020_000 => Self::CharacterDevice,
            0o060_000 => Self::BlockDevice,
            0o010_000 => Self::Fifo,
            0o140_000 => Self::Socket,
            _ => return None,
        })
    }
}

/// What is known of a file, a directory or anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The same for all names of the same.
    pub number: u64,
    /// What it is.
    pub kind: Kind,
    /// Permissions, with set-user-ID and the like.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The time of the last change: seconds since 1970, and nanoseconds.
    pub modified: (i64, u32),
    /// How many names it says to have.
    pub links: u32,
    /// In bytes.
    pub size: u64,
    /// Major and minor number of a device.
    pub device: (u32, u32),
}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name: anything that the image says.
    pub name: Vec<u8>,
    /// Where the format has it.
    pub place: u64,
}

impl Entry {
    /// How much memory it takes, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        // A name has an allocation of its own.
        size_of::<Self>() + size_of::<[usize; 4]>() + self.name.len()
    }
}

/// How much memory the entries of directories may take that are held at the same time, in bytes: about a million of them.
pub const ROOM: usize = 128 << 20;

/// Entries of a directory that is being read, as long as there is room for them.
#[derive(Debug)]
pub struct Listing {
    entries: Vec<Entry>,
    room: usize,
}

impl Listing {
    /// With room for so many bytes.
    #[must_use]
    pub fn new(room: usize) -> Self {
        Self { entries: Vec::new(), room }
    }

    /// Takes the next one.
    ///
    /// # Errors
    /// Where there is no room for it.
    pub fn push(&mut self, entry: Entry) -> Result<()> {
        let room = self.room.checked_sub(entry.weight());
        self.room = room.ok_or(Error::Damaged("its directories have too many entries"))?;
        self.entries.push(entry);
        Ok(())
    }

    /// All of them.
    #[must_use]
    pub fn into_entries(self) -> Vec<Entry> {
        self.entries
    }
}

/// An extended attribute: name and value.
pub type Attribute = (Vec<u8>, Vec<u8>);

/// A part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Bytes.
    Data(&'a [u8]),
    /// So many zeroes, which are not stored.
    Hole(u64),
}

/// Takes the parts of a file, in order.
pub type Sink<'a> = &'a mut dyn FnMut(Piece<'_>) -> Result<()>;

/// A file system that is read here. Errors are all [`Error`].
pub trait Reader {
    /// What the format knows of one file.
    type Inode;

    /// The root directory.
    ///
    /// # Errors
    /// Where it cannot be read.
    fn root(&mut self) -> Result<Self::Inode>;

    /// What is at the place that an entry names.
    ///
    /// # Errors
    /// Where it cannot be read.
    fn inode(&mut self, place: u64) -> Result<Self::Inode>;

    /// What is known of it.
    fn node<'a>(&self, inode: &'a Self::Inode) -> &'a Node;

    /// What is in a directory, without itself and the one above. All entries together weigh no more than `room`.
    ///
    /// # Errors
    /// Where it cannot be read, or there are more.
    fn entries(&mut self, directory: &Self::Inode, room: usize) -> Result<Vec<Entry>>;

    /// Where a symbolic link leads.
    ///
    /// # Errors
    /// Where it cannot be read.
    fn target(&mut self, link: &Self::Inode) -> Result<Vec<u8>>;

    /// Extended attributes.
    ///
    /// # Errors
    /// Where they cannot be read.
    fn attributes(&mut self, inode: &Self::Inode) -> Result<Vec<Attribute>>;

    /// All of a file: as many bytes as its size says.
    ///
    /// # Errors
    /// Where it cannot be read, and those of the sink.
    fn content(&mut self, file: &Self::Inode, sink: Sink<'_>) -> Result<()>;
}

/// What is at a path of plain names, if all are there. Links are not followed.
///
/// # Errors
/// Those of reading.
pub fn find<R: Reader>(reader: &mut R, path: &str) -> Result<Option<R::Inode>> {
    let mut here = reader.root()?;
    for name in path.split('/').filter(|name| !name.is_empty()) {
        if reader.node(&here).kind != Kind::Directory {
            return Ok(None);
        }
        let entries = reader.entries(&here, ROOM)?;
        let Some(entry) = entries.into_iter().find(|entry| entry.name == name.as_bytes()) else { return Ok(None) };
        here = reader.inode(entry.place)?;
    }
    Ok(Some(here))
}
