use serde_json::{Value, json};

use super::super::node::Node;
use super::{CallAction, CallComparison, CallCondition, CallInterface, CallProfile, read};

fn parsed(profile: &Value) -> Result<CallProfile, String> {
    let document = json!({"linux": {"seccomp": profile}});
    let mut linux = Node::root(document).object().unwrap().need("linux").unwrap().object().unwrap();
    read(linux.need("seccomp").unwrap()).map_err(|error| error.to_string())
}

fn rule(rule: &Value) -> Value {
    json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]})
}

fn compared(condition: &Value) -> Value {
    rule(&json!({"names": ["read"], "action": "SCMP_ACT_ERRNO", "args": [condition]}))
}

#[test]
fn a_whole_profile() {
    let profile = parsed(&json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 38,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X86", "SCMP_ARCH_S390X", "SCMP_ARCH_NATIVE"],
        "flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC"],
        "syscalls": [
            {"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 22, "args": [
                {"index": 0, "value": 16, "valueTwo": 0, "op": "SCMP_CMP_EQ"},
                {"index": 2, "value": u64::MAX, "valueTwo": 9, "op": "SCMP_CMP_MASKED_EQ"}
            ]}
        ]
    }))
    .unwrap();
    assert_eq!(profile.default, CallAction::Errno(38));
    assert_eq!(profile.interfaces, [CallInterface::X86_64, CallInterface::X86]);
    assert_eq!((profile.log, profile.allow_speculation), (true, false));
    assert_eq!(
        (&profile.rules[0].names[..], profile.rules[0].action),
        (&["read".into(), "write".into()][..], CallAction::Allow)
    );
    assert_eq!(profile.rules[1].action, CallAction::Errno(22));
    let condition = |argument, comparison, value, masked| CallCondition { argument, comparison, value, masked };
    assert_eq!(
        profile.rules[1].conditions,
        [condition(0, CallComparison::Equal, 16, 0), condition(2, CallComparison::Masked, u64::MAX, 9)]
    );
}

#[test]
fn every_action_and_comparison() {
    for (name, action) in [
        ("SCMP_ACT_KILL", CallAction::KillThread),
        ("SCMP_ACT_KILL_THREAD", CallAction::KillThread),
        ("SCMP_ACT_KILL_PROCESS", CallAction::KillProcess),
        ("SCMP_ACT_TRAP", CallAction::Trap),
        ("SCMP_ACT_ERRNO", CallAction::Errno(1)),
        ("SCMP_ACT_TRACE", CallAction::Trace(1)),
        ("SCMP_ACT_LOG", CallAction::Log),
        ("SCMP_ACT_ALLOW", CallAction::Allow),
    ] {
        assert_eq!(parsed(&json!({"defaultAction": name})).map(|profile| profile.default), Ok(action));
    }
    for (name, comparison) in [
        ("SCMP_CMP_NE", CallComparison::NotEqual),
        ("SCMP_CMP_LT", CallComparison::Less),
        ("SCMP_CMP_LE", CallComparison::LessOrEqual),
        ("SCMP_CMP_EQ", CallComparison::Equal),
        ("SCMP_CMP_GE", CallComparison::GreaterOrEqual),
        ("SCMP_CMP_GT", CallComparison::Greater),
        ("SCMP_CMP_MASKED_EQ", CallComparison::Masked),
    ] {
        let profile = parsed(&compared(&json!({"index": 5, "value": 3, "op": name}))).unwrap();
        assert_eq!(profile.rules[0].conditions[0].comparison, comparison);
    }
}

#[test]
fn what_has_no_meaning_is_refused_by_its_path() {
    let default = |name: &str, value: Value| {
        let mut profile = json!({"defaultAction": "SCMP_ACT_ALLOW"});
        profile.as_object_mut().unwrap().insert(name.to_owned(), value);
        profile
    };
    let cases = [
        (json!([]), "linux.seccomp: "),
        (json!({}), "linux.seccomp.defaultAction is missing"),
        (json!({"defaultAction": "SCMP_ACT_NOTIFY"}), "linux.seccomp.defaultAction is not"),
        (json!({"defaultAction": "ALLOW"}), "linux.seccomp.defaultAction: "),
        (default("defaultErrnoRet", json!(1)), "linux.seccomp.defaultErrnoRet: "),
        (json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 4096}), "linux.seccomp.defaultErrnoRet: "),
        (json!({"defaultAction": "SCMP_ACT_TRACE", "defaultErrnoRet": 65536}), "linux.seccomp.defaultErrnoRet: "),
        (json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": -1}), "linux.seccomp.defaultErrnoRet: "),
        (default("architectures", json!(["SCMP_ARCH_X86", "x86"])), "linux.seccomp.architectures[1]: "),
        (default("flags", json!(["SECCOMP_FILTER_FLAG_NEW_LISTENER"])), "linux.seccomp.flags[0]: "),
        (default("flags", json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"])), "linux.seccomp.flags[0] is not"),
        (default("listenerMetadata", json!("x")), "linux.seccomp.listenerMetadata is not"),
        (default("foo", json!(null)), "linux.seccomp.foo is not known"),
        (rule(&json!({"action": "SCMP_ACT_LOG"})), "linux.seccomp.syscalls[0].names is missing"),
        (rule(&json!({"names": [], "action": "SCMP_ACT_LOG"})), "linux.seccomp.syscalls[0].names: "),
        (rule(&json!({"names": [1], "action": "SCMP_ACT_LOG"})), "linux.seccomp.syscalls[0].names[0]: "),
        (rule(&json!({"names": ["read"]})), "linux.seccomp.syscalls[0].action is missing"),
        (
            rule(&json!({"names": ["read"], "action": "SCMP_ACT_LOG", "errnoRet": 0})),
            "linux.seccomp.syscalls[0].errnoRet: ",
        ),
        (
            rule(&json!({"names": ["read"], "action": "SCMP_ACT_LOG", "includes": {"caps": []}})),
            "linux.seccomp.syscalls[0].includes is not known",
        ),
        (compared(&json!({"index": 6, "value": 0, "op": "SCMP_CMP_EQ"})), "linux.seccomp.syscalls[0].args[0].index: "),
        (compared(&json!({"index": 0, "op": "SCMP_CMP_EQ"})), "linux.seccomp.syscalls[0].args[0].value is missing"),
        (compared(&json!({"index": 0, "value": 1})), "linux.seccomp.syscalls[0].args[0].op is missing"),
        (compared(&json!({"index": 0, "value": 1, "op": "EQ"})), "linux.seccomp.syscalls[0].args[0].op: "),
        (
            compared(&json!({"index": 0, "value": 1, "valueTwo": 1, "op": "SCMP_CMP_EQ"})),
            "linux.seccomp.syscalls[0].args[0].valueTwo: ",
        ),
        (
            compared(&json!({"index": 0, "value": 1, "valueTwo": 3, "op": "SCMP_CMP_MASKED_EQ"})),
            "linux.seccomp.syscalls[0].args[0].valueTwo: ",
        ),
    ];
    for (profile, start) in cases {
        let error = parsed(&profile).expect_err(&profile.to_string());
        assert!(error.starts_with(start), "{profile}: {error}");
    }
    let one = json!({"index": 0, "value": 1, "op": "SCMP_CMP_GE"});
    let twice = rule(&json!({"names": ["read"], "action": "SCMP_ACT_ERRNO", "args": [one, one]}));
    assert!(parsed(&twice).unwrap_err().starts_with("linux.seccomp.syscalls[0].args[1] is not"));
}
