//! How far an installation has come: bars on a terminal, a line for each phase elsewhere.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bootstrap::progress::{Phase, Progress, Silent};
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

/// What fits the caller: nothing if `quiet`, else what standard error is good for.
pub(crate) fn fitting(quiet: bool) -> Box<dyn Progress> {
    if quiet {
        Box::new(Silent)
    } else if std::io::stderr().is_terminal() {
        Box::new(Bars::default())
    } else {
        Box::new(Lines)
    }
}

/// A line for each phase.
struct Lines;

impl Progress for Lines {
    fn begin(&self, phase: Phase, items: u64, bytes: u64) {
        let extent = match (items, bytes) {
            (0, 0) => String::new(),
            (items, 0) => format!(": {items}"),
            (0, bytes) => format!(": {}", HumanBytes(bytes)),
            (items, bytes) => format!(": {items}, {}", HumanBytes(bytes)),
        };
        self.notice(&format!("{}{extent}", phase.title()));
    }

    fn advance(&self, _phase: Phase, _bytes: u64) {}
    fn item(&self, _phase: Phase, _name: &str) {}
    fn end(&self, _phase: Phase) {}

    fn notice(&self, text: &str) {
        // Progress is no reason to fail.
        let _ = writeln!(std::io::stderr(), "{}", spec::printable_lines(text));
    }
}

/// The bar of the phase that began last.
#[derive(Default)]
struct Bars {
    current: Mutex<Option<(Phase, ProgressBar)>>,
}

impl Bars {
    fn with(&self, phase: Phase, act: impl FnOnce(&ProgressBar)) {
        if let Some((of, bar)) = &*self.current.lock().unwrap_or_else(PoisonError::into_inner)
            && *of == phase
        {
            act(bar);
        }
    }
}

impl Progress for Bars {
    fn begin(&self, phase: Phase, items: u64, bytes: u64) {
        let (template, length) = match (items, bytes) {
            (0, 0) => ("{prefix:24} {spinner} {msg}", 0),
            (items, 0) => ("{prefix:24} [{bar:28}] {pos}/{len} {wide_msg}", items),
            (_, bytes) => ("{prefix:24} [{bar:28}] {bytes}/{total_bytes} {wide_msg}", bytes),
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::new(length).with_style(style.progress_chars("=> ")).with_prefix(phase.title());
        bar.enable_steady_tick(Duration::from_millis(120));
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some((phase, bar));
    }

    fn advance(&self, phase: Phase, bytes: u64) {
        self.with(phase, |bar| bar.inc(bytes));
    }

    fn item(&self, phase: Phase, name: &str) {
        self.with(phase, |bar| {
            bar.set_message(name.to_owned());
            // Where no bytes are counted, items are.
            if phase == Phase::Configure {
                bar.inc(1);
            }
        });
    }

    fn end(&self, phase: Phase) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        // A bar that has ended stays where it is, and nothing draws it again.
        if let Some((_, bar)) = current.take_if(|(of, _)| *of == phase) {
            bar.set_message("");
            bar.abandon();
        }
    }

    fn notice(&self, text: &str) {
        match &*self.current.lock().unwrap_or_else(PoisonError::into_inner) {
            Some((_, bar)) => bar.println(spec::printable_lines(text)),
            None => Lines.notice(text),
        }
    }
}
