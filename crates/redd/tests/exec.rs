//! `redd exec`, `redd shell`, `redd login`: commands in machines that run.

use std::ffi::OsStr;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use testkit::fixture::{self, Tree};
use testkit::{Ended, HostState, Isolated, Running, Terminal, requires, run_limited};

const REDD: &str = env!("CARGO_BIN_EXE_redd");
const LIMIT: Duration = Duration::from_secs(60);

fn machine(tree: &Tree, options: &[&str]) -> Running {
    let mut command = Command::new(REDD);
    command.args(["spawn", "-q", "-P", "-D"]).arg(tree.path()).args(options).args(["/bin/sleep", "1000"]);
    Running::start(command, &tree.name())
}

fn exec(tree: &Tree, words: &[&str]) -> Command {
    let mut command = Command::new(REDD);
    command.args(["exec", &tree.name()]).args(words);
    command
}

fn run(tree: &Tree, words: &[&str]) -> Ended {
    run_limited(exec(tree, words), Vec::new(), LIMIT)
}

/// With options of redd's own, which stand before the machine.
fn run_with(tree: &Tree, options: &[&str], words: &[&str]) -> Ended {
    let mut command = Command::new(REDD);
    command.arg("exec").args(options).arg(tree.name()).args(words);
    run_limited(command, Vec::new(), LIMIT)
}

const WAYS: [&[&str]; 3] = [&[], &["-U"], &["-U", "--private-network"]];

#[test]
fn codes_and_signals_are_the_commands_own() {
    requires!(root, cgroup2, idmap);
    let tree = fixture::tree();
    let _isolated = Isolated::enter();
    for way in WAYS {
        let _running = machine(&tree, way);
        for code in [0, 1, 2, 77, 125, 126, 127, 128, 254, 255] {
            run(&tree, &["/bin/sh", "-c", &format!("exit {code}")]).expect_code(code);
        }
        for signal in ["KILL", "TERM", "SEGV"] {
            let number = match signal {
                "KILL" => 9,
                "TERM" => 15,
                _ => 11,
            };
            run(&tree, &["/bin/sh", "-c", &format!("kill -{signal} $$")]).expect_code(128 + number);
        }
        let ended = run(&tree, &["no-such-program"]).expect_code(127);
        assert!(ended.errors.contains("no-such-program (no such program in the container)"), "{ended}");
        tree.write("data", "", 0o644);
        run(&tree, &["/data"]).expect_code(126);
    }
}

#[test]
fn scripts_and_programs_that_lack_something() {
    requires!(root, cgroup2, idmap);
    let tree = fixture::tree();
    tree.write("plain", "echo $# of:$1\n", 0o755);
    tree.write("orphan", "#!/none\n", 0o755);
    tree.write("odd", b"\x01\x02\x03", 0o755);
    let _isolated = Isolated::enter();
    for way in WAYS {
        let _running = machine(&tree, way);
        assert_eq!(run(&tree, &["/plain", "a b", "c"]).expect_code(0).output, "2 of:a b\n", "{way:?}");
        let ended = run(&tree, &["/orphan"]).expect_code(127);
        assert!(ended.errors.contains("cannot run /orphan (its interpreter"), "{way:?} {ended}");
        let ended = run(&tree, &["/odd"]).expect_code(126);
        assert!(ended.errors.contains("cannot run /odd (no program"), "{way:?} {ended}");
        let ended = run(&tree, &["/etc"]).expect_code(126);
        assert!(ended.errors.contains("cannot run /etc: Permission denied"), "{way:?} {ended}");
        // The shell of who logs in, or else sh.
        tree.write("etc/passwd", "root:x:0:0::/root:/none/zsh\n", 0o644);
        let ended = run_limited(exec(&tree, &[]), b"echo $0\n".to_vec(), LIMIT).expect_code(0);
        assert_eq!(ended.output, "-sh\n", "{way:?}");
    }
}

