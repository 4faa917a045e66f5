//! Machines that are steered: the registry while they run, their control sockets, and how they end.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use testkit::disk::Mounted;
use testkit::{HostState, Isolated, fixture, requires};

const REDD: &str = env!("CARGO_BIN_EXE_redd");
/// A first boot has much to do, on a slow machine that does other things as well.
const LIMIT: Duration = Duration::from_secs(120);
const MOMENT: Duration = Duration::from_millis(10);

/// Isolated, with notes of its own: what others run is not listed.
fn isolate() -> (Isolated, Mounted) {
    let isolated = Isolated::enter();
    std::fs::create_dir_all("/run/redd").expect("notes");
    (isolated, Mounted::new(&["-t", "tmpfs", "-o", "mode=755", "tmpfs"], Path::new("/run/redd")))
}

fn redd(arguments: &[&str]) -> Output {
    Command::new(REDD).args(arguments).stdin(Stdio::null()).output().expect("start")
}

#[track_caller]
fn succeeds(arguments: &[&str]) -> String {
    let output = redd(arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// What it says to standard error when it fails.
#[track_caller]
fn fails(arguments: &[&str]) -> String {
    let output = redd(arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
    String::from_utf8(output.stderr).expect("text")
}

fn listed() -> Vec<String> {
    let rows: serde_json::Value = serde_json::from_str(&succeeds(&["list", "--json=short"])).expect("JSON");
    rows.as_array().expect("rows").iter().map(|row| row["machine"].as_str().expect("name").to_owned()).collect()
}

fn entry(name: &str) -> PathBuf {
    Path::new("/run/redd/machines").join(name)
}

fn state(name: &str) -> Option<serde_json::Value> {
    serde_json::from_slice(&std::fs::read(entry(name).join("state")).ok()?).ok()
}

fn leader(name: &str) -> i64 {
    state(name).expect("state")["leader"]["pid"].as_i64().expect("number")
}

#[track_caller]
fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !reached() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(MOMENT);
    }
}

/// The name of a machine that is this run's alone: control groups are everybody's.
fn name(word: &str) -> &'static str {
    static NAMES: Mutex<BTreeMap<String, &'static str>> = Mutex::new(BTreeMap::new());
    let mut names = NAMES.lock().expect("names");
    let full = || -> &'static str { format!("{word}-{}", std::process::id()).leak() };
    names.entry(word.to_owned()).or_insert_with(full)
}

/// A machine that runs, and what it writes.
struct Running {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Running {
    fn start(tree: &Path, name: &str, words: &[&str]) -> Self {
        let mut command = Command::new(REDD);
        command.args(["spawn", "-q", "--pipe", "-M", name, "-D"]).arg(tree).args(words);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("start");
        let output = BufReader::new(child.stdout.take().expect("pipe"));
        Self { child, output }
    }

    /// One that runs this script and has said that it does.
    fn script(tree: &Path, name: &str, script: &str) -> Self {
        let mut running = Self::start(tree, name, &["/bin/sh", "-c", script]);
        assert_eq!(running.line(), "ready\n");
        running
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("line");
        line
    }

