//! The background of the terminal, as a person sees it.

use std::process::Command;
use std::time::Duration;

use testkit::{Terminal, fixture, requires};

const REDD: &str = env!("CARGO_BIN_EXE_redd-spawn");
const LIMIT: Duration = Duration::from_secs(20);
const ASKED: &str = "\x1b]11;?\x1b\\";
const BLACK: &str = "\x1b]11;rgb:0000/0000/0000\x1b\\";
const RESTORED: &str = "\x1b]111\x1b\\";

/// Variables of the environment.
type Variables = &'static [(&'static str, &'static str)];

fn start(tree: &fixture::Tree, variables: &[(&str, &str)], options: &[&str], words: &[&str]) -> Terminal {
    let mut command = Command::new(REDD);
    command.env("TERM", "xterm-256color").env_remove("NO_COLOR").env_remove("SYSTEMD_TINT_BACKGROUND");
    command.envs(variables.iter().copied()).arg("-q").arg("-D").arg(tree.path()).args(options).args(words);
    Terminal::start(&mut command)
}

#[test]
fn the_colour_that_was_asked_for_is_set_and_taken_back() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    for (colour, set) in [
        ("41", "cdcd/0000/0000"),
        ("104", "5c5c/5c5c/ffff"),
        ("48;5;17", "0000/0000/5f5f"),
        ("48;2;1;2;255", "0101/0202/ffff"),
    ] {
        // For a single command too, and whatever the environment says about tints.
        let variables = [("NO_COLOR", "1"), ("SYSTEMD_TINT_BACKGROUND", "0")];
        let option = format!("--background={colour}");
        let script = ["/bin/sh", "-c", "read word; echo \"<$word>\"; exit 4"];
        let mut terminal = start(&tree, &variables, &[&option], &script);
        terminal.expect(ASKED, LIMIT);
        terminal.write(&format!("wo{BLACK}rd\r"));
        terminal.expect(&format!("\x1b]11;rgb:{set}\x1b\\"), LIMIT);
        terminal.expect("<word>", LIMIT);
        assert_eq!(terminal.wait(LIMIT).code(), Some(4));
        assert!(terminal.transcript().ends_with(&format!("{RESTORED}\x1b[23;0t")), "{:?}", terminal.transcript());
    }
}

#[test]
fn a_terminal_that_does_not_say_its_own_keeps_it() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    let mut terminal = start(&tree, &[], &["--background=44"], &["/bin/sh", "-c", "exit 3"]);
    assert_eq!(terminal.wait(LIMIT).code(), Some(3));
    let shown = terminal.transcript();
    assert!(shown.contains(ASKED) && !shown.contains("rgb:") && !shown.contains(RESTORED), "{shown:?}");
}

#[test]
fn nothing_is_set_where_none_is_wanted() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    let plain: [(Variables, &[&str]); 6] = [
        (&[], &["--background="]),
        (&[], &["--background=44", "--background="]),
        (&[], &["--background=30"]),
        (&[("SYSTEMD_TINT_BACKGROUND", "no")], &[]),
        (&[("NO_COLOR", "1")], &[]),
        (&[("TERM", "dumb")], &["--background=44"]),
    ];
    for (variables, options) in plain {
        let mut terminal = start(&tree, variables, options, &[]);
        terminal.write_line("exit 6");
        assert_eq!(terminal.wait(LIMIT).code(), Some(6));
        assert!(!terminal.transcript().contains("\x1b]11"), "{options:?}: {:?}", terminal.transcript());
    }
    for mode in ["--console=read-only", "--console=passive", "--console=pipe"] {
        let mut terminal = start(&tree, &[], &["--background=44", mode], &["/bin/sh", "-c", "exit 2"]);
        assert_eq!(terminal.wait(LIMIT).code(), Some(2));
        assert!(!terminal.transcript().contains("\x1b]11"), "{mode}: {:?}", terminal.transcript());
    }
}

#[test]
fn a_shell_is_tinted_unless_somebody_says_no() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    for variables in [&[][..], &[("SYSTEMD_TINT_BACKGROUND", "1")], &[("SYSTEMD_TINT_BACKGROUND", "nonsense")]] {
        let mut terminal = start(&tree, variables, &[], &[]);
        terminal.expect(ASKED, LIMIT);
        terminal.write(BLACK);
        terminal.expect("\x1b]11;rgb:06b8/0d70/23d6\x1b\\", LIMIT);
        terminal.write_line("exit 0");
        assert_eq!(terminal.wait(LIMIT).code(), Some(0));
    }
}
