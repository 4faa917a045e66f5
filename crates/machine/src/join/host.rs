//! The same on the host itself, in a session of its own.

use std::os::fd::OwnedFd;

use rustix::process::Signal;
use rustix::process::set_parent_process_death_signal;
use rustix::thread::CapabilitySet;
use sys::clone::{Forked, Options};

use super::child::{Start, Streams, enter_directory, look_up, take_streams};
use super::{Command, Error, Ours, Running, report, streams, system};
use crate::passwd::User;
use crate::program;

/// Runs a command of a user of the host, on a terminal of its own if it wants one. The caller has one thread, and is root.
///
/// # Errors
/// An [`Error`]; nothing of the command is left then.
pub fn on_host(command: &Command) -> Result<Running, Error> {
    let (user, groups) = look_up(command.user.as_deref())
        .map_err(|failure| report::error(&report::failed(report::Step::User, &failure)))?;
    let mut start = Start::new(command, &user);
    if !command.environment.iter().any(|(name, _)| name == "container") {
        start.environment.retain(|variable| !variable.as_encoded_bytes().starts_with(b"container="));
    }
    program::find(&start.programs(), &start.environment)
        .map_err(|failure| Error::Program { program: failure.detail, source: failure.errno })?;
    let (ours, theirs) = streams(command.terminal)?;
    let pidfd = match sys::clone::fork(&Options::default()).map_err(system("make a process"))? {
        Forked::Child => {
            drop(ours);
            let failure = run(&start, command, (&user, &groups), theirs);
            // Our terminal, or the command's if it has it already.
            let text = format!("cannot start the command: {}: {}\r\n", failure.detail, failure.errno);
            let _ = rustix::io::write(rustix::stdio::stderr(), text.as_bytes());
            sys::clone::exit_now(126)
        }
        Forked::Parent { pidfd, .. } => pidfd,
    };
    drop(theirs);
    Ok(match ours {
        Ours::Pipes([input, output, errors]) => {
            Running { pidfd, input: Some(input), output: Some(output), errors: Some(errors), master: None }
        }
        Ours::Terminal(channel) => {
            let master: Option<OwnedFd> = report::take(&channel).map_err(system("take the command's terminal"))?;
            Running { pidfd, input: None, output: None, errors: None, master }
        }
    })
}

fn run(start: &Start, command: &Command, (user, groups): (&User, &[u32]), streams: Streams) -> program::Failure {
    let terminal = matches!(streams, Streams::Terminal(_));
    let prepared = (|| -> Result<(), program::Failure> {
        set_parent_process_death_signal(Some(Signal::HUP))?;
        take_streams(streams, user)?;
        rustix::process::setsid()?;
        if terminal {
            rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
        }
        program::become_user(user, groups, CapabilitySet::empty())?;
        // A change of ids disarms it.
        set_parent_process_death_signal(Some(Signal::HUP))?;
        enter_directory(command, user)?;
        sys::signal::reset_dispositions();
        sys::signal::set_mask(&sys::signal::SignalSet::empty())?;
        Ok(())
    })();
    match prepared {
        Ok(()) => program::execute(&start.programs(), &start.environment),
        Err(failure) => failure,
    }
}
