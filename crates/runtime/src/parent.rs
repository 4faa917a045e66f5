//! The stage that runs once, as the caller, in the host's namespaces: locks, copies, temporary directories.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use image::disk::Disk;
use image::ephemeral::{Ephemeral, Kind};
use image::holder::{Holder, Purpose};
use image::lock::{NameLock, TreeLock};
use image::record::Entry;
use image::{Identity, RunDirectory, Tree, copy, template};
use plan::{EphemeralKind, ParentStep, Plan};
use spec::MachineName;
use sys::open::openat2;

use crate::id_range::RangeLock;
use crate::id_range::managed::Managed;
use crate::journal_link;
use crate::registration::{self, Sockets};
use crate::shift;
use crate::stage::launch::OverlayDirectory;
use crate::undo::{self, TEMPORARY};

/// What is held while the container runs. Locks are given back last, in the order of the fields.
#[derive(Debug)]
pub struct Acquired {
    tree: Tree,
    ephemeral: Option<Ephemeral>,
    /// Directories for mounts, one in each place where some are needed.
    mounts: Vec<Holder>,
    ranges: Vec<RangeLock>,
    managed: Option<Managed>,
    _tree_lock: Option<TreeLock>,
    name: Option<NameLock>,
    journal: Option<journal_link::Prepared>,
}

/// What the steps need from the outside.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    /// Tells a person something.
    pub say: &'a dyn Fn(&str),
    /// Whether the caller wants it all to end.
    pub interrupted: &'a dyn Fn() -> bool,
    /// Copies that take long tell how far they have come.
    pub progress: bool,
}

