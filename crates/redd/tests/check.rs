//! `redd check`: what it says is right, on this machine, for an unprivileged user, in a container, and with user namespaces
//! switched off; and nothing stays.

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::mount::{MountFlags, mount, mount_bind};
use rustix::process::{Pid, Signal, kill_process};
use testkit::fixture::{self, Tree};
use testkit::{Ended, HostState, Isolated, Running, Terminal, requires, run_limited};

const REDD: &str = env!("CARGO_BIN_EXE_redd");
const LIMIT: Duration = Duration::from_secs(120);
/// A user that is nobody's.
const USER: u32 = 54_321;

/// What was found, by feature.
struct Report {
    ended: Ended,
    readiness: String,
    findings: BTreeMap<String, serde_json::Value>,
}

impl Report {
    /// Runs the check.
    #[track_caller]
    fn by(mut command: Command) -> Self {
        command.args(["check", "--json=short"]);
        Self::of(command)
    }

    /// Runs what ends with the check.
    #[track_caller]
    fn of(command: Command) -> Self {
        let ended = run_limited(command, Vec::new(), LIMIT);
        let value: serde_json::Value = serde_json::from_str(&ended.output).unwrap_or_else(|_| panic!("{ended}"));
        let rows = value["findings"].as_array().expect("findings").iter();
        let findings: BTreeMap<_, _> =
            rows.map(|row| (row["feature"].as_str().expect("name").to_owned(), row.clone())).collect();
        for (name, row) in &findings {
            let fine = ["ok", "absent"].contains(&row["state"].as_str().expect("state"));
            assert_eq!(row["advice"].is_null(), fine, "{name}: {row}");
            assert!(!row["found"].as_str().expect("found").is_empty() && !row["why"].as_str().expect("why").is_empty());
        }
        Self { readiness: value["readiness"].as_str().expect("readiness").to_owned(), ended, findings }
    }

    fn row(&self, feature: &str) -> &serde_json::Value {
        self.findings.get(feature).unwrap_or_else(|| panic!("no {feature}: {}", self.ended))
    }

    fn state(&self, feature: &str) -> &str {
        self.row(feature)["state"].as_str().expect("state")
    }

    #[track_caller]
    fn expect(&self, state: &str, features: &[&str]) {
        for feature in features {
            assert_eq!(self.state(feature), state, "{feature}: {}", self.row(feature));
        }
    }

    /// All of these words are in what was found of it or in what is advised.
    #[track_caller]
    fn expect_words(&self, feature: &str, words: &[&str]) {
        let text = self.row(feature).to_string();
        for word in words {
            assert!(text.contains(word), "{feature}: {word:?} is not in {text}");
        }
    }
}

const NAMESPACES: [&str; 6] = [
    "mount namespaces",
    "pid namespaces",
    "uts namespaces",
    "ipc namespaces",
    "cgroup namespaces",
    "network namespaces",
];

fn works(program: &str, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
}

/// The program where everybody may execute it.
fn for_everybody() -> (Tree, PathBuf) {
    let directory = fixture::empty();
    let program = directory.join("redd");
    std::fs::copy(REDD, &program).expect("copy");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("mode");
    (directory, program)
}

fn as_user(program: &Path, home: Option<&Path>) -> Command {
    let mut command = Command::new(program);
    command.uid(USER).gid(USER).env_remove("HOME").env_remove("XDG_DATA_HOME");
    if let Some(home) = home {
        command.env("HOME", home);
    }
    command
}

