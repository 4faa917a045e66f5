//! `systemd-machined`: its Varlink interfaces on machines of ours and of others.

mod varlink;

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::disk::Mounted;
use testkit::{HostState, Isolated, Running, fixture, requires};

use varlink::Client;

const REDD: &str = env!("CARGO_BIN_EXE_redd");
const LIMIT: Duration = Duration::from_secs(60);
const MACHINES: &str = "/run/systemd/machine/io.systemd.Machine";
const IMAGES: &str = "/run/systemd/machine/io.systemd.MachineImage";
const USERS: &str = "/run/systemd/userdb/io.systemd.Machine";

/// Isolated, with a registry and sockets of its own: what others run is not listed.
fn isolate() -> (Isolated, [Mounted; 2]) {
    let isolated = Isolated::enter();
    let own = |path: &str| {
        std::fs::create_dir_all(path).expect("directory");
        Mounted::new(&["-t", "tmpfs", "-o", "mode=755", "tmpfs"], Path::new(path))
    };
    (isolated, [own("/run/redd"), own("/run/systemd")])
}

#[track_caller]
fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !reached() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The service, ended with the value.
struct Machined(Child);

impl Machined {
    fn command() -> Command {
        let mut command = Command::new(REDD);
        command.arg0("/usr/lib/systemd/systemd-machined").stdin(Stdio::null());
        command
    }

    fn start() -> Self {
        Self::begin(Self::command())
    }

    #[track_caller]
    fn begin(mut command: Command) -> Self {
        let mut child = command.spawn().expect("start");
        until("the service listens", || {
            assert!(child.try_wait().expect("wait").is_none(), "the service has ended");
            [MACHINES, IMAGES, USERS].iter().all(|path| std::os::unix::net::UnixStream::connect(path).is_ok())
        });
        Self(child)
    }

    fn kill(mut self) {
        self.0.kill().expect("kill");
        self.0.wait().expect("wait");
    }
}

