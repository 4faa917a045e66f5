//! A Debian in a Debian in a Debian: each but the innermost may do what a host may, and boots the next one with redd.

use std::path::Path;
use std::time::Duration;

use testkit::{HostState, Spawn, fixture, requires};

const REDD: &str = env!("CARGO_BIN_EXE_redd-spawn");

/// What makes a container one that runs containers: all capabilities, all system calls.
const HOST: [&str; 2] = ["--capability=all", "--private-network"];

/// What the default filter leaves out.
const CALLS: [&str; 10] =
    ["@mount", "@keyring", "@raw-io", "@module", "@reboot", "@swap", "@clock", "@obsolete", "@cpu-emulation", "bpf"];

/// Runs in each: the next one inside, then a word about how it went. The units that want the kernel's modules fail where
/// there are none, as they do on such a host.
const SCRIPT: &str = "exec >/dev/console 2>&1\n\
    code=0\n\
    if [ -n \"$NEXT\" ]; then /nested/redd-spawn -q -b -D /srv/tree --volatile=overlay --console=read-only $NEXT; code=$?; fi\n\
    echo \"LEVEL $LEVEL code $code $(systemctl --failed --plain --no-legend | grep -v -e modprobe@ -e systemd-modules-load | tr '\\n' ';')|\"\n\
    systemctl exit $((code + 1))\n";

fn unit(level: u32, next: &str) -> String {
    format!(
        "[Unit]\nAfter=multi-user.target\n[Service]\nType=oneshot\nTimeoutStartSec=infinity\nEnvironment=LEVEL={level}\n\
         Environment=\"NEXT={next}\"\nExecStart=/bin/sh /nested/script\n"
    )
}

/// The innermost one has the options `inner`; the exit codes count the levels.
fn three_levels(inner: &str) {
    let Some(tree) = fixture::debian_tree() else { return };
    let directory = tempfile::tempdir_in(fixture::place()).expect("directory");
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).expect("write");
    let bound = |level: u32| {
        format!(
            "--machine=level{level}-{} --bind-ro=/nested --bind-ro=/srv/tree \
             --bind-ro=/nested/unit{level}:/etc/systemd/system/nested.service systemd.wants=nested.service",
            std::process::id()
        )
    };
    let calls = CALLS.map(|call| format!("--system-call-filter={call}"));
    let host: Vec<String> = HOST.map(str::to_owned).into_iter().chain(calls).collect();
    write("script", SCRIPT);
    write("unit1", &unit(1, &format!("{} {}", host.join(" "), bound(2))));
    write("unit2", &unit(2, &format!("{inner} {}", bound(3))));
    write("unit3", &unit(3, ""));
    std::fs::copy(REDD, directory.path().join("redd-spawn")).expect("copy");
    let bind = |from: &Path, to: &str| format!("--bind-ro={}:{to}", from.display());
    let before = HostState::capture(&tree, &[]);
    let ended = Spawn::redd(REDD, &tree)
        .args(["-xb", "--console=read-only"])
        .args(&host)
        .args([bind(directory.path(), "/nested"), bind(&tree, "/srv/tree")])
        .arg(bind(&directory.path().join("unit1"), "/etc/systemd/system/nested.service"))
        .arg("systemd.wants=nested.service")
        .limit(Duration::from_secs(300))
        .run();
    for (level, code) in [(3, 0), (2, 1), (1, 2)] {
        let line = format!("LEVEL {level} code {code} |");
        assert!(ended.output.contains(&line), "no \"{line}\" in\n{ended}");
    }
    assert_eq!(ended.code(), 3, "{ended}");
    before.assert_same();
}

#[test]
fn debian_boots_in_debian_in_debian() {
    requires!(root, cgroup2, userns);
    three_levels("--private-network");
    three_levels("--private-network -U");
}
