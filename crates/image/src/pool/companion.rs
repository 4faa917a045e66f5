//! Files that belong to an image by their names: settings, and what its contents are checked against.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, linkat, openat, renameat_with, statat, unlinkat};
use rustix::io::Errno;

use super::{Error, Pool, failed};

const SETTINGS: &str = ".nspawn";
/// What else is beside disk images, see systemd-nspawn(1), `--root-hash=` and `--verity-data=`.
const BESIDE: [&str; 3] = [SETTINGS, ".roothash", ".verity"];
/// More than a settings file needs.
const LARGEST: u64 = 1024 * 1024;

/// Where the files of an image may be: in the administrator's directories, and beside it.
fn candidates(pool: &Pool, place: &Path, name: &str) -> Vec<PathBuf> {
    let file = |directory: &Path, ending: &str| {
        let mut file = OsString::from(name);
        file.push(ending);
        directory.join(file)
    };
    let settings = pool.settings.iter().map(|directory| file(directory, SETTINGS));
    settings.chain(BESIDE.iter().map(|ending| file(place, ending))).collect()
}

fn is_file(path: &Path) -> bool {
    statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|status| !FileType::from_raw_mode(status.st_mode).is_dir())
}

/// The files of an image, by the directory that it is in and its name, and what they would be called if they belonged to
/// another.
pub(super) fn pairs(pool: &Pool, image: (&Path, &str), other: (&Path, &str)) -> Vec<(PathBuf, PathBuf)> {
    let pairs = candidates(pool, image.0, image.1).into_iter().zip(candidates(pool, other.0, other.1));
    pairs.filter(|(old, _)| is_file(old)).collect()
}

/// Refuses if one of the new names is taken. What a killed call has left there, the same file or the same text, is taken over.
pub(super) fn refuse_existing(pairs: &[(PathBuf, PathBuf)]) -> Result<(), Error> {
    let there = |new: &Path| statat(CWD, new, AtFlags::SYMLINK_NOFOLLOW).is_ok();
    match pairs.iter().find(|(old, new)| there(new) && !is_same(old, new) && !says_the_same(old, new)) {
        Some((_, new)) => Err(Error::CompanionExists(new.clone())),
        None => Ok(()),
    }
}

fn is_same(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| {
        let status = statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        Some((status.st_dev, status.st_ino))
    };
    identity(one).is_some_and(|known| identity(other) == Some(known))
}

fn says_the_same(one: &Path, other: &Path) -> bool {
    match (read(one), read(other)) {
        (Ok(Some((text, _))), Ok(Some((known, _)))) => text == known,
        _ => false,
    }
}

/// Gives them their new names beside the old ones, before the image itself is renamed: under either name it has its settings,
/// whenever this is killed. Those that are new; on a failure there are none.
pub(super) fn link(pairs: &[(PathBuf, PathBuf)]) -> Result<Vec<&Path>, Error> {
    let mut made: Vec<&Path> = Vec::with_capacity(pairs.len());
    for (old, new) in pairs {
        match linkat(CWD, old, CWD, new, AtFlags::empty()) {
            Ok(()) => made.push(new),
            // A killed call has come so far, or the file system has no second names: the only one is changed afterwards.
            Err(Errno::EXIST | Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK) => {}
            Err(source) => {
                take_back(&made);
                return Err(failed("rename", old)(source));
            }
        }
    }
    Ok(made)
}

/// Removes what was made for an image that has not come to be.
pub(super) fn take_back(made: &[impl AsRef<Path>]) {
    for path in made {
        // That the image could not be made or renamed says more.
        let _ = unlinkat(CWD, path.as_ref(), AtFlags::empty());
    }
}

/// Takes their old names from them.
pub(super) fn settle(pairs: &[(PathBuf, PathBuf)]) -> Result<(), Error> {
    for (old, new) in pairs {
        let settled = if is_same(old, new) || says_the_same(old, new) {
            unlinkat(CWD, old, AtFlags::empty())
        } else {
            renameat_with(CWD, old, CWD, new, RenameFlags::NOREPLACE)
        };
        settled.map_err(failed("rename", old))?;
    }
    Ok(())
}

/// Removes the files of an image. All are tried; the first failure is told.
pub(super) fn remove(pool: &Pool, place: &Path, name: &str) -> Result<(), Error> {
    let mut result = Ok(());
    for path in candidates(pool, place, name).into_iter().filter(|path| is_file(path)) {
        let removed = unlinkat(CWD, &path, AtFlags::empty());
        result = result.and(removed.map_err(failed("remove", &path)));
    }
    result
}

/// Copies the settings, before there is an image that they are for. A link is not followed, and what is there already stays.
/// Those that are new; on a failure there are none.
pub(super) fn copy(pairs: &[(PathBuf, PathBuf)]) -> Result<Vec<PathBuf>, Error> {
    let mut made = Vec::new();
    for (old, new) in pairs.iter().filter(|(old, _)| old.as_os_str().as_encoded_bytes().ends_with(SETTINGS.as_bytes()))
    {
        let copied = read(old).and_then(|found| match found {
            Some((text, mode)) => write(new, &text, mode),
            None => Ok(false),
        });
        match copied {
            Ok(true) => made.push(new.clone()),
            Ok(false) => {}
            Err(error) => {
                take_back(&made);
                return Err(error);
            }
        }
    }
    Ok(made)
}

/// What is in a settings file, and its mode; nothing of what is no regular file.
fn read(path: &Path) -> Result<Option<(Vec<u8>, Mode)>, Error> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let source = match openat(CWD, path, flags, Mode::empty()) {
        Err(Errno::LOOP) => return Ok(None),
        other => other.map_err(failed("open", path))?,
    };
    let status = rustix::fs::fstat(&source).map_err(failed("examine", path))?;
    if !FileType::from_raw_mode(status.st_mode).is_file() {
        return Ok(None);
    }
    let mut text = Vec::new();
    let read = File::from(source).take(LARGEST + 1).read_to_end(&mut text);
    read.map_err(|error| failed("read", path)(errno(&error)))?;
    if text.len() as u64 > LARGEST {
        return Err(failed("copy", path)(Errno::FBIG));
    }
    Ok(Some((text, Mode::from_raw_mode(status.st_mode & 0o777))))
}

/// Makes a file, which is there whole or not at all where the file system can do that; false if there is one.
fn write(path: &Path, text: &[u8], mode: Mode) -> Result<bool, Error> {
    let place = path.parent().unwrap_or(Path::new("/"));
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let nameless = openat(CWD, place, flags | OFlags::TMPFILE, mode);
    let (target, named) = match nameless {
        Ok(target) => (target, false),
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
            match openat(CWD, path, flags | OFlags::CREATE | OFlags::EXCL, mode) {
                Err(Errno::EXIST) => return Ok(false),
                other => (other.map_err(failed("make", path))?, true),
            }
        }
        Err(source) => return Err(failed("make", path)(source)),
    };
    let mut target = File::from(target);
    target.write_all(text).map_err(|error| failed("write", path)(errno(&error)))?;
    if named {
        return Ok(true);
    }
    let own = format!("/proc/self/fd/{}", target.as_raw_fd());
    match linkat(CWD, own, CWD, path, AtFlags::SYMLINK_FOLLOW) {
        Err(Errno::EXIST) => Ok(false),
        other => other.map(|()| true).map_err(failed("make", path)),
    }
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
