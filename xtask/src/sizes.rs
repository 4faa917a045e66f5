//! Sizes and names that clippy does not look at (it counts the lines and parameters of functions, see `clippy.toml`),
//! and where unsafe code may be.

use std::path::Path;

use anyhow::{Context, Result};

use crate::workspace::{files, root, verdict};

/// The most lines that a file may have.
const MOST_LINES: usize = 800;

/// Module names that say nothing.
const EMPTY_NAMES: &[&str] = &["util", "utils", "common", "helper", "helpers", "misc"];

/// Where unsafe code may be: the wrappers of system calls, and the probes that attack a container.
const UNSAFE_PLACES: &[&str] = &["crates/sys/", "crates/testkit/"];

/// Lints that a crate with a lint table of its own must have too.
const KEPT_LINTS: &[&str] = &["undocumented_unsafe_blocks", "unwrap_used", "too_many_arguments", "too_many_lines"];

/// Checks all source files and manifests.
pub(crate) fn check() -> Result<()> {
    let root = root();
    let mut problems = Vec::new();
    for path in files(&root, "rs")? {
        let text = std::fs::read_to_string(root.join(&path)).with_context(|| format!("cannot read {path:?}"))?;
        problems.extend(source(&path, &text));
    }
    for path in files(&root, "toml")?.iter().filter(|path| path.ends_with("Cargo.toml")) {
        let text = std::fs::read_to_string(root.join(path))?;
        problems.extend(manifest(path, &text));
    }
    verdict(&problems)
}

/// What is wrong with one source file.
fn source(path: &Path, text: &str) -> Vec<String> {
    let shown = path.display();
    let mut problems = Vec::new();
    let lines = text.lines().count();
    if lines > MOST_LINES {
        problems.push(format!("{shown} has {lines} lines, {MOST_LINES} at the most"));
    }
    let names = path.iter().filter_map(|part| Path::new(part).file_stem()?.to_str());
    for name in names.filter(|name| EMPTY_NAMES.contains(name)) {
        problems.push(format!("{shown}: \"{name}\" says nothing about what is in it"));
    }
    let place = path.to_string_lossy();
    let may_be_unsafe = UNSAFE_PLACES.iter().any(|allowed| place.starts_with(allowed));
    for (number, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        if let Some(name) = declared_module(code).filter(|name| EMPTY_NAMES.contains(name)) {
            problems.push(format!("{shown}:{}: \"{name}\" says nothing about what is in it", number + 1));
        }
        let switched_off = ["allow(", "expect("].iter().any(|word| code.contains(&format!("{word}unsafe_code")));
        if switched_off && !may_be_unsafe {
            problems.push(format!("{shown}:{}: unsafe code is for crates/sys", number + 1));
        }
    }
    problems
}

/// The name in `mod name`.
fn declared_module(code: &str) -> Option<&str> {
    let mut words = code.split_whitespace().skip_while(|word| word.starts_with("pub"));
    (words.next()? == "mod").then(|| words.next())?.map(|name| name.trim_end_matches([';', '{']))
}

/// What is wrong with one manifest: lints are those of the workspace, save where unsafe code is.
fn manifest(path: &Path, text: &str) -> Vec<String> {
    let place = path.to_string_lossy();
    if !text.contains("[package]") || place.starts_with("fuzz/") {
        return Vec::new();
    }
    let inherits = text.split("[lints]").nth(1).is_some_and(|rest| rest.trim_start().starts_with("workspace = true"));
    if inherits {
        return Vec::new();
    }
    let for_tests = place.starts_with("crates/testkit/");
    if !UNSAFE_PLACES.iter().any(|allowed| place.starts_with(allowed)) {
        return vec![format!("{place}: [lints] workspace = true is missing")];
    }
    let kept = KEPT_LINTS.iter().filter(|lint| !(for_tests && **lint == "unwrap_used"));
    let missing = kept.filter(|lint| !text.contains(&format!("\n{lint} = \"deny\"")));
    missing.map(|lint| format!("{place}: the lint {lint} is missing")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        source(Path::new(path), text)
    }

    #[test]
    fn long_files() {
        assert_eq!(found("crates/a/src/b.rs", &"x\n".repeat(800)), [""; 0]);
        assert_eq!(
            found("crates/a/src/b.rs", &"x\n".repeat(801)),
            ["crates/a/src/b.rs has 801 lines, 800 at the most"]
        );
    }

    #[test]
    fn names_that_say_nothing() {
        assert_eq!(found("crates/a/src/utils.rs", "").len(), 1);
        assert_eq!(found("crates/a/src/common/x.rs", "").len(), 1);
        assert_eq!(found("crates/a/src/lib.rs", "pub(crate) mod misc;\n").len(), 1);
        assert_eq!(found("crates/a/src/lib.rs", "mod helpers {\n").len(), 1);
        assert_eq!(found("crates/a/src/lib.rs", "mod mount;\n// mod utils\nlet model = 1;\n"), [""; 0]);
    }

    #[test]
    fn unsafe_outside_its_place() {
        let text = format!("#[allow({}_code)]\n", "unsafe");
        assert_eq!(found("crates/a/src/lib.rs", &text), ["crates/a/src/lib.rs:1: unsafe code is for crates/sys"]);
        assert_eq!(found("crates/sys/src/lib.rs", &text), [""; 0]);
    }

    #[test]
    fn lints_are_the_workspace_s() {
        let inherits = "[package]\n[lints]\nworkspace = true\n";
        let bare = "[package]\n[dependencies]\n";
        assert_eq!(manifest(Path::new("crates/a/Cargo.toml"), inherits), [""; 0]);
        assert_eq!(manifest(Path::new("crates/a/Cargo.toml"), bare).len(), 1);
        assert_eq!(manifest(Path::new("crates/sys/Cargo.toml"), bare).len(), KEPT_LINTS.len());
    }
}
