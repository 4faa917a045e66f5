//! Where a log goes: to a pager, a terminal or whoever else reads. A terminal gets nothing from inside that it would obey.

use std::io::{IsTerminal, Write};
use std::process::{Child, ChildStdin};

use crate::machinectl::pager;

/// How long a line is at the most before it is shown in pieces, in bytes.
const LONGEST: usize = 64 << 10;

/// What is done to lines on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Nothing, except for a terminal, where control characters are escaped.
    Text,
    /// Each becomes an object of its own, as journalctl(1) prints it with `-o json`.
    Json,
    /// The same, for people.
    PrettyJson,
}

/// It.
pub(crate) struct Sink {
    output: Output,
    form: Form,
    /// What reads has a terminal behind it.
    obeys: bool,
    pending: Vec<u8>,
}

enum Output {
    Pager(Child, Option<ChildStdin>),
    Direct(std::io::Stdout),
    #[cfg(test)]
    Memory(Vec<u8>),
}

impl Sink {
    /// Standard output, in a pager if there is a terminal and this is wanted.
    pub(crate) fn new(form: Form, pages: bool) -> Self {
        let mut child = if pages { pager::start() } else { None };
        let input = child.as_mut().and_then(|child| child.stdin.take());
        let output = match child {
            Some(child) => Output::Pager(child, input),
            None => Output::Direct(std::io::stdout()),
        };
        Self { output, form, obeys: std::io::stdout().is_terminal(), pending: Vec::new() }
    }

    /// Takes some bytes. False if nobody reads any more.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> std::io::Result<bool> {
        if self.form == Form::Text && !self.obeys {
            return self.write(bytes);
        }
        self.pending.extend_from_slice(bytes);
        let mut ready = Vec::new();
        while let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.pending.drain(..=end).collect();
            ready.extend(formed(&line[..end], self.form));
        }
        if self.pending.len() >= LONGEST {
            ready.extend(formed(&std::mem::take(&mut self.pending), self.form));
        }
        if ready.is_empty() { Ok(true) } else { self.write(&ready) }
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<bool> {
        let result = match &mut self.output {
            Output::Pager(_, Some(input)) => input.write_all(bytes),
            Output::Pager(_, None) => return Ok(false),
            Output::Direct(output) => output.write_all(bytes).and_then(|()| output.flush()),
            #[cfg(test)]
            Output::Memory(memory) => memory.write_all(bytes),
        };
        match result {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
            other => other.map(|()| true),
        }
    }

    /// The last line, if it has no end; then a pager is waited for.
    pub(crate) fn finish(mut self) -> std::io::Result<()> {
        if !self.pending.is_empty() {
            let last = formed(&std::mem::take(&mut self.pending), self.form);
            self.write(&last)?;
        }
        if let Output::Pager(child, input) = &mut self.output {
            drop(input.take());
            child.wait()?;
        }
        Ok(())
    }
}

/// A line without its end, as it is shown.
fn formed(line: &[u8], form: Form) -> Vec<u8> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let text = String::from_utf8_lossy(line);
    let object = || serde_json::json!({ "MESSAGE": text });
    let text = match form {
        Form::Text => printable(&text),
        Form::Json => object().to_string(),
        Form::PrettyJson => format!("{:#}", object()),
    };
    (text + "\n").into_bytes()
}

/// Control characters are escaped; a tabulator does no harm.
pub(crate) fn printable(text: &str) -> String {
    text.split('\t').map(spec::printable).collect::<Vec<_>>().join("\t")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(form: Form, obeys: bool, pieces: &[&[u8]]) -> String {
        let mut sink = Sink { output: Output::Memory(Vec::new()), form, obeys, pending: Vec::new() };
        for piece in pieces {
            assert!(sink.take(piece).unwrap());
        }
        let last = std::mem::take(&mut sink.pending);
        let Output::Memory(memory) = sink.output else { panic!("it was memory") };
        String::from_utf8([memory, last].concat()).unwrap()
    }

    #[test]
    fn terminals_get_no_orders() {
        let pieces: [&[u8]; 3] = [b"a\x1b]0;x\x07\tb\r\n\xc3", b"\xa4\x9b2J", b"\nend"];
        assert_eq!(shown(Form::Text, true, &pieces), "a\\u{1b}]0;x\\u{7}\tb\nä\u{fffd}2J\nend");
        let long = vec![b'x'; LONGEST];
        assert_eq!(shown(Form::Text, true, &[&long]).len(), LONGEST + 1);
    }

    #[test]
    fn who_is_no_terminal_gets_what_there_is() {
        assert_eq!(shown(Form::Text, false, &[b"a\x1b[2J\r\nb"]), "a\x1b[2J\r\nb");
    }

    #[test]
    fn lines_as_objects() {
        assert_eq!(
            shown(Form::Json, false, &[b"a\"\x1b\nb\n"]),
            "{\"MESSAGE\":\"a\\\"\\u001b\"}\n{\"MESSAGE\":\"b\"}\n"
        );
    }
}
