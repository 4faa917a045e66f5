//! What a container is to be: names, the option table, patches, and the checked specification. No I/O.

mod capability;
mod container;
mod names;
mod resource;

pub use capability::{CAPABILITY_NAMES, CapabilitySet};
pub use container::{
    ApiVfs, BindSource, ConsoleMode, ConsoleSpec, ContainerSpec, CustomMount, DryRun, ExecSpec, FilterItem,
    IdentitySpec, ImageSpec, IntegrationSpec, NetworkSpec, Ownership, Personality, PivotRoot, PrivateUsers,
    PropertySpec, Register, ResourcesSpec, RunSpec, SecuritySpec, SettingsMode, Source, StartMode, UsersSpec, Volatile,
};
pub use names::{AbsPath, HostName, MachineName, NameError, UidRange};
pub use resource::{CpuSet, Resource, Rlimit, Signal, ValueError};

pub mod command_line;
pub mod options;
mod patch;

pub use patch::from_command_line;
