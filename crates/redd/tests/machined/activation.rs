//! How a service manager starts the service and hears of it.

use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use testkit::requires;

use crate::client::Client;
use crate::service::{Foreign, MACHINES, Machined, REDD, USERS, isolate, machines, until};

const SOCKET: &str = "/run/systemd/passed/io.systemd.Machine";
const USERDB: &str = "/run/systemd/passed/userdb/io.systemd.Machine";

/// The service with two sockets that are passed to it as a service manager would, the first two descriptors after the usual ones.
fn activated(idle: &str) -> Command {
    std::fs::create_dir_all("/run/systemd/passed/userdb").expect("directory");
    let socket = |path: &str| {
        let _ = std::fs::remove_file(path);
        Stdio::from(OwnedFd::from(UnixListener::bind(path).expect("socket")))
    };
    let mut command = Command::new("/bin/sh");
    let script =
        "exec 3<&0 4<&1 </dev/null >/dev/null; LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=varlink:userdb exec \"$@\"";
    command.args(["-c", script, "sh", REDD, "machined", idle]);
    command.stdin(socket(SOCKET)).stdout(socket(USERDB));
    command
}

#[test]
fn sockets_that_are_passed_are_served() {
    requires!(root);
    let _isolated = isolate();
    let command = activated("--idle=never");
    // Whoever connects before the service is up is answered as well.
    let mut early = Client::connect(SOCKET);
    early.send(&json!({ "method": "io.systemd.service.Ping" }));
    let mut early_user = Client::connect(USERDB);
    early_user.send(&json!({ "method": "org.varlink.service.GetInfo" }));
    let service = Machined::begin(command);
    assert_eq!(early.answer().0, Ok(json!({})));
    let info = early_user.answer().0.expect("info");
    assert_eq!(info["interfaces"][0], "io.systemd.UserDatabase");
    // What was not passed is made.
    assert!(machines().call("io.systemd.service.Ping", json!({})).is_ok());
    assert!(Client::connect(USERS).call("io.systemd.service.Ping", json!({})).is_ok());
    // They do not go on to what the service starts.
    for number in [3, 4] {
        let text = std::fs::read_to_string(format!("/proc/{}/fdinfo/{number}", service.pid())).expect("descriptor");
        let flags = text.lines().find_map(|line| line.strip_prefix("flags:")).expect("flags").trim().to_owned();
        assert!(u32::from_str_radix(&flags, 8).expect("flags") & 0o2_000_000 != 0, "{text}");
    }
}

#[test]
fn a_bus_that_starts_gets_to_know_users_before_it_answers() {
    requires!(root);
    let _isolated = isolate();
    let mut command = activated("--idle=never");
    let bus = "/run/systemd/bus-that-starts";
    let _silent = UnixListener::bind(bus).expect("socket");
    command.env("DBUS_SYSTEM_BUS_ADDRESS", format!("unix:path={bus}"));
    let mut asks = Client::connect(USERDB);
    let name = json!({ "userName": "messagebus", "service": "io.systemd.Machine" });
    asks.send(&json!({ "method": "io.systemd.UserDatabase.GetUserRecord", "parameters": name }));
    let _service = Machined(command.spawn().expect("start"));
    let (name, _) = asks.answer().0.expect_err("no such user");
    assert_eq!(name, "io.systemd.UserDatabase.NoRecordFound");
    // What changes something waits until it is sure that nobody else serves.
    assert!(!std::path::Path::new(MACHINES).exists());
}

#[test]
fn it_ends_when_nobody_needs_it() {
    requires!(root);
    let _isolated = isolate();
    let foreign = Foreign::start();
    let mut service = Machined::begin(activated("--idle=1"));
    let told = json!({ "name": "machined-idle", "class": "vm", "leader": foreign.pid() });
    Client::connect(SOCKET).call("io.systemd.Machine.Register", told).expect("registered");
    std::thread::sleep(Duration::from_millis(2500));
    assert!(service.0.try_wait().expect("wait").is_none(), "a machine needs it");
    let caller = Client::connect(MACHINES);
    drop(foreign);
    std::thread::sleep(Duration::from_millis(2500));
    assert!(service.0.try_wait().expect("wait").is_none(), "a caller needs it");
    drop(caller);
    let mut status = None;
    until("the service ends", || {
        status = service.0.try_wait().expect("wait");
        status.is_some()
    });
    assert_eq!(status.and_then(|status| status.code()), Some(0));
    // By itself it does not.
    let mut service = Machined::start();
    std::thread::sleep(Duration::from_millis(1500));
    assert!(service.0.try_wait().expect("wait").is_none());
}

#[test]
fn the_service_manager_is_told() {
    requires!(root);
    let _isolated = isolate();
    let path = "/run/systemd/machined-notify";
    let socket = UnixDatagram::bind(path).expect("socket");
    socket.set_read_timeout(Some(Duration::from_secs(30))).expect("timeout");
    let mut command = Machined::command();
    command.env("NOTIFY_SOCKET", path).env("WATCHDOG_USEC", "200000");
    let mut service = Machined::begin(command);
    let mut words = String::new();
    let mut hear = |wanted: &str| {
        let end = Instant::now() + Duration::from_secs(30);
        while !words.contains(wanted) {
            assert!(Instant::now() < end, "{wanted}: {words}");
            let mut buffer = [0; 512];
            let length = socket.recv(&mut buffer).expect("a word");
            words.push_str(&format!("{}\n", String::from_utf8_lossy(&buffer[..length])));
        }
        words.clear();
    };
    hear("READY=1");
    hear("WATCHDOG=1");
    hear("WATCHDOG=1");
    let pid = rustix::process::Pid::from_raw(service.pid()).expect("number");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("signal");
    hear("STOPPING=1");
    assert_eq!(service.0.wait().expect("wait").code(), Some(0));
}

#[test]
fn a_second_service_leaves_the_first_one_alone() {
    requires!(root);
    let _isolated = isolate();
    let _service = Machined::start();
    let output = Machined::command().output().expect("start");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.starts_with(&format!("systemd-machined: {MACHINES} is served by somebody else")), "{text}");
    assert!(machines().call("io.systemd.service.Ping", json!({})).is_ok());
    let wrong = Command::new(REDD).args(["machined", "--idle=soon"]).output().expect("start");
    assert_eq!(wrong.status.code(), Some(2));
}
