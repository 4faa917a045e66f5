//! Something that a process of its own does, which ends with it: so what it enters and gives up is not the caller's.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{DumpableBehavior, WaitId, WaitIdOptions, set_dumpable_behavior, waitid};
use sys::clone::{Forked, Options};

/// The longest report, in bytes: it is written at once.
const LONGEST: usize = 4096;

/// Why it failed, as it was told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Report {
    /// Which step, as both sides know it.
    pub(crate) step: u8,
    /// The kernel's reason.
    pub(crate) errno: Errno,
    /// What it was about.
    pub(crate) detail: String,
}

/// Does it. The caller has one thread. It cannot be traced or looked into from inside of a machine, even by that one's root.
///
/// # Errors
/// Those of clone3(2); `ECHILD` if the process was killed.
pub(crate) fn run(work: impl FnOnce() -> Result<(), Report>) -> rustix::io::Result<Result<(), Report>> {
    let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    match sys::clone::fork(&Options::default())? {
        Forked::Child => {
            drop(ours);
            let code = match work() {
                Ok(()) => 0,
                Err(report) => {
                    tell(&theirs, &report);
                    1
                }
            };
            sys::clone::exit_now(code)
        }
        Forked::Parent { pidfd, .. } => {
            drop(theirs);
            let mut bytes = Vec::new();
            let read = std::fs::File::from(ours).take(LONGEST as u64).read_to_end(&mut bytes);
            let status = rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED))?;
            read.map_err(|_| Errno::IO)?;
            match (status.and_then(|status| status.exit_status()), bytes.as_slice()) {
                (Some(0), []) => Ok(Ok(())),
                (Some(1), [step, a, b, c, d, detail @ ..]) => {
                    let number = i32::from_ne_bytes([*a, *b, *c, *d]);
                    let number = Some(number).filter(|number| (1..4096).contains(number)).ok_or(Errno::PROTO)?;
                    let detail = String::from_utf8_lossy(detail).into_owned();
                    Ok(Err(Report { step: *step, errno: Errno::from_raw_os_error(number), detail }))
                }
                _ => Err(Errno::CHILD),
            }
        }
    }
}

fn tell(pipe: &OwnedFd, report: &Report) {
    let mut message = vec![report.step];
    message.extend(report.errno.raw_os_error().to_ne_bytes());
    message.extend(report.detail.bytes().take(LONGEST - message.len()));
    // If nobody listens any more, nobody is interested.
    let _ = rustix::io::write(pipe, &message);
}
