//! Mounts beside the root.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::bind_user;
use super::value::{fields, inside, without_dots};
use super::{Argument, Effect, Given, Merge, OptionRow, Problem, ValueKind, trusted};
use crate::{BindSource, CustomMount, IdEntry, IdMapping, SpecPatch};

const BASE: OptionRow = OptionRow { merge: Merge::List, ..OptionRow::BASE };

pub(super) const ROWS: &[OptionRow] = &[
    OptionRow {
        long: "bind",
        argument: Argument::Required("SRC[:DST[:OPTIONS]]"),
        setting: trusted("Files", "Bind"),
        kind: ValueKind::Path,
        help: "Mount a path of the host inside",
        details: "SRC is a path of the host, seen from the current directory; with a + in front it is an absolute path \
                  in the tree; empty, it is a temporary directory that is removed at the end. DST is an absolute path \
                  inside the container, and the same as SRC where it is left out. OPTIONS, with commas between them: \
                  rbind (with the mounts below it, the default) or norbind (without), and whom the files belong to \
                  where the container has users of its own: noidmap (the ids of the host, the default), idmap (each \
                  id of the host is the same number inside), rootidmap (the source's owner is root inside), \
                  owneridmap (the source's owner is the owner of DST) or map=INSIDE:OUTSIDE:COUNT (so many ids from \
                  OUTSIDE on are those from INSIDE on; may be repeated); ids that are not mapped are nobody inside, \
                  and the source's file system must be able to map ids. A backslash in front of a \
                  colon makes it a part of a path. May be used more than once.",
        effect: Effect::Patch(bind),
        ..BASE
    },
    OptionRow {
        long: "bind-ro",
        argument: Argument::Required("SRC[:DST[:OPTIONS]]"),
        setting: trusted("Files", "BindReadOnly"),
        kind: ValueKind::Path,
        help: "The same, read-only",
        details: "As --bind=, but nothing can be changed through it.",
        effect: Effect::Patch(bind_read_only),
        ..BASE
    },
    bind_user::USER,
    bind_user::SHELL,
    bind_user::GROUP,
    OptionRow {
        long: "inaccessible",
        argument: Argument::Required("PATH"),
        setting: trusted("Files", "Inaccessible"),
        kind: ValueKind::Inside,
        help: "Hide a path inside",
        details: "An empty node of the same kind, which nobody may open, is mounted over it. May be used more than once.",
        effect: Effect::Patch(inaccessible),
        ..BASE
    },
    OptionRow {
        long: "tmpfs",
        argument: Argument::Required("PATH[:OPTIONS]"),
        setting: trusted("Files", "TemporaryFileSystem"),
        kind: ValueKind::Inside,
        help: "Mount an empty file system in memory",
        details: "At an absolute path inside that is not /, with options as mount(8) takes them. Without options the \
                  directory belongs to root and has mode 0755. May be used more than once.",
        effect: Effect::Patch(tmpfs),
        ..BASE
    },
    OptionRow {
        long: "overlay",
        argument: Argument::Required("LOWER[:LOWER...]:UPPER:DST"),
        setting: trusted("Files", "Overlay"),
        kind: ValueKind::Directory,
        help: "Mount several directories as one",
        details: "All but the last path are directories of the host, the lowest first, written as SRC of --bind=; \
                  changes go to the last one of them, UPPER. An empty UPPER is a temporary directory that is removed at \
                  the end; another one must be no mount point, as a work directory is made beside it while the container \
                  runs. With two paths the second one is UPPER and DST. Where the container has users of its own, a \
                  directory belongs to the ids with the same numbers inside, unless its owner is in the container's \
                  range already. May be used more than once.",
        effect: Effect::Patch(overlay),
        ..BASE
    },
    OptionRow {
        long: "overlay-ro",
        argument: Argument::Required("LOWER[:LOWER...]:UPPER:DST"),
        setting: trusted("Files", "OverlayReadOnly"),
        kind: ValueKind::Directory,
        help: "The same, read-only",
        details: "As --overlay=, but nothing can be changed through it.",
        effect: Effect::Patch(overlay_read_only),
        ..BASE
    },
];

fn bind(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    let mount = bind_mount(given, false)?;
    patch.mounts.get_or_insert_default().push(mount);
    Ok(())
}

fn bind_read_only(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    let mount = bind_mount(given, true)?;
    patch.mounts.get_or_insert_default().push(mount);
    Ok(())
}

fn bind_mount(given: &Given<'_>, read_only: bool) -> Result<CustomMount, Problem> {
    let fields = fields(given.raw())?;
    let bytes = fields[0].as_bytes();
    let source = source(given, &fields[0])?;
    let destination = match (fields.get(1), &source) {
        (Some(path), _) => inside(path)?,
        (None, BindSource::Tree(path)) => path.clone(),
        // The current directory, where a relative path begins, has no symbolic links.
        (None, BindSource::Host(path)) if bytes[0] != b'/' => inside(without_dots(path).as_os_str())?,
        (None, BindSource::Host(path)) => inside(path.as_os_str())?,
        (None, BindSource::Temporary) => return Err(Problem::invalid("it has neither a source nor a destination")),
    };
    let (recursive, ids) = bind_options(fields.get(2..).unwrap_or_default())?;
    Ok(CustomMount::Bind { source, destination, read_only, recursive, ids })
}

