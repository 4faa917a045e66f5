//! A system of packages is installed, boots, and is looked after by the pacman(8) in it. What the tests expect of ours the
//! original does too: the repository and the expectations are right.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use testkit::arch::{Host, Installer, Listing, System};
use testkit::{Terminal, fixture, requires, run_limited};

const LIMIT: Duration = Duration::from_secs(180);

const REDD: Installer = Installer::Redd(env!("CARGO_BIN_EXE_redd"));

/// Younger times are those of the installation.
const OLD: i64 = 1_700_000_000;

/// The engine's command, by its own name.
fn nspawn(host: &Host, tree: &Path, options: &[&str]) -> Command {
    let program = host.join("systemd-nspawn");
    if !program.exists() {
        symlink(env!("CARGO_BIN_EXE_redd"), &program).expect("link");
    }
    let mut command = Command::new(program);
    command.arg("-qD").arg(tree).args(options).env("TERM", "dumb");
    command
}

/// Boots it, looks at it as root, and powers it off.
fn boot(host: &Host, tree: &Path) {
    let mut terminal = Terminal::start(&mut nspawn(host, tree, &["-b"]));
    terminal.expect("login: ", LIMIT);
    terminal.write_line("root");
    terminal.expect("# ", LIMIT);
    terminal.write_line(
        "echo is $(systemctl is-system-running --wait) with $(pacman -Qq | wc -l), \
         $(pacman -Qk 2>&1 | grep -vc ' 0 missing') e\"\"nd",
    );
    let answer = terminal.expect(" end", LIMIT);
    let count = answer.split_once("is running with ").and_then(|(_, behind)| behind.split_once(", 0 end"));
    assert!(count.is_some_and(|(count, _)| count.parse::<u32>().is_ok_and(|count| count > 70)), "{answer}");
    terminal.write_line("systemctl poweroff");
    assert_eq!(terminal.wait(LIMIT).code(), Some(0), "{}", terminal.transcript());
}

/// A person installs it and chooses other than what is proposed.
fn typed(installer: Installer) {
    let Some(system) = System::get() else { return };
    let host = Host::new(&system, &system.first());
    let tree = fixture::empty();
    let options = ["-i", "-c", "-d"];
    let mut terminal = Terminal::start(&mut installer.command(&host, &options, tree.path(), &["base", "archivers"]));
    terminal.expect("Enter a selection (default=all): ", LIMIT);
    terminal.write_line("1 3");
    let providers = terminal.expect("Enter a number (default=1): ", LIMIT);
    assert!(providers.contains("1) mawk") && providers.contains("2) original-awk"), "{providers}");
    terminal.write_line("2");
    terminal.expect("Proceed with installation? [Y/n] ", LIMIT);
    terminal.write_line("y");
    assert_eq!(terminal.wait(LIMIT).code(), Some(0), "{}", terminal.transcript());
    let listing = Listing::of(tree.path(), OLD);
    let there = |name: &str| listing.has(&format!("var/lib/pacman/local/{name}"));
    assert!(there("original-awk-12-1") && !there("mawk-12-1") && !there("linux-1:3-1"), "{}", terminal.transcript());
    boot(&host, tree.path());
}

/// The repository goes on, and so does the system.
fn looked_after(installer: Installer) {
    let Some(system) = System::get() else { return };
    let host = Host::new(&system, &system.first());
    let tree = fixture::empty();
    let install = installer.command(&host, &["-c", "-d"], tree.path(), &["base", "linux", "nano"]);
    run_limited(install, Vec::new(), LIMIT).expect_code(0);
    let later = format!("--bind-ro={}:{}", system.second().display(), system.first().display());
    let inside = |script: &str| {
        let command = nspawn(&host, tree.path(), &[&later, "--pipe", "/bin/sh", "-ec", script]);
        let ended = run_limited(command, Vec::new(), LIMIT).expect_code(0);
        ended.output + &ended.errors
    };
    let said = inside(
        "echo '# mine' >> /etc/nanorc; pacman -Syu --noconfirm; pacman -S --noconfirm greeting; pacman -R --noconfirm linux",
    );
    let complaints: Vec<&str> =
        said.lines().filter(|line| line.contains("warning:") || line.contains("error:")).collect();
    assert_eq!(complaints, ["warning: /etc/nanorc installed as /etc/nanorc.pacnew"], "{said}");
    assert!(said.contains("Replace less with core/pager?"), "{said}");
    let state = inside(
        "pacman -Q nano pager greeting; pacman -Dk; pacman -Qk; cat /var/lib/noted-units; ls /usr/share/nano-13; tail -n 1 /etc/nanorc",
    );
    assert!(
        state.starts_with("nano 13-1\npager 13-1\ngreeting 13-1\nNo database errors have been found!\n"),
        "{state}"
    );
    assert!(state.contains("\nusr/lib/systemd/system/greeting.service\nnew\n# mine\n"), "{state}");
    let missing = |line: &&str| line.contains("total files") && !line.ends_with(" 0 missing files");
    assert_eq!(state.lines().filter(missing).collect::<Vec<_>>(), [""; 0]);
    assert!(!tree.join("usr/lib/modules/6.9.1").exists() && !tree.join("usr/share/nano").exists());
}

#[test]
#[ignore = "for the acceptance"]
fn what_the_original_installs_boots_and_has_all_its_files() {
    requires!(root, cgroup2, program "pacstrap", program "pacman", program "makepkg");
    typed(Installer::Real);
}

#[test]
#[ignore = "for the acceptance"]
fn pacman_goes_on_in_what_the_original_installed() {
    requires!(root, cgroup2, program "pacstrap", program "pacman", program "makepkg");
    looked_after(Installer::Real);
}

#[test]
fn a_person_installs_a_system_and_boots_it() {
    requires!(root, cgroup2, program "pacstrap", program "pacman", program "makepkg");
    typed(REDD);
}

#[test]
fn pacman_goes_on_in_what_was_installed() {
    requires!(root, cgroup2, program "pacstrap", program "pacman", program "makepkg");
    looked_after(REDD);
}

#[test]
fn a_system_is_the_same_as_the_original_installs() {
    requires!(root, program "pacstrap", program "pacman", program "makepkg");
    let Some(system) = System::get() else { return };
    let listings = [Installer::Real, REDD].map(|installer| {
        let host = Host::new(&system, &system.first());
        let tree = fixture::empty();
        let install = installer.command(&host, &["-c", "-d"], tree.path(), &["base", "linux", "archivers"]);
        run_limited(install, Vec::new(), LIMIT).expect_code(0);
        Listing::of(tree.path(), OLD)
    });
    assert!(listings[0].count() > 3500, "{}", listings[0].count());
    let differences = listings[0].differences(&listings[1], &[]);
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}
