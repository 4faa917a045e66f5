//! A wish to stop, told from another thread.

use std::os::fd::OwnedFd;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// Tells a running installation to stop as soon as it can, leaving nothing behind.
#[derive(Debug, Default)]
pub struct Interrupt {
    wanted: AtomicBool,
    child: Mutex<Option<OwnedFd>>,
    /// Whether something has to be removed before the program may end.
    staged: AtomicBool,
}

impl Interrupt {
    /// Asks for the end. A program that runs for the installation is told to end too.
    pub fn trigger(&self) {
        self.wanted.store(true, Ordering::SeqCst);
        if let Some(child) = &*self.child.lock().unwrap_or_else(PoisonError::into_inner) {
            // It may have ended by itself.
            let _ = pidfd_send_signal(child, Signal::TERM);
        }
    }

    /// Whether the end was asked for.
    pub fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::SeqCst)
    }

    /// Whether the installation has begun to write files that it must remove again when it is stopped. Before that the
    /// program may simply exit.
    pub fn has_work_to_undo(&self) -> bool {
        self.staged.load(Ordering::SeqCst)
    }

    pub(crate) fn set_staged(&self, staged: bool) {
        self.staged.store(staged, Ordering::SeqCst);
    }

    /// There is something to be removed, or to be ended in order, as long as what is returned lives.
    pub(crate) fn staged(&self) -> Staged<'_> {
        Staged { interrupt: self, before: self.staged.swap(true, Ordering::SeqCst) }
    }

    /// The program that [`Interrupt::trigger`] ends, until the next one.
    pub(crate) fn watch(&self, child: Option<&Child>) -> rustix::io::Result<()> {
        let handle = match child {
            Some(child) => Some(pidfd_open(Pid::from_child(child), PidfdFlags::empty())?),
            None => None,
        };
        *self.child.lock().unwrap_or_else(PoisonError::into_inner) = handle;
        if child.is_some() && self.is_wanted() {
            self.trigger();
        }
        Ok(())
    }
}

/// See [`Interrupt::staged`].
pub(crate) struct Staged<'a> {
    interrupt: &'a Interrupt,
    before: bool,
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        self.interrupt.set_staged(self.before);
    }
}
