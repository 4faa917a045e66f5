//! Shell blocks of a page.

use std::fs::File;
use std::io::{Read, Seek};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::page::Surroundings;

/// How much of what a failed block has printed is shown, in lines.
const LINES: usize = 60;
/// How often is looked whether it has ended.
const MOMENT: Duration = Duration::from_millis(20);

/// Runs blocks as one script, which has until then.
///
/// # Errors
/// If a command of it fails, or it takes longer.
pub(super) fn run(script: &str, surroundings: &Surroundings, end: Instant) -> Result<()> {
    Script::start(script, surroundings)?.wait(end)
}

/// A shell that runs blocks.
struct Script {
    shell: Child,
    /// Both outputs, as they come. A pipe would be open, and waited for, as long as anything lives that the blocks
    /// have put into the background.
    printed: File,
}

impl Script {
    fn start(script: &str, surroundings: &Surroundings) -> Result<Self> {
        let printed = tempfile::tempfile()?;
        let mut command = Command::new("bash");
        surroundings.give(&mut command)?;
        let shell = command
            .args(["-euxo", "pipefail", "-c", script])
            .stdin(std::process::Stdio::null())
            .stdout(printed.try_clone()?)
            .stderr(printed.try_clone()?)
            .spawn()
            .context("cannot run bash")?;
        Ok(Self { shell, printed })
    }

    /// Waits for the shell alone. A failure has its last words.
    fn wait(mut self, end: Instant) -> Result<()> {
        let how = match self.ends_until(end)? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => status.to_string(),
            None => {
                self.shell.kill().and_then(|()| self.shell.wait()).context("cannot end bash")?;
                "not done in time".to_owned()
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

/// What is shown of a long text.
pub(super) fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(script: &str, limit: Duration) -> String {
        let directory = tempfile::tempdir().expect("a directory");
        let surroundings = Surroundings::make(directory.path(), &[]).expect("surroundings");
        run(script, &surroundings, Instant::now() + limit).expect_err("it fails").to_string()
    }

    #[test]
    fn a_failing_command_is_a_failure_with_all_that_was_printed() {
        let text = error_of("echo out\necho err >&2\nfalse\ntrue\n", Duration::from_secs(60));
        assert!(text.contains("exit status: 1:\n+ echo out\nout\n+ echo err\nerr\n+ false"), "{text}");
    }

    #[test]
    fn a_script_that_hangs_is_told_of() {
        let text = error_of("echo begun; exec sleep 1000\n", Duration::from_secs(1));
        assert!(text.contains("not done in time:\n+ echo begun\nbegun"), "{text}");
    }
}
