//! Machines that come and go. The registry is a directory: whoever changes it, the kernel tells (inotify(7)); a first process
//! that ends is told by its descriptor.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use machine::registry::Registry;
use machine::state::{Class, State};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;

use super::{Error, Event, Service, note};

/// How often the registry is looked at where the kernel does not tell of changes.
const AGAIN: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
/// How long nothing is done where waiting fails.
const PAUSE: Duration = Duration::from_secs(1);
/// Changes that come together are looked at once.
const TOGETHER: Duration = Duration::from_millis(2);

impl Service {
    /// Takes over the machines that an upstream systemd-machined knew, and looks at all for the first time.
    ///
    /// # Errors
    /// Those of the registry.
    pub fn begin(&self) -> Result<(), Error> {
        let (states, _) = machine::machines::all(&self.registry)?;
        let ours = self.machines()?;
        for state in states.into_iter().filter(|state| !ours.iter().any(|one| one.name == state.name)) {
            if let Err(error) = self.registry.register(&state) {
                crate::log::warn(&error);
            }
        }
        self.look()
    }

    /// Compares the registry with what was told of last, tells of what differs, and writes the notes for others.
    ///
    /// # Errors
    /// Those of the registry, and of the notes.
    pub fn look(&self) -> Result<(), Error> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut now = self.machines()?;
        now.retain(|state| state.class != Class::Host);
        let written = note::write(Path::new(note::DIRECTORY), &now);
        for state in known.iter().filter(|old| !now.iter().any(|new| is_same(old, new))) {
            // Nobody need listen.
            let _ = self.events.send(Event::Removed(state.clone()));
        }
        for state in now.iter().filter(|new| !known.iter().any(|old| is_same(old, new))) {
            let _ = self.events.send(Event::Added(state.clone()));
        }
        *known = now;
        written.map_err(Error::system(format!("write to {}", note::DIRECTORY)))
    }

    /// How many machines there were when last looked at.
    #[must_use]
    pub fn count(&self) -> usize {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The machines that there were then.
    fn known(&self) -> Vec<State> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The same machine, though it may have rebooted.
fn is_same(one: &State, other: &State) -> bool {
    let by = |state: &State| if state.supervised { state.supervisor.clone() } else { Some(state.leader.clone()) };
    one.name == other.name && one.supervised == other.supervised && by(one) == by(other)
}

/// Looks at the registry whenever it may have changed, for as long as the service runs, on a thread of its own.
///
/// # Errors
/// Where no thread can be started.
pub fn start(service: Arc<Service>) -> std::io::Result<()> {
    std::thread::Builder::new().name("watch".to_owned()).spawn(move || run(&service)).map(drop)
}

fn run(service: &Service) {
    let changes = match Changes::new(service.registry.directory()) {
        Ok(changes) => Some(changes),
        Err(source) => {
            let what = "watch the registry: it is looked at every second instead".to_owned();
            crate::log::warn(&Error::System { what, source });
            None
        }
    };
    loop {
        // Watched first, then looked at: what comes in between is seen twice rather than never.
        if let Some(changes) = &changes {
            changes.follow(&service.registry);
        }
        if let Err(error) = service.look() {
            crate::log::warn(&error);
        }
        let keepers: Vec<OwnedFd> = service.known().into_iter().filter_map(keeper).collect();
        wait(changes.as_ref(), &keepers);
        if let Some(changes) = &changes {
            changes.take();
        }
        std::thread::sleep(TOGETHER);
    }
}

/// A descriptor of whoever keeps the machine in the registry, while it lives.
fn keeper(state: State) -> Option<OwnedFd> {
    let keeper = if state.supervised { state.supervisor } else { Some(state.leader) };
    // One that has ended and is there nevertheless has been told of before.
    keeper.filter(machine::Process::lives)?.open_in_this_boot()
}

/// Waits until the registry may have changed.
fn wait(changes: Option<&Changes>, keepers: &[OwnedFd]) {
    let watched = changes.map(|changes| changes.0.as_fd());
    let all = watched.into_iter().chain(keepers.iter().map(AsFd::as_fd));
    let mut all: Vec<PollFd<'_>> = all.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
    let again = changes.is_none().then_some(AGAIN);
    if let Err(source) = poll(&mut all, again.as_ref())
        && source != Errno::INTR
    {
        crate::log::warn(&Error::System { what: "wait for changes".to_owned(), source });
        std::thread::sleep(PAUSE);
    }
}

/// What the kernel tells of the registry's directories.
struct Changes(OwnedFd);

impl Changes {
    fn new(directory: &Path) -> rustix::io::Result<Self> {
        let made = std::fs::create_dir_all(directory);
        made.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let flags = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR;
        inotify::add_watch(inotify.as_fd(), directory, flags)?;
        Ok(Self(inotify))
    }

    /// Watches the directories of machines that have come, also of those that are not complete yet.
    fn follow(&self, registry: &Registry) {
        let names = std::fs::read_dir(registry.directory())
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| !name.starts_with('.'));
        for name in names {
            let flags = WatchFlags::MOVED_TO | WatchFlags::ONLYDIR | WatchFlags::DONT_FOLLOW;
            // The same directory again is no second watch. One that is gone meanwhile needs none.
            let _ = inotify::add_watch(self.0.as_fd(), registry.directory().join(name), flags);
        }
    }

    /// Takes all that it has told: it is looked at as a whole.
    fn take(&self) {
        let mut buffer = [0; 4096];
        while matches!(rustix::io::read(&self.0, &mut buffer[..]), Ok(1..) | Err(Errno::INTR)) {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reboot_is_no_new_machine() {
        let host = machine::machines::host();
        let me = machine::Process::of(i32::try_from(std::process::id()).unwrap()).unwrap();
        let ours = State { supervised: true, supervisor: Some(me.clone()), ..host.clone() };
        assert!(is_same(&ours, &State { leader: me.clone(), ..ours.clone() }));
        assert!(!is_same(&ours, &State { supervisor: None, ..ours.clone() }));
        assert!(!is_same(&host, &State { leader: me, ..host.clone() }));
    }
}
