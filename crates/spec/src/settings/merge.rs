//! How a settings file and the command line go together.
//!
//! Where both speak of something one of the two decides, as in systemd-nspawn: the command line, or the file where that
//! was wanted. What belongs together is decided at once: how the program is started and what it is, all mounts, all
//! variables. Resource limits are decided one by one, and so are the users, their number of further ranges and who owns
//! the tree: who speaks of one of them has not said that the container is to have the host's users.
//!
//! Capabilities are decided at once by the command line. Where the file wins, what it adds and drops comes on top of what
//! the command line adds and drops.

use super::Settings;
use crate::options::{self, Problem, Trust};
use crate::{CapabilitySet, PrivateUsers, SettingsMode, SpecPatch};

/// What counts of what each source says.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// The caller's environment, which always wins.
    pub(super) environment: SpecPatch,
    /// The command line.
    pub(super) command_line: SpecPatch,
    /// The settings file.
    pub(super) file: SpecPatch,
    /// What a person should know.
    pub(super) warnings: Vec<String>,
}

impl Layers {
    /// Decides between them. What a file that is not trusted says never counts for more access than the command line
    /// gives, see [`Trust`].
    #[must_use]
    pub fn settle(environment: SpecPatch, command_line: SpecPatch, settings: &Settings) -> Self {
        let file_wins = command_line.settings == Some(SettingsMode::Override);
        let file = settings.patch.clone();
        let mut layers = Self { environment, command_line, file, warnings: Vec::new() };
        if file_wins {
            if !settings.trusted {
                layers.take_away_beside(settings);
            }
            layers.let_file_win(settings.trusted);
        } else {
            layers.let_command_line_win();
        }
        layers.command_line.yield_to(&layers.environment);
        layers.file.yield_to(&layers.environment);
        layers
    }

    fn let_command_line_win(&mut self) {
        let Self { command_line, file, .. } = self;
        if command_line.capabilities.is_some() || command_line.drop_capabilities.is_some() {
            (file.capabilities, file.drop_capabilities) = (None, None);
        }
        if command_line.arguments.is_some() {
            (file.boot, file.as_pid2) = (None, None);
        }
        decide(command_line, file);
    }

    /// A file that has nothing but arguments leaves it to the command line how they are started. Capabilities that it
    /// drops are taken from what the command line leaves, and it gives back only those that it names.
    fn let_file_win(&mut self, trusted: bool) {
        let said = self.command_line.clone();
        decide(&self.file, &mut self.command_line);
        let added = self.file.capabilities.unwrap_or_default();
        self.command_line.capabilities = said.capabilities;
        self.command_line.drop_capabilities =
            said.drop_capabilities.map(|drop| drop.without(added)).filter(|drop| *drop != CapabilitySet::EMPTY);
        if !trusted {
            self.command_line.address_families = said.address_families;
        }
    }

    /// What [`Trust::Beside`] says of a file that wins.
    fn take_away_beside(&mut self, settings: &Settings) {
        for row in options::all() {
            let Some((key, Trust::Beside(settle))) = row.setting.map(|setting| (setting.key, setting.trust)) else {
                continue;
            };
            let Some(why) = settle(&mut self.file, &mut self.command_line) else { continue };
            let lines = settings.assigned.iter().filter(|assigned| assigned.key == key);
            self.warnings.extend(lines.map(|assigned| {
                let place = format!("{}:{}", settings.path.display(), assigned.line);
                format!("{place}: {key}= is ignored: {why}, and the file is not trusted")
            }));
        }
    }

    /// What a person should know.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// All that counts.
    #[must_use]
    pub fn together(self) -> SpecPatch {
        let Self { environment, command_line, file, .. } = self;
        // What both still have adds up.
        let union = |one: Option<CapabilitySet>, other: Option<CapabilitySet>| match (one, other) {
            (Some(one), Some(other)) => Some(one.union(other)),
            (one, other) => one.or(other),
        };
        let added = SpecPatch {
            capabilities: union(file.capabilities, command_line.capabilities),
            drop_capabilities: union(file.drop_capabilities, command_line.drop_capabilities),
            address_families: match (file.address_families, command_line.address_families) {
                (Some(one), Some(other)) => Some(one.beside(other)),
                (one, other) => one.or(other),
            },
            rlimits: match (&file.rlimits, &command_line.rlimits) {
                (Some(one), Some(other)) => Some(one.iter().chain(other).map(|(key, limit)| (*key, *limit)).collect()),
                _ => None,
            },
            ..SpecPatch::default()
        };
        environment.over(added).over(command_line).over(file)
    }
}

/// What a command line says over what stands in the place of a settings file.
#[must_use]
pub(crate) fn below(command_line: SpecPatch, file: SpecPatch) -> SpecPatch {
    let mut layers = Layers { command_line, file, ..Layers::default() };
    layers.let_command_line_win();
    layers.together()
}

/// Takes out of `lower` what does not count beside `upper`.
fn decide(upper: &SpecPatch, lower: &mut SpecPatch) {
    let limits = lower.rlimits.clone();
    if upper.boot.is_some() || upper.as_pid2.is_some() {
        (lower.boot, lower.as_pid2, lower.arguments) = (None, None, None);
    }
    match upper.private_users {
        Some(PrivateUsers::No) => (lower.ownership, lower.private_users_delegate) = (None, None),
        // Further ranges are for managed users alone.
        Some(users) if users != PrivateUsers::Managed => lower.private_users_delegate = None,
        _ => {}
    }
    lower.yield_to(upper);
    if let (Some(above), Some(mut below)) = (&upper.rlimits, limits) {
        below.retain(|resource, _| !above.contains_key(resource));
        lower.rlimits = Some(below).filter(|below| !below.is_empty());
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
