//! The unit of the service manager's that the machine is in.

use super::Context;
use crate::{GroupPlace, Scope};
use spec::StartMode;

/// The slice of machines (systemd-nspawn(1), `--slice=`).
const SLICE: &str = "machine.slice";

/// The scope that is made for the machine: where systemd manages the host, unless it stays in the caller's unit.
pub(super) fn scope(context: &Context<'_>) -> Option<Scope> {
    let wanted = context.facts.host.service_manager && !context.spec.property().keep_unit;
    wanted.then(|| Scope {
        unit: unit_name(context.machine),
        slice: SLICE.to_owned(),
        description: format!("Container {}", context.machine),
    })
}

pub(super) fn group_place(context: &Context<'_>) -> GroupPlace {
    match scope(context) {
        Some(scope) => GroupPlace::Scope(scope.unit),
        None if context.facts.host.service_manager => GroupPlace::CallersUnit,
        // It takes time that a single command does not need.
        None => GroupPlace::Subtree { controllers: context.spec.exec().mode == StartMode::Boot },
    }
}

/// `machine-NAME.scope`, escaped as systemd.unit(5) says.
fn unit_name(machine: &str) -> String {
    use std::fmt::Write as _;
    let mut name = "machine-".to_owned();
    for (index, byte) in machine.bytes().enumerate() {
        match byte {
            b'.' if index == 0 => name.push_str("\\x2e"),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b':' | b'_' | b'.' => name.push(char::from(byte)),
            b'/' => name.push('-'),
            // Writing to a String cannot fail.
            _ => drop(write!(name, "\\x{byte:02x}")),
        }
    }
    name + ".scope"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped() {
        assert_eq!(unit_name("debian"), "machine-debian.scope");
        assert_eq!(unit_name("a-b.c_d"), "machine-a\\x2db.c_d.scope");
    }
}