impl Drop for Machined {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A process that somebody else runs.
struct Foreign(Child);

impl Foreign {
    fn start() -> Self {
        Self(Command::new("sleep").arg("600").spawn().expect("start"))
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn spawn(tree: &Path, name: &str, options: &[&str]) -> Running {
    let mut command = Command::new(REDD);
    command.args(["spawn", "-q", "--pipe", "-M", name, "-D"]).arg(tree).args(options);
    command.args(["--", "/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"]);
    Running::start(command, name)
}

fn machines() -> Client {
    Client::connect(MACHINES)
}

#[track_caller]
fn refused(result: Result<Value, (String, Value)>) -> String {
    let (name, parameters) = result.expect_err("an error");
    match parameters["parameter"].as_str() {
        Some(parameter) => format!("{name} {parameter}"),
        None => name,
    }
}

fn names() -> Vec<String> {
    let all = machines().call_more("io.systemd.Machine.List", json!({})).expect("list");
    all.iter().map(|one| one["name"].as_str().expect("name").to_owned()).collect()
}

fn note(name: &str) -> PathBuf {
    Path::new("/run/systemd/machines").join(name)
}

#[test]
fn machines_of_others_are_registered_found_signalled_and_taken_out() {
    requires!(root);
    let _isolated = isolate();
    let _service = Machined::start();
    let mut client = machines();
    let foreign = Foreign::start();
    let id = "0123456789abcdef0123456789abcdef";
    let told = json!({
        "name": "machined-vm", "id": id, "service": "libvirt-qemu", "class": "vm", "leader": foreign.pid(),
        "rootDirectory": "/srv/vm", "ifIndices": [3, 4], "vSockCid": 7, "sshAddress": "vsock/7",
        "sshPrivateKeyPath": "/run/key", "controlAddress": "/run/control",
    });
    client.call("io.systemd.Machine.Register", told.clone()).expect("registered");
    // What sd-login(3) reads is there when that is answered.
    assert!(std::fs::read_to_string(note("machined-vm")).expect("note").contains("\nCLASS=vm\n"));
    let found = client.call("io.systemd.Machine.List", json!({ "name": "machined-vm" })).expect("found");
    for field in [
        "name",
        "id",
        "service",
        "class",
        "rootDirectory",
        "vSockCid",
        "sshAddress",
        "sshPrivateKeyPath",
        "controlAddress",
    ] {
        assert_eq!(found[field], told[field], "{field}");
    }
    assert_eq!(found["leader"]["pid"], foreign.pid());
    assert_eq!(found["supervisor"]["pid"], std::process::id());
    assert!(found["timestamp"]["realtime"].as_u64().is_some_and(|time| time > 0), "{found}");
    assert_eq!(found["UID"], 0);
    let by_pid = client.call("io.systemd.Machine.List", json!({ "pid": found["leader"] })).expect("found");
    assert_eq!(by_pid["name"], "machined-vm");
    assert_eq!(names(), [".host", "machined-vm"]);

    assert_eq!(refused(client.call("io.systemd.Machine.Register", told)), "io.systemd.Machine.MachineExists");
    let kill = |client: &mut Client, signal: i32| {
        client.call("io.systemd.Machine.Kill", json!({ "name": "machined-vm", "whom": "leader", "signal": signal }))
    };
    assert_eq!(refused(kill(&mut client, 0)), "org.varlink.service.InvalidParameter signal");
    assert_eq!(refused(kill(&mut client, 65)), "org.varlink.service.InvalidParameter signal");
    kill(&mut client, 19).expect("stopped");
    let state = || std::fs::read_to_string(format!("/proc/{}/stat", foreign.pid())).expect("stat");
    until("it is stopped", || state().contains(") T "));
    client.call("io.systemd.Machine.Unregister", json!({ "name": "machined-vm" })).expect("taken out");
    assert!(!note("machined-vm").exists());
    let gone = client.call("io.systemd.Machine.List", json!({ "name": "machined-vm" }));
    assert_eq!(refused(gone), "io.systemd.Machine.NoSuchMachine");
    assert!(state().contains(") T "), "it itself is left alone");
}

#[test]
fn what_is_no_registration_is_refused_by_its_parameter() {
    requires!(root);
    let _isolated = isolate();
    let _service = Machined::start();
    let mut client = machines();
    let foreign = Foreign::start();
    let good = json!({ "name": "machined-bad", "class": "container", "leader": foreign.pid() });
    let mut dead = Command::new("true").spawn().expect("start");
    dead.wait().expect("wait");
    for (parameter, value) in [
        ("name", json!("../x")),
        ("name", json!("a..b")),
        ("name", json!("\u{e4}")),
        ("name", json!(7)),
        ("name", Value::Null),
        ("id", json!("nonsense")),
        ("class", json!("host")),
        ("class", json!("zone")),
        ("class", Value::Null),
        ("leader", json!(dead.id())),
        ("leader", json!(-1)),
        ("leader", json!(1)),
        ("leader", json!("1")),
        ("leaderProcessId", json!({ "pid": foreign.pid(), "pidfdId": 1 })),
        ("rootDirectory", json!("relative")),
        ("ifIndices", json!([0])),
        ("ifIndices", json!(["lo"])),
        ("vSockCid", json!(1u64 << 32)),
        ("service", json!("a\nb")),
        ("unknown", json!(1)),
    ] {
        let mut bad = good.clone();
        bad[parameter] = value.clone();
        let refused = refused(client.call("io.systemd.Machine.Register", bad));
        assert_eq!(refused, format!("org.varlink.service.InvalidParameter {parameter}"), "{value}");
    }
    let mut unit = good.clone();
    unit["allocateUnit"] = json!(true);
    assert_eq!(refused(client.call("io.systemd.Machine.Register", unit)), "io.systemd.Machine.NotSupported");
    assert_eq!(names(), [".host"]);
    // An address of vsock(7) that stands for none.
    let mut any = good;
    any["vSockCid"] = json!(u32::MAX);
    client.call("io.systemd.Machine.Register", any).expect("registered");
    let found = client.call("io.systemd.Machine.List", json!({ "name": "machined-bad" })).expect("found");
    assert_eq!(found["vSockCid"], Value::Null);
}

#[test]
fn machines_of_ours_are_listed_and_ended() {
    requires!(root, cgroup2);
    let _isolated = isolate();
    let tree = fixture::tree();
    let host = HostState::capture(tree.path(), &[]);
    let _service = Machined::start();
    let mut client = machines();
    let running = spawn(tree.path(), "machined-own", &[]);
    until("its note", || note("machined-own").exists());
    let found = client.call("io.systemd.Machine.List", json!({ "name": "machined-own" })).expect("found");
    assert_eq!(found["leader"]["pid"], running.leader());
    assert_eq!(found["supervisor"]["pid"], running.supervisor());
    assert_eq!((&found["class"], &found["service"]), (&json!("container"), &json!("systemd-nspawn")));
    // Also by a process that is somewhere inside.
    let children = format!("/proc/{0}/task/{0}/children", running.leader());
    let mut child = String::new();
    until("a process inside", || {
        child = std::fs::read_to_string(&children).unwrap_or_default().trim().to_owned();
        child.parse::<i32>().is_ok_and(|pid| {
            let by_pid = client.call("io.systemd.Machine.List", json!({ "pid": { "pid": pid } }));
            by_pid.is_ok_and(|found| found["name"] == "machined-own")
        })
    });
    let not_ours = client.call("io.systemd.Machine.List", json!({ "pid": std::process::id() }));
    assert_eq!(refused(not_ours), "io.systemd.Machine.NoSuchMachine");

    let out = client.call("io.systemd.Machine.Unregister", json!({ "name": "machined-own" }));
    assert_eq!(refused(out), "io.systemd.Machine.NotSupported");
    assert_eq!(names(), [".host", "machined-own"]);
    let kill = json!({ "name": "machined-own", "whom": "leader", "signal": 15 });
    client.call("io.systemd.Machine.Kill", kill.clone()).expect("signalled");
    assert_eq!(running.end().code(), Some(0));
    until("it is not listed", || names() == [".host"]);
    assert_eq!(refused(client.call("io.systemd.Machine.Kill", kill)), "io.systemd.Machine.NoSuchMachine");

    let running = spawn(tree.path(), "machined-own", &[]);
    client.call("io.systemd.Machine.Terminate", json!({ "name": "machined-own" })).expect("ended");
    running.end();
    until("its note is gone", || !note("machined-own").exists());
    host.assert_same();
}

#[test]
fn the_host_is_a_machine_that_cannot_be_ended() {
    requires!(root);
    let _isolated = isolate();
    let _service = Machined::start();
    let mut client = machines();
    let host = client.call("io.systemd.Machine.List", json!({ "name": ".host", "acquireMetadata": "graceful" }));
    let host = host.expect("the host");
    assert_eq!((&host["class"], &host["leader"]["pid"]), (&json!("host"), &json!(1)));
    assert_eq!(host["UIDShift"], 0);
    for (method, more) in [
        ("Terminate", json!({})),
        ("Unregister", json!({})),
        ("Kill", json!({ "signal": 9 })),
        ("BindMount", json!({ "source": "/etc" })),
    ] {
        let mut parameters = more;
        parameters["name"] = json!(".host");
        let answer = client.call(&format!("io.systemd.Machine.{method}"), parameters);
        assert_eq!(refused(answer), "io.systemd.Machine.NotSupported", "{method}");
    }
}

#[test]
fn nothing_is_lost_with_the_service() {
    requires!(root, cgroup2);
    let _isolated = isolate();
    let tree = fixture::tree();
    let service = Machined::start();
    let foreign = Foreign::start();
    let told = json!({ "name": "machined-kept", "class": "vm", "leader": foreign.pid() });
    machines().call("io.systemd.Machine.Register", told).expect("registered");
    let running = spawn(tree.path(), "machined-lives", &[]);
    until("both", || names() == [".host", "machined-kept", "machined-lives"]);
    service.kill();
    let gone = Foreign::start();
    drop(gone);
    let service = Machined::start();
    assert_eq!(names(), [".host", "machined-kept", "machined-lives"]);
    assert!(note("machined-kept").exists() && note("machined-lives").exists());
    service.kill();
    drop(foreign);
    running.stop();
    let _service = Machined::start();
    assert_eq!(names(), [".host"]);
    assert!(!note("machined-kept").exists() && !note("machined-lives").exists(), "notes of the dead are removed");
}

#[test]
fn the_root_directory_of_a_machine_is_opened() {
    requires!(root, cgroup2);
    let _isolated = isolate();
    let tree = fixture::tree();
    tree.write("machined-mark", "inside", 0o644);
    let _service = Machined::start();
    let running = spawn(tree.path(), "machined-root", &[]);
    let mut client = machines();
    let open = |client: &mut Client, name: &str| {
        client.call_for_descriptors("io.systemd.Machine.OpenRootDirectory", json!({ "name": name }))
    };
    let (answer, descriptors) = open(&mut client, "machined-root");
    assert_eq!(answer.expect("opened"), json!({ "fileDescriptor": 0 }));
    let [root] = &descriptors[..] else { panic!("{descriptors:?}") };
    let mark = rustix::fs::statat(root, "machined-mark", rustix::fs::AtFlags::empty()).expect("a file inside");
    assert_eq!(mark.st_size, 6);
    let (answer, descriptors) = open(&mut client, "machined-none");
    assert_eq!(refused(answer), "io.systemd.Machine.NoSuchMachine");
    assert!(descriptors.is_empty());
    let foreign = Foreign::start();
    let told = json!({ "name": "machined-disk", "class": "vm", "leader": foreign.pid() });
    client.call("io.systemd.Machine.Register", told).expect("registered");
    assert_eq!(refused(open(&mut client, "machined-disk").0), "io.systemd.Machine.NotSupported");
    running.stop();
}
