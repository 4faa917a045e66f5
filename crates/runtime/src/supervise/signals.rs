//! The signals that the supervisor takes: blocked, and read from a descriptor.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io;
use rustix::process::Signal;
use sys::signal::{self, SignalSet};

/// Signals that would end this process. All of them ask for an end of the container, so that none leaves the terminal raw. So do
/// those of real time, but for [`memory_pressure`].
///
/// `URG` is what the service manager sends to all processes of a machine's scope when that is stopped (`cgroup::scope`).
const STOPPING: [Signal; 14] = [
    Signal::TERM,
    Signal::INT,
    Signal::HUP,
    Signal::QUIT,
    Signal::USR1,
    Signal::USR2,
    Signal::ALARM,
    Signal::VTALARM,
    Signal::PROF,
    Signal::XCPU,
    Signal::POWER,
    Signal::URG,
    Signal::IO,
    Signal::STKFLT,
];

/// Signals that mean something else, or only must not have their usual effect (`PIPE`, `TTIN`, `TTOU`, `XFSZ`: the system call that
/// caused them fails or succeeds instead).
const OTHERS: [Signal; 8] =
    [Signal::CHILD, Signal::WINCH, Signal::TSTP, Signal::CONT, Signal::PIPE, Signal::TTIN, Signal::TTOU, Signal::XFSZ];

/// Signals whose being ignored was the wish of whoever started us, as with `nohup(1)`: they stay without effect.
const IGNORABLE: [Signal; 4] = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TSTP];

/// What systemd's programs are asked by to do with less memory, see systemd(1): there is nothing that this one could give back.
fn memory_pressure() -> i32 {
    signal::real_time_minimum() + 18
}

/// What a signal asks of the supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// End the container.
    Stop,
    /// The same, from systemd-machined: either somebody has asked it for that, or it has seen the container's first
    /// process end, and what is left of the machine is to end, too. That process tells which: if it lives, the former.
    StopOrEnded,
    /// A child changed its state.
    Child,
    /// Our terminal has another size.
    WindowSize,
    /// Stop as a job (`^Z` by other means than the raw terminal).
    Suspend,
    /// We were continued as a job.
    Continue,
}

/// The blocked signals. They stay blocked when this is dropped: what is undone after the container should not be interrupted.
#[derive(Debug)]
pub struct Signals {
    descriptor: OwnedFd,
}

impl Signals {
    /// Blocks the signals that the supervisor takes, in the calling thread. To be called before the first clone, so that none
    /// is lost; the child has none blocked in the end, and default dispositions ([`sys::signal::reset_dispositions`]).
    ///
    /// # Errors
    /// Those of `signalfd(2)`: no descriptors or memory left.
    pub fn block() -> io::Result<Self> {
        let signals: SignalSet = STOPPING
            .into_iter()
            .chain(OTHERS)
            .filter(|signal| !(IGNORABLE.contains(signal) && signal::is_ignored(signal.as_raw())))
            .map(Signal::as_raw)
            .chain(signal::real_time_minimum()..=signal::last_signal())
            .collect();
        signal::block(&signals)?;
        let descriptor = signal::open(&signals)?;
        Ok(Self { descriptor })
    }

    /// Whether one of the pending signals asks for an end; the others are used up. Where the container's first process `ended`,
    /// what systemd-machined has sent was about that.
    pub(crate) fn asks_for_end(&self, ended: impl Fn() -> io::Result<bool>) -> io::Result<bool> {
        let mut asks = false;
        while let Some(request) = self.next()? {
            asks |= request == Request::Stop || request == Request::StopOrEnded && !ended()?;
        }
        Ok(asks)
    }

    /// The next request, if one is pending.
    pub(super) fn next(&self) -> io::Result<Option<Request>> {
        while let Some(delivered) = signal::next(self.descriptor.as_fd())? {
            match request(delivered.signal) {
                Some(Request::Stop) if delivered.signal == Signal::TERM.as_raw() && is_machined(delivered.sender) => {
                    return Ok(Some(Request::StopOrEnded));
                }
                None => {}
                some => return Ok(some),
            }
        }
        Ok(None)
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// Whether the process is a systemd-machined, by its name, which the kernel cuts. Who may signal us and calls itself so only
/// gives away that its request counts after the container's end.
fn is_machined(process: u32) -> bool {
    std::fs::read(format!("/proc/{process}/comm")).is_ok_and(|name| name == b"systemd-machine\n")
}

fn request(signal: i32) -> Option<Request> {
    if signal >= signal::real_time_minimum() {
        return (signal != memory_pressure()).then_some(Request::Stop);
    }
    match Signal::from_named_raw(signal)? {
        Signal::CHILD => Some(Request::Child),
        Signal::WINCH => Some(Request::WindowSize),
        Signal::TSTP => Some(Request::Suspend),
        Signal::CONT => Some(Request::Continue),
        signal if STOPPING.contains(&signal) => Some(Request::Stop),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_mean_what_they_should() {
        assert_eq!(request(Signal::TERM.as_raw()), Some(Request::Stop));
        assert_eq!(request(Signal::HUP.as_raw()), Some(Request::Stop));
        assert_eq!(request(Signal::WINCH.as_raw()), Some(Request::WindowSize));
        assert_eq!(request(Signal::PIPE.as_raw()), None);
        assert_eq!(request(Signal::XFSZ.as_raw()), None);
        assert_eq!(request(Signal::IO.as_raw()), Some(Request::Stop));
        for signal in signal::real_time_minimum()..=signal::last_signal() {
            let nothing = signal == signal::real_time_minimum() + 18;
            assert_eq!(request(signal), (!nothing).then_some(Request::Stop), "{signal}");
        }
    }
}
