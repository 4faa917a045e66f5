//! `--machine=` and `--host=`: the verb is carried out by the machinectl or redd that is there, inside a machine or on another
//! host, with our terminal and its exit code.

use std::ffi::{OsStr, OsString};
use std::io::IsTerminal;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::process::{ExitCode, Stdio};

use anyhow::{Context, anyhow};
use machine::machines::HOST;

use super::Options;
use crate::commands::exec;
use crate::failure::Failure;
use crate::session::exit_code;

/// What is asked for there, the first one that is installed.
const PROGRAMS: [&str; 2] = ["machinectl", "redd"];
/// The exit code for a program that there is not.
const NOT_FOUND: u8 = 127;

/// Carries a verb out elsewhere, if the options say so. `line` is the verb, its options and its arguments.
pub(super) fn carry_out(line: &[OsString], options: &Options) -> Option<Result<ExitCode, Failure>> {
    if let Some(host) = &options.host {
        let line = without(line, &["--host="]);
        return Some(Target::parse(host).map_err(Failure::usage).and_then(|target| over_ssh(&target, &line, options)));
    }
    let machine = options.machine.as_ref().filter(|machine| *machine != HOST)?;
    Some(inside(machine, &without(line, &["--machine="])))
}

/// The line without these options. What stands behind `--` is none.
fn without(line: &[OsString], options: &[&str]) -> Vec<OsString> {
    let mut behind = false;
    let keep = |word: &&OsString| {
        behind |= *word == "--";
        behind || !options.iter().any(|option| word.as_bytes().starts_with(option.as_bytes()))
    };
    line.iter().filter(keep).cloned().collect()
}

fn inside(machine: &str, line: &[OsString]) -> Result<ExitCode, Failure> {
    let (user, name) = match machine.rsplit_once('@') {
        Some((user, name)) => (Some(user.to_owned()).filter(|user| !user.is_empty()), name),
        None => (None, machine),
    };
    for program in PROGRAMS {
        let command = machine::join::Command {
            user: user.clone(),
            arguments: std::iter::once(program.into()).chain(line.iter().cloned()).collect(),
            terminal: has_terminal(),
            ..machine::join::Command::default()
        };
        match exec::in_machine(name, &command) {
            Ok(outcome) => return Ok(exit_code(outcome)),
            Err(failure) if failure.code() == NOT_FOUND => {}
            Err(failure) => return Err(failure),
        }
    }
    Err(Failure::new(
        anyhow!("--machine={machine}: neither machinectl nor redd is installed in {name}"),
        Some("machines in it can be steered when systemd-container or redd is installed inside"),
    ))
}

fn has_terminal() -> bool {
    std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
}

/// `[USER@]HOST[:PORT][/MACHINE]`.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    destination: String,
    port: Option<u16>,
    machine: Option<String>,
}

impl Target {
    fn parse(text: &str) -> anyhow::Result<Self> {
        let wrong = |why: &str| anyhow!("--host={}: {why}; write [USER@]HOST[:PORT][/MACHINE]", spec::printable(text));
        let (rest, machine) = match text.split_once('/') {
            Some((rest, machine)) => (rest, Some(machine)),
            None => (text, None),
        };
        if let Some(machine) = machine {
            spec::MachineName::try_from(machine).map_err(|_| wrong("what follows the slash is no machine's name"))?;
        }
        let (user, host) = match rest.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, rest),
        };
        // Addresses of IPv6 have colons of their own.
        let (host, port) = match host.strip_prefix('[') {
            Some(inner) => {
                let (address, behind) = inner.split_once(']').ok_or_else(|| wrong("a bracket is not closed"))?;
                match behind.strip_prefix(':') {
                    Some(port) => (address, Some(port)),
                    None if behind.is_empty() => (address, None),
                    None => return Err(wrong("something follows the bracket")),
                }
            }
            None => host.split_once(':').map_or((host, None), |(host, port)| (host, Some(port))),
        };
        let port = port.map(|port| port.parse().map_err(|_| wrong("the port is no number"))).transpose()?;
        for part in [Some(host), user].into_iter().flatten() {
            // ssh(1) would take it for an option, or for several words.
            if part.is_empty() || part.starts_with('-') || part.chars().any(|c| c.is_control() || c.is_whitespace()) {
                return Err(wrong("no host or user has such a name"));
            }
        }
        let destination = user.map_or(host.to_owned(), |user| format!("{user}@{host}"));
        Ok(Self { destination, port, machine: machine.map(str::to_owned) })
    }
}

