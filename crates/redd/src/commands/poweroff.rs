//! `machinectl poweroff`: lets machines end in order.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use machine::control::Whom;
use rustix::process::Signal;

use crate::background;
use crate::failure::{Failure, warn};
use crate::machinectl::ending::Then;
use crate::machinectl::{Options, ending, steering};

/// How long a machine may take, where nobody else says so.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long it may take once all its processes were asked to end, and then killed.
const AFTERWARDS: Duration = Duration::from_secs(15);
/// How long processes may take once they were asked to end, in machines that others run.
const GRACE: Duration = Duration::from_secs(5);
/// A wait that can be added to any moment.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// After this time it is said what is waited for.
const UNTIL_SAID: Duration = Duration::from_secs(3);

/// Power machines off in order
///
/// Their init system is asked in its own way: systemd, OpenRC, sysvinit, runit, s6, BusyBox, Finit, dinit. What has not
/// ended after a while is terminated, then killed.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Machines that run, see redd list
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// How long they may take before they are terminated, such as 30s or 5min
    #[arg(long, value_name = "TIME", value_parser = time)]
    timeout: Option<Duration>,
    /// Do not wait until they have ended, as machinectl does not
    #[arg(long, overrides_with = "wait")]
    no_block: bool,
    /// Wait until they have ended, as redd does
    #[arg(long)]
    wait: bool,
}

fn time(text: &str) -> Result<Duration, &'static str> {
    spec::time_span(text).map(Duration::from_micros)
}

/// How far the wait for a machine has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Asked,
    Said,
    Terminated,
    Killed,
}

/// The wait for a machine.
#[derive(Debug)]
struct Wait {
    /// Who was asked.
    init: String,
    /// How long it may take.
    timeout: Duration,
    /// When that is over.
    deadline: Instant,
    /// Nobody else ends it then.
    ours: bool,
    stage: Stage,
}

/// With the usual patience.
pub(crate) fn power_off(names: &[String], options: &Options) -> Result<ExitCode, Failure> {
    run(&Arguments { names: names.to_vec(), timeout: None, no_block: false, wait: false }, options)
}

/// Asks them all, then waits.
pub(crate) fn run(arguments: &Arguments, options: &Options) -> Result<ExitCode, Failure> {
    let waits = if options.as_machinectl { arguments.wait } else { !arguments.no_block };
    let mut ending = ending::Ending::new();
    let mut failed = Vec::new();
    for name in &arguments.names {
        let held_back = background::hold_back(name);
        let asked = steering::find(name, options).and_then(|client| {
            let held = ending::Held::of(client);
            let asked = held.client().power_off(arguments.timeout).map_err(steering::failure)?;
            Ok((held, asked))
        });
        match asked {
            Ok((held, asked)) => {
                let now = Instant::now();
                let timeout = asked.timeout.or(arguments.timeout).unwrap_or(PATIENCE).min(LONGEST);
                let (deadline, ours) = (now + timeout, asked.timeout.is_none());
                let wait = Wait { init: asked.init, timeout, deadline, ours, stage: Stage::Asked };
                ending.add(held, wait, deadline.min(now + UNTIL_SAID));
            }
            // It was about to be started again, and is not any more.
            Err(_) if held_back.undo(!steering::runs(name)) => {}
            Err(failure) => failed.push(failure),
        }
    }
    if waits {
        let says = std::io::stderr().is_terminal() && !options.quiet();
        failed.extend(ending.wait(&mut |held, wait| go_on(held, wait, says)));
    }
    steering::conclude(failed)
}

/// It has not ended yet.
fn go_on(held: &ending::Held, wait: &mut Wait, says: bool) -> Then {
    let name = held.name();
    match wait.stage {
        Stage::Asked if Instant::now() < wait.deadline => {
            if says {
                let (init, left) = (spec::printable(&wait.init), ending::in_words(wait.timeout));
                tell(&format!("Waiting for {init} to power {name} off; it is terminated {left} after it was asked."));
            }
            wait.stage = Stage::Said;
            Then::Until(wait.deadline)
        }
        Stage::Asked | Stage::Said => {
            let running = ending::still_running(held.client());
            warn(&anyhow!("{name} has not powered off within {}{running}", ending::in_words(wait.timeout)));
            wait.stage = Stage::Terminated;
            if !wait.ours {
                // Its supervisor does the rest.
                wait.stage = Stage::Killed;
                return Then::Until(Instant::now() + AFTERWARDS);
            }
            // Whom this does not reach is killed.
            let _ = held.client().kill(Whom::All, Signal::TERM.as_raw());
            Then::Until(Instant::now() + GRACE)
        }
        Stage::Terminated => {
            wait.stage = Stage::Killed;
            match held.client().terminate() {
                Ok(()) => Then::Until(Instant::now() + AFTERWARDS),
                Err(error) => Then::Failed(steering::failure(error)),
            }
        }
        Stage::Killed => ending::give_up(held),
    }
}

fn tell(text: &str) {
    // Nobody is left to tell if this fails.
    let _ = writeln!(std::io::stderr(), "{text}");
}
