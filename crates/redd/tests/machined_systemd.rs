//! `systemd-machined` and machines in which systemd runs: terminals, logins and shells are those of the service manager inside.

#[allow(dead_code, reason = "each test takes what it needs")]
#[path = "machined_bus/bus.rs"]
mod bus;
#[allow(dead_code, reason = "each test takes what it needs")]
#[path = "machined/client.rs"]
mod client;
#[allow(dead_code, reason = "each test takes what it needs")]
#[path = "machined_bus/scene.rs"]
mod scene;

use std::os::fd::OwnedFd;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::{HostState, Screen, Terminal, fixture, requires, run_limited};

use bus::Client;
use scene::{Scene, until};

const REDD: &str = env!("CARGO_BIN_EXE_redd");
const MANAGER: &str = "/org/freedesktop/machine1";
const VARLINK: &str = "/run/systemd/machine/io.systemd.Machine";
const NAME: &str = "managed";
const SEEMING: &str = "seeming";
/// A first boot has much to do, on a slow machine that does other things as well.
const LIMIT: Duration = Duration::from_secs(120);
/// Nothing in a list.
const NONE: [&str; 0] = [];

/// What a command in the machine prints.
fn inside(words: &[&str]) -> String {
    let mut command = Command::new(REDD);
    command.args(["exec", NAME, "--"]).args(words);
    run_limited(command, Vec::new(), LIMIT).output
}

/// Units of the machine that match, in these states.
fn units(pattern: &str, states: &str) -> usize {
    let list = ["/usr/bin/systemctl", "list-units", "--all", "--plain", "--no-legend"];
    let state = format!("--state={states}");
    inside(&[&list[..], &[&state, pattern]].concat()).lines().count()
}

fn open(mode: &str, more: Value) -> (client::Answer, Vec<OwnedFd>) {
    open_in(NAME, mode, more)
}

fn open_in(machine: &str, mode: &str, more: Value) -> (client::Answer, Vec<OwnedFd>) {
    let mut all = json!({ "name": machine, "mode": mode });
    for (name, value) in more.as_object().expect("parameters") {
        all[name] = value.clone();
    }
    client::Client::connect(VARLINK).call_for_descriptors("io.systemd.Machine.Open", all)
}

#[test]
fn terminals_logins_and_shells_of_the_service_manager_inside() {
    requires!(root, cgroup2, idmap, program "mount", program "dbus-daemon");
    let Some(tree) = fixture::debian_tree() else { return };
    let scene = Scene::with(&[], &[]);
    let before = HostState::capture(&tree, &[]);
    let mut command = Command::new(REDD);
    let mut console = Terminal::start(command.args(["spawn", "-q", "-xbUD"]).arg(&tree).args(["-M", NAME]));
    console.expect("login: ", LIMIT);
    empty_terminals(&scene.client);
    logins(&scene.client);
    shells(&scene.client);
    refused_shells(&scene.client);
    until("nothing of them has failed", || units("*", "failed") == 0);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(units("*", "failed"), 0, "{}", inside(&["/usr/bin/systemctl", "--failed"]));
    inside(&["/usr/bin/systemctl", "poweroff"]);
    assert_eq!(console.wait(LIMIT).code(), Some(0));
    let gone = scene.client.done(MANAGER, "Manager.OpenMachineLogin", &(NAME,)).expect_err("refused");
    assert_eq!(gone, "org.freedesktop.machine1.NoSuchMachine");
    before.assert_same();
}

fn empty_terminals(client: &Client) {
    let by_bus = client.terminal(MANAGER, "Manager.OpenMachinePTY", &(NAME,)).expect("opened");
    let (answer, mut terminals) = open("tty", json!({}));
    let path = answer.expect("opened")["ptyPath"].as_str().expect("path").to_owned();
    for (master, path) in [by_bus, (terminals.remove(0), path)] {
        let mut screen = Screen::of(master);
        let script = format!("stat -c '%U %a %F' {path} >{path}");
        std::thread::scope(|scope| {
            scope.spawn(|| inside(&["/bin/sh", "-c", &script]));
            screen.expect("root 600 character special file", LIMIT);
        });
    }
}

