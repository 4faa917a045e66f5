//! Whoever connects: many at once, without manners, without rights.

use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde_json::{Value, json};
use testkit::requires;

use crate::client::Client;
use crate::service::{Foreign, IMAGES, MACHINES, Machined, USERS, as_user, isolate, machines, names, refused, until};

const LIST: &str = "io.systemd.Machine.List";

#[test]
fn interfaces_are_given_out_as_they_are_kept() {
    requires!(root);
    let _isolated = isolate();
    let _service = Machined::start();
    let both = ["io.systemd.Machine", "io.systemd.MachineImage", "io.systemd.service", "org.varlink.service"];
    let users = ["io.systemd.UserDatabase", "io.systemd.service", "org.varlink.service"];
    for (socket, interfaces) in [(MACHINES, &both[..]), (IMAGES, &both), (USERS, &users)] {
        let mut client = Client::connect(socket);
        let info = client.call("org.varlink.service.GetInfo", json!({})).expect("info");
        assert_eq!(info["interfaces"], json!(interfaces));
        for interface in interfaces {
            let answer = client.call("org.varlink.service.GetInterfaceDescription", json!({ "interface": interface }));
            let path =
                Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../machined/interfaces/{interface}.varlink"));
            assert_eq!(answer.expect("text")["description"], std::fs::read_to_string(path).expect("file"));
        }
        for (method, parameters, error) in [
            ("org.varlink.service.GetInterfaceDescription", json!({ "interface": "a.b" }), "InterfaceNotFound"),
            ("org.varlink.service.GetInterfaceDescription", json!({}), "InvalidParameter interface"),
            ("org.varlink.service.GetInfo", json!({ "x": 1 }), "InvalidParameter x"),
            ("org.varlink.service.Nothing", json!({}), "MethodNotFound"),
            ("io.systemd.service.Nothing", json!({}), "MethodNotFound"),
            ("a.b.C", json!({}), "InterfaceNotFound"),
            ("nonsense", json!({}), "MethodNotFound"),
        ] {
            assert_eq!(refused(client.call(method, parameters)), format!("org.varlink.service.{error}"), "{method}");
        }
    }
}

#[test]
fn what_every_service_of_systemd_has() {
    requires!(root);
    let _isolated = isolate();
    let _service = Machined::start();
    let mut client = machines();
    assert_eq!(client.call("io.systemd.service.Ping", json!({})), Ok(json!({})));
    client.call("io.systemd.service.SetLogLevel", json!({ "level": 3 })).expect("set");
    for level in [json!(8), json!(-1), json!("debug"), Value::Null] {
        let answer = client.call("io.systemd.service.SetLogLevel", json!({ "level": level }));
        assert_eq!(refused(answer), "org.varlink.service.InvalidParameter level");
    }
    let environment = client.call("io.systemd.service.GetEnvironment", json!({})).expect("environment");
    assert!(environment["environment"].as_array().is_some_and(|all| !all.is_empty()), "{environment}");
    let refusals = as_user(|| {
        let mut client = machines();
        client.call("io.systemd.service.Ping", json!({})).expect("pong");
        [("SetLogLevel", json!({ "level": 7 })), ("GetEnvironment", json!({}))]
            .map(|(method, parameters)| refused(client.call(&format!("io.systemd.service.{method}"), parameters)))
    });
    assert_eq!(refusals, ["org.varlink.service.PermissionDenied"; 2]);
}

#[test]
fn a_hundred_callers_at_once() {
    requires!(root);
    let _isolated = isolate();
    let _service = Machined::start();
    let foreign: Vec<Foreign> = (0..8).map(|_| Foreign::start()).collect();
    let mut clients: Vec<Client> = (0..100).map(|_| machines()).collect();
    for (index, client) in clients.iter_mut().enumerate() {
        let leader = foreign[index % foreign.len()].pid();
        let told = json!({ "name": format!("machined-crowd-{index}"), "class": "vm", "leader": leader });
        client.send(&json!({ "method": "io.systemd.Machine.Register", "parameters": told }));
    }
    for client in &mut clients {
        client.answer().0.expect("registered");
    }
    assert_eq!(names().len(), 101);
    // All of them ask for one name: one gets it.
    for client in &mut clients {
        let told = json!({ "name": "machined-wanted", "class": "vm", "leader": foreign[0].pid() });
        client.send(&json!({ "method": "io.systemd.Machine.Register", "parameters": told }));
    }
    let won = clients.iter_mut().filter_map(|client| match client.answer().0 {
        Ok(_) => Some(()),
        Err((name, _)) => {
            assert_eq!(name, "io.systemd.Machine.MachineExists");
            None
        }
    });
    assert_eq!(won.count(), 1);
    // The registry lets go of them with their first processes, and so does the service.
    drop(foreign);
    until("all are gone", || names() == [".host"]);
    let notes = || std::fs::read_dir("/run/systemd/machines").expect("notes").count();
    until("their notes too", || notes() == 0);
}

