//! Filters that are written out call by call, with conditions on arguments: `linux.seccomp` of the OCI runtime
//! specification, whose names and meanings are those of libseccomp, see seccomp_rule_add(3).
//!
//! Where more than one rule fits a call, the strictest decides, in the kernel's order (see seccomp(2), "Filters"): no
//! rule that refuses something is lost because of another. Where none fits, the default does.
//!
//! The 32-bit `socketcall` and `ipc` of x86 are many calls in one, and have the arguments of the first in memory, where a
//! filter cannot look. Unless they have rules of their own, the rules of the calls behind them count: one that is
//! stricter than the default counts whatever the arguments are, one that is more lenient only if it looks at none.

#[cfg(test)]
mod tests;

use crate::compile::{
    AND, ARGUMENT_0, IF_ABOVE, IF_EQUAL, IF_NOT_BELOW, LOAD, Program, RETURN_ALLOW, RETURN_ERRNO, RETURN_KILL_PROCESS,
    Ranges, Target,
};
use crate::policy::Action;
use crate::{Arch, Error, Instruction, arch, set};

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The process ends, as by `SIGSYS`.
    KillProcess,
    /// The thread ends.
    KillThread,
    /// The thread gets the signal `SIGSYS`.
    Trap,
    /// It fails with this error number.
    Errno(u16),
    /// A tracer decides, and is told this number; without one it fails with `ENOSYS`.
    Trace(u16),
    /// It goes on and is logged.
    Log,
    /// It goes on.
    Allow,
}

impl Verdict {
    /// As a filter returns it, `SECCOMP_RET_*` of `<linux/seccomp.h>`.
    const fn value(self) -> u32 {
        match self {
            Self::KillProcess => RETURN_KILL_PROCESS,
            Self::KillThread => 0,
            Self::Trap => 0x0003_0000,
            Self::Errno(number) => RETURN_ERRNO | number as u32,
            Self::Trace(number) => 0x7ff0_0000 | number as u32,
            Self::Log => 0x7ffc_0000,
            Self::Allow => RETURN_ALLOW,
        }
    }

    /// The stricter, the smaller.
    const fn leniency(self) -> i32 {
        (self.value() & 0xffff_0000) as i32
    }
}

/// What an argument has to be, as a number of 64 bits without a sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// This.
    Equal(u64),
    /// Anything else.
    NotEqual(u64),
    /// Below this.
    Less(u64),
    /// This or below.
    LessOrEqual(u64),
    /// This or above.
    GreaterOrEqual(u64),
    /// Above this.
    Greater(u64),
    /// Of the bits in `mask` it has those in `value`, and no others.
    Masked {
        /// The bits that are looked at.
        mask: u64,
        /// What they have to be.
        value: u64,
    },
}

/// A comparison of one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Which, from 0 to 5.
    pub argument: u8,
    /// What it has to be.
    pub comparison: Comparison,
}

/// A filter: rules for calls, and what becomes of all others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    default: Verdict,
    rules: Vec<Rule>,
}

/// For one call.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    id: u16,
    clause: Clause,
}

/// What becomes of a call if all of the conditions hold.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Clause {
    conditions: Vec<Condition>,
    verdict: Verdict,
}

/// Clauses, of which the first that holds counts, and what counts if none does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Check {
    clauses: Vec<Clause>,
    otherwise: Verdict,
}

impl Profile {
    /// One without rules.
    #[must_use]
    pub fn new(default: Verdict) -> Self {
        Self { default, rules: Vec::new() }
    }

    /// Adds a rule: the verdict counts where all of the conditions hold. A name that no architecture has is passed over
    /// where the rule is not stricter than the default, which then counts for that call.
    ///
    /// # Errors
    /// A name that is not known and whose call would get through; an argument that no call has.
    pub fn add(&mut self, name: &str, conditions: &[Condition], verdict: Verdict) -> Result<(), Error> {
        if let Some(condition) = conditions.iter().find(|condition| condition.argument > 5) {
            return Err(Error::NoArgument(condition.argument));
        }
        match set::id(arch::canonical(name)) {
            Some(id) => {
                self.rules.push(Rule { id, clause: Clause { conditions: conditions.to_vec(), verdict } });
                Ok(())
            }
            None if verdict.leniency() >= self.default.leniency() => Ok(()),
            None => Err(Error::UnknownCall(name.to_owned())),
        }
    }

