//! What the host has of the machine's journal.

use std::path::{Path, PathBuf};

use plan::{JOURNALS, JournalEntry, JournalFacts};
use rustix::fs::{AtFlags, CWD, FileType, StatxAttributes, StatxFlags, statx};
use spec::{ContainerSpec, LinkJournal};
use uuid::Uuid;

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
