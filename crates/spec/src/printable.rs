//! Text for people, parts of which may come from a hostile file: shown, nothing in it is an order to the terminal.

/// The text with its control characters escaped, but for the ends of its lines.
#[must_use]
pub fn printable_lines(text: &str) -> String {
    text.split('\n').map(printable).collect::<Vec<_>>().join("\n")
}

/// The text with all its control characters escaped.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter.is_control() {
            true => shown.extend(letter.escape_default()),
            false => shown.push(letter),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_escaped() {
        assert_eq!(printable("a\u{1b}[31mä\u{9b}2J\n\t\u{7f}"), r"a\u{1b}[31mä\u{9b}2J\n\t\u{7f}");
        assert_eq!(printable_lines("a\r\nb\u{7}\n"), "a\\r\nb\\u{7}\n");
    }
}
