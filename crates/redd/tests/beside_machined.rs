//! On a host with systemd's own systemd-machined: redd as `machinectl` beside systemd's machinectl, on the same machines, and machines
//! of systemd-nspawn steered by redd. The oldest version that is compared with, and the newest.
//!
//! What differs on purpose is named in [`explained`] and in `docs/compatibility.md`.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::{Ended, HostState, ManagedHost, managed_host, requires};

const REDD: &str = env!("CARGO_BIN_EXE_redd");

/// Images, two machines of systemd-nspawn and two of ours.
const SETUP: &str = r#"
set -e
cd /var/lib/machines
mkdir -p alpha/usr/lib alpha/etc .hidden/usr empty
printf 'ID=tiny\nPRETTY_NAME="Tiny Tree"\n' > alpha/usr/lib/os-release
echo 0123456789abcdef0123456789abcdef > alpha/etc/machine-id
echo alphahost > alpha/etc/hostname
truncate -s 10M beta.raw && chmod 0444 beta.raw
truncate -s 3M gamma.raw
mkdir -p /work/signals
service() { unit=$1; shift; systemd-run -q --unit="$unit" -p Type=notify -p NotifyAccess=all "$@"; }
service up1 systemd-nspawn -qb -D /srv/tree --volatile=overlay -M up1 --network-veth
service our1 /work/bin/redd-spawn -qb -D /srv/tree --volatile=overlay -M our1 --private-network
loop='trap "echo usr1 > /signals/$0" USR1; while :; do sleep infinity & wait $!; done'
service up2 systemd-nspawn -q -D /srv/tree --volatile=yes --bind=/work/signals:/signals -M up2 sh -c "$loop" up2
service our2 /work/bin/redd-spawn -q -D /srv/tree --volatile=yes --bind=/work/signals:/signals -M our2 sh -c "$loop" our2
until [ "$(machinectl list --no-legend | wc -l)" = 4 ]; do sleep 0.1; done
leader=$(machinectl show -p Leader up1)
for address in 10.9.0.2 10.9.0.3; do nsenter -t ${leader#*=} -n ip addr add $address/24 dev host0; done
nsenter -t ${leader#*=} -n ip link set host0 up
until systemctl -M up1 is-system-running 2>/dev/null | grep -qE 'running|degraded'; do sleep 0.1; done
sleep 1
"#;

/// Runs both with each line of `/work/cases` as their arguments, and keeps what they write.
const BOTH: &str = r#"
mkdir -p /work/out
number=0
while IFS= read -r line; do
    eval "set -- $line"
    for program in /usr/bin/machinectl /work/bin/machinectl; do
        case $program in /usr/*) out=/work/out/$number.theirs ;; *) out=/work/out/$number.ours ;; esac
        $program "$@" >$out 2>$out.errors </dev/null
        echo $? >$out.code
    done
    number=$((number + 1))
done < /work/cases
"#;

/// What is printed by both, line by line.
const SAME: [&str; 62] = [
    "",
    "list",
    "list -a",
    "list -l",
    "list -q",
    "list --no-legend",
    "--no-legend list -a --max-addresses=all",
    "list --max-addresses=0",
    "list --max-addresses=2",
    "list --max-addresses=all",
    "list --max-addresses=x",
    "list -o cat",
    "list up1",
    "status up1",
    "status up1 -n0",
    "status up1 -l -n3",
    "status up1 up2 -n0",
    "status our1 -n0",
    "status our2 up2 -n0 --full",
    "status .host -n0",
    "status",
    "status nosuch",
    "status up1 nosuch -n0",
    "status ../x",
    "status ''",
    "show up1",
    "show up1 -p Name",
    "show up1 -p Id -p Name",
    "show up1 -p Name,Id",
    "show up1 -p Name --value",
    "show up1 -p Name -p Class --value",
    "show up1 -p NoSuch",
    "show up1 -p Timestamp -p TimestampMonotonic",
    "show up1 up2",
    "show up1 up2 -p Name",
    "show our1 our2",
    "show our2 -a",
    "show nosuch",
    "show ''",
    "show .host",
    "show -p Name .host",
    "show",
    "show -a",
    "list-images",
    "list-images -a",
    "list-images --no-legend",
    "list-images -l",
    "list-images -q",
    "image-status alpha",
    "image-status -q beta",
    "image-status alpha gamma -q",
    "image-status nosuch",
    "image-status alpha nosuch",
    "image-status .host",
    "image-status",
    "show-image alpha",
    "show-image beta -a",
    "show-image alpha beta",
    "show-image alpha -p Name --value",
    "show-image alpha nosuch gamma -p Name",
    "show-image",
    "show-image .host",
];

/// What both refuse with the same code, and with the name of what is wrong; the words are our own.
const REFUSED: [(&str, &str); 14] = [
    ("kill", "arguments"),
    ("kill nosuch", "nosuch"),
    ("kill up2 -s NOSUCH", "NOSUCH"),
    ("kill up2 --kill-whom=nobody", "nobody"),
    ("poweroff nosuch", "nosuch"),
    ("reboot nosuch", "nosuch"),
    ("terminate nosuch", "nosuch"),
    ("poweroff .host", "host"),
    ("reboot .host", "host"),
    ("terminate .host", "host"),
    ("kill .host", "host"),
    ("frobnicate", "frobnicate"),
    ("status --foo", "--foo"),
    ("show -p", "p"),
];

/// A version of systemd, by the suite that has it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    Old,
    New,
}

/// The lines of an output without what differs on purpose.
fn explained(version: Version, case: &str, text: &str) -> String {
    // What the bus has had since.
    const SINCE: [&str; 8] = [
        "LeaderPIDFDId",
        "Supervisor",
        "SupervisorPIDFDId",
        "Subgroup",
        "VSockCID",
        "SSHAddress",
        "SSHPrivateKeyPath",
        "UID",
    ];
    let mut lines = Vec::new();
    let mut of_ours = false;
    for line in text.lines() {
        let name = line.split_once('=').map_or("", |(name, _)| name);
        // The host's start is computed of two clocks that are not read at once.
        of_ours |= line == "Name=.host"
            || line == "Name=our1"
            || line == "Name=our2"
            || line.starts_with("our1(")
            || line.starts_with("our2(");
        let left_out = match name {
            // The original cannot print it.
            "NetworkInterfaces" => true,
            // Ours is of the machine's start, the original's of its registration.
            "Timestamp" | "TimestampMonotonic" => of_ours,
            name => version == Version::Old && SINCE.contains(&name),
        };
        let heading = line.trim_start();
        let left_out = left_out
            || heading.starts_with("hint: ")
            // It knows nothing of these, or took hidden images for writable.
            || version == Version::Old
                && (heading.starts_with("Superv.:") || heading.starts_with("Subgroup:") || heading.starts_with('.')
                    || case.contains(".host") && (heading.starts_with("RO:") || name == "ReadOnly")
                    || heading.starts_with("Limit:"))
            // Who looks is not the same.
            || case.contains("status .host") && (line.contains("machinectl status") || line.contains("both.sh"))
            || of_ours && heading.starts_with("Since:");
        if left_out {
            continue;
        }
        // The supervisor's group is shown, too, as it is no process of the machine.
        if version == Version::Old && of_ours && heading.starts_with("Unit:") {
            lines.push(line.to_owned());
            break;
        }
        // Some time passes between the two.
        let line = if line.ends_with(" ago") { line.split_once("; ").map_or(line, |(before, _)| before) } else { line };
        lines.push(line.trim_end().to_owned());
    }
    lines.join("\n")
}

struct Compared {
    code: [i32; 2],
    output: [String; 2],
    errors: [String; 2],
}

fn compare(host: &ManagedHost, cases: &[&str]) -> Vec<Compared> {
    std::fs::write(host.work().join("cases"), cases.iter().map(|case| format!("{case}\n")).collect::<String>())
        .expect("cases");
    std::fs::write(host.work().join("both.sh"), BOTH).expect("script");
    host.run("sh /work/both.sh").expect_code(0);
    let read = |index: usize, who: &str| {
        let path = host.work().join("out").join(format!("{index}.{who}"));
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let both = |index: usize, suffix: &str| ["theirs", "ours"].map(|who| read(index, &format!("{who}{suffix}")));
    let compared = |index| Compared {
        code: both(index, ".code").map(|code| code.trim().parse().expect("a number")),
        output: both(index, ""),
        errors: both(index, ".errors"),
    };
    (0..cases.len()).map(compared).collect()
}

fn beside(host: &ManagedHost, version: Version) {
    let mut differences = String::new();
    for (case, Compared { code, output, errors }) in SAME.iter().zip(compare(host, &SAME)) {
        let [theirs, ours] = output.each_ref().map(|text| explained(version, case, text));
        let [their_errors, our_errors] = errors.each_ref().map(|text| explained(version, case, text));
        if code[0] != code[1] || theirs != ours || their_errors != our_errors {
            let _ = writeln!(
                differences,
                "== machinectl {case}\n-- theirs ({})\n{theirs}\n{their_errors}\n-- ours ({})\n{ours}\n{our_errors}",
                code[0], code[1]
            );
        }
    }
    assert!(differences.is_empty(), "{differences}");
    let cases = REFUSED.map(|(case, _)| case);
    for ((case, word), Compared { code, output, errors }) in REFUSED.iter().zip(compare(host, &cases)) {
        assert_eq!(code, [1, 1], "{case}: {errors:?}");
        assert!(output[1].is_empty() && errors[1].contains(word), "{case}: {errors:?}");
    }
    json(host);
}

/// Tables in JSON are of the same words, all addresses of machines included.
fn json(host: &ManagedHost) {
    let cases =
        ["list -o json", "list -a -o json-pretty", "list -o json --max-addresses=1", "list -o json --max-addresses=0"];
    for (case, Compared { code, output, .. }) in cases.iter().zip(compare(host, &cases)) {
        let [theirs, ours] = output.each_ref().map(|text| serde_json::from_str::<Value>(text).expect("JSON"));
        assert_eq!((code, &theirs), ([0, 0], &ours), "{case}");
    }
    let rows = host.run("/work/bin/machinectl list --json=short").expect_code(0).output;
    let rows: Value = serde_json::from_str(&rows).expect("JSON");
    let up1 = rows.as_array().expect("rows").iter().find(|row| row["machine"] == "up1").expect("up1");
    assert!(up1["addresses"].as_str().expect("addresses").starts_with("10.9.0.2\n10.9.0.3"), "{up1}");
}

/// Machines of systemd-nspawn, and what systemd's machinectl sees of what is done to them.
fn steered(host: &ManagedHost) {
    let redd = |words: &str| host.run(&format!("/work/bin/redd {words}"));
    let value = |name: &str, property: &str| {
        let ended = host.run(&format!("/usr/bin/machinectl show {name} -p {property} --value"));
        ended.output.trim().to_owned()
    };
    let signalled = |name: &str| {
        let file = host.work().join("signals").join(name);
        until("the signal", || file.exists());
        std::fs::remove_file(file).expect("its file");
    };
    let ended = |name: &str| until("its end", || host.run(&format!("/usr/bin/machinectl show {name}")).code() == 1);

    assert_eq!(redd("exec our1 -- cat /proc/1/comm").expect_code(0).output, "systemd\n");
    // The kernel gives filters to nobody who has one, as all have in this host; `exec_others.rs` shows that it works elsewhere.
    assert!(
        redd("exec up1 -- true").expect_code(1).errors.contains("what confines the first process of the machine up1")
    );
    assert!(redd("ps up1").expect_code(0).output.contains("systemd-journald"));
    let usage = redd("stats --no-stream --json=short up1 up2").expect_code(0).output;
    assert!(usage.contains("\"up1\"") && usage.contains("\"up2\""), "{usage}");
    let tree = redd("cgls -M up1").expect_code(0).output;
    assert!(tree.contains("systemd-journald.service") && !tree.contains("systemd-nspawn"), "{tree}");

    for name in ["up2", "our2"] {
        redd(&format!("kill {name} --kill-whom=leader -s USR1")).expect_code(0);
        signalled(name);
        host.run(&format!("/work/bin/machinectl kill {name} --signal=SIGUSR1")).expect_code(0);
        signalled(name);
        redd(&format!("pause {name}")).expect_code(0);
        let frozen = |host: &ManagedHost| {
            let leader = value(name, "Leader");
            let group = host.run(&format!("cat /sys/fs/cgroup$(sed -n s/^0:://p /proc/{leader}/cgroup)/cgroup.events"));
            group.expect_code(0).output.contains("frozen 1")
        };
        assert!(frozen(host), "{name}");
        assert!(!value(name, "Leader").is_empty(), "it is still registered");
        redd(&format!("resume {name}")).expect_code(0);
        assert!(!frozen(host), "{name}");
    }
    // The supervisor of systemd-nspawn is told to end its container.
    for (name, verb) in [("up1", "reboot"), ("our1", "reboot")] {
        let before = value(name, "Leader");
        redd(&format!("{verb} {name}")).expect_code(0);
        until("another first process", || !["", &before].contains(&value(name, "Leader").as_str()));
    }
    redd("poweroff up1 our1").expect_code(0);
    ended("up1");
    ended("our1");
    let waiter = "/work/bin/redd wait up2 > /work/waited.new 2>&1; mv /work/waited.new /work/waited";
    host.run(&format!("systemd-run -q sh -c '{waiter}'; until [ -e /work/waited.new ]; do sleep 0.1; done; sleep 1"))
        .expect_code(0);
    let left = |host: &ManagedHost| host.run("/usr/bin/machinectl list --no-legend").expect_code(0).output;
    redd("terminate up2 our2").expect_code(0);
    ended("up2");
    ended("our2");
    assert_eq!(left(host), "");
    let waited = host.work().join("waited");
    until("the one who waits", || waited.exists());
    let waited = std::fs::read_to_string(waited).expect("its words");
    assert!(waited.contains("up2 has ended"), "{waited}");
    assert!(redd("terminate up2").expect_code(1).errors.contains("no machine named up2 is running"));
}

#[track_caller]
fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !reached() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn on_a_host(suite: &str, version: Version) {
    let Some(tree) = managed_host::tree(suite) else { return };
    let before = HostState::capture(&tree, &[]);
    let host = ManagedHost::boot(REDD, &tree, &tree);
    let setup: Ended = host.run(SETUP);
    assert_eq!(setup.code(), 0, "{setup}\n{}", host.run("journalctl -n 100 --no-pager").output);
    beside(&host, version);
    steered(&host);
    host.power_off();
    before.assert_same();
}

#[test]
#[ignore = "installs and boots a Debian that has systemd 252"]
fn machinectl_is_that_of_systemd_252() {
    requires!(root, cgroup2);
    on_a_host("bookworm", Version::Old);
}

#[test]
#[ignore = "installs and boots a Debian that has the newest systemd"]
fn machinectl_is_that_of_the_newest_systemd() {
    requires!(root, cgroup2);
    on_a_host("sid", Version::New);
}
