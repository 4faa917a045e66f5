use proptest::prelude::*;

use crate::compile::{
    AND, ARCH, IF_ABOVE, IF_ANY_BIT, IF_EQUAL, IF_NOT_BELOW, JUMP, LOAD, NUMBER, RETURN, RETURN_ERRNO,
};
use crate::groups::KNOWN;
use crate::names::NAMES;
use crate::{Arch, CallSet, Edit, Error, Families, Instruction, Policy, Refusal, compile, group};

pub(crate) const ALL_ARCHES: [Arch; 5] = [Arch::X86_64, Arch::X86, Arch::X32, Arch::Aarch64, Arch::Arm];
const ALLOW: u32 = 0x7fff_0000;
const EPERM: u32 = RETURN_ERRNO | 1;
const ENOSYS: u32 = RETURN_ERRNO | 38;
const EAFNOSUPPORT: u32 = RETURN_ERRNO | 97;

/// What the kernel does with a program.
pub(crate) struct Outcome {
    pub(crate) returned: u32,
    steps: usize,
    /// Whether only number and architecture were looked at, so that the kernel can cache the answer.
    pub(crate) constant: bool,
}

pub(crate) fn run(program: &[Instruction], arch: u32, number: u32, arguments: [u64; 6]) -> Outcome {
    let (mut accumulator, mut at, mut steps, mut constant) = (0, 0, 0, true);
    loop {
        let Instruction { code, jt, jf, k } = program[at];
        steps += 1;
        at += 1;
        match code {
            LOAD => {
                accumulator = match k {
                    NUMBER => number,
                    ARCH => arch,
                    16..64 if k % 4 == 0 => {
                        constant = false;
                        let argument = arguments[(k as usize - 16) / 8];
                        if k % 8 == 0 { argument as u32 } else { (argument >> 32) as u32 }
                    }
                    _ => panic!("load from {k}"),
                }
            }
            JUMP => at += k as usize,
            IF_EQUAL => at += usize::from(if accumulator == k { jt } else { jf }),
            IF_NOT_BELOW => at += usize::from(if accumulator >= k { jt } else { jf }),
            IF_ABOVE => at += usize::from(if accumulator > k { jt } else { jf }),
            AND => accumulator &= k,
            IF_ANY_BIT => at += usize::from(if accumulator & k != 0 { jt } else { jf }),
            RETURN => return Outcome { returned: k, steps, constant },
            _ => panic!("unknown operation {code:#x}"),
        }
    }
}

/// The checks of the kernel before it takes a program: every jump stays inside, the last instruction returns.
pub(crate) fn check(program: &[Instruction]) {
    assert!(!program.is_empty() && program.len() <= 4096);
    for (at, instruction) in program.iter().enumerate() {
        match instruction.code {
            JUMP => assert!(at + 1 + (instruction.k as usize) < program.len()),
            IF_EQUAL | IF_NOT_BELOW | IF_ABOVE | IF_ANY_BIT => {
                let furthest = usize::from(instruction.jt.max(instruction.jf));
                assert!(at + 1 + furthest < program.len());
            }
            LOAD => assert!(
                [NUMBER, ARCH].contains(&instruction.k) || (16..64).contains(&instruction.k) && instruction.k % 4 == 0
            ),
            RETURN | AND => {}
            code => panic!("operation {code:#x}"),
        }
    }
    assert_eq!(program.last().map(|last| last.code), Some(RETURN));
}

/// What should become of a call without arguments, straight from the policy.
fn expected(policy: &Policy, arches: &[Arch], audit: u32, number: u32) -> u32 {
    let arches: Vec<Arch> = arches.iter().copied().filter(|arch| arch.audit() == audit).collect();
    if number == u32::MAX && !arches.is_empty() {
        return ALLOW;
    }
    match arches.iter().find_map(|arch| arch.name(number)) {
        Some(name) if policy.allow().contains(name) => ALLOW,
        Some(name) if KNOWN.contains(name) => EPERM,
        _ => ENOSYS,
    }
}

fn interesting_numbers() -> impl Iterator<Item = u32> {
    let small = 0..=1024;
    let private = 0xf_0000..=0xf_0010;
    small.clone().chain(private).chain(small.map(|number| number | 0x4000_0000)).chain([
        0x3fff_ffff,
        0x7fff_ffff,
        0x8000_0000,
        u32::MAX - 1,
        u32::MAX,
    ])
}

