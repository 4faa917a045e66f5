//! The completions, in the shells that they are for.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use testkit::requires;

const REDD_SPAWN: &str = env!("CARGO_BIN_EXE_redd-spawn");

fn output(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().expect("the program runs");
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}\n{text}\n{errors}");
    text.into_owned()
}

/// A script for a shell in a directory that is removed afterwards.
fn script(shell: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("completions");
    std::fs::write(&path, output(Command::new(REDD_SPAWN).arg(format!("--completions={shell}")))).expect("written");
    (directory, path)
}

#[test]
fn bash() {
    requires!(program "bash");
    let (_directory, path) = script("bash");
    let completed = |words: &[&str]| {
        // bash gives the words to the function that `complete` names, and takes the answers from COMPREPLY.
        let program = r#"source "$1"; shift; declared=$(complete -p redd-spawn)
            function=${declared##*-F }; function=${function%% *}
            COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
            compopt() { :; }
            "$function"; printf '%s\n' "${COMPREPLY[@]}""#;
        output(Command::new("bash").args(["--norc", "-c", program, "bash"]).arg(&path).arg("redd-spawn").args(words))
            .lines()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    for (words, expected) in [
        (&["--cons"][..], &["--console="][..]),
        (&["--console", "=", ""], &["interactive", "read-only", "passive", "pipe", "autopipe"]),
        (&["--console", "="], &["interactive", "read-only", "passive", "pipe", "autopipe"]),
        (&["--console", "=", "pi"], &["pipe"]),
        (&["--console", "pi"], &["pipe"]),
        (&["--capability", "=", "cap_kill,cap_sys_a"], &["cap_kill,cap_sys_admin"]),
        (&["--volatile", "=", "o"], &["overlay"]),
        (&["--volatile", "o"], &[""]),
        (&["--volatile", "=", "yes", "--read"], &["--read-only"]),
        (&["-D", "/us"], &["/usr"]),
        (&["-D", "/", "--bo"], &["--boot"]),
        (&["-D", "/", "ls", "--bo"], &[""]),
        (&["--", "--bo"], &[""]),
        (&["--msta"], &[""]),
        (&["--rlimit", "=", "RLIMIT_NOF"], &["RLIMIT_NOFILE="]),
    ] {
        assert_eq!(completed(words), expected, "{words:?}");
    }
}

#[test]
fn fish() {
    requires!(program "fish");
    let (_directory, path) = script("fish");
    for (line, expected) in [
        ("redd-spawn --cons", &["--console"][..]),
        (
            "redd-spawn --console=",
            &[
                "--console=autopipe",
                "--console=interactive",
                "--console=passive",
                "--console=pipe",
                "--console=read-only",
            ],
        ),
        ("redd-spawn --console pip", &["pipe"]),
        ("redd-spawn --capability=cap_kill,cap_sys_a", &["--capability=cap_kill,cap_sys_admin"]),
        ("redd-spawn --volatile=o", &["--volatile=overlay"]),
        ("redd-spawn -qx --boo", &["--boot"]),
        ("redd-spawn --msta", &[]),
        ("redd-spawn --rlimit=RLIMIT_NOF", &["--rlimit=RLIMIT_NOFILE="]),
        ("redd-spawn -D /us", &["/usr/"]),
    ] {
        let mut command = Command::new("fish");
        command.args(["--no-config", "-c", "source $argv[1]; complete -C $argv[2]"]).arg(&path).arg(line);
        let home = tempfile::tempdir().expect("a home");
        let proposed = output(command.env("HOME", home.path()));
        let words: Vec<_> = proposed.lines().filter_map(|line| line.split('\t').next()).collect();
        assert_eq!(words, expected, "{line}");
    }
}

/// Types lines and the tabulator key into an interactive shell on a terminal of its own and tells what became of them.
const TYPIST: &str = r#"
zmodload zsh/zpty
script=$1; shift
zpty shell zsh -f -i
zpty -w shell 'PROMPT=; unset zle_bracketed_paste; autoload -Uz compinit && compinit -u -D; source '${(q)script}
zpty -w shell 'report() { print -r -- "<<<$BUFFER>>>" }; zle -N report; bindkey "^X" report; bindkey "^I" complete-word'
zpty -w shell 'print REA''DY'
zpty -r -m shell text '*READY*'
for line; do
    zpty -w -n shell "$line"$'\t\x18'
    zpty -r -m shell text '*<<<*>>>*'
    print -r -- "${${text##*<<<}%%>>>*}"
    zpty -w -n shell $'\x15'
done
zpty -d shell
"#;

#[test]
fn zsh() {
    requires!(program "zsh", program "timeout");
    let (directory, path) = script("zsh");
    let cases = [
        ("redd-spawn --cons", "redd-spawn --console="),
        ("redd-spawn --console=int", "redd-spawn --console=interactive "),
        ("redd-spawn --console pas", "redd-spawn --console passive "),
        ("redd-spawn --capability=cap_kill,cap_sys_adm", "redd-spawn --capability=cap_kill,cap_sys_admin,"),
        ("redd-spawn --volatile=ov", "redd-spawn --volatile=overlay "),
        ("redd-spawn -qx --boo", "redd-spawn -qx --boot "),
        ("redd-spawn --msta", "redd-spawn --msta"),
        ("redd-spawn --rlimit=RLIMIT_NOF", "redd-spawn --rlimit=RLIMIT_NOFILE="),
        ("redd-spawn -D/us", "redd-spawn -D/usr/"),
    ];
    let mut command = Command::new("timeout");
    command.args(["60", "zsh", "-f", "-c", TYPIST, "zsh"]).arg(&path).args(cases.map(|(typed, _)| typed));
    let text = output(command.env("HOME", directory.path()).env("TERM", "dumb"));
    assert_eq!(text.lines().collect::<Vec<_>>(), cases.map(|(_, completed)| completed));
}
