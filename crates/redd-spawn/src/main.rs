//! `redd-spawn`, also under the name `systemd-nspawn`.

use std::process::ExitCode;

#[global_allocator]
static MEMORY: sys::arena::Arena = sys::arena::Arena::new();

fn main() -> ExitCode {
    sys::signal::keep_children();
    spawn::main(std::env::args_os())
}
