//! `systemd-machined` on a message bus: every method, property and signal of `org.freedesktop.machine1`, on machines of ours
//! and of others.

#[path = "machined_bus/bus.rs"]
mod bus;
#[path = "machined_bus/coverage.rs"]
mod coverage;
#[path = "covered/mod.rs"]
mod covered;
#[path = "killed/mod.rs"]
mod killed;
#[path = "machined_bus/killing.rs"]
mod killing;
#[path = "machined_bus/many.rs"]
mod many;
#[path = "machined_bus/refusals.rs"]
mod refusals;
#[path = "machined_bus/scene.rs"]
mod scene;
#[path = "machined_bus/terminals.rs"]
mod terminals;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use testkit::{HostState, Running, fixture, requires};
use zbus::OwnedObjectPath;

use bus::{Client, LIMIT};
use scene::{Scene, service, until};

const REDD: &str = env!("CARGO_BIN_EXE_redd");
const MANAGER: &str = "/org/freedesktop/machine1";
const HOST: &str = "/org/freedesktop/machine1/machine/_2ehost";
/// What the interfaces are.
const INTERFACES: &str = include_str!("machined_bus/interfaces.txt");

/// With a pool of images of the test's own.
fn scene(arguments: &[&str]) -> Scene {
    Scene::with(&["/var/lib/machines"], arguments)
}

/// A process that somebody else runs.
struct Foreign(Child);

