//! The blocks of a page that are run as they stand, in order.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::console::Consoles;
use super::leftover::{self, Leftover};
use super::transcript::Transcript;
use super::{markdown, shell};
use crate::workspace::say;

/// How long what a page has ended may take to be gone.
const PATIENCE: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 10 });

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

    /// How long all blocks of a page may take together: one that waits for what never comes is to be told of.
    fn limit(self) -> Duration {
        Duration::from_secs(match self {
            Self::Tested => 300,
            Self::Acceptance => 3600,
        })
    }
}

/// What is run at once.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Shell blocks up to the next console block, as one script: `sh` is the language.
    Script(String),
    /// A console block: what is typed and what comes. The mark may be followed by the number of a terminal.
    Console(Transcript),
}

impl Piece {
    /// All that is run.
    fn typed(&self) -> Vec<&str> {
        match self {
            Self::Script(script) => vec![script],
            Self::Console(transcript) => transcript.exchanges.iter().filter_map(|one| one.typed.line()).collect(),
        }
    }
}

/// The pieces with this mark.
///
/// # Errors
/// If a console block is no transcript.
pub(super) fn pieces(page: &str, mark: Mark) -> Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    for code in markdown::code(page) {
        let words: Vec<&str> = code.info.split_whitespace().collect();
        match words.as_slice() {
            ["console", word, terminal @ ..] if *word == mark.word() => {
                let terminal = match terminal {
                    [] => 1,
                    [number] => {
                        number.parse().with_context(|| format!("line {}: {number:?} is no terminal", code.line))?
                    }
                    _ => bail!("line {}: there is more than one terminal: {terminal:?}", code.line),
                };
                pieces.push(Piece::Console(Transcript::read(terminal, &code.text, code.line)?));
            }
            ["sh", word] if *word == mark.word() => match pieces.last_mut() {
                Some(Piece::Script(script)) => script.push_str(&code.text),
                _ => pieces.push(Piece::Script(code.text)),
            },
            _ => {}
        }
    }
    Ok(pieces)
}

/// What the blocks of a page find around them: an empty directory, and programs at the front of `PATH`.
pub(super) struct Surroundings {
    directory: PathBuf,
}

impl Surroundings {
    pub(super) fn make(directory: &Path, programs: &[PathBuf]) -> Result<Self> {
        let own = Self { directory: directory.to_owned() };
        let bin = leftover::programs(directory);
        std::fs::create_dir(&bin)?;
        std::fs::create_dir(own.place("page"))?;
        for program in programs {
            symlink(program, bin.join(program.file_name().context("a program without a name")?))?;
        }
        Ok(own)
    }

    /// A path beside the directory that the blocks run in.
    pub(super) fn place(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Gives all of it to a command.
    pub(super) fn give(&self, command: &mut Command) -> Result<()> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::iter::once(leftover::programs(&self.directory)).chain(std::env::split_paths(&path));
        command.current_dir(self.place("page")).env("PATH", std::env::join_paths(path)?);
        Ok(())
    }
}

