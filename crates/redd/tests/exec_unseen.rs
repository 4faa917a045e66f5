//! `redd exec` before the command is one: what a hostile machine gets to see of it, and could take.

use std::process::Command;
use std::time::{Duration, Instant};

use testkit::fixture::{self, Tree};
use testkit::{Isolated, Running, requires, run_limited};

const REDD: &str = env!("CARGO_BIN_EXE_redd");
const LIMIT: Duration = Duration::from_secs(60);
/// Stands in the environment of whoever runs the command, and is nothing for the machine.
const SECRET: &str = "sec-word-of-the-host";

/// How many commands are run, at least.
const COMMANDS: usize = 150;

/// Runs commands while somebody inside looks at each new process as fast as it can. The result is what was counted.
fn spied_on(tree: &Tree, options: &[&str]) -> Vec<(String, u32)> {
    for left in ["stop", "found"] {
        drop(std::fs::remove_file(tree.join(left)));
    }
    let mut command = Command::new(REDD);
    command.args(["spawn", "-q", "-P", "-D"]).arg(tree.path()).args(options);
    command.args(["/bin/sh", "-c", "/probe spy /stop \"$0\" > /found; exec sleep 1000", SECRET]);
    let _running = Running::start(command, &tree.name());
    await_line(tree, "ready=yes");
    for _ in 0..COMMANDS {
        let mut command = Command::new(REDD);
        command.args(["exec", &tree.name(), "/probe", "nothing"]).env("REDD_TEST_SECRET", SECRET);
        run_limited(command, Vec::new(), LIMIT).expect_code(0);
    }
    tree.write("stop", "", 0o644);
    let found = await_line(tree, "done=yes");
    let counts = found.lines().filter_map(|line| line.rsplit_once('='));
    counts.filter_map(|(what, count)| Some((what.to_owned(), count.parse().ok()?))).collect()
}

