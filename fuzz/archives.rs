// What is done with bytes that come from a mirror. Shared by the fuzz targets and by the test that replays the seeds.

use std::io::{Cursor, Read};
use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

use bootstrap::apt::package::Package;
use bootstrap::apt::{control, deb::Deb, relation, release::Release};
use bootstrap::pacman::keyring::{Keyring, Web, keybox::Keybox, trust_database::TrustDatabase};
use bootstrap::pacman::sig_level::SigLevel;
use bootstrap::pacman::verify::{Signed, check};
use bootstrap::tar_reader::TarReader;
use bootstrap::trust::Certificates;

/// Release files, package lists, control files, relations.
pub(crate) fn archive(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(release) = Release::parse(text) {
        let _ = release.check("stable", SystemTime::UNIX_EPOCH, true);
        let _ = release.index_directories(&["main".to_owned()], "amd64");
    }
    for paragraph in control::paragraphs(text) {
        for (_, value) in paragraph.fields() {
            let _ = relation::parse(value);
        }
    }
    for package in Package::parse_index(&Arc::from(text)).unwrap_or_default() {
        let _ = (package.filename(), package.size(), package.sha256(), package.installed_size());
    }
}

/// Packages, and the archives in them.
pub(crate) fn deb(data: &[u8]) {
    if let Ok(mut package) = Deb::read(Cursor::new(data.to_vec())) {
        entries(&mut package.data);
    }
    entries(&mut TarReader::new(data));
}

fn entries<R: Read>(archive: &mut TarReader<R>) {
    while let Ok(Some(_)) = archive.next_entry() {}
}

/// Signed messages: the keys are Debian's, so that none of these may ever be accepted.
pub(crate) fn signature(data: &[u8]) {
    let keys = Certificates::parse(include_bytes!("../crates/bootstrap/keyrings/debian-archive-keyring.pgp"));
    let keys = keys.unwrap_or_else(|error| panic!("the keyring of the repository: {error}"));
    assert!(keys.verify_cleartext(data, SystemTime::now()).is_err());
    let _ = Certificates::parse(data);
}

/// Signatures beside packages: none of these may ever be accepted for an empty one.
pub(crate) fn detached_signature(data: &[u8]) {
    static KEYS: LazyLock<Keyring> = LazyLock::new(|| {
        let keys = include_bytes!("../crates/bootstrap/keyrings/debian-archive-keyring.pgp");
        Keyring::of_trusted("of the repository", keys).unwrap_or_else(|error| panic!("{error}"))
    });
    let web = Web::new(&KEYS, SystemTime::now());
    assert!(check(&web, SigLevel::default().package, "a", Some(data), Signed::Bytes(b"")).is_err());
}

/// Keyboxes.
pub(crate) fn keybox(data: &[u8]) {
    if let Ok(keybox) = Keybox::read(data) {
        let _ = Certificates::parse(&keybox.packets);
    }
}

/// Trust databases.
pub(crate) fn trust_database(data: &[u8]) {
    let _ = TrustDatabase::read(data);
}
