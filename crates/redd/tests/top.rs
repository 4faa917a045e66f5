//! `redd top` on a terminal, as a person sees it.

use std::process::Command;
use std::time::Duration;

use testkit::{Isolated, Running, Terminal, fixture, requires, run_limited};

const REDD: &str = env!("CARGO_BIN_EXE_redd");
const SOON: Duration = Duration::from_secs(10);

fn top() -> Command {
    let mut command = Command::new(REDD);
    command.args(["top", "--interval=0.2"]).env("LANG", "C.UTF-8").env("TERM", "xterm");
    command
}

/// The terminal is one for people: lines, echo, signals by keys.
fn is_usual(terminal: &Terminal) -> bool {
    use rustix::termios::{InputModes, LocalModes, OutputModes};
    let now = terminal.settings();
    now.local_modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
        && now.input_modes.contains(InputModes::ICRNL)
        && now.output_modes.contains(OutputModes::OPOST)
}

fn pid(terminal: &Terminal) -> rustix::process::Pid {
    i32::try_from(terminal.pid()).ok().and_then(rustix::process::Pid::from_raw).expect("pid")
}

#[test]
fn machines_are_shown_until_q() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    let _isolated = Isolated::enter();
    let mut command = Command::new(REDD);
    command.args(["spawn", "-q", "-D"]).arg(tree.path()).args(["/bin/sh", "-c", "while :; do :; done"]);
    let running = Running::start(command, &tree.name());
    let mut terminal = Terminal::start(&mut top());
    terminal.expect("\x1b[?1049h", SOON);
    terminal.expect(running.name(), SOON);
    terminal.expect("q quit", SOON);
    terminal.write("m");
    terminal.expect(running.name(), SOON);
    terminal.resize(40, 10);
    // What does not fit a line of 40 columns ends with a sign.
    terminal.expect("…", SOON);
    running.stop();
    terminal.expect("machine", SOON);
    terminal.write("q");
    let rest = terminal.expect("\x1b[?1049l", SOON);
    assert!(rest.ends_with("\x1b[?25h\x1b[?1049l"), "{rest:?}");
    assert!(terminal.wait(SOON).success());
    assert!(is_usual(&terminal));
}

#[test]
fn the_terminal_is_as_before_after_a_signal() {
    use std::os::unix::process::ExitStatusExt;
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::HUP, rustix::process::Signal::INT] {
        let mut terminal = Terminal::start(&mut top());
        terminal.expect("q quit", SOON);
        assert!(!is_usual(&terminal));
        let pid = pid(&terminal);
        rustix::process::kill_process(pid, signal).expect("signal");
        terminal.expect("\x1b[?1049l", SOON);
        assert_eq!(terminal.wait(SOON).signal(), Some(signal.as_raw()));
        assert!(is_usual(&terminal));
    }
}

#[test]
fn control_z_gives_the_terminal_back_meanwhile() {
    let mut terminal = Terminal::start(&mut top());
    terminal.expect("q quit", SOON);
    terminal.write("\x1a");
    terminal.expect("\x1b[?1049l", SOON);
    let end = std::time::Instant::now() + SOON;
    let stopped =
        |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") T "));
    while !stopped(terminal.pid()) {
        assert!(std::time::Instant::now() < end, "it does not stop");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(is_usual(&terminal));
    let pid = pid(&terminal);
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).expect("signal");
    terminal.expect("q quit", SOON);
    terminal.write("q");
    terminal.expect("\x1b[?1049l", SOON);
    assert!(terminal.wait(SOON).success());
}

/// The lines of the last picture that was drawn.
fn last_picture(transcript: &str) -> Vec<String> {
    let begin = transcript.rfind("\x1b[H").expect("a picture");
    let picture = transcript[begin + 3..].split("\x1b[J").next().unwrap_or_default();
    picture.split("\r\n").map(|line| line.replace("\x1b[K", "").replace("\x1b[7m", "").replace("\x1b[0m", "")).collect()
}

#[test]
fn more_machines_than_lines_in_terminals_of_any_size() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    let _isolated = Isolated::enter();
    let machines: Vec<Running> = (0..12)
        .map(|number| {
            let name = format!("logs-top-{}-{number:02}", std::process::id());
            let mut command = Command::new(REDD);
            command.args(["spawn", "-q", "-x", "-M", &name, "-D"]).arg(tree.path()).args(["/probe", "pause"]);
            Running::begin(command, &name)
        })
        .map(|mut running| {
            running.await_entry();
            running
        })
        .collect();
    let mut terminal = Terminal::start(top().args(["--sort=name"]));
    terminal.expect(machines[11].name(), SOON);
    for (columns, lines) in [(80, 8), (200, 60), (20, 5), (3, 2), (1, 1), (2, 30), (80, 24)] {
        terminal.resize(columns, lines);
        // One picture may still be of the size before.
        for _ in 0..3 {
            terminal.expect("\x1b[J", SOON);
        }
        let picture = last_picture(terminal.transcript());
        assert!(picture.len() <= usize::from(lines), "{columns}x{lines}: {picture:#?}");
        assert!(
            picture.iter().all(|line| line.chars().count() <= usize::from(columns)),
            "{columns}x{lines}: {picture:#?}"
        );
    }
    terminal.resize(80, 8);
    for _ in 0..3 {
        terminal.expect("\x1b[J", SOON);
    }
    assert!(!last_picture(terminal.transcript()).iter().any(|line| line.contains(machines[11].name())));
    // To the end, and as far beyond as somebody may press.
    for _ in 0..20 {
        terminal.write("\x1b[B");
        terminal.expect("\x1b[J", SOON);
    }
    terminal.expect(machines[11].name(), SOON);
    terminal.write("\x03");
    terminal.expect("\x1b[?25h\x1b[?1049l", SOON);
    assert!(terminal.wait(SOON).success());
    assert!(is_usual(&terminal));
    for machine in machines {
        machine.stop();
    }
}

#[test]
fn without_a_terminal_there_is_a_hint() {
    let ended = run_limited(top(), Vec::new(), SOON).expect_code(1);
    assert!(ended.errors.contains("terminal") && ended.errors.contains("redd stats --no-stream"), "{ended}");
}
