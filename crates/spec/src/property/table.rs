//! Which properties there are: their names in unit files and on the bus, and the grammar of their values.

use super::value::{self, Reason, UNLIMITED};
use super::{PropertyValue, address};
use crate::Signal;
use crate::options::boolean;

/// A property.
pub(super) struct Row {
    /// Its name in unit files.
    pub(super) setting: &'static str,
    /// Its name on the bus.
    pub(super) name: &'static str,
    /// What its values are.
    pub(super) grammar: Grammar,
}

/// What values there are.
#[derive(Clone, Copy)]
pub(super) enum Grammar {
    /// The name of a slice.
    Slice,
    /// Any text.
    Text,
    /// One of these.
    Word(&'static [&'static str]),
    /// Yes or no.
    Boolean,
    /// Yes or no, or one of these.
    BooleanOr(&'static [&'static str]),
    /// Words with spaces between them.
    Words,
    /// Names of controllers with spaces between them, or yes or no.
    Delegate,
    /// A number between these two.
    Between(u64, u64),
    /// The same, or `idle`, which is zero.
    CpuWeight,
    /// A size or a share of the host's, above zero.
    Memory,
    /// The same, also zero.
    Swap,
    /// A size or a share of the host's that is kept from being taken away; zero where nothing is said.
    Protection,
    /// A size.
    Size,
    /// A number or a share of the host's.
    Tasks,
    /// A share of one processor.
    Quota,
    /// A time span; empty is the default.
    Time,
    /// A time span; empty is none.
    OptionalTime,
    /// A share in per cent.
    Scale,
    /// A set of numbers.
    Set,
    /// A device and what may be done with it.
    Device,
    /// A path and a number between these two.
    PathNumber(u64, u64),
    /// A path and a number with suffixes of thousands.
    PathRate,
    /// A path and a time span.
    PathTime,
    /// Networks.
    Networks,
    /// A path of a BPF program.
    Program,
    /// A kind and a path of a BPF program.
    TypedProgram,
    /// Sockets.
    Sockets,
    /// Links.
    Links,
    /// A link.
    Link,
    /// Sets of nftables.
    Sets,
    /// A signal.
    Signal,
}

use Grammar::{
    Between, Boolean, BooleanOr, CpuWeight, Memory, Networks, OptionalTime, PathNumber, PathRate, PathTime, Program,
    Protection, Quota, Scale, Set, Size, Sockets, Swap, Tasks, Text, Time, Word, Words,
};

const fn row(setting: &'static str, grammar: Grammar) -> Row {
    Row { setting, name: setting, grammar }
}

/// With another name on the bus.
const fn named(setting: &'static str, name: &'static str, grammar: Grammar) -> Row {
    Row { setting, name, grammar }
}

/// Weights of cgroup2.
const WEIGHT: Grammar = Between(1, 10_000);
/// Shares of processor time of version 1.
const SHARES: Grammar = Between(2, 262_144);
/// Weights of version 1.
const BLOCK_WEIGHT: Grammar = Between(10, 1000);
const OOM: Grammar = Word(&["auto", "kill"]);
const WATCH: Grammar = BooleanOr(&["auto", "skip"]);
const ACTION: Grammar = Word(&[
    "none",
    "reboot",
    "reboot-force",
    "reboot-immediate",
    "poweroff",
    "poweroff-force",
    "poweroff-immediate",
    "exit",
    "exit-force",
    "soft-reboot",
    "soft-reboot-force",
    "kexec",
    "kexec-force",
    "halt",
    "halt-force",
    "halt-immediate",
]);
const JOB_MODE: Grammar = Word(&[
    "fail",
    "replace",
    "replace-irreversibly",
    "isolate",
    "flush",
    "ignore-dependencies",
    "ignore-requirements",
    "triggering",
    "restart-dependencies",
]);

