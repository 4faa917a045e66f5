//! Debian is installed from the mirror that the machine's apt uses, and used. One installation serves all tests here.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use testkit::{Terminal, requires};

const REDD: &str = env!("CARGO_BIN_EXE_redd");

fn redd(arguments: &[&str]) -> Command {
    let mut command = Command::new(REDD);
    command.args(arguments);
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a command of `redd run debian` with that cache.
fn in_debian(cache: &Path, command: &[&str]) -> Output {
    let mut run = redd(&["run", "debian", "--variant=system", "--cache", cache.to_str().unwrap(), "--"]);
    run.args(command).output().unwrap()
}

#[test]
fn debian_is_installed_runs_commands_and_boots() {
    requires!(root, userns);
    let directory = tempfile::Builder::new().prefix("redd-install.").tempdir_in("/var/tmp").unwrap();
    let cache = directory.path();
    let first = in_debian(cache, &["true"]);
    assert!(first.status.success(), "{}", text(&first.stderr));
    assert!(text(&first.stderr).contains("installed debian"), "{}", text(&first.stderr));
    let trees: Vec<PathBuf> = std::fs::read_dir(cache.join("trees")).unwrap().map(|e| e.unwrap().path()).collect();
    let tree = trees.iter().find(|path| path.is_dir()).unwrap();
    assert!(!trees.iter().any(|path| path.to_string_lossy().contains(".#redd")), "{trees:?}");
    nothing_is_left(tree);
    commands_run_as_they_would_anywhere(cache);
    without_a_network_the_cache_will_do(cache);
    it_boots_to_a_login(cache);
    a_directory_in_use_is_not_touched(tree);
}

fn nothing_is_left(tree: &Path) {
    assert!(!tree.join("usr/sbin/policy-rc.d").exists());
    assert!(!tree.join("var/lib/dpkg/lock").exists());
    assert_eq!(std::fs::read(tree.join("etc/machine-id")).unwrap(), b"");
}

fn commands_run_as_they_would_anywhere(cache: &Path) {
    let output =
        in_debian(cache, &["sh", "-c", "dpkg --audit; dpkg-query -W -f '${db:Status-Status}\\n' | sort -u; exit 7"]);
    assert_eq!(output.status.code(), Some(7), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "installed\n");
    // What one run does, the next does not see.
    assert!(in_debian(cache, &["touch", "/usr/bin/new"]).status.success());
    assert_eq!(in_debian(cache, &["test", "-e", "/usr/bin/new"]).status.code(), Some(1));
}

fn without_a_network_the_cache_will_do(cache: &Path) {
    let cache = cache.to_str().unwrap();
    let mut command = Command::new("unshare");
    command.args(["--net", REDD, "run", "debian", "--cache", cache, "--", "cat", "/etc/hostname"]);
    let output = command.output().unwrap();
    assert_eq!(
        (output.status.code(), text(&output.stdout)),
        (Some(0), "debian\n".to_owned()),
        "{}",
        text(&output.stderr)
    );
}

fn it_boots_to_a_login(cache: &Path) {
    let cache = cache.to_str().unwrap();
    let limit = Duration::from_secs(120);
    let mut terminal = Terminal::start(&mut redd(&["run", "debian", "-b", "--cache", cache]));
    terminal.expect("login: ", limit);
    terminal.write_line("root");
    terminal.expect("# ", limit);
    terminal.write_line(
        "echo state $(systemctl is-system-running --wait) failed $(systemctl --failed --no-legend | wc -l) end",
    );
    terminal.expect("state running failed 0 end", limit);
    terminal.write_line("systemctl poweroff");
    assert_eq!(terminal.wait(limit).code(), Some(0), "{}", terminal.transcript());
}

fn a_directory_in_use_is_not_touched(tree: &Path) {
    let output = redd(&["bootstrap", "debian", tree.to_str().unwrap()]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("not an empty directory"), "{}", text(&output.stderr));
}

#[test]
fn what_cannot_be_installed_is_said_once_with_a_hint() {
    requires!(root);
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("tree");
    let target = target.to_str().unwrap();
    let foreign = if cfg!(target_arch = "x86_64") { "arm64" } else { "amd64" };
    for (arguments, code, words) in [
        (&["bootstrap", "debian", target, "--arch", foreign][..], 1, "nothing is emulated"),
        (&["bootstrap", "debian", target, "--mirror", "http://127.0.0.1:9/debian"], 1, "hint: "),
        (&["run", "debian", "--cache", target, "--mirror", "http://127.0.0.1:9/debian"], 1, "redd run host"),
        (&["bootstrap", "gentoo", target], 2, "debian, ubuntu"),
        (&["bootstrap", "debian", target, "--variant=tiny"], 2, "minbase"),
        (&["run", "host", "--suite=sid"], 2, "--suite"),
    ] {
        let output = redd(arguments).arg("-q").output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
        assert_eq!(said.matches("redd: ").count() + said.matches("error: ").count(), 1, "{said}");
    }
}
