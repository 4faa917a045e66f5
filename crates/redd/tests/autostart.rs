//! Machines that are started at boot of a host without systemd, and powered off at its end.

mod background;

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use background::{Background, INIT_SAYS, MACHINES, busybox, fails, keeper, keepers, log, redd, runs, succeeds, until};
use rustix::process::{Pid, Signal, kill_process};
use testkit::{HostState, fixture, requires};

const RECORDS: &str = "/etc/redd/autostart";

#[test]
fn what_is_enabled_comes_up_at_boot_in_its_order_and_is_powered_off_at_the_end() {
    requires!(root, cgroup2, userns, idmap, program "mount", program "busybox");
    let host = Background::enter();
    let trees = [busybox(), busybox(), busybox()];
    let [first, second, other] = [0, 1, 2].map(|at| host.machine(&format!("at-{at}"), trees[at].path()));
    let before = HostState::capture(trees[0].path(), &[]);
    assert_eq!(succeeds(&["autostart"]), "", "nothing is nothing");
    let said = redd(&["enable", "--order=9", &second, &first]);
    assert!(said.status.success(), "{said:?}");
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains(&format!("{second} is started at boot by `redd autostart` ({RECORDS}/{second})")), "{said}");
    succeeds(&["enable", "--order=3", "--restart=always", &second]);
    // What is not said stays.
    succeeds(&["enable", "-q", &second]);
    let record = std::fs::read_to_string(format!("{RECORDS}/{second}")).expect("record");
    assert!(record.ends_with("\nRestart=always\nOrder=3\n"), "{record}");
    assert!(!runs(&first) && !runs(&second), "it is for the next boot");
    succeeds(&["start", &other]);
    // The host boots.
    let started = redd(&["autostart"]);
    let started = String::from_utf8_lossy(&started.stderr).into_owned();
    assert_eq!(started, format!("{second} has started.\n{first} has started.\n"));
    assert!(runs(&first) && runs(&second));
    assert_eq!(redd(&["autostart"]).stderr, b"", "those that run are left alone");
    until("it has come up", || log(&second).contains(INIT_SAYS));
    succeeds(&["kill", "--kill-whom=leader", "-s", "KILL", &second]);
    until("it is started again", || log(&second).matches(INIT_SAYS).count() == 2);
    // It ends.
    let ended = String::from_utf8_lossy(&redd(&["autostart", "--stop"]).stderr).into_owned();
    assert_eq!(ended, format!("{first} has ended.\n{second} has ended.\n{other} has ended.\n"));
    assert!([&first, &second, &other].iter().all(|name| !runs(name) && keeper(name).is_none()));
    assert!(log(&first).ends_with("ended with exit code 0\n"), "in order: {}", log(&first));
    succeeds(&["disable", &first]);
    assert!(redd(&["disable", &first]).stderr.ends_with(b" was not started at boot.\n"));
    std::fs::remove_file(Path::new(MACHINES).join(&second)).expect("link");
    let text = fails(&["autostart"]);
    assert!(text.contains(&format!("no machine named {second} was found")), "{text}");
    succeeds(&["disable", &second]);
    assert_eq!(succeeds(&["autostart"]), "");
    assert!(keepers().is_empty());
    before.assert_same();
}

#[test]
fn now_is_at_once() {
    requires!(root, cgroup2, userns, idmap, program "mount", program "busybox");
    let host = Background::enter();
    let tree = busybox();
    let name = host.machine("now", tree.path());
    let before = HostState::capture(tree.path(), &[]);
    succeeds(&["enable", "--now", "--restart=on-failure", &name]);
    assert!(runs(&name));
    // As its record says.
    until("it has come up", || log(&name).contains(INIT_SAYS));
    succeeds(&["kill", "--kill-whom=leader", "-s", "KILL", &name]);
    until("it is started again", || log(&name).matches(INIT_SAYS).count() == 2);
    succeeds(&["disable", "--now", &name]);
    until("it has ended", || keeper(&name).is_none());
    assert!(!runs(&name) && !Path::new(RECORDS).join(&name).exists());
    // One that does not run has nothing to be powered off.
    succeeds(&["enable", &name]);
    succeeds(&["disable", "--now", &name]);
    before.assert_same();
}

#[test]
fn what_makes_no_sense_is_refused_and_nothing_is_noted() {
    requires!(root, cgroup2, userns, idmap, program "mount", program "busybox");
    let host = Background::enter();
    let tree = busybox();
    let name = host.machine("refused", tree.path());
    let place = fixture::empty();
    let theirs = place.join("redd");
    std::fs::copy(background::REDD, &theirs).expect("program");
    for bad in ["..", "../x", "", "a/b", "b\u{fc}cher"] {
        assert!(fails(&["enable", bad]).contains("is no valid host name"));
        assert!(fails(&["disable", bad]).contains("is no valid host name"));
    }
    assert!(fails(&["enable", "boot-missing"]).contains("no machine named boot-missing was found"));
    let output = Command::new(&theirs).args(["enable", &name]).uid(65534).gid(65534).output().expect("start");
    assert!(String::from_utf8_lossy(&output.stderr).contains("only root"), "{output:?}");
    assert!(!Path::new(RECORDS).exists());
    // A record that somebody has spoilt is told, and keeps the others from nothing.
    succeeds(&["enable", &name]);
    std::fs::write(format!("{RECORDS}/boot-bad"), "Restart=no\nColor=red\n").expect("record");
    let text = fails(&["autostart", "-q"]);
    assert!(text.contains(&format!("{RECORDS}/boot-bad:2: Color is neither Restart nor Order")), "{text}");
    assert!(runs(&name));
    succeeds(&["autostart", "--stop"]);
    assert!(keepers().is_empty());
}

#[test]
fn one_that_does_not_power_off_is_killed() {
    requires!(root, cgroup2, userns, idmap, program "mount", program "busybox");
    let host = Background::enter();
    let tree = busybox();
    let name = host.machine("stubborn", tree.path());
    tree.write("etc/inittab", "::respawn:/bin/busybox sleep 1000\n::shutdown:/bin/busybox sleep 1000\n", 0o644);
    succeeds(&["start", "--restart=always", &name]);
    let output = redd(&["autostart", "--stop", "--timeout=1s"]);
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("has not powered off in time"), "{output:?}");
    assert!(keepers().is_empty() && !runs(&name));
}

#[test]
fn under_a_process_supervisor_it_stays_until_it_is_told_to_end() {
    requires!(root, cgroup2, userns, idmap, program "mount", program "busybox");
    let host = Background::enter();
    let tree = busybox();
    let name = host.machine("supervised", tree.path());
    succeeds(&["enable", &name]);
    let mut command = Command::new(background::REDD);
    let mut stays = command.args(["autostart", "--foreground", "-q"]).stdin(Stdio::null()).spawn().expect("start");
    until("it has started", || runs(&name));
    until("it has come up", || log(&name).contains(INIT_SAYS));
    assert!(stays.try_wait().expect("wait").is_none());
    kill_process(Pid::from_child(&stays), Signal::TERM).expect("signal");
    assert!(stays.wait().expect("wait").success());
    assert!(!runs(&name) && keepers().is_empty());
}
