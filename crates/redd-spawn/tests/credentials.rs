//! Credentials: who can see them, where they leave no trace, and that a system inside uses them.

use std::io::Write;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use testkit::{HostState, Isolated, Spawn, fixture, requires};

const REDD: &str = env!("CARGO_BIN_EXE_redd-spawn");
const SECRET: &str = "hunter2-is-secret";
const LIMIT: Duration = Duration::from_secs(20);

fn spawn(tree: &std::path::Path, options: &[&str]) -> Spawn {
    Spawn::redd(REDD, tree).arg("--pipe").args(options).limit(LIMIT)
}

#[test]
fn a_dry_run_shows_names_and_sizes_alone() {
    let tree = fixture::tree();
    let set = format!("--set-credential=named:{SECRET}");
    for form in ["--dry-run", "--dry-run=json"] {
        let ended = spawn(tree.path(), &[form, &set]).run();
        assert_eq!(ended.code(), 0, "{ended}");
        assert!(ended.output.contains("named") && ended.output.contains("17 bytes"), "{ended}");
        assert!(!ended.output.contains(SECRET), "{ended}");
        let numbers: Vec<_> = SECRET.bytes().map(|byte| byte.to_string()).collect();
        let without_space: String = ended.output.split_whitespace().collect();
        assert!(!without_space.contains(&numbers.join(",")), "{ended}");
    }
}

#[test]
fn root_inside_cannot_change_them_and_nothing_is_left() {
    requires!(root, cgroup2);
    let _isolated = Isolated::enter();
    let tree = fixture::tree();
    let set = format!("--set-credential=a:{SECRET}");
    let script = "cd /run/host/credentials; cat a; for try in 1 2; do
        (echo x >b) 2>/dev/null && echo added; (echo x >a) 2>/dev/null && echo changed; rm -f a 2>/dev/null && echo removed
        mount -o remount,bind,rw /run/host/credentials 2>/dev/null; done; umount /run/host/credentials 2>/dev/null; true";
    for users in [&[][..], &["--private-users=4194304:65536"]] {
        let before = HostState::capture(tree.path(), &[]);
        let ended = spawn(tree.path(), users).arg(&set).script(script).run();
        assert_eq!((ended.code(), ended.output.as_str()), (0, SECRET), "{users:?}: {ended}");
        before.assert_same();
    }
}

#[test]
fn a_socket_hands_one_out() {
    requires!(root, cgroup2);
    let _isolated = Isolated::enter();
    let tree = fixture::tree();
    let place = tempfile::tempdir().expect("directory");
    let path = place.path().join("socket");
    let listener = UnixListener::bind(&path).expect("socket");
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("connection");
        stream.write_all(SECRET.as_bytes()).expect("written");
    });
    let load = format!("--load-credential=a:{}", path.display());
    let ended = spawn(tree.path(), &[&load]).script("cat /run/host/credentials/a").run();
    server.join().expect("server");
    assert_eq!((ended.code(), ended.output.as_str()), (0, SECRET), "{ended}");
}

#[test]
fn debian_takes_its_root_password_and_hands_others_on_to_services() {
    requires!(root, cgroup2);
    let _isolated = Isolated::enter();
    let Some(tree) = fixture::debian_tree() else { return };
    let hash = "$6$salt$notarealhash";
    let script = "grep -q '^root:$6$salt$notarealhash:' /etc/shadow && echo password taken
        systemd-run --quiet --wait --pipe -p LoadCredential=own cat '/run/credentials/@system/own'
        systemd-run --quiet --wait --pipe -p LoadCredential=mine:own sh -c 'cat $CREDENTIALS_DIRECTORY/mine'";
    let unit = format!(
        "[Unit]\nAfter=systemd-sysusers.service systemd-firstboot.service\n[Service]\nType=oneshot\nStandardOutput=tty\n\
         TTYPath=/dev/console\nExecStart=/bin/sh -c \"{}\"\nExecStopPost=/bin/systemctl poweroff --no-block\n",
        script.replace('\n', ";").replace('$', "$$").replace('"', "\\\"")
    );
    // The password is for a root who has none yet, as in a system without /etc.
    for (options, first_boot) in [(&["-x"][..], false), (&["-x", "-U"], false), (&["--volatile=yes"], true)] {
        let ended = Spawn::redd(REDD, &tree)
            .arg("-b")
            .args(options)
            .arg(format!("--set-credential=passwd.hashed-password.root:{hash}"))
            .arg("--set-credential=own:passed on\\n")
            .arg(format!("--set-credential=systemd.extra-unit.ask.service:{}", unit.replace('\\', "\\\\")))
            .arg("systemd.wants=ask.service")
            .limit(Duration::from_secs(120))
            .run();
        assert_eq!(ended.output.lines().filter(|line| line.trim() == "passed on").count(), 2, "{options:?}: {ended}");
        assert_eq!(
            ended.output.contains("password taken\r") || ended.output.contains("password taken\n"),
            first_boot,
            "{options:?}: {ended}"
        );
    }
}
