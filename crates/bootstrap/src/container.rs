//! Programs of a tree, run in a container that has the tree as its root.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::Signal;

use crate::interrupt::Interrupt;

/// What of a line is kept; the rest counts as lines of their own.
const LONGEST_LINE: u64 = 16384;

/// The program that runs a container, with its first arguments: `redd-spawn`, or `redd spawn`.
#[derive(Debug, Clone)]
pub struct ContainerCommand {
    /// The program.
    pub program: PathBuf,
    /// What comes first on its command line.
    pub arguments: Vec<OsString>,
}

impl ContainerCommand {
    /// A container for one program, whose command line is to be added. Nothing of the tree is changed by the container
    /// itself, but for missing mount points and, unless that is to be kept, resolv.conf(5), and nothing that the program starts
    /// outlives it.
    pub(crate) fn one_shot(&self, tree: &Path, keeps_resolver: bool) -> Command {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        command.args(["--quiet", "--register=no", "--keep-unit", "--settings=no", "--console=pipe", "--as-pid2"]);
        command.args(["--suppress-sync=yes", "--timezone=off", "--link-journal=no"]);
        if keeps_resolver {
            command.arg("--resolv-conf=off");
        }
        // The directory's own name may be none that a machine can have. Several trees may be worked on at once.
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        command.arg(format!("--machine=redd-bootstrap-{}-{number}", std::process::id()));
        command.arg("--directory").arg(tree);
        command
    }
}

/// Runs a program to its end: `input` is what it reads, `line` gets what it writes, both outputs together. Where this process is
/// killed, the program is told to end.
///
/// # Errors
/// Where it cannot be run.
pub(crate) fn run_lines(
    mut command: Command,
    input: &[u8],
    interrupt: &Interrupt,
    line: &mut dyn FnMut(&str),
) -> io::Result<ExitStatus> {
    let (reader, writer) = io::pipe()?;
    command.stdout(writer.try_clone()?).stderr(writer);
    command.stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() });
    // A group of its own: an interrupt from the terminal is for us, and we tell the container.
    command.process_group(0);
    // It ends its container then. This thread waits for it below.
    sys::process::end_with_starter(&mut command, Signal::TERM);
    let mut child = command.spawn()?;
    // It holds our end for writing.
    drop(command);
    if let Err(errno) = interrupt.watch(Some(&child)) {
        // It cannot be told to end later, so it does now.
        let _ = child.kill();
        child.wait()?;
        return Err(errno.into());
    }
    let stdin = child.stdin.take();
    let read = std::thread::scope(|scope| {
        let writer = scope.spawn(move || match stdin {
            Some(mut stdin) => stdin.write_all(input),
            None => Ok(()),
        });
        let read = read_lines(BufReader::new(reader), line);
        match writer.join() {
            // It need not read all.
            Ok(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => read,
            Ok(written) => read.and(written),
            Err(_) => Err(io::Error::other("what writes its input ended early")),
        }
    });
    let status = child.wait()?;
    interrupt.watch(None)?;
    read.map(|()| status)
}

fn read_lines(mut stream: impl BufRead, line: &mut dyn FnMut(&str)) -> io::Result<()> {
    let mut bytes = Vec::new();
    while stream.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut bytes)? > 0 {
        let text = String::from_utf8_lossy(&bytes);
        line(text.strip_suffix('\n').unwrap_or(&text).trim_end_matches('\r'));
        bytes.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(script: &str, input: &[u8]) -> (Option<i32>, Vec<String>) {
        let mut lines = Vec::new();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        let status = run_lines(command, input, &Interrupt::default(), &mut |line| lines.push(line.to_owned())).unwrap();
        (status.code(), lines)
    }

    #[test]
    fn what_a_program_says_comes_line_by_line() {
        assert_eq!(run("echo one; echo two >&2; printf three; exit 3", b""), {
            (Some(3), ["one", "two", "three"].map(str::to_owned).to_vec())
        });
        assert_eq!(run("cat", b"in\nput\n").1, ["in", "put"]);
        assert_eq!(run("cat", b"").1, [""; 0]);
        let long = vec![b'x'; 1 << 20];
        assert_eq!(run("exit 0", &long), (Some(0), vec![]));
        assert_eq!(run("cat", &long).1.concat().len(), 1 << 20);
    }

    #[test]
    fn a_wish_to_stop_ends_it() {
        let interrupt = Interrupt::default();
        interrupt.trigger();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "exec sleep 1000"]);
        let status = run_lines(command, b"", &interrupt, &mut |_| {}).unwrap();
        assert!(!status.success());
    }
}
