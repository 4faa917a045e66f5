//! Texts of the operating system in `--dry-run=json`: strings, as programs expect them. What is not UTF-8, which JSON
//! cannot hold, is shown as the replacement character.

use std::ffi::{OsStr, OsString};

use serde::Serializer;

pub(crate) fn text<S: Serializer>(text: &OsStr, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&text.to_string_lossy())
}

pub(crate) fn optional_text<S: Serializer>(text: &Option<OsString>, serializer: S) -> Result<S::Ok, S::Error> {
    match text {
        Some(text) => serializer.serialize_some(&text.to_string_lossy()),
        None => serializer.serialize_none(),
    }
}

pub(crate) fn texts<S: Serializer>(texts: &[OsString], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(texts.iter().map(|text| text.to_string_lossy()))
}

/// Variables, as `NAME=VALUE`.
pub(crate) fn variables<S: Serializer>(variables: &[(OsString, OsString)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(variables.iter().map(|(name, value)| format!("{}={}", name.display(), value.display())))
}

/// The contents of a file.
pub(crate) fn contents<S: Serializer>(contents: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&String::from_utf8_lossy(contents))
}
