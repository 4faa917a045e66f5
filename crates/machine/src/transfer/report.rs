//! What the two processes of a copy tell whoever has asked for it.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};

use super::{Progress, Skipped};

/// The longest message, in bytes: a path, and what it is about.
const LONGEST: usize = 4096 + 64;

/// What was being done when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// On the way into the machine.
    Enter,
    /// The source is not there.
    Missing,
    /// The directory that the copy should be in.
    Above,
    /// Something is there already.
    Exists,
    /// A directory in place of something else, or the other way round.
    Kind,
    /// The source has no contents that could be copied.
    NoContents,
    Find,
    List,
    Read,
    TooDeep,
    Changing,
    Make,
    Write,
    Attributes,
    Place,
    Remove,
    /// What was received makes no sense.
    Stream,
    /// The other side has ended, or the copy is not wanted any more.
    Cut,
}

const STEPS: [Step; 18] = [
    Step::Enter,
    Step::Missing,
    Step::Above,
    Step::Exists,
    Step::Kind,
    Step::NoContents,
    Step::Find,
    Step::List,
    Step::Read,
    Step::TooDeep,
    Step::Changing,
    Step::Make,
    Step::Write,
    Step::Attributes,
    Step::Place,
    Step::Remove,
    Step::Stream,
    Step::Cut,
];

/// Why a process has given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) step: Step,
    pub(super) errno: Errno,
    pub(super) path: PathBuf,
}

impl Failure {
    pub(super) fn new(step: Step, errno: Errno, path: impl Into<PathBuf>) -> Self {
        Self { step, errno, path: path.into() }
    }
}

/// Says of an error what it was about.
pub(super) trait About<T> {
    fn about(self, step: Step, path: &Path) -> Result<T, Failure>;
}

impl<T> About<T> for rustix::io::Result<T> {
    fn about(self, step: Step, path: &Path) -> Result<T, Failure> {
        self.map_err(|errno| Failure::new(step, errno, path))
    }
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// So much has arrived; also a sign of life.
    Progress(Progress),
    /// This was left out.
    Skipped(Skipped, PathBuf),
    /// An attribute could not be kept.
    Lost,
    /// It did not work.
    Failed(Failure),
    /// All is done.
    Done,
}

/// Who listens.
#[derive(Debug)]
pub(super) struct Reports(OwnedFd);

/// Who tells.
#[derive(Debug)]
pub(super) struct Reporter(OwnedFd);

pub(super) fn channel() -> rustix::io::Result<(Reports, Reporter)> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    Ok((Reports(ours), Reporter(theirs)))
}

impl AsFd for Reports {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsFd for Reporter {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Reporter {
    pub(super) fn tell(&self, report: &Report) {
        let message = report.bytes();
        // If nobody listens any more, nobody is interested.
        let _ = rustix::io::retry_on_intr(|| send(&self.0, &message, SendFlags::NOSIGNAL));
    }
}

impl Reports {
    /// The next message; nothing when the process has ended.
    ///
    /// # Errors
    /// Those of recv(2); `EPROTO` for what is no message.
    pub(super) fn next(&self) -> rustix::io::Result<Option<Report>> {
        let mut bytes = [0; LONGEST];
        let (length, _) = rustix::io::retry_on_intr(|| recv(&self.0, &mut bytes[..], RecvFlags::empty()))?;
        match &bytes[..length] {
            [] => Ok(None),
            message => Report::read(message).map(Some).ok_or(Errno::PROTO),
        }
    }
}

impl Report {
    fn bytes(&self) -> Vec<u8> {
        let with_path = |head: &[u8], path: &Path| {
            let path = path.as_os_str().as_bytes();
            [head, &path[..path.len().min(LONGEST - head.len())]].concat()
        };
        match self {
            Self::Progress(Progress { entries, bytes }) => {
                [&b"p"[..], &entries.to_le_bytes(), &bytes.to_le_bytes()].concat()
            }
            Self::Skipped(kind, path) => with_path(&[b's', *kind as u8], path),
            Self::Lost => vec![b'l'],
            Self::Failed(Failure { step, errno, path }) => {
                let [a, b, c, d] = errno.raw_os_error().to_le_bytes();
                with_path(&[b'f', *step as u8, a, b, c, d], path)
            }
            Self::Done => vec![b'd'],
        }
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
        Some(match bytes {
            [b'p', numbers @ ..] => {
                let (entries, bytes) = numbers.split_first_chunk::<8>()?;
                let bytes = bytes.try_into().ok()?;
                Self::Progress(Progress { entries: u64::from_le_bytes(*entries), bytes: u64::from_le_bytes(bytes) })
            }
            [b's', kind, rest @ ..] => Self::Skipped(Skipped::ALL.get(usize::from(*kind)).copied()?, path(rest)),
            [b'l'] => Self::Lost,
            [b'f', step, a, b, c, d, rest @ ..] => {
                let number = i32::from_le_bytes([*a, *b, *c, *d]);
                let errno = Errno::from_raw_os_error(Some(number).filter(|number| (1..4096).contains(number))?);
                Self::Failed(Failure::new(STEPS.get(usize::from(*step)).copied()?, errno, path(rest)))
            }
            [b'd'] => Self::Done,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_as_they_were_sent() {
        let (reports, reporter) = channel().unwrap();
        let mut all = vec![Report::Progress(Progress { entries: 3, bytes: u64::MAX }), Report::Lost, Report::Done];
        all.extend(Skipped::ALL.map(|kind| Report::Skipped(kind, "/a\nb".into())));
        all.extend(STEPS.map(|step| Report::Failed(Failure::new(step, Errno::NOSPC, "x"))));
        for report in &all {
            reporter.tell(report);
            assert_eq!(reports.next().unwrap().as_ref(), Some(report));
        }
        drop(reporter);
        assert_eq!(reports.next(), Ok(None));
    }

    #[test]
    fn what_is_no_message() {
        for wrong in [&b"x"[..], b"p123", b"s\xff/a", b"f", b"f\xff1234", b"dd"] {
            assert_eq!(Report::read(wrong), None);
        }
    }
}
