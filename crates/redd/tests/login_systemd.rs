//! `redd login` and `redd shell` where systemd runs inside, driven from terminals: as its own service manager has them.

use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use testkit::{Ended, HostState, Running, Terminal, fixture, requires, run_limited};

const REDD: &str = env!("CARGO_BIN_EXE_redd");
/// A first boot has much to do, on a slow machine that does other things as well.
const LIMIT: Duration = Duration::from_secs(120);
/// Each boots a system, and looks at the host before and after.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn redd(words: &[&str]) -> Command {
    let mut command = Command::new(REDD);
    command.args(words).env("TERM", "dumb");
    command
}

fn run(words: &[&str]) -> Ended {
    run_limited(redd(words), Vec::new(), LIMIT)
}

/// A Debian that boots, with its console on a terminal.
fn boot(tree: &Path, name: &str, options: &[&str]) -> Terminal {
    let mut command = redd(&["spawn", "-q", "-xbD"]);
    let mut console = Terminal::start(command.arg(tree).args(["-M", name]).args(options));
    console.expect("login: ", LIMIT);
    console
}

fn log_in(terminal: &mut Terminal) {
    terminal.expect("login: ", LIMIT);
    terminal.write_line("root");
    terminal.expect("# ", LIMIT);
}

#[test]
fn logins_and_shells_beside_the_console() {
    requires!(root, cgroup2, idmap);
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(tree) = fixture::debian_tree() else { return };
    for (name, options) in [("login-a", &[][..]), ("login-b", &["-U"])] {
        let before = HostState::capture(&tree, &[]);
        let mut console = boot(&tree, name, options);
        let mut one = Terminal::start(&mut redd(&["login", name]));
        one.expect(&format!("Connected to machine {name}. Press ^] three times within 1s to exit session."), LIMIT);
        log_in(&mut one);
        let mut two = Terminal::start(&mut redd(&["login", "-q", name]));
        log_in(&mut two);
        for terminal in [&mut one, &mut two] {
            terminal.write_line("echo on $(tty) in $(sed -n s/^0:://p /proc/self/cgroup) e\"\"nd");
            terminal.expect("on /dev/pts/", LIMIT);
            let session = terminal.expect(" end", LIMIT);
            assert!(session.contains("session-"), "a session of the login manager: {session}");
        }
        one.resize(132, 43);
        one.write_line("until test \"$(stty size)\" = '43 132'; do sleep 0.1; done; echo e\"\"nd");
        one.expect("end", LIMIT);
        two.write("\x1d\x1d\x1d");
        assert_eq!(two.wait(LIMIT).code(), Some(0));
        // Who logs out is asked for the next login, as by the original.
        one.write_line("exit");
        log_in(&mut one);
        shells(name);
        assert_eq!(run(&["exec", name, "/usr/bin/systemctl", "--failed", "--no-legend"]).expect_code(0).output, "");
        one.write_line("systemctl poweroff");
        assert!(one.wait(LIMIT).code().is_some());
        let end = format!("Connection to machine {name} terminated.");
        assert!(one.transcript().contains(&end), "{}", one.transcript());
        assert_eq!(console.wait(LIMIT).code(), Some(0), "{options:?}");
        before.assert_same();
    }
}

