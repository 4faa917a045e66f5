//! Credentials.

use super::{Argument, Effect, Merge, OptionRow};

const BASE: OptionRow = OptionRow {
    merge: Merge::ByName,
    effect: Effect::Later("credentials are not passed inside yet"),
    ..OptionRow::BASE
};

pub(super) const ROWS: &[OptionRow] = &[
    OptionRow {
        long: "load-credential",
        argument: Argument::Required("ID:PATH"),
        help: "Pass a credential from a file",
        details: "See systemd.exec(5).",
        ..BASE
    },
    OptionRow {
        long: "set-credential",
        argument: Argument::Required("ID:VALUE"),
        help: "Pass a credential",
        details: "The value is written with the escapes of C. See systemd.exec(5).",
        ..BASE
    },
];