    /// Compiles one program that serves all of `arches`, the most used first. A process that uses another one is ended.
    ///
    /// # Errors
    /// No architecture at all, or a program longer than the kernel takes.
    pub fn compile(&self, arches: &[Arch]) -> Result<Vec<Instruction>, Error> {
        if arches.is_empty() {
            return Err(Error::NoArch);
        }
        let mut checks = Vec::new();
        let tables: Vec<_> = arches.iter().map(|arch| (*arch, self.actions(*arch, &mut checks))).collect();
        let foreign = Action::Return(Verdict::KillThread.value());
        let program = Program::with_room(512, checks);
        program.serve(arches, foreign, |alike| {
            let mut ranges = Ranges::new();
            // What the kernel reports as x86-64 is two architectures, one above the other.
            let parts: &[Arch] =
                if alike[0].audit() == Arch::X86_64.audit() { &[Arch::X86_64, Arch::X32] } else { &alike[..1] };
            for arch in parts {
                let first = if *arch == Arch::X32 { arch::X32_BIT } else { 0 };
                match tables.iter().find(|(known, _)| known == arch) {
                    Some((_, actions)) => self.numbers(first, *arch, actions, &mut ranges),
                    None => ranges.from(first, foreign, 0),
                }
            }
            // No call: a tracer skips one by this number.
            ranges.from(u32::MAX, Action::Return(RETURN_ALLOW), 0);
            ranges
        })
    }

    /// The numbers of one architecture, from its first one on.
    fn numbers(&self, first: u32, arch: Arch, actions: &[Action], ranges: &mut Ranges) {
        let default = Action::Return(self.default.value());
        let mut next = first;
        for (call, action) in arch.calls().iter().zip(actions) {
            if call.number > next {
                ranges.from(next, default, 0);
            }
            ranges.call(*call, *action);
            next = call.number + 1;
        }
        ranges.from(next, default, 0);
    }

    /// What becomes of each call of an architecture, in the order of its table.
    fn actions(&self, arch: Arch, checks: &mut Vec<Check>) -> Vec<Action> {
        arch.calls().iter().map(|call| self.action(arch, call.id, checks)).collect()
    }

    fn action(&self, arch: Arch, id: u16, checks: &mut Vec<Check>) -> Action {
        let mut clauses: Vec<_> =
            self.rules.iter().filter(|rule| rule.id == id).map(|rule| rule.clause.clone()).collect();
        if clauses.is_empty() && arch == Arch::X86 {
            clauses = self.behind(id);
        }
        clauses.sort_by_key(|clause| clause.verdict.leniency());
        let last = clauses.iter().position(|clause| clause.conditions.is_empty());
        let otherwise = last.map_or(self.default, |last| clauses[last].verdict);
        clauses.truncate(last.unwrap_or(clauses.len()));
        if clauses.is_empty() {
            return Action::Return(otherwise.value());
        }
        let check = Check { clauses, otherwise };
        let place = checks.iter().position(|known| *known == check).unwrap_or_else(|| {
            checks.push(check);
            checks.len() - 1
        });
        // There are fewer calls than that, on all architectures together.
        Action::Check(place as u16)
    }

    /// The rules of the calls that are behind `socketcall` or `ipc`.
    fn behind(&self, id: u16) -> Vec<Clause> {
        let Some((_, mask, calls)) = MULTIPLEXED.iter().find(|(name, ..)| set::id(name) == Some(id)) else {
            return Vec::new();
        };
        let clause = |rule: &Rule| {
            let (_, number) = calls.iter().find(|(name, _)| set::id(name) == Some(rule.id))?;
            let stricter = rule.clause.verdict.leniency() < self.default.leniency();
            let comparison = Comparison::Masked { mask: *mask, value: *number };
            (stricter || rule.clause.conditions.is_empty()).then(|| Clause {
                conditions: vec![Condition { argument: 0, comparison }],
                verdict: rule.clause.verdict,
            })
        };
        self.rules.iter().filter_map(clause).collect()
    }
}

/// Calls behind another one, and what it calls them.
type Numbers = &'static [(&'static str, u64)];

