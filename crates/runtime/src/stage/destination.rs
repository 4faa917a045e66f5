//! Mount points that are made because they are missing, in a tree that may be hostile.
//!
//! Links are followed here as the kernel follows them below a root, and one that leads to nothing says where to make it.
//! The path found is then opened below the root like any other, so that whoever changes links meanwhile gets no further
//! than the root either.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{OFlags, readlinkat};
use rustix::io::Errno;

use super::files::{About, Failure, Files};

/// As many links as the kernel follows.
const LINKS: usize = 40;

/// Makes it and the directories above it, and opens it.
///
/// # Errors
/// The kernel's reason and what it was about; `ELOOP` for links without an end.
pub(super) fn make(files: &mut Files, target: &Path, directory: bool) -> Result<OwnedFd, Failure> {
    let mut found = PathBuf::from("/");
    let mut rest: VecDeque<OsString> = VecDeque::new();
    let mut links = 0;
    prepend(&mut rest, target);
    while let Some(part) = rest.pop_front() {
        if part == ".." {
            found.pop();
            continue;
        }
        let path = found.join(&part);
        let (parent, name) = files.parent(&path).about(path.display())?;
        match readlinkat(parent, name, Vec::new()) {
            Ok(link) => {
                links += 1;
                if links > LINKS {
                    return Err(Errno::LOOP).about(target.display());
                }
                let link = Path::new(OsStr::from_bytes(link.as_bytes()));
                if link.is_absolute() {
                    found = PathBuf::from("/");
                }
                prepend(&mut rest, link);
                continue;
            }
            // It is there and no link.
            Err(Errno::INVAL) => {}
            Err(Errno::NOENT) if rest.is_empty() && !directory => files.file(&path, 0o644, &[])?,
            Err(Errno::NOENT) => files.directory(&path, 0o755)?,
            Err(errno) => return Err(errno).about(path.display()),
        }
        found = path;
    }
    files.open(&found, OFlags::PATH).about(found.display())
}

/// Puts the parts of a path before others. A root or a dot is none.
fn prepend(rest: &mut VecDeque<OsString>, path: &Path) {
    for component in path.components().rev() {
        match component {
            Component::Normal(name) => rest.push_front(name.to_owned()),
            Component::ParentDir => rest.push_front("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
}