    fn wait(mut self) -> ExitStatus {
        let mut status = None;
        until("the machine ends", || {
            status = self.child.try_wait().expect("wait");
            status.is_some()
        });
        status.expect("status")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Goes on for ever, ends by its own decision when it is asked to.
const POLITE: &str = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done";
/// Hears that it is asked to end, and goes on.
const STUBBORN: &str = "trap : TERM; echo ready; while :; do sleep 0.05; done";

fn connect(name: &str) -> UnixStream {
    UnixStream::connect(entry(name).join("control")).expect("connect")
}

/// Calls a method over a connection, as any program could.
fn call(stream: &mut UnixStream, method: &str, parameters: &str) -> String {
    let _ = write!(stream, "{{\"method\":\"org.redd.Machine.{method}\",\"parameters\":{parameters}}}\0");
    let mut answer = Vec::new();
    BufReader::new(stream).read_until(0, &mut answer).expect("answer");
    String::from_utf8(answer).expect("text")
}

#[test]
fn a_machine_is_listed_as_long_as_it_runs() {
    requires!(root, cgroup2, program "mount");
    let _isolated = isolate();
    let tree = fixture::tree();
    let before = HostState::capture(tree.path(), &[]);
    let running = Running::script(tree.path(), name("listed"), POLITE);
    assert_eq!(listed(), [name("listed")]);
    let said = state(name("listed")).expect("state");
    assert_eq!(said["rootDirectory"].as_str(), tree.path().to_str());
    let again =
        Command::new(REDD).args(["spawn", "-q", "-M", name("listed"), "-xD"]).arg(tree.path()).arg("true").output();
    assert_eq!(again.expect("start").status.code(), Some(1), "a name is one machine's");
    succeeds(&["poweroff", name("listed")]);
    assert_eq!(running.wait().code(), Some(7));
    assert_eq!(listed(), [""; 0]);
    assert!(!entry(name("listed")).exists());
    let mut hidden = Running::start(tree.path(), name("hidden"), &["--register=no", "/bin/sh", "-c", POLITE]);
    assert_eq!(hidden.line(), "ready\n");
    assert_eq!(listed(), [""; 0]);
    assert!(fails(&["poweroff", name("hidden")]).contains(&format!("no machine named {} is running", name("hidden"))));
    kill_process(Pid::from_child(&hidden.child), Signal::TERM).expect("signal");
    assert_eq!(hidden.wait().code(), Some(137));
    before.assert_same();
}

#[test]
fn programs_that_are_no_init_system_are_asked_then_terminated() {
    requires!(root, cgroup2, program "mount");
    let _isolated = isolate();
    let tree = fixture::tree();
    let before = HostState::capture(tree.path(), &[]);
    // One that cannot hear.
    let deaf = Running::script(tree.path(), name("deaf"), "echo ready; exec sleep 1000");
    assert!(fails(&["reboot", name("deaf")]).contains("no init system"));
    let started = Instant::now();
    succeeds(&["stop", name("deaf")]);
    assert!(started.elapsed() < Duration::from_secs(30), "nobody waits for what cannot come");
    assert!(!deaf.wait().success());
    // One that hears and does not care.
    let stubborn = Running::script(tree.path(), name("stubborn"), STUBBORN);
    let output = redd(&["poweroff", name("stubborn"), "--timeout=300ms"]);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        text.contains(&format!("{} has not powered off within 300 ms; still running: sh (", name("stubborn"))),
        "{text}"
    );
    assert_eq!(stubborn.wait().code(), Some(137));
    // As the original, it does not wait under that name.
    let link = tempfile::tempdir().expect("directory");
    std::os::unix::fs::symlink(REDD, link.path().join("machinectl")).expect("link");
    let polite = Running::script(tree.path(), name("polite"), POLITE);
    let output =
        Command::new(link.path().join("machinectl")).args(["poweroff", name("polite")]).output().expect("start");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(polite.wait().code(), Some(7));
    before.assert_same();
}

#[test]
fn signals_reach_whom_they_are_for() {
    requires!(root, cgroup2, program "mount");
    let _isolated = isolate();
    let tree = fixture::tree();
    let before = HostState::capture(tree.path(), &[]);
    let script = "trap 'echo leader' USR1; (trap 'echo child' USR1; echo ready; while :; do sleep 0.01; done) & \
                  while :; do sleep 0.01; done";
    let mut running = Running::start(tree.path(), name("signalled"), &["/bin/sh", "-c", script]);
    assert_eq!(running.line(), "ready\n");
    succeeds(&["kill", "--kill-whom=leader", "--signal=USR1", name("signalled")]);
    assert_eq!(running.line(), "leader\n");
    succeeds(&["kill", "-s", "SIGUSR1", name("signalled")]);
    let mut both = [running.line(), running.line()];
    both.sort();
    assert_eq!(both, ["child\n", "leader\n"]);
    // One that does not exist keeps nothing from the other.
    let text = fails(&["kill", "-s", "10", "--kill-whom=leader", "absent", name("signalled"), ".host"]);
    assert!(text.contains("no machine named absent is running") && text.contains(".host is this host"), "{text}");
    assert_eq!(running.line(), "leader\n");
    for (arguments, word) in [(["-s", "NONSENSE"], "NONSENSE"), (["--kill-whom", "everybody"], "everybody")] {
        let output = Command::new(REDD).args(["kill", name("signalled")]).args(arguments).output().expect("start");
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains(word));
    }
    assert!(fails(&["kill", "../signalled"]).contains("name"));
    // The supervisor takes it for a request to end, and as process 1 has no such signal it is killed.
    succeeds(&["kill", "--kill-whom=supervisor", name("signalled")]);
    assert_eq!(running.wait().code(), Some(137));
    before.assert_same();
}

/// What would end any program ends the machine, and none of it stays; what says that memory is short does not.
#[test]
fn signals_of_all_kinds_end_it_in_order() {
    requires!(root, cgroup2, program "mount");
    let _isolated = isolate();
    let tree = fixture::tree();
    let before = HostState::capture(tree.path(), &[]);
    let minimum = sys::signal::real_time_minimum();
    for signal in [Signal::IO.as_raw(), Signal::STKFLT.as_raw(), minimum, minimum + 4, sys::signal::last_signal()] {
        let mut running =
            Running::start(tree.path(), name("signalled"), &["--kill-signal=TERM", "/bin/sh", "-c", POLITE]);
        assert_eq!(running.line(), "ready\n");
        let supervisor = Pid::from_child(&running.child);
        for harmless in [minimum + 18, Signal::XFSZ.as_raw()] {
            sys::signal::send_to(supervisor, harmless).expect("signal");
        }
        assert!(call(&mut connect(name("signalled")), "Describe", "{}").contains("\"stopping\":false"));
        sys::signal::send_to(supervisor, signal).expect("signal");
        assert_eq!(running.wait().code(), Some(7), "{signal}");
        before.assert_same();
    }
}

#[test]
fn a_paused_machine_does_nothing_until_it_is_resumed() {
    requires!(root, cgroup2, program "mount");
    let _isolated = isolate();
    let tree = fixture::tree();
    let before = HostState::capture(tree.path(), &[]);
    let count = tree.join("count");
    let script = "trap 'exit 7' TERM; echo ready; while :; do echo x >> /count; sleep 0.01; done";
    let running = Running::script(tree.path(), name("paused"), script);
    let size = || std::fs::metadata(&count).map_or(0, |file| file.len());
    until("it works", || size() > 0);
    succeeds(&["pause", name("paused")]);
    let still = size();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(size(), still);
    assert!(call(&mut connect(name("paused")), "Describe", "{}").contains("\"paused\":true"));
    succeeds(&["pause", name("paused")]);
    succeeds(&["resume", name("paused")]);
    until("it goes on", || size() > still);
    assert!(call(&mut connect(name("paused")), "Describe", "{}").contains("\"paused\":false"));
    // Who is asked to end is let go on for that.
    succeeds(&["pause", name("paused")]);
    succeeds(&["poweroff", name("paused")]);
    assert_eq!(running.wait().code(), Some(7));
    let mut running = Running::start(tree.path(), name("paused"), &["--kill-signal=TERM", "/bin/sh", "-c", script]);
    assert_eq!(running.line(), "ready\n");
    succeeds(&["pause", name("paused")]);
    kill_process(Pid::from_child(&running.child), Signal::TERM).expect("signal");
    assert_eq!(running.wait().code(), Some(7), "by a signal to its supervisor, too");
    let running = Running::script(tree.path(), name("paused"), script);
    succeeds(&["pause", name("paused")]);
    succeeds(&["terminate", name("paused")]);
    assert_eq!(running.wait().code(), Some(137));
    std::fs::remove_file(count).expect("file");
    before.assert_same();
}

#[test]
fn what_a_killed_supervisor_leaves_is_gone_with_the_next_list() {
    requires!(root, cgroup2, program "mount");
    let _isolated = isolate();
    let tree = fixture::tree();
    let mut running = Running::script(tree.path(), name("left"), POLITE);
    running.child.kill().expect("kill");
    running.child.wait().expect("wait");
    assert!(entry(name("left")).join("control").exists(), "nobody has removed it yet");
    assert_eq!(listed(), [""; 0]);
    assert!(!entry(name("left")).exists());
    assert!(fails(&["terminate", name("left")]).contains(&format!("no machine named {} is running", name("left"))));
    let mut next = Running::script(tree.path(), name("left"), POLITE);
    next.child.kill().expect("kill");
    next.child.wait().expect("wait");
    // Nobody looks meanwhile: the next one finds it.
    let next = Running::script(tree.path(), name("left"), POLITE);
    assert_eq!(listed(), [name("left")]);
    succeeds(&["terminate", name("left")]);
    assert_eq!(next.wait().code(), Some(137));
    assert!(!entry(name("left")).exists());
}

/// Who shares the control groups and not `/run` knows nothing of it: an empty lock file there, as another one who tidies up makes
/// it for a moment, says nothing of whether it lives.
#[test]
fn a_machine_of_another_run_directory_is_left_alone() {
    requires!(root, cgroup2, program "mount");
    let _isolated = isolate();
    let (tree, other) = (fixture::tree(), fixture::tree());
    let running = Running::script(tree.path(), name("elsewhere"), POLITE);
    {
        let _other = Mounted::new(&["-t", "tmpfs", "-o", "mode=755", "tmpfs"], Path::new("/run/redd"));
        std::fs::create_dir("/run/redd/locks").expect("directory");
        std::fs::write(format!("/run/redd/locks/name-{}", name("elsewhere")), "").expect("lock file");
        succeeds(&["spawn", "--cleanup", "-q", "-M", name("elsewhere"), "-D", other.path().to_str().expect("path")]);
    }
    assert_eq!(listed(), [name("elsewhere")]);
    succeeds(&["poweroff", name("elsewhere")]);
    assert_eq!(running.wait().code(), Some(7));
}

/// In a thread of another user, from whom nothing is taken back.
fn as_nobody<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::spawn(move || {
        let nobody = rustix::process::Uid::from_raw(65534);
        rustix::thread::set_thread_res_uid(nobody, nobody, nobody).expect("user");
        act()
    });
    thread.join().expect("thread")
}

