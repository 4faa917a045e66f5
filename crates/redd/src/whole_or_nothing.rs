//! Long work that shows how far it is, and leaves nothing when a person ends it.

use std::io::IsTerminal;
use std::time::Duration;

use image::copy::Progress;
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use sys::signal::{self, SignalSet};

use crate::failure::Failure;

/// What asks a program to end: SIGHUP, SIGINT, SIGQUIT and SIGTERM, the same numbers on every architecture.
pub(crate) const ENDING: [i32; 4] = [1, 2, 3, 15];

/// Does work that makes an image. It tells how far it is and is told whether to go on; a signal that asks for the end is obeyed when
/// it has come back, having removed what it had begun. `title` says what is done: "copying".
///
/// # Errors
/// Where signals cannot be blocked or let through again.
pub(crate) fn run<T>(
    title: &'static str,
    quiet: bool,
    work: impl FnOnce(&mut dyn FnMut(Progress) -> bool) -> T,
) -> Result<T, Failure> {
    let bar = (std::io::stderr().is_terminal() && !quiet).then(|| spinner(title));
    let ending: SignalSet = ENDING.into_iter().collect();
    let before = signal::block(&ending).map_err(|error| Failure::new(error, None))?;
    let result = work(&mut |progress| {
        if let Some(bar) = &bar {
            bar.set_message(format!("{} entries, {}", HumanCount(progress.entries), HumanBytes(progress.bytes)));
        }
        !signal::end_is_pending()
    });
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    // Ends the program here if it was interrupted.
    signal::set_mask(&before).map_err(|error| Failure::new(error, None))?;
    Ok(result)
}

fn spinner(title: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix} {spinner} {msg}");
    let bar = ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_prefix(title);
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}
