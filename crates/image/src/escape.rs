//! Paths of any bytes as one word of a line.

use std::ffi::{OsStr, OsString};
use std::fmt::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Blanks, control characters, `%` and all that is not ASCII as `%` and two hexadecimal digits.
pub(crate) fn escape(text: &OsStr) -> String {
    let mut escaped = String::with_capacity(text.len());
    for &byte in text.as_bytes() {
        if byte.is_ascii_graphic() && byte != b'%' {
            escaped.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(escaped, "%{byte:02x}");
        }
    }
    escaped
}

/// The reverse; none if the word was not written by [`escape`].
pub(crate) fn unescape(word: &str) -> Option<OsString> {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next()?, rest.next()?];
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
    }
    Some(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_survive() {
        let all: Vec<u8> = (0..=255).collect();
        let text = OsString::from_vec(all);
        let word = escape(&text);
        assert!(word.bytes().all(|byte| byte.is_ascii_graphic()));
        assert_eq!(unescape(&word).unwrap(), text);
    }

    #[test]
    fn plain_paths_stay_readable() {
        assert_eq!(escape(OsStr::new("/var/lib/machines/.#redd.a-1")), "/var/lib/machines/.#redd.a-1");
    }

    #[test]
    fn broken_words_are_refused() {
        for word in ["%", "%4", "%zz", "%+1", "a%"] {
            assert_eq!(unescape(word), None, "{word}");
        }
    }
}
