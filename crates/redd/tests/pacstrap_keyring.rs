//! Whose signatures count where `redd pacstrap` is given a keyring.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use testkit::fixture::Tree;
use testkit::{Ended, fixture, requires, run_limited};

const LIMIT: Duration = Duration::from_secs(120);

/// A package, a configuration that asks for signatures, and two keys: one that is trusted and one that nobody has certified.
struct Scene {
    work: Tree,
    home: tempfile::TempDir,
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf").arg("--homedir").arg(self.home.path()).args(["--kill", "all"]).output();
    }
}

impl Scene {
    fn new() -> Self {
        // Sockets of GnuPG's have to have a short path.
        let scene = Self { work: fixture::empty(), home: tempfile::tempdir().expect("directory") };
        for name in ["master@keyring.test", "stranger@keyring.test"] {
            scene.gpg(&["--passphrase", "", "--quick-generate-key", name, "ed25519", "sign,cert", "never"]);
        }
        scene.gpg(&["--output", scene.path("own.gpg").to_str().expect("a name"), "--export"]);
        let options = "Architecture = auto\nSigLevel = Required\nLocalFileSigLevel = Required";
        scene.work.write("pacman.conf", format!("[options]\n{options}\n"), 0o644);
        let info = "pkgname = hello\npkgbase = hello\npkgver = 1.0-1\npkgdesc = a greeting\narch = any\nsize = 6\n";
        scene.work.write("package/.PKGINFO", info, 0o644);
        scene.work.write("package/usr/share/hello", "hello\n", 0o644);
        let mut bsdtar = Command::new("bsdtar");
        bsdtar.arg("-C").arg(scene.path("package")).arg("-caf").arg(scene.package()).args([".PKGINFO", "usr"]);
        run_limited(bsdtar, Vec::new(), LIMIT).expect_code(0);
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.work.join(name)
    }

    fn package(&self) -> PathBuf {
        self.path("hello-1.0-1-any.pkg.tar.gz")
    }

    fn gpg(&self, words: &[&str]) -> String {
        let mut command = Command::new("gpg");
        command.arg("--homedir").arg(self.home.path()).args(["--batch", "--yes", "--quiet"]).args(words);
        run_limited(command, Vec::new(), LIMIT).expect_code(0).output
    }

    fn fingerprint(&self, name: &str) -> String {
        let text = self.gpg(&["--with-colons", "--fingerprint", name]);
        let line = text.lines().find(|line| line.starts_with("fpr:")).expect("a fingerprint");
        line.split(':').nth(9).expect("a fingerprint").to_owned()
    }

    /// The package, signed with that key, is installed into a new tree.
    fn install(&self, signer: &str, keyring: &Path) -> Ended {
        let (package, tree) = (self.package(), fixture::empty());
        self.gpg(&["--local-user", signer, "--detach-sign", package.to_str().expect("a name")]);
        let mut command = Command::new(env!("CARGO_BIN_EXE_redd"));
        command.arg("pacstrap").arg("-C").arg(self.path("pacman.conf")).args(["-G", "-M", "-d", "-U", "--keyring"]);
        command.arg(keyring).arg(tree.path()).arg(package);
        let ended = run_limited(command, Vec::new(), LIMIT);
        assert_eq!(tree.join("usr/share/hello").exists(), ended.code() == 0, "{}", ended.errors);
        ended
    }
}

#[test]
fn a_keyring_is_a_web_of_trust() {
    requires!(root, program "gpg", program "gpgconf", program "bsdtar");
    let scene = Scene::new();
    let (master, stranger) = ("master@keyring.test", "stranger@keyring.test");
    let file = scene.path("own.gpg");
    // Certificates alone: all of them count.
    for signer in [master, stranger] {
        scene.install(signer, &file).expect_code(0);
    }
    // With a list beside them: those that are in it.
    let trusted = format!("{}:4:\n", scene.fingerprint(master));
    scene.work.write("own-trusted", trusted, 0o644);
    scene.install(master, &file).expect_code(0);
    let said = scene.install(stranger, &file).expect_code(1).errors;
    assert!(said.contains(stranger) && said.contains("none of the trusted keys has certified"), "{said}");
    // And not those that are revoked.
    scene.work.write("own-revoked", format!("{}\n", scene.fingerprint(master)), 0o644);
    let said = scene.install(master, &file).expect_code(1).errors;
    assert!(said.contains("is disabled in the keyring"), "{said}");
    // A directory of GnuPG's, in which both are its owner's own, and one that is none.
    scene.install(stranger, scene.home.path()).expect_code(0);
    let said = scene.install(master, &scene.path("package")).expect_code(1).errors;
    assert!(said.contains("there is no keyring at") && said.contains("hint: check its path"), "{said}");
}
