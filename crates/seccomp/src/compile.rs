//! The compiler: from a [`Policy`] to one classic BPF program for all architectures.
//!
//! ```text
//! load arch ─► = native ─► load number ─► tree of comparisons ─► return an action
//!          └─► = secondary ─► load number ─► tree …
//!          └─► else: ENOSYS
//! ```
//!
//! A tree sorts the number into a range of numbers with one action; ranges with often used calls sit nearer to its
//! root. What is returned depends on architecture and number alone, except for `socket` (and `open`, `openat`, `fsync`
//! and the like where syncing is suppressed): since Linux 5.11 the kernel
//! then answers allowed calls from a bitmap without running the program.
//!
//! An architecture that the program was not made for gets `ENOSYS`, as if the kernel lacked that interface: nothing
//! gets through, and no process is killed by surprise. x32 without [`Arch::X32`] is treated alike. The number -1 is let
//! through: the kernel makes no call for it, it is how a tracer skips one and sets a result of its own, which an error
//! from here would overwrite.
//!
//! The 32-bit `socketcall` hands its arguments over in memory, which a filter cannot read: there, audit sockets are
//! refused for the `socket` call of newer libraries only.

use crate::arch::Call;
use crate::policy::{Action, EAFNOSUPPORT, EINVAL, ENOSYS, Families};
use crate::profile::Check;
use crate::set::CallSet;
use crate::{Arch, Error, Policy};

/// One instruction of classic BPF, laid out as the kernel's `struct sock_filter` in `<linux/filter.h>`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// The operation.
    pub code: u16,
    /// How many instructions to skip where the condition holds.
    pub jt: u8,
    /// How many to skip where it does not.
    pub jf: u8,
    /// The operand.
    pub k: u32,
}

/// Load a word of `struct seccomp_data`.
pub(crate) const LOAD: u16 = 0x20;
/// Jump always.
pub(crate) const JUMP: u16 = 0x05;
/// Jump if the accumulator equals the operand.
pub(crate) const IF_EQUAL: u16 = 0x15;
/// Jump if the accumulator is not below the operand, unsigned.
pub(crate) const IF_NOT_BELOW: u16 = 0x35;
/// Jump if the accumulator and the operand have a bit in common.
pub(crate) const IF_ANY_BIT: u16 = 0x45;
/// Jump if the accumulator is above the operand, unsigned.
pub(crate) const IF_ABOVE: u16 = 0x25;
/// Keep the bits of the accumulator that the operand has.
pub(crate) const AND: u16 = 0x54;
/// Return the operand.
pub(crate) const RETURN: u16 = 0x06;

pub(crate) const RETURN_ALLOW: u32 = 0x7fff_0000;
pub(crate) const RETURN_ERRNO: u32 = 0x0005_0000;
pub(crate) const RETURN_KILL_PROCESS: u32 = 0x8000_0000;

/// Offsets in `struct seccomp_data`. Of an argument only the low half counts (all architectures here are
/// little-endian): `socket` takes ints, and the kernel ignores what is above them.
pub(crate) const NUMBER: u32 = 0;
pub(crate) const ARCH: u32 = 4;
pub(crate) const ARGUMENT_0: u32 = 16;
pub(crate) const ARGUMENT_1: u32 = 24;
pub(crate) const ARGUMENT_2: u32 = 32;

pub(crate) const AF_NETLINK: u32 = 16;
pub(crate) const NETLINK_AUDIT: u32 = 9;
/// The number of `socket` for socketcall(2), `SYS_SOCKET` of `<linux/net.h>`.
pub(crate) const SYS_SOCKET: u32 = 1;
/// The same number on all architectures here.
pub(crate) const O_DSYNC: u32 = 0o10000;

/// What makes an int negative.
const SIGN: u32 = 1 << 31;

/// `BPF_MAXINSNS`.
const MAX_INSTRUCTIONS: usize = 4096;

/// The furthest conditional jump that leaves room for what is emitted between it and its target.
const REACH: usize = 255 - 8;

