//! Measuring redd beside other container programs. The numbers of the works are those of the page of benchmarks.

mod arch;
mod debian;
mod growth;
mod machine;
mod many;
mod memory;
mod peers;
mod programs;
mod report;
mod run_directory;
mod runner;
mod tree;

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::workspace::{root, say, tell};
use peers::{Peers, able};
use report::Table;
use runner::{Contestant, printed_number, take_turns, time};
use tree::Trees;

/// What to measure and what to do with it.
#[derive(Debug, clap::Args)]
pub(crate) struct Bench {
    /// Only these works: P1 (start), P2 (ephemeral start), P3 (first start with users), P4 (boot), P5 (a command in a machine), P6 (list), P7 (memory),
    /// P8 (installing Debian), P9 (system calls), P10 (growth), pacstrap (installing packages of pacman)
    #[arg(long, value_delimiter = ',', value_name = "P1,...")]
    only: Vec<String>,
    /// Start containers in a copy of this tree, instead of one that is made
    #[arg(long, value_name = "DIR")]
    tree: Option<PathBuf>,
    /// How many rounds at the most
    #[arg(long, default_value_t = 100)]
    rounds: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Write docs/benchmarks.md; with --only, the tables of these works in it
    #[arg(long)]
    write: bool,
}

/// The works.
const WORKS: &[&str] = &["P1", "P2", "P3", "P4", "P5", "P6", "P7", "P8", "P9", "P10", "pacstrap"];

/// The seconds that one contestant may take altogether in one work.
const PATIENCE: f64 = 20.0;

/// Measures, shows and perhaps writes down.
pub(crate) fn run(bench: &Bench) -> Result<()> {
    if let Some(unknown) = bench.only.iter().find(|only| !WORKS.contains(&&***only)) {
        bail!("{unknown} is not measured; these are: {}", WORKS.join(", "));
    }
    if !rustix::process::geteuid().is_root() {
        bail!("starting containers takes root");
    }
    run_directory::in_memory()?;
    let wanted = |id: &str| bench.only.is_empty() || bench.only.iter().any(|only| only == id);
    let programs = programs::build()?;
    let trees = tree::prepare(bench.tree.as_deref(), &programs)?;
    let mut peers = Peers::new(programs.clone());
    let mut tables = Vec::new();
    let mut add = |table: Table| {
        say(&format!("\n{}", table.markdown()));
        tables.push(table);
    };
    if wanted("P1") {
        add(start(&mut peers, &trees, bench.rounds)?);
    }
    if wanted("P1") {
        add(start_with_all(&peers, &trees, bench.rounds)?);
    }
    if wanted("P2") {
        add(ephemeral(&peers, &trees, bench.rounds)?);
    }
    if wanted("P3") {
        add(first_start(&peers, &trees, bench.rounds)?);
    }
    if wanted("P4") {
        add(boot(&peers, &trees, bench.rounds)?);
    }
    if wanted("P5")
        && let Some(table) = growth::command_inside(&peers, &programs, &trees, bench.rounds)?
    {
        add(table);
    }
    if wanted("P6") || wanted("P10") {
        growth::growth(&peers, &programs, &trees, (bench.rounds, wanted("P10")))?.into_iter().for_each(&mut add);
    }
    if wanted("P7") {
        add(kept_memory(&peers, &trees)?);
    }
    if wanted("P8") {
        debian::install(&programs)?.into_iter().for_each(&mut add);
    }
    if wanted("pacstrap")
        && let Some(table) = arch::install(&programs)?
    {
        add(table);
    }
    if wanted("P9") {
        add(system_calls(&mut peers, &trees)?);
    }
    let machine = machine::describe(&trees.small);
    let versions = versions();
    if bench.json {
        let all = json!({"machine": machine, "versions": versions, "tables": tables});
        tell(&serde_json::to_string_pretty(&all)?)?;
    }
    if bench.write {
        let path = root().join("docs/benchmarks.md");
        let page = match bench.only.is_empty() {
            true => report::page(&machine, &versions, &tables),
            false => {
                let page = std::fs::read_to_string(&path);
                report::renewed(&page.with_context(|| format!("cannot read {}", path.display()))?, &tables)
            }
        };
        std::fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// The first lines of what the peers say about their versions.
fn versions() -> Vec<String> {
    let first_line = |program: &&str| {
        let output = Command::new(program).arg("--version").output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).lines().next()?.trim().to_owned())
    };
    let names = [("systemd-nspawn", "systemd-nspawn: "), ("bwrap", ""), ("crun", ""), ("runc", ""), ("youki", "")];
    names.iter().filter_map(|(program, prefix)| Some(format!("{prefix}{}", first_line(program)?))).collect()
}

fn start(peers: &mut Peers, trees: &Trees, rounds: usize) -> Result<Table> {
    let tree = &trees.small;
    let words = ["/bin/true"];
    let mut all = vec![peers.floor(tree), peers.redd("redd", tree, &words)];
    all.extend(peers.bubblewrap(tree, &words));
    all.extend(peers.oci(tree, &words, false)?);
    all.extend(peers.nspawn("systemd-nspawn", tree, &words));
    let measured = take_turns(&able(all)?, rounds, PATIENCE, &time)?;
    let table = Table::new("P1", "start `/bin/true` in a small Debian, and be gone", "ms", &measured);
    let ratio = table.ratio("redd");
    Ok(table.bar("redd / floor", ratio, 1.5).ahead("redd", &["bwrap", "crun", "runc", "youki", "systemd-nspawn"]))
}