#[test]
fn calls_follow_each_other_and_some_want_no_answer() {
    requires!(root);
    let _isolated = isolate();
    let _service = Machined::start();
    let mut client = machines();
    client.send(&json!({ "method": "io.systemd.service.Ping", "oneway": true }));
    client.send(&json!({ "method": "a.b.C", "oneway": true }));
    client.send(&json!({ "method": LIST, "parameters": { "name": ".host" } }));
    client.send(&json!({ "method": "io.systemd.service.Ping", "parameters": null }));
    assert_eq!(client.answer().0.expect("the host")["name"], ".host");
    assert_eq!(client.answer().0, Ok(json!({})));
    client.send(&json!({ "method": "io.systemd.service.Ping", "upgrade": true }));
    assert_eq!(client.answer().0.unwrap_err().0, "org.varlink.service.MethodNotImplemented");
    assert_eq!(refused(client.call(LIST, json!({}))), "org.varlink.service.ExpectedMore");
}

#[test]
fn who_talks_nonsense_is_hung_up_on_and_nobody_else() {
    requires!(root);
    let _isolated = isolate();
    let _service = Machined::start();
    let mut patient = machines();
    let long = vec![b'x'; (1 << 20) + 8192];
    let deep = [b"{\"method\":\"a.B\",\"parameters\":".to_vec(), b"{\"a\":".repeat(100_000), b"\0".to_vec()].concat();
    let nonsense: [&[u8]; 7] = [
        b"\0",
        b"nonsense\0",
        b"[]\0",
        b"{\"method\":7}\0",
        b"{\"method\":\"a.B\",\"parameters\":[]}\0",
        b"\xff\xfe\0",
        &deep,
    ];
    for bytes in nonsense.into_iter().chain([long.as_slice()]) {
        let mut stream = UnixStream::connect(MACHINES).expect("connect");
        // It may hang up before it has all.
        let _ = stream.write_all(bytes);
        stream.set_read_timeout(Some(std::time::Duration::from_secs(30))).expect("timeout");
        let mut rest = Vec::new();
        let read = stream.read_to_end(&mut rest);
        let reset = read.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset);
        assert!(reset || rest.is_empty(), "{:?}", String::from_utf8_lossy(&rest));
    }
    // In the midst of a message, and without reading any answer.
    drop(UnixStream::connect(MACHINES).and_then(|mut stream| stream.write_all(b"{\"method\":\"io.sy")));
    let mut deaf = machines();
    for _ in 0..100 {
        deaf.send(&json!({ "method": LIST, "more": true }));
    }
    drop(deaf);
    assert_eq!(patient.call(LIST, json!({ "name": ".host" })).expect("the host")["name"], ".host");
    let name = "x".repeat(500_000);
    assert_eq!(refused(patient.call(LIST, json!({ "name": name }))), "org.varlink.service.InvalidParameter name");
}

#[test]
fn descriptors_that_nobody_asked_for_are_closed() {
    requires!(root);
    let _isolated = isolate();
    let service = Machined::start();
    let open = || std::fs::read_dir(format!("/proc/{}/fd", service.pid())).expect("descriptors").count();
    let stream = UnixStream::connect(MACHINES).expect("connect");
    let mut client = Client::over(stream.try_clone().expect("copy"));
    client.call("io.systemd.service.Ping", json!({})).expect("pong");
    let before = open();
    let null = std::fs::File::open("/dev/null").expect("open");
    for _ in 0..50 {
        let many = [null.as_fd(); 4];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&many)));
        let message = b"{\"method\":\"io.systemd.service.Ping\"}\0";
        sendmsg(&stream, &[IoSlice::new(message)], &mut control, SendFlags::empty()).expect("send");
        client.answer().0.expect("pong");
    }
    assert_eq!(open(), before);
}

#[test]
fn others_than_root_have_their_share_and_may_not_steer() {
    requires!(root);
    let _isolated = isolate();
    let _service = Machined::start();
    let foreign = Foreign::start();
    let told = json!({ "name": "machined-roots", "class": "vm", "leader": foreign.pid() });
    machines().call("io.systemd.Machine.Register", told).expect("registered");
    let refusals = as_user(|| {
        let mut client = machines();
        assert_eq!(client.call(LIST, json!({ "name": "machined-roots" })).expect("found")["class"], "vm");
        [
            ("Terminate", json!({ "name": "machined-roots" })),
            ("Kill", json!({ "name": "machined-roots", "signal": 9 })),
            ("Unregister", json!({ "name": "machined-roots" })),
            ("BindMount", json!({ "name": "machined-roots", "source": "/etc" })),
            ("OpenRootDirectory", json!({ "name": ".host" })),
            ("Register", json!({ "name": "machined-mine", "class": "container", "leader": foreign.pid() })),
        ]
        .map(|(method, parameters)| refused(client.call(&format!("io.systemd.Machine.{method}"), parameters)))
    });
    assert_eq!(refusals, ["org.varlink.service.PermissionDenied"; 6]);
    assert_eq!(names(), [".host", "machined-roots"]);
    // The most that one user gets; root's are counted apart.
    let served = as_user(|| {
        let mut all: Vec<UnixStream> = (0..300).map(|_| UnixStream::connect(MACHINES).expect("connect")).collect();
        let mut served = 0;
        for stream in &mut all {
            stream.set_read_timeout(Some(std::time::Duration::from_secs(30))).expect("timeout");
            let _ = stream.write_all(b"{\"method\":\"io.systemd.service.Ping\"}\0");
            served += usize::from(matches!(stream.read(&mut [0; 64]), Ok(1..)));
        }
        served
    });
    assert!((200..=256).contains(&served), "{served}");
    assert!(machines().call("io.systemd.service.Ping", json!({})).is_ok());
}
