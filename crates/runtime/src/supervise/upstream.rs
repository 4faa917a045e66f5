//! The service manager that has started us, and what it is told, see sd_notify(3).
//!
//! It may be slow: what it does not take at once waits here, in order, and meanwhile nothing more is taken from the
//! container, so that there is never much of it. It may be gone: then nobody is told.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::SocketAddrUnix;

/// How long our own end waits for a service manager that takes nothing.
const PATIENCE: Duration = Duration::from_secs(2);
/// More of our own messages than this do not wait: the oldest is forgotten. Those of the container are not taken then.
const MOST_WAITING: usize = 32;

/// A message, and the descriptors that go with it.
#[derive(Debug)]
struct Message {
    text: String,
    descriptors: Vec<OwnedFd>,
}

/// The service manager that started us.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddrUnix,
    socket: OwnedFd,
    waiting: RefCell<VecDeque<Message>>,
}

impl Upstream {
    /// The one at `$NOTIFY_SOCKET`: a path, or an abstract name after `@`.
    ///
    /// # Errors
    /// `EINVAL` for an address of another kind, `EMFILE`.
    pub fn new(variable: &OsStr) -> rustix::io::Result<Self> {
        let address = match variable.as_bytes() {
            [b'@', name @ ..] if !name.is_empty() => SocketAddrUnix::new_abstract_name(name)?,
            [b'/', ..] => SocketAddrUnix::new(variable)?,
            _ => return Err(Errno::INVAL),
        };
        let socket = sys::notify::unbound()?;
        // Only one that is connected can be waited for. Where that fails, so does sending.
        let _ = rustix::net::connect(&socket, &address);
        Ok(Self { address, socket, waiting: RefCell::default() })
    }

    /// Tells it something.
    pub(crate) fn tell(&self, text: &str) {
        self.pass_on(text, Vec::new());
    }

    /// Tells it something, and passes copies of descriptors.
    pub(super) fn pass_on(&self, text: &str, descriptors: Vec<OwnedFd>) {
        let message = Message { text: text.to_owned(), descriptors };
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.is_empty() || !self.send(&message) {
            if waiting.len() >= MOST_WAITING {
                waiting.pop_front();
            }
            waiting.push_back(message);
        }
    }

    /// Whether that is the end of it: only a manager that is behind is tried again.
    fn send(&self, message: &Message) -> bool {
        let descriptors = sys::notify::borrow_all(&message.descriptors);
        let try_once = || sys::notify::send(self.socket.as_fd(), &self.address, message.text.as_bytes(), &descriptors);
        match try_once() {
            Err(Errno::AGAIN | Errno::INTR | Errno::NOBUFS) => {
                // It may have come into being since.
                let _ = rustix::net::connect(&self.socket, &self.address);
                false
            }
            // Another socket is there by now.
            Err(Errno::CONNREFUSED) if rustix::net::connect(&self.socket, &self.address).is_ok() => {
                !matches!(try_once(), Err(Errno::AGAIN | Errno::INTR))
            }
            _ => true,
        }
    }

    /// What to wait for until it takes messages again; absent while it does.
    pub(super) fn waits_for(&self) -> Option<BorrowedFd<'_>> {
        (!self.waiting.borrow().is_empty()).then(|| self.socket.as_fd())
    }

    /// Sends what has waited, as far as it is taken.
    pub(super) fn flush(&self) {
        let mut waiting = self.waiting.borrow_mut();
        while waiting.front().is_some_and(|message| self.send(message)) {
            waiting.pop_front();
        }
    }

    /// Sends the rest before our end, if that is taken within a moment.
    pub(crate) fn finish(&self) {
        let end = Instant::now() + PATIENCE;
        self.flush();
        while let Some(socket) = self.waits_for() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let left = Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            };
            if !matches!(
                poll(&mut [PollFd::from_borrowed_fd(socket, PollFlags::OUT)], Some(&left)),
                Ok(1..) | Err(Errno::INTR)
            ) {
                return;
            }
            self.flush();
        }
    }
}

/// The service manager expects a sign of life every now and then, see `WatchdogSec=` in systemd.service(5).
#[derive(Debug)]
pub(super) struct Watchdog {
    every: Duration,
    next: Instant,
}

impl Watchdog {
    /// `microseconds` is the time after which it would take us for dead; half of that is usual, see
    /// sd_watchdog_enabled(3).
    pub(super) fn new(microseconds: u64, now: Instant) -> Self {
        Self { every: Duration::from_micros(microseconds / 2), next: now }
    }

