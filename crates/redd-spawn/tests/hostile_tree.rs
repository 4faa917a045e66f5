//! Trees that try to make the engine touch the host: links, fifos, sockets and devices where directories and files
//! should be. Whatever they hold, nothing outside is made, changed or mounted over; the run works, or ends with one
//! error; it never hangs, and it opens no device.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use testkit::fixture::{self, Tree};
use testkit::{Ended, HostState, Isolated, OpenWatch, Spawn, requires};

const REDD: &str = env!("CARGO_BIN_EXE_redd-spawn");

/// What the engine looks at or makes in every tree.
const DIRECTORIES: [&str; 14] = [
    "dev",
    "proc",
    "sys",
    "run",
    "tmp",
    "var",
    "var/tmp",
    "etc",
    "usr",
    "root",
    "run/host",
    "run/systemd",
    "dev/pts",
    "sys/fs/cgroup",
];

/// And the files.
const FILES: [&str; 9] = [
    "etc/passwd",
    "etc/group",
    "etc/os-release",
    "usr/lib/os-release",
    "etc/machine-id",
    "etc/resolv.conf",
    "etc/localtime",
    "etc/hostname",
    "dev/console",
];

/// What stands in the place of one of them.
const KINDS: [&str; 13] = [
    "link to a host directory",
    "link to a host file",
    "link with dots",
    "chain of links",
    "link to itself",
    "link through proc",
    "link through init's root",
    "dangling link",
    "fifo",
    "socket",
    "device",
    "unreadable directory",
    "file",
];

/// The host's: nothing in it may change.
struct Canary(Tree);

impl Canary {
    fn new() -> Self {
        let canary = fixture::empty();
        for name in ["directory/pts", "directory/host", "directory/fs/cgroup", "directory/tmp", "directory/systemd"] {
            std::fs::create_dir_all(canary.join(name)).expect("directory");
        }
        canary.write("directory/os-release", "ID=canary\n", 0o644);
        canary.write("file", "root:x:0:0:root:/root:/bin/sh\nuser:x:0:0::/:/bin/sh\n", 0o644);
        Self(canary)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

/// The least that runs: the probe is command and init system.
fn bare() -> Tree {
    let tree = fixture::empty();
    for name in ["dev", "proc", "sys", "run", "tmp", "var/tmp", "root", "usr/bin", "usr/lib/systemd", "new/old"] {
        std::fs::create_dir_all(tree.join(name)).expect("directory");
    }
    symlink("usr/bin", tree.join("bin")).expect("link");
    std::fs::copy(testkit::PROBE, tree.join("usr/bin/probe")).expect("probe");
    std::fs::hard_link(tree.join("usr/bin/probe"), tree.join("probe")).expect("probe");
    std::fs::hard_link(tree.join("usr/bin/probe"), tree.join("new/probe")).expect("probe");
    std::fs::hard_link(tree.join("usr/bin/probe"), tree.join("usr/lib/systemd/systemd")).expect("probe");
    tree.write("etc/passwd", "root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n", 0o644);
    tree.write("etc/group", "root:x:0:\nuser:x:1000:\n", 0o644);
    tree.write("usr/lib/os-release", "ID=bare\n", 0o644);
    tree.write("etc/resolv.conf", "nameserver 192.0.2.1\n", 0o644);
    if let Ok(zone) = std::fs::read_link("/etc/localtime")
        && let Some((_, zone)) = zone.to_string_lossy().split_once("zoneinfo/")
    {
        tree.write(&format!("usr/share/zoneinfo/{zone}"), "TZif", 0o644);
    }
    tree
}

/// Puts something of this kind there. Its path, if it is something that must not be opened.
fn plant(tree: &Tree, place: &str, kind: &str, canary: &Canary) -> Option<PathBuf> {
    let path = tree.join(place);
    match std::fs::symlink_metadata(&path) {
        Ok(status) if status.is_dir() => std::fs::remove_dir_all(&path).expect("remove"),
        Ok(_) => std::fs::remove_file(&path).expect("remove"),
        Err(_) => std::fs::create_dir_all(path.parent().expect("parent")).expect("directory"),
    }
    let host = canary.path("directory");
    let link = |target: &str| symlink(target, &path).expect("link");
    match kind {
        "link to a host directory" => link(&host),
        "link to a host file" => link(&canary.path("file")),
        "link with dots" => link(&format!("../../../../../../../..{host}")),
        "chain of links" => {
            symlink(&host, tree.join("chain-2")).expect("link");
            symlink("chain-2", tree.join("chain-1")).expect("link");
            link("/chain-1");
        }
        "link to itself" => link(&format!("/{place}")),
        "link through proc" => link(&format!("/proc/self/root{host}")),
        "link through init's root" => link(&format!("/proc/1/root{host}")),
        "dangling link" => link("nowhere/at/all"),
        "fifo" => make_node(&path, &["p"]),
        "socket" => drop(std::os::unix::net::UnixListener::bind(&path).expect("socket")),
        "device" => make_node(&path, &["c", "10", "130"]),
        "unreadable directory" => std::fs::create_dir(&path).expect("directory"),
        _ => drop(tree.write(place, "\0\u{1}not what you think\n:::::\n", 0o000)),
    }
    if kind == "unreadable directory" {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).expect("mode");
    }
    matches!(kind, "fifo" | "device").then_some(path)
}

fn make_node(path: &Path, kind: &[&str]) {
    let status = Command::new("mknod").arg("-m").arg("666").arg(path).args(kind).status();
    assert!(status.is_ok_and(|status| status.success()), "mknod {}", path.display());
}

/// One combination.
struct Case<'a> {
    /// In words.
    name: String,
    tree: &'a Tree,
    /// What must not be opened.
    special: Option<PathBuf>,
    canary: &'a Canary,
}

