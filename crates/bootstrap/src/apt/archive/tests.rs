use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use super::super::compression::tests::compress;
use super::super::distribution::{Distribution, host_architecture};
use super::super::host_configuration::HostConfiguration;
use super::*;
use crate::progress::Silent;
use crate::test_server::{Reply, Server};
use crate::trust::tests::Signer;

/// The tests' today, 2026-01-01, and what a release file calls the day before.
const NOW: u64 = 1_767_225_600;
const DATE: &str = "Wed, 31 Dec 2025 00:00:00 UTC";

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)
}

/// An archive with one suite, served as it is told.
struct Fixture {
    directory: tempfile::TempDir,
    signer: Signer,
    files: HashMap<String, Vec<u8>>,
    listed: String,
    fields: String,
}

impl Fixture {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            signer: Signer::new(),
            files: HashMap::new(),
            listed: String::new(),
            fields: format!(
                "Suite: stable\nCodename: trixie\nDate: {DATE}\nComponents: main extra\nArchitectures: all amd64\n"
            ),
        }
    }

    fn with_fields(mut self, fields: &str) -> Self {
        self.fields += fields;
        self
    }

    fn list(&mut self, path: &str, content: &[u8]) {
        self.listed += &format!(" {} {} {path}\n", Sha256::of(content), content.len());
    }

    fn serve(&mut self, path: &str, content: &[u8]) {
        self.files.insert(path.to_owned(), content.to_vec());
    }

    /// An index of packages, each with the content of its file; in those forms.
    fn with_index(mut self, directory: &str, packages: &[(&str, &str)], forms: &[Compression]) -> Self {
        let mut index = String::new();
        for (name, content) in packages {
            let path = format!("pool/{name}.deb");
            index += &format!(
                "Package: {name}\nVersion: 1\nArchitecture: amd64\nFilename: {path}\nSize: {}\nSHA256: {}\n\n",
                content.len(),
                Sha256::of(content.as_bytes())
            );
            self.serve(&format!("/debian/{path}"), content.as_bytes());
        }
        self.list(&format!("{directory}/Packages"), index.as_bytes());
        for form in forms {
            let path = format!("{directory}/Packages{}", form.suffix());
            let compressed = compress(*form, index.as_bytes());
            if *form != Compression::Plain {
                self.list(&path, &compressed);
            }
            self.serve(&format!("/debian/dists/trixie/{path}"), &compressed);
        }
        self
    }

    fn start(&self) -> Server {
        self.start_with(|message| message)
    }

    fn start_with(&self, change: impl Fn(String) -> String) -> Server {
        let files = self.served(change);
        Server::start(move |request| match files.get(&request.target) {
            Some(content) => Reply::ranged(request, content),
            None => Reply::status(404),
        })
    }

    /// All that is served, with a release file that was changed after it was signed.
    fn served(&self, change: impl Fn(String) -> String) -> HashMap<String, Vec<u8>> {
        let release = format!("{}SHA256:\n{}", self.fields, self.listed);
        let mut files = self.files.clone();
        let message = change(self.signer.sign_at(&release, now() - Duration::from_secs(3600)));
        files.insert("/debian/dists/trixie/InRelease".to_owned(), message.into_bytes());
        files
    }

    fn source(&self, server: &Server) -> Source {
        let keyring = self.directory.path().join("keyring.pgp");
        fs::write(&keyring, self.signer.keyring()).unwrap();
        Source {
            mirror: format!("{}/debian", server.url),
            suite: "trixie".to_owned(),
            components: vec!["main".to_owned()],
            architecture: "amd64".to_owned(),
            keyring: Keyring::File(keyring),
            accept_expired: false,
            proxy: None,
        }
    }

    fn open(&self, source: &Source) -> Result<Archive, Error> {
        let cache = Cache::open(&self.directory.path().join("cache")).unwrap();
        let patience =
            Patience { stall: Some(Duration::from_millis(300)), attempts: 2, pause: Duration::from_millis(1) };
        let client = Arc::new(Client::new(source.proxy.as_deref(), patience).unwrap());
        Opening { source, cache: &cache, progress: &Silent, client, now: now() }.run()
    }

    fn open_default(&self) -> Result<Archive, Error> {
        self.open(&self.source(&self.start()))
    }
}