#[test]
fn on_this_machine_it_says_what_other_programs_do() {
    requires!(root, cgroup2, userns, idmap, loop, program "unshare", program "ip");
    let _isolated = Isolated::enter();
    // A directory on a real disk that no other test uses.
    let machines = fixture::empty();
    std::fs::create_dir_all("/var/lib/machines").expect("directory");
    mount_bind(machines.path(), "/var/lib/machines").expect("mount");
    let before = HostState::capture(machines.path(), &[]);
    let report = Report::by(Command::new(REDD));
    before.assert_same();
    assert_eq!(std::fs::read_dir(machines.path()).expect("machines").count(), 0, "something is left");
    assert_eq!((report.ended.code(), report.readiness.as_str()), (0, "ready"), "{}", report.ended);
    report.expect("ok", &NAMESPACES);
    report.expect("ok", &["starts", "with users of its own", "kernel", "seccomp", "device filter", "user namespaces"]);
    report.expect(
        "ok",
        &["ranges of ids", "subordinate ids", "overlayfs", "layout", "own groups", "loop devices", "audit"],
    );
    // Whether other programs can do it, too.
    let agrees = |feature: &str, works: bool| {
        assert_eq!(report.state(feature) == "ok", works, "{}", report.row(feature));
    };
    let link = |words: &str| {
        works("unshare", &["--net", "sh", "-c", &format!("ip link add type veth && ip link add {words}")])
    };
    agrees("veth", link("x type veth"));
    agrees("bridge", link("x type bridge"));
    agrees("macvlan", link("x link veth0 type macvlan"));
    agrees("ipvlan", link("x link veth0 type ipvlan"));
    agrees("tun", works("unshare", &["--net", "ip", "tuntap", "add", "x", "mode", "tun"]));
    agrees("time namespaces", works("unshare", &["--time", "true"]));
    agrees("fuse", std::fs::File::options().read(true).write(true).open("/dev/fuse").is_ok());
    let misc = std::fs::read_to_string("/proc/misc").expect("proc");
    assert!(misc.contains("device-mapper") || report.state("device mapper") == "missing");
    // Not what is mounted at the place of the tests, but where machines are.
    report.expect_words("machines directory", &["/var/lib/machines"]);
    let limit = std::fs::read_to_string("/proc/sys/fs/inotify/max_user_instances").expect("sysctl");
    report.expect_words("inotify instances", &[&format!("is {}", limit.trim())]);
    report.expect_words("audit", &["audit=0"]);
}

#[test]
fn an_unprivileged_user_is_told_what_root_can_do() {
    requires!(root, userns);
    let (directory, program) = for_everybody();
    let home = directory.join("home");
    std::fs::create_dir(&home).expect("directory");
    chown(&home, Some(USER), Some(USER)).expect("owner");
    let report = Report::by(as_user(&program, Some(&home)));
    assert_eq!((report.ended.code(), report.readiness.as_str()), (1, "not ready"), "{}", report.ended);
    report.expect("denied", &["starts", "with users of its own", "device filter", "own groups", "idmapped mounts"]);
    report.expect_words("starts", &["run redd as root", "Permission denied"]);
    let allowed = as_user(Path::new("/usr/bin/unshare"), None).args(["-Urn", "true"]).output();
    let allowed = allowed.is_ok_and(|output| output.status.success());
    assert_eq!(report.state("user namespaces") == "ok", allowed, "{}", report.row("user namespaces"));
    if allowed {
        report.expect("ok", &NAMESPACES);
        report.expect("ok", &["seccomp", "overlayfs"]);
        let veth = as_user(Path::new("/usr/bin/unshare"), None)
            .args(["-Urn", "ip", "link", "add", "type", "veth"])
            .output()
            .is_ok_and(|output| output.status.success());
        assert_eq!(report.state("veth") == "ok", veth, "{}", report.row("veth"));
    }
    report.expect("missing", &["subordinate ids", "machines directory"]);
    report.expect_words("subordinate ids", &["usermod --add-subuids", &USER.to_string()]);
    report.expect_words("machines directory", &["home/.local/share/machines", "mkdir -p"]);
    report.expect("unknown", &["leftovers"]);
    assert_eq!(std::fs::read_dir(&home).expect("home").count(), 0, "something is left");
    // Without a home there is nowhere to try some of it.
    let homeless = Report::by(as_user(&program, None));
    homeless.expect("missing", &["machines directory"]);
    homeless.expect("unknown", &["overlayfs", "idmapped mounts"]);
}

