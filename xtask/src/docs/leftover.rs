//! What the blocks of a page have left on the host.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// How often is looked.
const MOMENT: Duration = Duration::from_millis(20);
/// Where machines are found by their names.
const MACHINES: &str = "/var/lib/machines";
/// Which of them are started at boot, in files of their names.
const AUTOSTART: &str = "/etc/redd/autostart";
/// What is said of them, in files of their names.
const SETTINGS: &str = "/etc/systemd/nspawn";

/// The first directory in `PATH` of whatever a page runs. It tells its processes from all others: also a machine that stays in
/// the background keeps that variable when it gives up the others.
pub(super) fn programs(directory: &Path) -> PathBuf {
    directory.join("bin")
}

/// What has been left by the page in a directory.
pub(super) struct Leftover {
    directory: PathBuf,
}

/// A process that is still there.
struct Process {
    name: String,
    held: OwnedFd,
}

impl Leftover {
    pub(super) fn of(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// Whether there is nothing, or will be soon. What has been asked to end may need its time.
    pub(super) fn goes_by_itself(&self, patience: Duration) -> bool {
        self.are_gone_within(patience) && self.links().is_empty()
    }

    /// The names of programs, and machines.
    pub(super) fn names(&self) -> Vec<String> {
        let processes = self.processes().into_iter().map(|process| process.name);
        processes.chain(self.links().iter().map(|path| path.display().to_string())).collect()
    }

    /// Ends and removes all of it. Machines end in order when they are asked to, and else with their supervisors.
    ///
    /// # Errors
    /// If something does not go.
    pub(super) fn end(&self, patience: Duration) -> Result<()> {
        for signal in [Signal::TERM, Signal::KILL] {
            self.send(signal);
            if self.are_gone_within(patience) {
                break;
            }
        }
        for link in self.links() {
            fs::remove_file(&link).with_context(|| format!("cannot remove {}", link.display()))?;
            let name = link.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let name = name.strip_suffix(".raw").unwrap_or(name);
            let noted = Path::new(AUTOSTART).join(name);
            let settings = Path::new(SETTINGS).join(format!("{name}.nspawn"));
            for path in [noted, settings].iter().filter(|path| path.exists()) {
                fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
            }
        }
        let names = self.names();
        if names.is_empty() { Ok(()) } else { bail!("cannot end {}", names.join(", ")) }
    }

    fn are_gone_within(&self, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        loop {
            if self.processes().is_empty() {
                return true;
            }
            if Instant::now() >= end {
                return false;
            }
            std::thread::sleep(MOMENT);
        }
    }

    fn send(&self, signal: Signal) {
        for process in self.processes() {
            // One that has ended by itself, or does not obey us, is seen when all are waited for.
            let _ = pidfd_send_signal(process.held, signal);
        }
    }

    fn processes(&self) -> Vec<Process> {
        let first = format!("PATH={}:", programs(&self.directory).display()).into_bytes();
        let entries = fs::read_dir("/proc").into_iter().flatten();
        let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok().and_then(Pid::from_raw));
        pids.filter_map(|pid| Process::with_variable(pid, &first)).collect()
    }

    /// Machines whose trees were in the directory.
    fn links(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(MACHINES).into_iter().flatten();
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        paths.filter(|path| path.read_link().is_ok_and(|target| target.starts_with(&self.directory))).collect()
    }
}

impl Process {
    /// Nothing where it is another one's, a kernel's, or has ended.
    fn with_variable(pid: Pid, start: &[u8]) -> Option<Self> {
        let held = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        let place = Path::new("/proc").join(pid.as_raw_nonzero().to_string());
        // Empty where it has ended, and is only waited for.
        let variables = fs::read(place.join("environ")).ok()?;
        let ours = variables.split(|byte| *byte == 0).any(|variable| variable.starts_with(start));
        let name = fs::read_to_string(place.join("comm")).ok()?.trim().to_owned();
        ours.then_some(Self { name, held })
    }
}
