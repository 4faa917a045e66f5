//! What people do with a machine that boots, as they type it: boot, log in, see and steer it, log in a second time, leave.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use testkit::fixture::{self, Tree};
use testkit::{Ended, HostState, Terminal, requires, run_limited};

const REDD: &str = env!("CARGO_BIN_EXE_redd");
/// A first boot has much to do, on a slow machine that does other things as well.
const LIMIT: Duration = Duration::from_secs(120);
/// Each boots a system, and looks at the host before and after.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// redd under the names that people know.
struct Names {
    directory: Tree,
}

impl Names {
    fn new() -> Self {
        let directory = fixture::empty();
        for name in ["systemd-nspawn", "machinectl"] {
            std::os::unix::fs::symlink(REDD, directory.join(name)).expect("link");
        }
        Self { directory }
    }

    fn command(&self, name: &str, words: &[&str]) -> Command {
        let program: PathBuf = self.directory.join(name);
        let mut command = Command::new(program);
        command.args(words).env("TERM", "dumb");
        command
    }

    fn machinectl(&self, words: &[&str]) -> Ended {
        run_limited(self.command("machinectl", words), Vec::new(), LIMIT)
    }

    fn boot(&self, tree: &Path, name: &str) -> Terminal {
        let mut command = self.command("systemd-nspawn", &["-x", "-M", name, "-bD"]);
        Terminal::start(command.arg(tree))
    }
}

fn log_in(terminal: &mut Terminal) {
    terminal.expect("login: ", LIMIT);
    terminal.write_line("root");
    terminal.expect("# ", LIMIT);
}

#[test]
fn boot_log_in_and_power_off_from_inside() {
    requires!(root, cgroup2);
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(tree) = fixture::debian_tree() else { return };
    let before = HostState::capture(&tree, &[]);
    let names = Names::new();
    let mut console = names.boot(&tree, "login-j5");
    log_in(&mut console);
    console.write_line("systemctl poweroff");
    assert_eq!(console.wait(LIMIT).code(), Some(0));
    before.assert_same();
}

#[test]
fn see_steer_and_log_in_beside_the_console() {
    requires!(root, cgroup2);
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(tree) = fixture::debian_tree() else { return };
    let before = HostState::capture(&tree, &[]);
    let (names, name) = (Names::new(), "login-j7");
    let mut console = names.boot(&tree, name);
    log_in(&mut console);
    let list = names.machinectl(&["list", "--no-legend"]).expect_code(0).output;
    assert!(list.lines().any(|line| line.starts_with(name) && line.contains("container")), "{list}");
    let status = names.machinectl(&["status", name, "--no-pager"]).expect_code(0).output;
    assert!(status.contains("Leader") && status.contains("(systemd)"), "{status}");
    // Several at once; one leaves, another is there when the machine reboots.
    let mut one = Terminal::start(&mut names.command("machinectl", &["login", name]));
    log_in(&mut one);
    let mut two = Terminal::start(&mut names.command("machinectl", &["login", name]));
    log_in(&mut two);
    two.write("\x1d\x1d\x1d");
    assert_eq!(two.wait(LIMIT).code(), Some(0));
    assert!(two.transcript().contains(&format!("Connection to machine {name} terminated.")), "{}", two.transcript());
    one.write_line("echo still e\"\"nd");
    one.expect("still end", LIMIT);
    names.machinectl(&["reboot", name]).expect_code(0);
    one.wait(LIMIT);
    log_in(&mut console);
    names.machinectl(&["poweroff", name]).expect_code(0);
    assert_eq!(console.wait(LIMIT).code(), Some(0));
    let mut console = names.boot(&tree, name);
    console.expect("login: ", LIMIT);
    names.machinectl(&["terminate", name]).expect_code(0);
    console.wait(LIMIT);
    let list = names.machinectl(&["list", "--no-legend"]).expect_code(0).output;
    assert!(!list.lines().any(|line| line.starts_with(name)), "{list}");
    before.assert_same();
}
