use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command};

use serde_json::json;

use super::super::protocol::{Refusal, Request, answer};
use super::*;
use crate::state::{Class, Timestamp, VERSION};

fn state(leader: Process, supervisor: Option<Process>) -> State {
    State {
        version: VERSION,
        name: "m".to_owned(),
        id: None,
        service: None,
        class: Class::Container,
        leader,
        supervisor,
        root_directory: None,
        unit: None,
        subgroup: None,
        control_group: None,
        timestamp: Timestamp::now(),
        network_interfaces: Vec::new(),
        v_sock_cid: None,
        ssh_address: None,
        ssh_private_key_path: None,
        control_address: None,
        uid: 0,
        users: None,
        boots: false,
        private_network: false,
        supervised: true,
    }
}

fn myself() -> Process {
    Process::of(std::process::id().cast_signed()).unwrap()
}

/// A client, and a supervisor that gives this answer to one call; the result is what it was asked.
fn ask<T>(reply: Vec<u8>, act: impl FnOnce(&Client) -> T) -> (T, Call) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control");
    let listener = UnixListener::bind(&path).unwrap();
    let supervisor = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut message = Vec::new();
        BufReader::new(&stream).read_until(0, &mut message).unwrap();
        message.pop();
        stream.write_all(&reply).unwrap();
        Request::parse(&message).unwrap().call.unwrap()
    });
    let client = Client { state: state(myself(), Some(myself())), control: Some(path) };
    let result = act(&client);
    (result, supervisor.join().unwrap())
}

fn good() -> Vec<u8> {
    answer(&Ok(json!({})))
}

#[test]
fn each_verb_calls_its_method() {
    let (done, call) = ask(good(), |client| client.kill(Whom::Leader, 12));
    done.unwrap();
    assert_eq!(call, Call::Kill { whom: Whom::Leader, signal: 12 });
    let (done, call) = ask(good(), Client::terminate);
    done.unwrap();
    assert_eq!(call, Call::Terminate);
    let (done, call) = ask(good(), Client::resume);
    done.unwrap();
    assert_eq!(call, Call::Resume);
    let (done, call) = ask(good(), |client| client.resize(80, 25));
    done.unwrap();
    assert_eq!(call, Call::Resize { columns: 80, rows: 25 });
    let reply = answer(&Ok(json!({ "init": "systemd", "timeoutUSec": 5_000_000 })));
    let timeout = Some(Duration::from_secs(5));
    let (asked, call) = ask(reply, |client| client.power_off(timeout));
    assert_eq!(asked.unwrap(), Asked { init: "systemd".to_owned(), timeout });
    assert_eq!(call, Call::PowerOff { timeout });
    let (init, call) = ask(answer(&Ok(json!({ "init": "runit" }))), Client::reboot);
    assert_eq!((init.unwrap().as_str(), call), ("runit", Call::Reboot));
    let described = json!({ "version": 1, "state": state(myself(), None), "paused": true, "stopping": false });
    let (described, call) = ask(answer(&Ok(described)), Client::describe);
    let described = described.unwrap().unwrap();
    assert_eq!((described.state.name.as_str(), described.paused, described.stopping), ("m", true, false));
    assert_eq!(call, Call::Describe);
}

#[test]
fn refusals_have_names() {
    let refused =
        |refusal: Refusal| ask(answer(&Err(refusal)), |client| client.call_once(&Call::Resume)).0.unwrap_err();
    assert!(matches!(refused(Refusal::NotPermitted), Error::NotPermitted(_)));
    assert!(matches!(refused(Refusal::Busy), Error::Busy(_)));
    assert!(matches!(refused(Refusal::NoConsole), Error::NoConsole(_)));
    assert!(matches!(refused(Refusal::Stopping), Error::Stopping(_)));
    assert!(matches!(refused(Refusal::NoInit("sh".into())), Error::NoInit { program, .. } if program == "sh"));
    assert!(matches!(refused(Refusal::NotSupported("old")), Error::NotSupported { reason, .. } if reason == "old"));
    let refusal = Refusal::System { what: "freeze", errno: Errno::BUSY };
    assert!(matches!(refused(refusal), Error::System { what, source: Errno::BUSY, .. } if what == "freeze"));
    assert!(matches!(refused(Refusal::MethodNotFound("a".into())), Error::OtherVersion(_)));
    assert!(matches!(refused(Refusal::InterfaceNotFound("a".into())), Error::OtherVersion(_)));
    let later = json!({ "version": VERSION + 1, "state": { "more": "than is known" } });
    assert!(matches!(ask(answer(&Ok(later)), Client::describe).0, Err(Error::OtherVersion(_))));
    let (described, _) = ask(good(), Client::describe);
    assert!(matches!(described, Err(Error::Talk { .. })), "no state");
}

