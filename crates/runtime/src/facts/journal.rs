//! What the host has of the machine's journal.

use std::path::{Path, PathBuf};

use plan::{JOURNALS, JournalEntry, JournalFacts, JournalRemoteFacts};
use rustix::fs::{AtFlags, CWD, FileType, StatxAttributes, StatxFlags, statx};
use spec::{ContainerSpec, LinkJournal};
use uuid::Uuid;

/// Where distributions put the program that writes forwarded journals.
const REMOTE: [&str; 2] = ["/usr/lib/systemd/systemd-journal-remote", "/lib/systemd/systemd-journal-remote"];

/// The program that writes forwarded journals, if that is asked for. Whether it knows limits is asked of itself.
pub(super) fn probe_remote(spec: &ContainerSpec) -> Option<JournalRemoteFacts> {
    let wanted = spec.integration().forward_journal.as_ref()?;
    let program = REMOTE.into_iter().map(PathBuf::from).find(|path| path.is_file())?;
    let limited = wanted.limits.all().iter().any(|(_, value)| value.is_some());
    let limits = limited
        && std::process::Command::new(&program)
            .arg("--help")
            .stdin(std::process::Stdio::null())
            .output()
            .is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("--max-use="));
    Some(JournalRemoteFacts { program, limits })
}

/// `known` says that the id is not a random one, which nobody can have prepared anything for.
pub(super) fn probe(spec: &ContainerSpec, id: Uuid, known: bool) -> Option<JournalFacts> {
    let mode = spec.integration().link_journal;
    if mode == LinkJournal::No || spec.image().ephemeral || mode == LinkJournal::Auto && !known {
        return None;
    }
    let entry = entry(&Path::new(JOURNALS).join(id.simple().to_string()));
    if mode == LinkJournal::Auto && entry == JournalEntry::Absent {
        return None;
    }
    let own = std::fs::read_to_string("/etc/machine-id").ok().and_then(|text| Uuid::try_parse(text.trim()).ok());
    Some(JournalFacts { own: own == Some(id), kept: Path::new(JOURNALS).is_dir(), entry })
}

fn entry(path: &Path) -> JournalEntry {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    let Ok(found) = statx(CWD, path, flags, StatxFlags::TYPE) else { return JournalEntry::Absent };
    match FileType::from_raw_mode(found.stx_mode.into()) {
        FileType::Directory => {
            JournalEntry::Directory { mount_point: found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) }
        }
        FileType::Symlink => std::fs::read_link(path).map_or(JournalEntry::Other, |to| {
            // As a link there would be read.
            JournalEntry::Link(if to.is_absolute() { to } else { PathBuf::from(JOURNALS).join(to) })
        }),
        _ => JournalEntry::Other,
    }
}