impl Foreign {
    fn start() -> Self {
        Self(Command::new("sleep").arg("600").spawn().expect("start"))
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

fn path_of(kind: &str, name: &str) -> String {
    format!("{MANAGER}/{kind}/{}", name.replace('-', "_2d"))
}

/// The lines of an interface, as the table has them.
fn described(xml: &str, interface: &str) -> Vec<String> {
    let begin = xml.find(&format!("<interface name=\"{interface}\">")).expect("the interface");
    let end = xml[begin..].find("</interface>").expect("its end") + begin;
    let attribute = |line: &str, name: &str| {
        let value = line.split_once(&format!(" {name}=\""))?.1;
        Some(value.split_once('"')?.0.to_owned())
    };
    let or_none = |text: String| if text.is_empty() { "-".to_owned() } else { text };
    let mut all = Vec::new();
    let mut current: Option<(String, String, String, String)> = None;
    let mut finish = |current: &mut Option<(String, String, String, String)>| {
        if let Some((kind, name, taken, given)) = current.take() {
            all.push(format!(".{name} {kind} {} {}", or_none(taken), or_none(given)));
        }
    };
    for line in xml[begin..end].lines().map(str::trim) {
        let name = || attribute(line, "name").expect("a name");
        if line.starts_with("<method ") {
            finish(&mut current);
            current = Some(("method".to_owned(), name(), String::new(), String::new()));
        } else if line.starts_with("<signal ") {
            finish(&mut current);
            current = Some(("signal".to_owned(), name(), String::new(), String::new()));
        } else if line.starts_with("<property ") {
            finish(&mut current);
            assert_eq!(attribute(line, "access").as_deref(), Some("read"), "{line}");
            current = Some(("property".to_owned(), name(), attribute(line, "type").expect("type"), String::new()));
        } else if line.starts_with("<arg ") {
            let (kind, _, taken, given) = current.as_mut().expect("an argument of something");
            let out = attribute(line, "direction").as_deref() == Some("out") && kind == "method";
            let list = if out { given } else { taken };
            list.push_str(&attribute(line, "type").expect("type"));
        } else if line.contains("EmitsChangedSignal") {
            let value = attribute(line, "value").expect("value");
            current.as_mut().expect("a property").3 = if value == "false" { String::new() } else { value };
        }
    }
    finish(&mut current);
    all.sort();
    all
}

#[test]
fn the_interfaces_are_those_of_the_table() {
    requires!(root, program "dbus-daemon");
    let scene = scene(&[]);
    let image = "/org/freedesktop/machine1/image/_2ehost";
    for (object, interface) in [(MANAGER, "Manager"), (HOST, "Machine"), (image, "Image")] {
        let interface = format!("org.freedesktop.machine1.{interface}");
        let mut wanted: Vec<&str> = INTERFACES
            .lines()
            .skip_while(|line| *line != interface)
            .skip(1)
            .take_while(|line| line.starts_with('.'))
            .collect();
        wanted.sort_unstable();
        assert!(wanted.len() > 15, "{wanted:?}");
        assert_eq!(described(&scene.client.introspected(object).expect("xml"), &interface), wanted, "{interface}");
    }
}

/// What machinectl(1) asks for: the properties of any interface.
#[test]
fn properties_are_read_without_the_name_of_an_interface() {
    requires!(root, program "dbus-daemon");
    let scene = scene(&[]);
    let client = &scene.client;
    let image = "/org/freedesktop/machine1/image/_2ehost";
    type All = BTreeMap<String, zbus::OwnedVariant>;
    for (object, interface, least) in [(MANAGER, "Manager", 3), (HOST, "Machine", 15), (image, "Image", 7)] {
        let own = format!("org.freedesktop.machine1.{interface}");
        let read = |name: &str| client.properties::<_, All>(object, "GetAll", &(name,));
        let names = |all: &All| all.keys().cloned().collect::<Vec<_>>();
        let all = read("").expect("all of them");
        assert!(all.len() >= least, "{all:?}");
        assert_eq!(names(&all), names(&read(&own).expect("its own")), "{interface}");
        assert!(read("org.freedesktop.DBus.Peer").expect("it is there").is_empty());
        let unknown = "org.freedesktop.DBus.Error.UnknownInterface";
        assert_eq!(read("org.freedesktop.machine1.Nothing").expect_err("unknown"), unknown);
        let get = |words: (&str, &str)| client.properties::<_, zbus::OwnedVariant>(object, "Get", &words);
        for name in all.keys() {
            assert_eq!(get(("", name)).expect(name).value_signature(), all[name].value_signature(), "{name}");
            let told = (own.as_str(), name.as_str(), zbus::Variant::from("x"));
            let refused = client.properties::<_, ()>(object, "Set", &told).expect_err("read-only");
            assert_eq!(refused, "org.freedesktop.DBus.Error.PropertyReadOnly", "{name}");
        }
        let nothing = "org.freedesktop.DBus.Error.UnknownProperty";
        assert_eq!(get((&own, "Nothing")).expect_err("unknown"), nothing);
        assert_eq!(get(("org.freedesktop.DBus.Peer", "Name")).expect_err("unknown"), nothing);
    }
    let xml = client.introspected(MANAGER).expect("xml");
    let mut direction = "out";
    for line in xml.lines() {
        match line {
            _ if line.contains("direction=\"in\"") => direction = "in",
            _ if line.contains("direction=\"out\"") => direction = "out",
            // What it remembers of the argument before is what it reads there.
            _ if line.contains("<signal ") => assert_eq!(direction, "out", "busctl(1) complains of {line}: {xml}"),
            _ => {}
        }
    }
    let xml = client.introspected(HOST).expect("xml");
    assert_eq!(xml.matches("<interface name=\"org.freedesktop.DBus.Properties\">").count(), 1, "{xml}");
    // Objects are taken away as whole ones.
    let foreign = Foreign::start();
    let told = ("bus-brief", Vec::<u8>::new(), "test", "vm", foreign.0.id(), "");
    let path: OwnedObjectPath = client.call(MANAGER, "Manager.RegisterMachine", &told).expect("registered");
    client.properties::<_, All>(path.as_str(), "GetAll", &("",)).expect("all of them");
    client.done(MANAGER, "Manager.UnregisterMachine", &("bus-brief",)).expect("taken out");
    until("it is gone", || client.properties::<_, All>(path.as_str(), "GetAll", &("",)).is_err());
}

type Listed = Vec<(String, String, String, OwnedObjectPath)>;

#[test]
fn machines_of_others_come_and_go() {
    requires!(root, program "dbus-daemon");
    let scene = scene(&[]);
    let client = &scene.client;
    let mut signals = client.signals();
    let foreign = Foreign::start();
    let pid = foreign.0.id();
    let id = vec![7_u8; 16];
    let none: Vec<u8> = Vec::new();
    let path: OwnedObjectPath = client
        .call(
            MANAGER,
            "Manager.RegisterMachineWithNetwork",
            &("bus-vm", &id, "libvirt-qemu", "vm", pid, "/srv/vm", vec![3_i32, 4]),
        )
        .expect("registered");
    assert_eq!(path.as_str(), path_of("machine", "bus-vm"));
    assert_eq!(signals.next(), ("MachineNew".into(), "bus-vm".into(), path.to_string()));

    let object = path.as_str();
    assert_eq!(client.property::<String>(object, "Machine.Name"), "bus-vm");
    assert_eq!(client.property::<Vec<u8>>(object, "Machine.Id"), id);
    assert_eq!(client.property::<String>(object, "Machine.Service"), "libvirt-qemu");
    assert_eq!(client.property::<String>(object, "Machine.Class"), "vm");
    assert_eq!(client.property::<String>(object, "Machine.RootDirectory"), "/srv/vm");
    assert_eq!(client.property::<String>(object, "Machine.State"), "running");
    assert_eq!(client.property::<u32>(object, "Machine.Leader"), pid);
    assert_eq!(client.property::<u32>(object, "Machine.Supervisor"), std::process::id());
    assert_ne!(client.property::<u64>(object, "Machine.LeaderPIDFDId"), 0);
    assert_ne!(client.property::<u64>(object, "Machine.SupervisorPIDFDId"), 0);
    assert_ne!(client.property::<u64>(object, "Machine.Timestamp"), 0);
    assert_ne!(client.property::<u64>(object, "Machine.TimestampMonotonic"), 0);
    assert_eq!(client.property::<Vec<i32>>(object, "Machine.NetworkInterfaces"), [3, 4]);
    assert_eq!(client.property::<u32>(object, "Machine.VSockCID"), u32::MAX);
    assert_eq!(client.property::<u32>(object, "Machine.UID"), 0);
    for empty in ["SSHAddress", "SSHPrivateKeyPath", "Subgroup"] {
        assert_eq!(client.property::<String>(object, &format!("Machine.{empty}")), "", "{empty}");
    }
    let unit: String = client.property(object, "Machine.Unit");
    assert!(unit.is_empty() || unit.contains('.'), "{unit}");

    let found: OwnedObjectPath = client.call(MANAGER, "Manager.GetMachine", &("bus-vm",)).expect("found");
    assert_eq!(found, path);
    let found: OwnedObjectPath = client.call(MANAGER, "Manager.GetMachineByPID", &(pid,)).expect("found");
    assert_eq!(found, path);
    let all: Listed = client.call(MANAGER, "Manager.ListMachines", &()).expect("list");
    let names: Vec<_> = all.iter().map(|(name, class, service, _)| format!("{name} {class} {service}")).collect();
    assert_eq!(names, [".host host ", "bus-vm vm libvirt-qemu"]);

    let again = ("bus-vm", &none, "x", "container", pid, "");
    let refused = |method: &str| client.call::<_, OwnedObjectPath>(MANAGER, method, &again).expect_err("refused");
    assert_eq!(refused("Manager.RegisterMachine"), "org.freedesktop.machine1.MachineExists");
    // A virtual machine is not looked into.
    let of_vm = |method: &str| client.done(MANAGER, method, &("bus-vm",)).expect_err("refused");
    for method in [
        "GetMachineAddresses",
        "GetMachineOSRelease",
        "GetMachineUIDShift",
        "OpenMachineRootDirectory",
        "OpenMachinePTY",
        "OpenMachineLogin",
    ] {
        assert_eq!(of_vm(&format!("Manager.{method}")), "org.freedesktop.DBus.Error.NotSupported", "{method}");
    }
    assert_eq!(of_vm("Manager.GetMachineSSHInfo"), "System.Error.ENXIO");
    assert_eq!(client.done(object, "Machine.GetSSHInfo", &()).expect_err("refused"), "System.Error.ENXIO");

    client.done(MANAGER, "Manager.KillMachine", &("bus-vm", "leader", 19)).expect("stopped");
    let state = || std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("stat");
    until("it is stopped", || state().contains(") T "));
    client.done(object, "Machine.Kill", &("leader", 18)).expect("goes on");
    until("it goes on", || !state().contains(") T "));
    for (whom, signal) in [("leader", 0), ("leader", 65), ("nobody", 9)] {
        let error = client.done(object, "Machine.Kill", &(whom, signal)).expect_err("refused");
        assert_eq!(error, "org.freedesktop.DBus.Error.InvalidArgs", "{whom} {signal}");
    }
    client.done(MANAGER, "Manager.UnregisterMachine", &("bus-vm",)).expect("taken out");
    assert_eq!(signals.next(), ("MachineRemoved".into(), "bus-vm".into(), path.to_string()));
    until("its object is gone", || !client.introspected(object).is_ok_and(|xml| xml.contains("machine1.Machine")));
    let error = client.done(MANAGER, "Manager.UnregisterMachine", &("bus-vm",)).expect_err("refused");
    assert_eq!(error, "org.freedesktop.machine1.NoSuchMachine");
}

#[test]
fn registrations_in_properties_and_bad_ones() {
    requires!(root, program "dbus-daemon");
    let scene = scene(&[]);
    let client = &scene.client;
    let foreign = Foreign::start();
    let pid = foreign.0.id();
    let invalid = "org.freedesktop.DBus.Error.InvalidArgs";
    let none: Vec<u8> = Vec::new();
    let register = |name: &str, id: &[u8], class: &str, leader: u32, root: &str| {
        client.call::<_, OwnedObjectPath>(MANAGER, "Manager.RegisterMachine", &(name, id, "test", class, leader, root))
    };
    assert_eq!(register("../x", &none, "vm", pid, "").expect_err("refused"), invalid);
    assert_eq!(register("bus-bad", &[1, 2], "vm", pid, "").expect_err("refused"), invalid);
    assert_eq!(register("bus-bad", &none, "host", pid, "").expect_err("refused"), invalid);
    assert_eq!(register("bus-bad", &none, "vm", 1, "").expect_err("refused"), invalid);
    assert_eq!(register("bus-bad", &none, "vm", u32::MAX, "").expect_err("refused"), invalid);
    assert_eq!(register("bus-bad", &none, "vm", pid, "relative").expect_err("refused"), invalid);

    let value = |value: zbus::Variant<'static>| zbus::OwnedVariant::try_from(value).expect("value");
    let pidfd = || {
        let process = rustix::process::Pid::from_raw(i32::try_from(pid).expect("pid")).expect("pid");
        rustix::process::pidfd_open(process, rustix::process::PidfdFlags::empty()).expect("pidfd")
    };
    let with = |method: &str, properties: Vec<(&str, zbus::OwnedVariant)>| {
        client.call::<_, OwnedObjectPath>(MANAGER, method, &("bus-ex", properties))
    };
    let unknown = vec![("Unknown", value("x".into()))];
    assert_eq!(with("Manager.RegisterMachineEx", unknown).expect_err("refused"), invalid);
    let told = vec![
        ("Class", value("container".into())),
        ("Service", value("test".into())),
        ("LeaderPIDFD", value(zbus::Variant::Fd(zbus::Fd::from(pidfd())))),
    ];
    let path = with("Manager.RegisterMachineEx", told).expect("registered");
    assert_eq!(client.property::<u32>(path.as_str(), "Machine.Leader"), pid);
    client.done(path.as_str(), "Machine.Terminate", &()).expect("ended");
    until("it is not there", || client.done(path.as_str(), "Machine.Terminate", &()).is_err());

    // No service manager, no unit; and nothing is registered then.
    let foreign = Foreign::start();
    let scope: Vec<(&str, zbus::OwnedVariant)> = vec![("MemoryMax", value(1_u64.into()))];
    let create = ("bus-unit", &none, "test", "vm", foreign.0.id(), "", scope.clone());
    let refused = client.call::<_, OwnedObjectPath>(MANAGER, "Manager.CreateMachine", &create).expect_err("refused");
    assert_eq!(refused, "org.freedesktop.DBus.Error.NotSupported");
    let create = ("bus-unit", &none, "test", "vm", foreign.0.id(), "", vec![1_i32], scope.clone());
    let refused =
        client.call::<_, OwnedObjectPath>(MANAGER, "Manager.CreateMachineWithNetwork", &create).expect_err("refused");
    assert_eq!(refused, "org.freedesktop.DBus.Error.NotSupported");
    let strange = vec![("X", value(1.5_f64.into()))];
    let create = ("bus-unit", Vec::<(&str, zbus::OwnedVariant)>::new(), strange);
    let refused = client.call::<_, OwnedObjectPath>(MANAGER, "Manager.CreateMachineEx", &create).expect_err("refused");
    assert_eq!(refused, invalid);
    let all: Listed = client.call(MANAGER, "Manager.ListMachines", &()).expect("list");
    assert!(all.iter().all(|(name, ..)| name == ".host"), "{all:?}");
}

#[test]
fn machines_of_ours_are_looked_into() {
    requires!(root, cgroup2, program "dbus-daemon");
    let scene = scene(&[]);
    let client = &scene.client;
    let tree = fixture::tree();
    tree.write("etc/os-release", "ID=redd-test\nPRETTY_NAME=\"A test\"\n", 0o644);
    let host = HostState::capture(tree.path(), &[]);
    let running = spawn(tree.path(), "bus-own", &["-U", "--private-network"]);
    let object = path_of("machine", "bus-own");
    until("its object", || client.introspected(&object).is_ok_and(|xml| xml.contains("machine1.Machine")));
    let object = object.as_str();
    for (path, method) in [(MANAGER, "Manager.GetMachineOSRelease"), (object, "Machine.GetOSRelease")] {
        let fields: BTreeMap<String, String> = if path == MANAGER {
            client.call(path, method, &("bus-own",)).expect("os-release")
        } else {
            client.call(path, method, &()).expect("os-release")
        };
        assert_eq!(fields["PRETTY_NAME"], "A test");
    }
    // A link leads to the machine's own files, a pipe is not opened.
    let release = tree.join("etc/os-release");
    testkit::disk::run(Command::new("rm").arg("-f").arg(&release).arg(tree.join("usr/lib/os-release")));
    for script in ["ln -s /proc/1/root/etc/passwd $1", "rm $1; mkfifo $1"] {
        testkit::disk::run(Command::new("sh").args(["-euc", script, "sh"]).arg(&release));
        let error = client.done(MANAGER, "Manager.GetMachineOSRelease", &("bus-own",)).expect_err("refused");
        assert!(error.starts_with("org.freedesktop.DBus.Error."), "{script}: {error}");
    }
    std::fs::remove_file(&release).expect("pipe");
    tree.write("etc/os-release", "ID=redd-test\nPRETTY_NAME=\"A test\"\n", 0o644);
    let shift: u32 = client.call(MANAGER, "Manager.GetMachineUIDShift", &("bus-own",)).expect("shift");
    assert!(shift >= 1 << 16, "{shift}");
    assert_eq!(client.call::<_, u32>(object, "Machine.GetUIDShift", &()).expect("shift"), shift);
    for (from, to) in [("MapFromMachineUser", "MapToMachineUser"), ("MapFromMachineGroup", "MapToMachineGroup")] {
        let outer: u32 = client.call(MANAGER, &format!("Manager.{from}"), &("bus-own", 5_u32)).expect("mapped");
        assert_eq!(outer, shift + 5);
        let back: (String, OwnedObjectPath, u32) =
            client.call(MANAGER, &format!("Manager.{to}"), &(outer,)).expect("mapped");
        assert_eq!((back.0.as_str(), back.1.as_str(), back.2), ("bus-own", object, 5));
        let error = client.done(MANAGER, &format!("Manager.{from}"), &("bus-own", 70_000_u32)).expect_err("refused");
        assert!(error.starts_with("org.freedesktop.machine1.NoSuch") && error.ends_with("Mapping"), "{error}");
        let error = client.done(MANAGER, &format!("Manager.{to}"), &(0_u32,)).expect_err("refused");
        assert!(error.starts_with("org.freedesktop.machine1.NoSuch") && error.ends_with("Mapping"), "{error}");
    }
    let none: Vec<(i32, Vec<u8>)> =
        client.call(MANAGER, "Manager.GetMachineAddresses", &("bus-own",)).expect("addresses");
    assert!(none.iter().all(|(family, _)| [2, 10].contains(family)), "{none:?}");
    let none: Vec<(i32, Vec<u8>)> = client.call(object, "Machine.GetAddresses", &()).expect("addresses");
    assert!(none.iter().all(|(family, _)| [2, 10].contains(family)), "{none:?}");

    let directory = client.opened(MANAGER, "Manager.OpenMachineRootDirectory", "bus-own").expect("root");
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
    rustix::fs::openat(&directory, "etc/os-release", flags, rustix::fs::Mode::empty()).expect("a file inside");
    files_go_in_and_out(client, object);
    client.done(object, "Machine.Kill", &("leader", 15)).expect("signalled");
    assert_eq!(running.end().code(), Some(0));
    let error = client.done(MANAGER, "Manager.KillMachine", &("bus-own", "all", 9)).expect_err("refused");
    assert_eq!(error, "org.freedesktop.machine1.NoSuchMachine");

    let running = spawn(tree.path(), "bus-own", &[]);
    until("it is known", || client.done(MANAGER, "Manager.GetMachine", &("bus-own",)).is_ok());
    let error = client.done(MANAGER, "Manager.GetMachineAddresses", &("bus-own",)).expect_err("refused");
    assert_eq!(error, "org.freedesktop.machine1.NoPrivateNetworking");
    client.done(MANAGER, "Manager.TerminateMachine", &("bus-own",)).expect("ended");
    running.end();
    host.assert_same();
}

/// `BindMount`, `CopyTo` and `CopyFrom`.
fn files_go_in_and_out(client: &Client, object: &str) {
    let outside = tempfile::tempdir().expect("directory");
    let file = |name: &str| outside.path().join(name).to_str().expect("path").to_owned();
    std::fs::write(file("in"), "told").expect("file");
    client.done(MANAGER, "Manager.CopyToMachine", &("bus-own", file("in"), "/tmp/copied")).expect("copied");
    client.done(object, "Machine.CopyFrom", &("/tmp/copied", file("out"))).expect("copied");
    assert_eq!(std::fs::read_to_string(file("out")).expect("file"), "told");
    client.done(object, "Machine.CopyFrom", &("/tmp/copied", file("out"))).expect_err("it is there");
    client.done(object, "Machine.CopyFromWithFlags", &("/tmp/copied", file("out"), 1_u64)).expect("replaced");
    let call = ("bus-own", file("in"), "/tmp/copied", 1_u64);
    client.done(MANAGER, "Manager.CopyToMachineWithFlags", &call).expect("replaced");
    let strange = ("bus-own", "/tmp/copied", file("out"), 8_u64);
    let error = client.done(MANAGER, "Manager.CopyFromMachineWithFlags", &strange).expect_err("refused");
    assert_eq!(error, "org.freedesktop.DBus.Error.InvalidArgs");
    let error = client.done(object, "Machine.CopyTo", &("relative", "/x")).expect_err("refused");
    assert_eq!(error, "org.freedesktop.DBus.Error.InvalidArgs");
    let bind = ("bus-own", outside.path().to_str().expect("path"), "/tmp/bound", true, true);
    client.done(MANAGER, "Manager.BindMountMachine", &bind).expect("bound");
    client.done(object, "Machine.CopyFrom", &("/tmp/bound/in", file("again"))).expect("copied");
    assert_eq!(std::fs::read_to_string(file("again")).expect("file"), "told");
    let error = client.done(object, "Machine.BindMount", &("/no/such/source", "/x", false, true)).expect_err("refused");
    assert!(error.starts_with("org.freedesktop.DBus.Error."), "{error}");
}

#[test]
fn images_are_made_changed_and_removed() {
    requires!(root, program "dbus-daemon");
    let scene = scene(&[]);
    let client = &scene.client;
    let tree = Path::new("/var/lib/machines/bus-image");
    for directory in ["usr", "etc"] {
        std::fs::create_dir_all(tree.join(directory)).expect("directory");
    }
    std::fs::write(tree.join("etc/os-release"), "ID=redd-test\n").expect("file");
    std::fs::write(tree.join("etc/hostname"), "inside\n").expect("file");
    std::fs::write(tree.join("etc/machine-id"), "07070707070707070707070707070707\n").expect("file");
    std::fs::write(tree.join("etc/machine-info"), "CHASSIS=vm\n").expect("file");
    let path: OwnedObjectPath = client.call(MANAGER, "Manager.GetImage", &("bus-image",)).expect("found");
    assert_eq!(path.as_str(), path_of("image", "bus-image"));
    let object = path.as_str();
    assert_eq!(client.property::<String>(object, "Image.Name"), "bus-image");
    assert_eq!(client.property::<String>(object, "Image.Path"), tree.to_str().expect("path"));
    assert_eq!(client.property::<String>(object, "Image.Type"), "directory");
    assert!(!client.property::<bool>(object, "Image.ReadOnly"));
    for size in ["Usage", "Limit", "UsageExclusive", "LimitExclusive"] {
        assert_eq!(client.property::<u64>(object, &format!("Image.{size}")), u64::MAX, "{size}");
    }
    for time in ["CreationTimestamp", "ModificationTimestamp"] {
        let _: u64 = client.property(object, &format!("Image.{time}"));
    }
    let named = ("bus-image",);
    let fields = |method: &str| client.call::<_, BTreeMap<String, String>>(MANAGER, method, &named).expect("fields");
    assert_eq!(fields("Manager.GetImageOSRelease")["ID"], "redd-test");
    assert_eq!(fields("Manager.GetImageMachineInfo")["CHASSIS"], "vm");
    assert_eq!(client.call::<_, String>(MANAGER, "Manager.GetImageHostname", &named).expect("name"), "inside");
    assert_eq!(client.call::<_, Vec<u8>>(MANAGER, "Manager.GetImageMachineID", &named).expect("id"), [7; 16]);
    assert_eq!(client.call::<_, String>(object, "Image.GetHostname", &()).expect("name"), "inside");
    assert_eq!(client.call::<_, Vec<u8>>(object, "Image.GetMachineID", &()).expect("id"), [7; 16]);
    let own = |method: &str| client.call::<_, BTreeMap<String, String>>(object, method, &()).expect("fields");
    assert_eq!(own("Image.GetOSRelease")["ID"], "redd-test");
    assert_eq!(own("Image.GetMachineInfo")["CHASSIS"], "vm");

    client.done(MANAGER, "Manager.CloneImage", &("bus-image", "bus-two", false)).expect("cloned");
    client.done(object, "Image.Clone", &("bus-three", false)).expect("cloned");
    let error = client.done(object, "Image.Clone", &("bus-two", false)).expect_err("refused");
    assert_eq!(error, "org.freedesktop.DBus.Error.FileExists");
    client.done(MANAGER, "Manager.RenameImage", &("bus-two", "bus-four")).expect("renamed");
    type Images = Vec<(String, String, bool, u64, u64, u64, OwnedObjectPath)>;
    let names = || {
        let all: Images = client.call(MANAGER, "Manager.ListImages", &()).expect("list");
        all.into_iter().map(|image| image.0).filter(|name| name.starts_with("bus-")).collect::<Vec<_>>()
    };
    assert_eq!(names(), ["bus-four", "bus-image", "bus-three"]);
    assert!(client.done(&path_of("image", "bus-two"), "Image.GetHostname", &()).is_err(), "its object is gone");
    client.done(&path_of("image", "bus-four"), "Image.Rename", &("bus-five",)).expect("renamed");
    for limit in [
        client.done(MANAGER, "Manager.SetImageLimit", &("bus-five", 1_u64 << 30)),
        client.done(object, "Image.SetLimit", &(1_u64 << 30,)),
        client.done(MANAGER, "Manager.SetPoolLimit", &(1_u64 << 30,)),
    ] {
        assert_eq!(limit.expect_err("refused"), "org.freedesktop.DBus.Error.NotSupported");
    }
    client.done(MANAGER, "Manager.RemoveImage", &("bus-five",)).expect("removed");
    client.done(&path_of("image", "bus-three"), "Image.Remove", &()).expect("removed");
    std::fs::create_dir_all("/var/lib/machines/.bus-hidden/usr").expect("directory");
    let cleaned: Vec<(String, u64)> = client.call(MANAGER, "Manager.CleanPool", &("hidden",)).expect("cleaned");
    assert_eq!(cleaned.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), [".bus-hidden"]);
    let error = client.done(MANAGER, "Manager.CleanPool", &("some",)).expect_err("refused");
    assert_eq!(error, "org.freedesktop.DBus.Error.InvalidArgs");
    assert_eq!(names(), ["bus-image"]);
    assert_eq!(client.property::<String>(MANAGER, "Manager.PoolPath"), "/var/lib/machines");
    for size in ["PoolUsage", "PoolLimit"] {
        assert_eq!(client.property::<u64>(MANAGER, &format!("Manager.{size}")), u64::MAX, "{size}");
    }
    let missing = [
        "GetImage",
        "RemoveImage",
        "GetImageHostname",
        "GetImageMachineID",
        "GetImageMachineInfo",
        "GetImageOSRelease",
    ];
    for method in missing {
        let error = client.done(MANAGER, &format!("Manager.{method}"), &("bus-none",)).expect_err("refused");
        assert_eq!(error, "org.freedesktop.machine1.NoSuchImage", "{method}");
    }
    marks(client, object);
}

/// `MarkImageReadOnly` and `MarkReadOnly`: a tmpfs has no flag for it, or the kernel sets it.
fn marks(client: &Client, object: &str) {
    let marked = client.done(MANAGER, "Manager.MarkImageReadOnly", &("bus-image", true));
    assert_eq!(client.property::<bool>(object, "Image.ReadOnly"), marked.is_ok(), "{marked:?}");
    let unmarked = client.done(object, "Image.MarkReadOnly", &(false,));
    assert_eq!(marked.is_ok(), unmarked.is_ok(), "{unmarked:?}");
    assert!(!client.property::<bool>(object, "Image.ReadOnly"));
}

#[test]
fn the_host_is_there_and_stays() {
    requires!(root, program "dbus-daemon");
    let scene = scene(&[]);
    let client = &scene.client;
    assert_eq!(client.property::<String>(HOST, "Machine.Class"), "host");
    assert_eq!(client.property::<u32>(HOST, "Machine.Leader"), 1);
    assert_eq!(client.property::<String>(HOST, "Machine.Unit"), "-.slice");
    for method in ["TerminateMachine", "UnregisterMachine"] {
        let error = client.done(MANAGER, &format!("Manager.{method}"), &(".host",)).expect_err("refused");
        assert_eq!(error, "org.freedesktop.DBus.Error.NotSupported", "{method}");
    }
    let missing = [
        "GetMachine",
        "TerminateMachine",
        "UnregisterMachine",
        "GetMachineAddresses",
        "GetMachineSSHInfo",
        "GetMachineOSRelease",
        "OpenMachinePTY",
        "OpenMachineLogin",
        "OpenMachineRootDirectory",
        "GetMachineUIDShift",
    ];
    for method in missing {
        let error = client.done(MANAGER, &format!("Manager.{method}"), &("bus-none",)).expect_err("refused");
        assert_eq!(error, "org.freedesktop.machine1.NoSuchMachine", "{method}");
    }
    let error = client.done(MANAGER, "Manager.GetMachineByPID", &(std::process::id(),)).expect_err("refused");
    assert_eq!(error, "org.freedesktop.machine1.NoMachineForPID");
}

#[test]
fn whoever_is_not_root_changes_nothing() {
    requires!(root, program "dbus-daemon", program "busctl", program "setpriv");
    let scene = scene(&[]);
    let foreign = Foreign::start();
    let told = ("bus-kept", Vec::<u8>::new(), "test", "vm", foreign.0.id(), "");
    let _: OwnedObjectPath = scene.client.call(MANAGER, "Manager.RegisterMachine", &told).expect("registered");
    let as_nobody = |method: &str, arguments: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "busctl"]);
        command.arg(format!("--address={}", scene.bus.address())).args(["call", "org.freedesktop.machine1", MANAGER]);
        command.args(["org.freedesktop.machine1.Manager", method]).args(arguments);
        let output = command.output().expect("busctl");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (listed, said) = as_nobody("ListMachines", &[]);
    assert!(listed, "{said}");
    for (method, arguments) in [
        ("TerminateMachine", &["s", "bus-kept"][..]),
        ("KillMachine", &["ssi", "bus-kept", "leader", "9"]),
        ("UnregisterMachine", &["s", "bus-kept"]),
        ("OpenMachineRootDirectory", &["s", ".host"]),
        ("OpenMachinePTY", &["s", ".host"]),
        ("OpenMachinePTY", &["s", "bus-kept"]),
        ("OpenMachineLogin", &["s", ".host"]),
        ("OpenMachineLogin", &["s", "bus-kept"]),
        ("OpenMachineShell", &["sssasas", ".host", "", "", "0", "0"]),
        ("OpenMachineShell", &["sssasas", "bus-kept", "", "", "0", "0"]),
        ("BindMountMachine", &["sssbb", "bus-kept", "/etc", "/x", "false", "false"]),
        ("CopyFromMachine", &["sss", "bus-kept", "/etc/passwd", "/tmp/x"]),
        ("SetPoolLimit", &["t", "5"]),
        ("CleanPool", &["s", "all"]),
        ("RegisterMachine", &["sayssus", "bus-mine", "0", "x", "vm", "0", ""]),
    ] {
        let (done, said) = as_nobody(method, arguments);
        assert!(!done && said.contains("Access denied"), "{method}: {said}");
    }
    let all: Listed = scene.client.call(MANAGER, "Manager.ListMachines", &()).expect("list");
    assert_eq!(all.len(), 2, "{all:?}");
}

