//! The users of a machine by their names inside. The machine owns its `/etc/passwd`: it is read within bounds of size and
//! time, and only ever for names.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::sync::mpsc;
use std::time::Duration;

use machine::entrance;
use machine::state::State;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat};

use crate::host_process;

/// How much of the file is read, in bytes.
const LONGEST: u64 = 1 << 20;
/// How long a file system of the machine's own may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// The longest name that is shown.
const LONGEST_NAME: usize = 32;

/// Ids and names.
#[derive(Debug, Default)]
pub(crate) struct Users {
    /// From inside, from outside, how many: user_namespaces(7).
    map: Vec<(u32, u32, u32)>,
    names: HashMap<u32, String>,
}

impl Users {
    /// Those of a machine.
    pub(crate) fn of(state: &State) -> Self {
        let leader = &state.leader;
        let map = host_process::read(leader.pid, "uid_map", 1 << 16).unwrap_or_default();
        let map = parse_map(&String::from_utf8_lossy(&map));
        let names = names(state);
        // If it has ended meanwhile, what was read may be somebody else's.
        if leader.lives() { Self { map, names } } else { Self::default() }
    }

    /// The user's number inside.
    pub(crate) fn inside(&self, uid: u32) -> Option<u32> {
        self.map.iter().find_map(|(inside, outside, count)| {
            let offset = uid.checked_sub(*outside)?;
            if offset < *count { inside.checked_add(offset) } else { None }
        })
    }

    /// The user's name inside, if the machine knows one.
    pub(crate) fn name(&self, inside: u32) -> Option<&str> {
        self.names.get(&inside).map(String::as_str)
    }
}

fn parse_map(text: &str) -> Vec<(u32, u32, u32)> {
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace().map_while(|word| word.parse::<u32>().ok());
        Some((words.next()?, words.next()?, words.next()?))
    });
    lines.collect()
}

/// Read by a thread of its own: the file may lie on a file system that a process inside serves and never answers for.
fn names(state: &State) -> HashMap<u32, String> {
    let (sender, receiver) = mpsc::channel();
    let Ok(root) = entrance::root_at_once(state) else { return HashMap::new() };
    std::thread::spawn(move || sender.send(parse(&read(&root).unwrap_or_default())));
    receiver.recv_timeout(PATIENCE).unwrap_or_default()
}

fn read(root: &OwnedFd) -> Option<Vec<u8>> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let found = sys::open::openat2(root, "etc/passwd", flags, Mode::empty(), resolve).ok()?;
    // Nothing but a file is opened: a device or a pipe could do something.
    if FileType::from_raw_mode(fstat(&found).ok()?.st_mode) != FileType::RegularFile {
        return None;
    }
    let again = sys::terminal::reopen(std::os::fd::AsFd::as_fd(&found), OFlags::RDONLY).ok()?;
    let mut text = Vec::new();
    File::from(again).take(LONGEST).read_to_end(&mut text).ok()?;
    Some(text)
}

/// The first name of each user, see passwd(5).
fn parse(text: &[u8]) -> HashMap<u32, String> {
    let mut names = HashMap::new();
    for line in text.split(|byte| *byte == b'\n') {
        let mut fields = line.split(|byte| *byte == b':');
        let (Some(name), Some(uid)) = (fields.next(), fields.nth(1)) else { continue };
        let Some(uid) = std::str::from_utf8(uid).ok().and_then(|uid| uid.parse().ok()) else { continue };
        if !name.is_empty() && name.len() <= LONGEST_NAME {
            names.entry(uid).or_insert_with(|| spec::printable(&String::from_utf8_lossy(name)));
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_inside() {
        let users = Users { map: parse_map("  0 65536 1000\n 5000 100000 1\n"), names: HashMap::new() };
        assert_eq!(users.inside(65536), Some(0));
        assert_eq!(users.inside(66535), Some(999));
        assert_eq!(users.inside(66536), None);
        assert_eq!(users.inside(0), None);
        assert_eq!(users.inside(100_000), Some(5000));
    }

    #[test]
    fn names_are_short_and_printable() {
        let long = "x".repeat(33);
        let text = format!(
            "root:x:0:0::/root:/bin/sh\ntoor:x:0:0:::\na\x1b[2J:x:1:1:::\n{long}:x:2:2:::\nbad\n:x:3:3:::\nb:x:-4:4:::\n"
        );
        let names = parse(text.as_bytes());
        assert_eq!(names.len(), 2);
        assert_eq!((names[&0].as_str(), names[&1].as_str()), ("root", "a\\u{1b}[2J"));
    }

    #[test]
    fn the_caller_s_own_system() {
        let leader = machine::Process::of(i32::try_from(std::process::id()).unwrap()).unwrap();
        let users = Users::of(&State { leader, ..machine::machines::host() });
        assert_eq!(users.name(0), Some("root"));
        assert_eq!(users.inside(0), Some(0));
    }
}
