//! `redd-spawn`, also under the name `systemd-nspawn`.

use std::process::ExitCode;

fn main() -> ExitCode {
    spawn::main(std::env::args_os())
}
