//! What a process has of a login: the keys of its session, and who has logged in.

use std::ffi::CString;
use std::os::unix::process::CommandExt;

use crate::kernel::{self, number};
use crate::say;

/// The keyring of the session (`KEY_SPEC_SESSION_KEYRING`).
const SESSION: usize = -3isize as usize;
const JOIN_SESSION_KEYRING: usize = 1;
const SEARCH: usize = 10;
const READ: usize = 11;

fn text(word: &str) -> CString {
    CString::new(word).unwrap_or_default()
}

/// Logs in as the user with a number, with a named key in the session, and executes a program: UID NAME SECRET PROGRAM….
pub(crate) fn enter(words: &[String]) -> ! {
    let [uid, name, secret, program, arguments @ ..] = words else {
        say("error=a number, a name, a secret and a program are wanted");
        std::process::exit(2)
    };
    let (kind, name) = (text("user"), text(name));
    let joined = kernel::call(number::KEYCTL, [JOIN_SESSION_KEYRING, 0, 0, 0, 0]);
    let (kind, name) = (kind.as_ptr() as usize, name.as_ptr() as usize);
    let added = kernel::call(number::ADD_KEY, [kind, name, secret.as_ptr() as usize, secret.len(), SESSION]);
    let logged_in = std::fs::write("/proc/self/loginuid", uid);
    if joined.is_err() || added.is_err() || logged_in.is_err() {
        say(&format!("error={joined:?} {added:?} {logged_in:?}"));
        std::process::exit(3)
    }
    let error = std::process::Command::new(program).args(arguments).exec();
    say(&format!("error={error}"));
    std::process::exit(4)
}

/// What the session's key of this name says.
pub(crate) fn read(words: &[String]) {
    let (kind, name) = (text("user"), text(words.first().map_or("", String::as_str)));
    let found = kernel::call(number::KEYCTL, [SEARCH, SESSION, kind.as_ptr() as usize, name.as_ptr() as usize, 0]);
    let mut secret = [0u8; 64];
    let length = found.and_then(|key| {
        kernel::call(number::KEYCTL, [READ, key as usize, secret.as_mut_ptr() as usize, secret.len(), 0])
    });
    match length {
        Ok(length) => say(&format!("key={}", String::from_utf8_lossy(&secret[..(length as usize).min(64)]))),
        Err(errno) => say(&format!("key=none, error {errno}")),
    }
}
