//! Init systems, and how each of them is asked to power off or to reboot.
//!
//! Which one it is, is told by the program that runs as process 1. What is inside a machine is not trusted: who pretends to
//! be another one is asked in another way, and that is all that it gains.
//!
//! | init | power off | reboot | where it says so |
//! |---|---|---|---|
//! | systemd | SIGRTMIN+4 | SIGINT | systemd(1), machinectl(1) |
//! | sysvinit | runlevel 0 through its pipe | runlevel 6 | init(8) |
//! | OpenRC's | SIGTERM | SIGINT | openrc-init(8) |
//! | BusyBox | SIGUSR2 | SIGTERM | `init --help` |
//! | Finit | SIGUSR2 | SIGTERM | its manual, "Signals" |
//! | runit | its stop files and SIGCONT | likewise | runit(8) |
//! | s6 | SIGUSR1 where there is a program for it, else SIGTERM | SIGINT | s6-svscan, s6-linux-init-maker |
//! | dinit | SIGTERM | SIGINT | dinit(8) |

mod aside;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fchmod, fstat, openat, openat2};
use rustix::io::Errno;
use rustix::process::Signal;

use crate::process::has_ended;
use crate::side_by_side::SideBySide;

pub use aside::Aside;

/// How long what is found by way of a machine's files or memory may take, see [`aside`].
const PATIENCE: Duration = Duration::from_secs(1);

/// What is wanted of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// That it ends.
    PowerOff,
    /// That it begins anew.
    Reboot,
}

impl Wish {
    /// The signal that stands for it with those who are no init system.
    #[must_use]
    pub fn usual_signal(self) -> i32 {
        match self {
            Self::PowerOff => Signal::TERM.as_raw(),
            Self::Reboot => Signal::INT.as_raw(),
        }
    }
}

/// An init system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Init {
    /// systemd.
    Systemd,
    /// The init of System V, as Debian and Devuan have it.
    SysV,
    /// openrc-init. OpenRC below sysvinit or BusyBox is asked by way of those.
    OpenRc,
    /// BusyBox.
    BusyBox,
    /// Finit.
    Finit,
    /// runit.
    Runit,
    /// s6-svscan, mostly made by s6-linux-init.
    S6,
    /// dinit.
    Dinit,
}

/// How it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// By a signal.
    Signal(i32),
    /// By a request for a runlevel in the pipe of sysvinit.
    Runlevel(u8),
    /// By the modes of two files, and a signal.
    StopFiles(Wish),
}

impl Init {
    /// All of them.
    const ALL: [Self; 8] =
        [Self::Systemd, Self::SysV, Self::OpenRc, Self::BusyBox, Self::Finit, Self::Runit, Self::S6, Self::Dinit];

    /// It in place of 0, which is none.
    fn number(self) -> u8 {
        self as u8 + 1
    }

    /// The one that this process is, by its program. Whoever must not hang asks [`Init::in_time`] or an [`Aside`].
    #[must_use]
    pub fn of(pid: i32) -> Option<Self> {
        match Self::by_program(&program(pid)?) {
            // That of System V does not know this one: another one of the same name.
            Some(Self::SysV) if takes(pid, Signal::TERM.as_raw()) => None,
            // A shell, or whatever else it can be.
            Some(Self::BusyBox) if !is_init(&command_line(pid)) => None,
            other => other,
        }
    }

    /// The same where the machine lets it be seen: not all of it is told by the kernel alone, see [`Aside`]. For those who have threads.
    #[must_use]
    pub fn in_time(pid: i32) -> Option<Self> {
        let mut looking = SideBySide::new(|pid: &i32, _| Self::of(*pid));
        looking.add(pid);
        looking.results(PATIENCE).pop().flatten().flatten()
    }

    /// Whether this process is systemd, which the kernel alone tells.
    #[must_use]
    pub fn is_systemd(pid: i32) -> bool {
        program(pid).is_some_and(|program| Self::by_program(&program) == Some(Self::Systemd))
    }

