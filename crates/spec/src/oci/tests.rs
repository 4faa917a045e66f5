mod limits;
mod merge;
mod own;

use std::path::Path;

use serde_json::{Value, json};

use super::{AccessTimes, BundleError, MountAttributes, MountChange, read};
use crate::command_line::with_bundle;
use crate::{
    BindSource, CapabilitySet, ConsoleMode, CustomMount, PrivateUsers, Resource, Rlimit, SpecPatch, StartMode,
};

/// As `runc spec` makes it, with fewer paths.
fn model() -> Value {
    json!({
        "ociVersion": "1.0.2-dev",
        "process": {
            "terminal": true,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/bin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {
                "bounding": ["CAP_AUDIT_WRITE", "CAP_KILL"],
                "effective": ["CAP_AUDIT_WRITE", "CAP_KILL"],
                "permitted": ["CAP_AUDIT_WRITE", "CAP_KILL"],
                "ambient": ["CAP_KILL"]
            },
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 512}],
            "noNewPrivileges": true
        },
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "runc",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
             "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]}
        ],
        "linux": {
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}],
            "maskedPaths": ["/proc/kcore"],
            "readonlyPaths": ["/proc/bus"]
        }
    })
}

fn parse(document: &Value) -> Result<SpecPatch, BundleError> {
    read(document.to_string().as_bytes(), Path::new("/srv/bundle"))
}

/// The model with one value in another place or in place of another, by a JSON pointer to an object's member.
fn with(pointer: &str, value: Value) -> Value {
    let mut document = model();
    let (object, name) = pointer.rsplit_once('/').expect("a pointer");
    document.pointer_mut(object).and_then(Value::as_object_mut).expect("an object").insert(name.to_owned(), value);
    document
}

#[test]
fn what_runc_makes_is_read() {
    let patch = parse(&model()).expect("a bundle");
    assert_eq!(patch.directory.as_deref(), Some(Path::new("/srv/bundle/rootfs")));
    assert_eq!((patch.read_only, patch.no_new_privileges, patch.console), (Some(true), Some(true), None));
    assert_eq!(patch.rlimits.unwrap()[&Resource::OpenFiles], Rlimit { soft: Some(512), hard: Some(1024) });
    assert_eq!((patch.private_network, patch.cgroup_namespace), (Some(true), Some(false)));
    assert_eq!(patch.private_users, Some(PrivateUsers::No));
    assert_eq!(patch.mounts, None, "all of them are there in every container");
    let extra = patch.bundle.unwrap();
    let texts = |paths: Vec<crate::AbsPath>| paths.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(texts(extra.read_only), ["/sys/fs/cgroup", "/proc/bus"]);
    assert_eq!(texts(extra.masked), ["/proc/kcore"]);
    assert_eq!(extra.program_sets.unwrap().inheritable, CapabilitySet::named("CAP_KILL").unwrap());
    let own: Vec<_> = extra.own_file_systems.iter().map(|own| (own.place.to_string(), &own.size, own.mode)).collect();
    let size = Some("65536k".to_owned());
    assert_eq!(own, [("/dev".to_owned(), &size, Some(0o755)), ("/dev/pts".to_owned(), &None, Some(0o620))]);
    let spec = with_bundle(SpecPatch::default(), parse(&model()).unwrap(), Path::new("/")).expect("options");
    let kept = CapabilitySet::named("CAP_AUDIT_WRITE").unwrap().union(CapabilitySet::named("CAP_KILL").unwrap());
    assert_eq!(spec.security().effective_capabilities(false, true), kept);
    assert_eq!(spec.exec().mode, StartMode::Pid1);
}

#[test]
fn the_command_line_comes_first() {
    let patch = SpecPatch { user: Some("root".into()), read_only: Some(false), ..SpecPatch::default() };
    let spec = with_bundle(patch, parse(&model()).unwrap(), Path::new("/")).expect("options");
    assert!(!spec.image().read_only);
    assert_eq!((spec.exec().user.as_deref(), &spec.bundle().user), (Some("root"), &None));
}

