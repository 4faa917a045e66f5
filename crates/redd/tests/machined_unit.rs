//! `systemd-machined` as the unit that is shipped, on a host that systemd manages: what it opens in machines is confined as machines
//! are, not as the service is, and stays when that is started again; what it opens on the host is the host's service manager's.

use testkit::{HostState, ManagedHost, fixture, managed_host, requires};

const REDD: &str = env!("CARGO_BIN_EXE_redd");
const UNITS: [(&str, &str); 2] = [
    ("systemd-machined.service", include_str!("../../../dist/systemd/systemd-machined.service")),
    ("systemd-machined.socket", include_str!("../../../dist/systemd/systemd-machined.socket")),
];

/// Installs the units, and runs a machine.
const SETUP: &str = "set -e
cp /work/units/* /etc/systemd/system/
systemctl daemon-reload
systemctl restart systemd-machined.socket systemd-machined.service
cp -a /srv/tree /work/inner
systemd-run -q -p Type=exec /work/bin/redd spawn -q --pipe -M inner -D /work/inner -- /bin/sh -c 'while :; do sleep 1; done'
until /work/bin/redd list --no-legend | grep -q '^inner '; do sleep 0.1; done";

/// Calls a method of the manager's, and hangs up at once.
const CALL: &str = "call() {
    busctl call -- org.freedesktop.machine1 /org/freedesktop/machine1 org.freedesktop.machine1.Manager \"$@\"
}";

/// What a process may do.
const STANDING: &str = "grep -E '^(CapBnd|CapEff|NoNewPrivs|Seccomp|Seccomp_filters):' /proc/self/status";

fn called(host: &ManagedHost, script: &str) -> String {
    host.run(&format!("{CALL}\n{script}")).expect_code(0).output
}

#[test]
#[ignore = "installs and boots a Debian that is a host"]
fn what_the_unit_opens_is_not_confined_as_the_unit() {
    requires!(root, cgroup2);
    let Some(tree) = managed_host::tree("bookworm") else { return };
    let before = HostState::capture(&tree, &[]);
    let inner = fixture::tree();
    let host = ManagedHost::boot(REDD, &tree, inner.path());
    let units = host.work().join("units");
    std::fs::create_dir(&units).expect("directory");
    for (name, text) in UNITS {
        std::fs::write(units.join(name), text.replace("@bindir@", "/work/bin")).expect("unit");
    }
    host.run(SETUP).expect_code(0);
    assert!(host.run("systemctl show -p BusName systemd-machined").output.contains("org.freedesktop.machine1"));
    in_the_machine(&host);
    on_the_host(&host);
    machines_get_units(&host);
    host.run("/work/bin/redd terminate inner").expect_code(0);
    host.power_off();
    before.assert_same();
}

fn in_the_machine(host: &ManagedHost) {
    let open = |script: &str| {
        format!("call OpenMachineShell sssasas inner '' /bin/sh 4 sh -c 'trap \"\" HUP; eval \"$0\"' \"{script}\" 0")
    };
    let wait = "until [ -e /work/inner/root/done ]; do sleep 0.1; done; cat /work/inner/root/standing";
    let standing = open(&format!("{STANDING} >/root/standing; : >/root/done; exec sleep 600"));
    let by_service = called(host, &format!("{standing} && {wait}"));
    let by_service = by_service.split_once('\n').expect("the answer of busctl").1.to_owned();
    let by_exec = host.run(&format!("/work/bin/redd exec inner -- /bin/sh -c \"{STANDING}\"")).expect_code(0).output;
    assert!(by_exec.contains("NoNewPrivs:\t0"), "{by_exec}");
    assert_eq!(by_service, by_exec);
    let errands = "systemctl list-units --plain --no-legend 'redd-errand-*'";
    assert_eq!(host.run(errands).output.lines().count(), 1);
    // It goes on when the service is started again, and its unit goes with it.
    let sleeps = "/work/bin/redd exec inner -- /bin/sh -c 'ps ax | grep -c \"[s]leep 600\"'";
    assert_eq!(host.run(&format!("systemctl restart systemd-machined && {sleeps}")).expect_code(0).output.trim(), "1");
    host.run("pkill -x -f 'sleep 600'").expect_code(0);
    host.run(&format!("until [ -z \"$({errands} --all)\" ]; do sleep 0.1; done")).expect_code(0);
    let refused = host.run(&format!("{CALL}\ncall OpenMachineShell sssasas inner nobody-here '' 0 0"));
    assert!(refused.code() != 0 && refused.errors.contains("nobody-here"), "{refused}");
    assert_eq!(host.run(&format!("{errands} --all; ls /run/redd/errands")).output, "");
}

fn on_the_host(host: &ManagedHost) {
    let say = "(cat /proc/self/cgroup; tty) >/work/said; : >/work/done";
    let script = format!("call OpenMachineShell sssasas .host '' /bin/sh 3 sh -c 'trap \"\" HUP; {say}' 0");
    // Who has called hangs up at once, which may be before the signal for that is ignored.
    let said = called(host, &format!("until [ -e /work/done ]; do {script} && sleep 1; done; cat /work/said"));
    assert!(said.contains("/user.slice/user-0.slice/session-") && said.contains("/dev/pts/"), "{said}");
    called(host, "call OpenMachineLogin s .host && call OpenMachinePTY s .host");
    // What is left of the login is forgotten.
    let left = "[ -z \"$(systemctl list-units --all --plain --no-legend 'container-*@*')\" ]";
    host.run(&format!("for _ in $(seq 100); do {left} && exit 0; sleep 0.2; done; exit 1")).expect_code(0);
}

/// `CreateMachine`, `CreateMachineWithNetwork` and `CreateMachineEx`: the leader is moved to a scope of its own, with the
/// properties that are asked for.
fn machines_get_units(host: &ManagedHost) {
    const BEGIN: &str = "setsid sleep 700 >/dev/null 2>&1 & pid=$!";
    const LOOK: &str = "unit=$(/work/bin/redd show made -p Unit --value)
        [ \"$unit\" = machine-made.scope ] || { /work/bin/redd show made; cat /proc/$pid/cgroup; exit 1; }
        [ $(systemctl show -p MemoryMax --value $unit) = 104857600 ]
        grep -q $unit /proc/$pid/cgroup
        /work/bin/redd terminate made
        until ! systemctl is-active -q $unit; do sleep 0.1; done; ! kill -0 $pid 2>/dev/null";
    let property = "1 MemoryMax t 104857600";
    for create in [
        format!("call CreateMachine 'sayssusa(sv)' made 0 test container $pid '' {property}"),
        format!("call CreateMachineWithNetwork 'sayssusaia(sv)' made 0 test container $pid '' 1 1 {property}"),
        format!(
            "call RegisterMachine sayssus made 0 test container $pid ''
            object=/org/freedesktop/machine1/machine/made
            id=$(busctl get-property org.freedesktop.machine1 $object org.freedesktop.machine1.Machine LeaderPIDFDId)
            call UnregisterMachine s made
            call CreateMachineEx 'sa(sv)a(sv)' made 4 Class s container Service s test LeaderPID u $pid LeaderPIDFDID $id {property}"
        ),
    ] {
        called(host, &format!("set -e; {BEGIN}; {create}; {LOOK}"));
        // One that nobody can have: it is told, and nothing is registered.
        let wrong = create.replace("MemoryMax t 104857600", "MemoryMax s much");
        let refused = host.run(&format!("{CALL}\n{BEGIN}; {wrong} || code=1; kill $pid; exit ${{code:-0}}"));
        assert_eq!(refused.code(), 1, "{refused}");
        assert!(!host.run("/work/bin/redd list").expect_code(0).output.contains("made"), "{refused}");
    }
}
