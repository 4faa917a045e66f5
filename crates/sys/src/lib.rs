//! Safe wrappers over the Linux system calls that redd needs; the only crate with unsafe code.
