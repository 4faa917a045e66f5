//! `--resolv-conf=` and `--timezone=`: which file of the host's gets inside, and how.

use spec::{BindSource, Conveyance, CustomMount, ResolvConfMode, ResolvConfSource, TimezoneMode};

use super::{Context, Error, path};
use crate::{InnerStep, LaunchStep, Localtime, OuterStep, SourceNumber};

const RESOLV_CONF: &str = "/etc/resolv.conf";
const LOCALTIME: &str = "/etc/localtime";

/// What is done with one of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Treatment<'a> {
    /// Nothing.
    Leave,
    /// This is written.
    Copy { contents: &'a [u8], replace: bool },
    /// The host's is mounted on top.
    Bind { path: &'a str },
    /// It becomes a link to this zone.
    Link { zone: &'a str },
    /// It goes away.
    Delete,
    /// What was asked for does not work on this host, for this reason.
    Lacking(&'static str),
}

fn resolv_conf<'a>(context: &Context<'a>) -> Treatment<'a> {
    let found = context.facts.host.resolv_conf.as_ref();
    let (how, source) = match context.spec.integration().resolv_conf {
        ResolvConfMode::Off => return Treatment::Leave,
        ResolvConfMode::Delete => return Treatment::Delete,
        ResolvConfMode::Take(how, source) => (how, source),
        ResolvConfMode::Auto if context.private_network() || is_bound(context, RESOLV_CONF) => {
            return Treatment::Leave;
        }
        ResolvConfMode::Auto => match found {
            None => return Treatment::Leave,
            Some(found) if context.root_read_only() => (Conveyance::Bind, found.source),
            Some(found) => (Conveyance::Copy, found.source),
        },
    };
    let Some(found) = found.filter(|found| found.source == source) else {
        return Treatment::Lacking(source.path());
    };
    match how {
        Conveyance::Bind => Treatment::Bind { path: source.path() },
        Conveyance::Copy => Treatment::Copy { contents: &found.contents, replace: false },
        Conveyance::Replace => Treatment::Copy { contents: &found.contents, replace: true },
    }
}

fn localtime<'a>(context: &Context<'a>) -> Treatment<'a> {
    let (contents, zone) = match &context.facts.host.localtime {
        Localtime::Absent => (None, None),
        Localtime::Link { zone, contents } => (contents.as_deref(), zone.as_deref()),
        Localtime::File { contents } => (contents.as_deref(), None),
    };
    let mode = match (context.spec.integration().timezone, &context.facts.host.localtime) {
        (TimezoneMode::Auto, _) if is_bound(context, LOCALTIME) => return Treatment::Leave,
        (TimezoneMode::Auto, Localtime::Absent) if context.root_read_only() => return Treatment::Leave,
        (TimezoneMode::Auto, Localtime::Absent) => TimezoneMode::Delete,
        (TimezoneMode::Auto, _) if context.root_read_only() => TimezoneMode::Bind,
        (TimezoneMode::Auto, Localtime::Link { .. }) => TimezoneMode::Symlink,
        (TimezoneMode::Auto, Localtime::File { .. }) => TimezoneMode::Copy,
        (mode, _) => mode,
    };
    match mode {
        TimezoneMode::Off | TimezoneMode::Auto => Treatment::Leave,
        TimezoneMode::Delete => Treatment::Delete,
        TimezoneMode::Symlink => match zone {
            None => Treatment::Lacking(ZONE),
            Some(zone) if context.facts.tree.timezone => Treatment::Link { zone },
            // The container has no data of it: it gets the host's.
            Some(_) => Treatment::Bind { path: LOCALTIME },
        },
        TimezoneMode::Bind if context.facts.host.localtime == Localtime::Absent => Treatment::Lacking(LOCALTIME),
        TimezoneMode::Bind => Treatment::Bind { path: LOCALTIME },
        TimezoneMode::Copy => match contents {
            Some(contents) => Treatment::Copy { contents, replace: true },
            None => Treatment::Lacking(LOCALTIME),
        },
    }
}

/// What a link needs of the host.
const ZONE: &str = "link from /etc/localtime into /usr/share/zoneinfo";

/// Something of the host's is bound there, or all around it, and would be written to.
fn is_bound(context: &Context<'_>, target: &str) -> bool {
    context.spec.mounts().iter().any(|mount| match mount {
        CustomMount::Bind { source: BindSource::Host(_), destination, .. } => {
            let destination = destination.as_path();
            destination == std::path::Path::new(target) || destination == std::path::Path::new("/etc")
        }
        _ => false,
    })
}

/// Both files, each with what is done with it.
fn files<'a>(context: &Context<'a>) -> [(&'static str, SourceNumber, Treatment<'a>); 2] {
    [
        (RESOLV_CONF, SourceNumber::ResolvConf, resolv_conf(context)),
        (LOCALTIME, SourceNumber::Localtime, localtime(context)),
    ]
}

/// The mounts that are taken from the host.
pub(super) fn sources(context: &Context<'_>, steps: &mut Vec<LaunchStep>) {
    for (_, number, treatment) in files(context) {
        if let Treatment::Bind { path } = treatment {
            steps.push(LaunchStep::TakeSource { path: path.into(), recursive: false, number });
        }
    }
}

/// Those mounts, inside.
pub(super) fn outer(context: &Context<'_>, steps: &mut Vec<OuterStep>) -> Result<(), Error> {
    for (target, source, treatment) in files(context) {
        if let Treatment::Bind { .. } = treatment {
            steps.push(OuterStep::BindHostFile { source, target: path(target)? });
        }
    }
    Ok(())
}

/// What is written as the container's root.
pub(super) fn inner(context: &Context<'_>, steps: &mut Vec<InnerStep>) -> Result<(), Error> {
    for (target, _, treatment) in files(context) {
        match treatment {
            Treatment::Copy { contents, replace } => {
                steps.push(InnerStep::CopyHostFile { target: path(target)?, contents: contents.to_owned(), replace });
            }
            Treatment::Delete => steps.push(InnerStep::DeleteFile(path(target)?)),
            Treatment::Link { zone } => steps.push(InnerStep::LinkTimezone(zone.to_owned())),
            Treatment::Leave | Treatment::Bind { .. } | Treatment::Lacking(_) => {}
        }
    }
    Ok(())
}

/// What was asked for and is not done.
pub(super) fn notices(context: &Context<'_>) -> Vec<String> {
    let lacking = files(context).into_iter().filter_map(|(target, _, treatment)| match treatment {
        Treatment::Lacking(what) => Some(format!("The host has no {}, so {target} stays as it is.", named(what))),
        _ => None,
    });
    lacking.collect()
}

fn named(what: &str) -> String {
    match [ResolvConfSource::Static, ResolvConfSource::Uplink, ResolvConfSource::Stub].iter().find(|s| s.path() == what)
    {
        Some(_) => format!("{what} (it is systemd-resolved's)"),
        None => what.to_owned(),
    }
}
