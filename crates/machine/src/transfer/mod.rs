//! Files copied into a machine that runs, or out of it, as `machinectl copy-to` and `copy-from` do, see machinectl(1).
//!
//! Two processes do it, each on its side: one reads and one writes, and all that goes from one to the other is a [`stream`].
//! The one inside has entered the machine's files ([`entrance`]), is the machine's root where that has users of its own,
//! and has no descriptor of the host's but its end of the stream; links lead it nowhere else. The one outside follows
//! no link that comes out of the machine, and makes files only below what it has made itself.
//!
//! A copy has a temporary name beside its place, `.#redd-copy-…`, until it is complete. If it fails, is not wanted any more, or
//! whoever has asked for it is killed, that is removed. What is copied onto a directory that is there goes into it; all of it is
//! looked at before the first file gets its place.

mod place;
mod receive;
mod report;
mod send;
pub mod stream;
mod watch;
mod worker;

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use crate::entrance::{self, Entrance};
use crate::state::State;

use receive::Policy;
use report::{Failure, Step};
use watch::{Party, absolute, temporary_name};
use worker::{Input, Side};

/// How much the stream holds, in bytes.
const STREAM: usize = 1 << 20;

/// What is copied where. Paths of the machine are absolute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copy {
    /// A file, link or directory. If it is a link, that is copied.
    pub source: PathBuf,
    /// What it is called in the end.
    pub destination: PathBuf,
    /// What is there already is replaced, file by file.
    pub replace: bool,
}

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Files, directories and links that have been made.
    pub entries: u64,
    /// Bytes that have been written.
    pub bytes: u64,
}

/// Why something was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skipped {
    /// A device node: it would be another one's.
    Device,
    /// A socket: nobody listens at a copy.
    Socket,
    /// What is below `/proc`, `/sys` and the like.
    KernelFiles,
    /// It has gone meanwhile.
    Gone,
}

impl Skipped {
    const ALL: [Self; 4] = [Self::Device, Self::Socket, Self::KernelFiles, Self::Gone];

    /// For people, in the plural or not.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Device => "a device node",
            Self::Socket => "a socket",
            Self::KernelFiles => "a file system of the kernel",
            Self::Gone => "gone meanwhile",
        }
    }
}

/// What was copied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// How much.
    pub progress: Progress,
    /// What was left out: the first ones of [`Copied::skipped_count`].
    pub skipped: Vec<(Skipped, PathBuf)>,
    /// How many were left out.
    pub skipped_count: u64,
    /// How many extended attributes the destination has not taken.
    pub lost_attributes: u64,
}

/// How many of what was left out are named.
const NAMED: usize = 16;

/// Whose path it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The host's.
    Host,
    /// This machine's.
    Machine(String),
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => formatter.write_str("on the host"),
            Self::Machine(name) => write!(formatter, "in the machine {name}"),
        }
    }
}

