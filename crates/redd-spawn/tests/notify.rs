//! What the service manager that starts redd is told, by redd and by the container.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::net::SocketAddrUnix;
use testkit::{HostState, Spawn, fixture, requires};

const REDD: &str = env!("CARGO_BIN_EXE_redd-spawn");
const LIMIT: Duration = Duration::from_secs(20);

/// A service manager, as far as it is told things.
struct Manager {
    directory: tempfile::TempDir,
    socket: OwnedFd,
}

/// One of the messages.
#[derive(Debug)]
struct Heard {
    text: String,
    descriptors: Vec<OwnedFd>,
}

impl Manager {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("directory");
        let address = SocketAddrUnix::new(directory.path().join("notify")).expect("address");
        let socket = sys::notify::listen(&address).expect("socket");
        Self { directory, socket }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("notify")
    }

    /// What has come until now.
    fn heard(&self) -> Vec<Heard> {
        let mut all = Vec::new();
        let mut bytes = [0; 4096];
        while let Some(received) = sys::notify::receive(self.socket.as_fd(), &mut bytes).expect("receive") {
            let text = String::from_utf8_lossy(&bytes[..received.length]).into_owned();
            all.push(Heard { text, descriptors: received.descriptors });
        }
        all
    }

    /// The messages of one run.
    fn of(&self, options: &[&str], payload: &[&str], code: i32) -> Vec<Heard> {
        let tree = fixture::tree();
        let run = Spawn::redd(REDD, tree.path()).args(options).args(payload).env("NOTIFY_SOCKET", self.path());
        let before = HostState::capture(tree.path(), &[]);
        run.limit(LIMIT).run().expect_code(code);
        before.assert_same();
        self.heard()
    }

    /// Waits for a message that has this in it.
    fn expect(&self, wanted: &str) -> Heard {
        let end = Instant::now() + LIMIT;
        let mut others = Vec::new();
        while Instant::now() < end {
            let mut heard = self.heard();
            if let Some(at) = heard.iter().position(|one| one.text.contains(wanted)) {
                return heard.swap_remove(at);
            }
            others.extend(heard);
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("{wanted} did not come, but {others:?}");
    }
}

fn texts(heard: &[Heard]) -> Vec<&str> {
    heard.iter().map(|one| one.text.as_str()).collect()
}

const SAID: [&str; 8] =
    ["/probe", "notify", "READY=1", "MAINPID=1", "STATUS=up", "STOPPING=1", "RELOADING=1", "WATCHDOG=1"];

#[test]
fn the_first_process_says_when_it_is_ready() {
    requires!(root, cgroup2);
    let manager = Manager::new();
    let mut modes = vec![&["--notify-ready=yes"][..], &["--notify-ready=yes", "--kill-signal=TERM"]];
    if testkit::missing(&[testkit::Requirement::UserNamespaces, testkit::Requirement::IdMap]).is_none() {
        // The sender is still known.
        modes.push(&["--notify-ready=yes", "-U"]);
    }
    for options in modes {
        let heard = manager.of(options, &SAID, 0);
        let all = texts(&heard);
        assert!(all[0].starts_with("STATUS=Container started.\nX_NSPAWN_LEADER_PID="), "{all:?}");
        assert_eq!(
            all[1..],
            [
                "READY=1\nSTATUS=Container running.\n",
                "STATUS=Container running: up\n",
                "STOPPING=1\nSTATUS=Terminating...\n",
                "EXIT_STATUS=0\n",
            ],
            "{options:?}"
        );
    }
}

#[test]
fn without_its_word_the_container_is_ready_at_once() {
    requires!(root, cgroup2);
    let manager = Manager::new();
    let heard = manager.of(&[], &["/bin/sh", "-c", "exit 7"], 7);
    let all = texts(&heard);
    assert!(all[0].starts_with("READY=1\nSTATUS=Container started.\nX_NSPAWN_LEADER_PID="), "{all:?}");
    assert_eq!(all[1..], ["STOPPING=1\nSTATUS=Terminating...\n", "EXIT_STATUS=7\n"]);
    let heard = manager.of(&["--notify-ready=no"], &SAID, 0);
    assert_eq!(texts(&heard).iter().filter(|text| text.contains("READY=1")).count(), 1);
    // What does not start was never ready.
    let heard = manager.of(&[], &["/no/such/program"], 1);
    assert_eq!(texts(&heard), ["STOPPING=1\nSTATUS=Terminating...\n", "EXIT_STATUS=1\n"]);
}