#[test]
fn subordinate_ids_are_given_to_a_user_namespace() {
    requires!(root, userns, program "newuidmap");
    let _isolated = Isolated::enter();
    let (directory, program) = for_everybody();
    // Seen by this test alone.
    for (path, contents) in [
        ("/etc/subuid", format!("other:100000:65536\n{USER}:300000:65536\n")),
        ("/etc/subgid", format!("{USER}:400000:65536\n")),
        ("/etc/passwd", format!("root:x:0:0::/root:/bin/sh\nsomebody:x:{USER}:{USER}::/nowhere:/bin/sh\n")),
    ] {
        let file = directory.write(path, contents, 0o644);
        mount_bind(&file, path).unwrap_or_else(|error| panic!("{path}: {error}"));
    }
    let report = Report::by(as_user(&program, None));
    report.expect("ok", &["subordinate ids"]);
    report.expect_words("subordinate ids", &["65536 from 300000 on"]);
    // Too few, and nothing for groups.
    std::fs::write(directory.join("etc/subuid"), "somebody:300000:1000\n").expect("file");
    let report = Report::by(as_user(&program, None));
    report.expect("missing", &["subordinate ids"]);
    report.expect_words("subordinate ids", &["/etc/subuid", "usermod", "somebody"]);
}

/// A tree without programs, and what shows it those of this machine.
fn with_programs_of_the_host() -> (Tree, Vec<String>) {
    let tree = fixture::empty();
    std::fs::create_dir_all(tree.join("etc")).expect("directory");
    let mut shown = Vec::new();
    for name in ["usr", "bin", "sbin", "lib", "lib64"] {
        let path = Path::new("/").join(name);
        match std::fs::read_link(&path) {
            Ok(target) => std::os::unix::fs::symlink(target, tree.join(name)).expect("link"),
            Err(_) if path.is_dir() => {
                std::fs::create_dir(tree.join(name)).expect("directory");
                shown.push(format!("--bind-ro=/{name}"));
            }
            Err(_) => {}
        }
    }
    (tree, shown)
}

#[test]
fn in_a_container_it_says_what_that_keeps_from_it() {
    requires!(root, cgroup2, userns, idmap);
    let _isolated = Isolated::enter();
    let (_directory, program) = for_everybody();
    let (tree, shown) = with_programs_of_the_host();
    let inside = |options: &[&str]| {
        let mut command = Command::new(REDD);
        command.args(["spawn", "-q", "-D"]).arg(tree.path()).args(&shown).args(options);
        command.arg(format!("--bind-ro={}:/redd", program.display())).args(["--", "/redd", "check", "--json=short"]);
        Report::of(command)
    };
    for options in [&[][..], &["-U"]] {
        let report = inside(options);
        assert_eq!((report.ended.code(), report.readiness.as_str()), (1, "not ready"), "{}", report.ended);
        report.expect("missing", &["starts", "with users of its own"]);
        report.expect("denied", &["device filter"]);
        report.expect_words("device filter", &["--system-call-filter=bpf"]);
        report.expect(
            "ok",
            &["mount namespaces", "pid namespaces", "user namespaces", "seccomp", "layout", "own groups"],
        );
        report.expect("missing", &["loop devices"]);
        report.expect("denied", &["veth", "bridge", "nftables"]);
        report.expect_words("veth", &["CAP_NET_ADMIN", "--private-network"]);
        report.expect_words("audit", &["hidden by a filter"]);
        report.expect_words("systemd", &["process 1 is"]);
    }
    let with_users = inside(&["-U"]);
    with_users.expect("missing", &["ranges of ids"]);
    with_users.expect_words("ranges of ids", &["user namespace"]);
    // One whose filter refuses new namespaces.
    let held = inside(&["--system-call-filter=~unshare"]);
    held.expect("denied", &NAMESPACES);
    held.expect("denied", &["user namespaces"]);
    held.expect_words("user namespaces", &["a system call filter is on this process"]);
    // One that is made for containers inside.
    let able = inside(&["--capability=all", "--system-call-filter=bpf @mount @keyring", "--tmpfs=/var/lib/machines"]);
    assert_eq!((able.ended.code(), able.readiness.as_str()), (0, "ready"), "{}", able.ended);
    able.expect(
        "ok",
        &["starts", "with users of its own", "device filter", "overlayfs", "idmapped mounts", "ranges of ids"],
    );
}

/// Runs a script as root of a user namespace with these ids, in mount and process namespaces of its own.
fn in_users(ids: &str, script: &str, program: &Path) -> Command {
    // It has the power of its root from the first program on that it executes when it has the id.
    const AROUND: &str = "unshare --user sh -c 'until [ \"$(id -u)\" = 0 ]; do sleep 0.05; done
            exec unshare --mount --pid --fork sh -c \"$1\" \"$0\"' \"$0\" \"$1\" &
        until echo \"$2\" > /proc/$!/gid_map && echo \"$2\" > /proc/$!/uid_map; do sleep 0.05; done 2> /dev/null
        wait $!";
    let mut command = Command::new("sh");
    command.args(["-c", AROUND]).arg(program).arg(script).arg(ids);
    command
}

