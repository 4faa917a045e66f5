//! The journal of a machine, read by journalctl(1).
//!
//! Its files are the machine's own work. The host's journalctl that parses them is nobody, in the group that may read them, and
//! has no file of the host's but programs and libraries: Landlock takes the rest from it before it starts. So a link
//! among the files leads nowhere, and what is trusted is no more than that somebody who breaks journalctl gets no further
//! than nobody. Where the host cannot do that, the machine's own journalctl does it, inside.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use machine::join;
use machine::registry::Machine;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use sys::landlock::{Access, Ruleset};

use super::place::Journal;

/// User and group of those who may do nothing.
const NOBODY: u32 = 65534;
/// Where programs and libraries are.
const SYSTEM: [&str; 7] = ["/usr", "/bin", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/localtime", "/gnu"];
/// Where journalctl is looked for without `$PATH`.
const PLACES: &str = "/usr/bin:/bin";
/// What it may know of our environment: how times and texts are written.
const VARIABLES: [&str; 7] = ["LANG", "LC_ALL", "LC_CTYPE", "LC_MESSAGES", "LC_TIME", "TZ", "SYSTEMD_UTF8"];

/// What is wanted of it, in journalctl's words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query {
    /// `--follow`.
    pub(crate) follow: bool,
    /// `--lines=`.
    pub(crate) lines: Option<u64>,
    /// `--output=`.
    pub(crate) output: String,
    /// `--since=`.
    pub(crate) since: Option<String>,
    /// `--until=`.
    pub(crate) until: Option<String>,
    /// `--boot=`.
    pub(crate) boot: Option<String>,
    /// `--unit=`.
    pub(crate) units: Vec<String>,
}

impl Query {
    fn arguments(&self) -> Vec<OsString> {
        let mut all = vec!["--no-pager".to_owned(), "--no-hostname".to_owned(), format!("--output={}", self.output)];
        if self.follow {
            all.push("--follow".to_owned());
        }
        all.extend(self.lines.map(|lines| format!("--lines={lines}")));
        for (name, value) in [("since", &self.since), ("until", &self.until), ("boot", &self.boot)] {
            all.extend(value.as_ref().map(|value| format!("--{name}={value}")));
        }
        all.extend(self.units.iter().map(|unit| format!("--unit={unit}")));
        all.into_iter().map(OsString::from).collect()
    }
}

/// Why it cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The program is missing.
    #[error("this host has no journalctl, which reads journals")]
    NoProgram,
    /// Files of others are not given to a program that is not confined.
    #[error("this kernel has no Landlock, without which a journal from inside is not read here")]
    NoLandlock,
    /// A step on the way.
    #[error("cannot {0}")]
    Step(&'static str, #[source] std::io::Error),
    /// Inside.
    #[error("cannot read the journal inside")]
    Inside(#[from] join::Error),
}

impl Error {
    /// Whether the machine's own one may do better.
    pub(crate) fn is_lack(&self) -> bool {
        matches!(self, Self::NoProgram | Self::NoLandlock)
    }
}

fn step(what: &'static str) -> impl Fn(Errno) -> Error {
    move |errno| Error::Step(what, errno.into())
}

/// The host's journalctl at work.
pub(crate) fn on_host(journal: Journal, query: &Query) -> Result<Child, Error> {
    let places = std::env::var_os("PATH").unwrap_or_else(|| PLACES.into());
    let mut programs = std::env::split_paths(&places).map(|place| place.join("journalctl"));
    let program = programs.find(|path| path.is_absolute() && path.is_file()).ok_or(Error::NoProgram)?;
    let arguments = query.arguments();
    // A thread of its own, as it loses for good what the program must not have.
    let confined = std::thread::spawn(move || start(&program, journal, &arguments));
    confined.join().unwrap_or(Err(Error::Step("start a thread", Errno::AGAIN.into())))
}

fn start(program: &PathBuf, journal: Journal, arguments: &[OsString]) -> Result<Child, Error> {
    let mut ruleset = Ruleset::new().map_err(|errno| match sys::landlock::is_absent(errno) {
        true => Error::NoLandlock,
        false => Error::Step("confine journalctl", errno.into()),
    })?;
    ruleset.keep(journal.directory.as_fd(), Access::Read).map_err(step("confine journalctl to the journal"))?;
    for place in SYSTEM {
        match openat(CWD, place, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
            Ok(place) => ruleset.keep(place.as_fd(), Access::Execute).map_err(step("confine journalctl"))?,
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(step("open the directories of programs")(errno)),
        }
    }
    ruleset.restrict_thread().map_err(step("confine journalctl"))?;
    let mut command = Command::new(program);
    command.arg("--directory=/proc/self/fd/0").args(arguments).current_dir("/").env_clear();
    command.env("PATH", "/usr/bin:/bin").env("SYSTEMD_COLORS", "0");
    command.envs(VARIABLES.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    if rustix::process::geteuid().is_root() {
        // Whoever makes the files belong to root's group gains nothing by that.
        let group = if journal.group == 0 { NOBODY } else { journal.group };
        command.uid(NOBODY).gid(group);
    }
    command.stdin(Stdio::from(journal.directory)).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().map_err(|error| Error::Step("start journalctl", error))
}

/// The machine's own journalctl at work: its process, output and errors.
pub(crate) fn inside(machine: &Machine, query: &Query) -> Result<join::Running, Error> {
    let mut arguments = vec![OsString::from("journalctl")];
    arguments.extend(query.arguments());
    let environment = vec![("SYSTEMD_COLORS".into(), "0".into())];
    let command = join::Command { arguments, environment, ..join::Command::default() };
    Ok(join::spawn(machine, &command)?)
}

/// Ends the host's one if it still runs, and waits for it. The result is its code.
pub(crate) fn end(mut child: Child, kill: bool) -> Option<i32> {
    if kill {
        // It may have ended by itself.
        let _ = child.kill();
    }
    child.wait().ok()?.code()
}

/// What of [`OwnedFd`]s a child has.
pub(crate) fn outputs(child: &mut Child) -> Option<(OwnedFd, OwnedFd)> {
    Some((child.stdout.take()?.into(), child.stderr.take()?.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_asked_for_is_passed_on() {
        let query = Query {
            follow: true,
            lines: Some(3),
            output: "cat".to_owned(),
            since: Some("-1h".to_owned()),
            until: None,
            boot: Some("-1".to_owned()),
            units: vec!["a.service".to_owned(), "b*".to_owned()],
        };
        let expected =
            "--no-pager --no-hostname --output=cat --follow --lines=3 --since=-1h --boot=-1 --unit=a.service --unit=b*";
        assert_eq!(query.arguments().join(" ".as_ref()), expected);
    }
}
