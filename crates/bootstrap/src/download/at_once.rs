//! Several pieces of work at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Stop;

/// Does the work for each number of `order`, by that many threads, and gives the results in the order of the numbers,
/// which are those from 0 on. Work that gives `None` was given up; without a failure it was interrupted, and some
/// results are missing. Returns only when every thread has come to rest.
///
/// # Errors
/// The first failure; from then on the others are told to stop.
pub(crate) fn at_once<T: Send, E: Send>(
    threads: usize,
    order: &[usize],
    stop: &Stop<'_>,
    work: impl Fn(usize) -> Result<Option<T>, E> + Sync,
) -> Result<Vec<T>, E> {
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<Option<T>>> = Mutex::new(order.iter().map(|_| None).collect());
    let failure = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..threads.min(order.len()) {
            scope.spawn(|| {
                while let Some(nr) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match work(*nr) {
                        Ok(Some(result)) => lock(&results)[*nr] = Some(result),
                        Ok(None) => return,
                        Err(e) => {
                            // First, so that nobody who gives up because of it is taken for the first failure.
                            lock(&failure).get_or_insert(e);
                            stop.fail();
                            return;
                        }
                    }
                }
            });
        }
    });
    match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(e) => Err(e),
        None => Ok(lock(&results).drain(..).flatten().collect()),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