#[test]
fn streams_are_separate_and_binary() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    let _isolated = Isolated::enter();
    let _running = machine(&tree, &[]);
    let ended = run(&tree, &["sh", "-c", "echo out; echo errors >&2"]).expect_code(0);
    assert_eq!((ended.output.as_str(), ended.errors.as_str()), ("out\n", "errors\n"));
    let bytes: Vec<u8> = (0..16_u32 << 20).map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let mut child = exec(&tree, &["cat"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("redd exec");
    let mut input = child.stdin.take().expect("input");
    let sent = bytes.clone();
    let sender = std::thread::spawn(move || std::io::Write::write_all(&mut input, &sent));
    let output = child.wait_with_output().expect("output");
    sender.join().expect("sender").expect("all is taken");
    assert!(output.status.success());
    assert!(output.stdout == bytes, "{} bytes came back", output.stdout.len());
    // Whoever does not read its input disturbs nobody.
    assert_eq!(run_limited(exec(&tree, &["true"]), bytes, LIMIT).code(), 0);
}

#[test]
fn it_may_do_what_the_machine_may_and_no_more() {
    requires!(root, cgroup2, idmap);
    let tree = fixture::tree();
    let _isolated = Isolated::enter();
    let standing = "grep -E '^(Cap|NoNewPrivs|Seccomp)' /proc/$0/status; cat /proc/$0/cgroup | grep ^0; \
                    for name in cgroup ipc mnt net pid user uts; do readlink /proc/$0/ns/$name; done";
    for way in [&["-U", "--drop-capability=CAP_SYS_CHROOT"][..], &["--no-new-privileges=yes"], &["--private-network"]] {
        let mut command = Command::new(REDD);
        command.args(["spawn", "-q", "-P", "-D"]).arg(tree.path()).args(way).args(["/bin/sleep", "1000"]);
        let _running = Running::start(command, &tree.name());
        let [first, own] = ["1", "self"].map(|who| run(&tree, &["sh", "-c", standing, who]).expect_code(0).output);
        assert_eq!(first, own, "{way:?}");
        // Nothing of the host's is open.
        let open = run(&tree, &["sh", "-c", "ls /proc/self/fd | wc -l"]).expect_code(0);
        assert_eq!(open.output.trim(), "4", "{way:?}");
        let kinds = run(&tree, &["sh", "-c", "for n in 0 1 2; do readlink /proc/self/fd/$n; done"]).expect_code(0);
        assert!(kinds.output.lines().all(|line| line.starts_with("pipe:")), "{kinds}");
    }
}

#[test]
fn users_directories_and_variables() {
    requires!(root, cgroup2, idmap);
    let tree = fixture::tree();
    tree.write("etc/passwd", "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n", 0o644);
    tree.write("etc/group", "root:x:0:\nann:x:1000:\nwheel:x:10:ann\n", 0o644);
    tree.write("home/ann/x", "", 0o644);
    tree.write("root/x", "", 0o644);
    let _isolated = Isolated::enter();
    let _running = machine(&tree, &["-U"]);
    let ended = run_with(&tree, &["-u", "ann"], &["sh", "-c", "id -u; id -G; pwd; echo $HOME $USER"]).expect_code(0);
    assert_eq!(ended.output, "1000\n1000 10\n/home/ann\n/home/ann ann\n");
    assert_eq!(run_with(&tree, &["-u", "1000"], &["id", "-u"]).expect_code(0).output, "1000\n");
    let ended = run_with(&tree, &["-u", "nobody-here"], &["true"]).expect_code(1);
    assert!(ended.errors.contains("the machine has no user nobody-here"), "{ended}");
    let options = ["-E", "A=b c", "--chdir", "/home"];
    let ended = run_with(&tree, &options, &["sh", "-c", "pwd; echo \"$A\"; echo $container"]).expect_code(0);
    assert_eq!(ended.output, "/home\nb c\nsystemd-nspawn\n");
    run_with(&tree, &["--chdir", "/none"], &["true"]).expect_code(1);
    let caps = run_with(&tree, &["-u", "ann"], &["grep", "CapEff", "/proc/self/status"]).expect_code(0);
    assert!(caps.output.ends_with("0000000000000000\n"), "{caps}");
}

#[test]
fn a_terminal_of_its_own() {
    requires!(root, cgroup2, idmap);
    let tree = fixture::tree();
    let _isolated = Isolated::enter();
    let _running = machine(&tree, &["-U"]);
    let mut command = Command::new(REDD);
    command.args(["exec", "-t", &tree.name(), "sh"]);
    let mut terminal = Terminal::start(&mut command);
    terminal.resize(100, 30);
    terminal.write_line("echo here:$((20+3)):$(tty)");
    terminal.expect("here:23:/dev/pts/", LIMIT);
    let until = Instant::now() + LIMIT;
    loop {
        terminal.write_line("stty size; echo asked");
        if terminal.try_expect("30 100", Duration::from_millis(500)).is_some() {
            break;
        }
        assert!(Instant::now() < until, "the size does not arrive: {}", terminal.transcript());
    }
    // The key ends what runs inside, and not us.
    terminal.write_line("sleep 1000; echo ended:$?");
    std::thread::sleep(Duration::from_millis(300));
    terminal.write("\u{3}");
    terminal.write_line("echo still:$((1+1))");
    terminal.expect("still:2", LIMIT);
    terminal.write_line("exit 9");
    assert_eq!(terminal.wait(LIMIT).code(), Some(9));
}

#[test]
fn signals_are_passed_on_and_a_killed_client_takes_the_command_along() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    let _isolated = Isolated::enter();
    let _running = machine(&tree, &[]);
    let script = "trap 'echo asked; exit 3' TERM; echo ready > /ready; while :; do sleep 0.05; done";
    for (signal, code, word) in [("TERM", Some(3), "asked\n"), ("KILL", None, "")] {
        drop(std::fs::remove_file(tree.join("ready")));
        let child = exec(&tree, &["sh", "-c", script]).stdout(Stdio::piped()).spawn().expect("redd exec");
        let until = Instant::now() + LIMIT;
        while !tree.join("ready").exists() {
            assert!(Instant::now() < until);
            std::thread::sleep(Duration::from_millis(10));
        }
        let status = Command::new("kill").arg(format!("-{signal}")).arg(child.id().to_string()).status();
        assert!(status.expect("kill").success());
        let output = child.wait_with_output().expect("output");
        assert_eq!((output.status.code(), output.stdout.as_slice()), (code, word.as_bytes()), "{signal}");
        assert_eq!(output.status.signal().is_some(), code.is_none());
        let until = Instant::now() + LIMIT;
        while !run(&tree, &["sh", "-c", "ps ax | grep -c '[t]rap'"]).output.starts_with('0') {
            assert!(Instant::now() < until, "the command is still there");
        }
    }
}

