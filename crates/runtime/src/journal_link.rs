//! The host's directory of a machine's journal, `/var/log/journal/ID` (systemd-nspawn(1), `--link-journal=`).
//!
//! What is prepared stays, so that the next start finds it; only a start that fails undoes what it has done.

use std::ffi::CString;
use std::os::fd::OwnedFd;
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
            let present = readlinkat(directory, id, Vec::new()).map_err(failed)?;
            if Path::new(&*present.to_string_lossy()) != guest {
                return Ok(());
            }
            unlinkat(directory, id, AtFlags::empty()).map_err(failed)?;
        }
        None => match unlinkat(directory, id, AtFlags::REMOVEDIR) {
            // Somebody has written to it.
            Err(Errno::NOTEMPTY | Errno::EXIST) => return Ok(()),
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
