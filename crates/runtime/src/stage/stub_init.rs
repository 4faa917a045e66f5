//! The stub that is process 1 where the program is process 2 (`--as-pid2`): it reaps whatever is left to it, passes
//! signals on, and ends as the program did.

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions};
use sys::clone::{Forked, Options};

/// Becomes two processes. Returns in the one that goes on to the program; the other never leaves.
///
/// # Errors
/// Those of clone3(2).
pub(super) fn split() -> rustix::io::Result<()> {
    let mut signals = sys::process::block_all_signals()?;
    match sys::clone::fork(&Options::default())? {
        Forked::Child => Ok(()),
        Forked::Parent { pid, pidfd } => {
            drop(pidfd);
            let _ = rustix::thread::set_name(c"(stub-init)");
            let code = look_after(pid, &mut signals);
            sys::clone::exit_now(code)
        }
    }
}

/// Reaps and forwards until the program ends; the result is its status as a shell would give it.
fn look_after(program: Pid, signals: &mut sys::process::SignalQueue) -> i32 {
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
            Ok(None) | Err(_) => match signals.next() {
                Ok(signal) if signal == Signal::CHILD => {}
                Ok(signal) => {
                    let _ = rustix::process::kill_process(program, signal);
                }
                Err(_) => return 1,
            },
        }
    }
}
