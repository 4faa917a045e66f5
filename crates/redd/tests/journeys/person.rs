//! Somebody who types at a terminal, and reads what comes.

use std::time::Duration;

use testkit::Terminal;

/// A first boot has much to do, on a slow machine that does other things as well.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

pub(crate) struct Person {
    pub(crate) terminal: Terminal,
    prompt: String,
}

impl Person {
    /// At a shell, which gets a prompt that nothing else looks like.
    pub(crate) fn at(mut terminal: Terminal, place: &str) -> Self {
        let (first, rest) = place.split_at(1);
        terminal.write_line(&format!("PS1='[{first}''{rest}]% '"));
        let prompt = format!("[{place}]% ");
        terminal.expect(&prompt, LIMIT);
        Self { terminal, prompt }
    }

    /// Types a command that goes on.
    pub(crate) fn begin(&mut self, command: &str) {
        self.terminal.write_line(command);
    }

    /// What has come until the shell asks for the next command.
    #[track_caller]
    pub(crate) fn prompted(&mut self) -> String {
        self.terminal.expect(&self.prompt, LIMIT)
    }

    /// Types a command: what comes.
    #[track_caller]
    pub(crate) fn answer(&mut self, command: &str) -> String {
        self.begin(command);
        self.prompted()
    }

    /// Types a command that works, and says all of these: what is on the screen.
    #[track_caller]
    pub(crate) fn says(&mut self, command: &str, words: &[&str]) -> String {
        let said = plain(&self.answer(command));
        for word in words {
            assert!(said.contains(word), "{command} does not say {word:?}:\n{said}");
        }
        let code = self.answer("echo \"code $?\"");
        assert!(code.contains("code 0\r"), "{command}:\n{said}{code}");
        said
    }

    /// Types a command that opens vi on an empty file, and types these lines there: what comes afterwards.
    #[track_caller]
    pub(crate) fn write_in_vi(&mut self, command: &str, lines: &[&str]) -> String {
        self.begin(command);
        // The last line of the screen tells of the file.
        self.terminal.expect(" 100%", LIMIT);
        self.terminal.write("i");
        for line in lines {
            self.terminal.write_line(line);
            self.terminal.expect(line, LIMIT);
        }
        // What comes at once behind it would be a key that begins with it.
        self.terminal.write("\x1b");
        std::thread::sleep(Duration::from_millis(500));
        self.terminal.write_line(":wq");
        self.prompted()
    }

    /// Ends the shell.
    #[track_caller]
    pub(crate) fn leave(mut self) {
        self.terminal.write_line("exit");
        self.terminal.wait(LIMIT);
    }
}

/// At a login prompt.
#[track_caller]
pub(crate) fn log_in(terminal: &mut Terminal) {
    terminal.expect("login: ", LIMIT);
    terminal.write_line("root");
    terminal.expect("# ", LIMIT);
}

/// Without colours, links and all else that a terminal takes for orders.
pub(crate) fn plain(text: &str) -> String {
    let mut left = text;
    let mut plain = String::new();
    while let Some((before, order)) = left.split_once('\x1b') {
        plain.push_str(before);
        let end = match order.as_bytes().first() {
            Some(b'[') => order[1..].find(|letter: char| ('@'..='~').contains(&letter)).map(|at| at + 2),
            Some(b']') => order.find("\x1b\\").map(|at| at + 2).or_else(|| order.find('\x07').map(|at| at + 1)),
            _ => Some(1),
        };
        left = &order[end.unwrap_or(order.len()).min(order.len())..];
    }
    plain + left
}
