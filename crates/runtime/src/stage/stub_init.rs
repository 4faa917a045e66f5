//! The stub that is process 1 where the program is process 2 (`--as-pid2`): it reaps whatever is left to it, passes
//! signals on, and ends as the program did.

use plan::Limits;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions};
use sys::clone::{Forked, Options};
use sys::signal::SignalSet;

/// Becomes two processes. Returns in the one that goes on to the program; the other never leaves.
///
/// The stub keeps nothing of ours: no descriptor, so that locks and sockets end with their owners, and no words of our
/// command line, which the container could read.
///
/// # Errors
/// Those of clone3(2).
pub(super) fn split(limits: &Limits) -> rustix::io::Result<()> {
    let signals = SignalSet::all();
    sys::signal::block(&signals)?;
    match sys::clone::fork(&Options::default())? {
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
                Ok(signal) if signal == Signal::CHILD.as_raw() => {}
                Ok(signal) => {
                    // It may have ended meanwhile, which is seen next.
                    let _ = sys::signal::send_to(program, signal);
                }
                Err(_) => return 1,
            },
        }
    }
}
