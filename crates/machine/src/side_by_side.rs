//! The same for many machines, by as many threads as there are processors for: looking at one is all system calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::{Builder, available_parallelism, scope};
use std::time::Duration;

/// Below this many for each, a thread costs more than it saves.
const LEAST: usize = 16;
/// More threads stand in each other's way in the kernel.
const MOST: usize = 8;

/// What `work` makes of each item, in their order.
pub(crate) fn side_by_side<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = threads(items.len());
    let mut chunks = items.chunks(items.len().div_ceil(threads).max(1));
    let own = chunks.next().unwrap_or_default();
    scope(|scope| {
        let run = |chunk: &[T]| chunk.iter().map(&work).collect::<Vec<R>>();
        let others: Vec<_> =
            chunks.map(|chunk| (chunk, Builder::new().spawn_scoped(scope, move || run(chunk)))).collect();
        let mut all = run(own);
        for (chunk, thread) in others {
            all.extend(match thread {
                Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                // There is no room for it.
                Err(_) => run(chunk),
            });
        }
        all
    })
}

/// The same where the work on an item may hang, as what a process inside serves does if it wants to: nothing comes of such an
/// item, and the others do not wait for it. Who hangs is left behind, and holds the items for as long.
pub(crate) fn within<T, R>(patience: Duration, items: Vec<T>, work: fn(&T) -> R) -> Vec<Option<R>>
where
    T: Send + Sync + 'static,
    R: Send + 'static,
{
    let count = items.len();
    let mut results: Vec<Option<R>> = (0..count).map(|_| None).collect();
    let (sender, receiver) = mpsc::channel();
    let shared = Arc::new((items, AtomicUsize::new(0)));
    let mut left = count;
    while left > 0 && shared.1.load(Ordering::Relaxed) < count {
        let start = || {
            let (shared, sender) = (shared.clone(), sender.clone());
            Builder::new().spawn(move || {
                let (items, next) = &*shared;
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(number) else { return };
                    if sender.send((number, work(item))).is_err() {
                        return;
                    }
                }
            })
        };
        // Where there is no room for a single one nothing is known.
        if (0..threads(left)).filter(|_| start().is_ok()).count() == 0 {
            break;
        }
        while left > 0 {
            // Without an answer for so long all of them hang: others go on with the rest.
            let Ok((number, result)) = receiver.recv_timeout(patience) else { break };
            results[number] = Some(result);
            left -= 1;
        }
    }
    results
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
        let hang_at = |item: &usize| match item {
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
            let items: Vec<usize> = (0..count).collect();
            assert_eq!(side_by_side(&items, |item| item * 2), (0..count).map(|item| item * 2).collect::<Vec<_>>());
        }
    }
}
