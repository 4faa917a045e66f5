//! Runs commands in a tree that is being made, in a container of their own.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::process::{Command, ExitStatus};

use crate::container::{ContainerCommand, run_lines};
use crate::interrupt::Interrupt;
use crate::progress::{Phase, Progress};

/// How many lines of the output an error shows.
const LAST_LINES: usize = 25;

/// The container of a tree.
#[derive(Debug, Clone, Copy)]
pub struct Container<'a> {
    /// How to run one.
    pub command: &'a ContainerCommand,
    /// The path of the tree.
    pub tree: &'a Path,
    /// The name of the system, as scripts find it.
    pub hostname: &'a str,
    /// Whether the tree's own resolv.conf(5) stays as it is.
    pub keeps_resolver: bool,
}

impl Container<'_> {
    /// What begins a command line; more options may follow.
    pub(super) fn begin(&self) -> Command {
        let mut command = self.command.one_shot(self.tree, self.keeps_resolver);
        command.arg(format!("--hostname={}", self.hostname));
        for (name, value) in [
            ("DEBIAN_FRONTEND", "noninteractive"),
            ("DEBCONF_NONINTERACTIVE_SEEN", "true"),
            ("DEBCONF_NOWARNINGS", "yes"),
            ("LC_ALL", "C.UTF-8"),
            ("HOME", "/root"),
            ("TERM", "dumb"),
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ] {
            command.arg(format!("--setenv={name}={value}"));
        }
        command
    }

    /// The program that runs it, for messages.
    pub(super) fn program(&self) -> String {
        self.command.program.display().to_string()
    }

    /// Runs it to its end, and tells of the packages that are set up.
    ///
    /// # Errors
    /// Where it cannot be run.
    pub(super) fn run(&self, command: Command, progress: &dyn Progress, interrupt: &Interrupt) -> io::Result<Ended> {
        let mut last = VecDeque::new();
        let status = run_lines(command, b"", interrupt, &mut |line| {
            let line = line.trim_end();
            if let Some(package) = line.strip_prefix("Setting up ") {
                progress.item(Phase::Configure, package.split([' ', ':']).next().unwrap_or(package));
            }
            if last.len() == LAST_LINES {
                last.pop_front();
            }
            last.push_back(line.to_owned());
        })?;
        Ok(match status {
            _ if interrupt.is_wanted() => Ended::Interrupted,
            status if status.success() => Ended::Well,
            status => Ended::Failed { status, output: Vec::from(last).join("\n") },
        })
    }
}

/// How a command ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// As it should.
    Well,
    /// It was asked to.
    Interrupted,
    /// It, or its container, failed.
    Failed {
        /// How.
        status: ExitStatus,
        /// What it said last.
        output: String,
    },
}
