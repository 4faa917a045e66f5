//! The same for many machines, by as many threads as there are processors for: looking at one is all system calls.
//!
//! It is worth it for what the machines' own files say. Entries of the registry are looked at by one thread alone: others would
//! start too late, and make the descriptors and the memory shared.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, available_parallelism};
use std::time::Duration;

/// Below this many for each, a thread costs more than it saves.
const LEAST: usize = 16;
/// More threads stand in each other's way in the kernel.
const MOST: usize = 8;

/// What `work` makes of each item, in their order, where it may hang, as what a process inside serves does if it wants to:
/// nothing comes of such an item, and the others do not wait for it. Who hangs is left behind, and holds the items for as long.
/// Each thread has a buffer of its own to work with.
pub(crate) fn within<T, R>(patience: Duration, items: Vec<T>, work: fn(&T, &mut Vec<u8>) -> R) -> Vec<Option<R>>
where
    T: Send + Sync + 'static,
    R: Send + 'static,
{
    let shared = Arc::new(Shared::of(items));
    let mut left = shared.items.len();
    while left > 0 && shared.next.load(Ordering::Relaxed) < shared.items.len() {
        let start = || {
            let shared = shared.clone();
            Builder::new().spawn(move || shared.work_off(work))
        };
        // Where there is no room for a single one nothing is known.
        if (0..threads(left)).filter(|_| start().is_ok()).count() == 0 {
            break;
        }
        left = shared.wait(patience);
    }
    std::mem::take(&mut shared.results().of_items)
}

/// What the threads of [`within`] work on.
struct Shared<T, R> {
    items: Vec<T>,
    /// The first item that nobody has taken.
    next: AtomicUsize,
    results: Mutex<Results<R>>,
    /// Told once, when the last result has come.
    all: Condvar,
}

struct Results<R> {
    of_items: Vec<Option<R>>,
    left: usize,
}

impl<T, R> Shared<T, R> {
    fn of(items: Vec<T>) -> Self {
        let results = Results { of_items: items.iter().map(|_| None).collect(), left: items.len() };
        Self { items, next: AtomicUsize::new(0), results: Mutex::new(results), all: Condvar::new() }
    }

    fn work_off(&self, work: fn(&T, &mut Vec<u8>) -> R) {
        let mut buffer = Vec::new();
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = self.items.get(number) else { return };
            let result = work(item, &mut buffer);
            let mut results = self.results();
            // Not there any more where nobody has waited for it.
            let Some(place) = results.of_items.get_mut(number) else { return };
            *place = Some(result);
            results.left -= 1;
            if results.left == 0 {
                self.all.notify_one();
            }
        }
    }

    /// Until all results are there, or none has come for so long: all who work hang then. How many are not there.
    fn wait(&self, patience: Duration) -> usize {
        let mut results = self.results();
        loop {
            let before = results.left;
            let waited = self.all.wait_timeout_while(results, patience, |results| results.left > 0);
            results = waited.unwrap_or_else(PoisonError::into_inner).0;
            if results.left == 0 || results.left == before {
                return results.left;
            }
        }
    }

    /// Nobody panics while it is held.
    fn results(&self) -> MutexGuard<'_, Results<R>> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn threads(items: usize) -> usize {
    match items / LEAST {
        0 | 1 => 1,
        worth => worth.min(MOST).min(available_parallelism().map_or(1, usize::from)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_hangs_holds_up_nobody_else() {
        let hang_at = |item: &usize, _: &mut Vec<u8>| match item {
            5 | 17 | 40 => std::thread::sleep(Duration::from_secs(600)),
            _ => {}
        };
        let patience = Duration::from_millis(200);
        for count in [0, 1, 6, 41, 100] {
            let done = within(patience, (0..count).collect(), hang_at);
            let missing: Vec<usize> = (0..count).filter(|item| done[*item].is_none()).collect();
            assert_eq!(missing, [5, 17, 40].into_iter().filter(|item| *item < count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn all_are_there_in_their_order() {
        for count in [0, 1, 15, 16, 31, 32, 33, 100, 1000] {
            let done = within(Duration::from_secs(600), (0..count).collect(), |item: &usize, _| item * 2);
            assert_eq!(done, (0..count).map(|item| Some(item * 2)).collect::<Vec<_>>());
        }
    }
}
