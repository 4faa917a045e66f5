//! The programs as they are installed: for the musl C library where that can be done, because a program linked with it needs
//! no dynamic loader, and starts in half the time.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::workspace::{cargo, find_program, say, target_directory};

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct Released {
    package: &'static str,
    /// What it is built for, unless that is the machine's own target.
    triple: Option<String>,
    /// Where it is when it was built.
    pub(crate) path: PathBuf,
}

impl Released {
    /// The engine.
    pub(crate) fn engine() -> Result<Self> {
        Self::of("redd-spawn", has_target(&musl()))
    }

    /// The program that people type. Some of what it uses is C.
    pub(crate) fn client() -> Result<Self> {
        Self::of("redd", has_target(&musl()) && has_compiler(&musl()))
    }

    fn of(package: &'static str, for_musl: bool) -> Result<Self> {
        let triple = for_musl.then(musl);
        let place = target_directory()?.join(triple.as_deref().unwrap_or_default());
        Ok(Self { package, triple, path: place.join("release").join(package) })
    }

    /// Builds it, and tells where it is.
    pub(crate) fn build(&self) -> Result<&Path> {
        let package = format!("--package={}", self.package);
        let mut arguments = vec!["build", "--release", "--locked", &package];
        match &self.triple {
            Some(triple) => arguments.extend(["--target", triple]),
            None => say(&format!(
                "{} starts faster with: rustup target add {}, and Debian's musl-tools or another musl-gcc",
                self.package,
                musl()
            )),
        }
        cargo(&arguments)?;
        Ok(&self.path)
    }
}

/// The target of programs for musl, where all is there to build both.
pub(crate) fn musl_target() -> Option<String> {
    Some(musl()).filter(|triple| has_target(triple) && has_compiler(triple))
}

fn musl() -> String {
    format!("{}-unknown-linux-musl", std::env::consts::ARCH)
}

/// Whether the standard library is there for a target.
fn has_target(triple: &str) -> bool {
    let output = Command::new("rustc").args(["--print=target-libdir", "--target", triple]).output();
    let directory = output.ok().filter(|output| output.status.success()).map(|output| output.stdout);
    let directory = directory.and_then(|path| String::from_utf8(path).ok());
    directory
        .is_some_and(|path| Path::new(path.trim()).join("").read_dir().is_ok_and(|mut files| files.next().is_some()))
}

/// Whether there is a C compiler for a target, where cargo's build scripts look for it.
fn has_compiler(triple: &str) -> bool {
    let named = [format!("CC_{triple}"), format!("CC_{}", triple.replace('-', "_")), "TARGET_CC".to_owned()];
    let usual = [format!("{}-linux-musl-gcc", std::env::consts::ARCH), "musl-gcc".to_owned()];
    named.iter().any(|name| std::env::var_os(name).is_some()) || usual.iter().any(|name| find_program(name).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_place_below_its_target() {
        let plain = Released::of("redd", false).expect("place");
        assert!(plain.path.ends_with("release/redd") && plain.triple.is_none());
        let packed = Released::of("redd-spawn", true).expect("place");
        assert!(packed.path.ends_with(format!("{}/release/redd-spawn", musl())), "{}", packed.path.display());
    }

    #[test]
    fn what_rustc_has_not_is_not_there() {
        assert!(!has_target("no-such-target"));
    }
}
