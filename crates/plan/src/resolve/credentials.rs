//! Credentials, as systemd's container interface has them: files in a directory that a variable names.

use std::ffi::OsString;

use spec::StartMode;

use super::{Context, Error, path};
use crate::{CredentialsStep, OuterStep};

/// Where they are (systemd's CONTAINER_INTERFACE document).
const DIRECTORY: &str = "/run/host/credentials";

pub(super) fn outer(context: &Context<'_>, steps: &mut Vec<OuterStep>) -> Result<(), Error> {
    let credentials = context.spec.credentials();
    if credentials.is_empty() {
        return Ok(());
    }
    let names = credentials.iter().map(|credential| credential.name.clone());
    steps.push(OuterStep::Credentials(CredentialsStep {
        target: path(DIRECTORY)?,
        owner: context.user.map_or(0, |user| user.range.start()),
        for_everybody: for_everybody(context),
        files: names.zip(context.facts.credentials.iter().cloned()).collect(),
    }));
    Ok(())
}

/// A user who is alone in the container, and can become nobody else, may read them (systemd-nspawn(1), `--uid=`).
fn for_everybody(context: &Context<'_>) -> bool {
    let alone = context.spec.exec().mode == StartMode::Pid1 && context.spec.security().no_new_privileges;
    alone && context.spec.exec().user.as_deref().is_some_and(|user| !matches!(user, "root" | "0"))
}

pub(super) fn variable(context: &Context<'_>) -> Option<OsString> {
    (!context.spec.credentials().is_empty()).then(|| format!("CREDENTIALS_DIRECTORY={DIRECTORY}").into())
}
