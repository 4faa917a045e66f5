//! The keyring of a pacman on this host: GnuPG's home directory, read without GnuPG.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::keybox::Keybox;
use super::trust_database::TrustDatabase;
use super::{Error, Keyring};

/// The longest file of a keyring that is read, in bytes.
const LONGEST: u64 = 256 * 1024 * 1024;

impl Keyring {
    /// The keyring in a directory such as `/etc/pacman.d/gnupg`: `pubring.kbx` where GnuPG uses that, else `pubring.gpg`,
    /// and what `trustdb.gpg` says of the keys' owners. As GnuPG does with a keyring that has no such database, nobody
    /// is trusted then.
    ///
    /// # Errors
    /// Where there is no keyring in it, or one that cannot be read.
    pub fn of_host(directory: &Path) -> Result<Self, Error> {
        let mut keyring = Self::default();
        let packets = packets(directory)?;
        keyring.import(&format!("in '{}'", directory.display()), &packets)?;
        let path = directory.join("trustdb.gpg");
        let Some(database) = read(&path)? else { return Ok(keyring) };
        let database = TrustDatabase::read(&database).map_err(|source| Error::TrustDatabase { path, source })?;
        keyring.needed = database.needed;
        for record in database.records {
            if record.disabled {
                keyring.disabled.insert(record.key.clone());
            }
            keyring.owners.insert(record.key, record.trust);
        }
        Ok(keyring)
    }

    /// A keyring that somebody names. A directory is one of GnuPG's, see [`Keyring::of_host`]. A file holds certificates:
    /// where `NAME-trusted` lies beside `NAME.gpg`, as in `/usr/share/pacman/keyrings`, it says who is trusted, else all
    /// are; keys in `NAME-revoked` are disabled.
    ///
    /// # Errors
    /// What is not there or cannot be read.
    pub fn of_file(path: &Path) -> Result<Self, Error> {
        if path.is_dir() {
            return Self::of_host(path);
        }
        let certificates = read(path)?.ok_or_else(|| Error::Missing(path.to_owned()))?;
        let place = format!("in '{}'", path.display());
        let beside = |suffix: &str| {
            let mut name = path.file_stem().unwrap_or_default().to_owned();
            name.push(suffix);
            let list = read(&path.with_file_name(name))?;
            Ok::<_, Error>(list.map(|list| String::from_utf8_lossy(&list).into_owned()))
        };
        let (trusted, revoked) = (beside("-trusted")?, beside("-revoked")?);
        let mut keyring = match &trusted {
            Some(_) => Self::default(),
            None => Self::of_trusted(&place, &certificates)?,
        };
        let (trusted, revoked) = (trusted.unwrap_or_default(), revoked.unwrap_or_default());
        keyring.populate(&place, &certificates, &trusted, &revoked)?;
        Ok(keyring)
    }
}

/// The packets of the certificates.
fn packets(directory: &Path) -> Result<Vec<u8>, Error> {
    let path = directory.join("pubring.kbx");
    let keybox = match read(&path)? {
        Some(content) => Some(Keybox::read(&content).map_err(|source| Error::Keybox { path, source })?),
        None => None,
    };
    if let Some(keybox) = keybox.as_ref().filter(|keybox| keybox.for_openpgp) {
        return Ok(keybox.packets.clone());
    }
    if let Some(packets) = read(&directory.join("pubring.gpg"))? {
        return Ok(packets);
    }
    match keybox {
        Some(keybox) => Ok(keybox.packets),
        None if directory.join("public-keys.d").exists() => Err(Error::KeyboxDaemon(directory.to_owned())),
        None => Err(Error::Missing(directory.to_owned())),
    }
}

/// The content of a file; `None` where there is none. A link that leads nowhere is no such place: a list that is not there
/// would change who is trusted.
fn read(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let failed = |source| Error::Io { path: path.to_owned(), source };
    let file = match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound && path.symlink_metadata().is_err() => return Ok(None),
        other => other.map_err(failed)?,
    };
    let mut content = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut content).map_err(failed)?;
    if content.len() as u64 > LONGEST {
        return Err(failed(io::Error::from(io::ErrorKind::FileTooLarge)));
    }
    Ok(Some(content))
}
