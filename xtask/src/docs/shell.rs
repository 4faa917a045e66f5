//! Shell blocks of a page that are run as they stand.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::markdown;
use crate::workspace::say;

/// When a block is run: the word after the language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// With every test.
    Tested,
    /// With the acceptance, because it takes long.
    Acceptance,
}

impl Mark {
    fn word(self) -> &'static str {
        match self {
            Self::Tested => "tested",
            Self::Acceptance => "acceptance",
        }
    }
}

/// The blocks with this mark, in order.
pub(super) fn marked(page: &str, mark: Mark) -> Vec<String> {
    let wanted = |info: &str| info.split_whitespace().eq(["sh", mark.word()]);
    markdown::code(page).into_iter().filter(|code| wanted(&code.info)).map(|code| code.text).collect()
}

/// Runs the blocks of a page as one script, in an empty directory of its own.
pub(super) fn run(page: &Path, blocks: &[String], programs: &Path) -> Result<()> {
    if blocks.is_empty() {
        return Ok(());
    }
    say(&format!("{}: {} blocks", page.display(), blocks.len()));
    // Not in /tmp, which may be in memory and too small for a tree.
    let directory = tempfile::Builder::new().prefix("redd-docs-").tempdir_in("/var/tmp")?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::iter::once(programs.to_owned()).chain(std::env::split_paths(&path));
    let output = Command::new("bash")
        .args(["-euxo", "pipefail", "-c", &blocks.concat()])
        .current_dir(directory.path())
        .env("PATH", std::env::join_paths(path)?)
        .stdin(std::process::Stdio::null())
        .output()
        .context("cannot run bash")?;
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr);
        bail!("a tested block of {} fails ({}):\n{}", page.display(), output.status, last_lines(&told));
    }
    directory.close().with_context(|| format!("cannot remove what {} has made", page.display()))
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "```sh tested\ntouch here\n```\n\n```sh\nfalse\n```\n\n```sh tested\ntest -e here\n```\n";

    #[test]
    fn marked_blocks_run_as_one_script() {
        let blocks = marked(PAGE, Mark::Tested);
        assert_eq!(blocks, ["touch here\n", "test -e here\n"]);
        assert_eq!(marked(PAGE, Mark::Acceptance), [""; 0]);
        run(Path::new("page.md"), &blocks, Path::new("/nowhere")).expect("they succeed");
    }

    #[test]
    fn a_failing_command_is_a_failure() {
        let blocks = ["false\n".to_owned(), "true\n".to_owned()];
        let error = run(Path::new("page.md"), &blocks, Path::new("/nowhere")).expect_err("the first one fails");
        assert!(error.to_string().contains("+ false"), "{error}");
    }
}
