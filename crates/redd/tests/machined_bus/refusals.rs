//! What each method of the bus says of machines and images that are not there, that are not of the kind for it, or that are gone by now;
//! and what no other test of the bus sees succeed.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use testkit::disk::{Disk, Mounted};
use testkit::{fixture, requires};
use zbus::OwnedObjectPath;

use super::bus::Client;
use super::{Foreign, HOST, MANAGER, path_of, scene, spawn, until};

const NO_MACHINE: &str = "org.freedesktop.machine1.NoSuchMachine";
const NO_IMAGE: &str = "org.freedesktop.machine1.NoSuchImage";
const NOT_SUPPORTED: &str = "org.freedesktop.DBus.Error.NotSupported";
const NO_OBJECT: &str = "org.freedesktop.DBus.Error.UnknownObject";
const NONE: [&str; 0] = [];

fn register(client: &Client, name: &str, foreign: &Foreign, class: &str) -> Result<OwnedObjectPath, String> {
    let told = (name, Vec::<u8>::new(), "test", class, foreign.0.id(), "");
    client.call(MANAGER, "Manager.RegisterMachine", &told)
}

/// Files and users of machines, by the manager.
fn by_the_manager(client: &Client, name: &str) -> Vec<(&'static str, Result<(), String>)> {
    let host = "/nonexistent/bus-refusals";
    let named = |method: &str| client.done(MANAGER, &format!("Manager.{method}"), &(name,));
    let copied = |method: &str| client.done(MANAGER, &format!("Manager.{method}"), &(name, host, "/tmp/x"));
    let flags = |method: &str| client.done(MANAGER, &format!("Manager.{method}"), &(name, host, "/tmp/x", 0_u64));
    let mapped = |method: &str| client.done(MANAGER, &format!("Manager.{method}"), &(name, 5_u32));
    let shell = (name, "", "/bin/true", &NONE[..], &NONE[..]);
    vec![
        ("BindMountMachine", client.done(MANAGER, "Manager.BindMountMachine", &(name, "/etc", "/x", true, true))),
        ("CopyFromMachine", client.done(MANAGER, "Manager.CopyFromMachine", &(name, "/tmp/x", host))),
        (
            "CopyFromMachineWithFlags",
            client.done(MANAGER, "Manager.CopyFromMachineWithFlags", &(name, "/tmp/x", host, 0_u64)),
        ),
        ("CopyToMachine", copied("CopyToMachine")),
        ("CopyToMachineWithFlags", flags("CopyToMachineWithFlags")),
        ("GetMachineAddresses", named("GetMachineAddresses")),
        ("GetMachineOSRelease", named("GetMachineOSRelease")),
        ("GetMachineUIDShift", named("GetMachineUIDShift")),
        ("MapFromMachineGroup", mapped("MapFromMachineGroup")),
        ("MapFromMachineUser", mapped("MapFromMachineUser")),
        ("OpenMachineLogin", named("OpenMachineLogin")),
        ("OpenMachinePTY", named("OpenMachinePTY")),
        ("OpenMachineRootDirectory", named("OpenMachineRootDirectory")),
        ("OpenMachineShell", client.done(MANAGER, "Manager.OpenMachineShell", &shell)),
    ]
}

/// The same, and what else there is, by the machine's object.
fn by_the_object(client: &Client, object: &str) -> Vec<(&'static str, Result<(), String>)> {
    let host = "/nonexistent/bus-refusals";
    let plain = |method: &str| client.done(object, &format!("Machine.{method}"), &());
    let shell = ("", "/bin/true", &NONE[..], &NONE[..]);
    vec![
        ("BindMount", client.done(object, "Machine.BindMount", &("/etc", "/x", true, true))),
        ("CopyFrom", client.done(object, "Machine.CopyFrom", &("/tmp/x", host))),
        ("CopyFromWithFlags", client.done(object, "Machine.CopyFromWithFlags", &("/tmp/x", host, 0_u64))),
        ("CopyTo", client.done(object, "Machine.CopyTo", &(host, "/tmp/x"))),
        ("CopyToWithFlags", client.done(object, "Machine.CopyToWithFlags", &(host, "/tmp/x", 0_u64))),
        ("GetAddresses", plain("GetAddresses")),
        ("GetOSRelease", plain("GetOSRelease")),
        ("GetUIDShift", plain("GetUIDShift")),
        ("OpenLogin", plain("OpenLogin")),
        ("OpenPTY", plain("OpenPTY")),
        ("OpenRootDirectory", plain("OpenRootDirectory")),
        ("OpenShell", client.done(object, "Machine.OpenShell", &shell)),
    ]
}

