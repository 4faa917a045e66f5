//! With real groups below the test's own; root and cgroup2 are needed.

use std::process::{Child, Command};

use super::*;
use crate::Certainty;

/// A name that no other test uses.
fn name(of: &str) -> String {
    format!("test-{of}-{}", std::process::id())
}

fn layout() -> Layout {
    Layout::probe().expect("cgroup2")
}

/// A process that sleeps in a group.
fn sleeper(group: &OwnedFd) -> Child {
    let child = Command::new("sleep").arg("1000").spawn().expect("sleep");
    subtree::write(group, "cgroup.procs", child.id().to_string().as_bytes()).expect("join");
    child
}

fn exists(layout: &Layout, machine: &str) -> bool {
    layout.machine(machine).exists()
}

#[test]
fn a_group_ends_with_its_processes_and_all_groups_below() {
    testkit::requires!(root, cgroup2);
    let layout = layout();
    let machine = name("end");
    let group = Group::create(&layout, &machine).expect("create");
    // Deeper than there may be descriptors, and broad.
    let mut below = open_directory(&group.machine, PAYLOAD).expect("open");
    for _ in 0..300 {
        make(&below, c"deep").expect("make");
        below = open_directory(&below, c"deep").expect("open");
    }
    for number in 0..50 {
        make(&group.payload, &CString::new(format!("broad{number}")).expect("name")).expect("make");
    }
    let mut children = [sleeper(&below), sleeper(&group.payload)];
    let waiters = std::thread::spawn(move || children.each_mut().map(|child| child.wait().expect("wait")));
    group.end().expect("end");
    use std::os::unix::process::ExitStatusExt;
    assert!(waiters.join().expect("thread").iter().all(|status| status.signal() == Some(9)));
    assert!(!exists(&layout, &machine));
}

/// Who shares the hierarchy and not `/run` takes an empty group that is not new for a dead one's.
#[test]
fn a_group_that_somebody_else_has_removed_has_ended() {
    testkit::requires!(root, cgroup2);
    let layout = layout();
    let machine = name("taken");
    let group = Group::create(&layout, &machine).expect("create");
    assert!(crate::remove_dead(&layout.machine(&machine), Certainty::Dead).expect("removed"));
    group.end().expect("it has ended");
    assert!(!exists(&layout, &machine));
}

#[test]
fn a_name_in_use_is_refused_and_what_is_left_of_one_is_replaced() {
    testkit::requires!(root, cgroup2);
    let layout = layout();
    let machine = name("use");
    let group = Group::create(&layout, &machine).expect("create");
    let mut child = sleeper(&group.payload);
    let error = Group::create(&layout, &machine).expect_err("in use");
    let text = error.to_string();
    assert!(matches!(error, Error::InUse(_)) && text.contains(&machine) && text.ends_with("is running"), "{text}");
    child.kill().expect("kill");
    child.wait().expect("wait");
    // As after a kill -9: the group stays, and a new one takes its place.
    make(&group.payload, c"init.scope").expect("make");
    drop(group);
    assert!(exists(&layout, &machine));
    let again = Group::create(&layout, &machine).expect("create again");
    assert!(subtree::children(&again.payload).expect("children").next().is_none());
    again.end().expect("end");
    assert!(!exists(&layout, &machine));
}

#[test]
fn what_a_dead_run_has_left_is_found_and_removed() {
    testkit::requires!(root, cgroup2);
    let layout = layout();
    let machine = name("left.over");
    let path = layout.machine(&machine);
    assert!(!crate::remove_dead(&path, Certainty::Dead).expect("nothing"));
    let group = Group::create(&layout, &machine).expect("create");
    let mut child = sleeper(&group.payload);
    drop(group);
    assert!(crate::machines(&layout).expect("list").contains(&machine));
    let waiter = std::thread::spawn(move || child.wait().expect("wait"));
    assert!(crate::remove_dead(&path, Certainty::Dead).expect("remove"));
    waiter.join().expect("thread");
    assert!(!path.exists() && !crate::machines(&layout).expect("list").contains(&machine));
    // Whatever a record says: only control groups are removed.
    let directory = tempfile::tempdir().expect("directory");
    assert!(!crate::remove_dead(directory.path(), Certainty::Dead).expect("no group"));
    assert!(directory.path().exists());
}

