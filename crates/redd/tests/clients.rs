//! redd in place of systemd-nspawn and systemd-machined on a host that systemd manages, and systemd's own clients as they are:
//! the oldest version that is compared with, and the newest. What the two put in other words is compared elsewhere
//! (`beside_machined.rs`); here it is about what they do with ours.

#[path = "clients/asking.rs"]
mod asking;
mod background;
#[path = "clients/host.rs"]
mod host;
#[path = "clients/sockets.rs"]
mod sockets;
#[path = "clients/steering.rs"]
mod steering;
#[path = "clients/typed.rs"]
mod typed;

use host::{Replaced, Version};
use testkit::{HostState, managed_host, requires};

const REDD: &str = env!("CARGO_BIN_EXE_redd");

fn on_a_host(suite: &str, version: Version) {
    let Some(tree) = managed_host::tree(suite) else { return };
    let before = HostState::capture(&tree, &[]);
    let on = Replaced::boot(&tree, version);
    asking::machines_are_seen(&on);
    typed::sessions(&on);
    if version == Version::New {
        sockets::all(&on);
    }
    steering::files(&on);
    steering::images(&on);
    steering::permission(&on);
    steering::lives(&on);
    on.host.power_off();
    before.assert_same();
}

#[test]
#[ignore = "installs and boots a Debian that has systemd 252"]
fn clients_of_systemd_252_work_with_ours() {
    requires!(root, cgroup2, userns, idmap, program "busybox");
    on_a_host("bookworm", Version::Old);
}

#[test]
#[ignore = "installs and boots a Debian that has the newest systemd"]
fn clients_of_the_newest_systemd_work_with_ours() {
    requires!(root, cgroup2, userns, idmap, program "busybox");
    on_a_host("sid", Version::New);
}