    /// The one whose program this is: the path inside that the kernel tells.
    fn by_program(path: &[u8]) -> Option<Self> {
        let path = path.strip_suffix(b" (deleted)").unwrap_or(path);
        match path.rsplit(|byte| *byte == b'/').next()? {
            b"systemd" => Some(Self::Systemd),
            b"init" => Some(Self::SysV),
            b"openrc-init" => Some(Self::OpenRc),
            b"busybox" | b"busybox.static" | b"busybox-static" => Some(Self::BusyBox),
            b"finit" => Some(Self::Finit),
            b"runit" | b"runit-init" => Some(Self::Runit),
            b"s6-svscan" => Some(Self::S6),
            b"dinit" => Some(Self::Dinit),
            _ => None,
        }
    }

    /// What people call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Systemd => "systemd",
            Self::SysV => "sysvinit",
            Self::OpenRc => "openrc-init",
            Self::BusyBox => "BusyBox init",
            Self::Finit => "Finit",
            Self::Runit => "runit",
            Self::S6 => "s6",
            Self::Dinit => "dinit",
        }
    }

    /// How it is asked for this. `pid` is its process, which may say more.
    #[must_use]
    pub fn means(self, wish: Wish, pid: i32) -> Means {
        let signal = match (self, wish) {
            (Self::SysV, Wish::PowerOff) => return Means::Runlevel(b'0'),
            (Self::SysV, Wish::Reboot) => return Means::Runlevel(b'6'),
            (Self::Runit, wish) => return Means::StopFiles(wish),
            (Self::Systemd, Wish::PowerOff) => return Means::Signal(sys::signal::real_time_minimum() + 4),
            (Self::BusyBox | Self::Finit, Wish::PowerOff) => Signal::USR2,
            (Self::BusyBox | Self::Finit, Wish::Reboot) => Signal::TERM,
            (Self::S6, Wish::PowerOff) if has_program_for_usr1(pid) => Signal::USR1,
            (Self::OpenRc | Self::S6 | Self::Dinit, Wish::PowerOff) => Signal::TERM,
            (Self::Systemd | Self::OpenRc | Self::S6 | Self::Dinit, Wish::Reboot) => Signal::INT,
        };
        Means::Signal(signal.as_raw())
    }
}

fn command_line(pid: i32) -> Vec<u8> {
    std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()
}

/// Whether BusyBox was called as an init system.
fn is_init(command_line: &[u8]) -> bool {
    let mut words = command_line.split(|byte| *byte == 0).map(|word| {
        let name = word.rsplit(|byte| *byte == b'/').next().unwrap_or(word);
        name.strip_prefix(b"-").unwrap_or(name)
    });
    let called = words.find(|word| !word.starts_with(b"busybox"));
    matches!(called, Some(b"init" | b"linuxrc"))
}

/// The path of a process's program, as it is inside.
fn program(pid: i32) -> Option<Vec<u8>> {
    let path = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    Some(path.as_os_str().as_bytes().to_vec())
}

/// What a process is called, for people.
#[must_use]
pub fn name_of(pid: i32) -> String {
    let name = std::fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    String::from_utf8_lossy(name.strip_suffix(b"\n").unwrap_or(&name)).into_owned()
}

/// The programs for signals are beside the services, in the directory that s6-svscan is in.
fn has_program_for_usr1(pid: i32) -> bool {
    let Ok(services) = openat(CWD, format!("/proc/{pid}/cwd"), OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) else {
        return false;
    };
    let flags = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    openat2(services, ".s6-svscan/SIGUSR1", OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), flags).is_ok()
}

