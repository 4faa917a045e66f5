//! Installing a system of pacman's packages, beside the original pacstrap(8).

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use testkit::arch::{Host, Installer, System};

use super::programs::Programs;
use super::report::Table;
use super::runner::{Contestant, take_slow_turns};
use crate::workspace::{find_program, say};

/// How often each of them installs.
const ROUNDS: usize = 5;

/// Both, in turn, from one signed repository that is here: nothing is fetched over a network by either.
pub(super) fn install(programs: &Programs) -> Result<Option<Table>> {
    let needed = ["pacstrap", "pacman", "makepkg", "pacman-key"];
    if let Some(missing) = needed.iter().find(|name| find_program(name).is_none()) {
        say(&format!("pacstrap: there is no {missing} to install beside redd"));
        return Ok(None);
    }
    let Some(system) = System::get() else { return Ok(None) };
    let directory = tempfile::Builder::new().prefix("redd-bench-arch.").tempdir_in("/var/tmp")?;
    let client = programs.client.to_str().context("the path of redd is no text")?;
    let hosts = ["real", "redd"].map(|_| Host::new(&system, &system.first()));
    let trees = ["real", "redd"].map(|name| directory.path().join(name));
    let installs = [("pacstrap", Installer::Real), ("redd pacstrap", Installer::Redd(client))];
    let both: Vec<Contestant> = installs
        .into_iter()
        .zip(hosts.iter().zip(&trees))
        .map(|((name, installer), (host, tree))| contestant(name, &installer.command(host, &["-c"], tree, &["base"])))
        .collect();
    let measured = take_slow_turns(&both, ROUNDS, &|| {
        for tree in &trees {
            empty(tree)?;
        }
        // What the last one wrote is not to be written while the next one runs.
        rustix::fs::sync();
        Ok(())
    })?;
    let table = Table::new("pacstrap", "install a small system of packages with pacstrap", "ms", &measured);
    let ratio = table.ratio("redd pacstrap");
    Ok(Some(table.bar("redd pacstrap / pacstrap", ratio, 0.5)))
}

/// The command, as words.
fn contestant(name: &str, command: &Command) -> Contestant {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<String> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    Contestant { name: name.to_owned(), words, unified: false }
}

/// A directory with nothing in it.
fn empty(tree: &Path) -> Result<()> {
    match std::fs::remove_dir_all(tree) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    Ok(std::fs::create_dir(tree)?)
}
