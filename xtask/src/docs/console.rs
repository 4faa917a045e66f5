//! Console blocks of a page: what a person types on a terminal, and what comes.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use testkit::Terminal;

use super::page::Surroundings;
use super::plain_text;
use super::shell::last_lines;
use super::transcript::{Exchange, HOST_PROMPT, Transcript, Typed, line_matches, lines_match};

/// How long the terminal is listened to at once.
const MOMENT: Duration = Duration::from_millis(50);
/// For how long the host's shell may have asked for the next command while something else is waited for: what has to be
/// said comes before that.
const SETTLED: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 5 });
/// The same of other prompts, which may have been there before what is waited for.
const STUCK: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 30 });
/// Wide enough for lines not to be broken.
const SIZE: (u16, u16) = (200, 50);

/// The terminals of a page, each with a shell. They are ended when this is dropped.
#[derive(Default)]
pub(super) struct Consoles(BTreeMap<u8, Console>);

impl Consoles {
    /// Types what a transcript says and compares what comes, until the time is over. Commands at the host's prompt must succeed.
    ///
    /// # Errors
    /// If something else comes, or a command fails.
    pub(super) fn run(&mut self, transcript: &Transcript, surroundings: &Surroundings, end: Instant) -> Result<()> {
        let console = match self.0.entry(transcript.terminal) {
            Entry::Occupied(there) => there.into_mut(),
            Entry::Vacant(new) => new.insert(Console::open(surroundings, transcript.terminal)?),
        };
        for exchange in &transcript.exchanges {
            console
                .await_prompt(&exchange.shown, &exchange.prompt, end)
                .with_context(|| format!("before what is typed in line {}", exchange.line))?;
            console.type_in(exchange);
        }
        console.await_prompt(&transcript.rest, &transcript.end, end).context("after the last line that is typed")?;
        console.look_up();
        Ok(())
    }

    /// # Errors
    /// If a terminal has not been brought back to the host's shell.
    pub(super) fn finish(self) -> Result<()> {
        match self.0.iter().find(|(_, console)| !line_matches(HOST_PROMPT, &console.last_words())) {
            Some((terminal, console)) => bail!("terminal {terminal} is left at:\n{}", console.last_words()),
            None => Ok(()),
        }
    }
}

/// A shell on a terminal.
struct Console {
    terminal: Terminal,
    /// Up to where what came has been compared.
    seen: usize,
    /// What was typed last, and at which prompt.
    before: Option<(String, Typed)>,
    /// Where the shell notes how its commands have ended.
    statuses: PathBuf,
}

impl Console {
    fn open(surroundings: &Surroundings, number: u8) -> Result<Self> {
        let statuses = surroundings.place(&format!("statuses-{number}"));
        let note = format!("echo $? >>'{}'", statuses.display());
        let mut command = Command::new("bash");
        command.args(["--norc", "--noprofile", "-i"]);
        surroundings.give(&mut command)?;
        command.envs([("PS1", HOST_PROMPT), ("PROMPT_COMMAND", &note), ("HISTFILE", "/dev/null")]);
        command.envs([("INPUTRC", "/dev/null"), ("TERM", "xterm"), ("LC_ALL", "C.UTF-8")]);
        let terminal = Terminal::start(&mut command);
        terminal.resize(SIZE.0, SIZE.1);
        Ok(Self { terminal, seen: 0, before: None, statuses })
    }

    /// Waits until a prompt is what comes last, and compares what comes before it.
    fn await_prompt(&mut self, shown: &[String], prompt: &str, end: Instant) -> Result<()> {
        let mut asks_since = None;
        loop {
            let plain = plain_text::without_commands(&self.terminal.transcript()[self.seen..]);
            let lines = plain_text::lines(&plain, SIZE.0.into());
            let (last, before) = lines.split_last().context("there is always a line")?;
            if line_matches(prompt, last) && self.came(shown, before) {
                return if line_matches(HOST_PROMPT, prompt) { self.check_status() } else { Ok(()) };
            }
            let answered = self.before.is_none() || !before.is_empty();
            let limits = [(HOST_PROMPT, SETTLED), (prompt, STUCK)];
            let limit = limits.into_iter().find(|(asking, _)| answered && line_matches(asking, last));
            asks_since = limit.and(asks_since.or(Some(Instant::now())));
            let settled = limit.zip(asks_since).is_some_and(|((_, limit), since)| since.elapsed() > limit);
            if settled || Instant::now() >= end {
                let wanted = [shown, &[prompt.to_owned()]].concat().join("\n");
                let why = if settled { "other output" } else { "not in time" };
                bail!("{why}; wanted:\n{wanted}\nthere was:\n{}", self.last_words());
            }
            self.terminal.read(MOMENT);
        }
    }

    /// Whether what was typed is echoed first, and then comes what is shown.
    fn came(&self, shown: &[String], lines: &[&str]) -> bool {
        match (&self.before, lines.split_first()) {
            (None, _) => lines_match(shown, lines),
            (Some(_), None) => false,
            (Some((prompt, typed)), Some((first, rest))) => typed.is_echoed(prompt, first) && lines_match(shown, rest),
        }
    }

