//! The trees that containers are started in: a small Debian, and the same with a big file.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::programs::Programs;
use crate::released::Released;
use crate::workspace::{run, say};

/// How big the big tree is, in bytes.
const BIG: u64 = 2 << 30;

/// The unit that ends a boot when all else has come up.
const POWER_OFF: &str = "[Unit]\nDescription=End of the measured boot\nRequires=multi-user.target\n\
    After=multi-user.target\nSuccessAction=poweroff\n\n[Service]\nType=oneshot\nExecStart=/bin/true\n";

/// Where the trees are.
#[derive(Clone, Debug)]
pub(super) struct Trees {
    /// About as big as Debian's smallest variant with systemd.
    pub small: PathBuf,
    /// The same with a file of random bytes.
    pub big: PathBuf,
}

/// Finds the trees in the user's cache, or makes them: a copy of `given`, else an installation.
pub(super) fn prepare(given: Option<&Path>, programs: &Programs) -> Result<Trees> {
    let directory = cache()?;
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let trees = Trees { small: directory.join("small"), big: directory.join("big") };
    if let Some(given) = given {
        for old in [&trees.small, &trees.big].into_iter().filter(|path| path.exists()) {
            fs::remove_dir_all(old).with_context(|| format!("cannot remove {}", old.display()))?;
        }
        staged(&trees.small, |stage| copy(given, stage))?;
    }
    if !trees.small.exists() {
        staged(&trees.small, install)?;
    }
    write(&trees.small, "etc/systemd/system/redd-bench.service", POWER_OFF.as_bytes())?;
    fs::copy(&programs.calls, trees.small.join("redd-bench-calls"))?;
    if !trees.big.exists() {
        staged(&trees.big, |stage| {
            copy(&trees.small, stage)?;
            fill(&stage.join("redd-bench-filler"), BIG)
        })?;
    }
    Ok(trees)
}

/// The user's cache directory.
fn cache() -> Result<PathBuf> {
    let own = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    let Some(cache) = own.or_else(home) else { bail!("HOME is not set") };
    Ok(cache.join("redd/bench"))
}

/// Makes a tree beside its place and moves it there when it is whole.
fn staged(tree: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let stage = tree.with_extension("part");
    if stage.exists() {
        fs::remove_dir_all(&stage)?;
    }
    make(&stage)?;
    fs::rename(&stage, tree).with_context(|| format!("cannot rename {}", stage.display()))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    run(Command::new("cp").args(["--archive", "--reflink=auto"]).arg(from).arg(to))
}

/// Installs a small Debian.
fn install(tree: &Path) -> Result<()> {
    say("Making a tree to start containers in; it is kept for the next time.");
    let redd = Released::client()?;
    run(Command::new(redd.build()?).args(["bootstrap", "debian"]).arg(tree)).context("no tree: name one with --tree")
}

/// Writes a file of a tree of our own.
fn write(tree: &Path, path: &str, bytes: &[u8]) -> Result<()> {
    let path = tree.join(path);
    fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// Fills a file with random bytes, which no file system compresses or leaves out.
fn fill(path: &Path, size: u64) -> Result<()> {
    let mut random = File::open("/dev/urandom")?.take(size);
    let mut file = File::create(path)?;
    std::io::copy(&mut random, &mut file).with_context(|| format!("cannot fill {}", path.display()))?;
    file.flush()?;
    Ok(file.sync_all()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_tree_is_not_kept() {
        let directory = tempfile::tempdir().expect("a directory");
        let tree = directory.path().join("tree");
        let fails = staged(&tree, |stage| {
            fs::create_dir(stage)?;
            bail!("no")
        });
        assert!(fails.is_err() && !tree.exists());
        staged(&tree, |stage| Ok(fs::create_dir(stage)?)).expect("the second time");
        assert!(tree.exists());
    }

    #[test]
    fn the_filler_has_no_holes() {
        use std::os::unix::fs::MetadataExt;
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("filler");
        fill(&path, 1 << 20).expect("filled");
        let found = fs::metadata(&path).expect("metadata");
        assert!(found.len() == 1 << 20 && found.blocks() * 512 >= 1 << 20);
    }
}
