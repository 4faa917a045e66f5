use proptest::prelude::*;

use super::{Comparison, Condition, Profile, Verdict};
use crate::tests::{ALL_ARCHES, check, run};
use crate::{Arch, Error, Instruction};

const ALLOW: u32 = 0x7fff_0000;
const KILL_THREAD: u32 = 0;
const EPERM: u32 = 0x0005_0001;
const X86_ARCHES: [Arch; 3] = [Arch::X86_64, Arch::X86, Arch::X32];

fn compiled(profile: &Profile, arches: &[Arch]) -> Vec<Instruction> {
    let program = profile.compile(arches).unwrap();
    check(&program);
    program
}

fn call(program: &[Instruction], arch: Arch, name: &str, arguments: [u64; 6]) -> u32 {
    run(program, arch.audit(), arch.number(name).unwrap(), arguments).returned
}

fn condition(argument: u8, comparison: Comparison) -> Condition {
    Condition { argument, comparison }
}

/// What a condition means, without halves.
fn holds(condition: &Condition, arguments: [u64; 6]) -> bool {
    let argument = arguments[usize::from(condition.argument)];
    match condition.comparison {
        Comparison::Equal(value) => argument == value,
        Comparison::NotEqual(value) => argument != value,
        Comparison::Less(value) => argument < value,
        Comparison::LessOrEqual(value) => argument <= value,
        Comparison::GreaterOrEqual(value) => argument >= value,
        Comparison::Greater(value) => argument > value,
        Comparison::Masked { mask, value } => argument & mask == value,
    }
}

#[test]
fn verdicts_are_those_of_the_kernel() {
    let all = [
        (Verdict::KillProcess, 0x8000_0000),
        (Verdict::KillThread, 0),
        (Verdict::Trap, 0x0003_0000),
        (Verdict::Errno(0), 0x0005_0000),
        (Verdict::Errno(4095), 0x0005_0fff),
        (Verdict::Trace(7), 0x7ff0_0007),
        (Verdict::Log, 0x7ffc_0000),
        (Verdict::Allow, ALLOW),
    ];
    for (verdict, value) in all {
        let mut profile = Profile::new(verdict);
        let program = compiled(&profile, &ALL_ARCHES);
        for arch in ALL_ARCHES {
            assert_eq!(call(&program, arch, "read", [0; 6]), value);
        }
        profile = Profile::new(Verdict::Allow);
        profile.add("getppid", &[], verdict).unwrap();
        let program = compiled(&profile, &ALL_ARCHES);
        for arch in ALL_ARCHES {
            assert_eq!((call(&program, arch, "getppid", [0; 6]), call(&program, arch, "read", [0; 6])), (value, ALLOW));
        }
    }
    let leniency: Vec<_> = all.iter().map(|(verdict, _)| verdict.leniency()).collect();
    assert!(leniency.is_sorted());
}

#[test]
fn other_architectures_are_closed() {
    let program = compiled(&Profile::new(Verdict::Allow), &[Arch::X86_64]);
    assert_eq!(call(&program, Arch::X86_64, "read", [0; 6]), ALLOW);
    for arch in [Arch::X86, Arch::X32, Arch::Aarch64, Arch::Arm] {
        assert_eq!(call(&program, arch, "read", [0; 6]), KILL_THREAD, "{arch:?}");
    }
    for number in [0x4000_0000, 0x4000_ffff, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe] {
        assert_eq!(run(&program, Arch::X32.audit(), number, [0; 6]).returned, KILL_THREAD, "{number:#x}");
    }
    assert_eq!(run(&program, Arch::X86_64.audit(), u32::MAX, [0; 6]).returned, ALLOW, "a call that a tracer skips");
    let program = compiled(&Profile::new(Verdict::Allow), &[Arch::X32]);
    assert_eq!(call(&program, Arch::X32, "read", [0; 6]), ALLOW);
    assert_eq!(call(&program, Arch::X86_64, "read", [0; 6]), KILL_THREAD);
    assert_eq!(Profile::new(Verdict::Allow).compile(&[]), Err(Error::NoArch));
}

#[test]
fn numbers_without_a_name_are_as_all_others() {
    let mut profile = Profile::new(Verdict::Errno(38));
    profile.add("read", &[], Verdict::Allow).unwrap();
    let program = compiled(&profile, &X86_ARCHES);
    for number in [335, 999, 0x3fff_ffff, 0x4000_0010, 0x4fff_ffff, 0xffff_fffe] {
        assert_eq!(run(&program, Arch::X86_64.audit(), number, [0; 6]).returned, 0x0005_0026, "{number:#x}");
    }
}

