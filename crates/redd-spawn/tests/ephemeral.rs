//! `--ephemeral` and `--volatile=overlay`: what is changed inside is gone afterwards, and nothing is left.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use testkit::disk::{Disk, Mounted, run};
use testkit::{HostState, Isolated, Spawn, fixture, requires};

const BINARY: &str = env!("CARGO_BIN_EXE_redd-spawn");

/// Quiet, with plain streams.
fn redd(tree: &Path) -> Spawn {
    Spawn::redd(BINARY, tree).arg("--pipe")
}

/// Changes of all kinds, and what they look like.
const CHANGE: &str = "echo new > /new && echo changed > /etc/machine-id && rm /usr/bin/id && mkdir /usr/made && \
     chmod 700 /home && mv /etc/group /etc/moved && cat /new /etc/machine-id && test ! -e /usr/bin/id";

#[test]
fn changes_are_gone_afterwards() {
    requires!(root, cgroup2, idmap);
    let _isolated = Isolated::enter();
    let tree = fixture::tree();
    let before = HostState::capture(tree.path(), &[tree.path()]);
    for options in [
        &["-x"][..],
        &["-x", "-U"],
        &["-x", "--private-network"],
        &["--volatile=overlay"],
        &["--volatile=overlay", "-U"],
    ] {
        let ended = redd(tree.path()).args(options).script(CHANGE).run().expect_code(0);
        assert_eq!(ended.output, "new\nchanged\n", "{options:?}: {ended}");
        before.assert_same();
    }
}

#[test]
fn the_root_directory_has_the_tree_s_owner_mode_and_access_list() {
    requires!(root, cgroup2, idmap);
    let _isolated = Isolated::enter();
    let tree = fixture::tree();
    fs::set_permissions(tree.path(), fs::Permissions::from_mode(0o1751)).expect("mode");
    std::os::unix::fs::chown(tree.path(), Some(0), Some(50)).expect("owner");
    fs::set_permissions(tree.path(), fs::Permissions::from_mode(0o1751)).expect("mode");
    for options in [&["-x"][..], &["-x", "-U"], &["--volatile=overlay"], &["--volatile=overlay", "-U"]] {
        let ended = redd(tree.path()).args(options).args(["/bin/stat", "-c", "%a %u %g", "/"]).run();
        assert_eq!(ended.expect_code(0).output.trim_end(), "1751 0 50", "{options:?}");
    }
}

#[test]
fn new_files_belong_to_the_container_s_root_also_in_a_tree_that_is_shifted() {
    requires!(root, cgroup2, idmap);
    let _isolated = Isolated::enter();
    let tree = fixture::tree();
    let base = 1_966_080_000 / 65536 * 65536;
    run(Command::new("chown").args(["-Rh", &format!("{base}:{base}")]).arg(tree.path()));
    let options = ["-x", &format!("--private-users={base}")];
    let ended = redd(tree.path()).args(options).script("touch /new && stat -c %u /new /etc /").run();
    assert_eq!(ended.expect_code(0).output, "0\n0\n0\n");
}

#[test]
fn what_is_mounted_in_the_tree_is_no_part_of_a_copy() {
    requires!(root, cgroup2, program "mount");
    let _isolated = Isolated::enter();
    let tree = fixture::tree();
    tree.write("home/below", "", 0o644);
    let _mounted = Mounted::new(&["-t", "tmpfs", "tmpfs"], &tree.join("home"));
    tree.write("home/mounted", "", 0o644);
    let ended = redd(tree.path()).args(["-x"]).script("ls /home").run();
    assert_eq!(ended.expect_code(0).output, "below\nuser\n");
}

#[test]
fn a_read_only_place_and_a_mount_point_are_told_and_work() {
    requires!(root, cgroup2, program "mount");
    let _isolated = Isolated::enter();
    let (tree, place) = (fixture::tree(), fixture::empty());
    let _mounted = Mounted::new(&["--bind", tree.path().to_str().expect("path")], place.path());
    let before = HostState::capture(place.path(), &[tree.path()]);
    let spawn = Spawn::new(&testkit::Engine::Redd(BINARY.into())).args(["--pipe", "-x", "-D"]).arg(place.path());
    let ended = spawn.script(CHANGE).run().expect_code(0);
    assert!(ended.errors.contains("kept in /var/tmp while it runs, because it is a mount point"), "{ended}");
    before.assert_same();
}

#[test]
fn the_host_s_own_root() {
    requires!(root, cgroup2);
    let _isolated = Isolated::enter();
    let mark = format!("/redd-host-root-{}", std::process::id());
    for options in [&["-x"][..], &["--volatile=overlay"]] {
        let spawn = redd(Path::new("/")).args(options).args(["/bin/sh", "-c"]);
        spawn.arg(format!("touch {mark} && test -e {mark} && id -u")).run().expect_code(0);
        assert!(!Path::new(&mark).exists(), "{options:?}");
    }
    redd(Path::new("/")).arg("/bin/true").run().expect_code(1);
}

