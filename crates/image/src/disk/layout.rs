//! Which parts of an image are used for what. Reads, and decides; mounts nothing.

use std::fmt;
use std::io;

use super::format::{self, Format};
use super::gpt;
use super::mbr;
use super::role::{Meaning, Role, meaning};
use super::storage::Storage;
use super::version;

/// What an image consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Those that are used, each role once.
    pub parts: Vec<Part>,
    /// Bytes in a sector.
    pub sector: u32,
    /// What a person should know, as sentences about the image.
    pub notices: Vec<String>,
}

/// A partition that is used, or the whole image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its number in the table; none for the whole image.
    pub number: Option<u32>,
    /// What it is for.
    pub role: Role,
    /// Where it begins, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub size: u64,
    /// What it holds.
    pub format: Format,
    /// It is marked read-only.
    pub read_only: bool,
    /// Its file system is to be made as large as itself.
    pub grow: bool,
}

impl Part {
    /// Neither its mark nor its file system forbids writing.
    #[must_use]
    pub fn can_be_written(&self) -> bool {
        !self.read_only && !self.format.is_read_only()
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            None => f.write_str("the image"),
            Some(number) => write!(f, "partition {number} ({})", self.role),
        }
    }
}

/// Why an image cannot be used, as the end of a sentence about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Read(io::Error),
    /// Nothing is known of what is in it.
    #[error(
        "holds neither a file system nor a partition table that is known here; ext4, xfs, btrfs, squashfs and erofs are"
    )]
    Nothing,
    /// It is shorter than anything.
    #[error("is empty; was it downloaded or written to the end?")]
    Empty,
    /// Both a file system and a table.
    #[error("holds both a file system ({}) and a partition table; remove the wrong one with wipefs(8)", .0.name())]
    Ambiguous(Format),
    /// The table is broken.
    #[error(
        "has a damaged partition table (GPT): {0}; \"sfdisk --verify\" tells more, and gdisk(8) can restore it from its \
         backup"
    )]
    Damaged(&'static str),
    /// No partition for the root.
    #[error("has no root partition: {found}; {advice}")]
    NoRoot {
        /// What there is.
        found: String,
        /// What to do.
        advice: &'static str,
    },
    /// One is meant, but which?
    #[error("has several partitions that may be the root ({}), and none is marked; {advice}", list(.numbers))]
    SeveralRoots {
        /// Their numbers.
        numbers: Vec<u32>,
        /// What to do.
        advice: &'static str,
    },
    /// `/usr` and the root are for different processors.
    #[error("has a partition for /usr for another processor than {0}; remove one of the two")]
    Mixed(String),
    /// Encrypted.
    #[error("{0} is an encrypted LUKS volume, which is not opened yet; open it with cryptsetup(8) and name its device")]
    Luks(String),
    /// Protected.
    #[error(
        "{0} belongs to a file system that dm-verity protects, which is not set up yet; copy the file system to an \
         image without it"
    )]
    Verity(String),
    /// Not a file system.
    #[error("{part} holds {holds}, which is no file system that is known here; make one with mkfs(8)", holds = .format.map_or("nothing", Format::name))]
    NoFileSystem {
        /// Which partition.
        part: String,
        /// What it holds.
        format: Option<Format>,
    },
    /// Something ends beyond the image.
    #[error(
        "is cut off: {part} ends at {end} bytes, and the image has {size}; was it downloaded or copied to the end?"
    )]
    Truncated {
        /// What.
        part: String,
        /// Where it would end.
        end: u64,
        /// Where the image ends.
        size: u64,
    },
    /// The file system is larger than its partition.
    #[error("is cut off: the {} of {part} says that it has {claimed} bytes, and there are {size}; was it copied to the end?", .format.name())]
    TooLarge {
        /// Which partition.
        part: String,
        /// Which file system.
        format: Format,
        /// What it says.
        claimed: u64,
        /// What there is.
        size: u64,
    },
    /// The numbers of a partition make no sense.
    #[error("has a damaged partition table: {0} begins behind its end")]
    NoRange(String),
    /// Two partitions share bytes.
    #[error("has a damaged partition table: {0} and {1} overlap")]
    Overlap(String, String),
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

fn list(numbers: &[u32]) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

const MARK_ROOT: &str = "give one the type of a root partition, for example with sfdisk --part-type";
const MARK_BOOTABLE: &str = "mark exactly one as bootable, with sfdisk --activate";

