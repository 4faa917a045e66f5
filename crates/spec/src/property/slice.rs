//! Names of slices, see systemd.slice(5) and systemd.unit(5).

use std::fmt::{self, Display, Formatter, Write as _};
use std::str::FromStr;

use serde::Serialize;

use super::PropertyError;

/// The ending of a slice's name.
const SUFFIX: &str = ".slice";
/// The longest name of a unit, in bytes.
const LONGEST: usize = 255;
/// Endings of units that are no slices.
const OTHERS: [&str; 10] =
    [".service", ".socket", ".target", ".device", ".mount", ".automount", ".swap", ".timer", ".path", ".scope"];

/// The name of a slice, such as `machine.slice`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct SliceName(String);

impl SliceName {
    /// The whole name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Display for SliceName {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for SliceName {
    type Err = PropertyError;

    /// The ending may be left out. What cannot be part of a unit's name is escaped, as systemctl(1) does.
    fn from_str(text: &str) -> Result<Self, PropertyError> {
        let bad = || PropertyError::Slice(text.to_owned());
        if OTHERS.iter().any(|other| text.ends_with(other)) {
            return Err(bad());
        }
        let stem = text.strip_suffix(SUFFIX).unwrap_or(text);
        if stem == "-" {
            return Ok(Self(format!("-{SUFFIX}")));
        }
        let mut name = String::with_capacity(stem.len() + SUFFIX.len());
        for byte in stem.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b':' | b'-' | b'_' | b'.' | b'\\' => {
                    name.push(char::from(byte))
                }
                b'/' => name.push('-'),
                // A template's instance has no slices of its own below it.
                b'@' => return Err(bad()),
                // Writing to a String cannot fail.
                other => drop(write!(name, "\\x{other:02x}")),
            }
        }
        let parts_fit = name.split('-').all(|part| !part.is_empty());
        name.push_str(SUFFIX);
        if parts_fit && name.len() <= LONGEST { Ok(Self(name)) } else { Err(bad()) }
    }
}
