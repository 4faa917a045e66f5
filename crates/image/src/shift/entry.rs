//! One file, directory, link, device, fifo or socket.

use std::ffi::CStr;
use std::io::Write as _;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{AtFlags, FileType, Gid, Mode, Stat, Uid, XattrFlags, chownat, fstat};
use rustix::io::Errno;

use super::{LOWER, file_capability};

/// What a file had before the change of its owner: permissions and file capabilities. Kept in the file until it has
/// them again, so that nothing is lost if the change ends half way.
const KEPT: &CStr = c"trusted.redd.shift";
const CAPABILITY: &CStr = c"security.capability";
const LISTS: [&CStr; 2] = [c"system.posix_acl_access", c"system.posix_acl_default"];

/// The largest list of names and the largest value of an extended attribute, see xattr(7).
const LARGEST: usize = 64 * 1024;
/// What fits most lists.
const USUAL: usize = 512;
/// Set-user-id and set-group-id.
const SPECIAL: u32 = 0o6000;
const PERMISSIONS: u32 = 0o7777;

/// What the threads share about files.
pub(super) struct Files {
    /// Keep two of them that come to the same file by two of its names from changing it at once.
    locks: [Mutex<()>; 64],
    /// How many have lost their capabilities.
    pub(super) lost: AtomicU64,
}

impl Files {
    pub(super) fn new() -> Self {
        Self { locks: [const { Mutex::new(()) }; 64], lost: AtomicU64::new(0) }
    }

    fn lose(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }
}

/// Gives a file, opened in any way, to the range. `status` is its own.
pub(super) fn shift(fd: BorrowedFd<'_>, status: &Stat, base: u32, files: &Files) -> rustix::io::Result<()> {
    match FileType::from_raw_mode(status.st_mode) {
        FileType::Symlink => own(fd, status, base).map(drop),
        FileType::Directory => {
            lists(fd, base)?;
            own(fd, status, base).map(drop)
        }
        _ if status.st_nlink > 1 => {
            let lock = &files.locks[(status.st_ino % files.locks.len() as u64) as usize];
            let _held = lock.lock().unwrap_or_else(PoisonError::into_inner);
            file(fd, &fstat(fd)?, base, files)
        }
        _ => file(fd, status, base, files),
    }
}

/// The access lists of a file or directory. Those have the new ids before it belongs to them.
pub(super) fn lists(fd: BorrowedFd<'_>, base: u32) -> rustix::io::Result<()> {
    let attributes = Attributes::of(fd)?;
    attributes.lists(base)
}

fn file(fd: BorrowedFd<'_>, status: &Stat, base: u32, files: &Files) -> rustix::io::Result<()> {
    let attributes = Attributes::of(fd)?;
    attributes.lists(base)?;
    let mode = status.st_mode & PERMISSIONS;
    let found = attributes.get(KEPT)?;
    let kept = match found.as_deref().and_then(Kept::read) {
        Some(kept) => kept,
        None => {
            if found.is_some() {
                attributes.remove(KEPT)?;
            }
            if !differs(status, base) {
                return Ok(());
            }
            let mut capability = attributes.get(CAPABILITY)?.unwrap_or_default();
            if !capability.is_empty() && !file_capability::is_known(&capability) {
                // The kernel takes such ones away with the owner, and does not take them back.
                files.lose();
                capability.clear();
            }
            let kept = Kept { mode, capability };
            if mode & SPECIAL == 0 && kept.capability.is_empty() {
                return own(fd, status, base).map(drop);
            }
            match attributes.set(KEPT, &kept.write()) {
                // It cannot be kept there, so that only a change that comes to its end keeps it.
                Ok(()) | Err(Errno::OPNOTSUPP) => kept,
                Err(errno) => return Err(errno),
            }
        }
    };
    own(fd, status, base)?;
    if fstat(fd)?.st_mode & PERMISSIONS != kept.mode {
        rustix::fs::chmod(attributes.path(), Mode::from_raw_mode(kept.mode))?;
    }
    if let Some(value) = file_capability::for_root(&kept.capability, |root| base | root & LOWER) {
        match attributes.set(CAPABILITY, &value) {
            Err(Errno::INVAL) => files.lose(),
            other => other?,
        }
    }
    attributes.remove(KEPT)
}

fn differs(status: &Stat, base: u32) -> bool {
    status.st_uid & !LOWER != base || status.st_gid & !LOWER != base
}

