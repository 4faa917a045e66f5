use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use pgp::packet::{PacketTrait, SignatureType};
use pgp::types::Password;
use rustix::fs::inotify;

use super::*;
use crate::digest::Sha256;
use crate::http::Patience;
use crate::pacman::config::{Place, Usage};
use crate::pacman::keyring::Keyring;
use crate::pacman::sig_level::{Demand, SigLevel, Trust};
use crate::pacman::{Package, Version};
use crate::test_server::{Reply, Request, Server};
use crate::tree::Tree;
use crate::trust::tests::{DAY, NOW, Recipe, Signer as Key, now};

/// Remembers what a person was told.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Progress for Told {
    fn begin(&self, _phase: Phase, _items: u64, _bytes: u64) {}
    fn advance(&self, _phase: Phase, _bytes: u64) {}
    fn item(&self, _phase: Phase, _name: &str) {}
    fn end(&self, _phase: Phase) {}
    fn notice(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
}

pub(in crate::pacman) struct Fixture {
    pub(in crate::pacman) key: Key,
    pub(in crate::pacman) keyring: Keyring,
    directory: tempfile::TempDir,
    told: Told,
    client: Client,
    servers: Servers,
    pub(in crate::pacman) interrupt: Interrupt,
}

pub(in crate::pacman) const NAME: &str = "a-1:1-1-any.pkg.tar.zst";

impl Fixture {
    pub(in crate::pacman) fn new() -> Self {
        let key = Key::new();
        let keyring = Keyring::of_trusted("of the test", &key.keyring()).unwrap();
        let patience = Patience { stall: Some(Duration::from_secs(20)), attempts: 2, pause: Duration::from_millis(1) };
        let client = Client::new(None, patience).unwrap().with_files();
        Self {
            key,
            keyring,
            directory: tempfile::tempdir().unwrap(),
            told: Told::default(),
            client,
            servers: Servers::default(),
            interrupt: Interrupt::default(),
        }
    }

    pub(in crate::pacman) fn sign(&self, content: &[u8]) -> Vec<u8> {
        let config = Recipe::at(NOW - DAY).configuration(SignatureType::Binary, &self.key.primary);
        let mut bytes = Vec::new();
        let signature = config.sign(&self.key.primary, &Password::empty(), content).unwrap();
        signature.to_writer_with_header(&mut bytes).unwrap();
        bytes
    }

    pub(in crate::pacman) fn fetcher<'a>(&'a self, web: &'a Web<'a>) -> Fetcher<'a> {
        let Self { client, servers, told: progress, interrupt, .. } = self;
        Fetcher { client, servers, web, progress, interrupt, parallel: 5 }
    }

    fn databases(&self, repositories: &[Repository]) -> Result<Vec<Option<Database>>, Error> {
        let web = Web::new(&self.keyring, now());
        self.fetcher(&web).databases(repositories)
    }

    pub(in crate::pacman) fn path(&self) -> std::path::PathBuf {
        self.directory.path().join("pkg")
    }

    fn packages(&self, wanted: &[(&Candidate, &Repository)], caches: &[PackageCache]) -> Result<Vec<Fetched>, Error> {
        let web = Web::new(&self.keyring, now());
        self.fetcher(&web).packages(wanted, caches)
    }

    /// Fetches one package into the directory; gives its content.
    fn package(&self, candidate: &Candidate, origin: &Repository) -> Result<Vec<u8>, Error> {
        let cache = PackageCache::of_host(&self.path())?;
        let fetched = self.packages(&[(candidate, origin)], &[cache])?;
        assert_eq!((fetched.len(), fetched[0].cache, &*fetched[0].name), (1, 0, NAME));
        let content = fs::read(self.path().join(NAME)).unwrap();
        let mut verified = vec![0; content.len() + 1];
        let count = fetched[0].file.read_at(&mut verified, 0).unwrap();
        assert!(verified[..count] == content, "what was verified is what is in the cache");
        Ok(content)
    }

    pub(in crate::pacman) fn told(&self) -> String {
        self.told.0.lock().unwrap().join("\n")
    }
}

