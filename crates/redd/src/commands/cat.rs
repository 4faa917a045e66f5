//! `machinectl cat`: the settings files of machines.

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::anyhow;

use crate::failure::Failure;
use crate::form;
use crate::machinectl::settings_file::SettingsFile;
use crate::machinectl::{Options, images, pager, steering};

/// Show the settings files of machines, each below its path
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Arguments {
    /// Machines, or paths of settings files, with a slash in them
    #[arg(value_name = "NAME|FILE", required = true)]
    names: Vec<String>,
}

/// Prints them.
pub(crate) fn run(arguments: &Arguments, options: &Options) -> Result<ExitCode, Failure> {
    let pool = images::pool();
    let mut whole = Vec::new();
    let mut failed = Vec::new();
    for name in &arguments.names {
        let file = match SettingsFile::find(&pool, name) {
            Ok(file) => file,
            Err(failure) => {
                failed.push(failure);
                continue;
            }
        };
        let Some((text, _)) = &file.now else {
            failed.push(missing(name, &file));
            continue;
        };
        if !whole.is_empty() {
            whole.push(b'\n');
        }
        whole.extend_from_slice(format!("# {}\n", file.path.display()).as_bytes());
        whole.extend_from_slice(text);
        if !text.is_empty() && !text.ends_with(b"\n") {
            whole.push(b'\n');
        }
    }
    if std::io::stdout().is_terminal() {
        // A file beside a tree may be anybody's work.
        pager::print(&spec::printable_lines(&String::from_utf8_lossy(&whole)), options)?;
    } else {
        form::print_bytes(&whole)?;
    }
    steering::conclude(failed)
}

fn missing(name: &str, file: &SettingsFile) -> Failure {
    let problem = match (name.contains('/'), file.has_machine) {
        (true, _) => anyhow!("there is no settings file {}", file.path.display()),
        (false, true) => anyhow!("the machine {} has no settings file", file.machine),
        (false, false) => anyhow!("there is neither a settings file nor an image of {}", file.machine),
    };
    Failure::new(problem, Some("`edit NAME` makes a settings file"))
}