#[test]
fn nothing_is_left_of_many() {
    requires!(root, cgroup2, idmap);
    let tree = fixture::tree();
    let _isolated = Isolated::enter();
    let _running = machine(&tree, &["-U"]);
    run(&tree, &["true"]).expect_code(0);
    let before = HostState::capture(tree.path(), &[]);
    let processes = || run(&tree, &["sh", "-c", "ls -d /proc/[0-9]* | wc -l"]).expect_code(0).output;
    let first = processes();
    for _ in 0..many() {
        run(&tree, &["true"]).expect_code(0);
    }
    assert_eq!(processes(), first);
    before.assert_same();
}

/// More of them where there is time (`REDD_MANY`).
fn many() -> u32 {
    std::env::var("REDD_MANY").ok().and_then(|many| many.parse().ok()).unwrap_or(100)
}

#[test]
fn what_is_not_there_is_named() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    let _isolated = Isolated::enter();
    let ended = run(&tree, &["true"]).expect_code(1);
    assert!(ended.errors.contains(&format!("no machine named {} is running", tree.name())), "{ended}");
    for name in ["..", "a/b", "\u{fc}", ""] {
        let mut command = Command::new(REDD);
        command.args(["exec", name, "true"]);
        assert_ne!(run_limited(command, Vec::new(), LIMIT).code(), 0, "{name:?}");
    }
    let running = machine(&tree, &[]);
    drop(running);
    run(&tree, &["true"]).expect_code(1);
}

