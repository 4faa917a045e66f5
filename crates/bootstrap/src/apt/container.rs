//! Runs commands in a tree that is being made, in a container of their own.

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::configure::Error;
use crate::container::ContainerCommand;
use crate::interrupt::Interrupt;
use crate::progress::{Phase, Progress};

/// How many lines of the output an error shows.
const LAST_LINES: usize = 25;

/// The container of a tree.
#[derive(Debug, Clone, Copy)]
pub struct Container<'a> {
    /// How to run one.
    pub command: &'a ContainerCommand,
    /// The path of the tree.
    pub tree: &'a Path,
    /// The name of the system, as scripts find it.
    pub hostname: &'a str,
    /// Whether the tree's own resolv.conf(5) stays as it is.
    pub keeps_resolver: bool,
}

impl Container<'_> {
    /// What begins a command line; more options may follow.
    pub(super) fn begin(&self) -> Command {
        let mut command = Command::new(&self.command.program);
        command.args(&self.command.arguments);
        command.args(["--quiet", "--register=no", "--keep-unit", "--settings=no", "--console=pipe", "--as-pid2"]);
        // What a package makes of the time zone is what its scripts have said.
        command.args(["--suppress-sync=yes", "--timezone=off"]);
        if self.keeps_resolver {
            command.arg("--resolv-conf=off");
        }
        // The directory's own name is none that a machine can have.
        command.arg(format!("--machine=redd-bootstrap-{}", std::process::id()));
        command.arg(format!("--hostname={}", self.hostname));
        command.arg("--directory").arg(self.tree);
        for (name, value) in [
            ("DEBIAN_FRONTEND", "noninteractive"),
            ("DEBCONF_NONINTERACTIVE_SEEN", "true"),
            ("DEBCONF_NOWARNINGS", "yes"),
            ("LC_ALL", "C.UTF-8"),
            ("HOME", "/root"),
            ("TERM", "dumb"),
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ] {
            command.arg(format!("--setenv={name}={value}"));
        }
        command
    }

    /// Runs it to its end, and tells of the packages that are set up.
    ///
    /// # Errors
    /// Where it cannot be run, or fails.
    pub(super) fn run(
        &self,
        mut command: Command,
        progress: &dyn Progress,
        interrupt: &Interrupt,
    ) -> Result<(), Error> {
        let start = |source| Error::Start { program: self.command.program.display().to_string(), source };
        // A group of its own: an interrupt from the terminal is for us, and we tell the container.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(start)?;
        let last = match interrupt.watch(Some(&child)) {
            Ok(()) => follow(&mut child, progress),
            Err(errno) => {
                // It cannot be told to end later, so it does now.
                let _ = child.kill();
                Err(errno.into())
            }
        };
        let status = child.wait().map_err(start)?;
        interrupt.watch(None).map_err(|errno| start(errno.into()))?;
        let last = last.map_err(start)?;
        if interrupt.is_wanted() {
            return Err(Error::Interrupted);
        }
        if status.success() { Ok(()) } else { Err(Error::Failed { status, output: last.join("\n") }) }
    }
}

/// Reads what the child says until it closes both outputs; gives the last lines.
fn follow(child: &mut Child, progress: &dyn Progress) -> io::Result<Vec<String>> {
    let lines = std::sync::Mutex::new(Vec::new());
    let read = |stream: Option<&mut (dyn Read + Send)>| -> io::Result<()> {
        let Some(stream) = stream else { return Ok(()) };
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        while stream.by_ref().take(16384).read_until(b'\n', &mut line)? > 0 {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            if let Some(package) = text.strip_prefix("Setting up ") {
                progress.item(Phase::Configure, package.split([' ', ':']).next().unwrap_or(package));
            }
            let mut lines = lines.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if lines.len() == LAST_LINES {
                lines.remove(0);
            }
            lines.push(text);
            line.clear();
        }
        Ok(())
    };
    let (mut output, mut errors) = (child.stdout.take(), child.stderr.take());
    std::thread::scope(|scope| {
        let other = scope.spawn(|| read(errors.as_mut().map(|stream| stream as _)));
        read(output.as_mut().map(|stream| stream as _))?;
        other.join().map_err(|_| io::Error::other("the reader of its errors ended early"))?
    })?;
    Ok(lines.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
}
