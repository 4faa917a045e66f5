//! The main job: a container is started, with all that is the default, and a program runs in it.

use std::ffi::OsString;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::Context;
use rustix::process::{Pid, Signal, kill_process};
use sys::signal::end_is_pending;

use crate::attempt::{Uninterrupted, with_cause, without_number};
use crate::finding::{Feature, Finding, Need, State, Topic};
use crate::place::hold_in;

const fn feature(name: &'static str, why: &'static str) -> Feature {
    Feature { name, topic: Topic::Containers, need: Need::Needed, why }
}

pub(crate) static PLAIN: Feature = feature(
    "starts",
    "This is what everything else here is for: a program was run in a container that has the programs of this host.",
);

pub(crate) static WITH_USERS: Feature = feature(
    "with users of its own",
    "The same with -U, as 'redd run' does it: root inside is nobody on the host, which is the only mode to run in what is \
     not trusted.",
);

/// The program that starts containers, and its first arguments.
#[derive(Clone, Debug)]
pub struct Engine {
    /// Its path.
    pub program: PathBuf,
    /// What comes before its options.
    pub arguments: Vec<OsString>,
}

/// Directories of a host that have programs and libraries.
const PROGRAMS: [&str; 10] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "nix", "gnu", "opt"];
/// Where its directory is, if it cannot be where machines are.
const ELSEWHERE: [&str; 2] = ["/var/tmp", "/tmp"];
/// How long a start may take on a machine that is very busy.
const PATIENCE: Duration = Duration::from_secs(60);
const MOMENT: Duration = Duration::from_millis(5);
/// How long it may take to end where somebody has asked this program to.
const TO_END: Duration = Duration::from_secs(10);

pub(crate) fn findings(context: &Context, engine: &Engine) -> Vec<Finding> {
    [(&PLAIN, &[][..]), (&WITH_USERS, &["-U"][..])]
        .into_iter()
        .map(|(feature, options)| judge(feature, context, attempt(context, engine, options)))
        .collect()
}

/// Starts one in a directory that goes away again. How long it took, or why it did not.
fn attempt(context: &Context, engine: &Engine, options: &[&str]) -> Result<Duration, String> {
    let _uninterrupted = Uninterrupted::begin();
    let near = context.place.as_ref().map(|place| place.present.as_path());
    let mut held = Err("there is no place for its directory".to_owned());
    for place in near.into_iter().chain(ELSEWHERE.map(Path::new)) {
        if held.is_err() {
            held = hold_in(place).map_err(|error| with_cause(&error));
        }
    }
    let (holder, machine) = held?;
    // Trees in use are known by their paths, also where somebody has other mounts.
    let tree = holder.path().join(&machine);
    let result = make(&tree)
        .map_err(|error| format!("cannot make {}: {error}", tree.display()))
        .and_then(|shown| run(engine, (&tree, &machine), &[options, &words(&shown)].concat()));
    let removed = holder.remove().map_err(|error| with_cause(&error));
    result.and_then(|time| removed.map(|()| time))
}

fn words(shown: &[String]) -> Vec<&str> {
    shown.iter().map(String::as_str).collect()
}

/// Makes a tree without programs of its own. The options are those that show it the host's.
fn make(tree: &Path) -> std::io::Result<Vec<String>> {
    std::fs::DirBuilder::new().mode(0o755).create(tree)?;
    for name in ["etc", "usr"] {
        std::fs::DirBuilder::new().mode(0o755).create(tree.join(name))?;
    }
    let mut options = Vec::new();
    for name in PROGRAMS {
        let path = Path::new("/").join(name);
        match std::fs::read_link(&path) {
            Ok(target) => symlink(target, tree.join(name))?,
            Err(_) if path.is_dir() => options.push(format!("--bind-ro={}", path.display())),
            Err(_) => {}
        }
    }
    Ok(options)
}

/// Runs the shell in it.
fn run(engine: &Engine, (tree, machine): (&Path, &str), options: &[&str]) -> Result<Duration, String> {
    let begin = Instant::now();
    let mut command = Command::new(&engine.program);
    command.args(&engine.arguments).args(["--quiet", "--register=no", "--settings=no", "--console=pipe"]);
    command.arg(format!("--machine={machine}")).arg("-D").arg(tree).args(options);
    command.args(["--", "/bin/sh", "-c", ":"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let cannot = |what: &str, error: &std::io::Error| format!("cannot {what}: {}", without_number(&error.to_string()));
    let mut child = command.spawn().map_err(|error| cannot(&format!("start {}", engine.program.display()), &error))?;
    // What it says is short, and read when it has ended.
    let (mut limit, mut told) = (begin + PATIENCE, false);
    let status = loop {
        match child.try_wait().map_err(|error| cannot("wait for it", &error))? {
            Some(status) => break status,
            None if Instant::now() < limit => {
                if !told && end_is_pending() {
                    (told, limit) = (true, limit.min(Instant::now() + TO_END));
                    // It has not been waited for, so that the number is its own.
                    let _ = kill_process(Pid::from_child(&child), Signal::TERM);
                }
                std::thread::sleep(MOMENT);
            }
            None => {
                // The next start under this name undoes what it has left.
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("it did not end within {} seconds", PATIENCE.as_secs()));
            }
        }
    };
    if status.success() {
        return Ok(begin.elapsed());
    }
    let mut said = String::new();
    if let Some(mut errors) = child.stderr.take() {
        let _ = std::io::Read::read_to_string(&mut errors, &mut said);
    }
    let last = said.lines().rev().map(str::trim).find(|line| !line.is_empty());
    Err(last.map_or_else(|| format!("it ended with {status}"), reason))
}

/// What an error says, without the name of the program and the number of the error.
fn reason(line: &str) -> String {
    let line = without_number(line);
    let (program, rest) = line.split_once(": ").unwrap_or(("", line));
    if program.contains(' ') { line.to_owned() } else { rest.to_owned() }
}

fn judge(feature: &'static Feature, context: &Context, result: Result<Duration, String>) -> Finding {
    match result {
        Ok(time) => feature.is(State::Works, format!("ran a shell in one, in {} ms", time.as_millis().max(1))),
        Err(why) if !context.caller.is_privileged() => feature
            .is(State::Denied, format!("not by this user: {}", spec::printable(&why)))
            .advise("Only root can start containers: run redd as root."),
        Err(why) => feature.is(State::Missing, spec::printable(&why)).advise(
            "What is not ok below is the cause, most likely. redd spawn -D TREE tells more; in a container that was not made \
             for containers inside, run redd on the host.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_told_without_the_program() {
        assert_eq!(reason("redd-spawn: cannot do it: no (os error 1)"), "cannot do it: no");
        assert_eq!(reason("all is lost: no"), "all is lost: no");
        assert_eq!(reason("lost"), "lost");
    }
}