/// A partition before it is known what it holds.
struct Candidate {
    number: u32,
    role: Role,
    range: Option<(u64, u64)>,
    read_only: bool,
    grow: bool,
    name: String,
}

impl Candidate {
    fn shown(&self) -> String {
        format!("partition {} ({})", self.number, self.role)
    }
}

/// Takes an image apart for processors of these kinds, the best one first.
///
/// # Errors
/// [`Error`], one for each way in which it cannot be used.
pub fn dissect(storage: &(impl Storage + ?Sized), architectures: &[&str]) -> Result<Layout, Error> {
    if storage.size() == 0 {
        return Err(Error::Empty);
    }
    let whole = format::detect(storage, 0, storage.size())?;
    let table = mbr::read(storage)?;
    let protective = table.iter().flatten().any(|entry| entry.kind == mbr::PROTECTIVE);
    let gpt = if protective { gpt::read(storage)? } else { gpt::Found::None };
    match (whole, gpt) {
        (Some(found), gpt::Found::Whole(_)) => Err(Error::Ambiguous(found.format)),
        (Some(found), _) => {
            let part = Candidate {
                number: 0,
                role: Role::Root,
                range: Some((0, storage.size())),
                read_only: false,
                grow: false,
                name: String::new(),
            };
            let mut part = check(storage, &part, "the image".to_owned(), Some(found))?;
            part.number = None;
            Ok(Layout { parts: vec![part], sector: 512, notices: Vec::new() })
        }
        (None, gpt::Found::Whole(table)) => of_gpt(storage, &table, architectures),
        (None, gpt::Found::Damaged(why)) => Err(Error::Damaged(why)),
        (None, gpt::Found::None) if protective => Err(Error::Damaged("there is none where it should be")),
        (None, gpt::Found::None) => of_mbr(storage, &table.ok_or(Error::Nothing)?),
    }
}

fn of_gpt(storage: &(impl Storage + ?Sized), table: &gpt::Table, architectures: &[&str]) -> Result<Layout, Error> {
    let chosen = choose(table, architectures)?;
    let mut notices = Vec::new();
    if table.backup {
        notices.push("its partition table is damaged, so the backup at its end is used".to_owned());
    }
    finish(storage, chosen, Layout { parts: Vec::new(), sector: table.sector, notices })
}

/// One partition for each role.
fn choose(table: &gpt::Table, architectures: &[&str]) -> Result<Vec<Candidate>, Error> {
    let mut chosen: Vec<(usize, Candidate)> = Vec::new();
    let (mut generic, mut foreign_hashes) = (Vec::new(), None);
    for entry in &table.entries {
        let (role, rank) = match meaning(entry.kind) {
            Meaning::Common(Role::Esp) if entry.no_block_io() => continue,
            Meaning::Common(Role::Esp) => (Role::Esp, 0),
            _ if entry.no_auto() => continue,
            Meaning::Common(role) => (role, 0),
            // Those of strange processors come last: the kernel may have been told of an emulator.
            Meaning::Of(name, role) => {
                (role, architectures.iter().position(|one| *one == name).unwrap_or(architectures.len()))
            }
            Meaning::Verity(name, role) if architectures.contains(&name) => {
                return Err(Error::Verity(format!("partition {} ({role} verity)", entry.number)));
            }
            Meaning::Generic => {
                generic.push(entry);
                continue;
            }
            Meaning::Verity(name, role) => {
                foreign_hashes = Some(format!("partition {} ({role} verity, {name})", entry.number));
                continue;
            }
            Meaning::Other => continue,
        };
        let versioned = matches!(role, Role::Root | Role::Usr);
        // A place for a later version, with nothing in it yet.
        if versioned && entry.name.iter().copied().eq("_empty".encode_utf16()) {
            continue;
        }
        let one = candidate(entry, role, table.sector);
        match chosen.iter_mut().find(|(_, other)| other.role == role) {
            None => chosen.push((rank, one)),
            Some((known, other)) => {
                let newer = rank == *known && versioned && version::compare(&one.name, &other.name).is_gt();
                if rank < *known || newer {
                    (*known, *other) = (rank, one);
                }
            }
        }
    }
    let of = |role| chosen.iter().find(|(_, one)| one.role == role);
    if let (Some((rank, root)), Some((other, _))) = (of(Role::Root), of(Role::Usr))
        && rank != other
    {
        return Err(Error::Mixed(root.shown()));
    }
    let strange = |role| of(role).is_some_and(|(rank, _)| *rank == architectures.len());
    if let Some(hashes) = foreign_hashes.filter(|_| strange(Role::Root) || strange(Role::Usr)) {
        return Err(Error::Verity(hashes));
    }
    let has = |role| chosen.iter().any(|(_, one)| one.role == role);
    let advice = MARK_ROOT;
    let more = match &generic[..] {
        // Without a root of its own it is in memory, around `/usr`.
        _ if has(Role::Root) || has(Role::Usr) => None,
        [] if table.entries.is_empty() => return Err(Error::NoRoot { found: "the table is empty".into(), advice }),
        [] => {
            let numbers: Vec<u32> = table.entries.iter().map(|entry| entry.number).collect();
            let found = format!("none of the partitions {} is of such a type", list(&numbers));
            return Err(Error::NoRoot { found, advice });
        }
        [one] => Some(candidate(one, Role::Root, table.sector)),
        several => {
            return Err(Error::SeveralRoots { numbers: several.iter().map(|entry| entry.number).collect(), advice });
        }
    };
    Ok(chosen.into_iter().map(|(_, one)| one).chain(more).collect())
}

