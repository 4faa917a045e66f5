//! What packages bring to be run: the functions of `.INSTALL`, hooks, and ldconfig(8). Each runs in a container of its own
//! that has the tree as its root.

use std::io;
use std::path::Path;
use std::process::ExitStatus;

use super::log::{Log, Source};
use crate::container::{ContainerCommand, run_lines};
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::tree::{self, Tree};

/// What pacman says where a program cannot be run.
const NOT_THERE: &str = "call to execv failed (No such file or directory)";

/// Why a program of the tree cannot be run. That it fails is no such reason: pacman goes on then.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program that runs containers cannot be started.
    #[error("cannot run '{program}'")]
    Start {
        /// The program.
        program: String,
        /// Why not.
        source: io::Error,
    },
    /// A file of the tree cannot be read or written.
    #[error(transparent)]
    Tree(#[from] tree::Error),
    /// It was asked to stop.
    #[error("interrupted")]
    Interrupted,
}

/// Where a function is in the life of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function<'a> {
    PreInstall(&'a str),
    PostInstall(&'a str),
    /// To a version, from one.
    PreUpgrade(&'a str, &'a str),
    PostUpgrade(&'a str, &'a str),
    PreRemove(&'a str),
    PostRemove(&'a str),
}

impl Function<'_> {
    fn name(self) -> &'static str {
        match self {
            Self::PreInstall(_) => "pre_install",
            Self::PostInstall(_) => "post_install",
            Self::PreUpgrade(..) => "pre_upgrade",
            Self::PostUpgrade(..) => "post_upgrade",
            Self::PreRemove(_) => "pre_remove",
            Self::PostRemove(_) => "post_remove",
        }
    }

    /// Its arguments: versions, which hold no blanks.
    fn arguments(self) -> Vec<String> {
        match self {
            Self::PreInstall(version)
            | Self::PostInstall(version)
            | Self::PreRemove(version)
            | Self::PostRemove(version) => vec![version.to_owned()],
            Self::PreUpgrade(new, old) | Self::PostUpgrade(new, old) => vec![new.to_owned(), old.to_owned()],
        }
    }

    /// Whether a script has it; as pacman, by its name alone.
    pub(crate) fn is_in(self, script: &[u8]) -> bool {
        memchr::memmem::find(script, self.name().as_bytes()).is_some()
    }
}

/// Runs programs of a tree.
pub(crate) struct Runner<'a> {
    pub(crate) tree: &'a Tree,
    /// The path of the tree, for the container.
    pub(crate) path: &'a Path,
    pub(crate) container: &'a ContainerCommand,
    pub(crate) log: &'a Log,
    pub(crate) progress: &'a dyn Progress,
    pub(crate) interrupt: &'a Interrupt,
    /// Where a script is put to be run, as seen from the tree's root.
    pub(crate) script: String,
}

impl Runner<'_> {
    /// Runs a function of a script, if it has it, and says whether all went well. What goes wrong is said and not more.
    ///
    /// # Errors
    /// Where no container can be run.
    pub(crate) fn function(&self, script: &[u8], function: Function<'_>) -> Result<bool, Error> {
        if !function.is_in(script) {
            return Ok(true);
        }
        let shells = ["usr/bin/bash", "bin/bash", "bin/sh"];
        let Some(shell) = shells.into_iter().find(|path| self.is_program(path)) else { return self.not_there() };
        self.tree.write(&self.script, script, 0o600)?;
        let call = format!(". /{}; {} {}", self.script, function.name(), quoted(&function.arguments()));
        let result = self.run(&[format!("/{shell}"), "-c".to_owned(), call], b"");
        self.tree.remove(&self.script)?;
        result
    }

    /// Runs a program of the tree, and says whether all went well. What goes wrong is said and not more.
    ///
    /// # Errors
    /// Where no container can be run.
    pub(crate) fn program(&self, words: &[String], input: &[u8]) -> Result<bool, Error> {
        match words.first() {
            Some(program) if self.is_program(program.trim_start_matches('/')) => self.run(words, input),
            _ => self.not_there(),
        }
    }

    /// Brings the cache of shared libraries up to date, where the tree has any.
    ///
    /// # Errors
    /// Where no container can be run.
    pub(crate) fn ldconfig(&self) -> Result<(), Error> {
        let program = ["usr/bin/ldconfig", "sbin/ldconfig"].into_iter().find(|path| self.is_program(path));
        if let Some(program) = program
            && self.tree.exists("etc/ld.so.conf")
        {
            self.run(&[format!("/{program}")], b"")?;
        }
        Ok(())
    }

    /// Whether there is a file that may be run.
    fn is_program(&self, path: &str) -> bool {
        let file = self.tree.open_at(path.as_bytes(), rustix::fs::OFlags::PATH);
        let status = file.and_then(|file| rustix::fs::fstat(&file));
        status.is_ok_and(|status| {
            let kind = rustix::fs::FileType::from_raw_mode(status.st_mode);
            kind == rustix::fs::FileType::RegularFile && status.st_mode & 0o111 != 0
        })
    }

    fn not_there(&self) -> Result<bool, Error> {
        self.said(NOT_THERE)?;
        self.failed()?;
        Ok(false)
    }

    fn said(&self, line: &str) -> Result<(), tree::Error> {
        self.progress.notice(line);
        self.log.write(Source::Scriptlet, line)
    }

    fn failed(&self) -> Result<(), tree::Error> {
        self.progress.notice("error: command failed to execute correctly");
        Ok(())
    }

    fn run(&self, words: &[String], input: &[u8]) -> Result<bool, Error> {
        let mut command = self.container.one_shot(self.path, true);
        for (name, value) in [
            ("HOME", "/root"),
            ("LANG", "C.UTF-8"),
            ("TERM", "dumb"),
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ] {
            command.arg(format!("--setenv={name}={value}"));
        }
        command.arg("--").args(words);
        let mut logged = Ok(());
        let status = run_lines(command, input, self.interrupt, &mut |line| {
            if logged.is_ok() {
                logged = self.said(line);
            }
        });
        if self.interrupt.is_wanted() {
            return Err(Error::Interrupted);
        }
        let program = self.container.program.display().to_string();
        let status: ExitStatus = status.map_err(|source| Error::Start { program, source })?;
        logged?;
        if !status.success() {
            self.failed()?;
        }
        Ok(status.success())
    }
}

/// The words, for a shell.
fn quoted(words: &[String]) -> String {
    words.iter().map(|word| format!("'{}'", word.replace('\'', "'\\''"))).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_called_with_their_versions() {
        let upgrade = Function::PostUpgrade("2-1", "1:1'-1");
        assert_eq!(format!("{} {}", upgrade.name(), quoted(&upgrade.arguments())), "post_upgrade '2-1' '1:1'\\''-1'");
        assert!(Function::PreInstall("1-1").is_in(b"pre_install() { :; }"));
        assert!(!Function::PreRemove("1-1").is_in(b"pre_install() { :; }"));
    }
}