/// All of them. In the order of systemd.resource-control(5), then those of scopes, of killing, and of all units.
pub(super) const ROWS: &[Row] = &[
    row("CPUAccounting", Boolean),
    row("CPUWeight", CpuWeight),
    row("StartupCPUWeight", CpuWeight),
    named("CPUQuota", "CPUQuotaPerSecUSec", Quota),
    named("CPUQuotaPeriodSec", "CPUQuotaPeriodUSec", OptionalTime),
    row("AllowedCPUs", Set),
    row("StartupAllowedCPUs", Set),
    row("MemoryAccounting", Boolean),
    row("MemoryMin", Protection),
    row("MemoryLow", Protection),
    row("DefaultMemoryMin", Protection),
    row("DefaultMemoryLow", Protection),
    row("DefaultStartupMemoryLow", Protection),
    row("StartupMemoryLow", Protection),
    row("MemoryHigh", Memory),
    row("StartupMemoryHigh", Memory),
    row("MemoryMax", Memory),
    row("StartupMemoryMax", Memory),
    row("MemorySwapMax", Swap),
    row("StartupMemorySwapMax", Swap),
    row("MemoryZSwapMax", Size),
    row("StartupMemoryZSwapMax", Size),
    row("MemoryZSwapWriteback", Boolean),
    row("AllowedMemoryNodes", Set),
    row("StartupAllowedMemoryNodes", Set),
    row("CPUSetPartition", Word(&["member", "root", "isolated"])),
    row("TasksAccounting", Boolean),
    row("TasksMax", Tasks),
    row("IOAccounting", Boolean),
    row("IOWeight", WEIGHT),
    row("StartupIOWeight", WEIGHT),
    row("IODeviceWeight", PathNumber(1, 10_000)),
    row("IOReadBandwidthMax", PathRate),
    row("IOWriteBandwidthMax", PathRate),
    row("IOReadIOPSMax", PathRate),
    row("IOWriteIOPSMax", PathRate),
    named("IODeviceLatencyTargetSec", "IODeviceLatencyTargetUSec", PathTime),
    row("IPAccounting", Boolean),
    row("IPAddressAllow", Networks),
    row("IPAddressDeny", Networks),
    row("SocketBindAllow", Sockets),
    row("SocketBindDeny", Sockets),
    row("RestrictNetworkInterfaces", Grammar::Links),
    row("BindNetworkInterface", Grammar::Link),
    row("NFTSet", Grammar::Sets),
    row("IPIngressFilterPath", Program),
    row("IPEgressFilterPath", Program),
    row("BPFProgram", Grammar::TypedProgram),
    row("DeviceAllow", Grammar::Device),
    row("DevicePolicy", Word(&["auto", "closed", "strict"])),
    row("Slice", Grammar::Slice),
    row("Delegate", Grammar::Delegate),
    row("DelegateSubgroup", Text),
    row("DisableControllers", Words),
    row("ManagedOOMSwap", OOM),
    row("ManagedOOMMemoryPressure", OOM),
    row("ManagedOOMMemoryPressureLimit", Scale),
    named("ManagedOOMMemoryPressureDurationSec", "ManagedOOMMemoryPressureDurationUSec", OptionalTime),
    row("ManagedOOMPreference", Word(&["none", "avoid", "omit"])),
    row("OOMRules", Words),
    row("MemoryPressureWatch", WATCH),
    named("MemoryPressureThresholdSec", "MemoryPressureThresholdUSec", Time),
    row("CPUPressureWatch", WATCH),
    named("CPUPressureThresholdSec", "CPUPressureThresholdUSec", Time),
    row("IOPressureWatch", WATCH),
    named("IOPressureThresholdSec", "IOPressureThresholdUSec", Time),
    row("CoredumpReceive", Boolean),
    // The names of version 1 of control groups.
    row("CPUShares", SHARES),
    row("StartupCPUShares", SHARES),
    row("MemoryLimit", Memory),
    row("BlockIOAccounting", Boolean),
    row("BlockIOWeight", BLOCK_WEIGHT),
    row("StartupBlockIOWeight", BLOCK_WEIGHT),
    row("BlockIODeviceWeight", PathNumber(10, 1000)),
    row("BlockIOReadBandwidth", PathRate),
    row("BlockIOWriteBandwidth", PathRate),
    // systemd.scope(5)
    row("OOMPolicy", Word(&["continue", "stop", "kill"])),
    named("RuntimeMaxSec", "RuntimeMaxUSec", OptionalTime),
    named("RuntimeRandomizedExtraSec", "RuntimeRandomizedExtraUSec", Time),
    named("TimeoutStopSec", "TimeoutStopUSec", OptionalTime),
    // systemd.kill(5)
    row("KillMode", Word(&["control-group", "process", "mixed", "none"])),
    row("KillSignal", Grammar::Signal),
    row("RestartKillSignal", Grammar::Signal),
    row("FinalKillSignal", Grammar::Signal),
    row("WatchdogSignal", Grammar::Signal),
    row("SendSIGHUP", Boolean),
    row("SendSIGKILL", Boolean),
    // systemd.unit(5)
    row("Description", Text),
    row("Documentation", Words),
    row("CollectMode", Word(&["inactive", "inactive-or-failed"])),
    row("Wants", Words),
    row("Requires", Words),
    row("Requisite", Words),
    row("BindsTo", Words),
    row("PartOf", Words),
    row("Upholds", Words),
    row("Conflicts", Words),
    row("Before", Words),
    row("After", Words),
    row("OnSuccess", Words),
    row("OnFailure", Words),
    row("PropagatesReloadTo", Words),
    row("ReloadPropagatedFrom", Words),
    row("PropagatesStopTo", Words),
    row("StopPropagatedFrom", Words),
    row("RequiresMountsFor", Words),
    row("WantsMountsFor", Words),
    row("OnSuccessJobMode", JOB_MODE),
    row("OnFailureJobMode", JOB_MODE),
    row("StopWhenUnneeded", Boolean),
    row("RefuseManualStart", Boolean),
    row("RefuseManualStop", Boolean),
    row("AllowIsolate", Boolean),
    row("IgnoreOnIsolate", Boolean),
    row("SurviveFinalKillSignal", Boolean),
    row("DefaultDependencies", Boolean),
    named("JobTimeoutSec", "JobTimeoutUSec", OptionalTime),
    named("JobRunningTimeoutSec", "JobRunningTimeoutUSec", OptionalTime),
    row("JobTimeoutAction", ACTION),
    row("JobTimeoutRebootArgument", Text),
    row("SuccessAction", ACTION),
    row("FailureAction", ACTION),
    row("RebootArgument", Text),
];

