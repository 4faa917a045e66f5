//! Commands, shells and logins in machines that others run, which systemd-machined notes.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use testkit::fixture::{self, Tree};
use testkit::{Ended, HostState, Isolated, Terminal, requires, run_limited};

const REDD: &str = env!("CARGO_BIN_EXE_redd");
const LIMIT: Duration = Duration::from_secs(60);

/// A machine of the installed systemd-nspawn, in the way that systemd-machined notes it.
struct Upstream {
    child: Child,
    name: String,
}

impl Upstream {
    fn start(tree: &Tree, options: &[&str]) -> Self {
        drop(std::fs::remove_file(tree.join("ready")));
        let program = ["/bin/sh", "-c", ": > /ready; exec sleep 1000"];
        let upstream = Self::spawn(tree.path(), tree.name(), &[options, &program].concat());
        let until = Instant::now() + LIMIT;
        while !tree.join("ready").exists() {
            assert!(Instant::now() < until, "it does not come up");
            std::thread::sleep(Duration::from_millis(5));
        }
        upstream.note()
    }

    fn spawn(tree: &Path, name: String, options: &[&str]) -> Self {
        let mut command = Command::new("systemd-nspawn");
        command.args(["-q", "--register=no", "--keep-unit", "-M", &name, "-D"]).arg(tree).args(options);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self { child: command.spawn().expect("systemd-nspawn"), name }
    }

    fn note(self) -> Self {
        let upstream = self;
        let text =
            format!("NAME={}\nCLASS=container\nLEADER={}\nREALTIME=1\nMONOTONIC=1\n", upstream.name, upstream.leader());
        std::fs::write(Path::new("/run/systemd/machines").join(&upstream.name), text).expect("its file");
        upstream
    }

    fn leader(&self) -> i32 {
        self.child_of().expect("a first process")
    }

    /// Its only child.
    fn child_of(&self) -> Option<i32> {
        let pid = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
        children.split_whitespace().last()?.parse().ok()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.leader()) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        let _ = self.child.wait();
        drop(std::fs::remove_file(Path::new("/run/systemd/machines").join(&self.name)));
    }
}

fn exec(name: &str, words: &[&str]) -> Ended {
    let mut command = Command::new(REDD);
    command.args(["exec", name]).args(words);
    run_limited(command, Vec::new(), LIMIT)
}

#[test]
fn a_command_may_do_what_the_first_process_may() {
    requires!(root, cgroup2, idmap, program "systemd-nspawn");
    let tree = fixture::tree();
    let _isolated = Isolated::enter();
    let before = HostState::capture(tree.path(), &[]);
    let standing = "grep -E '^(Uid|Gid|Cap|NoNewPrivs|Seccomp)' /proc/$0/status; cat /proc/$0/limits; \
                    for name in cgroup ipc mnt net pid user uts; do readlink /proc/$0/ns/$name; done";
    for way in [
        &[][..],
        &["--private-users=2000000:65536", "--private-users-ownership=map"],
        &["--no-new-privileges=yes", "--drop-capability=CAP_CHOWN"],
        &["--rlimit=RLIMIT_NOFILE=100:200"],
    ] {
        let upstream = Upstream::start(&tree, way);
        let [first, own] =
            ["1", "self"].map(|who| exec(&upstream.name, &["sh", "-c", standing, who]).expect_code(0).output);
        assert!(first.contains("Seccomp:\t2"), "{way:?}: {first}");
        assert_eq!(first, own, "{way:?}");
        // The filter is the same, and not just some filter.
        let mut command = Command::new(REDD);
        command.args(["exec", &upstream.name, "/probe", "keyring"]);
        assert_eq!(run_limited(command, Vec::new(), LIMIT).expect_code(0).output, "keyring=Err(1)\n", "{way:?}");
        exec(&upstream.name, &["sh", "-c", "exit 77"]).expect_code(77);
    }
    before.assert_same();
}

#[test]
fn what_is_no_machine_of_its_own_is_told() {
    requires!(root, cgroup2);
    let _isolated = Isolated::enter();
    let mut child = Command::new("sleep").arg("1000").spawn().expect("sleep");
    for (class, words) in [("container", "has no mounts of its own"), ("vm", "is a virtual machine")] {
        let text = format!("NAME=sec-same\nCLASS={class}\nLEADER={}\nREALTIME=1\nMONOTONIC=1\n", child.id());
        std::fs::write("/run/systemd/machines/sec-same", text).expect("its file");
        let ended = exec("sec-same", &["true"]).expect_code(1);
        assert!(ended.errors.contains(words), "{ended}");
    }
    child.kill().expect("killed");
    child.wait().expect("ended");
    let ended = exec("sec-same", &["true"]).expect_code(1);
    assert!(ended.errors.contains("no machine named sec-same is running"), "{ended}");
}

/// As `machinectl`, on a terminal.
fn typed(words: &[&str]) -> Terminal {
    let mut command = Command::new(REDD);
    Terminal::start(command.arg0("machinectl").args(words).env("TERM", "dumb"))
}

fn leave(mut terminal: Terminal) {
    terminal.write("\x1d\x1d\x1d");
    assert_eq!(terminal.wait(LIMIT).code(), Some(0), "{}", terminal.transcript());
}

/// A shell, its code, and a login that asks.
fn sessions(name: &str, prompt: &str) {
    let mut shell = typed(&["shell", name]);
    shell.expect(prompt, LIMIT);
    shell.write_line("echo $(id -un) on $(tty) e\"\"nd");
    shell.expect("root on /dev/pts/", LIMIT);
    leave(shell);
    let mut shell = typed(&["shell", "-q", name, "/bin/sh", "-c", "exit 7"]);
    assert_eq!(shell.wait(LIMIT).code(), Some(7), "{}", shell.transcript());
    let mut shell = typed(&["shell", &format!("nobody-here@{name}")]);
    assert_eq!(shell.wait(LIMIT).code(), Some(1));
    assert!(shell.transcript().contains("nobody-here"), "{}", shell.transcript());
    let mut login = typed(&["login", name]);
    login.expect("login: ", LIMIT);
    leave(login);
}

#[test]
fn sessions_without_systemd_inside() {
    requires!(root, cgroup2, program "systemd-nspawn", program "busybox");
    let tree = fixture::tree_with_login();
    let _isolated = Isolated::enter();
    let before = HostState::capture(tree.path(), &[]);
    let upstream = Upstream::start(&tree, &[]);
    sessions(&upstream.name, "# ");
    drop(upstream);
    before.assert_same();
}

#[test]
#[ignore = "boots a Debian with upstream's systemd-nspawn"]
fn sessions_of_the_service_manager_inside() {
    requires!(root, cgroup2, program "systemd-nspawn");
    let Some(tree) = fixture::debian_tree() else { return };
    let _isolated = Isolated::enter();
    let before = HostState::capture(&tree, &[]);
    let upstream = Upstream::spawn(&tree, "sec-booted".to_owned(), &["-b", "--volatile=overlay"]);
    let until = Instant::now() + LIMIT;
    let named = |pid: i32| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "systemd\n");
    while !upstream.child_of().is_some_and(named) {
        assert!(Instant::now() < until, "it does not come up");
        std::thread::sleep(Duration::from_millis(20));
    }
    let upstream = upstream.note();
    sessions(&upstream.name, "# ");
    let failed =
        exec(&upstream.name, &["/usr/bin/systemctl", "list-units", "--all", "--no-legend", "container-*@*.service"]);
    assert_eq!(failed.expect_code(0).output, "");
    drop(upstream);
    before.assert_same();
}
