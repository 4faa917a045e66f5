//! `redd run`: a throw-away system, installed once into the cache, or a throw-away copy of a tree or disk image.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::os::unix::ffi::OsStrExt;
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

/// Open a root shell in a throw-away Debian, Ubuntu, or copy of a disk image, a tree or this system, with users of its own
///
/// The distribution is installed once into the cache; every run gets a copy that is removed at the end. What the
/// container's root may do ends with the container: it is an ordinary user outside.
/// A disk image or tree is named by its path, with a slash in it or .raw at its end. It stays as it is; NAME.nspawn beside
/// it counts as for 'redd spawn'.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// What to run
    #[arg(value_name = "debian|ubuntu|host|PATH")]
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

#[derive(Debug, Clone)]
enum System {
    Installed(Distribution),
    Host,
    /// A disk image or tree.
    Path(PathBuf),
}

impl From<OsString> for System {
    fn from(name: OsString) -> Self {
        match name.to_str() {
            Some("host") => Self::Host,
            Some(text) => text.parse().map_or(Self::Path(name.into()), Self::Installed),
            None => Self::Path(name.into()),
        }
    }
}

/// Becomes the program that runs the container.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let mut words: Vec<OsString> = ["--quiet", "--ephemeral", "-U", "--register=no"].map(OsString::from).into();
    match &arguments.system {
        System::Host => {
            only_installed_ones_are_chosen("'host' is what this machine runs", &arguments.choice)?;
            words.extend(["--settings=no", "--directory", "/"].map(OsString::from));
        }
        System::Installed(distribution) => {
            let tree = cached_tree(*distribution, &arguments.choice)?;
            words.extend(["--settings=no", "--directory"].map(OsString::from));
            words.push(tree.into());
            // The machine's own name says which copy it is, and is long.
            words.push(format!("--hostname={distribution}").into());
        }
        System::Path(path) => words.extend(of_path(path, &arguments.choice)?),
    }
    if arguments.boot {
        words.push("--boot".into());
    } else {
        words.push("--console=autopipe".into());
        if !arguments.command.is_empty() {
            words.push("--".into());
            words.extend_from_slice(&arguments.command);
        }
    }
    let container = container_command::find().map_err(|error| Failure::new(error, None))?;
    let mut command = std::process::Command::new(&container.program);
    let error = command.args(&container.arguments).args(words).exec();
    Err(Failure::new(anyhow!(error).context(format!("cannot run '{}'", container.program.display())), None))
}

/// The words for what is there already.
fn of_path(path: &Path, choice: &Choice) -> Result<Vec<OsString>, Failure> {
    let shown = path.display();
    let is_path = path.as_os_str().as_bytes().contains(&b'/') || path.extension().is_some_and(|suffix| suffix == "raw");
    if !is_path {
        return Err(Failure::usage(anyhow!(
            "'{shown}' is no distribution; choose debian, ubuntu or host, or write ./{shown} for a disk image or tree"
        )));
    }
    only_installed_ones_are_chosen(&format!("'{shown}' is there already"), choice)?;
    let status = fs::metadata(path).with_context(|| format!("cannot use '{shown}'"));
    let status = status.map_err(|error| Failure::new(error, Some("name a disk image or the directory of a tree")))?;
    let switch = if status.is_dir() { "--directory" } else { "--image" };
    Ok(vec![OsString::from(switch), path.into()])
}

/// What says how a distribution is installed means nothing for what is not.
fn only_installed_ones_are_chosen(what: &str, choice: &Choice) -> Result<(), Failure> {
    let given = [
        ("--suite", choice.suite.is_some()),
        ("--mirror", choice.mirror.is_some()),
        ("--arch", choice.arch.is_some()),
        ("--variant", choice.variant != Variant::default()),
        ("--include", !choice.include.is_empty()),
        ("--exclude", !choice.exclude.is_empty()),
        ("--components", !choice.components.is_empty()),
        ("--keyring", choice.keyring.is_some()),
        ("--cache", choice.cache.is_some()),
        ("--accept-expired", choice.accept_expired),
    ];
    match given.iter().find(|(_, given)| *given) {
        Some((switch, _)) => Err(Failure::usage(anyhow!("{what}: nothing is installed that {switch} could be about"))),
        None => Ok(()),
    }
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
