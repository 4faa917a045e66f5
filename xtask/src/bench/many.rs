//! Machines that run while something is measured.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::programs::Programs;

/// How long all may take to be there, or to be gone.
const PATIENCE: Duration = Duration::from_secs(120);
const REGISTRY: &str = "/run/redd/machines";

/// Small machines, each with a tree, users and ids of its own. They end with the value.
pub(super) struct Many {
    engine: PathBuf,
    payload: PathBuf,
    trees: TempDir,
    running: Vec<Child>,
}

impl Many {
    pub(super) fn new(programs: &Programs) -> Result<Self> {
        let trees = tempfile::Builder::new().prefix("redd-bench-many-").tempdir_in("/var/tmp")?;
        let payload = trees.path().join("pause");
        fs::copy(&programs.pause, &payload)?;
        Ok(Self { engine: programs.redd.clone(), payload, trees, running: Vec::new() })
    }

    /// The name of one of them.
    pub(super) fn name(number: usize) -> String {
        format!("bench-many-{number:03}")
    }

    /// Starts more of them until this many run.
    pub(super) fn grow(&mut self, count: usize) -> Result<()> {
        let first = self.running.len();
        for number in first..count {
            let tree = self.tree(number)?;
            let mut command = Command::new(&self.engine);
            command.args(["-q", "-U", "-M", &Self::name(number), "-D"]).arg(tree).arg("/pause");
            let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
            self.running.push(child.context("cannot start a machine")?);
        }
        let started = Instant::now();
        for number in first..count {
            while !Path::new(REGISTRY).join(Self::name(number)).join("state").exists() {
                if let Some(status) = self.running[number].try_wait()? {
                    bail!("{} has ended: {status}", Self::name(number));
                }
                if started.elapsed() > PATIENCE {
                    bail!("{} does not come up", Self::name(number));
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        // What the starts have left to do is not to be measured.
        std::thread::sleep(Duration::from_secs(1));
        Ok(())
    }

    fn tree(&self, number: usize) -> Result<PathBuf> {
        let tree = self.trees.path().join(Self::name(number));
        for name in ["usr", "etc", "proc", "sys", "dev", "run", "tmp", "var/tmp"] {
            fs::create_dir_all(tree.join(name))?;
        }
        fs::hard_link(&self.payload, tree.join("pause"))?;
        fs::write(tree.join("etc/os-release"), "ID=bench\n")?;
        Ok(tree)
    }
}

impl Drop for Many {
    fn drop(&mut self) {
        for child in &self.running {
            if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
                // It may have ended by itself.
                let _ = kill_process(pid, Signal::TERM);
            }
        }
        let asked = Instant::now();
        for child in &mut self.running {
            while asked.elapsed() < PATIENCE && matches!(child.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(5));
            }
            // Of no avail where it has ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
