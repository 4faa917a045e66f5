//! Credentials: small files that the container is given, and nobody else sees (systemd.exec(5), "CREDENTIALS").

use std::fmt;
use std::path::PathBuf;

use serde::{Serialize, Serializer};

/// The largest contents of a credential, in bytes (systemd.exec(5)).
pub const CREDENTIAL_LIMIT: usize = 1 << 20;

/// A credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Credential {
    /// Its name, which is also that of its file: printable ASCII without `/` and `:`.
    pub name: String,
    /// Where its contents come from.
    pub source: CredentialSource,
}

/// Where the contents of a credential come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum CredentialSource {
    /// These they are.
    Value(Secret),
    /// A file of the host, or an AF_UNIX stream socket that hands them out.
    Path(PathBuf),
    /// A credential of the caller's, or one of the system's store.
    Name {
        /// Its name there.
        name: String,
        /// `$CREDENTIALS_DIRECTORY` of the caller.
        passed: Option<PathBuf>,
    },
}

/// Whether this can be the name of a credential.
#[must_use]
pub fn is_credential_name(name: &str) -> bool {
    let fits = (1..=255).contains(&name.len()) && !matches!(name, "." | "..");
    fits && name.bytes().all(|byte| (b' '..=b'~').contains(&byte) && !matches!(byte, b'/' | b':'))
}

/// Bytes that are nobody else's business: where specifications and plans are shown there is their number alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Keeps them.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// What it is, for whom it is meant.
    #[must_use]
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{self:?}"))
    }
}