fn over_ssh(target: &Target, line: &[OsString], options: &Options) -> Result<ExitCode, Failure> {
    let mut words = line.to_vec();
    if let Some(machine) = &target.machine {
        words.insert(1.min(words.len()), format!("--machine={machine}").into());
    }
    let mut command = std::process::Command::new("ssh");
    if let Some(port) = target.port {
        command.arg("-p").arg(port.to_string());
    }
    if !options.asks() {
        command.arg("-oBatchMode=yes");
    }
    command.arg(if has_terminal() { "-t" } else { "-T" }).arg("--").arg(&target.destination).arg(remote(&words));
    command.stdin(Stdio::inherit());
    let hint = "ssh(1) has to be installed to reach other hosts";
    let status = command.status().context("cannot start ssh").map_err(|error| Failure::new(error, Some(hint)))?;
    // A signal has no code; ssh itself has said why it failed.
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

/// For whatever shell the user has there: a script of sh(1) with the words quoted.
fn remote(words: &[OsString]) -> OsString {
    let [first, second] = PROGRAMS;
    let words: Vec<u8> = words.iter().flat_map(|word| [b" ".to_vec(), quoted(word)].concat()).collect();
    let mut script = format!("if command -v {first} >/dev/null 2>&1; then exec {first}").into_bytes();
    script.extend_from_slice(&words);
    script.extend_from_slice(format!("; else exec {second}").as_bytes());
    script.extend_from_slice(&words);
    script.extend_from_slice(b"; fi");
    let mut command = b"exec sh -c ".to_vec();
    command.extend(quoted(OsStr::from_bytes(&script)));
    OsString::from_vec(command)
}

/// In single quotes, for a shell.
fn quoted(word: &OsStr) -> Vec<u8> {
    let mut text = vec![b'\''];
    for byte in word.as_bytes() {
        match byte {
            b'\'' => text.extend_from_slice(br"'\''"),
            byte => text.push(*byte),
        }
    }
    text.push(b'\'');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_it_is() {
        let parsed = |text: &str| {
            let Target { destination, port, machine } = Target::parse(text).ok()?;
            Some((destination, port, machine.unwrap_or_default()))
        };
        let is = |destination: &str, port, machine: &str| Some((destination.to_owned(), port, machine.to_owned()));
        assert_eq!(parsed("web"), is("web", None, ""));
        assert_eq!(parsed("me@web:2222/db"), is("me@web", Some(2222), "db"));
        assert_eq!(parsed("[fe80::1]:22"), is("fe80::1", Some(22), ""));
        assert_eq!(parsed("me@[::1]/a"), is("me@::1", None, "a"));
        for bad in [
            "",
            "-oProxyCommand=x",
            "-x@web",
            "@web",
            "web:",
            "web:x",
            "web:70000",
            "[::1",
            "[::1]x",
            "a b",
            "web/../x",
        ] {
            assert_eq!(parsed(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_words_arrive_as_they_are() {
        let words = ["list", "--", "it's", "$HOME", "a b"].map(OsString::from);
        let text = remote(&words).into_string().expect("text");
        assert!(text.starts_with("exec sh -c 'if command -v machinectl "), "{text}");
        let line = [OsString::from("list"), "--machine=a".into(), "-q".into(), "--".into(), "--machine=b".into()];
        assert_eq!(without(&line, &["--machine="]), ["list", "-q", "--", "--machine=b"].map(OsString::from));
    }
}
