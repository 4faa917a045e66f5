//! The two processes of a copy watched until both have ended, and what is said of it then.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Signal, WaitId, WaitIdOptions, waitid};
use rustix::rand::{GetRandomFlags, getrandom};

use super::report::{Failure, Report, Step};
use super::worker::{self, Side, Worker};
use super::{Copied, Error, NAMED, Place, Progress, Transfer, place};
use crate::process::has_ended;

/// How often the caller is asked whether it goes on.
const AGAIN: Duration = Duration::from_millis(100);
/// How long a process inside may give no sign of life when the copy is not wanted any more: file systems of the machine's own
/// can hold it.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the one that reads may go on when nobody writes.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A name that nobody has for something else.
pub(super) fn temporary_name() -> rustix::io::Result<OsString> {
    let mut bytes = [0_u8; 8];
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    Ok(OsString::from(format!(".#redd-copy-{:016x}", u64::from_ne_bytes(bytes))))
}

/// One of the two processes, and what it has told.
pub(super) struct Party {
    worker: Worker,
    failure: Option<Failure>,
    done: bool,
    /// It has closed its end.
    ended: bool,
}

impl Party {
    pub(super) fn of(worker: Worker) -> Self {
        Self { worker, failure: None, done: false, ended: false }
    }

    pub(super) fn kill(&self) {
        // One that has ended needs none.
        let _ = sys::signal::send(self.worker.pidfd.as_fd(), Signal::KILL.as_raw());
    }

    /// Waits for its end.
    pub(super) fn wait(&self) -> rustix::io::Result<()> {
        let pidfd = self.worker.pidfd.as_fd();
        rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED)).map(drop)
    }

    /// Takes what it has to say next.
    fn hear(&mut self, copied: &mut Copied) {
        match self.worker.reports.next() {
            Ok(Some(Report::Progress(progress))) => copied.progress = progress,
            Ok(Some(Report::Skipped(why, path))) => {
                copied.skipped_count += 1;
                if copied.skipped.len() < NAMED {
                    copied.skipped.push((why, path));
                }
            }
            Ok(Some(Report::Lost)) => copied.lost_attributes += 1,
            Ok(Some(Report::Failed(failure))) => self.failure = Some(failure),
            Ok(Some(Report::Done)) => self.done = true,
            Ok(None) | Err(_) => self.ended = true,
        }
    }

    /// What went wrong on this side, unless the other one had gone.
    fn own_failure(&self) -> Option<&Failure> {
        self.failure.as_ref().filter(|failure| failure.step != Step::Cut)
    }

    /// It could not even say so.
    fn was_killed(&self) -> bool {
        !self.done && self.failure.is_none()
    }
}

/// Why a copy is not gone on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GivenUp {
    Interrupted,
    MachineEnded,
}

