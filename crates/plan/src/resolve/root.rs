//! What the root is made of.

use spec::Volatile;

use super::{Context, Error, directory};
use crate::{EphemeralKind, FileStep, FileSystem, MountFlags, OuterStep, Root};

pub(super) fn steps(context: &Context<'_>, steps: &mut Vec<OuterStep>) -> Result<(), Error> {
    let image = context.spec.image();
    let root = match image.volatile {
        Volatile::Yes => Root::VolatileTmpfs,
        Volatile::Overlay => Root::VolatileOverlay,
        Volatile::State => Root::Tree { read_only: true },
        Volatile::No if context.copies(EphemeralKind::Overlay) => Root::Overlay,
        Volatile::No if context.copies(EphemeralKind::Memory) => Root::VolatileOverlay,
        Volatile::No => Root::Tree { read_only: context.root_read_only() },
    };
    steps.push(OuterStep::MakeRoot(root));
    if let Some(pivot) = &image.pivot_root {
        steps.push(OuterStep::PivotInside(pivot.clone()));
    }
    if image.read_only && image.volatile == Volatile::No && image.ephemeral {
        // A copy that can be written to, though not from inside.
        let path = super::path("/")?;
        steps.push(OuterStep::File(FileStep::Restrict { path, attributes: MountFlags::READ_ONLY }));
    }
    if image.volatile == Volatile::Yes {
        for (name, mode) in [("/etc", 0o755), ("/var", 0o755), ("/root", 0o750), ("/home", 0o755)] {
            steps.push(OuterStep::File(directory(name, mode)?));
        }
    }
    if image.volatile == Volatile::State {
        steps.push(OuterStep::File(FileStep::Mount {
            file_system: FileSystem::Tmpfs,
            target: super::path("/var")?,
            options: super::api_mounts::tmpfs_options(context, "0755", "size=25%,nr_inodes=1m"),
            attributes: MountFlags { strict_atime: true, ..MountFlags::NONE },
        }));
    }
    Ok(())
}