fn names(archive: &Archive) -> Vec<&str> {
    archive.packages().iter().map(Package::name).collect()
}

fn good() -> Fixture {
    Fixture::new().with_index("main/binary-amd64", &[("one", "1"), ("two", "22")], &[Compression::Xz])
}

#[test]
fn opened_and_downloaded() {
    for form in Compression::ALL {
        let fixture = Fixture::new().with_index("main/binary-amd64", &[("one", "1"), ("two", "22")], &[form]);
        let server = fixture.start();
        let archive = fixture.open(&fixture.source(&server)).unwrap_or_else(|e| panic!("{form:?}: {e}"));
        assert_eq!(names(&archive), ["one", "two"]);
        let wanted: Vec<&Package> = archive.packages().iter().rev().collect();
        let paths = archive.download(&wanted, &Silent).unwrap();
        let contents: Vec<_> = paths.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
        assert_eq!(contents, ["22", "1"]);

        // A second run asks for the release file alone.
        let before = server.requests().len();
        let again = fixture.open(&fixture.source(&server)).unwrap();
        assert_eq!(again.download(&again.packages().iter().collect::<Vec<_>>(), &Silent).unwrap().len(), 2);
        assert_eq!(server.requests().len(), before + 1, "{form:?}: {:?}", server.requests());
    }
}

#[test]
fn an_index_that_is_superseded_leaves_the_cache() {
    let mut fixture = Fixture::new().with_index("main/binary-amd64", &[("one", "1")], &[Compression::Xz]);
    let served = Arc::new(Mutex::new(fixture.served(|message| message)));
    let files = Arc::clone(&served);
    let server = Server::start(move |request| Reply::ranged(request, &files.lock().unwrap()[&request.target]));
    let source = fixture.source(&server);
    let kept = |fixture: &Fixture| fs::read_dir(fixture.directory.path().join("cache/by-hash")).unwrap().count();
    assert_eq!(names(&fixture.open(&source).unwrap()), ["one"]);
    assert_eq!(kept(&fixture), 1);
    fixture.listed.clear();
    let fixture = fixture.with_index("main/binary-amd64", &[("one", "1"), ("two", "2")], &[Compression::Xz]);
    *served.lock().unwrap() = fixture.served(|message| message);
    assert_eq!(names(&fixture.open(&source).unwrap()), ["one", "two"]);
    assert_eq!(kept(&fixture), 1);
}

#[test]
fn many_runs_at_once() {
    let fixture = good();
    let server = fixture.start();
    let source = fixture.source(&server);
    for _ in 0..4 {
        std::thread::scope(|scope| {
            let runs: Vec<_> = (0..8).map(|_| scope.spawn(|| fixture.open(&source).unwrap())).collect();
            for run in runs {
                assert_eq!(names(&run.join().unwrap()), ["one", "two"]);
            }
        });
        fs::remove_dir_all(fixture.directory.path().join("cache")).unwrap();
    }
}

#[test]
fn components_and_packages_for_all() {
    let mut fixture = Fixture::new()
        .with_index("main/binary-amd64", &[("one", "1")], &[Compression::Xz, Compression::Gzip])
        .with_index("main/binary-all", &[("data", "d")], &[Compression::Gzip])
        .with_index("extra/binary-amd64", &[("three", "3")], &[Compression::Zstd]);
    let server = fixture.start();
    let mut source = fixture.source(&server);
    source.components.push("extra".to_owned());
    assert_eq!(names(&fixture.open(&source).unwrap()), ["one", "data", "three"]);
    assert!(server.requests().iter().any(|request| request.target.ends_with("binary-amd64/Packages.xz")));

    fixture.fields += "No-Support-for-Architecture-all: Packages\n";
    assert_eq!(names(&fixture.open_default().unwrap()), ["one"]);
}

