//! Architectures: how the kernel names them to a filter, and which numbers their calls have.

use syscalls::{aarch64, arm, x86, x86_64};

use crate::set;

/// A system call interface that a process can use.
///
/// See `AUDIT_ARCH_*` in `<linux/audit.h>` and [`seccomp(2)`](https://man7.org/linux/man-pages/man2/seccomp.2.html).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Arch {
    /// 64-bit x86.
    X86_64,
    /// 32-bit x86, also as the secondary interface of a 64-bit kernel.
    X86,
    /// 64-bit x86 with 32-bit pointers: the kernel reports it as [`Arch::X86_64`] with bit 30 set in the number.
    X32,
    /// 64-bit Arm.
    Aarch64,
    /// 32-bit Arm (EABI), also as the secondary interface of a 64-bit kernel.
    Arm,
}

impl Arch {
    /// The interfaces that programs may use on the CPU this was compiled for, the native one first.
    #[must_use]
    pub const fn native() -> &'static [Self] {
        if cfg!(target_arch = "x86_64") {
            &[Self::X86_64, Self::X86, Self::X32]
        } else if cfg!(target_arch = "x86") {
            &[Self::X86]
        } else if cfg!(target_arch = "aarch64") {
            &[Self::Aarch64, Self::Arm]
        } else if cfg!(target_arch = "arm") {
            &[Self::Arm]
        } else {
            &[]
        }
    }

    /// The kernel's `AUDIT_ARCH_*` value.
    #[must_use]
    pub const fn audit(self) -> u32 {
        match self {
            Self::X86_64 | Self::X32 => 0xc000_003e,
            Self::X86 => 0x4000_0003,
            Self::Aarch64 => 0xc000_00b7,
            Self::Arm => 0x4000_0028,
        }
    }

    /// The number of a call, with all bits that a filter sees; `None` where the architecture does not have it.
    #[must_use]
    pub fn number(self, name: &str) -> Option<u32> {
        let id = set::id(name)?;
        self.calls().iter().find(|call| call.id == id).map(|call| call.number)
    }

    /// The name of the call with a number, as [`Arch::number`] takes it.
    #[must_use]
    pub fn name(self, number: u32) -> Option<&'static str> {
        let calls = self.calls();
        let index = calls.binary_search_by_key(&number, |call| call.number).ok()?;
        Some(crate::names::NAMES[calls[index].id as usize])
    }

    /// All its calls by ascending number.
    pub(crate) const fn calls(self) -> &'static [Call] {
        match self {
            Self::X86_64 => &X86_64_CALLS,
            Self::X86 => &X86_CALLS,
            Self::X32 => &X32_CALLS,
            Self::Aarch64 => &AARCH64_CALLS,
            Self::Arm => &ARM_CALLS,
        }
    }
}

/// A call of one architecture.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    /// As a filter sees it.
    pub(crate) number: u32,
    /// The place of its name in `NAMES`.
    pub(crate) id: u16,
}

/// Newer than the tables of the `syscalls` crate; the same on every architecture here.
const NEWEST: &[(u32, &str)] = &[(470, "listns"), (471, "rseq_slice_yield")];

/// The private calls of 32-bit Arm, see `<asm/unistd.h>` there.
const ARM_PRIVATE: &[(u32, &str)] = &[
    (0xf_0001, "breakpoint"),
    (0xf_0002, "cacheflush"),
    (0xf_0003, "usr26"),
    (0xf_0004, "usr32"),
    (0xf_0005, "set_tls"),
    (0xf_0006, "get_tls"),
];

/// Bit 30, `__X32_SYSCALL_BIT` of `<asm/unistd.h>`.
pub(crate) const X32_BIT: u32 = 0x4000_0000;

