//! Further ranges of ids for containers inside, which get theirs by the sockets of the host's services
//! (`--private-users-delegate=`).

use std::path::Path;

use spec::UidRange;

use super::{Context, Error, directory, path};
use crate::{FileStep, LaunchStep, MountFlags, OuterStep, ParentStep, SourceNumber};

/// Where services of systemd listen, on the host and inside.
const SOCKETS: &str = "/run/systemd";
/// Where a service is looked for by the name of its interface.
const DISCOVERED: [&str; 2] = ["/run/systemd/userdb", "/run/varlink/registry"];

/// Nobody else picks them meanwhile.
pub(super) fn parent<'a>(context: &Context<'a>) -> impl Iterator<Item = ParentStep> + use<'a> {
    let given = context.facts.delegated_ranges.iter();
    given.filter_map(|start| UidRange::new(*start, UidRange::USUAL_COUNT)).map(ParentStep::LockIdRange)
}

pub(super) fn sources<'a>(context: &Context<'a>) -> impl Iterator<Item = LaunchStep> + use<'a> {
    context.facts.delegation_sockets.iter().enumerate().map(|(number, name)| LaunchStep::TakeSource {
        path: Path::new(SOCKETS).join(name),
        recursive: false,
        number: SourceNumber::Service(number),
    })
}

pub(super) fn outer(context: &Context<'_>, steps: &mut Vec<OuterStep>) -> Result<(), Error> {
    if context.facts.delegation_sockets.is_empty() {
        return Ok(());
    }
    let mut files = Vec::new();
    for place in [SOCKETS, DISCOVERED[0], "/run/varlink", DISCOVERED[1]] {
        files.push(directory(place, 0o755)?);
    }
    for (number, name) in context.facts.delegation_sockets.iter().enumerate() {
        let socket = format!("{SOCKETS}/{name}");
        files.push(FileStep::Attach {
            source: SourceNumber::Service(number),
            target: path(&socket)?,
            attributes: MountFlags::NONE,
            directory: false,
            ids: None,
        });
        for place in DISCOVERED {
            files.push(FileStep::Symlink { path: path(&format!("{place}/{name}"))?, target: socket.clone().into() });
        }
    }
    steps.extend(files.into_iter().map(OuterStep::File));
    Ok(())
}
