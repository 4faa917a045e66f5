//! `--forward-journal=`: systemd-journal-remote(8) writes on the host what the container's journald sends.

use std::ffi::OsString;

use super::{Context, Error, path};
use crate::{FileStep, InnerStep, JournalRemote};

/// Where the container's journald finds it.
pub(super) const SOCKET: &str = "/run/host/journal/socket";
/// The credential that says so, see systemd.system-credentials(7).
pub(super) const CREDENTIAL: &str = "journal.forward_to_socket";

pub(super) fn resolve(context: &Context<'_>) -> Result<Option<JournalRemote>, Error> {
    let Some(wanted) = &context.spec.integration().forward_journal else { return Ok(None) };
    let Some(facts) = &context.facts.journal_remote else {
        let limits = wanted.limits.options();
        let options = if limits.is_empty() { limits } else { format!(", {limits}") };
        return Err(Error::NoJournalRemote(format!("--forward-journal={options}")));
    };
    let to_file = wanted.path.extension().is_some_and(|extension| extension == "journal");
    let mut output = OsString::from("--output=");
    output.push(&wanted.path);
    let split = if to_file { "--split-mode=none" } else { "--split-mode=host" };
    let mut arguments = vec![facts.program.clone().into_os_string(), output, split.into()];
    for (name, value) in wanted.limits.all() {
        let Some(value) = value else { continue };
        if !facts.limits {
            return Err(Error::OldJournalRemote(name));
        }
        arguments.push(format!("--{name}={value}").into());
    }
    let directory = if to_file { wanted.path.parent() } else { Some(wanted.path.as_path()) };
    Ok(Some(JournalRemote { arguments, directory: directory.unwrap_or(&wanted.path).to_owned() }))
}

pub(super) fn inner(context: &Context<'_>, steps: &mut Vec<InnerStep>) -> Result<(), Error> {
    if context.spec.integration().forward_journal.is_some() {
        steps.push(InnerStep::File(FileStep::Directory { path: path("/run/host/journal")?, mode: 0o755 }));
        steps.push(InnerStep::ListenForJournal);
    }
    Ok(())
}
