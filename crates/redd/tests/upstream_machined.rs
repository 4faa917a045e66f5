//! redd as `machinectl` on a host with upstream's systemd-machined and systemd-nspawn: machines that the one has started and the
//! other knows. What it prints is compared in `beside_machined.rs`; here it is about what it does. The oldest version of systemd that
//! is compared with, and the newest.

mod background;

use std::time::{Duration, Instant};

use testkit::{Ended, HostState, ManagedHost, fixture, managed_host, requires};

const REDD: &str = env!("CARGO_BIN_EXE_redd");
const LIMIT: Duration = Duration::from_secs(60);
/// A Debian and a BusyBox, started by the template unit, which is upstream's.
const SETUP: &str = "set -e
cp -a /srv/tree /var/lib/machines/deb
cp -a /work/box /var/lib/machines/box
/work/bin/machinectl start deb box
until systemctl -M deb is-system-running 2>/dev/null | grep -qE 'running|degraded'; do sleep 0.1; done
leader=$(machinectl show -p Leader --value deb)
nsenter -t $leader -n ip addr add 10.9.0.2/24 dev host0
nsenter -t $leader -n ip link set host0 up
mkdir -p /work/share/some
echo words >/work/share/file
cp /work/share/file /work/share/some";

struct Upstream {
    host: ManagedHost,
    newest: bool,
}

impl Upstream {
    fn run(&self, command: &str) -> Ended {
        let environment = "export PATH=/usr/bin:/usr/sbin:/bin:/sbin SYSTEMD_PAGER=cat SYSTEMD_COLORS=0 LC_ALL=C.UTF-8";
        self.host.run(&format!("{environment}\nours() {{ /work/bin/machinectl \"$@\"; }}\n{command}"))
    }

    /// It works, and says all of these; runs of blanks are one.
    #[track_caller]
    fn says(&self, command: &str, words: &[&str]) {
        self.ends(command, 0, words);
    }

    #[track_caller]
    fn ends(&self, command: &str, code: i32, words: &[&str]) {
        let ended = self.run(command);
        assert_eq!(ended.code(), code, "{command}: {ended}");
        let said = format!("{}\n{}", ended.output, ended.errors);
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        for word in words {
            assert!(said.contains(word), "{command} does not say {word:?}: {ended}");
        }
    }

