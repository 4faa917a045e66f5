//! The unit of the service manager's that the machine is in.

use super::{Context, Error, bundle};
use crate::{GroupPlace, Registration, Scope, ServiceManager};
use spec::{Property, PropertyValue, Register, SliceName, StartMode};

/// The slice of machines (systemd-nspawn(1), `--slice=`).
const SLICE: &str = "machine.slice";

/// The scope that is made for the machine: where systemd manages the host, unless it stays in the caller's unit.
pub(super) fn scope(context: &Context<'_>) -> Option<Scope> {
    let wanted = context.facts.host.service_manager && !context.spec.property().keep_unit;
    wanted.then(|| Scope {
        unit: unit_name(context.machine),
        slice: slice(context).map_or(SLICE, SliceName::as_str).to_owned(),
        description: format!("Container {}", context.machine),
        manager: manager(context),
        properties: devices(context).into_iter().chain(asked(context).cloned()).collect(),
    })
}

/// The slice that was asked for.
fn slice<'a>(context: &Context<'a>) -> Option<&'a SliceName> {
    context.spec.property().slice.as_ref().or(context.spec.bundle().slice.as_ref())
}

/// The service manager that was chosen.
fn manager(context: &Context<'_>) -> ServiceManager {
    match (context.spec.property().user_manager, &context.facts.caller.runtime_directory) {
        (true, Some(directory)) => ServiceManager::User(directory.into()),
        _ => ServiceManager::System,
    }
}

/// The machine is registered with the systemd-machined of the service manager that looks after its unit.
pub(super) fn registration(context: &Context<'_>) -> Result<Option<Registration>, Error> {
    let property = context.spec.property();
    let host = &context.facts.host;
    if property.user_manager && !host.service_manager {
        let directory = context.facts.caller.runtime_directory.as_ref().map(|directory| directory.to_string_lossy());
        return Err(Error::NoUserManager(directory.map_or("$XDG_RUNTIME_DIR".into(), Into::into)));
    }
    let required = match property.register {
        Register::No => return Ok(None),
        Register::Yes => true,
        Register::Auto if host.service_manager => false,
        Register::Auto => return Ok(None),
    };
    if property.keep_unit && host.user_session {
        return Err(Error::UserSession);
    }
    let root = context.facts.tree.path.clone();
    Ok(Some(Registration { required, manager: manager(context), id: context.uuid, root }))
}

/// All properties that were asked for, the shorthands last.
pub(super) fn asked<'a>(context: &Context<'a>) -> impl Iterator<Item = &'a Property> + Clone + use<'a> {
    let property = context.spec.property();
    property.properties.iter().chain(&property.limits)
}

/// Where the unit's devices are spoken of, the service manager refuses all others: what every container may open has to
/// be said, too, and what it was given. Terminals are opened and never made.
fn devices(context: &Context<'_>) -> Vec<Property> {
    let named = asked(context).any(|property| matches!(property.setting, "DeviceAllow" | "DevicePolicy"));
    let allowed = bundle::unit_devices(context);
    if !named && allowed.is_none() {
        return Vec::new();
    }
    let text = |text: &str| PropertyValue::Text(text.to_owned());
    let pairs = [("/dev/net/tun", "rwm"), ("/dev/fuse", "rwm"), ("char-pts", "rw")];
    let pairs = pairs.map(|(node, rights)| (node.to_owned(), rights.to_owned())).to_vec();
    let mut all = vec![
        Property { setting: "DevicePolicy", name: "DevicePolicy".into(), value: text("closed") },
        Property { setting: "DeviceAllow", name: "DeviceAllow".into(), value: PropertyValue::Pairs(pairs) },
    ];
    let given = super::given_devices(context);
    let mut own = given.iter().map(bundle::own_device).chain(allowed.into_iter().flatten()).peekable();
    // An empty list would take back what is said before it.
    if own.peek().is_some() {
        all.push(bundle::device_allow(own));
    }
    all
}

/// What was asked for and means nothing, as a sentence.
pub(super) fn notice(context: &Context<'_>) -> Option<String> {
    let property = context.spec.property();
    let without = property.keep_unit && (slice(context).is_some() || !property.properties.is_empty());
    without.then(|| "--slice= and --property= have no effect with --keep-unit: no unit is made for them.".to_owned())
}

pub(super) fn group_place(context: &Context<'_>) -> GroupPlace {
    match scope(context) {
        Some(scope) => GroupPlace::Scope(scope.unit),
        None if context.facts.host.service_manager => GroupPlace::CallersUnit,
        // It takes time that a single command does not need.
        None => GroupPlace::Subtree { controllers: context.spec.exec().mode == StartMode::Boot },
    }
}

/// `NAME.scope`; all that a machine's name can have a unit's can have, too. The host itself has the unit `init.scope`.
fn unit_name(machine: &str) -> String {
    match machine {
        "init" => "machine-init.scope".to_owned(),
        _ => format!("{machine}.scope"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_units() {
        assert_eq!(unit_name("debian"), "debian.scope");
        assert_eq!(unit_name("a-b.c_d"), "a-b.c_d.scope");
        assert_eq!(unit_name("init"), "machine-init.scope", "that of the host's first process");
    }
}
