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

/// What two directories and a file show after a reboot, before which the container has put links to a secret in their places
/// and in that of what is made for it alone.
#[test]
fn sources_on_the_host_are_those_of_the_first_start() {
    requires!(root, cgroup2, userns, idmap);
    let _isolated = Isolated::enter();
    for mode in [&[][..], MAPPED, &["-x"], &["--volatile=overlay"]] {
        let (tree, shared, secrets) = (fixture::tree(), fixture::empty(), fixture::empty());
        secrets.write("said", "secret\n", 0o644);
        for file in ["directory/said", "low/said", "base/said", "file"] {
            shared.write(file, "right\n", 0o644);
        }
        let bind = format!("{}:/shared:idmap", shared.path().display());
        let (shared_path, secret) = (shared.path().display(), secrets.path().display());
        // A mark that outlives the reboot of a copy, too.
        let script = format!(
            "cd /shared; if test -e rebooted; then cat /a/said /b /c/said; else \
             touch rebooted; for one in directory low; do mv $one $one.away && ln -s {secret} $one; done; \
             mv file file.away && ln -s {secret}/said file; exec /probe restart; fi"
        );
        let ended = Spawn::redd(REDD, tree.path())
            .args(mode)
            .arg(format!("--bind={bind}"))
            .arg(format!("--bind={shared_path}/directory:/a:idmap"))
            .arg(format!("--bind-ro={shared_path}/file:/b:idmap"))
            .arg(format!("--overlay-ro={shared_path}/base:{shared_path}/low:/c"))
            .script(&script)
            .run();
        let attacked = fs::symlink_metadata(shared.join("directory")).is_ok_and(|status| status.is_symlink());
        assert!(attacked && shared.join("rebooted").exists(), "{mode:?}: {ended}");
        assert_eq!(ended.output.matches("right").count(), 3, "{mode:?}: {ended}");
        assert!(!ended.output.contains("secret\n"), "{mode:?}: {ended}");
        ended.expect_code(0);
    }
}

/// Directories that are made for the container alone lie in a place that is bound into it.
#[test]
fn directories_of_its_own_are_not_led_elsewhere() {
    requires!(root, cgroup2);
    let _isolated = Isolated::enter();
    let (tree, host) = (fixture::tree(), fixture::empty());
    host.write("secret", "secret\n", 0o644);
    let machine = tree.name();
    let script = format!(
        "if test -e /rebooted; then cat /own/secret; else touch /rebooted; \
         cd /outer/.#redd.{machine}* && for one in [0-9]*; do mv $one away$one && ln -s {} $one; done; \
         exec /probe restart; fi",
        host.path().display()
    );
    let ended = Spawn::redd(REDD, tree.path()).args(["--bind=/var/tmp:/outer", "--bind=:/own"]).script(&script).run();
    assert!(tree.join("rebooted").exists() && !ended.output.contains("secret\n"), "{ended}");
    assert_ne!(ended.code(), 0, "{ended}");
}

/// What the host mounts below a source while the container runs is there after a reboot, and the host can unmount where a
/// source was found.
#[test]
fn the_host_goes_on_with_its_mounts() {
    requires!(root, cgroup2);
    let _isolated = Isolated::enter();
    let (tree, source) = (fixture::tree(), fixture::empty());
    let around = source.path().display();
    let mounted = |what: &[&str]| {
        let status = std::process::Command::new(what[0]).args(&what[1..]).status();
        assert!(status.is_ok_and(|status| status.success()), "{what:?}");
    };
    mounted(&["mount", "-t", "tmpfs", "tmpfs", source.path().to_str().expect("text")]);
    mounted(&["mount", "--make-shared", source.path().to_str().expect("text")]);
    fs::create_dir(source.join("below")).expect("directory");
    let script = "if test -e /rebooted; then cat /src/below/later; else \
         touch /rebooted /src/ready; until test -e /src/below/later || test -e /src/go; do sleep 0.05; done; \
         exec /probe restart; fi";
    let running = std::thread::scope(|scope| {
        let run =
            scope.spawn(|| Spawn::redd(REDD, tree.path()).arg(format!("--bind={around}:/src")).script(script).run());
        while !source.join("ready").exists() && !run.is_finished() {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let below = source.join("below");
        mounted(&["mount", "-t", "tmpfs", "tmpfs", below.to_str().expect("text")]);
        fs::write(below.join("later"), "later\n").expect("write");
        run.join().expect("run")
    });
    assert!(running.output.contains("later"), "{running}");
    mounted(&["umount", "-R", source.path().to_str().expect("text")]);
}
