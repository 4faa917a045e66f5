//! `redd shell` and `redd login` where no systemd runs inside: by redd's own means, driven from a terminal; and on the host.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::termios::LocalModes;
use testkit::fixture::{self, Tree};
use testkit::{Ended, HostState, Isolated, Running, Terminal, requires, run_limited};

const REDD: &str = env!("CARGO_BIN_EXE_redd");
const LIMIT: Duration = Duration::from_secs(60);

fn machine(tree: &Tree, options: &[&str]) -> Running {
    let mut command = Command::new(REDD);
    command.args(["spawn", "-q", "-P", "-D"]).arg(tree.path()).args(options).args(["/bin/sleep", "1000"]);
    Running::start(command, &tree.name())
}

fn redd(words: &[&str]) -> Command {
    let mut command = Command::new(REDD);
    command.args(words).env("TERM", "dumb");
    command
}

fn run(words: &[&str]) -> Ended {
    run_limited(redd(words), Vec::new(), LIMIT)
}

const WAYS: [&[&str]; 2] = [&[], &["-U"]];

#[test]
fn a_shell_has_its_user_environment_and_exit_code() {
    requires!(root, cgroup2, idmap);
    let tree = fixture::tree();
    let _isolated = Isolated::enter();
    let before = HostState::capture(tree.path(), &[]);
    for way in WAYS {
        let _running = machine(&tree, way);
        let name = tree.name();
        let mut terminal = Terminal::start(&mut redd(&["shell", &name]));
        terminal
            .expect(&format!("Connected to machine {name}. Press ^] three times within 1s to exit session."), LIMIT);
        terminal.expect("# ", LIMIT);
        assert!(!terminal.settings().local_modes.contains(LocalModes::ECHO), "keys are for the shell");
        terminal.write_line("echo is $0 $(id -u) $HOME $TERM $(tty) e\"\"nd; exit 7");
        terminal.expect("is -sh 0 /root dumb /dev/pts/", LIMIT);
        assert_eq!(terminal.wait(LIMIT).code(), Some(7), "{way:?}");
        assert!(terminal.transcript().ends_with(&format!("Connection to machine {name} terminated.\r\n")), "{way:?}");
        assert!(terminal.settings().local_modes.contains(LocalModes::ECHO), "the terminal is as before");
        let ended = run(&["shell", "-q", &format!("user@{name}"), "/bin/sh", "-c", "id -un; exit 3"]).expect_code(3);
        assert_eq!((ended.output.as_str(), ended.errors.as_str()), ("user\r\n", ""), "{way:?}");
        let words = ["shell", "-q", "--uid=user", "-EA=b c", &name, "/bin/sh", "-c", "echo $(id -un) $A"];
        assert_eq!(run(&words).expect_code(0).output, "user b c\r\n", "{way:?}");
        // The one before the name wins.
        let words = ["shell", "-q", "--uid=user", &format!("root@{name}"), "/bin/sh", "-c", "id -un; kill -9 $$"];
        assert_eq!(run(&words).expect_code(137).output, "root\r\n", "{way:?}");
    }
    before.assert_same();
}

#[test]
fn three_times_the_key_leaves_and_the_machine_goes_on() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    let _isolated = Isolated::enter();
    let running = machine(&tree, &[]);
    let mut terminal = Terminal::start(&mut redd(&["shell", &tree.name()]));
    terminal.expect("# ", LIMIT);
    terminal.write_line("sleep 1001 & echo started $! e\"\"nd; sleep 1002");
    terminal.expect("end", LIMIT);
    terminal.write("\x1d\x1d\x1d");
    assert_eq!(terminal.wait(LIMIT).code(), Some(0));
    assert!(terminal.transcript().ends_with("terminated.\r\n"), "{}", terminal.transcript());
    assert!(terminal.settings().local_modes.contains(LocalModes::ECHO), "the terminal is as before");
    run(&["shell", "-q", &tree.name(), "/bin/true"]).expect_code(0);
    // A size that changes is passed on.
    let mut terminal = Terminal::start(&mut redd(&["shell", &tree.name()]));
    terminal.expect("# ", LIMIT);
    terminal.resize(132, 43);
    terminal.write_line("until test \"$(stty size)\" = '43 132'; do sleep 0.05; done; echo e\"\"nd");
    terminal.expect("end", LIMIT);
    // The end of the machine is that of the session.
    drop(running);
    terminal.wait(LIMIT);
    assert!(terminal.transcript().ends_with("terminated.\r\n"), "{}", terminal.transcript());
}

