//! Pseudo-terminals, see [`pty(7)`](https://man7.org/linux/man-pages/man7/pty.7.html).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Result;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};

use crate::clone::last_errno;

/// Both ends of a pseudo-terminal. Close-on-exec, and never a controlling terminal by being opened.
#[derive(Debug)]
pub struct Pair {
    /// The end of the terminal emulator.
    pub master: OwnedFd,
    /// The end of the programs in the terminal.
    pub peer: OwnedFd,
}

/// Makes a pseudo-terminal of the caller's own `/dev/ptmx`.
///
/// # Errors
/// `ENOSPC` where there are too many already (`/proc/sys/kernel/pty/max`), others of `open(2)`.
pub fn open() -> Result<Pair> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    unlockpt(&master)?;
    let peer = peer(master.as_fd())?;
    Ok(Pair { master, peer })
}

/// Makes a pseudo-terminal in the devpts instance whose root directory is given and returns its unlocked master end.
///
/// See [devpts in the kernel's documentation](https://docs.kernel.org/filesystems/devpts.html).
///
/// # Errors
/// As [`open`]; `EXDEV`, `ELOOP` where the directory is none of devpts and its `ptmx` leads elsewhere.
pub fn open_in(devpts: BorrowedFd<'_>) -> Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let master = openat2(devpts, "ptmx", flags, Mode::empty(), resolve)?;
    unlockpt(&master)?;
    Ok(master)
}

/// Opens the other end of a master, whatever is mounted where its name leads
/// ([`TIOCGPTPEER`](https://man7.org/linux/man-pages/man2/TIOCGPTPEER.2const.html), Linux 4.13).
///
/// # Errors
/// `EIO` where it is locked or the descriptor is no master.
pub fn peer(master: BorrowedFd<'_>) -> Result<OwnedFd> {
    ioctl_tiocgptpeer(master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
}

/// The number that the other end of a master has as its name in its devpts.
///
/// # Errors
/// `ENOTTY` where the descriptor is no master.
pub fn number(master: BorrowedFd<'_>) -> Result<u32> {
    let mut number: libc::c_uint = 0;
    // SAFETY: TIOCGPTN writes one unsigned int.
    match unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTN, &raw mut number) } {
        -1 => Err(last_errno()),
        _ => Ok(number),
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, fstat};
    use rustix::io::{FdFlags, fcntl_getfd, read, write};
    use rustix::termios::isatty;

    use super::*;

    #[test]
    fn what_one_end_writes_the_other_reads() {
        let Pair { master, peer } = open().unwrap();
        assert!(isatty(&peer));
        assert!(fcntl_getfd(&master).unwrap().contains(FdFlags::CLOEXEC));
        assert!(fcntl_getfd(&peer).unwrap().contains(FdFlags::CLOEXEC));
        write(&peer, b"out\n").unwrap();
        let mut buffer = [0; 16];
        assert_eq!(read(&master, &mut buffer).unwrap(), 5);
        assert_eq!(&buffer[..5], b"out\r\n");
        write(&master, b"in\n").unwrap();
        assert_eq!(read(&peer, &mut buffer).unwrap(), 3);
    }

    #[test]
    fn a_master_of_an_instance_knows_its_peer() {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let devpts = rustix::fs::open("/dev/pts", flags, Mode::empty()).unwrap();
        let master = open_in(devpts.as_fd()).unwrap();
        let opened = peer(master.as_fd()).unwrap();
        let name = format!("/dev/pts/{}", number(master.as_fd()).unwrap());
        assert_eq!(fstat(&opened).unwrap().st_rdev, rustix::fs::stat(name.as_str()).unwrap().st_rdev);
    }

    #[test]
    fn a_directory_that_is_no_devpts_is_refused() {
        // /dev/ptmx, where it is a link, leads into another file system; where it is a device, /dev is as good as devpts.
        let root = rustix::fs::openat(CWD, "/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        assert!(open_in(root.as_fd()).is_err());
        assert!(number(root.as_fd()).is_err());
    }
}
