//! What a terminal shows, as text.

const ESCAPE: char = '\x1b';
const BELL: char = '\x07';

/// The text without what a terminal takes for commands (ECMA-48): colours, movements, titles, modes.
pub(super) fn without_commands(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            ESCAPE => match rest.next() {
                // A control sequence ends with its final byte.
                Some('[') => drop(rest.by_ref().find(|last| ('@'..='~').contains(last))),
                // A string ends with BEL, or with ESC and a backslash.
                Some(']' | 'P' | '_' | '^' | 'X') => {
                    let last = rest.by_ref().find(|last| [BELL, ESCAPE].contains(last));
                    if last == Some(ESCAPE) {
                        rest.next();
                    }
                }
                // One with intermediate bytes, such as the choice of a character set.
                Some(' '..='/') => drop(rest.by_ref().find(|last| ('0'..='~').contains(last))),
                _ => {}
            },
            '\n' | '\r' | '\t' => plain.push(character),
            _ if character.is_control() => {}
            _ => plain.push(character),
        }
    }
    plain
}

/// The lines of a text as they are seen in the end on a terminal of that many columns: what comes after a return to the
/// beginning of the line stands in place of what was there, what is longer goes on in the next one. The last one may go on.
pub(super) fn lines(plain: &str, columns: usize) -> Vec<&str> {
    let seen = |line: &'_ str| -> usize { line.trim_end_matches('\r').rfind('\r').map_or(0, |at| at + 1) };
    let whole = plain.split('\n').map(|line| line[seen(line)..].trim_end_matches('\r'));
    whole.flat_map(|line| broken(line, columns)).collect()
}

fn broken(line: &str, columns: usize) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = line;
    while let Some((at, _)) = rest.char_indices().nth(columns) {
        parts.push(&rest[..at]);
        rest = &rest[at..];
    }
    parts.push(rest);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_left_out() {
        let text = "\x1b]0;title\x07\x1b]11;?\x1b\\\x1b[!p[\x1b[0;32m  OK  \x1b[0m] é\x1b(B\x1b[?2004h$ \x1b7\x08x\t.";
        assert_eq!(without_commands(text), "[  OK  ] é$ x\t.");
        for unfinished in ["a\x1b", "a\x1b[", "a\x1b[0;3", "a\x1b]0;title", "a\x1b]0;title\x1b"] {
            assert_eq!(without_commands(unfinished), "a");
        }
    }

    #[test]
    fn the_last_of_what_is_written_over_counts() {
        assert_eq!(lines("a\r\n10%\r20%\r\r\n\rb\r\n$ ", 80), ["a", "20%", "b", "$ "]);
        assert_eq!(lines("", 80), [""]);
    }

    #[test]
    fn long_lines_are_broken() {
        assert_eq!(lines("1234\r\n123é5\r\n12345678901\r12345", 4), ["1234", "123é", "5", "1234", "5"]);
    }
}
