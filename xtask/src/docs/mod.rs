//! The documentation is true: every path, link, command and option that it names is there, and the blocks that
//! are marked as tested, for a shell or a person at a terminal, do what they say.

mod console;
mod leftover;
mod markdown;
mod mentions;
mod page;
mod plain_text;
mod shell;
mod transcript;

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::workspace::{cargo, files, root, target_directory, verdict};

pub(crate) use page::Mark;

/// The pages: all but the change log, which may name what is gone.
fn pages() -> Result<Vec<PathBuf>> {
    Ok(files(&root(), "md")?.into_iter().filter(|path| !path.ends_with("CHANGELOG.md")).collect())
}

/// Builds what [`check`] and [`run_blocks`] run, where nothing else has.
pub(crate) fn build() -> Result<()> {
    cargo(&["build", "--locked", "--package=redd", "--package=redd-spawn"])
}

/// The programs as they are built for tests.
fn programs() -> Result<[PathBuf; 2]> {
    let directory = target_directory()?.join("debug");
    let programs = ["redd", "redd-spawn"].map(|name| directory.join(name));
    match programs.iter().find(|path| !path.exists()) {
        Some(missing) => bail!("{} has not been built", missing.display()),
        None => Ok(programs),
    }
}

/// Checks what the pages mention.
pub(crate) fn check(tasks: &[String]) -> Result<()> {
    let [redd, _] = programs()?;
    let help = |verb: &str| {
        let output = Command::new(&redd).args([verb, "--help"]).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let known = mentions::Known { root: &root(), tasks, help: &help };
    let mut problems = Vec::new();
    for page in pages()? {
        let text = std::fs::read_to_string(root().join(&page)).with_context(|| format!("cannot read {page:?}"))?;
        problems.extend(mentions::problems(&page, &text, &known));
    }
    verdict(&problems)
}

/// Runs the blocks with this mark, page by page: of all pages, or only of some.
pub(crate) fn run_blocks(mark: Mark, only: &[PathBuf]) -> Result<()> {
    let programs = programs()?;
    let pages = pages()?;
    if let Some(unknown) = only.iter().find(|page| !pages.contains(page)) {
        bail!("{} is no page; these are: {}", unknown.display(), names(&pages));
    }
    let mut problems = Vec::new();
    for page in pages.iter().filter(|page| only.is_empty() || only.contains(page)) {
        let text = std::fs::read_to_string(root().join(page))?;
        let pieces = page::pieces(&text, mark).with_context(|| format!("cannot run {}", page.display()))?;
        if let Err(error) = page::run(page, &pieces, &programs, mark) {
            problems.push(format!("{error:#}"));
        }
    }
    verdict(&problems)
}

fn names(pages: &[PathBuf]) -> String {
    pages.iter().map(|page| page.display().to_string()).collect::<Vec<_>>().join(", ")
}