#[test]
fn both_halves_are_compared() {
    let high = 5 << 32;
    let edges = [0, 1, 4, 5, 6, u64::from(u32::MAX), high - 1, high, high | 4, high | 5, high | 6, 6 << 32, u64::MAX];
    let comparisons = edges.into_iter().flat_map(|value| {
        [
            Comparison::Equal(value),
            Comparison::NotEqual(value),
            Comparison::Less(value),
            Comparison::LessOrEqual(value),
            Comparison::GreaterOrEqual(value),
            Comparison::Greater(value),
            Comparison::Masked { mask: value, value: value & 0x5_0000_0005 },
            Comparison::Masked { mask: 0x7_0000_0000, value },
            Comparison::Masked { mask: 4, value },
        ]
    });
    for comparison in comparisons {
        for argument in 0..6 {
            let mut profile = Profile::new(Verdict::Allow);
            let one = condition(argument, comparison);
            profile.add("mmap", &[one], Verdict::Errno(1)).unwrap();
            let program = compiled(&profile, &[Arch::X86_64]);
            for value in edges {
                let mut arguments = [7; 6];
                arguments[usize::from(argument)] = value;
                let wanted = if holds(&one, arguments) { EPERM } else { ALLOW };
                assert_eq!(call(&program, Arch::X86_64, "mmap", arguments), wanted, "{one:?} {value:#x}");
            }
        }
    }
}

#[test]
fn the_strictest_rule_that_fits_decides() {
    let is = |value| [condition(0, Comparison::Equal(value))];
    let mut profile = Profile::new(Verdict::Errno(1));
    profile.add("socket", &[], Verdict::Allow).unwrap();
    profile.add("socket", &is(16), Verdict::Errno(22)).unwrap();
    profile.add("socket", &is(16), Verdict::Errno(23)).unwrap();
    profile.add("socket", &is(17), Verdict::KillProcess).unwrap();
    // More lenient than what is said of all of its calls: without effect.
    profile.add("clone3", &[], Verdict::Errno(38)).unwrap();
    profile.add("clone3", &is(0), Verdict::Allow).unwrap();
    let program = compiled(&profile, &X86_ARCHES);
    for arch in X86_ARCHES {
        let socket = |family| call(&program, arch, "socket", [family, 0, 0, 0, 0, 0]);
        assert_eq!((socket(1), socket(16), socket(17)), (ALLOW, 0x0005_0016, 0x8000_0000), "{arch:?}");
        assert_eq!(call(&program, arch, "clone3", [0; 6]), 0x0005_0026);
        assert_eq!(call(&program, arch, "read", [0; 6]), EPERM);
    }
    // Only calls with a condition are looked at more closely.
    assert!(run(&program, Arch::X86_64.audit(), 0, [0; 6]).constant);
    assert!(!run(&program, Arch::X86_64.audit(), 41, [0; 6]).constant);
}

#[test]
fn calls_behind_another_one_cannot_be_made_around_a_rule() {
    let packet = [condition(0, Comparison::Equal(17))];
    let mut profile = Profile::new(Verdict::Allow);
    profile.add("socket", &packet, Verdict::Errno(1)).unwrap();
    profile.add("shmget", &[], Verdict::Errno(13)).unwrap();
    let program = compiled(&profile, &X86_ARCHES);
    let socketcall = |program: &[Instruction], number| call(program, Arch::X86, "socketcall", [number; 6]);
    // What the family is cannot be seen.
    assert_eq!((socketcall(&program, 1), socketcall(&program, 2)), (EPERM, ALLOW));
    let ipc = |number| call(&program, Arch::X86, "ipc", [number, 0, 0, 0, 0, 0]);
    assert_eq!((ipc(23), ipc(23 | 1 << 16), ipc(24)), (0x0005_000d, 0x0005_000d, ALLOW));
    // It has a rule of its own.
    profile.add("socketcall", &[], Verdict::Allow).unwrap();
    assert_eq!(socketcall(&compiled(&profile, &X86_ARCHES), 1), ALLOW);
    let mut profile = Profile::new(Verdict::Errno(1));
    profile.add("socket", &packet, Verdict::Allow).unwrap();
    profile.add("bind", &[], Verdict::Allow).unwrap();
    let program = compiled(&profile, &X86_ARCHES);
    assert_eq!((socketcall(&program, 1), socketcall(&program, 2), socketcall(&program, 3)), (EPERM, ALLOW, EPERM));
}

