//! Shell blocks of a page that are run as they stand.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::leftover::{self, Leftover};
use super::markdown;
use crate::workspace::say;

/// How much of what a failed page has printed is shown, in lines.
const LINES: usize = 60;
/// How often is looked whether it has ended.
const MOMENT: Duration = Duration::from_millis(20);
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
            Self::Tested => 180,
            Self::Acceptance => 3600,
        })
    }
}

/// The blocks with this mark, in order.
pub(super) fn marked(page: &str, mark: Mark) -> Vec<String> {
    let wanted = |info: &str| info.split_whitespace().eq(["sh", mark.word()]);
    markdown::code(page).into_iter().filter(|code| wanted(&code.info)).map(|code| code.text).collect()
}

/// Runs the blocks of a page as one script, in an empty directory of its own and for as long as the mark allows. The
/// programs are at the front of `PATH`. Nothing that it has started stays.
pub(super) fn run(page: &Path, blocks: &[String], programs: &[PathBuf], mark: Mark) -> Result<()> {
    if blocks.is_empty() {
        return Ok(());
    }
    let started = Instant::now();
    // Not in /tmp, which may be in memory and too small for a tree.
    let directory = tempfile::Builder::new().prefix("redd-docs-").tempdir_in("/var/tmp")?;
    let script = Script::start(directory.path(), blocks, programs)?;
    let printed = script.wait(mark.limit());
    let seconds = started.elapsed().as_secs_f64();
    say(&format!("{}: {} blocks, {seconds:.1} s", page.display(), blocks.len()));
    let left = Leftover::of(directory.path());
    if printed.is_ok() && !left.goes_by_itself(PATIENCE) {
        let names = left.names().join(", ");
        left.end(PATIENCE)?;
        bail!("{} leaves behind: {names}", page.display());
    }
    left.end(PATIENCE)?;
    printed.with_context(|| format!("a tested block of {} fails", page.display()))?;
    directory.close().with_context(|| format!("cannot remove what {} has made", page.display()))
}

/// A shell that runs blocks.
struct Script {
    shell: Child,
    /// Both outputs, as they come. A pipe would be open, and waited for, as long as anything lives that the blocks
    /// have put into the background.
    printed: File,
}

impl Script {
    fn start(directory: &Path, blocks: &[String], programs: &[PathBuf]) -> Result<Self> {
        let (own, place) = (leftover::programs(directory), directory.join("page"));
        std::fs::create_dir(&own)?;
        std::fs::create_dir(&place)?;
        for program in programs {
            symlink(program, own.join(program.file_name().context("a program without a name")?))?;
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::iter::once(own).chain(std::env::split_paths(&path));
        let printed = tempfile::tempfile()?;
        let shell = Command::new("bash")
            .args(["-euxo", "pipefail", "-c", &blocks.concat()])
            .current_dir(place)
            .env("PATH", std::env::join_paths(path)?)
            .stdin(std::process::Stdio::null())
            .stdout(printed.try_clone()?)
            .stderr(printed.try_clone()?)
            .spawn()
            .context("cannot run bash")?;
        Ok(Self { shell, printed })
    }

    /// Waits for the shell alone. A failure has its last words.
    fn wait(mut self, limit: Duration) -> Result<()> {
        let end = Instant::now() + limit;
        let how = match self.ends_until(end)? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => status.to_string(),
            None => {
                self.shell.kill().and_then(|()| self.shell.wait()).context("cannot end bash")?;
                format!("not done after {} s", limit.as_secs())
            }
        };
        let mut told = Vec::new();
        self.printed.rewind()?;
        self.printed.read_to_end(&mut told)?;
        bail!("{how}:\n{}", last_lines(&String::from_utf8_lossy(&told)));
    }

    fn ends_until(&mut self, end: Instant) -> Result<Option<ExitStatus>> {
        loop {
            let status = self.shell.try_wait()?;
            if status.is_some() || Instant::now() >= end {
                return Ok(status);
            }
            std::thread::sleep(MOMENT);
        }
    }
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "```sh tested\ntouch here\n```\n\n```sh\nfalse\n```\n\n```sh tested\ntest -e here\n```\n";

    fn run_one(block: &str) -> Result<()> {
        run(Path::new("page.md"), &[block.to_owned()], &[], Mark::Tested)
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
    fn marked_blocks_run_as_one_script() {
        let blocks = marked(PAGE, Mark::Tested);
        assert_eq!(blocks, ["touch here\n", "test -e here\n"]);
        assert_eq!(marked(PAGE, Mark::Acceptance), [""; 0]);
        run(Path::new("page.md"), &blocks, &[], Mark::Tested).expect("they succeed");
    }

    #[test]
    fn a_failing_command_is_a_failure_with_all_that_was_printed() {
        let error = run_one("echo out\necho err >&2\nfalse\ntrue\n").expect_err("it fails");
        let text = format!("{error:#}");
        assert!(text.contains("exit status: 1:\n+ echo out\nout\n+ echo err\nerr\n+ false"), "{text}");
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

    #[test]
    fn a_page_that_hangs_is_told_of() {
        let directory = tempfile::tempdir().expect("a directory");
        let script = Script::start(directory.path(), &["echo begun; sleep 1000\n".to_owned()], &[]).expect("started");
        let error = script.wait(Duration::from_secs(1)).expect_err("it hangs");
        assert!(error.to_string().contains("not done after 1 s:\n+ echo begun\nbegun"), "{error}");
        Leftover::of(directory.path()).end(PATIENCE).expect("ended");
    }
}
