//! Terminals: `OpenPTY`, `OpenLogin` and `OpenShell` of machines without systemd and of the host.

use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;

use rustix::fs::{AtFlags, statat};
use testkit::{HostState, Running, Screen, fixture, requires, run_limited};

use super::bus::{Client, LIMIT};
use super::{HOST, MANAGER, REDD, path_of, scene, spawn, until};

const INVALID: &str = "org.freedesktop.DBus.Error.InvalidArgs";
const MISSING: &str = "org.freedesktop.DBus.Error.FileNotFound";
/// Nothing in a list.
const NONE: [&str; 0] = [];

/// Runs a command in the machine.
fn inside(name: &str, script: &str) {
    let mut command = Command::new(REDD);
    command.args(["exec", name, "--", "/bin/sh", "-c", script]);
    run_limited(command, Vec::new(), LIMIT).expect_code(0);
}

/// Mode and owner of what is at this path in the machine.
fn seen(running: &Running, path: &str) -> rustix::io::Result<(u32, u32)> {
    let root = format!("/proc/{}/root", running.leader());
    let root = rustix::fs::open(root, rustix::fs::OFlags::PATH, rustix::fs::Mode::empty())?;
    let status = statat(root, path.trim_start_matches('/'), AtFlags::empty())?;
    Ok((status.st_mode & 0o777, status.st_uid))
}

#[test]
fn terminals_of_machines() {
    requires!(root, cgroup2, idmap, program "mount", program "dbus-daemon");
    let scene = scene(&[]);
    let client = &scene.client;
    let tree = fixture::tree();
    let host = HostState::capture(tree.path(), &[]);
    for way in [&[][..], &["-U"]] {
        let running = spawn(tree.path(), "bus-tty", way);
        let object = path_of("machine", "bus-tty");
        until("it is known", || client.done(MANAGER, "Manager.GetMachine", &("bus-tty",)).is_ok());
        let shift: u32 = client.call(MANAGER, "Manager.GetMachineUIDShift", &("bus-tty",)).expect("shift");
        let (master, path) = client.terminal(MANAGER, "Manager.OpenMachinePTY", &("bus-tty",)).expect("opened");
        let (other, other_path) = client.terminal(&object, "Machine.OpenPTY", &()).expect("opened");
        assert!(path.starts_with("/dev/pts/") && other_path.starts_with("/dev/pts/"), "{path} {other_path}");
        assert_ne!(path, other_path);
        // They are the machine's, and its root's alone.
        assert_eq!(seen(&running, &path), Ok((0o600, shift)), "{way:?}");
        let devices = || std::fs::read_dir("/dev/pts").expect("terminals").count();
        let before = devices();
        let mut screen = Screen::of(master);
        let script =
            format!("exec 3<>{path}; echo of the machine >&3; read line <&3; echo got $line >&3; read line <&3");
        std::thread::scope(|scope| {
            scope.spawn(|| inside("bus-tty", &script));
            screen.expect("of the machine", LIMIT);
            screen.write_line("typed");
            screen.expect("got typed", LIMIT);
            screen.write_line("over");
        });
        assert_eq!(devices(), before, "none of the host's");
        drop((screen, other));
        until("it goes with whoever asked", || seen(&running, &path).is_err() && seen(&running, &other_path).is_err());
        running.stop();
        let error = client.done(MANAGER, "Manager.OpenMachinePTY", &("bus-tty",)).expect_err("refused");
        assert_eq!(error, "org.freedesktop.machine1.NoSuchMachine");
    }
    host.assert_same();
}

#[test]
fn what_lies_in_the_place_of_terminals_is_not_believed() {
    requires!(root, cgroup2, program "mount", program "dbus-daemon");
    let scene = scene(&[]);
    let client = &scene.client;
    let tree = fixture::tree();
    let running = spawn(tree.path(), "bus-false", &[]);
    until("it is known", || client.done(MANAGER, "Manager.GetMachine", &("bus-false",)).is_ok());
    let opened = || client.done(MANAGER, "Manager.OpenMachinePTY", &("bus-false",)).expect_err("refused");
    let shell = || {
        let call = ("bus-false", "", "/bin/true", &NONE[..], &NONE[..]);
        client.done(MANAGER, "Manager.OpenMachineShell", &call).expect_err("refused")
    };
    // No terminals, but a ptmx that is a file of its own.
    inside("bus-false", "mount -t tmpfs tmpfs /dev/pts && : >/dev/pts/ptmx");
    assert_eq!((opened().as_str(), shell().as_str()), ("System.Error.ENOTTY", "System.Error.ENOTTY"));
    // A link to where there are some: on the host it would be the host's.
    inside("bus-false", "mkdir /tmp/pts /tmp/dev && mount -t devpts -o newinstance,ptmxmode=666 devpts /tmp/pts");
    inside("bus-false", "mount -t tmpfs tmpfs /dev && ln -s /tmp/pts /dev/pts");
    assert_eq!(opened(), "System.Error.ELOOP");
    inside("bus-false", "rm /dev/pts");
    assert_eq!(opened(), MISSING);
    running.stop();
}

