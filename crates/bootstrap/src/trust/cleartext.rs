//! The form of a clear-signed message. Read strictly: what is not certain to be signed does not come out.

use super::Error;

const BEGIN: &str = "-----BEGIN PGP SIGNED MESSAGE-----";
const SIGNATURE: &str = "-----BEGIN PGP SIGNATURE-----";
const END: &str = "-----END PGP SIGNATURE-----";

/// The text and the armoured signature. The text's lines have no space at their end (which is not signed) and end with a
/// line feed.
pub(super) fn split(message: &[u8]) -> Result<(String, &str), Error> {
    let message = std::str::from_utf8(message).map_err(|_| Error::Framing("it is not UTF-8"))?;
    let mut lines = Lines { message, position: 0 };
    if lines.next() != Some(BEGIN) {
        return Err(Error::Framing("it does not begin with the line of one"));
    }
    loop {
        match lines.next() {
            Some("") => break,
            Some(header) if header.starts_with("Hash: ") => {}
            Some(_) => return Err(Error::Framing("it has a header that is not known")),
            None => return Err(Error::Framing("it ends in its header")),
        }
    }
    let mut text = String::with_capacity(message.len());
    let armour = loop {
        let start = lines.position;
        let Some(line) = lines.next() else { return Err(Error::Framing("it has no signature")) };
        if line == SIGNATURE {
            break start;
        }
        let line = match line.strip_prefix('-') {
            None => line,
            Some(escaped) => {
                escaped.strip_prefix(' ').ok_or(Error::Framing("a line of the text begins with a dash"))?
            }
        };
        // A lone carriage return ends a line for OpenPGP and not for us: text and signature would part.
        if line.contains(['\r', '\0']) {
            return Err(Error::Framing("the text has control characters"));
        }
        text.push_str(line.trim_end_matches([' ', '\t']));
        text.push('\n');
    };
    loop {
        match lines.next() {
            Some(END) => break,
            Some(line) if line.starts_with('-') => return Err(Error::Framing("its signature has no end")),
            Some(_) => {}
            None => return Err(Error::Framing("it ends in its signature")),
        }
    }
    let end = lines.position;
    if lines.any(|line| !line.is_empty()) {
        return Err(Error::Framing("something follows the signature"));
    }
    Ok((text, &message[armour..end]))
}

/// The lines of a message, without their ends.
struct Lines<'a> {
    message: &'a str,
    position: usize,
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = &self.message[self.position..];
        if rest.is_empty() {
            return None;
        }
        let line = rest.split('\n').next().unwrap_or_default();
        self.position = (self.position + line.len() + 1).min(self.message.len());
        Some(line.strip_suffix('\r').unwrap_or(line))
    }
}
