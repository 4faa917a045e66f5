//! What the terminal can show.

use std::io::IsTerminal;
use std::os::fd::AsFd;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// How wide lines are where nobody says it.
const COLUMNS: usize = 80;

/// How many characters a line of standard output has: what `$COLUMNS` says, else the terminal.
pub(crate) fn columns() -> usize {
    let told = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok()).filter(|columns| *columns > 0);
    told.or_else(|| sys::terminal::columns(std::io::stdout().as_fd())).unwrap_or(COLUMNS)
}

/// Whether there are colours: on a terminal that has them, unless `$NO_COLOR` or `$SYSTEMD_COLORS` says otherwise.
pub(crate) fn colors() -> bool {
    if let Ok(told) = std::env::var("SYSTEMD_COLORS") {
        return !matches!(told.as_str(), "0" | "no" | "false" | "off");
    }
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    std::env::var_os("NO_COLOR").is_none_or(|told| told.is_empty()) && !dumb && std::io::stdout().is_terminal()
}

/// Whether letters beyond ASCII can be shown, see locale(7). Where nobody says what is, they can, as for systemd's tools.
pub(crate) fn unicode() -> bool {
    let variables = ["LC_ALL", "LC_CTYPE", "LANG"];
    let told = variables.iter().filter_map(std::env::var_os).find(|value| !value.is_empty());
    told.is_none_or(|locale| {
        let locale = locale.to_string_lossy().to_ascii_lowercase();
        locale.ends_with("utf-8") || locale.ends_with("utf8") || locale.contains("utf-8@") || locale.contains("utf8@")
    })
}

/// How many columns a text takes.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// The text in this many columns at the most: what does not fit is left out at its end, with a sign in its place.
pub(crate) fn shortened(text: &str, columns: usize, unicode: bool) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let sign = if unicode { "…" } else { "..." };
    let room = columns.saturating_sub(sign.width());
    let mut used = 0;
    let fits = text.chars().take_while(|letter| {
        used += letter.width().unwrap_or(0);
        used <= room
    });
    let mut short: String = fits.collect();
    short.push_str(if columns < sign.width() { &sign[..columns.min(sign.len())] } else { sign });
    short
}

/// The text in lines of this many columns at the most, broken between words. A word that is longer has a line of its own.
pub(crate) fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.len() - 1;
        if !lines[line].is_empty() && lines[line].width() + 1 + word.width() > columns {
            lines.push(word.to_owned());
            continue;
        }
        if !lines[line].is_empty() {
            lines[line].push(' ');
        }
        lines[line].push_str(word);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_between_words() {
        assert_eq!(wrapped("ab cd ef", 5), ["ab cd", "ef"]);
        assert_eq!(wrapped("abcdefgh ij", 5), ["abcdefgh", "ij"]);
        assert_eq!(wrapped("日本 語", 5), ["日本", "語"]);
        assert_eq!(wrapped("", 5), [""]);
    }

    #[test]
    fn long_texts_end_with_a_sign() {
        assert_eq!(shortened("abc", 3, true), "abc");
        assert_eq!(shortened("abcd", 3, true), "ab…");
        assert_eq!(shortened("abcdef", 5, false), "ab...");
        assert_eq!(shortened("日本語", 4, true), "日…");
        assert_eq!(shortened("abcdef", 2, false), "..");
        assert_eq!(shortened("abcdef", 1, true), "…");
    }
}
