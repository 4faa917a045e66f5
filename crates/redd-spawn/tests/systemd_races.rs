//! The same machine again and again on a host that systemd manages, with systemd-machined: what that and the service
//! manager still do for the last one must not reach the next one.

use std::path::Path;
use std::time::Duration;

use testkit::{HostState, PROBE, Spawn, fixture, requires};

const REDD: &str = env!("CARGO_BIN_EXE_redd-spawn");

const SCRIPT: &str = include_str!("systemd_races/script.sh");
const START: &str = "[Unit]\nAfter=dbus.service\n[Service]\nType=oneshot\nTimeoutStartSec=infinity\n\
    ExecStart=/bin/bash /work/script.sh\n";
const KEPT: &str = "[Unit]\nStartLimitIntervalSec=0\n[Service]\nDelegate=yes\nKillMode=mixed\nStandardInput=null\n\
    ExecStart=/work/redd-spawn -q --keep-unit --register=yes -D /srv/tree --volatile=overlay --console=pipe -M ";

/// Counts its starts, and asks for a reboot until there were enough.
const REBOOTS: &str = "n=$(ls /count | wc -l)\n: >/count/$n\n[ \"$n\" = 20 ] && exit 42\nexec /probe restart\n";

/// Runs all kinds of rounds, so many of the most usual one, and expects none to fail.
fn race(rounds: u32, limit: Duration) {
    requires!(root, cgroup2);
    let (Some(host), Some(tree)) = (fixture::debian_host(), fixture::debian_tree()) else { return };
    let work = tempfile::tempdir_in(fixture::place()).expect("directory");
    let write = |name: &str, text: &str| std::fs::write(work.path().join(name), text).expect("write");
    write("script.sh", SCRIPT);
    write("count.sh", REBOOTS);
    write("rounds", &format!("{rounds}\n"));
    write("start.service", START);
    write("kept.service", &format!("{KEPT}kept true\n").replace("[Service]\n", "[Service]\nType=oneshot\n"));
    write(
        "kept-long.service",
        &format!("{KEPT}kept-long sleep 300\n").replace("[Service]\n", "[Service]\nType=notify\n"),
    );
    std::fs::copy(REDD, work.path().join("redd-spawn")).expect("copy");
    std::fs::copy(PROBE, work.path().join("probe")).expect("copy");
    let bind = |from: &Path, to: &str| format!("--bind={}:{to}", from.display());
    let unit = |name: &str| bind(&work.path().join(name), &format!("/etc/systemd/system/{name}"));
    let before = HostState::capture(&host, &[]);
    let ended = Spawn::redd(REDD, &host)
        .args(["-xb", "--capability=all", "--private-network", "--system-call-filter=bpf", "--console=read-only"])
        .args([bind(work.path(), "/work"), unit("start.service"), unit("kept.service"), unit("kept-long.service")])
        .arg(format!("--bind-ro={}:/srv/tree", tree.display()))
        .arg("systemd.wants=start.service")
        .limit(limit)
        .run();
    let log = std::fs::read_to_string(work.path().join("log")).unwrap_or_default();
    assert_eq!(ended.code(), 7, "{log}\n{ended}");
    before.assert_same();
    let counts: Vec<_> = log.lines().filter_map(|line| line.split_once(" of ")?.0.split_once(": ")).collect();
    assert_eq!(counts.len(), 9, "{log}");
    assert!(counts.iter().all(|(_, failed)| *failed == "0"), "{log}");
    assert!(
        log.ends_with("kept-killed: 0 of COUNT\nleft 0 0\n".replace("COUNT", &(rounds / 20).to_string()).as_str()),
        "{log}"
    );
}

#[test]
fn the_same_name_again_at_once() {
    race(40, Duration::from_secs(200));
}

/// Some 15 minutes.
#[test]
#[ignore = "for the acceptance"]
fn the_same_name_thousands_of_times() {
    race(4000, Duration::from_secs(3600));
}
