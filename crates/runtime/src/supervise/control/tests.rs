use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use machine::control::protocol::{LONGEST_CALL, Whom};
use machine::process::Process;
use machine::state::{Class, Timestamp, VERSION};
use rustix::event::{Timespec, poll};
use serde_json::json;

use super::*;

/// A server, its directory, and what it was asked.
struct Fixture {
    server: Server,
    directory: tempfile::TempDir,
    called: Vec<Call>,
}

impl Fixture {
    fn new() -> Self {
        let us = Process::of(std::process::id().cast_signed()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let state = State {
            version: VERSION,
            name: "m".to_owned(),
            id: None,
            service: None,
            class: Class::Container,
            leader: us,
            supervisor: None,
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
            uid: rustix::process::geteuid().as_raw(),
            users: None,
            boots: false,
            private_network: false,
            supervised: true,
        };
        // Tests are threads with one mask; a supervisor is one.
        static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());
        let _alone = ONE_AT_A_TIME.lock().unwrap();
        let server = Server::listen(&directory.path().join("control"), state).unwrap();
        Self { server, directory, called: Vec::new() }
    }

    fn connect(&self) -> UnixStream {
        UnixStream::connect(self.directory.path().join("control")).unwrap()
    }

    /// Lets it do all that there is to do.
    fn turn(&mut self, now: Instant) {
        for _ in 0..200 {
            let ready = {
                let null = std::fs::File::open("/dev/null").unwrap();
                let mut fds: [PollFd<'_>; SLOTS] =
                    std::array::from_fn(|_| PollFd::from_borrowed_fd(null.as_fd(), PollFlags::empty()));
                self.server.watch(&mut fds);
                poll(&mut fds, Some(&Timespec::default())).unwrap();
                fds.map(|fd| !fd.revents().is_empty())
            };
            let Self { server, called, .. } = self;
            server.turn(&ready, now, &mut |state, call| {
                called.push(call.clone());
                match call {
                    Call::Resize { .. } => Err(Refusal::NoConsole),
                    Call::Describe => Ok(json!({ "name": state.name, "padding": "x".repeat(3000) })),
                    _ => Ok(json!({})),
                }
            });
            if !ready.contains(&true) {
                return;
            }
        }
        panic!("it never comes to rest");
    }
}

fn heard(stream: &mut UnixStream) -> String {
    stream.set_nonblocking(true).unwrap();
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text);
    String::from_utf8(text).unwrap()
}

