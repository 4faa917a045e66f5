//! `--private-users=` and `--private-users-ownership=`: which ids, and how the tree's files get them.

use spec::{Ownership, PrivateUsers, UidRange};

use super::Error;
use crate::{HostFacts, UserNamespace};

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
        PrivateUsers::Pick => match facts.free_id_range {
            Some(start) => UidRange::new(start, RANGE),
            None => return Err(Error::NoUserNamespaces),
        },
    };
    let Some(range) = range else { return Err(Error::NoUserNamespaces) };
    if !facts.host.user_namespaces {
        return Err(Error::NoUserNamespaces);
    }
    let fits = facts.tree.owner == range.start();
    let map_tree = match spec.users().ownership {
        Ownership::Off => false,
        Ownership::Map | Ownership::Auto if fits => false,
        Ownership::Map | Ownership::Auto if facts.tree.idmap => true,
        Ownership::Map | Ownership::Auto => return Err(Error::NoIdMapping(facts.tree.path.display().to_string())),
    };
    Ok(Some(UserNamespace { range, map_tree }))
}
