//! What every container sees beside its tree: `/dev`, `/proc`, `/sys`, `/run`, `/tmp`.

use spec::ApiVfs;
use spec::oci::{PTMX_MODE, TERMINAL_MODE, TTY_GROUP};

use super::{Context, Error, directory, path};
use crate::{FileStep, FileSystem, MountFlags, SourceNumber, SpecialKind};

/// Device nodes that every program expects: name, major, minor.
const DEVICES: [(&str, u32, u32); 8] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
    ("net/tun", 10, 200),
    ("fuse", 10, 229),
];

/// Links in `/dev`.
const LINKS: [(&str, &str); 5] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
];

/// Options of a tmpfs whose root belongs to the container's root.
pub(super) fn tmpfs_options(context: &Context<'_>, mode: &str, limits: &str) -> Vec<String> {
    let mut options = vec![format!("mode={mode}")];
    options.extend(limits.split(',').filter(|limit| !limit.is_empty()).map(str::to_owned));
    options.extend(owner_options(context));
    options
}

/// The container's root, as the host sees it.
pub(super) fn owner_options(context: &Context<'_>) -> Vec<String> {
    match context.user.map(|user| user.range.start()) {
        None | Some(0) => Vec::new(),
        Some(start) => vec![format!("uid={start}"), format!("gid={start}")],
    }
}

/// What is made with the host's privileges.
pub(super) fn outer(context: &Context<'_>, steps: &mut Vec<FileStep>) -> Result<(), Error> {
    let shared = MountFlags { strict_atime: true, ..MountFlags::NO_SUID_DEV };
    if context.spec.image().tmpfs_tmp {
        steps.push(memory(context, "/tmp", ("1777", "10%", "400k"), shared)?);
    }
    if !context.private_network() {
        steps.push(FileStep::Mount {
            file_system: FileSystem::Sysfs,
            target: path("/sys")?,
            options: sysfs_options(context),
            attributes: sysfs_flags(context),
        });
    }
    let no_suid = MountFlags { no_suid: true, strict_atime: true, ..MountFlags::NONE };
    steps.push(memory(context, "/dev", ("0755", "4m", "64k"), no_suid)?);
    devices(steps)?;
    steps.push(memory(context, "/dev/shm", ("1777", "10%", "400k"), shared)?);
    steps.push(memory(context, "/run", ("0755", "20%", "800k"), shared)?);
    run_host(context, steps)
}

/// A tmpfs that every container has: its permissions, size and number of files, where a bundle says nothing else.
fn memory(
    context: &Context<'_>,
    place: &str,
    (mode, size, files): (&str, &str, &str),
    attributes: MountFlags,
) -> Result<FileStep, Error> {
    let said = context.spec.bundle().said_of(place);
    let mode = said.and_then(|own| own.mode).map_or_else(|| mode.to_owned(), |mode| format!("{mode:04o}"));
    let size = said.and_then(|own| own.size.as_deref()).unwrap_or(size);
    Ok(FileStep::Mount {
        file_system: FileSystem::Tmpfs,
        target: path(place)?,
        options: tmpfs_options(context, &mode, &format!("size={size},nr_inodes={files}")),
        attributes: said.map_or(attributes, |own| super::bundle::with(attributes, own)),
    })
}

fn devices(steps: &mut Vec<FileStep>) -> Result<(), Error> {
    // Directory by directory, because the one that was last used is kept open.
    for name in ["/dev/net", "/dev/char", "/dev/pts", "/dev/mqueue", "/dev/shm"] {
        steps.push(directory(name, 0o755)?);
    }
    for (name, target) in LINKS {
        steps.push(FileStep::Symlink { path: path(name)?, target: target.into() });
    }
    for (name, major, minor) in DEVICES {
        steps.push(FileStep::Node {
            path: path(&format!("/dev/{name}"))?,
            mode: 0o666,
            kind: SpecialKind::Character { major, minor },
        });
    }
    for (name, major, minor) in DEVICES {
        steps.push(FileStep::Symlink {
            path: path(&format!("/dev/char/{major}:{minor}"))?,
            target: format!("../{name}").into(),
        });
    }
    Ok(())
}