fn is_closed(stream: &mut UnixStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let mut rest = Vec::new();
    // Nothing to read is an error, an end is none; nor are bytes left behind.
    match stream.read_to_end(&mut rest) {
        Ok(_) => true,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

#[test]
fn calls_are_answered_in_order() {
    let mut fixture = Fixture::new();
    let mode = std::fs::metadata(fixture.directory.path().join("control")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o666);
    let mut client = fixture.connect();
    let kill = r#"{"method":"org.redd.Machine.Kill","parameters":{"whom":"leader","signal":15}}"#;
    let resize = r#"{"method":"org.redd.Machine.Resize","parameters":{"columns":1,"rows":2}}"#;
    let oneway = r#"{"method":"org.redd.Machine.Pause","oneway":true}"#;
    let info = r#"{"method":"org.varlink.service.GetInfo"}"#;
    let unknown = r#"{"method":"org.redd.Machine.Fly"}"#;
    let text = format!("{kill}\0{oneway}\0{resize}\0{info}\0{unknown}\0");
    // In two parts, neither of which ends with a call.
    let (one, two) = text.as_bytes().split_at(kill.len() + 10);
    let now = Instant::now();
    client.write_all(one).unwrap();
    fixture.turn(now);
    client.write_all(two).unwrap();
    fixture.turn(now);
    let answers = heard(&mut client);
    let answers: Vec<_> = answers.split('\0').collect();
    assert_eq!(answers[0], r#"{"parameters":{}}"#);
    assert_eq!(answers[1], r#"{"error":"org.redd.Machine.NoConsole","parameters":{}}"#);
    assert!(answers[2].contains("org.redd.Machine"), "{answers:?}");
    assert!(answers[3].contains("org.varlink.service.MethodNotFound"), "{answers:?}");
    assert_eq!(answers.len(), 5);
    let calls = [Call::Kill { whom: Whom::Leader, signal: 15 }, Call::Pause, Call::Resize { columns: 1, rows: 2 }];
    assert_eq!(fixture.called, calls);
}

#[test]
fn nonsense_costs_only_its_own_connection() {
    let mut fixture = Fixture::new();
    let now = Instant::now();
    let mut good = fixture.connect();
    for nonsense in [&b"[]\0"[..], b"\0", b"\xff\xfe\0", &[b'x'; LONGEST_CALL + 1], &[b'['; 2 * LONGEST_CALL]] {
        let mut bad = fixture.connect();
        bad.write_all(nonsense).unwrap();
        fixture.turn(now);
        assert!(is_closed(&mut bad), "{nonsense:?}");
        assert_eq!(fixture.server.connections.len(), 1);
    }
    good.write_all(b"{\"method\":\"org.redd.Machine.Resume\"}\0").unwrap();
    fixture.turn(now);
    assert_eq!(heard(&mut good), "{\"parameters\":{}}\0");
    drop(good);
    fixture.turn(now);
    assert_eq!(fixture.server.connections.capacity(), 0, "nothing is kept");
}

#[test]
fn who_does_not_listen_is_not_answered_further_and_then_dropped() {
    let mut fixture = Fixture::new();
    let now = Instant::now();
    let mut client = fixture.connect();
    client.set_nonblocking(true).unwrap();
    let call = b"{\"method\":\"org.redd.Machine.Describe\"}\0";
    let mut sent = 0;
    // As much as the kernel takes for it, and each time it lets the server work.
    while sent < 5000 {
        match client.write(call) {
            Ok(length) if length == call.len() => sent += 1,
            _ => break,
        }
        fixture.turn(now);
    }
    assert!(sent < 5000, "nothing stops it");
    let answered = fixture.called.len();
    fixture.turn(now);
    assert_eq!(fixture.called.len(), answered, "it waits for the client");
    assert_eq!(fixture.server.connections.len(), 1);
    let deadline = fixture.server.deadline().unwrap();
    fixture.turn(deadline);
    assert_eq!(fixture.server.connections.len(), 0);
    assert_eq!(fixture.server.deadline(), None);
}

#[test]
fn silence_ends_a_connection() {
    let mut fixture = Fixture::new();
    let now = Instant::now();
    let mut silent = fixture.connect();
    fixture.turn(now);
    let later = fixture.server.deadline().unwrap() - Duration::from_millis(1);
    fixture.turn(later);
    assert!(!is_closed(&mut silent));
    // A byte now and then is no call.
    silent.write_all(b"{").unwrap();
    fixture.turn(later);
    fixture.turn(later + Duration::from_millis(1));
    assert!(is_closed(&mut silent));
}

#[test]
fn a_hundred_connections_are_served_or_told() {
    let mut fixture = Fixture::new();
    let now = Instant::now();
    let mut clients: Vec<_> = (0..BACKLOG).map(|_| fixture.connect()).collect();
    fixture.turn(now);
    clients.extend((0..36).map(|_| fixture.connect()));
    fixture.turn(now);
    assert_eq!(fixture.server.connections.len(), MOST);
    for client in &mut clients {
        // Whoever was turned away may find that out only here.
        let _ = client.write_all(b"{\"method\":\"org.redd.Machine.Resume\"}\0");
    }
    fixture.turn(now);
    let answers: Vec<_> = clients.iter_mut().map(heard).collect();
    let served = answers.iter().filter(|answer| *answer == "{\"parameters\":{}}\0").count();
    let busy = answers.iter().filter(|answer| answer.contains("org.redd.Machine.Busy")).count();
    assert_eq!((served, busy), (MOST, 100 - MOST));
    drop(clients);
    fixture.turn(now);
    assert_eq!(fixture.server.connections.len(), 0);
    let mut next = fixture.connect();
    next.write_all(b"{\"method\":\"org.redd.Machine.Resume\"}\0").unwrap();
    fixture.turn(now);
    assert_eq!(heard(&mut next), "{\"parameters\":{}}\0");
}

/// Connections that are taken for those of another user.
fn strangers(fixture: &mut Fixture, count: usize, now: Instant) -> Vec<UnixStream> {
    let pairs = (0..count).map(|_| UnixStream::pair().unwrap());
    let (theirs, ours): (Vec<_>, Vec<_>) = pairs.unzip();
    for socket in ours {
        socket.set_nonblocking(true).unwrap();
        fixture.server.connections.push(Connection::new(socket.into(), false, now));
    }
    theirs
}

#[test]
fn strangers_may_only_look() {
    let mut fixture = Fixture::new();
    let now = Instant::now();
    let mut stranger = strangers(&mut fixture, 1, now).remove(0);
    for method in ["PowerOff", "Reboot", "Terminate", "Pause", "Resume", "Kill", "Resize"] {
        let parameters = r#"{"signal":9,"columns":1,"rows":1}"#;
        let call = format!("{{\"method\":\"org.redd.Machine.{method}\",\"parameters\":{parameters}}}\0");
        stranger.write_all(call.as_bytes()).unwrap();
        fixture.turn(now);
        assert_eq!(
            heard(&mut stranger),
            "{\"error\":\"org.redd.Machine.NotPermitted\",\"parameters\":{}}\0",
            "{method}"
        );
    }
    assert_eq!(fixture.called, []);
    stranger.write_all(b"{\"method\":\"org.redd.Machine.Describe\"}\0").unwrap();
    stranger.write_all(b"{\"method\":\"org.varlink.service.GetInfo\"}\0").unwrap();
    fixture.turn(now);
    assert_eq!(heard(&mut stranger).matches("parameters").count(), 2);
    assert_eq!(fixture.called, [Call::Describe]);
}

#[test]
fn strangers_do_not_keep_the_owner_out() {
    let mut fixture = Fixture::new();
    let now = Instant::now();
    let theirs = strangers(&mut fixture, MOST_PUBLIC, now);
    let ours: Vec<_> = (0..MOST).map(|_| fixture.connect()).collect();
    fixture.turn(now);
    assert_eq!(fixture.server.connections.len(), MOST);
    assert!(fixture.server.connections.iter().all(Connection::is_trusted));
    drop((theirs, ours));
}
