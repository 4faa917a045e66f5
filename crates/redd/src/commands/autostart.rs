//! `redd autostart`: what the host's init system runs at boot and at shutdown.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use machine::Registry;
use machine::control::Client;
use rustix::process::Signal;
use sys::signal::SignalSet;

use super::{enable, start};
use crate::autostart::Records;
use crate::background::{Keeper, Starting};
use crate::failure::{Failure, warn};
use crate::machinectl::{steering, units};

/// How long machines may take to power off together, where nobody else says so.
const PATIENCE: Duration = Duration::from_secs(100);
/// How long the end of what was killed may take.
const AFTERWARDS: Duration = Duration::from_secs(15);

/// Start all machines that `redd enable` has noted, or end what runs in the background
///
/// For hosts without systemd: their init system runs this at boot, and with --stop at shutdown.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Power all machines in the background off, also those of `redd start`
    #[arg(long)]
    stop: bool,
    /// Stay until asked to end (SIGTERM), then power them off: for runit, s6 and others that watch over processes
    #[arg(long, conflicts_with = "stop")]
    foreground: bool,
    /// With --stop and --foreground: how long they may take before they are killed, such as 30s or 5min
    #[arg(long, value_name = "TIME", value_parser = time)]
    timeout: Option<Duration>,
    /// Say only what does not work
    #[arg(short, long)]
    quiet: bool,
}

fn time(text: &str) -> Result<Duration, &'static str> {
    spec::time_span(text).map(Duration::from_micros)
}

/// Does it.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    if units::managed() {
        let error = anyhow!("systemd manages this host, and starts what is enabled by itself");
        return Err(Failure::new(error, Some("`systemctl list-dependencies machines.target` shows what that is")));
    }
    if !rustix::process::geteuid().is_root() {
        let error = anyhow!("only root may start and end machines in the background");
        return Err(Failure::new(error, Some("try it as root")));
    }
    if arguments.timeout.is_some() && !arguments.stop && !arguments.foreground {
        return Err(Failure::usage(anyhow!("--timeout= is for --stop and --foreground")));
    }
    match arguments {
        Arguments { stop: true, .. } => stop(arguments),
        Arguments { foreground: true, .. } => stay(arguments),
        _ => start(arguments),
    }
}

/// What does not start is told, and keeps nobody from staying for the others.
fn stay(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let mut ends = SignalSet::empty();
    ends.insert(Signal::TERM.as_raw());
    ends.insert(Signal::INT.as_raw());
    let failed = |errno: rustix::io::Errno| Failure::new(anyhow!(errno).context("cannot wait for signals"), None);
    sys::signal::block(&ends).map_err(failed)?;
    if let Err(failure) = start(arguments) {
        warn(failure.error());
    }
    sys::signal::wait(&ends).map_err(failed)?;
    stop(arguments)
}

/// One after the other, so that what comes later finds what came before.
fn start(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let (all, errors) = Records::system().all().map_err(enable::failure)?;
    let mut failed: Vec<Failure> = errors.into_iter().map(enable::failure).collect();
    for (name, record) in all {
        match start::begin(&name, record.restart).and_then(Starting::wait) {
            Ok(true) if !arguments.quiet => enable::tell(&format!("{name} has started.")),
            Ok(_) => {}
            Err(failure) => failed.push(failure),
        }
    }
    steering::conclude(failed)
}

/// All at once.
fn stop(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let mut failed = Vec::new();
    let mut asked = Vec::new();
    for keeper in Keeper::all() {
        match keeper.end() {
            Ok(()) => asked.push(keeper),
            Err(errno) => {
                failed.push(Failure::new(anyhow!(errno).context(format!("cannot end {}", keeper.name)), None))
            }
        }
    }
    let now = Instant::now();
    let end = now.checked_add(arguments.timeout.unwrap_or(PATIENCE)).unwrap_or(now + PATIENCE);
    let late: Vec<Keeper> = asked
        .into_iter()
        .filter(|keeper| {
            let ended = keeper.ends_until(end);
            if ended && !arguments.quiet {
                enable::tell(&format!("{} has ended.", keeper.name));
            }
            !ended
        })
        .collect();
    for keeper in &late {
        warn(&anyhow!("{} has not powered off in time, and is killed", keeper.name));
        // One that has ended since is none that has to be killed.
        if let Ok(machine) = Registry::system().find(keeper.name.as_str())
            && let Err(error) = Client::of(&machine).terminate()
        {
            failed.push(steering::failure(error));
        }
    }
    let end = Instant::now() + AFTERWARDS;
    for keeper in late.iter().filter(|keeper| !keeper.ends_until(end)) {
        failed.push(Failure::new(anyhow!("{} has not ended", keeper.name), None));
    }
    steering::conclude(failed)
}
