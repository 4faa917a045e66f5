//! With real groups below the test's own; root is needed.

use std::path::PathBuf;
use std::process::{Child, Command};

use super::*;
use crate::{Certainty, Group, Layout};

/// A name that no other test uses.
fn name(of: &str) -> String {
    format!("limit-{of}-{}", std::process::id())
}

fn sleeper() -> Child {
    Command::new("sleep").arg("1000").spawn().expect("sleep")
}

fn end(mut child: Child) {
    child.kill().expect("kill");
    child.wait().expect("wait");
}

/// A hierarchy of version 1 with this controller, where the machine has one.
fn hierarchy(controller: &str) -> Option<PathBuf> {
    let all = v1::hierarchies();
    all.into_iter().find(|one| one.controllers.iter().any(|name| name == controller)).map(|one| one.own)
}

fn file<'a>(name: &'a str, value: &'a str) -> File<'a> {
    File { property: "Property", name, value }
}

fn read(group: &std::path::Path, file: &str) -> String {
    std::fs::read_to_string(group.join(file)).expect(file).trim().to_owned()
}

#[test]
fn groups_of_version_1_limit_from_above_and_go_with_all_below() {
    testkit::requires!(root);
    let Some(own) = hierarchy("pids") else { return };
    let machine = name("one");
    let path = v1::path(&own, &machine);
    let group = v1::Group::create(&own, &machine, &[file("pids.max", "7")], &[]).expect("create");
    assert_eq!((read(&path, "pids.max"), read(&path, "payload/pids.max")), ("7".into(), "max".into()));
    let child = sleeper();
    group.join(child.id() as i32).expect("join");
    assert_eq!(read(&path, "payload/cgroup.procs"), child.id().to_string());
    assert!(v1::machines(&v1::hierarchies()).contains(&machine));
    let again = v1::Group::create(&own, &machine, &[], &[]).expect_err("in use");
    assert!(again.to_string().contains("is running"), "{again}");
    assert!(!crate::remove_dead(&path, Certainty::NoTrace).expect("somebody is in it"));
    // Deep and broad below the payload's.
    for place in ["payload/a/b/c", "payload/d", "payload/a/e"] {
        std::fs::create_dir_all(path.join(place)).expect("group");
    }
    end(child);
    group.end().expect("end");
    assert!(!path.exists());
}

#[test]
fn what_a_dead_run_has_left_is_removed_or_replaced() {
    testkit::requires!(root);
    let Some(own) = hierarchy("cpuset") else { return };
    let machine = name("left");
    let path = v1::path(&own, &machine);
    // Processors and memory nodes are those of the group above where nothing is said.
    drop(v1::Group::create(&own, &machine, &[file("cpuset.cpus", "0")], &[]).expect("create"));
    assert_eq!(
        (read(&path, "payload/cpuset.cpus"), read(&path, "payload/cpuset.mems")),
        ("0".into(), read(&own, "cpuset.mems"))
    );
    drop(v1::Group::create(&own, &machine, &[], &[]).expect("create again"));
    assert_eq!(read(&path, "payload/cpuset.cpus"), read(&own, "cpuset.cpus"));
    // It is new: somebody may be about to use it.
    assert!(!crate::remove_dead(&path, Certainty::NoTrace).expect("new"));
    assert!(crate::remove_dead(&path, Certainty::Dead).expect("dead"));
    assert!(!path.exists() && !crate::remove_dead(&path, Certainty::Dead).expect("gone"));
    // Of others nothing is removed.
    let foreign = own.join(name("foreign"));
    std::fs::create_dir(&foreign).expect("group");
    assert!(!crate::remove_dead(&foreign, Certainty::Dead).expect("not ours"));
    std::fs::remove_dir(&foreign).expect("still there");
}

#[test]
fn a_value_that_is_refused_leaves_nothing() {
    testkit::requires!(root);
    let Some(own) = hierarchy("pids") else { return };
    let machine = name("refused");
    for (files, below) in [(vec![file("pids.max", "-5")], vec![]), (vec![], vec![file("no.such", "5")])] {
        let error = v1::Group::create(&own, &machine, &files, &below).expect_err("refused");
        assert!(matches!(&error, Error::Value { property, .. } if property == "Property"), "{error}");
        assert!(!v1::path(&own, &machine).exists());
    }
}

#[test]
fn memory_that_is_less_than_a_group_takes_is_told_as_that() {
    testkit::requires!(root);
    let Some(own) = hierarchy("memory") else { return };
    let machine = name("low");
    for value in ["1", "8192"] {
        let files = [file("memory.limit_in_bytes", value)];
        let error = v1::Group::create(&own, &machine, &files, &[]).expect_err("too low");
        assert!(matches!(&error, Error::TooLow { property, .. } if property == "Property"), "{error}");
        assert!(!v1::path(&own, &machine).exists());
    }
}

#[test]
fn limits_of_cgroup2_are_on_the_machines_group() {
    testkit::requires!(root, cgroup2);
    let layout = Layout::probe().expect("cgroup2");
    // Controllers that version 1 has are not there; one with a limit is enough.
    let limits = [("pids", "pids.max", "7"), ("memory", "memory.max", "1048576"), ("hugetlb", "hugetlb.2MB.max", "0")];
    let available = layout.controllers();
    let Some((controller, name_of_file, value)) =
        limits.into_iter().find(|(name, ..)| available.iter().any(|one| one == name))
    else {
        return;
    };
    let machine = name("two");
    let group = Group::create(&layout, &machine).expect("create");
    let path = layout.machine(&machine);
    let controllers = [controller.to_owned()];
    let applied = v2::apply(&group, &layout, &controllers, &[file(name_of_file, value)]);
    // Where the test itself is in a group that is not the root, the kernel hands nothing on.
    match applied {
        Ok(()) => {
            assert_eq!(read(&path, name_of_file), value);
            assert!(!path.join("payload").join(name_of_file).exists(), "the payload could change it");
            let error = v2::apply(&group, &layout, &controllers, &[file(name_of_file, "nonsense")]).expect_err("value");
            assert!(matches!(error, Error::Value { .. }), "{error}");
        }
        Err(error) => assert!(matches!(error, Error::Controller { .. }), "{error}"),
    }
    let error = v2::apply(&group, &layout, &["nonsense".into()], &[]).expect_err("no such controller");
    assert!(matches!(error, Error::Controller { .. }), "{error}");
    group.end().expect("end");
    assert!(!path.exists());
}
