//! The contents of credentials.

use std::io::Read;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use spec::{CREDENTIAL_LIMIT, Credential, CredentialSource, Secret};

/// The system's own credentials, see systemd.exec(5), `LoadCredential=`.
const STORES: [&str; 4] = ["/etc/credstore", "/run/credstore", "/usr/local/lib/credstore", "/usr/lib/credstore"];

/// Why a credential is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("cannot read the credential {name} from {path}", path = .path.display())]
    Read {
        /// Its name.
        name: String,
        /// Where it should be.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It is longer than credentials can be.
    #[error("the credential {name} is longer than 1 MiB; bind the file {path} into the container with --bind-ro=", path = .path.display())]
    Long {
        /// Its name.
        name: String,
        /// Where it is.
        path: PathBuf,
    },
    /// Nobody has passed it, and the system has none either.
    #[error(
        "there is no credential {0}: redd was passed none of that name in $CREDENTIALS_DIRECTORY, and there is none in \
         /etc/credstore; for a file in the current directory write ./{0}"
    )]
    Missing(String),
}

/// Reads all of them.
pub(super) fn probe(credentials: &[Credential]) -> Result<Vec<Secret>, Error> {
    credentials.iter().map(contents).collect()
}

fn contents(credential: &Credential) -> Result<Secret, Error> {
    match &credential.source {
        CredentialSource::Value(secret) => Ok(secret.clone()),
        CredentialSource::Path(path) => read(&credential.name, path),
        CredentialSource::Name { name, passed } => {
            let places = passed.iter().map(PathBuf::as_path).chain(STORES.iter().map(Path::new));
            let found = places.map(|place| place.join(name)).find(|path| path.exists());
            read(&credential.name, &found.ok_or_else(|| Error::Missing(name.clone()))?)
        }
    }
}

fn read(name: &str, path: &Path) -> Result<Secret, Error> {
    let failed = |source| Error::Read { name: name.to_owned(), path: path.to_owned(), source };
    let mut bytes = Vec::new();
    // One more than there may be tells that there are too many.
    let limit = CREDENTIAL_LIMIT as u64 + 1;
    let is_socket = std::fs::metadata(path).map_err(failed)?.file_type().is_socket();
    if is_socket {
        UnixStream::connect(path).map_err(failed)?.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    } else {
        std::fs::File::open(path).map_err(failed)?.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    }
    if bytes.len() > CREDENTIAL_LIMIT {
        return Err(Error::Long { name: name.to_owned(), path: path.to_owned() });
    }
    Ok(Secret::new(bytes))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn credential(source: CredentialSource) -> Credential {
        Credential { name: "it".into(), source }
    }

    #[test]
    fn files_and_what_was_passed() {
        let place = tempfile::tempdir().expect("directory");
        std::fs::write(place.path().join("one"), "x").expect("file");
        let file = credential(CredentialSource::Path(place.path().join("one")));
        let passed = |name: &str| {
            credential(CredentialSource::Name { name: name.into(), passed: Some(place.path().to_owned()) })
        };
        let secrets = probe(&[file, passed("one")]).expect("credentials");
        assert!(secrets.iter().all(|secret| secret.reveal() == b"x"));
        assert!(matches!(probe(&[passed("two")]), Err(Error::Missing(_))));
        let missing = credential(CredentialSource::Path(place.path().join("two")));
        assert!(matches!(probe(&[missing]), Err(Error::Read { .. })));
    }

    #[test]
    fn a_mebibyte_and_not_more() {
        let place = tempfile::tempdir().expect("directory");
        let path = place.path().join("long");
        let source = credential(CredentialSource::Path(path.clone()));
        std::fs::write(&path, vec![0; CREDENTIAL_LIMIT]).expect("file");
        assert!(contents(&source).is_ok());
        std::fs::write(&path, vec![0; CREDENTIAL_LIMIT + 1]).expect("file");
        assert!(matches!(contents(&source), Err(Error::Long { .. })));
    }

    #[test]
    fn sockets_are_read_to_the_end() {
        let place = tempfile::tempdir().expect("directory");
        let path = place.path().join("socket");
        let listener = UnixListener::bind(&path).expect("socket");
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("connection");
            stream.write_all(b"from a socket").expect("written");
        });
        let secret = contents(&credential(CredentialSource::Path(path))).expect("credential");
        server.join().expect("server");
        assert_eq!(secret.reveal(), b"from a socket");
    }
}
