//! Version numbers of Debian packages, see deb-version(7).
//!
//! Our own comparison, because an index holds tens of thousands of versions and the ones that crates offer build
//! regular expressions and big integers for each of them.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// Why a text is no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a version: {reason}")]
pub struct Error {
    text: String,
    reason: &'static str,
}

/// A version, ordered as dpkg orders it. Kept as it was written; versions that are written differently can be equal
/// (`1.0` and `0:1.0-0`).
#[derive(Clone)]
pub struct Version {
    text: Box<str>,
    epoch: u32,
    /// Where the upstream version begins.
    upstream: u32,
    /// Where the upstream version ends: at the last hyphen or at the end of the text.
    revision: u32,
}

impl Version {
    /// The version as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn upstream(&self) -> &[u8] {
        &self.text.as_bytes()[self.upstream as usize..self.revision as usize]
    }

    fn revision(&self) -> &[u8] {
        self.text.as_bytes().get(self.revision as usize + 1..).unwrap_or_default()
    }
}

impl FromStr for Version {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let error = |reason| Error { text: text.chars().take(80).collect(), reason };
        let (epoch, upstream) = match text.split_once(':') {
            Some((epoch, _)) => {
                if epoch.is_empty() || !epoch.bytes().all(|b| b.is_ascii_digit()) {
                    return Err(error("the epoch is not a number"));
                }
                (epoch.parse().map_err(|_| error("the epoch is too large"))?, epoch.len() + 1)
            }
            None => (0, 0),
        };
        let revision = text[upstream..].rfind('-').map_or(text.len(), |at| upstream + at);
        if revision == upstream {
            return Err(error("the upstream version is empty"));
        }
        if u32::try_from(text.len()).is_err() {
            return Err(error("it is too long"));
        }
        if !text[upstream..].bytes().all(|b| b.is_ascii_alphanumeric() || b".+-:~_".contains(&b)) {
            return Err(error("it has characters that no version has"));
        }
        Ok(Self { text: text.into(), epoch, upstream: upstream as u32, revision: revision as u32 })
    }
}

/// A character's weight: a tilde sorts before the end, letters before everything else.
fn weight(byte: Option<&u8>) -> i32 {
    match byte {
        Some(b'~') => -1,
        None => 0,
        Some(b) if b.is_ascii_digit() => 0,
        Some(b) if b.is_ascii_alphabetic() => i32::from(*b),
        Some(b) => i32::from(*b) + 256,
    }
}

fn compare_part(mut a: &[u8], mut b: &[u8]) -> Ordering {
    let digit = |part: &[u8]| part.first().is_some_and(u8::is_ascii_digit);
    while !a.is_empty() || !b.is_empty() {
        while (!a.is_empty() && !digit(a)) || (!b.is_empty() && !digit(b)) {
            match weight(a.first()).cmp(&weight(b.first())) {
                Ordering::Equal => {}
                different => return different,
            }
            a = a.get(1..).unwrap_or_default();
            b = b.get(1..).unwrap_or_default();
        }
        let (number_a, rest_a) = take_number(a);
        let (number_b, rest_b) = take_number(b);
        match number_a.len().cmp(&number_b.len()).then_with(|| number_a.cmp(number_b)) {
            Ordering::Equal => (a, b) = (rest_a, rest_b),
            different => return different,
        }
    }
    Ordering::Equal
}

/// The digits in front, without leading zeroes, and what follows them.
fn take_number(part: &[u8]) -> (&[u8], &[u8]) {
    let end = part.iter().position(|b| !b.is_ascii_digit()).unwrap_or(part.len());
    let (number, rest) = part.split_at(end);
    let zeroes = number.iter().take_while(|b| **b == b'0').count();
    (&number[zeroes..], rest)
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.epoch
            .cmp(&other.epoch)
            .then_with(|| compare_part(self.upstream(), other.upstream()))
            .then_with(|| compare_part(self.revision(), other.revision()))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Version {}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Version({})", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn ascending() {
        let ordered = [
            "0~~",
            "0~~a",
            "0~",
            "0",
            "0a",
            "0+",
            "1.0~rc1-1",
            "1.0-1",
            "1.0-1~bpo1",
            "1.0-1+b1",
            "1.0-2",
            "1.0a-1",
            "1.0.1-1",
            "1.2-1",
            "1.9-1",
            "1.10-1",
            "1.10-10",
            "9",
            "1:0.1",
            "2:0",
        ];
        // "1.0-1~bpo1" sorts before "1.0-1": kept out of order above on purpose, so that the sort has work to do.
        let mut sorted: Vec<_> = ordered.iter().map(|v| version(v)).collect();
        sorted.sort();
        let mut expected = ordered.to_vec();
        expected.swap(7, 8);
        assert_eq!(sorted.iter().map(Version::as_str).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn equal_though_written_differently() {
        assert_eq!(version("1.0"), version("0:1.0-0"));
        assert_eq!(version("1.00"), version("1.0"));
        assert_eq!(version("1.0-00"), version("1.0"));
        assert_eq!(version("1-2-3").revision(), b"3");
    }

    #[test]
    fn refused() {
        for text in ["", ":1", "a:1", "1:", "-1", "1:-1", "1 2", "1/2", "ä", "99999999999:1"] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,20}") {
            let _ = text.parse::<Version>();
        }

        #[test]
        fn is_a_total_order(a in "[0-9~a-c.+-]{1,6}", b in "[0-9~a-c.+-]{1,6}", c in "[0-9~a-c.+-]{1,6}") {
            if let (Ok(a), Ok(b), Ok(c)) = (a.parse::<Version>(), b.parse::<Version>(), c.parse::<Version>()) {
                prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
                if a <= b && b <= c {
                    prop_assert!(a <= c);
                }
            }
        }
    }
}
