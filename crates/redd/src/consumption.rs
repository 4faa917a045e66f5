//! What a machine uses, as people and programs are told.

use cgroup::usage::{Amount, Transfer};
use machine::state::{State, Timestamp};
use serde_json::json;

use crate::form::{Column, bytes, table as set};
use crate::observation::Sample;

/// What one machine uses.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Consumption {
    /// Its name.
    pub(crate) name: String,
    /// How much of one processor, in per cent: 200 is two of them all the time.
    pub(crate) processor: Option<f64>,
    /// Time of processors since it started, in microseconds.
    pub(crate) processor_time: Option<u64>,
    /// Bytes.
    pub(crate) memory: Option<Amount>,
    /// Threads.
    pub(crate) tasks: Option<Amount>,
    /// How many processes.
    pub(crate) processes: u64,
    /// Bytes since it started.
    pub(crate) transfer: Option<Transfer>,
    /// Bytes a second.
    pub(crate) rate: Option<(f64, f64)>,
    /// See [`Sample`].
    of_processes: (bool, bool),
}

impl Consumption {
    /// From two looks at it, or from its start until the first.
    pub(crate) fn between(state: &State, before: Option<&Sample>, now: &Sample) -> Self {
        let elapsed = match before {
            Some(before) => (now.at - before.at).as_secs_f64(),
            None => age(state),
        };
        let old = before.map(|before| before.usage).unwrap_or_default();
        let used = now.usage.processor.map(|used| used.saturating_sub(old.processor.unwrap_or(0)));
        let rate = now.usage.transfer.map(|transfer| {
            let old = old.transfer.unwrap_or_default();
            let each = |new: u64, old: u64| new.saturating_sub(old) as f64 / elapsed;
            (each(transfer.read, old.read), each(transfer.written, old.written))
        });
        Self {
            name: state.name.clone(),
            processor: used.map(|used| used as f64 / 1e4 / elapsed),
            processor_time: now.usage.processor,
            memory: now.usage.memory,
            tasks: now.usage.tasks,
            processes: now.processes,
            transfer: now.usage.transfer,
            rate,
            of_processes: (now.memory_of_processes, now.transfer_of_processes),
        }
    }

    /// For programs. `...Source` says whether the kernel counts for the group, or the living processes were summed up.
    pub(crate) fn as_json(&self) -> serde_json::Value {
        let source = |of_processes| if of_processes { "processes" } else { "controlGroup" };
        json!({
            "machine": self.name,
            "cpuPercent": self.processor.map(|percent| (percent * 100.0).round() / 100.0),
            "cpuUSec": self.processor_time,
            "memory": self.memory.map(|memory| memory.current),
            "memoryLimit": self.memory.and_then(|memory| memory.limit),
            "memorySource": source(self.of_processes.0),
            "tasks": self.tasks.map(|tasks| tasks.current),
            "tasksLimit": self.tasks.and_then(|tasks| tasks.limit),
            "processes": self.processes,
            "ioReadBytes": self.transfer.map(|transfer| transfer.read),
            "ioWriteBytes": self.transfer.map(|transfer| transfer.written),
            "ioReadBytesPerSecond": self.rate.map(|rate| rate.0.round()),
            "ioWriteBytesPerSecond": self.rate.map(|rate| rate.1.round()),
            "ioSource": source(self.of_processes.1),
        })
    }

    fn row(&self) -> Vec<String> {
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let about = |of_processes| if of_processes { "~" } else { "" };
        let limit = |limit: Option<String>| limit.map_or_else(String::new, |limit| format!(" / {limit}"));
        let memory = self.memory.map(|memory| {
            format!("{}{}{}", about(self.of_processes.0), bytes(memory.current), limit(memory.limit.map(bytes)))
        });
        let tasks =
            self.tasks.map(|tasks| format!("{}{}", tasks.current, limit(tasks.limit.map(|limit| limit.to_string()))));
        let rate = |rate: f64| format!("{}{}/s", about(self.of_processes.1), bytes(rate.max(0.0) as u64));
        vec![
            self.name.clone(),
            or_none(self.processor.map(|percent| format!("{percent:.1}%"))),
            or_none(memory),
            or_none(tasks),
            or_none(self.rate.map(|both| rate(both.0))),
            or_none(self.rate.map(|both| rate(both.1))),
        ]
    }
}

/// The seconds since it started.
fn age(state: &State) -> f64 {
    let age = Timestamp::now().monotonic.saturating_sub(state.timestamp.monotonic);
    (age as f64 / 1e6).max(0.001)
}

const COLUMNS: [Column; 6] = [
    Column::Left("MACHINE"),
    Column::Right("CPU"),
    Column::Right("MEMORY"),
    Column::Right("TASKS"),
    Column::Right("READ"),
    Column::Right("WRITTEN"),
];

/// Headings and a line for each.
pub(crate) fn table(all: &[Consumption]) -> Vec<String> {
    set(&COLUMNS, &all.iter().map(Consumption::row).collect::<Vec<_>>())
}
