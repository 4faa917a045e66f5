//! What the system in an image calls itself.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, openat};
use spec::HostName;
use sys::open::openat2;

use super::{Error, Image, Pool, failed, hold};
use crate::disk::attach::Request;
use crate::disk::{Disk, Role};

/// The most that is read of a file.
const LARGEST: u64 = 64 * 1024;

/// What an image says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// From `/etc/hostname`.
    pub hostname: Option<String>,
    /// From `/etc/machine-id`.
    pub machine_id: Option<[u8; 16]>,
    /// The assignments of `/etc/machine-info`, in their order.
    pub machine_info: Vec<(String, String)>,
    /// The assignments of `/etc/os-release` or `/usr/lib/os-release`, in their order.
    pub os_release: Vec<(String, String)>,
}

impl Metadata {
    /// What the operating system is called.
    #[must_use]
    pub fn operating_system(&self) -> Option<&str> {
        let value = |key| self.os_release.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
        ["PRETTY_NAME", "NAME", "ID"].into_iter().filter_map(value).find(|value| !value.is_empty())
    }
}

impl Pool {
    /// Reads what an image says of itself. A disk image is mounted for that, read-only and where nobody sees it; the mount is
    /// gone with this process at the latest.
    ///
    /// # Errors
    /// [`Error`]: it cannot be opened, or is in use by somebody who writes to it.
    pub fn metadata(&self, image: &Image) -> Result<Metadata, Error> {
        if image.kind.is_tree() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let root = openat(CWD, &image.path, flags, Mode::empty()).map_err(failed("open", &image.path))?;
            return Ok(read(root.as_fd()));
        }
        let machine = hold::machine(&image.name);
        let disk = Disk::open(Request { run: &self.run, path: &image.path, machine: &machine, write: false })?;
        let metadata = read(disk.mount(Role::Root)?.as_fd());
        disk.release()?;
        Ok(metadata)
    }
}

fn read(root: BorrowedFd<'_>) -> Metadata {
    let text = |path| text_of(root, path);
    let os_release = text("etc/os-release").or_else(|| text("usr/lib/os-release"));
    Metadata {
        hostname: text("etc/hostname").as_deref().and_then(host_name),
        machine_id: text("etc/machine-id").as_deref().and_then(machine_id),
        machine_info: text("etc/machine-info").as_deref().map(assignments).unwrap_or_default(),
        os_release: os_release.as_deref().map(assignments).unwrap_or_default(),
    }
}

/// What a regular file in the tree has in it, however the way there is.
fn text_of(root: BorrowedFd<'_>, path: &str) -> Option<String> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    // By a first descriptor that opens nothing, so that no device's driver is called.
    let found = openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve).ok()?;
    let status = rustix::fs::fstat(&found).ok()?;
    if !FileType::from_raw_mode(status.st_mode).is_file() {
        return None;
    }
    let opened: OwnedFd = openat2(
        root,
        path,
        OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC,
        Mode::empty(),
        resolve,
    )
    .ok()?;
    let mut bytes = Vec::new();
    File::from(opened).take(LARGEST).read_to_end(&mut bytes).ok()?;
    String::from_utf8(bytes).ok()
}

fn host_name(text: &str) -> Option<String> {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'))?;
    HostName::try_from(line).ok().map(|name| name.to_string())
}

fn machine_id(text: &str) -> Option<[u8; 16]> {
    let text = text.strip_suffix('\n').unwrap_or(text);
    if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let id = u128::from_str_radix(text, 16).ok()?;
    (id != 0).then(|| id.to_be_bytes())
}

/// Assignments as os-release(5) describes them: a name, an equals sign, and a value that may be quoted as for a shell.
fn assignments(text: &str) -> Vec<(String, String)> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| {
        let (name, value) = line.split_once('=')?;
        let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        plain.then(|| (name.to_owned(), unquote(value)))
    });
    pairs.collect()
}

fn unquote(value: &str) -> String {
    let mut plain = String::new();
    let mut quote = None;
    let mut characters = value.trim().chars();
    while let Some(character) = characters.next() {
        match (character, quote) {
            ('\\', None) => plain.extend(characters.next()),
            ('\\', Some('"')) => match characters.next() {
                Some(escaped @ ('"' | '\\' | '$' | '`')) => plain.push(escaped),
                other => plain.extend(['\\'].into_iter().chain(other)),
            },
            ('"' | '\'', None) => quote = Some(character),
            (character, Some(open)) if character == open => quote = None,
            (character, _) => plain.push(character),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_are_read_as_a_shell_would() {
        let text = "# no\nID=debian\nPRETTY_NAME=\"A \\\"B\\\" $C \\x\"\nV='1 \\ 2'\nE=\nbad line\n=x\nP=a\\ b\n";
        let pairs = assignments(text);
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let wanted = [("ID", "debian"), ("PRETTY_NAME", "A \"B\" $C \\x"), ("V", "1 \\ 2"), ("E", ""), ("P", "a b")];
        assert_eq!(pairs, wanted);
    }

    #[test]
    fn ids_and_names_are_whole_or_none() {
        assert_eq!(machine_id("0123456789abcdef0123456789abcdef\n").map(|id| id[1]), Some(0x23));
        for bad in ["", "uninitialized", "0123", "00000000000000000000000000000000", "+123456789abcdef0123456789abcdef"]
        {
            assert_eq!(machine_id(bad), None, "{bad}");
        }
        assert_eq!(host_name("# a\n\n web \n").as_deref(), Some("web"));
        assert_eq!(host_name("-\u{1b}[2J\n"), None);
    }
}
