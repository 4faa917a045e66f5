//! Containers that live on although their supervisor was killed, see `die_with_supervisor` in `proto.rs`: their ids are given to
//! nobody else.
//!
//! Supervisors that die by force leave the lock file of their range, without a lock. So it is only where such a file is found that
//! more is looked at: the records of what the dead have made name the control groups of their containers.

use std::path::Path;
use std::time::{Duration, Instant};

use image::RunDirectory;
use image::lock::{self, NameLock, Standing};
use image::lock_file::{LockFile, is_locked, list};
use image::record::Entry;
use machine::group::Group;
use rustix::process::Signal;
use spec::{MachineName, UidRange};
use sys::file_lock::Mode;

use super::{Error, range_of};

/// How long those who are killed may take to end.
const UNTIL_THEY_END: Duration = Duration::from_secs(2);

/// Ends the containers of the dead that have ids of this range.
///
/// # Errors
/// [`Error::Orphans`] if they do not end.
pub(super) fn end(run: &RunDirectory, range: UidRange) -> Result<(), Error> {
    let ranges = run.ranges();
    let Ok(names) = list(&ranges) else { return Ok(()) };
    let overlaps = |name: &str| range_of(name).is_some_and(|(held, _)| held.overlaps(range));
    let abandoned: Vec<_> =
        names.iter().filter(|name| name.to_str().is_some_and(overlaps) && !is_locked(&ranges, name)).collect();
    if abandoned.is_empty() {
        return Ok(());
    }
    for machine in lock::machines(run).unwrap_or_default() {
        let Ok(machine) = MachineName::try_from(machine.as_str()) else { continue };
        if lock::standing(run, &machine) != Standing::Dead {
            continue;
        }
        // Nobody begins under this name meanwhile, whose group would be the same.
        let Ok(Some(held)) = NameLock::take_if_free(run, &machine) else { continue };
        let mut groups = held.left().iter().filter_map(|entry| match entry {
            Entry::Group(path) => Group::open(path).ok(),
            _ => None,
        });
        let ended = groups.all(|group| end_group(&group, range));
        // The rest that it tells of is still to be undone.
        held.keep();
        if !ended {
            return Err(Error::Orphans(machine.to_string(), range.start()));
        }
    }
    for name in abandoned {
        // Whoever has taken it since keeps it.
        drop(LockFile::acquire_existing(&ranges, name, Mode::Exclusive));
    }
    Ok(())
}

/// Kills all in the group if one of them has such ids. False if they do not end.
fn end_group(group: &Group, range: UidRange) -> bool {
    let has_ids = || group.processes().is_ok_and(|processes| processes.into_iter().any(|pid| is_among(pid, range)));
    let limit = Instant::now() + UNTIL_THEY_END;
    while has_ids() {
        if Instant::now() >= limit {
            return false;
        }
        // Who has just ended is not in the way, and who may not be killed is seen.
        let _ = group.signal(Signal::KILL.as_raw());
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}

/// Whether ids of a process's user namespace, which is not ours, are in the range.
fn is_among(pid: i32, range: UidRange) -> bool {
    let map = |who: &str| std::fs::read_to_string(Path::new("/proc").join(who).join("uid_map")).unwrap_or_default();
    let theirs = map(&pid.to_string());
    theirs != map("self") && theirs.lines().filter_map(mapped).any(|one| one.overlaps(range))
}

/// The ids outside that a line of user_namespaces(7) speaks of.
fn mapped(line: &str) -> Option<UidRange> {
    let mut numbers = line.split_ascii_whitespace().skip(1).map(|number| number.parse().ok());
    UidRange::new(numbers.next()??, numbers.next()??)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_map() {
        let range = UidRange::new(0x8_0000, 0x1_0000).expect("range");
        assert_eq!(mapped("         0     524288      65536"), Some(range));
        assert_eq!((mapped("0 1"), mapped(""), mapped("0 x 1")), (None, None, None));
    }

    #[test]
    fn files_of_the_dead_go_and_those_of_the_living_stay() {
        let directory = tempfile::tempdir().expect("directory");
        let run = RunDirectory::at(directory.path().join("run"), directory.path().join("peer"));
        let range = UidRange::new(0x8_0000, 0x1_0000).expect("range");
        end(&run, range).expect("nothing there");
        let held = LockFile::acquire(&run.ranges(), "524290+1".as_ref(), Mode::Shared).expect("file").expect("free");
        for name in ["524288", "524000+1000", "589824", "other"] {
            std::fs::write(run.ranges().join(name), "").expect("file");
        }
        end(&run, range).expect("nobody lives");
        let mut left = list(&run.ranges()).expect("list");
        left.sort_unstable();
        assert_eq!(left, ["524290+1", "589824", "other"]);
        drop(held);
    }
}
