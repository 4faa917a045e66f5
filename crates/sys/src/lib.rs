//! Safe wrappers over the Linux system calls that redd needs; the only crate with unsafe code.

pub mod arena;
pub mod bpf;
pub mod btrfs;
pub mod btrfs_subvolume;
pub mod clone;
pub mod file_lock;
pub mod grow;
pub mod inherited;
pub mod landlock;
pub mod last_step;
pub mod loop_device;
pub mod loopback;
pub mod mount;
pub mod namespace;
pub mod notify;
pub mod open;
pub mod peer;
pub mod pidfd;
pub mod process;
pub mod pty;
pub mod seccomp;
pub mod signal;
pub mod slate;
pub mod terminal;
pub mod trace;
