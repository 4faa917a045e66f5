//! Shell patterns for paths, as `NoExtract`, `NoUpgrade`, `--overwrite` and hooks have them.

/// Patterns, of which the last one that matches decides. One that begins with `!` takes back what others before it match;
/// a backslash before it makes it an ordinary character.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patterns(Vec<Pattern>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    inverted: bool,
    glob: Vec<u8>,
}

impl Patterns {
    /// Of these patterns, in their order.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Self {
        let pattern = |text: &str| {
            let inverted = text.starts_with('!');
            // `\!` and `\\` at the beginning stand for the character itself, which a backslash does in the pattern too.
            let glob = if inverted { &text[1..] } else { text };
            Pattern { inverted, glob: glob.as_bytes().to_vec() }
        };
        Self(patterns.into_iter().map(pattern).collect())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the last pattern that matches says: yes, or no if it is an inverted one; `None` where none matches.
    #[must_use]
    pub fn decision(&self, path: &[u8]) -> Option<bool> {
        self.0.iter().rev().find(|pattern| matches(&pattern.glob, path)).map(|pattern| !pattern.inverted)
    }

    /// Whether the last pattern that matches is no inverted one.
    #[must_use]
    pub fn match_path(&self, path: &[u8]) -> bool {
        self.decision(path) == Some(true)
    }
}

/// Whether all of `text` matches: `*` any bytes, slashes too, `?` one, `[…]` one of these, a backslash the next as it is.
#[must_use]
pub fn matches(glob: &[u8], text: &[u8]) -> bool {
    let (mut at, mut position) = (0, 0);
    // Where to go on if it does not match: behind the last star, one byte further than the last time.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if at < glob.len() && glob[at] == b'*' {
            at += 1;
            retry = Some((at, position));
            continue;
        }
        let one = match text.get(position) {
            None if at == glob.len() => return true,
            None => return false,
            Some(&byte) => match_one(&glob[at.min(glob.len())..], byte),
        };
        if let Some(length) = one {
            at += length;
            position += 1;
            continue;
        }
        let Some((star, from)) = retry else { return false };
        (at, position) = (star, from + 1);
        retry = Some((star, position));
    }
}

/// How much of the pattern stands for the byte; `None` if it does not.
fn match_one(glob: &[u8], byte: u8) -> Option<usize> {
    match *glob.first()? {
        b'?' => Some(1),
        b'\\' if glob.len() > 1 => (glob[1] == byte).then_some(2),
        b'[' => match bracket(&glob[1..], byte) {
            Some((length, true)) => Some(length + 1),
            Some((_, false)) => None,
            // Without an end it is itself.
            None => (byte == b'[').then_some(1),
        },
        other => (other == byte).then_some(1),
    }
}

/// What follows a `[`: its length with the closing one, and whether the byte is among them.
fn bracket(glob: &[u8], byte: u8) -> Option<(usize, bool)> {
    let inverted = matches!(glob.first(), Some(b'!' | b'^'));
    let start = usize::from(inverted);
    let (mut at, mut found) = (start, false);
    loop {
        match *glob.get(at)? {
            b']' if at > start => return Some((at + 1, found != inverted)),
            b'[' if glob.get(at + 1) == Some(&b':') => {
                let end = at + 2 + glob[at + 2..].windows(2).position(|two| two == b":]")?;
                found |= is_of_class(&glob[at + 2..end], byte);
                at = end + 2;
            }
            mut low => {
                if low == b'\\' {
                    at += 1;
                    low = *glob.get(at)?;
                }
                let range = glob.get(at + 1) == Some(&b'-') && glob.get(at + 2).is_some_and(|end| *end != b']');
                let high = if range { glob[at + 2] } else { low };
                found |= (low..=high).contains(&byte);
                at += if range { 3 } else { 1 };
            }
        }
    }
}

fn is_of_class(name: &[u8], byte: u8) -> bool {
    match name {
        b"alpha" => byte.is_ascii_alphabetic(),
        b"digit" => byte.is_ascii_digit(),
        b"alnum" => byte.is_ascii_alphanumeric(),
        b"upper" => byte.is_ascii_uppercase(),
        b"lower" => byte.is_ascii_lowercase(),
        b"space" => byte.is_ascii_whitespace() || byte == 0x0b,
        b"punct" => byte.is_ascii_punctuation(),
        b"xdigit" => byte.is_ascii_hexdigit(),
        b"graph" => byte.is_ascii_graphic(),
        b"print" => byte.is_ascii_graphic() || byte == b' ',
        b"cntrl" => byte.is_ascii_control(),
        b"blank" => matches!(byte, b' ' | b'\t'),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_match_as_in_a_shell_without_regard_to_slashes() {
        for (glob, text) in [
            ("*", ""),
            ("usr/bin/*", "usr/bin/a/b"),
            ("u?r/*x", "usr/bin/axx"),
            ("[a-cx]?[!0-9]", "bqz"),
            ("[]a]", "]"),
            ("\\*", "*"),
            ("[[:digit:]x]*", "7"),
            ("a[", "a["),
            ("*a*b*c", "xxaxxbxxbc"),
        ] {
            assert!(matches(glob.as_bytes(), text.as_bytes()), "{glob} {text}");
        }
        for (glob, text) in [
            ("", "a"),
            ("a", ""),
            ("?", ""),
            ("[a-c]", "d"),
            ("\\*", "a"),
            ("usr/*", "usr"),
            ("[!a]", "a"),
            ("*b", "a"),
        ] {
            assert!(!matches(glob.as_bytes(), text.as_bytes()), "{glob} {text}");
        }
    }

    #[test]
    fn the_last_pattern_that_matches_decides() {
        let patterns = Patterns::new(["usr/share/*", "!usr/share/locale/*", "usr/share/locale/de/*", "\\!x"]);
        assert!(patterns.match_path(b"usr/share/a"));
        assert!(!patterns.match_path(b"usr/share/locale/fr/x"));
        assert!(patterns.match_path(b"usr/share/locale/de/x"));
        assert!(patterns.match_path(b"!x"));
        assert_eq!(patterns.decision(b"etc"), None);
    }

    proptest! {
        #[test]
        fn any_pattern_ends(glob in "[*?a\\[\\]!^:\\\\-]{0,12}", text in "[a\\]\\[*-]{0,12}") {
            let _ = matches(glob.as_bytes(), text.as_bytes());
            prop_assert!(matches(b"*", text.as_bytes()));
        }
    }
}
