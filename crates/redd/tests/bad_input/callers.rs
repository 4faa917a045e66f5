//! A caller without rights: every verb that changes something says that it may not, and nothing has changed.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::{Ended, HostState, fixture, requires, run_limited};

use crate::scene::{Face, LIMIT, REDD, isolate, listed, redd, spawn};

const POOL: &str = "/var/lib/machines";
const NOBODY: u32 = 65534;

/// `redd` where everybody may run it.
struct Everybodys(tempfile::TempDir);

impl Everybodys {
    fn new() -> Self {
        let place = tempfile::tempdir().expect("directory");
        std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o755)).expect("mode");
        std::fs::copy(REDD, place.path().join("redd")).expect("copy");
        Self(place)
    }

    fn call(&self, face: Face, words: &[&str]) -> Ended {
        let mut command = Command::new("setpriv");
        let user = format!("--reuid={NOBODY}");
        command.args([&user, &format!("--regid={NOBODY}"), "--clear-groups", "--"]);
        match face {
            Face::Redd => command.arg(self.0.path().join("redd")),
            // Its name is what it is asked for under.
            Face::Machinectl => {
                command.args(["/bin/sh", "-c", "exec \"$0\" \"$@\""]).arg(self.0.path().join("machinectl"))
            }
        };
        command
            .args(words)
            .env("LANG", "C.UTF-8")
            .env("HOME", "/")
            .env("SYSTEMD_EDITOR", "true")
            .current_dir("/")
            .process_group(0);
        run_limited(command, Vec::new(), LIMIT)
    }
}

/// What is there in a place, with owners, modes, contents' sizes and times.
fn seen(place: &Path) -> BTreeMap<PathBuf, (u32, u32, u64, i64, i64)> {
    let mut all = BTreeMap::new();
    let mut places = vec![place.to_owned()];
    while let Some(place) = places.pop() {
        for entry in std::fs::read_dir(&place).into_iter().flatten().flatten() {
            let status = entry.path().symlink_metadata().expect("there");
            if status.is_dir() {
                places.push(entry.path());
            }
            let told = (status.uid(), status.mode(), status.len(), status.mtime(), status.mtime_nsec());
            all.insert(entry.path(), told);
        }
    }
    all
}

/// All that changes something; NAME is a machine that runs, IMAGE an image, TREE a tree that nobody uses.
const BOTH: &[Face] = &[Face::Redd, Face::Machinectl];
const OWN: &[Face] = &[Face::Redd];
const CHANGES: [(&[&str], &[Face]); 35] = [
    (&["start", "IMAGE"], BOTH),
    (&["stop", "NAME"], BOTH),
    (&["poweroff", "NAME"], BOTH),
    (&["reboot", "NAME"], BOTH),
    (&["restart", "NAME"], BOTH),
    (&["terminate", "NAME"], BOTH),
    (&["kill", "NAME"], BOTH),
    (&["kill", "NAME", "--kill-whom=leader", "--signal=KILL"], BOTH),
    (&["kill", "NAME", "--kill-whom=supervisor", "--signal=KILL"], BOTH),
    (&["pause", "NAME"], BOTH),
    (&["resume", "NAME"], BOTH),
    (&["enable", "IMAGE"], BOTH),
    (&["disable", "IMAGE"], BOTH),
    (&["login", "NAME"], BOTH),
    (&["login", ".host"], BOTH),
    (&["shell", "NAME", "/bin/true"], BOTH),
    (&["shell", ".host", "/bin/true"], BOTH),
    (&["bind", "NAME", "/etc", "/mnt"], BOTH),
    (&["copy-to", "NAME", "/etc/hostname", "/tmp/copied"], BOTH),
    (&["copy-from", "NAME", "/etc/passwd", "/tmp/redd-taken"], BOTH),
    (&["clone", "IMAGE", "bad-input-stolen"], BOTH),
    (&["clone", "IMAGE", "bad-input-stolen", "--read-only"], OWN),
    (&["rename", "IMAGE", "bad-input-named"], BOTH),
    (&["read-only", "IMAGE", "yes"], BOTH),
    (&["read-only", "IMAGE", "no"], BOTH),
    (&["remove", "IMAGE"], BOTH),
    (&["set-limit", "IMAGE", "1G"], BOTH),
    (&["set-limit", "1G"], BOTH),
    (&["clean"], BOTH),
    (&["clean", "--all"], BOTH),
    (&["edit", "IMAGE"], BOTH),
    (&["exec", "NAME", "--", "true"], OWN),
    (&["spawn", "-q", "-D", "TREE", "--", "true"], OWN),
    (&["spawn", "--cleanup", "-M", "NAME", "-D", "TREE"], OWN),
    (&["autostart"], OWN),
];

