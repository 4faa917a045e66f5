//! Devices and limits of OCI bundles, felt inside and read outside; and that nothing of them stays.

mod oci_bundle;

use std::io::{BufRead, BufReader};
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use oci_bundle::{BINARY, Bundle};
use testkit::{Ended, HostState, Isolated, fixture, requires};

/// Writes the configuration: a script and members of `linux`.
fn write(bundle: &Bundle, script: &str, linux: &str) {
    let namespaces = ["mount", "pid", "ipc", "uts", "cgroup"].map(|name| format!("{{\"type\":\"{name}\"}}")).join(",");
    bundle.write(&format!(
        "{{\"ociVersion\":\"1.0.2\",\"root\":{{\"path\":\"rootfs\"}},\"process\":{{\"terminal\":false,\"cwd\":\"/\",\
         \"env\":[\"PATH=/usr/bin:/bin\"],\"args\":[\"/bin/sh\",\"-c\",{script:?}]}},\
         \"linux\":{{\"namespaces\":[{namespaces}],{linux}}}}}"
    ));
}

fn run(bundle: &Bundle, options: &[&str], script: &str, linux: &str) -> Ended {
    write(bundle, script, linux);
    bundle.start(options)
}

/// The kernel's log, which no container may write to by itself.
const LOG: &str = r#""devices":[{"path":"/dev/log-of-kernel","type":"c","major":1,"minor":11,"fileMode":384,"uid":5,"gid":6},
    {"path":"/made/here/log","type":"c","major":1,"minor":11},{"path":"/run/fifo","type":"p","fileMode":438}]"#;

const LOOK: &str = "stat -c '%n %F %t:%T %a %u:%g' /dev/log-of-kernel /made/here/log /run/fifo
    for name in /dev/log-of-kernel /made/here/log; do (: >$name) && echo open; done
    mknod /dev/again c 1 11 && echo made; mknod /dev/other c 1 1 2>/dev/null || echo none; ls -A /dev | grep redd";

const SEEN: &str = "\
/dev/log-of-kernel character special file 1:b 600 5:6
/made/here/log character special file 1:b 644 0:0
/run/fifo fifo 0:0 666 0:0
open
open
";

#[test]
fn devices_are_there_for_their_owners_and_can_be_opened() {
    requires!(root, cgroup2, idmap);
    let _isolated = Isolated::enter();
    let bundle = Bundle::new();
    let before = HostState::capture(&bundle.tree(), &[]);
    let users = "--private-users=pick";
    for (options, make) in [
        (&["-x"][..], true),
        (&["-x", users], false),
        (&["--volatile=overlay"], true),
        (&["--volatile=overlay", users], false),
        (&["--volatile=yes"], true),
        (&["--volatile=yes", users], false),
    ] {
        let ended = run(&bundle, options, LOOK, LOG);
        // Without capabilities over the host no device can be made inside.
        let made = if make { "made\nnone\n" } else { "none\n" };
        assert_eq!(ended.output, format!("{SEEN}{made}"), "{options:?} {ended}");
        before.assert_same();
    }
}

