//! What a container is to be: names, the option table, patches, and the checked specification. No I/O.

mod address_family;
mod background;
mod bind_user;
mod capability;
mod container;
mod credential;
mod errno;
mod integration;
mod names;
mod resource;

pub use address_family::{AddressFamilies, FamilySet};
pub use background::Background;
pub use bind_user::{BindUsersSpec, UserShell, is_user_name};
pub use capability::{CAPABILITY_NAMES, CapabilitySet};
pub use container::{
    ApiVfs, BindSource, ConsoleMode, ConsoleSpec, ContainerSpec, CustomMount, DryRun, ExecSpec, FilterItem, IdEntry,
    IdMapping, IdentitySpec, ImageSpec, NetworkSpec, Ownership, Personality, PivotRoot, PrivateUsers, PropertySpec,
    Refusal, Register, ResourcesSpec, RunSpec, SecuritySpec, SettingsMode, Source, StartMode, UsersSpec, Volatile,
};
pub use credential::{CREDENTIAL_LIMIT, Credential, CredentialSource, Secret, is_credential_name};
pub use integration::{
    Conveyance, ForwardJournal, IntegrationSpec, JournalLimits, LinkJournal, ResolvConfMode, ResolvConfSource,
    TimezoneMode,
};
pub use names::{AbsPath, HostName, MachineName, NameError, UidRange};
pub use resource::{CpuSet, Resource, Rlimit, Signal, ValueError};

pub mod command_line;
mod completions;
mod environment;
mod help;
mod manual;
pub mod oci;
pub mod options;
mod patch;
mod printable;
mod property;
pub mod settings;

pub use completions::{Shell, completions};
pub use help::{HelpStyle, help};
pub use manual::manual_page;
pub use patch::SpecPatch;
pub use printable::{printable, printable_lines};
pub use property::{Network, NftSet, Property, PropertyError, PropertyValue, SliceName, SocketRule, size, time_span};