/// The row of a name as unit files have it.
pub(super) fn find(setting: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.setting == setting)
}

impl Row {
    /// The name on the bus and the value.
    pub(super) fn read(&self, text: &str) -> Result<(String, PropertyValue), Reason> {
        let value = match self.grammar {
            Grammar::Slice | Text => PropertyValue::Text(text.to_owned()),
            Word(words) => PropertyValue::Text(one_of(text, words)?),
            Boolean => PropertyValue::Boolean(boolean(text).ok_or("it is neither yes nor no")?),
            BooleanOr(words) => PropertyValue::Text(match boolean(text) {
                Some(yes) => if yes { "yes" } else { "no" }.to_owned(),
                None => one_of(text, words)?,
            }),
            Words => PropertyValue::Texts(value::words(text)?),
            Grammar::Delegate => match boolean(text) {
                Some(yes) => PropertyValue::Boolean(yes),
                None => return Ok(("DelegateControllers".into(), PropertyValue::Texts(value::words(text)?))),
            },
            Between(low, high) => PropertyValue::U64(value::between(text, low, high)?),
            CpuWeight if text == "idle" => PropertyValue::U64(0),
            CpuWeight => PropertyValue::U64(value::between(text, 1, 10_000)?),
            Memory | Swap | Protection | Tasks | Size => return self.read_amount(text),
            Quota => return self.read_quota(text),
            OptionalTime if text.is_empty() => PropertyValue::U64(UNLIMITED),
            Time | OptionalTime => PropertyValue::U64(value::time_span(text)?),
            Scale if text.is_empty() => PropertyValue::U32(0),
            Scale => {
                let share = value::permyriad(text).filter(|share| *share <= 10_000);
                PropertyValue::U32(value::scale(share.ok_or("it is no share such as 60%")?))
            }
            Set => value::set(text)?,
            Grammar::Device => value::device(text)?,
            PathNumber(..) | PathRate | PathTime => self.read_path_number(text)?,
            Networks => address::networks(text)?,
            Program if text.is_empty() => PropertyValue::Texts(Vec::new()),
            Program if text.starts_with('/') => PropertyValue::Texts(vec![text.to_owned()]),
            Program => return Err("it is no absolute path"),
            Grammar::TypedProgram => typed_program(text)?,
            Sockets => address::sockets(text)?,
            Grammar::Links => address::links(text)?,
            Grammar::Link => address::link(text)?,
            Grammar::Sets => address::sets(text)?,
            Grammar::Signal => PropertyValue::I32(text.parse::<Signal>().map_err(|_| "it is no signal")?.number()),
        };
        Ok((self.name.to_owned(), value))
    }