fn logins(client: &Client) {
    let by_bus = client.terminal(MANAGER, "Manager.OpenMachineLogin", &(NAME,)).expect("opened");
    let (answer, mut terminals) = open("login", json!({}));
    let path = answer.expect("opened")["ptyPath"].as_str().expect("path").to_owned();
    let mut screens = [by_bus, (terminals.remove(0), path)].map(|(master, path)| (Screen::of(master), path));
    for (screen, path) in &mut screens {
        screen.expect("login: ", LIMIT);
        screen.write_line("root");
        screen.expect("# ", LIMIT);
        screen.write_line("echo on $(tty) in $(sed -n s/^0:://p /proc/self/cgroup) e\"\"nd");
        screen.expect(&format!("on {path} in "), LIMIT);
        let group = screen.expect(" end", LIMIT);
        assert!(group.contains("session-"), "a session of the login manager: {group}");
    }
    assert_eq!(units("container-getty@*", "running"), 2);
    drop(screens);
    until("they end with their terminals", || units("container-getty@*", "active,activating,deactivating,failed") == 0);
    // The same number again, at once.
    for _ in 0..2 {
        let (master, _) = client.terminal(MANAGER, "Manager.OpenMachineLogin", &(NAME,)).expect("opened");
        Screen::of(master).expect("login: ", LIMIT);
    }
}

fn shells(client: &Client) {
    let script = "echo \"[$0 $1 $A $(id -un) $(tty)]\"; sed -n s/^0:://p /proc/self/cgroup; read line; exit 3";
    let arguments = ["called", "-c", script, "so", "$one two"];
    let call = (NAME, "www-data", "/bin/sh", &arguments[..], &["A=b $c"][..]);
    let by_bus = client.terminal(MANAGER, "Manager.OpenMachineShell", &call).expect("opened");
    let call = json!({ "user": "www-data", "path": "/bin/sh", "args": arguments, "environment": ["A=b $c"] });
    let (answer, mut terminals) = open("shell", call);
    let path = answer.expect("opened")["ptyPath"].as_str().expect("path").to_owned();
    let mut screens = [by_bus, (terminals.remove(0), path)].map(|(master, path)| (Screen::of(master), path));
    for (screen, path) in &mut screens {
        screen.expect(&format!("[so $one two b $c www-data {path}]"), LIMIT);
        screen.expect("session-", LIMIT);
    }
    assert_eq!(units("container-shell@*", "running"), 2);
    // Whatever its exit code: nothing of it is left.
    for (screen, _) in &mut screens {
        screen.write_line("");
    }
    until("they are forgotten", || units("container-shell@*", "active,inactive,failed") == 0);
    short_ones(client);
    // The user's own shell, which ends with its terminal.
    let call = (NAME, "", "", &NONE[..], &NONE[..]);
    let (master, path) = client.terminal(MANAGER, "Manager.OpenMachineShell", &call).expect("opened");
    let mut screen = Screen::of(master);
    screen.expect("# ", LIMIT);
    screen.write_line("echo $0 in $PWD on $(tty) e\"\"nd");
    screen.expect(&format!("bash in /root on {path} end"), LIMIT);
    drop(screen);
    until("it is hung up and forgotten", || units("container-shell@*", "active,inactive,failed") == 0);
}

/// However soon a command ends, and with whatever code: it runs once, and what it has written is there.
fn short_ones(client: &Client) {
    // Clients say what their terminal is, and variables may be said twice.
    let environment = ["TERM=vt100", "A=b", "A=c"];
    let script = "echo ran >>/root/runs; echo \"[$TERM $A]\"; exit $1";
    for code in ["0", "7", "1"].into_iter().cycle().take(6) {
        let call = (NAME, "", "/bin/sh", &["sh", "-c", script, "sh", code][..], &environment[..]);
        let (master, _) = client.terminal(MANAGER, "Manager.OpenMachineShell", &call).expect("opened");
        until("it is forgotten", || units("container-shell@*", "active,activating,inactive,failed") == 0);
        Screen::of(master).expect("[vt100 c]", LIMIT);
    }
    assert_eq!(inside(&["/bin/cat", "/root/runs"]), "ran\n".repeat(6));
    // What carries our words to the service manager is gone with them.
    until("no process is left of it", || !inside(&["/bin/ps", "-e"]).contains("systemd-stdio"));
}

