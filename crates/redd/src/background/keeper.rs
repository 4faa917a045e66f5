//! The process that keeps a machine.

use std::ffi::OsStr;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use image::lock_file::LockFile;
use machine::Registry;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::SocketAddrUnix;
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};
use spec::MachineName;
use sys::file_lock::Mode;
use sys::signal::SignalSet;

use super::output::Output;
use super::restart::{End, Limit, PAUSE, Policy};
use super::{DIRECTORY, GO_ON, HOLD_BACK, PATH, Report, notify_path, time_limit};
use crate::container_command;
use crate::failure::Failure;

/// How the template unit of systemd runs a machine (systemd-nspawn(1)); see `dist/systemd/systemd-nspawn@.service`. Links
/// cannot be made yet: a network with nothing in it instead, which promises as much to the host.
const OPTIONS: [&str; 7] =
    ["--quiet", "--keep-unit", "--boot", "--link-journal=try-guest", "--private-network", "-U", "--settings=override"];

/// How long it may take that another keeper's machine is there, or that keeper is gone.
const PASSES_WITHIN: Duration = Duration::from_secs(10);
/// How often that is looked at.
const MOMENT: Duration = Duration::from_millis(10);

/// How much is read at once, in bytes.
const CHUNK: usize = 16 * 1024;

/// Keeps a machine until it has ended and is not to be started again.
pub(crate) fn run(name: &MachineName, policy: Policy) -> Result<(), Failure> {
    // The caller's session and terminal are no more ours. Who has a session of its own already keeps that.
    let _ = rustix::process::setsid();
    let failed = |error: anyhow::Error| {
        tell(&Report::Failed { how: format!("cannot be kept: {error:#}"), said: String::new() });
        Failure::new(error.context(format!("cannot keep {name}")), None)
    };
    let Some(lock) = take_lock(name).context("cannot take the lock of keepers").map_err(failed)? else {
        tell(&Report::Kept);
        return Ok(());
    };
    let kept = Keeper::new(name, &lock).and_then(|mut keeper| keeper.keep(policy));
    // Whoever hears of it finds no keeper any more.
    drop(lock);
    if let Some(report) = kept.map_err(failed)? {
        tell(&report);
    }
    Ok(())
}

/// Nothing where another keeper has the machine. One that is just about to end, as after a power-off, is waited for.
fn take_lock(name: &MachineName) -> rustix::io::Result<Option<LockFile>> {
    let end = Instant::now() + PASSES_WITHIN;
    loop {
        let lock = LockFile::acquire(Path::new(DIRECTORY), OsStr::new(name.as_str()), Mode::Exclusive)?;
        let runs = || Registry::system().find(name.as_str()).is_ok();
        if lock.is_some() || runs() || Instant::now() >= end {
            return Ok(lock);
        }
        std::thread::sleep(MOMENT);
    }
}

/// Tells whoever has started us. They may be gone, and are told but once.
fn tell(report: &Report) {
    let _ = std::io::stdout().write_all(report.to_line().as_bytes());
}

/// What the keeper has.
struct Keeper<'a> {
    name: &'a MachineName,
    output: Output,
    signals: OwnedFd,
    socket: PathBuf,
    notify: OwnedFd,
    /// The machine is to end, and not to be started again.
    asked: bool,
    /// It has run once.
    started: bool,
}

impl<'a> Keeper<'a> {
    fn new(name: &'a MachineName, lock: &LockFile) -> anyhow::Result<Self> {
        // A keeper that was killed has left its number.
        let number = format!("{}\n", rustix::process::getpid());
        lock.clear().and_then(|()| lock.append(number.as_bytes())).context("cannot write into the lock")?;
        let mut wanted = SignalSet::empty();
        for signal in [Signal::TERM, Signal::INT, Signal::HUP, HOLD_BACK, GO_ON] {
            wanted.insert(signal.as_raw());
        }
        sys::signal::block(&wanted).context("cannot block signals")?;
        let signals = sys::signal::open(&wanted).context("cannot take signals")?;
        let socket = notify_path(name);
        let _ = std::fs::remove_file(&socket);
        let address = SocketAddrUnix::new(&socket).context("cannot name a socket")?;
        let notify = sys::notify::listen(&address).with_context(|| format!("cannot make {}", socket.display()))?;
        let output = Output::open(name)?;
        Ok(Self { name, output, signals, socket, notify, asked: false, started: false })
    }

    /// What is left to be told in the end.
    fn keep(&mut self, policy: Policy) -> anyhow::Result<Option<Report>> {
        let mut limit = Limit::default();
        while limit.allows(Instant::now()) {
            self.output.forget_tail();
            let end = self.run_once()?;
            let report = Report::Failed { how: end.to_string(), said: self.output.tail() };
            self.output.say(&format!("{} {end}", self.name));
            // One that has never run would not do so the next time either.
            if !self.started || self.asked || !policy.wants(end) || !self.pauses()? {
                return Ok((!self.started).then_some(report));
            }
            self.output.say(&format!("{} is started again", self.name));
        }
        self.output.say(&format!("{} is not started again: {}", self.name, Limit::in_words()));
        Ok(None)
    }