fn await_line(tree: &Tree, line: &str) -> String {
    let until = Instant::now() + LIMIT;
    loop {
        let found = std::fs::read_to_string(tree.join("found")).unwrap_or_default();
        if found.lines().any(|one| one == line) {
            return found;
        }
        assert!(Instant::now() < until, "there is no {line}: {found}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn nothing_of_the_hosts_is_seen_inside() {
    requires!(root, cgroup2, idmap);
    let tree = fixture::tree();
    let _isolated = Isolated::enter();
    let ways: [&[&str]; 4] = [
        &["-U"],
        &[],
        &["-U", "--private-network", "--no-new-privileges=yes", "--drop-capability=CAP_SETFCAP"],
        &["--drop-capability=CAP_CHOWN,CAP_SYS_ADMIN"],
    ];
    let seen = ways.map(|way| {
        let counts = spied_on(&tree, way);
        let (looks, mut wrong): (Vec<_>, Vec<_>) = counts.into_iter().partition(|(what, _)| what.starts_with("looks"));
        println!("{way:?}: {looks:?}");
        // Root of a machine without users of its own sees of which program a process is made: one that has nothing else.
        let alone = |what: &str| {
            ["exe /memfd:redd", "map_files /memfd:redd", "map_files /memfd:slate"]
                .iter()
                .any(|one| what.starts_with(one))
        };
        wrong.retain(|(what, _)| way.contains(&"-U") || !alone(what));
        (way, looks, wrong)
    });
    // Nobody who does not look sees anything.
    assert!(seen.iter().all(|(_, looks, _)| looks.iter().any(|(what, _)| what == "looks")), "{seen:#?}");
    assert!(seen.iter().all(|(_, _, wrong)| wrong.is_empty()), "{seen:#?}");
}

#[test]
fn no_program_of_the_hosts_can_be_taken_and_changed() {
    requires!(root, cgroup2, idmap);
    let tree = fixture::tree();
    let _isolated = Isolated::enter();
    // Root inside is the host's, and may open what processes are made of. It opens that once more when nobody executes it.
    let counts = spied_on(&tree, &[]);
    println!("{counts:#?}");
    assert!(counts.iter().any(|(what, _)| what.starts_with("exe ")), "nothing was taken: {counts:#?}");
    assert!(!counts.iter().any(|(what, _)| what.starts_with("can be changed")), "{counts:#?}");
}

#[test]
fn a_filter_that_refuses_how_the_last_step_is_made_refuses_no_commands() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    let _isolated = Isolated::enter();
    for (filter, code) in [("~execveat", 0), ("~clone3", 0), ("~clone clone3 fork vfork", 1)] {
        let mut command = Command::new(REDD);
        command.args(["spawn", "-q", "-P", "-D"]).arg(tree.path()).arg(format!("--system-call-filter={filter}"));
        command.args(["/probe", "pause"]);
        let _running = Running::start(command, &tree.name());
        let mut command = Command::new(REDD);
        command.args(["exec", &tree.name(), "/probe", "nothing"]);
        let ended = run_limited(command, Vec::new(), LIMIT).expect_code(code);
        assert!(code == 0 || ended.errors.contains("cannot start the command"), "{ended}");
    }
}

#[test]
fn the_keys_of_the_hosts_session_are_left() {
    requires!(root, cgroup2, idmap);
    let tree = fixture::tree();
    let _isolated = Isolated::enter();
    let mut command = Command::new(testkit::PROBE);
    command.arg("keyring");
    let ours = run_limited(command, Vec::new(), LIMIT).expect_code(0).output;
    for way in [&["-U"][..], &[]] {
        let mut command = Command::new(REDD);
        command.args(["spawn", "-q", "-P", "--system-call-filter=keyctl", "-D"]).arg(tree.path()).args(way);
        let _running = Running::start(
            {
                command.args(["/probe", "pause"]);
                command
            },
            &tree.name(),
        );
        let mut command = Command::new(REDD);
        command.args(["exec", &tree.name(), "/probe", "keyring"]);
        let theirs = run_limited(command, Vec::new(), LIMIT).expect_code(0).output;
        assert!(theirs.starts_with("keyring=Ok("), "{theirs}");
        assert_ne!(ours, theirs, "{way:?}");
    }
}

#[test]
fn a_terminal_belongs_to_its_user() {
    requires!(root, cgroup2, idmap);
    let tree = fixture::tree();
    tree.write("etc/passwd", "root:x:0:0::/root:/bin/sh\nann:x:1000:1001::/:/bin/sh\n", 0o644);
    let _isolated = Isolated::enter();
    for way in [&["-U"][..], &[]] {
        for (groups, mode) in [("root:x:0:\ntty:x:9:\nann:x:1001:\n", "9 620"), ("root:x:0:\nann:x:1001:\n", "5 600")] {
            tree.write("etc/group", groups, 0o644);
            let mut command = Command::new(REDD);
            command.args(["spawn", "-q", "-P", "-D"]).arg(tree.path()).args(way).args(["/bin/sleep", "1000"]);
            let _running = Running::start(command, &tree.name());
            for (user, number) in [("ann", "1000"), ("root", "0"), ("77", "77")] {
                let mut command = Command::new(REDD);
                let script = "stat -c 'is %u %g %a' $(tty); exec 3<>/dev/tty && echo its:$((1+1))";
                command.args(["exec", "-t", "-u", user, &tree.name(), "sh", "-c", script]);
                let ended = run_limited(command, Vec::new(), LIMIT).expect_code(0);
                assert!(ended.output.contains(&format!("is {number} {mode}")), "{way:?} {user}: {ended}");
                assert!(ended.output.contains("its:2"), "{way:?} {user}: {ended}");
            }
        }
    }
}

#[test]
fn nobody_has_logged_in() {
    requires!(root, cgroup2, idmap);
    let tree = fixture::tree();
    let _isolated = Isolated::enter();
    for way in [&["-U"][..], &[]] {
        let mut command = Command::new(REDD);
        command.args(["spawn", "-q", "-P", "-D"]).arg(tree.path()).args(way).args(["/probe", "pause"]);
        let _running = Running::start(command, &tree.name());
        let mut command = Command::new(testkit::PROBE);
        command.args(["login", "1234", "redd-test", "secret", REDD, "exec", &tree.name()]);
        command.args(["/bin/cat", "/proc/self/loginuid", "/proc/self/sessionid"]);
        let ended = run_limited(command, Vec::new(), LIMIT).expect_code(0);
        assert_eq!(ended.output, "42949672954294967295", "{way:?}: {ended}");
    }
}
