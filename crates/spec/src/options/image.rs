//! The tree that becomes the root.

use super::value::inside;
use super::{Argument, Effect, Given, OptionRow, Problem, ValueKind, anyone, only_away};
use crate::{PivotRoot, SpecPatch, Volatile};

const BASE: OptionRow = OptionRow::BASE;
const POLICY: Effect = Effect::Later("policies for disk images are not judged yet");
const VERITY: Effect = Effect::Later("dm-verity, which protects the file systems of disk images, is not set up yet");

pub(super) const ROWS: &[OptionRow] = &[
    OptionRow {
        long: "directory",
        short: Some('D'),
        argument: Argument::Required("PATH"),
        kind: ValueKind::Directory,
        help: "The tree to use as root directory",
        details: "A directory that holds an operating system or whatever else the program needs. Without it, a tree \
                  named as --machine= says is searched for in the machine directories, such as /var/lib/machines; \
                  without both it is the current directory. The host's own / is used only with --ephemeral or \
                  --volatile=.",
        effect: Effect::Patch(directory),
        ..BASE
    },
    OptionRow {
        long: "template",
        argument: Argument::Required("PATH"),
        kind: ValueKind::Directory,
        help: "Make the tree as a copy of this one if it is not there",
        details: "Where the tree that --directory= names does not exist, it is first made as a copy of this one: as a \
                  btrfs snapshot, with shared blocks, or in full, as the file system allows. Other mounts below it are \
                  not copied. Excludes --ephemeral.",
        effect: Effect::Patch(template),
        ..BASE
    },
    OptionRow {
        long: "ephemeral",
        short: Some('x'),
        setting: only_away("Exec", "Ephemeral", |said| said.ephemeral == Some(false)),
        help: "Run a copy that is removed at the end",
        details: "The tree itself stays as it is. The copy takes no time and no space: it is a btrfs snapshot or an \
                  overlay. Other mounts below the tree are not copied. Excludes --template=.",
        effect: Effect::Patch(ephemeral),
        ..BASE
    },
    OptionRow {
        long: "image",
        short: Some('i'),
        argument: Argument::Required("PATH"),
        kind: ValueKind::Path,
        help: "The disk image to use as root directory",
        details: "A file or block device with a file system (ext4, xfs, btrfs, squashfs, erofs), with an MBR that has one \
                  bootable partition of type 83, or with a GPT whose partitions are marked as the Discoverable \
                  Partitions Specification says, or that has one partition for Linux. Partitions for /usr, /home, /srv, \
                  /var, /var/tmp and the boot loader are mounted in their places. Nothing of it is seen on the host. \
                  Excludes --directory= and --template=. Encrypted partitions and dm-verity are refused.",
        effect: Effect::Patch(image),
        ..BASE
    },
    OptionRow {
        long: "image-policy",
        argument: Argument::Required("POLICY"),
        help: "What a disk image must be like",
        details: "A policy as systemd.image-policy(7) describes it.",
        effect: POLICY,
        ..BASE
    },
    OptionRow {
        long: "mstack",
        argument: Argument::Required("PATH"),
        kind: ValueKind::Directory,
        help: "The stack of mounts to use as root directory",
        details: "A directory as systemd.mstack(7) describes it.",
        effect: Effect::Later("stacks of mounts are not put together yet"),
        ..BASE
    },
    OptionRow {
        long: "oci-bundle",
        argument: Argument::Required("PATH"),
        kind: ValueKind::Directory,
        help: "The OCI runtime bundle to run",
        details: "A directory with a config.json of the OCI runtime specification, version 1, and a root file system. \
                  Its program, user, capabilities, limits, mounts, namespaces and the like are used; what the command \
                  line says comes first. No settings file is read. What cannot be carried out is refused by its \
                  place in the JSON document.",
        effect: Effect::Patch(oci_bundle),
        ..BASE
    },
    OptionRow {
        long: "read-only",
        setting: only_away("Files", "ReadOnly", |said| said.read_only == Some(false)),
        help: "Nothing in the tree can be changed",
        details: "The root file system is mounted read-only. Mounts added by --bind= and the like are not.",
        effect: Effect::Patch(read_only),
        ..BASE
    },
    OptionRow {
        long: "volatile",
        argument: Argument::Optional("MODE"),
        setting: only_away("Files", "Volatile", |said| said.volatile == Some(Volatile::No)),
        kind: ValueKind::Words(&["no", "yes", "state", "overlay"]),
        lists: true,
        help: "Keep changes in memory only",
        details: "yes, also meant where no value is given: the root is an empty file system in memory with the tree's \
                  /usr in it, read-only. state: the tree is read-only and /var is an empty file system in memory. \
                  overlay: the whole tree can be changed, and the changes stay in memory. no, the default: changes go \
                  to the tree.",
        effect: Effect::Patch(volatile),
        ..BASE
    },
    OptionRow {
        long: "root-hash",
        argument: Argument::Required("HEX"),
        help: "The verity hash of the root file system",
        details: "The dm-verity root hash, in hexadecimal digits.",
        effect: VERITY,
        ..BASE
    },
    OptionRow {
        long: "root-hash-sig",
        argument: Argument::Required("SIGNATURE"),
        kind: ValueKind::Path,
        help: "The signature of the verity hash",
        details: "A path, or base64: and the signature.",
        effect: VERITY,
        ..BASE
    },
    OptionRow {
        long: "verity-data",
        argument: Argument::Required("PATH"),
        kind: ValueKind::Path,
        help: "The file with the verity data",
        details: "Where the image does not hold it itself.",
        effect: VERITY,
        ..BASE
    },
    OptionRow {
        long: "pivot-root",
        argument: Argument::Required("NEW[:OLD]"),
        setting: anyone("Exec", "PivotRoot"),
        kind: ValueKind::Inside,
        help: "Make a directory of the tree the root",
        details: "NEW becomes the root. The tree's own root is seen at OLD, or nowhere. Both are absolute paths inside \
                  the container. For trees with several systems in them.",
        effect: Effect::Patch(pivot_root),
        ..BASE
    },
];

fn directory(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    patch.directory = given.host_path();
    Ok(())
}

fn image(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    patch.image = given.host_path();
    Ok(())
}

fn template(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    patch.template = given.host_path();
    Ok(())
}

fn ephemeral(patch: &mut SpecPatch, _: &Given<'_>) -> Result<(), Problem> {
    patch.ephemeral = Some(true);
    Ok(())
}

fn oci_bundle(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    patch.oci_bundle = given.host_path();
    Ok(())
}

fn read_only(patch: &mut SpecPatch, _: &Given<'_>) -> Result<(), Problem> {
    patch.read_only = Some(true);
    Ok(())
}

fn volatile(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    patch.volatile = Some(match (given.value, given.text()?, given.boolean()) {
        (None, ..) | (_, _, Ok(true)) => Volatile::Yes,
        (_, "state", _) => Volatile::State,
        (_, "overlay", _) => Volatile::Overlay,
        (_, _, Ok(false)) => Volatile::No,
        _ => return Err(Problem::invalid("it is none of no, yes, state, overlay")),
    });
    Ok(())
}

fn pivot_root(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    let fields = super::value::fields(given.raw())?;
    patch.pivot_root = Some(match &fields[..] {
        [new] => PivotRoot { new: inside(new)?, old: None },
        [new, old] => PivotRoot { new: inside(new)?, old: Some(inside(old)?) },
        _ => return Err(Problem::invalid("it has more than two paths")),
    });
    Ok(())
}
