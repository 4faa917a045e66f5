//! Errors that only strange machines, a busy service or a damaged registry bring about.

use std::os::unix::ffi::OsStrExt;
use std::process::{Child, Command};

use serde_json::json;
use testkit::disk::Mounted;
use testkit::{fixture, requires};

use crate::client::Client;
use crate::service::{Foreign, IMAGES, Machined, USERS, isolate, machines, refused, spawn, until};

/// A process whose users are two ranges of the host's, with a network of its own.
struct Patched(Child);

impl Patched {
    fn start() -> Self {
        let child = Command::new("unshare").args(["-U", "-n", "sleep", "600"]).spawn().expect("start");
        let patched = Self(child);
        let own = std::fs::read_link("/proc/self/ns/user").expect("namespace");
        let pid = patched.0.id();
        until("its namespace", || std::fs::read_link(format!("/proc/{pid}/ns/user")).is_ok_and(|theirs| theirs != own));
        for map in ["uid_map", "gid_map"] {
            std::fs::write(format!("/proc/{pid}/{map}"), "0 700000 10\n10 800000 10\n").expect("map");
        }
        patched
    }
}

impl Drop for Patched {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn users_that_are_no_single_range_have_no_shift() {
    requires!(root, userns, program "unshare");
    let _isolated = isolate();
    let _service = Machined::start();
    let patched = Patched::start();
    let mut client = machines();
    let told = json!({ "name": "machined-patched", "class": "container", "leader": patched.0.id() });
    client.call("io.systemd.Machine.Register", told).expect("registered");
    let mut look = |how: &str| {
        client.call("io.systemd.Machine.List", json!({ "name": "machined-patched", "acquireMetadata": how }))
    };
    assert_eq!(refused(look("yes")), "io.systemd.Machine.NoUIDShift");
    assert!(look("graceful").expect("found")["UIDShift"].is_null());
    let from = machines().call("io.systemd.Machine.MapFrom", json!({ "name": "machined-patched", "uid": 12 }));
    assert_eq!(from.expect("mapped")["uid"], 800_002);
}

#[test]
fn more_operations_than_there_may_be_are_refused_and_nothing_is_left_of_them() {
    requires!(root);
    let _isolated = isolate();
    let pool = "/var/lib/machines";
    std::fs::create_dir_all(pool).expect("directory");
    let _pool = Mounted::new(&["-t", "tmpfs", "-o", "mode=700", "tmpfs"], pool.as_ref());
    std::fs::create_dir_all(format!("{pool}/machined-many/usr")).expect("image");
    for number in 0..2000 {
        std::fs::write(format!("{pool}/machined-many/usr/{number}"), "x").expect("file");
    }
    let _service = Machined::start();
    let mut clients: Vec<Client> = (0..120).map(|_| Client::connect(IMAGES)).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        let words = json!({ "name": "machined-many", "newName": format!("machined-copy-{number}") });
        client.send(&json!({ "method": "io.systemd.MachineImage.Clone", "parameters": words }));
    }
    let (mut made, mut too_many) = (Vec::new(), 0);
    for (number, client) in clients.iter_mut().enumerate() {
        match client.answer().0 {
            Ok(_) => made.push(format!("machined-copy-{number}")),
            Err((name, why)) => {
                assert_eq!(name, "io.systemd.MachineImage.TooManyOperations", "{why}");
                too_many += 1;
            }
        }
    }
    assert!(too_many > 0 && made.len() >= 32, "{too_many} {}", made.len());
    let mut there: Vec<String> = std::fs::read_dir(pool)
        .expect("pool")
        .map(|entry| entry.expect("entry").file_name().into_string().expect("text"))
        .filter(|name| name != "machined-many")
        .collect();
    made.sort();
    there.sort();
    assert_eq!(there, made);
    // Those that were refused can be had now.
    let again = json!({ "name": "machined-many", "newName": "machined-again" });
    clients[0].call("io.systemd.MachineImage.Clone", again).expect("cloned");
}

#[test]
fn users_of_a_damaged_machine_are_not_to_be_had_for_now() {
    requires!(root, cgroup2, userns, idmap);
    let _isolated = isolate();
    let tree = fixture::tree();
    let _service = Machined::start();
    let running = spawn(tree.path(), "machined-odd", &["-U"]);
    let mut client = Client::connect(USERS);
    let mut user = |method: &str, name: &str, value: &str| {
        let words = json!({ name: value, "service": "io.systemd.Machine" });
        client.call(&format!("io.systemd.UserDatabase.{method}"), words)
    };
    let found = user("GetUserRecord", "userName", "vu-machined-odd-5").expect("a user");
    assert_eq!(found["record"]["disposition"], "container");
    assert_eq!(user("GetGroupRecord", "groupName", "vg-machined-odd-5").expect("a group")["incomplete"], false);
    let state = "/run/redd/machines/machined-odd/state";
    let known = std::fs::read(state).expect("state");
    std::fs::write(state, "{").expect("state");
    for (method, name, value) in
        [("GetUserRecord", "userName", "vu-machined-odd-5"), ("GetGroupRecord", "groupName", "vg-machined-odd-5")]
    {
        assert_eq!(refused(user(method, name, value)), "io.systemd.UserDatabase.ServiceNotAvailable", "{method}");
    }
    std::fs::write(state, known).expect("state");
    user("GetUserRecord", "userName", "vu-machined-odd-5").expect("a user");
    assert_eq!(
        refused(user("GetGroupRecord", "groupName", "vg-machined-odd-70000")),
        "io.systemd.UserDatabase.NoRecordFound"
    );
    running.stop();
}

#[test]
fn an_environment_that_is_no_text_is_not_given_out() {
    requires!(root);
    let _isolated = isolate();
    let mut command = Machined::command();
    command.env("REDD_TEST", std::ffi::OsStr::from_bytes(b"\xff"));
    let _service = Machined::begin(command);
    let answer = machines().call("io.systemd.service.GetEnvironment", json!({}));
    assert_eq!(refused(answer), "io.systemd.service.InconsistentEnvironment");
}

/// Methods that find a machine by its name or a process, and what they say where there is none.
#[test]
fn machines_that_there_are_not() {
    requires!(root);
    let _isolated = isolate();
    let _service = Machined::start();
    let mut client = machines();
    let foreign = Foreign::start();
    for which in [json!({ "name": "machined-none" }), json!({ "pid": { "pid": foreign.pid() } })] {
        for (method, more) in [
            ("Unregister", json!({})),
            ("Terminate", json!({})),
            ("Kill", json!({ "signal": 15 })),
            ("List", json!({})),
            ("Open", json!({ "mode": "tty" })),
            ("MapFrom", json!({ "uid": 0 })),
            ("BindMount", json!({ "source": "/etc" })),
            ("CopyFrom", json!({ "source": "/etc" })),
            ("CopyTo", json!({ "source": "/etc" })),
            ("OpenRootDirectory", json!({})),
        ] {
            let mut words = more;
            for (name, value) in which.as_object().expect("words") {
                words[name] = value.clone();
            }
            let answer = client.call(&format!("io.systemd.Machine.{method}"), words.clone());
            assert_eq!(refused(answer), "io.systemd.Machine.NoSuchMachine", "{method} {words}");
        }
    }
    // Parameters that there are not.
    for method in ["Ping", "SetLogLevel"] {
        let answer = client.call(&format!("io.systemd.service.{method}"), json!({ "x": 1 }));
        assert_eq!(refused(answer), "org.varlink.service.InvalidParameter x", "{method}");
    }
}