/// What such a caller may look at.
const LOOKS: [&[&str]; 9] = [
    &["list"],
    &["list", "--all"],
    &["status", "NAME"],
    &["show", "NAME"],
    &["list-images"],
    &["image-status", "IMAGE"],
    &["show-image", "IMAGE"],
    &["ps", "NAME"],
    &["stats", "NAME", "--no-stream"],
];

#[test]
fn callers_without_rights_change_nothing() {
    requires!(root, cgroup2, program "mount", program "setpriv");
    let _isolated = isolate(&[POOL, "/etc/systemd/nspawn"]);
    let tree = fixture::tree();
    let name = format!("bad-input-roots-{}", std::process::id());
    for image in ["bad-input-image", ".bad-input-hidden"] {
        let tree = Path::new(POOL).join(image);
        std::fs::create_dir_all(&tree).expect("image");
        fixture::tree_at(&tree);
    }
    let tree_text = Path::new(POOL).join("bad-input-image").to_str().expect("path").to_owned();
    let host = HostState::capture(tree.path(), &[Path::new("/etc/redd")]);
    let everybodys = Everybodys::new();
    std::os::unix::fs::symlink("redd", everybodys.0.path().join("machinectl")).expect("link");
    let running = spawn(tree.path(), &name);
    let leader = running.leader();
    let places = ["/run/redd", POOL, "/etc/systemd/nspawn", "/etc/redd"].map(Path::new);
    let before = places.map(seen);
    let replaced = |words: &[&'static str]| -> Vec<String> {
        let replace = |word: &&str| match *word {
            "NAME" => name.clone(),
            "IMAGE" => "bad-input-image".to_owned(),
            "TREE" => tree_text.clone(),
            other => other.to_owned(),
        };
        words.iter().map(replace).collect()
    };
    for (words, faces) in CHANGES {
        let words = replaced(words);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        for face in faces {
            let ended = everybodys.call(*face, &words);
            let what = format!("{face:?} {words:?}");
            assert!([1, 2].contains(&ended.code()), "{what}: {ended}");
            let told = ended.errors.to_lowercase();
            // There is more in the way of a limit than rights.
            let why: &[&str] =
                if words[0] == "set-limit" { &["btrfs"] } else { &["root", "permi", "sudo", "privilege"] };
            assert!(why.iter().any(|word| told.contains(word)), "{what}: {ended}");
            let lines = told.lines().filter(|line| !line.starts_with("hint: ")).count();
            // Each of the images, and that all of it was in vain; each of what there is to tidy up.
            let most = match &words[..] {
                ["clean", "--all"] => 3,
                ["clean"] => 2,
                [_, "--cleanup", ..] => usize::MAX,
                _ => 1,
            };
            assert!((1..=most).contains(&lines), "{what}: {ended}");
            assert!(!told.contains("panicked"), "{what}: {ended}");
            assert_eq!(running.leader(), leader, "{what}");
            for (place, before) in places.iter().zip(&before) {
                assert_eq!(&seen(place), before, "{what} in {}", place.display());
            }
        }
    }
    for words in LOOKS {
        let words = replaced(words);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let ended = everybodys.call(Face::Redd, &words).expect_code(0);
        assert_eq!(ended.errors, "", "{words:?}: {ended}");
    }
    // Nothing has come to the machine: it runs as before, and ends as its root wants.
    assert_eq!(listed(), std::slice::from_ref(&name));
    redd(&["exec", &name, "--", "/bin/sh", "-c", "test ! -e /tmp/copied"]).expect_code(0);
    assert!(!Path::new("/tmp/redd-taken").exists());
    redd(&["poweroff", &name]).expect_code(0);
    assert_eq!(running.end().code(), Some(7));
    drop(everybodys);
    host.assert_same();
}
