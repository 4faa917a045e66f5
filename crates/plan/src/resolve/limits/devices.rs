//! `DeviceAllow=` and `DevicePolicy=` for the program that watches over the container's devices.

use std::path::Path;

use spec::{Property, PropertyValue};

use super::super::Error;
use crate::{DeviceAccess, DeviceRule, LimitFacts};

pub(super) fn resolve<'a>(
    asked: impl Iterator<Item = &'a Property> + Clone,
    facts: &LimitFacts,
) -> Result<DeviceAccess, Error> {
    let policies = asked.clone().filter_map(|property| match (property.setting, &property.value) {
        ("DevicePolicy", PropertyValue::Text(policy)) => Some(policy == "strict"),
        _ => None,
    });
    let mut access = DeviceAccess { strict: policies.last().unwrap_or(false), ..DeviceAccess::default() };
    for (node, rights) in named(asked) {
        let known = facts.devices.iter().find(|(name, _)| name == node);
        let numbers = known.map_or(&[][..], |(_, numbers)| numbers.as_slice());
        // Groups of devices may be those of drivers that are not loaded, and are passed over as the service manager does.
        if numbers.is_empty() && node.starts_with('/') {
            return Err(Error::NoDevice(node.to_owned()));
        }
        let may = |right| rights.is_empty() || rights.contains(right);
        access.rules.extend(numbers.iter().map(|number| DeviceRule {
            block: number.block,
            major: number.major,
            minor: number.minor,
            read: may('r'),
            write: may('w'),
            make: may('m'),
        }));
    }
    Ok(access)
}

/// The devices that are named in the end, and what may be done with them. As with a service manager, what is said last of a
/// name takes the place of what was said of it before, and an empty list takes all back.
pub(in crate::resolve) fn named<'a>(asked: impl Iterator<Item = &'a Property>) -> Vec<(&'a str, &'a str)> {
    let mut all: Vec<(&str, &str)> = Vec::new();
    for property in asked {
        let ("DeviceAllow", PropertyValue::Pairs(pairs)) = (property.setting, &property.value) else { continue };
        if pairs.is_empty() {
            all.clear();
        }
        for (node, rights) in pairs {
            all.retain(|(known, _)| Path::new(known) != Path::new(node));
            all.push((node, rights));
        }
    }
    all
}
