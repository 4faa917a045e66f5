//! Machines that live on although their supervisor was killed: the next command that meets one ends it, and nobody gets its ids.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use testkit::disk::Mounted;
use testkit::{Ended, HostState, Isolated, fixture, requires, run_limited};

const REDD: &str = env!("CARGO_BIN_EXE_redd");
const LIMIT: Duration = Duration::from_secs(60);

fn isolate() -> (Isolated, Mounted) {
    let isolated = Isolated::enter();
    std::fs::create_dir_all("/run/redd").expect("notes");
    (isolated, Mounted::new(&["-t", "tmpfs", "-o", "mode=755", "tmpfs"], Path::new("/run/redd")))
}

fn redd(words: &[&str]) -> Ended {
    let mut command = Command::new(REDD);
    command.args(words);
    run_limited(command, Vec::new(), LIMIT)
}

/// The first process of a machine whose supervisor was killed.
struct Orphan {
    /// Its directory in proc.
    process: String,
}

impl Orphan {
    /// Of a machine that runs these words, the first of which says a line and stays.
    fn make(tree: &fixture::Tree, options: &[&str], words: &[&str]) -> Self {
        let mut command = Command::new(REDD);
        command.args(["spawn", "-q", "--pipe", "-D"]).arg(tree.path()).args(options).args(words);
        let mut supervisor = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("start");
        let mut line = String::new();
        BufReader::new(supervisor.stdout.take().expect("pipe")).read_line(&mut line).expect("line");
        assert!(line.contains("Ok"), "{line}");
        // A child of the supervisor's, its only one once its helpers have ended.
        let children = format!("/proc/{0}/task/{0}/children", supervisor.id());
        let end = Instant::now() + LIMIT;
        let process = loop {
            let children = std::fs::read_to_string(&children).expect("children");
            if let [child] = children.split_whitespace().collect::<Vec<_>>()[..] {
                break format!("/proc/{child}");
            }
            assert!(Instant::now() < end, "{children}");
        };
        supervisor.kill().expect("kill");
        supervisor.wait().expect("wait");
        std::thread::sleep(Duration::from_millis(100));
        let orphan = Self { process };
        assert!(orphan.lives(), "{options:?}: it lives on");
        orphan
    }

    fn lives(&self) -> bool {
        std::fs::read_to_string(format!("{}/stat", self.process)).is_ok_and(|stat| !stat.contains(") Z "))
    }

    #[track_caller]
    fn await_end(&self, what: &str) {
        let end = Instant::now() + Duration::from_secs(10);
        while self.lives() {
            assert!(Instant::now() < end, "{what}: it lives on");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn range(&self) -> u32 {
        let map = std::fs::read_to_string(format!("{}/uid_map", self.process)).expect("map");
        map.split_whitespace().nth(1).and_then(|start| start.parse().ok()).expect("a range")
    }
}

impl Drop for Orphan {
    fn drop(&mut self) {
        let pid = self.process.rsplit('/').next().and_then(|pid| pid.parse().ok());
        if let (true, Some(pid)) = (self.lives(), pid.and_then(rustix::process::Pid::from_raw)) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

/// Those that undo what the kernel was told, and those of programs with a set-user-ID bit, of which it forgets it.
const WAYS: [&[&str]; 2] = [&["/probe", "outlive"], &["-u", "user", "/raised", "stay"]];

#[test]
fn who_outlives_its_supervisor_is_ended_by_the_next_command() {
    requires!(root, cgroup2, idmap, program "mount");
    let _isolated = isolate();
    let tree = fixture::tree();
    std::fs::copy(testkit::PROBE, tree.join("raised")).expect("program");
    std::fs::set_permissions(tree.join("raised"), PermissionsExt::from_mode(0o4755)).expect("mode");
    let before = HostState::capture(tree.path(), &[]);
    let (name, path) = (tree.name(), tree.path().to_str().expect("text").to_owned());
    for way in WAYS {
        for (command, code) in [
            (&["list"][..], 0),
            (&["terminate", &name], 1),
            (&["spawn", "-q", "--cleanup", "-D", &path], 0),
            (&["spawn", "-q", "-D", &path, "-M", "another-one", "true"], 0),
        ] {
            let orphan = Orphan::make(&tree, &["-U"], way);
            redd(command).expect_code(code);
            orphan.await_end(&format!("{way:?} {command:?}"));
        }
    }
    redd(&["spawn", "-q", "--cleanup", "-D", &path]).expect_code(0);
    before.assert_same();
}

#[test]
fn nobody_gets_the_ids_of_who_outlives_its_supervisor() {
    requires!(root, cgroup2, idmap, program "mount");
    let _isolated = isolate();
    let (tree, other) = (fixture::tree(), fixture::tree());
    let before = HostState::capture(tree.path(), &[]);
    for listed in [&[][..], &["--register=no"]] {
        for options in [&["-U"][..], &["--private-users=655360:65536", "--private-users-ownership=map"]] {
            let orphan = Orphan::make(&tree, &[options, listed].concat(), WAYS[0]);
            let start = orphan.range();
            // What its tree is owned by is what a machine picks first.
            let root = other.path();
            let (again, owner) = match options {
                ["-U"] => (vec!["-U", "--private-users-ownership=off"], start),
                same => (same.to_vec(), 0),
            };
            chown(root, Some(owner), Some(owner)).expect("owner");
            let words = [&["spawn", "-q", "--pipe", "-D", root.to_str().expect("text")], &again[..]].concat();
            let script = ["/bin/sh", "-c", "cat /proc/self/uid_map"];
            let ended = redd(&[&words[..], &script].concat()).expect_code(0);
            chown(root, Some(0), Some(0)).expect("owner");
            assert!(ended.output.contains(&start.to_string()), "{ended}");
            orphan.await_end(&format!("{listed:?} {options:?}"));
            redd(&["spawn", "-q", "--cleanup", "-D", tree.path().to_str().expect("text")]).expect_code(0);
            before.assert_same();
        }
    }
}