    /// Types at the prompt that has come.
    fn type_in(&mut self, exchange: &Exchange) {
        self.look_up();
        self.before = Some((exchange.prompt.clone(), exchange.typed.clone()));
        self.terminal.write(&exchange.typed.keys());
    }

    /// Goes on with the line of the prompt that has come.
    fn look_up(&mut self) {
        self.seen = self.terminal.transcript().rfind('\n').map_or(0, |at| at + 1);
        self.before = None;
    }

    /// How the last command of the host's shell has ended.
    fn check_status(&self) -> Result<()> {
        let statuses = fs::read_to_string(&self.statuses).context("the shell has noted nothing")?;
        match statuses.lines().last() {
            Some("0") => Ok(()),
            status => bail!("exit status {}:\n{}", status.unwrap_or("unknown"), self.last_words()),
        }
    }

    fn last_words(&self) -> String {
        let plain = plain_text::without_commands(&self.terminal.transcript()[self.seen..]);
        last_lines(&plain_text::lines(&plain, SIZE.0.into()).join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn try_block(text: &str, limit: Duration) -> Result<()> {
        let directory = tempfile::tempdir()?;
        let surroundings = Surroundings::make(directory.path(), &[])?;
        run(&[(1, text)], &surroundings, limit)
    }

    fn run(blocks: &[(u8, &str)], surroundings: &Surroundings, limit: Duration) -> Result<()> {
        let mut consoles = Consoles::default();
        let end = Instant::now() + limit;
        for (terminal, text) in blocks {
            consoles.run(&Transcript::read(*terminal, text, 1)?, surroundings, end)?;
        }
        consoles.finish()
    }

    fn shows(text: &str) {
        if let Err(error) = try_block(text, Duration::from_secs(60)) {
            panic!("{error:#}");
        }
    }

    fn fails_with(text: &str, words: &[&str]) {
        let error = try_block(text, Duration::from_secs(60)).expect_err("it differs");
        let told = format!("{error:#}");
        assert!(words.iter().all(|word| told.contains(word)), "{told}");
    }

    #[test]
    fn commands_and_their_output() {
        shows("$ echo one; echo; echo two\none\ntwo\n$ cd /usr\n$ seq 5; pwd\n1\n…\n/usr\n");
    }

    #[test]
    fn questions_hidden_answers_and_a_shell_inside() {
        shows("$ read -p 'Sure? [Y/n] ' answer; echo \"<$answer>\"\nSure? [Y/n] no\n<no>\n");
        shows("$ read -p '(default=1): ' answer; echo \"<$answer>\"\n(default=1): ⏎\n<>\n");
        shows("$ read -s -p 'Password: ' answer; echo; echo \"<$answer>\"\nPassword: secret\n<secret>\n");
        shows("$ PS1='root@in:/# ' sh -i\nroot@in:/# false\nroot@in:/# exit 0\n");
    }

    #[test]
    fn keys_with_ctrl() {
        let script =
            "stty -icanon -echo; printf 'login: '; keys=$(head -c 3 | od -An -tx1); stty sane; echo; echo $keys";
        shows(&format!("$ {script}\nlogin: ^] ^]^]\n1d 1d 1d\n"));
    }

    #[test]
    fn other_output_fails() {
        fails_with("$ echo one\ntwo\n", &["other output", "after the last line", "wanted:\ntwo\n$ ", "one"]);
        fails_with("$ echo one\n", &["other output"]);
        fails_with("$ true\none\n", &["other output"]);
        fails_with("one\n$ true\n", &["other output", "before what is typed in line 3"]);
        fails_with("one\n", &["other output"]);
        fails_with("$ PS1='in# ' sh -i\nin# echo one\ntwo\nin# exit 0\n", &["other output", "wanted:\ntwo\nin# "]);
        fails_with("$ true\nlogin: root\n", &["other output", "before what is typed in line 3"]);
        fails_with("$ seq 3\n1\n3\n2\n$ true\n", &["other output", "before what is typed in line 6"]);
    }

    #[test]
    fn a_command_that_fails_is_told_with_its_status() {
        fails_with("$ ls /nowhere-at-all\n…\n$ true\n", &["exit status 2", "No such file or directory"]);
        fails_with("$ (exit 7)\n", &["exit status 7"]);
        shows("$ (exit 7) || echo \"exit code $?\"\nexit code 7\n");
    }

    #[test]
    fn several_terminals() {
        let directory = tempfile::tempdir().expect("a directory");
        let surroundings = Surroundings::make(directory.path(), &[]).expect("surroundings");
        let first = (1, "$ read -p 'login: ' name\nlogin:\n");
        let second = (2, "$ tty >two; echo one\none\n");
        let limit = Duration::from_secs(60);
        run(
            &[first, second, (1, "login: root\n$ echo $name; tty | diff - two | wc -l\nroot\n4\n")],
            &surroundings,
            limit,
        )
        .expect("they are two");
        let error = run(&[first, second], &surroundings, limit).expect_err("the first is not done");
        assert_eq!(error.to_string(), "terminal 1 is left at:\nlogin: ");
    }

    #[test]
    fn what_never_comes_is_not_waited_for_forever() {
        let error = try_block("$ sleep 1000\nlogin: root\n", Duration::from_secs(1)).expect_err("it hangs");
        assert!(format!("{error:#}").contains("not in time"), "{error:#}");
    }
}