/// Whether a process does something when it gets a signal: it catches it, or waits for it with
/// [`signalfd(2)`](https://man7.org/linux/man-pages/man2/signalfd.2.html), which needs it blocked. To the first process of a
/// PID namespace all others are lost (pid_namespaces(7)), but for SIGKILL and SIGSTOP.
#[must_use]
pub fn takes(pid: i32, signal: i32) -> bool {
    if [Signal::KILL.as_raw(), Signal::STOP.as_raw()].contains(&signal) {
        return true;
    }
    catches(pid, signal) || waits_for_signals(pid)
}

/// The same as far as the process's status says it, which the kernel writes without the process's help.
#[must_use]
pub fn catches(pid: i32, signal: i32) -> bool {
    taken(&std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default(), signal)
}

/// Whether a signal to the first process of a machine is what machinectl(1) powers off with, and means nothing to the init system that
/// it is: that has another way, see [`Init::means`].
#[must_use]
pub fn misses_power_off(pid: i32, signal: i32) -> bool {
    let known = || Init::in_time(pid).is_some_and(|init| init != Init::Systemd);
    // None of them waits for signals of real time; what catches one or holds it back knows better.
    signal == sys::signal::real_time_minimum() + 4 && !catches(pid, signal) && known()
}

/// Whether it is in [`sigwaitinfo(2)`](https://man7.org/linux/man-pages/man2/sigwaitinfo.2.html): meanwhile the signals that it
/// waits for are not shown as blocked, though for the kernel they are.
fn waits_for_signals(pid: i32) -> bool {
    // The one needs symbols in the kernel, the other its tracing of system calls.
    let waits_in = std::fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default();
    let call = std::fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    let number = call.split(' ').next().and_then(|number| number.parse().ok());
    waits_in.contains("sigtimedwait") || number == Some(sys::signal::CALL_THAT_WAITS)
}

fn taken(status: &str, signal: i32) -> bool {
    let Some(bit) = u32::try_from(signal).ok().and_then(|signal| signal.checked_sub(1)) else { return false };
    let set = |name: &str| {
        let text = status.lines().find_map(|line| line.strip_prefix(name))?;
        u64::from_str_radix(text.trim(), 16).ok()
    };
    let sets = [set("SigCgt:"), set("SigBlk:")].into_iter().flatten().fold(0, |all, set| all | set);
    sets.checked_shr(bit).is_some_and(|rest| rest & 1 == 1)
}

/// Asks the first process of a machine. `pid` is its number on the host, `process` holds it. That may hang with the machine's files,
/// see [`Aside`].
///
/// # Errors
/// `EAGAIN` if it cannot hear it yet: it has only just begun. Others of the system calls, `ESRCH` if it has ended.
pub fn ask(means: Means, pid: i32, process: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let send = |signal| match takes(pid, signal) {
        true => sys::signal::send(process, signal),
        false => Err(Errno::AGAIN),
    };
    match means {
        Means::Signal(signal) => send(signal),
        Means::Runlevel(level) => request_runlevel(&root(pid, process)?, level),
        Means::StopFiles(wish) => {
            if !takes(pid, Signal::CONT.as_raw()) {
                return Err(Errno::AGAIN);
            }
            let root = root(pid, process)?;
            let owner = rustix::fs::stat(format!("/proc/{pid}"))?;
            let place = stop_files(pid);
            let modes = [("reboot", wish == Wish::Reboot), ("stopit", true)];
            // As the user that it is: a new file belongs to it, and where ids are mapped only they can be written.
            sys::process::set_file_system_ids(owner.st_uid, owner.st_gid);
            let marked = modes.into_iter().try_for_each(|(name, set)| mark(&root, &format!("{place}{name}"), set));
            let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
            sys::process::set_file_system_ids(uid.as_raw(), gid.as_raw());
            marked?;
            send(Signal::CONT.as_raw())
        }
    }
}

/// What people call a first process, and what came of asking it, see [`ask`]: nothing where it is no init system that is known and
/// does not take the signal that stands for it.
type Asked = (String, Option<rustix::io::Result<()>>);