#[test]
fn the_payloads_group_belongs_to_its_root_and_the_machines_does_not() {
    testkit::requires!(root, cgroup2);
    let layout = layout();
    let machine = name("owner");
    let group = Group::create(&layout, &machine).expect("create");
    group.hand_on_controllers(&layout).expect("controllers");
    group.delegate(123_456, 123_457).expect("delegate");
    use std::os::unix::fs::MetadataExt;
    let path = layout.machine(&machine);
    let owner = |file: &str| {
        let status = path.join(file).metadata().unwrap_or_else(|error| panic!("{file}: {error}"));
        (status.uid(), status.gid())
    };
    for file in ["payload", "payload/cgroup.procs", "payload/cgroup.threads", "payload/cgroup.subtree_control"] {
        assert_eq!(owner(file), (123_456, 123_457), "{file}");
    }
    for file in [".", "cgroup.procs", "payload/cgroup.kill", "payload/cgroup.freeze", "payload/cgroup.max.depth"] {
        assert_eq!(owner(file), (0, 0), "{file}");
    }
    // What the caller's group has reaches the payload, as far as nobody stands in the way.
    let read = |at: &Path, file: &str| std::fs::read_to_string(at.join(file)).expect("read");
    assert_eq!(read(&path.join("payload"), "cgroup.controllers"), read(&layout.path, "cgroup.subtree_control"));
    group.end().expect("end");
}

#[test]
fn names_cannot_be_files_of_the_kernels_or_lead_elsewhere() {
    assert_eq!(file_name("debian").expect("name").as_c_str(), c"debian");
    assert_eq!(file_name("memory.max").expect("name").as_c_str(), c"_memory.max");
    assert_eq!(file_name("_memory.max").expect("name").as_c_str(), c"__memory.max");
    for name in ["", "a/b", "a\0b"] {
        assert_eq!(file_name(name).expect_err(name), Errno::INVAL);
    }
    testkit::requires!(root, cgroup2);
    let layout = layout();
    for machine in ["cgroup.procs", "..", "hugetlb.2MB.max"] {
        Group::create(&layout, machine).expect("create").end().expect("end");
    }
}

#[test]
fn a_unit_is_shared_between_supervisor_and_payload() {
    testkit::requires!(root, cgroup2);
    let layout = layout();
    let unit = CString::new(name("unit")).expect("name");
    make(&layout.own, &unit).expect("make");
    // Another process moves there and does it, so that the test stays where it is.
    let test = std::env::current_exe().expect("path");
    let path = layout.path.join(unit.to_str().expect("text"));
    let script = format!(
        "echo $$ >{}/cgroup.procs && exec {} --exact group::tests::in_a_unit --ignored",
        path.display(),
        test.display()
    );
    let status = Command::new("sh").arg("-c").arg(script).env("REDD_TEST_UNIT", &path).status().expect("sh");
    assert!(status.success());
    remove_below(&open_directory(&layout.own, &unit).expect("open")).expect("remove");
    subtree::remove(&layout.own, &unit).expect("remove");
}

/// Run by the test above in a group of its own; by itself it has nothing to do.
#[test]
#[ignore = "needs a group of its own"]
fn in_a_unit() {
    let Some(unit) = std::env::var_os("REDD_TEST_UNIT").map(PathBuf::from) else { return };
    let group = Group::create_in_unit(&Layout::probe().expect("probe")).expect("create");
    let own = std::fs::read_to_string("/proc/self/cgroup").expect("read");
    assert!(own.lines().any(|line| line.starts_with("0::") && line.ends_with("/supervisor")), "{own}");
    let mut child = sleeper(&group.payload);
    let layout = Layout::probe().expect("probe");
    assert!(matches!(Group::create_in_unit(&layout), Err(Error::InUse(path)) if path == unit));
    let waiter = std::thread::spawn(move || child.wait().expect("wait"));
    group.end().expect("end");
    waiter.join().expect("thread");
    assert!(!unit.join("payload").exists() && unit.join("supervisor").exists());
    // A second start, after a reboot.
    let again = Group::create_in_unit(&layout).expect("again");
    assert_eq!(again.path(), unit);
    again.end().expect("end");
}

#[test]
fn only_what_the_rules_name_can_be_opened_or_made() {
    testkit::requires!(root, cgroup2);
    let machine = name("devices");
    let group = Group::create(&layout(), &machine).expect("create");
    crate::device::restrict(group.payload(), &crate::device::STANDARD, &[]).expect("restrict");
    let directory = tempfile::tempdir_in(testkit::fixture::place()).expect("directory");
    // Made by the host: the attempt to open it is what is refused.
    let made = Command::new("mknod").arg(directory.path().join("full-disk")).args(["b", "7", "0"]).status();
    assert!(made.expect("mknod").success());
    let script = "echo $$ >\"$1/cgroup.procs\" && cd \"$2\" || exit 9
        mknod null c 1 3 && : <null && : >null && mknod whiteout c 0 0 || exit 1
        : </dev/zero && : </dev/urandom || exit 2
        ! mknod kmsg c 1 11 && ! mknod disk b 7 0 || exit 3
        ! (: <full-disk) && ! (: >full-disk) || exit 4";
    let payload = layout().machine(&machine).join("payload");
    let ended = Command::new("sh").args(["-c", script, "sh"]).arg(payload).arg(directory.path()).output().expect("sh");
    assert_eq!(ended.status.code(), Some(0), "{}", String::from_utf8_lossy(&ended.stderr));
    assert_eq!(String::from_utf8_lossy(&ended.stderr).matches("not permitted").count(), 4);
    group.end().expect("end");
}
