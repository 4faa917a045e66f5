//! How the files of a tree get the ids of the container, for every option on every kind of tree.

mod fixture;

use fixture::{Host, try_plan};
use plan::{EphemeralFacts, EphemeralKind, Error, LaunchStep, ParentStep, Plan, TreeFacts};

const FOREIGN: u32 = 0x7ffe_0000;
/// The range that is free, and one that is not.
const FREE: u32 = 0x00a0_0000;
const OTHER: u32 = 0x00b0_0000;

fn try_users(words: &[&str], change: impl FnOnce(&mut TreeFacts)) -> Result<Plan, Error> {
    let words: Vec<&str> = ["-D/srv/debian"].iter().chain(words).copied().collect();
    try_plan(&words, Host::new().change(|facts| change(&mut facts.tree)))
}

/// First id, whether and from where the mount maps, whether the files are changed.
fn users(words: &[&str], change: impl FnOnce(&mut TreeFacts)) -> (u32, Option<u32>, bool) {
    let plan = try_users(words, change).unwrap_or_else(|error| panic!("{words:?}: {error}"));
    let user = plan.namespaces.user.expect("users of its own");
    let base = plan.parent.iter().find_map(|step| match step {
        ParentStep::ShiftTree { base } => Some(*base),
        _ => None,
    });
    assert_eq!(base, user.shift_tree.then_some(user.range.start()));
    (user.range.start(), user.map_tree.then_some(user.tree_base), user.shift_tree)
}

fn owned_by(owner: u32) -> impl Fn(&mut TreeFacts) {
    move |tree| (tree.owner, tree.group) = (owner, owner)
}

fn without_idmap(owner: u32) -> impl Fn(&mut TreeFacts) {
    move |tree| (tree.owner, tree.group, tree.idmap) = (owner, owner, false)
}

fn half_way(tree: &mut TreeFacts) {
    (tree.owner, tree.group, tree.half_shifted) = (0xfffe_0000, 0xfffe_0000, true);
}

fn copied(kind: EphemeralKind) -> Option<EphemeralFacts> {
    Some(EphemeralFacts { kind, place: "/srv".into(), notice: None })
}

#[test]
fn the_range_of_the_owner() {
    for word in ["--private-users", "--private-users=yes"] {
        assert_eq!(users(&[word], owned_by(OTHER)), (OTHER, None, false));
        assert_eq!(users(&[word], owned_by(OTHER + 5)), (OTHER, None, false));
        assert_eq!(users(&[word], owned_by(0)), (0, None, false));
        assert!(matches!(try_users(&[word], |tree| tree.owner = OTHER), Err(Error::OwnersDiffer { .. })));
        assert_eq!(try_users(&[word], owned_by(u32::MAX)).map(drop), Err(Error::NoRange(0xffff_0000)));
    }
}

#[test]
fn automatically_nothing_is_changed_that_can_be_mapped() {
    for words in [&["-U"][..], &["--private-users=pick"], &["--private-users=pick", "--private-users-ownership=map"]] {
        assert_eq!(users(words, owned_by(0)), (FREE, Some(0), false), "{words:?}");
        assert_eq!(users(words, owned_by(FREE)), (FREE, None, false), "{words:?}");
        assert_eq!(users(words, owned_by(OTHER)), (FREE, Some(OTHER), false), "{words:?}");
        assert_eq!(users(words, owned_by(FOREIGN)), (FREE, Some(FOREIGN), false), "{words:?}");
    }
    assert_eq!(users(&["-U"], without_idmap(0)), (FREE, None, true));
    assert_eq!(users(&["-U"], without_idmap(FREE)), (FREE, None, false));
    let map = ["-U", "--private-users-ownership=map"];
    assert!(matches!(try_users(&map, without_idmap(0)), Err(Error::NoIdMapping(_))));
}

#[test]
fn foreign_trees() {
    let words = ["--private-users=11534336", "--private-users-ownership=foreign"];
    assert_eq!(users(&words, owned_by(FOREIGN + 7)), (OTHER, Some(FOREIGN), false));
    for owner in [0, OTHER, FREE] {
        assert!(matches!(try_users(&words, owned_by(owner)), Err(Error::NotForeign { .. })), "{owner}");
    }
    assert!(matches!(try_users(&words, without_idmap(FOREIGN)), Err(Error::NoIdMapping(_))));
}

