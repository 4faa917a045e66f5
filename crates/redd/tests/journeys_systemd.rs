//! What people do with machines on a host that systemd manages, with redd in place of systemd-nspawn and systemd-machined: typed on
//! terminals of that host, through a reboot of it.

mod background;
#[allow(dead_code, reason = "each test takes what it needs")]
#[path = "clients/host.rs"]
mod host;
#[path = "journeys/person.rs"]
mod person;

use std::process::Command;
use std::time::{Duration, Instant};

use host::{Replaced, Version};
use person::{LIMIT, Person, log_in, plain};
use testkit::{HostState, Terminal, managed_host, requires, run_limited};

const REDD: &str = env!("CARGO_BIN_EXE_redd");

/// Its number, capabilities(7).
const CAP_SYS_CHROOT: u32 = 18;

/// A proc and a sysfs without anything on top, which a real host has at every boot; an editor; and a tree that a person has made.
const SETUP: &str = "set -e
cat >/etc/systemd/system/whole.service <<'UNIT'
[Unit]
Before=network.target machines.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'mkdir -p /tmp/proc /tmp/sys; mount -t proc proc /tmp/proc; mount -t sysfs sysfs /tmp/sys'
[Install]
WantedBy=multi-user.target
UNIT
systemctl enable -q whole.service
cp /work/box/bin/busybox /usr/local/bin/busybox
rm /var/lib/machines/box
mv /var/lib/machines/deb /root/MyContainer
mv /work/elsewhere/box /work/elsewhere/BoxElsewhere";

/// A person at a terminal of the host, who is root there. Nothing on the way takes `^]` for itself.
fn sit_down(on: &Replaced) -> Person {
    let mut command = Command::new(REDD);
    command.args(["exec", "-t", "-E", "TERM=vt220", "--chdir=/root", on.host.name(), "/bin/bash", "-l"]);
    Person::at(Terminal::start(&mut command), "host")
}

fn on_a_host(suite: &str, version: Version) {
    let Some(tree) = managed_host::tree(suite) else { return };
    let before = HostState::capture(&tree, &[]);
    let on = Replaced::boot(&tree, version);
    on.host.run(SETUP).expect_code(0);
    told_of_what_cannot_be_run(&on);
    boot_log_in_and_power_off(&on);
    see_and_steer(&on);
    start_at_boot(&on);
    change_how_it_runs(&on);
    control_groups(&on);
    terminate(&on);
    on.host.power_off();
    before.assert_same();
}

/// Older service managers do not tell before the session begins.
fn told_of_what_cannot_be_run(on: &Replaced) {
    let shell = |words: &[&str]| {
        let mut command = Command::new(REDD);
        command.args(["shell", "-q"]).args(words);
        run_limited(command, Vec::new(), LIMIT)
    };
    let ended = shell(&[on.host.name(), "/none"]).expect_code(127);
    assert!(ended.errors.contains("cannot run /none"), "{ended}");
    let ended = shell(&[&format!("nobody-here@{}", on.host.name())]).expect_code(1);
    assert!(ended.errors.contains("has no user nobody-here"), "{ended}");
    shell(&[on.host.name(), "/bin/sh", "-c", "exit 7"]).expect_code(7);
    assert_eq!(on.run("systemctl list-units --all --plain --no-legend 'container-shell@*'").output, "");
}

/// J5
fn boot_log_in_and_power_off(on: &Replaced) {
    let mut person = sit_down(on);
    person.begin("systemd-nspawn -bD ~/MyContainer");
    log_in(&mut person.terminal);
    person.begin("systemctl poweroff");
    let said = person.prompted();
    assert!(said.contains("MyContainer has powered off."), "{said}");
    person.says("echo \"code $?\"", &["code 0"]);
    person.leave();
}

