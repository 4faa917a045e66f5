//! `--machine=` and `--host=`: verbs that are carried out elsewhere.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use testkit::fixture::{self, Tree};
use testkit::{Ended, Isolated, Running, requires, run_limited};

const REDD: &str = env!("CARGO_BIN_EXE_redd");
const LIMIT: Duration = Duration::from_secs(60);
/// Says how it was called.
const ECHO: &str =
    "#!/bin/sh\necho \"$(basename \"$0\") as $(id -u):\"\nfor word in \"$@\"; do echo \"<$word>\"; done\nexit 7\n";

fn redd(words: &[&str]) -> Command {
    let mut command = Command::new(REDD);
    command.args(words);
    command
}

fn run(command: Command) -> Ended {
    run_limited(command, Vec::new(), LIMIT)
}

fn machine(tree: &Tree) -> Running {
    let mut command = redd(&["spawn", "-q", "-U", "-D"]);
    command.arg(tree.path()).args(["/bin/sleep", "1000"]);
    Running::start(command, &tree.name())
}

#[test]
fn a_verb_is_carried_out_in_a_machine() {
    requires!(root, cgroup2, idmap);
    let tree = fixture::tree();
    let _isolated = Isolated::enter();
    std::fs::copy("/usr/bin/basename", tree.join("usr/bin/basename")).expect("basename");
    let _running = machine(&tree);
    let within = format!("--machine={}", tree.name());
    let ended = run(redd(&["list", &within])).expect_code(1);
    assert!(ended.errors.contains("neither machinectl nor redd is installed in"), "{ended}");
    tree.write("usr/bin/redd", ECHO, 0o755);
    let ended = run(redd(&["show", &within, "-p", "Name", "--value", "a", "b"])).expect_code(7);
    assert_eq!(ended.output, "redd as 0:\n<show>\n<--property=Name>\n<--value>\n<a>\n<b>\n");
    tree.write("usr/bin/machinectl", ECHO, 0o755);
    let ended = run(redd(&["poweroff", &within, "a"])).expect_code(7);
    assert_eq!(ended.output, "machinectl as 0:\n<poweroff>\n<a>\n");
    let ended = run(redd(&["list", "-M", &format!("user@{}", tree.name())])).expect_code(7);
    assert_eq!(ended.output, "machinectl as 1000:\n<list>\n");
    let ended = run(redd(&["list", "-M", "host-nosuch"])).expect_code(1);
    assert!(ended.errors.contains("host-nosuch"), "{ended}");
    // The host itself is no machine that has to be entered.
    run(redd(&["list", "-M", ".host"])).expect_code(0);
}

#[test]
fn a_verb_is_carried_out_on_another_host() {
    let directory = tempfile::tempdir().expect("directory");
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("script");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("mode");
    };
    // Does what the real one does with its last word, and notes the others.
    write("ssh", "#!/bin/sh\nwhile [ $# -gt 1 ]; do echo \"ssh <$1>\"; shift; done\nexec sh -c \"$1\"\n");
    write("machinectl", ECHO);
    let path = format!("{}:{}", directory.path().display(), std::env::var("PATH").unwrap_or_default());
    let over = |words: &[&str]| {
        let mut command = redd(words);
        command.env("PATH", &path);
        run(command)
    };
    let user = rustix::process::getuid().as_raw();
    let ended = over(&["kill", "-H", "me@web:2222/db", "--no-ask-password", "it's $HOME", "b"]).expect_code(7);
    let called = format!("machinectl as {user}:\n<kill>\n<--machine=db>\n<--no-ask-password>\n<it's $HOME>\n<b>\n");
    let expected = format!("ssh <-p>\nssh <2222>\nssh <-oBatchMode=yes>\nssh <-T>\nssh <-->\nssh <me@web>\n{called}");
    assert_eq!(ended.output, expected);
    let ended = over(&["list", "--host=-oProxyCommand=x"]).expect_code(2);
    assert!(ended.output.is_empty() && ended.errors.contains("write [USER@]HOST[:PORT][/MACHINE]"), "{ended}");
    let mut command = redd(&["list", "-H", "web"]);
    command.env("PATH", Path::new("/nonexistent"));
    let ended = run(command).expect_code(1);
    assert!(ended.errors.contains("cannot start ssh") && ended.errors.contains("has to be installed"), "{ended}");
}
