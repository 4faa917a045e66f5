//! Users of the host inside: their secrets stay secret, and the host is as before.

use std::path::Path;
use std::time::Duration;

use testkit::{HostState, Isolated, Spawn, fixture, requires};

const REDD: &str = env!("CARGO_BIN_EXE_redd-spawn");
const HASH: &str = "$6$salt$nobody-may-see-this";
const LIMIT: Duration = Duration::from_secs(20);

/// Covers `/etc` with a copy in memory that has a user more, for this thread's mount namespace alone.
fn host_with_user(home: &Path) {
    let script = format!(
        "mountpoint -q /run/systemd/nspawn-uid; e=$(mktemp -d); mount -t tmpfs etc $e; cp -a /etc/. $e; mount --move $e /etc
        rmdir $e; echo 'zoe:x:4242:4242::{home}:/bin/sh' >>/etc/passwd; echo zoe:x:4242: >>/etc/group
        echo 'zoe:{HASH}:1::::::' >>/etc/shadow; chown 4242:4242 {home}",
        home = home.display()
    );
    let done = std::process::Command::new("sh").args(["-ec", &script]).status().expect("sh");
    assert!(done.success(), "cannot make a host with a user");
}

#[test]
fn the_hash_is_for_root_inside_and_for_no_plan() {
    requires!(root, cgroup2, idmap, program "mountpoint");
    let _isolated = Isolated::enter();
    let tree = fixture::tree();
    let home = tempfile::tempdir_in(fixture::place()).expect("directory");
    host_with_user(home.path());
    let options = ["--private-users=4194304:65536", "--private-users-ownership=map", "--bind-user=zoe"];
    let spawn = || Spawn::redd(REDD, tree.path()).arg("--pipe").args(options).limit(LIMIT);
    for form in ["--dry-run", "--dry-run=json"] {
        let ended = spawn().arg(form).run();
        assert_eq!(ended.code(), 0, "{ended}");
        assert!(ended.output.contains("/run/host/userdb/zoe.user-privileged"), "{ended}");
        assert!(!ended.output.contains("nobody-may-see-this"), "{ended}");
    }
    let before = HostState::capture(tree.path(), &[]);
    let script = "grep -c nobody-may-see-this /run/host/userdb/zoe.user-privileged
        setpriv --reuid 60514 --regid 60514 --clear-groups cat /run/host/userdb/zoe.user-privileged 2>/dev/null || echo no";
    let ended = spawn().script(script).run();
    assert_eq!((ended.code(), ended.output.as_str()), (0, "1\nno\n"), "{ended}");
    before.assert_same();
}

#[test]
fn a_tree_cannot_make_its_databases_lead_outside() {
    requires!(root, cgroup2, idmap, program "mountpoint", program "mkfifo");
    let _isolated = Isolated::enter();
    let home = tempfile::tempdir_in(fixture::place()).expect("directory");
    host_with_user(home.path());
    for trap in ["ln -sf /etc/passwd", "mkfifo", "mkdir", "ln -sf /dev/zero", "ln -sf passwd"] {
        let tree = fixture::tree();
        let script = format!("rm -f {0}; {trap} {0}", tree.join("/etc/passwd").display());
        assert!(std::process::Command::new("sh").args(["-ec", &script]).status().expect("sh").success());
        // Its own database would know the name, if it were the host's.
        let ended = Spawn::redd(REDD, tree.path())
            .args(["--pipe", "--private-users=4194304:65536", "--private-users-ownership=map", "--bind-user=zoe"])
            .limit(LIMIT)
            .script("stat -c %u /run/host/home/zoe")
            .run();
        assert_eq!((ended.code(), ended.output.as_str()), (0, "60514\n"), "{trap}: {ended}");
    }
}
