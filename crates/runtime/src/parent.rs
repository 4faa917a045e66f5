//! The stage that runs once, as the caller, in the host's namespaces: locks, copies, temporary directories.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use image::lock::{NameLock, TreeLock};
use image::{RunDirectory, Tree};
use plan::{ParentStep, Plan};
use spec::MachineName;

use crate::id_range::RangeLock;
use crate::stage::launch::OverlayDirectory;

/// What is held while the container runs.
#[derive(Debug)]
pub struct Acquired {
    tree: Tree,
    ephemeral: Option<image::ephemeral::Ephemeral>,
    temporary: Vec<(usize, PathBuf)>,
    _name: Option<NameLock>,
    _tree_lock: Option<TreeLock>,
    _range: Option<RangeLock>,
}

/// Why it could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name or the tree is in use.
    #[error(transparent)]
    Lock(#[from] image::lock::Error),
    /// The range of ids is in use.
    #[error(transparent)]
    Range(#[from] crate::id_range::Error),
    /// The tree.
    #[error(transparent)]
    Tree(#[from] image::tree::Error),
    /// The copy.
    #[error(transparent)]
    Ephemeral(#[from] image::ephemeral::Error),
    /// Not carried out yet.
    #[error("--template= is not carried out by this version yet")]
    Template,
    /// A temporary directory.
    #[error("cannot make a temporary directory in /var/tmp")]
    Temporary(#[source] std::io::Error),
    /// A name of ours is none.
    #[error(transparent)]
    Name(#[from] spec::NameError),
}

impl Acquired {
    /// The directory that becomes the root: the tree's, or its snapshot's.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.tree.fd.as_fd()
    }

    /// A mount of the directory of the layers of an ephemeral overlay.
    ///
    /// # Errors
    /// Those of open_tree(2).
    pub fn overlay(&self) -> rustix::io::Result<Option<OverlayDirectory>> {
        let Some((holder, path)) = self.ephemeral.as_ref().map(image::ephemeral::Ephemeral::layers) else {
            return Ok(None);
        };
        let holder = crate::stage::files::take_mount(holder, false)?;
        Ok(Some(OverlayDirectory { holder, path: path.to_owned() }))
    }

    /// The temporary directory for a custom mount.
    pub fn temporary(&self, number: usize) -> Option<&Path> {
        self.temporary.iter().find(|(known, _)| *known == number).map(|(_, path)| path.as_path())
    }

    /// Gives everything back, the copy first. All errors are told.
    pub fn release(self) -> Vec<String> {
        let mut errors = Vec::new();
        if let Some(copy) = self.ephemeral
            && let Err(error) = copy.remove()
        {
            errors.push(crate::chain(&error));
        }
        for (_, path) in self.temporary {
            if let Err(error) = std::fs::remove_dir_all(&path) {
                errors.push(format!("cannot remove {}: {error}", path.display()));
            }
        }
        errors
    }
}

/// Carries the steps out. `tree` is the one that the facts were found in.
///
/// # Errors
/// The first step that failed; what was done before it is undone.
pub fn run(plan: &Plan, tree: Tree) -> Result<Acquired, Error> {
    let run_directory = RunDirectory::system();
    let machine = MachineName::try_from(plan.machine.as_str())?;
    let mut acquired =
        Acquired { tree, ephemeral: None, temporary: Vec::new(), _name: None, _tree_lock: None, _range: None };
    for step in &plan.parent {
        if let Err(error) = carry_out(step, &mut acquired, &run_directory, &machine) {
            // The first error is the one to tell; what it left is told by --cleanup.
            drop(acquired.release());
            return Err(error);
        }
    }
    Ok(acquired)
}

fn carry_out(
    step: &ParentStep,
    acquired: &mut Acquired,
    run_directory: &RunDirectory,
    machine: &MachineName,
) -> Result<(), Error> {
    match step {
        ParentStep::LockName => acquired._name = Some(NameLock::take(run_directory, machine)?),
        ParentStep::LockTree { shared } => {
            let lock = if *shared { TreeLock::shared } else { TreeLock::exclusive };
            acquired._tree_lock = Some(lock(run_directory, &acquired.tree, machine)?);
        }
        ParentStep::LockIdRange(range) => {
            acquired._range = Some(RangeLock::take(range.start())?);
        }
        ParentStep::CopyTemplate(_) => return Err(Error::Template),
        ParentStep::MakeEphemeral => {
            acquired.ephemeral = Some(image::ephemeral::prepare(&acquired.tree, machine.as_str())?);
        }
        ParentStep::MakeTemporary { number, owner } => {
            let path = make_temporary(*owner).map_err(Error::Temporary)?;
            acquired.temporary.push((*number, path));
        }
    }
    Ok(())
}

/// A new directory below `/var/tmp` that belongs to the container's root.
fn make_temporary(owner: u32) -> std::io::Result<PathBuf> {
    use std::os::unix::fs::DirBuilderExt;
    loop {
        let mut random = [0; 8];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
        let path = PathBuf::from(format!("/var/tmp/.#redd.bind{:016x}", u64::from_ne_bytes(random)));
        match std::fs::DirBuilder::new().mode(0o755).create(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
            Ok(()) => {
                std::os::unix::fs::chown(&path, Some(owner), Some(owner))?;
                return Ok(path);
            }
        }
    }
}
