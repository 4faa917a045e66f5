//! What the blocks of a page have left on the host.

use std::collections::HashSet;
use std::ffi::OsString;
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
    /// What was where machines are before.
    before: HashSet<OsString>,
    /// What may be the name of a machine in what is run. Others make machines at the same time, which are not ours.
    words: HashSet<String>,
}

/// A process that is still there.
struct Process {
    name: String,
    held: OwnedFd,
}

impl Leftover {
    /// To be called before the page runs `text` in the directory.
    pub(super) fn of(directory: &Path, text: &str) -> Self {
        let is_part = |one: char| one.is_ascii_alphanumeric() || "._-".contains(one);
        let words = text.split(|one| !is_part(one)).filter(|word| !word.is_empty());
        Self {
            directory: directory.to_owned(),
            before: entries().collect(),
            words: words.map(|word| word.strip_suffix(".raw").unwrap_or(word).to_owned()).collect(),
        }
    }

    /// Whether there is nothing, or will be soon. What has been asked to end may need its time.
    pub(super) fn goes_by_itself(&self, patience: Duration) -> bool {
        self.are_gone_within(patience) && self.machines().is_empty()
    }

    /// The names of programs, and machines.
    pub(super) fn names(&self) -> Vec<String> {
        let processes = self.processes().into_iter().map(|process| process.name);
        processes.chain(self.machines().iter().map(|path| path.display().to_string())).collect()
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
        for machine in self.machines() {
            let is_tree = machine.symlink_metadata().is_ok_and(|status| status.is_dir());
            let removed = if is_tree { fs::remove_dir_all(&machine) } else { fs::remove_file(&machine) };
            removed.with_context(|| format!("cannot remove {}", machine.display()))?;
            let name = machine.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let name = own_name(name);
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

    /// Machines whose trees were in the directory, and those that are new and that the page names.
    fn machines(&self) -> Vec<PathBuf> {
        let is_ours = |name: &OsString| {
            let is_new =
                !self.before.contains(name) && name.to_str().is_some_and(|name| self.words.contains(own_name(name)));
            let target = Path::new(MACHINES).join(name).read_link();
            is_new || target.is_ok_and(|target| target.starts_with(&self.directory))
        };
        entries().filter(is_ours).map(|name| Path::new(MACHINES).join(name)).collect()
    }
}

/// What is where machines are.
fn entries() -> impl Iterator<Item = OsString> {
    fs::read_dir(MACHINES).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.file_name()))
}

/// The name of the machine whose tree or image it is, or that has died while it was made.
fn own_name(file: &str) -> &str {
    let name = file.strip_prefix(".#redd.").unwrap_or(file);
    name.strip_suffix(".raw").unwrap_or(name)
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
