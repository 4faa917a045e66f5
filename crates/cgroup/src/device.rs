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

/// How far a driver is shifted to stand before the device's number, which has 20 bits, in one register.
const MINOR_BITS: i32 = 20;
/// The access bit of making a node, in the high half of the context's first word; the others open one.
const ACCESS_MKNOD: i32 = 1;
const ACCESS_READ: i32 = 2;
const ACCESS_WRITE: i32 = 4;

/// Stands for the way to the place that allows, until that is known.
const TO_ALLOW: i16 = i16::MIN;

/// Instruction codes of eBPF (RFC 9669), those that are needed.
mod code {
    pub(super) const LOAD_WORD: u8 = 0x61;
    pub(super) const MOVE: u8 = 0xb7;
    pub(super) const MOVE_REGISTER: u8 = 0xbf;
    pub(super) const AND: u8 = 0x57;
    pub(super) const OR_REGISTER: u8 = 0x4f;
    pub(super) const SHIFT_LEFT: u8 = 0x67;
    pub(super) const SHIFT_RIGHT: u8 = 0x77;
    pub(super) const JUMP_IF_EQUAL: u8 = 0x15;
    pub(super) const JUMP_UNLESS_EQUAL: u8 = 0x55;
    pub(super) const EXIT: u8 = 0x95;
}

fn instruction(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> u64 {
    u64::from(code)
        | u64::from(destination | source << 4) << 8
        | u64::from(offset as u16) << 16
        | u64::from(immediate as u32) << 32
}

/// The program: the rules allow, all else is refused, except that nodes without a driver (0:0, overlayfs's whiteouts)
/// may be made.
///
/// Each rule that allows everything is a single comparison that jumps to the one place that allows: the kernel's verifier walks every branch,
/// so its time, which is part of every start, grows with their number.
#[must_use]
pub fn program(rules: &[Rule]) -> Vec<u64> {
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
    let compare = |rule: &Rule, operation, offset: i16| match rule.minor {
        Some(minor) => instruction(operation, 5, 0, offset, (rule.major << MINOR_BITS | minor) as i32),
        None => instruction(operation, 4, 0, offset, rule.major as i32),
    };
    let rules_for = |kind| {
        let mut code = Vec::new();
        for rule in rules.iter().filter(|rule| rule.kind == kind) {
            if rule.access == Access::ALL {
                code.push(compare(rule, JUMP_IF_EQUAL, TO_ALLOW));
                continue;
            }
            // The device's number is part of r5, so r0 is free for what is wanted beyond the rule.
            code.extend([
                compare(rule, JUMP_UNLESS_EQUAL, 3),
                instruction(MOVE_REGISTER, 0, 3, 0, 0),
                instruction(AND, 0, 0, 0, !rule.access.0),
                instruction(JUMP_IF_EQUAL, 0, 0, TO_ALLOW, 0),
            ]);
        }
        code
    };
    all.push(instruction(JUMP_UNLESS_EQUAL, 3, 0, 1, ACCESS_MKNOD));
    all.push(instruction(JUMP_IF_EQUAL, 5, 0, TO_ALLOW, 0));
    for (kind, number) in [(Kind::Character, TYPE_CHARACTER), (Kind::Block, TYPE_BLOCK)] {
        let code = rules_for(kind);
        all.push(instruction(JUMP_UNLESS_EQUAL, 2, 0, code.len() as i16, number));
        all.extend(code);
    }
    all.extend([instruction(MOVE, 0, 0, 0, 0), instruction(EXIT, 0, 0, 0, 0)]);
    let allow = all.len();
    for (at, word) in all.iter_mut().enumerate() {
        if (*word >> 16) as u16 as i16 == TO_ALLOW {
            let offset = (allow - at - 1) as u16;
            *word = *word & !(0xffff << 16) | u64::from(offset) << 16;
        }
    }
    all.extend([instruction(MOVE, 0, 0, 0, 1), instruction(EXIT, 0, 0, 0, 0)]);
    all
}

/// Puts the rules on a group.
///
/// # Errors
/// Those of bpf(2).
pub fn restrict(group: BorrowedFd<'_>, rules: &[Rule]) -> rustix::io::Result<()> {
    use std::os::fd::AsFd;
    let loaded = sys::bpf::load_device_program(&program(rules))?;
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
                code::JUMP_IF_EQUAL if registers[to] == immediate => at += offset as usize,
                code::JUMP_UNLESS_EQUAL if registers[to] != immediate => at += offset as usize,
                code::JUMP_IF_EQUAL | code::JUMP_UNLESS_EQUAL => {}
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
        let program = program(&rules);
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
        let program = program(&rules);
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
        let program = program(&STANDARD);
        assert!(allows(&program, TYPE_CHARACTER, ACCESS_MKNOD, 0, 0));
        assert!(!allows(&program, TYPE_CHARACTER, READ_WRITE, 0, 0));
        assert!(!allows(&program, TYPE_CHARACTER, 7, 0, 0));
    }
}
