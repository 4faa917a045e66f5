//! pacman.conf(5): options, and the repositories with their servers, with all the keys up to pacman 7.

mod apply;
mod file;

use std::io;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

pub use file::{Files, HostFiles, Place};

use super::sig_level::{self, SigLevel};

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("the configuration '{}' cannot be read", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that is included cannot be read.
    #[error("{place}: the included file '{}' cannot be read", file.display())]
    Include {
        /// Where it is included.
        place: Place,
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Files include each other too deep.
    #[error("{place}: files include each other more than {deepest} deep")]
    TooDeep {
        /// The include that goes too far.
        place: Place,
        /// How deep they can.
        deepest: usize,
    },
    /// There is more than a configuration can have.
    #[error("{place}: with what is included there are more than {lines} lines")]
    TooLong {
        /// Where reading ended.
        place: Place,
        /// How many can be.
        lines: usize,
    },
    /// A line is not text.
    #[error("{place}: the line is no text in UTF-8, or has control characters")]
    NoText {
        /// The line.
        place: Place,
    },
    /// A key before any section.
    #[error("{place}: '{key}' is in no section; '[options]' or the name of a repository has to come before it")]
    NoSection {
        /// Where.
        place: Place,
        /// The key.
        key: String,
    },
    /// A key that needs a value has none.
    #[error("{place}: '{key}' needs a value")]
    NoValue {
        /// Where.
        place: Place,
        /// The key.
        key: String,
    },
    /// A value is none of those that can be.
    #[error("{place}: '{value}' is no value of '{key}': {wanted}")]
    Value {
        /// Where.
        place: Place,
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// What can be.
        wanted: &'static str,
    },
    /// Words of `SigLevel` and its like.
    #[error(
        "{place}: {source} of '{key}'; these are: Required, Optional, Never, TrustedOnly, TrustAll, also with Package or Database before them"
    )]
    SigLevel {
        /// Where.
        place: Place,
        /// The key.
        key: String,
        /// The word.
        source: sig_level::Error,
    },
    /// Downloads by another program.
    #[error("{place}: 'XferCommand' is not supported: downloads are never left to another program")]
    XferCommand {
        /// Where.
        place: Place,
    },
    /// A repository cannot have this name.
    #[error("{place}: no repository can be called '{name}': {reason}")]
    RepositoryName {
        /// Where.
        place: Place,
        /// The name.
        name: String,
        /// Why.
        reason: &'static str,
    },
    /// A repository is there twice.
    #[error("{place}: the repository '{name}' is there already, at {first}")]
    Twice {
        /// The second one.
        place: Place,
        /// Its name.
        name: String,
        /// The first one.
        first: Place,
    },
    /// A server's address has `$arch`, and no architecture is set.
    #[error("{place}: the server '{server}' has '$arch' in it, and no 'Architecture' is set")]
    NoArchitecture {
        /// The server.
        place: Place,
        /// Its address.
        server: String,
    },
}

impl Error {
    /// What to do.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Read { .. } => Some("name another configuration with -C"),
            Self::Include { .. } => Some("take the Include out, or put the file (such as a mirror list) there"),
            Self::XferCommand { .. } => {
                Some("take XferCommand out; a proxy is taken from http_proxy and https_proxy in the environment")
            }
            Self::NoArchitecture { .. } => Some("add 'Architecture = auto' to [options]"),
            Self::Twice { .. } => Some("put the servers of both into one section"),
            _ => None,
        }
    }
}

/// Something that is passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Where.
    pub place: Place,
    /// What, and why.
    pub text: String,
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// What `pacman -Sc` would keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CleanMethod {
    /// Packages that are installed.
    KeepInstalled,
    /// Packages that repositories have.
    KeepCurrent,
}