/// As machines are started: with users and a network of their own.
const ALL: [&str; 2] = ["-U", "--private-network"];

fn start_with_all(peers: &Peers, trees: &Trees, rounds: usize) -> Result<Table> {
    let tree = &trees.small;
    let words = [&ALL[..], &["/bin/true"]].concat();
    let mut all = vec![
        peers.floor_with_network(tree),
        peers.redd("redd -U --private-network", tree, &words),
        peers.redd("redd --private-network", tree, &words[1..]),
    ];
    all.extend(peers.nspawn("systemd-nspawn -U --private-network", tree, &words));
    let measured = take_turns(&able(all)?, rounds, PATIENCE, &time)?;
    let table = Table::new("P1", "the same with users and a network of its own", "ms", &measured);
    let ratio = table.ratio("redd -U --private-network");
    let table = table.bar("redd -U --private-network / floor --network", ratio, 1.5);
    Ok(table.ahead("redd -U --private-network", &["systemd-nspawn -U --private-network"]))
}

/// A tree whose files belong to root is mapped, so that the first start is like any other.
fn first_start(peers: &Peers, trees: &Trees, rounds: usize) -> Result<Table> {
    let tree = &trees.small;
    let words = ["-U", "/bin/true"];
    let all = vec![peers.redd("redd", tree, &words[1..]), peers.redd("redd -U", tree, &words)];
    let measured = take_turns(&able(all)?, rounds, PATIENCE, &time)?;
    let table = Table::new("P3", "start with private users in a tree that belongs to root", "ms", &measured);
    let ratio = table.ratio("redd -U");
    Ok(table.bar("redd -U / redd", ratio, 1.2))
}

fn ephemeral(peers: &Peers, trees: &Trees, rounds: usize) -> Result<Table> {
    let (small, big) = (&trees.small, &trees.big);
    let words = ["-x", "/bin/true"];
    let mut all = vec![
        peers.redd("redd, the tree itself", small, &words[1..]),
        peers.redd("redd -x", small, &words),
        peers.redd("redd -x, 2 GiB more", big, &words),
    ];
    all.extend(peers.nspawn("systemd-nspawn -x", small, &words));
    all.extend(peers.nspawn("systemd-nspawn -x, 2 GiB more", big, &words));
    let measured = take_turns(&able(all)?, rounds, PATIENCE, &time)?;
    let table = Table::new("P2", "the same in an ephemeral copy", "ms", &measured);
    let (small, big) = (table.ratio("redd -x"), table.ratio("redd -x, 2 GiB more"));
    Ok(table.bar("redd -x / redd", small, 1.2).bar("redd -x, 2 GiB more / redd", big, 1.2))
}

fn boot(peers: &Peers, trees: &Trees, rounds: usize) -> Result<Table> {
    let words = ["-b", "systemd.unit=redd-bench.service"];
    let mut all = vec![peers.redd("redd -b", &trees.small, &words)];
    all.extend(peers.nspawn("systemd-nspawn -b", &trees.small, &words));
    let measured = take_turns(&able(all)?, rounds.min(20), 3.0 * PATIENCE, &time)?;
    let table = Table::new("P4", "boot to `multi-user.target`, power off, and be gone", "ms", &measured);
    Ok(table.ahead("redd -b", &["systemd-nspawn -b"]))
}

fn kept_memory(peers: &Peers, trees: &Trees) -> Result<Table> {
    let mut all = vec![peers.redd("redd", &trees.small, &memory::PAYLOAD)];
    all.extend(peers.nspawn("systemd-nspawn", &trees.small, &memory::PAYLOAD));
    let measured = take_turns(&all, 5, PATIENCE, &memory::private_dirty)?;
    let table = Table::new("P7", "memory that a supervisor keeps to itself (private and dirty)", "KiB", &measured);
    let kept = table.row("redd").map_or(f64::NAN, |row| row.median);
    Ok(table.bar("redd, in MiB", kept / 1024.0, 0.6))
}

fn system_calls(peers: &mut Peers, trees: &Trees) -> Result<Table> {
    let words = ["/redd-bench-calls", "2000000"];
    let program = trees.small.join("redd-bench-calls");
    let mut all = vec![Contestant::new("no filter", &[&program.to_string_lossy(), words[1]])];
    all.push(peers.redd("redd", &trees.small, &words));
    all.extend(peers.oci(&trees.small, &words, true)?);
    all.extend(peers.nspawn("systemd-nspawn", &trees.small, &words));
    let measured = take_turns(&able(all)?, 7, 3.0 * PATIENCE, &printed_number)?;
    let table = Table::new("P9", "one `getppid` under the filter", "ns", &measured);
    Ok(table.ahead("redd", &["crun", "runc", "youki", "systemd-nspawn"]))
}