/// Runs the pieces of a page in an empty directory of its own, for as long as the mark allows. Nothing that they have started
/// stays.
pub(super) fn run(page: &Path, pieces: &[Piece], programs: &[PathBuf], mark: Mark) -> Result<()> {
    if pieces.is_empty() {
        return Ok(());
    }
    let started = Instant::now();
    // Not in /tmp, which may be in memory and too small for a tree.
    let directory = tempfile::Builder::new().prefix("redd-docs-").tempdir_in("/var/tmp")?;
    let surroundings = Surroundings::make(directory.path(), programs)?;
    let text: Vec<&str> = pieces.iter().flat_map(Piece::typed).collect();
    let left = Leftover::of(directory.path(), &text.join("\n"));
    let end = started + mark.limit();
    let mut consoles = Consoles::default();
    let done = pieces.iter().try_for_each(|piece| match piece {
        Piece::Script(script) => shell::run(script, &surroundings, end),
        Piece::Console(transcript) => consoles.run(transcript, &surroundings, end),
    });
    // Terminals close here: what still sits at one is hung up.
    let done = done.and_then(|()| consoles.finish());
    say(&format!("{}: {:.1} s", page.display(), started.elapsed().as_secs_f64()));
    if done.is_ok() && !left.goes_by_itself(PATIENCE) {
        let names = left.names().join(", ");
        left.end(PATIENCE)?;
        bail!("{} leaves behind: {names}", page.display());
    }
    left.end(PATIENCE)?;
    done.with_context(|| format!("a tested block of {} fails", page.display()))?;
    directory.close().with_context(|| format!("cannot remove what {} has made", page.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "```sh tested\ntouch here\n```\n\n```sh\nfalse\n```\n\n```sh tested\ntest -e here\n```\n\n\
                        ```console tested\n$ ls\nhere\n```\n\n```sh tested\nrm here\n```\n";

    fn run_one(block: &str) -> Result<()> {
        run(Path::new("page.md"), &[Piece::Script(block.to_owned())], &[], Mark::Tested)
    }

    /// Machines that others make at the same time, which the page does not name, stay.
    #[test]
    fn a_machine_that_a_page_leaves_behind_is_a_failure_and_is_removed() {
        testkit::requires!(root);
        let machines = Path::new("/var/lib/machines");
        std::fs::create_dir_all(machines).expect("a directory");
        let number = std::process::id();
        let name = format!("docs-xtask-{number}");
        let (tree, image) = (machines.join(&name), machines.join(format!("{name}-image.raw")));
        let block = format!("mkdir -p {0}/usr; touch {0}/usr/file; >{1}\n", tree.display(), image.display());
        let error = run_one(&block).expect_err("it leaves something");
        assert!(error.to_string().contains(&name), "{error:#}");
        assert!(!tree.exists() && !image.exists());
        let other = machines.join(format!("docs-other-{number}"));
        run_one(&format!("number={number}\nmkdir {}/docs-other-$number\n", machines.display())).expect("done");
        std::fs::remove_dir(&other).expect("it stays");
        // What was there before stays, too.
        std::fs::create_dir(&other).expect("a directory");
        run_one(&format!("test -d {}\n", other.display())).expect("done");
        std::fs::remove_dir(&other).expect("it stays");
    }

    /// A block that puts a process into the background, in a session of its own, and notes its number.
    fn background(path: &Path, then: &str) -> String {
        format!(
            "setsid sh -c 'echo $$ >{0}; exec sleep 1000' &\nuntil test -s {0}; do sleep 0.01; done\n{then}\n",
            path.display()
        )
    }

    fn runs(path: &Path) -> bool {
        let pid = std::fs::read_to_string(path).expect("a number");
        Path::new("/proc").join(pid.trim()).join("cwd").read_link().is_ok()
    }

    #[test]
    fn marked_blocks_run_in_order_in_one_directory() {
        let pieces = pieces(PAGE, Mark::Tested).expect("pieces");
        let script = |text: &str| Piece::Script(text.to_owned());
        let transcript = Transcript::read(1, "$ ls\nhere\n", 13).expect("a transcript");
        assert_eq!(pieces, [script("touch here\ntest -e here\n"), Piece::Console(transcript), script("rm here\n")]);
        run(Path::new("page.md"), &pieces, &[], Mark::Tested).expect("they succeed");
        assert_eq!(super::pieces(PAGE, Mark::Acceptance).expect("none"), []);
        for bad in ["```console tested\n```\n", "```console tested x\n$ ls\n```\n"] {
            assert!(super::pieces(bad, Mark::Tested).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_failure_ends_the_page_with_its_name() {
        let page = "```console tested\n$ ls /var/tmp/none\n…\n```\n```sh tested\ntouch /var/tmp/none\n```\n";
        let pieces = pieces(page, Mark::Tested).expect("pieces");
        let error = run(Path::new("page.md"), &pieces, &[], Mark::Tested).expect_err("it fails");
        assert!(format!("{error:#}").contains("a tested block of page.md fails: after"), "{error:#}");
        assert!(!Path::new("/var/tmp/none").exists());
    }

    #[test]
    fn what_runs_when_a_block_fails_is_not_waited_for_and_ended() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("pid");
        let started = Instant::now();
        let error = run_one(&background(&path, "false")).expect_err("it fails");
        assert!(format!("{error:#}").contains("+ false"), "{error:#}");
        assert!(started.elapsed() < PATIENCE && !runs(&path));
    }

    #[test]
    fn what_a_page_leaves_behind_is_a_failure() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("pid");
        let error = run_one(&background(&path, "true")).expect_err("it leaves something");
        assert!(error.to_string().contains("leaves behind: sleep"), "{error:#}");
        assert!(!runs(&path));
    }
}