#[test]
fn other_users_may_only_look() {
    requires!(root, cgroup2, program "mount");
    let _isolated = isolate();
    let tree = fixture::tree();
    let running = Running::script(tree.path(), name("looked-at"), POLITE);
    as_nobody(|| {
        let mut stream = connect(name("looked-at"));
        let described = call(&mut stream, "Describe", "{}");
        assert!(described.contains(&format!("\"name\":\"{}\"", name("looked-at"))), "{described}");
        for method in ["PowerOff", "Reboot", "Terminate", "Pause", "Resume"] {
            assert!(call(&mut stream, method, "{}").contains("org.redd.Machine.NotPermitted"), "{method}");
        }
        let kill = call(&mut stream, "Kill", "{\"signal\":9,\"whom\":\"supervisor\"}");
        assert!(kill.contains("org.redd.Machine.NotPermitted"), "{kill}");
    });
    assert_eq!(listed(), [name("looked-at")]);
    let mut stream = connect(name("looked-at"));
    assert!(call(&mut stream, "Resize", "{\"columns\":80,\"rows\":25}").contains("org.redd.Machine.NoConsole"));
    assert!(call(&mut stream, "Fly", "{}").contains("org.varlink.service.MethodNotFound"));
    succeeds(&["terminate", name("looked-at")]);
    running.wait();
}