#[test]
fn mounts_of_the_host_and_new_file_systems() {
    let list = json!([
        {"destination": "/a", "type": "bind", "source": "data", "options": ["rbind", "rro", "nosuid", "rprivate"]},
        {"destination": "/b", "source": "/srv/b", "options": ["bind", "ro", "noatime"]},
        {"destination": "/c", "type": "tmpfs", "source": "tmpfs", "options": ["size=1m", "noexec", "strictatime"]},
        {"destination": "/d", "type": "ext4", "source": "/dev/x"},
        {"destination": "/e", "source": "/srv/e", "options": ["idmap", "rw", "rsuid", "relatime"]}
    ]);
    let patch = parse(&with("/mounts", list)).expect("a bundle");
    let shown: Vec<_> = patch
        .mounts
        .unwrap()
        .iter()
        .map(|mount| match mount {
            CustomMount::Bind { source: BindSource::Host(path), destination, read_only, recursive, ids } => {
                format!("{} {destination} {read_only} {recursive} {ids:?}", path.display())
            }
            CustomMount::FileSystem { kind, source, destination, options } => {
                format!("{kind} {source:?} {destination} {options:?}")
            }
            other => format!("{other:?}"),
        })
        .collect();
    let wanted = [
        "/srv/bundle/data /a false true Unmapped",
        "/srv/b /b false false Unmapped",
        "tmpfs Some(\"tmpfs\") /c [\"size=1m\"]",
        "ext4 Some(\"/dev/x\") /d []",
        "/srv/e /e false true Same",
    ];
    assert_eq!(shown, wanted);
    let none = MountAttributes::default();
    let change = |mount, recursive| MountChange { mount, recursive, ..MountChange::default() };
    assert_eq!(
        patch.bundle.unwrap().changes,
        [
            MountChange { set: MountAttributes { read_only: true, ..none }, private: true, ..change(0, true) },
            MountChange { set: MountAttributes { no_suid: true, ..none }, ..change(0, false) },
            MountChange {
                set: MountAttributes { read_only: true, ..none },
                access_times: Some(AccessTimes::Never),
                ..change(1, false)
            },
            MountChange {
                set: MountAttributes { no_exec: true, ..none },
                access_times: Some(AccessTimes::Strict),
                ..change(2, false)
            },
            change(3, false),
            MountChange { clear: MountAttributes { no_suid: true, ..none }, ..change(4, true) },
            MountChange {
                clear: MountAttributes { read_only: true, ..none },
                access_times: Some(AccessTimes::Relative),
                ..change(4, false)
            },
        ]
    );
}

#[test]
fn what_is_said_of_mounts_goes_with_them() {
    let list = json!([{"destination": "/a", "source": "/b", "options": ["nosuid"]}]);
    let bundle = || parse(&with("/mounts", list.clone())).unwrap();
    let spec = with_bundle(SpecPatch::default(), bundle(), Path::new("/")).unwrap();
    assert_eq!(spec.bundle().changes.len(), 1);
    let patch = SpecPatch { mounts: Some(Vec::new()), ..SpecPatch::default() };
    assert_eq!(with_bundle(patch, bundle(), Path::new("/")).unwrap().bundle().changes, []);
}

#[test]
fn a_network_of_the_host() {
    let list = |name: &str| {
        let usual = ["mount", "pid", "ipc", "uts"].map(|name| json!({"type": name}));
        let path = json!({"type": name, "path": "/run/netns/x"});
        Value::from(usual.into_iter().chain([path]).collect::<Vec<_>>())
    };
    let bundle = || parse(&with("/linux/namespaces", list("network"))).unwrap();
    let spec = with_bundle(SpecPatch::default(), bundle(), Path::new("/")).unwrap();
    assert_eq!(spec.bundle().network.as_deref(), Some(Path::new("/run/netns/x")));
    assert!(spec.network().private);
    let patch = SpecPatch { private_network: Some(true), ..SpecPatch::default() };
    assert_eq!(with_bundle(patch, bundle(), Path::new("/")).unwrap().bundle().network, None);
    let error = parse(&with("/linux/namespaces", list("cgroup"))).map(drop).unwrap_err().to_string();
    assert!(error.starts_with("linux.namespaces[4].path is not"), "{error}");
}

