//! Credentials.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::{Argument, Effect, Given, Merge, OptionRow, Problem};
use crate::{CREDENTIAL_LIMIT, Credential, CredentialSource, Secret, SpecPatch, is_credential_name};

const BASE: OptionRow = OptionRow { merge: Merge::List, ..OptionRow::BASE };

pub(super) const ROWS: &[OptionRow] = &[
    OptionRow {
        long: "load-credential",
        argument: Argument::Required("ID:PATH"),
        help: "Pass a credential from a file",
        details: "PATH is a file, or an AF_UNIX stream socket that is read to its end. Without a slash it is the name of \
                  a credential that the caller itself was passed in $CREDENTIALS_DIRECTORY, or else of one in \
                  /etc/credstore, /run/credstore, /usr/local/lib/credstore or /usr/lib/credstore. At most 1 MiB. The \
                  payload finds it under the name ID in the directory that its own $CREDENTIALS_DIRECTORY names: in \
                  memory, read-only, for root alone. For another user of --uid= it can be read with \
                  --no-new-privileges=yes, unless --boot or --as-pid2 is given. May be used more than once, for each ID \
                  once.",
        effect: Effect::Patch(load),
        ..BASE
    },
    OptionRow {
        long: "set-credential",
        argument: Argument::Required("ID:VALUE"),
        help: "Pass a credential",
        details: "As --load-credential=, with the contents themselves, in which the escapes of C stand for other bytes: \
                  \\n for a new line, \\x00 for zero. All users of the host can read them in the list of processes while \
                  the container runs.",
        effect: Effect::Patch(set),
        ..BASE
    },
];

fn set(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    let (name, value) = part(given)?;
    let value = unescape(value).ok_or_else(|| Problem::invalid("its value has an escape that C does not know"))?;
    if value.len() > CREDENTIAL_LIMIT {
        return Err(Problem::invalid("its value is longer than 1 MiB"));
    }
    add(patch, name, CredentialSource::Value(Secret::new(value)))
}

fn load(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    let (name, place) = part(given)?;
    let source = match std::str::from_utf8(place) {
        _ if place.contains(&b'/') => CredentialSource::Path(given.caller.directory.join(OsStr::from_bytes(place))),
        Ok(place) if is_credential_name(place) => {
            let passed = (given.caller.variable)("CREDENTIALS_DIRECTORY".as_ref()).map(PathBuf::from);
            CredentialSource::Name { name: place.to_owned(), passed: passed.filter(|path| path.is_absolute()) }
        }
        _ => return Err(Problem::invalid("what comes after the colon is neither a path nor the name of a credential")),
    };
    add(patch, name, source)
}

fn add(patch: &mut SpecPatch, name: String, source: CredentialSource) -> Result<(), Problem> {
    let all = patch.credentials.get_or_insert_default();
    if all.iter().any(|other| other.name == name) {
        return Err(Problem::Invalid(format!("the credential {name:?} is there twice")));
    }
    all.push(Credential { name, source });
    Ok(())
}

/// The name, in which a backslash takes the next byte as it is, and what comes after the colon.
fn part<'a>(given: &Given<'a>) -> Result<(String, &'a [u8]), Problem> {
    let bytes = given.raw().as_bytes();
    let mut name = Vec::new();
    let mut at = 0;
    loop {
        at += match (bytes.get(at), bytes.get(at + 1)) {
            (Some(b':'), _) => break,
            (Some(b'\\'), Some(&byte)) => {
                name.push(byte);
                2
            }
            (Some(&byte), _) => {
                name.push(byte);
                1
            }
            (None, _) => return Err(Problem::invalid("it has no colon after the name of the credential")),
        };
    }
    let name = String::from_utf8(name).ok().filter(|name| is_credential_name(name)).ok_or_else(|| {
        Problem::invalid("the name of a credential is 1 to 255 printable ASCII characters without / and :")
    })?;
    Ok((name, &bytes[at + 1..]))
}

/// Undoes the escapes of C; `None` for one that is none.
fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'\\' {
            bytes.push(first);
            continue;
        }
        let (&kind, after) = rest.split_first()?;
        rest = after;
        match kind {
            b'a' => bytes.push(7),
            b'b' => bytes.push(8),
            b'f' => bytes.push(12),
            b'n' => bytes.push(b'\n'),
            b'r' => bytes.push(b'\r'),
            b't' => bytes.push(b'\t'),
            b'v' => bytes.push(11),
            b's' => bytes.push(b' '),
            b'\\' | b'"' | b'\'' => bytes.push(kind),
            b'x' => bytes.push(u8::try_from(number(&mut rest, 2, 16)?).ok()?),
            b'u' => encode(number(&mut rest, 4, 16)?, &mut bytes)?,
            b'U' => encode(number(&mut rest, 8, 16)?, &mut bytes)?,
            b'0'..=b'3' => {
                let tail = number(&mut rest, 2, 8)?;
                bytes.push((kind - b'0') << 6 | u8::try_from(tail).ok()?);
            }
            _ => return None,
        }
    }
    Some(bytes)
}

/// Takes a number of so many digits off.
fn number(rest: &mut &[u8], digits: usize, radix: u32) -> Option<u32> {
    let digits = std::str::from_utf8(rest.split_off(..digits)?).ok()?;
    // from_str_radix() would take a sign.
    let all = digits.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if all { u32::from_str_radix(digits, radix).ok() } else { None }
}

/// A character as UTF-8; halves of a surrogate pair likewise, as whoever writes them means them.
fn encode(code: u32, bytes: &mut Vec<u8>) -> Option<()> {
    match char::from_u32(code) {
        Some(character) => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        None if code <= 0xffff => {
            let tail = |shift: u32| 0x80 | u8::try_from((code >> shift) & 0x3f).unwrap_or(0);
            bytes.extend([0xe0 | u8::try_from(code >> 12).unwrap_or(0), tail(6), tail(0)]);
        }
        None => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_those_of_c() {
        let yes: [(&str, &[u8]); 9] = [
            (r"\a\b\f\n\r\t\v\s", b"\x07\x08\x0c\n\r\t\x0b "),
            (r#"\\\"\'"#, b"\\\"'"),
            (r"\x41\x00\xfF", b"A\0\xff"),
            (r"\101\000\377", b"A\0\xff"),
            (r"\u00e4", "ä".as_bytes()),
            (r"\U0001f600x", "😀x".as_bytes()),
            (r"\ud800", b"\xed\xa0\x80"),
            ("ä:", "ä:".as_bytes()),
            ("", b""),
        ];
        for (text, bytes) in yes {
            assert_eq!(unescape(text.as_bytes()).as_deref(), Some(bytes), "{text}");
        }
        for text in [r"\", r"\q", r"\x4", r"\x+4", r"\1", r"\400", r"\0", r"\?", r"\e", r"\xg1", r"\U00110000", r"\1+1"]
        {
            assert_eq!(unescape(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_secret_is_not_shown() {
        let secret = Secret::new(b"hunter2".to_vec());
        assert_eq!(format!("{secret:?}"), "7 bytes");
    }
}