pub(in crate::pacman) fn origin(servers: &[&str]) -> Repository {
    let servers = servers.iter().map(|&server| server.to_owned()).collect();
    Repository {
        name: "core".to_owned(),
        cache_servers: Vec::new(),
        servers,
        sig_level: SigLevel::default(),
        usage: Usage::ALL,
        place: Place { file: Path::new("/etc/pacman.conf").into(), line: 1 },
    }
}

pub(in crate::pacman) fn candidate(content: &[u8], signature: Option<Vec<u8>>) -> Candidate {
    Candidate {
        package: Package::new("a", Version::new("1:1-1")),
        repository: 0,
        file_name: NAME.to_owned(),
        compressed_size: content.len() as u64,
        sha256: Some(Sha256::of(content)),
        signature,
    }
}

/// A server with these files.
pub(in crate::pacman) fn server(files: &[(&str, &[u8])]) -> Server {
    let files: Vec<(String, Vec<u8>)> =
        files.iter().map(|(name, content)| (format!("/{name}"), content.to_vec())).collect();
    Server::start(move |request: &Request| match files.iter().find(|(name, _)| *name == request.target) {
        Some((_, content)) => Reply::ranged(request, content),
        None => Reply::status(404),
    })
}

#[test]
fn databases_come_from_the_first_server_that_has_them() {
    let fixture = Fixture::new();
    let signature = fixture.sign(b"database");
    let (broken, whole) =
        (Server::start(|_| Reply::status(500)), server(&[("core.db", b"database"), ("core.db.sig", &signature)]));
    let other = server(&[("extra.db", b"other")]);
    let extra = Repository { name: "extra".to_owned(), ..origin(&[&other.url]) };
    let databases = fixture.databases(&[origin(&[&broken.url, &format!("{}/", whole.url)]), extra]).unwrap();
    let database = |content: &[u8], signature| Some(Database { content: content.to_vec(), modified: None, signature });
    assert_eq!(databases, [database(b"database", Some(signature)), database(b"other", None)]);
    assert!(fixture.told().contains("trying the next server"), "{}", fixture.told());
}

#[test]
fn databases_that_are_refused() {
    let fixture = Fixture::new();
    let stranger = Fixture::new().sign(b"database");
    let unsigned = server(&[("core.db", b"database")]);
    let strange = server(&[("core.db", b"database"), ("core.db.sig", &stranger)]);
    let broken = server(&[("core.db", b"database"), ("core.db.sig", b"rubbish")]);
    let too_long = server(&[("core.db", b"database"), ("core.db.sig", &[0x89; 20_000])]);
    let gone = server(&[]);
    let mut required = SigLevel::default();
    required.apply(["DatabaseRequired"]).unwrap();
    let error = |server: &Server, level| {
        let error = fixture.databases(&[Repository { sig_level: level, ..origin(&[&server.url]) }]).unwrap_err();
        assert!(error.hint().is_some(), "{error:?}");
        chain(&error)
    };
    assert!(error(&unsigned, required).contains("'core.db' is not accepted: it is not signed"));
    assert!(error(&strange, SigLevel::default()).contains("is not in the keyring"));
    assert!(error(&broken, SigLevel::default()).contains("cannot be read"));
    assert!(error(&too_long, SigLevel::default()).contains("more than 16384 bytes"));
    assert!(error(&gone, SigLevel::default()).contains("404"));
    let never = Demand { check: Check::Never, trust: Trust::TrustedOnly };
    let level = SigLevel { database: never, ..SigLevel::default() };
    fixture.databases(&[Repository { sig_level: level, ..origin(&[&strange.url]) }]).unwrap();
    assert!(matches!(fixture.databases(&[origin(&[])]), Err(Error::NoServer(_))));
}