/// Calls that programs make most.
const HOT: CallSet = CallSet::of(&[
    "brk",
    "clock_gettime",
    "clone",
    "clone3",
    "close",
    "connect",
    "dup2",
    "epoll_ctl",
    "epoll_wait",
    "execve",
    "exit_group",
    "faccessat",
    "fcntl",
    "fcntl64",
    "fstat",
    "fstat64",
    "futex",
    "futex_time64",
    "getdents64",
    "getpid",
    "gettid",
    "getuid",
    "ioctl",
    "lseek",
    "lstat",
    "mmap",
    "mmap2",
    "mprotect",
    "munmap",
    "newfstatat",
    "openat",
    "poll",
    "ppoll",
    "pread64",
    "pwrite64",
    "read",
    "readlink",
    "readv",
    "recvfrom",
    "recvmsg",
    "rt_sigaction",
    "rt_sigprocmask",
    "sendmsg",
    "sendto",
    "socket",
    "stat",
    "statx",
    "wait4",
    "write",
    "writev",
]);

/// How much more a hot call weighs than a range without one.
const HOT_WEIGHT: u32 = 6;

/// Compiles one program that serves all of `arches`, the most used first.
///
/// # Errors
/// No architecture at all, or a program longer than the kernel takes.
pub fn compile(policy: &Policy, arches: &[Arch]) -> Result<Vec<Instruction>, Error> {
    if arches.is_empty() {
        return Err(Error::NoArch);
    }
    let program = Program::with_room(320, Vec::new());
    program.serve(arches, Action::Errno(ENOSYS), |arches| ranges(policy, arches))
}

/// Numbers from `start` up to the next range, with one action.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    start: u32,
    action: Action,
    weight: u32,
}

/// All numbers from zero on, as they are told one after the other.
#[derive(Debug)]
pub(crate) struct Ranges(Vec<Range>);

impl Ranges {
    pub(crate) fn new() -> Self {
        Self(Vec::with_capacity(128))
    }

    /// From this number on it is this action; the more weight, the nearer to the root.
    pub(crate) fn from(&mut self, start: u32, action: Action, weight: u32) {
        match self.0.last_mut() {
            Some(last) if last.action == action => last.weight += weight,
            _ => self.0.push(Range { start, action, weight: 1 + weight }),
        }
    }

    /// A call, which may be one that programs make much.
    pub(crate) fn call(&mut self, call: Call, action: Action) {
        self.from(call.number, action, if HOT.has(call.id) { HOT_WEIGHT } else { 0 });
    }
}

/// The whole space of numbers of the architectures that the kernel reports alike.
fn ranges(policy: &Policy, arches: &[Arch]) -> Ranges {
    let mut tables: Vec<_> = arches.iter().copied().map(Arch::calls).collect();
    tables.sort_unstable_by_key(|calls| calls.first().map(|call| call.number));
    tables.dedup_by_key(|calls| calls.first().map(|call| call.number));
    let mut ranges = Ranges::new();
    let mut next = 0;
    for call in tables.into_iter().flatten() {
        if call.number > next {
            ranges.from(next, Action::Errno(ENOSYS), 0);
        }
        ranges.call(*call, policy.action(call.id));
        next = call.number + 1;
    }
    ranges.from(next, Action::Errno(ENOSYS), 0);
    ranges.from(u32::MAX, Action::Allow, 0);
    ranges
}

/// A range in which a few single numbers have actions of their own.
#[derive(Clone, Copy, Debug)]
struct Segment {
    base: Range,
    islands: [Option<Range>; 2],
}

/// Joins ranges around single numbers: one comparison for such a number instead of two.
fn segments(ranges: &[Range]) -> Vec<Segment> {
    let mut segments: Vec<Segment> = Vec::with_capacity(ranges.len());
    let mut index = 0;
    while index < ranges.len() {
        let mut segment = Segment { base: ranges[index], islands: [None; 2] };
        for island in &mut segment.islands {
            let Some([single, behind]) = ranges.get(index + 1..index + 3) else { break };
            if behind.start != single.start + 1 || behind.action != segment.base.action {
                break;
            }
            *island = Some(*single);
            segment.base.weight += single.weight + behind.weight;
            index += 2;
        }
        segments.push(segment);
        index += 1;
    }
    segments
}

/// Where a jump goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    /// To an instruction, by its place from the end.
    At(usize),
    /// To an action, wherever it stands.
    Leaf(Action),
}

