//! systemd-journal-remote(8), which writes the container's journal to files of the host's as long as the container runs
//! (systemd-nspawn(1), `--forward-journal=`).

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use plan::JournalRemote;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, waitid};
use sys::clone::{Forked, Options};
use sys::process::StringVector;

/// How long it may take to write what it has been sent.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked at meanwhile.
const INTERVAL: Duration = Duration::from_millis(20);

/// Why it does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Where it writes.
    #[error("cannot make {directory} for the forwarded journal", directory = .directory.display())]
    Directory {
        /// The directory.
        directory: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Its process.
    #[error("cannot start systemd-journal-remote")]
    Start(#[source] Errno),
}

/// It, while it runs. It dies with us.
#[derive(Debug)]
pub(crate) struct Running {
    pid: Pid,
    pidfd: OwnedFd,
}

/// Starts it with the socket at which the container's journald calls.
pub(crate) fn start(plan: &JournalRemote, socket: &OwnedFd) -> Result<Running, Error> {
    std::fs::create_dir_all(&plan.directory)
        .map_err(|source| Error::Directory { directory: plan.directory.clone(), source })?;
    let strings: Result<Vec<CString>, _> = plan.arguments.iter().map(|word| CString::new(word.as_bytes())).collect();
    let arguments = StringVector::new(strings.map_err(|_| Error::Start(Errno::INVAL))?);
    let supervisor = rustix::process::getpid();
    match sys::clone::fork(&Options::default()).map_err(Error::Start)? {
        Forked::Parent { pid, pidfd } => Ok(Running { pid, pidfd }),
        Forked::Child => {
            // Whoever is told why is its parent, by the end.
            let _ = execute(&arguments, socket, supervisor);
            sys::clone::exit_now(127)
        }
    }
}

/// In the new process: everything is as for a service that a socket unit starts.
fn execute(arguments: &StringVector, socket: &OwnedFd, supervisor: Pid) -> rustix::io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
    if rustix::process::getppid() != Some(supervisor) {
        return Err(Errno::SRCH);
    }
    // Keys that stop us are not for it.
    rustix::process::setsid()?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    sys::inherited::place(socket.as_fd())?;
    sys::process::close_on_exec_from(3)?;
    sys::inherited::inherit(1, true)?;
    sys::signal::reset_dispositions();
    sys::signal::set_mask(&sys::signal::SignalSet::empty())?;
    let variables = [
        "PATH=/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        // How many entries there were is nothing that anybody has asked for.
        "SYSTEMD_LOG_LEVEL=warning".to_owned(),
        "LISTEN_FDS=1".to_owned(),
        format!("LISTEN_PID={}", std::process::id()),
    ];
    let variables: Result<Vec<CString>, _> = variables.into_iter().map(CString::new).collect();
    let Ok(variables) = variables else { return Err(Errno::INVAL) };
    let Some(program) = arguments.strings().first() else { return Err(Errno::NOENT) };
    Err(sys::process::execute(program, arguments, &StringVector::new(variables)))
}

impl Running {
    /// Lets it write what it has been sent, and ends it. The result is what went wrong, in words.
    pub(crate) fn stop(self) -> Option<String> {
        let end = Instant::now() + PATIENCE;
        let early = self.has_ended(Duration::ZERO);
        // The container is gone: nothing more comes. Who sleeps has nothing left to read.
        let mut idle = 0;
        while !early && idle < 3 && Instant::now() < end {
            if self.has_ended(INTERVAL) {
                break;
            }
            idle = if self.sleeps() { idle + 1 } else { 0 };
        }
        // It may have ended meanwhile, which is seen next.
        let _ = sys::signal::send(self.pidfd.as_fd(), Signal::TERM.as_raw());
        if !self.has_ended(PATIENCE) {
            let _ = sys::signal::send(self.pidfd.as_fd(), Signal::KILL.as_raw());
        }
        let status = rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED));
        let status = status.ok().flatten()?;
        match (status.exit_status(), status.terminating_signal()) {
            (Some(0), _) if !early => None,
            (None, Some(signal)) if !early && signal == Signal::TERM.as_raw() => None,
            (Some(127), _) => Some("systemd-journal-remote could not be started: the journal was not forwarded".into()),
            (Some(code), _) => Some(format!(
                "systemd-journal-remote has ended with code {code} before the container: its journal is not complete"
            )),
            (None, signal) => Some(format!(
                "systemd-journal-remote was killed by signal {}: the forwarded journal is not complete",
                signal.unwrap_or_default()
            )),
        }
    }

    fn has_ended(&self, limit: Duration) -> bool {
        let limit = Timespec {
            tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: limit.subsec_nanos().into(),
        };
        let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
        rustix::io::retry_on_intr(|| poll(&mut fds, Some(&limit))).unwrap_or(0) > 0
    }

    fn sleeps(&self) -> bool {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.pid.as_raw_nonzero())).unwrap_or_default();
        text.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S'))
    }
}
