//! Which trees are held, by their paths: `/run/redd/trees` has an empty file for each path that a held tree was found by.
//! Who takes a tree sees by the names alone which ones lie above or below, however many machines run, and opens the locks
//! of those only.
//!
//! A mark is set after its lock was taken, and removed before that is given back, with the lock in exclusive hand. Those of
//! the dead are in nobody's way: the lock itself says whether anybody holds it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::io::Errno;

use crate::lock_file::list;
use crate::run_directory::{RunDirectory, make_directories};

/// The longest name of a file, see pathname(7).
const LONGEST: usize = 255;
/// Between the path and the name of the lock.
const BEFORE_LOCK: u8 = b'@';
/// In the place of a path that is too long for the name of a file. No path begins with it.
const TOO_LONG: &[u8] = b"%";

/// What a mark says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The name of the lock.
    pub(crate) lock: OsString,
    /// The path; its lock's file says it where it is too long.
    pub(crate) path: Option<PathBuf>,
}

/// Tells that the tree of this lock is held, by this path. One that is set already stays.
///
/// # Errors
/// Those of mknod(2) and mkdir(2).
pub(crate) fn set(run: &RunDirectory, path: &Path, lock: &OsStr) -> rustix::io::Result<()> {
    let mark = run.trees().join(name(path, lock));
    let make = || mknodat(CWD, &mark, FileType::RegularFile, Mode::RUSR | Mode::WUSR, 0);
    let made = match make() {
        Err(Errno::NOENT) => make_directories(&run.trees()).and_then(|()| make()),
        other => other,
    };
    match made {
        Err(Errno::EXIST) => Ok(()),
        other => other,
    }
}

/// Removes it. One that stays is in nobody's way.
pub(crate) fn unset(run: &RunDirectory, path: &Path, lock: &OsStr) {
    let _ = rustix::fs::unlink(run.trees().join(name(path, lock)));
}

/// The marks of trees above and below, and those that might be.
///
/// # Errors
/// Those of listing the directory.
pub(crate) fn nested(run: &RunDirectory, path: &Path, own: &OsStr) -> rustix::io::Result<Vec<Mark>> {
    let path = encoded(path);
    let near = |other: &[u8]| is_within(&path, other) || is_within(other, &path) || other == TOO_LONG;
    let marks = list(&run.trees())?;
    let marks = marks.iter().filter_map(|mark| split(mark).filter(|(other, lock)| *lock != own && near(other)));
    Ok(marks.map(|(other, lock)| Mark { lock: lock.to_owned(), path: decoded(other) }).collect())
}

/// All of them, as the names of their files and of their locks.
///
/// # Errors
/// Those of listing the directory.
pub(crate) fn all(run: &RunDirectory) -> rustix::io::Result<Vec<(PathBuf, OsString)>> {
    let (directory, marks) = (run.trees(), list(&run.trees())?);
    Ok(marks.iter().filter_map(|mark| Some((directory.join(mark), split(mark)?.1.to_owned()))).collect())
}

/// Whether a path, as it is written in a mark, is this directory or below it.
fn is_within(path: &[u8], directory: &[u8]) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| matches!(rest, [] | [b':', ..]))
}

fn name(path: &Path, lock: &OsStr) -> OsString {
    let mut name = encoded(path);
    if name.len() + 1 + lock.len() > LONGEST {
        name = TOO_LONG.to_vec();
    }
    name.push(BEFORE_LOCK);
    name.extend_from_slice(lock.as_bytes());
    OsString::from_vec(name)
}

fn split(mark: &OsStr) -> Option<(&[u8], &OsStr)> {
    let mark = mark.as_bytes();
    let at = mark.iter().position(|byte| *byte == BEFORE_LOCK)?;
    Some((&mark[..at], OsStr::from_bytes(&mark[at + 1..])))
}

/// A slash as a colon. Paths are below each other as what is made of them is.
fn encoded(path: &Path) -> Vec<u8> {
    let mut name = Vec::with_capacity(path.as_os_str().len());
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' => name.push(b':'),
            b':' => name.extend_from_slice(b"%3a"),
            b'%' => name.extend_from_slice(b"%25"),
            &BEFORE_LOCK => name.extend_from_slice(b"%40"),
            byte => name.push(*byte),
        }
    }
    name
}

fn decoded(name: &[u8]) -> Option<PathBuf> {
    if name == TOO_LONG {
        return None;
    }
    let mut path = Vec::with_capacity(name.len());
    let mut rest = name;
    while let [byte, behind @ ..] = rest {
        let (byte, behind) = match (byte, behind) {
            (b':', _) => (b'/', behind),
            (b'%', [b'3', b'a', behind @ ..]) => (b':', behind),
            (b'%', [b'2', b'5', behind @ ..]) => (b'%', behind),
            (b'%', [b'4', b'0', behind @ ..]) => (BEFORE_LOCK, behind),
            (byte, _) => (*byte, behind),
        };
        path.push(byte);
        rest = behind;
    }
    Some(OsString::from_vec(path).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_path_is_told_and_found() {
        let all: Vec<u8> = (1..=255).filter(|byte| *byte != b'/').collect();
        let odd = PathBuf::from("/srv").join(OsString::from_vec(all[..100].to_vec())).join("%3a:@%25");
        let lock = OsStr::new("inode-1:2");
        let mark = name(&odd, lock);
        let (path, found) = split(&mark).unwrap();
        assert_eq!((decoded(path), found), (Some(odd), lock));
        let long = Path::new("/").join("x".repeat(250));
        let mark = name(&long, lock);
        let (path, found) = split(&mark).unwrap();
        assert_eq!((decoded(path), found), (None, lock));
        assert!(mark.len() <= LONGEST);
    }

    #[test]
    fn those_above_and_below_are_near() {
        let base = tempfile::tempdir().unwrap();
        let run = RunDirectory::at(base.path().join("run"), base.path().join("peer"));
        let lock = |number: u32| OsString::from(format!("inode-8:{number}"));
        let long = format!("/{}", "y".repeat(300));
        let held = ["/srv/a", "/srv/a/b/c", "/srv/ab", "/srv", "/home", "/srv/a:b", &long];
        for (number, path) in held.iter().enumerate() {
            set(&run, Path::new(path), &lock(number as u32)).unwrap();
            set(&run, Path::new(path), &lock(number as u32)).unwrap();
        }
        let near = |path: &str, own: u32| {
            let mut near: Vec<_> = nested(&run, Path::new(path), &lock(own)).unwrap();
            near.sort_by(|one, other| one.lock.cmp(&other.lock));
            near.into_iter().map(|mark| mark.path.map(|path| path.to_str().unwrap().to_owned())).collect::<Vec<_>>()
        };
        let some = |path: &str| Some(path.to_owned());
        assert_eq!(near("/srv/a", 0), [some("/srv/a/b/c"), some("/srv"), None]);
        assert_eq!(near("/srv/a/b", 9), [some("/srv/a"), some("/srv/a/b/c"), some("/srv"), None]);
        assert_eq!(near("/srv/a:b", 5), [some("/srv"), None]);
        assert_eq!(near("/var", 9), [None]);
        unset(&run, Path::new("/srv"), &lock(3));
        assert_eq!(near("/srv/ab/x", 9), [some("/srv/ab"), None]);
        assert_eq!(all(&run).unwrap().len(), held.len() - 1);
    }
}
