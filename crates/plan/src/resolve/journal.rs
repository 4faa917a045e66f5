//! `--link-journal=`: whether and how the host sees the container's journal.
//!
//! The host's `/var/log/journal/ID`, by the machine's id, is a link to the container's directory, or the container's is
//! a mount of the host's. Both stay for the next start.

use std::path::PathBuf;

use spec::LinkJournal;

use super::{Context, Error};
use crate::{InnerStep, JournalEntry, JournalFacts, LaunchStep, OuterStep, ParentStep, SourceNumber};

/// Where journals are kept.
pub const JOURNALS: &str = "/var/log/journal";

/// How they are linked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Linking {
    /// They are not.
    Not,
    /// They are not, because of this, which the caller may not expect.
    NotBecause(String),
    /// The host's directory is mounted inside.
    Host {
        /// It is made first.
        make: bool,
        /// Without it the container does not start.
        required: bool,
    },
    /// The host has a link to the container's directory.
    Guest {
        /// It is made first.
        make: bool,
        /// Without it the container does not start.
        required: bool,
    },
}

fn id(context: &Context<'_>) -> String {
    context.uuid.simple().to_string()
}

/// The container's directory, as the host sees it.
fn guest(context: &Context<'_>) -> PathBuf {
    let inside = format!("{JOURNALS}/{}", id(context));
    context.facts.tree.path.join(inside.trim_start_matches('/'))
}

pub(super) fn resolve(context: &Context<'_>) -> Result<Linking, Error> {
    let Some(facts) = &context.facts.journal else { return Ok(Linking::Not) };
    let mode = context.spec.integration().link_journal;
    if mode == LinkJournal::No || context.spec.image().ephemeral {
        return Ok(Linking::Not);
    }
    let required = matches!(mode, LinkJournal::Host { optional: false } | LinkJournal::Guest { optional: false });
    match obstacle(context, facts) {
        Some(reason) if required => return Err(Error::Journal(reason)),
        Some(_) if mode == LinkJournal::Auto => return Ok(Linking::Not),
        Some(reason) => return Ok(Linking::NotBecause(reason)),
        None => {}
    }
    if facts.entry == JournalEntry::Other {
        return Err(Error::Journal(format!("{JOURNALS}/{} is neither a link nor a directory", id(context))));
    }
    Ok(match (mode, &facts.entry) {
        (LinkJournal::No, _) | (LinkJournal::Auto, JournalEntry::Absent) => Linking::Not,
        (LinkJournal::Auto, JournalEntry::Directory { .. }) => Linking::Host { make: false, required: true },
        (LinkJournal::Auto | LinkJournal::Guest { .. }, JournalEntry::Link(to)) if *to == guest(context) => {
            Linking::Guest { make: false, required }
        }
        // It belongs to another tree with the same id.
        (LinkJournal::Auto, _) => Linking::Not,
        (LinkJournal::Guest { .. }, _) => Linking::Guest { make: true, required },
        (LinkJournal::Host { .. }, JournalEntry::Directory { .. }) => Linking::Host { make: false, required: true },
        (LinkJournal::Host { .. }, _) => Linking::Host { make: true, required: true },
    })
}

/// Why there is nothing to link, other than that nobody wants it.
fn obstacle(context: &Context<'_>, facts: &JournalFacts) -> Option<String> {
    let id = id(context);
    if facts.own {
        return Some(format!("the machine has the host's own id {id}"));
    }
    if context.root_read_only() && context.spec.image().volatile == spec::Volatile::No {
        return Some("nothing can be written to the tree".to_owned());
    }
    if !facts.kept {
        return Some(format!("the host keeps no journals, there is no {JOURNALS}"));
    }
    if facts.entry == (JournalEntry::Directory { mount_point: true }) {
        return Some(format!("something is mounted at {JOURNALS}/{id}"));
    }
    None
}

pub(super) fn notice(context: &Context<'_>) -> Option<String> {
    match &context.journal {
        Linking::NotBecause(reason) => Some(format!("The journal is not linked: {reason}.")),
        _ => None,
    }
}

pub(super) fn parent(context: &Context<'_>) -> Option<ParentStep> {
    match context.journal {
        Linking::Host { make: true, .. } => Some(ParentStep::LinkJournal { id: id(context), guest: None }),
        Linking::Guest { make: true, .. } => {
            Some(ParentStep::LinkJournal { id: id(context), guest: Some(guest(context)) })
        }
        _ => None,
    }
}

pub(super) fn source(context: &Context<'_>) -> Option<LaunchStep> {
    let Linking::Host { .. } = context.journal else { return None };
    let path = PathBuf::from(format!("{JOURNALS}/{}", id(context)));
    Some(LaunchStep::TakeSource { path, recursive: false, number: SourceNumber::Journal })
}

pub(super) fn outer(context: &Context<'_>) -> Option<OuterStep> {
    let Linking::Host { required, .. } = context.journal else { return None };
    Some(OuterStep::BindJournal { id: id(context), required })
}

pub(super) fn inner(context: &Context<'_>) -> Option<InnerStep> {
    let Linking::Guest { required, .. } = context.journal else { return None };
    Some(InnerStep::MakeJournal { id: id(context), required })
}