/// Why it could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name or the tree is in use.
    #[error(transparent)]
    Lock(#[from] image::lock::Error),
    /// The plan is for a tree that is no more.
    #[error("{} was changed by another one while it was looked at; start again", .0.display())]
    Changed(PathBuf),
    /// The range of ids is in use.
    #[error(transparent)]
    Range(#[from] crate::id_range::Error),
    /// The tree.
    #[error(transparent)]
    Tree(#[from] image::tree::Error),
    /// The copy.
    #[error(transparent)]
    Ephemeral(#[from] image::ephemeral::Error),
    /// The tree from a template.
    #[error(transparent)]
    Template(#[from] template::Error),
    /// A temporary directory.
    #[error(transparent)]
    Holder(#[from] image::holder::Error),
    /// A temporary directory for a mount.
    #[error("cannot make a temporary directory in {TEMPORARY}")]
    Temporary(#[source] rustix::io::Errno),
    /// A directory for the upper layer of an overlay.
    #[error("cannot make the directories for the upper layer of an overlay in {place}", place = .place.display())]
    Layer {
        /// The directory that it is in.
        place: PathBuf,
        /// Why.
        source: rustix::io::Errno,
    },
    /// The host's directory of the journal.
    #[error(transparent)]
    Journal(#[from] journal_link::Error),
    /// The unit.
    #[error(transparent)]
    Scope(#[from] cgroup::scope::Error),
    /// Owners of files.
    #[error(transparent)]
    Shift(#[from] shift::Error),
    /// A name of ours is none.
    #[error(transparent)]
    Name(#[from] spec::NameError),
}

impl Acquired {
    /// The directory that becomes the root: the tree's, or its copy's.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.ephemeral.as_ref().and_then(Ephemeral::tree).unwrap_or(&self.tree).fd.as_fd()
    }

    /// The disk image that becomes the root, as it is or below a layer.
    pub fn disk(&self) -> Option<&Disk> {
        let copied = self.ephemeral.as_ref().is_some_and(|copy| copy.tree().is_some());
        self.tree.disk.as_deref().filter(|_| !copied)
    }

    /// A mount of the directory of the layers of an ephemeral overlay.
    ///
    /// # Errors
    /// Those of open_tree(2).
    pub fn overlay(&self) -> rustix::io::Result<Option<OverlayDirectory>> {
        let Some((holder, path)) = self.ephemeral.as_ref().and_then(Ephemeral::layers) else {
            return Ok(None);
        };
        let holder = crate::stage::files::take_mount(holder, false)?;
        Ok(Some(OverlayDirectory { holder, path: path.to_owned() }))
    }

    /// The directory that temporary directories for custom mounts are in, by their numbers.
    pub fn temporary(&self) -> Option<BorrowedFd<'_>> {
        self.holder_in(Path::new(TEMPORARY)).map(Holder::fd)
    }

    /// The directory that an upper layer is in, as it was found when the work directory was made in it: a path in a tree
    /// may lead elsewhere once a container has run.
    pub fn beside_upper_layer(&self, place: &Path) -> Option<BorrowedFd<'_>> {
        self.holder_in(place).map(Holder::place)
    }

    /// What the directory of its work directory is called there.
    pub fn beside_upper_layer_called(&self, place: &Path) -> Option<&OsStr> {
        self.holder_in(place).and_then(|holder| holder.path().file_name())
    }

    fn holder_in(&self, place: &Path) -> Option<&Holder> {
        self.mounts.iter().find(|holder| holder.path().parent() == Some(place))
    }

    /// Tells what is about to be made, for whoever has to undo it after a violent death.
    ///
    /// # Errors
    /// Those of writing the lock's file.
    pub fn note(&self, entry: Entry) -> Result<(), image::lock::Error> {
        self.name.as_ref().map_or(Ok(()), |name| name.note(&[entry]))
    }

    /// The namespace that a service has mapped is kept as long as the rest.
    pub fn hold_users(&mut self, managed: Option<Managed>) {
        self.managed = managed;
    }

    /// That namespace.
    pub fn users(&self) -> Option<BorrowedFd<'_>> {
        self.managed.as_ref().map(Managed::users)
    }

    /// The container has started: what was prepared for its journal stays for the next start.
    pub fn keep_journal(&mut self) {
        self.journal = None;
    }

    /// Gives everything back, the copy first. All errors are told; what they are about is found again by `--cleanup`.
    pub fn release(self) -> Vec<String> {
        let Self { tree: Tree { fd, disk, .. }, ephemeral, mounts, ranges, managed, _tree_lock, name, journal } = self;
        let journal = journal.and_then(|prepared| journal_link::undo(&prepared).err());
        let copy = ephemeral.map(Ephemeral::remove);
        let mounts = mounts.into_iter().map(Holder::remove);
        let mut errors: Vec<String> =
            copy.into_iter().chain(mounts).filter_map(Result::err).map(|error| crate::chain(&error)).collect();
        errors.extend(journal.map(|error| crate::chain(&error)));
        drop(fd);
        if let Some(Err(error)) = disk.map(|disk| disk.release()) {
            errors.push(crate::chain(&error));
        }
        drop((managed, ranges, _tree_lock));
        if let (Some(name), false) = (name, errors.is_empty()) {
            name.keep();
        }
        errors
    }
}

/// Carries the steps out. `tree` is the one that the facts were found in.
///
/// # Errors
/// The first step that failed; what was done before it is undone.
pub fn run(plan: &Plan, tree: Tree, caller: Caller<'_>) -> Result<Acquired, Error> {
    let machine = MachineName::try_from(plan.machine.as_str())?;
    let acquired = Acquired {
        tree,
        ephemeral: None,
        mounts: Vec::new(),
        ranges: Vec::new(),
        managed: None,
        _tree_lock: None,
        name: None,
        journal: None,
    };
    let mut parent = Parent { plan, run: RunDirectory::system(), machine, acquired, caller };
    for step in &plan.parent {
        if let Err(error) = parent.carry_out(step) {
            // The first error is the one to tell; what it left is told by --cleanup.
            drop(parent.acquired.release());
            return Err(error);
        }
    }
    Ok(parent.acquired)
}

struct Parent<'a> {
    plan: &'a Plan,
    run: RunDirectory,
    machine: MachineName,
    acquired: Acquired,
    caller: Caller<'a>,
}

impl Parent<'_> {
    fn carry_out(&mut self, step: &ParentStep) -> Result<(), Error> {
        match step {
            ParentStep::LockName => self.lock_name()?,
            // It had to be before anything could be looked at.
            ParentStep::LockTree { .. } if self.acquired.tree.disk.is_some() => {
                let dead = self.acquired.tree.disk.iter().flat_map(|disk| disk.dead().to_vec()).collect::<Vec<_>>();
                if !self.plan.quiet {
                    let notices = self.acquired.tree.disk.iter().flat_map(|disk| disk.notices());
                    notices.for_each(|notice| (self.caller.say)(&notice));
                }
                self.heal(&dead);
            }
            ParentStep::LockTree { shared } => {
                let lock = if *shared { TreeLock::shared } else { TreeLock::exclusive };
                let lock = lock(&self.run, &self.acquired.tree, &self.machine)?;
                self.heal(lock.dead());
                self.acquired._tree_lock = Some(lock);
                // Now that nobody else changes it.
                self.refuse_changed()?;
            }
            ParentStep::LockIdRange(range) => {
                self.acquired.ranges.push(RangeLock::take(&self.run, range.start())?);
            }
            ParentStep::ShareIdRange(range) => {
                self.acquired.ranges.push(RangeLock::share(&self.run, *range)?);
            }
            ParentStep::CopyTemplate { from: _, to } => self.copy_template(to)?,
            ParentStep::MakeEphemeral { kind, place } => {
                let kind = match kind {
                    EphemeralKind::Snapshot => Kind::Snapshot,
                    EphemeralKind::Overlay => Kind::Overlay,
                    EphemeralKind::Memory => Kind::Memory,
                    EphemeralKind::Copy => Kind::Copy,
                };
                if self.acquired._tree_lock.is_none() {
                    self.heal(&[]);
                }
                let mut observer = Observer::new("Copied", self.caller);
                let choice = (kind, place.as_path());
                self.acquired.ephemeral =
                    image::ephemeral::prepare(&self.acquired.tree, self.machine.as_str(), choice, &mut |progress| {
                        observer.go_on(progress)
                    })?;
                // Whoever writes to the tree may have given it to other ids meanwhile.
                let copy = self.acquired.ephemeral.as_ref().and_then(Ephemeral::tree);
                if copy.is_some_and(|copy| (copy.uid, copy.gid) != (self.acquired.tree.uid, self.acquired.tree.gid)) {
                    return Err(Error::Changed(self.acquired.tree.path.clone()));
                }
                if copy.is_some() && self.acquired.tree.disk.is_none() {
                    self.refuse_changed()?;
                }
            }
            ParentStep::ShiftTree { base } => {
                let mut observer = Observer::new("Changed the owners of", self.caller);
                let done = shift::run(self.acquired.root(), *base, &mut |entries| observer.files(entries))?;
                self.tell_shift(&done);
            }
            ParentStep::LinkJournal { id, guest } => {
                self.acquired.journal = Some(journal_link::prepare(id, guest.as_deref())?);
            }
            ParentStep::ForgetMachine(manager) => registration::forget(manager, &self.plan.machine),
            ParentStep::StartScope(scope) => {
                let plan::Scope { unit, slice, description, properties, manager } = scope;
                let properties: Vec<_> =
                    properties.iter().map(|one| (one.name.as_str(), crate::property::value(&one.value))).collect();
                let properties = properties.as_slice();
                cgroup::scope::start(
                    manager.manager(),
                    &cgroup::scope::Scope { unit, slice, description, process: None, properties },
                )?;
            }
            ParentStep::MakeTemporary { number, owner } => {
                let holder = self.holder(Path::new(TEMPORARY))?;
                make_directory(holder, &number.to_string(), *owner).map_err(Error::Temporary)?;
            }
            ParentStep::MakeLayers { number, beside: None, owner, .. } => {
                let holder = self.holder(Path::new(TEMPORARY))?;
                let around = number.to_string();
                for name in [around.clone(), format!("{around}/upper"), format!("{around}/work")] {
                    make_directory(holder, &name, *owner).map_err(Error::Temporary)?;
                }
            }
            ParentStep::MakeLayers { number, beside: Some(place), missing, owner } => {
                let failed = |source| Error::Layer { place: place.clone(), source };
                let holder = self.holder(place)?;
                make_directory(holder, &number.to_string(), *owner).map_err(failed)?;
                if *owner != 0 && place != Path::new(TEMPORARY) {
                    // Root of the user namespace is none of this directory's ids, and walks through it.
                    rustix::fs::fchmod(holder.fd(), rustix::fs::Mode::from_raw_mode(0o711)).map_err(failed)?;
                }
                if let Some(name) = missing.as_deref().and_then(Path::file_name) {
                    let mode = rustix::fs::Mode::from_raw_mode(0o755);
                    rustix::fs::mkdirat(holder.place(), name, mode).map_err(failed)?;
                }
            }
        }
        Ok(())
    }

    /// All that the plan will make is told at once.
    fn lock_name(&mut self) -> Result<(), Error> {
        let mut lock = NameLock::take(&self.run, &self.machine)?;
        if !lock.left().is_empty() {
            self.tell(&undo::machine(&self.run, &mut lock));
        }
        let name = |purpose| image::holder::name(self.machine.as_str(), purpose);
        let copy = |place: &Path| Entry::Directory(place.join(name(Purpose::Copy)));
        let mut entries = vec![Entry::Supervisor(std::process::id()), Entry::Tree(self.plan.tree.clone())];
        for step in &self.plan.parent {
            entries.extend(match step {
                // A tree half way says so itself, and the next start goes on with it.
                ParentStep::ShiftTree { .. } => None,
                ParentStep::LockName | ParentStep::LockTree { .. } | ParentStep::StartScope(_) => None,
                // Nothing is made.
                ParentStep::ForgetMachine(_) => None,
                // It stays on purpose.
                ParentStep::LinkJournal { .. } => None,
                ParentStep::LockIdRange(range) => Some(Entry::Range(range.start())),
                // Nothing is left of it but an empty file without a lock.
                ParentStep::ShareIdRange(_) => None,
                ParentStep::CopyTemplate { to, .. } => to.parent().map(copy),
                ParentStep::MakeEphemeral { place, .. } => Some(copy(place)),
                ParentStep::MakeTemporary { .. } | ParentStep::MakeLayers { beside: None, .. } => {
                    Some(Entry::Directory(Path::new(TEMPORARY).join(name(Purpose::Mounts))))
                }
                ParentStep::MakeLayers { beside: Some(place), .. } => {
                    Some(Entry::Directory(place.join(name(Purpose::Mounts))))
                }
            });
        }
        entries.dedup();
        lock.note(&entries)?;
        self.acquired.name = Some(lock);
        Ok(())
    }

    /// What has not become the container's own.
    fn tell_shift(&self, done: &image::shift::Report) {
        if self.plan.quiet {
            return;
        }
        let tree = &self.acquired.tree.path;
        let mounted = image::mounted::at_or_below(tree).unwrap_or_default();
        let mut mounted = mounted.iter().filter(|point| *point != tree);
        if let (Some(first), None) = (mounted.next(), &self.acquired.ephemeral) {
            let others = mounted.count();
            let more = if others == 0 { String::new() } else { format!(" and at {others} more places") };
            (self.caller.say)(&format!(
                "Note: what is mounted at {}{more} keeps its owners, and belongs to nobody in the container: it may be used \
                 elsewhere, too. With --private-users-ownership=map its owners are mapped.",
                first.display()
            ));
        }
        if done.read_only > 0 {
            (self.caller.say)(&format!(
                "Note: read-only subvolumes in the tree keep their owners, and belong to nobody in the container: {} files or \
                 directories of them were come to.",
                done.read_only
            ));
        }
        if done.lost > 0 {
            let text = "files had capabilities of a kind that this kernel does not take any more, and have none now";
            (self.caller.say)(&format!("Note: {} {text}.", done.lost));
        }
    }

    /// The facts are of a moment before the lock: another run may have changed the owners meanwhile, or put another tree in
    /// the place of this one.
    fn refuse_changed(&self) -> Result<(), Error> {
        let tree = &self.acquired.tree;
        let now = rustix::fs::statat(rustix::fs::CWD, &tree.path, rustix::fs::AtFlags::empty());
        match now {
            Ok(now) if (Identity::from(&now), now.st_uid, now.st_gid) == (tree.identity, tree.uid, tree.gid) => Ok(()),
            _ => Err(Error::Changed(tree.path.clone())),
        }
    }

    fn heal(&self, dead: &[String]) {
        let place = if self.acquired.tree.is_host_root { Some(Path::new(TEMPORARY)) } else { self.plan.tree.parent() };
        self.tell(&undo::heal(&self.run, dead, place));
    }

    fn tell(&self, undone: &undo::Undone) {
        for error in &undone.errors {
            (self.caller.say)(&format!("What a run that died has left could not be removed: {error}."));
        }
    }

    /// The template is not to be written to while it is copied.
    fn copy_template(&mut self, target: &Path) -> Result<(), Error> {
        let held = TreeLock::shared(&self.run, &self.acquired.tree, &self.machine);
        let held = match held {
            // A snapshot is of one moment, whoever writes; the host's own root is always written to.
            Err(_) if self.acquired.tree.is_subvolume => None,
            other => Some(other?),
        };
        let mut observer = Observer::new("Copied", self.caller);
        let made = template::make(&self.acquired.tree, target, self.machine.as_str(), &mut |progress| {
            observer.go_on(progress)
        })?;
        drop(held);
        if let template::Made::Copy(copy::Report { lost, .. }) = made {
            for (attribute, count) in lost {
                (self.caller.say)(&format!("Note: the attribute {attribute} of {count} files could not be copied."));
            }
        }
        self.acquired.tree = Tree::open(target)?;
        Ok(())
    }

    /// The directory for mounts in this place, which only the host's root can reach.
    fn holder(&mut self, place: &Path) -> Result<&Holder, Error> {
        let mounts = &mut self.acquired.mounts;
        let known = mounts.iter().position(|holder| holder.path().parent() == Some(place));
        let number = match known {
            Some(number) => number,
            None => {
                let machine = self.machine.as_str();
                mounts.push(if place == Path::new(TEMPORARY) {
                    Holder::create(place, machine, Purpose::Mounts)?
                } else {
                    // It had no links when it was looked at.
                    let opened = open_without_links(place);
                    let opened = opened.map_err(|source| Error::Layer { place: place.to_owned(), source })?;
                    Holder::create_in(opened, place, machine, Purpose::Mounts)?
                });
                mounts.len() - 1
            }
        };
        Ok(&mounts[number])
    }
}

fn open_without_links(place: &Path) -> rustix::io::Result<rustix::fd::OwnedFd> {
    use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat2(CWD, place, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)
}

/// A new directory that belongs to the container's root.
fn make_directory(holder: &Holder, name: &str, owner: u32) -> rustix::io::Result<()> {
    use rustix::fs::{AtFlags, Gid, Mode, Uid, chownat, mkdirat};
    mkdirat(holder.fd(), name, Mode::from_raw_mode(0o755))?;
    let (uid, gid) = (Uid::from_raw(owner), Gid::from_raw(owner));
    chownat(holder.fd(), name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
}

/// Watches over a copy that may take long.
struct Observer<'a> {
    verb: &'static str,
    caller: Caller<'a>,
    told: std::time::Instant,
}

impl<'a> Observer<'a> {
    /// How often it is told how far a copy has come.
    const EVERY: std::time::Duration = std::time::Duration::from_secs(2);

    fn new(verb: &'static str, caller: Caller<'a>) -> Self {
        Self { verb, caller, told: std::time::Instant::now() }
    }

    fn files(&mut self, entries: u64) -> bool {
        if self.caller.progress && self.told.elapsed() >= Self::EVERY {
            self.told = std::time::Instant::now();
            (self.caller.say)(&format!("{} {entries} files.", self.verb));
        }
        !(self.caller.interrupted)()
    }

    fn go_on(&mut self, progress: copy::Progress) -> bool {
        if self.caller.progress && self.told.elapsed() >= Self::EVERY {
            self.told = std::time::Instant::now();
            let copy::Progress { entries, bytes } = progress;
            (self.caller.say)(&format!("{} {entries} files, {} MB.", self.verb, bytes / 1_000_000));
        }
        !(self.caller.interrupted)()
    }
}