#[test]
fn unknown_names_never_let_a_call_through() {
    let mut profile = Profile::new(Verdict::Errno(1));
    assert_eq!(profile.add("reed", &[], Verdict::Allow), Ok(()));
    assert_eq!(profile.add("reed", &[], Verdict::Errno(2)), Ok(()));
    assert_eq!(profile.add("reed", &[], Verdict::KillThread), Err(Error::UnknownCall("reed".to_owned())));
    assert_eq!(profile.add("read", &[condition(6, Comparison::Equal(0))], Verdict::Allow), Err(Error::NoArgument(6)));
    assert_eq!(Profile::new(Verdict::Allow).add("reed", &[], Verdict::Log), Err(Error::UnknownCall("reed".to_owned())));
}

#[test]
fn long_checks_are_reached() {
    let mut profile = Profile::new(Verdict::Errno(1));
    for (index, name) in ["read", "write", "mmap", "ioctl", "close", "socket"].into_iter().enumerate() {
        for value in 0..60 {
            let conditions = [condition(index as u8, Comparison::Equal(value << 31 | value))];
            profile.add(name, &conditions, Verdict::Errno(100 + value as u16)).unwrap();
        }
    }
    let program = compiled(&profile, &[Arch::X86_64]);
    for (index, name) in ["read", "write", "mmap", "ioctl", "close", "socket"].into_iter().enumerate() {
        for value in 0..61 {
            let mut arguments = [u64::MAX; 6];
            arguments[index] = value << 31 | value;
            let wanted = if value < 60 { 0x0005_0000 | (100 + value as u32) } else { EPERM };
            assert_eq!(call(&program, Arch::X86_64, name, arguments), wanted, "{name} {value}");
        }
    }
    for value in 0..2000 {
        profile.add("read", &[condition(0, Comparison::Equal(value << 20))], Verdict::Allow).unwrap();
    }
    assert!(matches!(profile.compile(&[Arch::X86_64]), Err(Error::TooLong(_))));
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        Just(Verdict::KillProcess),
        Just(Verdict::KillThread),
        Just(Verdict::Trap),
        (0..4096u16).prop_map(Verdict::Errno),
        any::<u16>().prop_map(Verdict::Trace),
        Just(Verdict::Log),
        Just(Verdict::Allow),
    ]
}

/// Numbers near each other, so that comparisons go both ways.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..4u64, (0..4u64, 0..4u64).prop_map(|(high, low)| high << 32 | low), any::<u64>()]
}

fn comparison() -> impl Strategy<Value = Comparison> {
    (0..7, number(), number()).prop_map(|(kind, value, mask)| match kind {
        0 => Comparison::Equal(value),
        1 => Comparison::NotEqual(value),
        2 => Comparison::Less(value),
        3 => Comparison::LessOrEqual(value),
        4 => Comparison::GreaterOrEqual(value),
        5 => Comparison::Greater(value),
        _ => Comparison::Masked { mask, value },
    })
}

const NAMES: [&str; 8] = ["read", "write", "socketpair", "rt_sigreturn", "ioctl", "exit", "openat", "openat2"];

proptest! {
    #[test]
    fn the_program_does_what_the_rules_say(
        default in verdict(),
        rules in prop::collection::vec(
            (prop::sample::select(&NAMES[..]), prop::collection::vec((0..6u8, comparison()), 0..4), verdict()),
            0..24,
        ),
        arches in prop::sample::subsequence(ALL_ARCHES.to_vec(), 1..=5).prop_shuffle(),
        samples in prop::collection::vec([number(), number(), number(), number(), number(), number()], 1..20),
    ) {
        let mut profile = Profile::new(default);
        let rules: Vec<_> = rules
            .into_iter()
            .map(|(name, conditions, verdict)| {
                let all = conditions.into_iter().map(|(argument, comparison)| condition(argument, comparison));
                (name, all.collect::<Vec<_>>(), verdict)
            })
            .collect();
        for (name, conditions, verdict) in &rules {
            profile.add(name, conditions, *verdict).unwrap();
        }
        let program = compiled(&profile, &arches);
        for arch in ALL_ARCHES {
            for name in NAMES.into_iter().chain(["getpid", "reboot"]) {
                for arguments in &samples {
                    let fits = |rule: &&(&str, Vec<Condition>, Verdict)| {
                        rule.0 == name && rule.1.iter().all(|condition| holds(condition, *arguments))
                    };
                    let strictest = rules.iter().filter(fits).min_by_key(|rule| rule.2.leniency());
                    let wanted = match arches.contains(&arch) {
                        true => strictest.map_or(default, |rule| rule.2).value(),
                        false => KILL_THREAD,
                    };
                    prop_assert_eq!(call(&program, arch, name, *arguments), wanted, "{:?} {} {:?}", arch, name, arguments);
                }
            }
        }
    }
}
