//! What is installed.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::manuals;
use crate::workspace::root;

/// A file below the prefix.
#[derive(Debug)]
pub(super) struct File {
    /// Where, below the prefix.
    pub(super) path: PathBuf,
    /// What.
    pub(super) kind: Kind,
}

/// What a file is.
#[derive(Debug)]
pub(super) enum Kind {
    /// A program that was built there.
    Program(PathBuf),
    /// A text, and whether it is a program.
    Text(String, bool),
    /// A link.
    Link(&'static str),
}

impl File {
    /// The name of the unit that it is.
    pub(super) fn unit(&self) -> Option<&str> {
        self.path.starts_with(UNITS).then(|| self.path.file_name()?.to_str())?
    }
}

/// Where units are, below the prefix.
const UNITS: &str = "lib/systemd/system";
/// Where the services of other init systems are: each host links its own.
const SERVICES: &str = "share/redd";
/// What stands for the directory of the programs.
const BIN: &str = "@bindir@";
/// Names of programs of systemd and of Arch Linux, and which of ours takes the place.
const NAMES: [(&str, &str); 4] =
    [("systemd-nspawn", "redd-spawn"), ("machinectl", "redd"), ("systemd-cgls", "redd"), ("pacstrap", "redd")];

/// All files; `bin` is where the programs are in the end.
pub(super) fn all(built: &[PathBuf; 2], bin: &Path, upstream_names: bool) -> Result<Vec<File>> {
    let mut all = Vec::new();
    for (name, built) in ["redd", "redd-spawn"].iter().zip(built) {
        all.push(File { path: Path::new("bin").join(name), kind: Kind::Program(built.clone()) });
    }
    if upstream_names {
        let link = |(name, target): &(&str, &'static str)| File {
            path: Path::new("bin").join(name),
            kind: Kind::Link(target),
        };
        all.extend(NAMES.iter().map(link));
    }
    let names = if upstream_names { manuals::NAMES } else { &manuals::NAMES[..1] };
    let manuals = manuals::files(names).into_iter();
    all.extend(manuals.map(|(path, text)| File { path, kind: Kind::Text(text, false) }));
    all.extend(services(&root().join("dist"), bin)?);
    Ok(all)
}

fn services(dist: &Path, bin: &Path) -> Result<Vec<File>> {
    use std::os::unix::fs::PermissionsExt;
    let mut all = Vec::new();
    let mut waiting = vec![dist.to_owned()];
    while let Some(directory) = waiting.pop() {
        let entries = std::fs::read_dir(&directory).with_context(|| format!("cannot read {}", directory.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                waiting.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let program = path.metadata()?.permissions().mode() & 0o111 != 0;
            let inside = path.strip_prefix(dist)?;
            let place = match inside.strip_prefix("systemd") {
                Ok(unit) => Path::new(UNITS).join(unit),
                Err(_) => Path::new(SERVICES).join(inside),
            };
            let text = text.replace(BIN, &bin.display().to_string());
            all.push(File { path: place, kind: Kind::Text(text, program) });
        }
    }
    all.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(all)
}
