//! With what the owner of a key is trusted, and the lists that say so.

/// With what the owner of a key is trusted: to certify other people's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OwnerTrust {
    /// With nothing, as nothing is said.
    Undefined,
    /// With nothing, as is said.
    Never,
    /// With a part: several of these are needed.
    Marginal,
    /// With everything.
    Full,
    /// It is one's own key.
    Ultimate,
}

/// A line of a list means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is neither a fingerprint nor one with an owner's trust")]
pub struct NoOwnerTrust(pub String);

impl OwnerTrust {
    /// What a number of GnuPG's means; the bits of flags are not looked at.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        match number & 0x0f {
            0 | 2 => Some(Self::Undefined),
            3 => Some(Self::Never),
            4 => Some(Self::Marginal),
            5 => Some(Self::Full),
            6 => Some(Self::Ultimate),
            _ => None,
        }
    }
}

/// The lines that say something: neither empty nor comments.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()).filter(|line| !line.is_empty())
}

fn fingerprint(text: &str) -> Option<String> {
    let is_one = matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_one.then(|| text.to_uppercase())
}

/// The keys of a list as `gpg --export-ownertrust` writes it: `FINGERPRINT:NUMBER:`.
pub(super) fn trusted(text: &str) -> Result<Vec<(String, OwnerTrust)>, NoOwnerTrust> {
    let read = |line: &str| {
        let mut fields = line.split(':');
        let key = fields.next().and_then(fingerprint)?;
        let trust = fields.next()?.parse().ok().and_then(OwnerTrust::from_number)?;
        Some((key, trust))
    };
    lines(text).map(|line| read(line).ok_or_else(|| NoOwnerTrust(line.to_owned()))).collect()
}

/// The keys of a list of fingerprints.
pub(super) fn revoked(text: &str) -> Result<Vec<String>, NoOwnerTrust> {
    lines(text).map(|line| fingerprint(line).ok_or_else(|| NoOwnerTrust(line.to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read() {
        let key = "2ac0a42efb0b5cbc7a0402ed4dc95b6d7be9892e";
        let upper = key.to_uppercase();
        assert_eq!(
            trusted(&format!("# comment\n\n{key}:4:\n{key}:6:\n")),
            Ok(vec![(upper.clone(), OwnerTrust::Marginal), (upper.clone(), OwnerTrust::Ultimate)])
        );
        assert_eq!(revoked(&format!("{key}\n{key} # who\n")), Ok(vec![upper.clone(), upper]));
        for bad in ["x", &key[1..], &format!("{key}:"), &format!("{key}:x:"), &format!("{key}:9:")] {
            assert_eq!(trusted(bad), Err(NoOwnerTrust(bad.to_owned())), "{bad}");
        }
        assert!(revoked(&format!("{key}:4:")).is_err());
    }
}
