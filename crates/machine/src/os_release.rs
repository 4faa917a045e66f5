//! What a system says of itself, see os-release(5). A machine owns that file: it is opened inside its root, read within
//! bounds, and what is in it is only ever shown.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat};
use rustix::io::{self, Errno};

use crate::entrance::{self, Way};
use crate::read::{End, read_at_most};
use crate::side_by_side::SideBySide;
use crate::state::State;

/// How much of the file is read, in bytes.
const LONGEST: usize = 64 << 10;
/// The longest value that is shown, in bytes.
const LONGEST_VALUE: usize = 256;
/// How long it may take: a process inside may serve the file system, and already the way to the file then, see fuse(4).
const PATIENCE: Duration = Duration::from_secs(1);
/// Where it is, the first one that is there.
const PLACES: [&str; 2] = ["etc/os-release", "usr/lib/os-release"];

/// The fields, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OsRelease {
    fields: Vec<(String, String)>,
}

impl OsRelease {
    /// That of a machine. One that only comes up is not waited for.
    ///
    /// # Errors
    /// `EACCES` where the caller may not look inside, `EAGAIN` while it has no files yet, `ENOENT` if there is none, `ESRCH` if
    /// the machine has ended, `ETIMEDOUT` if its file system does not answer.
    pub fn of_machine(state: &State) -> io::Result<Self> {
        Self::below(entrance::root_at_once(state)?)
    }

    /// That of the host.
    ///
    /// # Errors
    /// `ENOENT` if there is none.
    pub fn of_host() -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Self::below(rustix::fs::openat(CWD, "/", flags, Mode::empty())?)
    }

    fn below(root: OwnedFd) -> io::Result<Self> {
        let mut reading = SideBySide::new(read_first);
        reading.add(root);
        reading.results(PATIENCE).pop().map_or(Err(Errno::TIMEDOUT), told)
    }

    /// What a file says.
    #[must_use]
    pub fn parse(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        let fields = text.lines().filter_map(|line| {
            let line = line.trim();
            let (name, value) = line.split_once('=')?;
            let proper = name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
            if name.is_empty() || !proper || name.len() > LONGEST_VALUE {
                return None;
            }
            Some((name.to_owned(), shown(&unquoted(value))))
        });
        Self { fields: fields.collect() }
    }

    /// A field, if it is there and not empty; the last one counts. No control character is in it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().rev().find(|(field, _)| field == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// All fields in their order. No control character is in them.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Its name for people.
    #[must_use]
    pub fn pretty_name(&self) -> Option<&str> {
        self.get("PRETTY_NAME").or_else(|| self.get("NAME"))
    }
}

/// Those of many machines, read while others are added.
pub struct Reading(SideBySide<Way, io::Result<OsRelease>>);

impl Reading {
    /// Nothing as yet.
    #[must_use]
    pub fn new() -> Self {
        Self(SideBySide::new(|way, buffer| read_first(&way.root_at_once()?, buffer)))
    }

    /// Another one.
    pub fn add(&mut self, state: &State) {
        self.0.add(Way::of(state));
    }

    /// In the order in which they were added, each as by [`OsRelease::of_machine`].
    #[must_use]
    pub fn results(self) -> Vec<io::Result<OsRelease>> {
        self.0.results(PATIENCE).into_iter().map(told).collect()
    }
}

impl Default for Reading {
    fn default() -> Self {
        Self::new()
    }
}

fn shown(value: &str) -> String {
    let mut end = value.len().min(LONGEST_VALUE);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    spec::printable(&value[..end])
}

/// As a shell reads an assignment of one word.
fn unquoted(value: &str) -> String {
    let mut result = String::with_capacity(value.len());
    let mut quote = None;
    let mut letters = value.chars();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            ('\\', Some('"') | None) => result.extend(letters.next()),
            (letter, Some(open)) if letter == open => quote = None,
            ('"' | '\'', None) => quote = Some(letter),
            (letter, None) if letter.is_whitespace() => break,
            (letter, _) => result.push(letter),
        }
    }
    result
}

/// What was read, or that nothing has come.
fn told(read: Option<io::Result<OsRelease>>) -> io::Result<OsRelease> {
    read.unwrap_or(Err(Errno::TIMEDOUT))
}

fn read_first(root: &OwnedFd, buffer: &mut Vec<u8>) -> io::Result<OsRelease> {
    let mut result = Err(Errno::NOENT);
    for place in PLACES {
        result = read_file(root, place, buffer);
        if result.is_ok() {
            break;
        }
    }
    result.map(OsRelease::parse)
}

fn read_file<'a>(root: &OwnedFd, path: &str, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
    // Found without being opened: a pipe or a device could do something.
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let found = sys::open::openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)?;
    let stat = fstat(&found)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Errno::NOENT);
    }
    let file = sys::terminal::reopen(found.as_fd(), OFlags::RDONLY)?;
    let end = if stat.st_size > 0 { End::Short } else { End::Empty };
    read_at_most(file.as_fd(), end, LONGEST, buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_unquoted_bounded_and_printable() {
        let long = "x".repeat(1000);
        let text = format!(
            "# a comment\nID=debian\nNAME=\"Debian \\\"GNU\\\"/Linux\"\nVERSION_ID='12'\nPRETTY_NAME=\"a\x1b[2Jb\"\nlower=x\n\
             LONG={long}\nEMPTY=\nID=second\nHOME_URL=a b\n=x\n"
        );
        let read = OsRelease::parse(text.as_bytes());
        assert_eq!(read.get("ID"), Some("second"));
        assert_eq!(read.get("NAME"), Some("Debian \"GNU\"/Linux"));
        assert_eq!(read.get("VERSION_ID"), Some("12"));
        assert_eq!(read.pretty_name(), Some("a\\u{1b}[2Jb"));
        assert_eq!(read.get("LONG").map(str::len), Some(LONGEST_VALUE));
        assert_eq!(read.get("HOME_URL"), Some("a"));
        assert_eq!((read.get("EMPTY"), read.get("lower")), (None, None));
        assert_eq!(OsRelease::parse(b"\xff\xfe=\n\0\0"), OsRelease::default());
    }

    #[test]
    fn only_files_inside_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let opened = || rustix::fs::open(root, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        assert_eq!(OsRelease::below(opened()), Err(Errno::NOENT));
        std::fs::create_dir_all(root.join("etc")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", root.join("etc/os-release")).unwrap();
        assert_eq!(OsRelease::below(opened()), Err(Errno::NOENT), "the host's is not looked at");
        std::fs::write(root.join("etc/passwd"), "ID=inside\n").unwrap();
        assert_eq!(OsRelease::below(opened()).unwrap().get("ID"), Some("inside"));
        std::fs::remove_file(root.join("etc/passwd")).unwrap();
        rustix::fs::mknodat(CWD, root.join("etc/passwd"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        assert_eq!(OsRelease::below(opened()), Err(Errno::NOENT), "a pipe is not waited for");
    }
}
