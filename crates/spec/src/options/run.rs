//! How the run itself goes.

use super::{Argument, Effect, Given, OptionRow, Problem, ValueKind};
use crate::{DryRun, SettingsMode, SpecPatch};

const BASE: OptionRow = OptionRow::BASE;

pub(super) const ROWS: &[OptionRow] = &[
    OptionRow {
        long: "quiet",
        short: Some('q'),
        help: "Say nothing about the run itself",
        details: "Only the container's own output is shown.",
        effect: Effect::Patch(quiet),
        ..BASE
    },
    OptionRow {
        long: "settings",
        argument: Argument::Required("MODE"),
        kind: ValueKind::Words(&["yes", "no", "override", "trusted"]),
        help: "Whether a settings file is read",
        details: "Whether a file NAME.nspawn, see systemd.nspawn(5), is looked for in /etc/systemd/nspawn, \
                  /run/systemd/nspawn and beside the tree, and read. yes, the default: the command line wins over it, and \
                  what raises privileges is ignored in a file beside the tree. override: the file wins over the command \
                  line. trusted: all of it counts wherever it was found. no: nothing is looked for.",
        effect: Effect::Patch(settings),
        ..BASE
    },
    OptionRow {
        long: "cleanup",
        help: "Remove what a killed run has left, start nothing",
        details: "Mounts, control groups, locks and temporary trees that a run of this container could not remove \
                  because it was killed are removed. Needs --directory= or --machine= to know which container.",
        effect: Effect::Patch(cleanup),
        ..BASE
    },
    OptionRow {
        long: "dry-run",
        argument: Argument::Optional("FORMAT"),
        kind: ValueKind::Words(&["text", "json"]),
        own: true,
        help: "Show what would happen, change nothing",
        details: "The steps that would be carried out are printed, for people (text, the default) or for programs \
                  (json), and nothing is changed. An option of redd alone.",
        effect: Effect::Patch(dry_run),
        ..BASE
    },
    OptionRow {
        long: "completions",
        argument: Argument::Required("SHELL"),
        kind: ValueKind::Words(&["bash", "zsh", "fish"]),
        own: true,
        help: "Print what a shell needs to complete this command",
        details: "Prints a script for the shell. An option of redd alone.",
        effect: Effect::Completions,
        ..BASE
    },
    OptionRow {
        long: "system",
        help: "Work with the service manager of the system",
        details: "The container's unit is made by the system's service manager, and the machine is registered with its \
                  systemd-machined, which is what happens without this option.",
        effect: Effect::Patch(system),
        ..BASE
    },
    OptionRow {
        long: "user",
        help: "Work with the service manager of the user",
        details: "The container's unit is made by the service manager of the caller, who listens in $XDG_RUNTIME_DIR, \
                  and the machine is registered with its systemd-machined. With a value, or followed by a word that is no \
                  option, it is the old spelling of --uid=; write -- between the two where that is not meant.",
        effect: Effect::Patch(user),
        ..BASE
    },
    OptionRow {
        long: "no-pager",
        help: "Show texts without a pager",
        details: "Texts are never shown in a pager, so this changes nothing.",
        effect: Effect::Patch(nothing),
        ..BASE
    },
    OptionRow {
        long: "no-ask-password",
        help: "Ask for no password",
        details: "No password is ever asked for, so this changes nothing.",
        effect: Effect::Patch(nothing),
        ..BASE
    },
    OptionRow {
        long: "help",
        short: Some('h'),
        help: "Show this text",
        details: "Prints a short text about all options and ends.",
        effect: Effect::Help,
        ..BASE
    },
    OptionRow {
        long: "version",
        help: "Show the version",
        details: "Prints the version and ends. Under the name systemd-nspawn the first line begins with the version of \
                  systemd whose manual is followed.",
        effect: Effect::Version,
        ..BASE
    },
];

fn quiet(patch: &mut SpecPatch, _: &Given<'_>) -> Result<(), Problem> {
    patch.quiet = Some(true);
    Ok(())
}

fn system(patch: &mut SpecPatch, _: &Given<'_>) -> Result<(), Problem> {
    patch.user_manager = Some(false);
    Ok(())
}

fn user(patch: &mut SpecPatch, _: &Given<'_>) -> Result<(), Problem> {
    patch.user_manager = Some(true);
    Ok(())
}

/// Asks for what is the case anyway.
fn nothing(_: &mut SpecPatch, _: &Given<'_>) -> Result<(), Problem> {
    Ok(())
}

fn settings(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    patch.settings = Some(match (given.text()?, given.boolean()) {
        ("override", _) => SettingsMode::Override,
        ("trusted", _) => SettingsMode::Trusted,
        (_, Ok(true)) => SettingsMode::Yes,
        (_, Ok(false)) => SettingsMode::No,
        _ => return Err(Problem::invalid("it is none of yes, no, override, trusted")),
    });
    Ok(())
}

fn cleanup(patch: &mut SpecPatch, _: &Given<'_>) -> Result<(), Problem> {
    patch.cleanup = Some(true);
    Ok(())
}

fn dry_run(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    patch.dry_run = Some(match given.value {
        None => DryRun::Text,
        Some(_) => given.one_of(&[("text", DryRun::Text), ("json", DryRun::Json)])?,
    });
    Ok(())
}