fn refused_shells(client: &Client) {
    let refused = |user: &str, path: &str| {
        let call = (NAME, user, path, &NONE[..], &NONE[..]);
        let by_bus = client.done(MANAGER, "Manager.OpenMachineShell", &call).expect_err("refused");
        let (answer, terminals) = open("shell", json!({ "user": user, "path": path }));
        assert!(terminals.is_empty());
        let (name, why) = answer.expect_err("refused");
        (by_bus, name, why["errnoName"].as_str().unwrap_or_default().to_owned())
    };
    let (by_bus, name, _) = refused("nobody-here", "");
    assert_eq!(
        (by_bus.as_str(), name.as_str()),
        ("org.freedesktop.DBus.Error.InvalidArgs", "io.systemd.Machine.NoSuchUser")
    );
    let (by_bus, name, errno) = refused("", "/none");
    assert_eq!((by_bus.as_str(), name.as_str()), ("org.freedesktop.DBus.Error.FileNotFound", "io.systemd.System"));
    assert_eq!(errno, "ENOENT");
    assert_eq!(units("container-shell@*", "active,inactive,failed"), 0, "nothing is left of them");
}

#[test]
fn a_machine_that_only_seems_to_be_managed_gets_nothing_of_the_host() {
    requires!(root, cgroup2, program "mount", program "dbus-daemon");
    let scene = Scene::with(&[], &[]);
    let tree = fixture::tree();
    // Its first process has systemd's name, and what answers for it is the machine's.
    std::fs::copy(tree.join("usr/bin/sleep"), tree.join("usr/bin/systemd")).expect("program");
    let mut command = Command::new(REDD);
    command.args(["spawn", "-q", "-P", "-M", SEEMING, "-D"]).arg(tree.path()).args(["/usr/bin/systemd", "1000"]);
    let running = testkit::Running::start(command, SEEMING);
    until("it is known", || scene.client.done(MANAGER, "Manager.GetMachine", &(SEEMING,)).is_ok());
    let shell = (SEEMING, "", "/bin/true", &NONE[..], &NONE[..]);
    let refused = |error: &str, errno: &str| {
        for answer in [
            scene.client.done(MANAGER, "Manager.OpenMachineLogin", &(SEEMING,)),
            scene.client.done(MANAGER, "Manager.OpenMachineShell", &shell),
        ] {
            assert_eq!(answer.expect_err("refused"), error);
        }
        let (answer, terminals) = open_in(SEEMING, "login", json!({}));
        let (name, why) = answer.expect_err("refused");
        assert_eq!((name.as_str(), why["errnoName"].as_str(), terminals.len()), ("io.systemd.System", Some(errno), 0));
    };
    refused("org.freedesktop.DBus.Error.FileNotFound", "ENOENT");
    for answer in ["printf 'garbage\\r\\n'", "printf 'OK 0123456789abcdef\\r\\n'; head -c 100000 /dev/zero"] {
        tree.write("usr/bin/systemd-stdio-bridge", format!("#!/bin/sh\n{answer}\n"), 0o755);
        refused("org.freedesktop.DBus.Error.IOError", "EIO");
    }
    // One that says nothing is not waited for by everybody.
    tree.write("usr/bin/systemd-stdio-bridge", "#!/bin/sh\nexec sleep 1000\n", 0o755);
    let started = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (answer, _) = open_in(SEEMING, "login", json!({}));
            assert_eq!(answer.expect_err("refused").1["errnoName"], "ETIMEDOUT");
        });
        let (master, _) = scene.client.terminal(MANAGER, "Manager.OpenMachinePTY", &(SEEMING,)).expect("opened");
        drop(master);
        assert!(started.elapsed() < Duration::from_secs(20), "others are served meanwhile");
    });
    running.stop();
}
