//! On a host that systemd manages. Where there is none, we boot one: a Debian in a container that may do nearly all
//! that a host may. In it the engine runs a container of its own, and a script looks at the units.

use std::path::Path;
use std::time::Duration;

use testkit::{HostState, Spawn, fixture, requires};

const REDD: &str = env!("CARGO_BIN_EXE_redd-spawn");

const SCRIPT: &str = include_str!("systemd_host/script.sh");
const START: &str = "[Unit]\nAfter=dbus.service\n[Service]\nType=oneshot\nExecStart=/bin/bash /work/script.sh\n";
/// As the service of systemd's own for containers is, as far as it matters here.
const KEEP: &str = "[Service]\nType=notify\nDelegate=yes\nKillMode=mixed\nStandardInput=null\nTimeoutStopSec=30\n\
    ExecStart=/work/redd-spawn -q --keep-unit -b -D /srv/tree --volatile=overlay -M kept --console=read-only --private-network\n";

/// What the script has written between the headline of this name and the next one.
fn section<'a>(log: &'a str, name: &str) -> &'a str {
    let (_, rest) = log.split_once(&format!("== {name}\n")).unwrap_or_else(|| panic!("no {name} in:\n{log}"));
    rest.split("== ").next().unwrap_or(rest)
}

#[test]
fn machines_are_in_scopes_or_in_the_units_that_they_are_started_in() {
    requires!(root, cgroup2);
    let Some(tree) = fixture::debian_tree() else { return };
    let work = tempfile::tempdir_in(fixture::place()).expect("directory");
    let write = |name: &str, text: &str| std::fs::write(work.path().join(name), text).expect("write");
    write("script.sh", SCRIPT);
    write("start.service", START);
    write("keep.service", KEEP);
    write("keep-sub.service", &KEEP.replace("Delegate=yes", "Delegate=yes\nDelegateSubgroup=supervisor"));
    std::fs::copy(REDD, work.path().join("redd-spawn")).expect("copy");
    let bind = |from: &Path, to: &str| format!("--bind={}:{to}", from.display());
    let unit = |name: &str| bind(&work.path().join(name), &format!("/etc/systemd/system/{name}"));
    let before = HostState::capture(&tree, &[]);
    let ended = Spawn::redd(REDD, &tree)
        .args(["-xb", "--capability=all", "--private-network", "--system-call-filter=bpf", "--console=read-only"])
        .args([bind(work.path(), "/work"), unit("start.service"), unit("keep.service"), unit("keep-sub.service")])
        .arg(format!("--bind-ro={}:/srv/tree", tree.display()))
        .arg("systemd.wants=start.service")
        .limit(Duration::from_secs(240))
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
    has("command", &["0::/\n", "code 3\n"]);
    has("again", &["0 0 0 0\n"]);
    has("users", &["0::/own\n", "code 0\n"]);
    let scope = "/machine.slice/my-name.x.scope";
    has(
        "scope",
        &["Delegate=yes", "Slice=machine.slice", "Description=Container my-name.x", "CollectMode=inactive-or-failed"],
    );
    has("scope", &[&format!("ControlGroup={scope}\n"), &format!("supervisor 0::{scope}/supervisor\n")]);
    has("scope", &[&format!("payload 0::{scope}/payload")]);
    has("killed", &["left 0\n", "again 0\n"]);
    has("foreign", &["the unit foreign.scope exists already: a machine of this name is running", "code 1\n"]);
    has("bus", &["code 0\n"]);
    // Stopping the unit powers the system off, as its own request would.
    has("stopped", &["code 0\n", "left 0\n"]);
    for unit in ["keep", "keep-sub"] {
        has(unit, &["active\n", "Result=success\n"]);
        has(unit, &[&format!("supervisor 0::/system.slice/{unit}.service/supervisor\n")]);
        has(unit, &[&format!("payload 0::/system.slice/{unit}.service/payload")]);
    }
    has("plain", &["code 0\n"]);
    assert_eq!(section(log, "left"), "", "{log}");
}
