//! A directory of a tree that is there as a whole or not at all, however its making ends.

use std::path::Path;

use rustix::fs::{Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::tree::{Error, Tree};

/// Makes a directory unless something is at `path` (without a slash in front): fills another one, whose path `fill` gets,
/// and gives it that name. Says whether it was made. What an earlier run left half done is made anew.
pub(super) fn make<E: From<Error>>(
    tree: &Tree,
    path: &str,
    fill: impl FnOnce(&str) -> Result<(), E>,
) -> Result<bool, E> {
    if tree.exists(path) {
        return Ok(false);
    }
    let part = format!("{path}.part");
    tree.remove(&part)?;
    tree.make_directories(part.as_bytes())?;
    fill(&part)?;
    rename(tree, &part, path)?;
    Ok(true)
}

/// Makes a directory of that mode below one that is there.
pub(super) fn subdirectory(tree: &Tree, path: &str, mode: u32) -> Result<(), Error> {
    tree.make_directories(path.as_bytes())?;
    let open = tree.open_at(path.as_bytes(), OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW);
    open.and_then(|directory| rustix::fs::fchmod(directory, Mode::from_raw_mode(mode)))
        .map_err(|errno| error("make directory", path, errno))
}

fn rename(tree: &Tree, from: &str, to: &str) -> Result<(), Error> {
    let failed = |errno| error("make directory", to, errno);
    let parent = Path::new(to).parent().map(|parent| parent.as_os_str().as_encoded_bytes()).unwrap_or_default();
    let parent = tree.open_at(parent, OFlags::PATH | OFlags::DIRECTORY).map_err(failed)?;
    let name = |path| Path::new(path).file_name().unwrap_or_default().to_owned();
    rustix::fs::renameat_with(&parent, name(from), &parent, name(to), RenameFlags::NOREPLACE).map_err(failed)
}

pub(super) fn error(action: &'static str, path: &str, errno: Errno) -> Error {
    Error { action, path: path.to_owned(), source: errno.into() }
}
