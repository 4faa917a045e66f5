//! Which devices the processes of a group may open and make nodes of: an eBPF program on the group.

use std::os::fd::BorrowedFd;

/// What a rule is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Block devices.
    Block,
    /// Character devices.
    Character,
}

/// A device, and what may be done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Of which kind.
    pub kind: Kind,
    /// Its driver.
    pub major: u32,
    /// Its number there; all where absent.
    pub minor: Option<u32>,
    /// What may be done.
    pub access: Access,
}

/// What may be done with a device: the kernel's bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access(i32);

impl Access {
    /// Everything.
    pub const ALL: Self = Self(ACCESS_MKNOD | ACCESS_READ | ACCESS_WRITE);

    /// These.
    #[must_use]
    pub fn new(read: bool, write: bool, make: bool) -> Self {
        let bit = |yes: bool, bit: i32| if yes { bit } else { 0 };
        Self(bit(read, ACCESS_READ) | bit(write, ACCESS_WRITE) | bit(make, ACCESS_MKNOD))
    }
}

/// What changes the rules before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// It allows; else it refuses.
    pub allow: bool,
    /// Of which kind; both where absent.
    pub kind: Option<Kind>,
    /// The driver; all where absent.
    pub major: Option<u32>,
    /// The number there; all where absent.
    pub minor: Option<u32>,
    /// What it allows or refuses.
    pub access: Access,
}

const fn character(major: u32, minor: Option<u32>) -> Rule {
    Rule { kind: Kind::Character, major, minor, access: Access::ALL }
}

/// What every container may open: null, zero, full, random, urandom, its terminals, tun and fuse.
pub const STANDARD: [Rule; 10] = [
    character(1, Some(3)),
    character(1, Some(5)),
    character(1, Some(7)),
    character(1, Some(8)),
    character(1, Some(9)),
    character(5, Some(0)),
    character(5, Some(2)),
    character(136, None),
    character(10, Some(200)),
    character(10, Some(229)),
];

/// What it may open where even those have to be named: its terminals and tun.
pub const UNNAMED: [Rule; 3] = [character(136, None), character(5, Some(2)), character(10, Some(200))];

/// As the kernel names them in the low half of the first word of the context (`<linux/bpf.h>`).
const TYPE_BLOCK: i32 = 1;
const TYPE_CHARACTER: i32 = 2;

/// The highest numbers that the kernel has for a driver and for a device of it.
pub const HIGHEST: (u32, u32) = ((1 << 12) - 1, (1 << MINOR_BITS) - 1);

/// How far a driver is shifted to stand before the device's number, which has 20 bits, in one register.
const MINOR_BITS: i32 = 20;
/// The access bit of making a node, in the high half of the context's first word; the others open one.
const ACCESS_MKNOD: i32 = 1;
const ACCESS_READ: i32 = 2;
const ACCESS_WRITE: i32 = 4;

/// Stand for the way to the place that allows and to the one that refuses, until those are known.
const TO_ALLOW: i16 = i16::MIN;
const TO_REFUSE: i16 = i16::MIN + 1;

/// Instruction codes of eBPF (RFC 9669), those that are needed.
mod code {
    pub(super) const LOAD_WORD: u8 = 0x61;
    pub(super) const MOVE: u8 = 0xb7;
    pub(super) const MOVE_REGISTER: u8 = 0xbf;
    pub(super) const AND: u8 = 0x57;
    pub(super) const OR_REGISTER: u8 = 0x4f;
    pub(super) const SHIFT_LEFT: u8 = 0x67;
    pub(super) const SHIFT_RIGHT: u8 = 0x77;
    pub(super) const JUMP: u8 = 0x05;
    pub(super) const JUMP_IF_EQUAL: u8 = 0x15;
    pub(super) const JUMP_UNLESS_EQUAL: u8 = 0x55;
    /// These look at the lower 32 bits: immediate values are signed, and drivers from 2048 on would reach the sign.
    pub(super) const JUMP_IF_EQUAL_32: u8 = 0x16;
    pub(super) const JUMP_UNLESS_EQUAL_32: u8 = 0x56;
    pub(super) const EXIT: u8 = 0x95;
}

