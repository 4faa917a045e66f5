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
                    if rest.by_ref().find(|last| [BELL, ESCAPE].contains(last)) == Some(ESCAPE) {
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

/// The lines of a text as they are seen in the end: what comes after a return to the beginning of the line stands in
/// place of what was there. The last one may go on.
pub(super) fn lines(plain: &str) -> Vec<&str> {
    let seen = |line: &'_ str| -> usize { line.trim_end_matches('\r').rfind('\r').map_or(0, |at| at + 1) };
    plain.split('\n').map(|line| line[seen(line)..].trim_end_matches('\r')).collect()
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
        assert_eq!(lines("a\r\n10%\r20%\r\r\n\rb\r\n$ "), ["a", "20%", "b", "$ "]);
        assert_eq!(lines(""), [""]);
    }
}
