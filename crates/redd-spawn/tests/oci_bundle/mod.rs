//! A bundle of a test's own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use testkit::{Ended, Engine, Spawn, fixture};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_redd-spawn");

/// A bundle with a tree of its own beside it, `rootfs`.
pub(crate) struct Bundle {
    directory: fixture::Tree,
}

impl Bundle {
    pub(crate) fn new() -> Self {
        let bundle = Self { directory: fixture::empty() };
        std::fs::create_dir(bundle.tree()).expect("directory");
        fixture::tree_at(&bundle.tree());
        bundle
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn tree(&self) -> PathBuf {
        self.path().join("rootfs")
    }

    /// Unlike any other test's.
    pub(crate) fn machine(&self) -> String {
        self.directory.name()
    }

    /// Writes the configuration.
    pub(crate) fn write(&self, document: &str) {
        std::fs::write(self.path().join("config.json"), document).expect("configuration");
    }

    /// Runs it.
    pub(crate) fn start(&self, options: &[&str]) -> Ended {
        Spawn::new(&Engine::Redd(BINARY.into()))
            .args(["-q", "-M", &self.machine(), "--oci-bundle"])
            .arg(self.path())
            .args(options)
            .limit(Duration::from_secs(60))
            .run()
    }
}
