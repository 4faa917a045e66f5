use std::fs;

use super::*;
use crate::pacman::config::Repository;
use crate::pacman::fetch::tests::{Fixture, NAME, candidate, origin, server};
use crate::pacman::fetch::{Error as FetchError, PackageCache};
use crate::pacman::keyring::Web;
use crate::pacman::sig_level::SigLevel;
use crate::pacman::test_package::TestPackage;
use crate::test_server::Server;
use crate::trust::tests::now;

/// A package with this file as a keyring.
fn package(certificates: &[u8]) -> Vec<u8> {
    let package = TestPackage::new(PACKAGE, "1-1").bytes("usr/share/pacman/keyrings/new.gpg", certificates);
    zstd::encode_all(&*package.archive(), 1).unwrap()
}

/// A repository of that name with a package of keys.
fn repository(name: &str, level: &str, server: &Server) -> Repository {
    let mut sig_level = SigLevel::default();
    sig_level.apply(level.split(' ')).unwrap();
    Repository { name: name.to_owned(), sig_level, ..origin(&[&server.url]) }
}

/// A repository, the content of its package of keys, and the signature in its database.
type Offer<'a> = (Repository, &'a [u8], Option<Vec<u8>>);

/// What comes of what the repositories have.
fn newer(fixture: &Fixture, keyring: &Keyring, sources: &[Offer<'_>]) -> Result<Option<Keyring>, Error> {
    let _ = fs::remove_dir_all(fixture.path());
    let database = |(nr, (repository, content, signature)): (usize, &Offer<'_>)| {
        let mut candidate = Candidate { repository: nr, ..candidate(content, signature.clone()) };
        PACKAGE.clone_into(&mut candidate.package.name);
        SyncDatabase::new(&repository.name, vec![candidate])
    };
    let databases: Vec<SyncDatabase> = sources.iter().enumerate().map(database).collect();
    let repositories: Vec<Repository> = sources.iter().map(|(repository, ..)| repository.clone()).collect();
    let web = Web::new(keyring, now());
    let (fetcher, caches) = (&fixture.fetcher(&web), &[PackageCache::of_host(&fixture.path()).unwrap()][..]);
    Sources { databases: &databases, repositories: &repositories, fetcher, caches }.newer(keyring)
}

#[test]
fn keys_are_taken_from_whom_the_present_ones_trust_fully() {
    let (fixture, newcomer, stranger) = (Fixture::new(), Fixture::new(), Fixture::new());
    // The stranger's key is known, and no more.
    let mut keyring = fixture.keyring.clone();
    keyring.populate("of the test", &stranger.key.keyring(), "", "").unwrap();
    let (good, other) = (package(&newcomer.key.keyring()), package(&Fixture::new().key.keyring()));
    let (good_server, other_server) = (server(&[(NAME, &good)]), server(&[(NAME, &other)]));
    let signed = || (repository("core", "Required", &good_server), &good[..], Some(fixture.sign(&good)));
    let unsigned = (repository("own", "Never", &other_server), &other[..], None);
    let by_stranger = (repository("all", "TrustAll", &other_server), &other[..], Some(stranger.sign(&other)));
    let has_newcomer = |keyring: &Keyring| {
        let web = Web::new(keyring, now());
        web.verify(&newcomer.sign(b"text"), &|| Box::new(&b"text"[..])).is_ok()
    };
    assert!(!has_newcomer(&keyring));
    assert!(has_newcomer(&newer(&fixture, &keyring, &[signed()]).unwrap().unwrap()));
    assert_eq!(fixture.told(), "");
    assert!(newer(&fixture, &keyring, std::slice::from_ref(&unsigned)).unwrap().is_none());
    assert!(newer(&fixture, &keyring, std::slice::from_ref(&by_stranger)).unwrap().is_none());
    let told = fixture.told();
    for name in ["own", "all"] {
        let text =
            format!("newer keys of '{name}' are not taken: '{NAME}' is not signed by keys that are trusted fully");
        assert!(told.contains(&text), "{told}");
    }
    // Whatever stands before them.
    assert!(has_newcomer(&newer(&fixture, &keyring, &[unsigned, by_stranger, signed()]).unwrap().unwrap()));
}

#[test]
fn keys_that_cannot_be_had_are_no_reason_to_stop() {
    let fixture = Fixture::new();
    let (broken, hollow) = (b"no package".to_vec(), package(b"no certificates"));
    let (broken_server, hollow_server) = (server(&[(NAME, &broken)]), server(&[(NAME, &hollow)]));
    let nowhere = Repository { servers: vec!["http://127.0.0.1:1".to_owned()], ..origin(&[]) };
    let cases: [Offer<'_>; 4] = [
        (nowhere, &broken, None),
        (origin(&[]), &broken, None),
        (repository("core", "Required", &broken_server), &broken, Some(fixture.sign(&broken))),
        (repository("core", "Required", &hollow_server), &hollow, Some(fixture.sign(&hollow))),
    ];
    for (nr, case) in cases.into_iter().enumerate() {
        assert!(newer(&fixture, &fixture.keyring, &[case]).unwrap().is_none(), "{nr}");
        assert_eq!(fixture.told().lines().count(), nr + 1, "{}", fixture.told());
        assert!(fixture.told().lines().all(|line| line.starts_with("newer keys of 'core' are not taken: ")));
    }
}

#[test]
fn who_stops_it_is_heard() {
    let fixture = Fixture::new();
    fixture.interrupt.trigger();
    let content = package(b"");
    let case = (repository("core", "Required", &server(&[])), &content[..], None);
    let error = newer(&fixture, &fixture.keyring, &[case]).unwrap_err();
    assert!(matches!(error, Error::Fetch(FetchError::Interrupted)), "{error:?}");
}
