//! What the container has of the login that it was started from: nothing.

use std::process::Command;
use std::time::Duration;

use testkit::{Ended, fixture, requires};

const REDD: &str = env!("CARGO_BIN_EXE_redd-spawn");

/// Starts the engine from the login of user 1234, who has a key.
fn start(options: &[&str], script: &str) -> Ended {
    let tree = fixture::tree();
    let mut command = Command::new(testkit::PROBE);
    command.args(["login", "1234", "redd-test", "secret", REDD, "-q", "--pipe", "-D"]).arg(tree.path()).args(options);
    command.args(["/bin/sh", "-c", script]);
    testkit::run_limited(command, Vec::new(), Duration::from_secs(20))
}

const MODES: [&[&str]; 3] = [&[], &["-U"], &["--private-users=identity"]];

#[test]
fn its_keys_cannot_be_read() {
    requires!(root, cgroup2, userns, idmap);
    let known = Command::new(testkit::PROBE)
        .args(["login", "1234", "redd-test", "secret", testkit::PROBE, "key", "redd-test"])
        .output()
        .expect("probe");
    assert_eq!(String::from_utf8_lossy(&known.stdout), "key=secret\n");
    for mode in MODES {
        let options = [mode, &["--system-call-filter=@keyring"]].concat();
        let ended = start(&options, "/probe key redd-test").expect_code(0);
        // ENOKEY.
        assert_eq!(ended.value("key"), "none, error 126", "{mode:?}: {ended}");
    }
}

#[test]
fn nobody_has_logged_in() {
    requires!(root, cgroup2, userns, idmap);
    for mode in MODES {
        let ended = start(mode, "echo user=$(cat /proc/self/loginuid); echo session=$(cat /proc/self/sessionid)");
        let ended = ended.expect_code(0);
        assert_eq!((ended.value("user"), ended.value("session")), ("4294967295", "4294967295"), "{mode:?}: {ended}");
    }
}

#[test]
fn the_stub_init_shows_no_variables_of_the_caller() {
    requires!(root, cgroup2, userns, idmap);
    for mode in MODES {
        let tree = fixture::tree();
        let spawn = testkit::Spawn::redd(REDD, tree.path()).args(mode).arg("-a").env("REDD_TEST_SECRET", "secret");
        let script = "(cat /proc/1/environ /proc/1/cmdline 2>&1) | tr '\\0' ' ' | sed 's/^/shown=/'; echo end=yes";
        let ended = spawn.script(script).run().expect_code(0);
        assert!(!ended.output.contains("REDD_TEST") && ended.output.contains("(sd-stubinit)"), "{mode:?}: {ended}");
    }
}
