//! What a machine in the background prints, kept in files of bounded size.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use machine::log;
use rustix::fs::OFlags;
use spec::MachineName;

/// How much of the end is kept for whoever has started the machine, in bytes.
const TAIL: usize = 4096;

/// The log of a machine.
#[derive(Debug)]
pub(super) struct Output {
    path: PathBuf,
    former: PathBuf,
    file: File,
    length: u64,
    longest: u64,
    /// What could not be written, in bytes.
    lost: u64,
    tail: Vec<u8>,
}

impl Output {
    /// Opens it behind what is there, and makes it if there is none.
    pub(super) fn open(name: &MachineName) -> anyhow::Result<Self> {
        let directory = Path::new(log::DIRECTORY);
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(directory.parent().unwrap_or(directory))
            .and_then(|()| match std::fs::DirBuilder::new().mode(0o700).create(directory) {
                Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
                _ => Ok(()),
            })
            .with_context(|| format!("cannot make {}", directory.display()))?;
        Self::at(log::log_path(name.as_str()), log::former_log_path(name.as_str()), log::LONGEST)
    }

    fn at(path: PathBuf, former: PathBuf, longest: u64) -> anyhow::Result<Self> {
        let file = open(&path)?;
        let length = file.metadata().with_context(|| format!("cannot look at {}", path.display()))?.len();
        Ok(Self { path, former, file, length, longest, lost: 0, tail: Vec::new() })
    }

    /// The file, to write to directly.
    pub(super) fn into_file(self) -> File {
        self.file
    }

    /// Adds to it. What cannot be written is lost: a machine does not wait for a full disk.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        self.tail.drain(..self.tail.len().saturating_sub(TAIL));
        if self.length >= self.longest {
            self.begin_anew();
        }
        if self.lost > 0 {
            let line = format!("\nredd: {} bytes of output could not be kept\n", self.lost);
            if self.file.write_all(line.as_bytes()).is_err() {
                self.lost += bytes.len() as u64;
                return;
            }
            self.lost = 0;
        }
        match self.file.write_all(bytes) {
            Ok(()) => self.length += bytes.len() as u64,
            Err(_) => self.lost += bytes.len() as u64,
        }
    }

    /// A line of our own.
    pub(super) fn say(&mut self, line: &str) {
        let ended = self.tail.last().is_none_or(|byte| *byte == b'\n');
        let before = if ended { "" } else { "\n" };
        self.write(format!("{before}redd: {line}\n").as_bytes());
    }

    /// What was written last, at most [`TAIL`] bytes from the beginning of a line on.
    pub(super) fn tail(&self) -> String {
        let text = String::from_utf8_lossy(&self.tail).into_owned();
        match text.find('\n') {
            Some(at) if self.tail.len() == TAIL => text[at + 1..].to_owned(),
            _ => text,
        }
    }

    /// The next start begins.
    pub(super) fn forget_tail(&mut self) {
        self.tail.clear();
    }

    /// The file takes the place of the former one. Where that fails, it is emptied: it must not grow for ever.
    fn begin_anew(&mut self) {
        let renamed = std::fs::rename(&self.path, &self.former).map_err(anyhow::Error::from);
        match renamed.and_then(|()| open(&self.path)) {
            Ok(file) => self.file = file,
            Err(_) => {
                if self.file.set_len(0).is_err() {
                    return;
                }
            }
        }
        self.length = 0;
    }
}

fn open(path: &Path) -> anyhow::Result<File> {
    let mut options = OpenOptions::new();
    options
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NOCTTY).bits().cast_signed());
    options.open(path).with_context(|| format!("cannot open {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(directory: &Path, longest: u64) -> Output {
        Output::at(directory.join("log"), directory.join("former"), longest).expect("open")
    }

    #[test]
    fn the_files_do_not_grow_beyond_twice_the_bound() {
        let directory = tempfile::tempdir().expect("directory");
        let mut output = output(directory.path(), 100);
        for number in 0..100 {
            output.write(format!("line {number}\n").as_bytes());
        }
        let read = |name| std::fs::read_to_string(directory.path().join(name)).expect("file");
        let (former, current) = (read("former"), read("log"));
        assert!(former.len() < 110 && current.len() < 110, "{former}{current}");
        assert!(former.ends_with(&format!("line {}\n", 99 - current.lines().count())), "nothing is missing in between");
        assert!(current.ends_with("line 99\n"));
    }

    #[test]
    fn a_log_is_gone_on_with() {
        let directory = tempfile::tempdir().expect("directory");
        output(directory.path(), 100).write(b"before\n");
        let mut again = output(directory.path(), 100);
        again.write(b"no end");
        again.say("word");
        assert_eq!(std::fs::read(directory.path().join("log")).expect("file"), b"before\nno end\nredd: word\n");
        assert_eq!(again.tail(), "no end\nredd: word\n");
        again.forget_tail();
        assert_eq!(again.tail(), "");
    }

    #[test]
    fn the_tail_begins_with_a_line() {
        let directory = tempfile::tempdir().expect("directory");
        let mut output = output(directory.path(), 1 << 20);
        for number in 0..1000 {
            output.write(format!("line {number}\n").as_bytes());
        }
        let tail = output.tail();
        assert!(tail.starts_with("line ") && tail.ends_with("line 999\n") && tail.len() <= TAIL, "{tail}");
    }
}