/// Runs it, and says what is wrong.
fn judge(case: &Case<'_>, run: Spawn) -> Option<String> {
    let watch = case.special.as_deref().map(|path| OpenWatch::new([path]));
    let before = HostState::capture(case.tree.path(), &[case.canary.0.path()]);
    let ended = run.limit(Duration::from_secs(20)).run();
    let mut wrong = before.differences();
    wrong.extend(wrong_end(&ended));
    let opened = watch.iter().flat_map(OpenWatch::opened);
    wrong.extend(opened.map(|path| format!("{} was opened", path.display())));
    (!wrong.is_empty()).then(|| format!("{}: {}\n{ended}", case.name, wrong.join("; ")))
}

fn wrong_end(ended: &Ended) -> Option<String> {
    let code = ended.status.and_then(|status| status.code());
    let lines = ended.errors.lines().count();
    match code {
        Some(0) if ended.output.contains("pid=") => None,
        Some(1) if (1..=2).contains(&lines) && ended.output.is_empty() => None,
        _ => Some(format!("ended with {code:?} and {lines} lines of errors")),
    }
}

/// How trees are started: name, options, the program.
const MODES: [(&str, &[&str]); 12] = [
    ("plain", &["/probe"]),
    ("-U", &["-U", "/probe"]),
    ("-U -n", &["-U", "--private-network", "/probe"]),
    ("-x", &["-x", "/probe"]),
    ("-x -U", &["-x", "-U", "/probe"]),
    ("volatile=yes", &["--volatile=yes", "/usr/bin/probe"]),
    ("volatile=state", &["--volatile=state", "/probe"]),
    ("volatile=overlay", &["--volatile=overlay", "/probe"]),
    ("read-only", &["--read-only", "/probe"]),
    ("boot", &["-b"]),
    ("user", &["-u", "user", "/probe"]),
    ("pivot-root", &["--pivot-root=/new:/old", "/probe"]),
];

fn places() -> impl Iterator<Item = &'static str> {
    DIRECTORIES.into_iter().chain(FILES)
}

fn run_all(cases: impl Iterator<Item = (&'static str, &'static str, usize)>) {
    requires!(root, cgroup2, userns, idmap, program "mknod");
    let _isolated = Isolated::enter();
    let canary = Canary::new();
    let mut number = 0;
    let mut wrong = Vec::new();
    for (place, kind, mode) in cases {
        let (name, options) = MODES[mode];
        let tree = bare();
        let special = plant(&tree, place, kind, &canary);
        let run = Spawn::redd(REDD, tree.path()).args(options);
        let name = format!("{name}, /{place} is a {kind}");
        wrong.extend(judge(&Case { name, tree: &tree, special, canary: &canary }, run));
        number += 1;
    }
    assert!(number >= 60, "{number} combinations");
    assert!(wrong.is_empty(), "{} of {number}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_place_and_kind_in_a_plain_start() {
    run_all(places().flat_map(|place| KINDS.into_iter().map(move |kind| (place, kind, 0))));
}

/// The kinds take turns, so that every place meets every mode and every mode every kind.
fn in_turn(modes: std::ops::Range<usize>) -> impl Iterator<Item = (&'static str, &'static str, usize)> {
    let kinds = move |at: usize, mode: usize| KINDS[(at * 5 + mode * 3) % KINDS.len()];
    places().enumerate().flat_map(move |(at, place)| {
        modes.clone().flat_map(move |mode| {
            [(place, kinds(at, mode), mode), (place, "link to a host directory", mode), (place, "fifo", mode)]
        })
    })
}

#[test]
fn every_place_with_users_of_its_own() {
    run_all(in_turn(1..3));
}

#[test]
fn every_place_in_copies() {
    run_all(in_turn(3..5));
}

#[test]
fn every_place_in_volatile_and_read_only_modes() {
    run_all(in_turn(5..9));
}

#[test]
fn every_place_when_booted_and_as_a_user_and_pivoted() {
    run_all(in_turn(9..12));
}

#[test]
fn every_kind_as_the_target_of_an_option() {
    requires!(root, cgroup2, userns, idmap, program "mknod");
    let _isolated = Isolated::enter();
    let canary = Canary::new();
    let mut wrong = Vec::new();
    let source = fixture::empty();
    let file = source.write("file", "x", 0o644);
    let source = source.path().display().to_string();
    let options = [
        format!("--bind={source}:/target"),
        format!("--bind={source}:/target/below/it"),
        format!("--bind-ro={}:/target", file.display()),
        "--tmpfs=/target".to_owned(),
        "--tmpfs=/target/below".to_owned(),
        "--inaccessible=/target".to_owned(),
        "--bind=+/target:/other".to_owned(),
        "--pivot-root=/target".to_owned(),
        "--pivot-root=/new:/target".to_owned(),
        "--chdir=/target".to_owned(),
    ];
    for option in &options {
        for kind in KINDS {
            for users in [false, true] {
                let tree = bare();
                let special = plant(&tree, "target", kind, &canary);
                let run = Spawn::redd(REDD, tree.path()).arg(option);
                let run = if users { run.arg("-U") } else { run }.arg("/probe");
                let name = format!("{option}{}, the target is a {kind}", if users { " -U" } else { "" });
                wrong.extend(judge(&Case { name, tree: &tree, special, canary: &canary }, run));
            }
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}
