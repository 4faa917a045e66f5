//! `--private-users=` and `--private-users-ownership=`: which ids, and how the tree's files get them.

use spec::{Ownership, PrivateUsers, UidRange};

use super::Error;
use crate::{HostFacts, ParentStep, UserNamespace};

/// How many ids a picked range has: all that 16 bits can tell apart.
const RANGE: u32 = 0x1_0000;

pub(super) fn resolve(spec: &spec::ContainerSpec, facts: &HostFacts) -> Result<Option<UserNamespace>, Error> {
    if !facts.host.user_namespaces && spec.users().optional {
        return Ok(None);
    }
    let range = match spec.users().private_users {
        PrivateUsers::No => return Ok(None),
        PrivateUsers::Identity => UidRange::new(0, RANGE),
        PrivateUsers::Range(range) => Some(range),
        PrivateUsers::Owner => Some(of_owner(facts)?),
        PrivateUsers::Pick => match facts.free_id_range {
            Some(start) => UidRange::new(start, RANGE),
            None => return Err(Error::NoUserNamespaces),
        },
    };
    let Some(range) = range else { return Err(Error::NoUserNamespaces) };
    if !facts.host.user_namespaces {
        return Err(Error::NoUserNamespaces);
    }
    let fits = base(facts.tree.owner) == range.start();
    let map_tree = match spec.users().ownership {
        Ownership::Off => false,
        Ownership::Map | Ownership::Auto if fits => false,
        Ownership::Map | Ownership::Auto if facts.tree.idmap => true,
        Ownership::Map | Ownership::Auto => return Err(Error::NoIdMapping(facts.tree.path.display().to_string())),
    };
    Ok(Some(UserNamespace { range, map_tree }))
}

/// The first id of the 65536 that an id is among: the upper 16 bits tell containers apart (systemd-nspawn(1),
/// `--private-users=`).
const fn base(id: u32) -> u32 {
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
        PrivateUsers::Pick => Some(ParentStep::LockIdRange(range)),
        PrivateUsers::Owner | PrivateUsers::Range(_) if range.is_pickable() => Some(ParentStep::ShareIdRange(range)),
        PrivateUsers::Owner | PrivateUsers::Range(_) | PrivateUsers::Identity | PrivateUsers::No => None,
    }
}
