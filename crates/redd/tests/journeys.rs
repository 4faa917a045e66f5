//! What people do with a machine that boots, as they type it on a host without systemd: boot, log in, see and steer it, log in a second
//! time, leave; have it started at boot, change how it runs, look at its control groups. The same on hosts with systemd:
//! `journeys_systemd.rs`.

mod background;
#[path = "journeys/person.rs"]
mod person;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use testkit::fixture::{self, Tree};
use testkit::{Ended, HostState, Terminal, requires, run_limited};

use background::{Background, MACHINES, busybox};
use person::{LIMIT, Person, log_in};

const REDD: &str = env!("CARGO_BIN_EXE_redd");
/// Each boots a system, and looks at the host before and after.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// redd under the names that people know.
struct Names {
    directory: Tree,
}

impl Names {
    fn new() -> Self {
        let directory = fixture::empty();
        for name in ["systemd-nspawn", "machinectl", "systemd-cgls", "redd"] {
            std::os::unix::fs::symlink(REDD, directory.join(name)).expect("link");
        }
        Self { directory }
    }

    fn command(&self, name: &str, words: &[&str]) -> Command {
        let program: PathBuf = self.directory.join(name);
        let mut command = Command::new(program);
        command.args(words).env("TERM", "dumb");
        command
    }

    /// A person at a shell of this host.
    fn sit_down(&self) -> Person {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut shell = Command::new("bash");
        shell.args(["--norc", "--noprofile", "-i"]).env("TERM", "vt220").env("HOME", self.directory.path());
        Person::at(Terminal::start(shell.env("PATH", format!("{}:{path}", self.directory.path().display()))), "here")
    }

    fn machinectl(&self, words: &[&str]) -> Ended {
        run_limited(self.command("machinectl", words), Vec::new(), LIMIT)
    }

    fn boot(&self, tree: &Path, name: &str) -> Terminal {
        let mut command = self.command("systemd-nspawn", &["-x", "-M", name, "-bD"]);
        Terminal::start(command.arg(tree))
    }
}

#[test]
fn boot_log_in_and_power_off_from_inside() {
    requires!(root, cgroup2);
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(tree) = fixture::debian_tree() else { return };
    let before = HostState::capture(&tree, &[]);
    let names = Names::new();
    let mut console = names.boot(&tree, "login-j5");
    log_in(&mut console);
    console.write_line("systemctl poweroff");
    assert_eq!(console.wait(LIMIT).code(), Some(0));
    before.assert_same();
}

#[test]
fn see_steer_and_log_in_beside_the_console() {
    requires!(root, cgroup2);
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(tree) = fixture::debian_tree() else { return };
    let before = HostState::capture(&tree, &[]);
    let (names, name) = (Names::new(), "login-j7");
    let mut console = names.boot(&tree, name);
    log_in(&mut console);
    let list = names.machinectl(&["list", "--no-legend"]).expect_code(0).output;
    assert!(list.lines().any(|line| line.starts_with(name) && line.contains("container")), "{list}");
    let status = names.machinectl(&["status", name, "--no-pager"]).expect_code(0).output;
    assert!(status.contains("Leader") && status.contains("(systemd)"), "{status}");
    // Several at once; one leaves, another is there when the machine reboots.
    let mut one = Terminal::start(&mut names.command("machinectl", &["login", name]));
    log_in(&mut one);
    let mut two = Terminal::start(&mut names.command("machinectl", &["login", name]));
    log_in(&mut two);
    two.write("\x1d\x1d\x1d");
    assert_eq!(two.wait(LIMIT).code(), Some(0));
    assert!(two.transcript().contains(&format!("Connection to machine {name} terminated.")), "{}", two.transcript());
    one.write_line("echo still e\"\"nd");
    one.expect("still end", LIMIT);
    names.machinectl(&["reboot", name]).expect_code(0);
    one.wait(LIMIT);
    log_in(&mut console);
    names.machinectl(&["poweroff", name]).expect_code(0);
    assert_eq!(console.wait(LIMIT).code(), Some(0));
    let mut console = names.boot(&tree, name);
    console.expect("login: ", LIMIT);
    names.machinectl(&["terminate", name]).expect_code(0);
    console.wait(LIMIT);
    let list = names.machinectl(&["list", "--no-legend"]).expect_code(0).output;
    assert!(!list.lines().any(|line| line.starts_with(name)), "{list}");
    before.assert_same();
}