#[test]
fn indices_by_hash() {
    let mut fixture = good().with_fields("Acquire-By-Hash: yes\n");
    let content = fixture.files.remove("/debian/dists/trixie/main/binary-amd64/Packages.xz").unwrap();
    let path = format!("/debian/dists/trixie/main/binary-amd64/by-hash/SHA256/{}", Sha256::of(&content));
    fixture.serve(&path, &content);
    assert_eq!(names(&fixture.open_default().unwrap()), ["one", "two"]);
    // Where the mirror does not have it after all, the plain name is asked for.
    let fixture = good().with_fields("Acquire-By-Hash: yes\n");
    assert_eq!(names(&fixture.open_default().unwrap()), ["one", "two"]);
}

#[test]
fn suites_that_are_not_there_or_others() {
    let fixture = good();
    let server = fixture.start();
    let mut source = fixture.source(&server);
    source.suite = "bullseye".to_owned();
    let error = fixture.open(&source).unwrap_err();
    assert!(matches!(&error, Error::NoSuite { suite, .. } if suite == "bullseye"), "{error}");
    assert!(error.hint().is_some());

    let mut fixture = good();
    fixture.fields = fixture.fields.replace("trixie", "bookworm").replace("stable", "oldstable");
    let error = fixture.open_default().unwrap_err();
    assert!(matches!(error, Error::Release { source: release::Error::OtherSuite { .. }, .. }), "{error}");
}

#[test]
fn expired_and_future() {
    let fixture = good().with_fields("Valid-Until: Wed, 31 Dec 2025 12:00:00 UTC\n");
    let server = fixture.start();
    let mut source = fixture.source(&server);
    let error = fixture.open(&source).unwrap_err();
    assert!(matches!(error, Error::Release { source: release::Error::Expired(_), .. }), "{error}");
    assert!(error.hint().unwrap().contains("--accept-expired"));
    source.accept_expired = true;
    fixture.open(&source).unwrap();

    let mut fixture = good();
    fixture.fields = fixture.fields.replace("2025", "2035");
    let error = fixture.open_default().unwrap_err();
    assert!(
        matches!(error, Error::Release { source: release::Error::FromTheFuture(_) | release::Error::Value { .. }, .. }),
        "{error}"
    );
}

#[test]
fn not_trusted() {
    let fixture = good();
    let other = Signer::new();
    let servers = [
        fixture.start_with(|message| message.replace("amd64", "arm64")),
        fixture.start_with(|_| other.sign_at("Suite: stable\n", now())),
        fixture.start_with(|message| format!("Suite: evil\n{message}")),
        fixture.start_with(|_| "<html>please log in</html>".to_owned()),
        fixture.start_with(|_| String::new()),
    ];
    for (nr, server) in servers.iter().enumerate() {
        let error = fixture.open(&fixture.source(server)).unwrap_err();
        assert!(matches!(error, Error::Trust { .. }), "{nr}: {error}");
        assert!(error.to_string().contains("InRelease") && error.hint().is_some(), "{nr}: {error}");
    }
    let server = fixture.start();
    let mut source = fixture.source(&server);
    source.keyring = Keyring::Embedded(Distribution::Debian);
    let error = fixture.open(&source).unwrap_err();
    assert!(matches!(error, Error::Trust { source: trust::Error::Refused(_), .. }), "{error}");
    source.keyring = Keyring::File("/nonexistent".into());
    assert!(matches!(fixture.open(&source).unwrap_err(), Error::Keyring { .. }));
}