#[test]
fn packages_are_kept_as_pacman_does() {
    let fixture = Fixture::new();
    let signature = fixture.sign(b"content");
    let server = server(&[(NAME, b"content"), (&format!("{NAME}.sig"), &signature)]);
    // The signature from the database, then one from beside the package.
    for of_database in [Some(signature.clone()), None] {
        let candidate = candidate(b"content", of_database);
        assert_eq!(fixture.package(&candidate, &origin(&[&server.url])).unwrap(), b"content");
        let mut names: Vec<_> = fs::read_dir(fixture.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, [NAME.into(), std::ffi::OsString::from(format!("{NAME}.sig"))]);
        assert_eq!(fs::read(fixture.path().join(format!("{NAME}.sig"))).unwrap(), signature);
        let asked = server.requests().len();
        assert_eq!(fixture.package(&candidate, &origin(&[&server.url])).unwrap(), b"content");
        assert_eq!(server.requests().len(), asked, "what is kept is not fetched again");
        fs::remove_dir_all(fixture.path()).unwrap();
    }
    assert_eq!(fixture.told(), "");
}

#[test]
fn a_directory_of_the_host_is_a_server() {
    let fixture = Fixture::new();
    let repository = fixture.directory.path().join("my repository");
    fs::create_dir(&repository).unwrap();
    fs::write(repository.join("core.db"), "database").unwrap();
    fs::write(repository.join(NAME), "content").unwrap();
    fs::write(repository.join(format!("{NAME}.sig")), fixture.sign(b"content")).unwrap();
    let url = format!("file://{}", repository.display().to_string().replace(' ', "%20"));
    assert_eq!(fixture.databases(&[origin(&[&url])]).unwrap()[0].as_ref().unwrap().signature, None);
    assert_eq!(fixture.package(&candidate(b"content", None), &origin(&[&url])).unwrap(), b"content");
    let error = fixture.databases(&[origin(&["file:///nowhere"])]).unwrap_err();
    assert!(chain(&error).contains("cannot read 'file:///nowhere/core.db'"), "{}", chain(&error));
}

#[test]
fn a_mirror_that_breaks_off_is_gone_on_with_at_the_next() {
    let fixture = Fixture::new();
    let content: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
    let dead = {
        let first = std::sync::atomic::AtomicBool::new(true);
        let half = content.clone();
        // Half of it, then nothing but errors.
        Server::start(move |_| match first.swap(false, std::sync::atomic::Ordering::SeqCst) {
            true => Reply { cut: Some(200_000), ..Reply::ok(half.clone()) },
            false => Reply::status(503),
        })
    };
    let whole = server(&[(NAME, &content)]);
    let candidate = candidate(&content, Some(fixture.sign(&content)));
    assert_eq!(fixture.package(&candidate, &origin(&[&dead.url, &whole.url])).unwrap(), content);
    let requests = whole.requests();
    assert_eq!(requests.len(), 1);
    assert!(requests[0].range_start().is_some_and(|start| start > 0), "{requests:?}");
    assert!(fixture.told().contains("trying the next server"), "{}", fixture.told());
}

#[test]
fn cache_servers_are_asked_first() {
    let fixture = Fixture::new();
    let (empty, near) = (server(&[]), server(&[(NAME, b"content")]));
    let origin =
        Repository { cache_servers: vec![empty.url.clone(), near.url.clone()], ..origin(&["http://127.0.0.1:1"]) };
    fixture.package(&candidate(b"content", Some(fixture.sign(b"content"))), &origin).unwrap();
    assert_eq!((empty.requests().len(), near.requests().len()), (1, 1));
}

