//! `start`, `enable` and `disable` on a host that systemd manages, with our units: a Debian in a container that may do nearly
//! all that a host may. It boots twice.

mod background;

use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use background::{REDD, busybox};
use testkit::{HostState, Spawn, fixture, requires};

const SCRIPT: &str = include_str!("start_systemd/script.sh");
const START: &str = "[Unit]\nAfter=dbus.service\n[Service]\nType=oneshot\nExecStart=/bin/bash /work/script.sh\n";
const UNITS: [(&str, &str); 2] = [
    ("systemd-nspawn@.service", include_str!("../../../dist/systemd/systemd-nspawn@.service")),
    ("machines.target", include_str!("../../../dist/systemd/machines.target")),
];

/// What the script has written between the headline of this name and the next one.
fn section<'a>(log: &'a str, name: &str) -> &'a str {
    let (_, rest) = log.split_once(&format!("== {name}\n")).unwrap_or_else(|| panic!("no {name} in:\n{log}"));
    rest.split("== ").next().unwrap_or(rest)
}

#[test]
fn units_are_started_and_enabled_and_come_up_at_the_next_boot() {
    requires!(root, cgroup2, userns, idmap, program "busybox");
    let Some(tree) = fixture::debian_tree() else { return };
    let (inner, broken) = (busybox(), busybox());
    std::fs::remove_file(broken.join("sbin/init")).expect("link");
    let work = tempfile::tempdir_in(fixture::place()).expect("directory");
    let write = |name: &str, text: &str| std::fs::write(work.path().join(name), text).expect("write");
    std::fs::create_dir(work.path().join("bin")).expect("directory");
    std::fs::copy(REDD, work.path().join("bin/redd")).expect("copy");
    for name in ["redd-spawn", "machinectl"] {
        symlink("redd", work.path().join("bin").join(name)).expect("link");
    }
    write("script.sh", SCRIPT);
    write("start.service", START);
    let bind = |from: &Path, to: &str| format!("--bind={}:{to}", from.display());
    let unit = |name: &str| bind(&work.path().join(name), &format!("/usr/lib/systemd/system/{name}"));
    for (name, text) in UNITS {
        write(name, &text.replace("@bindir@", "/work/bin"));
    }
    let before = HostState::capture(&tree, &[]);
    let engine = work.path().join("bin/redd-spawn");
    let ended = Spawn::redd(engine.to_str().expect("a text"), &tree)
        .args(["-xb", "--capability=all", "--private-network", "--system-call-filter=bpf", "--console=read-only"])
        .args([bind(work.path(), "/work"), unit("start.service"), unit(UNITS[0].0), unit(UNITS[1].0)])
        .args([bind(inner.path(), "/var/lib/machines/inner"), bind(broken.path(), "/var/lib/machines/broken")])
        .arg("systemd.wants=start.service")
        .limit(Duration::from_secs(300))
        .run();
    let log = std::fs::read_to_string(work.path().join("log")).unwrap_or_default();
    assert_eq!(ended.code(), 7, "{log}\n{ended}");
    before.assert_same();
    check(&log);
}

fn check(log: &str) {
    let has = |name: &str, words: &[&str]| {
        let text = section(log, name);
        assert!(words.iter().all(|word| text.contains(word)), "{name} lacks one of {words:?}:\n{log}");
    };
    has(
        "start",
        &["code 0\nactive\n1\nSlice=machine.slice\n", "ControlGroup=/machine.slice/systemd-nspawn@inner.service\n"],
    );
    assert!(!section(log, "start").contains("         0          0 4294967295"), "users of its own:\n{log}");
    assert!(section(log, "start").ends_with("code 0\n"), "what runs is left alone:\n{log}");
    has("poweroff", &["code 0\n", "inactive\n", "Result=success\n"]);
    assert_eq!(section(log, "stop"), "code 0\ncode 0\nResult=success\n0\n", "{log}");
    has("missing", &["no machine named missing was found", "code 1\n"]);
    assert_eq!(section(log, "missing").matches("code 1\n").count(), 2, "{log}");
    has("broken", &["systemd-nspawn@broken.service could not be started: failed", "journalctl -xeu", "code 1\n"]);
    has("refused", &["--restart= has no effect where systemd manages the host", "--order= has no effect", "code 2\n"]);
    has("refused", &["systemd manages this host", "code 1\n"]);
    let links = "/usr/lib/systemd/system/systemd-nspawn@.service\n/usr/lib/systemd/system/machines.target\n";
    has(
        "enable",
        &["Created symlink /etc/systemd/system/machines.target.wants/systemd-nspawn@inner.service", "code 0\n"],
    );
    has("enable", &[links, "enabled\nenabled\n", "cannot access '/etc/redd'"]);
    has(
        "booted",
        &["active\n1\nRemoved \"/etc/systemd/system/machines.target.wants/systemd-nspawn@inner.service\".\n"],
    );
    has("booted", &["code 0\ninactive\n0\n", "disabled\n", "code 0\nactive\n1\n"]);
}
