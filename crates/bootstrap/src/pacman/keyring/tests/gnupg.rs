//! The same keyrings in the hands of pacman-key and GnuPG.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use testkit::requires;

use super::*;
use crate::pacman::keyring::trust_database::TrustDatabase;
use crate::tree::Tree;

const GNUPG: &str = "etc/pacman.d/gnupg";

/// A tree with a keyring in it, whose agent ends with the test.
struct Home(tempfile::TempDir);

/// A path, its mode and its content, if it is a file.
type Made = (String, u32, Option<Vec<u8>>);

impl Drop for Home {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf").arg("--homedir").arg(self.gnupg()).args(["--kill", "all"]).output();
    }
}

impl Home {
    fn empty() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(home.0.path().join("etc/pacman.d")).unwrap();
        fs::write(home.path("pacman.conf"), "[options]\n").unwrap();
        home
    }

    /// With a keyring of ours; as its key takes long to make, the tests have the same one.
    fn new() -> Self {
        static MADE: LazyLock<Vec<Made>> = LazyLock::new(|| {
            let home = Home::empty();
            assert!(initialise(&home.tree(), GNUPG, now()).unwrap());
            assert!(!initialise(&home.tree(), GNUPG, now()).unwrap(), "what is there stays");
            let all = home.all();
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
            all.iter().map(|path| (path.clone(), mode(&home.path(path)), fs::read(home.path(path)).ok())).collect()
        });
        let home = Self::empty();
        for (path, mode, content) in &*MADE {
            match content {
                Some(content) => fs::write(home.path(path), content).unwrap(),
                None => fs::create_dir(home.path(path)).unwrap(),
            }
            fs::set_permissions(home.path(path), fs::Permissions::from_mode(*mode)).unwrap();
        }
        home
    }

    /// The paths of everything in the keyring's directory, and its own.
    fn all(&self) -> Vec<String> {
        let mut all = vec![GNUPG.to_owned()];
        let mut next = 0;
        while let Some(path) = all.get(next).cloned() {
            if self.path(&path).is_dir() {
                let entries = fs::read_dir(self.path(&path)).unwrap();
                all.extend(entries.map(|entry| format!("{path}/{}", entry.unwrap().file_name().to_str().unwrap())));
            }
            next += 1;
        }
        all
    }

    fn tree(&self) -> Tree {
        Tree::open(self.0.path()).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn gnupg(&self) -> PathBuf {
        self.path(GNUPG)
    }

    /// Has GnuPG live on the tests' today.
    fn stop_the_clock(&self) {
        let configuration = fs::read_to_string(self.gnupg().join("gpg.conf")).unwrap();
        let stopped = format!("{configuration}faked-system-time {NOW}!\n");
        fs::write(self.gnupg().join("gpg.conf"), stopped).unwrap();
    }

    fn pacman_key(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("pacman-key");
        command.arg("--config").arg(self.path("pacman.conf")).arg("--gpgdir").arg(self.gnupg());
        command.env("LC_ALL", "C").args(arguments).output().unwrap()
    }

    fn gpg(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("gpg");
        command.arg("--homedir").arg(self.gnupg()).args(["--batch", "--no-permission-warning"]);
        command.env("LC_ALL", "C").args(arguments).output().unwrap()
    }

    /// The names, modes and sizes of what is in the keyring's directory, apart from sockets and GnuPG's backup. Names
    /// and sizes that differ from key to key are left open.
    fn listing(&self) -> BTreeMap<String, String> {
        let mut listing = BTreeMap::new();
        for path in self.all() {
            let status = fs::symlink_metadata(self.path(&path)).unwrap();
            let (mode, name) = (status.permissions().mode(), path.rsplit('/').next().unwrap());
            if status.is_dir() {
                listing.insert(path, format!("{mode:o}"));
            } else if status.is_file() && !name.ends_with('~') {
                match name.split_once('.') {
                    Some((key, _)) if key.len() == 40 => {
                        listing.insert(path.replace(key, "KEY"), format!("{mode:o}"));
                    }
                    _ => drop(listing.insert(path, format!("{mode:o} {}", status.len()))),
                }
            }
        }
        listing
    }
}

