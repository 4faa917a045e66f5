//! Links the released program statically where that can be done: without a dynamic loader a start takes a seventh less
//! time. Where the C library has no static form, on other systems and when cross-compiling the program is linked as usual.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the standard library asks the linker for, and the static library that has it.
const LIBRARIES: &[(&str, &str)] = &[
    ("c", "libc.a"),
    ("m", "libm.a"),
    ("pthread", "libpthread.a"),
    ("rt", "librt.a"),
    ("util", "libutil.a"),
    ("dl", "libdl.a"),
    ("gcc_s", "libgcc_eh.a"),
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    if variable("PROFILE") == "release" && variable("CARGO_CFG_TARGET_ENV") == "musl" {
        // A static program relocates itself at each start. Packed, the list of what to relocate is 2 KiB instead of 130:
        // a start takes a twentieth less. A linker that does not know the word says so and goes on.
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
    let native = variable("HOST") == variable("TARGET");
    let wanted = variable("PROFILE") == "release" && variable("CARGO_CFG_TARGET_OS") == "linux";
    // Elsewhere, and with `-C target-feature=+crt-static`, rustc itself knows how.
    let by_hand =
        variable("CARGO_CFG_TARGET_ENV") == "gnu" && !variable("CARGO_CFG_TARGET_FEATURE").contains("crt-static");
    if !(native && wanted && by_hand) {
        return;
    }
    let directory = Path::new(&variable("OUT_DIR")).join("static");
    if gather(&directory).is_some() {
        // For this program alone: a search path would be passed on to all that use the library.
        println!("cargo::rustc-link-arg-bins=-L{}", directory.display());
        println!("cargo::rustc-link-arg-bins=-static-pie");
    }
}

/// Makes a directory in which the linker finds the static form of each library, and no other.
fn gather(directory: &Path) -> Option<()> {
    let found: Vec<(PathBuf, PathBuf)> = LIBRARIES
        .iter()
        .map(|(name, file)| Some((directory.join(format!("lib{name}.a")), locate(file)?)))
        .collect::<Option<_>>()?;
    if directory.exists() {
        std::fs::remove_dir_all(directory).ok()?;
    }
    std::fs::create_dir_all(directory).ok()?;
    found.iter().try_for_each(|(link, library)| symlink(library, link)).ok()
}

/// Asks the compiler where a library is; it repeats the bare name where there is none.
fn locate(file: &str) -> Option<PathBuf> {
    let output = Command::new("cc").arg(format!("-print-file-name={file}")).output().ok()?;
    let path = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    path.is_absolute().then_some(path)
}
