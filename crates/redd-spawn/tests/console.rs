//! The console: modes, keys, readers, ends.

use std::io::{Read, Seek};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::LocalModes;
use testkit::{Spawn, Terminal, fixture, requires};

const REDD: &str = env!("CARGO_BIN_EXE_redd-spawn");
const LIMIT: Duration = Duration::from_secs(20);
const ESCAPE: &str = "\x1d";

/// A script in a small tree on a terminal.
/// What the caller ignores stays ignored, and whoever runs these tests in the background ignores some.
fn redd(tree: &fixture::Tree, options: &[&str], script: &str) -> Command {
    let mut command = Command::new("env");
    command.args(["--default-signal=HUP,INT,QUIT", REDD, "-q", "-D"]).arg(tree.path());
    command.args(options).args(["/bin/sh", "-c", script]);
    command
}

fn on_terminal(tree: &fixture::Tree, options: &[&str], script: &str) -> Terminal {
    Terminal::start(&mut redd(tree, options, script))
}

fn piped(tree: &fixture::Tree, options: &[&str], script: &str) -> Command {
    let mut command = redd(tree, options, script);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn pid(number: u32) -> Pid {
    Pid::from_raw(number as i32).expect("a process id")
}

#[test]
fn a_terminal_is_interactive_and_raw_and_restored() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    let mut terminal = on_terminal(&tree, &[], "tty; read word; echo \"got <$word>\"; exit 5");
    terminal.expect("/dev/pts/0", LIMIT);
    assert!(!terminal.settings().local_modes.contains(LocalModes::ICANON), "our side is not raw");
    terminal.write_line("hello");
    terminal.expect("got <hello>", LIMIT);
    assert_eq!(terminal.wait(LIMIT).code(), Some(5));
    assert!(terminal.settings().local_modes.contains(LocalModes::ICANON | LocalModes::ECHO), "not restored");
}

#[test]
fn control_c_reaches_the_container_and_not_us() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    let script = "trap 'echo interrupted; exit 3' INT; echo ready; while :; do sleep 0.1; done";
    let mut terminal = on_terminal(&tree, &[], script);
    terminal.expect("ready", LIMIT);
    terminal.write("\x03");
    terminal.expect("interrupted", LIMIT);
    assert_eq!(terminal.wait(LIMIT).code(), Some(3));
}

#[test]
fn the_window_size_is_followed() {
    requires!(root, cgroup2, program "stty");
    let tree = fixture::tree();
    let script = "stty size; trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.1; done";
    let mut terminal = on_terminal(&tree, &["--bind-ro=/usr", "--bind-ro=/lib", "--bind-ro=/lib64"], script);
    terminal.expect("24 80", LIMIT);
    terminal.expect("ready", LIMIT);
    terminal.resize(100, 33);
    terminal.expect("33 100", LIMIT);
    assert_eq!(terminal.wait(LIMIT).code(), Some(0));
}

#[test]
fn three_escapes_within_a_second_kill() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    let mut terminal = on_terminal(&tree, &["--kill-signal=SIGUSR1"], "trap '' TERM USR1; echo ready; sleep 600");
    terminal.expect("ready", LIMIT);
    terminal.write(&ESCAPE.repeat(3));
    assert_eq!(terminal.wait(LIMIT).code(), Some(128 + 9));
    assert!(terminal.settings().local_modes.contains(LocalModes::ICANON), "not restored");
}

#[test]
fn escapes_ask_for_power_off_and_are_not_seen_inside() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    let script = "trap 'echo asked; exit 4' USR1; echo ready; while :; do read -r x && echo \"<$x>\"; done";
    let mut terminal = on_terminal(&tree, &["--kill-signal=SIGUSR1"], script);
    terminal.expect("ready", LIMIT);
    terminal.write(&format!("a{ESCAPE}b\r"));
    terminal.expect(&format!("<a{ESCAPE}b>"), LIMIT);
    terminal.write(&format!("{ESCAPE}{ESCAPE}p\r"));
    terminal.expect("asked", LIMIT);
    assert_eq!(terminal.wait(LIMIT).code(), Some(4));
}

#[test]
fn the_end_of_input_reaches_the_payload() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    let cat = |input: &str| {
        let command = Spawn::redd(REDD, tree.path()).args(["--console=interactive", "/bin/sh", "-c", "cat; echo end"]);
        command.input(input).limit(LIMIT).run().expect_code(0).output.replace('\r', "")
    };
    assert_eq!(cat(""), "end\n");
    assert_eq!(cat("line\n"), "line\nline\nend\n");
    assert_eq!(cat("part"), "partpartend\n");
}

