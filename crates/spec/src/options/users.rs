//! User namespaces.

use super::{Argument, Effect, Given, OptionRow, Problem, ValueKind, boolean, trusted};
use crate::{Ownership, PrivateUsers, SpecPatch};

const BASE: OptionRow = OptionRow::BASE;

pub(super) const ROWS: &[OptionRow] = &[
    OptionRow {
        long: "private-users",
        argument: Argument::Optional("MODE"),
        setting: trusted("Exec", "PrivateUsers"),
        kind: ValueKind::Words(&["no", "yes", "pick", "identity", "managed"]),
        help: "Users and groups of its own: pick, yes, identity, managed, no, or FIRST[:COUNT]",
        details: "Root in a container that has no users of its own is root of the host, which is no boundary. pick: a \
                  range of 65536 ids that nobody uses is chosen. FIRST[:COUNT]: this range, of 65536 ids where nothing \
                  else is said. identity: each id is the same inside and outside, which keeps privileges apart but not \
                  users. yes, also meant where no value is given: the range of \
                  65536 ids that the owner of the tree's root directory is in. no: the host's users, the default. managed: \
                  a range of 65536 ids that systemd-nsresourced gives, which the host's other programs know of then.",
        effect: Effect::Patch(private_users),
        ..BASE
    },
    OptionRow {
        long: "private-users-ownership",
        argument: Argument::Required("MODE"),
        setting: trusted("Files", "PrivateUsersOwnership"),
        kind: ValueKind::Words(&["off", "chown", "map", "foreign", "auto"]),
        lists: true,
        help: "How the tree's files get their owners",
        details: "off: they have the ids of the range on disk already. map: they have ids from 0 on, and the mount maps \
                  them. chown: they are changed on disk, once, by a walk through the whole tree \
                  that can be interrupted and gone on with. foreign: as map, but on disk they have ids from 2147352576 \
                  on. auto: off, map or foreign, as fits the tree, and chown where the file system cannot map; meant \
                  where the range is picked.",
        effect: Effect::Patch(ownership),
        ..BASE
    },
    OptionRow {
        long: "private-users-delegate",
        argument: Argument::Required("N"),
        setting: trusted("Exec", "PrivateUsersDelegate"),
        help: "Further ranges of ids for containers inside",
        details: "How many ranges of 65536 ids systemd-nsresourced gives besides, at most 16; 0 where nothing is said. They \
                  are the same inside and outside, and containers inside get theirs of them from the service, whose \
                  socket is in /run/systemd inside. Needs --private-users=managed.",
        effect: Effect::Patch(delegate),
        ..BASE
    },
    OptionRow {
        short: Some('U'),
        help: "As --private-users=pick --private-users-ownership=auto",
        details: "The same as --private-users=pick --private-users-ownership=auto, or as --private-users=no where the \
                  kernel has no user namespaces.",
        effect: Effect::Patch(pick_if_possible),
        ..BASE
    },
];

fn private_users(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    let text = given.text()?;
    let numbers = text.starts_with(|first: char| first.is_ascii_digit());
    patch.private_users = Some(match (given.value, text) {
        (_, "pick") => PrivateUsers::Pick,
        (_, "identity") => PrivateUsers::Identity,
        (_, "managed") => PrivateUsers::Managed,
        // Numbers are ranges here, also 0 and 1.
        _ if numbers => PrivateUsers::Range(given.parse()?),
        (None, _) => PrivateUsers::Owner,
        (Some(_), text) => match boolean(text) {
            Some(true) => PrivateUsers::Owner,
            Some(false) => PrivateUsers::No,
            None => return Err(Problem::invalid("it is none of no, yes, pick, identity, managed, FIRST[:COUNT]")),
        },
    });
    patch.users_optional = Some(false);
    Ok(())
}

fn ownership(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    patch.ownership = Some(given.one_of(&[
        ("off", Ownership::Off),
        ("chown", Ownership::Chown),
        ("map", Ownership::Map),
        ("foreign", Ownership::Foreign),
        ("auto", Ownership::Auto),
    ])?);
    Ok(())
}

fn delegate(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    const MOST: u32 = 16;
    let count: u32 = given.parse()?;
    if count > MOST {
        return Err(Problem::invalid("at most 16 ranges can be passed on"));
    }
    patch.private_users_delegate = Some(count);
    Ok(())
}

fn pick_if_possible(patch: &mut SpecPatch, _: &Given<'_>) -> Result<(), Problem> {
    patch.private_users = Some(PrivateUsers::Pick);
    patch.ownership = Some(Ownership::Auto);
    patch.users_optional = Some(true);
    Ok(())
}
