//! `redd pacstrap`, also as `pacstrap`: packages of Arch Linux are installed into a directory.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::anyhow;
use bootstrap::pacman::config::Options;
use bootstrap::pacman::distribution::{Distribution, MIRROR_LIST};
use bootstrap::pacman::strap::{MirrorList, NewKeyring, Packages, Strap, Trusted};
use bootstrap::pacman::{Config, Keyring, keyring};
use bootstrap::progress::Progress;

use crate::container_command;
use crate::failure::{self, Failure};
use crate::interruption::Interruption;
use crate::pacman::{Here, Person};
use crate::progress;

/// The host's configuration.
const CONFIGURATION: &str = "/etc/pacman.conf";
/// The host's keyring, which the new system gets.
const HOST_KEYRING: &str = "/etc/pacman.d/gnupg";
/// What is installed if nothing is named.
const BASE: &str = "base";

/// Install packages of Arch Linux into a directory, as pacstrap(8) does; no pacman is needed on the host
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Use this configuration instead of /etc/pacman.conf; without one, Arch Linux's own repositories
    #[arg(short = 'C', value_name = "CONFIG")]
    configuration: Option<PathBuf>,
    /// Use the package cache of the host instead of that of the new system
    #[arg(short = 'c')]
    host_cache: bool,
    /// Do not look at dependencies
    #[arg(short = 'D')]
    ignore_dependencies: bool,
    /// The directory need not be a mount point: say nothing of it
    #[arg(short = 'd')]
    directory: bool,
    /// Do not copy the host's keyring
    #[arg(short = 'G')]
    no_keyring: bool,
    /// Ask: which members of groups, which of several providers, whether to go on
    #[arg(short = 'i')]
    interactive: bool,
    /// Make a new keyring with a key of its own (implies -G)
    #[arg(short = 'K')]
    initialise_keyring: bool,
    /// Do not copy the host's mirror list
    #[arg(short = 'M')]
    no_mirror_list: bool,
    /// Install as an ordinary user in namespaces (refused: only root can run containers yet)
    #[arg(short = 'N')]
    unshare: bool,
    /// Copy the configuration, too
    #[arg(short = 'P')]
    copy_configuration: bool,
    /// The packages are files of this machine
    #[arg(short = 'U')]
    files: bool,
    /// Who must have signed packages, instead of the host's keyring or the one built in: certificates, of which
    /// NAME-trusted and NAME-revoked beside NAME.gpg say who is trusted and revoked (without NAME-trusted all are trusted),
    /// or a directory of GnuPG's
    #[arg(long, value_name = "PATH")]
    keyring: Option<PathBuf>,
    /// Say nothing but questions and errors
    #[arg(short, long)]
    quiet: bool,
    /// The directory
    root: PathBuf,
    /// Packages, groups, or with -U files [default: base]
    packages: Vec<String>,
}

/// A configuration, and where it comes from.
pub(crate) struct Setup {
    pub(crate) config: Config,
    /// Its file; `None` where there is none.
    pub(crate) file: Option<PathBuf>,
    pub(crate) distribution: Option<Distribution>,
}

impl Setup {
    /// The host's configuration or that of the file; Arch Linux's own repositories where the host has none or names none.
    pub(crate) fn read(file: Option<&Path>, targets: bool, progress: &dyn Progress) -> Result<Self, Failure> {
        let path = file.unwrap_or(Path::new(CONFIGURATION));
        if file.is_some() || path.exists() {
            let config = Config::read(path).map_err(|error| {
                let hint = error.hint();
                Failure::new(error, hint)
            })?;
            for warning in &config.warnings {
                progress.notice(&format!("warning: {warning}"));
            }
            for (key, instead) in passed_over(&config.options) {
                progress.notice(&format!("warning: {key} of {} is passed over: {instead}", path.display()));
            }
            if file.is_some() || !targets || !config.repositories.is_empty() {
                return Ok(Self { config, file: Some(path.to_owned()), distribution: None });
            }
            progress.notice(&format!("{CONFIGURATION} names no repository: Arch Linux's own are used"));
            let own = Self::of_distribution(Distribution::new(None))?;
            return Ok(Self { file: Some(path.to_owned()), ..own });
        }
        Self::of_distribution(Distribution::new(None))
    }

    /// Arch Linux's own repositories.
    pub(crate) fn of_distribution(distribution: Distribution) -> Result<Self, Failure> {
        if !Distribution::runs_here() {
            let error = anyhow!("Arch Linux is not built for this machine");
            return Err(Failure::new(error, Some("name the configuration of a distribution that is with -C")));
        }
        let config = distribution.config().map_err(|error| {
            let hint = error.hint();
            Failure::new(error, hint)
        })?;
        Ok(Self { config, file: None, distribution: Some(distribution) })
    }

