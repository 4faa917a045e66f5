//! The stub that is process 1 where the program is process 2 (`--as-pid2`): it reaps whatever is left to it, and ends as the
//! program did. Of signals it takes those that systemd's process 1 powers off and reboots for, see systemd(1). Others that come
//! from outside are passed on to the program; from inside they are without effect, as with any first process.

use std::time::{Duration, Instant};

use plan::Limits;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions};
use sys::clone::{Forked, Options};
use sys::signal::{Received, SignalSet};

/// Becomes two processes. Returns in the one that goes on to the program; the other never leaves.
///
/// The stub keeps nothing of ours: no descriptor, so that locks and sockets end with their owners, and no words of our
/// command line and environment, which the container could read.
///
/// # Errors
/// Those of clone3(2).
pub(super) fn split(limits: &Limits) -> rustix::io::Result<()> {
    let signals = SignalSet::all();
    sys::signal::block(&signals)?;
    // Others have been here, who made mounts: the next number need not be this one.
    match sys::clone::fork(&Options { number: Pid::from_raw(2), ..Options::default() })? {
        Forked::Child => Ok(()),
        Forked::Parent { pid, pidfd } => {
            drop(pidfd);
            let alone = machine::program::limit_capabilities(limits.capabilities.bits()).is_ok()
                && sys::process::close_from(3).is_ok();
            sys::process::rename(c"(sd-stubinit)");
            let code = if alone { look_after(pid, &signals) } else { 1 };
            sys::clone::exit_now(code)
        }
    }
}

/// How long the processes may take to end when they are asked to.
const PATIENCE: Duration = Duration::from_secs(10);
/// What the service manager of a template unit starts the machine again for, see systemd-nspawn(1).
const REBOOT: i32 = 133;

/// What a signal asks of a first process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    PowerOff,
    Reboot,
}

impl Asked {
    fn by(signal: i32) -> Option<Self> {
        if signal == Signal::INT.as_raw() {
            return Some(Self::Reboot);
        }
        match signal - sys::signal::real_time_minimum() {
            3 | 4 => Some(Self::PowerOff),
            5 | 6 => Some(Self::Reboot),
            _ => None,
        }
    }
}

/// Reaps and forwards until the program ends; the result is its status as a shell would give it.
fn look_after(program: Pid, signals: &SignalSet) -> i32 {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == program => {
                if let Some(code) = status.exit_status() {
                    return code;
                }
                if let Some(signal) = status.terminating_signal() {
                    return 128 + signal;
                }
            }
            Ok(Some(_)) => {}
            Err(Errno::CHILD) => return 1,
            Ok(None) | Err(_) => match sys::signal::wait(signals) {
                Ok(Received { signal, .. }) if signal == Signal::CHILD.as_raw() => {}
                Ok(Received { signal, sender }) => match Asked::by(signal) {
                    Some(asked) => return end_all(asked),
                    // It may have ended meanwhile, which is seen next.
                    None if sender.is_none() => drop(sys::signal::send_to(program, signal)),
                    None => {}
                },
                Err(_) => return 1,
            },
        }
    }
}

/// Asks all processes to end, and ends those that do not.
fn end_all(asked: Asked) -> i32 {
    let _ = sys::signal::send_to_all(Signal::TERM.as_raw());
    let _ = sys::signal::send_to_all(Signal::CONT.as_raw());
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Ok(None) => std::thread::sleep(Duration::from_millis(5)),
            Err(_) => break,
        }
    }
    match asked {
        // Who is still there ends with us.
        Asked::PowerOff => 0,
        Asked::Reboot => {
            // It does not come back, unless that is not allowed in this container.
            let _ = rustix::system::reboot(rustix::system::RebootCommand::Restart);
            REBOOT
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_signals_ask() {
        let real_time = sys::signal::real_time_minimum();
        let asked = |number: i32| Asked::by(real_time + number);
        assert_eq!((asked(3), asked(4)), (Some(Asked::PowerOff), Some(Asked::PowerOff)));
        assert_eq!((asked(5), asked(6)), (Some(Asked::Reboot), Some(Asked::Reboot)));
        assert_eq!((asked(0), asked(2), asked(7)), (None, None, None));
        assert_eq!(Asked::by(Signal::INT.as_raw()), Some(Asked::Reboot));
        assert_eq!(Asked::by(Signal::TERM.as_raw()), None);
    }
}
