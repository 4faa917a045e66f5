//! What copying into machines and out of them shares: progress, signals, what is told in the end.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use machine::transfer::{Copied, Error, Progress};
use rustix::io::Errno;
use sys::signal::{self, SignalSet};

use super::{Options, steering};
use crate::failure::{Failure, warn};
use crate::whole_or_nothing::ENDING;

/// Nothing is shown of a copy that is done sooner.
const AT_FIRST: Duration = Duration::from_millis(300);

/// What copies, telling how far it is and asking whether to go on.
type Copying<'a> = dyn FnMut(&mut dyn FnMut(Progress) -> bool) -> Result<Copied, Error> + 'a;

/// Says so where a link was asked for, which may lead to something else at its new place. `host` is what the host has of both.
pub(crate) fn note_link(source: &Path, host: &Path) {
    if let Ok(target) = std::fs::read_link(host) {
        let (source, target) = (source.display(), target.display());
        warn(&anyhow!("{source} is a link to {target}, and was copied as one: name what it leads to for its contents"));
    }
}

/// Copies. A signal that asks for the end is obeyed when nothing is left of the copy.
pub(crate) fn run(options: &Options, copying: &mut Copying<'_>) -> Result<ExitCode, Failure> {
    let begun = Instant::now();
    let shown = std::io::stderr().is_terminal() && !options.quiet();
    // Not before the processes are made, which needs one that has no threads.
    let mut bar: Option<ProgressBar> = None;
    let ending: SignalSet = ENDING.into_iter().collect();
    let before = signal::block(&ending).map_err(|error| Failure::new(error, None))?;
    let mut observe = |progress: Progress| {
        if shown && begun.elapsed() > AT_FIRST {
            let bar = bar.get_or_insert_with(spinner);
            bar.set_message(format!("{} entries, {}", HumanCount(progress.entries), HumanBytes(progress.bytes)));
            bar.tick();
        }
        !signal::end_is_pending()
    };
    let copied = copying(&mut observe);
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    // Ends the program here if it was interrupted.
    signal::set_mask(&before).map_err(|error| Failure::new(error, None))?;
    report(&copied.map_err(failure)?);
    Ok(ExitCode::SUCCESS)
}

fn spinner() -> ProgressBar {
    let style = ProgressStyle::with_template("copying {spinner} {msg}");
    ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// What is not as it was.
fn report(copied: &Copied) {
    for (why, path) in &copied.skipped {
        warn(&anyhow!("left out {}: {}", path.display(), why.name()));
    }
    match copied.skipped_count - copied.skipped.len() as u64 {
        0 => {}
        more => warn(&anyhow!("left out {more} more")),
    }
    if copied.lost_attributes > 0 {
        warn(&anyhow!("the file system of the copy has not taken {} extended attributes", copied.lost_attributes));
    }
}

fn failure(error: Error) -> Failure {
    let hint = match &error {
        Error::Entrance(error) => steering::entrance_hint(error),
        Error::Exists { .. } => Some("--force replaces it"),
        Error::Kind { .. } => Some("name the file or directory that the copy is to be, or another one"),
        Error::Left { .. } => Some("remove it by hand"),
        Error::Step { source: Errno::NOSPC | Errno::DQUOT, .. } => Some("there is not enough room for it"),
        Error::Step { source: Errno::XDEV, .. } => Some("something else is mounted there: copy to it by itself"),
        Error::Step { source: Errno::LOOP, .. } => Some("links of a machine are followed inside of it only"),
        Error::NotAbsolute(_) => return Failure::usage(anyhow!(error)),
        _ => None,
    };
    Failure::new(error, hint)
}
