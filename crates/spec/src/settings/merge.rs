//! How a settings file and the command line go together.
//!
//! What belongs together is decided by one of the two alone, as in systemd-nspawn: how the program is started and what
//! it is, the capabilities, the users, all mounts, all variables. Resource limits are decided one by one.

use crate::options::Problem;
use crate::{SettingsMode, SpecPatch};

/// Both together; what the command line says wins, or what the file says where that was wanted.
#[must_use]
pub fn combine(command_line: SpecPatch, file: SpecPatch, mode: SettingsMode) -> SpecPatch {
    let file_wins = mode == SettingsMode::Override;
    let (mut upper, mut lower) = if file_wins { (file, command_line) } else { (command_line, file) };
    let mode_said = upper.boot.is_some() || upper.as_pid2.is_some();
    // A file that has nothing but arguments leaves it to the command line how they are started.
    if mode_said || (upper.arguments.is_some() && !file_wins) {
        (lower.boot, lower.as_pid2, lower.arguments) = (None, None, None);
    }
    if upper.capabilities.is_some() || upper.drop_capabilities.is_some() {
        (lower.capabilities, lower.drop_capabilities) = (None, None);
    }
    if upper.private_users.is_some() || upper.ownership.is_some() {
        (lower.private_users, lower.users_optional) = (None, None);
        (lower.ownership, lower.private_users_delegate) = (None, None);
    }
    if let Some(limits) = &mut upper.rlimits {
        for (resource, limit) in lower.rlimits.take().unwrap_or_default() {
            limits.entry(resource).or_insert(limit);
        }
    }
    upper.over(lower)
}

/// What is decided together with a key.
pub(super) fn group(key: &str) -> &str {
    match key {
        "Boot" | "ProcessTwo" | "Parameters" => "start",
        "Capability" | "DropCapability" => "capabilities",
        "PrivateUsers" | "PrivateUsersOwnership" | "PrivateUsersDelegate" => "users",
        "Bind" | "BindReadOnly" | "TemporaryFileSystem" | "Inaccessible" | "Overlay" | "OverlayReadOnly" => "mounts",
        other => other,
    }
}

/// A flag that is off: what a command line cannot say, but a file can.
pub(super) fn turn_off(patch: &mut SpecPatch, key: &str) -> Result<(), Problem> {
    match key {
        "Boot" => patch.boot = Some(false),
        "ProcessTwo" => patch.as_pid2 = Some(false),
        "Ephemeral" => patch.ephemeral = Some(false),
        "ReadOnly" => patch.read_only = Some(false),
        "Private" => patch.private_network = Some(false),
        // That is the case as long as they are not carried out.
        "VirtualEthernet" => {}
        _ => return Err(Problem::Invalid("it cannot be turned off".into())),
    }
    Ok(())
}