#[test]
fn many_connections_do_not_hold_a_machine_up() {
    requires!(root, cgroup2, program "mount");
    let _isolated = isolate();
    let tree = fixture::tree();
    let running = Running::script(tree.path(), name("crowded"), POLITE);
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", running.child.id())).expect("descriptors").count();
    // It answers as soon as it has all that it keeps; what is on its way to it is not counted anywhere.
    succeeds(&["resume", name("crowded")]);
    let settled = (0..20).map(|_| {
        std::thread::sleep(MOMENT);
        descriptors()
    });
    let before = settled.min().expect("some");
    // Each of a hundred that come at once is served or told.
    let answers: Vec<String> = std::thread::scope(|scope| {
        let ask = || {
            let mut stream = connect(name("crowded"));
            let mut text = String::new();
            let _ = stream.write_all(b"{\"method\":\"org.redd.Machine.Describe\"}\0");
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = stream.read_to_string(&mut text);
            text
        };
        let threads: Vec<_> = (0..100).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().expect("thread")).collect()
    });
    for answer in &answers {
        assert!(
            answer.contains(&format!("\"name\":\"{}\"", name("crowded"))) || answer.contains("org.redd.Machine.Busy"),
            "{answer:?}"
        );
    }
    // As many silent ones as there can be: who comes next is told, and says so.
    let mut silent: Vec<UnixStream> = (0..40).map(|_| connect(name("crowded"))).collect();
    let text = fails(&["resume", name("crowded")]);
    assert!(text.contains(&format!("too many programs talk to the supervisor of {}", name("crowded"))), "{text}");
    assert!(listed() == [name("crowded")]);
    // Whatever its socket does, it can be ended.
    silent.truncate(16);
    drop(silent);
    until("all are gone", || descriptors() <= before);
    succeeds(&["resume", name("crowded")]);
    let silent: Vec<UnixStream> = (0..40).map(|_| connect(name("crowded"))).collect();
    succeeds(&["terminate", name("crowded")]);
    drop(silent);
    assert_eq!(running.wait().code(), Some(137));
    assert_eq!(listed(), [""; 0]);
}