#[test]
fn a_login_asks_for_the_password() {
    requires!(root, cgroup2, idmap, program "busybox");
    let tree = fixture::tree_with_login();
    let _isolated = Isolated::enter();
    for way in WAYS {
        let _running = machine(&tree, way);
        let mut terminal = Terminal::start(&mut redd(&["login", &tree.name()]));
        terminal.expect("login: ", LIMIT);
        terminal.write_line("root");
        terminal.expect("Password: ", LIMIT);
        terminal.write_line("wrong");
        terminal.expect("Login incorrect", LIMIT);
        terminal.expect("login: ", LIMIT);
        terminal.write_line("root");
        terminal.expect("Password: ", LIMIT);
        // Two at once.
        let mut other = Terminal::start(&mut redd(&["login", "-q", &tree.name()]));
        other.expect("login: ", LIMIT);
        terminal.write_line("secret");
        terminal.expect("# ", LIMIT);
        other.write_line("root");
        other.expect("Password: ", LIMIT);
        other.write_line("secret");
        other.expect("# ", LIMIT);
        other.write_line("echo a login of $(id -un) on $(tty); exit");
        other.expect("a login of root on /dev/pts/", LIMIT);
        other.wait(LIMIT);
        assert!(!terminal.transcript().contains("a login of"), "sessions are apart");
        // The code is that of login(1), not the shell's.
        terminal.write_line("exit 5");
        assert_eq!(terminal.wait(LIMIT).code(), Some(0), "{way:?}");
    }
}

#[test]
fn what_is_not_there_is_told() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    let _isolated = Isolated::enter();
    let _running = machine(&tree, &[]);
    let name = tree.name();
    let told = |words: &[&str], code: i32, text: &str| {
        let ended = run(words).expect_code(code);
        assert!(ended.errors.contains(text), "{words:?}: {ended}");
    };
    told(&["shell", "login-none"], 1, "no machine named login-none is running");
    told(&["login", "login-none"], 1, "no machine named login-none is running");
    told(&["login", &name], 1, "neither login(1) nor BusyBox");
    told(&["shell", &format!("nobody-here@{name}")], 1, "no user nobody-here");
    told(&["shell", &name, "/none"], 127, "/none");
    told(&["shell", "nobody-here@.host"], 1, "this host has no user nobody-here");
    told(&["login", "--uid=user", &name], 2, "`redd shell` takes them");
    told(&["login", "../x"], 1, "\"../x\" is no valid host name");
    // Who may not does nothing.
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--clear-groups", REDD, "shell", &name]).stdin(Stdio::null());
    let ended = run_limited(command, Vec::new(), LIMIT).expect_code(1);
    assert!(ended.errors.contains("only root may open sessions"), "{ended}");
}

#[test]
fn the_original_name_and_the_host() {
    requires!(root, cgroup2, program "setpriv");
    let tree = fixture::tree();
    let _isolated = Isolated::enter();
    let running = machine(&tree, &[]);
    let links = fixture::empty();
    let machinectl: PathBuf = links.join("machinectl");
    std::os::unix::fs::symlink(REDD, &machinectl).expect("link");
    let run = |words: &[&str]| {
        let mut command = Command::new(&machinectl);
        command.args(words);
        run_limited(command, Vec::new(), LIMIT)
    };
    let ended = run(&["-q", "-EA=b", "shell", running.name(), "/bin/sh", "-c", "echo $A -q; exit 9"]).expect_code(9);
    assert_eq!(ended.output, "b -q\r\n");
    for host in [&[".host"][..], &[""], &["root@"]] {
        let mut words = vec!["-q", "shell"];
        words.extend(host);
        words.extend(["/bin/sh", "-c", "echo $container $(id -un) $(readlink /proc/self/ns/pid); exit 4"]);
        let ended = run(&words).expect_code(4);
        let ours = std::fs::read_link("/proc/self/ns/pid").expect("link");
        assert_eq!(ended.output, format!("root {}\r\n", ours.display()), "{host:?}");
    }
    let mut command = Command::new(&machinectl);
    let mut terminal = Terminal::start(command.args(["shell", ".host", "/bin/cat"]));
    terminal.expect("Connected to the local host. Press ^] three times within 1s to exit session.", LIMIT);
    terminal.write("\x1d\x1d\x1d");
    terminal.wait(LIMIT);
    terminal.try_expect("Connection to the local host terminated.", LIMIT).expect("a word of it");
}