#[test]
fn a_subvolume_is_snapshotted() {
    requires!(root, cgroup2, loop, program "mount", program "mkfs.btrfs", program "btrfs");
    let _isolated = Isolated::enter();
    let disk = Disk::new("btrfs", 512);
    let tree = disk.path().join("tree");
    run(Command::new("btrfs").args(["subvolume", "create"]).arg(&tree));
    run(Command::new("btrfs").args(["subvolume", "create"]).arg(tree.join("srv")));
    fs::write(tree.join("srv/nested"), "nested\n").expect("file");
    fixture::copy(fixture::tree().path(), &tree);
    let before = HostState::capture(&tree, &[&tree]);
    for options in [&["-x"][..], &["-x", "-U"]] {
        let script = format!("{CHANGE} && cat /srv/nested && echo x > /srv/other && findmnt -no FSTYPE /");
        let ended = redd(&tree).args(options).script(&script).run().expect_code(0);
        assert_eq!(ended.output, "new\nchanged\nnested\nbtrfs\n", "{options:?}: {ended}");
        before.assert_same();
        let left = run(Command::new("btrfs").args(["subvolume", "list"]).arg(disk.path()));
        assert_eq!(left.lines().count(), 2, "{left}");
    }
}

/// However deep they are, few descriptors are needed.
#[test]
fn subvolumes_in_subvolumes_are_snapshotted_and_removed() {
    requires!(root, cgroup2, loop, program "mount", program "mkfs.btrfs", program "btrfs");
    let _isolated = Isolated::enter();
    let disk = Disk::new("btrfs", 512);
    let tree = disk.path().join("tree");
    run(Command::new("btrfs").args(["subvolume", "create"]).arg(&tree));
    fixture::copy(fixture::tree().path(), &tree);
    let nested = "cd \"$1\"; for i in $(seq 45); do btrfs subvolume create d >/dev/null || exit; cd d || exit; done; echo deep > file";
    run(Command::new("sh").args(["-c", nested, "sh"]).arg(&tree));
    let script = format!("cat /{}file", "d/".repeat(45));
    let command = redd(&tree).arg("-x").script(&script).command();
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 80; exec \"$@\"", "sh"]).args(words);
    let ended = testkit::run_limited(limited, Vec::new(), Duration::from_secs(60)).expect_code(0);
    assert_eq!(ended.output, "deep\n", "{ended}");
    let left = run(Command::new("btrfs").args(["subvolume", "list"]).arg(disk.path()));
    assert_eq!(left.lines().count(), 46, "{left}");
}

/// A running container that says `ready` and is ended by the end of its input.
fn start(tree: &Path, options: &[&str]) -> Child {
    let mut command = Command::new(BINARY);
    command.args(["-q", "--pipe", "-D"]).arg(tree).args(options).args(["/bin/sh", "-c", "echo ready; read x"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("start");
    let mut word = [0; 6];
    std::io::Read::read_exact(child.stdout.as_mut().expect("pipe"), &mut word).expect("ready");
    child
}

fn end(mut child: Child) {
    drop(child.stdin.take());
    let limit = Instant::now() + Duration::from_secs(20);
    while child.try_wait().expect("child").is_none() {
        assert!(Instant::now() < limit, "it does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn readers_share_a_tree_and_writers_do_not() {
    requires!(root, cgroup2);
    let _isolated = Isolated::enter();
    let tree = fixture::tree();
    let before = HostState::capture(tree.path(), &[]);
    let copies = [start(tree.path(), &["-x"]), start(tree.path(), &["-x"])];
    let ended = redd(tree.path()).arg("/bin/true").run().expect_code(1);
    assert!(ended.errors.contains("in use"), "{ended}");
    copies.into_iter().for_each(end);
    before.assert_same();
    let writer = start(tree.path(), &[]);
    let ended = redd(tree.path()).args(["-M", "other"]).arg("/bin/true").run().expect_code(1);
    assert!(ended.errors.contains("in use"), "{ended}");
    let inode = fs::metadata(tree.join("bin/sh")).expect("sh").ino();
    let spawn = Spawn::new(&testkit::Engine::Redd(BINARY.into())).args(["--pipe", "-x", "-D"]).arg(tree.path());
    let ended = spawn.script("stat -Lc %i /bin/sh; touch /new").run().expect_code(0);
    assert!(ended.errors.contains("is in use by a container that writes to it, so all of it is copied"), "{ended}");
    assert_ne!(ended.output.trim_end(), inode.to_string(), "a copy has files of its own");
    assert!(!tree.join("new").exists());
    end(writer);
    before.assert_same();
}
