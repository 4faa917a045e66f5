//! The manual page, as the programs that show it see it.

use std::io::Write;
use std::process::{Command, Stdio};

use testkit::requires;

/// Gives the page to a program on standard input.
fn rendered(program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(arguments).env("LC_ALL", "C.UTF-8").env("MANWIDTH", "100");
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program runs");
    let page = spec::manual_page("0.1");
    child.stdin.take().expect("a pipe").write_all(page.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{program} warns");
    assert!(output.status.success(), "{program} fails");
    // Bold and underlined letters are written over each other, or with escape sequences.
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut plain = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\x08' => drop(plain.pop()),
            '\x1b' => drop(letters.by_ref().find(|end| *end == 'm')),
            other => plain.push(other),
        }
    }
    plain
}

fn check(text: &str) {
    for row in spec::options::all() {
        assert!(text.contains(&row.spelling()), "{} is missing", row.spelling());
    }
    let words: Vec<_> = text.split_whitespace().collect();
    let text = words.join(" ");
    for part in [
        "-D, --directory=PATH The tree to use as root directory.",
        "--volatile[=MODE] Keep changes in memory only.",
        "In settings files: [Exec] Boot=.",
        "In settings files: [Files] Bind= (trusted files only).",
        "Refused by this version: stacks of mounts are not put together yet",
        r"--system-call-filter=[~]CALL...",
    ] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
}

#[test]
fn groff_shows_it_without_a_warning() {
    requires!(program "groff");
    check(&rendered("groff", &["-man", "-ww", "-rLL=100n", "-Tutf8"]));
}

#[test]
fn man_shows_it_without_a_warning() {
    requires!(program "man");
    check(&rendered("man", &["--warnings", "-E", "UTF-8", "-l", "-"]));
}