fn compare(policy: &Policy, arches: &[Arch]) {
    let program = compile(policy, arches).unwrap();
    check(&program);
    for audit in ALL_ARCHES.map(Arch::audit).into_iter().chain([0, u32::MAX]) {
        for number in interesting_numbers() {
            let outcome = run(&program, audit, number, [0; 6]);
            assert_eq!(
                outcome.returned,
                expected(policy, arches, audit, number),
                "{arches:?}, architecture {audit:#x}, number {number:#x}"
            );
        }
    }
}

fn default_policy(capabilities: u64) -> Policy {
    Policy::container_default(capabilities, &[])
}

fn edit(word: &str) -> Edit {
    let name = word.strip_prefix('~');
    Edit { allow: name.is_none(), name: name.unwrap_or(word).to_owned(), refusal: None }
}

fn edited(words: &[&str]) -> Policy {
    Policy::container_default(0, &words.iter().copied().map(edit).collect::<Vec<_>>())
}

#[test]
fn names_are_sorted_and_few_enough() {
    assert!(NAMES.is_sorted_by(|left, right| left < right));
    assert!(NAMES.len() < usize::from(u16::MAX));
}

#[test]
fn call_tables_are_sorted_by_number() {
    for arch in ALL_ARCHES {
        assert!(arch.calls().is_sorted_by(|left, right| left.number < right.number), "{arch:?}");
    }
}

#[test]
fn numbers_are_those_of_the_kernel_headers() {
    let facts = [
        (Arch::X86_64, "read", 0),
        (Arch::X86_64, "socket", 41),
        (Arch::X86_64, "openat2", 437),
        (Arch::X86_64, "listns", 470),
        (Arch::X86, "break", 17),
        (Arch::X86, "socketcall", 102),
        (Arch::X86, "socket", 359),
        (Arch::X32, "read", 0x4000_0000),
        (Arch::X32, "ioctl", 0x4000_0202),
        (Arch::X32, "rt_sigaction", 0x4000_0200),
        (Arch::X32, "pwritev2", 0x4000_0223),
        (Arch::Aarch64, "newfstatat", 79),
        (Arch::Aarch64, "socket", 198),
        (Arch::Arm, "sync_file_range2", 341),
        (Arch::Arm, "set_tls", 0xf_0005),
    ];
    for (arch, name, number) in facts {
        assert_eq!(arch.number(name), Some(number), "{arch:?} {name}");
        assert_eq!(arch.name(number), Some(name), "{arch:?} {number:#x}");
    }
    assert_eq!(Arch::X32.name(0x4000_0010), None, "ioctl has a number of its own on x32");
    assert_eq!(Arch::X86_64.name(514), None);
    assert_eq!(Arch::Aarch64.number("open"), None);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn numbers_agree_with_the_installed_headers() {
    let headers =
        [(Arch::X86_64, "unistd_64.h", 0), (Arch::X86, "unistd_32.h", 0), (Arch::X32, "unistd_x32.h", 0x4000_0000)];
    for (arch, header, bit) in headers {
        let Ok(text) = std::fs::read_to_string(format!("/usr/include/x86_64-linux-gnu/asm/{header}")) else {
            eprintln!("skipped: {header} is not installed");
            continue;
        };
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let Some(name) = words.nth(1).and_then(|word| word.strip_prefix("__NR_")) else { continue };
            let Some(number) = words.last().and_then(|word| word.trim_end_matches(')').parse::<u32>().ok()) else {
                continue;
            };
            let known = arch.number(name);
            assert!(known == Some(number | bit) || known.is_none() && !NAMES.contains(&name), "{arch:?} {name}");
        }
    }
}

#[test]
fn the_program_does_what_the_policy_says() {
    for capabilities in [0, u64::MAX, 0x0000_01ff_fdec_afff] {
        let policy = default_policy(capabilities);
        compare(&policy, &[Arch::X86_64, Arch::X86, Arch::X32]);
        compare(&policy, &ALL_ARCHES);
        for arch in ALL_ARCHES {
            compare(&policy, &[arch]);
        }
    }
    compare(&default_policy(0), &[Arch::X32, Arch::X86_64, Arch::X32, Arch::X86_64]);
}

