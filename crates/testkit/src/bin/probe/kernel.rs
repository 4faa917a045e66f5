//! The kernel as C sees it: what the standard library has no safe words for.

use std::ffi::{CString, c_char, c_int, c_long, c_uint, c_ulong, c_void};

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
    fn fork() -> c_int;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn _exit(code: c_int) -> !;
    fn alarm(seconds: c_uint) -> c_uint;
    fn mount(s: *const c_char, t: *const c_char, f: *const c_char, flags: c_ulong, data: *const c_void) -> c_int;
    fn umount2(target: *const c_char, flags: c_int) -> c_int;
    fn mknod(path: *const c_char, mode: c_uint, device: u64) -> c_int;
    fn chroot(path: *const c_char) -> c_int;
    fn unshare(flags: c_int) -> c_int;
    fn ioctl(fd: c_int, request: c_ulong, ...) -> c_int;
    fn socket(family: c_int, kind: c_int, protocol: c_int) -> c_int;
    fn connect(fd: c_int, address: *const c_void, length: c_uint) -> c_int;
}

/// The result of an attempt: success, or the kernel's error number.
pub(crate) type Attempt = Result<(), i32>;

/// Numbers of system calls, by architecture.
#[cfg(target_arch = "x86_64")]
pub(crate) mod number {
    pub(crate) const PTRACE: i64 = 101;
    pub(crate) const SYSLOG: i64 = 103;
    pub(crate) const KILL: i64 = 62;
    pub(crate) const SHMGET: i64 = 29;
    pub(crate) const CAPSET: i64 = 126;
    pub(crate) const SETTIMEOFDAY: i64 = 164;
    pub(crate) const ADJTIMEX: i64 = 159;
    pub(crate) const ACCT: i64 = 163;
    pub(crate) const SWAPON: i64 = 167;
    pub(crate) const REBOOT: i64 = 169;
    pub(crate) const INIT_MODULE: i64 = 175;
    pub(crate) const DELETE_MODULE: i64 = 176;
    pub(crate) const QUOTACTL: i64 = 179;
    pub(crate) const CLOCK_SETTIME: i64 = 227;
    pub(crate) const KEXEC_LOAD: i64 = 246;
    pub(crate) const ADD_KEY: i64 = 248;
    pub(crate) const REQUEST_KEY: i64 = 249;
    pub(crate) const KEYCTL: i64 = 250;
    pub(crate) const PERF_EVENT_OPEN: i64 = 298;
    pub(crate) const OPEN_BY_HANDLE_AT: i64 = 304;
    pub(crate) const PROCESS_VM_READV: i64 = 310;
    pub(crate) const FINIT_MODULE: i64 = 313;
    pub(crate) const BPF: i64 = 321;
    pub(crate) const SENDMSG: i64 = 46;
    pub(crate) const PRCTL: i64 = 157;
    pub(crate) const SCHED_YIELD: i64 = 24;
    pub(crate) const MMAP: i64 = 9;
}

/// Numbers of system calls, by architecture.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) mod number {
    pub(crate) const PTRACE: i64 = 117;
    pub(crate) const SYSLOG: i64 = 116;
    pub(crate) const KILL: i64 = 129;
    pub(crate) const SHMGET: i64 = 194;
    pub(crate) const CAPSET: i64 = 91;
    pub(crate) const SETTIMEOFDAY: i64 = 170;
    pub(crate) const ADJTIMEX: i64 = 171;
    pub(crate) const ACCT: i64 = 89;
    pub(crate) const SWAPON: i64 = 224;
    pub(crate) const REBOOT: i64 = 142;
    pub(crate) const INIT_MODULE: i64 = 105;
    pub(crate) const DELETE_MODULE: i64 = 106;
    pub(crate) const QUOTACTL: i64 = 60;
    pub(crate) const CLOCK_SETTIME: i64 = 112;
    pub(crate) const KEXEC_LOAD: i64 = 104;
    pub(crate) const ADD_KEY: i64 = 217;
    pub(crate) const REQUEST_KEY: i64 = 218;
    pub(crate) const KEYCTL: i64 = 219;
    pub(crate) const PERF_EVENT_OPEN: i64 = 241;
    pub(crate) const OPEN_BY_HANDLE_AT: i64 = 265;
    pub(crate) const PROCESS_VM_READV: i64 = 270;
    pub(crate) const FINIT_MODULE: i64 = 273;
    pub(crate) const BPF: i64 = 280;
    pub(crate) const SENDMSG: i64 = 211;
    pub(crate) const PRCTL: i64 = 167;
    pub(crate) const SCHED_YIELD: i64 = 124;
    pub(crate) const MMAP: i64 = 222;
}

/// Those that have one number everywhere.
pub(crate) const IO_URING_SETUP: i64 = 425;
pub(crate) const OPEN_TREE: i64 = 428;
pub(crate) const MOVE_MOUNT: i64 = 429;
pub(crate) const FSOPEN: i64 = 430;
pub(crate) const FSCONFIG: i64 = 431;
pub(crate) const FSMOUNT: i64 = 432;
pub(crate) const PIDFD_OPEN: i64 = 434;
pub(crate) const MOUNT_SETATTR: i64 = 442;

fn last_error() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(5)
}

fn checked(result: i64) -> Result<i64, i32> {
    if result < 0 { Err(last_error()) } else { Ok(result) }
}