#[test]
fn without_a_terminal_output_is_shown_and_input_is_not_read() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    let ended =
        Spawn::redd(REDD, tree.path()).script("tty; echo out; echo err >&2; exit 6").input("x\n").limit(LIMIT).run();
    let ended = ended.expect_code(6);
    assert_eq!(ended.output, "/dev/pts/0\r\nout\r\nerr\r\n");
    assert_eq!(ended.errors, "");
}

#[test]
fn a_passive_console_shows_nothing() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    let script = "tty >/tty; i=0; while [ $i -lt 20000 ]; do echo $i; i=$((i+1)); done; exit 2";
    let ended =
        Spawn::redd(REDD, tree.path()).arg("--console=passive").script(script).limit(LIMIT).run().expect_code(2);
    assert_eq!((ended.output.as_str(), ended.errors.as_str()), ("", ""));
    assert_eq!(std::fs::read_to_string(tree.join("/tty")).expect("file"), "/dev/pts/0\n");
}

#[test]
fn pipes_are_the_streams_themselves() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    for mode in ["--pipe", "--console=pipe", "--console=autopipe"] {
        let script = "cat; echo err >&2; ls /dev/console; exit 7";
        let ended = Spawn::redd(REDD, tree.path()).arg(mode).script(script).input("in\n").limit(LIMIT).run();
        let ended = ended.expect_code(7);
        assert_eq!(ended.output, "in\n", "{mode}");
        assert!(ended.errors.starts_with("err\n") && ended.errors.contains("/dev/console"), "{mode}: {ended}");
    }
}

#[test]
fn the_last_output_is_complete() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    let mut child =
        piped(&tree, &[], "i=0; while [ $i -lt 30000 ]; do echo $i; i=$((i+1)); done").spawn().expect("start");
    // A reader that is slow to begin with, but alive.
    std::thread::sleep(Duration::from_secs(2));
    let mut text = String::new();
    child.stdout.take().expect("pipe").read_to_string(&mut text).expect("read");
    assert!(child.wait().expect("wait").success());
    assert_eq!(text.lines().count(), 30000);
    assert_eq!(text.lines().last(), Some("29999"));
}

#[test]
fn a_reader_that_is_gone_does_not_stop_the_container() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    let script = "i=0; while [ $i -lt 30000 ]; do echo $i; i=$((i+1)); done; echo done >/done; exit 3";
    let mut child = piped(&tree, &[], script).spawn().expect("start");
    drop(child.stdout.take());
    assert_eq!(child.wait().expect("wait").code(), Some(3));
    assert!(tree.join("/done").exists());
}

#[test]
fn a_reader_that_does_not_read_does_not_stop_the_container() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    let script = "i=0; while [ $i -lt 60000 ]; do echo 0123456789$i; i=$((i+1)); done; echo done >/done; exit 3";
    let mut child = piped(&tree, &[], script).spawn().expect("start");
    let _never_read = child.stdout.take();
    let start = Instant::now();
    assert_eq!(child.wait().expect("wait").code(), Some(3));
    assert!(start.elapsed() < Duration::from_secs(60));
    assert!(tree.join("/done").exists());
}

#[test]
fn a_signal_asks_and_a_second_one_kills() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    let run = |options: &[&str], script: &str, signals: &[Signal]| {
        let mut child = piped(&tree, options, &format!("{script}; echo ready; while :; do sleep 0.1; done"))
            .spawn()
            .expect("start");
        let mut output = child.stdout.take().expect("pipe");
        let mut seen = String::new();
        let mut byte = [0; 1];
        while !seen.contains("ready") && output.read(&mut byte).expect("read") == 1 {
            seen.push(char::from(byte[0]));
        }
        for signal in signals {
            kill_process(pid(child.id()), *signal).expect("kill");
            std::thread::sleep(Duration::from_millis(300));
        }
        child.wait().expect("wait").code()
    };
    let polite = ["--kill-signal=SIGUSR1"];
    assert_eq!(run(&polite, "trap 'exit 9' USR1", &[Signal::TERM]), Some(9));
    assert_eq!(run(&polite, "trap 'exit 9' USR1", &[Signal::INT]), Some(9));
    assert_eq!(run(&polite, "trap 'exit 9' USR1", &[Signal::HUP]), Some(9));
    assert_eq!(run(&polite, "trap '' USR1", &[Signal::TERM, Signal::TERM]), Some(128 + 9));
    assert_eq!(run(&[], "trap '' TERM", &[Signal::TERM]), Some(128 + 9));
}

