//! Commands that take turns: load and clock changes of a machine then hit all alike, and their ratios mean something
//! where their times do not.

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// One command that takes part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Contestant {
    /// What it is called in the table.
    pub name: String,
    /// The program and its arguments.
    pub words: Vec<String>,
    /// Whether it is to see nothing but version 2 of control groups, because it does not run on a mixed host.
    pub unified: bool,
}

impl Contestant {
    pub(super) fn new(name: &str, words: &[&str]) -> Self {
        Self { name: name.to_owned(), words: words.iter().map(|&word| word.to_owned()).collect(), unified: false }
    }

    /// The command, with nothing to read.
    pub(super) fn command(&self) -> Command {
        let (program, arguments) =
            self.words.split_first().map_or((&*self.name, &[][..]), |(first, rest)| (first, rest));
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null());
        command
    }
}

/// What one contestant took, in milliseconds (or whatever else was measured). `pairs` holds each value with that of
/// the first contestant in the same round.
#[derive(Clone, Debug, Default)]
pub(super) struct Measured {
    pub name: String,
    pub values: Vec<f64>,
    pub pairs: Vec<(f64, f64)>,
}

impl Measured {
    /// The middle one.
    pub(super) fn median(&self) -> f64 {
        median(self.values.clone())
    }

    /// The least one.
    pub(super) fn minimum(&self) -> f64 {
        self.values.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// The median of the ratios to the first contestant, round by round.
    pub(super) fn ratio(&self) -> f64 {
        median(self.pairs.iter().map(|(own, first)| own / first).collect())
    }
}

/// The middle value; between two, their mean.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match (values.len(), values.len() / 2) {
        (0, _) => f64::NAN,
        (length, middle) if length % 2 == 1 => values[middle],
        (_, middle) => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// How often a contestant runs: slow ones take part in fewer rounds, evenly spread.
fn takes_part(round: usize, rounds: usize, wanted: usize) -> bool {
    (round + 1) * wanted / rounds > round * wanted / rounds
}

/// Runs all in turn; `measure` runs one and says what it took. The first one runs in every round. A contestant that
/// takes so long that its rounds would take more than `patience` seconds together runs less often, once at
/// the least.
pub(super) fn take_turns(
    contestants: &[Contestant],
    rounds: usize,
    patience: f64,
    measure: &dyn Fn(&Contestant) -> Result<f64>,
) -> Result<Vec<Measured>> {
    let mut all: Vec<Measured> =
        contestants.iter().map(|one| Measured { name: one.name.clone(), ..Measured::default() }).collect();
    let mut wanted = Vec::new();
    for (index, one) in contestants.iter().enumerate() {
        let started = Instant::now();
        measure(one)?;
        let first = started.elapsed().as_secs_f64();
        if first < patience / 10.0 {
            measure(one)?;
        }
        let possible = (patience / (started.elapsed().as_secs_f64() - first).max(first / 4.0)) as usize;
        wanted.push(if index == 0 { rounds } else { possible.clamp(1, rounds) });
    }
    for round in 0..rounds {
        let mut first = f64::NAN;
        for (index, one) in contestants.iter().enumerate() {
            if !takes_part(round, rounds, wanted[index]) {
                continue;
            }
            let value = measure(one)?;
            if index == 0 {
                first = value;
            }
            all[index].values.push(value);
            all[index].pairs.push((value, first));
        }
    }
    Ok(all)
}

/// Runs all in turn, as often as is said. What is done before each run is not measured.
pub(super) fn take_slow_turns(
    contestants: &[Contestant],
    rounds: usize,
    before: &dyn Fn() -> Result<()>,
) -> Result<Vec<Measured>> {
    let mut all: Vec<Measured> =
        contestants.iter().map(|one| Measured { name: one.name.clone(), ..Measured::default() }).collect();
    for _ in 0..rounds {
        let mut first = f64::NAN;
        for (index, one) in contestants.iter().enumerate() {
            before()?;
            let value = time(one)?;
            if index == 0 {
                first = value;
            }
            all[index].values.push(value);
            all[index].pairs.push((value, first));
        }
    }
    Ok(all)
}

/// Does something where it sees what the contestant is to see. Namespaces of mounts belong to threads.
fn seen_by<T: Send>(contestant: &Contestant, act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    if !contestant.unified {
        return act();
    }
    let apart = || {
        sys::clone::unshare(sys::clone::Namespaces::MOUNT).context("cannot unshare the mounts")?;
        let private = rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC;
        rustix::mount::mount_change("/", private)?;
        let none = rustix::mount::MountFlags::empty();
        rustix::mount::mount("cgroup2", "/sys/fs/cgroup", "cgroup2", none, None)?;
        act()
    };
    std::thread::scope(|scope| match scope.spawn(apart).join() {
        Ok(result) => result,
        Err(_) => bail!("{} cannot be run", contestant.name),
    })
}

/// Runs a command to its end: the milliseconds that took. Its output goes nowhere; where it fails it is run again to
/// see what it says.
pub(super) fn time(contestant: &Contestant) -> Result<f64> {
    seen_by(contestant, || time_here(contestant))
}

fn time_here(contestant: &Contestant) -> Result<f64> {
    let mut command = contestant.command();
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let started = Instant::now();
    let status = command.status().with_context(|| format!("cannot run {}", contestant.words.join(" ")))?;
    let took = started.elapsed().as_secs_f64() * 1e3;
    if !status.success() {
        let told = contestant.command().output()?;
        let told = String::from_utf8_lossy(&told.stderr).trim().to_owned();
        bail!("{}: {status}: {told}", contestant.words.join(" "));
    }
    Ok(took)
}

/// Runs a command that prints a number.
pub(super) fn printed_number(contestant: &Contestant) -> Result<f64> {
    let output = seen_by(contestant, || Ok(contestant.command().output()?))
        .with_context(|| format!("cannot run {}", contestant.words.join(" ")))?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    match text.parse() {
        Ok(number) if output.status.success() => Ok(number),
        _ => bail!("{}: {}: {text}{}", contestant.name, output.status, String::from_utf8_lossy(&output.stderr)),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn medians() {
        assert!(median(Vec::new()).is_nan());
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn few_rounds_are_spread() {
        let part = |wanted| (0..10).filter(|&round| takes_part(round, 10, wanted)).collect::<Vec<_>>();
        assert_eq!(part(10).len(), 10);
        assert_eq!(part(3), [3, 6, 9]);
    }

    #[test]
    fn turns_and_ratios() {
        let order = RefCell::new(String::new());
        let both = [Contestant::new("a", &["x"]), Contestant::new("b", &["x"])];
        let measured = take_turns(&both, 2, 60.0, &|one| {
            order.borrow_mut().push_str(&one.name);
            Ok(if one.name == "a" { 2.0 } else { 3.0 })
        })
        .expect("measured");
        assert_eq!(*order.borrow(), "aabbabab");
        assert_eq!((measured[1].ratio(), measured[1].median(), measured[0].minimum()), (1.5, 3.0, 2.0));
    }

    #[test]
    fn failures_are_told() {
        let error = time(&Contestant::new("x", &["sh", "-c", "echo broken >&2; exit 3"])).expect_err("it fails");
        assert!(error.to_string().contains("broken"), "{error}");
        assert!(printed_number(&Contestant::new("x", &["echo", "none"])).is_err());
        assert_eq!(printed_number(&Contestant::new("x", &["echo", "1.5"])).expect("a number"), 1.5);
    }
}