fn c(text: &str) -> CString {
    CString::new(text).unwrap_or_default()
}

/// Any system call; arguments are numbers or addresses of live memory.
pub(crate) fn call(number: i64, a: [usize; 5]) -> Result<i64, i32> {
    // SAFETY: callers pass numbers, or addresses of values that live until this returns and have the kernel's layout.
    checked(unsafe { syscall(number as c_long, a[0], a[1], a[2], a[3], a[4], 0usize) })
}

/// A system call that is an attempt in itself.
pub(crate) fn attempt(number: i64, a: [usize; 5]) -> Attempt {
    call(number, a).map(drop)
}

/// A new descriptor from a system call.
pub(crate) fn descriptor(number: i64, a: [usize; 5]) -> Result<usize, i32> {
    call(number, a).map(|fd| fd as usize)
}

/// mount(2).
pub(crate) fn mount_at(source: &str, target: &str, kind: &str, flags: u64, data: &str) -> Attempt {
    let (source, target, kind, data) = (c(source), c(target), c(kind), c(data));
    // SAFETY: four strings that live until the call returns.
    let result = unsafe { mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, data.as_ptr().cast()) };
    checked(result.into()).map(drop)
}

/// umount2(2).
pub(crate) fn unmount(target: &str, flags: i32) -> Attempt {
    let target = c(target);
    // SAFETY: a string that lives until the call returns.
    checked(unsafe { umount2(target.as_ptr(), flags) }.into()).map(drop)
}

/// mknod(2) with mode 0600; `kind` is a `S_IF` constant.
pub(crate) fn make_node(path: &str, kind: u32, device: u64) -> Attempt {
    let path = c(path);
    // SAFETY: a string that lives until the call returns.
    checked(unsafe { mknod(path.as_ptr(), kind | 0o600, device) }.into()).map(drop)
}

/// chroot(2).
pub(crate) fn change_root(path: &str) -> Attempt {
    let path = c(path);
    // SAFETY: a string that lives until the call returns.
    checked(unsafe { chroot(path.as_ptr()) }.into()).map(drop)
}

/// unshare(2).
pub(crate) fn leave(flags: i32) -> Attempt {
    // SAFETY: this process has one thread.
    checked(unsafe { unshare(flags) }.into()).map(drop)
}

/// ioctl(2) with an address or a number.
pub(crate) fn control(fd: i32, request: u64, argument: usize) -> Attempt {
    // SAFETY: the argument is a number, or the address of a live value of the size that the request takes.
    checked(unsafe { ioctl(fd, request as c_ulong, argument) }.into()).map(drop)
}

/// socket(2).
pub(crate) fn open_socket(family: i32, kind: i32, protocol: i32) -> Result<i32, i32> {
    // SAFETY: no memory is passed.
    checked(unsafe { socket(family, kind, protocol) }.into()).map(|fd| fd as i32)
}

/// connect(2) to an address given as bytes.
pub(crate) fn connect_to(fd: i32, address: &[u8]) -> Attempt {
    // SAFETY: the bytes live until the call returns, and the length is theirs.
    checked(unsafe { connect(fd, address.as_ptr().cast(), address.len() as u32) }.into()).map(drop)
}

/// Maps the beginning of a file so that what is written there is written to the file. Nothing is.
pub(crate) fn map_for_writing(fd: i32) -> Attempt {
    const READ_WRITE: usize = 3;
    const SHARED: usize = 1;
    // SAFETY: the kernel chooses a place that nobody uses, and nobody will.
    checked(unsafe { syscall(number::MMAP as c_long, 0usize, 4096usize, READ_WRITE, SHARED, fd, 0usize) }).map(drop)
}

/// How a child of ours ended.
pub(crate) enum End {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// Runs `body` in a child with a time limit; its exit code is the result.
pub(crate) fn in_child(seconds: u32, body: impl FnOnce() -> i32) -> Result<End, i32> {
    // SAFETY: this process has one thread, so the child may do anything; it never returns from here.
    let pid = checked(unsafe { fork() }.into())?;
    if pid == 0 {
        // SAFETY: no memory is passed.
        unsafe { alarm(seconds) };
        let code = body();
        // SAFETY: it ends the child without running anything of the parent's.
        unsafe { _exit(code) };
    }
    let mut status = 0;
    // SAFETY: `status` is an integer of ours.
    checked(unsafe { waitpid(pid as i32, &mut status, 0) }.into())?;
    Ok(if status & 0x7f == 0 { End::Code(status >> 8 & 0xff) } else { End::Signal(status & 0x7f) })
}

/// A system call in the way of 32-bit programs; the arguments are numbers.
#[cfg(target_arch = "x86_64")]
pub(crate) fn call_i386(number: u32, first: u32, second: u32) -> Attempt {
    let result: i64;
    // SAFETY: the kernel preserves all registers but the result's (and r8 to r11); rbx belongs to the compiler, so it
    // is swapped in and out. The numbers passed are no addresses that the kernel would write to.
    unsafe {
        std::arch::asm!(
            "xchg rbx, {first:r}", "int 0x80", "xchg rbx, {first:r}",
            first = inout(reg) u64::from(first) => _,
            inlateout("rax") i64::from(number) => result,
            in("rcx") u64::from(second), in("rdx") 0u64, in("rsi") 0u64, in("rdi") 0u64,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    let result = result as i32;
    if result < 0 { Err(-result) } else { Ok(()) }
}
