//! The hooks of the tree, run before and after a transaction.

use super::super::dependency::Dependency;
use super::super::hook::{self, Changes, Hook, When};
use super::super::local::LocalDatabase;
use super::super::log::Source;
use super::super::scriptlet::Runner;
use super::{Error, Transaction};
use crate::progress::{Phase, Progress};

impl Transaction<'_> {
    /// Runs what has to be run before anything is changed.
    ///
    /// # Errors
    /// Where a hook is wrong, or fails that must not.
    pub(super) fn pre_hooks(
        &self,
        runner: &Runner<'_>,
        changes: &Changes,
        database: &LocalDatabase<'_>,
    ) -> Result<(), Error> {
        let (hooks, wrong) = self.hooks()?;
        if let Some(wrong) = wrong.into_iter().next() {
            return Err(wrong.into());
        }
        let triggered = triggered(hooks, When::PreTransaction, changes);
        if !triggered.is_empty() {
            runner.progress.notice(":: Running pre-transaction hooks...");
        }
        let count = triggered.len();
        for (index, (hook, targets)) in triggered.into_iter().enumerate() {
            announce(runner.progress, &hook, index, count);
            if !run(runner, &hook, &targets, database)? && hook.abort_on_fail {
                return Err(Error::HookFailed(hook.name));
            }
        }
        Ok(())
    }

    /// Runs what has to be run when all is done. Wrong hooks are told and left out: the packages are installed already.
    ///
    /// # Errors
    /// Where no container can be run.
    pub(super) fn post_hooks(
        &self,
        runner: &Runner<'_>,
        changes: &Changes,
        database: &LocalDatabase<'_>,
    ) -> Result<(), Error> {
        let (hooks, wrong) = self.hooks()?;
        for wrong in wrong {
            runner.progress.notice(&format!("error: {wrong}"));
        }
        let triggered = triggered(hooks, When::PostTransaction, changes);
        runner.progress.begin(Phase::Configure, triggered.len() as u64, 0);
        let result = post_hooks(runner, &triggered, database);
        runner.progress.end(Phase::Configure);
        result
    }

    /// The hooks that are there now, and those that are wrong; none where no scripts are run.
    fn hooks(&self) -> Result<(Vec<Hook>, Vec<hook::Error>), Error> {
        match self.options.scripts {
            true => Ok(hook::read(self.tree, &self.options.hook_directories)?),
            false => Ok((Vec::new(), Vec::new())),
        }
    }
}

fn post_hooks(
    runner: &Runner<'_>,
    triggered: &[(Hook, Vec<Vec<u8>>)],
    database: &LocalDatabase<'_>,
) -> Result<(), Error> {
    if !triggered.is_empty() {
        runner.progress.notice(":: Running post-transaction hooks...");
    }
    for (index, (hook, targets)) in triggered.iter().enumerate() {
        announce(runner.progress, hook, index, triggered.len());
        run(runner, hook, targets, database)?;
        runner.progress.item(Phase::Configure, &hook.name);
    }
    Ok(())
}

fn announce(progress: &dyn Progress, hook: &Hook, index: usize, count: usize) {
    let what = hook.description.as_deref().unwrap_or(&hook.name);
    progress.notice(&format!("({}/{count}) {what}", index + 1));
}

/// The hooks of that moment that something triggers, and what does.
fn triggered(hooks: Vec<Hook>, when: When, changes: &Changes) -> Vec<(Hook, Vec<Vec<u8>>)> {
    let hooks = hooks.into_iter().filter(|hook| hook.when == when);
    hooks.filter_map(|hook| hook.targets(changes).map(|targets| (hook, targets))).collect()
}

fn run(runner: &Runner<'_>, hook: &Hook, targets: &[Vec<u8>], database: &LocalDatabase<'_>) -> Result<bool, Error> {
    runner.log.write(Source::Transaction, &format!("running '{}'...", hook.name))?;
    let is_met = |text: &String| {
        let dependency: Result<Dependency, _> = text.parse();
        dependency.is_ok_and(|dependency| database.installed().iter().any(|one| one.package.meets(&dependency)))
    };
    if !hook.depends.iter().all(is_met) {
        let text = format!("error: unable to run hook {}: could not satisfy dependencies", hook.name);
        runner.progress.notice(&text);
        return Ok(false);
    }
    let mut input = Vec::new();
    if hook.needs_targets {
        for target in targets {
            input.extend_from_slice(target);
            input.push(b'\n');
        }
    }
    Ok(runner.program(&hook.words, &input)?)
}
