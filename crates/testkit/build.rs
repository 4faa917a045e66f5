//! Compiles the probe once more, static, so that it runs in any tree.

use std::path::PathBuf;
use std::process::Command;

fn main() {
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"));
    let source = "src/bin/probe/main.rs";
    println!("cargo::rerun-if-changed=src/bin/probe");
    let binary = PathBuf::from(variable("OUT_DIR")).join("probe");
    let status = Command::new(variable("RUSTC"))
        .args(["--edition=2024", "--target", &variable("TARGET"), "-Ctarget-feature=+crt-static", "-Copt-level=1"])
        .args(["-Cpanic=abort", "-Cstrip=symbols", "-o"])
        .arg(&binary)
        .arg(source)
        .status();
    match status {
        Ok(status) if status.success() => println!("cargo::rustc-env=REDD_STATIC_PROBE={}", binary.display()),
        other => panic!("cannot compile the static probe: {other:?}"),
    }
}