#[test]
fn machines_that_are_not_there_or_of_another_kind() {
    requires!(root, program "dbus-daemon");
    let scene = scene(&[]);
    let client = &scene.client;
    for (method, answer) in by_the_manager(client, "bus-none") {
        assert_eq!(answer.expect_err("refused"), NO_MACHINE, "{method}");
    }
    let kill = client.done(MANAGER, "Manager.KillMachine", &("bus-none", "all", 9));
    assert_eq!(kill.expect_err("refused"), NO_MACHINE);
    let foreign = Foreign::start();
    let object = register(client, "bus-vm", &foreign, "vm").expect("registered");
    for (method, answer) in by_the_manager(client, "bus-vm") {
        assert_eq!(answer.expect_err("refused"), NOT_SUPPORTED, "{method}");
    }
    for (method, answer) in by_the_object(client, object.as_str()) {
        assert_eq!(answer.expect_err("refused"), NOT_SUPPORTED, "{method}");
    }
    // It ends, and its object goes with it.
    client.done(object.as_str(), "Machine.Terminate", &()).expect("ended");
    until("its object is gone", || {
        client.done(object.as_str(), "Machine.GetUIDShift", &()).is_err_and(|name| name == NO_OBJECT)
    });
    for (method, answer) in by_the_object(client, object.as_str()) {
        assert_eq!(answer.expect_err("refused"), NO_OBJECT, "{method}");
    }
    for (method, answer) in [
        ("Kill", client.done(object.as_str(), "Machine.Kill", &("all", 9))),
        ("Terminate", client.done(object.as_str(), "Machine.Terminate", &())),
        ("GetSSHInfo", client.done(object.as_str(), "Machine.GetSSHInfo", &())),
    ] {
        assert_eq!(answer.expect_err("refused"), NO_OBJECT, "{method}");
    }
    for (method, answer) in [
        ("Kill", client.done(HOST, "Machine.Kill", &("leader", 9))),
        ("Terminate", client.done(HOST, "Machine.Terminate", &())),
    ] {
        assert_eq!(answer.expect_err("refused"), NOT_SUPPORTED, "{method}");
    }
}

#[test]
fn registrations_with_links() {
    requires!(root, program "dbus-daemon");
    let scene = scene(&[]);
    let client = &scene.client;
    let foreign = Foreign::start();
    let with = |links: Vec<i32>| {
        let told = ("bus-links", Vec::<u8>::new(), "test", "vm", foreign.0.id(), "", links);
        client.call::<_, OwnedObjectPath>(MANAGER, "Manager.RegisterMachineWithNetwork", &told)
    };
    for links in [vec![0], vec![-1], vec![3, 0]] {
        let error = with(links.clone()).expect_err("refused");
        assert_eq!(error, "org.freedesktop.DBus.Error.InvalidArgs", "{links:?}");
    }
    let none = client.done(MANAGER, "Manager.GetMachine", &("bus-links",));
    assert_eq!(none.expect_err("nothing was registered"), NO_MACHINE);
    with(vec![3]).expect("registered");
}

