//! `cargo xtask install` and `uninstall`: programs, manual pages, completions and services below a prefix.
//!
//! What is installed is noted in `share/redd/installed` below the prefix: a file that is not noted there is somebody
//! else's, and is neither replaced nor removed.

mod files;
mod manifest;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::released::Released;
use crate::workspace::say;
use files::File;
use manifest::Manifest;

/// Where something is installed.
#[derive(Debug, clap::Args)]
pub(crate) struct Place {
    /// The directory below which everything lies
    #[arg(long, value_name = "DIR", default_value = "/usr/local")]
    prefix: PathBuf,
    /// Write below this directory what belongs below the root: for packages
    #[arg(long, value_name = "DIR")]
    destdir: Option<PathBuf>,
}

/// Where to install, and whether under systemd's names too.
#[derive(Debug, clap::Args)]
pub(crate) struct Install {
    #[command(flatten)]
    place: Place,
    /// Also install under the names of systemd's programs that redd can take the place of, and its units
    #[arg(long, visible_alias = "replace")]
    upstream_names: bool,
    /// Install the programs that are in this directory already, and build nothing
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
}

/// Where units of systemd's own are; a unit below another prefix may come before it.
const UNITS: [&str; 3] = ["usr/lib/systemd/system", "lib/systemd/system", "etc/systemd/system"];

impl Place {
    /// The directory that stands for the root.
    fn root(&self) -> &Path {
        self.destdir.as_deref().unwrap_or(Path::new("/"))
    }

    /// The prefix below it.
    fn directory(&self) -> Result<PathBuf> {
        let Ok(inside) = self.prefix.strip_prefix("/") else {
            bail!("the prefix {} is no absolute path", self.prefix.display());
        };
        Ok(self.root().join(inside))
    }
}

/// Builds and installs.
pub(crate) fn install(install: &Install) -> Result<()> {
    let directory = install.place.directory()?;
    let bin = install.place.prefix.join("bin");
    let (client, engine) = (Released::client()?, Released::engine()?);
    let built = match &install.programs {
        Some(directory) => {
            let programs = ["redd", "redd-spawn"].map(|name| directory.join(name));
            if let Some(missing) = programs.iter().find(|path| !path.is_file()) {
                bail!("there is no program {}", missing.display());
            }
            programs
        }
        None => [client.path.clone(), engine.path.clone()],
    };
    let all = files::all(&built, &bin, install.upstream_names)?;
    // Before the long build: what cannot be installed is said at once.
    let mut manifest = Manifest::read(&directory)?;
    let all = without_conflicts(all, install, &directory, &manifest)?;
    if install.programs.is_none() {
        engine.build()?;
        client.build()?;
    }
    all.iter().try_for_each(|file| manifest.put(file))?;
    manifest.finish(&all)?;
    say(&format!("installed below {}", directory.display()));
    Ok(())
}

/// Removes what was installed.
pub(crate) fn uninstall(place: &Place) -> Result<()> {
    let directory = place.directory()?;
    let manifest = Manifest::read(&directory)?;
    if manifest.is_empty() {
        bail!("nothing is noted as installed below {}", directory.display());
    }
    manifest.remove_all()?;
    say(&format!("removed what was installed below {}", directory.display()));
    Ok(())
}

/// The files without those that systemd's own stand in for. Any other that somebody else has put there is an error.
fn without_conflicts(all: Vec<File>, install: &Install, directory: &Path, manifest: &Manifest) -> Result<Vec<File>> {
    let mut wanted = Vec::with_capacity(all.len());
    let mut conflicts = Vec::new();
    for file in all {
        let others = directory.join(&file.path).symlink_metadata().is_ok() && !manifest.has(&file.path);
        match file.unit() {
            // They are the same everywhere, but for the template, which says who runs machines.
            Some(unit) if !others && !install.upstream_names => {
                match known_unit(install.place.root(), unit, manifest) {
                    Some(path) => say(&format!("{} is there: {unit} is not installed", path.display())),
                    None => wanted.push(file),
                }
            }
            Some(unit) if others && (!install.upstream_names || !unit.contains('@')) => {
                say(&format!("{} is there, and stays", directory.join(&file.path).display()));
            }
            _ if others => conflicts.push(directory.join(&file.path)),
            _ => wanted.push(file),
        }
    }
    match conflicts.as_slice() {
        [] => Ok(wanted),
        [first, rest @ ..] => {
            let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
            bail!(
                "{}{more} belong to somebody else and are not replaced; below --prefix=/usr/local they are found first and nothing is lost",
                first.display()
            )
        }
    }
}

/// A unit of this name that somebody else has installed.
fn known_unit(root: &Path, unit: &str, manifest: &Manifest) -> Option<PathBuf> {
    let places = UNITS.iter().map(|place| root.join(place).join(unit));
    places.into_iter().find(|path| path.symlink_metadata().is_ok() && !manifest.has_at(path))
}

#[cfg(test)]
mod tests;
