//! `cargo xtask install`: programs, manual pages and completions below a prefix.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::manuals;
use crate::workspace::{build_engine, cargo, say, target_directory};

/// Where to install, and whether under systemd's names too.
#[derive(Debug, clap::Args)]
pub(crate) struct Install {
    /// The directory below which everything lies
    #[arg(long, value_name = "DIR", default_value = "/usr/local")]
    prefix: PathBuf,
    /// Write below this directory what belongs below the root: for packages
    #[arg(long, value_name = "DIR")]
    destdir: Option<PathBuf>,
    /// Also install under the names of systemd's programs that redd can take the place of
    #[arg(long)]
    replace: bool,
}

/// The programs.
const PROGRAMS: [&str; 2] = ["redd", "redd-spawn"];

/// Builds and installs.
pub(crate) fn run(install: &Install) -> Result<()> {
    let prefix = destination(install)?;
    let engine = build_engine()?;
    cargo(&["build", "--release", "--locked", "--package=redd"])?;
    let built = [target_directory()?.join("release/redd"), engine];
    let names = if install.replace { manuals::NAMES } else { &manuals::NAMES[..1] };
    programs(&built, &prefix.join("bin"), &names[1..])?;
    manuals::write(&prefix, names)?;
    say(&format!("installed below {}", prefix.display()));
    Ok(())
}

/// The prefix below the directory that stands for the root.
fn destination(install: &Install) -> Result<PathBuf> {
    let Ok(inside) = install.prefix.strip_prefix("/") else {
        bail!("the prefix {} is no absolute path", install.prefix.display());
    };
    let root = install.destdir.as_deref().unwrap_or(Path::new("/"));
    Ok(root.join(inside))
}

/// Puts the programs in their place, each at once, so that a running one is not disturbed.
fn programs(built: &[PathBuf; 2], directory: &Path, others: &[&str]) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    for (name, built) in PROGRAMS.iter().zip(built) {
        let stage = directory.join(format!(".{name}.new"));
        fs::copy(built, &stage).with_context(|| format!("cannot write {}", stage.display()))?;
        fs::set_permissions(&stage, fs::Permissions::from_mode(0o755))?;
        fs::rename(&stage, directory.join(name))?;
    }
    for name in others {
        let stage = directory.join(format!(".{name}.new"));
        let _ = fs::remove_file(&stage);
        symlink("redd-spawn", &stage).with_context(|| format!("cannot write {}", stage.display()))?;
        fs::rename(&stage, directory.join(name))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_and_names() {
        let directory = tempfile::tempdir().expect("a directory");
        let (built, bin) = (directory.path().join("built"), directory.path().join("bin"));
        fs::create_dir(&built).expect("a directory");
        let built = PROGRAMS.map(|name| built.join(name));
        for (name, built) in PROGRAMS.iter().zip(&built) {
            fs::write(built, name).expect("a file");
        }
        for _ in 0..2 {
            programs(&built, &bin, &["systemd-nspawn"]).expect("installed, also over itself");
        }
        assert_eq!(fs::read(bin.join("systemd-nspawn")).expect("the other name"), b"redd-spawn");
        assert_eq!(fs::metadata(bin.join("redd")).expect("metadata").permissions().mode() & 0o777, 0o755);
        assert_eq!(fs::read_dir(&bin).expect("a directory").count(), 3, "nothing is left of the stages");
    }

    #[test]
    fn prefixes() {
        let install = |prefix: &str, destdir: Option<&str>| {
            let install = Install { prefix: prefix.into(), destdir: destdir.map(PathBuf::from), replace: false };
            destination(&install).ok()
        };
        assert_eq!(install("/usr", None), Some("/usr".into()));
        assert_eq!(install("/usr", Some("/tmp/x")), Some("/tmp/x/usr".into()));
        assert_eq!(install("usr", None), None);
    }
}
