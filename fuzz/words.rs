// What is done with a command line. Shared by the fuzz target and by the test that replays the seeds.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

/// Words, each ended by a NUL.
pub(crate) fn command_line(data: &[u8]) {
    let words: Vec<OsString> = data.split(|byte| *byte == 0).map(|word| OsString::from_vec(word.to_vec())).collect();
    let caller = spec::options::Caller { directory: Path::new("/srv"), variable: &|_| None };
    let _ = spec::command_line::read(&words, caller);
}
