//! The host's directory of a machine's journal, `/var/log/journal/ID` (systemd-nspawn(1), `--link-journal=`).
//!
//! What is prepared stays, so that the next start finds it; only a start that fails undoes what it has done.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use plan::JOURNALS;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, mkdirat, openat, readlinkat, symlinkat, unlinkat};
use rustix::io::Errno;

/// Why it cannot be prepared.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {JOURNALS}/{id}", id = .id)]
pub struct Error {
    action: &'static str,
    id: String,
    source: Errno,
}

/// What was there before.
#[derive(Debug, PartialEq, Eq)]
enum Before {
    Nothing,
    Link(CString),
    EmptyDirectory,
}

/// A directory, or a link, that this start has made.
#[derive(Debug)]
pub(crate) struct Prepared {
    directory: OwnedFd,
    id: String,
    guest: Option<PathBuf>,
    before: Before,
}

/// Makes the link to `guest`, or the directory where there is none. A link that leads elsewhere and an empty directory
/// are replaced.
pub(crate) fn prepare(id: &str, guest: Option<&Path>) -> Result<Prepared, Error> {
    let failed = |action| move |source| Error { action, id: id.to_owned(), source };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = openat(CWD, JOURNALS, flags, Mode::empty()).map_err(failed("find the directory of"))?;
    let before = match readlinkat(&directory, id, Vec::new()) {
        Ok(link) => {
            unlinkat(&directory, id, AtFlags::empty()).map_err(failed("remove the link"))?;
            Before::Link(link)
        }
        Err(Errno::NOENT) => Before::Nothing,
        Err(Errno::INVAL) => {
            unlinkat(&directory, id, AtFlags::REMOVEDIR).map_err(failed("remove the directory"))?;
            Before::EmptyDirectory
        }
        Err(source) => return Err(failed("look at")(source)),
    };
    let prepared = Prepared { directory, id: id.to_owned(), guest: guest.map(Path::to_owned), before };
    if let Err(source) = make(&prepared.directory, id, guest) {
        restore(&prepared).map_err(failed("bring back"))?;
        return Err(failed("make")(source));
    }
    Ok(prepared)
}

fn make(directory: &OwnedFd, id: &str, guest: Option<&Path>) -> rustix::io::Result<()> {
    match guest {
        Some(guest) => symlinkat(guest, directory, id),
        None => mkdirat(directory, id, Mode::from_raw_mode(0o755)),
    }
}

/// Brings back what was there before, unless something else is there by now.
pub(crate) fn undo(prepared: &Prepared) -> Result<(), Error> {
    let failed = |source| Error { action: "bring back", id: prepared.id.clone(), source };
    let (directory, id) = (&prepared.directory, prepared.id.as_str());
    match &prepared.guest {
        Some(guest) => {
            match readlinkat(directory, id, Vec::new()) {
                Ok(present) if present.as_bytes() == guest.as_os_str().as_bytes() => {}
                // Something else.
                Ok(_) | Err(Errno::INVAL | Errno::NOENT) => return Ok(()),
                Err(errno) => return Err(failed(errno)),
            }
            unlinkat(directory, id, AtFlags::empty()).map_err(failed)?;
        }
        None => match unlinkat(directory, id, AtFlags::REMOVEDIR) {
            // Somebody has written to it, or put something else there.
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR | Errno::NOENT) => return Ok(()),
            other => other.map_err(failed)?,
        },
    }
    restore(prepared).map_err(failed)
}

fn restore(prepared: &Prepared) -> rustix::io::Result<()> {
    match &prepared.before {
        Before::Nothing => Ok(()),
        Before::Link(to) => symlinkat(to, &prepared.directory, &prepared.id),
        Before::EmptyDirectory => mkdirat(&prepared.directory, &prepared.id, Mode::from_raw_mode(0o755)),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::fs;

    use super::*;

    fn prepared(place: &Path, guest: Option<&Path>, before: Before) -> Prepared {
        let directory = openat(CWD, place, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).expect("directory");
        make(&directory, "id", guest).expect("made");
        Prepared { directory, id: "id".into(), guest: guest.map(Path::to_owned), before }
    }

    #[test]
    fn what_was_there_comes_back() {
        let place = tempfile::tempdir().expect("directory");
        // A path need not be text.
        let guest = Path::new(OsStr::from_bytes(b"/trees/\xff/journal"));
        for guest in [Some(guest), None] {
            undo(&prepared(place.path(), guest, Before::Link(c"/before".into()))).expect("undone");
            assert_eq!(fs::read_link(place.path().join("id")).expect("link"), Path::new("/before"));
            fs::remove_file(place.path().join("id")).expect("link");
        }
    }

    #[test]
    fn what_is_somebody_elses_by_now_stays() {
        let place = tempfile::tempdir().expect("directory");
        let id = place.path().join("id");
        for guest in [Some(Path::new("/tree/journal")), None] {
            let made = prepared(place.path(), guest, Before::Link(c"/before".into()));
            fs::remove_file(&id).or_else(|_| fs::remove_dir(&id)).expect("removed");
            undo(&made).expect("nothing to do");
            assert!(fs::symlink_metadata(&id).is_err());
            fs::write(&id, "other").expect("file");
            undo(&made).expect("nothing to do");
            assert_eq!(fs::read_to_string(&id).expect("file"), "other");
            fs::remove_file(&id).expect("removed");
        }
    }
}
