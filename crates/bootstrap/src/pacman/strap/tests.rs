use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::digest::Sha256;
use crate::pacman::resolve::Defaults;
use crate::pacman::test_package::TestPackage;
use crate::test_server::{Reply, Server};

/// A repository on this host, and a place for a system.
struct Scene {
    directory: tempfile::TempDir,
    database: Vec<(String, String)>,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["own", "cache", "root"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        Self { directory, database: Vec::new() }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    /// Adds the package `name` 1-1 with a file that says so much.
    fn add(&mut self, name: &str, text: &str) {
        let path = package(name, text).write(&self.at("own"));
        let (content, file) = (fs::read(&path).unwrap(), path.file_name().unwrap().to_str().unwrap());
        let (length, hash) = (content.len(), Sha256::of(&content));
        let desc = format!(
            "%FILENAME%\n{file}\n\n%NAME%\n{name}\n\n%VERSION%\n1-1\n\n%ARCH%\nany\n\n%CSIZE%\n{length}\n\n%SHA256SUM%\n{hash}\n"
        );
        self.database.push((format!("{name}-1-1/desc"), desc));
    }

    /// Installs these with the cache of the host.
    fn install(&self, targets: &[&str], progress: &dyn Progress) -> Result<usize, Error> {
        let mut archive = tar::Builder::new(Vec::new());
        for (path, desc) in &self.database {
            let mut header = tar::Header::new_ustar();
            header.set_size(desc.len() as u64);
            header.set_mode(0o644);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            archive.append_data(&mut header, path, desc.as_bytes()).unwrap();
        }
        fs::write(self.at("own/own.db"), archive.into_inner().unwrap()).unwrap();
        let server = self.at("own");
        let text =
            format!("[options]\nArchitecture = auto\n[own]\nSigLevel = Never\nServer = file://{}\n", server.display());
        fs::write(self.at("pacman.conf"), text).unwrap();
        let targets: Vec<String> = targets.iter().map(|&target| target.to_owned()).collect();
        let strap = Strap {
            root: &self.at("root"),
            config: &Config::read(&self.at("pacman.conf")).unwrap(),
            packages: Packages::Targets(&targets),
            caches: &[self.at("cache")],
            ignore_dependencies: false,
            trusted: &Trusted { keyring: Keyring::default(), renewed: false },
            keyring: NewKeyring::None,
            mirror_list: MirrorList::OfPackage,
            configuration: None,
            container: &ContainerCommand { program: "/bin/false".into(), arguments: Vec::new() },
            command_line: "",
        };
        strap.run(&mut Defaults, progress, &Interrupt::default())
    }
}

fn package(name: &str, text: &str) -> TestPackage {
    TestPackage::new(name, "1-1").file(name, 0o644, text)
}

/// Puts other files into the cache as soon as all is fetched.
struct Replacing<'a>(&'a Scene);

impl Progress for Replacing<'_> {
    fn begin(&self, _phase: Phase, _items: u64, _bytes: u64) {}
    fn advance(&self, _phase: Phase, _bytes: u64) {}
    fn item(&self, _phase: Phase, _name: &str) {}
    fn end(&self, phase: Phase) {
        if phase == Phase::Download {
            fs::remove_file(self.0.at("cache/a-1-1-any.pkg.tar.zst")).unwrap();
            package("a", "hostile").write(&self.0.at("cache"));
        }
    }
    fn notice(&self, _text: &str) {}
}

#[test]
fn what_was_verified_is_installed() {
    testkit::requires!(root);
    let mut scene = Scene::new();
    scene.add("a", "good");
    // Fetched, and then found in the cache.
    for _ in 0..2 {
        scene.install(&["a"], &Replacing(&scene)).unwrap();
        assert_eq!(fs::read_to_string(scene.at("root/a")).unwrap(), "good");
        fs::remove_dir_all(scene.at("root")).unwrap();
        fs::create_dir(scene.at("root")).unwrap();
        fs::copy(scene.at("own/a-1-1-any.pkg.tar.zst"), scene.at("cache/a-1-1-any.pkg.tar.zst")).unwrap();
    }
}

/// Says to this test itself that it runs with few open files.
const FEW: &str = "REDD_TEST_FEW_OPEN_FILES";
const NAME: &str = "pacman::strap::tests::many_packages_and_few_open_files";

#[test]
fn many_packages_and_few_open_files() {
    testkit::requires!(root);
    let names: Vec<String> = (0..100).map(|nr| format!("a{nr}")).collect();
    if std::env::var_os(FEW).is_none() {
        let own = std::env::current_exe().unwrap();
        // A limit that can be raised, and one that has room for each package once.
        for limit in ["ulimit -S -n 64", "ulimit -n 150"] {
            let script = format!("{limit} && exec \"$0\" --exact --nocapture {NAME}");
            let output = Command::new("/bin/sh").args(["-c", &script]).arg(&own).env(FEW, "1").output().unwrap();
            assert!(output.status.success(), "{limit}: {}", String::from_utf8_lossy(&output.stdout));
        }
        return;
    }
    let mut scene = Scene::new();
    for name in &names {
        scene.add(name, "text");
    }
    let targets: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(scene.install(&targets, &crate::progress::Silent).unwrap(), names.len());
}

#[test]
fn things_are_fetched_as_the_configuration_and_the_environment_say() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pacman.conf");
    let stall = |line: &str| {
        fs::write(&path, format!("[options]\n{line}\n")).unwrap();
        client(&Config::read(&path).unwrap().options, Proxies::default()).patience().stall
    };
    assert_eq!(stall(""), Patience::default().stall);
    assert_eq!(stall("DisableDownloadTimeout"), None);

    let proxy = Server::start(|_| Reply::ok("of the proxy"));
    let direct = Server::start(|_| Reply::ok("of the server"));
    let variables = [("http_proxy", &*proxy.url), ("no_proxy", "127.0.0.1")];
    let proxies = Proxies::of(variables.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let client = client(&Config::read(&path).unwrap().options, proxies);
    assert_eq!(client.get_all("http://mirror.example/core.db", 100).unwrap(), b"of the proxy");
    assert_eq!(proxy.requests()[0].target, "http://mirror.example/core.db");
    assert_eq!(client.get_all(&format!("{}/core.db", direct.url), 100).unwrap(), b"of the server");
}

#[test]
fn who_has_nothing_to_undo_any_more_has_left_nothing() {
    let above = tempfile::tempdir().unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "[options]\nArchitecture = auto\n").unwrap();
    let config = Config::read(file.path()).unwrap();
    let trusted = Trusted { keyring: Keyring::default(), renewed: false };
    let container = ContainerCommand { program: "/bin/false".into(), arguments: Vec::new() };
    let root = above.path().join("new");
    let strap = Strap {
        root: &root,
        config: &config,
        packages: Packages::Targets(&[]),
        caches: &[],
        ignore_dependencies: false,
        trusted: &trusted,
        keyring: NewKeyring::None,
        mirror_list: MirrorList::OfPackage,
        configuration: None,
        container: &container,
        command_line: "",
    };
    for _ in 0..50 {
        let (interrupt, done) = (Interrupt::default(), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !interrupt.has_work_to_undo() && !done.load(Ordering::SeqCst) {}
                while interrupt.has_work_to_undo() {}
                // Here the program may end at any time.
                assert_eq!(std::fs::read_dir(above.path()).unwrap().count(), 0);
            });
            let error = strap.run_new(&mut Defaults, &crate::progress::Silent, &interrupt).unwrap_err();
            done.store(true, Ordering::SeqCst);
            assert!(matches!(error, Error::NoRepository), "{error:?}");
        });
    }
}
