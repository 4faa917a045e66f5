//! All directories of a tree, by several threads.
//!
//! Each thread goes down on its own, depth first. It hands work over only while another one has none: a directory that it
//! has not entered, or a part of the names in a large one. So few directories are open at a time, however deep or wide the
//! tree is.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::fs::{Dir, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;

use super::entry::{self, Files};
use super::{Error, Mark, Observer, Report};
use crate::tree::Identity;

/// How many directories each thread holds open.
const HELD_OPEN: usize = 32;
/// How many names are handed over at a time.
const BATCH: usize = 512;
/// How often the observer is asked.
const ASKED_EVERY: Duration = Duration::from_millis(100);
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);
const FILE: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);
const PLACE: OFlags = OFlags::PATH.union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

/// Everything below `root`, but not that itself.
pub(super) fn run(root: OwnedFd, base: u32, workers: usize, observe: Observer<'_>) -> Result<Report, Error> {
    let shared = Shared::new(base, workers);
    shared.hand_over(Task { directory: root, path: PathBuf::new(), names: None });
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| shared.work());
        }
        shared.watch(observe);
    });
    let report = Report {
        entries: shared.entries.load(Ordering::Relaxed) as u64,
        read_only: shared.read_only.load(Ordering::Relaxed) as u64,
        lost: shared.files.lost.load(Ordering::Relaxed),
    };
    let state = shared.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    match state.error {
        Some(error) => Err(error),
        None => Ok(report),
    }
}

/// Something in a directory that is none itself.
struct Name {
    name: CString,
    is_regular: bool,
}

impl Name {
    /// What is no regular file is opened as a mere place: opening a device or a fifo can do things by itself.
    fn open(&self, directory: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
        if self.is_regular
            && let Ok(file) = openat(directory, &self.name, FILE, Mode::empty())
        {
            return Ok(file);
        }
        openat(directory, &self.name, PLACE, Mode::empty())
    }
}

/// Work that can be taken over.
struct Task {
    directory: OwnedFd,
    /// For messages.
    path: PathBuf,
    /// These names in it, none of which is a directory; else all that is in it.
    names: Option<Vec<Name>>,
}

#[derive(Default)]
struct State {
    tasks: Vec<Task>,
    idle: usize,
    /// All threads have ended, or are about to.
    done: bool,
    error: Option<Error>,
}

struct Shared {
    base: u32,
    workers: usize,
    files: Files,
    entries: AtomicUsize,
    read_only: AtomicUsize,
    /// How many threads wait for work that nobody has handed over yet.
    hungry: AtomicUsize,
    stop: AtomicBool,
    state: Mutex<State>,
    /// There is work, or an end of it.
    work: Condvar,
    /// It has come to an end.
    end: Condvar,
}

