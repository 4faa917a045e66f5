//! `redd`: everything a person types. So far it is the engine under another name.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next() {
        Some(verb) if verb == "spawn" => spawn::main(std::iter::once(OsString::from("redd-spawn")).chain(arguments)),
        _ => {
            let _ = writeln!(std::io::stderr(), "redd: the verb so far is \"spawn\"; see \"redd spawn --help\"");
            ExitCode::from(2)
        }
    }
}
