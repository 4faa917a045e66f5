//! Steps one after the other, with a table of what became of them at the end.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::workspace::say;

/// What the steps so far came to.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    name: String,
    took: Duration,
    failure: Option<String>,
}

impl Summary {
    /// Carries a step out. A failure is told at once and kept for the table; the steps after it still run.
    pub(crate) fn step(&mut self, name: &str, step: impl FnOnce() -> Result<()>) {
        say(&format!("\n=== {name}"));
        let started = Instant::now();
        let failure = step().err().map(|error| format!("{error:#}"));
        if let Some(text) = &failure {
            say(&format!("FAILED {name}: {text}"));
        }
        self.rows.push(Row { name: name.to_owned(), took: started.elapsed(), failure });
    }

    /// The table: one line a step.
    pub(crate) fn table(&self) -> String {
        let width = self.rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
        let mut text = String::new();
        for row in &self.rows {
            let (result, why) = match &row.failure {
                None => ("ok", String::new()),
                Some(text) => ("FAILED", format!("  {}", text.lines().next().unwrap_or_default())),
            };
            let line = format!("{:width$}  {:>6.1} s  {result}{why}\n", row.name, row.took.as_secs_f64());
            text.push_str(&line);
        }
        text
    }

    /// Shows the table.
    ///
    /// # Errors
    /// If a step failed.
    pub(crate) fn finish(self) -> Result<()> {
        say(&format!("\n{}", self.table()));
        let failed: Vec<_> = self.rows.iter().filter(|row| row.failure.is_some()).map(|row| &*row.name).collect();
        if !failed.is_empty() {
            bail!("failed: {}", failed.join(", "));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_kept_and_the_next_step_runs() {
        let mut summary = Summary::default();
        let mut ran = false;
        summary.step("one", || bail!("it broke\nin two lines"));
        summary.step("two", || {
            ran = true;
            Ok(())
        });
        assert!(ran);
        assert!(summary.table().lines().next().is_some_and(|line| line.ends_with("FAILED  it broke")));
        assert_eq!(summary.finish().map_err(|error| error.to_string()), Err("failed: one".to_owned()));
    }

    #[test]
    fn all_well() {
        let mut summary = Summary::default();
        summary.step("one", || Ok(()));
        assert!(summary.finish().is_ok());
    }
}