#[test]
fn defaults_follow_the_capabilities() {
    let with = |capability: u32| default_policy(1 << capability);
    for (capability, call) in [
        (14, "mlock"),
        (16, "finit_module"),
        (17, "iopl"),
        (19, "ptrace"),
        (20, "acct"),
        (22, "reboot"),
        (25, "clock_settime"),
        (26, "vhangup"),
        (34, "syslog"),
    ] {
        assert!(with(capability).allow().contains(call), "{call}");
        assert!(!default_policy(!(1 << capability)).allow().contains(call), "{call}");
    }
    let least = default_policy(0);
    for call in ["read", "mount", "setns", "clone3", "userfaultfd", "landlock_restrict_self", "socketcall"] {
        assert!(least.allow().contains(call), "{call}");
    }
    let most = default_policy(u64::MAX);
    for call in ["bpf", "kexec_load", "perf_event_open", "add_key", "keyctl", "swapon", "open_by_handle_at", "uselib"] {
        assert!(!most.allow().contains(call), "{call}");
    }
}

#[test]
fn edits_add_and_remove() {
    let policy = edited(&["@keyring", "bpf", "~mount", "mount", "~@sync"]);
    for (call, allowed) in
        [("add_key", true), ("keyctl", true), ("bpf", true), ("mount", false), ("fsync", false), ("read", true)]
    {
        assert_eq!(policy.allow().contains(call), allowed, "{call}");
    }
    compare(&policy, &[Arch::X86_64, Arch::X86, Arch::X32]);
}

#[test]
fn unknown_edits_are_named_and_change_nothing() {
    let policy = edited(&["reed", "~reed", "@sinc", "", "~@", "~mount:EPERM", "bpf", "~mkdir"]);
    assert_eq!(policy.unknown(), ["reed", "reed", "@sinc", "", "@", "mount:EPERM"]);
    assert_eq!(policy.allow(), edited(&["bpf", "~mkdir"]).allow());
    // Calls of other architectures are known, they have no effect here.
    let policy = edited(&["s390_runtime_instr", "osf_select", "~riscv_hwprobe"]);
    assert!(policy.unknown().is_empty());
    compare(&policy, &[Arch::X86_64]);
}

#[test]
fn everything_or_nothing_can_be_allowed() {
    let everything = edited(&["@known"]);
    assert_eq!(everything.allow(), &everything.allow().or(group("@known").unwrap()));
    compare(&everything, &[Arch::X86_64, Arch::X86, Arch::X32]);
    let nothing = edited(&["~@known"]);
    assert_eq!(nothing.allow().without(group("@file-system").unwrap()), CallSet::EMPTY);
    assert!(ALL_ARCHES.iter().flat_map(|arch| arch.calls()).all(|call| !nothing.allow().has(call.id)));
    compare(&nothing, &[Arch::X86_64, Arch::X86, Arch::X32]);
    assert_eq!(compile(&nothing, &[]), Err(Error::NoArch));
}

#[test]
fn groups_contain_what_they_include() {
    let privileged = group("@privileged").unwrap();
    for call in ["chown", "clock_settime", "init_module", "iopl", "reboot", "swapon", "acct"] {
        assert!(privileged.contains(call), "{call}");
    }
    assert!(group("@default").unwrap().contains("seccomp"));
    assert!(group("@nothing").is_none());
    assert_eq!(group("@module").unwrap().names().collect::<Vec<_>>(), ["delete_module", "finit_module", "init_module"]);
}

#[test]
fn audit_sockets_are_refused() {
    let policy = default_policy(u64::MAX);
    let program = compile(&policy, &ALL_ARCHES).unwrap();
    for arch in ALL_ARCHES {
        let number = arch.number("socket").unwrap();
        let socket = |family: u64, protocol: u64| run(&program, arch.audit(), number, [family, 3, protocol, 7, 8, 9]);
        assert_eq!(socket(16, 9).returned, EAFNOSUPPORT, "{arch:?}");
        // The kernel looks at the low halves only.
        assert_eq!(socket(16 | 1 << 32, 9 | 1 << 63).returned, EAFNOSUPPORT, "{arch:?}");
        for (family, protocol) in [(16, 0), (16, 8), (16, 10), (2, 9), (1, 0), (9, 16), (16 << 32, 9 << 32)] {
            assert_eq!(socket(family, protocol).returned, ALLOW, "{arch:?} {family} {protocol}");
        }
    }
    let without = compile(&edited(&["~socket"]), &ALL_ARCHES).unwrap();
    let number = Arch::X86_64.number("socket").unwrap();
    assert_eq!(run(&without, Arch::X86_64.audit(), number, [16, 3, 9, 0, 0, 0]).returned, EPERM);
}