    /// The mirrors that the new system gets.
    pub(crate) fn mirror_list(&self) -> MirrorList<'_> {
        match self.distribution.as_ref().and_then(Distribution::mirror_list) {
            Some(list) => MirrorList::Written(list),
            None => MirrorList::Copied(Path::new(MIRROR_LIST)),
        }
    }

    /// Whose signatures count, and whether they are those of a keyring of the host: of the one that is named, else of the
    /// configuration's. The keys that are built in are for a host without one: never for one that names another.
    pub(crate) fn trusted(&self, named: Option<&Path>) -> Result<(Trusted, bool), Failure> {
        let failed = |error: keyring::Error| {
            let hint = error.hint();
            Failure::new(error, hint)
        };
        let options = &self.config.options;
        let keyring = match named {
            Some(named) => Keyring::of_file(named),
            None => Keyring::of_host(&options.paths(None).gpg),
        };
        match keyring {
            Ok(keyring) => Ok((Trusted { keyring, renewed: false }, true)),
            Err(keyring::Error::Missing(_)) if named.is_none() && options.gpg_directory.is_none() => {
                Ok((Trusted { keyring: Keyring::embedded().map_err(failed)?, renewed: true }, false))
            }
            Err(error) => Err(failed(error)),
        }
    }
}

/// Runs as `pacstrap`.
pub(crate) fn main(words: Vec<OsString>) -> ExitCode {
    #[derive(Debug, clap::Parser)]
    #[command(name = "pacstrap", version)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }
    match <Line as clap::Parser>::try_parse_from(words) {
        Ok(line) => failure::report(run(&line.arguments).map_err(Failure::like_original)),
        Err(error) => {
            let code = u8::from(error.use_stderr());
            // Nobody may be there to read it.
            let _ = error.print();
            ExitCode::from(code)
        }
    }
}

/// Installs.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    if arguments.unshare {
        let error = anyhow!("-N is not possible yet: packages are configured in containers, which only root can run");
        return Err(Failure::new(error, Some("run it with sudo and without -N")));
    }
    super::bootstrap::require_root()?;
    let progress = progress::fitting(arguments.quiet);
    if !arguments.directory && !is_mount_point(&arguments.root) {
        progress
            .notice(&format!("note: '{}' is not a mount point; with -d this is not told", arguments.root.display()));
    }
    let setup = Setup::read(arguments.configuration.as_deref(), !arguments.files, &*progress)?;
    let (trusted, of_host) = setup.trusted(arguments.keyring.as_deref())?;
    let targets = match &arguments.packages[..] {
        [] => vec![BASE.to_owned()],
        named => named.to_vec(),
    };
    let caches = if arguments.host_cache { setup.config.options.paths(None).caches } else { Vec::new() };
    let host_keyring = Path::new(HOST_KEYRING);
    let keyring = match (arguments.initialise_keyring, arguments.no_keyring) {
        (true, _) => NewKeyring::Initialised,
        (false, true) => NewKeyring::None,
        (false, false) if is_keyring(host_keyring) => NewKeyring::Copied(host_keyring),
        // Without one, the pacman inside could install nothing.
        (false, false) if !of_host => NewKeyring::Initialised,
        (false, false) => NewKeyring::None,
    };
    let configuration = match (arguments.copy_configuration, &setup.file) {
        (false, _) => None,
        (true, Some(file)) => Some(file.as_path()),
        (true, None) => return Err(Failure::usage(anyhow!("-P copies {CONFIGURATION}, and the host has none"))),
    };
    let container = container_command::find().map_err(|error| Failure::new(error, None))?;
    let strap = Strap {
        root: &arguments.root,
        config: &setup.config,
        packages: if arguments.files { Packages::Files(&targets) } else { Packages::Targets(&targets) },
        caches: &caches,
        ignore_dependencies: arguments.ignore_dependencies,
        trusted: &trusted,
        keyring,
        mirror_list: if arguments.no_mirror_list { MirrorList::OfPackage } else { setup.mirror_list() },
        configuration,
        container: &container,
        command_line: &command_line(),
    };
    let person = person(arguments.quiet, arguments.interactive, &setup.config);
    install(&strap, person, &*progress, Place::There)?;
    Ok(ExitCode::SUCCESS)
}

/// What was typed, as a line of a log.
fn command_line() -> String {
    let words: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    words.join(" ").replace(|character: char| character.is_control(), "\u{fffd}")
}

/// Who answers the questions.
pub(crate) fn person(quiet: bool, interactive: bool, config: &Config) -> Here {
    let names = config.repositories.iter().map(|repository| repository.name.clone()).collect();
    Person::here(quiet && !interactive, interactive, names, config.options.verbose_package_lists)
}

