//! `io.systemd.Machine.Open`: terminals, logins and shells of machines without systemd and of the host.

use std::os::fd::OwnedFd;

use serde_json::{Value, json};
use testkit::{Screen, fixture, requires};

use crate::client::{Answer, Client};
use crate::service::{Foreign, LIMIT, Machined, as_user, isolate, machines, refused, spawn};

/// Opens something of this machine.
#[track_caller]
fn open(client: &mut Client, name: &str, mode: &str, more: Value) -> (Answer, Vec<OwnedFd>) {
    let mut all = json!({ "name": name, "mode": mode });
    for (name, value) in more.as_object().expect("parameters") {
        all[name] = value.clone();
    }
    client.call_for_descriptors("io.systemd.Machine.Open", all)
}

/// What was opened, and its path.
#[track_caller]
fn screen((answer, mut terminals): (Answer, Vec<OwnedFd>)) -> (Screen, String) {
    let answer = answer.expect("opened");
    assert_eq!((&answer["ptyFileDescriptor"], terminals.len()), (&json!(0), 1), "{answer}");
    let path = answer["ptyPath"].as_str().expect("path").to_owned();
    assert!(path.starts_with("/dev/pts/"), "{path}");
    (Screen::of(terminals.remove(0)), path)
}

#[test]
fn shells_are_opened_on_terminals_of_the_machine() {
    requires!(root, cgroup2, program "mount");
    let _isolated = isolate();
    let tree = fixture::tree();
    let _service = Machined::start();
    let running = spawn(tree.path(), "machined-shell", &[]);
    let mut client = machines();
    let mut open = |more: Value| open(&mut client, "machined-shell", "shell", more);
    let script = "test -t 0 && echo [$WORD:$1:$(id -u)]; read line; echo got:$line; read line";
    let arguments = ["sh", "-c", script, "sh", "one"];
    let call = json!({ "path": "/bin/sh", "args": arguments, "environment": ["WORD=x=y"] });
    let (mut shell, _) = screen(open(call));
    shell.expect("[x=y:one:0]", LIMIT);
    shell.write_line("hello");
    shell.expect("got:hello", LIMIT);
    let (mut shell, path) = screen(open(json!({ "user": "user" })));
    shell.write_line("echo $(id -un) on $(tty) e\"\"nd");
    shell.expect(&format!("user on {path} end"), LIMIT);
    let (none, terminals) = open(json!({ "user": "machined-nobody" }));
    assert_eq!((refused(none).as_str(), terminals.len()), ("io.systemd.Machine.NoSuchUser", 0));
    let (name, why) = open(json!({ "path": "/bin/none" })).0.expect_err("no program");
    assert_eq!((name.as_str(), &why["errnoName"]), ("io.systemd.System", &json!("ENOENT")));
    for (parameter, value) in [
        ("path", json!("sh")),
        ("mode", json!("window")),
        ("mode", Value::Null),
        ("environment", json!(["=x"])),
        ("args", json!([1])),
        ("user", json!("a\0b")),
    ] {
        let mut bad = json!({ "path": "/bin/sh" });
        bad[parameter] = value.clone();
        assert_eq!(refused(open(bad).0), format!("org.varlink.service.InvalidParameter {parameter}"), "{value}");
    }
    assert_eq!(refused(open(json!({ "args": ["sh"] })).0), "org.varlink.service.InvalidParameter args");
    assert_eq!(refused(open(json!({ "name": "machined-none" })).0), "io.systemd.Machine.NoSuchMachine");
    running.stop();
}

#[test]
fn terminals_and_logins_are_opened() {
    requires!(root, cgroup2, idmap, program "mount", program "busybox");
    let _isolated = isolate();
    let tree = fixture::tree_with_login();
    let _service = Machined::start();
    let running = spawn(tree.path(), "machined-tty", &["-U"]);
    let mut client = machines();
    let (mut terminal, path) = screen(open(&mut client, "machined-tty", "tty", json!({})));
    let arguments = ["sh", "-c", "echo said >$1", "sh", &path];
    let (_shell, _) =
        screen(open(&mut client, "machined-tty", "shell", json!({ "path": "/bin/sh", "args": arguments })));
    terminal.expect("said", LIMIT);
    let (mut login, path) = screen(open(&mut client, "machined-tty", "login", json!({})));
    login.expect("login: ", LIMIT);
    login.write_line("root");
    login.expect("Password: ", LIMIT);
    login.write_line("secret");
    login.expect("# ", LIMIT);
    login.write_line("echo on $(tty) e\"\"nd");
    login.expect(&format!("on {path} end"), LIMIT);
    // What is for shells is heeded or refused.
    for mode in ["tty", "login"] {
        for (name, value) in [
            ("user", json!("root")),
            ("path", json!("/bin/sh")),
            ("args", json!(["sh"])),
            ("environment", json!(["A=b"])),
        ] {
            let refusal = refused(open(&mut client, "machined-tty", mode, json!({ name: value })).0);
            assert_eq!(refusal, format!("org.varlink.service.InvalidParameter {name}"), "{mode}");
        }
        assert_eq!(refused(open(&mut client, "machined-no", mode, json!({})).0), "io.systemd.Machine.NoSuchMachine");
    }
    running.stop();
    // Without login(1) and BusyBox.
    let tree = fixture::tree();
    let running = spawn(tree.path(), "machined-tty", &[]);
    let (name, why) = open(&mut client, "machined-tty", "login", json!({})).0.expect_err("no program");
    assert_eq!((name.as_str(), &why["errnoName"]), ("io.systemd.System", &json!("ENOENT")));
    running.stop();
}

#[test]
fn the_host_has_terminals_and_virtual_machines_have_none() {
    requires!(root, program "mount");
    let _isolated = isolate();
    let _service = Machined::start();
    let mut client = machines();
    let (mut terminal, path) = screen(open(&mut client, ".host", "tty", json!({})));
    std::fs::write(&path, "of the host\n").expect("written");
    terminal.expect("of the host", LIMIT);
    let call = json!({ "path": "/bin/sh", "args": ["sh", "-c", "echo [$(tty)]; read line"] });
    let (mut shell, path) = screen(open(&mut client, ".host", "shell", call));
    shell.expect(&format!("[{path}]"), LIMIT);
    let nobody = open(&mut client, ".host", "shell", json!({ "user": "machined-nobody" }));
    assert_eq!(refused(nobody.0), "io.systemd.Machine.NoSuchUser");
    let foreign = Foreign::start();
    let told = json!({ "name": "machined-far", "class": "vm", "leader": foreign.pid() });
    client.call("io.systemd.Machine.Register", told).expect("registered");
    for mode in ["tty", "login", "shell"] {
        let refusal = refused(open(&mut client, "machined-far", mode, json!({})).0);
        assert_eq!(refusal, "io.systemd.Machine.NotSupported", "{mode}");
        for name in ["machined-far", ".host"] {
            let (answer, terminals) = as_user(|| open(&mut machines(), name, mode, json!({})));
            assert_eq!(refused(answer), "org.varlink.service.PermissionDenied", "{name} {mode}");
            assert!(terminals.is_empty());
        }
    }
}