/// The container interface: what the manager tells the container (systemd's CONTAINER_INTERFACE document).
fn run_host(context: &Context<'_>, steps: &mut Vec<FileStep>) -> Result<(), Error> {
    steps.push(directory("/run/host", 0o755)?);
    // A mount of its own, closed at the end, with all that is mounted below on top of it.
    steps.push(FileStep::Bind {
        source: path("/run/host")?,
        target: path("/run/host")?,
        attributes: MountFlags::NONE,
        recursive: false,
        attributes_below: false,
        optional: false,
        ids: None,
    });
    let file = |name: &str, mode, contents: String| -> Result<FileStep, Error> {
        Ok(FileStep::File { path: path(&format!("/run/host/{name}"))?, mode, contents: contents.into_bytes() })
    };
    steps.push(file("container-manager", 0o444, format!("{}\n", context.spec.identity().container_service))?);
    steps.push(file("container-uuid", 0o444, format!("{}\n", context.uuid))?);
    steps.push(file("proc-sys-kernel-random-boot-id", 0o444, format!("{}\n", context.facts.random.boot_id))?);
    steps.push(directory("/run/host/incoming", 0o600)?);
    steps.push(directory("/run/host/unix-export", 0o755)?);
    if context.facts.host.os_release.is_some() {
        steps.push(file("os-release", 0o644, String::new())?);
    }
    steps.push(directory("/run/host/inaccessible", 0o555)?);
    steps.push(file("inaccessible/reg", 0o000, String::new())?);
    steps.push(directory("/run/host/inaccessible/dir", 0o000)?);
    let special = [
        ("fifo", SpecialKind::Fifo),
        ("sock", SpecialKind::Socket),
        ("chr", SpecialKind::Character { major: 0, minor: 0 }),
        ("blk", SpecialKind::Block { major: 0, minor: 0 }),
    ];
    for (name, kind) in special {
        steps.push(FileStep::Node { path: path(&format!("/run/host/inaccessible/{name}"))?, mode: 0o000, kind });
    }
    steps.push(FileStep::Mount {
        file_system: FileSystem::Tmpfs,
        target: path("/run/host/unix-export")?,
        options: tmpfs_options(context, "0755", "size=4m,nr_inodes=64"),
        attributes: MountFlags { no_symfollow: true, ..MountFlags::API },
    });
    if context.facts.host.os_release.is_some() {
        steps.push(FileStep::Attach {
            source: SourceNumber::OsRelease,
            target: path("/run/host/os-release")?,
            attributes: MountFlags::API_READ_ONLY,
            directory: false,
            ids: None,
        });
    }
    Ok(())
}

/// An instance that is read-only itself stays so for who clears the attribute of its mounts.
fn sysfs_options(context: &Context<'_>) -> Vec<String> {
    match context.spec.security().api_vfs_writable {
        ApiVfs::No => vec!["ro".to_owned()],
        ApiVfs::Yes | ApiVfs::Network => Vec::new(),
    }
}

fn sysfs_flags(context: &Context<'_>) -> MountFlags {
    match context.spec.security().api_vfs_writable {
        ApiVfs::Yes => MountFlags::API,
        ApiVfs::No | ApiVfs::Network => MountFlags::API_READ_ONLY,
    }
}

/// proc for the container's own process ids: where, and its attributes.
pub(super) fn proc() -> Result<(spec::AbsPath, MountFlags), Error> {
    Ok((path("/proc")?, MountFlags::API))
}

/// What needs the container's own users and message queues.
pub(super) fn inner(context: &Context<'_>, steps: &mut Vec<FileStep>) -> Result<(), Error> {
    let mode = context.spec.bundle().said_of("/dev/pts").and_then(|own| own.mode).unwrap_or(TERMINAL_MODE);
    steps.push(FileStep::Mount {
        file_system: FileSystem::Devpts,
        target: path("/dev/pts")?,
        options: vec![
            "newinstance".into(),
            format!("ptmxmode={PTMX_MODE:04o}"),
            format!("mode={mode:04o}"),
            format!("gid={TTY_GROUP}"),
        ],
        attributes: MountFlags { no_suid: true, no_exec: true, ..MountFlags::NONE },
    });
    if !super::custom_mounts::covers(context, "/dev/mqueue") {
        steps.push(FileStep::Mount {
            file_system: FileSystem::Mqueue,
            target: path("/dev/mqueue")?,
            options: Vec::new(),
            attributes: MountFlags::API,
        });
    }
    Ok(())
}

fn bind(source: &str, target: &str, attributes: MountFlags, optional: bool) -> Result<FileStep, Error> {
    Ok(FileStep::Bind {
        source: path(source)?,
        target: path(target)?,
        attributes,
        // Submounts keep their own attributes: what is writable on purpose stays so.
        recursive: true,
        attributes_below: false,
        optional,
        ids: None,
    })
}

