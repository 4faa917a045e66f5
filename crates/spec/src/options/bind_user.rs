//! Users of the host inside.

use super::{Argument, Effect, Given, Merge, OptionRow, Problem, ValueKind, boolean, trusted};
use crate::options::value::inside;
use crate::{SpecPatch, UserShell, is_user_name};

const BASE: OptionRow = OptionRow { merge: Merge::List, ..OptionRow::BASE };

/// `--bind-user=`
pub(super) const USER: OptionRow = OptionRow {
    long: "bind-user",
    argument: Argument::Required("NAME"),
    setting: trusted("Files", "BindUser"),
    kind: ValueKind::User,
    help: "Take a user of the host inside, with the home directory",
    details: "The home directory is mounted at /run/host/home/NAME, its files belong to the user there too. Records of \
              the user and of the group of the same name, with the password's hash, are in /run/host/userdb, where \
              nss-systemd(8) of the container finds them, with an id from 60514 to 60577, also where the container \
              has no users of its own. Neither root nor nobody, nor a name that the container's own /etc/passwd or /etc/group has. May be used \
              more than once.",
    effect: Effect::Patch(user),
    ..BASE
};

/// `--bind-user-shell=`
pub(super) const SHELL: OptionRow = OptionRow {
    long: "bind-user-shell",
    argument: Argument::Required("BOOL|PATH"),
    setting: trusted("Files", "BindUserShell"),
    merge: Merge::Last,
    kind: ValueKind::Path,
    help: "The shell of such users",
    details: "no, the default, for what the container gives to users without a shell of their own; yes for the shell \
              that the host knows; or an absolute path. Whether the container has it is not looked at.",
    effect: Effect::Patch(shell),
    ..BASE
};

/// `--bind-user-group=`
pub(super) const GROUP: OptionRow = OptionRow {
    long: "bind-user-group",
    argument: Argument::Required("NAME"),
    kind: ValueKind::Group,
    help: "A further group of such users",
    details: "A group of the container; whether it has it is not looked at. May be used more than once.",
    effect: Effect::Patch(group),
    ..BASE
};

fn user(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    if matches!(given.text()?, "root" | "nobody") {
        return Err(Problem::invalid("this user means something else inside"));
    }
    add(patch.bind_users.get_or_insert_default(), given)
}

fn group(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    add(patch.bind_user_groups.get_or_insert_default(), given)
}

fn add(names: &mut Vec<String>, given: &Given<'_>) -> Result<(), Problem> {
    let name = given.text()?;
    if !is_user_name(name) {
        return Err(Problem::invalid(
            "a name has up to 31 letters, digits, _ and -, and does not begin with a digit or -",
        ));
    }
    if !names.iter().any(|other| other == name) {
        names.push(name.to_owned());
    }
    Ok(())
}

fn shell(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    patch.bind_user_shell = Some(match given.text().ok().and_then(boolean) {
        Some(true) => UserShell::Hosts,
        Some(false) => UserShell::Containers,
        None => UserShell::Path(
            inside(given.raw()).map_err(|_| Problem::invalid("it is neither yes nor no nor an absolute path"))?,
        ),
    });
    Ok(())
}
