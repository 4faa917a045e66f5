//! Terminals of machines that run, without anything on them, as `OpenPTY` of org.freedesktop.machine1(5) gives them out.
//!
//! **Inside is hostile.** The directory of terminals is looked up in the machine's root without links, and has to be a devpts; both
//! ends are opened by descriptors. Our end goes to whoever asks, and nothing to the machine: what it sees is a terminal that has come
//! into being. What is typed there and what is read from it is between the caller and whatever inside opens the other end.

use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, ResolveFlags, Uid, openat2};
use rustix::io::Errno;
use rustix::termios::{InputModes, OptionalActions, tcgetattr, tcgetsid, tcsetattr};

use crate::entrance::{self, Entrance};
use crate::init::name_of;
use crate::join;
use crate::machines::HOST;
use crate::state::State;

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no way in.
    #[error(transparent)]
    Entrance(#[from] entrance::Error),
    /// It cannot be made.
    #[error("cannot make a terminal in the machine {machine}")]
    Make {
        /// Where.
        machine: String,
        /// Why.
        source: Errno,
    },
}

/// A terminal.
#[derive(Debug)]
pub struct Terminal {
    /// Our end.
    pub master: OwnedFd,
    /// The number of the other end: its name in the devpts where it is.
    pub number: u32,
}

impl Terminal {
    /// One of a machine, for its root, as soon as that has its files. The caller is the host's root.
    ///
    /// # Errors
    /// An [`Error`].
    pub fn of(state: &State) -> Result<Self, Error> {
        Self::in_machine(&Entrance::of(state)?)
    }

    /// One of this host.
    ///
    /// # Errors
    /// [`Error::Make`].
    pub fn on_host() -> Result<Self, Error> {
        let made = sys::pty::open().and_then(|pair| Self::with(pair.master));
        made.map_err(|source| Error::Make { machine: HOST.to_owned(), source })
    }

    /// The path of the other end, for who is where it is.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/dev/pts/{}", self.number)
    }

    /// What the process is called whose session has it, if there is one: the machine's word.
    pub(crate) fn owner(&self) -> Option<String> {
        let owner = tcgetsid(&self.master).ok()?;
        Some(name_of(owner.as_raw_nonzero().get())).filter(|name| !name.is_empty())
    }

    pub(crate) fn in_machine(entrance: &Entrance) -> Result<Self, Error> {
        Self::make(entrance).map_err(|source| Error::Make { machine: entrance.machine.clone(), source })
    }

    /// What lies at its place is looked at before it is used.
    fn make(entrance: &Entrance) -> rustix::io::Result<Self> {
        let (master, peer) = join::open_terminal(&directory(&entrance.root)?)?;
        if let Some(users) = &entrance.users {
            // It has to be somebody's who is there.
            let (user, group) = users.root;
            rustix::fs::fchown(&peer, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))?;
        }
        rustix::fs::fchmod(&peer, Mode::from_raw_mode(0o600))?;
        Self::with(master)
    }

    fn with(master: OwnedFd) -> rustix::io::Result<Self> {
        // As service managers have it, and not the kernel by itself: what is erased is a character, not a byte.
        let mut settings = tcgetattr(&master)?;
        settings.input_modes |= InputModes::IUTF8 | InputModes::IMAXBEL;
        tcsetattr(&master, OptionalActions::Now, &settings)?;
        let number = sys::pty::number(master.as_fd())?;
        Ok(Self { master, number })
    }
}

/// Where terminals are, below this root directory.
fn directory(root: &OwnedFd) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS;
    openat2(root, "dev/pts", flags, Mode::empty(), resolve)
}

/// How often it is looked whether a terminal is still there.
const PAUSE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// The place of a terminal, which does not keep that.
#[derive(Debug)]
pub struct Watch {
    directory: OwnedFd,
    number: u32,
    /// The first process of the machine where it is.
    leader: Option<OwnedFd>,
}

impl Watch {
    /// That of a terminal of a machine; none is this host.
    pub(crate) fn of(entrance: Option<Entrance>, number: u32) -> Result<Self, Error> {
        let machine = entrance.as_ref().map_or(HOST, |entrance| &entrance.machine).to_owned();
        let place = match &entrance {
            Some(entrance) => directory(&entrance.root),
            None => rustix::fs::open("/dev/pts", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()),
        };
        let directory = place.map_err(|source| Error::Make { machine, source })?;
        Ok(Self { directory, number, leader: entrance.map(|entrance| entrance.leader) })
    }

    /// The number of the terminal.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Whether there is a terminal of this number.
    #[must_use]
    pub fn is_there(&self) -> bool {
        rustix::fs::statat(&self.directory, self.number.to_string(), AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Waits until the terminal is gone. False where the machine has ended before.
    #[must_use]
    pub fn await_end(&self) -> bool {
        while self.is_there() {
            if self.pause() {
                return false;
            }
        }
        true
    }

    /// Waits a moment. True where the machine has ended meanwhile.
    pub(crate) fn pause(&self) -> bool {
        let mut ended: Vec<PollFd<'_>> = self.leader.iter().map(|leader| PollFd::new(leader, PollFlags::IN)).collect();
        poll(&mut ended, Some(&PAUSE)).is_ok_and(|ready| ready > 0)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn one_of_the_host() {
        let terminal = Terminal::on_host().expect("a terminal");
        assert!(std::path::Path::new(&terminal.path()).exists(), "{}", terminal.path());
        let other_end = std::fs::File::open(terminal.path()).expect("its other end");
        assert!(tcgetattr(&other_end).expect("settings").input_modes.contains(InputModes::IUTF8));
        assert_eq!(terminal.owner(), None);
        drop(other_end);
        let mut command = Command::new("setsid");
        let mut program = command.args(["-c", "sleep", "1000"]);
        for stream in [Command::stdin, Command::stdout, Command::stderr] {
            let end = std::fs::File::options().read(true).write(true).open(terminal.path()).expect("its other end");
            program = stream(program, end);
        }
        let mut program = program.spawn().expect("setsid");
        while terminal.owner().as_deref() != Some("sleep") {
            assert!(program.try_wait().expect("a child").is_none());
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        program.kill().expect("killed");
        program.wait().expect("ended");
        assert_eq!(terminal.owner(), None);
        let path = terminal.path();
        let watch = Watch::of(None, terminal.number).expect("its place");
        assert!(watch.is_there());
        drop(terminal);
        assert!(!watch.is_there() && watch.await_end());
        assert!(!std::path::Path::new(&path).exists(), "{path} goes with its master");
        assert!(matches!(Terminal::of(&crate::machines::host()), Err(Error::Entrance(entrance::Error::Host(_)))));
    }
}
