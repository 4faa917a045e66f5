//! `machinectl edit`: the settings files of machines, in an editor.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{ErrorKind, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};

use anyhow::{Context, anyhow};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use spec::settings::LARGEST;
use sys::signal::{self, SignalSet};

use crate::failure::{Failure, warn};
use crate::machinectl::settings_file::{self, SettingsFile};
use crate::machinectl::{Options, images, steering};

/// Where an editor is named, the first that is set counts.
const VARIABLES: [&str; 3] = ["SYSTEMD_EDITOR", "EDITOR", "VISUAL"];
/// Which are tried where none is named.
const KNOWN: [&str; 4] = ["editor", "nano", "vim", "vi"];
/// What a terminal sends to all that run on it: SIGINT and SIGQUIT. They are the editor's while it runs.
const OF_TERMINAL: [i32; 2] = [2, 3];
/// The mode of a new file.
const MODE: u32 = 0o644;

/// Edit the settings files of machines; where there is none, it is made in /etc/systemd/nspawn
///
/// The editor is $SYSTEMD_EDITOR, $EDITOR or $VISUAL, else editor, nano, vim or vi. It gets copies, which replace the files when it
/// has ended well. A copy that is unchanged or empty is dropped.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Arguments {
    /// Machines, or paths of settings files, with a slash in them
    #[arg(value_name = "NAME|FILE", required = true)]
    names: Vec<String>,
}

/// Edits them.
pub(crate) fn run(arguments: &Arguments, options: &Options) -> Result<ExitCode, Failure> {
    let pool = images::pool();
    let mut files: Vec<SettingsFile> = Vec::new();
    for name in &arguments.names {
        let file = SettingsFile::find(&pool, name)?;
        if !files.iter().any(|other| other.path == file.path) {
            files.push(file);
        }
    }
    let failed = |error: anyhow::Error| Failure::new(error, None);
    let on_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let editors = editors(|name| std::env::var(name).ok(), on_terminal)?;
    for file in files.iter().filter(|file| !file.has_machine && file.now.is_none()) {
        warn(&anyhow!(
            "there is no image of {0}; the settings will be those of a machine that is called so",
            file.machine
        ));
    }
    let drafts = files.into_iter().map(Draft::plan).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    drafts.iter().try_for_each(Draft::make).map_err(failed)?;
    edit(&editors, &drafts)?;
    let finish = |draft: Draft| draft.finish(options.quiet()).err().map(failed);
    steering::conclude(drafts.into_iter().filter_map(finish).collect())
}

/// The command lines to try, in this order.
fn editors(variable: impl Fn(&str) -> Option<String>, on_terminal: bool) -> Result<Vec<Vec<String>>, Failure> {
    let words = |line: String| line.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let told = VARIABLES.iter().filter_map(|name| variable(name)).map(words).find(|words| !words.is_empty());
    match told {
        Some(told) => Ok(vec![told]),
        None if on_terminal => Ok(KNOWN.map(|name| vec![name.to_owned()]).to_vec()),
        None => {
            let hint = "$SYSTEMD_EDITOR can name a program that needs none";
            Err(Failure::new(anyhow!("there is no terminal to edit on"), Some(hint)))
        }
    }
}

/// Runs the first editor that there is on all of them.
fn edit(editors: &[Vec<String>], drafts: &[Draft]) -> Result<(), Failure> {
    let failed = |error: anyhow::Error| Failure::new(error, None);
    for words in editors {
        let Some((program, arguments)) = words.split_first() else { continue };
        let mut command = Command::new(program);
        command.args(arguments).args(drafts.iter().map(|draft| &draft.path));
        match status(&mut command) {
            Ok(status) if status.success() => return Ok(()),
            Ok(status) => return Err(failed(anyhow!("the editor {program} failed ({status}); nothing is changed"))),
            Err(error) if error.kind() == ErrorKind::NotFound && editors.len() > 1 => {}
            Err(error) => return Err(failed(anyhow!(error).context(format!("cannot start the editor {program}")))),
        }
    }
    let hint = "$SYSTEMD_EDITOR, $EDITOR or $VISUAL can name one";
    Err(Failure::new(anyhow!("there is no editor: {} are not installed", KNOWN.join(", ")), Some(hint)))
}