/// A program that grows from its end.
pub(crate) struct Program {
    reversed: Vec<Instruction>,
    /// Where each action was emitted last.
    leaves: Vec<(Action, usize)>,
    /// What [`Action::Check`] numbers.
    checks: Vec<Check>,
}

impl Program {
    /// An empty one, with room for so many instructions.
    pub(crate) fn with_room(instructions: usize, checks: Vec<Check>) -> Self {
        Self { reversed: Vec::with_capacity(instructions), leaves: Vec::with_capacity(5), checks }
    }

    /// The whole program for these architectures: what `ranges` says for those that the kernel reports alike, and
    /// `otherwise` for all others.
    pub(crate) fn serve(
        mut self,
        arches: &[Arch],
        otherwise: Action,
        ranges: impl Fn(&[Arch]) -> Ranges,
    ) -> Result<Vec<Instruction>, Error> {
        let mut audits: Vec<u32> = Vec::with_capacity(arches.len());
        for arch in arches {
            if !audits.contains(&arch.audit()) {
                audits.push(arch.audit());
            }
        }
        // From the last instruction to the first, so that every target is known when a jump to it is made.
        let mut blocks = Vec::with_capacity(audits.len());
        for &audit in audits.iter().rev() {
            let alike: Vec<_> = arches.iter().copied().filter(|arch| arch.audit() == audit).collect();
            let tree = self.tree(&segments(&ranges(&alike).0));
            let tree = self.reach(tree);
            if tree + 1 != self.reversed.len() {
                self.jump(tree);
            }
            blocks.push((audit, self.push(LOAD, NUMBER)));
        }
        let mut otherwise = Target::Leaf(otherwise);
        for (audit, block) in blocks {
            otherwise = self.branch(IF_EQUAL, audit, Target::At(block), otherwise);
        }
        let first = self.reach(otherwise);
        if first + 1 != self.reversed.len() {
            self.jump(first);
        }
        self.push(LOAD, ARCH);
        self.reversed.reverse();
        if self.reversed.len() > MAX_INSTRUCTIONS {
            return Err(Error::TooLong(self.reversed.len()));
        }
        Ok(self.reversed)
    }

    pub(crate) fn push(&mut self, code: u16, k: u32) -> usize {
        self.reversed.push(Instruction { code, jt: 0, jf: 0, k });
        self.reversed.len() - 1
    }

    /// A jump over any distance.
    fn jump(&mut self, target: usize) -> usize {
        let distance = self.reversed.len() - target - 1;
        self.push(JUMP, distance as u32)
    }

    /// The comparisons that find the segment of the number in the accumulator.
    fn tree(&mut self, segments: &[Segment]) -> Target {
        match segments {
            [] => Target::Leaf(Action::Errno(ENOSYS)),
            [segment] => {
                let mut target = Target::Leaf(segment.base.action);
                for island in segment.islands.iter().rev().flatten() {
                    target = self.branch(IF_EQUAL, island.start, Target::Leaf(island.action), target);
                }
                target
            }
            _ => {
                let (below, above) = segments.split_at(heavy_middle(segments));
                let high = self.tree(above);
                let low = self.tree(below);
                self.branch(IF_NOT_BELOW, above[0].base.start, high, low)
            }
        }
    }

    pub(crate) fn branch(&mut self, code: u16, k: u32, then: Target, otherwise: Target) -> Target {
        let (then, otherwise) = loop {
            let places = (self.reach(then), self.reach(otherwise));
            // An action may be many instructions long, which came since the other place was looked up.
            if self.reversed.len() - places.0.min(places.1) <= REACH + 8 {
                break places;
            }
        };
        let here = self.push(code, k);
        self.reversed[here].jt = (here - then - 1) as u8;
        self.reversed[here].jf = (here - otherwise - 1) as u8;
        Target::At(here)
    }

    /// The place of a target, brought near enough for a conditional jump from the next instruction.
    pub(crate) fn reach(&mut self, target: Target) -> usize {
        let limit = self.reversed.len().saturating_sub(REACH);
        match target {
            Target::At(place) if place >= limit => place,
            Target::At(place) => self.jump(place),
            Target::Leaf(action) => match self.leaves.iter().find(|leaf| leaf.0 == action) {
                Some(&(_, place)) if place >= limit => place,
                // It can be longer than a conditional jump reaches.
                Some(&(_, place)) if matches!(action, Action::Check(_)) => {
                    let place = self.jump(place);
                    self.keep(action, place)
                }
                _ => self.leaf(action),
            },
        }
    }