    /// An absolute amount, or a share, which has a name of its own.
    fn read_amount(&self, text: &str) -> Result<(String, PropertyValue), Reason> {
        const NOTHING: Reason = "with nothing at all no program can run";
        let amount = |amount| Ok((self.name.to_owned(), PropertyValue::U64(amount)));
        // Without memory or processes nothing runs, while there may be no swap, and nothing that is protected.
        let possible = |amount: u64| amount > 0 || !matches!(self.grammar, Memory | Tasks);
        match (self.grammar, text) {
            (_, "infinity") => return amount(UNLIMITED),
            (Protection, "") => return amount(0),
            (_, "") => return amount(UNLIMITED),
            _ => {}
        }
        let share = value::permyriad(text).filter(|_| !matches!(self.grammar, Size));
        match share {
            Some(10_001..) => return Err("it is more than all"),
            Some(share) if !possible(share) => return Err(NOTHING),
            Some(share) => return Ok((format!("{}Scale", self.name), PropertyValue::U32(value::scale(share)))),
            None => {}
        }
        let number = match self.grammar {
            Tasks => value::whole(text)?,
            _ => value::size(text, 1024)?,
        };
        match number {
            // What stands for no limit is not to be come by by chance.
            UNLIMITED => Err("it is too large"),
            number if !possible(number) => Err(NOTHING),
            number => amount(number),
        }
    }

    /// A share of one processor, in microseconds a second.
    fn read_quota(&self, text: &str) -> Result<(String, PropertyValue), Reason> {
        if text.is_empty() {
            return Ok((self.name.to_owned(), PropertyValue::U64(UNLIMITED)));
        }
        let share = value::permyriad(text).ok_or("it is no share such as 50%")?;
        let quota = share.checked_mul(100).filter(|quota| *quota > 0).ok_or("it is out of range")?;
        Ok((self.name.to_owned(), PropertyValue::U64(quota)))
    }

    fn read_path_number(&self, text: &str) -> Result<PropertyValue, Reason> {
        let Some((path, word)) = value::path_and(text)? else { return Ok(PropertyValue::PathNumbers(Vec::new())) };
        let number = match self.grammar {
            PathNumber(low, high) if !word.is_empty() => value::between(word, low, high)?,
            PathTime => value::time_span(word)?,
            _ if word == "infinity" => UNLIMITED,
            _ => value::size(word, 1000)?,
        };
        Ok(PropertyValue::PathNumbers(vec![(path, number)]))
    }
}

fn one_of(text: &str, words: &[&str]) -> Result<String, Reason> {
    words.contains(&text).then(|| text.to_owned()).ok_or("it is none of the words that the manual has for it")
}

/// `BPFProgram=`
fn typed_program(text: &str) -> Result<PropertyValue, Reason> {
    const KINDS: [&str; 19] = [
        "egress",
        "ingress",
        "sock_create",
        "sock_ops",
        "device",
        "bind4",
        "bind6",
        "connect4",
        "connect6",
        "post_bind4",
        "post_bind6",
        "sendmsg4",
        "sendmsg6",
        "sysctl",
        "recvmsg4",
        "recvmsg6",
        "getsockopt",
        "setsockopt",
        "sock_release",
    ];
    if text.is_empty() {
        return Ok(PropertyValue::Pairs(Vec::new()));
    }
    let (kind, path) = text.split_once(':').ok_or("it is no TYPE:PATH")?;
    if !KINDS.contains(&kind) || !path.starts_with('/') {
        return Err("it is no TYPE:PATH");
    }
    Ok(PropertyValue::Pairs(vec![(kind.to_owned(), path.to_owned())]))
}
