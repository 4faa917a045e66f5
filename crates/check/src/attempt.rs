//! Attempts: something is really done, in a process of its own that takes all that it has made with it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, set_parent_process_death_signal, waitid};
use sys::clone::{Forked, Namespaces, Options, exit_now, fork};
use sys::signal::SignalSet;

use crate::caller::Caller;
use crate::finding::State;

/// SIGHUP, SIGINT, SIGQUIT and SIGTERM, the same numbers on every architecture.
const ENDING: [i32; 4] = [1, 2, 3, 15];

/// Holds back what asks the program to end, as long as there is something that has to be removed first. It ends where this goes
/// away.
#[derive(Debug)]
pub(crate) struct Uninterrupted(Option<SignalSet>);

impl Uninterrupted {
    pub(crate) fn begin() -> Self {
        // What cannot be held back ends the program at once, and the next check tidies up.
        Self(sys::signal::block(&ENDING.into_iter().collect()).ok())
    }
}

impl Drop for Uninterrupted {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // It has worked before.
            let _ = sys::signal::set_mask(before);
        }
    }
}

/// What the kernel has refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// What was being done.
    pub doing: String,
    /// Why not.
    pub errno: Errno,
}

/// What was seen, or what was refused.
pub(crate) type Attempt = Result<String, Refused>;

/// Names what is being done.
pub(crate) trait Doing<T> {
    fn doing(self, what: &str) -> Result<T, Refused>;
}

impl<T> Doing<T> for rustix::io::Result<T> {
    fn doing(self, what: &str) -> Result<T, Refused> {
        self.map_err(|errno| Refused { doing: what.to_owned(), errno })
    }
}

impl<T> Doing<T> for std::io::Result<T> {
    fn doing(self, what: &str) -> Result<T, Refused> {
        self.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO)).doing(what)
    }
}

impl Refused {
    /// What this error mostly means. Those who know more say more.
    pub(crate) fn state(&self) -> State {
        match self.errno {
            Errno::PERM | Errno::ACCESS | Errno::ROFS => State::Denied,
            Errno::NOSYS
            | Errno::INVAL
            | Errno::NODEV
            | Errno::NOENT
            | Errno::NXIO
            | Errno::NOTTY
            | Errno::OPNOTSUPP
            | Errno::PROTONOSUPPORT
            | Errno::AFNOSUPPORT => State::Missing,
            Errno::NOSPC | Errno::USERS => State::Off,
            _ => State::Unknown,
        }
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: {}", self.doing, without_number(&std::io::Error::from(self.errno).to_string()))
    }
}

/// What an error says, without its number, which says the same to fewer people.
pub(crate) fn without_number(text: &str) -> &str {
    text.split(" (os error").next().unwrap_or_default()
}

/// An error and its cause, likewise.
pub(crate) fn with_cause(error: &dyn std::error::Error) -> String {
    let cause = error.source().map(|source| format!(": {source}")).unwrap_or_default();
    spec::printable(without_number(&format!("{error}{cause}")))
}

/// Does something in a process of its own. Whatever namespaces it enters, filters it loads and files it opens are gone then.
pub(crate) fn in_child(work: impl FnOnce() -> Attempt) -> Attempt {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).doing("make a pipe")?;
    match fork(&Options::default()).doing("make a process")? {
        Forked::Child => {
            drop(reader);
            // Best effort: whoever has started us may be gone already.
            let _ = set_parent_process_death_signal(Some(Signal::KILL));
            let broken = Refused { doing: "try it".to_owned(), errno: Errno::IO };
            let attempt = catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(broken));
            // If nobody hears it, nobody asks for it.
            let _ = File::from(writer).write_all(&encode(&attempt));
            exit_now(0)
        }
        Forked::Parent { pidfd, .. } => {
            drop(writer);
            let mut answer = Vec::new();
            let read = File::from(reader).read_to_end(&mut answer);
            let waited = rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED));
            read.doing("hear of it")?;
            waited.doing("wait for it")?;
            decode(&answer).unwrap_or_else(|| Err(Refused { doing: "try it".to_owned(), errno: Errno::IO }))
        }
    }
}