#[test]
fn a_supervisor_that_does_not_answer_is_no_obstacle() {
    requires!(root, cgroup2, program "mount");
    let _isolated = isolate();
    let tree = fixture::tree();
    let running = Running::script(tree.path(), name("stopped"), POLITE);
    let supervisor = Pid::from_child(&running.child);
    kill_process(supervisor, Signal::STOP).expect("stop");
    let inside = leader(name("stopped"));
    let output = redd(&["terminate", name("stopped")]);
    // Its processes are gone; it itself could not notice that yet.
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    until("the first process is dead", || {
        let status = std::fs::read_to_string(format!("/proc/{inside}/stat")).unwrap_or_default();
        status.is_empty() || status.contains(") Z ")
    });
    kill_process(supervisor, Signal::CONT).expect("continue");
    assert_eq!(running.wait().code(), Some(137));
    assert_eq!(listed(), [""; 0]);
}

#[test]
fn debian_powers_off_right_after_its_start() {
    requires!(root, cgroup2, program "mount");
    let Some(tree) = fixture::debian_tree() else { return };
    let _isolated = isolate();
    let before = HostState::capture(&tree, &[]);
    for options in [&["-xb"][..], &["-xbU"]] {
        let running = Running::start(&tree, name("early"), options);
        until("it is there", || entry(name("early")).join("control").exists());
        succeeds(&["poweroff", name("early"), "--timeout=2min"]);
        assert_eq!(running.wait().code(), Some(0), "{options:?}: it is not killed");
        assert_eq!(listed(), [""; 0]);
        // A signal to the supervisor is not lost either.
        let running = Running::start(&tree, name("early"), options);
        until("it is there", || entry(name("early")).join("control").exists());
        // Answered once its first program runs.
        assert!(call(&mut connect(name("early")), "Describe", "{}").contains("\"stopping\":false"));
        kill_process(Pid::from_child(&running.child), Signal::TERM).expect("signal");
        assert_eq!(running.wait().code(), Some(0), "{options:?}");
        before.assert_same();
    }
}