#[test]
fn logins_where_no_systemd_runs() {
    requires!(root, cgroup2, idmap, program "mount", program "dbus-daemon", program "busybox");
    let scene = scene(&[]);
    let client = &scene.client;
    let tree = fixture::tree_with_login();
    let running = spawn(tree.path(), "bus-login", &["-U"]);
    until("it is known", || client.done(MANAGER, "Manager.GetMachine", &("bus-login",)).is_ok());
    let object = path_of("machine", "bus-login");
    for (path, method) in [(MANAGER, "Manager.OpenMachineLogin"), (object.as_str(), "Machine.OpenLogin")] {
        let (master, path) = if path == MANAGER {
            client.terminal(path, method, &("bus-login",)).expect("opened")
        } else {
            client.terminal(path, method, &()).expect("opened")
        };
        let mut screen = Screen::of(master);
        screen.expect("login: ", LIMIT);
        screen.write_line("root");
        screen.expect("Password: ", LIMIT);
        screen.write_line("secret");
        screen.expect("# ", LIMIT);
        screen.write_line("echo on $(tty) e\"\"nd");
        screen.expect(&format!("on {path} end"), LIMIT);
    }
    running.stop();
    let tree = fixture::tree();
    let running = spawn(tree.path(), "bus-login", &[]);
    until("it is known", || client.done(MANAGER, "Manager.GetMachine", &("bus-login",)).is_ok());
    let error = client.done(MANAGER, "Manager.OpenMachineLogin", &("bus-login",)).expect_err("refused");
    assert_eq!(error, MISSING, "neither login nor BusyBox");
    running.stop();
}

#[test]
fn shells_where_no_systemd_runs() {
    requires!(root, cgroup2, idmap, program "mount", program "dbus-daemon");
    let mut scene = scene(&[]);
    let tree = fixture::tree();
    let running = spawn(tree.path(), "bus-shell", &["-U"]);
    until("it is known", || scene.client.done(MANAGER, "Manager.GetMachine", &("bus-shell",)).is_ok());
    let object = path_of("machine", "bus-shell");
    shells_are_as_asked_for(&scene.client, &object);
    shells_that_are_refused(&scene.client, &object);
    // A shell needs no service, and ends with its terminal.
    let call = ("bus-shell", "user", "", &NONE[..], &NONE[..]);
    let (master, _) = scene.client.terminal(MANAGER, "Manager.OpenMachineShell", &call).expect("opened");
    let mut screen = Screen::of(master);
    screen.write_line("echo $0 of $(id -un) in $PWD e\"\"nd");
    screen.expect("-sh of user in /home/user end", LIMIT);
    scene.service.kill().expect("kill");
    scene.service.wait().expect("wait");
    screen.write_line("echo still $((20 + 3)) there");
    screen.expect("still 23 there", LIMIT);
    let sleepers = || inside_processes(running.leader()).iter().filter(|line| line.contains("sleep 4711")).count();
    screen.write_line("exec sleep 4711");
    until("it runs", || sleepers() == 1);
    drop(screen);
    until("it has been hung up", || sleepers() == 0);
    running.stop();
}

/// The command lines of all processes in the process namespace of this one.
fn inside_processes(leader: i32) -> Vec<String> {
    let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let wanted = namespace(&leader.to_string());
    let all = std::fs::read_dir("/proc").expect("proc").filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let line = |pid: String| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        Some(String::from_utf8_lossy(&line).replace('\0', " "))
    };
    all.filter(|pid| pid.parse::<i32>().is_ok() && namespace(pid) == wanted).filter_map(line).collect()
}

