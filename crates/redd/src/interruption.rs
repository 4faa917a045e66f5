//! SIGINT, SIGTERM and SIGHUP while something is installed.

use std::os::fd::AsFd;
use std::sync::Arc;

use bootstrap::interrupt::Interrupt;
use rustix::event::{PollFd, PollFlags, poll};
use sys::signal::{self, SignalSet};

const SIGNALS: [i32; 3] = [libc_signals::HANGUP, libc_signals::INTERRUPT, libc_signals::TERMINATE];

/// The numbers, the same on every architecture.
mod libc_signals {
    pub(super) const HANGUP: i32 = 1;
    pub(super) const INTERRUPT: i32 = 2;
    pub(super) const TERMINATE: i32 = 15;
}

/// While this lives, the signals are turned into an [`Interrupt`]; afterwards they act as before.
pub(crate) struct Interruption {
    interrupt: Arc<Interrupt>,
    before: SignalSet,
}

impl Interruption {
    /// Begins to listen. To be called while the program has one thread, so that all later ones block the signals too.
    pub(crate) fn listen() -> rustix::io::Result<Self> {
        let signals: SignalSet = SIGNALS.into_iter().collect();
        let before = signal::block(&signals)?;
        let descriptor = signal::open(&signals)?;
        let interrupt = Arc::new(Interrupt::default());
        let told = Arc::clone(&interrupt);
        std::thread::spawn(move || {
            loop {
                let mut ready = [PollFd::new(&descriptor, PollFlags::IN)];
                // Without an answer here the signals would be lost, so each way out of the wait is a reason to look.
                let _ = poll(&mut ready, None);
                if let Ok(Some(delivered)) = signal::next(descriptor.as_fd()) {
                    told.trigger();
                    if !told.has_work_to_undo() {
                        // Nothing but whole or resumable files in the cache has been written.
                        std::process::exit(128 + delivered.signal);
                    }
                }
            }
        });
        Ok(Self { interrupt, before })
    }

    /// What tells the installation.
    pub(crate) fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }
}

impl Drop for Interruption {
    fn drop(&mut self) {
        // It cannot fail for a mask that was in force before.
        let _ = signal::set_mask(&self.before);
    }
}