#[test]
fn debian_reboots_as_the_same_machine() {
    requires!(root, cgroup2, program "mount");
    let Some(tree) = fixture::debian_tree() else { return };
    let _isolated = isolate();
    let before = HostState::capture(&tree, &[]);
    let running = Running::start(&tree, name("again"), &["-xb"]);
    until("it is there", || entry(name("again")).join("control").exists());
    let first = state(name("again")).expect("state");
    succeeds(&["reboot", name("again")]);
    until("it has begun anew", || {
        // The entry is there all the time.
        let now = state(name("again")).expect("state");
        assert_eq!(now["supervisor"], first["supervisor"]);
        now["leader"] != first["leader"]
    });
    assert_eq!(listed(), [name("again")]);
    let described = call(&mut connect(name("again")), "Describe", "{}");
    assert!(described.contains(&format!("\"pid\":{}", leader(name("again")))), "{described}");
    succeeds(&["poweroff", name("again")]);
    assert_eq!(running.wait().code(), Some(0));
    before.assert_same();
}

/// One in which everything is BusyBox.
fn busybox_tree() -> fixture::Tree {
    let tree = fixture::empty();
    for name in ["bin", "sbin", "usr", "etc", "proc", "sys", "dev", "tmp", "run", "root", "var"] {
        std::fs::create_dir_all(tree.join(name)).expect("directory");
    }
    let busybox = std::env::split_paths(&std::env::var_os("PATH").expect("path"))
        .map(|directory| directory.join("busybox"))
        .find(|path| path.exists());
    std::fs::copy(busybox.expect("busybox"), tree.join("bin/busybox")).expect("program");
    for name in ["bin/sh", "sbin/init"] {
        std::os::unix::fs::symlink("/bin/busybox", tree.join(name)).expect("link");
    }
    tree.write("etc/os-release", "ID=busybox\n", 0o644);
    tree
}

#[test]
fn a_shell_of_busybox_is_no_init_system() {
    requires!(root, cgroup2, program "mount", program "busybox");
    let _isolated = isolate();
    let tree = busybox_tree();
    std::os::unix::fs::symlink("/bin/busybox", tree.join("bin/sleep")).expect("link");
    let running = Running::script(tree.path(), name("shell"), POLITE);
    let begun = Instant::now();
    let asked = succeeds(&["poweroff", name("shell")]);
    assert!(!asked.contains("init"), "{asked}");
    assert_eq!(running.wait().code(), Some(7));
    // It was asked at once.
    assert!(begun.elapsed() < Duration::from_millis(1200), "{:?}", begun.elapsed());
}

#[test]
fn busybox_init_is_asked_in_its_own_way() {
    requires!(root, cgroup2, program "mount", program "busybox");
    let _isolated = isolate();
    let tree = busybox_tree();
    tree.write("etc/inittab", "::sysinit:/bin/sh /boot\n::shutdown:/bin/sh /halt\n::respawn:/bin/sleep 1000\n", 0o644);
    tree.write("boot", "/bin/busybox echo x >> /booted\n", 0o755);
    tree.write("halt", "/bin/busybox echo x >> /halted\n", 0o755);
    let times = |name: &str| std::fs::read_to_string(tree.join(name)).map_or(0, |text| text.lines().count());
    let before = HostState::capture(tree.path(), &[]);
    let running = Running::start(tree.path(), name("busy"), &["-b"]);
    until("it is there", || entry(name("busy")).join("control").exists());
    let first = leader(name("busy"));
    succeeds(&["reboot", name("busy")]);
    until("it has begun anew", || leader(name("busy")) != first && times("booted") == 2);
    assert_eq!(times("halted"), 1);
    succeeds(&["poweroff", name("busy")]);
    assert_eq!(running.wait().code(), Some(0));
    assert_eq!((times("booted"), times("halted")), (2, 2));
    // The supervisor knows that, too.
    let running = Running::start(tree.path(), name("busy"), &["-b"]);
    until("it has begun", || times("booted") == 3);
    kill_process(Pid::from_child(&running.child), Signal::TERM).expect("signal");
    assert_eq!(running.wait().code(), Some(0));
    assert_eq!(times("halted"), 3);
    for name in ["booted", "halted"] {
        std::fs::remove_file(tree.join(name)).expect("file");
    }
    before.assert_same();
}