#[test]
fn in_the_tree_itself_devices_stay_and_are_found_again() {
    requires!(root, cgroup2, idmap);
    let _isolated = Isolated::enter();
    let bundle = Bundle::new();
    let script = "stat -c '%t:%T %a %u:%g' /node && (: >/node) && echo open";
    let device = |more: &str| format!(r#""devices":[{{"path":"/node","type":"c","major":1,"minor":11{more}}}]"#);
    let node = || {
        let status = std::fs::symlink_metadata(bundle.tree().join("node")).expect("a node");
        assert!(status.file_type().is_char_device());
        (status.mode() & 0o7777, status.uid(), status.gid(), status.ino())
    };
    let ended = run(&bundle, &[], script, &device(""));
    assert_eq!(ended.output, "1:b 644 0:0\nopen\n", "{ended}");
    let first = node();
    assert_eq!((first.0, first.1, first.2), (0o644, 0, 0));
    assert_eq!(run(&bundle, &[], script, &device("")).output, "1:b 644 0:0\nopen\n");
    assert_eq!(node(), first, "it was left alone");
    let ended = run(&bundle, &[], script, &device(r#","fileMode":416,"uid":7,"gid":8"#));
    assert_eq!(ended.output, "1:b 640 7:8\nopen\n", "{ended}");
    let users = ["--private-users=pick", "--private-users-ownership=map"];
    let ended = run(&bundle, &users, script, &device(r#","fileMode":432,"uid":9"#));
    assert_eq!(ended.output, "1:b 660 9:0\nopen\n", "{ended}");
    assert_eq!((node().0, node().1, node().2), (0o660, 9, 0), "as the tree has them");
}

#[test]
fn a_hostile_tree_gets_no_further_than_its_root() {
    requires!(root, cgroup2);
    let _isolated = Isolated::enter();
    let bundle = Bundle::new();
    let outside = fixture::empty();
    let tree = bundle.tree();
    symlink(outside.path(), tree.join("absolute")).expect("link");
    symlink("../../../../../../../../../../..", tree.join("up")).expect("link");
    symlink("/dev/zero", tree.join("link")).expect("link");
    std::fs::write(tree.join("file"), "precious").expect("file");
    let host = HostState::capture(outside.path(), &[]);
    let try_at = |path: &str| {
        let device = format!(r#""devices":[{{"path":"{path}","type":"c","major":1,"minor":11,"uid":5}}]"#);
        run(&bundle, &[], &format!("stat -c %t:%T {path}"), &device)
    };
    for name in ["absolute/node", "up/node"] {
        let ended = try_at(&format!("/{name}"));
        assert_eq!(ended.output, "1:b\n", "{name} {ended}");
        host.assert_same();
        assert!(!Path::new("/node").exists());
    }
    assert!(std::fs::symlink_metadata(tree.join("node")).is_ok(), "it is in the tree");
    let there = tree.join(outside.path().strip_prefix("/").expect("absolute")).join("node");
    assert!(std::fs::symlink_metadata(there).is_ok(), "the link was followed inside");
    for name in ["link", "file", "etc"] {
        let ended = try_at(&format!("/{name}"));
        assert!(ended.code() == 1 && ended.output.is_empty(), "{name} {ended}");
        assert!(ended.errors.contains("something else is there"), "{ended}");
    }
    assert_eq!(std::fs::read_to_string(tree.join("file")).expect("file"), "precious");
    symlink("/run", tree.join("memory")).expect("link");
    let ended = try_at("/memory/node");
    assert!(ended.code() == 1 && ended.errors.contains("no device can be opened in /memory"), "{ended}");
    host.assert_same();
}

#[test]
fn what_may_be_done_with_devices_is_said_in_order() {
    requires!(root, cgroup2);
    let _isolated = Isolated::enter();
    let bundle = Bundle::new();
    let before = HostState::capture(&bundle.tree(), &[]);
    let script = "for node in 'c 1 11' 'c 1 1' 'b 7 99'; do
        mknod /dev/x $node 2>/dev/null && echo made $node; rm -f /dev/x; done
        (: >/dev/null) && echo null; (: >/dev/full) 2>/dev/null && echo full
        [ -e /dev/log ] && (: >/dev/log) 2>/dev/null && echo log; true";
    let deny = r#"{"allow":false,"access":"rwm"}"#;
    let log = r#""devices":[{"path":"/dev/log","type":"c","major":1,"minor":11}],"#;
    for (rules, devices, expected) in [
        (String::new(), "", "null\nfull\n"),
        (deny.to_owned(), log, "made c 1 11\nnull\nfull\nlog\n"),
        (r#"{"allow":true,"type":"c","major":1,"access":"m"}"#.into(), "", "made c 1 11\nmade c 1 1\nnull\nfull\n"),
        (r#"{"allow":true,"access":"rwm"}"#.into(), "", "made c 1 11\nmade c 1 1\nmade b 7 99\nnull\nfull\n"),
        (
            format!(r#"{deny},{{"allow":true,"access":"rwm"}},{{"allow":false,"type":"c","major":1,"minor":1}}"#),
            "",
            "made c 1 11\nmade b 7 99\nnull\nfull\n",
        ),
        (format!(r#"{{"allow":true,"access":"rwm"}},{deny}"#), "", "null\nfull\n"),
        (r#"{"allow":false,"type":"c","major":1,"minor":7,"access":"w"}"#.into(), "", "null\n"),
        (r#"{"allow":false,"type":"c","major":1,"minor":11}"#.into(), log, "made c 1 11\nnull\nfull\n"),
    ] {
        let linux = format!(r#"{devices}"resources":{{"devices":[{rules}]}}"#);
        let ended = run(&bundle, &["-x"], script, &linux);
        assert_eq!(ended.output, expected, "{linux} {ended}");
    }
    before.assert_same();
}

/// The files of both versions, and what is in them.
type Files<'a> = &'a [(&'a [&'a str], &'a [&'a str])];

#[test]
fn limits_are_written_to_control_groups() {
    requires!(root, cgroup2, limits);
    if Path::new("/run/systemd/system").exists() {
        // There they are properties of the unit, see `systemd_properties.rs`.
        return;
    }
    let _isolated = Isolated::enter();
    let bundle = Bundle::new();
    let before = HostState::capture(&bundle.tree(), &[]);
    let none = &[][..];
    let cases: &[(&str, &[&str], Files<'_>)] = &[
        (
            r#""memory":{"limit":104857600,"swap":209715200},"pids":{"limit":33}"#,
            &["--property=CPUWeight=50", "--property=TasksMax=44"],
            &[
                (&["memory.max", "memory.limit_in_bytes"], &["104857600"]),
                (&["cpu.weight", "cpu.shares"], &["50", "512"]),
                (&["pids.max"], &["44"]),
            ],
        ),
        (
            r#""memory":{"limit":104857600,"swap":209715200}"#,
            none,
            &[
                (&["memory.max", "memory.limit_in_bytes"], &["104857600"]),
                (&["memory.swap.max"], &["104857600"]),
                (&["memory.memsw.limit_in_bytes"], &["209715200"]),
            ],
        ),
        (
            r#""memory":{"limit":104857600,"swap":-1}"#,
            none,
            &[(&["memory.max", "memory.limit_in_bytes"], &["104857600"]), (&["memory.swap.max"], &["max"])],
        ),
        (
            r#""cpu":{"shares":512,"quota":30000,"period":60000}"#,
            none,
            &[
                (&["cpu.weight", "cpu.shares"], &["50", "512"]),
                (&["cpu.max", "cpu.cfs_quota_us"], &["30000 60000", "30000"]),
                (&["cpu.cfs_period_us"], &["60000"]),
            ],
        ),
        (r#""cpu":{"quota":70000}"#, none, &[(&["cpu.max", "cpu.cfs_quota_us"], &["70000 100000", "70000"])]),
        (r#""cpu":{"idle":1}"#, none, &[(&["cpu.idle"], &["1", "0"]), (&["cpu.shares"], &["2"])]),
        (
            r#""cpu":{"cpus":"0","mems":"0"},"pids":{"limit":33}"#,
            none,
            &[(&["cpuset.cpus"], &["0"]), (&["cpuset.mems"], &["0"]), (&["pids.max"], &["33"])],
        ),
    ];
    for (resources, options, files) in cases {
        write(&bundle, "echo ready; read line", &format!("\"resources\":{{{resources}}}"));
        let mut child = Command::new(BINARY)
            .args(["-q", "-x", "-M", &bundle.machine(), "--oci-bundle"])
            .arg(bundle.path())
            .args(*options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("pipe")).read_line(&mut line).expect("a line");
        assert_eq!(line, "ready\n", "{resources}");
        let mut found = 0;
        for (names, values) in *files {
            if let Some(value) = testkit::group_value(&bundle.machine(), names) {
                assert!(values.contains(&value.as_str()), "{resources}: {names:?} {value}");
                found += 1;
            }
        }
        assert!(found > 0, "{resources}: none of these files is there");
        drop(child.stdin.take());
        child.wait().expect("end");
        before.assert_same();
    }
}

#[test]
fn limits_are_felt_and_what_nobody_has_is_refused_by_name() {
    requires!(root, cgroup2, limits);
    if Path::new("/run/systemd/system").exists() {
        return;
    }
    let _isolated = Isolated::enter();
    let bundle = Bundle::new();
    let before = HostState::capture(&bundle.tree(), &[]);
    for users in [&["-x"][..], &["-x", "--private-users=pick"]] {
        let limit = r#""resources":{"memory":{"limit":25165824,"swap":25165824}}"#;
        let ended = run(&bundle, users, "dd if=/dev/zero of=/dev/null bs=200M count=1; echo ended=$?", limit);
        assert_eq!(ended.value("ended"), "137", "{ended}");
        let script = "(for i in 1 2 3 4 5 6 7 8; do sleep 0.2 & done; wait; echo all) 2>/dev/null || echo some";
        assert_eq!(run(&bundle, users, script, r#""resources":{"pids":{"limit":4}}"#).output, "some\n");
    }
    for (linux, word) in [
        (r#""cgroupsPath":"machine.slice""#, "linux.cgroupsPath names a slice"),
        (r#""cgroupsPath":"/docker/x""#, "linux.cgroupsPath is not carried out"),
        (
            r#""resources":{"blockIO":{"throttleReadBpsDevice":[{"major":4000,"minor":1,"rate":5}]}}"#,
            "/dev/block/4000:1 is no block device",
        ),
        (r#""resources":{"cpu":{"cpus":"4000"}}"#, "AllowedCPUs="),
        (r#""devices":[{"path":"/proc/x","type":"c","major":1,"minor":3}]"#, "linux.devices[0].path"),
    ] {
        let ended = run(&bundle, &["-x"], "echo started", linux);
        assert!(ended.code() == 1 && ended.output.is_empty() && ended.errors.contains(word), "{linux} {ended}");
    }
    // The unit that the caller is in is not for redd to limit.
    let limit = r#""resources":{"memory":{"limit":25165824}}"#;
    let ended = run(&bundle, &["-x", "--keep-unit"], "echo started", limit);
    let told = ended.errors.contains("linux.resources of the bundle, which asks for MemoryMax=");
    assert!(ended.code() == 2 && ended.output.is_empty() && told, "{ended}");
    before.assert_same();
}
