//! Machines in the background on a host without systemd: started, kept, started again, ended.

mod background;

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use background::{Background, INIT_SAYS, MACHINES, busybox, fails, keeper, leader, log, redd, runs, succeeds, until};
use rustix::process::{Pid, Signal, kill_process};
use testkit::{HostState, Running, fixture, requires};

#[test]
fn a_machine_runs_in_the_background_until_it_is_powered_off() {
    requires!(root, cgroup2, userns, idmap, program "mount", program "busybox");
    let host = Background::enter();
    let tree = busybox();
    let name = host.machine("plain", tree.path());
    let before = HostState::capture(tree.path(), &[]);
    assert_eq!(succeeds(&["start", &name]), "");
    assert!(runs(&name), "it runs when the command returns");
    let keeper = keeper(&name).expect("a keeper");
    until("it has come up", || log(&name).contains(INIT_SAYS));
    let session = std::fs::read_to_string(format!("/proc/{keeper}/stat")).expect("stat");
    assert_eq!(session.rsplit(')').next().and_then(|rest| rest.split(' ').nth(4)), Some(&*keeper.to_string()));
    assert_eq!(std::fs::read_link(format!("/proc/{keeper}/cwd")).expect("link").to_str(), Some("/"));
    let variables = std::fs::read(format!("/proc/{keeper}/environ")).expect("variables");
    assert!(variables.split(|byte| *byte == 0).all(|one| one.is_empty() || one.starts_with(b"PATH=")));
    // As the template says: users and a network of its own.
    let users = succeeds(&["exec", &name, "/bin/busybox", "cat", "/proc/self/uid_map"]);
    assert!(users.split_whitespace().nth(1).is_some_and(|first| first != "0"), "{users}");
    let links = succeeds(&["exec", &name, "/bin/busybox", "ls", "/sys/class/net"]);
    assert_eq!(links.trim(), "lo");
    // Once more is no error, and changes nothing.
    let first = leader(&name);
    let again = redd(&["start", &name]);
    assert!(again.status.success() && String::from_utf8_lossy(&again.stderr).contains("runs already"), "{again:?}");
    assert_eq!((leader(&name), background::keeper(&name)), (first, Some(keeper)));
    succeeds(&["poweroff", &name]);
    until("the keeper has ended", || background::keeper(&name).is_none());
    assert!(log(&name).ends_with(&format!("redd: {name} ended with exit code 0\n")), "{}", log(&name));
    assert!(!runs(&name));
    before.assert_same();
}

#[test]
fn what_cannot_start_says_why_and_leaves_nothing() {
    requires!(root, cgroup2, userns, idmap, program "mount", program "busybox");
    let host = Background::enter();
    let tree = busybox();
    let good = host.machine("good.and-dotted", tree.path());
    let empty = fixture::tree();
    let without = host.machine("without-init", empty.path());
    // Where a user without rights may reach it.
    let place = fixture::empty();
    let theirs = place.join("redd");
    std::fs::copy(background::REDD, &theirs).expect("program");
    let before = HostState::capture(tree.path(), &[]);
    for name in ["../x", "..", ".", "", "a b", "b\u{fc}cher", "a/b", "-x", "a\nb"] {
        let text = fails(&["start", "--", name]);
        assert!(text.contains("is no valid host name"), "{name:?}: {text}");
    }
    assert!(fails(&["start", "boot-missing"]).contains("no machine named boot-missing was found in /etc/machines"));
    let text = fails(&["start", &without]);
    assert!(text.contains(&format!("{without} did not start: it ended with exit code 1; its last words:")), "{text}");
    assert!(text.contains("init"), "{text}");
    assert!(text.contains(&format!("hint: what it has printed is in /run/redd/logs/{without}")), "{text}");
    assert_eq!(keeper(&without), None);
    // One that fails keeps nothing from the others.
    let text = fails(&["start", "boot-missing", &good, &without]);
    assert!(text.contains("boot-missing") && text.contains(&without) && runs(&good), "{text}");
    succeeds(&["poweroff", &good]);
    // Somebody else has the image, under this name or another.
    let other = format!("{good}-other");
    for name in [&other, &good] {
        let mut command = Command::new(background::REDD);
        command.args(["spawn", "-q", "-b", "-M", name, "-D"]).arg(tree.path());
        let running = Running::start(command, name);
        let text = fails(&["start", &good]);
        let reason = if *name == good { "is running already, and was not started with" } else { "did not start" };
        assert!(text.contains(reason), "{text}");
        assert!(text.contains(name.as_str()), "who has it is named: {text}");
        running.stop();
    }
    // A place that is not there, or is no tree.
    std::os::unix::fs::symlink("/nonexistent", format!("{MACHINES}/boot-dangling")).expect("link");
    std::fs::create_dir(format!("{MACHINES}/boot-empty")).expect("directory");
    assert!(fails(&["start", "boot-dangling"]).contains("no machine named boot-dangling"));
    assert!(fails(&["start", "boot-empty"]).contains("boot-empty"));
    let mut command = Command::new(&theirs);
    let output = command.args(["start", &good]).uid(65534).gid(65534).output().expect("start");
    assert!(String::from_utf8_lossy(&output.stderr).contains("only root"), "{output:?}");
    until("all keepers have ended", || background::keepers().is_empty());
    before.assert_same();
}