/// Their codes and users; nothing of them is left in the service manager.
fn shells(name: &str) {
    run(&["shell", "-q", name, "/bin/sh", "-c", "exit 7"]).expect_code(7);
    run(&["shell", "-q", name, "/bin/sh", "-c", "kill -9 $$"]).expect_code(137);
    let words = ["shell", "-q", "-EA=b $c", &format!("www-data@{name}"), "/bin/sh", "-c", "echo \"$(id -un) $A $$\""];
    let ended = run(&words).expect_code(0);
    assert!(ended.output.contains("www-data b $c "), "{ended}");
    assert!(!ended.output.contains("$$"), "the words are the shell's: {ended}");
    let ended = run(&["shell", &format!("nobody-here@{name}")]).expect_code(1);
    assert!(ended.errors.contains("has no user nobody-here"), "{ended}");
    let ended = run(&["shell", name, "/none"]).expect_code(127);
    assert!(ended.errors.contains("cannot run /none"), "{ended}");
    let ended = run(&["shell", name, "none"]).expect_code(1);
    assert!(ended.errors.contains("no absolute path"), "{ended}");
    let mut terminal = Terminal::start(&mut redd(&["shell", name]));
    terminal.expect("# ", LIMIT);
    terminal.write_line("echo shell $0 of $USER in $PWD e\"\"nd; exit 5");
    terminal.expect("shell ", LIMIT);
    terminal.expect("/bin/bash of root in /root end", LIMIT);
    assert_eq!(terminal.wait(LIMIT).code(), Some(5));
    // One that is left ends; so does one whose client is killed, whose terminal's number can be used again.
    let mut left = Terminal::start(&mut redd(&["shell", "-q", name, "/bin/cat"]));
    await_units(name, 1);
    left.write("\x1d\x1d\x1d");
    assert_eq!(left.wait(LIMIT).code(), Some(0));
    await_units(name, 0);
    let killed = Terminal::start(&mut redd(&["shell", "-q", name, "/bin/cat"]));
    await_units(name, 1);
    drop(killed);
    run(&["shell", "-q", name, "/bin/sh", "-c", "exit 6"]).expect_code(6);
    await_units(name, 0);
}

/// Waits until so many services for shells are running.
#[track_caller]
fn await_units(name: &str, count: usize) {
    let end = Instant::now() + LIMIT;
    loop {
        let list = ["/usr/bin/systemctl", "list-units", "--plain", "--no-legend", "container-shell@*"];
        let mut words = vec!["exec", name];
        words.extend(list);
        let ended = run(&words).expect_code(0);
        let units = ended.output.lines().filter(|line| line.contains(" running ")).count();
        if units == count {
            return;
        }
        assert!(Instant::now() < end, "not {count} but:\n{ended}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_machine_that_only_seems_to_be_managed_gets_nothing_of_the_host() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    // Its first process has systemd's name.
    std::fs::copy(tree.join("usr/bin/sleep"), tree.join("usr/bin/systemd")).expect("program");
    let mut command = redd(&["spawn", "-q", "-P", "-D"]);
    command.arg(tree.path()).args(["/usr/bin/systemd", "1000"]);
    let running = Running::start(command, &tree.name());
    let host = fixture::empty();
    let socket = host.join("private");
    let listener = std::os::unix::net::UnixListener::bind(&socket).expect("bind");
    listener.set_nonblocking(true).expect("mode");
    std::fs::create_dir_all(tree.join("run/systemd")).expect("directory");
    let name = running.name();
    let told = |verb: &str, text: &str| {
        let ended = run(&[verb, name]);
        assert!(ended.code() != 0 && ended.errors.contains(text), "{ended}");
        assert!(ended.errors.contains("redd exec -t NAME"), "{ended}");
    };
    told("login", "cannot reach the service manager");
    // What answers is what the machine has in its place: garbage, an end, or nothing for a while.
    let answers = [
        ("printf 'garbage\\r\\n'", "the authentication was refused"),
        ("head -c 100000 /dev/zero", "malformed"),
        ("printf 'OK 0123456789abcdef\\r\\n'; head -c 100000 /dev/zero", "malformed"),
        ("exec sleep 1000", "no answer came within 25 seconds"),
    ];
    for (answer, text) in answers {
        tree.write("usr/bin/systemd-stdio-bridge", format!("#!/bin/sh\n{answer}\n"), 0o755);
        let inside = format!("/proc/{}/root/run/systemd/private", running.leader());
        let _ = std::fs::create_dir_all(Path::new(&inside).parent().expect("directory"));
        let _ = std::fs::remove_file(&inside);
        std::os::unix::fs::symlink(&socket, &inside).expect("link");
        told("shell", text);
    }
    let accepted = listener.accept().map_err(|error| error.kind());
    assert_eq!(accepted.map(drop), Err(std::io::ErrorKind::WouldBlock), "the host's socket was not touched");
}