#[test]
fn without_its_bus_it_ends() {
    requires!(root, program "dbus-daemon");
    let mut scene = scene(&[]);
    scene.bus.end();
    until("it has ended", || scene.service.try_wait().expect("wait").is_some());
    assert_eq!(scene.service.wait().expect("status").code(), Some(1));
}

#[test]
fn calls_keep_it_and_without_them_it_ends() {
    requires!(root, cgroup2, program "mount", program "dbus-daemon");
    let mut scene = scene(&["--idle=1"]);
    let end = Instant::now() + Duration::from_secs(2);
    while Instant::now() < end {
        let _: String = scene.client.property(HOST, "Machine.Class");
        assert!(scene.service.try_wait().expect("wait").is_none(), "it is needed");
        std::thread::sleep(Duration::from_millis(20));
    }
    until("it ends", || scene.service.try_wait().expect("wait").is_some_and(|status| status.success()));
}

#[test]
fn where_another_one_serves_nothing_is_touched() {
    requires!(root, cgroup2, program "mount", program "dbus-daemon");
    let mut scene = scene(&[]);
    scene.service.kill().expect("kill");
    scene.service.wait().expect("wait");
    let sockets = "/run/systemd/machine";
    std::fs::remove_dir_all(sockets).expect("what a killed one has left");
    let taken = || {
        let output = service(&scene.bus).output().expect("start");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("cannot serve on the system bus") && said.contains("taken"), "{said}");
        assert!(!Path::new(sockets).exists(), "no sockets were made");
    };
    scene.client.take_name();
    taken();
}
