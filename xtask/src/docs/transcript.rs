//! A transcript of a terminal, as a page shows it: what was typed, at which prompts, and what came.

use anyhow::{Result, bail};

/// The prompt of the host's shell.
pub(super) const HOST_PROMPT: &str = "$ ";
/// Stands for any text in a line, and alone for any lines.
const ANYTHING: &str = "…";
/// Enter alone, as an answer.
const ENTER: &str = "⏎";
/// How questions end that are answered in the same line.
const QUESTION_ENDS: [&str; 5] = ["login: ", "Password: ", "[Y/n] ", "[y/N] ", "): "];

/// A block of a page.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Transcript {
    /// Which terminal it is typed on, where a page has several.
    pub terminal: u8,
    pub exchanges: Vec<Exchange>,
    /// What comes after all was typed.
    pub rest: Vec<String>,
    /// What asks then: the prompt that the last line is, else the host's shell.
    pub end: String,
}

/// Something typed, and what comes before it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Exchange {
    /// The line of the page.
    pub line: usize,
    /// The lines that come first.
    pub shown: Vec<String>,
    /// What stands in the line before that which is typed.
    pub prompt: String,
    pub typed: Typed,
}

/// What is typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Typed {
    /// A line, ended by Enter.
    Line(String),
    /// Keys with Ctrl, as they are sent.
    Keys(String),
}

impl Typed {
    fn read(text: &str) -> Self {
        match control_keys(text) {
            Some(keys) => Self::Keys(keys),
            None => Self::Line(if text == ENTER { String::new() } else { text.to_owned() }),
        }
    }

    /// A line, as it was typed.
    pub(super) fn line(&self) -> Option<&str> {
        match self {
            Self::Line(line) => Some(line),
            Self::Keys(_) => None,
        }
    }

    /// What the terminal sends.
    pub(super) fn keys(&self) -> String {
        match self {
            Self::Line(line) => format!("{line}\r"),
            Self::Keys(keys) => keys.clone(),
        }
    }

    /// Whether a line may be that which it was typed into at that prompt: it is echoed, or it is hidden.
    pub(super) fn is_echoed(&self, prompt: &str, line: &str) -> bool {
        match self {
            Self::Keys(_) => line_matches(&format!("{}{ANYTHING}", prompt.trim_end()), line),
            Self::Line(typed) => [typed.as_str(), ""].iter().any(|echo| line_matches(&format!("{prompt}{echo}"), line)),
        }
    }
}

/// `^]^]^]` as the characters that these keys send, or nothing where it is something else.
fn control_keys(text: &str) -> Option<String> {
    let mut keys = String::new();
    let mut rest = text;
    while let Some(after) = rest.strip_prefix('^') {
        let key = after.chars().next().filter(|key| ('@'..='_').contains(key))?;
        keys.push(char::from(key as u8 & 0x1f));
        rest = after[1..].trim_start();
    }
    (rest.is_empty() && !keys.is_empty()).then_some(keys)
}

impl Transcript {
    /// Reads a block whose fence stands in a line of the page.
    ///
    /// # Errors
    /// If it is empty.
    pub(super) fn read(terminal: u8, text: &str, fence: usize) -> Result<Self> {
        let mut exchanges = Vec::new();
        let mut shown: Vec<String> = Vec::new();
        for (line, content) in text.lines().enumerate().map(|(index, content)| (fence + 1 + index, content)) {
            match split(content) {
                Some((prompt, typed)) => {
                    let shown = std::mem::take(&mut shown);
                    exchanges.push(Exchange { line, shown, prompt: prompt.to_owned(), typed: Typed::read(typed) });
                }
                None => shown.push(content.to_owned()),
            }
        }
        if exchanges.is_empty() && shown.is_empty() {
            bail!("line {fence}: there is nothing in this block");
        }
        let end = shown.pop_if(|last| is_prompt(last)).unwrap_or_else(|| HOST_PROMPT.to_owned());
        Ok(Self { terminal, exchanges, rest: shown, end })
    }
}

/// The prompt of a line and what is typed there. Shells end their prompts, which have no spaces, with `$ ` or `# `.
fn split(line: &str) -> Option<(&str, &str)> {
    let first = line.split(' ').next().unwrap_or_default();
    let at = if first.ends_with(['$', '#']) {
        first.len() + 1
    } else {
        QUESTION_ENDS.iter().filter_map(|end| Some(line.find(end)? + end.len())).min()?
    };
    let typed = line.get(at..)?;
    (!typed.is_empty()).then_some((&line[..at], typed))
}

/// Whether a line is a prompt at which nothing is typed.
fn is_prompt(line: &str) -> bool {
    let line = line.trim_end();
    let of_shell = line.ends_with(['$', '#']) && !line.contains(' ');
    of_shell || QUESTION_ENDS.iter().any(|end| line.ends_with(end.trim_end()))
}

/// Whether lines that came are those that are shown. Empty ones do not count on either side, nor do spaces at the end.
pub(super) fn lines_match(shown: &[String], came: &[&str]) -> bool {
    let shown: Vec<&str> = shown.iter().map(|line| line.trim_end()).filter(|line| !line.is_empty()).collect();
    let came: Vec<&str> = came.iter().map(|line| line.trim_end()).filter(|line| !line.is_empty()).collect();
    rest_matches(&shown, &came)
}

