//! System call groups and the BPF filter compiler.
//!
//! [`Policy::container_default`] says which calls a container may make, [`compile`] turns that into one program for
//! all [`Arch`]itectures. A [`Profile`] is somebody else's list, with arguments that are looked at. Nothing here talks to
//! the kernel.

mod arch;
mod compile;
mod groups;
mod names;
mod policy;
mod profile;
mod set;
#[cfg(test)]
mod tests;

pub use arch::Arch;
pub use compile::{Instruction, compile};
pub use policy::{Edit, Families, Policy, Refusal};
pub use profile::{Comparison, Condition, Profile, Verdict};
pub use set::CallSet;

/// Why a filter cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No architecture has a call of this name.
    #[error("unknown system call {0:?}")]
    UnknownCall(String),
    /// A filter for no architecture would let nothing run.
    #[error("no system call interface is known for this CPU")]
    NoArch,
    /// The kernel takes 4096 instructions at most.
    #[error("the system call filter has {0} instructions, more than the kernel takes")]
    TooLong(usize),
    /// There are six, from 0 on.
    #[error("no system call has an argument {0}")]
    NoArgument(u8),
}

/// The calls in a group, given with its `@`.
#[must_use]
pub fn group(name: &str) -> Option<&'static CallSet> {
    groups::find(name).map(|group| &group.calls)
}