/// A process that others have entered as a machine, in a group of its own.
struct Foreign {
    child: Child,
    groups: Vec<PathBuf>,
}

impl Foreign {
    fn enter(name: &str, unified: Option<&Path>, v1: Option<&Path>) -> Self {
        let child = Command::new("sleep").arg("1000").spawn().expect("start");
        let mut groups = Vec::new();
        for hierarchy in unified.into_iter().chain(v1) {
            let group = hierarchy.join(format!("redd-test-{}", child.id()));
            std::fs::create_dir(&group).expect("group");
            std::fs::write(group.join("cgroup.procs"), child.id().to_string()).expect("enter");
            groups.push(group);
        }
        let pidfd = rustix::process::pidfd_open(Pid::from_child(&child), rustix::process::PidfdFlags::empty());
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("boot id");
        let mut state = serde_json::json!({
            "version": 1, "name": name, "class": "container", "UID": 0,
            "leader": {
                "pid": child.id(),
                "pidfdId": rustix::fs::fstat(pidfd.expect("pidfd")).expect("inode").st_ino,
                "bootId": boot.trim(),
            },
            "timestamp": { "realtime": 1, "monotonic": 1 },
        });
        if unified.is_some() {
            state["controlGroup"] = groups[0].to_str().into();
        }
        std::fs::create_dir_all(entry(name)).expect("entry");
        std::fs::write(entry(name).join("state"), state.to_string()).expect("state");
        Self { child, groups }
    }

    /// What the kernel says of it, as in ps(1).
    fn frozen(&self) -> bool {
        let waits = std::fs::read_to_string(format!("/proc/{}/wchan", self.child.id())).unwrap_or_default();
        let state = self.groups.iter().filter_map(|group| {
            std::fs::read_to_string(group.join("freezer.state"))
                .or_else(|_| std::fs::read_to_string(group.join("cgroup.freeze")))
                .ok()
        });
        waits.contains("freez") || state.into_iter().any(|state| state.starts_with("FROZEN") || state.starts_with('1'))
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.groups.iter().for_each(|group| drop(std::fs::remove_dir(group)));
    }
}

#[test]
fn machines_of_others_are_steered_by_their_processes() {
    use std::os::unix::process::ExitStatusExt;
    requires!(root, cgroup2, program "mount");
    let _isolated = isolate();
    let table = std::fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    let mounted = |what: &str| {
        let line = table.lines().find(|line| line.split(" - ").nth(1).is_some_and(|kind| kind.starts_with(what)))?;
        line.split(' ').nth(4).map(PathBuf::from)
    };
    let freezer = Path::new("/sys/fs/cgroup/freezer");
    let kinds = [(mounted("cgroup2 "), None), (None, freezer.exists().then_some(freezer))];
    for (unified, v1) in kinds.iter().filter(|(unified, v1)| unified.is_some() || v1.is_some()) {
        let mut foreign = Foreign::enter(name("foreign"), unified.as_deref(), *v1);
        assert_eq!(listed(), [name("foreign")]);
        succeeds(&["pause", name("foreign")]);
        assert!(foreign.frozen());
        succeeds(&["resume", name("foreign")]);
        assert!(!foreign.frozen());
        assert!(
            fails(&["kill", "--kill-whom=supervisor", name("foreign")])
                .contains(&format!("no supervisor of {} is known", name("foreign")))
        );
        assert!(fails(&["reboot", name("foreign")]).contains("runs sleep, which is no init system"));
        assert!(fails(&["poweroff", name("foreign")]).contains("runs sleep, which is no init system"));
        if unified.is_some() {
            succeeds(&["kill", "-s", "CONT", name("foreign")]);
            succeeds(&["terminate", name("foreign")]);
        } else {
            assert!(
                fails(&["kill", name("foreign")])
                    .contains(&format!("no control group of {} is known", name("foreign")))
            );
            succeeds(&["kill", "--kill-whom=leader", "-s", "KILL", name("foreign")]);
        }
        assert_eq!(foreign.child.wait().expect("wait").signal(), Some(9));
        assert_eq!(listed(), [""; 0]);
    }
}