/// Runs it. What the terminal sends meanwhile is for the editor alone.
fn status(command: &mut Command) -> std::io::Result<ExitStatus> {
    let mut child = command.spawn()?;
    let signals: SignalSet = OF_TERMINAL.into_iter().collect();
    let before = signal::block(&signals)?;
    let status = child.wait();
    let pending = signal::open(&signals)?;
    while signal::next(pending.as_fd())?.is_some() {}
    signal::set_mask(&before)?;
    status
}

/// A copy of a settings file, beside it, for an editor. It goes with the value.
#[derive(Debug)]
struct Draft {
    file: SettingsFile,
    path: PathBuf,
    /// Directories that were made for it.
    made: Vec<PathBuf>,
    /// It stays, somebody's work is in it.
    stays: bool,
}

impl Draft {
    /// One that is not there yet. All know which directories are missing before the first is made.
    fn plan(file: SettingsFile) -> anyhow::Result<Self> {
        let directory = file.path.parent().unwrap_or(Path::new("/"));
        let missing = directory.ancestors().take_while(|directory| !directory.exists());
        let made: Vec<PathBuf> = missing.map(Path::to_owned).collect();
        let mut random = [0; 4];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
        let owner = Owner { pid: std::process::id(), random: u32::from_ne_bytes(random) };
        let path = directory.join(owner.name(&file.machine));
        Ok(Self { file, path, made, stays: false })
    }

    fn make(&self) -> anyhow::Result<()> {
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        self.sweep(directory);
        let new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.path);
        let text = self.file.now.as_ref().map_or(&[][..], |(text, _)| text);
        let written = new.and_then(|mut new| new.write_all(text));
        written.with_context(|| format!("cannot make a copy of {} to edit", self.file.path.display()))
    }

    /// Removes the copies of edits that were killed, where nothing is in them that is not in the file. Of others it tells:
    /// they are somebody's work.
    fn sweep(&self, directory: &Path) {
        let entries = std::fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok);
        for name in entries.filter_map(|entry| entry.file_name().into_string().ok()) {
            if !Owner::of(&name, &self.file.machine).is_some_and(|owner| owner.has_ended()) {
                continue;
            }
            let path = directory.join(name);
            // Neither a link nor a pipe is ours, if the directory is everybody's.
            let Ok(Some((text, _))) = settings_file::read(&path) else { continue };
            let before = self.file.now.as_ref().map(|(text, _)| text.as_slice());
            if text.trim_ascii().is_empty() || before == Some(&text) {
                // Whoever may not remove it has lost nothing by it.
                let _ = std::fs::remove_file(&path);
            } else {
                let (machine, path) = (&self.file.machine, path.display());
                warn(&anyhow!("an edit of {machine} has ended before its end; its text is still in {path}"));
            }
        }
    }

    /// Puts it in the place of the file, if there is something new in it.
    fn finish(mut self, quiet: bool) -> anyhow::Result<()> {
        let place = self.file.path.display().to_string();
        let text = match std::fs::read(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            text => text.with_context(|| format!("cannot read {}", self.path.display()))?,
        };
        let before = self.file.now.as_ref().map(|(text, _)| text.as_slice());
        let empty = text.trim_ascii().is_empty();
        if empty || before == Some(&text) {
            if !quiet {
                let why = if empty { "nothing is left of the text" } else { "nothing was changed" };
                warn(&anyhow!("{place} stays as it is: {why}"));
            }
            return Ok(());
        }
        let kept = format!("{place} stays as it was; the edited text is in {}", self.path.display());
        self.stays = true;
        if text.len() > LARGEST {
            return Err(anyhow!("it is larger than {LARGEST} bytes")).context(kept);
        }
        if !self.file.is_unchanged().with_context(|| kept.clone())? {
            return Err(anyhow!("somebody else has changed it meanwhile")).context(kept);
        }
        self.put().context(kept)?;
        self.stays = false;
        self.made.clear();
        for complaint in self.file.complaints(text) {
            warn(&anyhow!(complaint));
        }
        Ok(())
    }

    fn put(&self) -> anyhow::Result<()> {
        let mode = match &self.file.now {
            Some((_, status)) => {
                chown(&self.path, Some(status.uid()), Some(status.gid())).context("cannot keep its owner")?;
                status.mode() & 0o777
            }
            None => MODE,
        };
        std::fs::set_permissions(&self.path, Permissions::from_mode(mode)).context("cannot set its mode")?;
        File::open(&self.path).and_then(|file| file.sync_all()).context("cannot write it to disk")?;
        let flags = if self.file.now.is_some() { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
        renameat_with(CWD, &self.path, CWD, &self.file.path, flags).context("cannot put it there")
    }
}