#[test]
fn packages_that_are_refused() {
    let fixture = Fixture::new();
    let good = fixture.sign(b"content");
    let refused = |candidate: &Candidate, server: &Server| {
        let error = fixture.package(candidate, &origin(&[&server.url])).unwrap_err();
        assert!(error.hint().is_some(), "{error:?}");
        assert!(!fixture.path().join(NAME).exists());
        chain(&error)
    };
    let whole = server(&[(NAME, b"content")]);
    let other = server(&[(NAME, b"CONTENT")]);
    let longer = server(&[(NAME, b"content!")]);
    let signed = candidate(b"content", Some(good.clone()));
    assert!(refused(&signed, &other).contains("SHA-256"));
    assert!(refused(&signed, &longer).contains("8 bytes, and 7 are in the index"));
    assert!(refused(&candidate(b"content", None), &whole).contains("it is not signed"));
    let strange = Fixture::new().sign(b"content");
    assert!(refused(&candidate(b"content", Some(strange)), &whole).contains("is not in the keyring"));
    // The database's hash fits, the signature does not, and where there is no hash, either.
    assert!(refused(&candidate(b"CONTENT", Some(good.clone())), &other).contains("does not fit"));
    let unhashed = Candidate { sha256: None, ..signed.clone() };
    assert!(refused(&unhashed, &other).contains("does not fit"));
    assert_eq!(fixture.package(&unhashed, &origin(&[&other.url, &whole.url])).unwrap(), b"content");
    fs::remove_file(fixture.path().join(NAME)).unwrap();
    for name in ["../a", "/etc/a", "a/b", "", ".", "..", "-a", ".a", "a\0", &"a".repeat(300)] {
        let named = Candidate { file_name: name.to_owned(), ..signed.clone() };
        let cache = PackageCache::of_host(&fixture.path()).unwrap();
        let error = fixture.packages(&[(&named, &origin(&[&whole.url]))], &[cache]).unwrap_err();
        assert!(matches!(error, Error::Name { .. }), "{name}: {error}");
    }
    assert!(matches!(fixture.packages(&[(&signed, &origin(&[&whole.url]))], &[]), Err(Error::NoCache)));
}

#[test]
fn what_is_wrong_in_the_cache_is_fetched_anew() {
    let fixture = Fixture::new();
    let whole = server(&[(NAME, b"content")]);
    let candidate = candidate(b"content", Some(fixture.sign(b"content")));
    let outside = fixture.directory.path().join("outside");
    let place = fixture.path().join(NAME);
    let part = fixture.path().join(format!("{NAME}.part"));
    let hostile: [(&str, &dyn Fn()); 8] = [
        ("other content", &|| fs::write(&place, "CONTENT").unwrap()),
        ("cut off", &|| fs::write(&place, "cont").unwrap()),
        ("a link", &|| std::os::unix::fs::symlink(&outside, &place).unwrap()),
        ("a pipe", &|| fifo(&place)),
        ("a partial file with other content", &|| fs::write(&part, "CON").unwrap()),
        ("a partial file that is too long", &|| fs::write(&part, "content and more").unwrap()),
        ("a partial file that is a link", &|| std::os::unix::fs::symlink(&outside, &part).unwrap()),
        ("a partial file with another name", &|| fs::hard_link(&outside, &part).unwrap()),
    ];
    for (name, prepare) in hostile {
        let _ = fs::remove_dir_all(fixture.path());
        fs::create_dir(fixture.path()).unwrap();
        fs::write(&outside, "content of somebody else").unwrap();
        prepare();
        let content = fixture.package(&candidate, &origin(&[&whole.url])).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(content, b"content", "{name}");
        assert!(fs::symlink_metadata(&place).unwrap().is_file(), "{name}");
        assert!(!part.exists(), "{name}");
        assert_eq!(fs::read_to_string(&outside).unwrap(), "content of somebody else", "{name}");
    }
}

