//! Why something is refused: each face has a name of its own for it.

use rustix::io::Errno;

/// Why something was not done. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// None of that name runs.
    #[error("no machine {0} is known")]
    NoSuchMachine(String),
    /// A process belongs to none.
    #[error("the process {0} does not belong to a known machine")]
    NoMachineForProcess(i32),
    /// One has that name.
    #[error("a machine named {0} is registered already")]
    MachineExists(String),
    /// There is no image of that name.
    #[error("no image {0} is known")]
    NoSuchImage(String),
    /// Polkit, or its absence, says no.
    #[error("not permitted: {0}")]
    NotPermitted(&'static str),
    /// Polkit would ask a person, which the caller did not allow.
    #[error("a person would have to be asked whether {0} is permitted")]
    Interactive(&'static str),
    /// It shares the host's network.
    #[error("the machine {0} has no network of its own")]
    NoPrivateNetworking(String),
    /// It does not say what it is.
    #[error("the machine {0} has no os-release file")]
    NoOsRelease(String),
    /// Its users are not a shifted range.
    #[error("the machine {0} has no single range of users")]
    NoUidShift(String),
    /// It is not that kind of machine, or not in that state.
    #[error("{what} of {machine} is not supported: {why}")]
    NotSupported {
        /// Of what.
        machine: String,
        /// What was wanted.
        what: &'static str,
        /// Why not.
        why: String,
    },
    /// What it is asked for is not known.
    #[error("{what} of the machine {machine} is not known")]
    NotAvailable {
        /// Which machine.
        machine: String,
        /// What.
        what: &'static str,
    },
    /// No machine has this user.
    #[error("no machine has the user {0}")]
    NoSuchUser(u32),
    /// A machine does not have the user of this name.
    #[error("the machine has no user {0}")]
    NoUserNamed(String),
    /// No machine has this group.
    #[error("no machine has the group {0}")]
    NoSuchGroup(u32),
    /// The host's own.
    #[error("the user {0} is one of the host's")]
    UserInHostRange(u32),
    /// The host's own.
    #[error("the group {0} is one of the host's")]
    GroupInHostRange(u32),
    /// Too much at once.
    #[error("too many operations on images are under way")]
    TooManyOperations,
    /// Too many at once.
    #[error("too many terminals are being opened")]
    TooManyTerminals,
    /// What was given makes no sense.
    #[error("bad {parameter}: {why}")]
    Invalid {
        /// Its name, as `io.systemd.Machine` has it.
        parameter: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The registry.
    #[error(transparent)]
    Registry(machine::registry::Error),
    /// Steering a machine.
    #[error(transparent)]
    Control(#[from] machine::control::Error),
    /// An image.
    #[error(transparent)]
    Image(image::pool::Error),
    /// A unit for the machine.
    #[error(transparent)]
    Scope(#[from] cgroup::scope::Error),
    /// A system call.
    #[error("cannot {what}")]
    System {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: Errno,
    },
    /// What a process that was started for it has said.
    #[error("{text}")]
    Errand {
        /// Its words.
        text: String,
        /// The number of the system's error behind it.
        errno: Errno,
    },
    /// A mistake of the service's own.
    #[error("the service has failed at it")]
    Failed,
}

impl From<machine::registry::Error> for Error {
    fn from(error: machine::registry::Error) -> Self {
        use machine::registry::Error as Registry;
        match error {
            Registry::NoSuchMachine(name) => Self::NoSuchMachine(name),
            Registry::Exists(name) => Self::MachineExists(name),
            Registry::Name(error) => Self::Invalid { parameter: "name", why: error.to_string() },
            Registry::Ours(machine) => Self::NotSupported {
                machine,
                what: "taking out",
                why: "redd runs it, and lists it as long as it runs; terminate it instead".to_owned(),
            },
            error => Self::Registry(error),
        }
    }
}

impl From<image::pool::Error> for Error {
    fn from(error: image::pool::Error) -> Self {
        match error {
            image::pool::Error::Unknown(name) => Self::NoSuchImage(name),
            image::pool::Error::Name(name) => {
                Self::Invalid { parameter: "name", why: format!("no image can be called {name:?}") }
            }
            error => Self::Image(error),
        }
    }
}

impl Error {
    /// That of a system call.
    pub(crate) fn system(what: impl Into<String>) -> impl FnOnce(Errno) -> Self {
        let what = what.into();
        move |source| Self::System { what, source }
    }

    /// The number of the system's error that is behind it; `EIO` where nothing else fits.
    #[must_use]
    pub fn errno(&self) -> Errno {
        use image::pool::Error as Image;
        use machine::control::Error as Control;
        match self {
            Self::Errand { errno: source, .. }
            | Self::System { source, .. }
            | Self::Control(Control::System { source, .. })
            | Self::Image(Image::System { source, .. })
            | Self::Registry(machine::registry::Error::File { source, .. }) => *source,
            Self::NotPermitted(_) | Self::Control(Control::NotPermitted(_)) => Errno::ACCESS,
            Self::Control(Control::Ended(_)) => Errno::SRCH,
            Self::Control(Control::TimedOut { .. }) => Errno::TIMEDOUT,
            Self::TooManyTerminals
            | Self::Control(Control::Busy(_))
            | Self::Image(Image::Running(_) | Image::InUse { .. } | Image::Attached { .. } | Image::Mounted(_)) => {
                Errno::BUSY
            }
            Self::Image(Image::Exists { .. } | Image::CompanionExists(_)) | Self::MachineExists(_) => Errno::EXIST,
            Self::Image(Image::Protected { .. }) => Errno::ROFS,
            Self::Image(Image::Unsupported { .. } | Image::NotBtrfs(_)) | Self::NotSupported { .. } => Errno::OPNOTSUPP,
            Self::Invalid { .. } => Errno::INVAL,
            _ => Errno::IO,
        }
    }
}
