//! In which order packages are unpacked and configured.
//!
//! The numbers of users and groups, the order of lines in files that many packages write, and what a script finds
//! depend on it. It is that of apt, see [`super::ask_apt`]; in a tree without apt, essential packages come first and
//! dependencies before what needs them.

use std::collections::{BTreeSet, HashSet};

use super::resolve::{self, closure};
use super::unpack::Item;

/// What is done with one package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It is unpacked, which is when its `preinst` runs.
    Unpack(String),
    /// It is configured.
    Configure(String),
}

impl Step {
    fn unpacks(&self) -> Option<&str> {
        match self {
            Self::Unpack(name) => Some(name),
            Self::Configure(_) => None,
        }
    }
}

/// The order for a whole installation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Order {
    /// The essential packages and what they depend on: unpacked in this order, then configured in this order.
    pub essential: Vec<String>,
    /// What is done with the others after that. In the end all that is not configured yet is, as dpkg likes.
    pub rest: Vec<Step>,
}

impl Order {
    /// The order of a tree in which there is nobody to ask.
    ///
    /// # Errors
    /// A relation that cannot be read.
    pub fn own(items: &[Item]) -> Result<Self, resolve::Error> {
        let chosen: Vec<_> = items.iter().map(|item| &item.package).collect();
        let essential = closure(&chosen, |package| package.is_essential())?;
        let mut order = Self::default();
        for package in chosen {
            let name = package.name().to_owned();
            if essential.contains(&*name) { order.essential.push(name) } else { order.rest.push(Step::Unpack(name)) }
        }
        Ok(order)
    }

    /// The order that apt gives: what it says of the essential packages, and of the others afterwards. Packages of which
    /// it says nothing are unpacked last.
    #[must_use]
    pub fn of_apt(essential: &str, rest: &str, items: &[Item]) -> Self {
        let mut left: HashSet<&str> = items.iter().map(|item| item.package.name()).collect();
        let mut order = Self::default();
        for step in steps(essential) {
            if let Step::Unpack(name) = step
                && left.remove(&*name)
            {
                order.essential.push(name);
            }
        }
        let mut unpacked = HashSet::new();
        let mut rest = steps(rest);
        // After the last package is unpacked dpkg is told to configure all, and orders that itself.
        let end = rest.iter().rposition(|step| matches!(step, Step::Unpack(_))).map_or(0, |last| last + 1);
        rest.truncate(end);
        for step in rest {
            match &step {
                Step::Unpack(name) if left.remove(&**name) => {
                    unpacked.insert(name.clone());
                }
                Step::Configure(name) if unpacked.remove(name) => {}
                _ => continue,
            }
            order.rest.push(step);
        }
        let forgotten = items.iter().map(|item| item.package.name()).filter(|name| left.contains(name));
        order.rest.extend(forgotten.map(|name| Step::Unpack(name.to_owned())));
        order
    }

    /// The packages that are neither essential, nor needed by those, nor wanted by name.
    #[must_use]
    pub fn automatic<'a>(&'a self, wanted: &BTreeSet<String>) -> BTreeSet<&'a str> {
        let rest = self.rest.iter().filter_map(Step::unpacks);
        rest.filter(|name| !wanted.contains(*name)).collect()
    }

    /// All packages in the order in which they are unpacked.
    pub fn unpacked(&self) -> impl Iterator<Item = &str> {
        self.essential.iter().map(|name| &**name).chain(self.rest.iter().filter_map(Step::unpacks))
    }
}

/// The steps of which `apt-get --simulate` tells.
fn steps(text: &str) -> Vec<Step> {
    let step = |line: &str| {
        let mut words = line.split(' ');
        let (verb, name) = (words.next()?, words.next()?);
        let name = name.split(':').next().unwrap_or(name).to_owned();
        match verb {
            "Inst" => Some(Step::Unpack(name)),
            "Conf" => Some(Step::Configure(name)),
            _ => None,
        }
    };
    text.lines().filter_map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apt::package::Package;

    fn item(text: &str) -> Item {
        let text = format!("{text}\nVersion: 1\nArchitecture: amd64\n");
        Item { package: Package::parse(&text).unwrap(), file: "/none".into() }
    }

    fn items() -> Vec<Item> {
        [
            "Package: libc",
            "Package: sh\nEssential: yes\nDepends: libc",
            "Package: adduser",
            "Package: cron",
            "Package: z",
        ]
        .map(item)
        .to_vec()
    }

    #[test]
    fn what_apt_says_is_done() {
        let first = "NOTE: only a simulation\nInst libc (1 here [amd64])\nInst sh (1)\nConf libc (1)\nConf sh (1)\n";
        let second = "Inst adduser (1 localhost [all])\nConf adduser (1)\nInst cron:amd64 (1)\nConf cron (1)\nInst other (1)\nConf unknown (1)\n";
        let order = Order::of_apt(first, second, &items());
        let unpack = |name: &str| Step::Unpack(name.to_owned());
        let configure = |name: &str| Step::Configure(name.to_owned());
        assert_eq!(order.essential, ["libc", "sh"]);
        assert_eq!(
            order.rest,
            [unpack("adduser"), configure("adduser"), unpack("cron"), configure("cron"), unpack("z")]
        );
        assert_eq!(order.unpacked().collect::<Vec<_>>(), ["libc", "sh", "adduser", "cron", "z"]);
    }

    #[test]
    fn what_comes_after_the_last_package_is_for_dpkg_to_order() {
        let second = "Inst adduser (1)\nInst cron (1)\nConf cron (1)\nConf adduser (1)\n";
        let order = Order::of_apt("Inst libc (1)\nInst sh (1)\n", second, &items()[..4]);
        assert_eq!(order.rest, ["adduser", "cron"].map(|name| Step::Unpack(name.to_owned())));
    }

    #[test]
    fn without_apt_the_essential_ones_come_first() {
        let order = Order::own(&items()).unwrap();
        assert_eq!(order.essential, ["libc", "sh"]);
        assert_eq!(order.unpacked().collect::<Vec<_>>(), ["libc", "sh", "adduser", "cron", "z"]);
        assert!(order.rest.iter().all(|step| matches!(step, Step::Unpack(_))));
    }
}