/// J6 and J7
fn see_and_steer(on: &Replaced) {
    let (mut console, mut person) = (sit_down(on), sit_down(on));
    console.begin("systemd-nspawn -bD ~/MyContainer");
    console.terminal.expect("login: ", LIMIT);
    person.says("machinectl list", &["MACHINE", "MyContainer", "container", "debian", "1 machines listed."]);
    // It is longer than the screen: a pager shows it.
    person.begin("machinectl status MyContainer");
    let said = person.terminal.expect("lines 1-23", LIMIT);
    for word in ["Leader: ", "(systemd)", "Root: /root/MyContainer", "Unit: MyContainer.scope", "/systemd-journald"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    person.terminal.write("q");
    person.prompted();
    // Several at once. One leaves, another is there when the machine reboots.
    let (mut one, mut two) = (sit_down(on), sit_down(on));
    for person in [&mut one, &mut two] {
        person.begin("machinectl login MyContainer");
        person.terminal.expect("Press ^] three times within 1s", LIMIT);
        log_in(&mut person.terminal);
    }
    two.terminal.write("\x1d\x1d\x1d");
    assert!(two.prompted().contains("Connection to machine MyContainer terminated."));
    one.terminal.write_line("echo still e\"\"nd");
    one.terminal.expect("still end", LIMIT);
    person.says("machinectl reboot MyContainer", &[]);
    assert!(one.prompted().contains("Connection to machine MyContainer terminated."));
    console.terminal.expect("login: ", LIMIT);
    person.says("machinectl poweroff MyContainer", &[]);
    console.prompted();
    console.begin("systemd-nspawn -bD ~/MyContainer");
    console.terminal.expect("login: ", LIMIT);
    person.says("machinectl terminate MyContainer", &[]);
    let said = plain(&console.prompted());
    assert!(said.ends_with("systemd-nspawn: MyContainer was killed (signal 9).\r\n[host]% "), "{said}");
    person.says("machinectl list", &["No machines."]);
    for person in [console, person, one, two] {
        person.leave();
    }
}

/// J8
fn start_at_boot(on: &Replaced) {
    let mut person = sit_down(on);
    person.says("mv ~/MyContainer /var/lib/machines/", &[]);
    person.says("ln -s /work/elsewhere/BoxElsewhere /var/lib/machines/", &[]);
    person.says("machinectl list-images", &["MyContainer", "BoxElsewhere", "directory"]);
    person.says("systemctl enable systemd-nspawn@MyContainer", &["systemd-nspawn@MyContainer.service"]);
    person.says("machinectl enable BoxElsewhere", &["systemd-nspawn@BoxElsewhere.service"]);
    person.says("machinectl list", &["No machines."]);
    let since = on.run("systemctl show -p UserspaceTimestampMonotonic").expect_code(0).output;
    person.begin("systemctl reboot");
    person.terminal.wait(LIMIT);
    let up = format!(
        "test \"$(systemctl show -p UserspaceTimestampMonotonic)\" != {} && systemctl is-system-running | grep -qx running",
        since.trim()
    );
    await_boot(on, &up);
    on.until_up("MyContainer");
    let mut person = sit_down(on);
    person.says("machinectl list", &["MyContainer", "BoxElsewhere", "2 machines listed."]);
    person.says("systemctl --failed", &["0 loaded units listed."]);
    person.says("systemctl status --no-pager systemd-nspawn@MyContainer", &["enabled;", "active (running)"]);
    person.begin("machinectl login MyContainer");
    log_in(&mut person.terminal);
    person.terminal.write("\x1d\x1d\x1d");
    person.prompted();
    person.says("/usr/bin/machinectl disable BoxElsewhere", &["Removed"]);
    person.says("machinectl poweroff BoxElsewhere", &[]);
    person.leave();
}

/// Waits until this is true of a host in which nothing can be run for a while.
#[track_caller]
fn await_boot(on: &Replaced, command: &str) {
    let end = Instant::now() + LIMIT;
    loop {
        let ended = on.host.run_within(command, Duration::from_secs(10));
        if ended.status.is_some_and(|status| status.success()) {
            return;
        }
        assert!(Instant::now() < end, "it does not come up: {ended}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// J9
fn change_how_it_runs(on: &Replaced) {
    let mut person = sit_down(on);
    let network = on.run("readlink /proc/1/ns/net").expect_code(0).output;
    let drops = |person: &mut Person| {
        let said = person.says("machinectl shell -q MyContainer /bin/grep CapBnd /proc/1/status", &["CapBnd:"]);
        let digits = said.split("CapBnd:").nth(1).and_then(|rest| rest.split_whitespace().next());
        let set = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok()).expect("capabilities");
        set & 1 << CAP_SYS_CHROOT == 0
    };
    let of_network = "machinectl shell -q MyContainer /bin/readlink /proc/1/ns/net";
    assert!(!drops(&mut person) && !person.says(of_network, &["net:["]).contains(network.trim()));
    let lines = ["[Exec]", "DropCapability=CAP_SYS_CHROOT", "Nonsense=1", "[Network]", "Private=no"];
    let said = person.write_in_vi("EDITOR='busybox vi' machinectl edit MyContainer", &lines);
    assert!(said.contains("/etc/systemd/nspawn/MyContainer.nspawn:3: "), "{said}");
    person.says("machinectl cat MyContainer", &["# /etc/systemd/nspawn/MyContainer.nspawn", "DropCapability="]);
    assert!(!drops(&mut person), "it is for the next start");
    person.says("systemctl restart systemd-nspawn@MyContainer", &[]);
    on.until_up("MyContainer");
    assert!(drops(&mut person));
    person.says(of_network, &[network.trim()]);
    person.leave();
}

/// J10
fn control_groups(on: &Replaced) {
    let mut person = sit_down(on);
    for command in ["systemd-cgls --no-pager", "redd cgls --no-pager", "/usr/bin/systemd-cgls --no-pager"] {
        person.says(command, &["machine.slice", "systemd-nspawn@MyContainer.service", "payload", "init.scope"]);
    }
    person.says("systemd-cgls -M MyContainer --no-pager", &["payload", "systemd-journald.service"]);
    person.leave();
}

/// J6 again, where a unit runs it.
fn terminate(on: &Replaced) {
    let mut person = sit_down(on);
    person.says("mkdir -p /etc/systemd/system/systemd-nspawn@.service.d", &[]);
    let dropin = "/etc/systemd/system/systemd-nspawn@.service.d/restart.conf";
    person.says(&format!("printf '[Service]\\nRestart=on-failure\\nRestartSec=1s\\n' >{dropin}"), &[]);
    person.says("systemctl daemon-reload", &[]);
    person.says("machinectl terminate MyContainer", &[]);
    person.says("sleep 3; machinectl list", &["No machines."]);
    person.says(
        "systemctl show -p ActiveState,Result,NRestarts systemd-nspawn@MyContainer",
        &["ActiveState=inactive", "Result=success", "NRestarts=0"],
    );
    person.leave();
}

#[test]
#[ignore = "installs and boots a Debian that has systemd 252"]
fn what_people_do_on_a_host_with_systemd_252() {
    requires!(root, cgroup2, userns, idmap, program "busybox");
    on_a_host("bookworm", Version::Old);
}

#[test]
#[ignore = "installs and boots a Debian that has the newest systemd"]
fn what_people_do_on_a_host_with_the_newest_systemd() {
    requires!(root, cgroup2, userns, idmap, program "busybox");
    on_a_host("sid", Version::New);
}