#[test]
fn indices_that_are_not_what_they_should_be() {
    let path = "/debian/dists/trixie/main/binary-amd64/Packages.xz";
    let mut fixture = good();
    let mut content = fixture.files[path].clone();
    content[20] ^= 1;
    fixture.serve(path, &content);
    let error = fixture.open_default().unwrap_err();
    assert!(matches!(error, Error::Download(download::Error::Hash { .. })), "{error}");

    let mut fixture = good();
    fixture.serve(path, b"short");
    let error = fixture.open_default().unwrap_err();
    assert!(matches!(error, Error::Download(download::Error::Size { .. })), "{error}");

    let mut fixture = good();
    fixture.files.remove(path);
    let error = fixture.open_default().unwrap_err();
    assert!(
        matches!(error, Error::Download(download::Error::Http(http::Error::Status { status: 404, .. }))),
        "{error}"
    );
    assert!(error.to_string().contains(path), "{error}");

    // The compressed file is the listed one, and its content is not.
    for (content, plain) in [
        (
            compress(Compression::Gzip, b"Package: x\nVersion: 1\nArchitecture: all\n"),
            &b"Package: y\nVersion: 1\nArchitecture: all\n"[..],
        ),
        (compress(Compression::Gzip, &[b'x'; 100_000]), b"y"),
        (b"rubbish".to_vec(), b"y"),
        (compress(Compression::Gzip, b"\xff\xff"), b"\xff\xff"),
    ] {
        let mut fixture = Fixture::new();
        fixture.list("main/binary-amd64/Packages", plain);
        fixture.list("main/binary-amd64/Packages.gz", &content);
        fixture.serve("/debian/dists/trixie/main/binary-amd64/Packages.gz", &content);
        let error = fixture.open_default().unwrap_err();
        assert!(matches!(error, Error::Index { .. }), "{error}");
    }

    let mut fixture = Fixture::new();
    fixture.list("main/binary-amd64/Packages.lz4", b"x");
    assert!(matches!(fixture.open_default().unwrap_err(), Error::NoIndex { .. }));
    let error = Fixture::new().open_default().unwrap_err();
    assert!(matches!(error, Error::NoIndex { .. }), "{error}");
}

#[test]
fn packages_that_are_not_what_they_should_be() {
    type Change = fn(&mut Fixture);
    let cases: [(&str, Change); 3] = [
        ("missing", |fixture| drop(fixture.files.remove("/debian/pool/two.deb"))),
        ("another", |fixture| fixture.serve("/debian/pool/two.deb", b"33")),
        ("longer", |fixture| fixture.serve("/debian/pool/two.deb", b"333")),
    ];
    for (what, change) in cases {
        let mut fixture = good();
        change(&mut fixture);
        let server = fixture.start();
        let archive = fixture.open(&fixture.source(&server)).unwrap();
        let error = archive.download(&archive.packages().iter().collect::<Vec<_>>(), &Silent).unwrap_err();
        assert!(matches!(error, Error::Download(_)), "{what}: {error}");
        assert!(error.to_string().contains("/pool/two.deb") && error.hint().is_some(), "{what}: {error}");
    }
}

#[test]
fn paths_that_lead_out() {
    let mut fixture = Fixture::new();
    let index = format!(
        "Package: evil\nVersion: 1\nArchitecture: all\nFilename: ../../secret\nSize: 1\nSHA256: {}\n",
        Sha256::of(b"1")
    );
    fixture.list("main/binary-amd64/Packages", index.as_bytes());
    fixture.serve("/debian/dists/trixie/main/binary-amd64/Packages", index.as_bytes());
    let server = fixture.start();
    let archive = fixture.open(&fixture.source(&server)).unwrap();
    let error = archive.download(&[&archive.packages()[0]], &Silent).unwrap_err();
    assert!(matches!(error, Error::Package { .. }), "{error}");
    assert!(!server.requests().iter().any(|request| request.target.contains("secret")));
}

#[test]
fn sources_that_make_no_sense() {
    let fixture = good();
    let server = fixture.start();
    let source = fixture.source(&server);
    let cases: [fn(&mut Source); 9] = [
        |source| source.mirror = "file:///srv/debian".into(),
        |source| source.mirror = "deb.debian.org".into(),
        |source| source.suite = "../x".into(),
        |source| source.suite = String::new(),
        |source| source.components.clear(),
        |source| source.components.push("a b".into()),
        |source| source.components.push("/".into()),
        |source| source.architecture = "all".into(),
        |source| source.architecture = "../amd64".into(),
    ];
    for change in cases {
        let mut source = source.clone();
        change(&mut source);
        assert!(matches!(fixture.open(&source).unwrap_err(), Error::Source { .. }), "{source:?}");
    }
    assert_eq!(server.requests().len(), 0);
    let mut missing = source.clone();
    missing.components = vec!["universe".into()];
    assert!(matches!(
        fixture.open(&missing).unwrap_err(),
        Error::Release { source: release::Error::NoSuch { .. }, .. }
    ));
    missing = source;
    missing.architecture = "arm64".into();
    assert!(matches!(
        fixture.open(&missing).unwrap_err(),
        Error::Release { source: release::Error::NoSuch { .. }, .. }
    ));
}

