//! What sd-login(3) reads of machines: a file of assignments for each in `/run/systemd/machines`, and a link from the name of
//! its unit to its own.
//!
//! These files are notes of the registry for others. Nothing is read from them but once, when the service starts: machines that
//! an upstream systemd-machined knew before are taken over then.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use machine::state::State;
use rustix::fs::{CWD, Mode, OFlags, openat, renameat, symlinkat, unlinkat};
use rustix::io::Errno;

/// Where they are.
pub const DIRECTORY: &str = "/run/systemd/machines";
/// What the links begin with.
const UNIT: &str = "unit:";
/// What a file is written to before it is seen.
const NEW: &str = ".#redd.new";

/// A file or link that is to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Note {
    File(String),
    Link(String),
}

/// Makes the notes those of these machines: writes what is missing or differs, and removes what is of no machine.
///
/// # Errors
/// Those of the system calls, the first one; all notes are tried.
pub fn write(directory: &Path, machines: &[State]) -> rustix::io::Result<()> {
    make_directory(directory)?;
    let mut wanted = HashSet::new();
    let mut result = Ok(());
    for state in machines {
        wanted.insert(state.name.clone());
        result = result.and(put(directory, &state.name, &Note::File(text(state))));
        if let Some(unit) = &state.unit {
            let name = format!("{UNIT}{unit}");
            result = result.and(put(directory, &name, &Note::Link(state.name.clone())));
            wanted.insert(name);
        }
    }
    let names = std::fs::read_dir(directory).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    for name in names.filter_map(|entry| entry.ok()?.file_name().into_string().ok()) {
        if !wanted.contains(&name) {
            result = result.and(unlinkat(CWD, directory.join(&name), rustix::fs::AtFlags::empty()));
        }
    }
    result
}

fn make_directory(directory: &Path) -> rustix::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o755).create(directory);
    made.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

/// What a file says of a machine.
fn text(state: &State) -> String {
    let mut text = "# Written for sd-login(3) from the registry in /run/redd. Changes are lost.\n".to_owned();
    let mut add = |name: &str, value: &str| {
        if !value.is_empty() {
            text.push_str(&format!("{name}={}\n", quoted(value)));
        }
    };
    let some = |value: &Option<String>| value.clone().unwrap_or_default();
    let number = |value: Option<u64>| value.map(|number| number.to_string()).unwrap_or_default();
    add("NAME", &state.name);
    add("UID", &state.uid.to_string());
    // Before version 258 it is SCOPE.
    add("SCOPE", &some(&state.unit));
    add("UNIT", &some(&state.unit));
    add("SUBGROUP", &some(&state.subgroup));
    add("SERVICE", &some(&state.service));
    add("ROOT", &some(&state.root_directory));
    add("ID", &state.id.map(|id| id.as_simple().to_string()).unwrap_or_default());
    add("LEADER", &state.leader.pid.to_string());
    add("LEADER_PIDFDID", &number(state.leader.pidfd_id));
    if let Some(supervisor) = &state.supervisor {
        add("SUPERVISOR", &supervisor.pid.to_string());
        add("SUPERVISOR_PIDFDID", &number(supervisor.pidfd_id));
    }
    add("CLASS", state.class.name());
    add("REALTIME", &state.timestamp.realtime.to_string());
    add("MONOTONIC", &state.timestamp.monotonic.to_string());
    let links: Vec<String> = state.network_interfaces.iter().map(i32::to_string).collect();
    add("NETIF", &links.join(" "));
    add("VSOCK_CID", &number(state.v_sock_cid.map(u64::from)));
    add("SSH_ADDRESS", &some(&state.ssh_address));
    add("SSH_PRIVATE_KEY_PATH", &some(&state.ssh_private_key_path));
    add("CONTROL_ADDRESS", &some(&state.control_address));
    text
}

/// A value as a shell's assignment has it.
fn quoted(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:/@,+=%".contains(&byte);
    if value.bytes().all(plain) {
        return value.to_owned();
    }
    let mut result = String::from("\"");
    for letter in value.chars().filter(|letter| !letter.is_control()) {
        if matches!(letter, '"' | '\\' | '$' | '`') {
            result.push('\\');
        }
        result.push(letter);
    }
    result.push('"');
    result
}

/// Sees to it that it is there, whole or not at all.
fn put(directory: &Path, name: &str, note: &Note) -> rustix::io::Result<()> {
    let path = directory.join(name);
    if found(&path).as_ref() == Some(note) {
        return Ok(());
    }
    let new = directory.join(NEW);
    match unlinkat(CWD, &new, rustix::fs::AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error),
    }
    match note {
        Note::Link(target) => symlinkat(target.as_str(), CWD, &new)?,
        Note::File(text) => {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let file = openat(CWD, &new, flags, Mode::from_raw_mode(0o644))?;
            let mut rest = text.as_bytes();
            while !rest.is_empty() {
                rest = &rest[rustix::io::retry_on_intr(|| rustix::io::write(&file, rest))?..];
            }
        }
    }
    renameat(CWD, &new, CWD, &path)
}

fn found(path: &PathBuf) -> Option<Note> {
    if let Ok(target) = std::fs::read_link(path) {
        return Some(Note::Link(target.into_os_string().into_string().ok()?));
    }
    Some(Note::File(std::fs::read_to_string(path).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_follow_the_machines() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("machines");
        let host = machine::machines::host();
        let one = State {
            name: "web".to_owned(),
            unit: Some("machine-web.scope".to_owned()),
            root_directory: Some("/srv/my \"tree\"".to_owned()),
            network_interfaces: vec![3, 4],
            class: machine::state::Class::Container,
            ..host
        };
        write(&place, std::slice::from_ref(&one)).unwrap();
        let text = std::fs::read_to_string(place.join("web")).unwrap();
        for line in [
            "NAME=web",
            "SCOPE=machine-web.scope",
            "ROOT=\"/srv/my \\\"tree\\\"\"",
            "CLASS=container",
            "NETIF=\"3 4\"",
            "LEADER=1",
        ] {
            assert!(text.lines().any(|one| one == line), "{line}: {text}");
        }
        assert_eq!(std::fs::read_link(place.join("unit:machine-web.scope")).unwrap(), Path::new("web"));
        let changed = State { unit: Some("other.scope".to_owned()), ..one };
        write(&place, &[changed]).unwrap();
        assert_eq!(std::fs::read_dir(&place).unwrap().count(), 2);
        write(&place, &[]).unwrap();
        assert_eq!(std::fs::read_dir(&place).unwrap().count(), 0);
    }
}
