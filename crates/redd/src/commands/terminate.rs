//! `machinectl terminate`: ends machines at once.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use machine::control::Error;

use crate::background;
use crate::failure::Failure;
use crate::machinectl::{Options, ending, steering, units};

/// How long the end of what was killed may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// End machines at once, without shutting them down
///
/// All their processes are killed. `redd poweroff` lets them end in order.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Machines that run, see redd list
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// Terminates them all, then waits until they are gone.
pub(crate) fn run(arguments: &Arguments, options: &Options) -> Result<ExitCode, Failure> {
    let mut ending = ending::Ending::new();
    let mut failed = Vec::new();
    for name in &arguments.names {
        let held_back = background::hold_back(name);
        let terminated = steering::find(name, options).and_then(|client| {
            // Held before: afterwards its number could be another one's.
            let held = ending::Held::of(client);
            let stops = units::begin_to_stop(held.client().state());
            match held.client().terminate() {
                // A service that does not boot has ended by its unit's stopping alone.
                Err(Error::Ended(_)) if stops => Ok(held),
                done => done.map(|()| held).map_err(steering::failure),
            }
        });
        match terminated {
            Ok(held) => ending.add(held, (), Instant::now() + PATIENCE),
            // It was about to be started again, and is not any more.
            Err(_) if held_back.undo(!steering::runs(name)) => {}
            Err(failure) => failed.push(failure),
        }
    }
    failed.extend(ending.wait(&mut |held, ()| ending::give_up(held)));
    steering::conclude(failed)
}
