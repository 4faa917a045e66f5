//! The keys of a distribution: three masters, a packager whom they vouch for, and the keyring of a host that trusts the masters.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::work::{BUILDER, as_builder, done, shown};

/// The masters.
const MASTERS: [&str; 3] = ["first@masters.test", "second@masters.test", "third@masters.test"];

/// Who signs packages and databases.
pub(super) const PACKAGER: &str = "packager@testing.test";

/// A directory of GnuPG with secret keys that are not protected.
#[derive(Debug)]
pub(super) struct Keys {
    home: PathBuf,
}

impl Keys {
    /// Makes the keys in a new directory, which belongs to whoever builds packages.
    pub(super) fn make(home: &Path) -> Self {
        let keys = Self::at(home);
        for name in MASTERS.iter().chain([&PACKAGER]) {
            keys.gpg(&["--passphrase", "", "--quick-generate-key", name, "ed25519", "default", "never"]);
        }
        let packager = keys.fingerprint(PACKAGER);
        for master in MASTERS {
            keys.gpg(&["--yes", "--local-user", master, "--quick-sign-key", &packager]);
        }
        keys
    }

    /// The keys that were made before, copied to a directory of the same owner.
    pub(super) fn copied(from: &Path, home: &Path) -> Self {
        let keys = Self::at(home);
        done(Command::new("cp").args(["-rT"]).arg(from).arg(home));
        done(Command::new("chown").arg("-R").arg(format!("{BUILDER}:{BUILDER}")).arg(home));
        keys
    }

    fn at(home: &Path) -> Self {
        fs::create_dir(home).expect("directory");
        fs::set_permissions(home, fs::Permissions::from_mode(0o700)).expect("mode");
        std::os::unix::fs::chown(home, Some(BUILDER), Some(BUILDER)).expect("owner");
        Self { home: home.to_owned() }
    }

    pub(super) fn home(&self) -> &Path {
        &self.home
    }

    /// Runs gpg(1) as the builder, who owns the keys.
    pub(super) fn gpg(&self, words: &[&str]) -> String {
        let mut command = as_builder("gpg", &self.home);
        shown(command.args(["--homedir"]).arg(&self.home).args(["--batch", "--quiet", "--no-tty"]).args(words))
    }

    fn fingerprint(&self, name: &str) -> String {
        let text = self.gpg(&["--with-colons", "--fingerprint", name]);
        let line = text.lines().find(|line| line.starts_with("fpr:")).expect("a fingerprint");
        line.split(':').nth(9).expect("a fingerprint").to_owned()
    }

    /// Writes what a package with a keyring has: the certificates, which of them are masters, and who is no longer trusted.
    pub(super) fn publish(&self, directory: &Path) {
        let mut export = as_builder("gpg", &self.home);
        let certificates = done(export.arg("--homedir").arg(&self.home).args(["--batch", "--export"])).stdout;
        fs::write(directory.join("testing.gpg"), certificates).expect("file");
        let trusted: String = MASTERS.iter().map(|name| format!("{}:4:\n", self.fingerprint(name))).collect();
        fs::write(directory.join("testing-trusted"), trusted).expect("file");
        fs::write(directory.join("testing-revoked"), "").expect("file");
    }

    /// The keyring of a host: made by the real pacman-key(8), which signs the masters' keys with one of its own.
    pub(super) fn host_keyring(published: &Path, keyring: &Path) {
        let pacman_key = || {
            let mut command = Command::new("pacman-key");
            command.arg("--gpgdir").arg(keyring);
            command
        };
        done(pacman_key().arg("--init"));
        done(pacman_key().arg("--add").arg(published.join("testing.gpg")));
        for master in MASTERS {
            done(pacman_key().args(["--lsign-key", master]));
        }
        let mut trust = Command::new("gpg");
        trust.arg("--homedir").arg(keyring).args(["--batch", "--quiet", "--import-ownertrust"]);
        done(trust.arg(published.join("testing-trusted")));
        done(pacman_key().arg("--updatedb"));
        end_agents(keyring);
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        end_agents(&self.home);
    }
}

/// Programs of GnuPG that stay, for one directory.
fn end_agents(home: &Path) {
    let ended = Command::new("gpgconf").arg("--homedir").arg(home).args(["--kill", "all"]).output();
    assert!(ended.is_ok_and(|output| output.status.success()), "gpgconf cannot end the agents of {}", home.display());
}