/// Calls that are many: the bits of their first argument that say which, and the numbers, see `<linux/net.h>` and
/// `<linux/ipc.h>`.
const MULTIPLEXED: [(&str, u64, Numbers); 2] = [
    (
        "socketcall",
        0xffff_ffff,
        &[
            ("socket", 1),
            ("bind", 2),
            ("connect", 3),
            ("listen", 4),
            ("accept", 5),
            ("getsockname", 6),
            ("getpeername", 7),
            ("socketpair", 8),
            ("send", 9),
            ("recv", 10),
            ("sendto", 11),
            ("recvfrom", 12),
            ("shutdown", 13),
            ("setsockopt", 14),
            ("getsockopt", 15),
            ("sendmsg", 16),
            ("recvmsg", 17),
            ("accept4", 18),
            ("recvmmsg", 19),
            ("sendmmsg", 20),
        ],
    ),
    (
        "ipc",
        0xffff,
        &[
            ("semop", 1),
            ("semget", 2),
            ("semctl", 3),
            ("semtimedop", 4),
            ("msgsnd", 11),
            ("msgrcv", 12),
            ("msgget", 13),
            ("msgctl", 14),
            ("shmat", 21),
            ("shmdt", 22),
            ("shmget", 23),
            ("shmctl", 24),
        ],
    ),
];

impl Check {
    /// The instructions, from the last clause to the first, and where they begin.
    pub(crate) fn emit(&self, program: &mut Program) -> usize {
        let leaf = |verdict: Verdict| Target::Leaf(Action::Return(verdict.value()));
        let mut otherwise = leaf(self.otherwise);
        for clause in self.clauses.iter().rev() {
            let mut then = leaf(clause.verdict);
            for condition in clause.conditions.iter().rev() {
                then = condition.emit(program, then, otherwise);
            }
            otherwise = then;
        }
        program.reach(otherwise)
    }
}

impl Condition {
    /// Compares half by half: a filter's numbers have 32 bits.
    fn emit(self, program: &mut Program, then: Target, otherwise: Target) -> Target {
        let halves = |number: u64| ((number >> 32) as u32, number as u32);
        match self.comparison {
            Comparison::Equal(value) => self.masked(program, (u64::MAX, value), then, otherwise),
            Comparison::NotEqual(value) => self.masked(program, (u64::MAX, value), otherwise, then),
            Comparison::Masked { mask, value } => self.masked(program, (mask, value), then, otherwise),
            Comparison::GreaterOrEqual(value) => self.above(program, IF_NOT_BELOW, halves(value), (then, otherwise)),
            Comparison::Greater(value) => self.above(program, IF_ABOVE, halves(value), (then, otherwise)),
            Comparison::Less(value) => self.above(program, IF_NOT_BELOW, halves(value), (otherwise, then)),
            Comparison::LessOrEqual(value) => self.above(program, IF_ABOVE, halves(value), (otherwise, then)),
        }
    }

    fn masked(self, program: &mut Program, (mask, value): (u64, u64), then: Target, otherwise: Target) -> Target {
        let mut next = then;
        for shift in [0, 32] {
            let (mask, value) = ((mask >> shift) as u32, (value >> shift) as u32);
            if mask == 0 && value == 0 {
                continue;
            }
            program.branch(IF_EQUAL, value, next, otherwise);
            if mask != u32::MAX {
                program.push(AND, mask);
            }
            next = Target::At(program.push(LOAD, self.place() + shift / 8));
        }
        next
    }

    /// The low half decides, by `code`, where the high halves are the same.
    fn above(self, program: &mut Program, code: u16, value: (u32, u32), targets: (Target, Target)) -> Target {
        let (high, low) = value;
        let (then, otherwise) = targets;
        program.branch(code, low, then, otherwise);
        let low = Target::At(program.push(LOAD, self.place()));
        let same = program.branch(IF_EQUAL, high, low, otherwise);
        program.branch(IF_ABOVE, high, then, same);
        Target::At(program.push(LOAD, self.place() + 4))
    }

    /// Where its low half is in `struct seccomp_data`.
    fn place(self) -> u32 {
        ARGUMENT_0 + 8 * u32::from(self.argument)
    }
}