/// The same with new namespaces: by privilege where the caller has it, else as root of a user namespace of its own.
pub(crate) fn in_namespaces(caller: &Caller, namespaces: Namespaces, work: impl FnOnce() -> Attempt) -> Attempt {
    in_child(|| {
        enter(caller, namespaces)?;
        work()
    })
}

/// Moves the calling process, which has nothing to lose, into new namespaces.
pub(crate) fn enter(caller: &Caller, namespaces: Namespaces) -> Result<(), Refused> {
    if caller.is_privileged() {
        sys::clone::unshare(namespaces).doing("make a namespace")
    } else {
        enter_users(caller)?;
        sys::clone::unshare(namespaces).doing("make a namespace")
    }
}

/// Moves it into a user namespace whose root the caller is.
pub(crate) fn enter_users(caller: &Caller) -> Result<(), Refused> {
    sys::clone::unshare(Namespaces::USER).doing(MAKE_USERS)?;
    std::fs::write("/proc/self/setgroups", "deny").doing(MAP_USERS)?;
    std::fs::write("/proc/self/uid_map", format!("0 {} 1", caller.uid)).doing(MAP_USERS)?;
    std::fs::write("/proc/self/gid_map", format!("0 {} 1", caller.gid)).doing(MAP_USERS)
}

/// The steps to a user namespace, for those who know what their failures mean.
pub(crate) const MAKE_USERS: &str = "make a user namespace";
pub(crate) const MAP_USERS: &str = "map ids of a user namespace";

/// Makes a user namespace that a process of its own is in while `with` is called with its number and its namespace.
pub(crate) fn with_users<T>(with: impl FnOnce(Pid, BorrowedFd<'_>) -> Result<T, Refused>) -> Result<T, Refused> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).doing("make a pipe")?;
    let options = Options { namespaces: Namespaces::USER, ..Options::default() };
    match fork(&options).doing(MAKE_USERS)? {
        Forked::Child => {
            drop(writer);
            let _ = set_parent_process_death_signal(Some(Signal::KILL));
            // It stays until the other side lets go or is gone.
            let _ = rustix::io::retry_on_intr(|| rustix::io::read(&reader, &mut [0]));
            exit_now(0)
        }
        Forked::Parent { pid, pidfd } => {
            drop(reader);
            let path = format!("/proc/{}/ns/user", pid.as_raw_nonzero());
            let opened: Result<OwnedFd, _> =
                open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).doing(MAKE_USERS);
            let result = opened.and_then(|users| with(pid, users.as_fd()));
            drop(writer);
            rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED))
                .doing("wait for it")?;
            result
        }
    }
}

/// Writes the map of users and groups of a process in a new user namespace.
pub(crate) fn map_users(process: Pid, map: &str) -> Result<(), Refused> {
    for name in ["uid_map", "gid_map"] {
        std::fs::write(format!("/proc/{}/{name}", process.as_raw_nonzero()), map).doing(MAP_USERS)?;
    }
    Ok(())
}

fn encode(attempt: &Attempt) -> Vec<u8> {
    match attempt {
        Ok(text) => format!("0\n{text}").into_bytes(),
        Err(refused) => format!("{}\n{}", refused.errno.raw_os_error(), refused.doing).into_bytes(),
    }
}

fn decode(answer: &[u8]) -> Option<Attempt> {
    let (number, text) = std::str::from_utf8(answer).ok()?.split_once('\n')?;
    Some(match number.parse().ok()? {
        0 => Ok(text.to_owned()),
        number => Err(Refused { doing: text.to_owned(), errno: Errno::from_raw_os_error(number) }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_child_says_arrives() {
        let refused = Refused { doing: "open\nit".to_owned(), errno: Errno::NOSPC };
        for attempt in [Ok(String::new()), Ok("two\nlines".to_owned()), Err(refused)] {
            assert_eq!(decode(&encode(&attempt)), Some(attempt));
        }
        assert_eq!(decode(b""), None);
        assert_eq!(decode(b"x\n"), None);
    }

    #[test]
    fn errors_are_told_without_their_numbers() {
        let refused = Refused { doing: "open /dev/fuse".to_owned(), errno: Errno::ACCESS };
        assert_eq!(refused.to_string(), "open /dev/fuse: Permission denied");
        assert_eq!(refused.state(), State::Denied);
    }
}
