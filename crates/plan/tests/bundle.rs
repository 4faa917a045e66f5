//! What becomes of the devices, the rules for them and the slice of an OCI bundle.

mod fixture;

use fixture::Host;
use plan::{DeviceRule, Error, FileStep, NodeKind, OuterStep, ParentStep, Plan, SpecialKind};
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
        assert_eq!(plan.limits.devices, [rule(7, 3, "rwm")]);
        assert!(plan.limits.device_access.changes.is_empty());
    }
    let error = resolve(DEVICE, &["--private-users=131072:5"], Host::new()).map(drop);
    assert_eq!(error, Err(Error::DeviceOwner { path: "/dev/x".into(), last: 4 }));
}

/// What may be done with a block device.
fn rule(major: u32, minor: u32, rights: &str) -> DeviceRule {
    let may = |right| rights.contains(right);
    DeviceRule { block: true, major, minor: Some(minor), read: may('r'), write: may('w'), make: may('m') }
}

/// `DeviceAllow` and `DevicePolicy` of the scope.
fn of_unit(linux: &str, words: &[&str]) -> Vec<String> {
    let host = Host::new().change(|facts| facts.host.service_manager = true);
    unit(&resolve(linux, words, host).expect("a plan"))
}

fn unit(plan: &Plan) -> Vec<String> {
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
    // A service manager keeps what it is told last of a device.
    let again = r#""resources":{"devices":[{"allow":true,"type":"b","major":7,"minor":3,"access":"r"},
        {"allow":true,"type":"c","major":9,"access":"r"},{"allow":true,"type":"c","major":9,"access":"w"}]}"#;
    let merged = [&usual[..], &["/dev/block/7:3 rwm", "char-9 rw"]].concat();
    assert_eq!(of_unit(&format!("{again},{DEVICE}"), &[]), merged);
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
fn what_is_bound_may_be_used_as_the_mount_says() {
    let disk = |minor| Some(NodeKind::BlockDevice { major: 7, minor });
    for (words, wanted) in [
        (&["--bind=/dev/a"][..], &["/dev/block/7:0 rw"][..]),
        (&["--bind-ro=/dev/a"], &["/dev/block/7:0 r"]),
        (&["--bind-ro=/dev/a:/x", "--bind=/dev/b:/y"], &["/dev/block/7:0 r", "/dev/block/7:1 rw"]),
        // What one of two nodes is for, nothing keeps from the other one.
        (&["--bind-ro=/dev/a:/x", "--bind=/dev/b:/y", "--bind=/dev/a:/z"], &["/dev/block/7:0 rw", "/dev/block/7:1 rw"]),
        // What is said of a device by its name counts.
        (&["--bind=/dev/a", "--bind=/dev/b", "--property=DeviceAllow=/dev/a r"], &["/dev/block/7:1 rw", "/dev/a r"]),
        (
            &["--bind=/dev/a", "--property=DeviceAllow=/dev/a r", "--property=DeviceAllow="],
            &["/dev/block/7:0 rw", "/dev/a r"],
        ),
    ] {
        let sources = |words: &[&str]| -> Vec<_> {
            let binds = words.iter().filter(|word| word.starts_with("--bind"));
            binds.map(|word| disk(u32::from(word.contains("/dev/b")))).collect()
        };
        let host = Host::new().sources(&sources(words)).change(|facts| facts.host.service_manager = true);
        let words = [&["-D/srv/debian", "--property=DevicePolicy=closed"], words].concat();
        let plan = fixture::plan(&words, host);
        let unit = unit(&plan).into_iter().skip(4).filter(|text| text != "closed").collect::<Vec<_>>();
        assert_eq!(unit, wanted, "{words:?}");
        let number = |rule: &DeviceRule| rule.minor.map(|minor| (minor, rule.write, rule.make));
        let own = wanted.iter().filter_map(|text| {
            let (minor, rights) = text.strip_prefix("/dev/block/7:")?.split_once(' ')?;
            Some((minor.parse().ok()?, rights.contains('w'), false))
        });
        assert_eq!(plan.limits.devices.iter().filter_map(number).collect::<Vec<_>>(), own.collect::<Vec<_>>());
    }
    // Without a unit that the property is for.
    let words = ["-D/srv/debian", "--keep-unit", "--bind=/dev/a", "--property=DeviceAllow=/dev/a r"];
    assert_eq!(fixture::plan(&words, Host::new().sources(&[disk(0)])).limits.devices, [rule(7, 0, "rw")]);
    // Mounts of a bundle have options of their own.
    for (options, rights) in [("", "rw"), (r#""ro""#, "r"), (r#""rro""#, "r"), (r#""rro","rw""#, "rw")] {
        let json = format!(
            r#"{{"ociVersion":"1.0.0","root":{{"path":"/x"}},"linux":{{"namespaces":[{{"type":"mount"}},{{"type":"pid"}},
            {{"type":"ipc"}},{{"type":"uts"}}]}},"mounts":[{{"destination":"/d","type":"bind","source":"/dev/a",
            "options":[{options}]}}]}}"#
        );
        let plan = fixture::try_bundle(&json, &[], Host::new().sources(&[disk(0)])).expect("a plan");
        assert_eq!(plan.limits.devices, [rule(7, 0, rights)], "{options}");
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
