//! The names that the program is called by, and the texts that it prints.

use std::process::{Command, Output, Stdio};

const REDD_SPAWN: &str = env!("CARGO_BIN_EXE_redd-spawn");

fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().expect("the program runs");
    (status.code(), String::from_utf8_lossy(&stdout).into_owned(), String::from_utf8_lossy(&stderr).into_owned())
}

#[test]
fn scripts_read_the_version_of_systemd_under_its_name() {
    let directory = tempfile::tempdir().expect("a directory");
    let name = directory.path().join("systemd-nspawn");
    std::os::unix::fs::symlink(REDD_SPAWN, &name).expect("a link");
    let (code, text, errors) = run(Command::new(&name).arg("--version"));
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    assert!(text.starts_with("systemd 262 ("), "{text}");
    let (_, text, _) = run(Command::new(&name).arg("--help"));
    assert!(text.starts_with("systemd-nspawn [OPTIONS...]"), "{text}");
    let (code, _, errors) = run(Command::new(&name).arg("--nonsense"));
    assert_eq!(code, Some(2));
    assert_eq!(errors, "systemd-nspawn: there is no option --nonsense (see \"systemd-nspawn --help\")\n");
    let (code, text, _) = run(Command::new(REDD_SPAWN).arg("--version"));
    assert_eq!((code, text), (Some(0), format!("redd {}\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn what_is_not_carried_out_is_refused_before_anything_is_looked_at() {
    let (code, text, errors) = run(Command::new(REDD_SPAWN).args(["-D/nonexistent", "--mstack=/nonexistent"]));
    assert_eq!((code, text.as_str()), (Some(2), ""));
    assert!(
        errors.starts_with("redd-spawn: the option --mstack is not carried out by this version of redd: "),
        "{errors}"
    );
}

/// Runs the program on a terminal of 60 columns.
fn on_a_terminal(no_color: &str) -> String {
    let script = format!("stty cols 60 rows 24; exec env NO_COLOR={no_color} TERM=xterm {REDD_SPAWN} --help");
    let directory = tempfile::tempdir().expect("a directory");
    let mut command = Command::new("script");
    command.args(["--quiet", "--command", &script]).arg(directory.path().join("typescript"));
    let (code, text, errors) = run(command.env("SHELL", "/bin/sh"));
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    text.replace('\r', "")
}

#[test]
fn help_fits_the_terminal_and_has_colours_there_alone() {
    testkit::requires!(program "script");
    let plain = on_a_terminal("1");
    assert!(!plain.contains('\x1b'));
    assert!(plain.lines().all(|line| line.chars().count() <= 60), "{plain}");
    assert!(plain.lines().any(|line| line.chars().count() > 50), "{plain}");
    assert!(on_a_terminal("").contains("\x1b[1m"));
    let (_, text, _) = run(Command::new(REDD_SPAWN).arg("--help").env_remove("NO_COLOR").env("TERM", "xterm"));
    assert!(!text.contains('\x1b'));
}

#[test]
fn dry_run_in_json_is_json() {
    let directory = tempfile::tempdir().expect("a directory");
    for part in ["usr/bin", "usr/lib", "etc"] {
        std::fs::create_dir_all(directory.path().join(part)).expect("a directory");
    }
    std::fs::write(directory.path().join("usr/lib/os-release"), "ID=test\n").expect("a file");
    let words = ["--dry-run=json", "--bind=/etc", "-D"];
    let (code, text, errors) = run(Command::new(REDD_SPAWN).args(words).arg(directory.path()).arg("a\u{e4}"));
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    let plan: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(plan["payload"]["programs"][0]["arguments"][0], "a\u{e4}");
    assert!(plan["outer"].is_array());
    let left: Vec<_> = std::fs::read_dir(directory.path()).expect("a directory").collect();
    assert_eq!(left.len(), 2, "{left:?}");
}
