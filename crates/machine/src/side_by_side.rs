//! The same for many machines, by as many threads as there are processors for: looking at one is all system calls.

use std::thread::{available_parallelism, scope};

/// Below this many for each, a thread costs more than it saves.
const LEAST: usize = 16;
/// More threads stand in each other's way in the kernel.
const MOST: usize = 8;

/// What `work` makes of each item, in their order.
pub fn side_by_side<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = match items.len() / LEAST {
        0 | 1 => 1,
        worth => worth.min(MOST).min(available_parallelism().map_or(1, usize::from)),
    };
    let mut chunks = items.chunks(items.len().div_ceil(threads).max(1));
    let own = chunks.next().unwrap_or_default();
    scope(|scope| {
        let run = |chunk: &[T]| chunk.iter().map(&work).collect::<Vec<R>>();
        let others: Vec<_> =
            chunks.map(|chunk| (chunk, std::thread::Builder::new().spawn_scoped(scope, move || run(chunk)))).collect();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_there_in_their_order() {
        for count in [0, 1, 15, 16, 31, 32, 33, 100, 1000] {
            let items: Vec<usize> = (0..count).collect();
            assert_eq!(side_by_side(&items, |item| item * 2), (0..count).map(|item| item * 2).collect::<Vec<_>>());
        }
    }
}
