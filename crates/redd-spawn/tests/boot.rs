//! A whole system: boot, login, reboot, power-off.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use testkit::{HostState, Terminal, fixture, requires};

const REDD: &str = env!("CARGO_BIN_EXE_redd-spawn");
/// Each test looks at the host before and after.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
/// A first boot has much to do, on a slow machine that does other things as well.
const LIMIT: Duration = Duration::from_secs(120);

fn command(tree: &Path, options: &[&str]) -> Command {
    let mut command = Command::new(REDD);
    command.arg("-q").arg("-xbD").arg(tree).args(options).env("TERM", "dumb");
    command
}

fn log_in(terminal: &mut Terminal) {
    terminal.expect("login: ", LIMIT);
    terminal.write_line("root");
    terminal.expect("# ", LIMIT);
}

/// What the shell inside prints for a command, which must not contain the word END.
fn ask(terminal: &mut Terminal, question: &str) -> String {
    // The echo of what is typed is not what is waited for.
    terminal.write_line(&format!("{question}; echo E\"\"ND"));
    let answer = terminal.expect("END", LIMIT);
    let lines = answer.lines().filter(|line| !line.contains(question) && !line.ends_with("END"));
    lines.map(|line| line.trim_end_matches('\r')).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

#[test]
fn debian_boots_to_a_login_and_powers_off() {
    requires!(root, cgroup2);
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(tree) = fixture::debian_tree() else { return };
    for options in [&[][..], &["-U"]] {
        let before = HostState::capture(&tree, &[]);
        let mut terminal = Terminal::start(&mut command(&tree, options));
        log_in(&mut terminal);
        let state = ask(&mut terminal, "systemctl is-system-running --wait");
        let failed = ask(&mut terminal, "systemctl --failed --plain --no-legend");
        assert_eq!(state.trim(), "running", "{options:?}: {failed}");
        assert_eq!(ask(&mut terminal, "cat /proc/1/comm").trim(), "systemd");
        terminal.write_line("systemctl poweroff");
        assert_eq!(terminal.wait(LIMIT).code(), Some(0), "{options:?}");
        before.assert_same();
    }
}

#[test]
fn a_reboot_starts_it_again_with_the_same_settings() {
    requires!(root, cgroup2);
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(tree) = fixture::debian_tree() else { return };
    let mut terminal = Terminal::start(&mut command(&tree, &["-U"]));
    log_in(&mut terminal);
    let first = ask(&mut terminal, "cat /proc/sys/kernel/random/boot_id");
    ask(&mut terminal, "touch /kept");
    terminal.write_line("systemctl reboot");
    log_in(&mut terminal);
    assert!(ask(&mut terminal, "ls /kept").contains("/kept"), "the copy is the same one");
    assert_ne!(ask(&mut terminal, "cat /proc/sys/kernel/random/boot_id"), first, "each boot has an id of its own");
    terminal.write("\x1d\x1dr");
    log_in(&mut terminal);
    terminal.write_line("systemctl exit 42");
    assert_eq!(terminal.wait(LIMIT).code(), Some(42));
}

#[test]
fn a_signal_shuts_it_down_in_order() {
    requires!(root, cgroup2);
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(tree) = fixture::debian_tree() else { return };
    let mut terminal = Terminal::start(&mut command(&tree, &[]));
    terminal.expect("login: ", LIMIT);
    kill_process(Pid::from_raw(terminal.pid() as i32).expect("pid"), Signal::TERM).expect("kill");
    assert_eq!(terminal.wait(LIMIT).code(), Some(0));
}

#[test]
fn words_for_the_init_system_are_parted() {
    requires!(root, cgroup2);
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(tree) = fixture::debian_tree() else { return };
    let output =
        command(&tree, &["LETTERS=abc", "systemd.unit=exit.target"]).stdin(Stdio::null()).output().expect("start");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(!text.contains("login:"), "{text}");
}
