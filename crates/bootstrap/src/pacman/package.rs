//! What is known of a package.

use super::dependency::Dependency;
use super::version::Version;
use crate::digest::Sha256;

/// A package as it describes itself: in a repository's database, in the `.PKGINFO` of its file, in the database of
/// what is installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: Version,
    /// What it was built from together with others; empty where that is not said.
    pub base: String,
    /// What it is, in a line.
    pub description: String,
    /// Where it comes from.
    pub url: String,
    /// Its licences.
    pub licenses: Vec<String>,
    /// The groups it belongs to.
    pub groups: Vec<String>,
    /// The architecture it is for, or `any`.
    pub architecture: String,
    /// When it was built, in seconds since the epoch.
    pub build_date: i64,
    /// Who built it.
    pub packager: String,
    /// How much room it needs installed, in bytes.
    pub installed_size: u64,
    /// What it needs.
    pub depends: Vec<Dependency>,
    /// What it can make use of, as it is written: `NAME: REASON`. It decides nothing.
    pub optional_depends: Vec<String>,
    /// What it can stand for.
    pub provides: Vec<Dependency>,
    /// What cannot be installed beside it.
    pub conflicts: Vec<Dependency>,
    /// What it takes the place of in an upgrade.
    pub replaces: Vec<Dependency>,
    /// The files that keep what was changed in them, without a leading slash.
    pub backup: Vec<String>,
    /// `key=value` of `xdata`.
    pub extended_data: Vec<String>,
}

impl Package {
    /// A package of which no more is known.
    #[must_use]
    pub fn new(name: &str, version: Version) -> Self {
        Self {
            name: name.to_owned(),
            version,
            base: String::new(),
            description: String::new(),
            url: String::new(),
            licenses: Vec::new(),
            groups: Vec::new(),
            architecture: String::new(),
            build_date: 0,
            packager: String::new(),
            installed_size: 0,
            depends: Vec::new(),
            optional_depends: Vec::new(),
            provides: Vec::new(),
            conflicts: Vec::new(),
            replaces: Vec::new(),
            backup: Vec::new(),
            extended_data: Vec::new(),
        }
    }

    /// Whether it meets a dependency, by its name or by what it provides.
    #[must_use]
    pub fn meets(&self, dependency: &Dependency) -> bool {
        dependency.is_met_by_name(&self.name, &self.version)
            || self.provides.iter().any(|provision| dependency.is_met_by_provision(provision))
    }
}

impl AsRef<Package> for Package {
    fn as_ref(&self) -> &Package {
        self
    }
}

impl AsRef<Package> for Candidate {
    fn as_ref(&self) -> &Package {
        &self.package
    }
}

/// A package that a repository offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The package.
    pub package: Package,
    /// The repository's place in the configuration, from 0.
    pub repository: usize,
    /// The name of its file.
    pub file_name: String,
    /// How large that is, in bytes.
    pub compressed_size: u64,
    /// Its hash, where the database has it.
    pub sha256: Option<Sha256>,
    /// The detached signature, where the database has it (pacman 7 fetches it beside the package).
    pub signature: Option<Vec<u8>>,
}
