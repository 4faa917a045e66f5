//! What commands in machines take over of a machine's resource limits, processors and its place when memory runs out.

use std::process::Command;
use std::time::Duration;

use testkit::fixture::{self, Tree};
use testkit::{Ended, Isolated, Running, requires, run_limited};

const REDD: &str = env!("CARGO_BIN_EXE_redd");
const LIMIT: Duration = Duration::from_secs(60);

/// What the kernel says of a process, given as `$0`.
const STANDING: &str =
    "cat /proc/$0/limits; grep Cpus_allowed_list /proc/$0/status; echo badness $(cat /proc/$0/oom_score_adj)";

fn machine(tree: &Tree, options: &[&str], script: &str) -> Running {
    let mut command = Command::new(REDD);
    command.args(["spawn", "-q", "-P", "-D"]).arg(tree.path()).args(options).args(["/bin/sh", "-c", script]);
    Running::start(command, &tree.name())
}

/// Runs a command as a child of a program that changes what it inherits.
fn by(changing: &[&str], tree: &Tree, words: &[&str]) -> Ended {
    let mut command = Command::new(changing[0]);
    command.args(&changing[1..]).args([REDD, "exec", &tree.name()]).args(words);
    run_limited(command, Vec::new(), LIMIT).expect_code(0)
}

#[test]
fn limits_processors_and_badness_are_the_machines() {
    requires!(root, cgroup2, idmap);
    let tree = fixture::tree();
    let _isolated = Isolated::enter();
    let limited = ["--rlimit=NOFILE=100:200", "--rlimit=CORE=0", "--cpu-affinity=0", "--oom-score-adjust=500"];
    for way in [&limited[..], &[], &["-U"], &[&limited[..], &["-U"]].concat()] {
        let _running = machine(&tree, way, "exec sleep 1000");
        let first = by(&["env"], &tree, &["sh", "-c", STANDING, "1"]).output;
        assert!(way.len() < 4 || first.contains("badness 500") && first.contains("200"), "{first}");
        // Whatever whoever runs the command has himself.
        for changing in
            [&["env"][..], &["prlimit", "--nofile=64:", "--stack=1000000:", "--core=0:"], &["taskset", "-c", "1"]]
        {
            let own = by(changing, &tree, &["sh", "-c", STANDING, "self"]).output;
            assert_eq!(own, first, "{way:?} {changing:?}");
        }
    }
}

#[test]
fn what_the_first_process_has_changed_of_its_own_limits_is_its_own() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    let _isolated = Isolated::enter();
    let _running =
        machine(&tree, &["--rlimit=NOFILE=100:200"], "ulimit -Sn 50; ulimit -Hn 60; : > /set; exec sleep 1000");
    let until = std::time::Instant::now() + LIMIT;
    while !tree.join("set").exists() {
        assert!(std::time::Instant::now() < until);
        std::thread::sleep(Duration::from_millis(5));
    }
    let ended = by(&["env"], &tree, &["sh", "-c", "ulimit -Sn; ulimit -Hn"]);
    assert_eq!(ended.output, "100\n200\n");
}

#[test]
fn a_caller_who_has_less_is_told_nothing_and_gets_no_more() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    let _isolated = Isolated::enter();
    let _running = machine(&tree, &["--rlimit=NOFILE=100:200"], "exec sleep 1000");
    // Where the caller may raise limits it is as the machine's, else as its own.
    let ended = by(&["prlimit", "--nofile=64:64"], &tree, &["sh", "-c", "ulimit -Sn; ulimit -Hn"]);
    assert!(matches!(ended.output.as_str(), "64\n64\n" | "100\n200\n"), "{ended}");
}