/// The calls that x32 has under numbers of its own, from this one on.
const X32_FIRST: u32 = 512;
const X32_OWN: &[&str] = &[
    "rt_sigaction",
    "rt_sigreturn",
    "ioctl",
    "readv",
    "writev",
    "recvfrom",
    "sendmsg",
    "recvmsg",
    "execve",
    "ptrace",
    "rt_sigpending",
    "rt_sigtimedwait",
    "rt_sigqueueinfo",
    "sigaltstack",
    "timer_create",
    "mq_notify",
    "kexec_load",
    "waitid",
    "set_robust_list",
    "get_robust_list",
    "vmsplice",
    "move_pages",
    "preadv",
    "pwritev",
    "rt_tgsigqueueinfo",
    "recvmmsg",
    "sendmmsg",
    "process_vm_readv",
    "process_vm_writev",
    "setsockopt",
    "getsockopt",
    "io_setup",
    "io_submit",
    "execveat",
    "preadv2",
    "pwritev2",
];

/// The numbers of x86-64 that x32 does not share ("64" in the kernel's `syscall_64.tbl`).
const X32_NOT: &[u32] = &[
    13, 15, 16, 19, 20, 45, 46, 47, 54, 55, 59, 101, 127, 128, 129, 131, 134, 156, 174, 177, 178, 180, 205, 206, 209,
    211, 214, 215, 222, 236, 244, 246, 247, 273, 274, 278, 279, 295, 296, 297, 299, 307, 310, 311, 322, 327, 328, 335,
    336, 453,
];

/// Makes the table of one architecture from that of the `syscalls` crate and calls that come behind it.
macro_rules! table {
    ($numbers:ident, $($behind:expr),*) => {{
        const COUNT: usize = $numbers::Sysno::count() $(+ $behind.len())*;
        const TABLE: [Call; COUNT] = {
            let mut calls = [Call { number: 0, id: 0 }; COUNT];
            let (mut filled, mut number) = (0, 0);
            while number <= $numbers::Sysno::last().id() as usize {
                if let Some(call) = $numbers::Sysno::new(number) {
                    calls[filled] = named(number as u32, call.name());
                    filled += 1;
                }
                number += 1;
            }
            $(
                let mut index = 0;
                while index < $behind.len() {
                    calls[filled] = named($behind[index].0, $behind[index].1);
                    filled += 1;
                    index += 1;
                }
            )*
            assert!(filled == COUNT);
            calls
        };
        TABLE
    }};
}

static X86_64_CALLS: [Call; X86_64_TABLE.len()] = X86_64_TABLE;
const X86_64_TABLE: [Call; x86_64::Sysno::count() + NEWEST.len()] = table!(x86_64, NEWEST);
static X86_CALLS: [Call; x86::Sysno::count() + NEWEST.len()] = table!(x86, NEWEST);
static AARCH64_CALLS: [Call; aarch64::Sysno::count() + NEWEST.len()] = table!(aarch64, NEWEST);
static ARM_CALLS: [Call; arm::Sysno::count() + NEWEST.len() + ARM_PRIVATE.len()] = table!(arm, NEWEST, ARM_PRIVATE);

static X32_CALLS: [Call; X86_64_TABLE.len() - X32_NOT.len() + X32_OWN.len()] = {
    let mut calls = [Call { number: 0, id: 0 }; X86_64_TABLE.len() - X32_NOT.len() + X32_OWN.len()];
    let (mut filled, mut index, mut skipped) = (0, 0, 0);
    while index < X86_64_TABLE.len() {
        let call = X86_64_TABLE[index];
        if skipped < X32_NOT.len() && call.number == X32_NOT[skipped] {
            skipped += 1;
        } else {
            calls[filled] = Call { number: call.number | X32_BIT, id: call.id };
            filled += 1;
        }
        index += 1;
    }
    let mut index = 0;
    while index < X32_OWN.len() {
        calls[filled] = named((X32_FIRST + index as u32) | X32_BIT, X32_OWN[index]);
        filled += 1;
        index += 1;
    }
    assert!(filled == calls.len());
    calls
};

/// An entry, by the name in one of the tables.
const fn named(number: u32, name: &str) -> Call {
    let name = canonical(name);
    match set::id(name) {
        Some(id) => Call { number, id },
        None => panic!("a system call of an architecture has no entry in NAMES"),
    }
}

/// The name that filters use where a table has another one.
pub(crate) const fn canonical(name: &str) -> &str {
    match name.as_bytes() {
        b"r#break" => "break",
        b"fstatat" => "newfstatat",
        b"arm_sync_file_range" => "sync_file_range2",
        _ => name,
    }
}
