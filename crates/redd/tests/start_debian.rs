//! A Debian at every boot of a host without systemd, and a disk image; from each of the directories of machines.

mod background;

use std::process::Command;

use background::{Background, INIT_SAYS, MACHINES, busybox, keepers, leader, log, redd, runs, succeeds, until};
use testkit::{HostState, disk::run, fixture, requires};

#[test]
fn debian_comes_up_at_every_boot() {
    requires!(root, cgroup2, userns, idmap, program "mount");
    let Some(tree) = fixture::debian_tree() else { return };
    let host = Background::enter();
    let own = fixture::empty();
    fixture::copy(&tree, own.path());
    let name = host.machine("debian", own.path());
    succeeds(&["enable", &name]);
    for boot in 1..=2 {
        let before = HostState::capture(own.path(), &[]);
        let prompts = log(&name).matches("login: ").count();
        let started = redd(&["autostart"]);
        assert_eq!(String::from_utf8_lossy(&started.stderr), format!("{name} has started.\n"));
        until("it is up", || {
            let asked = redd(&["exec", &name, "systemctl", "is-system-running"]);
            matches!(String::from_utf8_lossy(&asked.stdout).trim(), "running" | "degraded")
        });
        assert_eq!(succeeds(&["exec", &name, "systemctl", "--failed", "--no-legend"]), "");
        until("it shows its login prompt", || log(&name).matches("login: ").count() > prompts);
        // A reboot is one of the machine: the keeper has nothing to do with it.
        if boot == 1 {
            let first = leader(&name);
            succeeds(&["reboot", &name]);
            until("it has begun anew", || leader(&name) != first && runs(&name));
        }
        let stopped = redd(&["autostart", "--stop"]);
        assert_eq!(String::from_utf8_lossy(&stopped.stderr), format!("{name} has ended.\n"), "{}", log(&name));
        assert!(log(&name).ends_with(&format!("redd: {name} ended with exit code 0\n")), "{}", log(&name));
        assert!(keepers().is_empty() && !runs(&name));
        before.assert_same();
    }
}

#[test]
fn disk_images_and_trees_elsewhere_are_found() {
    requires!(root, cgroup2, userns, idmap, loop, program "mount", program "busybox", program "mkfs.ext4");
    let host = Background::enter();
    let tree = busybox();
    let place = fixture::empty();
    let image = place.join("image.raw");
    std::fs::File::create(&image).and_then(|file| file.set_len(64 << 20)).expect("image");
    run(Command::new("mkfs.ext4").args(["-q", "-d"]).arg(tree.path()).arg(&image));
    let disk = host.machine("image", &image);
    let elsewhere = host.machine("elsewhere", tree.path());
    std::fs::create_dir("/etc/machines").expect("directory");
    std::fs::remove_file(format!("{MACHINES}/{elsewhere}")).expect("link");
    std::os::unix::fs::symlink(tree.path(), format!("/etc/machines/{elsewhere}")).expect("link");
    let before = HostState::capture(place.path(), &[]);
    succeeds(&["start", &disk, &elsewhere]);
    for name in [&disk, &elsewhere] {
        until("it has come up", || log(name).contains(INIT_SAYS));
    }
    succeeds(&["autostart", "--stop"]);
    assert!(keepers().is_empty() && !runs(&disk) && !runs(&elsewhere));
    before.assert_same();
}
