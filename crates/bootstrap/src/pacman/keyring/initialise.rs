//! A new keyring, as `pacman-key --init` makes it: with a key of its own, which is trusted ultimately, and no other.

use std::time::SystemTime;

use super::master_key::{MasterKey, USER_HASH};
use super::{Error, new_directory, trust_database};
use crate::tree::Tree;
use crate::trust::seconds;

/// How GnuPG is to behave in it.
const CONFIGURATION: &str = "\
no-greeting
no-permission-warning
lock-never
keyserver-options timeout=10
keyserver-options import-clean
keyserver-options no-self-sigs-only
";
/// How GnuPG's agent is to behave in it.
const AGENT: &str = "disable-scdaemon\n";

/// Makes a new keyring at `path` in a tree (without a slash in front), unless something is there; says whether it did.
/// GnuPG is not needed for it, and nothing of the tree runs.
///
/// # Errors
/// Where it cannot be written.
pub fn initialise(tree: &Tree, path: &str, now: SystemTime) -> Result<bool, Error> {
    new_directory::make(tree, path, |part| fill(tree, part, now))
}

fn fill(tree: &Tree, path: &str, now: SystemTime) -> Result<(), Error> {
    let now =
        u32::try_from(seconds(now)).map_err(|_| Error::Key("this machine's clock is too far ahead".to_owned()))?;
    let key = MasterKey::generate(now).map_err(|e| Error::Key(e.to_string()))?;
    let fingerprint: String = key.fingerprint.iter().map(|byte| format!("{byte:02X}")).collect();
    new_directory::subdirectory(tree, &format!("{path}/private-keys-v1.d"), 0o700)?;
    new_directory::subdirectory(tree, &format!("{path}/openpgp-revocs.d"), 0o700)?;
    let database = trust_database::with_ultimate(&key.fingerprint, &USER_HASH, now);
    let secret = format!("private-keys-v1.d/{}.key", key.keygrip);
    let revocation = format!("openpgp-revocs.d/{fingerprint}.rev");
    for (name, content, mode) in [
        ("gpg.conf", CONFIGURATION.as_bytes(), 0o644),
        ("gpg-agent.conf", AGENT.as_bytes(), 0o644),
        // Says that there are no secret keys of GnuPG 1 and 2.0 to be taken over from `secring.gpg`.
        (".gpg-v21-migrated", b"", 0o644),
        ("secring.gpg", b"", 0o600),
        (&secret, key.secret.as_bytes(), 0o600),
        (&revocation, revocation_file(&fingerprint, &key.revocation).as_bytes(), 0o600),
        ("trustdb.gpg", &database, 0o644),
        ("pubring.gpg", &key.certificate, 0o644),
    ] {
        tree.write(&format!("{path}/{name}"), content, mode)?;
    }
    Ok(())
}

/// A revocation as it is kept: a colon keeps it from being imported by mistake.
fn revocation_file(fingerprint: &str, armour: &str) -> String {
    format!(
        "This revokes the key {fingerprint}, the master key of this keyring.\nIt is for the day when somebody else has \
         got hold of that key: remove the colon below,\nthen import this file.\n\n:{armour}"
    )
}