/// Why it was not copied. Nothing of it is left then, but where the error says so.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no way in.
    #[error(transparent)]
    Entrance(#[from] entrance::Error),
    /// Of the machine.
    #[error("{path} is no path of a machine: it is not absolute", path = .0.display())]
    NotAbsolute(PathBuf),
    /// The source.
    #[error("there is no {path} {place}", path = .path.display())]
    Missing {
        /// Which.
        path: PathBuf,
        /// Where.
        place: Place,
    },
    /// There is a file already.
    #[error("{path} exists {place} already", path = .path.display())]
    Exists {
        /// Which.
        path: PathBuf,
        /// Where.
        place: Place,
    },
    /// A directory is there in place of something else, or the other way round.
    #[error("{path} {place} is {is}, and what is copied there is not", path = .path.display())]
    Kind {
        /// Which.
        path: PathBuf,
        /// Where.
        place: Place,
        /// What is there.
        is: &'static str,
    },
    /// The source is a device node or a socket.
    #[error("{path} {place} is neither a file nor a directory: nothing of it can be copied", path = .path.display())]
    NoContents {
        /// Which.
        path: PathBuf,
        /// Where.
        place: Place,
    },
    /// Directories in directories in directories.
    #[error("{path} {place} is more than {} directories deep", stream::DEEPEST, path = .path.display())]
    TooDeep {
        /// Which.
        path: PathBuf,
        /// Where.
        place: Place,
    },
    /// A step on one side.
    #[error("cannot {action} {path} {place}", path = .path.display())]
    Step {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Where.
        place: Place,
        /// Why it failed.
        source: Errno,
    },
    /// The way in.
    #[error("cannot enter the machine {machine}")]
    Enter {
        /// Which.
        machine: String,
        /// Why.
        source: Errno,
    },
    /// A process was killed; what it has made is removed.
    #[error("the process that {what} {place} was killed")]
    Killed {
        /// What it did.
        what: &'static str,
        /// Where.
        place: Place,
    },
    /// A process inside could not be stopped in time, or somebody there keeps what it has made.
    #[error("{path} may be left {place}", path = .path.display())]
    Left {
        /// The temporary name.
        path: PathBuf,
        /// Where.
        place: Place,
    },
    /// The machine has ended meanwhile.
    #[error("the machine {0} has ended meanwhile")]
    Ended(String),
    /// The caller did not go on.
    #[error("interrupted")]
    Interrupted,
    /// A system call of ours.
    #[error("cannot {0}")]
    System(&'static str, #[source] Errno),
}

/// Copies something of the host into a machine. The caller has one thread and is the host's root; `observe` is called all the
/// time, and says whether to go on.
///
/// # Errors
/// An [`Error`].
pub fn copy_to(state: &State, copy: &Copy, observe: &mut dyn FnMut(Progress) -> bool) -> Result<Copied, Error> {
    absolute(&copy.destination)?;
    let entrance = Entrance::of(state)?;
    let policy = Policy { keep_owners: entrance.users.is_none(), foreign: false, replace: copy.replace };
    Transfer { from: Side::Host, to: Side::Machine(&entrance), entrance: &entrance, copy, policy }.run(observe)
}

/// Copies something of a machine to the host; otherwise the same.
///
/// # Errors
/// An [`Error`].
pub fn copy_from(state: &State, copy: &Copy, observe: &mut dyn FnMut(Progress) -> bool) -> Result<Copied, Error> {
    absolute(&copy.source)?;
    let entrance = Entrance::of(state)?;
    let policy = Policy { keep_owners: entrance.users.is_none(), foreign: true, replace: copy.replace };
    Transfer { from: Side::Machine(&entrance), to: Side::Host, entrance: &entrance, copy, policy }.run(observe)
}

/// The directory above a path, and the name in it. What has no name of its own is looked up as a whole.
fn split(path: &Path) -> (&Path, &OsStr) {
    match (path.parent(), path.file_name()) {
        (Some(above), Some(name)) if above.as_os_str().is_empty() => (Path::new("."), name),
        (Some(above), Some(name)) => (above, name),
        _ => (path, OsStr::new(".")),
    }
}

/// A copy to be made.
struct Transfer<'a> {
    from: Side<'a>,
    to: Side<'a>,
    entrance: &'a Entrance,
    copy: &'a Copy,
    policy: Policy,
}

impl Transfer<'_> {
    fn run(&self, observe: &mut dyn FnMut(Progress) -> bool) -> Result<Copied, Error> {
        let system = |action| move |errno| Error::System(action, errno);
        let temporary = temporary_name().map_err(system("make a name"))?;
        let (stream_in, stream_out) = pipe_with(PipeFlags::CLOEXEC).map_err(system("make a pipe"))?;
        // It works with less, too.
        let _ = fcntl_setpipe_size(&stream_out, STREAM);
        let (wanted, want) = pipe_with(PipeFlags::CLOEXEC).map_err(system("make a pipe"))?;
        set_dumpable_behavior(DumpableBehavior::NotDumpable)
            .map_err(system("keep others from looking into this process"))?;
        let reader = worker::start(self.from, false, vec![stream_out], |roots, mut descriptors, reporter| {
            let stream = descriptors.pop().ok_or_else(|| Failure::new(Step::Cut, Errno::BADF, ""))?;
            send::send(roots, &self.copy.source, (stream, reporter), &temporary)
        });
        let mut reader = Party::of(reader.map_err(system("start a process that reads"))?);
        let writer = worker::start(self.to, true, vec![stream_in, wanted], |roots, mut descriptors, reporter| {
            let (Some(wanted), Some(stream)) = (descriptors.pop(), descriptors.pop()) else {
                return Err(Failure::new(Step::Cut, Errno::BADF, ""));
            };
            let input = Input::new(stream, wanted);
            receive::receive(roots, &self.copy.destination, input, self.policy, (&temporary, reporter))
        });
        let mut writer = match writer {
            Ok(worker) => Party::of(worker),
            Err(errno) => {
                reader.kill();
                let _ = reader.wait();
                return Err(Error::System("start a process that writes", errno));
            }
        };
        let mut copied = Copied::default();
        let given_up = self.watch((&mut reader, &mut writer), want, &mut copied, observe);
        for party in [&reader, &writer] {
            party.wait().map_err(system("wait for a process"))?;
        }
        self.conclude(&reader, &writer, given_up, &temporary).map(|()| copied)
    }
}
