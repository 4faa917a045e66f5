//! Descriptors of a service manager's sockets, for the payload: those and no others.

use std::process::Command;
use std::time::Duration;

use testkit::{Ended, fixture, requires};

const REDD: &str = env!("CARGO_BIN_EXE_redd-spawn");

/// Starts the engine as a service manager would: `redirections` are the shell's, `variables` its environment.
fn start(tree: &fixture::Tree, redirections: &str, variables: &str, options: &[&str], script: &str) -> Ended {
    let mut command = Command::new("sh");
    let line = format!("exec {redirections}; export {variables}; exec \"$@\"");
    command.args(["-c", &line, "sh", REDD, "-q", "--pipe", "-D"]).arg(tree.path()).args(options);
    command.args(["/bin/sh", "-c", script]);
    testkit::run_limited(command, Vec::new(), Duration::from_secs(20))
}

const LOOK: &str = "echo $LISTEN_FDS,$LISTEN_PID,$LISTEN_FDNAMES,$$; cat <&3; cat <&4; exec /probe descriptors";

/// The numbers that the probe has seen.
fn numbers(ended: &Ended) -> Vec<&str> {
    let lines = ended.output.lines().filter_map(|line| line.strip_prefix("descriptor "));
    let mut all: Vec<_> = lines.filter_map(|line| Some(line.split_once('=')?.0)).collect();
    all.sort_unstable();
    all
}

/// Two files, and one that is nobody's business.
fn files() -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir_in(fixture::place()).expect("directory");
    for name in ["one", "two", "secret"] {
        std::fs::write(directory.path().join(name), format!("{name}\n")).expect("file");
    }
    let at = directory.path().display().to_string();
    (directory, format!("3<{at}/one 4<{at}/two 5<{at}/secret 9<{at}/secret"))
}

#[test]
fn the_payload_gets_what_was_passed_and_nothing_else() {
    requires!(root, cgroup2);
    let (_directory, redirections) = files();
    let variables = "LISTEN_FDS=2 LISTEN_PID=$$ LISTEN_FDNAMES=first:second";
    for (options, process) in [(&[][..], 1), (&["-a"], 2), (&["-U"], 1), (&["-U", "-a"], 2), (&["-x"], 1)] {
        if options.contains(&"-U") {
            requires!(userns, idmap);
        }
        let tree = fixture::tree();
        let ended = start(&tree, &redirections, variables, options, LOOK);
        let expected = format!("2,{process},first:second,{process}\none\ntwo\n");
        assert!(ended.code() == 0 && ended.output.starts_with(&expected), "{options:?}: {ended}");
        assert_eq!(numbers(&ended), ["0", "1", "2", "3", "4"], "{options:?}: {ended}");
    }
    // The stub that is process 1 keeps none of them.
    let tree = fixture::tree();
    let ended = start(&tree, &redirections, variables, &["-a"], "echo /proc/1/fd/*");
    assert_eq!((ended.code(), ended.output.trim()), (0, "/proc/1/fd/0 /proc/1/fd/1 /proc/1/fd/2"), "{ended}");
}

#[test]
fn another_user_gets_them_too() {
    requires!(root, cgroup2);
    let (_directory, redirections) = files();
    let tree = fixture::tree();
    let ended =
        start(&tree, &redirections, "LISTEN_FDS=1 LISTEN_PID=$$", &["-u", "user"], "cat <&3; exec /probe descriptors");
    assert!(ended.code() == 0 && ended.output.starts_with("one\n"), "{ended}");
    assert_eq!(numbers(&ended), ["0", "1", "2", "3"], "{ended}");
}

#[test]
fn what_was_passed_to_another_process_is_not_ours() {
    requires!(root, cgroup2);
    let (_directory, redirections) = files();
    let look = "echo \"$LISTEN_FDS,$LISTEN_PID,$LISTEN_FDNAMES\"; exec /probe descriptors";
    for variables in [
        "LISTEN_FDS=2 LISTEN_PID=1",
        "LISTEN_FDS=2",
        "LISTEN_PID=$$",
        "LISTEN_FDS=0 LISTEN_PID=$$",
        "LISTEN_FDS=x LISTEN_PID=$$",
    ] {
        let tree = fixture::tree();
        let ended = start(&tree, &redirections, variables, &[], look);
        assert!(ended.code() == 0 && ended.output.starts_with(",,\n"), "{variables}: {ended}");
        assert_eq!(numbers(&ended), ["0", "1", "2"], "{variables}: {ended}");
    }
}

#[test]
fn a_descriptor_that_is_not_open_is_told() {
    requires!(root, cgroup2);
    let (_directory, redirections) = files();
    for count in ["4", "4294967295"] {
        let tree = fixture::tree();
        let ended = start(&tree, &redirections, &format!("LISTEN_FDS={count} LISTEN_PID=$$"), &[], "echo started");
        assert_eq!((ended.code(), ended.output.as_str()), (1, ""), "{ended}");
        assert!(ended.errors.contains("$LISTEN_FDS"), "{ended}");
    }
}

#[test]
fn they_are_there_after_a_reboot() {
    requires!(root, cgroup2);
    let (_directory, redirections) = files();
    let tree = fixture::tree();
    let script = "test -e /again && exec /probe descriptors; touch /again; exec /probe restart";
    let variables = "LISTEN_FDS=2 LISTEN_PID=$$";
    let ended = start(&tree, &redirections, variables, &[], script);
    assert_eq!((ended.code(), numbers(&ended)), (0, vec!["0", "1", "2", "3", "4"]), "{ended}");
}
