//! The program, its arguments and its environment.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use spec::{ConsoleMode, StartMode};

use super::Context;
use crate::{CallerFacts, Listen, Payload, Program, WorkingDirectory};

/// Where an init system is found, in this order (systemd-nspawn(1), `--boot`).
const INIT: [&str; 3] = ["/usr/lib/systemd/systemd", "/lib/systemd/systemd", "/sbin/init"];

/// The shells that are tried where no program is named, as login shells.
const SHELLS: [(&str, &str); 2] = [("/bin/bash", "-bash"), ("/bin/sh", "-sh")];

/// Where programs are found.
const SEARCH_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(super) fn resolve(context: &Context<'_>) -> Payload {
    let exec = context.spec.exec();
    let mut overrides = Vec::new();
    let programs = match exec.mode {
        StartMode::Boot => {
            let (assignments, arguments) = split_boot_arguments(&exec.arguments);
            overrides.extend(assignments);
            INIT.iter().map(|path| program(path, path, &arguments)).collect()
        }
        StartMode::Pid1 | StartMode::Pid2 if exec.arguments.is_empty() => {
            SHELLS.iter().map(|(path, name)| program(path, name, &[])).collect()
        }
        StartMode::Pid1 | StartMode::Pid2 => {
            vec![Program { path: exec.arguments[0].clone(), arguments: exec.arguments.clone() }]
        }
    };
    overrides.extend(exec.environment.iter().cloned());
    let shell = exec.mode != StartMode::Boot && exec.arguments.is_empty();
    Payload {
        programs,
        stub_init: exec.mode == StartMode::Pid2,
        environment: environment(context),
        environment_override: overrides,
        user: exec.user.clone(),
        user_ids: context.spec.bundle().user.clone(),
        umask: context.spec.bundle().umask.unwrap_or(0o022),
        directory: match &exec.chdir {
            Some(path) => WorkingDirectory::Path(path.clone()),
            None if shell => WorkingDirectory::Home,
            None => WorkingDirectory::Root,
        },
        inherited: context.facts.caller.listen.as_ref().map_or(0, |listen| listen.count),
    }
}

fn program(path: &str, name: &str, arguments: &[OsString]) -> Program {
    let mut all = vec![OsString::from(name)];
    all.extend(arguments.iter().cloned());
    Program { path: path.into(), arguments: all }
}

/// As the kernel does with its command line: `KEY=VALUE` without a dot in the key goes to the environment, `-` in the
/// key becoming `_`; the rest are arguments (systemd-nspawn(1), `--boot`).
fn split_boot_arguments(words: &[OsString]) -> (Vec<(OsString, OsString)>, Vec<OsString>) {
    let mut assignments = Vec::new();
    let mut arguments = Vec::new();
    for word in words {
        match word.as_bytes().iter().position(|byte| *byte == b'=') {
            Some(at) if at > 0 && is_variable(&word.as_bytes()[..at]) => {
                let key = word.as_bytes()[..at].iter().map(|byte| if *byte == b'-' { b'_' } else { *byte }).collect();
                let value = OsStr::from_bytes(&word.as_bytes()[at + 1..]).to_owned();
                assignments.push((OsString::from_vec(key), value));
            }
            _ => arguments.push(word.clone()),
        }
    }
    (assignments, arguments)
}

/// A key that can be the name of an environment variable once its dashes are underscores.
fn is_variable(key: &[u8]) -> bool {
    !key[0].is_ascii_digit() && key.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// What sd_listen_fds(3) looks for.
fn listen(context: &Context<'_>) -> Vec<OsString> {
    let Some(Listen { count, names }) = &context.facts.caller.listen else { return Vec::new() };
    let process = if context.spec.exec().mode == StartMode::Pid2 { 2 } else { 1 };
    let mut variables: Vec<OsString> =
        vec![format!("LISTEN_FDS={count}").into(), format!("LISTEN_PID={process}").into()];
    if let Some(names) = names {
        let mut variable = OsString::from("LISTEN_FDNAMES=");
        variable.push(names);
        variables.push(variable);
    }
    variables
}

fn environment(context: &Context<'_>) -> Vec<OsString> {
    let caller = &context.facts.caller;
    let mut variables: Vec<OsString> = vec![
        SEARCH_PATH.into(),
        format!("container={}", context.spec.identity().container_service).into(),
        "LANG=C.UTF-8".into(),
        "NOTIFY_SOCKET=/run/host/notify".into(),
        format!("container_uuid={}", context.uuid).into(),
    ];
    for (key, value) in &context.facts.host.os_ids {
        variables.push(format!("container_host_{key}={value}").into());
    }
    variables.extend(terminal(context.console, caller));
    variables.extend(listen(context));
    variables.extend(super::credentials::variable(context));
    variables
}

/// What the payload is told of its terminal. Of a pipe, or where the caller knows no better, that it can do nothing.
fn terminal(console: ConsoleMode, caller: &CallerFacts) -> Vec<OsString> {
    if console == ConsoleMode::Pipe || caller.term.as_deref().is_none_or(|term| term == "dumb") {
        return vec!["TERM=dumb".into()];
    }
    let known = [("TERM=", &caller.term), ("COLORTERM=", &caller.colorterm), ("NO_COLOR=", &caller.no_color)];
    let known = known.into_iter().filter_map(|(name, value)| {
        let mut variable = OsString::from(name);
        variable.push(value.as_ref()?);
        Some(variable)
    });
    known.collect()
}
