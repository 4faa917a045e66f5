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

/// A device that may be opened for reading and writing, and that nodes may be made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Of which kind.
    pub kind: Kind,
    /// Its driver.
    pub major: u32,
    /// Its number there; all where absent.
    pub minor: Option<u32>,
}

const fn character(major: u32, minor: Option<u32>) -> Rule {
    Rule { kind: Kind::Character, major, minor }
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

/// As the kernel names them in the low half of the first word of the context (`<linux/bpf.h>`).
const TYPE_BLOCK: i32 = 1;
const TYPE_CHARACTER: i32 = 2;

/// Access bits in the high half of the same word.
const ACCESS_MKNOD: i32 = 1 << 16;
const ACCESS_ALL: i32 = 7 << 16;

/// Instruction codes of eBPF.
mod code {
    pub(super) const LOAD_WORD: u8 = 0x61;
    pub(super) const MOVE: u8 = 0xb4;
    pub(super) const MOVE_REGISTER: u8 = 0xbc;
    pub(super) const AND: u8 = 0x54;
    pub(super) const JUMP_UNLESS_EQUAL: u8 = 0x56;
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
#[must_use]
pub fn program(rules: &[Rule]) -> Vec<u64> {
    use code::{AND, EXIT, JUMP_UNLESS_EQUAL, LOAD_WORD, MOVE, MOVE_REGISTER};
    // r2: kind, r3: access, r4: major, r5: minor.
    let mut all = vec![
        instruction(LOAD_WORD, 2, 1, 0, 0),
        instruction(MOVE_REGISTER, 3, 2, 0, 0),
        instruction(AND, 2, 0, 0, 0xffff),
        instruction(AND, 3, 0, 0, ACCESS_ALL),
        instruction(LOAD_WORD, 4, 1, 4, 0),
        instruction(LOAD_WORD, 5, 1, 8, 0),
        // Making a node of 0:0 opens nothing.
        instruction(JUMP_UNLESS_EQUAL, 3, 0, 4, ACCESS_MKNOD),
        instruction(JUMP_UNLESS_EQUAL, 4, 0, 3, 0),
        instruction(JUMP_UNLESS_EQUAL, 5, 0, 2, 0),
        instruction(MOVE, 0, 0, 0, 1),
        instruction(EXIT, 0, 0, 0, 0),
    ];
    for rule in rules {
        let kind = match rule.kind {
            Kind::Block => TYPE_BLOCK,
            Kind::Character => TYPE_CHARACTER,
        };
        let rest = if rule.minor.is_some() { 4 } else { 3 };
        all.push(instruction(JUMP_UNLESS_EQUAL, 2, 0, rest, kind));
        all.push(instruction(JUMP_UNLESS_EQUAL, 4, 0, rest - 1, rule.major as i32));
        if let Some(minor) = rule.minor {
            all.push(instruction(JUMP_UNLESS_EQUAL, 5, 0, 2, minor as i32));
        }
        all.push(instruction(MOVE, 0, 0, 0, 1));
        all.push(instruction(EXIT, 0, 0, 0, 0));
    }
    all.push(instruction(MOVE, 0, 0, 0, 0));
    all.push(instruction(EXIT, 0, 0, 0, 0));
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