#[test]
fn the_terminal_is_restored_when_we_are_ended() {
    requires!(root, cgroup2);
    for signal in [Signal::TERM, Signal::HUP, Signal::QUIT, Signal::INT] {
        let tree = fixture::tree();
        let mut terminal = on_terminal(&tree, &[], "echo ready; sleep 600");
        terminal.expect("ready", LIMIT);
        kill_process(pid(terminal.pid()), signal).expect("kill");
        assert_eq!(terminal.wait(LIMIT).code(), Some(128 + 9));
        assert!(terminal.settings().local_modes.contains(LocalModes::ICANON), "not restored after {signal:?}");
    }
}

#[test]
fn we_stop_and_go_on_as_a_job() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    // A shell with job control, as a person has it.
    let shell = "set -m; \"$@\"; echo stopped; read go; fg >/dev/null; echo ended $?";
    let mut command = Command::new("/bin/sh");
    command.args(["-c", shell, "sh", REDD, "-q", "-D"]).arg(tree.path());
    command.args(["/bin/sh", "-c", "echo ready; read x; echo \"got $x\"; exit 7"]);
    let mut terminal = Terminal::start(&mut command);
    terminal.expect("ready", LIMIT);
    kill_process(only_child(terminal.pid()), Signal::TSTP).expect("kill");
    terminal.expect("stopped", LIMIT);
    assert!(terminal.settings().local_modes.contains(LocalModes::ICANON), "the terminal was not given back");
    terminal.write_line("go");
    let end = Instant::now() + LIMIT;
    while terminal.settings().local_modes.contains(LocalModes::ICANON) {
        assert!(Instant::now() < end, "the terminal was not taken again");
        std::thread::sleep(Duration::from_millis(20));
    }
    terminal.write_line("more");
    terminal.expect("got more", LIMIT);
    terminal.expect("ended 7", LIMIT);
    assert_eq!(terminal.wait(LIMIT).code(), Some(0));
}

#[test]
fn we_do_not_stop_where_no_shell_could_continue_us() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    let mut terminal = on_terminal(&tree, &[], "echo ready; read x; echo \"got $x\"; exit 0");
    terminal.expect("ready", LIMIT);
    kill_process(pid(terminal.pid()), Signal::TSTP).expect("kill");
    std::thread::sleep(Duration::from_millis(300));
    terminal.write_line("more");
    terminal.expect("got more", LIMIT);
    assert_eq!(terminal.wait(LIMIT).code(), Some(0));
}

#[test]
fn who_keeps_the_console_open_does_not_keep_us() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    let mut child = piped(&tree, &[], "echo ready; sleep 1; echo last; exit 6").spawn().expect("start");
    let mut output = child.stdout.take().expect("pipe");
    let mut ready = [0; 7];
    output.read_exact(&mut ready).expect("read");
    let console = format!("/proc/{}/root/dev/console", only_child(child.id()).as_raw_nonzero());
    let _kept =
        std::fs::OpenOptions::new().write(true).custom_flags(no_controlling_terminal()).open(console).expect("console");
    let end = Instant::now() + LIMIT;
    let status = loop {
        match child.try_wait().expect("wait") {
            Some(status) => break status,
            None => assert!(Instant::now() < end, "it does not end"),
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let mut rest = String::new();
    output.read_to_string(&mut rest).expect("read");
    assert_eq!((status.code(), rest.as_str()), (Some(6), "last\r\n"));
}

/// Opening it must not make it ours.
fn no_controlling_terminal() -> i32 {
    rustix::fs::OFlags::NOCTTY.bits().cast_signed()
}

/// The one child of a process that has a single one.
fn only_child(parent: u32) -> Pid {
    let text = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).expect("proc");
    let mut words = text.split_whitespace();
    let child = pid(words.next().expect("a child").parse().expect("a number"));
    assert_eq!(words.next(), None, "another child");
    child
}

#[test]
fn a_terminal_that_takes_no_output_does_not_stop_the_container() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    let script = "i=0; while [ $i -lt 20000 ]; do echo 0123456789$i; i=$((i+1)); done; echo done >/done; exit 3";
    let mut terminal = on_terminal(&tree, &[], script);
    let end = Instant::now() + Duration::from_secs(60);
    while !tree.join("/done").exists() {
        assert!(Instant::now() < end, "the container waits for the reader");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(terminal.wait(LIMIT).code(), Some(3));
}

