//! `redd bootstrap`: a distribution is installed into a directory.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::anyhow;
use bootstrap::apt::cache::Cache;
use bootstrap::apt::distribution::{Distribution, host_architecture};
use bootstrap::apt::host_configuration::HostConfiguration;
use bootstrap::apt::install::{self, Installation};
use bootstrap::apt::variant::Variant;
use bootstrap::apt::{Keyring, Source};
use bootstrap::pacman::strap::{NewKeyring, Packages, Strap};

use super::pacstrap::{self, Place, Setup};
use crate::container_command;
use crate::failure::Failure;
use crate::interruption::Interruption;
use crate::progress;

/// Install Debian, Ubuntu or Arch Linux into a directory, which must be missing or empty
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// debian, ubuntu or arch
    #[arg(value_name = "DISTRIBUTION")]
    system: System,
    /// The directory
    directory: PathBuf,
    /// Leave it as its packages and mmdebstrap(1) make it: with device nodes for chroot(8) and the host's name and
    /// resolver, without a login for root, an identity to come, hosts(5) and security updates
    #[arg(long)]
    bare: bool,
    #[command(flatten)]
    pub(crate) choice: Choice,
}

/// What can be installed.
#[derive(Debug, Clone, Copy)]
enum System {
    /// From packages of dpkg.
    Apt(Distribution),
    /// From packages of pacman.
    Arch,
}

impl std::str::FromStr for System {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "arch" => Ok(Self::Arch),
            _ => name.parse().map(Self::Apt).map_err(|_| format!("'{name}' is none of debian, ubuntu and arch")),
        }
    }
}

/// What is installed and where it comes from.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Choice {
    /// The release, such as trixie, sid or noble [default: the stable one]
    #[arg(long)]
    pub(crate) suite: Option<String>,
    /// Where packages are fetched from [default: the host's own mirror, else the distribution's]
    #[arg(long, value_name = "URL")]
    pub(crate) mirror: Option<String>,
    /// How much is installed: system (boots), essential, apt, minbase, buildd, important, standard, custom
    #[arg(long, default_value_t)]
    pub(crate) variant: Variant,
    /// More packages, separated by commas
    #[arg(long, value_name = "PACKAGES", value_delimiter = ',')]
    pub(crate) include: Vec<String>,
    /// Packages that are not installed, separated by commas
    #[arg(long, value_name = "PACKAGES", value_delimiter = ',')]
    pub(crate) exclude: Vec<String>,
    /// Parts of the archive, separated by commas [default: main]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) components: Vec<String>,
    /// The architecture by Debian's name [default: this machine's]
    #[arg(long, value_name = "NAME")]
    pub(crate) arch: Option<String>,
    /// OpenPGP certificates that releases must be signed by, instead of those built in; for arch, as of redd pacstrap
    #[arg(long, value_name = "FILE")]
    pub(crate) keyring: Option<PathBuf>,
    /// Where fetched files are kept [default: /var/cache/redd]
    #[arg(long, value_name = "DIR")]
    pub(crate) cache: Option<PathBuf>,
    /// Accept a release whose time is over
    #[arg(long)]
    pub(crate) accept_expired: bool,
    /// Say nothing but errors
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

impl Choice {
    /// An option that was given and means nothing for packages of pacman.
    fn only_of_apt(&self) -> Option<&'static str> {
        [
            ("suite", self.suite.is_some()),
            ("variant", self.variant != Variant::default()),
            ("exclude", !self.exclude.is_empty()),
            ("components", !self.components.is_empty()),
            ("arch", self.arch.is_some()),
            ("accept-expired", self.accept_expired),
        ]
        .into_iter()
        .find_map(|(option, given)| given.then_some(option))
    }

    /// The architecture by Debian's name.
    pub(crate) fn architecture(&self) -> Result<String, Failure> {
        match (&self.arch, host_architecture()) {
            (Some(asked), _) => Ok(asked.clone()),
            (None, Some(own)) => Ok(own.to_owned()),
            (None, None) => Err(Failure::new(anyhow!("Debian does not know this machine's architecture"), None)),
        }
    }

    /// Where fetched files are kept.
    pub(crate) fn cache_directory(&self) -> Result<PathBuf, Failure> {
        match &self.cache {
            Some(directory) => std::path::absolute(directory).map_err(|error| Failure::new(error, None)),
            None => Cache::default_directory().map_err(|error| {
                let hint = error.hint();
                Failure::new(error, hint)
            }),
        }
    }

    fn source(&self, distribution: Distribution) -> Result<Source, Failure> {
        let architecture = self.architecture()?;
        let host = HostConfiguration::read();
        let mut source = Source::new(distribution, &architecture, &host);
        if let Some(suite) = &self.suite {
            source.suite = suite.clone();
        }
        if let Some(mirror) = &self.mirror {
            source = source.with_mirror(mirror, &host);
        }
        if !self.components.is_empty() {
            source.components = self.components.clone();
        }
        if let Some(file) = &self.keyring {
            source.keyring = Keyring::File(file.clone());
        }
        source.accept_expired = self.accept_expired;
        Ok(source)
    }
}