#[test]
fn only_the_first_process_is_heard() {
    requires!(root, cgroup2);
    let manager = Manager::new();
    let script =
        "/probe notify READY=1 STATUS=forged; exec 3</etc/passwd; /probe store FDSTORE=1/FDNAME=forged 3; exit 0";
    let heard = manager.of(&["--notify-ready=yes"], &["/bin/sh", "-c", script], 0);
    let forged =
        |one: &Heard| one.text.contains("READY=1") || one.text.contains("forged") || !one.descriptors.is_empty();
    assert!(!heard.iter().any(forged), "{heard:?}");
    // The stub is the first process, and says nothing.
    let heard = manager.of(&["--notify-ready=yes", "-a"], &SAID, 0);
    assert!(!texts(&heard).iter().any(|text| text.contains("READY=1") || text.contains("up")), "{heard:?}");
}

#[test]
fn descriptors_go_one_level_up() {
    requires!(root, cgroup2);
    let manager = Manager::new();
    let tree = fixture::tree();
    let file = tree.write("/stored", "contents", 0o644);
    let inode = std::fs::metadata(&file).expect("status").ino();
    let script =
        "exec 3</stored 4</etc/passwd; exec /probe store FDSTORE=1/FDNAME=one/FDPOLL=0/X_OTHER=1/MAINPID=5 3 4";
    let run = Spawn::redd(REDD, tree.path()).script(script).env("NOTIFY_SOCKET", manager.path());
    run.limit(LIMIT).run().expect_code(0);
    let heard = manager.heard();
    let stored: Vec<_> = heard.iter().filter(|one| !one.descriptors.is_empty()).collect();
    assert_eq!(stored.len(), 1, "{heard:?}");
    assert_eq!((stored[0].text.as_str(), stored[0].descriptors.len()), ("FDSTORE=1\nFDNAME=one\nFDPOLL=0\n", 2));
    assert_eq!(rustix::fs::fstat(&stored[0].descriptors[0]).expect("status").st_ino, inode);
    let heard = manager.of(&[], &["/probe", "store", "FDSTOREREMOVE=1/FDNAME=one"], 0);
    assert!(texts(&heard).contains(&"FDSTOREREMOVE=1\nFDNAME=one\n"), "{heard:?}");
    // Descriptors without the word are nobody's.
    let script = "exec 3</etc/passwd; exec /probe store STATUS=up 3";
    let heard = manager.of(&[], &["/bin/sh", "-c", script], 0);
    assert!(heard.iter().all(|one| one.descriptors.is_empty()), "{heard:?}");
}

#[test]
fn what_was_kept_comes_back_by_its_name() {
    requires!(root, cgroup2);
    let manager = Manager::new();
    let tree = fixture::tree();
    tree.write("/stored", "contents\n", 0o644);
    let script = "exec 3</stored; exec /probe store FDSTORE=1/FDNAME=mine 3";
    let run = Spawn::redd(REDD, tree.path()).script(script).env("NOTIFY_SOCKET", manager.path());
    run.limit(LIMIT).run().expect_code(0);
    let kept = manager.heard().into_iter().find_map(|mut one| one.descriptors.pop()).expect("a descriptor");
    // As the service manager does at the next start.
    let again = Command::new("sh")
        .args(["-c", "exec 3<&0 0</dev/null; export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=mine; exec \"$@\"", "sh"])
        .args([REDD, "-q", "--pipe", "-D"])
        .arg(tree.path())
        .args(["/bin/sh", "-c", "echo $LISTEN_FDNAMES; cat <&3"])
        .stdin(Stdio::from(File::from(kept)))
        .output()
        .expect("start");
    assert_eq!(String::from_utf8_lossy(&again.stdout), "mine\ncontents\n", "{again:?}");
}

