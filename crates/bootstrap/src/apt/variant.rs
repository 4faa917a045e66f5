//! How much of a distribution is installed.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use super::package::Package;

/// A choice of packages, named as mmdebstrap(1) and debootstrap(8) do; [`Variant::System`] is redd's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord)]
pub enum Variant {
    /// Nothing but what is included by name.
    Custom,
    /// What every installation has.
    Essential,
    /// That and apt.
    Apt,
    /// That and all of priority `required`.
    Minbase,
    /// That and the tools to build packages.
    Buildd,
    /// A small system that boots: `required` and `important`, systemd as its init, D-Bus, logins, apt.
    #[default]
    System,
    /// All of priority `required` and `important`, and apt.
    Important,
    /// All of priority `required`, `important` and `standard`, and apt.
    Standard,
}

/// The name is no variant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a variant: system, essential, apt, minbase, buildd, important, standard, custom")]
pub struct Unknown(String);

impl FromStr for Variant {
    type Err = Unknown;

    fn from_str(name: &str) -> Result<Self, Unknown> {
        Ok(match name {
            "custom" | "extract" => Self::Custom,
            "essential" => Self::Essential,
            "apt" => Self::Apt,
            "minbase" | "required" => Self::Minbase,
            "buildd" => Self::Buildd,
            "system" => Self::System,
            "important" | "debootstrap" | "-" => Self::Important,
            "standard" => Self::Standard,
            other => return Err(Unknown(other.to_owned())),
        })
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Custom => "custom",
            Self::Essential => "essential",
            Self::Apt => "apt",
            Self::Minbase => "minbase",
            Self::Buildd => "buildd",
            Self::System => "system",
            Self::Important => "important",
            Self::Standard => "standard",
        })
    }
}

impl Variant {
    /// The names of the packages it begins with; what they depend on comes by itself.
    pub fn packages(self, available: &[Package]) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        if self == Self::Custom {
            return names;
        }
        let priorities: &[&str] = match self {
            Self::Custom | Self::Essential | Self::Apt => &[],
            Self::Minbase | Self::Buildd => &["required"],
            Self::System | Self::Important => &["required", "important"],
            Self::Standard => &["required", "important", "standard"],
        };
        for package in available {
            // Looking the priority up costs a look at the whole paragraph.
            if package.is_essential() || (!priorities.is_empty() && priorities.contains(&package.priority())) {
                names.insert(package.name().to_owned());
            }
        }
        let more: &[&str] = match self {
            Self::Custom | Self::Essential => &[],
            Self::Buildd => &["apt", "build-essential"],
            Self::System => &["apt", "systemd", "systemd-sysv", "dbus", "libpam-systemd"],
            _ => &["apt"],
        };
        names.extend(more.iter().map(|name| (*name).to_owned()));
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for variant in [Variant::Custom, Variant::Essential, Variant::Apt, Variant::Minbase, Variant::Buildd] {
            assert_eq!(variant.to_string().parse(), Ok(variant));
        }
        for variant in [Variant::System, Variant::Important, Variant::Standard] {
            assert_eq!(variant.to_string().parse(), Ok(variant));
        }
        assert!("".parse::<Variant>().is_err());
    }

    #[test]
    fn each_has_more_than_the_one_before() {
        let packages: Vec<Package> = ["required", "important", "standard", "optional"]
            .iter()
            .map(|priority| {
                Package::parse(&format!("Package: {priority}\nVersion: 1\nArchitecture: all\nPriority: {priority}\n"))
                    .unwrap()
            })
            .chain([Package::parse("Package: base\nVersion: 1\nArchitecture: all\nEssential: yes\n").unwrap()])
            .collect();
        let count = |variant: Variant| variant.packages(&packages).len();
        assert_eq!(count(Variant::Custom), 0);
        assert_eq!(count(Variant::Essential), 1);
        assert_eq!(count(Variant::Apt), 2);
        assert_eq!(count(Variant::Minbase), 3);
        assert_eq!(count(Variant::Important), 4);
        assert_eq!(count(Variant::Standard), 5);
        assert!(!Variant::Standard.packages(&packages).contains("optional"));
        assert!(Variant::System.packages(&packages).contains("systemd-sysv"));
    }
}