#[test]
fn a_machine_that_comes_up_is_waited_for_and_one_that_is_paused_is_not() {
    requires!(root, cgroup2, idmap);
    let tree = fixture::tree();
    let _isolated = Isolated::enter();
    for round in 0..10 {
        let _running = machine(&tree, WAYS[round % 2]);
        // Its first process is somewhere between the host and its own mounts when its entry appears.
        run(&tree, &["cat", "/proc/1/cmdline"]).expect_code(0);
        let ended = run(&tree, &["sh", "-c", "tr '\\0' ' ' < /proc/1/cmdline"]).expect_code(0);
        assert_eq!(ended.output, "/bin/sleep 1000 ");
    }
    let _running = machine(&tree, &["-U"]);
    let steer = |verb: &str| {
        let mut command = Command::new(REDD);
        command.args([verb, &tree.name()]);
        run_limited(command, Vec::new(), LIMIT).expect_code(0)
    };
    steer("pause");
    let ended = run(&tree, &["true"]).expect_code(1);
    assert!(ended.errors.contains(&format!("'redd resume {}'", tree.name())), "{ended}");
    steer("resume");
    run(&tree, &["true"]).expect_code(0);
}

#[test]
fn hostile_files_lead_nowhere() {
    requires!(root, cgroup2, idmap);
    let tree = fixture::tree();
    let _isolated = Isolated::enter();
    let _running = machine(&tree, &["-U"]);
    let replace = |script: &str| run(&tree, &["sh", "-c", script]).expect_code(0);
    // A fifo would hang whoever opens it, a link leads to the machine's own files alone.
    replace("rm /etc/passwd; mkfifo /etc/passwd");
    assert_eq!(run(&tree, &["id", "-u"]).expect_code(0).output, "0\n", "root is there without");
    run_with(&tree, &["-u", "ann"], &["true"]).expect_code(1);
    replace("rm /etc/passwd; ln -s /../../../../etc/passwd-of-the-host /etc/passwd");
    run_with(&tree, &["-u", "ann"], &["true"]).expect_code(1);
    // What is no terminal file system gives no terminal.
    replace("mount -t tmpfs tmpfs /dev/pts && : > /dev/pts/ptmx");
    let mut command = Command::new(REDD);
    command.args(["exec", "-t", &tree.name(), "true"]);
    let ended = run_limited(command, Vec::new(), LIMIT).expect_code(1);
    assert!(ended.errors.contains("cannot make a terminal"), "{ended}");
    replace("umount /dev/pts");
}

#[test]
fn a_static_program_is_all_that_is_needed() {
    requires!(root, cgroup2);
    let tree = fixture::empty();
    for directory in ["usr", "etc", "proc", "sys", "dev", "run", "tmp"] {
        std::fs::create_dir(tree.join(directory)).expect("directory");
    }
    std::fs::copy(testkit::PROBE, tree.join("probe")).expect("probe");
    tree.write("etc/os-release", "ID=tiny\n", 0o644);
    let _isolated = Isolated::enter();
    let mut command = Command::new(REDD);
    command.args(["spawn", "-q", "-P", "-D"]).arg(tree.path()).args(["/probe", "pause"]);
    let _running = Running::start(command, &tree.name());
    let probe: &OsStr = Path::new("/probe").as_os_str();
    let ended = run(&tree, &[probe.to_str().expect("text")]).expect_code(0);
    assert!(!ended.output.is_empty(), "{ended}");
}
