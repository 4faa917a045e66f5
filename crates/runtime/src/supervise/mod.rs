//! The part of the engine that stays while a container runs: one thread, one poll(2), a few small buffers.
//!
//! It carries bytes between our terminal and the container's (`input`, `output`), turns signals and key sequences
//! into requests to the container's first process (`signals`, `shortcut`, `stop`), passes its notifications on
//! (`notify`), serves the machine's control socket (`control`) and tells how it ended ([`Outcome`]).
//!
//! The order of calls is: [`Signals::block`] before the first clone, an empty mask in the child, then [`run`] once for every
//! start of the container.

mod control;
mod event_loop;
mod input;
mod notify;
mod output;
mod overheard;
mod raw_mode;
mod ring;
mod shortcut;
mod signals;
mod stall;
mod stop;
mod tint;
mod title;
mod upstream;

use std::cell::Cell;
use std::os::fd::{BorrowedFd, OwnedFd};

pub(crate) use event_loop::has_ended;
pub use event_loop::run;

pub use control::Server;
pub use signals::Signals;
pub use upstream::Upstream;

/// The container's first process and what it serves.
#[derive(Debug)]
pub struct Supervised<'a> {
    /// Its process file descriptor.
    pub pidfd: BorrowedFd<'a>,
    /// Its process id here.
    pub pid: i32,
    /// The master end of its console, if it has one.
    pub master: Option<OwnedFd>,
    /// The socket that is bound to `/run/host/notify` inside.
    pub notify: OwnedFd,
    /// Set where an init system has said on the console that it has too many files open.
    pub said_shortage: &'a Cell<bool>,
}

/// How a container ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The first process exited with this status (0 to 255); `systemctl exit N` ends here too.
    Exited(i32),
    /// The first process was killed by this signal.
    Killed(i32),
    /// reboot(2) asked for a restart. The kernel reports that as death by SIGHUP, see pid_namespaces(7).
    Rebooted,
    /// reboot(2) asked for halt or power-off, which the kernel reports as death by SIGINT; or for a restart after it had
    /// been asked to end.
    PoweredOff,
}
