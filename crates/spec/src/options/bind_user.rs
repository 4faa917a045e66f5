//! Users of the host inside.

use super::{Argument, Effect, Merge, OptionRow, ValueKind, trusted};

const BASE: OptionRow = OptionRow { merge: Merge::List, ..OptionRow::BASE };
const LATER: Effect = Effect::Later("users of the host are not taken inside yet");

/// `--bind-user=`
pub(super) const USER: OptionRow = OptionRow {
    long: "bind-user",
    argument: Argument::Required("NAME"),
    setting: trusted("Files", "BindUser"),
    kind: ValueKind::User,
    help: "Take a user of the host inside, with the home directory",
    details: "May be used more than once.",
    effect: LATER,
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
    details: "yes for the shell that the host knows.",
    effect: LATER,
    ..BASE
};

/// `--bind-user-group=`
pub(super) const GROUP: OptionRow = OptionRow {
    long: "bind-user-group",
    argument: Argument::Required("NAME"),
    kind: ValueKind::Group,
    help: "A further group of such users",
    details: "A group of the container.",
    effect: LATER,
    ..BASE
};
