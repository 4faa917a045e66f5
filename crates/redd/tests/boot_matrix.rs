//! Each suite of Debian that is kept up is installed, and boots under the name `systemd-nspawn` to a login, without users
//! of its own and with them in each way in which its files get them, with the tree itself as its root; read-only, too.

use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::Duration;

use testkit::{HostState, Terminal, requires};

const REDD: &str = env!("CARGO_BIN_EXE_redd");
const LIMIT: Duration = Duration::from_secs(180);

/// Suite, major version of its systemd; the release file of the last one may be past its time on a mirror.
const SUITES: [(&str, &str, bool); 3] = [("bookworm", "252", false), ("trixie", "257", false), ("sid", "26", true)];

/// The last of them changes the files for good.
const MODES: [&[&str]; 7] = [
    // While nobody has booted it yet: what a first boot makes is not to be needed.
    &["--read-only"],
    &["--read-only", "-U"],
    &[],
    &["-U"],
    &["--private-users=pick", "--private-users-ownership=map"],
    &["--private-users=pick", "--private-users-ownership=foreign"],
    &["--private-users=pick", "--private-users-ownership=chown"],
];

#[test]
#[ignore = "installs three systems: for the acceptance"]
#[allow(clippy::print_stdout, reason = "the acceptance shows the summary")]
fn every_suite_boots_to_a_login_and_powers_off() {
    requires!(root, cgroup2, userns);
    let directory = tempfile::Builder::new().prefix("redd-boot.").tempdir_in("/var/tmp").expect("a directory");
    let nspawn = directory.path().join("systemd-nspawn");
    symlink(REDD, &nspawn).expect("a link");
    for (suite, version, expired) in SUITES {
        let tree = directory.path().join(suite);
        let mut install = Command::new(REDD);
        install.args(["bootstrap", "debian"]).arg(&tree).args(["--suite", suite]);
        if expired {
            install.arg("--accept-expired");
        }
        let output = install.output().expect("start");
        assert!(output.status.success(), "{suite}: {}", String::from_utf8_lossy(&output.stderr));
        for options in MODES {
            if options.contains(&"--private-users-ownership=foreign") {
                // Before that nobody of the host has its files.
                let mut command = Command::new(&nspawn);
                command.arg("-qD").arg(&tree).args(["--private-users=2147352576", "--private-users-ownership=chown"]);
                assert!(command.arg("/bin/true").status().expect("start").success(), "{suite}");
            }
            let before = HostState::capture(&tree, &[]);
            let mut terminal =
                Terminal::start(Command::new(&nspawn).arg("-bD").arg(&tree).args(options).env("TERM", "dumb"));
            terminal.expect("login: ", LIMIT);
            terminal.write_line("root");
            terminal.expect("# ", LIMIT);
            terminal.write_line(
                "echo is $(systemctl is-system-running --wait) $(systemctl --version | head -n 1) failed: \
                 $(systemctl --failed --plain --no-legend) e\"\"nd",
            );
            let answer = terminal.expect(" end", LIMIT);
            assert!(answer.contains(&format!("is running systemd {version}")), "{suite} {options:?}: {answer}");
            terminal.write_line("systemctl poweroff");
            assert_eq!(terminal.wait(LIMIT).code(), Some(0), "{suite} {options:?}: {}", terminal.transcript());
            before.assert_same();
            println!("{suite} {options:?}: login, running, power-off, exit code 0");
        }
    }
}