#[test]
fn owners_are_changed_where_they_can_be() {
    let words = ["--private-users=11534336", "--private-users-ownership=chown"];
    assert_eq!(users(&words, owned_by(0)), (OTHER, None, true));
    assert_eq!(users(&words, owned_by(FOREIGN)), (OTHER, None, true));
    assert_eq!(users(&words, owned_by(OTHER)), (OTHER, None, false));
    assert_eq!(users(&words, half_way), (OTHER, None, true));
    assert!(matches!(try_users(&words, |tree| tree.read_only = true), Err(Error::ReadOnlyTree(_))));
    for range in ["5", "11534336:5", "11534336:65537"] {
        let words = [&format!("--private-users={range}"), "--private-users-ownership=chown"];
        assert!(matches!(try_users(&words, |_| ()), Err(Error::NotShiftable(_))), "{range}");
    }
}

#[test]
fn the_files_of_a_copy_are_changed_only_where_they_cannot_be_mapped() {
    let words = ["-x", "--private-users=11534336", "--private-users-ownership=chown"];
    let copy = |kind, idmap| move |tree: &mut TreeFacts| (tree.ephemeral, tree.idmap) = (copied(kind), idmap);
    for kind in [EphemeralKind::Overlay, EphemeralKind::Memory, EphemeralKind::Snapshot, EphemeralKind::Copy] {
        assert_eq!(users(&words, copy(kind, true)), (OTHER, Some(0), false), "{kind:?}");
    }
    for (kind, expected) in [
        (EphemeralKind::Overlay, EphemeralKind::Copy),
        (EphemeralKind::Snapshot, EphemeralKind::Snapshot),
        (EphemeralKind::Copy, EphemeralKind::Copy),
    ] {
        let plan = try_users(&words, copy(kind, false)).expect("a plan");
        let made = plan
            .parent
            .iter()
            .position(|step| matches!(step, ParentStep::MakeEphemeral { kind, .. } if *kind == expected));
        let shifted = plan.parent.iter().position(|step| matches!(step, ParentStep::ShiftTree { .. }));
        assert!(made.is_some() && made < shifted, "{kind:?}");
        assert!(!plan.parent.iter().any(|step| matches!(step, ParentStep::LockTree { shared: false })));
        assert!(plan.launch.iter().any(|step| matches!(step, LaunchStep::TakeTree { .. })));
    }
    assert!(matches!(try_users(&words, copy(EphemeralKind::Memory, false)), Err(Error::NoIdMapping(_))));
}

#[test]
fn a_tree_half_way_is_gone_on_with_or_refused() {
    assert_eq!(users(&["-U"], half_way), (FREE, None, true));
    for words in [
        &[][..],
        &["--private-users=no"],
        &["--private-users=11534336"],
        &["--private-users=identity"],
        &["-U", "--private-users-ownership=map"],
        &["-U", "--private-users-ownership=off"],
        &["-U", "--read-only"],
        &["-U", "--volatile=overlay"],
    ] {
        assert!(matches!(try_users(words, half_way), Err(Error::HalfShifted(_))), "{words:?}");
    }
}

#[test]
fn ranges_are_locked_as_they_were_asked_for() {
    let locks = |words: &[&str]| {
        let plan = try_users(words, owned_by(OTHER)).expect("a plan");
        let alone = plan.parent.iter().any(|step| matches!(step, ParentStep::LockIdRange(_)));
        let shared = plan.parent.iter().any(|step| matches!(step, ParentStep::ShareIdRange(_)));
        (alone, shared)
    };
    assert_eq!(locks(&["-U"]), (true, false));
    assert_eq!(locks(&["--private-users=yes"]), (false, true));
    assert_eq!(locks(&["--private-users=11534336"]), (false, true));
    for range in ["0", "identity", "no", "1879048192"] {
        assert_eq!(locks(&[&format!("--private-users={range}")]), (false, false), "{range}");
    }
}
