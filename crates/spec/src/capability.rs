//! Capabilities by the kernel's names, see capabilities(7).

use std::fmt::{self, Display, Formatter};

use serde::{Serialize, Serializer};

/// The names, in the order of the kernel's numbers.
pub const CAPABILITY_NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// What a container keeps where nothing else is said (systemd-nspawn(1), `--capability=`).
const DEFAULT: [&str; 26] = [
    "CAP_AUDIT_CONTROL",
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_IPC_OWNER",
    "CAP_KILL",
    "CAP_LEASE",
    "CAP_LINUX_IMMUTABLE",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_CHROOT",
    "CAP_SYS_NICE",
    "CAP_SYS_PTRACE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TTY_CONFIG",
];

/// A set of capabilities, one bit for each of the kernel's numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CapabilitySet(u64);

impl CapabilitySet {
    /// None.
    pub const EMPTY: Self = Self(0);
    /// All, also those that only newer kernels know.
    pub const ALL: Self = Self(u64::MAX);

    /// What a container keeps where nothing else is said.
    #[must_use]
    pub fn container_default() -> Self {
        DEFAULT.iter().filter_map(|name| Self::named(name)).fold(Self::EMPTY, Self::union)
    }

    /// The set with one capability, given by name (with or without `CAP_`, in any case) or number.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        if let Ok(number) = name.parse::<u32>() {
            return (number < 63).then(|| Self(1 << number));
        }
        let upper = name.to_ascii_uppercase();
        let number = CAPABILITY_NAMES.iter().position(|known| *known == upper)?;
        Some(Self(1 << number))
    }

    /// The bits, as the kernel numbers them.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Both together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The set without the other.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether the capability with this number is in the set.
    #[must_use]
    pub const fn has(self, number: u32) -> bool {
        number < 64 && self.0 & (1 << number) != 0
    }
}

impl Display for CapabilitySet {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if *self == Self::ALL {
            return f.write_str("all");
        }
        let known = CAPABILITY_NAMES.iter().enumerate().filter(|(number, _)| self.has(*number as u32));
        let names: Vec<_> = known.map(|(_, name)| *name).collect();
        f.write_str(&names.join(","))
    }
}

impl Serialize for CapabilitySet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_what_the_manual_lists() {
        assert_eq!(CapabilitySet::container_default().bits(), 0xfdec_afff & !(1 << 24) | 1 << 24);
    }

    #[test]
    fn names_in_any_case_and_numbers() {
        assert_eq!(CapabilitySet::named("cap_sys_admin"), CapabilitySet::named("21"));
        assert_eq!(CapabilitySet::named("CAP_NONE"), None);
        assert_eq!(CapabilitySet::named("64"), None);
    }
}