#[test]
fn start_at_boot() {
    requires!(root, cgroup2, userns, idmap, program "mount", program "busybox", program "bash");
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let (host, names) = (Background::enter(), Names::new());
    let (tree, elsewhere) = (busybox(), busybox());
    let before = HostState::capture(elsewhere.path(), &[]);
    let linked = host.machine("linked", elsewhere.path());
    let moved = host.name("moved");
    let mut person = names.sit_down();
    person.says(&format!("mv {} {MACHINES}/{moved}", tree.path().display()), &[]);
    person.says("machinectl list-images", &[&linked, &moved, "2 images listed."]);
    person.says(&format!("machinectl enable {moved}"), &["is started at boot by `redd autostart`"]);
    person.says(&format!("redd enable {linked}"), &["is started at boot by `redd autostart`"]);
    person.says("machinectl list", &["No machines."]);
    // The host boots.
    let started = person.says("redd autostart", &[]);
    assert!([&linked, &moved].iter().all(|name| started.contains(&format!("{name} has started."))), "{started}");
    person.says("machinectl list", &[&linked, &moved, "busybox", "2 machines listed."]);
    person.says(&format!("machinectl status {moved} --no-pager"), &["(init)", &format!("Root: {MACHINES}/{moved}")]);
    // It goes down.
    person.says("redd autostart --stop", &[&format!("{linked} has ended."), &format!("{moved} has ended.")]);
    person.says(&format!("machinectl disable {linked} {moved}"), &[]);
    person.says("redd autostart; machinectl list", &["No machines."]);
    person.says(&format!("mv {MACHINES}/{moved} {}", tree.path().display()), &[]);
    person.leave();
    before.assert_same();
}

#[test]
fn change_how_it_runs_and_see_its_control_groups() {
    requires!(root, cgroup2, userns, idmap, loop, program "mount", program "busybox", program "bash", program "mkfs.ext4");
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let (host, names) = (Background::enter(), Names::new());
    let tree = busybox();
    let before = HostState::capture(tree.path(), &[]);
    let name = host.machine("changed", tree.path());
    let mut person = names.sit_down();
    let exec = |words: &str| format!("redd exec {name} /bin/busybox {words}");
    let network = "readlink /proc/1/ns/net";
    let host_network = std::fs::read_link("/proc/thread-self/ns/net").expect("link");
    let host_network = host_network.to_str().expect("text");
    person.says(&format!("machinectl start {name}"), &[]);
    assert!(!person.says(&exec(network), &["net:["]).contains(host_network));
    let lines = ["[Exec]", "NoNewPrivileges=yes", "[Files]", "ReadOnly=yes", "[Network]", "Private=no"];
    person.write_in_vi(&format!("EDITOR='busybox vi' machinectl edit {name}"), &lines);
    let cat = format!("machinectl cat {name}");
    person.says(&cat, &[&format!("# /etc/systemd/nspawn/{name}.nspawn"), "NoNewPrivileges=yes", "Private=no"]);
    person.says(&exec("grep NoNewPrivs /proc/1/status"), &["NoNewPrivs:\t0"]);
    // All of it has effect at the next start.
    person.says(&format!("machinectl terminate {name}; machinectl start {name}"), &[]);
    person.says(&exec("grep NoNewPrivs /proc/1/status"), &["NoNewPrivs:\t1"]);
    person.says(&exec(network), &[host_network]);
    person.says(&format!("{} || true", exec("touch /etc/new")), &["Read-only file system"]);
    for command in [format!("redd cgls -M {name}"), format!("systemd-cgls --machine={name}")] {
        person.says(&command, &[&name, "/bin/busybox sleep 1000"]);
    }
    person.says("systemd-cgls --no-pager", &["CGroup /:", &name, "payload"]);
    person.says(&format!("machinectl terminate {name}"), &[]);
    // A disk image in place of the tree; the file of settings is its own, too.
    let image = format!("{MACHINES}/{name}.raw");
    person.says(&format!("rm {MACHINES}/{name}; truncate -s 32M {image}"), &[]);
    person.says(&format!("mkfs.ext4 -q -d {} {image}", tree.path().display()), &[]);
    person.says(&format!("machinectl start {name}"), &[]);
    person.says(&format!("machinectl image-status {name} --no-pager"), &["Type: raw", &format!("Path: {image}")]);
    person.says(&exec("grep ' / ' /proc/mounts"), &["/dev/loop", "ext4 ro"]);
    person.says(&exec(network), &[host_network]);
    person.says(&format!("machinectl terminate {name}"), &[]);
    person.leave();
    before.assert_same();
}