struct Guest(Child);

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One that others run.
fn foreign(arguments: &[&str]) -> (Guest, Client) {
    let child = Command::new(arguments[0]).args(&arguments[1..]).spawn().unwrap();
    let leader = Process::of(child.id().cast_signed()).unwrap();
    let state = State { supervised: false, ..state(leader, None) };
    (Guest(child), Client { state, control: None })
}

#[test]
fn machines_of_others_are_signalled() {
    let (mut guest, client) = foreign(&["sleep", "600"]);
    assert!(client.describe().unwrap().is_none());
    assert!(matches!(client.kill(Whom::Supervisor, 15), Err(Error::NoSupervisor(_))));
    assert!(matches!(client.kill(Whom::All, 15), Err(Error::NoGroup(_))));
    assert!(matches!(client.pause(), Err(Error::NoGroup(_))));
    assert!(matches!(client.resize(1, 1), Err(Error::NoConsole(_))));
    assert!(matches!(client.power_off(None), Err(Error::NoInit { .. })));
    assert!(matches!(client.reboot(), Err(Error::NoInit { .. })));
    client.kill(Whom::Leader, 12).unwrap();
    assert_eq!(guest.0.wait().unwrap().signal(), Some(12));
    assert!(matches!(client.kill(Whom::Leader, 12), Err(Error::Ended(_))));
    client.terminate().unwrap();
}

#[test]
fn machines_of_others_are_asked_and_terminated() {
    let (mut guest, client) = foreign(&["sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.01; done"]);
    let end = Instant::now() + Duration::from_secs(10);
    while !init::takes(client.state.leader.pid, 15) && Instant::now() < end {
        std::thread::sleep(AGAIN);
    }
    assert!(client.power_off(None).unwrap().timeout.is_none());
    assert_eq!(guest.0.wait().unwrap().code(), Some(7));
    let (mut guest, client) = foreign(&["sleep", "600"]);
    client.terminate().unwrap();
    assert_eq!(guest.0.wait().unwrap().signal(), Some(9));
}

#[test]
fn without_its_socket_it_is_steered_directly_and_the_dead_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let child = Guest(Command::new("sleep").arg("600").spawn().unwrap());
    let leader = Process::of(child.0.id().cast_signed()).unwrap();
    let control = Some(directory.path().join("control"));
    let client = Client { state: state(leader.clone(), Some(myself())), control: control.clone() };
    client.kill(Whom::Leader, 9).unwrap();
    let gone = Process { pidfd_id: Some(1), start_time: None, ..myself() };
    let client = Client { state: state(leader, Some(gone)), control };
    assert!(matches!(client.resume(), Err(Error::Ended(_))));
}

#[test]
fn the_freezer_of_others_is_none_that_we_are_in() {
    let ours = "7:freezer:/shell\n0::/\n";
    let found = |theirs: &str| frozen_apart(theirs, ours);
    assert_eq!(found("7:freezer:/lxc/m\n"), Some(PathBuf::from("/sys/fs/cgroup/freezer/lxc/m")));
    for theirs in ["7:freezer:/\n", "7:freezer:/shell\n", "0::/lxc/m\n", "7:freezer:/../m\n"] {
        assert_eq!(found(theirs), None, "{theirs}");
    }
    assert!(found("7:freezer:/shell/m\n").is_some());
}