    /// From one start to its end.
    fn run_once(&mut self) -> anyhow::Result<End> {
        let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).context("cannot make a pipe")?;
        // The writer's description blocks, as whoever writes expects; ours is another one.
        rustix::io::ioctl_fionbio(&reader, true).context("cannot read without waiting")?;
        let mut engine = self.start_engine(writer)?;
        let pid = Pid::from_child(&engine);
        let process = pidfd_open(pid, PidfdFlags::empty()).context("cannot watch the supervisor")?;
        let mut output_ends = false;
        loop {
            let mut fds = vec![
                PollFd::new(&self.signals, PollFlags::IN),
                PollFd::new(&self.notify, PollFlags::IN),
                PollFd::new(&process, PollFlags::IN),
            ];
            if !output_ends {
                fds.push(PollFd::new(&reader, PollFlags::IN));
            }
            rustix::io::retry_on_intr(|| poll(&mut fds, None)).context("cannot wait for the supervisor")?;
            let ended = !fds[2].revents().is_empty();
            drop(fds);
            self.hear(pid);
            for signal in self.take_signals()? {
                if signal == Signal::TERM.as_raw() || signal == Signal::INT.as_raw() {
                    // One that has just ended needs not be asked.
                    let _ = rustix::process::pidfd_send_signal(&process, Signal::TERM);
                }
            }
            output_ends = output_ends || self.copy(&reader)?;
            if ended {
                // All that it has written is there by now.
                while !output_ends && !self.copy(&reader)? && self.has_more(&reader) {}
                return Ok(end(engine.wait().context("cannot fetch the supervisor's exit code")?));
            }
        }
    }

    fn start_engine(&self, output: OwnedFd) -> anyhow::Result<Child> {
        let engine = container_command::find().context("cannot find the container engine")?;
        let mut command = Command::new(engine.program);
        command.args(engine.arguments).args(OPTIONS).arg(format!("--machine={}", self.name));
        command.env_clear().envs(std::env::var_os(PATH).map(|path| (PATH, path))).env("NOTIFY_SOCKET", &self.socket);
        let errors = output.try_clone().context("cannot share the output")?;
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        command.spawn().with_context(|| format!("cannot start {}", command.get_program().display()))
    }

    /// Takes what the supervisor has to say; others have nothing to say here.
    fn hear(&mut self, supervisor: Pid) {
        let mut buffer = [0; 4096];
        while let Ok(Some(received)) = sys::notify::receive(self.notify.as_fd(), &mut buffer) {
            let ready = buffer[..received.length].split(|byte| *byte == b'\n').any(|line| line == b"READY=1");
            if ready && received.sender == Some(supervisor.as_raw_nonzero().get()) && !self.started {
                self.started = true;
                tell(&Report::Started);
            }
        }
    }

    /// The signals that have come, after what they mean for the next start.
    fn take_signals(&mut self) -> anyhow::Result<Vec<i32>> {
        let mut all = Vec::new();
        while let Some(delivered) = sys::signal::next(self.signals.as_fd()).context("cannot take signals")? {
            let signal = delivered.signal;
            if signal == GO_ON.as_raw() {
                self.asked = false;
            } else if signal != Signal::HUP.as_raw() {
                self.asked = true;
            }
            all.push(signal);
        }
        Ok(all)
    }

    /// Copies one piece of output. True at its end.
    fn copy(&mut self, reader: &OwnedFd) -> anyhow::Result<bool> {
        let mut buffer = [0; CHUNK];
        match rustix::io::read(reader, &mut buffer) {
            Ok(0) => Ok(true),
            Ok(count) => {
                self.output.write(&buffer[..count]);
                Ok(false)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(false),
            Err(errno) => Err(errno).context("cannot read what the machine prints"),
        }
    }

    fn has_more(&self, reader: &OwnedFd) -> bool {
        let mut fds = [PollFd::new(reader, PollFlags::IN)];
        matches!(poll(&mut fds, Some(&time_limit(Duration::ZERO))), Ok(1..))
    }

    /// Waits before the next start. False if it shall not be.
    fn pauses(&mut self) -> anyhow::Result<bool> {
        let end = Instant::now() + PAUSE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            self.take_signals()?;
            if self.asked || left.is_zero() {
                return Ok(!self.asked);
            }
            let mut fds = [PollFd::new(&self.signals, PollFlags::IN)];
            // An interruption is as good as an event: all is looked at again.
            let _ = poll(&mut fds, Some(&time_limit(left)));
        }
    }
}

impl Drop for Keeper<'_> {
    fn drop(&mut self) {
        // The next keeper removes it, too.
        let _ = std::fs::remove_file(&self.socket);
    }
}

fn end(status: ExitStatus) -> End {
    match status.signal() {
        Some(signal) => End::Signal(signal),
        None => End::Code(status.code().unwrap_or(-1)),
    }
}
