//! How the works grow with the number of machines that run, and with mounts, links and ranges of ids on the host.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::PATIENCE;
use super::many::Many;
use super::peers::{Peers, able};
use super::programs::Programs;
use super::report::Table;
use super::runner::{Contestant, Measured, take_turns, time};
use super::tree::Trees;
use crate::workspace::{find_program, say};

/// How many machines run.
const COUNTS: [usize; 3] = [1, 100, 500];
/// How many mounts and links a host with much of either has besides.
const MOUNTS: usize = 1000;
const LINKS: usize = 250;
/// What listing 100 machines may take, in milliseconds.
const LISTED_WITHIN: f64 = 3.0;

/// P5: a command in a machine that runs.
pub(super) fn command_inside(
    peers: &Peers,
    programs: &Programs,
    trees: &Trees,
    rounds: usize,
) -> Result<Option<Table>> {
    let help = Command::new(&programs.client).args(["exec", "--help"]).output();
    if !help.is_ok_and(|output| output.status.success()) {
        say("P5 is left out: this redd runs no commands in machines yet");
        return Ok(None);
    }
    let machine = Running::start(peers, &trees.small)?;
    let client = programs.client.to_string_lossy();
    let leader = machine.leader()?.to_string();
    let mut all = vec![
        Contestant::new("nsenter", &["nsenter", "-t", &leader, "-a", "/bin/true"]),
        Contestant::new("redd exec", &[&client, "exec", Running::NAME, "--", "/bin/true"]),
    ];
    if Path::new("/run/systemd/system").exists() {
        let words = ["systemd-run", "-q", "--wait", "--pipe", "-M", Running::NAME, "/bin/true"];
        all.extend(find_program("systemd-run").map(|_| Contestant::new("systemd-run -M", &words)));
    }
    let measured = take_turns(&able(all)?, rounds, PATIENCE, &time)?;
    let table = Table::new("P5", "run `/bin/true` in a running machine, and be gone", "ms", &measured);
    let ratio = table.ratio("redd exec");
    Ok(Some(table.bar("redd exec / nsenter", ratio, 1.5)))
}

/// A machine with a whole system in it.
struct Running(std::process::Child);

impl Running {
    const NAME: &str = "bench-inside";

