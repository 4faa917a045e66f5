//! `--private-users=` and `--private-users-ownership=`: which ids, and how the tree's files get them.

use spec::{Ownership, PrivateUsers, UidRange, Volatile};

use super::Error;
use crate::{EphemeralFacts, EphemeralKind, HostFacts, ParentStep, TreeFacts, UserNamespace};

/// How many ids a picked range has: all that 16 bits can tell apart.
const RANGE: u32 = 0x1_0000;

pub(super) fn resolve(spec: &spec::ContainerSpec, facts: &HostFacts) -> Result<Option<UserNamespace>, Error> {
    if !facts.host.user_namespaces && spec.users().optional {
        return Ok(None);
    }
    let range = match spec.users().private_users {
        PrivateUsers::No if facts.tree.half_shifted => {
            return Err(Error::HalfShifted(facts.tree.path.display().to_string()));
        }
        PrivateUsers::No => return Ok(None),
        PrivateUsers::Identity => UidRange::new(0, RANGE),
        PrivateUsers::Range(range) => Some(range),
        PrivateUsers::Owner => Some(of_owner(facts)?),
        PrivateUsers::Pick | PrivateUsers::Managed => match facts.free_id_range {
            Some(start) => UidRange::new(start, RANGE),
            None => return Err(Error::NoUserNamespaces),
        },
    };
    let Some(range) = range else { return Err(Error::NoUserNamespaces) };
    if !facts.host.user_namespaces {
        return Err(Error::NoUserNamespaces);
    }
    tree_ids(spec, facts, range).map(Some)
}

/// How the tree's files get the ids of the range.
fn tree_ids(spec: &spec::ContainerSpec, facts: &HostFacts, range: UidRange) -> Result<UserNamespace, Error> {
    let given = spec.users().private_users == PrivateUsers::Managed;
    let as_it_is = UserNamespace { range, map_tree: false, tree_base: 0, shift_tree: false, given };
    let TreeFacts { owner, half_shifted, idmap, .. } = facts.tree;
    let map = || UserNamespace { map_tree: true, tree_base: base(owner), ..as_it_is };
    let tree = || facts.tree.path.display().to_string();
    let fits = owner == range.start() || base(owner) == range.start();
    let temporary = spec.image().ephemeral;
    match spec.users().ownership {
        Ownership::Off if half_shifted => Err(Error::HalfShifted(tree())),
        Ownership::Off => Ok(as_it_is),
        Ownership::Map if half_shifted => Err(Error::HalfShifted(tree())),
        Ownership::Foreign if base(owner) != UidRange::FOREIGN => Err(Error::NotForeign { tree: tree(), owner }),
        Ownership::Map | Ownership::Auto | Ownership::Chown if fits => Ok(as_it_is),
        Ownership::Map | Ownership::Foreign | Ownership::Auto if idmap && !half_shifted => Ok(map()),
        Ownership::Map | Ownership::Foreign => Err(Error::NoIdMapping(tree())),
        // The copy is the container's alone, and nobody sees whom its files belong to on disk.
        Ownership::Chown if temporary && idmap && !half_shifted => Ok(map()),
        Ownership::Auto if spec.image().volatile != Volatile::No || spec.image().read_only => match half_shifted {
            true => Err(Error::HalfShifted(tree())),
            false => Err(Error::NoIdMapping(tree())),
        },
        Ownership::Auto | Ownership::Chown if range.start() != base(range.start()) || range.count() != RANGE => {
            Err(Error::NotShiftable(range.to_string()))
        }
        Ownership::Auto | Ownership::Chown if facts.tree.read_only && !temporary => Err(Error::ReadOnlyTree(tree())),
        Ownership::Auto | Ownership::Chown => Ok(UserNamespace { shift_tree: true, ..as_it_is }),
    }
}

/// The copy of a tree that is given to other ids on disk has to have its own files.
pub(super) fn own_files(facts: &HostFacts, user: Option<UserNamespace>) -> Result<Option<EphemeralFacts>, Error> {
    let copy = facts.tree.ephemeral.as_ref().filter(|_| user.is_some_and(|user| user.shift_tree));
    match copy {
        Some(EphemeralFacts { kind: EphemeralKind::Memory, .. }) => {
            Err(Error::NoIdMapping(facts.tree.path.display().to_string()))
        }
        Some(copy @ EphemeralFacts { kind: EphemeralKind::Overlay, .. }) => {
            Ok(Some(EphemeralFacts { kind: EphemeralKind::Copy, ..copy.clone() }))
        }
        _ => Ok(None),
    }
}

/// The first id of the 65536 that an id is among: the upper 16 bits tell containers apart (systemd-nspawn(1),
/// `--private-users=`).
pub(super) const fn base(id: u32) -> u32 {
    id & !(RANGE - 1)
}

/// The range that the owner of the root directory is in.
fn of_owner(facts: &HostFacts) -> Result<UidRange, Error> {
    let (user, group) = (facts.tree.owner, facts.tree.group);
    if base(user) != base(group) {
        return Err(Error::OwnersDiffer { tree: facts.tree.path.display().to_string(), user, group });
    }
    UidRange::new(base(user), RANGE).ok_or(Error::NoRange(base(user)))
}

/// A picked range is the container's alone. One that was asked for may be shared by those who ask for the same.
pub(super) fn lock(spec: &spec::ContainerSpec, range: UidRange) -> Option<ParentStep> {
    match spec.users().private_users {
        PrivateUsers::Pick | PrivateUsers::Managed => Some(ParentStep::LockIdRange(range)),
        PrivateUsers::Owner | PrivateUsers::Range(_) if range.is_pickable() => Some(ParentStep::ShareIdRange(range)),
        PrivateUsers::Owner | PrivateUsers::Range(_) | PrivateUsers::Identity | PrivateUsers::No => None,
    }
}
