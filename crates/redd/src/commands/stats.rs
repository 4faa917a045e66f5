//! `redd stats`: what machines use.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use machine::{Registry, State, machines};

use crate::consumption::{self, Consumption};
use crate::display;
use crate::failure::{Failure, warn};
use crate::form::{self, Form};
use crate::machinectl::Json;
use crate::observation::{Observed, Sample};

/// Show what machines use: processors, memory, tasks, disks
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// These machines; all that run if none is named
    names: Vec<String>,
    /// Print it once
    #[arg(long)]
    no_stream: bool,
    /// Seconds from one look to the next
    #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = interval)]
    interval: Duration,
    #[command(flatten)]
    form: Form,
}

/// A number of seconds, with or without a fraction.
pub(crate) fn interval(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "it is a number of seconds".to_owned())?;
    if !(0.1..=3600.0).contains(&seconds) {
        return Err("it is from 0.1 to 3600".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// Prints it, again and again on a terminal and in pipes, until nobody reads or none of the machines that were named runs.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    for name in &arguments.names {
        machines::machine(&Registry::system(), name)
            .map_err(|error| Failure::new(error, Some("see what runs with: redd list")))?;
    }
    let mut watch = Watch::new(arguments.names.clone());
    watch.look()?;
    watch.warn();
    let again = std::io::stdout().is_terminal() && arguments.form.json() == Json::Off && !arguments.no_stream;
    loop {
        std::thread::sleep(arguments.interval);
        let all = watch.look()?;
        watch.warn();
        let mut text = text(&all, &arguments.form);
        if again {
            // From the top of the screen, and nothing of what was there.
            text = format!("\x1b[H\x1b[2J{text}");
        }
        if !form::print(&text)? || arguments.no_stream || (all.is_empty() && !arguments.names.is_empty()) {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

fn text(all: &[Consumption], form: &Form) -> String {
    if let Some(text) = form.as_json(&all.iter().map(Consumption::as_json).collect()) {
        return text;
    }
    if all.is_empty() && form.legend() {
        return "No machines.\n".to_owned();
    }
    let lines = consumption::table(all);
    let skipped = usize::from(!form.legend());
    let limit = if std::io::stdout().is_terminal() { display::columns() } else { usize::MAX };
    lines.iter().skip(skipped).map(|line| display::shortened(line, limit, display::unicode()) + "\n").collect()
}

/// Machines that are looked at again and again.
#[derive(Debug)]
pub(crate) struct Watch {
    names: Vec<String>,
    /// By name and start: another one of the same name begins anew.
    before: BTreeMap<(String, u64), (Observed, Sample)>,
    told: Vec<String>,
    warned: usize,
}

impl Watch {
    /// All that run, or these.
    pub(crate) fn new(names: Vec<String>) -> Self {
        Self { names, before: BTreeMap::new(), told: Vec::new(), warned: 0 }
    }

    /// What each has used since it was looked at before. The first time, since its start.
    pub(crate) fn look(&mut self) -> Result<Vec<Consumption>, Failure> {
        let (states, errors) = machines::all(&Registry::system()).map_err(|error| Failure::new(error, None))?;
        for error in errors {
            self.tell(&error.into());
        }
        let wanted = |state: &State| self.names.is_empty() || self.names.contains(&state.name);
        let states: Vec<State> = states.into_iter().filter(wanted).collect();
        let mut now = BTreeMap::new();
        let mut all = Vec::with_capacity(states.len());
        for state in states {
            let key = (state.name.clone(), state.timestamp.monotonic);
            let (observed, before) = match self.before.remove(&key) {
                Some((observed, sample)) => (observed, Some(sample)),
                None => match Observed::new(state) {
                    Ok(observed) => (observed, None),
                    Err(error) => {
                        self.tell(&error.context(format!("machine {}", key.0)));
                        continue;
                    }
                },
            };
            // It has just ended.
            let Ok(sample) = observed.sample() else { continue };
            all.push(Consumption::between(&observed.state, before.as_ref(), &sample));
            now.insert(key, (observed, sample));
        }
        self.before = now;
        Ok(all)
    }

    /// Kept until somebody wants it, and no second time.
    fn tell(&mut self, error: &anyhow::Error) {
        let text = format!("{error:#}");
        if !self.told.contains(&text) {
            self.told.push(text);
        }
    }

    /// Prints what could not be looked at, each complaint once.
    fn warn(&mut self) {
        for text in &self.told[self.warned..] {
            warn(&anyhow::anyhow!("{text}"));
        }
        self.warned = self.told.len();
    }

    /// The last complaint.
    pub(crate) fn complaint(&self) -> Option<&str> {
        self.told.last().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals() {
        assert_eq!(interval("0.5"), Ok(Duration::from_millis(500)));
        for bad in ["0", "-1", "x", "inf", "NaN", "4000"] {
            assert!(interval(bad).is_err(), "{bad}");
        }
    }
}
