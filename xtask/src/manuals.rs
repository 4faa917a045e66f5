//! The manual page and the completions, as the option table has them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use spec::{Shell, completions, manual_page};

/// The names of the engine: its own, and the one that it takes the place of.
pub(crate) const NAMES: &[&str] = &["redd-spawn", "systemd-nspawn"];

/// Where each shell looks for completions, below the prefix, and what the files are called.
const SHELLS: &[(Shell, &str, &str, &str)] = &[
    (Shell::Bash, "share/bash-completion/completions", "", ""),
    (Shell::Zsh, "share/zsh/site-functions", "_", ""),
    (Shell::Fish, "share/fish/vendor_completions.d", "", ".fish"),
];

/// All of them for these names of the engine, with their places below a prefix. The page is that of the first.
pub(crate) fn files(names: &[&str]) -> Vec<(PathBuf, String)> {
    let mut all = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let page = match index {
            0 => manual_page(env!("CARGO_PKG_VERSION")),
            _ => format!(".so man1/{}.1\n", names[0]),
        };
        all.push((Path::new("share/man/man1").join(format!("{name}.1")), page));
        for &(shell, directory, before, after) in SHELLS {
            all.push((Path::new(directory).join(format!("{before}{name}{after}")), completions(shell, name)));
        }
    }
    all
}

/// Writes all of them below a prefix.
pub(crate) fn write(prefix: &Path, names: &[&str]) -> Result<()> {
    files(names).iter().try_for_each(|(path, text)| put(&prefix.join(path), text))
}

fn put(path: &Path, text: &str) -> Result<()> {
    let directory = path.parent().unwrap_or(path);
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_for_both_names() {
        let directory = tempfile::tempdir().expect("a directory");
        write(directory.path(), NAMES).expect("written");
        let text = |path: &str| fs::read_to_string(directory.path().join(path)).expect(path);
        assert!(text("share/man/man1/redd-spawn.1").contains("private\\-users"));
        assert_eq!(text("share/man/man1/systemd-nspawn.1"), ".so man1/redd-spawn.1\n");
        assert!(text("share/bash-completion/completions/systemd-nspawn").contains("--private-users"));
        assert!(text("share/fish/vendor_completions.d/redd-spawn.fish").contains("private-users"));
        assert!(text("share/zsh/site-functions/_redd-spawn").contains("--private-users"));
    }
}