/// Installs into a directory and says so in the end.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let directory = std::path::absolute(&arguments.directory).map_err(|error| Failure::new(error, None))?;
    match arguments.system {
        System::Arch if arguments.bare => {
            return Err(Failure::usage(anyhow!(
                "--bare is for Debian and Ubuntu: Arch Linux is always left as its packages make it"
            )));
        }
        System::Arch => arch(&arguments.choice, &directory)?,
        System::Apt(distribution) => {
            let name = directory.file_name().and_then(|name| name.to_str()).filter(|name| is_host_name(name));
            let hostname = name.unwrap_or(distribution.name());
            install_with(distribution, &arguments.choice, &directory, (hostname, arguments.bare))?;
        }
    }
    if !arguments.choice.quiet && !arguments.bare {
        // It is not worth a failure if nobody hears it.
        let _ = writeln!(std::io::stderr(), "boot it with: redd spawn -b -D {}", arguments.directory.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// # Errors
/// Where the caller is not root.
pub(crate) fn require_root() -> Result<(), Failure> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let error = anyhow!("only root can install a system: its files belong to many users");
    Err(Failure::new(error, Some("run it with sudo")))
}

/// Installs Arch Linux: `base`, or what `--include` names besides.
fn arch(choice: &Choice, directory: &Path) -> Result<(), Failure> {
    require_root()?;
    if let Some(option) = choice.only_of_apt() {
        let error = anyhow!("--{option} is for Debian and Ubuntu: Arch Linux has no such choice");
        return Err(Failure::usage(error));
    }
    let progress = progress::fitting(choice.quiet);
    let setup = match &choice.mirror {
        Some(mirror) => Setup::of_distribution(bootstrap::pacman::distribution::Distribution::new(Some(mirror)))?,
        None => Setup::read(None, true, &*progress)?,
    };
    let (trusted, _) = setup.trusted(choice.keyring.as_deref())?;
    let packages: Vec<String> = std::iter::once("base".to_owned())
        .chain(choice.include.iter().map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()))
        .collect();
    let container = container_command::find().map_err(|error| Failure::new(error, None))?;
    let strap = Strap {
        root: directory,
        config: &setup.config,
        packages: Packages::Targets(&packages),
        caches: &[choice.cache_directory()?.join("pacman")],
        ignore_dependencies: false,
        trusted: &trusted,
        keyring: NewKeyring::Initialised,
        mirror_list: setup.mirror_list(),
        configuration: None,
        container: &container,
        command_line: "redd bootstrap arch",
    };
    let person = pacstrap::person(choice.quiet, false, &setup.config);
    pacstrap::install(&strap, person, &*progress, Place::New)
}

/// Installs a distribution into a directory.
pub(crate) fn install(
    distribution: Distribution,
    choice: &Choice,
    directory: &Path,
    hostname: &str,
) -> Result<(), Failure> {
    install_with(distribution, choice, directory, (hostname, false))
}

fn install_with(
    distribution: Distribution,
    choice: &Choice,
    directory: &Path,
    (hostname, bare): (&str, bool),
) -> Result<(), Failure> {
    require_root()?;
    let began = Instant::now();
    let interruption = Interruption::listen().map_err(|error| Failure::new(error, None))?;
    let source = choice.source(distribution)?;
    let cache = Cache::open(&choice.cache_directory()?).map_err(|error| {
        let hint = error.hint();
        Failure::new(error, hint)
    })?;
    let container = container_command::find().map_err(|error| Failure::new(error, None))?;
    let set = |names: &[String]| -> BTreeSet<String> {
        names.iter().map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
    };
    let (include, exclude) = (set(&choice.include), set(&choice.exclude));
    let installation = Installation {
        distribution,
        source: &source,
        cache: &cache,
        variant: choice.variant,
        include: &include,
        exclude: &exclude,
        target: directory,
        hostname,
        bare,
        container: &container,
    };
    let progress = progress::fitting(choice.quiet);
    let count = installation.run(&*progress, interruption.interrupt()).map_err(|error| {
        let code = if matches!(error, install::Error::Interrupted) { 130 } else { 1 };
        let hint = error.hint();
        Failure::new(error, hint).with_code(code)
    })?;
    let (suite, architecture) = (&source.suite, &source.architecture);
    progress.notice(&format!(
        "installed {distribution} {suite} ({architecture}, {count} packages) in {:.1} s: {}",
        began.elapsed().as_secs_f32(),
        directory.display()
    ));
    Ok(())
}

/// Whether a name can be a system's name in its network, see hostname(7).
fn is_host_name(name: &str) -> bool {
    name.len() <= 63
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}
