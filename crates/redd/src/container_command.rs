//! The program that runs containers.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use bootstrap::container::ContainerCommand;

/// The small `redd-spawn` beside this program, else this program itself. What lies beside it in cargo's build directory
/// may be of another build, and is not taken.
///
/// # Errors
/// Where this program does not know where it is.
pub(crate) fn find() -> std::io::Result<ContainerCommand> {
    let own = std::env::current_exe()?;
    let beside = own.with_file_name("redd-spawn");
    let is_program = |path: &PathBuf| {
        std::fs::metadata(path).is_ok_and(|status| status.is_file() && status.permissions().mode() & 0o111 != 0)
    };
    let installed = !own.with_file_name(".cargo-lock").exists();
    Ok(if installed && is_program(&beside) {
        ContainerCommand { program: beside, arguments: Vec::new() }
    } else {
        ContainerCommand { program: own, arguments: vec![OsString::from("spawn")] }
    })
}
