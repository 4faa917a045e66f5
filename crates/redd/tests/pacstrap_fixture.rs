//! The repository that the tests of `redd pacstrap` use is one that the real pacstrap(8) installs, and what it installs boots.

use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::Duration;

use testkit::arch::{Host, Installer, System};
use testkit::{Terminal, fixture, requires, run_limited};

const LIMIT: Duration = Duration::from_secs(180);

#[test]
fn what_the_real_pacstrap_installs_boots_and_has_all_its_files() {
    requires!(root, cgroup2, program "pacstrap", program "pacman", program "makepkg");
    let Some(system) = System::get() else { return };
    let host = Host::new(&system, &system.first());
    let tree = fixture::empty();
    let install = Installer::Real.command(&host, &["-c"], tree.path(), &["base", "linux", "archivers"]);
    let ended = run_limited(install, Vec::new(), LIMIT).expect_code(0);
    assert!(ended.output.contains("5 members in group archivers"), "{}", ended.output);

    let nspawn = host.join("systemd-nspawn");
    symlink(env!("CARGO_BIN_EXE_redd"), &nspawn).expect("link");
    let mut terminal = Terminal::start(Command::new(&nspawn).arg("-qbD").arg(tree.path()).env("TERM", "dumb"));
    terminal.expect("login: ", LIMIT);
    terminal.write_line("root");
    terminal.expect("# ", LIMIT);
    terminal.write_line("echo is $(systemctl is-system-running --wait) $(pacman -Qk 2>&1 | grep -vc ' 0 missing') $(pacman -Qq | wc -l) e\"\"nd");
    let answer = terminal.expect(" end", LIMIT);
    assert!(answer.contains("is running 0 8"), "{answer}");
    terminal.write_line("systemctl poweroff");
    assert_eq!(terminal.wait(LIMIT).code(), Some(0), "{}", terminal.transcript());
}
