//! What keeps a command that is run in a machine later to what the machine's own processes may do.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Written beside the state, for root alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Confinement {
    /// The capabilities that may be had at all, a bit each.
    pub capabilities: u64,
    /// Nothing that is executed gets more privileges.
    #[serde(default)]
    pub no_new_privileges: bool,
    /// The system call filters, in the order in which they were loaded.
    #[serde(default)]
    pub filters: Vec<Filter>,
    /// The machine that uname(2) names: `x86` or `x86-64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub personality: Option<String>,
    /// The SELinux label of programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selinux_context: Option<String>,
    /// The resource limits that its program was started with, by name (`NOFILE`). Who has written none has not known of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<BTreeMap<String, Limit>>,
}

/// A resource limit; infinite where absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limit {
    /// What counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soft: Option<u64>,
    /// How far that can be raised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hard: Option<u64>,
}

/// A system call filter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Filter {
    /// Instructions of classic BPF: code, jump if true, jump if false, operand.
    #[serde(with = "crate::instructions")]
    pub instructions: Vec<(u16, u8, u8, u32)>,
    /// All that it does but allowing a call is logged.
    #[serde(default)]
    pub log: bool,
    /// Speculative execution stays as it is.
    #[serde(default)]
    pub allow_speculation: bool,
}
