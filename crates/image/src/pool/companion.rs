//! Files that belong to an image by their names: settings, and what its contents are checked against.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, openat, renameat_with, statat, unlinkat};
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

/// Refuses if one of the new names is taken.
pub(super) fn refuse_existing(pairs: &[(PathBuf, PathBuf)]) -> Result<(), Error> {
    match pairs.iter().find(|(_, new)| statat(CWD, new, AtFlags::SYMLINK_NOFOLLOW).is_ok()) {
        Some((_, new)) => Err(Error::CompanionExists(new.clone())),
        None => Ok(()),
    }
}

/// Gives them their new names.
pub(super) fn rename(pairs: &[(PathBuf, PathBuf)]) -> Result<(), Error> {
    for (old, new) in pairs {
        renameat_with(CWD, old, CWD, new, RenameFlags::NOREPLACE).map_err(failed("rename", old))?;
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

/// Copies the settings. A link is not followed, and what is there already stays.
pub(super) fn copy(pairs: &[(PathBuf, PathBuf)]) -> Result<(), Error> {
    for (old, new) in pairs.iter().filter(|(old, _)| old.as_os_str().as_encoded_bytes().ends_with(SETTINGS.as_bytes()))
    {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let source = openat(CWD, old, flags, Mode::empty()).map_err(failed("open", old))?;
        let status = rustix::fs::fstat(&source).map_err(failed("examine", old))?;
        if !FileType::from_raw_mode(status.st_mode).is_file() {
            continue;
        }
        let io = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
        let mut text = Vec::new();
        let read = File::from(source).take(LARGEST + 1).read_to_end(&mut text);
        read.map_err(|error| failed("read", old)(io(error)))?;
        if text.len() as u64 > LARGEST {
            return Err(failed("copy", old)(Errno::FBIG));
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(status.st_mode & 0o777);
        let target = openat(CWD, new, flags, mode).map_err(failed("make", new))?;
        File::from(target).write_all(&text).map_err(|error| failed("write", new)(io(error)))?;
    }
    Ok(())
}