fn source(given: &Given<'_>, path: &OsStr) -> Result<BindSource, Problem> {
    Ok(match path.as_bytes().strip_prefix(b"+") {
        Some(path) => BindSource::Tree(inside(OsStr::from_bytes(path))?),
        None if path.is_empty() => BindSource::Temporary,
        None => BindSource::Host(given.caller.directory.join(path)),
    })
}

/// Reads the options of a bind mount, which have colons of their own in a `map=`. The last one of each kind counts.
fn bind_options(fields: &[OsString]) -> Result<(bool, IdMapping), Problem> {
    let options = fields.join(OsStr::new(":"));
    let options = options.to_str().ok_or_else(|| Problem::invalid("its options are no text in UTF-8"))?;
    let (mut recursive, mut ids) = (true, IdMapping::Unmapped);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "rbind" => recursive = true,
            "norbind" => recursive = false,
            "noidmap" => ids = IdMapping::Unmapped,
            "idmap" => ids = IdMapping::Same,
            "rootidmap" => ids = IdMapping::Root,
            "owneridmap" => ids = IdMapping::Owner,
            other => match other.strip_prefix("map=") {
                Some(entry) => ids = with_entry(ids, entry)?,
                None => return Err(Problem::Invalid(format!("{other:?} is no option of a bind mount"))),
            },
        }
    }
    Ok((recursive, ids))
}

/// Adds what `map=` says.
fn with_entry(ids: IdMapping, text: &str) -> Result<IdMapping, Problem> {
    /// The kernel takes no more.
    const MOST: usize = 340;
    let form = || Problem::Invalid(format!("map={text} is not of the form map=INSIDE:OUTSIDE:COUNT"));
    let numbers: Vec<u32> = text.split(':').map(str::parse).collect::<Result<_, _>>().map_err(|_| form())?;
    let &[inside, outside, count] = numbers.as_slice() else { return Err(form()) };
    let end = |start: u32| start.checked_add(count);
    if count == 0 || end(inside).is_none() || end(outside).is_none() {
        return Err(Problem::Invalid(format!("map={text} has no ids, or more than there are")));
    }
    let entry = IdEntry { inside, outside, count };
    let mut entries = match ids {
        IdMapping::Listed(entries) => entries,
        _ => Vec::new(),
    };
    if entries.iter().any(|other| other.overlaps(&entry)) {
        return Err(Problem::Invalid(format!("map={text} speaks of ids that another map= speaks of")));
    }
    entries.push(entry);
    if entries.len() > MOST {
        return Err(Problem::Invalid(format!("it has more than {MOST} map= options")));
    }
    Ok(IdMapping::Listed(entries))
}

fn overlay(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    let mount = overlay_mount(given, false)?;
    patch.mounts.get_or_insert_default().push(mount);
    Ok(())
}

fn overlay_read_only(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    let mount = overlay_mount(given, true)?;
    patch.mounts.get_or_insert_default().push(mount);
    Ok(())
}

fn overlay_mount(given: &Given<'_>, read_only: bool) -> Result<CustomMount, Problem> {
    /// The kernel takes no more.
    const MOST: usize = 500;
    let fields = fields(given.raw())?;
    let (destination, paths) = match fields.as_slice() {
        [] | [_] => return Err(Problem::invalid("it has less than two paths")),
        // The second one is both.
        [_, second] => (second, fields.as_slice()),
        [paths @ .., last] => (last, paths),
    };
    let destination = inside(destination)?;
    if destination.as_path().parent().is_none() {
        return Err(Problem::invalid("the root cannot be replaced like this; see --volatile="));
    }
    let layers: Vec<_> = paths.iter().map(|path| source(given, path)).collect::<Result<_, _>>()?;
    let empty = layers.iter().position(|layer| *layer == BindSource::Temporary);
    if empty.is_some_and(|position| position + 1 < layers.len()) {
        return Err(Problem::invalid("only the last directory before the destination may be left empty"));
    }
    if layers.len() > MOST {
        return Err(Problem::Invalid(format!("it has more than {MOST} directories")));
    }
    Ok(CustomMount::Overlay { layers, destination, read_only })
}

fn inaccessible(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    let path = inside(given.raw())?;
    if path.as_path().parent().is_none() {
        return Err(Problem::invalid("the root cannot be hidden"));
    }
    patch.mounts.get_or_insert_default().push(CustomMount::Inaccessible { path });
    Ok(())
}

fn tmpfs(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    // The options are taken as they are, with their colons and backslashes.
    let bytes = given.raw().as_bytes();
    let mut escaped = false;
    let end = bytes.iter().position(|byte| {
        let ends = *byte == b':' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    });
    let path = fields(OsStr::from_bytes(&bytes[..end.unwrap_or(bytes.len())]))?.remove(0);
    let destination = inside(&path)?;
    if destination.as_path().parent().is_none() {
        return Err(Problem::invalid("the root cannot be replaced like this; see --volatile="));
    }
    let options = end.map(|end| String::from_utf8_lossy(&bytes[end + 1..]).into_owned());
    let options = options.filter(|options| !options.is_empty());
    patch.mounts.get_or_insert_default().push(CustomMount::Tmpfs { destination, options });
    Ok(())
}