fn candidate(entry: &gpt::Entry, role: Role, sector: u32) -> Candidate {
    let boot = role == Role::Esp;
    Candidate {
        number: entry.number,
        role,
        range: entry.range(sector),
        read_only: entry.read_only() && !boot,
        grow: entry.grow() && !boot,
        name: String::from_utf16_lossy(&entry.name),
    }
}

fn of_mbr(storage: &(impl Storage + ?Sized), entries: &[mbr::Entry]) -> Result<Layout, Error> {
    const LINUX: u8 = 0x83;
    let linux: Vec<&mbr::Entry> = entries.iter().filter(|entry| entry.kind == LINUX && entry.bootable).collect();
    let advice = MARK_BOOTABLE;
    let entry = match &linux[..] {
        [one] => one,
        // What looks like a table is then just two bytes.
        [] if entries.is_empty() => return Err(Error::Nothing),
        [] => {
            let numbers: Vec<u32> = entries.iter().map(|entry| entry.number).collect();
            let found = format!("none of the partitions {} is of the type 83 and bootable", list(&numbers));
            return Err(Error::NoRoot { found, advice });
        }
        several => {
            return Err(Error::SeveralRoots { numbers: several.iter().map(|entry| entry.number).collect(), advice });
        }
    };
    let root = Candidate {
        number: entry.number,
        role: Role::Root,
        range: Some((entry.offset, entry.size)),
        read_only: false,
        grow: false,
        name: String::new(),
    };
    finish(storage, vec![root], Layout { parts: Vec::new(), sector: 512, notices: Vec::new() })
}

/// Looks into the partitions, and at where they are.
fn finish(storage: &(impl Storage + ?Sized), mut chosen: Vec<Candidate>, mut layout: Layout) -> Result<Layout, Error> {
    chosen.sort_by_key(|one| one.role);
    for one in &chosen {
        let shown = one.shown();
        let Some((offset, size)) = one.range else { return Err(Error::NoRange(shown)) };
        if offset + size > storage.size() {
            return Err(Error::Truncated { part: shown, end: offset + size, size: storage.size() });
        }
        let found = format::detect(storage, offset, size)?;
        layout.parts.push(check(storage, one, shown, found)?);
    }
    let mut order: Vec<&Part> = layout.parts.iter().collect();
    order.sort_by_key(|part| part.offset);
    match order.windows(2).find(|pair| pair[0].offset + pair[0].size > pair[1].offset) {
        Some(pair) => Err(Error::Overlap(pair[0].to_string(), pair[1].to_string())),
        None => Ok(layout),
    }
}

fn check(
    storage: &(impl Storage + ?Sized),
    one: &Candidate,
    shown: String,
    found: Option<format::Found>,
) -> Result<Part, Error> {
    let (offset, size) = one.range.unwrap_or((0, storage.size()));
    let format = match found.map(|found| found.format) {
        Some(Format::Luks) => return Err(Error::Luks(shown)),
        Some(Format::Verity) => return Err(Error::Verity(shown)),
        Some(format) if format.file_system().is_some() => format,
        other => return Err(Error::NoFileSystem { part: shown, format: other }),
    };
    if let Some(claimed) = found.and_then(|found| found.claimed).filter(|claimed| *claimed > size) {
        return Err(Error::TooLarge { part: shown, format, claimed, size });
    }
    let Candidate { number, role, read_only, grow, .. } = *one;
    Ok(Part { number: Some(number), role, offset, size, format, read_only, grow })
}