impl Transfer<'_> {
    /// Listens to both until they have ended. `want` is closed when the copy is not wanted any more.
    pub(super) fn watch(
        &self,
        (reader, writer): (&mut Party, &mut Party),
        want: OwnedFd,
        copied: &mut Copied,
        observe: &mut dyn FnMut(Progress) -> bool,
    ) -> Option<GivenUp> {
        let (mut want, mut given_up) = (Some(want), None);
        let mut sign = Instant::now();
        while !(reader.ended && writer.ended) {
            let (from_reader, from_writer) = ready(reader, writer);
            if from_reader {
                reader.hear(copied);
            }
            if from_writer {
                writer.hear(copied);
                sign = Instant::now();
            }
            if given_up.is_none() {
                given_up = match (observe(copied.progress), has_ended(&self.entrance.leader)) {
                    (false, _) => Some(GivenUp::Interrupted),
                    (true, true) => Some(GivenUp::MachineEnded),
                    (true, false) => None,
                };
                if given_up.is_some() {
                    want = None;
                    reader.kill();
                    sign = Instant::now();
                }
            } else if !writer.ended && matches!(self.to, Side::Machine(_)) && sign.elapsed() > PATIENCE {
                writer.kill();
            }
            if writer.ended && !reader.ended && sign.elapsed() > LAST_WORDS {
                reader.kill();
            }
        }
        drop(want);
        given_up
    }

    /// What is said in the end.
    pub(super) fn conclude(
        &self,
        reader: &Party,
        writer: &Party,
        given_up: Option<GivenUp>,
        temporary: &OsStr,
    ) -> Result<(), Error> {
        if writer.done {
            return Ok(());
        }
        if writer.was_killed() {
            self.clear(temporary)?;
        }
        if let Some(failure) = writer.own_failure().filter(|failure| failure.step == Step::Remove) {
            return Err(self.error(self.to, failure));
        }
        match given_up {
            Some(GivenUp::Interrupted) => return Err(Error::Interrupted),
            Some(GivenUp::MachineEnded) => return Err(Error::Ended(self.entrance.machine.clone())),
            None => {}
        }
        let told = reader.own_failure().map(|failure| self.error(self.from, failure));
        let told = told.or_else(|| writer.own_failure().map(|failure| self.error(self.to, failure)));
        let killed = |what, side| Error::Killed { what, place: self.place(side) };
        Err(match told {
            Some(error) => error,
            None if writer.was_killed() => killed("writes", self.to),
            None if reader.was_killed() => killed("reads", self.from),
            None => Error::System("copy", Errno::PIPE),
        })
    }

    /// Removes what a process has left that was killed.
    fn clear(&self, temporary: &OsStr) -> Result<(), Error> {
        let destination = &self.copy.destination;
        let started = worker::start(self.to, true, Vec::new(), |roots, _, reporter| {
            place::clear_left(roots, destination, temporary, reporter)
        });
        let mut party = Party::of(started.map_err(|errno| Error::System("start a process that removes", errno))?);
        let (mut sign, mut nothing) = (Instant::now(), Copied::default());
        while !party.ended {
            let mut fds = [PollFd::new(&party.worker.reports, PollFlags::IN)];
            if poll(&mut fds, Some(&again())).is_ok_and(|ready| ready > 0) {
                party.hear(&mut nothing);
                sign = Instant::now();
            } else if sign.elapsed() > PATIENCE {
                party.kill();
            }
        }
        party.wait().map_err(|errno| Error::System("wait for a process", errno))?;
        if party.done {
            return Ok(());
        }
        let path = destination.parent().unwrap_or(destination).join(temporary);
        Err(Error::Left { path, place: self.place(self.to) })
    }

    fn place(&self, side: Side<'_>) -> Place {
        match side {
            Side::Host => Place::Host,
            Side::Machine(entrance) => Place::Machine(entrance.machine.clone()),
        }
    }

    /// What a process of this side has told.
    fn error(&self, side: Side<'_>, failure: &Failure) -> Error {
        let (path, place) = (failure.path.clone(), self.place(side));
        let action = match failure.step {
            Step::Enter => return self.no_entry(failure.errno),
            Step::Missing => return Error::Missing { path, place },
            Step::Above if failure.errno == Errno::NOENT => return Error::Missing { path, place },
            Step::Exists => return Error::Exists { path, place },
            Step::Kind if failure.errno == Errno::NOTDIR => return Error::Kind { path, place, is: "no directory" },
            Step::Kind => return Error::Kind { path, place, is: "a directory" },
            Step::NoContents => return Error::NoContents { path, place },
            Step::TooDeep => return Error::TooDeep { path, place },
            Step::Remove => return Error::Left { path, place },
            Step::Above => "open the directory",
            Step::Find => "look up",
            Step::List => "list",
            Step::Read | Step::Cut => "read",
            Step::Changing => "read what becomes something else all the time,",
            Step::Make => "make",
            Step::Write => "write",
            Step::Attributes => "give owner, mode, times or attributes to",
            Step::Place => "give a complete copy its name,",
            Step::Stream => "make sense of what is sent for",
        };
        Error::Step { action, path, place, source: failure.errno }
    }

    fn no_entry(&self, source: Errno) -> Error {
        Error::Enter { machine: self.entrance.machine.clone(), source }
    }
}

fn again() -> Timespec {
    Timespec { tv_sec: 0, tv_nsec: AGAIN.subsec_nanos().into() }
}

/// Which of both has something to say, after a while at most.
fn ready(reader: &Party, writer: &Party) -> (bool, bool) {
    let events = |party: &Party| if party.ended { PollFlags::empty() } else { PollFlags::IN };
    let parties = [reader, writer];
    let open: Vec<&Party> = parties.into_iter().filter(|party| !party.ended).collect();
    let mut fds: Vec<_> = open.iter().map(|party| PollFd::new(&party.worker.reports, events(party))).collect();
    if poll(&mut fds, Some(&again())).is_err() {
        return (false, false);
    }
    let said: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
    let of = |party: &Party| open.iter().zip(&said).any(|(one, said)| *said && std::ptr::eq(*one, party));
    (of(reader), of(writer))
}

/// Whether a path is one of the machine's.
pub(super) fn absolute(path: &Path) -> Result<(), Error> {
    if path.is_absolute() { Ok(()) } else { Err(Error::NotAbsolute(path.to_owned())) }
}
