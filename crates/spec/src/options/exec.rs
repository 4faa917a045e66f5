//! The program and how it is started.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::value::inside;
use super::{Argument, Effect, Given, Merge, OptionRow, Problem, ValueKind, anyone, beside};
use crate::SpecPatch;

const BASE: OptionRow = OptionRow::BASE;

/// The words after the switches are no switch, but have a line in a settings file too.
pub const ARGUMENTS: OptionRow = OptionRow {
    argument: Argument::Required("COMMAND..."),
    setting: anyone("Exec", "Parameters"),
    help: "The program and its arguments",
    details: "The program to run and its arguments; with --boot the arguments of the init system. Without them, and \
              without --boot, a shell is run.",
    ..BASE
};

pub(super) const ROWS: &[OptionRow] = &[
    OptionRow {
        long: "as-pid2",
        short: Some('a'),
        setting: anyone("Exec", "ProcessTwo"),
        help: "Run the program as process 2, below a small init",
        details: "A program that is process 1 has to reap the processes that lose their parent and gets no signal that \
                  it does not handle. With this option a small process of redd does that instead, and the program is \
                  process 2. It powers off at SIGRTMIN+3 and SIGRTMIN+4, reboots at SIGINT, and passes other signals from outside \
                  on to the program. Right for programs that are neither an init system nor a shell. Excludes --boot.",
        effect: Effect::Patch(as_pid2),
        ..BASE
    },
    OptionRow {
        long: "boot",
        short: Some('b'),
        setting: anyone("Exec", "Boot"),
        help: "Look for an init system and run it",
        details: "The first of /usr/lib/systemd/systemd, /lib/systemd/systemd and /sbin/init that exists is process 1. \
                  Arguments of the form KEY=VALUE whose key has no dot are put in its environment, as the kernel does \
                  with its command line; all others are passed on. Excludes --as-pid2.",
        effect: Effect::Patch(boot),
        ..BASE
    },
    OptionRow {
        long: "chdir",
        argument: Argument::Required("PATH"),
        setting: anyone("Exec", "WorkingDirectory"),
        kind: ValueKind::Inside,
        help: "Start the program in this directory",
        details: "An absolute path inside the container.",
        effect: Effect::Patch(chdir),
        ..BASE
    },
    OptionRow {
        long: "setenv",
        short: Some('E'),
        argument: Argument::Required("NAME[=VALUE]"),
        setting: anyone("Exec", "Environment"),
        merge: Merge::ByName,
        help: "Set an environment variable",
        details: "For the first process. Wins over the variables that it has anyway. Without a value, the variable has \
                  the one that it has here, or is empty where it has none here. May be used more than once.",
        effect: Effect::Patch(setenv),
        ..BASE
    },
    OptionRow {
        long: "uid",
        short: Some('u'),
        argument: Argument::Required("USER"),
        setting: beside("Exec", "User", user_of_command_line),
        help: "Run the program as this user of the container",
        details: "A name or number that the container's own user database knows. Its groups are taken from there too. \
                  --user=NAME is the old spelling.",
        effect: Effect::Patch(uid),
        ..BASE
    },
    OptionRow {
        long: "kill-signal",
        argument: Argument::Required("SIGNAL"),
        setting: anyone("Exec", "KillSignal"),
        kind: ValueKind::Signal,
        lists: true,
        help: "What asks the first process to end",
        details: "The signal that the first process gets when redd itself is asked to end by SIGTERM. SIGRTMIN+3 with \
                  --boot, which systemd takes as a request to power off; otherwise SIGKILL.",
        effect: Effect::Patch(kill_signal),
        ..BASE
    },
    OptionRow {
        long: "notify-ready",
        argument: Argument::Required("BOOL"),
        setting: anyone("Exec", "NotifyReady"),
        kind: ValueKind::Boolean,
        help: "Wait until the init system says that it is ready",
        details: "When the caller's service manager is told that the container is ready, see sd_notify(3): when the \
                  first process exists (no, the default), or when that says so itself (yes).",
        effect: Effect::Patch(notify_ready),
        ..BASE
    },
    OptionRow {
        long: "suppress-sync",
        argument: Argument::Required("BOOL"),
        setting: anyone("Exec", "SuppressSync"),
        kind: ValueKind::Boolean,
        help: "Let nothing be written to disk at once",
        details: "Turns sync(2), fsync(2) and their relatives into calls that do nothing and succeed; files cannot be \
                  opened with O_SYNC or O_DSYNC. What the container has written can be lost when the host fails.",
        effect: Effect::Patch(suppress_sync),
        ..BASE
    },
];

fn as_pid2(patch: &mut SpecPatch, _: &Given<'_>) -> Result<(), Problem> {
    patch.as_pid2 = Some(true);
    Ok(())
}

fn boot(patch: &mut SpecPatch, _: &Given<'_>) -> Result<(), Problem> {
    patch.boot = Some(true);
    Ok(())
}

fn chdir(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    patch.chdir = Some(inside(given.raw())?);
    Ok(())
}

fn setenv(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    let bytes = given.raw().as_bytes();
    let (name, value) = match bytes.iter().position(|byte| *byte == b'=') {
        Some(at) => (OsStr::from_bytes(&bytes[..at]), OsStr::from_bytes(&bytes[at + 1..]).to_owned()),
        None => (given.raw(), (given.caller.variable)(given.raw()).unwrap_or_default()),
    };
    let usual = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let bytes = name.as_bytes();
    if bytes.first().is_none_or(u8::is_ascii_digit) || !bytes.iter().copied().all(usual) {
        return Err(Problem::invalid("a variable's name is letters, digits and underscores, and no digit comes first"));
    }
    let list = patch.environment.get_or_insert_default();
    list.retain(|(known, _)| known != name);
    list.push((name.to_owned(), value));
    Ok(())
}

fn uid(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    patch.user = given.parse_or_reset()?;
    Ok(())
}

/// One user has other privileges than another.
fn user_of_command_line(file: &mut SpecPatch, command_line: &mut SpecPatch) -> Option<&'static str> {
    file.user.take_if(|_| command_line.user.is_some()).map(|_| "--uid= says which user it is")
}

fn kill_signal(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    patch.kill_signal = Some(given.parse()?);
    Ok(())
}

fn suppress_sync(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    patch.suppress_sync = Some(given.boolean()?);
    Ok(())
}

fn notify_ready(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    patch.notify_ready = Some(given.boolean()?);
    Ok(())
}