impl Shared {
    fn new(base: u32, workers: usize) -> Self {
        Self {
            base,
            workers,
            files: Files::new(),
            entries: AtomicUsize::new(0),
            read_only: AtomicUsize::new(0),
            hungry: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            state: Mutex::default(),
            work: Condvar::new(),
            end: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The calling thread asks the observer meanwhile.
    fn watch(&self, observe: Observer<'_>) {
        let mut state = self.state();
        while !state.done {
            let waited = self.end.wait_timeout(state, ASKED_EVERY);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if !state.done && !observe(self.entries.load(Ordering::Relaxed) as u64) {
                state.error.get_or_insert(Error::Interrupted);
                self.stop.store(true, Ordering::Relaxed);
            }
        }
    }

    fn fail(&self, error: Error) {
        self.state().error.get_or_insert(error);
        self.stop.store(true, Ordering::Relaxed);
    }

    fn hand_over(&self, task: Task) {
        let mut state = self.state();
        state.tasks.push(task);
        self.hungry.store(state.idle.saturating_sub(state.tasks.len()), Ordering::Relaxed);
        self.work.notify_one();
    }

    fn is_hungry(&self) -> bool {
        self.hungry.load(Ordering::Relaxed) > 0
    }

    /// The next piece of work; none when all is done.
    fn take(&self) -> Option<Task> {
        let mut state = self.state();
        state.idle += 1;
        loop {
            if let Some(task) = state.tasks.pop() {
                state.idle -= 1;
                self.hungry.store(state.idle.saturating_sub(state.tasks.len()), Ordering::Relaxed);
                return Some(task);
            }
            if state.idle == self.workers || state.done {
                state.done = true;
                self.work.notify_all();
                self.end.notify_all();
                return None;
            }
            self.hungry.store(state.idle, Ordering::Relaxed);
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn work(&self) {
        while let Some(task) = self.take() {
            let mut walk = Walk { shared: self, prefix: task.path, levels: Vec::new() };
            let result = match task.names {
                Some(names) => walk.names(task.directory.as_fd(), &names),
                None => walk.all(task.directory),
            };
            if let Err(failure) = result {
                self.fail(walk.explain(failure));
            }
        }
    }
}

/// A failed step, and the name in the deepest directory that it was about.
struct Failure {
    what: &'static str,
    name: CString,
    errno: Errno,
    mark: Option<Mark>,
}

fn failure(what: &'static str, name: &CStr) -> impl FnOnce(Errno) -> Failure {
    let name = name.to_owned();
    move |errno| Failure { what, name, errno, mark: None }
}

struct Level {
    name: CString,
    /// Given up where there are many levels below.
    directory: Option<OwnedFd>,
    identity: Identity,
    /// Directories in it that have not been entered.
    children: Vec<CString>,
}

/// What one thread goes through.
struct Walk<'a> {
    shared: &'a Shared,
    prefix: PathBuf,
    levels: Vec<Level>,
}

impl Walk<'_> {
    fn explain(&self, failure: Failure) -> Error {
        let Failure { what, name, errno, mark } = failure;
        let path = self.path(&name);
        match mark {
            Some(mark) => Error::Marked { path, mark },
            None => Error::System { what, path, source: errno },
        }
    }

    fn path(&self, name: &CStr) -> PathBuf {
        let mut path = self.prefix.clone();
        let names = self.levels.iter().map(|level| level.name.as_c_str()).chain([name]);
        path.extend(names.filter(|name| !name.is_empty()).map(|name| OsStr::from_bytes(name.to_bytes())));
        path
    }

    /// A directory and all below it. Its own owner has been seen to, or is not to be changed.
    fn all(&mut self, directory: OwnedFd) -> Result<(), Failure> {
        self.enter(CString::default(), directory)?;
        while let Some(level) = self.levels.last_mut() {
            if self.shared.stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            match level.children.pop() {
                Some(child) => self.descend(child)?,
                None => self.leave()?,
            }
        }
        Ok(())
    }

    fn here(&self, about: &CStr) -> Result<BorrowedFd<'_>, Failure> {
        let directory = self.levels.last().and_then(|level| level.directory.as_ref());
        directory.map(AsFd::as_fd).ok_or_else(|| failure("open", about)(Errno::BADF))
    }

    fn descend(&mut self, name: CString) -> Result<(), Failure> {
        let directory = match openat(self.here(&name)?, &name, DIRECTORY, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(()),
            other => other.map_err(failure("open", &name))?,
        };
        let status = fstat(&directory).map_err(failure("examine", &name))?;
        if !self.shift(directory.as_fd(), &status, &name)? {
            return Ok(());
        }
        if self.shared.is_hungry() {
            let path = self.path(&name);
            self.shared.hand_over(Task { directory, path, names: None });
            return Ok(());
        }
        self.enter(name, directory)
    }

    fn enter(&mut self, name: CString, directory: OwnedFd) -> Result<(), Failure> {
        let identity = Identity::of(directory.as_fd()).map_err(failure("examine", &name))?;
        let listing = Dir::read_from(&directory).map_err(failure("read", &name))?;
        self.levels.push(Level { name, directory: Some(directory), identity, children: Vec::new() });
        if let Some(far) = self.levels.len().checked_sub(HELD_OPEN + 1) {
            self.levels[far].directory = None;
        }
        let (mut children, mut names) = (Vec::new(), Vec::new());
        for entry in listing {
            let entry = entry.map_err(failure("read", c"."))?;
            let name = entry.file_name();
            match entry.file_type() {
                FileType::Directory if matches!(name.to_bytes(), b"." | b"..") => {}
                FileType::Directory => children.push(name.to_owned()),
                // Not every file system tells it here.
                FileType::Unknown if matches!(name.to_bytes(), b"." | b"..") => {}
                FileType::Unknown if self.is_directory(name)? => children.push(name.to_owned()),
                kind => names.push(Name { name: name.to_owned(), is_regular: kind == FileType::RegularFile }),
            }
            if names.len() == BATCH {
                self.batch(std::mem::take(&mut names))?;
            }
        }
        if let Some(level) = self.levels.last_mut() {
            level.children = children;
        }
        let names = std::mem::take(&mut names);
        self.names(self.here(c".")?, &names)
    }

    /// Does this part of a large directory, or has it done.
    fn batch(&mut self, names: Vec<Name>) -> Result<(), Failure> {
        let here = self.here(c".")?;
        if !self.shared.is_hungry() {
            return self.names(here, &names);
        }
        let directory = rustix::io::dup(here).map_err(failure("open", c"."))?;
        self.shared.hand_over(Task { directory, path: self.path(c""), names: Some(names) });
        Ok(())
    }

    fn is_directory(&self, name: &CStr) -> Result<bool, Failure> {
        match rustix::fs::statat(self.here(name)?, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW) {
            Ok(status) => Ok(FileType::from_raw_mode(status.st_mode).is_dir()),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(failure("examine", name)(errno)),
        }
    }

    /// Files, links and the like in one directory.
    fn names(&self, directory: BorrowedFd<'_>, names: &[Name]) -> Result<(), Failure> {
        for file in names {
            let name = &file.name;
            if self.shared.stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            let file = match file.open(directory) {
                // Gone meanwhile.
                Err(Errno::NOENT) => continue,
                other => other.map_err(failure("open", name))?,
            };
            let status = fstat(&file).map_err(failure("examine", name))?;
            self.shift(file.as_fd(), &status, name)?;
        }
        Ok(())
    }

    /// False if it is in a read-only subvolume, as snapshots of the system are: it stays as it is. Should all of the file
    /// system have become read-only, the root tells of it in the end.
    fn shift(&self, file: BorrowedFd<'_>, status: &rustix::fs::Stat, name: &CStr) -> Result<bool, Failure> {
        self.shared.entries.fetch_add(1, Ordering::Relaxed);
        match entry::shift(file, status, self.shared.base, &self.shared.files) {
            Ok(()) => Ok(true),
            Err(Errno::ROFS) => {
                self.shared.read_only.fetch_add(1, Ordering::Relaxed);
                Ok(false)
            }
            Err(errno) => {
                let mark = if errno == Errno::PERM { Mark::of(file) } else { None };
                Err(Failure { mark, ..failure("change the owner of", name)(errno) })
            }
        }
    }

    /// The deepest directory is done; the one above is gone on with.
    fn leave(&mut self) -> Result<(), Failure> {
        let Some(level) = self.levels.pop() else { return Ok(()) };
        let Some(above) = self.levels.last_mut().filter(|above| above.directory.is_none()) else { return Ok(()) };
        let Some(directory) = &level.directory else { return Err(failure("open", &level.name)(Errno::BADF)) };
        let back = openat(directory, "..", DIRECTORY, Mode::empty()).map_err(failure("come back from", &level.name))?;
        if Identity::of(back.as_fd()) != Ok(above.identity) {
            return Err(failure("come back from", &level.name)(Errno::STALE));
        }
        above.directory = Some(back);
        Ok(())
    }
}
