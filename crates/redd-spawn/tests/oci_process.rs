//! Capabilities of OCI bundles, with and without the command line's; and the bundles that other programs make.

mod oci_bundle;

use oci_bundle::Bundle;
use serde_json::{Value, json};
use testkit::{HostState, Isolated, requires};

/// The sets in the order of proc(5): inheritable, permitted, effective, bounding, ambient.
type Sets = [u64; 5];

const KILL: u64 = 1 << 5;
const CHOWN: u64 = 1;
const SYS_ADMIN: u64 = 1 << 21;
const SYS_TIME: u64 = 1 << 25;

/// With these capabilities; what more `process` says.
fn document(capabilities: Value, more: Value) -> String {
    let namespaces = ["mount", "pid", "ipc", "uts", "cgroup"].map(|name| json!({"type": name}));
    let mut document = json!({
        "ociVersion": "1.0.2",
        "root": {"path": "rootfs"},
        "process": {
            "cwd": "/",
            "env": ["PATH=/usr/bin:/bin"],
            "args": ["/bin/grep", "^Cap", "/proc/self/status"],
            "capabilities": capabilities
        },
        "linux": {"namespaces": namespaces}
    });
    let process = document["process"].as_object_mut().expect("an object");
    process.extend(more.as_object().expect("an object").clone());
    document.to_string()
}

fn seen(bundle: &Bundle, options: &[&str]) -> Sets {
    let ended = bundle.start(options);
    let lines = ended.output.lines().filter_map(|line| line.split_whitespace().nth(1));
    let sets: Vec<_> = lines.map(|set| u64::from_str_radix(set, 16).expect("a set")).collect();
    sets.try_into().unwrap_or_else(|_| panic!("{ended}"))
}

#[test]
fn the_program_has_the_sets_that_the_kernel_makes_of_the_bundles() {
    requires!(root, cgroup2, idmap);
    let _isolated = Isolated::enter();
    let bundle = Bundle::new();
    let all = json!(["CAP_KILL", "CAP_CHOWN", "CAP_SYS_ADMIN"]);
    let bounds = KILL | CHOWN | SYS_ADMIN;
    let closed = json!({"noNewPrivileges": true});
    let cases: [(Value, Value, Sets); 8] = [
        (json!({"bounding": all, "permitted": [], "effective": []}), closed.clone(), [0, 0, 0, bounds, 0]),
        (json!({"bounding": all, "permitted": ["CAP_KILL"]}), closed.clone(), [0, KILL, KILL, bounds, 0]),
        (
            json!({"bounding": all, "permitted": all, "effective": all, "inheritable": ["CAP_CHOWN"]}),
            closed.clone(),
            [CHOWN, bounds, bounds, bounds, 0],
        ),
        // Root's programs get all that is not ruled out.
        (json!({"bounding": all, "permitted": []}), json!({}), [0, bounds, bounds, bounds, 0]),
        (json!({}), json!({}), [0; 5]),
        (
            json!({"bounding": all, "permitted": all, "effective": all, "inheritable": ["CAP_KILL"]}),
            json!({"user": {"uid": 5, "gid": 5}}),
            [KILL, 0, 0, bounds, 0],
        ),
        (
            json!({"bounding": all, "permitted": ["CAP_KILL", "CAP_CHOWN"], "ambient": ["CAP_KILL"]}),
            json!({"user": {"uid": 5, "gid": 5}, "noNewPrivileges": true}),
            [KILL, KILL, KILL, bounds, KILL],
        ),
        (
            json!({"bounding": all, "permitted": ["CAP_KILL"], "ambient": ["CAP_KILL"]}),
            closed,
            [KILL, KILL, KILL, bounds, KILL],
        ),
    ];
    for (capabilities, more, expected) in cases {
        bundle.write(&document(capabilities.clone(), more.clone()));
        for options in [&["-x"][..], &["-x", "--private-users=pick"]] {
            assert_eq!(seen(&bundle, options), expected, "{capabilities} {more} {options:?}");
        }
    }
}