    /// When the next sign is due.
    pub(super) fn deadline(&self) -> Instant {
        self.next
    }

    /// Gives the sign, if it is due.
    pub(super) fn expire(&mut self, now: Instant, upstream: &Upstream) {
        if now >= self.next {
            self.next = now + self.every;
            // One that still waits says the same.
            if upstream.waits_for().is_none() {
                upstream.tell("WATCHDOG=1\n");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A manager whose socket has an abstract name.
    fn manager(name: &str) -> (OwnedFd, Upstream) {
        let name = format!("@redd-upstream-{}-{name}", std::process::id());
        let address = SocketAddrUnix::new_abstract_name(&name.as_bytes()[1..]).expect("name");
        let socket = sys::notify::listen(&address).expect("listen");
        (socket, Upstream::new(OsStr::new(&name)).expect("upstream"))
    }

    fn heard(manager: &OwnedFd) -> Option<(String, usize)> {
        let mut buffer = [0; 512];
        let heard = sys::notify::receive(manager.as_fd(), &mut buffer).expect("receive")?;
        Some((String::from_utf8_lossy(&buffer[..heard.length]).into_owned(), heard.descriptors.len()))
    }

    #[test]
    fn addresses() {
        assert!(Upstream::new(OsStr::new("/run/systemd/notify")).is_ok());
        assert!(Upstream::new(OsStr::new("@name")).is_ok());
        for bad in ["", "@", "vsock:2:1234", "relative"] {
            assert_eq!(Upstream::new(OsStr::new(bad)).err(), Some(Errno::INVAL), "{bad}");
        }
    }

    #[test]
    fn what_a_slow_manager_does_not_take_waits_in_order() {
        let (manager, upstream) = manager("slow");
        let mut told = 0;
        while upstream.waits_for().is_none() {
            upstream.tell(&format!("{told}"));
            told += 1;
            assert!(told < 100_000, "its queue has no end");
        }
        let null = rustix::fs::open("/dev/null", rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty()).expect("null");
        upstream.pass_on("FDSTORE=1", vec![null]);
        upstream.flush();
        assert!(upstream.waits_for().is_some());
        for number in 0..told {
            upstream.flush();
            assert_eq!(heard(&manager), Some((number.to_string(), 0)));
        }
        upstream.flush();
        assert_eq!(heard(&manager), Some(("FDSTORE=1".into(), 1)));
        assert!(upstream.waits_for().is_none());
    }

    #[test]
    fn our_own_words_do_not_pile_up() {
        let (_manager, upstream) = manager("full");
        for number in 0..10_000 {
            upstream.tell(&format!("{number}"));
        }
        assert_eq!(upstream.waiting.borrow().len(), MOST_WAITING);
        assert_eq!(upstream.waiting.borrow().back().map(|last| last.text.clone()), Some("9999".into()));
        let start = Instant::now();
        upstream.finish();
        assert!(start.elapsed() >= PATIENCE && start.elapsed() < PATIENCE * 3);
    }

    #[test]
    fn nobody_is_waited_for_who_is_gone() {
        let (manager, upstream) = manager("gone");
        drop(manager);
        upstream.tell("READY=1");
        assert!(upstream.waits_for().is_none());
        let absent = Upstream::new(OsStr::new("/nonexistent/notify")).expect("upstream");
        absent.tell("READY=1");
        assert!(absent.waits_for().is_none());
    }

    #[test]
    fn one_that_comes_back_is_told() {
        let (manager, upstream) = manager("back");
        drop(manager);
        let name = format!("redd-upstream-{}-back", std::process::id());
        let address = SocketAddrUnix::new_abstract_name(name.as_bytes()).expect("name");
        let manager = sys::notify::listen(&address).expect("listen");
        upstream.tell("READY=1");
        assert_eq!(heard(&manager), Some(("READY=1".into(), 0)));
    }

    #[test]
    fn signs_of_life_come_in_time() {
        let (manager, upstream) = manager("watchdog");
        let start = Instant::now();
        let mut watchdog = Watchdog::new(1_000_000, start);
        watchdog.expire(start, &upstream);
        assert_eq!(heard(&manager), Some(("WATCHDOG=1\n".into(), 0)));
        watchdog.expire(start + Duration::from_millis(499), &upstream);
        assert_eq!(heard(&manager), None);
        assert_eq!(watchdog.deadline(), start + Duration::from_millis(500));
        watchdog.expire(start + Duration::from_millis(500), &upstream);
        assert!(heard(&manager).is_some());
    }
}
