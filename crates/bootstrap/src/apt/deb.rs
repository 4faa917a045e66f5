//! The format of `.deb` files, see deb(5): an `ar` archive of `debian-binary`, `control.tar` and `data.tar`, the latter
//! two plain or compressed. Read as a stream, and as hostile input.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read};

use crate::tar_reader::{self, Kind, TarReader};

/// The most that the control files of a package may need in memory. The largest in Debian are a few MiB.
const LARGEST_CONTROL: u64 = 64 << 20;
/// The most control files.
const MOST_CONTROL_FILES: usize = 1000;
/// The most memory that xz may use to decompress; its highest preset needs 65 MiB.
const XZ_MEMORY: u64 = 256 << 20;

/// What is wrong with a `.deb` file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("the package file cannot be read")]
    Read(#[from] io::Error),
    /// The file does not follow the format.
    #[error("not a usable package file: {0}")]
    Damaged(&'static str),
    /// A member is compressed in a way that is not supported.
    #[error("its member '{0}' is compressed in an unknown way")]
    Compression(String),
    /// The control files cannot be read.
    #[error("its control files cannot be read")]
    Control(#[source] tar_reader::Error),
}

/// A file that tells dpkg about the package: `control`, `postinst`, …
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlFile {
    /// Its content.
    pub content: Vec<u8>,
    /// Whether it can be executed.
    pub executable: bool,
}

/// A `.deb` whose control files have been read, ready to give the files it installs.
pub struct Deb<R: BufRead> {
    /// The control files by name.
    pub control: BTreeMap<String, ControlFile>,
    /// The files, a tar archive.
    pub data: TarReader<Box<dyn Read>>,
    _file: std::marker::PhantomData<R>,
}

impl<R: BufRead + 'static> Deb<R> {
    /// Reads up to the beginning of `data.tar`.
    ///
    /// # Errors
    /// Where the file cannot be read or is no `.deb` of format 2.
    pub fn read(mut file: R) -> Result<Self, Error> {
        let mut magic = [0; 8];
        file.read_exact(&mut magic)?;
        if &magic != b"!<arch>\n" {
            return Err(Error::Damaged("it is no ar archive"));
        }
        let (name, size) = next_member(&mut file)?;
        if name != "debian-binary" || size > 64 {
            return Err(Error::Damaged("it does not begin with 'debian-binary'"));
        }
        let version = read_member(&mut file, size)?;
        if !version.starts_with(b"2.") {
            return Err(Error::Damaged("its format is not 2.x"));
        }
        let mut control = None;
        loop {
            let (name, size) = next_member(&mut file)?;
            if let Some(suffix) = name.strip_prefix("control.tar") {
                if control.is_some() || size > LARGEST_CONTROL {
                    return Err(Error::Damaged("it has two control archives, or a very large one"));
                }
                let packed = read_member(&mut file, size)?;
                control = Some(read_control(decoder(io::Cursor::new(packed), suffix, &name)?)?);
            } else if let Some(suffix) = name.strip_prefix("data.tar") {
                let control = control.ok_or(Error::Damaged("its files come before its control archive"))?;
                let data = TarReader::new(decoder(file.take(size), suffix, &name)?);
                return Ok(Self { control, data, _file: std::marker::PhantomData });
            } else if name.starts_with('_') && size <= LARGEST_CONTROL {
                read_member(&mut file, size)?;
            } else {
                return Err(Error::Damaged("it has a member of an unknown name"));
            }
        }
    }
}

/// The header of the next member: its name and size.
fn next_member(file: &mut impl Read) -> Result<(String, u64), Error> {
    let mut header = [0; 60];
    file.read_exact(&mut header)?;
    if &header[58..] != b"`\n" {
        return Err(Error::Damaged("a header of its ar archive is wrong"));
    }
    let text = |range: std::ops::Range<usize>| {
        std::str::from_utf8(&header[range]).map(str::trim_end).map_err(|_| Error::Damaged("a member's name is no text"))
    };
    // GNU ar ends names with a slash.
    let name = text(0..16)?;
    let name = name.strip_suffix('/').unwrap_or(name).to_owned();
    let size = text(48..58)?;
    if size.is_empty() || !size.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Error::Damaged("a member's size is no number"));
    }
    Ok((name, size.parse().map_err(|_| Error::Damaged("a member's size is no number"))?))
}

/// The content of a member, with the byte that follows one of odd size.
fn read_member(file: &mut impl Read, size: u64) -> Result<Vec<u8>, Error> {
    let mut content = Vec::new();
    file.take(size).read_to_end(&mut content)?;
    if (content.len() as u64) < size {
        return Err(Error::Damaged("it ends early"));
    }
    if size % 2 == 1 {
        file.read_exact(&mut [0])?;
    }
    Ok(content)
}

fn decoder<R: BufRead + 'static>(packed: R, suffix: &str, name: &str) -> Result<Box<dyn Read>, Error> {
    Ok(match suffix {
        "" => Box::new(packed),
        ".gz" => Box::new(flate2::bufread::MultiGzDecoder::new(packed)),
        ".xz" => {
            let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)
                .map_err(io::Error::from)?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(packed, stream))
        }
        // The window is limited to 128 MiB by the library.
        ".zst" => Box::new(zstd::stream::read::Decoder::with_buffer(packed)?),
        _ => return Err(Error::Compression(name.to_owned())),
    })
}

fn read_control(unpacked: Box<dyn Read>) -> Result<BTreeMap<String, ControlFile>, Error> {
    // One byte more than allowed, so that an archive that goes on is noticed.
    let mut archive = TarReader::new(unpacked.take(LARGEST_CONTROL + 1));
    let mut files = BTreeMap::new();
    let mut total = 0;
    while let Some(entry) = archive.next_entry().map_err(Error::Control)? {
        if entry.kind == Kind::Directory {
            continue;
        }
        total += entry.size;
        if total > LARGEST_CONTROL || files.len() >= MOST_CONTROL_FILES {
            return Err(Error::Damaged("its control files are too large"));
        }
        let name = entry.path.strip_prefix(b"./").unwrap_or(&entry.path);
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_+.".contains(byte);
        if entry.kind != Kind::File || name.is_empty() || name[0] == b'.' || !name.iter().all(plain) {
            return Err(Error::Damaged("it has a control file that is no plain file"));
        }
        let mut content = Vec::new();
        archive.read_to_end(&mut content)?;
        let name = String::from_utf8_lossy(name).into_owned();
        files.insert(name, ControlFile { content, executable: entry.mode & 0o100 != 0 });
    }
    if !files.contains_key("control") {
        return Err(Error::Damaged("it has no file 'control'"));
    }
    Ok(files)
}
