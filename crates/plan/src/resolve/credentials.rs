//! Credentials, as systemd's container interface has them: files in a directory that a variable names.

use std::ffi::OsString;

use spec::{Secret, StartMode};

use super::{Context, Error, forward_journal, path};
use crate::{CredentialsStep, OuterStep};

/// Where they are (systemd's CONTAINER_INTERFACE document).
const DIRECTORY: &str = "/run/host/credentials";

pub(super) fn outer(context: &Context<'_>, steps: &mut Vec<OuterStep>) -> Result<(), Error> {
    let credentials = context.spec.credentials();
    let own = own(context);
    if credentials.is_empty() && own.is_none() {
        return Ok(());
    }
    let names = credentials.iter().map(|credential| credential.name.clone());
    steps.push(OuterStep::Credentials(CredentialsStep {
        target: path(DIRECTORY)?,
        owner: context.user.map_or(0, |user| user.range.start()),
        for_everybody: for_everybody(context),
        files: names.zip(context.facts.credentials.iter().cloned()).chain(own).collect(),
    }));
    Ok(())
}

/// Where the journal is to be forwarded to, unless the caller says that otherwise.
fn own(context: &Context<'_>) -> Option<(String, Secret)> {
    context.spec.integration().forward_journal.as_ref()?;
    let given = context.spec.credentials().iter().any(|credential| credential.name == forward_journal::CREDENTIAL);
    (!given).then(|| (forward_journal::CREDENTIAL.to_owned(), Secret::new(forward_journal::SOCKET.into())))
}

/// A user who is alone in the container, and can become nobody else, may read them (systemd-nspawn(1), `--uid=`).
fn for_everybody(context: &Context<'_>) -> bool {
    let alone = context.spec.exec().mode == StartMode::Pid1 && context.spec.security().no_new_privileges;
    alone && context.spec.exec().user.as_deref().is_some_and(|user| !matches!(user, "root" | "0"))
}

pub(super) fn variable(context: &Context<'_>) -> Option<OsString> {
    (!context.spec.credentials().is_empty() || own(context).is_some())
        .then(|| format!("CREDENTIALS_DIRECTORY={DIRECTORY}").into())
}