#[test]
fn images_that_are_not_there_or_the_host_s() {
    requires!(root, program "dbus-daemon");
    let scene = scene(&[]);
    let client = &scene.client;
    let of_manager = |name: &str| {
        [
            ("CloneImage", client.done(MANAGER, "Manager.CloneImage", &(name, "bus-x", false))),
            ("MarkImageReadOnly", client.done(MANAGER, "Manager.MarkImageReadOnly", &(name, true))),
            ("RemoveImage", client.done(MANAGER, "Manager.RemoveImage", &(name,))),
            ("RenameImage", client.done(MANAGER, "Manager.RenameImage", &(name, "bus-x"))),
            ("SetImageLimit", client.done(MANAGER, "Manager.SetImageLimit", &(name, 1_u64 << 30))),
        ]
    };
    let of_object = |object: &str| {
        [
            ("Clone", client.done(object, "Image.Clone", &("bus-x", false))),
            ("MarkReadOnly", client.done(object, "Image.MarkReadOnly", &(true,))),
            ("Remove", client.done(object, "Image.Remove", &())),
            ("Rename", client.done(object, "Image.Rename", &("bus-x",))),
            ("SetLimit", client.done(object, "Image.SetLimit", &(1_u64 << 30,))),
        ]
    };
    let looks = |object: &str| {
        ["GetHostname", "GetMachineID", "GetMachineInfo", "GetOSRelease"]
            .map(|method| (method, client.done(object, &format!("Image.{method}"), &())))
    };
    for (method, answer) in of_manager("bus-none") {
        assert_eq!(answer.expect_err("refused"), NO_IMAGE, "{method}");
    }
    let host = "/org/freedesktop/machine1/image/_2ehost";
    for (method, answer) in of_manager(".host").into_iter().chain(of_object(host)) {
        let refused = answer.expect_err("refused");
        assert!([NOT_SUPPORTED, "System.Error.EROFS"].contains(&refused.as_str()), "{method}: {refused}");
    }
    let tree = Path::new("/var/lib/machines/bus-brief");
    std::fs::create_dir_all(tree.join("usr")).expect("image");
    let object: OwnedObjectPath = client.call(MANAGER, "Manager.GetImage", &("bus-brief",)).expect("found");
    // Known on the bus, and gone without a word.
    std::fs::remove_dir_all(tree).expect("removed");
    for (method, answer) in of_object(object.as_str()).into_iter().chain(looks(object.as_str())) {
        assert_eq!(answer.expect_err("refused"), NO_IMAGE, "{method}");
    }
    // What the kernel cannot do there.
    for (method, error) in [
        ("SetPoolLimit", client.done(MANAGER, "Manager.SetPoolLimit", &(1_u64 << 30,)).expect_err("refused")),
        ("ListImages", client.done(MANAGER, "Manager.ListImages", &(5_u32,)).expect_err("refused")),
        ("ListMachines", client.done(MANAGER, "Manager.ListMachines", &(5_u32,)).expect_err("refused")),
    ] {
        let wanted = if method == "SetPoolLimit" { NOT_SUPPORTED } else { "org.freedesktop.DBus.Error.InvalidArgs" };
        assert_eq!(error, wanted, "{method}");
    }
}

/// Nobody is told of what was refused, and everybody once of what has happened.
#[test]
fn signals_are_of_what_has_happened_alone() {
    requires!(root, program "dbus-daemon");
    let scene = scene(&[]);
    let client = &scene.client;
    let mut signals = client.signals();
    let foreign = Foreign::start();
    register(client, "bus/none", &foreign, "vm").expect_err("refused");
    register(client, "bus-none", &foreign, "host").expect_err("refused");
    client.done(MANAGER, "Manager.UnregisterMachine", &("bus-none",)).expect_err("refused");
    let object = register(client, "bus-one", &foreign, "vm").expect("registered");
    register(client, "bus-one", &foreign, "vm").expect_err("refused");
    let other = Foreign::start();
    let second = register(client, "bus-two", &other, "vm").expect("registered");
    // It ends by itself, nobody has said a word.
    drop(foreign);
    let told = [signals.next(), signals.next(), signals.next()];
    let told = told.each_ref().map(|(signal, machine, path)| (signal.as_str(), machine.as_str(), path.as_str()));
    assert_eq!(
        told,
        [
            ("MachineNew", "bus-one", object.as_str()),
            ("MachineNew", "bus-two", second.as_str()),
            ("MachineRemoved", "bus-one", object.as_str())
        ]
    );
    client.done(MANAGER, "Manager.UnregisterMachine", &("bus-two",)).expect("taken out");
    assert_eq!(signals.next().0, "MachineRemoved");
}

