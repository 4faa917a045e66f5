//! `redd run`: a throw-away system, installed once into the cache.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use bootstrap::apt::distribution::Distribution;
use bootstrap::apt::variant::Variant;
use rustix::fs::{FlockOperation, flock};

use super::bootstrap::{self as installer, Choice};
use crate::container_command;
use crate::failure::Failure;

/// Open a root shell in a throw-away Debian, Ubuntu or copy of this system, with users of its own
///
/// The distribution is installed once into the cache; every run gets a copy that is removed at the end. What the
/// container's root may do ends with the container: it is an ordinary user outside.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// What to run
    #[arg(value_name = "debian|ubuntu|host")]
    system: System,
    /// Boot it to a login prompt (root, no password) instead of opening a shell
    #[arg(short, long, conflicts_with = "command")]
    boot: bool,
    #[command(flatten)]
    choice: Choice,
    /// Run this instead of the shell; its exit code becomes redd's
    #[arg(last = true)]
    command: Vec<OsString>,
}

#[derive(Debug, Clone, Copy)]
enum System {
    Installed(Distribution),
    Host,
}

impl std::str::FromStr for System {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        if name == "host" {
            return Ok(Self::Host);
        }
        name.parse().map(Self::Installed).map_err(|_| "choose debian, ubuntu or host".to_owned())
    }
}

/// Becomes the program that runs the container.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let tree = match arguments.system {
        System::Host => {
            let choice = &arguments.choice;
            if choice.suite.is_some()
                || choice.mirror.is_some()
                || choice.arch.is_some()
                || choice.variant != Variant::default()
            {
                return Err(Failure::usage(anyhow!(
                    "'host' is what this machine runs: it has no --suite, --mirror, --arch or --variant"
                )));
            }
            PathBuf::from("/")
        }
        System::Installed(distribution) => cached_tree(distribution, &arguments.choice)?,
    };
    let container = container_command::find().map_err(|error| Failure::new(error, None))?;
    let mut command = std::process::Command::new(&container.program);
    command.args(&container.arguments);
    command.args(["--quiet", "--ephemeral", "-U", "--settings=no", "--register=no", "--directory"]).arg(&tree);
    if let System::Installed(distribution) = arguments.system {
        // The machine's own name says which copy it is, and is long.
        command.arg(format!("--hostname={distribution}"));
    }
    if arguments.boot {
        command.arg("--boot");
    } else {
        command.arg("--console=autopipe");
        if !arguments.command.is_empty() {
            command.arg("--").args(&arguments.command);
        }
    }
    let error = command.exec();
    Err(Failure::new(anyhow!(error).context(format!("cannot run '{}'", container.program.display())), None))
}

/// The tree in the cache, installed if it is not there yet.
fn cached_tree(distribution: Distribution, choice: &Choice) -> Result<PathBuf, Failure> {
    let trees = choice.cache_directory()?.join("trees");
    let name = tree_name(distribution, choice)?;
    let tree = trees.join(&name);
    // A tree gets its name when it is whole.
    if tree.exists() {
        return Ok(tree);
    }
    fs::create_dir_all(&trees)
        .with_context(|| format!("cannot make '{}'", trees.display()))
        .map_err(|error| Failure::new(error, Some("name a directory that can be written with --cache")))?;
    let _lock = lock(&trees.join(format!(".{name}.lock"))).map_err(|error| Failure::new(error, None))?;
    // Another run may have installed it while this one waited.
    if !tree.exists() {
        installer::install(distribution, choice, &tree, distribution.name())
            .map_err(|failure| failure.or_else("'redd run host' needs no network: it runs a copy of this system"))?;
    }
    Ok(tree)
}

/// The name says all that makes one tree different from another.
fn tree_name(distribution: Distribution, choice: &Choice) -> Result<String, Failure> {
    let suite = choice.suite.as_deref().unwrap_or(distribution.default_suite());
    let mut name = format!("{distribution}-{suite}-{}-{}", choice.architecture()?, choice.variant);
    for (sign, list) in [("+", &choice.include), ("_", &choice.exclude), ("@", &choice.components)] {
        let mut sorted = list.clone();
        sorted.sort();
        sorted.dedup();
        for part in sorted {
            name.push_str(sign);
            name.push_str(&part);
        }
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+-_.@".contains(&byte);
    if name.len() > 200 || !name.bytes().all(plain) {
        let error = anyhow!("'{name}' cannot be the name of a tree in the cache");
        return Err(Failure::new(
            error,
            Some("install it with 'redd bootstrap' and run it with 'redd spawn -x -U -D'"),
        ));
    }
    Ok(name)
}

/// Waits until nobody else installs the same tree.
fn lock(path: &Path) -> anyhow::Result<fs::File> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot open '{}'", path.display()))?;
    flock(&file, FlockOperation::LockExclusive).with_context(|| format!("cannot lock '{}'", path.display()))?;
    Ok(file)
}