fn shells_are_as_asked_for(client: &Client, object: &str) {
    let script = "echo \"[$0 $1 $A $(id -un) $(tty)]\"; ls -l /proc/self/fd | sed 's/.*-> //'; echo e\"\"nd; read line";
    let arguments = ["called", "-c", script, "so", "one two"];
    let environment = ["A=b=c"];
    for (path, user) in [(MANAGER, "root"), (object, "user")] {
        let (master, path) = if path == MANAGER {
            let call = ("bus-shell", "", "/bin/sh", &arguments[..], &environment[..]);
            client.terminal(path, "Manager.OpenMachineShell", &call).expect("opened")
        } else {
            let call = (user, "/bin/sh", &arguments[..], &environment[..]);
            client.terminal(path, "Machine.OpenShell", &call).expect("opened")
        };
        let mut screen = Screen::of(master);
        screen.expect(&format!("[so one two b=c {user} {path}]"), LIMIT);
        // The terminal, the pipe to sed, and what ls itself looks at: nothing of the host's.
        let open = screen.expect("end", LIMIT);
        let strange = |line: &&str| !(line.starts_with("pipe:") || line.starts_with("/proc/") || *line == path);
        let lines = open.lines().map(str::trim).filter(|line| !line.is_empty() && *line != "end" && *line != "total 0");
        assert_eq!(lines.filter(strange).collect::<Vec<_>>(), [""; 0], "{open}");
    }
    // What a program is called is what the caller says.
    let call = ("bus-shell", "", "/bin/sh", &["-sh", "-c", "cat /proc/$$/cmdline; read line"][..], &NONE[..]);
    let (master, _) = client.terminal(MANAGER, "Manager.OpenMachineShell", &call).expect("opened");
    Screen::of(master).expect("-sh\0-c\0", LIMIT);
}

fn shells_that_are_refused(client: &Client, object: &str) {
    let refused = |user: &str, path: &str, arguments: &[&str], environment: &[&str]| {
        let by_name = ("bus-shell", user, path, arguments, environment);
        let by_name = client.done(MANAGER, "Manager.OpenMachineShell", &by_name).expect_err("refused");
        let own = client.done(object, "Machine.OpenShell", &(user, path, arguments, environment)).expect_err("refused");
        assert_eq!(by_name, own);
        own
    };
    assert_eq!(refused("no-such-user", "", &[], &[]), INVALID);
    assert_eq!(refused("a b", "", &[], &[]), INVALID);
    assert_eq!(refused("", "bin/sh", &[], &[]), INVALID);
    assert_eq!(refused("", "", &["sh"], &[]), INVALID);
    assert_eq!(refused("", "/bin/sh", &[], &["=x"]), INVALID);
    assert_eq!(refused("", "/bin/none", &[], &[]), MISSING);
    assert_eq!(refused("", "/etc/passwd", &[], &[]), "org.freedesktop.DBus.Error.AccessDenied");
}

#[test]
fn terminals_and_shells_of_the_host() {
    requires!(root, program "mount", program "dbus-daemon");
    let scene = scene(&[]);
    let client = &scene.client;
    let (master, path) = client.terminal(MANAGER, "Manager.OpenMachinePTY", &(".host",)).expect("opened");
    assert!(Path::new(&path).exists(), "{path}");
    let number = rustix::pty::ptsname(master.as_fd(), Vec::new()).expect("name");
    assert_eq!(number.to_str(), Ok(path.as_str()));
    drop(master);
    let (master, path) = client.terminal(HOST, "Machine.OpenPTY", &()).expect("opened");
    std::fs::write(&path, "of the host\n").expect("written");
    Screen::of(master).expect("of the host", LIMIT);
    // Its own /run/systemd is empty: nobody manages this host.
    let arguments = ["sh", "-c", "echo [$A $container $(id -u) $(tty)]; read line"];
    let environment = ["A=b"];
    let shell = (".host", "", "/bin/sh", &arguments[..], &environment[..]);
    let (master, path) = client.terminal(MANAGER, "Manager.OpenMachineShell", &shell).expect("opened");
    Screen::of(master).expect(&format!("[b 0 {path}]"), LIMIT);
    let nobody = ("no-such-user", "", &NONE[..], &NONE[..]);
    assert_eq!(client.done(HOST, "Machine.OpenShell", &nobody).expect_err("refused"), INVALID);
    let missing = ("", "/bin/none", &NONE[..], &NONE[..]);
    assert_eq!(client.done(HOST, "Machine.OpenShell", &missing).expect_err("refused"), MISSING);
    for opened in [
        client.terminal(MANAGER, "Manager.OpenMachineLogin", &(".host",)),
        client.terminal(HOST, "Machine.OpenLogin", &()),
    ] {
        match opened {
            Ok((master, _)) => drop(Screen::of(master).expect("login: ", LIMIT)),
            // It is there or it is not.
            Err(error) => assert_eq!(error, MISSING),
        }
    }
}