/// The harmless directories of sysfs.
const HARMLESS: [&str; 6] = ["block", "bus", "class", "dev", "devices", "kernel"];

/// Control groups, and around them a tmpfs for what there is to be of sysfs. With users of its own all of it is mounted
/// from outside, so that the container's root can undo none of it.
pub(super) fn control_groups(context: &Context<'_>, steps: &mut Vec<FileStep>) -> Result<(), Error> {
    if context.private_network() {
        steps.push(FileStep::Mount {
            file_system: FileSystem::Tmpfs,
            target: path("/sys")?,
            options: tmpfs_options(context, "0555", "size=4m,nr_inodes=1k"),
            attributes: MountFlags::API,
        });
        for name in HARMLESS.iter().chain(&["full", "fs", "fs/cgroup", "fs/selinux"]) {
            steps.push(directory(&format!("/sys/{name}"), 0o755)?);
        }
    }
    steps.push(FileStep::Mount {
        file_system: FileSystem::Cgroup2,
        target: path("/sys/fs/cgroup")?,
        options: Vec::new(),
        attributes: MountFlags::API,
    });
    Ok(())
}

/// With a network of its own, the container may see its own links in sysfs, and nothing else that could be changed. Needs
/// that network.
pub(super) fn private_sysfs(context: &Context<'_>, steps: &mut Vec<FileStep>) -> Result<(), Error> {
    let flags = sysfs_flags(context);
    steps.push(FileStep::Mount {
        file_system: FileSystem::Sysfs,
        target: path("/sys/full")?,
        options: sysfs_options(context),
        attributes: MountFlags::API,
    });
    for name in HARMLESS {
        let network_writable =
            context.spec.security().api_vfs_writable == ApiVfs::Network && matches!(name, "class" | "devices");
        steps.push(FileStep::Bind {
            source: path(&format!("/sys/full/{name}"))?,
            target: path(&format!("/sys/{name}"))?,
            attributes: if network_writable { MountFlags::API } else { flags },
            recursive: true,
            attributes_below: false,
            optional: false,
            ids: None,
        });
    }
    steps.push(FileStep::Detach { path: path("/sys/full")? });
    steps.push(FileStep::Restrict { path: path("/sys")?, attributes: flags });
    // Without SELinux there is nothing in it, and nothing is ever to be mounted there.
    steps.push(bind("/sys/fs/selinux", "/sys/fs/selinux", MountFlags::API_READ_ONLY, false)?);
    Ok(())
}

/// What closes proc. The container's root can undo it, which opens nothing that belongs to the host where it has users
/// of its own; and were it locked, the kernel would refuse new instances of proc, which init systems mount for the
/// services that are to see only their own processes.
fn close_proc(context: &Context<'_>, steps: &mut Vec<FileStep>) -> Result<(), Error> {
    let read_only = MountFlags::API_READ_ONLY;
    steps.push(bind("/run/host/proc-sys-kernel-random-boot-id", "/proc/sys/kernel/random/boot_id", read_only, true)?);
    if context.spec.security().api_vfs_writable != ApiVfs::Yes {
        if context.private_network() {
            steps.push(bind("/proc/sys/net", "/proc/sys/net", MountFlags::API, true)?);
        }
        steps.push(bind("/proc/sys", "/proc/sys", read_only, false)?);
        for name in ["acpi", "apm", "asound", "bus", "fs", "irq", "scsi"] {
            steps.push(bind(&format!("/proc/{name}"), &format!("/proc/{name}"), read_only, true)?);
        }
        for name in ["kallsyms", "kcore", "keys", "sysrq-trigger", "timer_list"] {
            steps.push(FileStep::Mask { path: path(&format!("/proc/{name}"))?, optional: true });
        }
    }
    Ok(())
}

/// What is closed once everything is in place.
pub(super) fn seal(context: &Context<'_>, steps: &mut Vec<FileStep>) -> Result<(), Error> {
    close_proc(context, steps)?;
    steps.push(bind("/run/host/proc-kmsg", "/proc/kmsg", MountFlags::API_READ_ONLY, true)?);
    steps.push(bind("/run/host/incoming", "/run/host/incoming", MountFlags::READ_ONLY, false)?);
    steps.push(FileStep::Restrict { path: path("/run/host")?, attributes: MountFlags::API_READ_ONLY });
    Ok(())
}