/// What only Varlink can tell, the bus gives out.
#[test]
fn how_to_reach_the_ssh_server_of_a_machine() {
    requires!(root, program "dbus-daemon");
    let scene = scene(&[]);
    let client = &scene.client;
    let foreign = Foreign::start();
    let mut varlink = UnixStream::connect("/run/systemd/machine/io.systemd.Machine").expect("connect");
    write!(
        varlink,
        "{{\"method\":\"io.systemd.Machine.Register\",\"parameters\":{{\"name\":\"bus-ssh\",\"class\":\"vm\",\"leader\":{},\
         \"vSockCid\":7,\"sshAddress\":\"vsock/7\",\"sshPrivateKeyPath\":\"/run/key\"}}}}\0",
        foreign.0.id()
    )
    .expect("asked");
    let mut answer = Vec::new();
    BufReader::new(varlink).read_until(0, &mut answer).expect("answer");
    assert!(!String::from_utf8_lossy(&answer).contains("error"), "{}", String::from_utf8_lossy(&answer));
    let object = path_of("machine", "bus-ssh");
    until("its object", || client.introspected(&object).is_ok_and(|xml| xml.contains("machine1.Machine")));
    let wanted = ("vsock/7".to_owned(), "/run/key".to_owned());
    assert_eq!(client.call(MANAGER, "Manager.GetMachineSSHInfo", &("bus-ssh",)), Ok(wanted.clone()));
    assert_eq!(client.call(&object, "Machine.GetSSHInfo", &()), Ok(wanted));
    assert_eq!(client.property::<String>(&object, "Machine.SSHAddress"), "vsock/7");
    assert_eq!(client.property::<String>(&object, "Machine.SSHPrivateKeyPath"), "/run/key");
    assert_eq!(client.property::<u32>(&object, "Machine.VSockCID"), 7);
}

#[test]
fn on_btrfs_images_are_counted_and_limited() {
    requires!(root, loop, program "dbus-daemon", program "mkfs.btrfs", program "btrfs");
    let scene = scene(&[]);
    let client = &scene.client;
    let disk = Disk::new("btrfs", 256);
    let _pool = Mounted::new(&["--bind", disk.path().to_str().expect("text")], Path::new("/var/lib/machines"));
    let mut create = Command::new("btrfs");
    testkit::disk::run(create.args(["subvolume", "create", "/var/lib/machines/bus-sub"]));
    std::fs::create_dir("/var/lib/machines/bus-sub/usr").expect("directory");
    let object: OwnedObjectPath = client.call(MANAGER, "Manager.GetImage", &("bus-sub",)).expect("found");
    let object = object.as_str();
    client.done(MANAGER, "Manager.SetPoolLimit", &(200_u64 << 20,)).expect("limited");
    assert_eq!(client.property::<u64>(MANAGER, "Manager.PoolLimit"), 200 << 20);
    client.done(MANAGER, "Manager.SetImageLimit", &("bus-sub", 100_u64 << 20)).expect("limited");
    assert_eq!(client.property::<u64>(object, "Image.Limit"), 100 << 20);
    client.done(object, "Image.SetLimit", &(50_u64 << 20,)).expect("limited");
    assert_eq!(client.property::<u64>(object, "Image.Limit"), 50 << 20);
    std::fs::write("/var/lib/machines/bus-sub/usr/file", vec![7; 3 << 20]).expect("file");
    testkit::disk::run(Command::new("sync").args(["-f", "/var/lib/machines/bus-sub"]));
    let usage = |name: &str| client.property::<u64>(object, &format!("Image.{name}"));
    until("it is counted", || (3 << 20..4 << 20).contains(&usage("Usage")));
    assert!((3 << 20..4 << 20).contains(&usage("UsageExclusive")), "{}", usage("UsageExclusive"));
    assert_eq!(usage("LimitExclusive"), u64::MAX);
    // Of all images together.
    assert!((3 << 20..200 << 20).contains(&client.property::<u64>(MANAGER, "Manager.PoolUsage")));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time");
    for time in ["CreationTimestamp", "ModificationTimestamp"] {
        let age = u64::try_from(now.as_micros()).expect("small").abs_diff(usage(time));
        assert!(age < 600_000_000, "{time}: {age}");
    }
    client.done(object, "Image.MarkReadOnly", &(true,)).expect("marked");
    assert!(client.property::<bool>(object, "Image.ReadOnly"));
    client.done(MANAGER, "Manager.MarkImageReadOnly", &("bus-sub", false)).expect("marked");
    assert!(!client.property::<bool>(object, "Image.ReadOnly"));
    // Beyond its limit: the one who writes is told, and the image is as it was.
    std::fs::write("/var/lib/machines/bus-sub/usr/large", vec![7; 80 << 20]).expect_err("too much");
    // show-image prints the same.
    let mut show = Command::new(super::REDD);
    let shown = testkit::run_limited(
        {
            show.args(["show-image", "bus-sub"]);
            show
        },
        Vec::new(),
        super::LIMIT,
    );
    let shown = shown.expect_code(0).output;
    for name in ["Usage", "UsageExclusive", "Limit"] {
        assert!(shown.contains(&format!("{name}={}\n", usage(name))), "{name}: {shown}");
    }
    for line in
        ["Name=bus-sub", "Path=/var/lib/machines/bus-sub", "Type=subvolume", "ReadOnly=no", "LimitExclusive=infinity"]
    {
        assert!(shown.lines().any(|one| one == line), "{line}: {shown}");
    }
    let names: Vec<&str> = shown.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    assert_eq!(
        names,
        [
            "Name",
            "Path",
            "Type",
            "ReadOnly",
            "CreationTimestamp",
            "ModificationTimestamp",
            "Usage",
            "Limit",
            "UsageExclusive",
            "LimitExclusive"
        ]
    );
}