fn rest_matches(shown: &[&str], came: &[&str]) -> bool {
    match shown.split_first() {
        None => came.is_empty(),
        Some((first, shown)) if first.trim() == ANYTHING => {
            (0..=came.len()).any(|skipped| rest_matches(shown, &came[skipped..]))
        }
        Some((first, shown)) => {
            came.split_first().is_some_and(|(line, came)| line_matches(first, line) && rest_matches(shown, came))
        }
    }
}

/// Whether a line is what is shown of it. Spaces at the end do not count.
pub(super) fn line_matches(shown: &str, came: &str) -> bool {
    let mut parts = shown.trim_end().split(ANYTHING);
    let Some(mut rest) = parts.next().and_then(|first| came.trim_end().strip_prefix(first)) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(Vec<String>, String, Typed)> {
        let transcript = Transcript::read(1, text, 1).expect("a transcript");
        transcript.exchanges.into_iter().map(|one| (one.shown, one.prompt, one.typed)).collect()
    }

    fn line(text: &str) -> Typed {
        Typed::Line(text.to_owned())
    }

    #[test]
    fn prompts_and_what_is_typed_at_them() {
        let text = "$ redd spawn -b\n…\n\ndeb login: root\nroot@deb:~# id -u\n0\n# echo '$ #'\nSure? [Y/n] y\n\
                    Enter a number (default=1): ⏎\nroot@deb:~# ^]^] ^]\nEnd of it\n";
        let expected = [
            (vec![], "$ ", line("redd spawn -b")),
            (vec!["…", ""], "deb login: ", line("root")),
            (vec![], "root@deb:~# ", line("id -u")),
            (vec!["0"], "# ", line("echo '$ #'")),
            (vec![], "Sure? [Y/n] ", line("y")),
            (vec![], "Enter a number (default=1): ", line("")),
            (vec![], "root@deb:~# ", Typed::Keys("\x1d\x1d\x1d".to_owned())),
        ];
        let expected = expected.map(|(shown, prompt, typed)| {
            (shown.into_iter().map(str::to_owned).collect::<Vec<_>>(), prompt.to_owned(), typed)
        });
        assert_eq!(read(text), expected);
        let transcript = Transcript::read(1, text, 10).expect("a transcript");
        assert_eq!(transcript.rest, ["End of it"]);
        assert_eq!(transcript.exchanges[1].line, 14);
    }

    #[test]
    fn the_last_line_may_be_a_prompt() {
        let end = |text: &str| {
            let transcript = Transcript::read(1, text, 1).expect("a transcript");
            (transcript.rest.concat(), transcript.end)
        };
        let expected = |rest: &str, end: &str| (rest.to_owned(), end.to_owned());
        assert_eq!(end("$ a\nb\n"), expected("b", "$ "));
        assert_eq!(end("$ a\nb\n$\n"), expected("b", "$"));
        assert_eq!(end("$ a\nroot@deb:~#\n"), expected("", "root@deb:~#"));
        assert_eq!(end("$ a\n…\ndeb login:\n"), expected("…", "deb login:"));
        assert_eq!(end("$ a\nnumber #\n"), expected("number #", "$ "));
    }

    #[test]
    fn a_block_may_be_output_alone_but_not_empty() {
        let transcript = Transcript::read(1, "…\ndeb login:\n", 1).expect("a transcript");
        assert!(transcript.exchanges.is_empty() && transcript.end == "deb login:");
        assert!(Transcript::read(1, "", 1).is_err());
    }

    #[test]
    fn keys_are_sent_as_they_are_and_lines_with_enter() {
        assert_eq!(Typed::read("^C").keys(), "\x03");
        assert_eq!(Typed::read("^D^D").keys(), "\x04\x04");
        for text in ["^", "^] x", "a^]", "^é"] {
            assert_eq!(Typed::read(text).keys(), format!("{text}\r"));
        }
    }

    #[test]
    fn lines_with_and_without_wildcards() {
        for (shown, came) in
            [("a b", "a b  "), ("a…c", "abc"), ("…", ""), ("…b…", "abc"), ("in … s: …/x", "in 1.5 s: /y/x")]
        {
            assert!(line_matches(shown, came), "{shown:?} {came:?}");
        }
        for (shown, came) in [("a", "ab"), ("a", " a"), ("a…c", "abcd"), ("aa…aa", "aaa"), ("…b…b", "ab"), ("", "a")]
        {
            assert!(!line_matches(shown, came), "{shown:?} {came:?}");
        }
    }

    #[test]
    fn all_that_comes_is_shown_unless_left_out() {
        let shown = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        assert!(lines_match(&shown(&["a", "", "b"]), &["a", "b", ""]));
        assert!(lines_match(&shown(&["…", "b", "…"]), &["a", "b"]));
        assert!(!lines_match(&shown(&["a"]), &["a", "b"]));
        assert!(!lines_match(&shown(&["b"]), &["a", "b"]));
        assert!(!lines_match(&shown(&["…", "c"]), &["a", "b"]));
        assert!(!lines_match(&shown(&["b", "a"]), &["a", "b"]));
    }

    #[test]
    fn an_echo_is_whole_or_none() {
        assert!(line("root").is_echoed("login: ", "login: root"));
        assert!(line("secret").is_echoed("Password: ", "Password: "));
        assert!(!line("root").is_echoed("login: ", "login: roo"));
        assert!(!line("root").is_echoed("login: ", "other: root"));
        let keys = Typed::Keys("\x03".to_owned());
        assert!(keys.is_echoed("# ", "# ^C") && keys.is_echoed("# ", "# "));
    }
}
