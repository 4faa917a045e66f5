//! A test's own mount table, links and run-time directories.

use std::path::Path;

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::UnshareFlags;

/// The calling thread, and what it starts, live in a mount and a network namespace of their own, with empty
/// directories in place of those where systemd notes running containers. So nothing that happens elsewhere on the
/// machine shows in what the test compares, and nothing that the test breaks is the host's. The directory where redd
/// notes them stays the host's: a group whose note is not there is taken for what a dead run has left.
#[derive(Debug)]
#[must_use = "the thread stays isolated, but the value says so"]
pub struct Isolated(());

/// Where systemd notes what runs.
const RUN: [&str; 3] = ["/run/systemd/nspawn-uid", "/run/systemd/nspawn", "/run/systemd/machines"];

impl Isolated {
    /// Isolates the calling thread until it ends. Tests run in a thread each.
    ///
    /// # Panics
    /// If the kernel refuses: `requires!(root)` comes first.
    pub fn enter() -> Self {
        let isolated = Self::with_network();
        // SAFETY: the network namespace of this thread changes and nothing else.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.expect("a network of the test's own");
        let up = std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status();
        // A machine without iproute2 has tests without the loopback device.
        drop(up);
        isolated
    }

    /// The same, but with the host's network: what asks udev must be where it is.
    ///
    /// # Panics
    /// If the kernel refuses: `requires!(root)` comes first.
    pub fn with_network() -> Self {
        let flags = UnshareFlags::NEWNS | UnshareFlags::FS;
        // SAFETY: namespaces of this thread change, and its copy of the working directory and umask; no descriptor
        // table is unshared, so no other thread's idea of a descriptor is wrong.
        unsafe { rustix::thread::unshare_unsafe(flags) }.expect("namespaces of the test's own");
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).expect("private mounts");
        for path in RUN {
            std::fs::create_dir_all(path).expect("run-time directory");
            mount("tmpfs", Path::new(path), "tmpfs", MountFlags::empty(), c"mode=755").expect("tmpfs");
        }
        Self(())
    }
}
