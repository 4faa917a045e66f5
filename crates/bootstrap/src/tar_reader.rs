//! Reads tar archives as a stream: ustar, GNU and pax. The archive is hostile input: every length is limited, nothing is
//! believed, and what cannot be carried out faithfully (sparse files, unknown types) is an error.

use std::io::{self, Read};

/// The longest path or link target: what the kernel takes.
const LONGEST_PATH: u64 = 4096;
/// The largest set of pax records for one entry. Extended attributes (64 KiB each at most) come in them.
const LARGEST_PAX: u64 = 1 << 20;
/// The most that may be said about one entry before it comes: there is one set of records, and one long name of each kind.
const LARGEST_DESCRIPTION: u64 = 2 * LARGEST_PAX;
const BLOCK: usize = 512;
const SPARSE: Error = Error::Unsupported("files with holes (tar --sparse)");

/// What is wrong with an archive.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The stream below failed or ended early.
    #[error("the archive cannot be read")]
    Read(#[from] io::Error),
    /// The archive does not follow the format, or goes beyond a limit.
    #[error("the archive is damaged: {0}")]
    Damaged(&'static str),
    /// It has what is not unpacked here.
    #[error("the archive has {0}, which are not unpacked")]
    Unsupported(&'static str),
    /// The entry is of a kind that cannot be unpacked.
    #[error("'{path}' is of the unknown type '{kind}'")]
    Unknown {
        /// The entry's path.
        path: String,
        /// The type flag.
        kind: char,
    },
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file; its content follows.
    File,
    /// A directory.
    Directory,
    /// A symbolic link to [`Entry::link`].
    Symlink,
    /// Another name for the entry [`Entry::link`].
    HardLink,
    /// A character device.
    CharacterDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
}

/// One member of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its path as it stands in the archive: it can be absolute, hold `..`, or anything but NUL.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// The permission bits, set-user-ID and the like included.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The time of the last change: seconds since 1970 and nanoseconds.
    pub mtime: (i64, u32),
    /// The content's size in bytes; 0 for what is no file.
    pub size: u64,
    /// The target of a link.
    pub link: Vec<u8>,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// Extended attributes: names and values.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What pax records and GNU's long names say about the entry that follows.
#[derive(Default)]
struct Overrides {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    uid: Option<u32>,
    gid: Option<u32>,
    mtime: Option<(i64, u32)>,
    size: Option<u64>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// An archive being read. [`TarReader::next_entry`] moves to the next entry; reading gives the current one's content.
#[derive(Debug)]
pub struct TarReader<R> {
    inner: R,
    /// Bytes of the current content that have not been read.
    content: u64,
    /// Bytes that fill the last block of it.
    padding: u64,
    ended: bool,
}

impl<R: Read> TarReader<R> {
    /// Reads the archive from `inner`.
    pub fn new(inner: R) -> Self {
        Self { inner, content: 0, padding: 0, ended: false }
    }

    /// What it reads from; all that was read of it is gone.
    pub fn into_inner(self) -> R {
        self.inner
    }

    /// Passes over what is left of the current entry and reads the header of the next one; `None` at the end.
    ///
    /// # Errors
    /// Where the archive cannot be read or is damaged.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        let mut overrides = Overrides::default();
        let mut room = LARGEST_DESCRIPTION;
        loop {
            let Some(block) = self.next_block()? else { return Ok(None) };
            let header = tar::Header::from_byte_slice(&block);
            check_sum(header, &block)?;
            let size = header.entry_size().map_err(|_| Error::Damaged("a size is no number"))?;
            let kind = header.entry_type().as_byte();
            if matches!(kind, b'L' | b'K' | b'x' | b'g') {
                let taken = size.saturating_add(BLOCK as u64);
                room = room.checked_sub(taken).ok_or(Error::Damaged("too much is said about one entry"))?;
            }
            match kind {
                b'L' => overrides.path = Some(until_nul(self.payload(size, LONGEST_PATH)?)),
                b'K' => overrides.link = Some(until_nul(self.payload(size, LONGEST_PATH)?)),
                b'x' => read_pax(&self.payload(size, LARGEST_PAX)?, &mut overrides)?,
                // Global records are comments in practice (git writes its commit there).
                b'g' => drop(self.payload(size, LARGEST_PAX)?),
                _ => return self.entry(header, size, overrides).map(Some),
            }
        }
    }

    /// What the archive is read from: behind its end there can be more.
    pub(crate) fn inner_mut(&mut self) -> &mut R {
        &mut self.inner
    }

    fn next_block(&mut self) -> Result<Option<[u8; BLOCK]>, Error> {
        if self.ended {
            return Ok(None);
        }
        self.skip_rest()?;
        let mut block = [0; BLOCK];
        let read = read_full(&mut self.inner, &mut block)?;
        // An archive ends with two blocks of zeroes; many end without.
        if read == 0 || block.iter().all(|byte| *byte == 0) {
            self.ended = true;
            return Ok(None);
        }
        if read < BLOCK {
            return Err(Error::Damaged("it ends within a header"));
        }
        Ok(Some(block))
    }

    fn skip_rest(&mut self) -> Result<(), Error> {
        let mut left = self.content.checked_add(self.padding).ok_or(Error::Damaged("a size is too large"))?;
        let mut buffer = [0; 16384];
        while left > 0 {
            let chunk = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let read = read_full(&mut self.inner, &mut buffer[..chunk])?;
            if read < chunk {
                return Err(Error::Damaged("it ends within an entry"));
            }
            left -= read as u64;
        }
        (self.content, self.padding) = (0, 0);
        Ok(())
    }

    /// The whole content of an entry that describes the next one.
    fn payload(&mut self, size: u64, limit: u64) -> Result<Vec<u8>, Error> {
        if size > limit {
            return Err(Error::Damaged("a long name or an attribute is too large"));
        }
        self.begin_content(size);
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn begin_content(&mut self, size: u64) {
        self.content = size;
        self.padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
    }

    fn entry(&mut self, header: &tar::Header, size: u64, overrides: Overrides) -> Result<Entry, Error> {
        let path = overrides.path.unwrap_or_else(|| header.path_bytes().into_owned());
        let kind = match header.entry_type().as_byte() {
            // A name that ends with a slash was a directory before there was a type for them.
            b'\0' | b'0' if path.ends_with(b"/") => Kind::Directory,
            b'\0' | b'0' | b'7' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' => Kind::CharacterDevice,
            b'4' => Kind::BlockDevice,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            b'S' => return Err(SPARSE),
            kind => return Err(Error::Unknown { path: lossy(&path), kind: char::from(kind) }),
        };
        let link = match overrides.link {
            Some(link) => link,
            None => header.link_name_bytes().map(|name| name.into_owned()).unwrap_or_default(),
        };
        if path.contains(&0)
            || link.contains(&0)
            || path.len() as u64 > LONGEST_PATH
            || link.len() as u64 > LONGEST_PATH
        {
            return Err(Error::Damaged("a path is too long or holds a zero byte"));
        }
        let size = match overrides.size {
            // One beyond 8 GiB has no place in the header, where nothing is then.
            Some(said) if size == 0 || said == size => said,
            Some(_) => return Err(Error::Damaged("the two sizes of a file differ")),
            None => size,
        };
        let number = |value: io::Result<u64>| {
            value.ok().and_then(|id| u32::try_from(id).ok()).ok_or(Error::Damaged("an owner is no number"))
        };
        let mtime = header.mtime().ok().and_then(|seconds| i64::try_from(seconds).ok()).unwrap_or(0);
        let device = match kind {
            Kind::CharacterDevice | Kind::BlockDevice => {
                let part =
                    |part: io::Result<Option<u32>>| part.ok().flatten().ok_or(Error::Damaged("a device has no number"));
                (part(header.device_major())?, part(header.device_minor())?)
            }
            _ => (0, 0),
        };
        // A hard link can come with a size that no content follows; archives of other programs than tar only.
        let size = if kind == Kind::File { size } else { 0 };
        self.begin_content(size);
        Ok(Entry {
            kind,
            mode: header.mode().map_err(|_| Error::Damaged("a mode is no number"))? & 0o7777,
            uid: overrides.uid.map_or_else(|| number(header.uid()), Ok)?,
            gid: overrides.gid.map_or_else(|| number(header.gid()), Ok)?,
            mtime: overrides.mtime.unwrap_or((mtime, 0)),
            size,
            link,
            device,
            xattrs: overrides.xattrs,
            path,
        })
    }
}

impl<R: Read> Read for TarReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let chunk = usize::try_from(self.content).unwrap_or(usize::MAX).min(buffer.len());
        if chunk == 0 {
            return Ok(0);
        }
        let read = self.inner.read(&mut buffer[..chunk])?;
        if read == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive ends within a file"));
        }
        self.content -= read as u64;
        Ok(read)
    }
}