fn own(fd: BorrowedFd<'_>, status: &Stat, base: u32) -> rustix::io::Result<bool> {
    if !differs(status, base) {
        return Ok(false);
    }
    let (uid, gid) = (base | status.st_uid & LOWER, base | status.st_gid & LOWER);
    chownat(fd, "", Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::EMPTY_PATH)?;
    Ok(true)
}

/// What a file had.
#[derive(Debug, PartialEq, Eq)]
struct Kept {
    mode: u32,
    capability: Vec<u8>,
}

impl Kept {
    fn write(&self) -> Vec<u8> {
        [&self.mode.to_le_bytes()[..], &self.capability].concat()
    }

    /// Nothing if it was not written by us: who is root in a tree can write it too, as well as give itself what stands
    /// in it.
    fn read(value: &[u8]) -> Option<Self> {
        let (mode, capability) = value.split_at_checked(4)?;
        let mode = u32::from_le_bytes([mode[0], mode[1], mode[2], mode[3]]);
        let known = capability.is_empty() || file_capability::is_known(capability);
        (mode & !PERMISSIONS == 0 && known).then(|| Self { mode, capability: capability.to_vec() })
    }
}

/// The extended attributes of something that is not a symbolic link.
struct Attributes {
    path: Path,
    /// Their names, each with a NUL behind it.
    names: Vec<u8>,
}

impl Attributes {
    fn of(fd: BorrowedFd<'_>) -> rustix::io::Result<Self> {
        let path = Path::of(fd);
        let mut buffer = [0; USUAL];
        let names = match list(fd, &path, &mut buffer) {
            Ok(length) => buffer[..length].to_vec(),
            Err(Errno::OPNOTSUPP) => Vec::new(),
            Err(Errno::RANGE) => {
                let mut buffer = vec![0; LARGEST];
                let length = list(fd, &path, &mut buffer)?;
                buffer.truncate(length);
                buffer
            }
            Err(errno) => return Err(errno),
        };
        Ok(Self { path, names })
    }

    fn path(&self) -> &CStr {
        self.path.as_c_str()
    }

    fn has(&self, name: &CStr) -> bool {
        self.names.split(|byte| *byte == 0).any(|known| known == name.to_bytes())
    }

    fn get(&self, name: &CStr) -> rustix::io::Result<Option<Vec<u8>>> {
        if !self.has(name) {
            return Ok(None);
        }
        let mut buffer = vec![0; LARGEST];
        match rustix::fs::getxattr(self.path(), name, &mut buffer) {
            Ok(length) => Ok(Some(buffer[..length].to_vec())),
            Err(Errno::NODATA) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    fn set(&self, name: &CStr, value: &[u8]) -> rustix::io::Result<()> {
        rustix::fs::setxattr(self.path(), name, value, XattrFlags::empty())
    }

    fn remove(&self, name: &CStr) -> rustix::io::Result<()> {
        match rustix::fs::removexattr(self.path(), name) {
            Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    fn lists(&self, base: u32) -> rustix::io::Result<()> {
        for name in LISTS {
            let Some(mut list) = self.get(name)? else { continue };
            if crate::access_list::map_ids(&mut list, |id| base | id & LOWER) {
                self.set(name, &list)?;
            }
        }
        Ok(())
    }
}

/// Every file is asked, so that it matters that those which are opened for reading need no path for it.
fn list(fd: BorrowedFd<'_>, path: &Path, names: &mut [u8]) -> rustix::io::Result<usize> {
    match rustix::fs::flistxattr(fd, &mut *names) {
        Err(Errno::BADF) => rustix::fs::listxattr(path.as_c_str(), names),
        other => other,
    }
}

/// The link in proc to an opened file: what takes no descriptor, or none that was opened as a mere place, takes that.
struct Path([u8; 32]);

impl Path {
    fn of(fd: BorrowedFd<'_>) -> Self {
        let mut bytes = [0; 32];
        // It always fits: 14 letters, 10 digits, and the NUL that is there.
        let _ = write!(&mut bytes[..31], "/proc/self/fd/{}", fd.as_raw_fd());
        Self(bytes)
    }

    fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).unwrap_or(c"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_back() {
        let capability = [&[1, 0, 0, 2][..], &[0; 16]].concat();
        for kept in [Kept { mode: 0o4755, capability }, Kept { mode: 0o2755, capability: Vec::new() }] {
            assert_eq!(Kept::read(&kept.write()), Some(kept));
        }
        let strange = [&0o755u32.to_le_bytes()[..], b"strange"].concat();
        for wrong in [&b""[..], b"abc", &0o100_755u32.to_le_bytes(), &strange] {
            assert_eq!(Kept::read(wrong), None, "{wrong:?}");
        }
    }
}