/// Whose a copy is: its name says so, because editors put files of their own in its place.
#[derive(Debug, PartialEq, Eq)]
struct Owner {
    pid: u32,
    random: u32,
}

impl Owner {
    fn name(&self, machine: &str) -> String {
        format!(".#{machine}.{:08x}{:08x}.nspawn", self.pid, self.random)
    }

    /// That of a file of this name, if it is a copy for this machine.
    fn of(name: &str, machine: &str) -> Option<Self> {
        let digits = name.strip_prefix(".#")?.strip_prefix(machine)?.strip_prefix('.')?.strip_suffix(".nspawn")?;
        if digits.len() != 16 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let number = |digits| u32::from_str_radix(digits, 16).ok();
        Some(Self { pid: number(&digits[..8])?, random: number(&digits[8..])? })
    }

    /// While another process has its number by now, it is left for later.
    fn has_ended(&self) -> bool {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        pid.is_none_or(|pid| test_kill_process(pid) == Err(Errno::SRCH))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.stays {
            // Gone after success; a directory that somebody else has put something into stays.
            let _ = std::fs::remove_file(&self.path);
            self.made.iter().for_each(|directory| drop(std::fs::remove_dir(directory)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_known_by_their_names() {
        let owner = Owner { pid: std::process::id(), random: 7 };
        let name = owner.name("a.b");
        assert!(!owner.has_ended() && Owner { pid: i32::MAX as u32, random: 7 }.has_ended());
        assert_eq!(Owner::of(&name, "a.b"), Some(owner));
        for other in [".#a.b.0123456789abcdeg.nspawn", ".#a.b.0123.nspawn", "a.b.nspawn", ".#a.0123456789abcdef.nspawn"]
        {
            assert_eq!(Owner::of(other, "a.b"), None, "{other}");
        }
        assert_eq!(Owner::of(&name, "a"), None);
    }

    #[test]
    fn editors_are_those_of_the_environment() {
        let found = |variables: &[(&str, &str)], terminal| {
            let value =
                |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
            editors(value, terminal).ok().map(|all| all.iter().map(|words| words.join(" ")).collect::<Vec<_>>())
        };
        assert_eq!(
            found(&[("VISUAL", "gvim"), ("EDITOR", "ed -s"), ("SYSTEMD_EDITOR", "")], false),
            Some(vec!["ed -s".into()])
        );
        assert_eq!(found(&[("EDITOR", "ed"), ("SYSTEMD_EDITOR", "joe")], true), Some(vec!["joe".into()]));
        assert_eq!(found(&[("VISUAL", "gvim")], true), Some(vec!["gvim".into()]));
        assert_eq!(found(&[], true), Some(KNOWN.map(str::to_owned).to_vec()));
        assert_eq!(found(&[("EDITOR", " ")], false), None);
    }
}