#[test]
fn files_by_the_objects_of_machines() {
    requires!(root, cgroup2, program "dbus-daemon");
    let scene = scene(&[]);
    let client = &scene.client;
    let tree = fixture::tree();
    let outside = tempfile::tempdir().expect("directory");
    let file = |name: &str| outside.path().join(name).to_str().expect("path").to_owned();
    std::fs::write(file("in"), "told").expect("file");
    let running = spawn(tree.path(), "bus-files", &[]);
    until("it is known", || client.done(MANAGER, "Manager.GetMachine", &("bus-files",)).is_ok());
    let object = path_of("machine", "bus-files");
    client.done(&object, "Machine.CopyTo", &(file("in"), "/tmp/one")).expect("copied");
    client.done(&object, "Machine.CopyTo", &(file("in"), "/tmp/one")).expect_err("it is there");
    client.done(&object, "Machine.CopyToWithFlags", &(file("in"), "/tmp/one", 1_u64)).expect("replaced");
    client.done(MANAGER, "Manager.CopyFromMachine", &("bus-files", "/tmp/one", file("one"))).expect("copied");
    client.done(MANAGER, "Manager.CopyFromMachine", &("bus-files", "/tmp/one", file("one"))).expect_err("it is there");
    let replaced = ("bus-files", "/tmp/one", file("one"), 1_u64);
    client.done(MANAGER, "Manager.CopyFromMachineWithFlags", &replaced).expect("replaced");
    assert_eq!(std::fs::read_to_string(file("one")).expect("file"), "told");
    client
        .done(&object, "Machine.BindMount", &(outside.path().to_str().expect("path"), "/tmp/b", true, true))
        .expect("bound");
    let root: std::os::fd::OwnedFd =
        client.opened(MANAGER, "Manager.OpenMachineRootDirectory", "bus-files").expect("root");
    let own = client.opened_by_object(&object, "Machine.OpenRootDirectory").expect("root");
    for root in [root, own] {
        rustix::fs::statat(&root, "tmp/one", rustix::fs::AtFlags::empty()).expect("a file inside");
    }
    assert!(
        std::fs::read_to_string(format!("/proc/{}/root/tmp/b/in", running.leader())).is_ok_and(|text| text == "told")
    );
    let error = client.done(&object, "Machine.OpenShell", &("", "/none", &NONE[..], &NONE[..])).expect_err("refused");
    assert_eq!(error, "org.freedesktop.DBus.Error.FileNotFound");
    running.stop();
}
