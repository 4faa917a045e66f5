//! Containers that change their tree, and then ask for a reboot: the next start must not be led out of the tree by what
//! the first one has left.

use std::fs;

use testkit::{Ended, Isolated, Spawn, fixture, requires};

const REDD: &str = env!("CARGO_BIN_EXE_redd-spawn");
const OWNED: &[&str] = &["--private-users=655360:65536", "--private-users-ownership=chown"];
const MAPPED: &[&str] = &["--private-users=655360:65536", "--private-users-ownership=map"];

/// Runs `before` and then, after the reboot, `after`.
fn reboot(tree: &fixture::Tree, options: &[&str], before: &str, after: &str) -> Ended {
    let script = format!("if test -e /rebooted; then {after}; else touch /rebooted; {before}; exec /probe restart; fi");
    Spawn::redd(REDD, tree.path()).arg("-P").args(options).script(&script).run()
}

#[test]
fn links_in_place_of_an_upper_layer_lead_nowhere() {
    requires!(root, cgroup2, userns, idmap);
    let _isolated = Isolated::enter();
    for mode in [&[][..], MAPPED, OWNED] {
        let (tree, host) = (fixture::tree(), fixture::empty());
        host.write("secret", "secret\n", 0o644);
        for name in ["data/up", "low", "0/work"] {
            fs::create_dir_all(tree.join(name)).expect("directory");
        }
        // The owners of the files are the container's then, and the host's root mounts the overlay.
        Spawn::redd(REDD, tree.path()).arg("-P").args(mode).script("true").run().expect_code(0);
        // The kernel wants the work directory in the same file system: one on the host is known to the container, its own.
        let attack = format!(
            "cd /data; for one in .#redd.*; do mv \"$one\" away; ln -s {} \"$one\"; done; rmdir up; ln -s {} up",
            tree.path().display(),
            host.path().display()
        );
        let options = [mode, &["--overlay=+/low:+/data/up:/ov"]].concat();
        let ended = reboot(&tree, &options, &attack, "cat /ov/secret");
        assert!(tree.join("rebooted").exists() && !ended.output.contains("secret\n"), "{mode:?}: {ended}");
        assert!(ended.errors.contains("the upper layer"), "{mode:?}: {ended}");
        assert_eq!(fs::read_dir(host.path()).expect("directory").count(), 1, "{mode:?}");
    }
}
