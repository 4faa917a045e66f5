//! The same for many machines, by as many threads as there are processors for: looking at one is all system calls. It is worth it
//! for what the machines' own files say. Entries of the registry are looked at by one thread alone, beside the first of these:
//! more of them would make each other wait for descriptors and memory.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, available_parallelism};
use std::time::Duration;

/// Below this many for each, a thread costs more than it saves.
const LEAST: usize = 16;
/// More threads stand in each other's way in the kernel.
const MOST: usize = 8;

/// Work on items that may hang, as what a process inside serves does if it wants to: nothing comes of such an item, and the
/// others do not wait for it. Who hangs is left behind. Each thread has a buffer of its own to work with.
pub(crate) struct SideBySide<T, R> {
    shared: Arc<Shared<T, R>>,
    work: fn(&T, &mut Vec<u8>) -> R,
    /// How many threads work, as far as they do not hang.
    threads: usize,
}

/// What the threads share.
struct Shared<T, R> {
    state: Mutex<State<T, R>>,
    /// Told when there is something to do, or nothing any more.
    more: Condvar,
    /// Told once, when the last result has come.
    all: Condvar,
}

struct State<T, R> {
    /// What nobody has taken, with its number.
    waiting: VecDeque<(usize, T)>,
    results: Vec<Option<R>>,
    /// How many results are not there.
    left: usize,
    /// Whether no item comes any more.
    complete: bool,
}

impl<T: Send + 'static, R: Send + 'static> SideBySide<T, R> {
    pub(crate) fn new(work: fn(&T, &mut Vec<u8>) -> R) -> Self {
        let state = State { waiting: VecDeque::new(), results: Vec::new(), left: 0, complete: false };
        let shared = Shared { state: Mutex::new(state), more: Condvar::new(), all: Condvar::new() };
        Self { shared: Arc::new(shared), work, threads: 0 }
    }

    /// Another item. Once there are many, a thread begins while others come.
    pub(crate) fn add(&mut self, item: T) {
        let mut state = self.shared.lock();
        let number = state.results.len();
        state.waiting.push_back((number, item));
        state.results.push(None);
        state.left += 1;
        drop(state);
        match self.threads {
            0 if number + 1 >= LEAST => self.start(1),
            0 => {}
            _ => self.shared.more.notify_one(),
        }
    }

    /// What came of the items, in their order: nothing where the work on it takes longer than this while no other one is done.
    pub(crate) fn results(mut self, patience: Duration) -> Vec<Option<R>> {
        self.shared.lock().complete = true;
        self.shared.more.notify_all();
        loop {
            let state = self.shared.lock();
            let (waiting, left) = (state.waiting.len(), state.left);
            drop(state);
            if left == 0 {
                break;
            }
            self.start(threads(waiting).saturating_sub(self.threads));
            // Where there is no room for a single one nothing is known.
            if self.threads == 0 {
                break;
            }
            let hang = self.shared.wait(patience);
            if hang && waiting == 0 {
                break;
            }
            if hang {
                self.threads = 0;
            }
        }
        std::mem::take(&mut self.shared.lock().results)
    }

    fn start(&mut self, count: usize) {
        for _ in 0..count {
            let (shared, work) = (self.shared.clone(), self.work);
            if Builder::new().spawn(move || shared.work_off(work)).is_ok() {
                self.threads += 1;
            }
        }
    }
}

impl<T, R> Shared<T, R> {
    fn work_off(&self, work: fn(&T, &mut Vec<u8>) -> R) {
        let mut buffer = Vec::new();
        let mut state = self.lock();
        loop {
            let Some((number, item)) = state.waiting.pop_front() else {
                if state.complete {
                    return;
                }
                state = self.more.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(state);
            let result = work(&item, &mut buffer);
            drop(item);
            state = self.lock();
            // Not there any more where nobody has waited for it.
            let Some(place) = state.results.get_mut(number) else { return };
            *place = Some(result);
            state.left -= 1;
            if state.left == 0 && state.complete {
                self.all.notify_one();
            }
        }
    }

    /// Until all results are there, or whether none has come for so long: all who work hang then.
    fn wait(&self, patience: Duration) -> bool {
        let mut state = self.lock();
        while state.left > 0 {
            let before = state.left;
            let waited = self.all.wait_timeout_while(state, patience, |state| state.left > 0);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if state.left == before {
                return true;
            }
        }
        false
    }

    /// Nobody panics while it is held.
    fn lock(&self) -> MutexGuard<'_, State<T, R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many threads this many items are worth.
fn threads(items: usize) -> usize {
    match items / LEAST {
        0 => items.min(1),
        worth => worth.min(MOST).min(available_parallelism().map_or(1, usize::from)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn within(patience: Duration, items: usize, work: fn(&usize, &mut Vec<u8>) -> usize) -> Vec<Option<usize>> {
        let mut working = SideBySide::new(work);
        (0..items).for_each(|item| working.add(item));
        working.results(patience)
    }

    #[test]
    fn who_hangs_holds_up_nobody_else() {
        let hang_at = |item: &usize, _: &mut Vec<u8>| match item {
            5 | 17 | 40 => loop {
                std::thread::sleep(Duration::from_secs(600));
            },
            item => *item,
        };
        for count in [0, 1, 6, 41, 100] {
            let done = within(Duration::from_millis(200), count, hang_at);
            let missing: Vec<usize> = (0..count).filter(|item| done[*item].is_none()).collect();
            assert_eq!(missing, [5, 17, 40].into_iter().filter(|item| *item < count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn all_are_there_in_their_order() {
        for count in [0, 1, 15, 16, 31, 32, 33, 100, 1000] {
            let done = within(Duration::from_secs(600), count, |item, _| item * 2);
            assert_eq!(done, (0..count).map(|item| Some(item * 2)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn items_may_come_slowly() {
        let mut working = SideBySide::new(|item: &usize, _| *item);
        for item in 0..40 {
            working.add(item);
            std::thread::sleep(Duration::from_millis(1));
        }
        let patience = Duration::from_secs(600);
        assert_eq!(working.results(patience), (0..40).map(Some).collect::<Vec<_>>());
    }
}
