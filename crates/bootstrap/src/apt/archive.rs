//! What a source offers: its verified packages, and their files.
//!
//! The steps, in this order: [`Archive::open`] (fetch and verify), choose from [`Archive::packages`], download the files.

use super::package::Package;
use super::source::Source;

/// A source whose release file and indices have been fetched and verified.
#[derive(Debug, Clone)]
pub struct Archive {
    source: Source,
    packages: Vec<Package>,
}

impl Archive {
    /// Packages said to come from a source, without a look at it.
    pub fn from_packages(source: Source, packages: Vec<Package>) -> Self {
        Self { source, packages }
    }

    /// Where the packages come from.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The packages of all components, for the source's architecture and for `all`. A name can occur more than once,
    /// in several versions.
    pub fn packages(&self) -> &[Package] {
        &self.packages
    }
}
