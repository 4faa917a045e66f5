//! Users of the host inside: an id for each, its home, and the records that nss-systemd(8) of the container reads (JSON
//! User Records, <https://systemd.io/USER_RECORD>).

use std::borrow::Cow;

use serde::Serialize;
use spec::{AbsPath, Secret, UserShell};
use thiserror::Error;

use super::{Context, path};
use crate::{FileStep, IdLine, LaunchStep, MountFlags, MountIds, OuterStep, SourceNumber, UserFacts};

/// The ids inside that systemd reserves for them (<https://systemd.io/UIDS-GIDS>).
pub const BOUND_IDS: std::ops::RangeInclusive<u32> = 60514..=60577;

/// What programs read where the records come from.
const SERVICE: &str = "io.systemd.NSpawn";
/// The user whose id stands for all that have none.
const NOBODY: u32 = 65534;

/// Why a user cannot be taken inside.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Error {
    /// root, nobody.
    #[error("the user {0} means something else inside and is not taken there")]
    Special(String),
    /// The primary group is shared with others.
    #[error(
        "the user {0} has no group of the same name and number on the host, so that files would belong to others inside"
    )]
    NoGroup(String),
    /// A name clash.
    #[error("the container has a user or a group {0} of its own")]
    Exists(String),
    /// All ids are taken.
    #[error("no id from 60514 to 60577 is free for the user {0} in the container")]
    NoId(String),
}

/// A user and the id inside.
struct Bound<'a> {
    facts: &'a UserFacts,
    id: u32,
    /// The host's id that the one inside is.
    host: u32,
}

fn bound<'a>(context: &Context<'a>) -> Result<Vec<Bound<'a>>, Error> {
    let Some(facts) = &context.facts.bind_users else { return Ok(Vec::new()) };
    // Without users of its own each id is the same inside and outside, and the user still gets another one inside.
    let (first, count) = context.user.map_or((0, u32::MAX), |user| (user.range.start(), user.range.count()));
    let mut free = BOUND_IDS.filter(|id| *id < count && !facts.taken_ids.contains(id));
    facts.users.iter().map(|user| one(user, first, &facts.taken_names, &mut free)).collect()
}

fn one<'a>(
    facts: &'a UserFacts,
    first: u32,
    taken: &[String],
    free: &mut impl Iterator<Item = u32>,
) -> Result<Bound<'a>, Error> {
    let name = || facts.name.clone();
    if matches!(facts.uid, 0 | NOBODY) || matches!(&*facts.name, "root" | "nobody") {
        return Err(Error::Special(name()));
    }
    if !facts.own_group || facts.gid != facts.uid {
        return Err(Error::NoGroup(name()));
    }
    if taken.contains(&facts.name) {
        return Err(Error::Exists(name()));
    }
    let id = free.next().ok_or_else(|| Error::NoId(name()))?;
    Ok(Bound { facts, id, host: first + id })
}

pub(super) fn sources(context: &Context<'_>, steps: &mut Vec<LaunchStep>) {
    for (number, user) in context.facts.bind_users.iter().flat_map(|facts| facts.users.iter().enumerate()) {
        let number = SourceNumber::Home(number);
        steps.push(LaunchStep::TakeSource { path: user.home.clone(), recursive: false, number });
    }
}

pub(super) fn outer(context: &Context<'_>, steps: &mut Vec<OuterStep>) -> Result<(), super::Error> {
    let users = bound(context)?;
    if users.is_empty() {
        return Ok(());
    }
    let mut files = vec![super::directory("/run/host/home", 0o755)?, super::directory("/run/host/userdb", 0o755)?];
    for (number, user) in users.iter().enumerate() {
        files.push(FileStep::Attach {
            source: SourceNumber::Home(number),
            target: path(&home(user))?,
            attributes: MountFlags::NONE,
            directory: true,
            ids: Some(MountIds::Lines(lines(user))),
        });
    }
    for user in &users {
        records(context, user, &mut files)?;
    }
    steps.extend(files.into_iter().map(OuterStep::File));
    Ok(())
}

/// The user's files are the user's. Nobody else inside, not even root, has an id there to make one with.
fn lines(user: &Bound<'_>) -> Vec<IdLine> {
    vec![IdLine { file_system: user.facts.uid, host: user.host, count: 1 }]
}

fn home(user: &Bound<'_>) -> String {
    format!("/run/host/home/{}", user.facts.name)
}

fn place(name: &str) -> Result<AbsPath, super::Error> {
    path(&format!("/run/host/userdb/{name}"))
}

fn records(context: &Context<'_>, user: &Bound<'_>, files: &mut Vec<FileStep>) -> Result<(), super::Error> {
    let name = &*user.facts.name;
    let bind = context.spec.bind_users();
    let group = GroupRecord { group_name: name, gid: user.id, service: SERVICE };
    let shell = match &bind.shell {
        UserShell::Containers => None,
        UserShell::Hosts => user.facts.shell.clone(),
        UserShell::Path(path) => Some(path.as_path().to_string_lossy().into_owned()),
    };
    let record = UserRecord {
        user_name: name,
        uid: user.id,
        gid: user.id,
        disposition: user.facts.disposition.as_deref(),
        home_directory: home(user),
        shell,
        member_of: &bind.groups,
        service: SERVICE,
    };
    let mut all = vec![("group", false, text(&group)), ("user", false, text(&record))];
    all.extend(privileged(user.facts).map(|record| ("user-privileged", true, text(&record))));
    for (kind, private, contents) in all {
        let file = place(&format!("{name}.{kind}"))?;
        files.push(if private {
            FileStep::PrivateFile { path: file, contents: Secret::new(contents) }
        } else {
            FileStep::File { path: file, mode: 0o644, contents }
        });
        let link = place(&format!("{}.{kind}", user.id))?;
        files.push(FileStep::Symlink { path: link, target: format!("{name}.{kind}").into() });
    }
    for group in &bind.groups {
        let path = place(&format!("{name}:{group}.membership"))?;
        // Only the name counts, but an empty file would say that there is no such membership.
        files.push(FileStep::File { path, mode: 0o644, contents: b"\n".to_vec() });
    }
    Ok(())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GroupRecord<'a> {
    group_name: &'a str,
    gid: u32,
    service: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UserRecord<'a> {
    user_name: &'a str,
    uid: u32,
    gid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    disposition: Option<&'a str>,
    home_directory: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    shell: Option<String>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    member_of: &'a [String],
    service: &'a str,
}

/// What only root inside may read.
#[derive(Serialize)]
struct PrivilegedRecord<'a> {
    privileged: Privileged<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Privileged<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hashed_password: Vec<Cow<'a, str>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    ssh_authorized_keys: &'a [String],
}

fn privileged(facts: &UserFacts) -> Option<PrivilegedRecord<'_>> {
    let hashed_password: Vec<_> =
        facts.hashed_passwords.iter().map(|hash| String::from_utf8_lossy(hash.reveal())).collect();
    let any = !hashed_password.is_empty() || !facts.ssh_keys.is_empty();
    any.then(|| PrivilegedRecord { privileged: Privileged { hashed_password, ssh_authorized_keys: &facts.ssh_keys } })
}

/// A line of JSON. Strings and numbers always make one.
fn text(record: &impl Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec(record).unwrap_or_default();
    text.push(b'\n');
    text
}
