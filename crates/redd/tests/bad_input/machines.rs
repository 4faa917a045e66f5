//! Machines that there cannot be, that are dead without anybody having noticed, and that are about to end.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use testkit::{HostState, Running, fixture, requires};

use crate::scene::{REDD, call, entry, isolate, listed, redd, spawn, until};
use crate::states::VERBS;

/// The words of a verb for this machine.
fn words<'a>(verb: &[&'a str], name: &'a str) -> Vec<&'a str> {
    verb.iter().map(|word| if *word == "NAME" { name } else { word }).collect()
}

#[test]
fn names_that_no_machine_can_have_lead_nowhere() {
    requires!(root, cgroup2, program "mount");
    let _isolated = isolate(&["/var/lib/machines"]);
    let tree = fixture::tree();
    let name = format!("bad-input-named-{}", std::process::id());
    let running = spawn(tree.path(), &name);
    // Somewhere that a name with slashes or dots could lead to.
    std::fs::create_dir_all("/run/redd/elsewhere").expect("directory");
    std::fs::copy(entry(&name).join("state"), "/run/redd/elsewhere/state").expect("state");
    let long = "x".repeat(65);
    let longer = format!("../machines/{name}");
    let strange = [
        "",
        ".",
        "..",
        "../elsewhere",
        &longer,
        "a/b",
        "a..b",
        ".a",
        "a.",
        "\u{e4}",
        "a\nb",
        "a\u{1b}[2Jb",
        &long,
        "bad-input-none",
    ];
    std::thread::scope(|scope| {
        for (verb, faces) in &VERBS {
            scope.spawn(move || {
                for name in strange {
                    // Both of them mean the host, or what there is of a machine that does not run.
                    let means_more = name.is_empty() && ["shell", "login"].contains(&verb[0]);
                    if means_more {
                        continue;
                    }
                    for face in *faces {
                        let words = words(verb, name);
                        let ended = call(*face, &words);
                        let what = format!("{face:?} {words:?}: {ended}");
                        assert!([1, 2].contains(&ended.code()), "{what}");
                        assert!(!ended.errors.is_empty() && !ended.errors.contains("panicked"), "{what}");
                        assert!(!ended.errors.contains('\u{1b}'), "{what}");
                        assert_eq!(ended.output, "", "{what}");
                    }
                }
            });
        }
    });
    // No text at all.
    for verb in ["status", "poweroff", "terminate", "kill"] {
        let mut command = Command::new(REDD);
        command.arg(verb).arg(std::ffi::OsStr::from_bytes(b"a\xff"));
        let output = command.output().expect("redd");
        assert!(matches!(output.status.code(), Some(1 | 2)), "{verb}: {output:?}");
    }
    assert_eq!(listed(), std::slice::from_ref(&name));
    let mut left: Vec<_> = std::fs::read_dir("/run/redd/machines").expect("registry").flatten().collect();
    left.retain(|entry| entry.file_name() != ".lock");
    assert_eq!(left.len(), 1, "{left:?}");
    redd(&["poweroff", &name]).expect_code(0);
    assert_eq!(running.end().code(), Some(7));
}

#[test]
#[ignore = "for the acceptance: it takes its time"]
fn a_machine_that_is_about_to_end_is_not_held_up() {
    requires!(root, cgroup2, program "mount");
    let _isolated = isolate(&[]);
    let tree = fixture::tree();
    let host = HostState::capture(tree.path(), &[]);
    let name = format!("bad-input-ending-{}", std::process::id());
    let mut command = Command::new(REDD);
    command.args(["spawn", "-q", "-x", "--pipe", "-M", &name, "-D"]).arg(tree.path());
    command.args(["--", "/bin/sh", "-c", "trap 'sleep 3; exit 7' TERM; echo >/ready; while :; do sleep 0.05; done"]);
    let running = Running::start(command, &name);
    until("its program hears", || redd(&["exec", &name, "--", "test", "-e", "/ready"]).code() == 0);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        // It waits for the end.
        scope.spawn(|| redd(&["poweroff", &name]).expect_code(0));
        std::thread::sleep(Duration::from_millis(300));
        // Those that end or stop it at once would do so.
        let apart = ["terminate", "kill", "pause", "copy-from"];
        for (verb, faces) in VERBS.iter().filter(|(verb, _)| !apart.contains(&verb[0])) {
            let name = &name;
            scope.spawn(move || {
                for face in *faces {
                    let words = words(verb, name);
                    let ended = call(*face, &words);
                    let what = format!("{face:?} {words:?}: {ended}");
                    let told = !ended.errors.is_empty() && !ended.errors.contains("panicked");
                    // What waits for its end ends with its code.
                    let usual = ended.code() == 0 || (verb[0] == "wait" && ended.code() == 7);
                    assert!(usual || ended.code() == 255 || told, "{what}");
                }
            });
        }
    });
    assert_eq!(running.end().code(), Some(7));
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!(listed(), [""; 0]);
    assert!(!entry(&name).exists());
    host.assert_same();
}

#[test]
#[ignore = "for the acceptance: callers wait for as long as they do"]
fn a_dead_machine_whose_supervisor_has_not_noticed() {
    requires!(root, cgroup2, program "mount");
    let _isolated = isolate(&[]);
    let tree = fixture::tree();
    let host = HostState::capture(tree.path(), &[]);
    let name = format!("bad-input-unnoticed-{}", std::process::id());
    let running = spawn(tree.path(), &name);
    let supervisor = Pid::from_raw(running.supervisor()).expect("a process");
    let leader = running.leader();
    // Its program runs.
    redd(&["exec", &name, "--", "true"]).expect_code(0);
    kill_process(supervisor, Signal::STOP).expect("stopped");
    kill_process(Pid::from_raw(leader).expect("a process"), Signal::KILL).expect("killed");
    let stat = || std::fs::read_to_string(format!("/proc/{leader}/stat")).unwrap_or_default();
    until("it is dead", || stat().contains(") Z "));
    std::thread::scope(|scope| {
        for (verb, faces) in &VERBS {
            let name = &name;
            // It waits for the supervisor, whose machine it is, and is told of its end then.
            if verb[0] == "wait" {
                continue;
            }
            scope.spawn(move || {
                for face in *faces {
                    let words = words(verb, name);
                    let ended = call(*face, &words);
                    let what = format!("{face:?} {words:?}: {ended}");
                    assert!([0, 1].contains(&ended.code()), "{what}");
                    assert!(ended.code() == 0 || ended.errors.contains(name.as_str()), "{what}");
                    assert!(!ended.errors.contains("panicked"), "{what}");
                }
            });
        }
    });
    assert!(!Path::new("/tmp/redd-bad-input").exists());
    kill_process(supervisor, Signal::CONT).expect("goes on");
    assert_eq!(running.end().code(), Some(137));
    assert_eq!(listed(), [""; 0]);
    host.assert_same();
}
