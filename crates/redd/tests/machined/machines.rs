//! `io.systemd.Machine`.

use std::process::Command;

use serde_json::{Value, json};
use testkit::{HostState, fixture, requires};

use crate::background::busybox;
use crate::client::Client;
use crate::service::{Foreign, Machined, REDD, isolate, machines, names, note, refused, spawn, until};

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

/// What upstream's `machinectl poweroff` does: the signal means something to systemd alone.
#[test]
fn the_signal_of_machinectl_poweroff_reaches_other_init_systems() {
    requires!(root, cgroup2, program "mount", program "busybox");
    let _isolated = isolate();
    let tree = busybox();
    let _service = Machined::start();
    let mut client = machines();
    let start = |words: &[&str]| {
        let mut command = Command::new(REDD);
        command.args(["spawn", "-q", "--pipe", "-M", "machined-init", "-D"]).arg(tree.path()).args(words);
        testkit::Running::start(command, "machined-init")
    };
    let signal = sys::signal::real_time_minimum() + 4;
    let kill = json!({ "name": "machined-init", "whom": "leader", "signal": signal });
    tree.write("etc/inittab", "::sysinit:/bin/busybox touch /ready\n", 0o644);
    let running = start(&["-b"]);
    // It takes signals by then: earlier ones are lost, as the kernel spares first processes those that they do not handle.
    until("it is up", || tree.join("ready").exists());
    // All processes, or another signal: as they are.
    for (whom, signal) in [("all", signal - 3), ("leader", signal - 1)] {
        let other = json!({ "name": "machined-init", "whom": whom, "signal": signal });
        client.call("io.systemd.Machine.Kill", other).expect("signalled");
    }
    assert_eq!(names(), [".host", "machined-init"]);
    client.call("io.systemd.Machine.Kill", kill.clone()).expect("asked");
    assert_eq!(running.end().code(), Some(0));
    // Who is no init system gets the signal itself.
    tree.write("take", format!("trap 'exit 5' {signal}; : >/takes; while :; do sleep 0.1; done"), 0o644);
    let running = start(&["/bin/sh", "/take"]);
    until("it takes the signal", || tree.join("takes").exists());
    client.call("io.systemd.Machine.Kill", kill).expect("signalled");
    assert_eq!(running.end().code(), Some(5));
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

#[test]
fn a_hostile_os_release_holds_nobody_up() {
    requires!(root, cgroup2);
    let _isolated = isolate();
    let tree = fixture::tree();
    let _service = Machined::start();
    let running = spawn(tree.path(), "machined-hostile", &[]);
    let mut client = machines();
    let file = tree.write("etc/os-release", "ID=\x1b[31mx\nPRETTY_NAME=\"a\x07\u{9b}b\"\n", 0o644);
    let mut look = || {
        let words = json!({ "name": "machined-hostile", "acquireMetadata": "graceful" });
        let started = std::time::Instant::now();
        let found = client.call("io.systemd.Machine.List", words).expect("found");
        assert!(started.elapsed() < std::time::Duration::from_secs(5), "{:?}", started.elapsed());
        found["OSRelease"].clone()
    };
    let shown = look();
    let lines: Vec<&str> = shown.as_array().expect("lines").iter().filter_map(Value::as_str).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(!lines.concat().contains(char::is_control), "{lines:?}");
    for script in [
        "ln -s /run/systemd/machined-secret $1",
        "ln -s ../../../../../../run/systemd/machined-secret $1",
        "mkfifo $1",
        "mknod $1 c 1 5",
        "truncate -s 1G $1",
    ] {
        std::fs::write("/run/systemd/machined-secret", "ID=stolen\n").expect("secret");
        // The first may be a link to the second.
        testkit::disk::run(Command::new("rm").arg("-f").arg(&file).arg(tree.join("usr/lib/os-release")));
        testkit::disk::run(Command::new("sh").args(["-euc", script, "sh"]).arg(&file));
        let shown = look();
        assert!(shown.as_array().is_none_or(Vec::is_empty), "{script}: {shown}");
    }
    running.stop();
}

#[test]
fn what_is_looked_for_in_machines() {
    requires!(root, cgroup2, program "ip");
    let _isolated = isolate();
    let tree = fixture::tree();
    tree.write("etc/os-release", "ID=testos\nNAME=\"Test OS\"\n", 0o644);
    let _service = Machined::start();
    let plain = spawn(tree.path(), "machined-plainnet", &[]);
    let mut client = machines();
    let mut look = |name: &str, acquire: &str| {
        client.call("io.systemd.Machine.List", json!({ "name": name, "acquireMetadata": acquire }))
    };
    assert_eq!(refused(look("machined-plainnet", "yes")), "io.systemd.Machine.NoPrivateNetworking");
    let found = look("machined-plainnet", "graceful").expect("found");
    assert_eq!((&found["OSRelease"], &found["addresses"]), (&json!(["ID=testos", "NAME=Test OS"]), &Value::Null));
    assert_eq!(look("machined-plainnet", "no").expect("found")["OSRelease"], Value::Null);
    assert_eq!(refused(look("machined-plainnet", "maybe")), "org.varlink.service.InvalidParameter acquireMetadata");
    plain.stop();

    let running = spawn(tree.path(), "machined-net", &["--private-network"]);
    let leader = running.leader().to_string();
    let inside = |arguments: &[&str]| {
        testkit::disk::run(Command::new("nsenter").args(["-t", &leader, "-n", "ip"]).args(arguments));
    };
    inside(&["link", "add", "machined0", "type", "veth", "peer", "name", "machined1"]);
    inside(&["address", "add", "192.0.2.7/24", "dev", "machined0"]);
    inside(&["link", "set", "machined0", "up"]);
    let found = look("machined-net", "yes").expect("found");
    let addresses = found["addresses"].as_array().expect("addresses");
    let one = addresses.iter().find(|one| one["family"] == 2).expect("an address");
    assert_eq!(one["address"], json!([192, 0, 2, 7]));
    assert!(one["ifindex"].as_u64().is_some_and(|link| link > 0), "{one}");
    assert_eq!(found["UIDShift"], 0);
    std::fs::remove_file(tree.join("etc/os-release")).expect("removed");
    let _ = std::fs::remove_file(tree.join("usr/lib/os-release"));
    assert_eq!(refused(look("machined-net", "yes")), "io.systemd.Machine.NoOSReleaseInformation");
    running.stop();
    let foreign = Foreign::start();
    let told = json!({ "name": "machined-far", "class": "vm", "leader": foreign.pid() });
    machines().call("io.systemd.Machine.Register", told).expect("registered");
    assert_eq!(refused(look("machined-far", "yes")), "io.systemd.Machine.NotSupported");
    assert_eq!(look("machined-far", "graceful").expect("found")["name"], "machined-far");
}

#[test]
fn files_are_bound_and_copied() {
    requires!(root, cgroup2);
    let _isolated = isolate();
    let tree = fixture::tree();
    let host = fixture::empty();
    host.write("mark", "of the host", 0o644);
    let source = host.path().to_str().expect("text").to_owned();
    let _service = Machined::start();
    let running = spawn(tree.path(), "machined-files", &[]);
    let mut client = machines();
    let mut call = |method: &str, parameters: Value| {
        let mut all = json!({ "name": "machined-files" });
        for (name, value) in parameters.as_object().expect("parameters") {
            all[name] = value.clone();
        }
        client.call(&format!("io.systemd.Machine.{method}"), all)
    };
    let inside = |path: &str| std::fs::read_to_string(format!("/proc/{}/root{path}", running.leader()));
    let errno = |answer: Result<Value, (String, Value)>| {
        let (name, parameters) = answer.expect_err("an error");
        assert_eq!(name, "io.systemd.System", "{parameters}");
        parameters["errnoName"].as_str().unwrap_or_default().to_owned()
    };
    let bind = json!({ "source": source, "destination": "/mnt/bound", "readOnly": true });
    assert_eq!(errno(call("BindMount", bind.clone())), "ENOENT");
    let mut made = bind;
    made["mkdir"] = json!(true);
    call("BindMount", made).expect("bound");
    assert_eq!(inside("/mnt/bound/mark").expect("file"), "of the host");
    assert_eq!(refused(call("BindMount", json!({ "source": "etc" }))), "org.varlink.service.InvalidParameter source");
    assert_eq!(refused(call("BindMount", json!({}))), "org.varlink.service.InvalidParameter source");
    let wrong = json!({ "source": "/etc", "destination": "mnt" });
    assert_eq!(refused(call("BindMount", wrong)), "org.varlink.service.InvalidParameter destination");

    let copy = json!({ "source": format!("{source}/mark"), "destination": "/copied" });
    call("CopyTo", copy.clone()).expect("copied");
    assert_eq!(inside("/copied").expect("file"), "of the host");
    assert_eq!(errno(call("CopyTo", copy.clone())), "EEXIST");
    host.write("mark", "changed", 0o644);
    let mut replaced = copy;
    replaced["replace"] = json!(true);
    call("CopyTo", replaced).expect("replaced");
    assert_eq!(inside("/copied").expect("file"), "changed");
    let back = json!({ "source": "/copied", "destination": format!("{source}/back") });
    call("CopyFrom", back.clone()).expect("copied");
    assert_eq!(std::fs::read_to_string(host.join("back")).expect("file"), "changed");
    assert_eq!(errno(call("CopyFrom", back)), "EEXIST");
    let none = json!({ "source": "/nothing", "destination": format!("{source}/none") });
    assert_eq!(errno(call("CopyFrom", none)), "ENOENT");
    assert!(!host.join("none").exists());
    for method in ["CopyTo", "CopyFrom"] {
        let answer = call(method, json!({ "source": "relative" }));
        assert_eq!(refused(answer), "org.varlink.service.InvalidParameter source", "{method}");
        let answer = call(method, json!({ "source": "/etc", "name": "machined-none" }));
        assert_eq!(refused(answer), "io.systemd.Machine.NoSuchMachine", "{method}");
    }
    running.stop();
}

/// Whatever it is killed in the midst of: what was answered is there, and nothing is there by half.
#[test]
fn the_service_is_killed_in_the_midst_of_registrations() {
    requires!(root);
    let _isolated = isolate();
    let foreign = Foreign::start();
    let leader = foreign.pid();
    let mut kept = Vec::new();
    for round in 0..10 {
        let service = Machined::start();
        let (sender, answered) = std::sync::mpsc::channel();
        let mut client = machines();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for number in 0.. {
                    let name = format!("machined-storm-{round}-{number}");
                    let told = json!({ "name": name, "class": "vm", "leader": leader });
                    // Hung up on in the end.
                    if !client.try_call("io.systemd.Machine.Register", told) || sender.send(name).is_err() {
                        break;
                    }
                }
            });
            kept.extend(answered.iter().take(1 + round));
            service.kill();
        });
    }
    let _service = Machined::start();
    let listed = names();
    for name in &kept {
        assert!(listed.contains(name), "{name} was answered and is lost");
        assert!(note(name).exists(), "{name}");
    }
    let entries = std::fs::read_dir("/run/redd/machines").expect("registry").flatten();
    for entry in entries.filter(|entry| entry.file_name() != ".lock") {
        let files: Vec<_> =
            std::fs::read_dir(entry.path()).expect("entry").flatten().map(|file| file.file_name()).collect();
        assert_eq!(files, ["state"], "{:?}", entry.path());
    }
    drop(foreign);
    until("all are gone with their first process", || names() == [".host"]);
}
