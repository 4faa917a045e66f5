//! `DeviceAllow=` and `DevicePolicy=` for the program that watches over the container's devices.

use spec::{Property, PropertyValue};

use super::super::Error;
use crate::{DeviceAccess, DeviceRule, LimitFacts};

pub(super) fn resolve<'a>(
    asked: impl Iterator<Item = &'a Property>,
    facts: &LimitFacts,
) -> Result<DeviceAccess, Error> {
    let mut access = DeviceAccess::default();
    for property in asked {
        match (property.setting, &property.value) {
            ("DevicePolicy", PropertyValue::Text(policy)) => access.strict = policy == "strict",
            ("DeviceAllow", PropertyValue::Pairs(all)) if all.is_empty() => access.rules.clear(),
            ("DeviceAllow", PropertyValue::Pairs(all)) => {
                for (node, rights) in all {
                    let known = facts.devices.iter().find(|(name, _)| name == node);
                    let numbers = known.map_or(&[][..], |(_, numbers)| numbers.as_slice());
                    // Groups of devices may be those of drivers that are not loaded, and are passed over as the service
                    // manager does.
                    if numbers.is_empty() && node.starts_with('/') {
                        return Err(Error::NoDevice(node.clone()));
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
            }
            _ => {}
        }
    }
    Ok(access)
}
