//! Compiles the program of the last step: tiny, static, without any library.

use std::path::PathBuf;
use std::process::Command;

fn main() {
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"));
    println!("cargo::rerun-if-changed=last_step/main.rs");
    println!("cargo::rerun-if-changed=src/slate/layout.rs");
    let binary = PathBuf::from(variable("OUT_DIR")).join("last_step");
    let target = variable("TARGET");
    let mut compile = Command::new(variable("RUSTC"));
    compile.args(["--edition=2024", "--crate-name=last_step", "--target", &target]);
    compile.args(["-Copt-level=s", "-Cpanic=abort", "-Cstrip=symbols", "-Crelocation-model=static"]);
    compile.args(["-Ctarget-feature=+crt-static", "-Clink-args=-nostdlib -nostartfiles -static -no-pie"]);
    if target.contains("musl") {
        // Else rustc puts the beginning of a program of the C library's in front.
        compile.arg("-Clink-self-contained=no");
    }
    if let Ok(linker) = std::env::var("RUSTC_LINKER") {
        compile.arg(format!("-Clinker={linker}"));
    }
    match compile.arg("-o").arg(&binary).arg("last_step/main.rs").status() {
        Ok(status) if status.success() => println!("cargo::rustc-env=REDD_LAST_STEP={}", binary.display()),
        other => panic!("cannot compile the program of the last step: {other:?}"),
    }
}
