//! Families of sockets, and which of them may be used (`--restrict-address-families=`).

use serde::{Serialize, Serializer};

/// The names, as in `<linux/socket.h>`; where a number has several the usual one comes first.
const NAMES: &[(&str, u8)] = &[
    ("AF_UNSPEC", 0),
    ("AF_UNIX", 1),
    ("AF_LOCAL", 1),
    ("AF_FILE", 1),
    ("AF_INET", 2),
    ("AF_AX25", 3),
    ("AF_IPX", 4),
    ("AF_APPLETALK", 5),
    ("AF_NETROM", 6),
    ("AF_BRIDGE", 7),
    ("AF_ATMPVC", 8),
    ("AF_X25", 9),
    ("AF_INET6", 10),
    ("AF_ROSE", 11),
    ("AF_DECnet", 12),
    ("AF_NETBEUI", 13),
    ("AF_SECURITY", 14),
    ("AF_KEY", 15),
    ("AF_NETLINK", 16),
    ("AF_ROUTE", 16),
    ("AF_PACKET", 17),
    ("AF_ASH", 18),
    ("AF_ECONET", 19),
    ("AF_ATMSVC", 20),
    ("AF_RDS", 21),
    ("AF_SNA", 22),
    ("AF_IRDA", 23),
    ("AF_PPPOX", 24),
    ("AF_WANPIPE", 25),
    ("AF_LLC", 26),
    ("AF_IB", 27),
    ("AF_MPLS", 28),
    ("AF_CAN", 29),
    ("AF_TIPC", 30),
    ("AF_BLUETOOTH", 31),
    ("AF_IUCV", 32),
    ("AF_RXRPC", 33),
    ("AF_ISDN", 34),
    ("AF_PHONET", 35),
    ("AF_IEEE802154", 36),
    ("AF_CAIF", 37),
    ("AF_ALG", 38),
    ("AF_NFC", 39),
    ("AF_VSOCK", 40),
    ("AF_KCM", 41),
    ("AF_QIPCRTR", 42),
    ("AF_SMC", 43),
    ("AF_XDP", 44),
    ("AF_MCTP", 45),
];

/// A set of families, one bit for each of the kernel's numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FamilySet(u64);

impl FamilySet {
    /// The set with the family of this name, such as `AF_INET`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, number)| Self(1 << number))
    }

    /// One bit for each of the kernel's numbers.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Both together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in both.
    #[must_use]
    pub const fn both(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The names of its families.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        (0..64)
            .filter(move |number| self.0 & (1 << number) != 0)
            .filter_map(|number: u8| NAMES.iter().find(|(_, known)| *known == number).map(|(name, _)| *name))
    }
}

impl Serialize for FamilySet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.names())
    }
}

/// Which families may be used. Where nothing is said, all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AddressFamilies {
    /// These alone; all where absent.
    pub allow: Option<FamilySet>,
    /// Not these, whatever `allow` says.
    pub deny: FamilySet,
}

impl AddressFamilies {
    /// Nothing is restricted.
    #[must_use]
    pub fn is_open(&self) -> bool {
        *self == Self::default()
    }

    /// What either of them refuses is refused, and at most one of them has a list of what is allowed.
    pub(crate) fn beside(self, other: Self) -> Self {
        Self { allow: self.allow.or(other.allow), deny: self.deny.union(other.deny) }
    }

    /// The values of the option that say the same.
    pub(crate) fn values(self) -> Vec<String> {
        let names = |set: FamilySet| set.names().collect::<Vec<_>>().join(" ");
        let allowed = self.allow.map(|set| match set == FamilySet::default() {
            true => "none".to_owned(),
            false => names(set),
        });
        let denied = Some(self.deny).filter(|set| *set != FamilySet::default());
        allowed.into_iter().chain(denied.map(|set| format!("~{}", names(set)))).collect()
    }

    /// Takes one more value of the option: names with spaces between them, `~` in front of names that are denied, `none`
    /// for an allow list without any; the empty value takes back all that was said.
    ///
    /// # Errors
    /// The word that is no family.
    pub(crate) fn add<'a>(&mut self, text: &'a str) -> Result<(), &'a str> {
        if text.trim().is_empty() {
            *self = Self::default();
            return Ok(());
        }
        if text.trim() == "none" {
            self.allow.get_or_insert_default();
            return Ok(());
        }
        let (deny, names) = text.strip_prefix('~').map_or((false, text), |names| (true, names));
        let mut set = FamilySet::default();
        for name in names.split_whitespace() {
            set = set.union(FamilySet::named(name).ok_or(name)?);
        }
        if deny {
            self.deny = self.deny.union(set);
        } else {
            self.allow = Some(self.allow.unwrap_or_default().union(set));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> (Option<Vec<&'static str>>, Vec<&'static str>) {
        let mut all = AddressFamilies::default();
        for value in values {
            all.add(value).expect("families");
        }
        (all.allow.map(|set| set.names().collect()), all.deny.names().collect())
    }

    #[test]
    fn lists_are_combined_and_the_empty_value_takes_them_back() {
        assert_eq!(read(&["AF_INET AF_UNIX", "AF_LOCAL"]), (Some(vec!["AF_UNIX", "AF_INET"]), vec![]));
        assert_eq!(read(&["~AF_PACKET", "AF_PACKET AF_INET"]).1, ["AF_PACKET"]);
        assert_eq!(read(&["none"]), (Some(vec![]), vec![]));
        assert_eq!(read(&["none", "AF_INET6"]), (Some(vec!["AF_INET6"]), vec![]));
        assert_eq!(read(&["AF_INET", "~AF_KEY", ""]), (None, vec![]));
    }

    #[test]
    fn words_that_are_none_are_named() {
        for (value, word) in
            [("AF_INET foo", "foo"), ("~inet", "inet"), ("AF_INET,AF_UNIX", "AF_INET,AF_UNIX"), ("2", "2")]
        {
            assert_eq!(AddressFamilies::default().add(value), Err(word));
        }
    }
}