#[track_caller]
fn succeeded(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// What GnuPG says of packets, without what differs from key to key.
fn packets_shown(home: &Home) -> Vec<String> {
    let shown = succeeded(&home.gpg(&["--list-packets", home.gnupg().join("pubring.gpg").to_str().unwrap()]));
    let varies = ["#", ":trust", "\tdata:", "\tdigest", "\tkeyid:", "\tpkey[0]"];
    let lines = shown.lines().filter(|line| !varies.iter().any(|start| line.starts_with(start)));
    let names = |line: &str| {
        let words = line
            .split(' ')
            .map(|word| word.trim_end_matches([')', ',']))
            .filter(|word| !(word.len() >= 10 && word.chars().all(|c| c.is_ascii_hexdigit() || c == '-')));
        words.collect::<Vec<_>>().join(" ")
    };
    lines.map(names).collect()
}

#[test]
fn a_new_keyring_is_as_pacman_key_makes_it() {
    requires!(root, program "pacman-key", program "gpg", program "gpgconf");
    let (ours, theirs) = (Home::new(), Home::empty());
    succeeded(&theirs.pacman_key(&["--init"]));
    let mut expected = theirs.listing();
    // GnuPG puts packets of its own into it.
    let mut listing = ours.listing();
    let certificates = format!("{GNUPG}/pubring.gpg");
    assert!(expected.remove(&certificates).is_some() && listing.remove(&certificates).is_some());
    assert_eq!(listing, expected);
    for name in ["gpg.conf", "gpg-agent.conf", ".gpg-v21-migrated", "secring.gpg"] {
        let read = |home: &Home| fs::read_to_string(home.gnupg().join(name)).unwrap();
        assert_eq!(read(&ours), read(&theirs), "{name}");
    }
    assert_eq!(packets_shown(&ours), packets_shown(&theirs));
    let trust = |home: &Home| {
        let database = TrustDatabase::read(&fs::read(home.gnupg().join("trustdb.gpg")).unwrap()).unwrap();
        (
            database.needed,
            database.records.into_iter().map(|record| (record.trust, record.disabled)).collect::<Vec<_>>(),
        )
    };
    assert_eq!(trust(&ours), trust(&theirs));
}

#[test]
fn gnupg_works_with_a_new_keyring() {
    requires!(root, program "pacman-key", program "gpg", program "gpgconf");
    let home = Home::new();
    home.stop_the_clock();
    let listed = succeeded(&home.pacman_key(&["--list-keys"]));
    assert!(listed.contains("rsa4096 2026-01-01 [SC]"), "{listed}");
    assert!(listed.contains("[ultimate] Pacman Keyring Master Key <pacman@localhost>"), "{listed}");
    let checked = home.gpg(&["--check-trustdb"]);
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(checked.status.success() && !said.contains("rror") && !said.contains("invalid"), "{said}");
    assert!(succeeded(&home.gpg(&["--list-secret-keys"])).contains("[ultimate] Pacman Keyring Master Key"));
    // What it signs is good, by GnuPG and by us.
    let (file, signature) = (home.path("file"), home.path("file.sig"));
    fs::write(&file, CONTENT).unwrap();
    let [file, out] = [&file, &signature].map(|path| path.to_str().unwrap());
    succeeded(&home.gpg(&["--output", out, "--detach-sign", file]));
    succeeded(&home.pacman_key(&["--verify", out]));
    let keyring = Keyring::of_host(&home.gnupg()).unwrap();
    let signers = check(&keyring, REQUIRED, Some(&fs::read(&signature).unwrap()), CONTENT).unwrap();
    assert_eq!(signers[0].user, "Pacman Keyring Master Key <pacman@localhost>");
    // The revocation that lies ready revokes it.
    let revocation = fs::read_dir(home.gnupg().join("openpgp-revocs.d")).unwrap().next().unwrap().unwrap().path();
    let text = fs::read_to_string(&revocation).unwrap().replace(":-----BEGIN", "-----BEGIN");
    fs::write(&revocation, text).unwrap();
    succeeded(&home.gpg(&["--import", revocation.to_str().unwrap()]));
    let error = check(&Keyring::of_host(&home.gnupg()).unwrap(), REQUIRED, Some(&fs::read(out).unwrap()), CONTENT);
    assert!(full(&error.unwrap_err()).contains("is revoked"));
}

/// Packagers that one thing each is said of, and whose signature pacman-key accepts or not.
fn packagers(masters: &[Signer]) -> Vec<(&'static str, Signer)> {
    let certified = |by: &[usize], mut packager: Signer| {
        for nr in by {
            let signature = certify(&packager, &masters[*nr], SignatureType::CertPositive, &certificate());
            packager.certificate.details.users[0].signatures.push(signature);
        }
        packager
    };
    let also = |mut packager: Signer, kind: SignatureType, recipe: &Recipe| {
        let signature = certify(&packager, &masters[0], kind, recipe);
        packager.certificate.details.users[0].signatures.push(signature);
        packager
    };
    let own = Recipe::at(NOW - 365 * DAY).with(flags(true));
    let expiring = own.clone().with(SubpacketData::KeyExpirationTime(lasts(300 * DAY)));
    let (short, ended) = (for_a_day(NOW - 100 * DAY), for_a_day(NOW - 50 * DAY));
    let mut revoked = certified(&[0, 1, 2], Signer::new());
    let revocation = revoked.on_key(SignatureType::KeyRevocation, &yesterday());
    revoked.certificate.details.revocation_signatures.push(revocation);
    vec![
        ("certified by three", certified(&[0, 1, 2], Signer::new())),
        ("certified by all", certified(&[0, 1, 2, 3, 4], Signer::new())),
        ("certified by two", certified(&[3, 4], Signer::new())),
        ("certified by nobody", Signer::new()),
        ("taken back", also(certified(&[0, 1, 2], Signer::new()), SignatureType::CertRevocation, &yesterday())),
        ("certified for a day", also(certified(&[1, 2], Signer::new()), SignatureType::CertPositive, &short)),
        (
            "certified for a day at last",
            also(certified(&[0, 1, 2], Signer::new()), SignatureType::CertPositive, &ended),
        ),
        ("without verification", also(certified(&[1, 2], Signer::new()), SignatureType::CertPersona, &certificate())),
        ("casually", also(certified(&[1, 2], Signer::new()), SignatureType::CertCasual, &certificate())),
        ("expired", certified(&[0, 1, 2], Signer::with(&KeyType::Ed25519Legacy, &expiring))),
        ("revoked", revoked),
        ("RSA", certified(&[0, 1, 2], Signer::of(&KeyType::Rsa(2048)))),
        ("with a subkey", certified(&[0, 1, 2], Signer::with_good_subkey())),
    ]
}

#[test]
fn verdicts_are_those_of_pacman_key() {
    requires!(root, program "pacman-key", program "gpg", program "gpgconf");
    let isolated = testkit::Isolated::enter();
    let home = Home::new();
    home.stop_the_clock();
    let masters: Vec<Signer> = (0..5).map(|_| Signer::new()).collect();
    let packagers = packagers(&masters);
    let all = masters.iter().chain(packagers.iter().map(|(_, packager)| packager));
    let certificates = all.flat_map(Signer::keyring).collect::<Vec<_>>();
    // Debian's pacman-key looks in the first of these for what to populate from, Arch's in the second.
    let keyrings = home.path("keyrings");
    fs::create_dir(&keyrings).unwrap();
    let trusted: String = masters.iter().map(|master| format!("{}:4:\n", of(master))).collect();
    fs::write(keyrings.join("test.gpg"), &certificates).unwrap();
    fs::write(keyrings.join("test-trusted"), &trusted).unwrap();
    fs::write(keyrings.join("test-revoked"), format!("{}\n", of(&packagers[1].1))).unwrap();
    for place in ["/usr/share/keyrings", "/usr/share/pacman/keyrings"].map(Path::new).iter().filter(|p| p.is_dir()) {
        rustix::mount::mount_bind(&keyrings, *place).unwrap();
    }
    succeeded(&home.pacman_key(&["--populate", "test"]));
    let of_gnupg = Keyring::of_host(&home.gnupg()).unwrap();
    let mut of_files = Keyring::default();
    of_files.populate("test", &certificates, &trusted, &format!("{}\n", of(&packagers[1].1))).unwrap();
    let (file, signature) = (home.path("file"), home.path("file.sig"));
    fs::write(&file, CONTENT).unwrap();
    let mut accepted = Vec::new();
    for (name, packager) in &packagers {
        let bytes = packets(&[match &packager.subkey {
            Some(subkey) => sign_with(subkey, SignatureType::Binary, &yesterday()),
            None => sign_with(&packager.primary, SignatureType::Binary, &yesterday()),
        }]);
        fs::write(&signature, &bytes).unwrap();
        let verified = home.pacman_key(&["--verify", signature.to_str().unwrap()]);
        for keyring in [&of_gnupg, &of_files] {
            let result = check(keyring, REQUIRED, Some(&bytes), CONTENT);
            if *name == "certified by all" {
                // pacman refuses keys that are disabled; pacman-key does not look at that.
                assert!(full(&result.unwrap_err()).contains("is disabled"));
                continue;
            }
            let ours = result.map_or_else(|e| full(&e), |_| "accepted".to_owned());
            let theirs = String::from_utf8_lossy(&verified.stderr);
            assert_eq!(ours == "accepted", verified.status.success(), "{name}: {ours}\n{theirs}");
        }
        if verified.status.success() {
            accepted.push(*name);
        }
    }
    assert_eq!(accepted, ["certified by three", "certified by all", "casually", "RSA", "with a subkey"]);
    // The same keys in a keybox.
    let keybox = home.path("keybox");
    fs::create_dir(&keybox).unwrap();
    let gpg = |arguments: &[&str]| {
        let mut command = Command::new("gpg");
        succeeded(
            &command
                .arg("--homedir")
                .arg(&keybox)
                .args(["--batch", "--no-permission-warning"])
                .args(arguments)
                .output()
                .unwrap(),
        )
    };
    gpg(&["--import", keyrings.join("test.gpg").to_str().unwrap()]);
    assert!(keybox.join("pubring.kbx").exists() && !keybox.join("pubring.gpg").exists());
    let mut found = Keyring::of_host(&keybox).unwrap().certificates.fingerprints();
    let mut expected = of_files.certificates.fingerprints();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    drop(isolated);
}

#[test]
fn the_hosts_keyring_is_copied_whole() {
    requires!(root, program "pacman-key", program "gpgconf");
    let (host, target) = (Home::empty(), Home::empty());
    succeeded(&host.pacman_key(&["--init"]));
    std::os::unix::fs::symlink("pubring.gpg", host.gnupg().join("link")).unwrap();
    fs::write(host.gnupg().join("pubring.gpg.lock"), "1").unwrap();
    assert!(copy(&host.gnupg(), &target.tree(), GNUPG).unwrap());
    for name in ["", "pubring.gpg", "private-keys-v1.d"] {
        let time = |home: &Home| fs::metadata(home.gnupg().join(name)).unwrap().modified().unwrap();
        assert_eq!(time(&target), time(&host), "{name}");
    }
    fs::remove_file(host.gnupg().join("pubring.gpg.lock")).unwrap();
    assert_eq!(target.listing(), host.listing());
    assert_eq!(fs::read_link(target.gnupg().join("link")).unwrap(), Path::new("pubring.gpg"));
    assert!(!copy(&host.gnupg(), &target.tree(), GNUPG).unwrap(), "what is there stays");
    assert!(succeeded(&target.pacman_key(&["--list-keys"])).contains("[ultimate]"));
}