#[test]
fn output_to_a_file_is_complete() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    let mut file = tempfile::tempfile().expect("file");
    let mut command = piped(&tree, &[], "i=0; while [ $i -lt 30000 ]; do echo $i; i=$((i+1)); done");
    assert!(command.stdout(file.try_clone().expect("file")).status().expect("start").success());
    let mut text = String::new();
    file.seek(std::io::SeekFrom::Start(0)).and_then(|_| file.read_to_string(&mut text)).expect("read");
    assert_eq!((text.lines().count(), text.lines().last()), (30000, Some("29999")));
}

#[test]
fn a_title_is_shown_where_the_terminal_can() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    let transcript = |terminal_type: &str| {
        let mut command = Command::new(REDD);
        command.env("TERM", terminal_type).arg("-q").arg("-D").arg(tree.path()).args(["/bin/sh", "-c", "echo hi"]);
        let mut terminal = Terminal::start(&mut command);
        assert_eq!(terminal.wait(LIMIT).code(), Some(0));
        terminal.transcript().to_owned()
    };
    let shown = transcript("xterm-256color");
    let title = format!("\x1b]0;Container {}\x07", tree.name());
    assert!(shown.contains(&title) && shown.contains("hi\r\n") && shown.ends_with("\x1b[23;0t"), "{shown:?}");
    assert_eq!(transcript("dumb"), "hi\r\n");
}

#[test]
fn a_terminal_that_says_what_background_it_has_is_tinted() {
    requires!(root, cgroup2);
    const ASKED: &str = "\x1b]11;?\x1b\\";
    let tree = fixture::tree();
    let start = |no_color: &str| {
        let mut command = Command::new(REDD);
        command.env("TERM", "xterm-256color").env("NO_COLOR", no_color).arg("-q").arg("-D").arg(tree.path());
        Terminal::start(&mut command)
    };
    let mut terminal = start("");
    terminal.expect(ASKED, LIMIT);
    // The keys around the answer reach the shell, the answer does not.
    terminal.write("echo wo\x1b]11;rgb:0000/0000/0000\x1b\\\"\"rd\r");
    terminal.expect("\x1b]11;rgb:06b8/0d70/23d6\x1b\\", LIMIT);
    terminal.expect("word\r\n", LIMIT);
    terminal.write_line("exit 4");
    assert_eq!(terminal.wait(LIMIT).code(), Some(4));
    assert!(terminal.transcript().ends_with("\x1b]111\x1b\\\x1b[23;0t"), "{:?}", terminal.transcript());
    // One that does not answer stays as it is, and loses no keys.
    let mut silent = start("");
    silent.expect(ASKED, LIMIT);
    silent.write_line("exit 5");
    assert_eq!(silent.wait(LIMIT).code(), Some(5));
    assert!(!silent.transcript().contains("\x1b]111"), "{:?}", silent.transcript());
    let mut plain = start("1");
    plain.write_line("exit 6");
    assert_eq!(plain.wait(LIMIT).code(), Some(6));
    assert!(!plain.transcript().contains("\x1b]11"), "{:?}", plain.transcript());
}

#[test]
fn the_payload_dies_with_its_supervisor() {
    requires!(root, cgroup2);
    for options in [&[][..], &["-a"], &["-U"], &["-U", "-a"], &["-u", "65534"]] {
        let tree = fixture::tree();
        let mark = format!("{}", 4_000_000 + std::process::id());
        let mut child = piped(&tree, options, &format!("echo ready; sleep {mark}")).spawn().expect("start");
        let mut ready = [0; 5];
        child.stdout.as_mut().expect("pipe").read_exact(&mut ready).expect("read");
        let end = Instant::now() + LIMIT;
        while !running(&mark) {
            assert!(Instant::now() < end, "{options:?}: not seen");
        }
        child.kill().expect("kill");
        child.wait().expect("wait");
        let end = Instant::now() + LIMIT;
        while running(&mark) {
            assert!(Instant::now() < end, "{options:?}: the payload lives on");
            std::thread::sleep(Duration::from_millis(20));
        }
        let cleaned = Command::new(REDD).args(["-q", "--cleanup", "-D"]).arg(tree.path()).output().expect("start");
        assert!(cleaned.status.success(), "{options:?}: {}", String::from_utf8_lossy(&cleaned.stderr));
    }
}

/// Whether a process that is no zombie has the word in its command line.
fn running(word: &str) -> bool {
    let processes = std::fs::read_dir("/proc").expect("proc").flatten();
    processes
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .any(|line| line.split(|byte| *byte == 0).any(|part| part == word.as_bytes()))
}
