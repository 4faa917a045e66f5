//! The host's configuration inside: what hostile trees make of it, with users of the container's own, from systemd-resolved.

use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::time::Duration;

use testkit::{HostState, Isolated, Spawn, fixture, requires};

const REDD: &str = env!("CARGO_BIN_EXE_redd-spawn");
const LIMIT: Duration = Duration::from_secs(20);

fn spawn(tree: &fixture::Tree, options: &[&str]) -> Spawn {
    Spawn::redd(REDD, tree.path()).arg("--pipe").args(options).limit(LIMIT)
}

/// Every way in which a file may get inside.
const WAYS: [&[&str]; 8] = [
    &["--resolv-conf=copy-host", "--timezone=copy"],
    &["--resolv-conf=replace-host", "--timezone=copy"],
    &["--resolv-conf=bind-host", "--timezone=bind"],
    &["--resolv-conf=delete", "--timezone=delete"],
    &["--resolv-conf=auto", "--timezone=symlink"],
    &["--resolv-conf=auto", "--timezone=auto", "--read-only"],
    &["--resolv-conf=bind-host", "--timezone=bind", "--volatile=state"],
    &["--resolv-conf=replace-host", "--timezone=auto", "--volatile=overlay"],
];

/// Makes something in place of a file of the tree.
type Trap = fn(&fixture::Tree, outside: &std::path::Path, name: &str);

#[test]
fn whatever_the_tree_has_there_nothing_of_the_host_changes_and_nobody_waits() {
    requires!(root, cgroup2, program "mkfifo", program "mknod");
    let _isolated = Isolated::enter();
    let traps: [Trap; 6] = [
        |tree, outside, name| symlink(outside.join("file"), tree.join(name)).expect("link"),
        |tree, outside, name| {
            let up = "../".repeat(20);
            let target = format!("{up}{}", outside.join("new").display());
            symlink(target, tree.join(name)).expect("link");
        },
        |tree, _, name| run("mkfifo", &[&tree.join(name).to_string_lossy()]),
        |tree, _, name| run("mknod", &[&tree.join(name).to_string_lossy(), "c", "5", "1"]),
        |tree, _, name| std::fs::create_dir(tree.join(name)).expect("directory"),
        |tree, _, name| symlink(tree.join(name), tree.join(name)).expect("link"),
    ];
    for (number, trap) in traps.into_iter().enumerate() {
        for way in WAYS {
            let outside = tempfile::tempdir_in(fixture::place()).expect("directory");
            std::fs::write(outside.path().join("file"), "host's").expect("file");
            let tree = fixture::tree();
            trap(&tree, outside.path(), "/etc/resolv.conf");
            trap(&tree, outside.path(), "/etc/localtime");
            let before = HostState::capture(tree.path(), &[outside.path()]);
            let ended = spawn(&tree, way).script("echo up").run();
            assert_eq!((ended.code(), ended.output.as_str()), (0, "up\n"), "trap {number}, {way:?}: {ended}");
            before.assert_same();
            assert!(!tree.join("/etc/.#redd.staged").exists(), "trap {number}, {way:?}");
        }
    }
}

#[test]
fn a_directory_that_leads_out_of_the_tree_leads_nowhere() {
    requires!(root, cgroup2);
    let _isolated = Isolated::enter();
    for way in WAYS {
        let outside = tempfile::tempdir_in(fixture::place()).expect("directory");
        std::fs::write(outside.path().join("resolv.conf"), "host's").expect("file");
        let tree = fixture::tree();
        std::fs::rename(tree.join("/etc"), tree.join("/etc.real")).expect("rename");
        symlink(outside.path(), tree.join("/etc")).expect("link");
        let before = HostState::capture(tree.path(), &[outside.path()]);
        let ended = spawn(&tree, way).script("echo up").run();
        assert_eq!((ended.code(), ended.output.as_str()), (0, "up\n"), "{way:?}: {ended}");
        before.assert_same();
    }
}

#[test]
fn a_fifo_and_a_device_stay_and_are_said_to() {
    requires!(root, cgroup2, program "mkfifo");
    let tree = fixture::tree();
    run("mkfifo", &[&tree.join("/etc/resolv.conf").to_string_lossy()]);
    spawn(&tree, &["--resolv-conf=copy-host"]).script("true").run().expect_code(0);
    let kind = std::fs::symlink_metadata(tree.join("/etc/resolv.conf")).expect("status").file_type();
    assert!(kind.is_fifo());
    // A directory cannot be replaced by a file, and that is told.
    let tree = fixture::tree();
    std::fs::create_dir(tree.join("/etc/resolv.conf")).expect("directory");
    let loud = Spawn::new(&testkit::Engine::Redd(REDD.into())).arg("-D").arg(tree.path());
    let ended = loud.args(["--pipe", "--resolv-conf=replace-host", "true"]).limit(LIMIT).run().expect_code(0);
    assert!(ended.errors.contains("cannot copy the host's /etc/resolv.conf: Is a directory"), "{ended}");
}