/// The section `[options]`. Paths are as they are written: absolute, and not below the root. Where one is not there,
/// nothing is written: see [`Options::paths`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// `RootDir`
    pub root_directory: Option<PathBuf>,
    /// `DBPath`
    pub database_path: Option<PathBuf>,
    /// `CacheDir`, in order
    pub cache_directories: Vec<PathBuf>,
    /// `HookDir`, those that come later before others
    pub hook_directories: Vec<PathBuf>,
    /// `GPGDir`
    pub gpg_directory: Option<PathBuf>,
    /// `LogFile`
    pub log_file: Option<PathBuf>,
    /// `HoldPkg`: patterns, as all these lists
    pub hold_packages: Vec<String>,
    /// `IgnorePkg`
    pub ignore_packages: Vec<String>,
    /// `IgnoreGroup`
    pub ignore_groups: Vec<String>,
    /// `Architecture`, with `auto` replaced by this machine's; empty if packages of all are taken
    pub architectures: Vec<String>,
    /// `NoUpgrade`, for [`Patterns`](super::pattern::Patterns)
    pub no_upgrade: Vec<String>,
    /// `NoExtract`, likewise
    pub no_extract: Vec<String>,
    /// `CleanMethod`
    pub clean_methods: Vec<CleanMethod>,
    /// `SigLevel`
    pub sig_level: SigLevel,
    /// `LocalFileSigLevel`
    pub local_file_sig_level: SigLevel,
    /// `RemoteFileSigLevel`
    pub remote_file_sig_level: SigLevel,
    /// `UseSyslog`
    pub use_syslog: bool,
    /// `Color`
    pub color: bool,
    /// `NoProgressBar`
    pub no_progress_bar: bool,
    /// `ILoveCandy`
    pub candy: bool,
    /// `CheckSpace`
    pub check_space: bool,
    /// `VerbosePkgLists`
    pub verbose_package_lists: bool,
    /// `DisableDownloadTimeout`
    pub disable_download_timeout: bool,
    /// `ParallelDownloads`
    pub parallel_downloads: NonZeroU32,
    /// `DownloadUser`
    pub download_user: Option<String>,
    /// `DisableSandbox`, `DisableSandboxFilesystem` or `DisableSandboxSyscalls`
    pub disable_sandbox: bool,
}

/// Where pacman has its things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// The root of what is installed.
    pub root: PathBuf,
    /// The databases.
    pub database: PathBuf,
    /// The packages that were fetched: at least one.
    pub caches: Vec<PathBuf>,
    /// The administrator's hooks: at least one.
    pub hooks: Vec<PathBuf>,
    /// The keyring.
    pub gpg: PathBuf,
    /// The log.
    pub log: PathBuf,
}

impl Options {
    /// The paths with pacman's defaults. Another root can be given, as with `pacman --root`. Only the database and the
    /// log are below it by themselves.
    #[must_use]
    pub fn paths(&self, root: Option<&Path>) -> Paths {
        let root = root.or(self.root_directory.as_deref()).unwrap_or(Path::new("/"));
        let or = |path: &Option<PathBuf>, default: PathBuf| path.clone().unwrap_or(default);
        let all = |paths: &[PathBuf], default: &str| match paths {
            [] => vec![PathBuf::from(default)],
            _ => paths.to_vec(),
        };
        Paths {
            root: root.to_owned(),
            database: or(&self.database_path, root.join("var/lib/pacman/")),
            caches: all(&self.cache_directories, "/var/cache/pacman/pkg/"),
            hooks: all(&self.hook_directories, "/etc/pacman.d/hooks/"),
            gpg: or(&self.gpg_directory, PathBuf::from("/etc/pacman.d/gnupg/")),
            log: or(&self.log_file, root.join("var/log/pacman.log")),
        }
    }
}

/// What a repository is used for: `Usage`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Its database is fetched.
    pub sync: bool,
    /// It is searched.
    pub search: bool,
    /// Packages are installed from it.
    pub install: bool,
    /// Packages are upgraded from it.
    pub upgrade: bool,
}

impl Usage {
    /// Everything: what it is if nothing is said.
    pub const ALL: Self = Self { sync: true, search: true, install: true, upgrade: true };
}

/// A section of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// Its name.
    pub name: String,
    /// `Server`, in the order in which they are tried, with `$repo` and `$arch` replaced.
    pub servers: Vec<String>,
    /// `CacheServer`: tried before the servers, for packages only.
    pub cache_servers: Vec<String>,
    /// `SigLevel`
    pub sig_level: SigLevel,
    /// `Usage`
    pub usage: Usage,
    /// Where its section is.
    pub place: Place,
}

/// A configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The options.
    pub options: Options,
    /// The repositories in order: the first that has a package is the one it comes from.
    pub repositories: Vec<Repository>,
    /// What was passed over.
    pub warnings: Vec<Warning>,
}

impl Config {
    /// Reads a configuration of this machine, with all it includes. Paths that are not absolute are from the working
    /// directory, as pacman has it.
    ///
    /// # Errors
    /// Files that cannot be read, and what in them means nothing: with file, line and key.
    pub fn read(path: &Path) -> Result<Self, Error> {
        Self::read_with(path, &HostFiles, &machine())
    }

    /// The same with other files, on a machine of another kind.
    ///
    /// # Errors
    /// As [`Config::read`].
    pub fn read_with(path: &Path, files: &dyn Files, machine: &str) -> Result<Self, Error> {
        apply::sections(&file::read(path, files)?, machine)
    }
}

/// What `uname -m` says.
fn machine() -> String {
    rustix::system::uname().machine().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;