#[test]
fn user_namespaces_that_a_sysctl_switches_off_are_told_by_it() {
    requires!(root, userns, program "unshare");
    let (_directory, program) = for_everybody();
    // The setting is one of each user namespace: that of this one, and not the host's.
    let off =
        "mount -t proc proc /proc && echo 0 > /proc/sys/user/max_user_namespaces && exec \"$0\" check --json=short";
    for ids in ["0 0 4294967295", "0 0 1"] {
        let command = in_users(ids, off, &program);
        let report = Report::of(command);
        assert_eq!(report.ended.code(), 1, "{}", report.ended);
        report.expect("off", &["user namespaces"]);
        report
            .expect_words("user namespaces", &["user.max_user_namespaces is 0", "sysctl -w user.max_user_namespaces="]);
        report.expect("ok", &NAMESPACES);
        assert_ne!(report.state("ranges of ids"), "ok");
        assert_ne!(report.state("with users of its own"), "ok");
    }
    // The same to an ordinary user there, who lacks all that takes one.
    let by_user =
        off.replace("exec ", &format!("exec setpriv --reuid {USER} --regid {USER} --clear-groups --inh-caps=-all "));
    let report = Report::of(in_users("0 0 4294967295", &by_user, &program));
    report.expect("off", &["user namespaces"]);
    report.expect("denied", &NAMESPACES);
    report.expect("denied", &["starts", "with users of its own", "veth", "bridge", "nftables"]);
    report.expect("ok", &["seccomp", "layout", "audit"]);
    // Of another kind.
    let off = off.replace("max_user_namespaces", "max_net_namespaces");
    let command = in_users("0 0 1", &off, &program);
    let report = Report::of(command);
    report.expect("off", &["network namespaces"]);
    report.expect_words("network namespaces", &["user.max_net_namespaces is 0"]);
    report.expect("ok", &["user namespaces", "mount namespaces"]);
}

#[test]
fn what_a_killed_machine_has_left_is_named_and_stays() {
    requires!(root, cgroup2);
    let _isolated = Isolated::enter();
    // Its own, so that nobody tidies up meanwhile.
    for path in ["/run/redd", "/var/lib/machines"] {
        std::fs::create_dir_all(path).expect("directory");
        mount("tmpfs", path, "tmpfs", MountFlags::empty(), c"mode=755").expect("tmpfs");
    }
    let machine = Path::new("/var/lib/machines").join(format!("check-{}", std::process::id()));
    std::fs::create_dir(&machine).expect("directory");
    fixture::tree_at(&machine);
    let name = machine.file_name().expect("name").to_string_lossy().into_owned();
    let mut command = Command::new(REDD);
    command.args(["spawn", "-q", "-x", "-M", &name, "/bin/sleep", "1000"]);
    let mut running = Running::start(command, &name);
    let alive = Report::by(Command::new(REDD));
    assert!(!alive.row("leftovers").to_string().contains(&name), "{}", alive.row("leftovers"));
    running.kill();
    let copies = || {
        let entries = std::fs::read_dir("/var/lib/machines").expect("read").flatten();
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(".#redd.")).count()
    };
    for _ in 0..2 {
        let report = Report::by(Command::new(REDD));
        report.expect("limited", &["leftovers"]);
        report.expect_words("leftovers", &[&name, "redd spawn --cleanup --machine="]);
        assert_eq!(copies(), 1, "it only looks");
    }
    let mut command = Command::new(REDD);
    command.args(["spawn", "--cleanup", "-M", &name]);
    let cleaned = run_limited(command, Vec::new(), LIMIT);
    assert!(cleaned.output.contains(&name) || cleaned.errors.contains(&name), "{cleaned}");
    let report = Report::by(Command::new(REDD));
    assert!(!report.row("leftovers").to_string().contains(&name), "{}", report.row("leftovers"));
    assert_eq!(copies(), 0);
}