    fn leaf(&mut self, action: Action) -> usize {
        let place = match action {
            Action::Allow => self.push(RETURN, RETURN_ALLOW),
            Action::Errno(errno) => self.push(RETURN, RETURN_ERRNO | u32::from(errno)),
            Action::Kill => self.push(RETURN, RETURN_KILL_PROCESS),
            Action::Return(value) => self.push(RETURN, value),
            Action::Check(number) => {
                let check = self.checks[usize::from(number)].clone();
                check.emit(self)
            }
            Action::AllowFamilies(families) => self.families(families),
            Action::AllowUnlessSocket => {
                let refuse = Target::Leaf(Action::Errno(EAFNOSUPPORT));
                self.branch(IF_EQUAL, SYS_SOCKET, refuse, Target::Leaf(Action::Allow));
                self.push(LOAD, ARGUMENT_0)
            }
            Action::AllowUnlessSynchronous(argument) => {
                let refuse = Target::Leaf(Action::Errno(EINVAL));
                self.branch(IF_ANY_BIT, O_DSYNC, refuse, Target::Leaf(Action::Allow));
                self.push(LOAD, if argument == 1 { ARGUMENT_1 } else { ARGUMENT_2 })
            }
            Action::SucceedUnlessNegative => {
                let succeed = Target::Leaf(Action::Errno(0));
                self.branch(IF_ANY_BIT, SIGN, Target::Leaf(Action::Allow), succeed);
                self.push(LOAD, ARGUMENT_0)
            }
            Action::AllowUnlessAudit => {
                let refuse = Target::Leaf(Action::Errno(EAFNOSUPPORT));
                let allow = Target::Leaf(Action::Allow);
                self.branch(IF_EQUAL, NETLINK_AUDIT, refuse, allow);
                let protocol = self.push(LOAD, ARGUMENT_2);
                self.branch(IF_EQUAL, AF_NETLINK, Target::At(protocol), allow);
                self.push(LOAD, ARGUMENT_0)
            }
        };
        self.keep(action, place)
    }

    fn keep(&mut self, action: Action, place: usize) -> usize {
        self.leaves.retain(|leaf| leaf.0 != action);
        self.leaves.push((action, place));
        place
    }

    /// Looks at the family in the first argument of socket(2): ranges of families with one answer, from the highest
    /// down.
    fn families(&mut self, families: Families) -> usize {
        let refuse = Target::Leaf(Action::Errno(EAFNOSUPPORT));
        let allow = Target::Leaf(Action::Allow);
        self.branch(IF_EQUAL, NETLINK_AUDIT, refuse, allow);
        let netlink = Target::At(self.push(LOAD, ARGUMENT_2));
        let answer = |family: u32| match families.known >> family & 1 != 0 {
            false => refuse,
            true if family == AF_NETLINK => netlink,
            true => allow,
        };
        let class = |family: u32| (families.known >> family & 1 != 0, family == AF_NETLINK);
        // The lowest range is what is left where the number is below all others.
        let mut target = answer(0);
        for start in (1..64).filter(|family| class(*family) != class(family - 1)) {
            target = self.branch(IF_NOT_BELOW, start, answer(start), target);
        }
        target = self.branch(IF_NOT_BELOW, 64, if families.others { allow } else { refuse }, target);
        self.reach(target);
        self.push(LOAD, ARGUMENT_0)
    }
}

/// Where to cut so that both sides weigh as much as possible the same; neither is empty.
fn heavy_middle(segments: &[Segment]) -> usize {
    let total: u32 = segments.iter().map(|segment| segment.base.weight).sum();
    let (mut best, mut smallest, mut left) = (1, u32::MAX, 0);
    for (index, segment) in segments.iter().enumerate().take(segments.len() - 1) {
        left += segment.base.weight;
        let difference = left.abs_diff(total - left);
        if difference < smallest {
            (best, smallest) = (index + 1, difference);
        }
    }
    best
}
