//! Machines that serve file systems to whoever looks into them, and never answer: nobody who looks after a machine waits for that.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use testkit::disk::Mounted;
use testkit::{HostState, Isolated, fixture, requires, run_limited};

const REDD: &str = env!("CARGO_BIN_EXE_redd");
/// Much less than the time that a machine may take to stop, and much more than any of this takes.
const LIMIT: Duration = Duration::from_secs(40);

/// Ends it whatever comes: the first process, because its supervisor may be one that hears nothing.
struct Guest {
    supervisor: Child,
    leader: Option<Pid>,
}

impl Guest {
    /// One whose init system is that of System V by its name, and whose pipe is in such a file system.
    fn start(tree: &fixture::Tree, options: &[&str]) -> Self {
        let mut command = Command::new(REDD);
        command.args(["spawn", "-q", "--console=pipe", "--bind=/dev/fuse", "-b", "-D"]).arg(tree.path());
        command.args(options).arg("stall").stdin(Stdio::null()).stdout(Stdio::piped());
        let mut supervisor = command.spawn().expect("start");
        let output = supervisor.stdout.take().expect("pipe");
        let mut guest = Self { supervisor, leader: None };
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).expect("line");
        let state = std::fs::read_to_string(format!("/run/redd/machines/{}/state", tree.name())).expect("state");
        let state: serde_json::Value = serde_json::from_str(&state).expect("JSON");
        guest.leader = state["leader"]["pid"].as_i64().and_then(|pid| Pid::from_raw(pid as i32));
        assert_eq!(line, "ready\n");
        // Before that it is still about to start.
        assert!(described(&tree.name()).contains("\"stopping\":false"));
        guest
    }

    fn ask(&self) {
        kill_process(Pid::from_child(&self.supervisor), Signal::TERM).expect("signal");
    }

    #[track_caller]
    fn await_end(&mut self) {
        let end = Instant::now() + LIMIT;
        while self.supervisor.try_wait().expect("wait").is_none() {
            assert!(Instant::now() < end, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if matches!(self.supervisor.try_wait(), Ok(None)) {
            if let Some(leader) = self.leader {
                let _ = kill_process(leader, Signal::KILL);
            }
            let _ = self.supervisor.kill();
            let _ = self.supervisor.wait();
        }
    }
}

fn redd(words: &[&str]) -> testkit::Ended {
    let mut command = Command::new(REDD);
    command.args(words);
    run_limited(command, Vec::new(), LIMIT)
}

/// What its supervisor says.
fn described(name: &str) -> String {
    let mut stream = UnixStream::connect(format!("/run/redd/machines/{name}/control")).expect("connect");
    stream.set_read_timeout(Some(LIMIT)).expect("limit");
    stream.write_all(b"{\"method\":\"org.redd.Machine.Describe\",\"parameters\":{}}\0").expect("call");
    let mut answer = Vec::new();
    BufReader::new(stream).read_until(0, &mut answer).expect("answer");
    String::from_utf8(answer).expect("text")
}

#[test]
fn a_machine_whose_files_do_not_answer_is_ended_nevertheless() {
    requires!(root, cgroup2, idmap, program "mount");
    if !Path::new("/dev/fuse").exists() {
        println!("SKIPPED: this kernel has no file systems of programs");
        return;
    }
    let _isolated = Isolated::enter();
    std::fs::create_dir_all("/run/redd").expect("notes");
    let _notes = Mounted::new(&["-t", "tmpfs", "-o", "mode=755", "tmpfs"], Path::new("/run/redd"));
    for options in [&[][..], &["-U"]] {
        let tree = fixture::tree();
        let before = HostState::capture(tree.path(), &[]);
        std::fs::create_dir_all(tree.join("sbin")).expect("directory");
        std::fs::copy(testkit::PROBE, tree.join("sbin/init")).expect("program");
        let name = tree.name();
        // By signals alone: the second one kills it.
        let mut guest = Guest::start(&tree, options);
        guest.ask();
        let end = Instant::now() + LIMIT;
        while !described(&name).contains("\"stopping\":true") {
            assert!(Instant::now() < end, "{options:?}: its supervisor hears");
            std::thread::sleep(Duration::from_millis(10));
        }
        guest.ask();
        guest.await_end();
        before.assert_same();
        // By its supervisor's socket.
        let mut guest = Guest::start(&tree, options);
        guest.ask();
        redd(&["terminate", &name]).expect_code(0);
        guest.await_end();
        before.assert_same();
        // It is asked, and then killed, because it does not hear.
        let mut guest = Guest::start(&tree, options);
        redd(&["poweroff", "--timeout=1s", &name]);
        guest.await_end();
        before.assert_same();
    }
}
