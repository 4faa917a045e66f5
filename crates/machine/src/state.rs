//! What the registry says of a machine. The words are those of `io.systemd.Machine`, so that the faces pass them on.

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::process::Process;

/// The version of what is written. Readers refuse a higher major part, and pass over words that they do not know.
pub const VERSION: u32 = 1;

/// What kind of machine it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Shares the host's kernel.
    Container,
    /// Has a kernel of its own.
    Vm,
    /// The host itself.
    Host,
}

impl Class {
    /// As people and the bus write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Vm => "vm",
            Self::Host => "host",
        }
    }
}

/// A moment by both clocks, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timestamp {
    /// Since 1970.
    pub realtime: u64,
    /// Since the host's boot, without the time that it slept.
    pub monotonic: u64,
}

impl Timestamp {
    /// This moment.
    #[must_use]
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let clock = clock_gettime(ClockId::Monotonic);
        let monotonic =
            u64::try_from(clock.tv_sec).unwrap_or(0) * 1_000_000 + u64::try_from(clock.tv_nsec).unwrap_or(0) / 1000;
        Self { realtime: u64::try_from(since.as_micros()).unwrap_or(u64::MAX), monotonic }
    }
}

/// A range of the host's ids that the machine's ids from zero on are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRange {
    /// The first one.
    pub start: u32,
    /// How many.
    pub count: u32,
}

/// One machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// [`VERSION`] of who wrote it.
    pub version: u32,
    /// Its name.
    pub name: String,
    /// Its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Uuid>,
    /// Who runs it, such as `systemd-nspawn`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// What kind it is.
    pub class: Class,
    /// Its first process.
    pub leader: Process,
    /// Who looks after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supervisor: Option<Process>,
    /// Its tree on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_directory: Option<String>,
    /// Its unit, where a service manager looks after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The group of its processes below the unit's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subgroup: Option<String>,
    /// The directory of the cgroup2 group of its processes on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_group: Option<String>,
    /// When it started.
    pub timestamp: Timestamp,
    /// Its links on the host, by their numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty", rename = "ifIndices")]
    pub network_interfaces: Vec<i32>,
    /// Its address for vsock(7).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub v_sock_cid: Option<u32>,
    /// Where its SSH server is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_address: Option<String>,
    /// The key for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_private_key_path: Option<String>,
    /// Where it is steered, for machines that others run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_address: Option<String>,
    /// The user of the host that it belongs to.
    #[serde(rename = "UID")]
    pub uid: u32,
    /// Its ids on the host, where it has users of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users: Option<IdRange>,
    /// An init system runs in it.
    #[serde(default)]
    pub boots: bool,
    /// It has a network of its own.
    #[serde(default)]
    pub private_network: bool,
    /// A supervisor of ours looks after it: it holds the entry's lock as long as it lives, and serves the control socket.
    #[serde(default)]
    pub supervised: bool,
}
