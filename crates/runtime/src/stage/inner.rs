//! Inside all namespaces: what needs the container's own process ids, network, users.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use plan::{InnerStep, Plan};
use rustix::fs::{AtFlags, Mode, OFlags, mkfifoat};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::pty::OpenptFlags;
use sys::clone::Namespaces;
use sys::mount::{Change, Propagation, set_attributes};

use super::files::{About, Failure, Files, write_all};
use super::launch::Launched;
use super::{host_file, journal, overlay, payload};
use crate::filter::Filter;
use crate::proto::{Report, Sender, Stage};

/// What this stage hands over: to the supervisor, and to the payload.
#[derive(Debug)]
pub struct Inside {
    /// Our side of the console goes to the supervisor.
    master: Option<OwnedFd>,
    /// The payload's side of the console.
    pub console: Option<OwnedFd>,
    notify: Option<OwnedFd>,
    kmsg: Option<OwnedFd>,
    journal: Option<OwnedFd>,
    /// Whether the usual filter is loaded.
    pub filtered: bool,
    /// It ends when the program is executed.
    _gate: Option<OwnedFd>,
}

/// How this stage comes by the mounts of the outer one.
#[derive(Debug)]
pub enum Before<'a> {
    /// It ran in this process, and has left off here.
    Done(Files),
    /// It runs in another process, at the same time.
    Meanwhile(Gate<'a>),
}

/// What the process that carries the outer stage out and this one tell each other.
#[derive(Debug)]
pub struct Gate<'a> {
    /// A byte comes when the user namespace maps ids, another one when the mounts are made.
    pub wait: OwnedFd,
    /// A byte goes when the network is made, and its end when the payload is executed.
    pub tell: OwnedFd,
    /// The system call filter, if it does not stand in the way of this stage.
    pub filter: Option<&'a Filter>,
}

impl Gate<'_> {
    fn pass(&self) {
        let mut word = [0; 1];
        if rustix::io::retry_on_intr(|| rustix::io::read(&self.wait, &mut word)) != Ok(1) {
            // The other process has said why.
            sys::clone::exit_now(1);
        }
    }

    fn make_network(&self) -> Result<(), Failure> {
        sys::clone::unshare(Namespaces::NETWORK)?;
        rustix::io::write(&self.tell, b"n")?;
        Ok(())
    }
}

/// Carries the steps out and hands the descriptors to the supervisor.
///
/// # Errors
/// The number of the step, and why.
pub fn run(plan: &Plan, launched: &Launched, before: Before<'_>, sender: &Sender) -> Result<Inside, (usize, Failure)> {
    let mut inside =
        Inside { master: None, console: None, notify: None, kmsg: None, journal: None, filtered: false, _gate: None };
    let (mut files, mut gate) = match before {
        Before::Done(files) => (Some(files), None),
        Before::Meanwhile(gate) => (None, Some(gate)),
    };
    rustix::process::umask(Mode::empty());
    for (number, step) in plan.inner.iter().enumerate() {
        let failed = |failure| (number, failure);
        if let Some(open) = &gate {
            files = meanwhile(step, open).map_err(failed)?;
            if files.is_some() {
                inside.filtered = open.filter.is_some();
                inside._gate = gate.take().map(|gate| gate.tell);
            }
            continue;
        }
        let Some(files) = &mut files else { return Err(failed(Errno::BADF.into())) };
        let note = |errno, detail: &str| {
            sender.note(&Report { stage: Stage::Inner, step: number, errno, detail: detail.to_owned() });
        };
        carry_out(step, files, launched, &mut inside, note).map_err(failed)?;
    }
    if let (Some(master), true) = (
        &inside.master,
        plan.supervision.console != spec::ConsoleMode::Passive || plan.supervision.console_size.is_some(),
    ) {
        // Before the payload starts and asks for it. Where our output is no terminal there is none.
        let _ = match plan.supervision.console_size {
            Some(size) => sys::terminal::set_window_size(master.as_fd(), size.rows, size.columns),
            None => sys::terminal::copy_window_size(rustix::stdio::stdout(), master.as_fd()),
        };
    }
    let fds: Vec<_> = [&inside.notify, &inside.kmsg, &inside.journal, &inside.master]
        .into_iter()
        .filter_map(|fd| fd.as_ref().map(AsFd::as_fd))
        .collect();
    sender.descriptors(&fds).map_err(|errno| (plan.inner.len(), errno.into()))?;
    inside.master = None;
    inside.notify = None;
    inside.journal = None;
    Ok(inside)
}

