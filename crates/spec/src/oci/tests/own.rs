//! What is said of the file systems that every container has.

use serde_json::{Value, json};

use super::{parse, with};
use crate::oci::{AccessTimes, BundleSpec, MountAttributes};

/// A mount of that type there with these options, as the only one.
fn said(place: &str, kind: &str, options: &Value) -> Result<BundleSpec, String> {
    let mounts = json!([{"destination": place, "type": kind, "source": "x", "options": options}]);
    parse(&with("/mounts", mounts)).map(|patch| patch.bundle.unwrap()).map_err(|error| error.to_string())
}

#[test]
fn what_can_be_made_so_is_carried_out() {
    for place in ["/dev/shm", "/run"] {
        let options = json!(["nosuid", "noexec", "nodev", "nosymfollow", "relatime", "mode=0700", "size=64k", "rw"]);
        let bundle = said(place, "tmpfs", &options).unwrap();
        let own = bundle.said_of(place).unwrap();
        assert_eq!((own.size.as_deref(), own.mode), (Some("64k"), Some(0o700)));
        let set = MountAttributes { no_exec: true, no_symfollow: true, ..MountAttributes::default() };
        assert_eq!((own.set, own.access_times), (set, Some(AccessTimes::Relative)));
    }
    let bundle = said("/dev", "tmpfs", &json!(["noexec", "exec", "size=5%", "size=1G"])).unwrap();
    let own = bundle.said_of("/dev").unwrap();
    assert_eq!((own.set, own.size.as_deref()), (MountAttributes::default(), Some("1G")), "the last word counts");
    assert_eq!(
        said("/dev/pts", "devpts", &json!(["mode=620"])).unwrap().said_of("/dev/pts").unwrap().mode,
        Some(0o620)
    );
    let read_only = |options| said("/sys/fs/cgroup", "cgroup2", &options).unwrap().read_only.len() - 1;
    assert_eq!((read_only(json!(["ro"])), read_only(json!(["ro", "rw"])), read_only(json!([]))), (1, 0, 0));
}

#[test]
fn of_two_the_later_one_counts() {
    let mount = |options| json!({"destination": "/dev/shm", "type": "tmpfs", "options": options});
    let patch = parse(&with("/mounts", json!([mount(["size=1m", "noexec"]), mount(["mode=700", "nodev"])]))).unwrap();
    let bundle = patch.bundle.unwrap();
    let own = bundle.said_of("/dev/shm").unwrap();
    assert_eq!((bundle.own_file_systems.len(), &own.size, own.mode), (1, &None, Some(0o700)));
    assert_eq!(own.set, MountAttributes::default());
}

#[test]
fn what_is_so_is_taken_and_what_is_not_is_refused() {
    let api = json!(["nosuid", "noexec", "nodev", "relatime", "rprivate", "defaults"]);
    for (place, kind) in [("/proc", "proc"), ("/dev/mqueue", "mqueue"), ("/sys/fs/cgroup", "cgroup"), ("/sys", "sysfs")]
    {
        said(place, kind, &api).unwrap();
    }
    said("/sys", "sysfs", &json!(["ro"])).unwrap();
    said("/dev/pts", "devpts", &json!(["nosuid", "noexec", "newinstance", "ptmxmode=666", "gid=5"])).unwrap();
    for (place, kind, refused) in [
        ("/proc", "proc", &["ro", "exec", "suid", "dev", "strictatime", "noatime", "mode=755", "size=1m", "gid=5"][..]),
        ("/proc", "proc", &["newinstance", "hidepid=2", "nosymfollow", "nodiratime", "private=", ""]),
        ("/dev", "tmpfs", &["nodev", "suid", "ro", "nosymfollow", "gid=5", "newinstance", "nr_inodes=5", "uid=1"]),
        (
            "/dev",
            "tmpfs",
            &["mode=8", "mode=", "mode=+7", "mode=17777", "size", "size=", "size=k", "size=-1", "size=1kk"],
        ),
        ("/dev/pts", "devpts", &["nodev", "exec", "suid", "strictatime", "gid=6", "ptmxmode=600", "size=1m", "max=5"]),
        ("/dev/shm", "tmpfs", &["ro", "suid", "dev", "gid=5", "tmpcopyup", "shared", "size=1m,mode=7"]),
        ("/run", "tmpfs", &["ro", "suid", "dev", "ptmxmode=666", "rnoexec"]),
        ("/sys", "sysfs", &["rw", "exec", "suid", "dev", "mode=755", "size=1m"]),
        ("/sys/fs/cgroup", "cgroup", &["exec", "noatime", "nsdelegate", "size=1m", "rro"]),
        ("/dev/mqueue", "mqueue", &["ro", "exec", "mode=1777"]),
    ] {
        for option in refused {
            let error =
                said(place, kind, &json!(["nosuid", option])).map(drop).expect_err(&format!("{place} {option}"));
            assert!(error.starts_with("mounts[0].options[1]"), "{place} {option}: {error}");
        }
    }
}
