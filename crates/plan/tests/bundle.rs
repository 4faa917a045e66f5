//! What becomes of the devices, the rules for them and the slice of an OCI bundle.

mod fixture;

use fixture::Host;
use plan::{Error, FileStep, NodeKind, OuterStep, ParentStep, Plan, SpecialKind};
use spec::PropertyValue;

fn resolve(linux: &str, words: &[&str], host: Host) -> Result<Plan, Error> {
    let namespaces = ["mount", "pid", "ipc", "uts"].map(|name| format!("{{\"type\":\"{name}\"}}")).join(",");
    let json = format!(
        "{{\"ociVersion\":\"1.0.0\",\"root\":{{\"path\":\"/x\"}},\"linux\":{{\"namespaces\":[{namespaces}],{linux}}}}}"
    );
    fixture::try_bundle(&json, words, host)
}

const DEVICE: &str = r#""devices":[{"path":"/dev/x","type":"b","major":7,"minor":3,"fileMode":432,"uid":5},
    {"path":"/run/f","type":"p"}]"#;

#[test]
fn devices_are_made_for_their_owners_inside_and_may_be_opened() {
    for (words, uid, gid) in [(&[][..], 5, 0), (&["--private-users=131072:65536"], 131_077, 131_072)] {
        let plan = resolve(DEVICE, words, Host::new()).expect("a plan");
        let made: Vec<_> = plan
            .outer
            .iter()
            .filter_map(|step| match step {
                OuterStep::File(FileStep::Device { path, mode, kind, uid, gid }) => {
                    Some((path.to_string(), *mode, *kind, *uid, *gid))
                }
                _ => None,
            })
            .collect();
        let wanted = [
            ("/dev/x".to_owned(), 0o660, SpecialKind::Block { major: 7, minor: 3 }, uid, gid),
            ("/run/f".to_owned(), 0o644, SpecialKind::Fifo, gid, gid),
        ];
        assert_eq!(made, wanted);
        assert_eq!(plan.limits.devices, [NodeKind::BlockDevice { major: 7, minor: 3 }]);
        assert!(plan.limits.device_access.changes.is_empty());
    }
    let error = resolve(DEVICE, &["--private-users=131072:5"], Host::new()).map(drop);
    assert_eq!(error, Err(Error::DeviceOwner { path: "/dev/x".into(), last: 4 }));
}

/// `DeviceAllow` and `DevicePolicy` of the scope.
fn of_unit(linux: &str, words: &[&str]) -> Vec<String> {
    let host = Host::new().change(|facts| facts.host.service_manager = true);
    let plan = resolve(linux, words, host).expect("a plan");
    let scope = plan.parent.iter().find_map(|step| match step {
        ParentStep::StartScope(scope) => Some(scope),
        _ => None,
    });
    let mut all = Vec::new();
    for property in &scope.expect("a scope").properties {
        match &property.value {
            PropertyValue::Pairs(pairs) => all.extend(pairs.iter().map(|(node, rights)| format!("{node} {rights}"))),
            PropertyValue::Text(text) => all.push(text.clone()),
            other => panic!("{other:?}"),
        }
    }
    all
}

#[test]
fn the_unit_is_told_what_is_allowed_and_our_own_program_the_rest() {
    let rules = r#""resources":{"devices":[{"allow":false,"access":"rwm"},
        {"allow":true,"type":"c","major":10,"minor":232,"access":"rw"},{"allow":true,"type":"b","major":8,"access":"r"},
        {"allow":true,"type":"b","access":"m"},{"allow":false,"type":"b","major":8,"minor":1}]}"#;
    let usual = ["closed", "/dev/net/tun rwm", "/dev/fuse rwm", "char-pts rw"];
    let allowed = ["/dev/char/10:232 rw", "block-8 r", "block-* m"];
    assert_eq!(of_unit(rules, &[]), [&usual[..], &allowed].concat());
    let both = [&usual[..], &["/dev/block/7:3 rwm"], &allowed].concat();
    assert_eq!(of_unit(&format!("{rules},{DEVICE}"), &[]), both);
    let plan = resolve(rules, &["--keep-unit"], Host::new()).expect("a plan");
    let changes = plan.limits.device_access.changes;
    assert_eq!(changes.iter().map(|rule| rule.allow).collect::<Vec<_>>(), [true, true, true, false]);
    // Nothing is to be refused by the unit that the program allows, and it has no word for everything.
    for rules in [
        r#"{"allow":true,"access":"rwm"}"#,
        r#"{"allow":false,"access":"rwm"}"#,
        r#"{"allow":false,"type":"c","access":"rwm"}"#,
        r#"{"allow":true,"type":"c","access":"rwm"},{"allow":true,"access":"r"}"#,
    ] {
        let rules = format!("\"resources\":{{\"devices\":[{rules}]}}");
        assert!(of_unit(&rules, &[]).is_empty() && of_unit(&format!("{rules},{DEVICE}"), &[]).is_empty(), "{rules}");
    }
}

#[test]
fn a_slice_is_for_a_service_manager() {
    let slice = |words: &[&str]| {
        let host = Host::new().change(|facts| facts.host.service_manager = true);
        let plan = resolve("\"cgroupsPath\":\"/a.slice/a-b.slice\"", words, host).expect("a plan");
        let scope = plan.parent.iter().find_map(|step| match step {
            ParentStep::StartScope(scope) => Some(scope.slice.clone()),
            _ => None,
        });
        (scope, plan.notices.iter().any(|notice| notice.contains("--keep-unit")))
    };
    assert_eq!(slice(&[]), (Some("a-b.slice".into()), false));
    assert_eq!(slice(&["--slice=c"]), (Some("c.slice".into()), false));
    assert_eq!(slice(&["--keep-unit"]), (None, true));
    let error = resolve("\"cgroupsPath\":\"a.slice\"", &[], Host::new()).map(drop);
    assert_eq!(error, Err(Error::NoSlice));
}
