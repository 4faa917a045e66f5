//! What can be done with machines and images: the one place that both faces call.
//!
//! All of it waits for files, supervisors and people, so it is called from threads that may wait
//! ([`tokio::task::spawn_blocking`]), never from the loop that serves connections.
//!
//! | module | holds |
//! |---|---|
//! | [`machines`] | finding, registering, steering |
//! | [`inside`] | what is seen of a machine from outside: addresses, operating system, files |
//! | [`terminals`] | terminals in machines and on the host, with logins and shells; `opening` is how |
//! | `errand` | entering machines, by another process; `unit`: in a unit of its own |
//! | [`users`] | users and groups of machines on the host |
//! | [`images`] | the images that are installed |
//! | [`access`] | who may do what |
//! | [`watch`] | machines that come and go |
//! | [`note`] | what sd-login(3) reads |

pub mod access;
pub(crate) mod errand;
mod error;
pub mod images;
pub mod inside;
pub mod machines;
pub mod note;
mod opening;
pub mod terminals;
mod unit;
pub mod users;
pub mod watch;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use image::pool::Pool;
use machine::registry::Registry;
use machine::state::State;
use tokio::sync::broadcast;

pub use access::Caller;
pub use error::Error;
pub use machines::{Registration, Which};

/// How many changes a slow listener may be behind before it loses some.
const EVENTS: usize = 1024;
/// How many operations on images may be under way at once.
const OPERATIONS: usize = 32;

/// Something that happened to a machine.
#[derive(Clone, Debug)]
pub enum Event {
    /// It is there.
    Added(State),
    /// It is gone.
    Removed(State),
}

/// The machines and images of a host.
#[derive(Debug)]
pub struct Service {
    registry: Registry,
    pool: Pool,
    events: broadcast::Sender<Event>,
    /// What was told of last.
    known: Mutex<Vec<State>>,
    operations: AtomicUsize,
}

impl Service {
    /// Those of the system.
    #[must_use]
    pub fn system() -> Self {
        Self {
            registry: Registry::system(),
            pool: Pool::system(),
            events: broadcast::Sender::new(EVENTS),
            known: Mutex::new(Vec::new()),
            operations: AtomicUsize::new(0),
        }
    }

    /// Tells of machines that come and go from now on, also of those that come and go without us.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// How many operations on images are under way.
    #[must_use]
    pub fn operations(&self) -> usize {
        self.operations.load(Ordering::Relaxed)
    }

    /// Counts one more until the result is dropped.
    fn operation(&self) -> Result<Operation<'_>, Error> {
        let before = self.operations.fetch_add(1, Ordering::Relaxed);
        let operation = Operation(&self.operations);
        if before < OPERATIONS { Ok(operation) } else { Err(Error::TooManyOperations) }
    }
}

/// An operation that is under way.
struct Operation<'a>(&'a AtomicUsize);

impl Drop for Operation<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_counted_and_limited() {
        let service = Service::system();
        let all: Vec<_> = (0..OPERATIONS).map(|_| service.operation().unwrap()).collect();
        assert_eq!(service.operations(), OPERATIONS);
        assert!(matches!(service.operation(), Err(Error::TooManyOperations)));
        drop(all);
        assert_eq!(service.operations(), 0);
    }
}