    #[track_caller]
    fn until(&self, command: &str) {
        let end = Instant::now() + LIMIT;
        loop {
            let ended = self.run(command);
            if ended.code() == 0 {
                return;
            }
            assert!(Instant::now() < end, "{command} does not come true: {ended}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn leader(&self, name: &str) -> String {
        self.run(&format!("machinectl show -p Leader --value {name}")).expect_code(0).output.trim().to_owned()
    }
}

fn machines(on: &Upstream) {
    on.says("ps -o comm= -p $(systemctl show -p MainPID --value systemd-nspawn@deb)", &["systemd-nspawn"]);
    on.says("systemctl show -p ExecStart systemd-machined", &["/systemd-machined"]);
    on.says(
        "ours list --no-legend",
        &["box container systemd-nspawn busybox - -", "deb container systemd-nspawn debian", "10.9.0.2"],
    );
    let status =
        ["(systemd)", "Service: systemd-nspawn; class container", "OS: Debian", "Unit: systemd-nspawn@deb.service"];
    on.says("ours status deb -n 1", &status);
    on.says("ours status box -n 0", &["(init)", "busybox sleep"]);
    on.says(
        "ours show deb",
        &["Name=deb", &format!("Leader={}", on.leader("deb")), "RootDirectory=/var/lib/machines/deb"],
    );
    // What a service manager inside is told.
    for (signal, shown) in [("SIGRTMIN+21", "no"), ("SIGRTMIN+20", "yes")] {
        on.says(&format!("ours kill deb --kill-whom=leader --signal={signal}"), &[]);
        on.until(&format!("systemctl -M deb show -p ShowStatus | grep -qx ShowStatus={shown}"));
    }
}

fn files(on: &Upstream) {
    for name in ["deb", "box"] {
        let inside = format!("/var/lib/machines/{name}/root");
        on.says(&format!("ours copy-to {name} /work/share /root/share && cat {inside}/share/some/file"), &["words"]);
        // Its owner there is root, whatever that is on the host.
        on.says(&format!("test $(stat -c %u {inside}/share/file) = $(stat -c %u {inside})"), &[]);
        let back = format!("ours copy-from {name} /root/share /tmp/{name} && cat /tmp/{name}/some/file");
        on.says(&back, &["words"]);
        on.ends(&format!("ours copy-to {name} /work/share /root/share"), 1, &["/root/share", "exists"]);
    }
    on.says(
        "ours bind --mkdir deb /work/share /mnt/some && ours bind --mkdir --read-only deb /work/share /mnt/kept",
        &[],
    );
    let inside = "systemd-run -M deb -q --wait --pipe sh -c 'cat /mnt/some/some/file; echo >/mnt/some/new && echo > /mnt/kept/new'";
    on.ends(inside, 2, &["words", "Read-only file system"]);
    on.says("ls /work/share", &["new"]);
    on.says("ours bind box /work/share /root/share/some", &[]);
    on.says("cat /proc/$(machinectl show -p Leader --value box)/root/root/share/some/some/file", &["words"]);
    on.ends("ours bind box /work/share /mnt/none", 1, &["/mnt/none"]);
}

fn images(on: &Upstream) {
    on.says("ours enable deb && systemctl is-enabled systemd-nspawn@deb", &["enabled"]);
    on.ends("ours disable deb && systemctl is-enabled systemd-nspawn@deb", 1, &["disabled"]);
    on.says(
        "ours list-images --no-legend && machinectl list-images --no-legend",
        &["box directory no", "deb directory no"],
    );
    on.says("ours clone box copy && ours rename copy other && ours read-only other true", &[]);
    on.says("machinectl show-image other && ours show-image other", &["Name=other", "ReadOnly=yes"]);
    on.says("ours read-only other false && machinectl show-image other", &["ReadOnly=no"]);
    on.says("ours remove other && ours list-images --no-legend | wc -l", &["2"]);
    on.ends("machinectl show-image other", 1, &["other"]);
    on.ends("ours remove deb", 1, &["in use"]);
    on.ends("ours set-limit box 1G", 1, &["only btrfs subvolumes can be limited"]);
    on.ends("ours set-limit 1G", 1, &["is not on btrfs"]);
    for verb in
        ["enable nosuch", "remove nosuch", "clone nosuch x", "rename nosuch x", "read-only nosuch", "start nosuch"]
    {
        on.ends(&format!("ours {verb}"), 1, &["nosuch"]);
    }
}

/// The host has a filter of system calls, as it is a container; so the kernel tells nobody there what filters the machines have.
/// `exec_others.rs` has sessions where there is none.
fn sessions(on: &Upstream) {
    for verb in ["shell deb", "login deb", "shell box", "login box"] {
        on.ends(&format!("ours {verb}"), 1, &["what confines the first process of the machine"]);
    }
    for verb in ["shell nosuch", "login nosuch", "copy-to nosuch /work/share", "bind nosuch /work/share"] {
        on.ends(&format!("ours {verb}"), 1, &["nosuch"]);
    }
}

/// The same that `clients.rs` sees of ours.
fn theirs(on: &Upstream) {
    let asked = "loginctl -M deb enable-linger root";
    if on.newest {
        on.ends(asked, 1, &["Could not enable linger: No such process"]);
    } else {
        on.says(asked, &[]);
    }
    // Nothing comes of it.
    on.says("machinectl poweroff box; sleep 4; machinectl show -p State box", &["State=running"]);
}

fn lives(on: &Upstream) {
    let before = on.leader("deb");
    on.says("ours reboot deb", &[]);
    on.until(&format!("test \"$(machinectl show -p Leader --value deb)\" != {before}"));
    on.until("systemctl -M deb is-system-running | grep -qE 'running|degraded'");
    on.says("ours poweroff --wait deb box", &[]);
    for name in ["deb", "box"] {
        on.ends(&format!("machinectl show {name}"), 1, &[name]);
        on.until(&format!(
            "systemctl show -p Result,ActiveState systemd-nspawn@{name} | grep -qx ActiveState=inactive"
        ));
        on.says(&format!("systemctl show -p Result systemd-nspawn@{name}"), &["Result=success"]);
    }
    on.says("ours start box && ours terminate box", &[]);
    on.until("! machinectl show box 2>/dev/null && ! systemctl is-active systemd-nspawn@box");
    on.says("ours list && machinectl list", &["No machines. No machines."]);
    for verb in ["status", "show", "terminate", "poweroff", "reboot", "kill"] {
        on.ends(&format!("ours {verb} nosuch"), 1, &["nosuch"]);
    }
}

fn on_a_host(suite: &str) {
    let Some(tree) = managed_host::tree(suite) else { return };
    let before = HostState::capture(&tree, &[]);
    let host = ManagedHost::boot(REDD, &tree, &tree);
    let place = host.work().join("box");
    std::fs::create_dir(&place).expect("directory");
    fixture::copy(background::busybox().path(), &place);
    let on = Upstream { host, newest: suite == "sid" };
    on.run(SETUP).expect_code(0);
    machines(&on);
    files(&on);
    images(&on);
    sessions(&on);
    theirs(&on);
    lives(&on);
    on.host.power_off();
    before.assert_same();
}

#[test]
#[ignore = "installs and boots a Debian that has systemd 252"]
fn machines_of_systemd_252_are_ruled() {
    requires!(root, cgroup2, userns, idmap, program "busybox");
    on_a_host("bookworm");
}

#[test]
#[ignore = "installs and boots a Debian that has the newest systemd"]
fn machines_of_the_newest_systemd_are_ruled() {
    requires!(root, cgroup2, userns, idmap, program "busybox");
    on_a_host("sid");
}