#[test]
fn a_killed_keeper_leaves_the_machine_and_a_killed_supervisor_nothing() {
    requires!(root, cgroup2, userns, idmap, program "mount", program "busybox");
    let host = Background::enter();
    let tree = busybox();
    let name = host.machine("killed", tree.path());
    let before = HostState::capture(tree.path(), &[]);
    succeeds(&["start", "--restart=always", &name]);
    let first = leader(&name);
    kill_process(keeper(&name).expect("a keeper"), Signal::KILL).expect("kill");
    until("it is dead", || keeper(&name).is_none());
    // It prints what nobody reads.
    succeeds(&["exec", &name, "/bin/busybox", "sh", "-c", "seq 100000 >/dev/console"]);
    assert_eq!(leader(&name), first);
    let text = fails(&["start", &name]);
    assert!(text.contains("is running already, and was not started with"), "{text}");
    succeeds(&["poweroff", &name]);
    assert!(!runs(&name), "nobody starts it again");
    assert!(!Path::new("/run/redd/keepers").join(&name).exists(), "what the keeper has left is gone");
    succeeds(&["start", &name]);
    let supervisor = background::supervisor(&name);
    kill_process(Pid::from_raw(supervisor).expect("number"), Signal::KILL).expect("kill");
    until("the keeper has ended", || keeper(&name).is_none());
    assert!(log(&name).ends_with(&format!("redd: {name} was ended by signal 9\n")), "{}", log(&name));
    assert!(!runs(&name));
    succeeds(&["start", &name]);
    succeeds(&["poweroff", &name]);
    until("the keeper has ended", || keeper(&name).is_none());
    before.assert_same();
}

#[test]
fn a_machine_is_started_again_as_its_policy_says() {
    requires!(root, cgroup2, userns, idmap, program "mount", program "busybox");
    let host = Background::enter();
    let tree = busybox();
    let name = host.machine("again", tree.path());
    let kill = |whom: &str, signal: &str| drop(succeeds(&["kill", "--kill-whom", whom, "-s", signal, &name]));
    let begun_anew = |before: i64| {
        until("it is started again", || background::state(&name).is_some_and(|_| leader(&name) != before));
    };
    succeeds(&["start", "--restart=on-failure", &name]);
    until("it has come up", || log(&name).contains(INIT_SAYS));
    let first = leader(&name);
    kill("leader", "KILL");
    begun_anew(first);
    until("it has come up twice", || log(&name).matches(INIT_SAYS).count() == 2);
    // Also where all that has looked after it is gone at once.
    let second = leader(&name);
    kill_process(Pid::from_raw(background::supervisor(&name)).expect("number"), Signal::KILL).expect("kill");
    begun_anew(second);
    until("it has come up thrice", || log(&name).matches(INIT_SAYS).count() == 3);
    kill("leader", "USR2");
    until("powered off from inside it has ended", || keeper(&name).is_none());
    assert!(!runs(&name));
    succeeds(&["start", "--restart=always", &name]);
    until("it has come up", || log(&name).matches(INIT_SAYS).count() == 4);
    let first = leader(&name);
    kill("leader", "USR2");
    begun_anew(first);
    until("it has come up", || log(&name).matches(INIT_SAYS).count() == 5);
    succeeds(&["poweroff", &name]);
    until("it is not started again", || keeper(&name).is_none());
    // In the pause before the next start it does not run, and can be held back all the same.
    succeeds(&["start", "--restart=always", &name]);
    succeeds(&["kill", "--kill-whom=leader", "-s", "KILL", &name]);
    until("it has ended", || !runs(&name));
    succeeds(&["poweroff", &name]);
    until("it is not started again", || keeper(&name).is_none());
    assert!(!runs(&name));
}

#[test]
fn a_machine_that_ends_at_once_is_not_started_for_ever() {
    requires!(root, cgroup2, userns, idmap, program "mount", program "busybox");
    let host = Background::enter();
    let tree = busybox();
    let name = host.machine("short", tree.path());
    tree.write("etc/inittab", "::sysinit:/bin/busybox poweroff -f\n", 0o644);
    succeeds(&["start", "--restart=always", &name]);
    until("it is given up", || keeper(&name).is_none());
    assert!(log(&name).ends_with("is not started again: it has been started 5 times within 60 s\n"), "{}", log(&name));
    assert!(!runs(&name));
}
