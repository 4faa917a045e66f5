//! The tasks of this repository. `cargo xtask test` checks and tests everything, `cargo xtask acceptance` does what
//! is long or measured.

mod acceptance;
mod bench;
mod checks;
mod conformance;
mod docs;
mod install;
mod layers;
mod manuals;
mod packages;
mod released;
mod sizes;
mod summary;
mod workspace;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, Parser};

use docs::Mark;

/// Builds, checks, tests and measures redd.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
enum Task {
    /// All that a change must pass: the checks below and all tests
    #[command(visible_alias = "ci")]
    Test,
    /// Check the formatting
    Fmt,
    /// clippy and rustdoc, with warnings denied
    Lint,
    /// Check which crate uses which
    Layers,
    /// Check sizes, names and where unsafe code is
    Sizes,
    /// Check that the documentation names what is there, and run its tested blocks
    Docs {
        /// Run only those of these pages, by their paths in the repository
        pages: Vec<PathBuf>,
    },
    /// Compare with other container programs that are installed, as root
    Bench(bench::Bench),
    /// Run the conformance cases beside other versions of systemd-nspawn, in hosts that are booted for it, as root
    Conformance(conformance::Conformance),
    /// All that takes long or is measured, with a table at the end, as root
    Acceptance(acceptance::Acceptance),
    /// Build and install the programs, manual pages, completions and services
    Install(install::Install),
    /// Remove what was installed
    Uninstall(install::Place),
    /// Write the manual pages and completions below a directory
    Manuals {
        /// The directory, in which they lie as below a prefix
        directory: PathBuf,
    },
}

fn main() -> ExitCode {
    match carry_out(Task::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            workspace::say(&format!("xtask: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn carry_out(task: Task) -> Result<()> {
    match task {
        Task::Test => checks::run(&names()),
        Task::Fmt => checks::format(),
        Task::Lint => checks::lint(),
        Task::Layers => layers::check(),
        Task::Sizes => sizes::check(),
        Task::Docs { pages } => {
            docs::build()?;
            let checked = docs::check(&names());
            docs::run_blocks(Mark::Tested, &pages)?;
            checked
        }
        Task::Bench(bench) => bench::run(&bench),
        Task::Conformance(wanted) => conformance::compare(&wanted),
        Task::Acceptance(wanted) => acceptance::acceptance(&wanted),
        Task::Install(wanted) => install::install(&wanted),
        Task::Uninstall(place) => install::uninstall(&place),
        Task::Manuals { directory } => manuals::write(&directory, manuals::NAMES),
    }
}

/// What can be asked for, aliases too.
fn names() -> Vec<String> {
    let command = Task::command();
    command.get_subcommands().flat_map(|task| task.get_name_and_visible_aliases()).map(str::to_owned).collect()
}