#[test]
fn the_copies_belong_to_the_containers_root() {
    requires!(root, cgroup2, userns, idmap);
    for options in [&["-U"][..], &["-U", "-x"], &["-U", "--volatile=yes"], &["-U", "--private-users-ownership=map"]] {
        let tree = fixture::tree();
        let ended = spawn(&tree, options)
            .args(["--resolv-conf=replace-host", "--timezone=copy"])
            .script("stat -c '%u %g %a' /etc/resolv.conf /etc/localtime")
            .run()
            .expect_code(0);
        assert_eq!(ended.output, "0 0 644\n0 0 644\n", "{options:?}");
    }
    let tree = fixture::tree();
    spawn(&tree, &["-U", "--resolv-conf=replace-host"]).script("true").run().expect_code(0);
    assert_eq!(std::fs::metadata(tree.join("/etc/resolv.conf")).expect("status").uid(), 0, "on disk");
}

#[test]
fn what_is_bound_cannot_be_taken_away_with_users_of_its_own() {
    requires!(root, cgroup2, userns, idmap);
    let tree = fixture::tree();
    let script = "umount /etc/resolv.conf 2>/dev/null && echo gone; \
        mount -o remount,bind,rw /etc/resolv.conf 2>/dev/null && echo loose; cat /etc/resolv.conf";
    let ended = spawn(&tree, &["-U", "--resolv-conf=bind-host"]).script(script).run().expect_code(0);
    assert_eq!(ended.output, std::fs::read_to_string("/etc/resolv.conf").expect("the host's"));
}

#[test]
fn what_the_host_lacks_is_said() {
    requires!(root, cgroup2);
    if std::path::Path::new("/run/systemd/resolve/resolv.conf").exists() {
        return;
    }
    let tree = fixture::tree();
    tree.write("/etc/resolv.conf", "own\n", 0o644);
    let loud = Spawn::new(&testkit::Engine::Redd(REDD.into())).arg("-D").arg(tree.path());
    let ended = loud.args(["--pipe", "--resolv-conf=bind-uplink", "cat", "/etc/resolv.conf"]).limit(LIMIT).run();
    assert_eq!(ended.expect_code(0).output, "own\n");
}

/// systemd-resolved as far as it is seen from outside: its files and its socket.
#[test]
fn the_stubs_file_is_taken_while_resolved_runs() {
    requires!(root, cgroup2);
    let _isolated = Isolated::enter();
    let run_directory = std::path::Path::new("/run/systemd/resolve");
    let made = !run_directory.exists();
    std::fs::create_dir_all(run_directory).expect("directory");
    let empty = rustix::mount::MountFlags::empty();
    rustix::mount::mount("tmpfs", run_directory, "tmpfs", empty, c"mode=755").expect("tmpfs");
    std::fs::write(run_directory.join("stub-resolv.conf"), "stub\n").expect("file");
    std::fs::write(run_directory.join("resolv.conf"), "uplink\n").expect("file");
    let tree = fixture::tree();
    let says = |options: &[&str]| {
        let ended = spawn(&tree, options).args(["cat", "/etc/resolv.conf"]).run();
        (ended.code(), ended.output)
    };
    let host = std::fs::read_to_string("/etc/resolv.conf").expect("the host's");
    // Its files are there, it is not.
    assert_eq!(says(&[]), (0, host.clone()));
    let listener = std::os::unix::net::UnixListener::bind(run_directory.join("io.systemd.Resolve")).expect("socket");
    assert_eq!(says(&[]), (0, "stub\n".into()));
    assert_eq!(says(&["--read-only"]), (0, "stub\n".into()));
    assert_eq!(says(&["--resolv-conf=copy-uplink"]), (0, "uplink\n".into()));
    assert_eq!(says(&["--resolv-conf=bind-stub"]), (0, "stub\n".into()));
    assert_eq!(says(&["--resolv-conf=replace-host"]), (0, host));
    std::fs::remove_file(tree.join("/etc/resolv.conf")).expect("remove");
    assert_eq!(says(&["--private-network"]).0, 1, "a private network cannot reach the stub");
    drop(listener);
    rustix::mount::unmount(run_directory, rustix::mount::UnmountFlags::empty()).expect("unmount");
    if made {
        std::fs::remove_dir(run_directory).expect("remove");
    }
}

fn run(program: &str, arguments: &[&str]) {
    let status = std::process::Command::new(program).args(arguments).status();
    assert!(status.is_ok_and(|status| status.success()), "{program} {arguments:?}");
}