#[test]
fn a_check_that_is_asked_to_end_removes_its_directory_first() {
    requires!(root, cgroup2, userns);
    let _isolated = Isolated::enter();
    std::fs::create_dir_all("/var/lib/machines").expect("directory");
    mount("tmpfs", "/var/lib/machines", "tmpfs", MountFlags::empty(), c"mode=755").expect("tmpfs");
    let left = || std::fs::read_dir("/var/lib/machines").expect("read").count();
    let mut caught = 0;
    for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT, Signal::TERM, Signal::INT] {
        let mut command = Command::new(REDD);
        command.args(["check", "--json=short"]).stdout(std::process::Stdio::null());
        let mut child = command.spawn().expect("start");
        while left() == 0 && child.try_wait().expect("wait").is_none() {
            std::thread::sleep(Duration::from_micros(200));
        }
        if child.try_wait().expect("wait").is_none() {
            kill_process(Pid::from_child(&child), signal).expect("signal");
        }
        let status = child.wait().expect("wait");
        caught += usize::from(status.signal() == Some(signal.as_raw()));
        assert_eq!(left(), 0, "after {signal:?}: {status}");
    }
    assert!(caught > 0, "none came in time");
}

#[test]
fn a_check_that_is_killed_leaves_nothing_that_the_next_one_does_not_remove() {
    requires!(root, cgroup2, userns);
    let _isolated = Isolated::enter();
    std::fs::create_dir_all("/var/lib/machines").expect("directory");
    mount("tmpfs", "/var/lib/machines", "tmpfs", MountFlags::empty(), c"mode=755").expect("tmpfs");
    let left = || std::fs::read_dir("/var/lib/machines").expect("read").count();
    for moment in [5, 15, 30, 60, 120] {
        let mut child = Command::new(REDD)
            .args(["check", "--json=short"])
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("start");
        std::thread::sleep(Duration::from_millis(moment));
        child.kill().expect("kill");
        child.wait().expect("wait");
    }
    // What one has left is not what the next one finds: that has tidied it up.
    let dead = Path::new("/var/lib/machines/.#redd.redd-check-1");
    if !dead.exists() {
        std::fs::create_dir(dead).expect("directory");
    }
    let report = Report::by(Command::new(REDD));
    let found = report.row("leftovers")["found"].as_str().unwrap_or_default().to_owned();
    assert!(!found.split([' ', ',']).any(|word| word == "redd-check-1"), "{found}");
    // What was started by the last one ends with it, and may need its time.
    let end = std::time::Instant::now() + Duration::from_secs(20);
    loop {
        let report = Report::by(Command::new(REDD));
        report.expect("ok", &["starts", "overlayfs"]);
        if left() == 0 {
            break;
        }
        assert!(std::time::Instant::now() < end, "{} stay", left());
    }
}

#[test]
fn a_person_sees_it_on_a_terminal() {
    requires!(root, userns, cgroup2);
    let mut command = Command::new(REDD);
    command.args(["check", "--verbose"]).env("TERM", "xterm").env_remove("NO_COLOR").env_remove("SYSTEMD_COLORS");
    command.env("COLUMNS", "70");
    let mut terminal = Terminal::start(&mut command);
    terminal.expect("This host", LIMIT);
    terminal.expect("start containers", LIMIT);
    let status = terminal.wait(LIMIT);
    assert!(status.success(), "{status}: {}", terminal.transcript());
    let text = terminal.transcript().to_owned();
    assert!(text.contains("\u{1b}[32mok\u{1b}[0m") && text.contains("audit=0"), "{text}");
    let plain = |line: &str| {
        let mut parts = line.split('\u{1b}');
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |text, part| text + part.split_once('m').map_or("", |(_, rest)| rest))
    };
    for line in text.lines().map(|line| plain(line.trim_end())) {
        // A word can be longer than a line.
        assert!(line.chars().count() <= 70 || !line.trim().contains(' '), "{line:?}");
    }
    // In a pipe a feature is a line, without colours.
    let mut command = Command::new(REDD);
    command.args(["check", "--no-legend"]);
    let ended = run_limited(command, Vec::new(), LIMIT).expect_code(0);
    assert!(!ended.output.contains('\u{1b}') && ended.output.starts_with("  starts "), "{ended}");
    assert!(ended.output.lines().any(|line| line.contains("overlayfs") && line.contains(" ok ")), "{ended}");
}
