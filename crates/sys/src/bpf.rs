//! eBPF programs for control groups: [`bpf(2)`](https://man7.org/linux/man-pages/man2/bpf.2.html).

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Result;

use crate::clone::last_errno;

const PROG_LOAD: libc::c_long = 5;
const PROG_ATTACH: libc::c_long = 8;
const TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
/// Programs of groups below run too, each may only refuse more.
const ALLOW_MULTI: u32 = 2;

#[repr(C)]
#[derive(Default)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
}

#[repr(C)]
struct Attach {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
}

/// Loads a program that decides about devices, one 64-bit word for each instruction.
///
/// # Errors
/// Those of bpf(2): `EPERM` without `CAP_BPF` or `CAP_SYS_ADMIN`, `EACCES` or `EINVAL` for a program that the kernel
/// does not accept.
pub fn load_device_program(instructions: &[u64]) -> Result<OwnedFd> {
    let attributes = Load {
        prog_type: TYPE_CGROUP_DEVICE,
        insn_cnt: instructions.len() as u32,
        insns: instructions.as_ptr() as u64,
        // The program calls no function of the kernel's, so any licence will do; this is ours.
        license: c"Dual MIT/GPL".as_ptr() as u64,
        ..Load::default()
    };
    // SAFETY: the attributes and what they point to live across the call; the kernel only reads them.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, PROG_LOAD, &raw const attributes, size_of::<Load>()) };
    if fd < 0 {
        return Err(last_errno());
    }
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Attaches it to a control group, where it stays until the group is gone.
///
/// # Errors
/// Those of bpf(2).
pub fn attach_device_program(group: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<()> {
    let attributes = Attach {
        target_fd: group.as_raw_fd() as u32,
        attach_bpf_fd: program.as_raw_fd() as u32,
        attach_type: ATTACH_CGROUP_DEVICE,
        attach_flags: ALLOW_MULTI,
    };
    // SAFETY: the attributes live across the call; the kernel only reads them.
    let result = unsafe { libc::syscall(libc::SYS_bpf, PROG_ATTACH, &raw const attributes, size_of::<Attach>()) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}