#[test]
fn sizes_and_limits() {
    let patch = parse(&with("/process/consoleSize", json!({"height": 10, "width": 20}))).unwrap();
    let size = patch.bundle.unwrap().console_size.unwrap();
    assert_eq!((size.rows, size.columns), (10, 20));
    let limits = json!([{"type": "RLIMIT_NOFILE", "soft": 1, "hard": -1}]);
    let patch = parse(&with("/process/rlimits", limits)).unwrap();
    assert_eq!(patch.rlimits.unwrap()[&Resource::OpenFiles], Rlimit { soft: Some(1), hard: None });
}

#[test]
fn without_a_terminal_it_has_our_streams() {
    for terminal in [json!(false), Value::Null] {
        assert_eq!(parse(&with("/process/terminal", terminal)).unwrap().console, Some(ConsoleMode::Pipe));
    }
}

#[test]
fn users_and_resources() {
    let mut document = with("/process/user", json!({"uid": 5, "gid": 6, "additionalGids": [7, 8], "umask": 63}));
    document["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    document["linux"]["uidMappings"] = json!([{"containerID": 0, "hostID": 655360, "size": 65536}]);
    document["linux"]["gidMappings"] = document["linux"]["uidMappings"].clone();
    document["linux"]["resources"] =
        json!({"memory": {"limit": 100_000_000, "reservation": -1}, "pids": {"limit": 50}, "cpu": {"cpus": "0-1"}});
    document["linux"]["sysctl"] = json!({"kernel.msgmax": "1234", "net.ipv4.ip_forward": "1"});
    let patch = parse(&document).expect("a bundle");
    assert!(matches!(patch.private_users, Some(PrivateUsers::Range(range)) if range.start() == 655_360));
    let extra = patch.bundle.unwrap();
    let user = extra.user.unwrap();
    assert_eq!((user.uid, user.gid, &user.groups[..], extra.umask), (5, 6, &[7, 8][..], Some(0o077)));
    let settings: Vec<_> = patch.properties.unwrap().iter().map(|property| property.setting).collect();
    assert_eq!(settings, ["MemoryMax", "MemoryLow", "TasksMax", "AllowedCPUs"]);
    let parameters: Vec<_> = extra.sysctls.iter().map(|(path, value)| format!("{path}={value}")).collect();
    assert_eq!(parameters, ["/proc/sys/kernel/msgmax=1234", "/proc/sys/net/ipv4/ip_forward=1"]);
}

#[test]
fn what_is_not_carried_out_is_refused_by_its_path() {
    let tmpfs = |options| json!([{"destination": "/x", "type": "tmpfs", "options": options}]);
    let bind = |options| json!([{"destination": "/x", "type": "bind", "source": "/y", "options": options}]);
    let cases = [
        ("/foo", json!(1), "foo "),
        ("/process/foo", json!(1), "process.foo "),
        ("/linux/foo", json!({}), "linux.foo "),
        ("/ociVersion", json!("2.0.0"), "ociVersion"),
        ("/ociVersion", json!("1.0"), "ociVersion"),
        ("/domainname", json!("x"), "domainname "),
        ("/hooks", json!({"prestart": [{"path": "/bin/true"}]}), "hooks.prestart "),
        ("/hooks", json!({"foo": []}), "hooks.foo "),
        ("/windows", json!({"x": 1}), "windows "),
        ("/annotations", json!({"a": 1}), "annotations[\"a\"]"),
        ("/root", json!({"readonly": true}), "root.path "),
        ("/root", json!({"path": ""}), "root.path"),
        ("/root", json!({"path": "x", "foo": 1}), "root.foo"),
        ("/hostname", json!("a_b"), "hostname"),
        ("/process/args", json!("sh"), "process.args"),
        ("/process/args", json!([""]), "process.args[0]"),
        ("/process/args", json!(["a", "b\u{0}c"]), "process.args[1]"),
        ("/process/env", json!(["A=1", "=x"]), "process.env[1]"),
        ("/process/env", json!(["A"]), "process.env[0]"),
        ("/process/cwd", json!("tmp"), "process.cwd"),
        ("/process/cwd", json!("/a/../b"), "process.cwd"),
        ("/process/user", json!({"uid": 1}), "process.user.gid is missing"),
        ("/process/user", json!({"uid": -1}), "process.user.uid"),
        ("/process/user", json!({"uid": 4_294_967_295u32}), "process.user.uid"),
        ("/process/user", json!({"uid": 0, "gid": 0, "additionalGids": [1, "x"]}), "process.user.additionalGids[1]"),
        ("/process/user", json!({"uid": 0, "gid": 0, "umask": 512}), "process.user.umask"),
        ("/process/user", json!({"uid": 0, "gid": 0, "username": "x"}), "process.user.username"),
        ("/process/consoleSize", json!({"height": 1}), "process.consoleSize.width is missing"),
        ("/process/consoleSize", json!({"height": 0, "width": 2}), "process.consoleSize.height"),
        ("/process/consoleSize", json!({"height": 1, "width": 65536}), "process.consoleSize.width"),
        ("/process/apparmorProfile", json!("x"), "process.apparmorProfile"),
        ("/process/scheduler", json!({"policy": "SCHED_IDLE"}), "process.scheduler"),
        ("/process/oomScoreAdj", json!(1001), "process.oomScoreAdj"),
        ("/process/noNewPrivileges", json!("yes"), "process.noNewPrivileges"),
        ("/process/capabilities/bounding", json!(["KILL"]), "process.capabilities.bounding[0]"),
        ("/process/capabilities/inheritable", json!(["CAP_BPF"]), "process.capabilities.inheritable[0]"),
        ("/process/capabilities/ambient", json!(["CAP_BPF"]), "process.capabilities.ambient[0]"),
        ("/process/rlimits", json!([{"type": "NOFILE", "soft": 1, "hard": 1}]), "process.rlimits[0].type"),
        ("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 1}]), "process.rlimits[0].hard"),
        ("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 2, "hard": 1}]), "process.rlimits[0].soft"),
        ("/mounts", json!([{"type": "tmpfs"}]), "mounts[0].destination"),
        ("/mounts", json!([{"destination": "x", "type": "tmpfs"}]), "mounts[0].destination"),
        ("/mounts", json!([{"destination": "/", "type": "tmpfs"}]), "mounts[0].destination"),
        ("/mounts", json!([{"destination": "/x", "type": "debugfs"}]), "mounts[0].type"),
        ("/mounts", json!([{"destination": "/x", "type": ""}]), "mounts[0].type"),
        ("/mounts", json!([{"destination": "/x", "type": "proc"}]), "mounts[0].type"),
        ("/mounts", json!([{"destination": "/proc", "type": "tmpfs"}]), "mounts[0].destination"),
        (
            "/mounts",
            json!([{"destination": "/proc", "type": "proc", "options": ["hidepid=2"]}]),
            "mounts[0].options[0]",
        ),
        ("/mounts", json!([{"destination": "/proc", "type": "proc", "options": ["ro"]}]), "mounts[0].options[0]"),
        ("/mounts", tmpfs(json!(["size=1,mode=2"])), "mounts[0].options[0]"),
        ("/mounts", bind(json!(["rbind", "shared"])), "mounts[0].options[1]"),
        ("/mounts", bind(json!(["bind", "sync"])), "mounts[0].options[1]"),
        ("/mounts", bind(json!(["remount"])), "mounts[0].options[0]"),
        ("/mounts", bind(json!(["runbindable"])), "mounts[0].options[0]"),
        ("/mounts", tmpfs(json!(["tmpcopyup"])), "mounts[0].options[0]"),
        ("/mounts", tmpfs(json!(["idmap"])), "mounts[0].options[0]"),
        ("/mounts", tmpfs(json!([""])), "mounts[0].options[0]"),
        ("/annotations", json!({"": "x"}), "annotations[\"\"]"),
        ("/mounts", json!([{"destination": "/x", "type": "bind"}]), "the source of the mount mounts[0].destination"),
        ("/linux/namespaces", json!([{"type": "pid"}]), "linux.namespaces"),
        ("/linux/namespaces", json!([]), "linux.namespaces: a container always has its own mount namespace"),
        ("/linux/namespaces", Value::Null, "linux.namespaces: a container always has its own mount namespace"),
        ("/linux", Value::Null, "linux.namespaces: a container always has its own mount namespace"),
        ("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_NOTIFY"}), "linux.seccomp.defaultAction"),
        ("/linux/intelRdt", json!({"closID": "x"}), "linux.intelRdt"),
        ("/linux/rootfsPropagation", json!("shared"), "linux.rootfsPropagation"),
        ("/linux/rootfsPropagation", json!("foo"), "linux.rootfsPropagation"),
        ("/linux/personality", json!({"domain": "LINUX16"}), "linux.personality.domain"),
        ("/linux/personality", json!({"domain": "LINUX", "flags": ["X"]}), "linux.personality.flags"),
        ("/linux/sysctl", json!({"vm.swappiness": "1"}), "linux.sysctl[\"vm.swappiness\"]"),
        ("/linux/sysctl", json!({"kernel.msgmax": 1}), "linux.sysctl[\"kernel.msgmax\"]"),
        ("/linux/sysctl", json!({"net./../x": "1"}), "linux.sysctl[\"net./../x\"]"),
        ("/linux/maskedPaths", json!(["proc"]), "linux.maskedPaths[0]"),
        ("/linux/readonlyPaths", json!(["/"]), "linux.readonlyPaths[0]"),
        ("/linux/uidMappings", json!([{"containerID": 0, "hostID": 1, "size": 1}]), "linux.uidMappings"),
        ("/linux/uidMappings", json!([{"containerID": 1, "hostID": 1, "size": 1}]), "linux.uidMappings[0].containerID"),
    ];
    for (pointer, value, start) in cases {
        let error = parse(&with(pointer, value.clone())).map(drop).expect_err(&format!("{pointer}={value}"));
        assert!(error.to_string().starts_with(start), "{pointer}={value}: {error}");
    }
}

#[test]
fn namespaces_that_exist_or_are_not_known() {
    let usual = ["mount", "pid", "ipc", "uts"].map(|name| json!({"type": name}));
    for (more, place) in [
        (json!({"type": "network", "path": "netns/x"}), "linux.namespaces[4].path"),
        (json!({"type": "time"}), "linux.namespaces[4].type"),
        (json!({"type": "mount"}), "linux.namespaces[4].type"),
        (json!({"type": "foo"}), "linux.namespaces[4].type"),
        (json!({}), "linux.namespaces[4].type"),
        (json!({"type": "user"}), "linux.uidMappings"),
    ] {
        let list: Vec<Value> = usual.iter().cloned().chain([more.clone()]).collect();
        let error = parse(&with("/linux/namespaces", list.into())).map(drop).expect_err(&more.to_string());
        assert!(error.to_string().starts_with(place), "{error}");
    }
}

#[test]
fn what_is_no_object_is_refused() {
    let twice = read(br#"{"ociVersion":"1.0.0","root":{"path":"a","path":"b"}}"#, Path::new("/"));
    assert!(matches!(twice, Err(BundleError::Json(text)) if text.contains("\"path\" is there twice")));
    for text in ["", "{", "[]", "null", "1", "{}", "{\"ociVersion\":\"1.0.0\"}", "\u{feff}{}"] {
        assert!(read(text.as_bytes(), Path::new("/")).is_err(), "{text}");
    }
}
