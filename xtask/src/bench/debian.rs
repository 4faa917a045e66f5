//! Installing Debian, beside mmdebstrap.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::programs::Programs;
use super::report::Table;
use super::runner::{Contestant, Measured, take_slow_turns, time};
use crate::workspace::{find_program, say};

/// What is installed.
const SUITE: &str = "trixie";
/// How often each of them installs with caches that are empty, and then with full ones.
const ROUNDS: usize = 3;

/// Both, in turn, with empty caches and with full ones. That the downloads go over the same network does not make them
/// take the same time, which is why the empty ones are reported and no more.
pub(super) fn install(programs: &Programs) -> Result<Vec<Table>> {
    if find_program("mmdebstrap").is_none() {
        say("P8: there is no mmdebstrap to install Debian beside redd");
        return Ok(Vec::new());
    }
    let directory = tempfile::Builder::new().prefix("redd-bench-debian.").tempdir_in("/var/tmp")?;
    let place = Place { programs, directory: directory.path() };
    let tree = place.path("redd");
    // Says which mirror it is, and fills both caches.
    time(&place.redd())?;
    let source = fs::read_to_string(tree.join("etc/apt/sources.list"))?;
    let mirror = source.split(' ').nth(1).context("the tree that redd has made has no mirror")?.to_owned();
    place.clear("redd")?;
    let cold = [place.mmdebstrap(&mirror, false), place.redd()];
    let cold = place.turns(&cold, true)?;
    time(&place.mmdebstrap(&mirror, true))?;
    let warm = [place.mmdebstrap(&mirror, true), place.redd()];
    let warm = place.turns(&warm, false)?;
    let title = format!("install a minimal Debian ({SUITE}, `--variant=minbase`)");
    let cold = Table::new("P8", format!("{title}, nothing in any cache"), "ms", &cold);
    let warm = Table::new("P8", format!("{title}, the packages in caches"), "ms", &warm);
    let ratio = warm.ratio("redd bootstrap");
    Ok(vec![cold, warm.bar("redd bootstrap / mmdebstrap", ratio, 0.5)])
}

struct Place<'a> {
    programs: &'a Programs,
    directory: &'a Path,
}

impl Place<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn redd(&self) -> Contestant {
        let (program, cache, tree) = (&self.programs.client, self.path("cache"), self.path("redd"));
        let words = ["--bare", "--quiet", "--variant=minbase", "--suite", SUITE, "--cache"];
        let mut all = vec![program.to_string_lossy().into_owned(), "bootstrap".to_owned(), "debian".to_owned()];
        all.extend(words.map(str::to_owned));
        all.extend([cache, tree].map(|path| path.to_string_lossy().into_owned()));
        let words: Vec<&str> = all.iter().map(|word| &**word).collect();
        Contestant::new("redd bootstrap", &words)
    }

    /// With a cache it is told to keep the packages in a directory, as its manual page has it.
    fn mmdebstrap(&self, mirror: &str, cached: bool) -> Contestant {
        let mut words = ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase"].map(str::to_owned).to_vec();
        if cached {
            let cache = self.path("archives").to_string_lossy().into_owned();
            words.extend([
                "--skip=essential/unlink".to_owned(),
                format!("--setup-hook=mkdir -p '{cache}' \"$1\"/var/cache/apt/archives/"),
                format!("--setup-hook=sync-in '{cache}' /var/cache/apt/archives/"),
                format!("--customize-hook=sync-out /var/cache/apt/archives '{cache}'"),
            ]);
        }
        words.extend([SUITE.to_owned(), self.path("mmdebstrap").to_string_lossy().into_owned(), mirror.to_owned()]);
        let words: Vec<&str> = words.iter().map(|word| &**word).collect();
        Contestant::new("mmdebstrap", &words)
    }

    fn clear(&self, name: &str) -> Result<()> {
        match fs::remove_dir_all(self.path(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Runs both in turn; what is removed beforehand is not part of the time.
    fn turns(&self, both: &[Contestant; 2], empty: bool) -> Result<Vec<Measured>> {
        let measured = take_slow_turns(both, ROUNDS, &|| {
            self.clear("redd")?;
            self.clear("mmdebstrap")?;
            if empty {
                self.clear("cache")?;
            }
            // What the last one wrote is not to be written while the next one runs.
            rustix::fs::sync();
            Ok(())
        })?;
        self.clear("redd")?;
        self.clear("mmdebstrap")?;
        Ok(measured)
    }
}
