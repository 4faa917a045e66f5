//! Which signatures are asked for: `SigLevel`, see pacman.conf(5).

/// Whether something has to be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// Signatures are not looked at.
    Never,
    /// One that is there has to be good.
    Optional,
    /// There has to be a good one.
    Required,
}

/// Whose signatures do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Keys that the keyring trusts, by its own signatures.
    TrustedOnly,
    /// Any key of the keyring.
    TrustAll,
}

/// What is asked of one kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// Whether it has to be signed.
    pub check: Check,
    /// By whom.
    pub trust: Trust,
}

/// What is asked of a repository's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SigLevel {
    /// Of packages.
    pub package: Demand,
    /// Of databases.
    pub database: Demand,
}

/// An unknown word.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no signature level")]
pub struct Error(pub String);

impl Default for SigLevel {
    /// `Required DatabaseOptional TrustedOnly`: what pacman does if nothing is said.
    fn default() -> Self {
        let demand = |check| Demand { check, trust: Trust::TrustedOnly };
        Self { package: demand(Check::Required), database: demand(Check::Optional) }
    }
}

impl SigLevel {
    /// Changes it by words such as `Required`, `DatabaseOptional`, `PackageTrustAll`, in their order.
    ///
    /// # Errors
    /// The first word that is none of these.
    pub fn apply<'a>(&mut self, words: impl IntoIterator<Item = &'a str>) -> Result<(), Error> {
        for word in words {
            let (package, database, level) = match (word.strip_prefix("Package"), word.strip_prefix("Database")) {
                (Some(level), _) => (true, false, level),
                (_, Some(level)) => (false, true, level),
                _ => (true, true, word),
            };
            let change: fn(&mut Demand) = match level {
                "Never" => |demand| demand.check = Check::Never,
                "Optional" => |demand| demand.check = Check::Optional,
                "Required" => |demand| demand.check = Check::Required,
                "TrustedOnly" => |demand| demand.trust = Trust::TrustedOnly,
                "TrustAll" => |demand| demand.trust = Trust::TrustAll,
                _ => return Err(Error(word.to_owned())),
            };
            if package {
                change(&mut self.package);
            }
            if database {
                change(&mut self.database);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_change_what_they_name() {
        let mut level = SigLevel::default();
        level.apply("Optional PackageTrustAll DatabaseNever".split(' ')).unwrap();
        assert_eq!(level.package, Demand { check: Check::Optional, trust: Trust::TrustAll });
        assert_eq!(level.database, Demand { check: Check::Never, trust: Trust::TrustedOnly });
        assert_eq!(level.apply(["required"]), Err(Error("required".to_owned())));
    }
}
