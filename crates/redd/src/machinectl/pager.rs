//! Long output on a terminal goes through a pager, as systemd's tools have it, see machinectl(1) (ENVIRONMENT).

use std::io::{IsTerminal, Write};
use std::process::{Child, Command, Stdio};

use super::Options;
use crate::failure::Failure;
use crate::form;

/// What less(1) is told where `$SYSTEMD_LESS` says nothing.
const LESS: &str = "FRSXMK";
/// Which are tried, in this order; the first one knows how to be secure.
const KNOWN: [&str; 3] = ["less", "more", "pager"];

/// Prints a text, in a pager if there is a terminal and nobody has forbidden it.
pub(crate) fn print(text: &str, options: &Options) -> Result<(), Failure> {
    show(text, options.pages())
}

/// Prints a text, in a pager if there is a terminal and this is wanted.
pub(crate) fn show(text: &str, pages: bool) -> Result<(), Failure> {
    let pager = if pages && !text.is_empty() { start() } else { None };
    let Some(mut child) = pager else { return form::print(text).map(drop) };
    if let Some(mut input) = child.stdin.take() {
        // Whoever leaves the pager early has seen enough.
        let _ = input.write_all(text.as_bytes());
    }
    let _ = child.wait();
    Ok(())
}

/// A pager that waits for its input, if there is a terminal to show it on and a pager that can be started.
pub(crate) fn start() -> Option<Child> {
    let terminal = std::io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
    let all = if terminal { candidates(|name| std::env::var(name).ok(), is_elevated()) } else { Vec::new() };
    all.into_iter().find_map(|mut pager| pager.stdin(Stdio::piped()).spawn().ok())
}

/// Whether somebody has more rights than the session that the terminal belongs to.
fn is_elevated() -> bool {
    std::env::var_os("SUDO_UID").is_some() || rustix::process::getuid() != rustix::process::geteuid()
}

/// The pagers to try. A pager can run other programs and write files: with others' rights only one is taken that can do
/// without, and what the environment says is heeded only where it also says `$SYSTEMD_PAGERSECURE`.
fn candidates(variable: impl Fn(&str) -> Option<String>, elevated: bool) -> Vec<Command> {
    let told = variable("SYSTEMD_PAGER").or_else(|| variable("PAGER"));
    if told.as_deref().is_some_and(|pager| ["", "cat"].contains(&pager.trim())) {
        return Vec::new();
    }
    let said = variable("SYSTEMD_PAGERSECURE");
    let secure = match said.as_deref() {
        Some(said) => !["0", "no", "false", "off", "n", "f"].contains(&said),
        None => elevated,
    };
    let mut lines: Vec<Vec<String>> = Vec::new();
    if let Some(told) = told.filter(|_| said.is_some()) {
        lines.push(told.split_ascii_whitespace().map(str::to_owned).collect());
    }
    let automatic_secure = secure && said.is_none();
    let known = KNOWN.iter().take(if automatic_secure { 1 } else { KNOWN.len() });
    lines.extend(known.map(|name| vec![(*name).to_owned()]));
    let options = variable("SYSTEMD_LESS").unwrap_or_else(|| LESS.to_owned());
    let charset = variable("SYSTEMD_LESSCHARSET").or_else(|| crate::display::unicode().then(|| "utf-8".to_owned()));
    let command = |words: Vec<String>| {
        let (program, arguments) = words.split_first()?;
        let mut command = Command::new(program);
        command.args(arguments).env("LESS", &options);
        if let Some(charset) = &charset {
            command.env("LESSCHARSET", charset);
        }
        if secure {
            command.env("LESSSECURE", "1");
        }
        Some(command)
    };
    lines.into_iter().filter_map(command).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn programs(variables: &[(&str, &str)], elevated: bool) -> Vec<String> {
        let variable =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let all = candidates(variable, elevated);
        all.iter().map(|command| command.get_program().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn what_the_environment_says_of_pagers() {
        assert_eq!(programs(&[], false), KNOWN);
        assert_eq!(programs(&[("PAGER", "cat")], false), [""; 0]);
        assert_eq!(programs(&[("SYSTEMD_PAGER", ""), ("PAGER", "most")], false), [""; 0]);
        assert_eq!(programs(&[("PAGER", "most -s")], false), KNOWN, "only with $SYSTEMD_PAGERSECURE");
        let said = [("PAGER", "most -s"), ("SYSTEMD_PAGERSECURE", "0")];
        assert_eq!(programs(&said, false), ["most", "less", "more", "pager"]);
        assert_eq!(programs(&[], true), ["less"]);
    }
}
