//! Properties of units as `NAME=VALUE`, the way systemctl(1) takes them with `set-property`: which there are
//! ([`table`]), what their values mean ([`value`]), and as what they are given to a service manager
//! (org.freedesktop.systemd1(5)).

mod address;
mod slice;
mod table;
#[cfg(test)]
mod tests;
mod value;

use std::fmt::{self, Display, Formatter};

use serde::Serialize;
use thiserror::Error;

pub use slice::SliceName;
pub use value::{size, time_span};

/// Why an assignment is none.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PropertyError {
    /// There is no name, or nothing behind it.
    #[error("it is not of the form NAME=VALUE")]
    Form,
    /// The name stands for nothing that could be sent.
    #[error(
        "the property {0} is none that redd knows how to set; see systemd.resource-control(5) and systemd.scope(5)"
    )]
    Unknown(String),
    /// The value has no meaning.
    #[error("{value:?} is no value of {setting}=: {reason}")]
    Value {
        /// The property.
        setting: &'static str,
        /// What was given.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The slice's name is none.
    #[error("{0:?} is no slice, such as machine.slice: its parts have single dashes between them")]
    Slice(String),
}

/// A property with its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Property {
    /// Its name in unit files, such as `CPUQuota`.
    pub setting: &'static str,
    /// The name that a service manager has for it on the bus, such as `CPUQuotaPerSecUSec`.
    pub name: String,
    /// Its value.
    pub value: PropertyValue,
}

/// A value as a service manager takes it; the comments have the D-Bus types.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum PropertyValue {
    /// `s`
    Text(String),
    /// `b`
    Boolean(bool),
    /// `u`
    U32(u32),
    /// `i`
    I32(i32),
    /// `t`; the highest value is no limit at all, or the default.
    U64(u64),
    /// `as`
    Texts(Vec<String>),
    /// `ay`: a set of small numbers, a bit each.
    Bits(Vec<u8>),
    /// `a(st)`: a value for each device or file. None takes all earlier ones back.
    PathNumbers(Vec<(String, u64)>),
    /// `a(ss)`. None takes all earlier ones back.
    Pairs(Vec<(String, String)>),
    /// `a(iayu)`: networks. None takes all earlier ones back.
    Networks(Vec<Network>),
    /// `a(iiqq)`: rules for bind(2). None takes all earlier ones back.
    Sockets(Vec<SocketRule>),
    /// `(bas)`: names of links.
    Links {
        /// They are those that may be used.
        allow: bool,
        /// Their names.
        names: Vec<String>,
    },
    /// `a(iiss)`: sets of nftables. None takes all earlier ones back.
    Sets(Vec<NftSet>),
}

/// A network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Network {
    /// `AF_INET` or `AF_INET6`.
    pub family: i32,
    /// 4 or 16 bytes.
    pub address: Vec<u8>,
    /// How many bits of it are the network's.
    pub prefix: u32,
}

/// What a socket may be bound to, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SocketRule {
    /// `AF_INET`, `AF_INET6`; zero for both.
    pub family: i32,
    /// `IPPROTO_TCP`, `IPPROTO_UDP`; zero for both.
    pub protocol: i32,
    /// How many ports; zero for all.
    pub count: u16,
    /// The first port.
    pub first: u16,
}

/// A set of nftables that the unit's ids are put into.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NftSet {
    /// Which id, as the service manager numbers them.
    pub source: i32,
    /// The family of the table (`NFPROTO_…`).
    pub family: i32,
    /// The table.
    pub table: String,
    /// The set.
    pub set: String,
}

impl Property {
    /// Reads `NAME=VALUE`.
    ///
    /// # Errors
    /// A [`PropertyError`], also for names that may be right and that are not known here.
    pub fn parse(assignment: &str) -> Result<Self, PropertyError> {
        let (name, value) = assignment.split_once('=').ok_or(PropertyError::Form)?;
        if name.is_empty() {
            return Err(PropertyError::Form);
        }
        let row = table::find(name).ok_or_else(|| PropertyError::Unknown(name.to_owned()))?;
        let made = |name, value| Self { setting: row.setting, name, value };
        if let table::Grammar::Slice = row.grammar {
            let slice: SliceName = value.parse()?;
            return Ok(made(row.name.to_owned(), PropertyValue::Text(slice.to_string())));
        }
        let (name, value) = row.read(value).map_err(|reason| PropertyError::Value {
            setting: row.setting,
            value: value.to_owned(),
            reason,
        })?;
        Ok(made(name, value))
    }

    /// The names of all properties that are known, as in unit files.
    pub fn names() -> impl Iterator<Item = &'static str> {
        table::ROWS.iter().map(|row| row.setting)
    }

    /// At most so much memory, as `MemoryMax=` takes it.
    ///
    /// # Errors
    /// [`PropertyError::Value`]
    pub fn memory(value: &str) -> Result<Self, PropertyError> {
        Self::required("MemoryMax", value)
    }

    /// At most so many processes and threads, as `TasksMax=` takes it.
    ///
    /// # Errors
    /// [`PropertyError::Value`]
    pub fn pids(value: &str) -> Result<Self, PropertyError> {
        Self::required("TasksMax", value)
    }

    fn required(setting: &'static str, value: &str) -> Result<Self, PropertyError> {
        if value.is_empty() {
            return Err(PropertyError::Value { setting, value: String::new(), reason: "it is empty" });
        }
        Self::parse(&format!("{setting}={value}"))
    }

    /// At most the time of so many processors: a number with or without a fraction.
    ///
    /// # Errors
    /// [`PropertyError::Value`]
    pub fn cpus(value: &str) -> Result<Self, PropertyError> {
        let quota = value::hundredths(value).and_then(|hundredths| hundredths.checked_mul(10_000));
        let quota = quota.filter(|quota| *quota > 0).ok_or_else(|| PropertyError::Value {
            setting: "CPUQuota",
            value: value.to_owned(),
            reason: "it is no number of processors such as 2 or 0.5",
        })?;
        Ok(Self::processor_time(quota))
    }

    /// At most so much time of processors in each second, in microseconds.
    pub(crate) fn processor_time(quota: u64) -> Self {
        Self { setting: "CPUQuota", name: "CPUQuotaPerSecUSec".into(), value: PropertyValue::U64(quota) }
    }
}

/// The value in short.
impl Display for Property {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.value {
            PropertyValue::Text(text) => write!(f, "{}={text}", self.name),
            PropertyValue::Boolean(yes) => write!(f, "{}={}", self.name, if *yes { "yes" } else { "no" }),
            PropertyValue::U32(number) => write!(f, "{}={number}", self.name),
            PropertyValue::I32(number) => write!(f, "{}={number}", self.name),
            PropertyValue::U64(u64::MAX) => write!(f, "{}=infinity", self.name),
            PropertyValue::U64(number) => write!(f, "{}={number}", self.name),
            other => write!(f, "{}={other:?}", self.name),
        }
    }
}
