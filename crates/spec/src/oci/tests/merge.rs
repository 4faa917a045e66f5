//! A bundle and a command line together.

use std::ffi::OsString;
use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{model, parse, with};
use crate::command_line::{Request, read, with_bundle};
use crate::oci::ProgramSets;
use crate::options::Caller;
use crate::{CAPABILITY_NAMES, CapabilitySet, ContainerSpec, Ownership, PrivateUsers, Resource, Rlimit};

/// The bundle with these options.
fn together(document: &Value, options: &[&str]) -> ContainerSpec {
    let words: Vec<OsString> = ["--oci-bundle=/srv/bundle"].iter().chain(options).map(OsString::from).collect();
    let caller = Caller { directory: Path::new("/"), variable: &|_| None };
    let Ok(Request::Bundle(_, patch)) = read(&words, caller) else { panic!("{options:?}") };
    with_bundle(*patch, parse(document).expect("a bundle"), Path::new("/")).expect("options that go together")
}

fn bounding(spec: &ContainerSpec) -> CapabilitySet {
    spec.security().effective_capabilities(spec.users().private_users != PrivateUsers::No, spec.network().private)
}

fn names(bits: u64) -> Vec<&'static str> {
    let all = CAPABILITY_NAMES.iter().enumerate();
    all.filter(|(number, _)| bits & (1 << number) != 0).map(|(_, name)| *name).collect()
}

/// No options for an empty list.
fn option(name: &str, bits: u64) -> Option<String> {
    Some(format!("--{name}={}", names(bits).join(","))).filter(|_| !names(bits).is_empty())
}

const ALL: u64 = (1 << CAPABILITY_NAMES.len()) - 1;

proptest! {
    #[test]
    fn the_bundles_bounding_set_is_what_is_added_to_and_taken_from(
        (bounds, permitted, ambient, plus, minus, network) in
            (0..=ALL, 0..=ALL, 0..=ALL, 0..=ALL, 0..=ALL, any::<bool>())
    ) {
        let (permitted, ambient) = (bounds & permitted, bounds & permitted & ambient);
        let document = with("/process/capabilities", json!({
            "bounding": names(bounds), "permitted": names(permitted), "effective": names(permitted),
            "inheritable": names(bounds), "ambient": names(ambient)
        }));
        let alone = bounding(&together(&document, &[]));
        prop_assert_eq!(alone.bits(), bounds);
        let network = network.then(|| "--private-network".to_owned());
        let less: Vec<_> = option("drop-capability", minus).into_iter().chain(network.clone()).collect();
        let less = together(&document, &less.iter().map(String::as_str).collect::<Vec<_>>());
        prop_assert_eq!(bounding(&less).bits(), bounds & !minus, "nothing comes with what is taken");
        prop_assert_eq!(less.security().ambient_capabilities.bits(), ambient & !minus);
        let more: Vec<_> = option("capability", plus).into_iter().chain(network).collect();
        let more = together(&document, &more.iter().map(String::as_str).collect::<Vec<_>>());
        prop_assert_eq!(bounding(&more).bits(), bounds | plus);
        for (spec, wanted) in [(&less, permitted & !minus), (&more, permitted | plus)] {
            let ProgramSets { effective, permitted, inheritable } = spec.bundle().program_sets.unwrap();
            prop_assert_eq!((effective.bits(), permitted.bits()), (wanted, wanted));
            for set in [permitted, inheritable] {
                prop_assert_eq!(set.without(bounding(spec)).bits(), 0);
                prop_assert_eq!(spec.security().ambient_capabilities.without(set).bits(), 0);
            }
        }
    }
}

#[test]
fn all_capabilities_are_added_and_taken() {
    assert_eq!(bounding(&together(&model(), &["--capability=all"])), CapabilitySet::ALL);
    let none = together(&model(), &["--drop-capability=all"]);
    assert_eq!((bounding(&none), none.security().ambient_capabilities), (CapabilitySet::EMPTY, CapabilitySet::EMPTY));
    // More ambient ones are beside the bundle's.
    let ambient = together(&model(), &["--ambient-capability=CAP_AUDIT_WRITE"]);
    assert_eq!(ambient.security().ambient_capabilities.to_string(), "CAP_KILL,CAP_AUDIT_WRITE");
}

#[test]
fn without_sets_of_a_bundle_the_usual_ones_are_changed() {
    let document = with("/process/capabilities", Value::Null);
    let spec = together(&document, &["--drop-capability=CAP_KILL"]);
    let usual = bounding(&together(&document, &[]));
    assert_eq!(bounding(&spec), usual.without(CapabilitySet::named("CAP_KILL").unwrap()));
    assert_eq!(spec.bundle().program_sets, None);
}

#[test]
fn limits_and_properties_are_decided_one_by_one() {
    let limit = |name, value| json!({"type": name, "soft": value, "hard": value});
    let mut document = with("/process/rlimits", json!([limit("RLIMIT_NOFILE", 5), limit("RLIMIT_CORE", 6)]));
    document["linux"]["resources"] = json!({"memory": {"limit": 1_000_000}, "pids": {"limit": 50}});
    let options = ["--rlimit=RLIMIT_CORE=7", "--rlimit=RLIMIT_NPROC=8", "--property=TasksMax=60", "--pids=70"];
    let spec = together(&document, &options);
    let limits = &spec.resources().rlimits;
    for (resource, value) in [(Resource::OpenFiles, 5), (Resource::Core, 7), (Resource::Processes, 8)] {
        assert_eq!(limits[&resource], Rlimit { soft: Some(value), hard: Some(value) });
    }
    let shown: Vec<_> = spec.property().properties.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["MemoryMax=1000000", "TasksMax=50", "TasksMax=60"], "the last one of a name wins");
    assert_eq!(spec.property().limits.len(), 1);
}

#[test]
fn what_is_one_thing_is_decided_by_one() {
    let mut document = model();
    document["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    document["linux"]["uidMappings"] = json!([{"containerID": 0, "hostID": 655_360, "size": 65536}]);
    document["linux"]["gidMappings"] = document["linux"]["uidMappings"].clone();
    assert_eq!(together(&document, &[]).users().ownership, Ownership::Off);
    let users = together(&document, &["--private-users=pick"]);
    assert_eq!((users.users().private_users, users.users().ownership), (PrivateUsers::Pick, Ownership::Auto));
    let program = |options: &[&str]| together(&model(), options).exec().arguments.clone();
    assert_eq!(program(&[]), ["sh"]);
    assert_eq!(program(&["--as-pid2"]), ["sh"]);
    assert_eq!(program(&["--as-pid2", "id", "-u"]), ["id", "-u"]);
    let document = with("/process/capabilities", Value::Null);
    assert!(
        together(&document, &["--boot"]).exec().arguments.is_empty(),
        "an init system is no program of the bundle's"
    );
    // All variables and all mounts, as in a settings file.
    let spec = together(&model(), &["--setenv=A=1", "--tmpfs=/x"]);
    assert_eq!(spec.exec().environment.len(), 1);
    assert_eq!(spec.mounts().len(), 1);
    assert!(spec.bundle().said_of("/dev").is_some(), "the container's own are none of these mounts");
}