/// The engine, in the background.
fn start(tree: &fixture::Tree, manager: &Manager, script: &str, variables: &[(&str, &str)]) -> Child {
    let mut command = Command::new(REDD);
    command.args(["-q", "--pipe", "-D"]).arg(tree.path()).args(["/bin/sh", "-c", script]);
    command.env("NOTIFY_SOCKET", manager.path()).envs(variables.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("start")
}

#[test]
fn a_manager_that_is_slow_misses_nothing_and_holds_nobody_up() {
    requires!(root, cgroup2);
    let manager = Manager::new();
    // Its queue is full before anything starts.
    let other = sys::notify::unbound().expect("socket");
    let address = SocketAddrUnix::new(manager.path()).expect("address");
    while sys::notify::send(other.as_fd(), &address, b"NOISE=1", &[]).is_ok() {}
    let tree = fixture::tree();
    let mut child = start(&tree, &manager, "echo ran >/ran; exec sleep 60", &[]);
    let end = Instant::now() + LIMIT;
    while !tree.join("/ran").exists() {
        assert!(Instant::now() < end, "the container waits for the service manager");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(busy(child.id()), 0, "it waits without turning");
    manager.expect("READY=1");
    rustix::process::kill_process(pid(&child), rustix::process::Signal::TERM).expect("kill");
    assert_eq!(child.wait().expect("wait").code(), Some(128 + 9));
    let all = manager.heard();
    assert_eq!(all.last().map(|one| one.text.as_str()), Some("EXIT_STATUS=137\n"), "{all:?}");
}

/// How much processor time the process takes within half a second, in hundredths of one.
fn busy(process: u32) -> u64 {
    let used = || {
        let text = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("proc");
        let words: Vec<_> = text.rsplit(") ").next().expect("words").split(' ').collect();
        [11, 12].map(|at| words[at].parse::<u64>().expect("a number")).iter().sum::<u64>()
    };
    let before = used();
    std::thread::sleep(Duration::from_millis(500));
    (used() - before) / 5
}

fn pid(child: &Child) -> rustix::process::Pid {
    rustix::process::Pid::from_raw(child.id() as i32).expect("a process id")
}

#[test]
fn a_manager_that_never_listens_does_not_keep_the_container() {
    requires!(root, cgroup2);
    let manager = Manager::new();
    let other = sys::notify::unbound().expect("socket");
    let address = SocketAddrUnix::new(manager.path()).expect("address");
    while sys::notify::send(other.as_fd(), &address, b"NOISE=1", &[]).is_ok() {}
    let tree = fixture::tree();
    // The container talks without end; it, and nobody else, waits.
    let script =
        "i=0; while [ $i -lt 100 ]; do i=$((i+1)); timeout 1 /probe store STATUS=$i >/dev/null; done & sleep 1; exit 3";
    let begin = Instant::now();
    let mut child = start(&tree, &manager, script, &[]);
    assert_eq!(child.wait().expect("wait").code(), Some(3));
    assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
}

#[test]
fn a_manager_that_is_gone_is_none() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    let run = |address: &str| {
        Spawn::redd(REDD, tree.path()).script("exit 4").env("NOTIFY_SOCKET", address).limit(LIMIT).run()
    };
    run("/nonexistent/notify").expect_code(4);
    run("@nobody-listens-here").expect_code(4);
    let wrong = run("nonsense").expect_code(1);
    assert!(wrong.errors.contains("NOTIFY_SOCKET"), "{wrong}");
}

#[test]
fn signs_of_life_are_given_as_long_as_it_runs() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    let signs = |variables: &[(&str, &str)]| {
        let manager = Manager::new();
        let mut child = start(&tree, &manager, "sleep 1.5", variables);
        child.wait().expect("wait");
        manager.heard().iter().filter(|one| one.text.contains("WATCHDOG=1")).count()
    };
    let several = signs(&[("WATCHDOG_USEC", "400000")]);
    assert!((5..=12).contains(&several), "{several}");
    assert_eq!(signs(&[]), 0);
    assert_eq!(signs(&[("WATCHDOG_USEC", "400000"), ("WATCHDOG_PID", "1")]), 0);
    assert_eq!(signs(&[("WATCHDOG_USEC", "0")]), 0);
    assert_eq!(signs(&[("WATCHDOG_USEC", "x")]), 0);
}

#[test]
fn a_reboot_is_no_end() {
    requires!(root, cgroup2);
    let manager = Manager::new();
    let script = "test -e /again && exit 5; touch /again; /probe notify STOPPING=1; exec /probe restart";
    let heard = manager.of(&[], &["/bin/sh", "-c", script], 5);
    let all = texts(&heard);
    assert_eq!(all.iter().filter(|text| text.contains("STOPPING=1")).count(), 1, "{all:?}");
    assert_eq!(all.iter().filter(|text| text.contains("X_NSPAWN_LEADER_PID=")).count(), 2, "{all:?}");
    assert_eq!(all.last(), Some(&"EXIT_STATUS=5\n"));
}

#[test]
fn a_system_says_when_it_is_up() {
    requires!(root, cgroup2);
    let Some(tree) = fixture::debian_tree() else { return };
    let manager = Manager::new();
    let mut command = Command::new(REDD);
    command.args(["-qxb", "--notify-ready=yes", "--private-network", "--console=read-only", "-D"]).arg(&tree);
    command.env("NOTIFY_SOCKET", manager.path()).stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = command.spawn().expect("start");
    let started = manager.expect("X_NSPAWN_LEADER_PID=");
    assert!(!started.text.contains("READY=1"), "{started:?}");
    let end = Instant::now() + Duration::from_secs(120);
    let ready = loop {
        assert!(Instant::now() < end, "not ready in time");
        if let Some(one) = manager.heard().into_iter().find(|one| one.text.contains("READY=1")) {
            break one;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(ready.text.contains("STATUS=Container running"), "{ready:?}");
    rustix::process::kill_process(pid(&child), rustix::process::Signal::TERM).expect("kill");
    assert_eq!(child.wait().expect("wait").code(), Some(0));
    let rest = manager.heard();
    assert!(texts(&rest).iter().any(|text| text.contains("STOPPING=1")), "{rest:?}");
    assert_eq!(texts(&rest).last(), Some(&"EXIT_STATUS=0\n"));
}