#[test]
fn the_command_line_adds_to_the_bundles_sets_and_takes_from_them() {
    requires!(root, cgroup2);
    let _isolated = Isolated::enter();
    let bundle = Bundle::new();
    let of = |names: Value| json!({"bounding": names, "permitted": names, "effective": names});
    let closed = json!({"noNewPrivileges": true});
    let (kill, both) = (json!(["CAP_KILL"]), json!(["CAP_KILL", "CAP_CHOWN"]));
    for (names, option, prepared) in [
        (json!([]), "--drop-capability=CAP_KILL", 0),
        (both.clone(), "--drop-capability=CAP_KILL", CHOWN),
        (both, "--drop-capability=all", 0),
        (kill.clone(), "--capability=CAP_SYS_TIME", KILL | SYS_TIME),
        (kill.clone(), "--private-network", KILL),
    ] {
        for more in [json!({}), closed.clone()] {
            bundle.write(&document(of(names.clone()), more.clone()));
            let expected = [0, prepared, prepared, prepared, 0];
            assert_eq!(seen(&bundle, &["-x", option]), expected, "{names} {option} {more}");
        }
    }
    let mut ambient = of(json!(["CAP_KILL", "CAP_CHOWN"]));
    ambient["ambient"] = kill;
    bundle.write(&document(ambient, json!({"user": {"uid": 5, "gid": 5}})));
    let both = KILL | CHOWN;
    assert_eq!(seen(&bundle, &["-x", "--ambient-capability=CAP_CHOWN"]), [both, both, both, both, both]);
    assert_eq!(seen(&bundle, &["-x", "--drop-capability=CAP_KILL"]), [0, 0, 0, CHOWN, 0]);
}

/// With the program that shows what is said of the file systems that every container has.
fn looking(document: &str) -> Value {
    let mut document: Value = serde_json::from_str(document).expect("JSON");
    let script = "grep -E '^[^ ]+ /(proc|dev|dev/pts|dev/shm|dev/mqueue|sys|sys/fs/cgroup) ' /proc/self/mounts | \
        cut -d' ' -f2,4 | sed 's/,relatime//; s/,nr_inodes=[0-9]*//'; stat -c %a /dev/shm";
    document["process"]["args"] = json!(["/bin/sh", "-c", script]);
    document
}

#[test]
fn bundles_of_other_programs_run_and_what_they_say_of_mounts_is_so() {
    requires!(root, cgroup2);
    let _isolated = Isolated::enter();
    let bundle = Bundle::new();
    let before = HostState::capture(&bundle.tree(), &[]);
    let runc = looking(include_str!("../../../fuzz/seeds/oci_config/runc_spec.json"));
    // They make the same but for this.
    let (mut crun, mut umoci) = (runc.clone(), runc.clone());
    crun["process"]["capabilities"]["inheritable"] = json!([]);
    umoci["process"]["capabilities"]["inheritable"] = umoci["process"]["capabilities"]["bounding"].clone();
    let podman = looking(include_str!("data/podman.json"));
    for (name, document) in [("runc", runc), ("crun", crun), ("umoci", umoci), ("podman", podman)] {
        bundle.write(&document.to_string());
        let ended = bundle.start(&[]);
        let is = |line: &str| ended.output.lines().any(|known| known == line);
        let podman = name == "podman";
        let dev = if podman { "rw,nosuid,noexec" } else { "rw,nosuid" };
        for line in [
            format!("/dev {dev},size=65536k,mode=755"),
            "/dev/pts rw,nosuid,noexec,gid=5,mode=620,ptmxmode=666".to_owned(),
            "/dev/mqueue rw,nosuid,nodev,noexec".to_owned(),
            "/sys/fs/cgroup ro,nosuid,nodev,noexec".to_owned(),
            "1777".to_owned(),
        ] {
            assert!(is(&line), "{name}: {line}\n{ended}");
        }
        assert!(ended.output.contains("/sys ro,nosuid,nodev,noexec"), "{name} {ended}");
        assert!(podman || is("/dev/shm rw,nosuid,nodev,noexec,size=65536k"), "{name} {ended}");
        before.assert_same();
    }
}