    fn start(peers: &Peers, tree: &Path) -> Result<Self> {
        let contestant = peers.redd("redd", tree, &["-M", Self::NAME, "sleep", "infinity"]);
        let mut command = contestant.command();
        let running = Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
        for _ in 0..1000 {
            if running.leader().is_ok() {
                return Ok(running);
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        bail!("the machine does not come up")
    }

    fn leader(&self) -> Result<i64> {
        let text = std::fs::read(Path::new("/run/redd/machines").join(Self::NAME).join("state"))?;
        let state: serde_json::Value = serde_json::from_slice(&text)?;
        state["leader"]["pid"].as_i64().context("the registry does not name the first process")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.0.id()).ok().and_then(rustix::process::Pid::from_raw) {
            // It may have ended by itself.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.0.wait();
    }
}

/// What is measured while so many machines run.
struct Phase {
    name: String,
    measured: Vec<Measured>,
}

impl Phase {
    fn row(&self, name: &str) -> Option<&Measured> {
        self.measured.iter().find(|one| one.name == name)
    }
}

const PLAIN: &str = "start";
const EPHEMERAL: &str = "start of a copy";
const LIST: &str = "redd list";
const LIST_OF_PEER: &str = "machinectl list";
const NOTHING: &str = "redd --version";

/// P6 and P10, as far as they are wanted.
pub(super) fn growth(
    peers: &Peers,
    programs: &Programs,
    trees: &Trees,
    (rounds, starts): (usize, bool),
) -> Result<Vec<Table>> {
    let mut all = contestants(peers, programs, trees, starts);
    all = able(all)?;
    let mut many = Many::new(programs)?;
    let mut phases = Vec::new();
    for count in COUNTS {
        many.grow(count)?;
        let name = format!("{count} running");
        phases.push(Phase { measured: take_turns(&all, rounds, PATIENCE, &time)?, name });
    }
    let mut tables = vec![listing(&phases)];
    if starts {
        let name = format!("the same, {MOUNTS} mounts and {LINKS} links");
        phases.push(Phase { measured: crowded(|| take_turns(&all, rounds, PATIENCE, &time))?, name });
        tables.push(grown(&phases, PLAIN, "start `/bin/true` in a small Debian while machines run"));
        tables.push(grown(&phases, EPHEMERAL, "the same in an ephemeral copy"));
        tables.push(grown_list(&phases));
    }
    Ok(tables)
}

fn contestants(peers: &Peers, programs: &Programs, trees: &Trees, starts: bool) -> Vec<Contestant> {
    let client = programs.client.to_string_lossy();
    let mut all = vec![
        Contestant::new(NOTHING, &[&client, "--version"]),
        Contestant::new(LIST, &[&client, "list", "--no-legend"]),
    ];
    // It asks systemd-machined, which nobody has started where systemd does not run.
    if Path::new("/run/systemd/system").exists() && find_program("machinectl").is_some() {
        all.push(Contestant::new(LIST_OF_PEER, &["machinectl", "list", "--no-legend"]));
    }
    if starts {
        all.push(peers.redd(PLAIN, &trees.small, &["/bin/true"]));
        all.push(peers.redd(EPHEMERAL, &trees.small, &["-x", "/bin/true"]));
    }
    all
}

/// All phases of one row, with ratios to the first.
fn rows(phases: &[Phase], row: &str) -> Vec<Measured> {
    let first = phases.first().and_then(|phase| phase.row(row)).map_or(f64::NAN, Measured::median);
    let named = phases.iter().filter_map(|phase| {
        let one = phase.row(row)?;
        let pairs = one.values.iter().map(|value| (*value, first)).collect();
        Some(Measured { name: format!("{row}, {}", phase.name), values: one.values.clone(), pairs })
    });
    named.collect()
}

fn listing(phases: &[Phase]) -> Table {
    let first = phases.first().and_then(|phase| phase.row(NOTHING)).cloned().unwrap_or_default();
    let mut all = vec![first];
    all.extend(rows(phases, LIST));
    all.extend(rows(phases, LIST_OF_PEER));
    let base = all[0].median();
    for one in &mut all {
        one.pairs = one.values.iter().map(|value| (*value, base)).collect();
    }
    let table = Table::new("P6", "list the machines that run", "ms", &all);
    let at = |count: usize| table.row(&format!("{LIST}, {count} running")).map_or(f64::NAN, |row| row.minimum);
    let each = (at(500) - at(1)) / 499.0 * 1000.0;
    let hundred = at(100);
    let table = table.bar("100 machines, in ms", hundred, LISTED_WITHIN);
    table.bar("each further machine, in µs", each, LISTED_WITHIN * 1000.0 / 100.0)
}

fn grown(phases: &[Phase], row: &str, title: &str) -> Table {
    let table = Table::new("P10", title, "ms", &rows(phases, row));
    let mut table = table;
    for phase in &phases[1..] {
        let ratio = table.ratio(&format!("{row}, {}", phase.name));
        table = table.bar(&format!("{} / {}", phase.name, phases[0].name), ratio, 1.2);
    }
    table
}

fn grown_list(phases: &[Phase]) -> Table {
    Table::new("P10", "list the machines that run", "ms", &rows(phases, LIST))
}

/// On a host with many mounts and links; they are in namespaces that only what is measured sees. Namespaces of mounts and
/// networks belong to threads.
fn crowded<T: Send>(act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
    let apart = || {
        let apart = sys::clone::Namespaces::MOUNT | sys::clone::Namespaces::NETWORK;
        sys::clone::unshare(apart).context("cannot unshare mounts and network")?;
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        let directory = tempfile::Builder::new().prefix("redd-bench-mounts-").tempdir_in("/var/tmp")?;
        let points: Vec<_> = (0..MOUNTS).map(|number| directory.path().join(number.to_string())).collect();
        for point in &points {
            std::fs::create_dir(point)?;
            mount("tmpfs", point, "tmpfs", MountFlags::empty(), None)?;
        }
        let links: String =
            (0..LINKS).map(|number| format!("link add bench{number} type veth peer name other{number}\n")).collect();
        let batch = directory.path().with_extension("links");
        std::fs::write(&batch, links)?;
        let made = Command::new("ip").arg("-batch").arg(&batch).status().context("cannot run ip");
        std::fs::remove_file(&batch)?;
        if !made?.success() {
            bail!("ip cannot make {LINKS} links");
        }
        let result = act();
        // The directory can be removed once nothing is mounted in it.
        for point in &points {
            rustix::mount::unmount(point, rustix::mount::UnmountFlags::DETACH)?;
        }
        result
    };
    std::thread::scope(|scope| match scope.spawn(apart).join() {
        Ok(result) => result,
        Err(_) => bail!("nothing can be measured apart"),
    })
}
