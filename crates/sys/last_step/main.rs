//! The last step to a command in a machine: makes its process, as a sibling, which executes it.
//!
//! The only program of redd's that a process has while it can be seen inside. So it has nothing of the host's: no library, no
//! file, no memory that was somebody's, no descriptor but those of the command. It is executed out of sealed memory by a process
//! that is not seen, by `last_step.rs` of the crate that this belongs to.
//!
//! Its arguments are some letters (`layout.rs`), the path of the command, and the arguments of that.

#![no_std]
#![no_main]

use core::arch::{asm, global_asm};

#[path = "../src/slate/layout.rs"]
#[allow(dead_code)]
mod layout;

#[cfg(target_arch = "x86_64")]
mod number {
    pub const CLOSE: usize = 3;
    pub const MMAP: usize = 9;
    pub const RT_SIGPROCMASK: usize = 14;
    pub const IOCTL: usize = 16;
    pub const CLONE: usize = 56;
    pub const EXECVE: usize = 59;
    pub const FCNTL: usize = 72;
    pub const SETSID: usize = 112;
    pub const PRCTL: usize = 157;
    pub const EXIT_GROUP: usize = 231;
    pub const PPOLL: usize = 271;
}

#[cfg(target_arch = "aarch64")]
mod number {
    pub const FCNTL: usize = 25;
    pub const IOCTL: usize = 29;
    pub const CLOSE: usize = 57;
    pub const PPOLL: usize = 73;
    pub const EXIT_GROUP: usize = 94;
    pub const RT_SIGPROCMASK: usize = 135;
    pub const SETSID: usize = 157;
    pub const PRCTL: usize = 167;
    pub const CLONE: usize = 220;
    pub const EXECVE: usize = 221;
    pub const MMAP: usize = 222;
}

/// The C library's numbers.
const PROT_READ_WRITE: usize = 3;
const MAP_SHARED: usize = 1;
const PR_SET_PDEATHSIG: usize = 1;
const PR_SET_DUMPABLE: usize = 4;
const SIGKILL: usize = 9;
const SIGCHLD: usize = 17;
const CLONE_VFORK: usize = 0x4000;
const CLONE_PARENT: usize = 0x8000;
const CLONE_PARENT_SETTID: usize = 0x10_0000;
const TIOCSCTTY: usize = 0x540e;
const F_ADD_SEALS: usize = 1033;
const F_SEAL_FUTURE_WRITE: usize = 0x10;
const SIG_SETMASK: usize = 2;
const POLLHUP: u16 = 0x10;
const ENOEXEC: i32 = 8;

// The kernel leaves the arguments on the stack, and nothing to return to.
#[cfg(target_arch = "x86_64")]
global_asm!(".global _start", "_start:", "xor ebp, ebp", "mov rdi, rsp", "and rsp, -16", "call {main}", "ud2", main = sym run);
#[cfg(target_arch = "aarch64")]
global_asm!(".global _start", "_start:", "mov x29, xzr", "mov x30, xzr", "mov x0, sp", "bl {main}", "brk 1", main = sym run);

