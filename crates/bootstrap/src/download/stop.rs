//! Whether work is given up.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::interrupt::Interrupt;

/// Tells the parts of some work, which are done at once, that it is given up: one of them failed, or somebody wants it.
#[derive(Debug, Default)]
pub(crate) struct Stop<'a> {
    failed: AtomicBool,
    interrupt: Option<&'a Interrupt>,
}

impl<'a> Stop<'a> {
    /// For work that somebody may interrupt.
    pub(crate) fn with(interrupt: &'a Interrupt) -> Self {
        Self { failed: AtomicBool::new(false), interrupt: Some(interrupt) }
    }

    /// A part of it has failed.
    pub(super) fn fail(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }

    /// Whether it is given up.
    pub(crate) fn is_wanted(&self) -> bool {
        self.failed.load(Ordering::Relaxed) || self.interrupt.is_some_and(Interrupt::is_wanted)
    }
}