#[test]
fn all_but_socket_can_be_cached() {
    let program = compile(&default_policy(u64::MAX), Arch::native()).unwrap();
    for arch in Arch::native() {
        for call in arch.calls() {
            let outcome = run(&program, arch.audit(), call.number, [0; 6]);
            let name = arch.name(call.number).unwrap();
            assert_eq!(outcome.constant, name != "socket", "{arch:?} {name}");
        }
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn the_default_program_is_short_and_shallow() {
    let policy = default_policy(0x0000_0000_fdec_afff);
    let alone = compile(&policy, &[Arch::X86_64]).unwrap().len();
    let program = compile(&policy, Arch::native()).unwrap();
    assert!(alone <= 111, "{alone} instructions for x86-64");
    assert!(program.len() <= 300, "{} instructions", program.len());
    let steps = |name| {
        let number = Arch::X86_64.number(name).unwrap();
        run(&program, Arch::X86_64.audit(), number, [0; 6]).steps
    };
    for name in ["read", "write", "close", "openat", "futex", "mmap", "epoll_wait"] {
        assert!(steps(name) <= 11, "{name}: {} steps", steps(name));
    }
    let all: Vec<usize> =
        Arch::X86_64.calls().iter().map(|call| steps(Arch::X86_64.name(call.number).unwrap())).collect();
    assert!(all.iter().all(|&steps| steps <= 16), "{:?} steps", all.iter().max());
}

proptest! {
    #[test]
    fn random_policies_and_numbers(
        capabilities: u64,
        words in prop::collection::vec((any::<bool>(), prop::sample::select(NAMES)), 0..40),
        arches in prop::sample::subsequence(ALL_ARCHES.to_vec(), 1..=5).prop_shuffle(),
        numbers in prop::collection::vec(any::<u32>(), 0..50),
        arguments: [u64; 6],
    ) {
        let edits: Vec<Edit> = words.iter().map(|&(allow, name)| Edit { allow, name: name.to_owned(), refusal: None }).collect();
        let policy = Policy::container_default(capabilities, &edits);
        let program = compile(&policy, &arches).unwrap();
        check(&program);
        for arch in ALL_ARCHES {
            for number in numbers.iter().copied().chain(0..600).chain(0x4000_0000..0x4000_0240) {
                let outcome = run(&program, arch.audit(), number, arguments);
                let wanted = expected(&policy, &arches, arch.audit(), number);
                if outcome.returned == EAFNOSUPPORT {
                    prop_assert_eq!(wanted, ALLOW);
                    prop_assert!(arguments[0] as u32 == 16 && arguments[2] as u32 == 9);
                } else {
                    prop_assert_eq!(outcome.returned, wanted);
                }
            }
        }
    }
}

#[test]
fn suppressed_syncing_succeeds_and_synchronous_files_cannot_be_opened() {
    const O_SYNC: u64 = 0o4_010_000;
    const DONE: u32 = RETURN_ERRNO;
    const EINVAL: u32 = RETURN_ERRNO | 22;
    let arches = [Arch::X86_64, Arch::X86];
    let program = compile(&default_policy(0).with_suppressed_sync(true), &arches).unwrap();
    check(&program);
    for arch in arches {
        let call = |name, arguments| run(&program, arch.audit(), arch.number(name).unwrap(), arguments).returned;
        for name in ["fsync", "fdatasync", "sync", "syncfs", "msync", "sync_file_range"] {
            assert_eq!(call(name, [7; 6]), DONE, "{name}");
        }
        for name in ["fsync", "fdatasync", "syncfs", "sync_file_range"] {
            assert_eq!(
                call(name, [u64::MAX, 0, 0, 0, 0, 0]),
                ALLOW,
                "{name}: the kernel says that it is no descriptor"
            );
            assert_eq!(call(name, [0xffff_ffff, 0, 0, 0, 0, 0]), ALLOW, "{name}");
        }
        for flags in [O_SYNC, 0o10_000, O_SYNC | 0o101] {
            assert_eq!(call("open", [0, flags, 0, 0, 0, 0]), EINVAL);
            assert_eq!(call("openat", [0, 0, flags, 0, 0, 0]), EINVAL);
        }
        assert_eq!(call("open", [u64::MAX, 0o101, u64::MAX, 0, 0, 0]), ALLOW);
        assert_eq!(call("openat", [u64::MAX, u64::MAX, 0o2_000_101, 0, 0, 0]), ALLOW);
        assert_eq!(call("openat2", [0; 6]), ENOSYS);
        assert_eq!(call("write", [0; 6]), ALLOW);
        assert_eq!(call("kexec_load", [0; 6]), EPERM);
    }
    let plain = compile(&default_policy(0), &arches).unwrap();
    assert_eq!(run(&plain, Arch::X86_64.audit(), Arch::X86_64.number("fsync").unwrap(), [0; 6]).returned, ALLOW);
}

#[test]
fn refusals_have_the_error_that_was_asked_for() {
    let with = |name: &str, refusal| Edit { allow: false, name: name.to_owned(), refusal };
    let edits = [
        with("mount", Some(Refusal::Errno(13))),
        with("@swap", Some(Refusal::Kill)),
        with("umount2", None),
        with("read", Some(Refusal::Errno(5))),
        with("read", Some(Refusal::Errno(6))),
        edit("mount"),
    ];
    let policy = Policy::container_default(0, &edits);
    let program = compile(&policy, &ALL_ARCHES).unwrap();
    check(&program);
    for arch in ALL_ARCHES {
        let call = |name| run(&program, arch.audit(), arch.number(name).unwrap(), [0; 6]).returned;
        assert_eq!(call("mount"), RETURN_ERRNO | 13, "{arch:?}");
        assert_eq!(call("swapon"), 0x8000_0000, "{arch:?}");
        assert_eq!(call("umount2"), EPERM, "{arch:?}");
        assert_eq!(call("read"), RETURN_ERRNO | 6, "{arch:?}");
        assert_eq!(call("write"), ALLOW, "{arch:?}");
    }
}

#[test]
fn families_are_looked_at_where_that_was_asked_for() {
    let restricted = |families| {
        let program = compile(&default_policy(0).with_families(Some(families)), &ALL_ARCHES).unwrap();
        check(&program);
        program
    };
    let socket = |program: &[Instruction], arch: Arch, family: u64, protocol: u64| {
        run(program, arch.audit(), arch.number("socket").unwrap(), [family, 1, protocol, 0, 0, 0]).returned
    };
    for known in [0, 1, 0b110, 1 << 16, 1 << 63, 0x5555_5555_5555_5555, u64::MAX, !(1 << 17), 0xffff_0000_ff00_f0f1] {
        for others in [false, true] {
            let program = restricted(Families { known, others });
            for arch in ALL_ARCHES {
                for family in (0..70).chain([0xffff_ffff, 2 | 1 << 32]) {
                    let low = family & 0xffff_ffff;
                    let allowed = if low < 64 { known >> low & 1 != 0 } else { others };
                    let wanted = if allowed { ALLOW } else { EAFNOSUPPORT };
                    assert_eq!(socket(&program, arch, family, 0), wanted, "{arch:?} {known:#x} {others} {family}");
                }
                assert_eq!(socket(&program, arch, 16, 9), EAFNOSUPPORT, "audit, {arch:?}");
                let call = |name, first| {
                    arch.number(name).map(|number| run(&program, arch.audit(), number, [first; 6]).returned)
                };
                assert_eq!(call("socketcall", 1).unwrap_or(EAFNOSUPPORT), EAFNOSUPPORT);
                assert_eq!(call("socketcall", 8).unwrap_or(ALLOW), ALLOW, "socketpair");
                assert_eq!(call("socketpair", 1), Some(ALLOW).filter(|_| arch.number("socketpair").is_some()));
                assert_eq!(call("io_uring_setup", 1), Some(ENOSYS));
                assert_eq!(call("read", 1), Some(ALLOW));
                assert_eq!(call("kexec_load", 1), Some(EPERM));
            }
        }
    }
    let plain = compile(&default_policy(0), &ALL_ARCHES).unwrap();
    let call = |name| run(&plain, Arch::X86.audit(), Arch::X86.number(name).unwrap(), [1; 6]).returned;
    assert_eq!((call("socketcall"), call("io_uring_setup")), (ALLOW, ALLOW));
}

#[test]
fn a_policy_knows_whether_it_lets_the_usual_through() {
    let edit = |allow, name: &str| Edit { allow, name: name.to_owned(), refusal: None };
    let usual = |capabilities, edits: &[Edit]| Policy::container_default(capabilities, edits);
    assert!(usual(u64::MAX, &[]).lets_the_usual_through());
    assert!(usual(0, &[edit(true, "@keyring")]).lets_the_usual_through());
    // Only where the usual is meant.
    assert!(usual(0, &[edit(false, "kexec_load"), edit(false, "no-such-call")]).lets_the_usual_through());
    for name in ["mount", "@mount", "execve", "umask", "@file-system"] {
        assert!(!usual(u64::MAX, &[edit(false, name)]).lets_the_usual_through(), "{name}");
    }
    assert!(!usual(0, &[]).with_suppressed_sync(true).lets_the_usual_through());
    let families = Families { known: 1 << 1, others: false };
    assert!(!usual(0, &[]).with_families(Some(families)).lets_the_usual_through());
}