/// Which directory a system comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// One that is there, whatever is in it.
    There,
    /// A new one, which is there with all of it or not at all.
    New,
}

/// Installs, and says so in the end.
pub(crate) fn install(
    strap: &Strap<'_>,
    mut person: Here,
    progress: &dyn Progress,
    place: Place,
) -> Result<(), Failure> {
    let began = Instant::now();
    let interruption = Interruption::listen().map_err(|error| Failure::new(error, None))?;
    let interrupt = interruption.interrupt();
    let result = match place {
        Place::There => strap.run(&mut person, progress, interrupt),
        Place::New => strap.run_new(&mut person, progress, interrupt),
    };
    if let Some(error) = person.failure() {
        return Err(Failure::new(anyhow!(error).context("nothing can be asked or told"), None));
    }
    let count = result.map_err(|error| {
        let code = if error.is_interruption() { 130 } else { 1 };
        let hint = error.hint();
        Failure::new(error, hint.as_deref()).with_code(code)
    })?;
    let seconds = began.elapsed().as_secs_f32();
    progress.notice(&format!("installed {count} packages in {seconds:.1} s: {}", strap.root.display()));
    Ok(())
}

/// What a configuration says of the host alone, and what is done instead.
fn passed_over(options: &Options) -> impl Iterator<Item = (&'static str, &'static str)> {
    [
        (options.database_path.is_some(), ("DBPath", "the new system has its own in /var/lib/pacman")),
        (options.log_file.is_some(), ("LogFile", "the new system has its own, /var/log/pacman.log")),
        (!options.hook_directories.is_empty(), ("HookDir", "hooks are those that packages bring")),
        (options.use_syslog, ("UseSyslog", "the log is the new system's")),
    ]
    .into_iter()
    .filter_map(|(given, what)| given.then_some(what))
}

/// Whether a directory of GnuPG has keys.
fn is_keyring(directory: &Path) -> bool {
    ["pubring.gpg", "pubring.kbx"].iter().any(|name| directory.join(name).is_file())
}

/// Whether something is mounted on a directory. One that cannot be looked at is told of later.
fn is_mount_point(path: &Path) -> bool {
    let number = |path: &Path| std::fs::metadata(path).map(|status| (status.dev(), status.ino()));
    match (number(path), number(&path.join(".."))) {
        (Ok(own), Ok(above)) => own.0 != above.0 || own.1 == above.1,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of a `pacman.conf` with these lines and of that keyring.
    fn trusted(options: &str, keyring: Option<&Path>) -> Result<(Trusted, bool), Failure> {
        let directory = tempfile::tempdir().expect("directory");
        let file = directory.path().join("pacman.conf");
        std::fs::write(&file, format!("[options]\n{options}\n")).expect("file");
        let config = Config::read(&file).expect("configuration");
        Setup { config, file: Some(file), distribution: None }.trusted(keyring)
    }

    fn refused(options: &str, keyring: Option<&Path>) -> String {
        let failure = trusted(options, keyring).map(drop).expect_err("a keyring");
        format!("{failure:?}")
    }

    #[test]
    fn a_keyring_that_is_named_comes_with_its_lists() {
        let directory = tempfile::tempdir().expect("directory");
        let write = |name: &str, content: &[u8]| std::fs::write(directory.path().join(name), content).expect("file");
        let certificates = concat!(env!("CARGO_MANIFEST_DIR"), "/../bootstrap/keyrings/debian-archive-keyring.pgp");
        write("own.gpg", &std::fs::read(certificates).expect("certificates"));
        let file = directory.path().join("own.gpg");
        trusted("", Some(&file)).expect("a keyring");
        for list in ["own-trusted", "own-revoked"] {
            write(list, b"neither this nor that\n");
            let text = refused("", Some(&file));
            assert!(text.contains("neither this nor that") && text.contains("the list beside the keyring"), "{text}");
            write(list, b"");
        }
        // A directory is one of GnuPG's.
        assert!(refused("", Some(directory.path())).contains("there is no keyring at"));
        write("pubring.gpg", &std::fs::read(&file).expect("certificates"));
        trusted("", Some(directory.path())).expect("a keyring");
        assert!(refused("", Some(Path::new("/there/is/none"))).contains("there is no keyring at '/there/is/none'"));
    }

    #[test]
    fn a_keyring_that_is_configured_and_missing_is_an_error() {
        let text = refused("GPGDir = /there/is/none", None);
        assert!(text.contains("there is no keyring at '/there/is/none'") && text.contains("GPGDir"), "{text}");
    }
}
