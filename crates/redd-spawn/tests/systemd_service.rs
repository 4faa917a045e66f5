//! Containers as services of a real systemd: readiness, kept descriptors, signs of life, sockets. The host is a Debian that we
//! boot; a script in it looks at the units.

use std::path::Path;
use std::time::Duration;

use testkit::{HostState, Spawn, fixture, requires};

const REDD: &str = env!("CARGO_BIN_EXE_redd-spawn");
const SCRIPT: &str = include_str!("systemd_service/script.sh");
const START: &str = "[Unit]\nAfter=dbus.service\n[Service]\nType=oneshot\nExecStart=/bin/bash /work/script.sh\n";

#[test]
fn a_service_is_ready_keeps_descriptors_lives_and_answers() {
    requires!(root, cgroup2);
    let Some(tree) = fixture::debian_tree() else { return };
    let work = tempfile::tempdir_in(fixture::place()).expect("directory");
    for (name, text) in [("script.sh", SCRIPT), ("start.service", START)] {
        std::fs::write(work.path().join(name), text).expect("write");
    }
    std::fs::copy(REDD, work.path().join("redd-spawn")).expect("copy");
    std::fs::copy(testkit::PROBE, work.path().join("probe")).expect("copy");
    let bind = |from: &Path, to: &str| format!("--bind={}:{to}", from.display());
    let before = HostState::capture(&tree, &[]);
    let ended = Spawn::redd(REDD, &tree)
        .args(["-xb", "--capability=all", "--private-network", "--system-call-filter=bpf", "--console=read-only"])
        .arg(bind(work.path(), "/work"))
        .arg(bind(&work.path().join("start.service"), "/etc/systemd/system/start.service"))
        .arg(format!("--bind-ro={}:/srv/tree", tree.display()))
        .arg("systemd.wants=start.service")
        .limit(Duration::from_secs(180))
        .run();
    let log = std::fs::read_to_string(work.path().join("log")).unwrap_or_default();
    assert_eq!(ended.code(), 7, "{log}\n{ended}");
    before.assert_same();
    check(&log);
}

/// What the script has written between the headline of this name and the next one.
fn section<'a>(log: &'a str, name: &str) -> &'a str {
    let (_, rest) = log.split_once(&format!("== {name}\n")).unwrap_or_else(|| panic!("no {name} in:\n{log}"));
    rest.split("== ").next().unwrap_or(rest)
}

fn check(log: &str) {
    assert!(!log.contains("never:"), "{log}");
    let has = |name: &str, words: &[&str]| {
        let text = section(log, name);
        assert!(words.iter().all(|word| text.contains(word)), "{name} lacks one of {words:?}:\n{log}");
    };
    // Kept over the end of the unit, handed to the next container under its name, and kept again beside the new one.
    has("store", &["NFileDescriptorStore=1\n", "NFileDescriptorStore=2\n", "got  \n", "got 1 kept\n"]);
    assert_eq!(section(log, "store").matches("Result=success\n").count(), 2, "{log}");
    has("dog", &["code 0\n", "Result=success\n", "NRestarts=0\n", "ActiveState=active\n", "Result=watchdog\n"]);
    has("rebooter", &["ActiveState=active\n", "SubState=running\n", "same\n"]);
    assert_eq!(section(log, "rebooter").matches("code 0\n").count(), 2, "{log}");
    has("answer", &["call=true answered by 1\n", "Result=success\n", "got 1 1 door\n", "answer=Ok(())\n"]);
    has("state", &["code 0\n", "ActiveState=active\n", "StatusText=Container started.\n"]);
}
