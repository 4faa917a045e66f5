//! Where the caller's machines are, and a directory there for attempts.

use std::path::{Path, PathBuf};

use image::holder::{self, Holder, Purpose};
use rustix::fs::FsWord;

use crate::caller::Caller;

/// Root's.
const MACHINES: &str = "/var/lib/machines";
/// A user's, below the directory for data.
const OWN_MACHINES: &str = "machines";
/// How many checks may run at the same time.
const AT_ONCE: u32 = 16;

/// The directory of the machines.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Where it is, or will be.
    pub machines: PathBuf,
    /// That, or what of the way to it is there.
    pub present: PathBuf,
}

impl Place {
    /// `/var/lib/machines` for root, `~/.local/share/machines` for others, who may not have one at all.
    pub(crate) fn of(caller: &Caller) -> Option<Self> {
        let machines = if caller.uid == 0 {
            PathBuf::from(MACHINES)
        } else {
            let told = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
            told.or_else(|| Some(caller.home.as_ref()?.join(".local/share")))?.join(OWN_MACHINES)
        };
        let present = machines.ancestors().find(|path| path.is_dir())?.to_owned();
        Some(Self { machines, present })
    }

    /// It is there.
    pub(crate) fn is_made(&self) -> bool {
        self.machines == self.present
    }

    /// The file system it is on, for people.
    pub(crate) fn file_system(&self) -> String {
        rustix::fs::statfs(&self.present)
            .map_or_else(|_| "an unknown file system".to_owned(), |status| name(status.f_type))
    }

    /// A directory of our own on that file system. It has a name that is tidied up with what dead machines have left.
    pub(crate) fn hold(&self) -> Result<(Holder, String), holder::Error> {
        hold_in(&self.present)
    }
}

/// The same anywhere.
pub(crate) fn hold_in(directory: &Path) -> Result<(Holder, String), holder::Error> {
    let mut number = 1;
    loop {
        let machine = format!("redd-check-{number}");
        match Holder::create(directory, &machine, Purpose::Copy) {
            Err(holder::Error::InUse(_)) if number < AT_ONCE => number += 1,
            other => {
                return other.map(|holder| {
                    let name = of_place(&machine, &holder);
                    (holder, name)
                });
            }
        }
    }
}

/// A name for a machine that a check in another place, also one of the same path in another mount namespace, has not at the
/// same time, and one in the same place has again.
fn of_place(machine: &str, holder: &Holder) -> String {
    let (device, inode) = rustix::fs::fstat(holder.place()).map_or((0, 0), |status| (status.st_dev, status.st_ino));
    format!("{machine}-{device:x}-{inode:x}")
}

/// How a path is shown.
pub(crate) fn shown(path: &Path) -> String {
    spec::printable(&path.to_string_lossy())
}

/// The name of a file system by what statfs(2) says.
fn name(magic: FsWord) -> String {
    let name = match magic as u64 & 0xffff_ffff {
        0xef53 => "ext4",
        0x9123_683e => "btrfs",
        0x5846_5342 => "xfs",
        0x0102_1994 => "tmpfs",
        0x794c_7630 => "overlayfs",
        0x6969 => "nfs",
        0xf2f5_2010 => "f2fs",
        0xca45_1a4e => "bcachefs",
        0x2fc1_2fc1 => "zfs",
        0x0102_1997 => "9p",
        0x6573_5546 => "fuse",
        0x4d44 => "vfat",
        0x7371_7368 => "squashfs",
        0xe0f5_e1e2 => "erofs",
        0x8584_58f6 => "ramfs",
        other => return format!("a file system of type {other:#x}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_a_directory_of_machines_that_is_not_there() {
        let directory = tempfile::tempdir().expect("directory");
        let caller = Caller { uid: 1000, home: Some(directory.path().to_owned()), ..Caller::probe() };
        if std::env::var_os("XDG_DATA_HOME").is_some() {
            return;
        }
        let place = Place::of(&caller).expect("place");
        assert_eq!(place.machines, directory.path().join(".local/share/machines"));
        assert_eq!((place.present.as_path(), place.is_made()), (directory.path(), false));
        std::fs::create_dir_all(&place.machines).expect("directory");
        assert!(Place::of(&caller).expect("place").is_made());
        assert!(Place::of(&Caller { home: None, ..caller }).is_none());
    }

    #[test]
    fn names_of_file_systems() {
        let proc = rustix::fs::statfs("/proc").expect("proc");
        assert_eq!(name(proc.f_type), "a file system of type 0x9fa0");
        assert_eq!(name(0xef53), "ext4");
    }

    #[test]
    fn checks_at_the_same_time_have_directories_of_their_own() {
        let directory = tempfile::tempdir().expect("directory");
        let place = Place { machines: directory.path().to_owned(), present: directory.path().to_owned() };
        let (first, one) = place.hold().expect("first");
        let (second, two) = place.hold().expect("second");
        assert!(one.starts_with("redd-check-1-") && two.starts_with("redd-check-2-"), "{one} {two}");
        // As after a death: the next one takes it over.
        drop(first);
        let (third, again) = place.hold().expect("third");
        assert_eq!(again, one);
        third.remove().expect("removed");
        second.remove().expect("removed");
        assert_eq!(std::fs::read_dir(directory.path()).expect("read").count(), 0);
    }
}
