//! `redd top`: what machines use, live.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::anyhow;

use crate::commands::stats::{Watch, interval};
use crate::consumption::{self, Consumption};
use crate::display;
use crate::failure::Failure;
use crate::form::bytes;
use crate::screen::{Event, Key, Screen};

/// Show what machines use, live: q quits, c m t i n sort, r turns the order round
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Seconds from one look to the next
    #[arg(short, long, value_name = "SECONDS", default_value = "2", value_parser = interval)]
    interval: Duration,
    /// What the machines are sorted by
    #[arg(short, long, value_name = "COLUMN", default_value = "cpu")]
    sort: Order,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Order {
    Cpu,
    Memory,
    Tasks,
    Io,
    Name,
}

const KEYS: &str = "q quit  c cpu  m memory  t tasks  i io  n name  r reverse  ↑↓ scroll";
/// Lines that are no machines.
const FRAME: usize = 4;

/// What is shown.
struct View {
    order: Order,
    reversed: bool,
    first: usize,
}

/// Shows it until somebody quits.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let mut watch = Watch::new(Vec::new());
    let mut all = watch.look()?;
    let screen = Screen::enter().map_err(|errno| {
        let error = anyhow::Error::from(errno).context("this takes a terminal");
        Failure::new(error, Some("print it once with: redd stats --no-stream"))
    })?;
    let failed = |errno| Failure::new(anyhow::Error::from(errno).context("cannot use the terminal"), None);
    let mut view = View { order: arguments.sort, reversed: false, first: 0 };
    let mut next = Instant::now() + arguments.interval;
    loop {
        let lines = view.lines(&mut all, screen.size(), watch.complaint());
        screen.draw(&lines).map_err(failed)?;
        let page = screen.size().1.saturating_sub(FRAME).max(1);
        match screen.wait(next).map_err(failed)? {
            Event::Letter('q') | Event::Key(Key::Interrupt) => return Ok(ExitCode::SUCCESS),
            Event::Letter(letter) => view.press(letter),
            Event::Key(Key::Suspend) => {
                screen.suspend().map_err(failed)?;
            }
            Event::Key(Key::Up) => view.first = view.first.saturating_sub(1),
            Event::Key(Key::Down) => view.first += 1,
            Event::Key(Key::PageUp) => view.first = view.first.saturating_sub(page),
            Event::Key(Key::PageDown) => view.first += page,
            Event::End(signal) => {
                screen.end_by(signal);
                // It is ignored or was handled by whoever started us.
                return Err(Failure::new(anyhow!("ended by signal {}", signal.as_raw()), None));
            }
            Event::Redraw | Event::Nothing => {}
        }
        if Instant::now() >= next {
            all = watch.look()?;
            next = Instant::now() + arguments.interval;
        }
    }
}

impl View {
    fn press(&mut self, letter: char) {
        match letter {
            'c' => self.order = Order::Cpu,
            'm' => self.order = Order::Memory,
            't' => self.order = Order::Tasks,
            'i' => self.order = Order::Io,
            'n' => self.order = Order::Name,
            'r' => self.reversed = !self.reversed,
            _ => {}
        }
    }

    fn lines(
        &mut self,
        all: &mut [Consumption],
        (columns, rows): (usize, usize),
        complaint: Option<&str>,
    ) -> Vec<String> {
        self.sort(all);
        let room = rows.saturating_sub(FRAME);
        self.first = self.first.min(all.len().saturating_sub(room));
        let shortened = |line: &str| display::shortened(line, columns, display::unicode());
        let mut lines = vec![shortened(&summary(all)), String::new()];
        let mut table = consumption::table(all).into_iter();
        let heading = table.next().unwrap_or_default();
        lines.push(format!("\x1b[7m{}\x1b[0m", shortened(&format!("{heading:columns$}"))));
        lines.extend(table.skip(self.first).take(room).map(|line| shortened(&line)));
        lines.resize(rows.saturating_sub(1).max(lines.len()), String::new());
        lines.push(shortened(&match complaint {
            Some(complaint) => spec::printable(complaint),
            None if display::unicode() => KEYS.to_owned(),
            None => KEYS.replace('↑', "up/").replace('↓', "down"),
        }));
        lines.truncate(rows);
        lines
    }

    /// The greatest first; names in order.
    fn sort(&self, all: &mut [Consumption]) {
        all.sort_by(|one, other| {
            let order = match self.order {
                Order::Cpu => greater(one.processor.unwrap_or(-1.0), other.processor.unwrap_or(-1.0)),
                Order::Memory => {
                    other.memory.map(|memory| memory.current).cmp(&one.memory.map(|memory| memory.current))
                }
                Order::Tasks => other.tasks.map(|tasks| tasks.current).cmp(&one.tasks.map(|tasks| tasks.current)),
                Order::Io => greater(moved(one), moved(other)),
                Order::Name => std::cmp::Ordering::Equal,
            };
            let order = if self.reversed { order.reverse() } else { order };
            let by_name = one.name.cmp(&other.name);
            order.then(if self.reversed && self.order == Order::Name { by_name.reverse() } else { by_name })
        });
    }
}

fn greater(one: f64, other: f64) -> std::cmp::Ordering {
    other.total_cmp(&one)
}

fn moved(one: &Consumption) -> f64 {
    one.rate.map_or(-1.0, |(read, written)| read + written)
}

/// All machines together.
fn summary(all: &[Consumption]) -> String {
    let processor: f64 = all.iter().filter_map(|one| one.processor).sum();
    let memory = all.iter().filter_map(|one| one.memory).map(|memory| memory.current).fold(0, u64::saturating_add);
    let tasks = all.iter().filter_map(|one| one.tasks).map(|tasks| tasks.current).fold(0, u64::saturating_add);
    let machines = if all.len() == 1 { "machine" } else { "machines" };
    format!("{} {machines}, {processor:.1}% of a processor, {} memory, {tasks} tasks", all.len(), bytes(memory))
}