/// Asks the first process of a machine, whatever it is. Nothing where its files do not answer. For those who have threads.
pub(crate) fn ask_in_time(wish: Wish, pid: i32, process: OwnedFd) -> Option<Asked> {
    let mut asking = SideBySide::new(|(wish, pid, process): &(Wish, i32, OwnedFd), _| {
        let init = Init::of(*pid);
        let means = match init {
            Some(init) => Some(init.means(*wish, *pid)),
            None => Some(Means::Signal(wish.usual_signal())).filter(|_| takes(*pid, wish.usual_signal())),
        };
        let name = init.map_or_else(|| name_of(*pid), |init| init.name().to_owned());
        (name, means.map(|means| ask(means, *pid, process.as_fd())))
    });
    asking.add((wish, pid, process));
    asking.results(PATIENCE).pop().flatten()
}

fn root(pid: i32, process: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(CWD, format!("/proc/{pid}/root"), flags, Mode::empty())?;
    // What is written there asks for a shutdown: another process, whose number this is by now, may have the host's root.
    if has_ended(process) { Err(Errno::SRCH) } else { Ok(root) }
}

/// Inside, whatever links there are.
const INSIDE: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);

/// What the paths of runit's two files begin with. Distributions differ, the program itself knows.
fn stop_files(pid: i32) -> &'static str {
    /// What Debian has made of it.
    const DEBIAN: &[u8] = b"/run/runit.stopit";
    /// It is much smaller.
    const LARGEST: u64 = 1 << 20;
    let mut program = Vec::new();
    let read = std::fs::File::open(format!("/proc/{pid}/exe"))
        .and_then(|file| std::io::Read::read_to_end(&mut std::io::Read::take(file, LARGEST), &mut program));
    let debian = read.is_ok() && program.windows(DEBIAN.len()).any(|part| part == DEBIAN);
    if debian { "run/runit." } else { "etc/runit/" }
}

/// Both files of runit(8) are there if their owner may execute them.
fn mark(root: &OwnedFd, path: &str, set: bool) -> rustix::io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = openat2(root, path, flags, Mode::empty(), INSIDE)?;
    if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::RegularFile {
        return Err(Errno::NOTSUP);
    }
    fchmod(&file, if set { Mode::XUSR } else { Mode::empty() })
}

/// The size of a request in the pipe of sysvinit, see initctl(5): numbers for what it is and what it wants, and room.
const REQUEST: usize = 384;

fn request_runlevel(root: &OwnedFd, level: u8) -> rustix::io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let open = |path: &str| openat2(root, path, flags, Mode::empty(), INSIDE);
    let pipe = match open("run/initctl") {
        Err(Errno::NOENT) => open("dev/initctl"),
        other => other,
    };
    let pipe = match pipe {
        // It makes the pipe, and opens it, once it can hear.
        Err(Errno::NOENT | Errno::NXIO) => return Err(Errno::AGAIN),
        other => other?,
    };
    if FileType::from_raw_mode(fstat(&pipe)?.st_mode) != FileType::Fifo {
        return Err(Errno::NOTSUP);
    }
    let written = rustix::io::retry_on_intr(|| rustix::io::write(&pipe, &runlevel_request(level)))?;
    // As long as it fits it is written as one.
    if written == REQUEST { Ok(()) } else { Err(Errno::IO) }
}

fn runlevel_request(level: u8) -> [u8; REQUEST] {
    /// What a request begins with.
    const MAGIC: u32 = 0x0309_1969;
    /// Change the runlevel.
    const RUNLEVEL: u32 = 1;
    let mut request = [0; REQUEST];
    let fields = [MAGIC, RUNLEVEL, level.into(), 0];
    for (place, field) in request.chunks_exact_mut(4).zip(fields) {
        place.copy_from_slice(&field.to_ne_bytes());
    }
    request
}

#[cfg(test)]
mod tests;