/// Fills the buffer as far as the stream goes.
fn read_full(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn check_sum(header: &tar::Header, block: &[u8; BLOCK]) -> Result<(), Error> {
    // The sum is taken with blanks in its own place.
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    let expected = sum(&block[..148]) + 8 * u32::from(b' ') + sum(&block[156..]);
    match header.cksum() {
        Ok(found) if found == expected => Ok(()),
        _ => Err(Error::Damaged("a header's check sum is wrong")),
    }
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(end);
    }
    bytes
}

/// Records of the form `LENGTH KEY=VALUE\n`, the length being that of the whole record.
fn read_pax(mut records: &[u8], overrides: &mut Overrides) -> Result<(), Error> {
    const WRONG: Error = Error::Damaged("a pax record is malformed");
    while !records.is_empty() {
        let blank = records.iter().take(8).position(|byte| *byte == b' ').ok_or(WRONG)?;
        let length: usize = parse(&records[..blank]).ok_or(WRONG)?;
        if length <= blank + 1 || length > records.len() || records[length - 1] != b'\n' {
            return Err(WRONG);
        }
        let record = &records[blank + 1..length - 1];
        records = &records[length..];
        let equals = record.iter().position(|byte| *byte == b'=').ok_or(WRONG)?;
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        match key {
            b"path" => overrides.path = Some(value.to_vec()),
            b"linkpath" => overrides.link = Some(value.to_vec()),
            b"uid" => overrides.uid = Some(parse(value).ok_or(WRONG)?),
            b"gid" => overrides.gid = Some(parse(value).ok_or(WRONG)?),
            b"size" => overrides.size = Some(parse(value).ok_or(WRONG)?),
            b"mtime" => overrides.mtime = Some(parse_time(value).ok_or(WRONG)?),
            _ if key.starts_with(b"GNU.sparse.") => return Err(SPARSE),
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    overrides.xattrs.push((name.to_vec(), value.to_vec()));
                }
            }
        }
    }
    Ok(())
}

fn parse<T: std::str::FromStr>(digits: &[u8]) -> Option<T> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn parse_time(value: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(value).ok()?;
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    Some((seconds.parse().ok()?, digits.parse().ok()?))
}

/// A path for messages.
pub(crate) fn lossy(path: &[u8]) -> String {
    String::from_utf8_lossy(path).chars().take(300).collect()
}

#[cfg(test)]
mod tests;
