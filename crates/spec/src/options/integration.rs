//! What of the host's configuration is seen inside.

use super::{Argument, Effect, Given, OptionRow, Problem, ValueKind, trusted};
use crate::SpecPatch;

const BASE: OptionRow = OptionRow::BASE;
const FORWARDING: Effect = Effect::Later("the journal is not forwarded yet");

/// One of the limits of a forwarded journal.
const JOURNAL_LIMIT: OptionRow = OptionRow {
    argument: Argument::Required("BYTES"),
    details: "See journal-remote.conf(5).",
    effect: FORWARDING,
    ..BASE
};

const RESOLV_CONF: &[&str] = &[
    "off",
    "copy-host",
    "copy-static",
    "copy-uplink",
    "copy-stub",
    "replace-host",
    "replace-static",
    "replace-uplink",
    "replace-stub",
    "bind-host",
    "bind-static",
    "bind-uplink",
    "bind-stub",
    "delete",
    "auto",
];
const TIMEZONE: &[&str] = &["off", "copy", "bind", "symlink", "delete", "auto"];
const LINK_JOURNAL: &[&str] = &["no", "host", "try-host", "guest", "try-guest", "auto"];

pub(super) const ROWS: &[OptionRow] = &[
    OptionRow {
        long: "resolv-conf",
        argument: Argument::Required("MODE"),
        setting: trusted("Exec", "ResolvConf"),
        kind: ValueKind::Words(RESOLV_CONF),
        lists: true,
        help: "How /etc/resolv.conf gets inside",
        details: "auto, the default: the host's file is copied, except with a private network. This version carries out \
                  auto alone.",
        effect: Effect::Patch(resolv_conf),
        ..BASE
    },
    OptionRow {
        long: "timezone",
        argument: Argument::Required("MODE"),
        setting: trusted("Exec", "Timezone"),
        kind: ValueKind::Words(TIMEZONE),
        lists: true,
        help: "How /etc/localtime gets inside",
        details: "auto, the default: where the host's is a link, it is a link to the same time zone. This version \
                  carries out auto alone.",
        effect: Effect::Patch(timezone),
        ..BASE
    },
    OptionRow {
        long: "link-journal",
        argument: Argument::Required("MODE"),
        setting: trusted("Exec", "LinkJournal"),
        kind: ValueKind::Words(LINK_JOURNAL),
        help: "Whether the host sees the container's journal",
        details: "no: it does not. auto, the default: it does where its directory has been prepared. This version \
                  prepares none, so both are the same, and the others are refused.",
        effect: Effect::Patch(link_journal),
        ..BASE
    },
    OptionRow {
        short: Some('j'),
        help: "As --link-journal=try-guest",
        details: "The same as --link-journal=try-guest.",
        effect: Effect::Later("journals are not linked yet"),
        ..BASE
    },
    OptionRow {
        long: "forward-journal",
        argument: Argument::Required("PATH"),
        kind: ValueKind::Path,
        help: "Write the container's journal to a file of the host",
        details: "To the file where the path ends in .journal, else to files in that directory.",
        effect: FORWARDING,
        ..BASE
    },
    OptionRow { long: "forward-journal-max-use", help: "How much space forwarded journals take", ..JOURNAL_LIMIT },
    OptionRow { long: "forward-journal-keep-free", help: "How much space they leave", ..JOURNAL_LIMIT },
    OptionRow { long: "forward-journal-max-file-size", help: "How large one of them gets", ..JOURNAL_LIMIT },
    OptionRow {
        long: "forward-journal-max-files",
        argument: Argument::Required("N"),
        help: "How many of them there are",
        ..JOURNAL_LIMIT
    },
];

/// Takes the words that mean what happens anyway and tells the others apart from nonsense.
fn only(given: &Given<'_>, carried_out: &[&str], words: &[&str], why: &'static str) -> Result<(), Problem> {
    let known: Vec<_> = words.iter().map(|word| (*word, *word)).collect();
    let word = given.one_of(&known)?;
    if carried_out.contains(&word) { Ok(()) } else { Err(Problem::Later(why)) }
}

fn resolv_conf(_: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    only(given, &["auto"], RESOLV_CONF, "there is no choice of the resolver's configuration yet; use auto")
}

fn timezone(_: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    only(given, &["auto"], TIMEZONE, "there is no choice of the time zone yet; use auto")
}

fn link_journal(_: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    only(given, &["auto", "no"], LINK_JOURNAL, "journals are not linked yet; use auto or no")
}