fn carry_out(
    step: &InnerStep,
    files: &mut Files,
    launched: &Launched,
    inside: &mut Inside,
    note: impl Fn(Errno, &str),
) -> Result<(), Failure> {
    match step {
        InnerStep::BecomeRoot | InnerStep::MakeNetwork | InnerStep::TakeMountsOver => Err(Errno::INVAL.into()),
        InnerStep::File(step) => files.run(step, &launched.sources),
        InnerStep::MakeConsole => {
            let (master, console) = make_console(files)?;
            inside.master = Some(master);
            inside.console = Some(console);
            Ok(())
        }
        InnerStep::ListenForNotifications => {
            inside.notify = Some(listen_for_notifications(files)?);
            Ok(())
        }
        InnerStep::ListenForJournal => {
            inside.journal = Some(journal::listen(files)?);
            Ok(())
        }
        InnerStep::MakeKmsg => {
            inside.kmsg = Some(make_kmsg(files)?);
            Ok(())
        }
        InnerStep::CopyHostFile { target, contents, replace } => {
            let write = if *replace { host_file::replace } else { host_file::copy };
            write(files, target.as_path(), contents).unwrap_or_else(|errno| note(errno, ""));
            Ok(())
        }
        InnerStep::MakeJournal { id, required } => match journal::make(files, id) {
            Err(failure) if !required => {
                note(failure.errno, &failure.detail);
                Ok(())
            }
            other => other.map(drop),
        },
        InnerStep::DeleteFile(target) => {
            host_file::delete(files, target.as_path()).unwrap_or_else(|errno| note(errno, ""));
            Ok(())
        }
        InnerStep::LinkTimezone(zone) => {
            host_file::link_timezone(files, zone).unwrap_or_else(|errno| note(errno, ""));
            Ok(())
        }
        InnerStep::AllowPing { last } => match allow_ping(files, *last) {
            Err(Errno::NOENT) => Ok(()),
            other => Ok(other?),
        },
        InnerStep::BringUpLoopback => Ok(sys::loopback::bring_up()?),
        InnerStep::SetParameter { path, value } => {
            let file = files.open(path.as_path(), OFlags::WRONLY).about(path)?;
            write_all(file.as_fd(), value.as_bytes()).about(path)
        }
        InnerStep::SetHostname(name) => Ok(rustix::system::sethostname(name.as_bytes())?),
        InnerStep::PivotRoot => files.become_root(),
        InnerStep::ShareMounts => {
            let root = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
            let change = Change { propagation: Some(Propagation::Shared), recursive: true, ..Change::default() };
            Ok(set_attributes(root.as_fd(), &change)?)
        }
    }
}

/// A step that takes none of the mounts, or the one that brings them.
fn meanwhile(step: &InnerStep, gate: &Gate<'_>) -> Result<Option<Files>, Failure> {
    match step {
        InnerStep::BecomeRoot => {
            gate.pass();
            overlay::become_root()?;
            // As who it is now, so that the new ones are the container's.
            sys::process::leave_session_keyring().about(machine::login::KEYS)?;
        }
        InnerStep::MakeNetwork => gate.make_network()?,
        InnerStep::BringUpLoopback => sys::loopback::bring_up()?,
        InnerStep::SetHostname(name) => rustix::system::sethostname(name.as_bytes())?,
        InnerStep::TakeMountsOver => {
            // What the payload starts with, and what the kernel takes longest for. The mounts are not made yet.
            sys::signal::reset_dispositions();
            payload::load(gate.filter)?;
            gate.pass();
            return Ok(Some(take_mounts_over()?));
        }
        _ => return Err(Errno::INVAL.into()),
    }
    Ok(None)
}

/// Takes the mounts over into a mount namespace that belongs to the user namespace: the kernel then locks what the
/// host's privileges have mounted, so that root inside can neither undo nor loosen it.
fn take_mounts_over() -> Result<Files, Failure> {
    // The root has changed meanwhile, the working directory not: it is still the host's.
    rustix::process::chdir("/")?;
    sys::clone::unshare(Namespaces::MOUNT)?;
    Ok(Files::new(rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?))
}

/// The range of a new network is that of the host's ids, which mean nothing here.
fn allow_ping(files: &Files, last: u32) -> rustix::io::Result<()> {
    let file = files.open(Path::new("/proc/sys/net/ipv4/ping_group_range"), OFlags::WRONLY)?;
    write_all(file.as_fd(), format!("0 {last}").as_bytes())
}

fn make_console(files: &mut Files) -> Result<(OwnedFd, OwnedFd), Failure> {
    let master = files.open(Path::new("/dev/pts/ptmx"), OFlags::RDWR | OFlags::NOCTTY).about("/dev/pts/ptmx")?;
    rustix::pty::unlockpt(&master)?;
    let console = rustix::pty::ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    let target = format!("pts/{}", sys::pty::number(master.as_fd())?);
    let (directory, name) = files.parent(Path::new("/dev/console"))?;
    rustix::fs::symlinkat(target, directory, name).about("/dev/console")?;
    Ok((master, console))
}

/// The socket at which the payload's init system says how far it is, see sd_notify(3).
fn listen_for_notifications(files: &Files) -> Result<OwnedFd, Failure> {
    let directory = files.open(Path::new("/run/host"), OFlags::PATH | OFlags::DIRECTORY)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
    rustix::net::sockopt::set_socket_passcred(&socket, true)?;
    rustix::process::fchdir(&directory)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new("notify")?).about("/run/host/notify")?;
    rustix::fs::chmodat(&directory, "notify", Mode::from_raw_mode(0o200), AtFlags::empty())?;
    rustix::process::fchdir(files.root())?;
    Ok(socket)
}

/// Stands for `/proc/kmsg`: nothing ever comes out of it, and readers wait as they would for the kernel.
fn make_kmsg(files: &mut Files) -> Result<OwnedFd, Failure> {
    let path = Path::new("/run/host/proc-kmsg");
    let (directory, name) = files.parent(path)?;
    mkfifoat(directory, name, Mode::from_raw_mode(0o600))?;
    Ok(files.open(path, OFlags::RDWR | OFlags::NONBLOCK)?)
}
