//! Users and groups of machines: which ids they are on the host, by the maps of the machines' first processes
//! (user_namespaces(7)).

use machine::Process;
use machine::machines::HOST;
use machine::state::{Class, State};

use super::{Error, Service};

/// Below this, ids are the host's own: a machine's range never begins there.
const HOST_IDS: u32 = 0x10000;

/// Users or groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Users.
    User,
    /// Groups.
    Group,
}

impl Kind {
    fn file(self) -> &'static str {
        match self {
            Self::User => "uid_map",
            Self::Group => "gid_map",
        }
    }

    fn unknown(self, id: u32) -> Error {
        match self {
            Self::User => Error::NoSuchUser(id),
            Self::Group => Error::NoSuchGroup(id),
        }
    }

    fn hosts(self, id: u32) -> Error {
        match self {
            Self::User => Error::UserInHostRange(id),
            Self::Group => Error::GroupInHostRange(id),
        }
    }
}

/// A range of ids: the first one inside, the first one on the host, how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    inside: u32,
    host: u32,
    count: u32,
}

fn maps(leader: &Process, kind: Kind) -> Vec<Extent> {
    let text = std::fs::read_to_string(format!("/proc/{}/{}", leader.pid, kind.file())).unwrap_or_default();
    // Read before it is looked at: the number is the leader's then, too.
    if leader.lives() { parsed(&text) } else { Vec::new() }
}

fn parsed(text: &str) -> Vec<Extent> {
    let extent = |line: &str| {
        let mut numbers = line.split_ascii_whitespace().map(str::parse::<u32>);
        let (inside, host, count) = (numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?);
        Some(Extent { inside, host, count })
    };
    text.lines().filter_map(extent).collect()
}

fn to_host(map: &[Extent], id: u32) -> Option<u32> {
    map.iter().find_map(|one| id.checked_sub(one.inside).filter(|at| *at < one.count)?.checked_add(one.host))
}

fn to_inside(map: &[Extent], id: u32) -> Option<u32> {
    map.iter().find_map(|one| id.checked_sub(one.host).filter(|at| *at < one.count)?.checked_add(one.inside))
}

/// It is not mapped at all: everybody is who they are on the host.
fn is_identity(map: &[Extent]) -> bool {
    matches!(map, [Extent { inside: 0, host: 0, count: u32::MAX }])
}

impl Service {
    /// Which id of the host a user or group of a machine is.
    ///
    /// # Errors
    /// [`Error::NotSupported`] for virtual machines, [`Error::NoSuchUser`], [`Error::NoSuchGroup`].
    pub fn map_from(&self, state: &State, kind: Kind, id: u32) -> Result<u32, Error> {
        let state = &self.settled(state)?;
        match state.class {
            Class::Host => Ok(id),
            Class::Vm => {
                let why = "a virtual machine has users of its own".to_owned();
                Err(Error::NotSupported { machine: state.name.clone(), what: "mapping users", why })
            }
            Class::Container => to_host(&maps(&state.leader, kind), id).ok_or_else(|| kind.unknown(id)),
        }
    }

    /// Which machine an id of the host belongs to, and which one it is there.
    ///
    /// # Errors
    /// [`Error::UserInHostRange`], [`Error::GroupInHostRange`], [`Error::NoSuchUser`], [`Error::NoSuchGroup`].
    pub fn map_to(&self, kind: Kind, id: u32) -> Result<(State, u32), Error> {
        if id < HOST_IDS {
            return Err(kind.hosts(id));
        }
        for state in self.machines()?.into_iter().filter(|state| state.class == Class::Container) {
            let map = maps(&state.leader, kind);
            if !is_identity(&map)
                && let Some(inside) = to_inside(&map, id)
            {
                return Ok((state, inside));
            }
        }
        Err(kind.unknown(id))
    }

    /// The host's id of root, where users and groups are one range that begins with root.
    ///
    /// # Errors
    /// [`Error::NotSupported`] for virtual machines, [`Error::NoUidShift`].
    pub fn uid_shift(&self, state: &State) -> Result<u32, Error> {
        let state = &self.settled(state)?;
        if state.name == HOST {
            return Ok(0);
        }
        if state.class != Class::Container {
            let why = "a virtual machine has users of its own".to_owned();
            return Err(Error::NotSupported { machine: state.name.clone(), what: "mapping users", why });
        }
        let (users, groups) = (maps(&state.leader, Kind::User), maps(&state.leader, Kind::Group));
        match users.as_slice() {
            [one @ Extent { inside: 0, .. }] if groups == [*one] => Ok(one.host),
            _ => Err(Error::NoUidShift(state.name.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_in_both_directions() {
        let map = parsed("         0     524288      65536\n     70000          5          1\nx\n");
        assert_eq!(map.len(), 2);
        assert_eq!(to_host(&map, 0), Some(524_288));
        assert_eq!(to_host(&map, 65535), Some(589_823));
        assert_eq!(to_host(&map, 65536), None);
        assert_eq!(to_host(&map, 70000), Some(5));
        assert_eq!(to_inside(&map, 524_289), Some(1));
        assert_eq!(to_inside(&map, 589_824), None);
        assert!(is_identity(&parsed("0 0 4294967295\n")));
        assert!(!is_identity(&map));
        assert_eq!(to_host(&[Extent { inside: 0, host: u32::MAX, count: 5 }], 4), None);
    }

    #[test]
    fn the_host_s_own_are_nobody_else_s() {
        let service = Service::system();
        assert!(matches!(service.map_to(Kind::User, 0), Err(Error::UserInHostRange(0))));
        assert!(matches!(service.map_to(Kind::Group, 65535), Err(Error::GroupInHostRange(_))));
        assert!(matches!(service.map_to(Kind::User, u32::MAX - 1), Err(Error::NoSuchUser(_))));
        let host = machine::machines::host();
        assert_eq!(service.map_from(&host, Kind::User, 5).unwrap(), 5);
        assert_eq!(service.uid_shift(&host).unwrap(), 0);
    }
}