/// Progress as a person would see it.
#[derive(Default)]
struct Recorder(Mutex<Vec<String>>);

impl Progress for Recorder {
    fn begin(&self, phase: Phase, items: u64, bytes: u64) {
        self.0.lock().unwrap().push(format!("{phase:?} {items} {bytes}"));
    }
    fn advance(&self, _: Phase, _: u64) {}
    fn item(&self, phase: Phase, name: &str) {
        self.0.lock().unwrap().push(format!("{phase:?} {name}"));
    }
    fn end(&self, phase: Phase) {
        self.0.lock().unwrap().push(format!("{phase:?} end"));
    }
    fn notice(&self, text: &str) {
        panic!("{text}");
    }
}

#[test]
fn progress_is_told() {
    let fixture = good();
    let server = fixture.start();
    let source = fixture.source(&server);
    let cache = Cache::open(&fixture.directory.path().join("cache")).unwrap();
    let client = Arc::new(Client::new(None, Patience::default()).unwrap());
    let recorder = Recorder::default();
    let archive = Opening { source: &source, cache: &cache, progress: &recorder, client, now: now() }.run().unwrap();
    archive.download(&[&archive.packages()[1]], &recorder).unwrap();
    let told = recorder.0.into_inner().unwrap();
    let told: Vec<_> = told.iter().map(String::as_str).collect();
    let compressed = fixture.files["/debian/dists/trixie/main/binary-amd64/Packages.xz"].len();
    assert_eq!(
        told,
        [
            &format!("Indices 1 {compressed}")[..],
            "Indices main/binary-amd64/Packages.xz",
            "Indices end",
            "Parse 1 0",
            "Parse main/binary-amd64/Packages.xz",
            "Parse end",
            "Download 1 2",
            "Download two",
            "Download end",
        ]
    );
}

/// The mirror that this machine is configured for, the real thing.
#[test]
fn the_hosts_own_mirror() {
    let host = HostConfiguration::read();
    let architecture = host_architecture().unwrap();
    let used =
        [Distribution::Debian, Distribution::Ubuntu].into_iter().find(|of| host.mirror(*of, architecture).is_some());
    let Some(distribution) = used else {
        let required = std::env::var_os("REDD_REQUIRED").is_some_and(|value| value == "1");
        assert!(!required, "REDD_REQUIRED=1, and no mirror is configured here");
        println!("SKIPPED {}: needs a mirror in the host's apt configuration", module_path!());
        return;
    };
    let source = Source::new(distribution, architecture, &host);
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::open(directory.path()).unwrap();
    let archive = Archive::open(&source, &cache, &Silent).unwrap();
    assert_eq!(archive.release().codename(), source.suite);
    assert!(archive.packages().len() > 5000, "{}", archive.packages().len());
    let find = |name: &str| archive.packages().iter().find(|package| package.name() == name).unwrap();
    let wanted = [find("base-files"), find("init-system-helpers")];
    assert!(wanted[0].is_essential());
    for path in archive.download(&wanted, &Silent).unwrap() {
        assert!(fs::read(path).unwrap().starts_with(b"!<arch>\n"));
    }
    // Some of all: reading every relation takes long without optimisation.
    for package in archive.packages().iter().step_by(10) {
        for field in super::super::relation::Field::ALL {
            package.relations(field).unwrap();
        }
        assert!(package.filename().is_ok() && package.size().is_ok() && package.sha256().is_ok(), "{package}");
    }
}
