//! The console.

use super::{Argument, Effect, Given, OptionRow, Problem, ValueKind};
use crate::{ConsoleMode, SpecPatch};

const BASE: OptionRow = OptionRow::BASE;

pub(super) const ROWS: &[OptionRow] = &[
    OptionRow {
        long: "console",
        argument: Argument::Required("MODE"),
        kind: ValueKind::Words(&["interactive", "read-only", "passive", "pipe", "autopipe"]),
        lists: true,
        help: "How the container's console is connected",
        details: "interactive: a terminal of the container's own, connected to this one in both directions. read-only: \
                  its output is shown, nothing is read. passive: it is connected to nothing. pipe: there is no terminal; \
                  the program gets redd's own standard streams, which it must be trusted with. autopipe: interactive on \
                  a terminal, else pipe. Where nothing is said, it is interactive on a terminal, else read-only.",
        effect: Effect::Patch(console),
        ..BASE
    },
    OptionRow {
        long: "pipe",
        short: Some('P'),
        help: "As --console=pipe",
        details: "The same as --console=pipe.",
        effect: Effect::Patch(pipe),
        ..BASE
    },
    OptionRow {
        long: "background",
        argument: Argument::Required("COLOR"),
        help: "The background colour of the terminal",
        details: "As the numbers of an SGR sequence, see console_codes(4): 40 to 47, 100 to 107, 48;5;NUMBER or \
                  48;2;RED;GREEN;BLUE. Empty for none. It is set as long as the container has the terminal, if that can \
                  tell its own, and set back then. Where nothing is said, the background of a terminal with a system or a \
                  shell gets a tint, unless $NO_COLOR is set or $SYSTEMD_TINT_BACKGROUND is 0.",
        effect: Effect::Patch(background),
        ..BASE
    },
];

fn console(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    patch.console = Some(given.one_of(&[
        ("interactive", ConsoleMode::Interactive),
        ("read-only", ConsoleMode::ReadOnly),
        ("passive", ConsoleMode::Passive),
        ("pipe", ConsoleMode::Pipe),
        ("autopipe", ConsoleMode::Autopipe),
    ])?);
    Ok(())
}

fn background(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    patch.background = Some(given.parse()?);
    Ok(())
}

fn pipe(patch: &mut SpecPatch, _: &Given<'_>) -> Result<(), Problem> {
    patch.console = Some(ConsoleMode::Pipe);
    Ok(())
}