/// A system call; less than 0 is the number of an error.
///
/// # Safety
/// What the arguments point to must be as the call takes it.
#[cfg(target_arch = "x86_64")]
unsafe fn call(number: usize, a: [usize; 6]) -> isize {
    let result;
    // SAFETY: the kernel changes no other registers; memory is as the caller says.
    unsafe {
        asm!("syscall", inlateout("rax") number as isize => result, in("rdi") a[0], in("rsi") a[1], in("rdx") a[2],
            in("r10") a[3], in("r8") a[4], in("r9") a[5], lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result
}

/// A system call; less than 0 is the number of an error.
///
/// # Safety
/// What the arguments point to must be as the call takes it.
#[cfg(target_arch = "aarch64")]
unsafe fn call(number: usize, a: [usize; 6]) -> isize {
    let result;
    // SAFETY: the kernel changes no other registers; memory is as the caller says.
    unsafe {
        asm!("svc 0", in("x8") number, inlateout("x0") a[0] as isize => result, in("x1") a[1], in("x2") a[2],
            in("x3") a[3], in("x4") a[4], in("x5") a[5], options(nostack));
    }
    result
}

fn exit(code: isize) -> ! {
    loop {
        // SAFETY: numbers alone.
        unsafe { call(number::EXIT_GROUP, [code as usize, 0, 0, 0, 0, 0]) };
    }
}

/// A system call that takes numbers alone.
fn plain(number: usize, first: usize, second: usize, third: usize) -> Result<(), i32> {
    // SAFETY: the callers below pass no addresses.
    match unsafe { call(number, [first, second, third, 0, 0, 0]) } {
        error if error < 0 => Err(-error as i32),
        _ => Ok(()),
    }
}

/// What there is on the stack in the beginning.
#[derive(Clone, Copy)]
struct Words {
    arguments: *mut *const u8,
    environment: *const *const u8,
}

/// # Safety
/// `stack` is that of a program that has just been executed.
unsafe extern "C" fn run(stack: *mut usize) -> ! {
    // SAFETY: the kernel puts the number of arguments there, then pointers to them and a null pointer, then the environment.
    let words = unsafe {
        let (count, arguments) = (*stack, stack.add(1).cast::<*const u8>());
        if count < 3 {
            exit(22);
        }
        Words { arguments, environment: arguments.add(count + 1).cast_const() }
    };
    let fd = layout::DESCRIPTOR;
    // SAFETY: the kernel chooses where.
    let slate = unsafe { call(number::MMAP, [0, layout::SIZE, PROT_READ_WRITE, MAP_SHARED, fd, 0]) };
    if (-4095..0).contains(&slate) {
        exit(-slate);
    }
    // Whoever gets hold of the slate by a process that maps it cannot write to it.
    let alone = plain(number::FCNTL, fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE)
        .and_then(|()| plain(number::CLOSE, fd, 0, 0))
        .and_then(|()| plain(number::PRCTL, PR_SET_DUMPABLE, 0, 0));
    if let Err(error) = alone {
        exit(error as isize);
    }
    let slate = slate as *mut u8;
    let flags = CLONE_PARENT | CLONE_PARENT_SETTID | CLONE_VFORK | SIGCHLD;
    // SAFETY: without CLONE_VM the child has a copy of this memory. The number goes to a place that is mapped.
    let made = unsafe { call(number::CLONE, [flags, 0, slate.add(layout::NUMBER) as usize, 0, 0, 0]) };
    let (kind, error) = match made {
        0 => execute(words),
        error if error < 0 => (layout::NOT_STARTED, -error as i32),
        _ => exit(0),
    };
    // SAFETY: both lie within what is mapped, and are aligned.
    unsafe {
        slate.add(layout::KIND).write_volatile(kind);
        slate.add(layout::ERROR).cast::<i32>().write_volatile(error);
    }
    exit(1)
}

/// Becomes the command. The result is why it did not.
fn execute(words: Words) -> (u8, i32) {
    // SAFETY: there are three arguments, all of them strings.
    let (mut letters, path) = unsafe { (*words.arguments, *words.arguments.add(1)) };
    let (mut terminal, mut text) = (false, false);
    loop {
        // SAFETY: the string ends with 0, behind which nothing is read.
        let letter = unsafe { letters.read() };
        match letter {
            0 => break,
            layout::TERMINAL => terminal = true,
            layout::TEXT => text = true,
            _ => {}
        }
        // SAFETY: that was not the end of it.
        letters = unsafe { letters.add(1) };
    }
    let nothing = 0_u64;
    let ready = plain(number::PRCTL, PR_SET_PDEATHSIG, SIGKILL, 0)
        .and_then(|()| plain(number::SETSID, 0, 0, 0))
        .and_then(|()| if terminal { plain(number::IOCTL, 0, TIOCSCTTY, 0) } else { Ok(()) })
        // SAFETY: a set of 64 signals, which lives across the call, and none to be filled.
        .and_then(|()| {
            match unsafe { call(number::RT_SIGPROCMASK, [SIG_SETMASK, &raw const nothing as usize, 0, 8, 0, 0]) } {
                0 => Ok(()),
                error => Err(-error as i32),
            }
        });
    if let Err(error) = ready {
        return (layout::NOT_STARTED, error);
    }
    if is_left() {
        exit(0);
    }
    // SAFETY: both vectors end with a null pointer.
    let become_program = |path: *const u8, arguments: *mut *const u8| unsafe {
        -call(number::EXECVE, [path as usize, arguments as usize, words.environment as usize, 0, 0, 0]) as i32
    };
    // SAFETY: there are three arguments.
    let mut error = become_program(path, unsafe { words.arguments.add(2) });
    if error == ENOEXEC && text {
        // As execvp(3) has it: a script of the shell's, whose own name stands in place of the command's.
        let shell = c"/bin/sh".as_ptr().cast::<u8>();
        // SAFETY: there are three arguments, and nobody else looks at them.
        let tried = unsafe {
            *words.arguments.add(1) = shell;
            *words.arguments.add(2) = path;
            become_program(shell, words.arguments.add(1))
        };
        // Without a shell the script is still what cannot be executed.
        error = if tried == 2 { ENOEXEC } else { tried };
    }
    (layout::NO_PROGRAM, error)
}

/// Whether whoever wanted the command is gone, and with it the other end of standard input. If that was so before the death
/// signal was asked for, there is none.
fn is_left() -> bool {
    /// As in `<poll.h>`.
    #[repr(C)]
    struct Polled {
        descriptor: i32,
        wanted: u16,
        found: u16,
    }
    let (mut polled, now) = (Polled { descriptor: 0, wanted: 0, found: 0 }, [0_i64; 2]);
    let place = &raw mut polled;
    // SAFETY: one entry and a time, which live across the call.
    let count = unsafe { call(number::PPOLL, [place as usize, 1, now.as_ptr() as usize, 0, 8, 0]) };
    count == 1 && polled.found & POLLHUP != 0
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    exit(1)
}