fn instruction(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> u64 {
    u64::from(code)
        | u64::from(destination | source << 4) << 8
        | u64::from(offset as u16) << 16
        | u64::from(immediate as u32) << 32
}

/// The program: the rules allow, all else is refused, except that nodes without a driver (0:0, overlayfs's whiteouts)
/// may be made. The changes come before the rules, and the later ones of them before the earlier ones; but that nodes of
/// what the rules allow everything with are made is never refused: the container's own are, while the program is loaded.
///
/// Each rule that allows everything is a single comparison that jumps to the one place that allows: the kernel's verifier walks every branch,
/// so its time, which is part of every start, grows with their number.
#[must_use]
pub fn program(rules: &[Rule], changes: &[Change]) -> Vec<u64> {
    use code::{AND, EXIT, JUMP_IF_EQUAL, JUMP_UNLESS_EQUAL, LOAD_WORD, MOVE, MOVE_REGISTER, OR_REGISTER};
    // r2: kind, r3: access, r4: driver, r5: driver and number.
    let mut all = vec![
        instruction(LOAD_WORD, 2, 1, 0, 0),
        instruction(LOAD_WORD, 4, 1, 4, 0),
        instruction(LOAD_WORD, 0, 1, 8, 0),
        instruction(MOVE_REGISTER, 3, 2, 0, 0),
        instruction(code::SHIFT_RIGHT, 3, 0, 0, 16),
        instruction(AND, 2, 0, 0, 0xffff),
        instruction(MOVE_REGISTER, 5, 4, 0, 0),
        instruction(code::SHIFT_LEFT, 5, 0, 0, MINOR_BITS),
        instruction(OR_REGISTER, 5, 0, 0, 0),
    ];
    all.push(instruction(JUMP_UNLESS_EQUAL, 3, 0, 1, ACCESS_MKNOD));
    all.push(instruction(JUMP_IF_EQUAL, 5, 0, TO_ALLOW, 0));
    if !changes.is_empty() {
        let whole: Vec<Rule> = rules.iter().filter(|rule| rule.access == Access::ALL).copied().collect();
        let whole = by_kind(&whole);
        all.push(instruction(JUMP_UNLESS_EQUAL, 3, 0, whole.len() as i16, ACCESS_MKNOD));
        all.extend(whole);
        changes.iter().rev().for_each(|change| self::change(change, &mut all));
    }
    all.extend(by_kind(rules));
    let refuse = all.len();
    all.extend([instruction(MOVE, 0, 0, 0, 0), instruction(EXIT, 0, 0, 0, 0)]);
    let allow = all.len();
    for (at, word) in all.iter_mut().enumerate() {
        let place = match (*word >> 16) as u16 as i16 {
            TO_ALLOW => allow,
            TO_REFUSE => refuse,
            _ => continue,
        };
        let offset = (place - at - 1) as u16;
        *word = *word & !(0xffff << 16) | u64::from(offset) << 16;
    }
    all.extend([instruction(MOVE, 0, 0, 0, 1), instruction(EXIT, 0, 0, 0, 0)]);
    all
}

/// The rules for either kind.
fn by_kind(rules: &[Rule]) -> Vec<u64> {
    use code::{AND, JUMP_IF_EQUAL, JUMP_IF_EQUAL_32, JUMP_UNLESS_EQUAL, JUMP_UNLESS_EQUAL_32, MOVE_REGISTER};
    let compare = |rule: &Rule, operation, offset: i16| match rule.minor {
        Some(minor) => instruction(operation, 5, 0, offset, number(rule.major, minor)),
        None => instruction(operation, 4, 0, offset, rule.major as i32),
    };
    let mut all = Vec::new();
    for (kind, number) in [(Kind::Character, TYPE_CHARACTER), (Kind::Block, TYPE_BLOCK)] {
        let mut code = Vec::new();
        for rule in rules.iter().filter(|rule| rule.kind == kind) {
            if rule.access == Access::ALL {
                code.push(compare(rule, JUMP_IF_EQUAL_32, TO_ALLOW));
                continue;
            }
            // The device's number is part of r5, so r0 is free for what is wanted beyond the rule.
            code.extend([
                compare(rule, JUMP_UNLESS_EQUAL_32, 3),
                instruction(MOVE_REGISTER, 0, 3, 0, 0),
                instruction(AND, 0, 0, 0, !rule.access.0),
                instruction(JUMP_IF_EQUAL, 0, 0, TO_ALLOW, 0),
            ]);
        }
        all.push(instruction(JUMP_UNLESS_EQUAL, 2, 0, code.len() as i16, number));
        all.extend(code);
    }
    all
}

/// A driver and a number in one word. Larger ones would be those of another device.
fn number(major: u32, minor: u32) -> i32 {
    debug_assert!(major <= HIGHEST.0 && minor <= HIGHEST.1, "{major}:{minor}");
    (major << MINOR_BITS | minor) as i32
}

/// One that allows takes what it allows out of what is still wanted, in r3.
fn change(change: &Change, all: &mut Vec<u64>) {
    use code::{AND, JUMP_IF_EQUAL, JUMP_IF_EQUAL_32, JUMP_UNLESS_EQUAL, MOVE_REGISTER};
    let then = if change.allow {
        vec![instruction(AND, 3, 0, 0, !change.access.0), instruction(JUMP_IF_EQUAL, 3, 0, TO_ALLOW, 0)]
    } else {
        vec![
            instruction(MOVE_REGISTER, 0, 3, 0, 0),
            instruction(AND, 0, 0, 0, change.access.0),
            instruction(JUMP_UNLESS_EQUAL, 0, 0, TO_REFUSE, 0),
        ]
    };
    // The way past it comes first, as the verifier walks: where both ways meet it then knows that the other one, of which it
    // knows more, brings nothing new. Else its time would grow with the square of their number.
    let mut over = then.len() as i16;
    let mut conditions: Vec<[u64; 2]> = Vec::new();
    let mut only = |operation, register, value| {
        conditions.push([instruction(operation, register, 0, 1, value), instruction(code::JUMP, 0, 0, over, 0)]);
        over += 2;
    };
    match (change.major, change.minor) {
        (Some(major), Some(minor)) => only(JUMP_IF_EQUAL_32, 5, number(major, minor)),
        (Some(major), None) => only(JUMP_IF_EQUAL_32, 4, major as i32),
        (None, _) => {}
    }
    match change.kind {
        Some(Kind::Block) => only(JUMP_IF_EQUAL, 2, TYPE_BLOCK),
        Some(Kind::Character) => only(JUMP_IF_EQUAL, 2, TYPE_CHARACTER),
        None => {}
    }
    all.extend(conditions.into_iter().rev().flatten().chain(then));
}

/// Puts the rules on a group.
///
/// # Errors
/// Those of bpf(2).
pub fn restrict(group: BorrowedFd<'_>, rules: &[Rule], changes: &[Change]) -> rustix::io::Result<()> {
    use std::os::fd::AsFd;
    let loaded = sys::bpf::load_device_program(&program(rules, changes))?;
    sys::bpf::attach_device_program(group, loaded.as_fd())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a program as the kernel would, for the instructions that are used here.
    fn allows(program: &[u64], kind: i32, access: i32, major: u32, minor: u32) -> bool {
        let context = [(kind | access << 16) as u32, major, minor];
        let mut registers = [0u64; 11];
        let mut at = 0usize;
        loop {
            let word = program[at];
            let (operation, registers_used) = (word as u8, (word >> 8) as u8);
            let (to, from) = (usize::from(registers_used & 15), usize::from(registers_used >> 4));
            let offset = (word >> 16) as u16 as i16;
            let immediate = (word >> 32) as i32 as i64 as u64;
            at += 1;
            match operation {
                code::LOAD_WORD => registers[to] = u64::from(context[offset as usize / 4]),
                code::MOVE => registers[to] = immediate,
                code::MOVE_REGISTER => registers[to] = registers[from],
                code::AND => registers[to] &= immediate,
                code::OR_REGISTER => registers[to] |= registers[from],
                code::SHIFT_LEFT => registers[to] <<= immediate,
                code::SHIFT_RIGHT => registers[to] >>= immediate,
                code::JUMP => at += offset as usize,
                code::JUMP_IF_EQUAL if registers[to] == immediate => at += offset as usize,
                code::JUMP_UNLESS_EQUAL if registers[to] != immediate => at += offset as usize,
                code::JUMP_IF_EQUAL_32 if registers[to] as u32 == immediate as u32 => at += offset as usize,
                code::JUMP_UNLESS_EQUAL_32 if registers[to] as u32 != immediate as u32 => at += offset as usize,
                code::JUMP_IF_EQUAL | code::JUMP_UNLESS_EQUAL => {}
                code::JUMP_IF_EQUAL_32 | code::JUMP_UNLESS_EQUAL_32 => {}
                code::EXIT => return registers[0] == 1,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    const READ_WRITE: i32 = 6;

    #[test]
    fn what_the_rules_name_is_allowed_and_nothing_else() {
        let mut rules = STANDARD.to_vec();
        rules.push(Rule { kind: Kind::Block, major: 7, minor: Some(3), access: Access::ALL });
        let program = program(&rules, &[]);
        for access in [ACCESS_MKNOD, READ_WRITE, 7] {
            for (kind, major, minor, expected) in [
                (TYPE_CHARACTER, 1, 3, true),
                (TYPE_CHARACTER, 1, 9, true),
                (TYPE_CHARACTER, 1, 1, false),
                (TYPE_CHARACTER, 136, 77, true),
                (TYPE_CHARACTER, 137, 77, false),
                (TYPE_CHARACTER, 10, 229, true),
                (TYPE_CHARACTER, 7, 3, false),
                (TYPE_BLOCK, 7, 3, true),
                (TYPE_BLOCK, 7, 0, false),
                (TYPE_BLOCK, 1, 3, false),
                (TYPE_BLOCK, 136, 77, false),
                (TYPE_BLOCK, 254, 0, false),
            ] {
                assert_eq!(allows(&program, kind, access, major, minor), expected, "{kind} {access} {major}:{minor}");
            }
        }
    }

    #[test]
    fn rules_may_allow_a_part() {
        let rule = |kind, minor, access| Rule { kind, major: 9, minor, access };
        let rules = [
            rule(Kind::Character, Some(1), Access::new(true, false, false)),
            rule(Kind::Character, None, Access::new(false, true, true)),
            rule(Kind::Block, None, Access::new(true, true, false)),
        ];
        let program = program(&rules, &[]);
        for (kind, access, minor, expected) in [
            (TYPE_CHARACTER, ACCESS_READ, 1, true),
            (TYPE_CHARACTER, READ_WRITE, 1, false),
            (TYPE_CHARACTER, ACCESS_WRITE, 1, true),
            (TYPE_CHARACTER, ACCESS_READ, 2, false),
            (TYPE_CHARACTER, ACCESS_MKNOD, 2, true),
            (TYPE_BLOCK, READ_WRITE, 5, true),
            (TYPE_BLOCK, ACCESS_MKNOD, 5, false),
            (TYPE_BLOCK, 7, 5, false),
        ] {
            assert_eq!(allows(&program, kind, access, 9, minor), expected, "{kind} {access} 9:{minor}");
        }
        assert!(!allows(&program, TYPE_CHARACTER, ACCESS_READ, 1, 3));
    }

    #[test]
    fn whiteouts_may_be_made_but_not_opened() {
        let program = program(&STANDARD, &[]);
        assert!(allows(&program, TYPE_CHARACTER, ACCESS_MKNOD, 0, 0));
        assert!(!allows(&program, TYPE_CHARACTER, READ_WRITE, 0, 0));
        assert!(!allows(&program, TYPE_CHARACTER, 7, 0, 0));
    }

    /// What the words mean: from the last change to the first one, then the rules.
    fn expected(rules: &[Rule], changes: &[Change], kind: Kind, access: i32, (major, minor): (u32, u32)) -> bool {
        let fits = |of: Kind, with: u32, number: Option<u32>| {
            of == kind && with == major && number.is_none_or(|number| number == minor)
        };
        let whole = |rule: &Rule| rule.access == Access::ALL && fits(rule.kind, rule.major, rule.minor);
        if access == ACCESS_MKNOD && ((major, minor) == (0, 0) || rules.iter().any(whole)) {
            return true;
        }
        let mut wanted = access;
        for change in changes.iter().rev() {
            if !fits(change.kind.unwrap_or(kind), change.major.unwrap_or(major), change.minor) {
                continue;
            }
            match change.allow {
                true => wanted &= !change.access.0,
                false if wanted & change.access.0 != 0 => return false,
                false => {}
            }
            if wanted == 0 {
                return true;
            }
        }
        rules.iter().any(|rule| fits(rule.kind, rule.major, rule.minor) && wanted & !rule.access.0 == 0)
    }

    #[test]
    fn changes_come_before_the_rules_and_later_ones_first() {
        let kinds = [None, Some(Kind::Character), Some(Kind::Block)];
        let numbers =
            [(None, None), (Some(8), None), (Some(8), Some(1)), (Some(4095), Some((1 << 20) - 1)), (Some(1), Some(3))];
        let mut every = Vec::new();
        for (allow, kind) in [true, false].into_iter().flat_map(|allow| kinds.map(|kind| (allow, kind))) {
            for ((major, minor), access) in
                numbers.into_iter().flat_map(|number| [1, 2, 6, 7].map(|bits| (number, bits)))
            {
                every.push(Change { allow, kind, major, minor, access: Access(access) });
            }
        }
        let mut rules = STANDARD.to_vec();
        rules.push(Rule { kind: Kind::Block, major: 8, minor: None, access: Access::new(true, false, false) });
        let devices = [(8, 1), (8, 2), (1, 3), (1, 1), (4095, (1 << 20) - 1), (4095, 0), (0, 0)];
        for first in &every {
            for second in every.iter().step_by(7) {
                let changes = [*first, *second];
                let program = program(&rules, &changes);
                for (kind, number) in [(Kind::Character, TYPE_CHARACTER), (Kind::Block, TYPE_BLOCK)] {
                    for (device, access) in
                        devices.into_iter().flat_map(|device| [1, 2, 4, 6, 7].map(|bits| (device, bits)))
                    {
                        let expected = expected(&rules, &changes, kind, access, device);
                        let found = allows(&program, number, access, device.0, device.1);
                        assert_eq!(found, expected, "{changes:?} {kind:?} {access} {device:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_kernel_takes_as_many_changes_as_a_bundle_may_have() {
        testkit::requires!(root);
        let kinds = [Kind::Block, Kind::Character];
        for every in [1, 2, 3] {
            let changes: Vec<Change> = (0..1000usize)
                .map(|at| Change {
                    allow: at % 3 == 0,
                    kind: (at % every == 0).then_some(kinds[at % 2]),
                    major: (at % every == 0).then_some(at as u32),
                    minor: (at % (2 * every) == 0).then_some(at as u32),
                    access: Access([1, 2, 4, 6][at % 4]),
                })
                .collect();
            sys::bpf::load_device_program(&program(&STANDARD, &changes)).expect("a program");
        }
    }
}
