//! What the processes of a group use, as the kernel counts it: in cgroup2, or in the groups of version 1 that a limit has
//! put them into. What no controller counts is not known.

use std::ffi::CStr;
use std::path::{Path, PathBuf};

use crate::limit::v1;
use crate::view::View;

/// From here on a limit of version 1 is none: the greatest number of pages.
const UNLIMITED: u64 = i64::MAX as u64 / 65536 * 65536;

/// How much there is of something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Now.
    pub current: u64,
    /// At the most; `None`: as much as there is.
    pub limit: Option<u64>,
}

/// Bytes from and to disks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transfer {
    /// Read.
    pub read: u64,
    /// Written.
    pub written: u64,
}

/// What a group uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Time of processors since it was made, in microseconds.
    pub processor: Option<u64>,
    /// Memory in bytes, the cache of files included.
    pub memory: Option<Amount>,
    /// Threads.
    pub tasks: Option<Amount>,
    /// What went through disks since it was made.
    pub transfer: Option<Transfer>,
}

/// The groups that count for one machine.
#[derive(Debug)]
pub struct Groups {
    unified: View,
    /// Of version 1, with their controllers.
    old: Vec<(Vec<String>, PathBuf)>,
}

impl Groups {
    /// The machine's group of cgroup2, and those of version 1 that its first process is in and its supervisor is not: the
    /// others are the caller's, and count more than the machine. A group that has the name of the machine's unit is its own.
    #[must_use]
    pub fn find(unified: View, (leader, supervisor): (i32, Option<i32>), unit: Option<&str>) -> Self {
        let of_supervisor = supervisor.map(v1::hierarchies_of).unwrap_or_default();
        let mut old = v1::hierarchies_of(leader);
        old.retain(|one| {
            let shared = supervisor.is_none() || of_supervisor.iter().any(|other| other.own == one.own);
            !shared || unit.is_some_and(|unit| one.own.file_name().is_some_and(|name| name == unit))
        });
        // The limits are on the group above the payload's own.
        let limited = |own: PathBuf| match own.parent() {
            Some(above) if own.ends_with("payload") => above.to_owned(),
            _ => own,
        };
        Self { unified, old: old.into_iter().map(|one| (one.controllers, limited(one.own))).collect() }
    }

    /// What they use now.
    #[must_use]
    pub fn usage(&self) -> Usage {
        Usage { processor: self.processor(), memory: self.memory(), tasks: self.tasks(), transfer: self.transfer() }
    }

    fn processor(&self) -> Option<u64> {
        if let Some(used) = self.unified(c"cpu.stat").and_then(|text| field(&text, "usage_usec")) {
            return Some(used);
        }
        Some(number(&self.old("cpuacct", c"cpuacct.usage")?)? / 1000)
    }

    fn memory(&self) -> Option<Amount> {
        if let Some(current) = self.unified(c"memory.current").and_then(|text| number(&text)) {
            return Some(Amount { current, limit: self.unified(c"memory.max").and_then(|text| number(&text)) });
        }
        let current = number(&self.old("memory", c"memory.usage_in_bytes")?)?;
        let limit = self.old("memory", c"memory.limit_in_bytes").and_then(|text| number(&text));
        Some(Amount { current, limit: limit.filter(|limit| *limit < UNLIMITED) })
    }

    fn tasks(&self) -> Option<Amount> {
        let of = |current: &str, limit: Option<String>| {
            Some(Amount { current: number(current)?, limit: limit.and_then(|text| number(&text)) })
        };
        if let Some(current) = self.unified(c"pids.current") {
            return of(&current, self.unified(c"pids.max"));
        }
        of(&self.old("pids", c"pids.current")?, self.old("pids", c"pids.max"))
    }

    fn transfer(&self) -> Option<Transfer> {
        if let Some(text) = self.unified(c"io.stat") {
            return Some(by_device(&text));
        }
        let text = self.old("blkio", c"blkio.throttle.io_service_bytes_recursive");
        let text = text.or_else(|| self.old("blkio", c"blkio.throttle.io_service_bytes"))?;
        Some(by_operation(&text))
    }

    fn unified(&self, file: &CStr) -> Option<String> {
        text(&self.unified, file)
    }

    fn old(&self, controller: &str, file: &CStr) -> Option<String> {
        let (_, path) = self.old.iter().find(|(names, _)| names.iter().any(|name| name == controller))?;
        text(&View::open(Path::new(path)).ok()?, file)
    }
}

fn text(group: &View, file: &CStr) -> Option<String> {
    String::from_utf8(group.read(file).ok()?).ok()
}

fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| number(line.strip_prefix(name)?.strip_prefix(' ')?))
}

/// `io.stat`: `8:0 rbytes=1 wbytes=2 ...`, see the kernel's `cgroup-v2.rst`.
fn by_device(text: &str) -> Transfer {
    let sum = |name: &str| {
        let words = text.split_ascii_whitespace();
        words.filter_map(|word| word.strip_prefix(name)?.strip_prefix('=')?.parse().ok()).fold(0, u64::saturating_add)
    };
    Transfer { read: sum("rbytes"), written: sum("wbytes") }
}

/// Version 1: `8:0 Read 1`.
fn by_operation(text: &str) -> Transfer {
    let sum = |name: &str| {
        let lines = text.lines().filter_map(|line| {
            let mut words = line.split_ascii_whitespace().skip(1);
            if words.next()? == name { words.next()?.parse().ok() } else { None }
        });
        lines.fold(0, u64::saturating_add)
    };
    Transfer { read: sum("Read"), written: sum("Write") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_both_versions() {
        assert_eq!(field("usage_usec 12\nuser_usec 5\n", "usage_usec"), Some(12));
        assert_eq!(field("usage_usec_x 12\n", "usage_usec"), None);
        assert_eq!(number("max\n"), None);
        let new = "8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n8:16 rbytes=1 wbytes=2 rios=1\n";
        assert_eq!(by_device(new), Transfer { read: 11, written: 22 });
        let old = "8:0 Read 10\n8:0 Write 20\n8:0 Sync 3\n8:0 Total 30\n8:16 Read 1\nTotal 31\n";
        assert_eq!(by_operation(old), Transfer { read: 11, written: 20 });
    }
}