#[test]
fn what_is_no_file_is_not_opened() {
    let fixture = Fixture::new();
    let whole = server(&[(NAME, b"content")]);
    let candidate = candidate(b"content", Some(fixture.sign(b"content")));
    fs::create_dir(fixture.path()).unwrap();
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
    for name in [NAME.to_owned(), format!("{NAME}.part"), format!("{NAME}.sig")] {
        fifo(&fixture.path().join(&name));
        inotify::add_watch(&watch, fixture.path().join(&name), inotify::WatchFlags::OPEN).unwrap();
    }
    assert_eq!(fixture.package(&candidate, &origin(&[&whole.url])).unwrap(), b"content");
    let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
    let mut events = inotify::Reader::new(&watch, &mut buffer);
    while let Ok(event) = events.next() {
        assert!(!event.events().contains(inotify::ReadFlags::OPEN), "{event:?}");
    }
}

fn fifo(path: &Path) {
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
}

#[test]
fn a_cache_in_a_tree_stays_in_it() {
    let fixture = Fixture::new();
    let whole = server(&[(NAME, b"content")]);
    let candidate = candidate(b"content", Some(fixture.sign(b"content")));
    let (tree, outside) = (fixture.directory.path().join("tree"), fixture.directory.path().join("outside"));
    fs::create_dir_all(tree.join("var/cache")).unwrap();
    fs::create_dir(&outside).unwrap();
    std::os::unix::fs::symlink(&outside, tree.join("var/cache/pacman")).unwrap();
    let open = || PackageCache::of_tree(&Tree::open(&tree).unwrap(), &tree, "var/cache/pacman/pkg");
    // The link means a place in the tree, which is not there.
    let error = open().unwrap_err();
    assert!(error.to_string().contains(&format!("'{}/var/cache/pacman/pkg'", tree.display())), "{error}");
    fs::create_dir_all(format!("{}{}", tree.display(), outside.display())).unwrap();
    let caches = [open().unwrap()];
    let fetched = fixture.packages(&[(&candidate, &origin(&[&whole.url]))], &caches).unwrap();
    assert!(caches[0].open(&fetched[0].name).unwrap().is_some());
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn several_caches() {
    let fixture = Fixture::new();
    let candidate = candidate(b"content", Some(fixture.sign(b"content")));
    let second = fixture.directory.path().join("second");
    fs::create_dir(&second).unwrap();
    fs::write(second.join(NAME), "content").unwrap();
    let caches = [fixture.path(), second.clone()].map(|path| PackageCache::of_host(&path).unwrap());
    let nowhere = origin(&["http://127.0.0.1:1"]);
    assert_eq!(fixture.packages(&[(&candidate, &nowhere)], &caches).unwrap()[0].cache, 1);
    // One that is not ours to write to keeps what is wrong in it.
    fs::write(second.join(NAME), "CONTENT").unwrap();
    let error = fixture.packages(&[(&candidate, &nowhere)], &caches).unwrap_err();
    assert!(error.hint().unwrap().contains("network"), "{error:?}");
    assert_eq!(fs::read(second.join(NAME)).unwrap(), b"CONTENT");
}

#[test]
fn a_full_disk() {
    testkit::requires!(root);
    let fixture = Fixture::new();
    let content = vec![7; 1 << 20];
    let candidate = candidate(&content, Some(fixture.sign(&content)));
    fs::write(fixture.directory.path().join(NAME), &content).unwrap();
    fs::create_dir(fixture.path()).unwrap();
    let isolated = testkit::Isolated::enter();
    rustix::mount::mount("tmpfs", fixture.path(), "tmpfs", rustix::mount::MountFlags::empty(), c"size=64k").unwrap();
    let cache = PackageCache::of_host(&fixture.path()).unwrap();
    let web = Web::new(&fixture.keyring, now());
    let here = format!("file://{}", fixture.directory.path().display());
    let origin = origin(&[&here, &here]);
    let error = fixture.fetcher(&web).packages(&[(&candidate, &origin)], &[cache]).unwrap_err();
    assert!(error.hint().unwrap().contains("make room"), "{error:?}");
    assert_eq!(fixture.told(), "", "another server does not help");
    rustix::mount::unmount(fixture.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
    drop(isolated);
}

mod interrupted;
mod servers;
