//! Limits on a machine's group, where no service manager puts them on a unit: [`v2`] on the group that it has anyway,
//! [`v1`] on groups of their own, one in each hierarchy that has a controller that is needed.

#[cfg(test)]
mod tests;
pub mod v1;
pub mod v2;

/// A file of a group and what is written to it.
#[derive(Clone, Copy, Debug)]
pub struct File<'a> {
    /// What it is for, for messages.
    pub property: &'a str,
    /// Its name.
    pub name: &'a str,
    /// What is written.
    pub value: &'a str,
}

/// Why a limit is not there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A controller stays away.
    #[error(
        "cannot use the controller {controller} in {group}: the kernel hands none on where processes are in the group"
    )]
    Controller {
        /// Its name.
        controller: String,
        /// The caller's group.
        group: String,
        /// Why.
        source: rustix::io::Errno,
    },
    /// The kernel does not take a value.
    #[error("cannot carry out {property}=: writing {value:?} to {file}")]
    Value {
        /// The property.
        property: String,
        /// What was written.
        value: String,
        /// To what.
        file: String,
        /// Why it was refused.
        source: rustix::io::Errno,
    },
    /// It is less than the group itself takes.
    #[error("{property}= is too low: the control group {group} itself takes more than the {value} bytes of it")]
    TooLow {
        /// The property.
        property: String,
        /// What was written.
        value: String,
        /// The group.
        group: String,
    },
    /// A group.
    #[error(transparent)]
    Group(#[from] crate::Error),
}
