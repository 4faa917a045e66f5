//! Resource limits, signals and processors.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use serde::Serialize;
use thiserror::Error;

use crate::options::integer;
use crate::property::{size, time_span};

/// Why a value is none.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum ValueError {
    /// A resource limit's name.
    #[error("{0:?} is no resource limit such as RLIMIT_NOFILE")]
    Resource(String),
    /// A resource limit's value.
    #[error(
        "{0:?} is no limit: VALUE or SOFT:HARD, each a number, for sizes and times with a unit, or \"infinity\", the first not above the second"
    )]
    Rlimit(String),
    /// A signal.
    #[error("{0:?} is no signal such as SIGTERM or SIGRTMIN+3")]
    Signal(String),
    /// A list of processors.
    #[error("{0:?} is no list of processors such as 0,2-3")]
    Cpus(String),
}

macro_rules! resources {
    ($($variant:ident $name:literal $number:literal,)*) => {
        /// What a limit is on, see getrlimit(2).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub enum Resource {
            $(#[doc = concat!("`RLIMIT_", $name, "`")] $variant = $number,)*
        }

        impl Resource {
            /// All of them.
            pub const ALL: [Self; 16] = [$(Self::$variant,)*];

            /// The name without `RLIMIT_`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The number that the kernel has for it on x86, ARM and RISC-V.
            #[must_use]
            pub const fn number(self) -> u32 {
                self as u32
            }
        }
    };
}

resources! {
    Cpu "CPU" 0, FileSize "FSIZE" 1, Data "DATA" 2, Stack "STACK" 3, Core "CORE" 4, ResidentSet "RSS" 5,
    Processes "NPROC" 6, OpenFiles "NOFILE" 7, LockedMemory "MEMLOCK" 8, AddressSpace "AS" 9, Locks "LOCKS" 10,
    PendingSignals "SIGPENDING" 11, MessageQueue "MSGQUEUE" 12, Nice "NICE" 13, RealTimePriority "RTPRIO" 14,
    RealTimeTimeout "RTTIME" 15,
}

impl FromStr for Resource {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let name = text.strip_prefix("RLIMIT_").or(text.strip_prefix("Limit")).unwrap_or(text);
        Self::ALL.into_iter().find(|known| known.name() == name).ok_or_else(|| ValueError::Resource(text.to_owned()))
    }
}

/// A limit; `None` is no limit at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Rlimit {
    /// What is enforced.
    pub soft: Option<u64>,
    /// How far the payload may raise it.
    pub hard: Option<u64>,
}

impl Rlimit {
    /// Reads `VALUE` or `SOFT:HARD`. Sizes and times may have units, and niceness a sign (systemd.exec(5), `LimitCPU=`).
    ///
    /// # Errors
    /// [`ValueError::Rlimit`]
    pub fn parse(resource: Resource, text: &str) -> Result<Self, ValueError> {
        let bad = || ValueError::Rlimit(text.to_owned());
        let value = |text: &str| match text {
            "infinity" => Ok(None),
            _ => resource.value(text).map(Some).ok_or_else(bad),
        };
        let limit = match text.split_once(':') {
            Some((soft, hard)) => Self { soft: value(soft)?, hard: value(hard)? },
            None => Self { soft: value(text)?, hard: value(text)? },
        };
        if limit.soft.unwrap_or(u64::MAX) > limit.hard.unwrap_or(u64::MAX) { Err(bad()) } else { Ok(limit) }
    }
}

impl Resource {
    /// A value as the kernel counts it. The highest number is no limit for the kernel and has to be written as such.
    fn value(self, text: &str) -> Option<u64> {
        const SECOND: u64 = 1_000_000;
        let time = |bare: &str| {
            let bare = if text.bytes().all(|byte| byte.is_ascii_digit()) { bare } else { "" };
            time_span(&format!("{text}{bare}")).ok()
        };
        let value = match self {
            Self::Cpu => time("s")?.checked_add(SECOND - 1)? / SECOND,
            Self::RealTimeTimeout => time("us")?,
            Self::FileSize
            | Self::Data
            | Self::Stack
            | Self::Core
            | Self::ResidentSet
            | Self::LockedMemory
            | Self::AddressSpace
            | Self::MessageQueue => size(text, 1024).ok()?,
            // What the kernel limits is 20 minus the niceness.
            Self::Nice if text.starts_with(['+', '-']) => {
                let nice: i64 = text.parse().ok()?;
                u64::try_from(20 - nice).ok().filter(|_| (-20..=19).contains(&nice))?
            }
            Self::Nice => count(text).filter(|number| *number <= 40)?,
            _ => count(text)?,
        };
        (value < u64::MAX).then_some(value)
    }
}

/// A number, decimal or as strtol(3) reads it.
fn count(text: &str) -> Option<u64> {
    let decimal = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if decimal { text.parse().ok() } else { integer(text).and_then(|number| u64::try_from(number).ok()) }
}

/// A signal's number, see signal(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Signal(i32);

/// The standard signals' names, in the order of their numbers, from 1 on.
const SIGNALS: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO",
    "PWR", "SYS",
];

/// The first and the last real-time signal that programs may use.
const REAL_TIME: (i32, i32) = (34, 64);

impl Signal {
    /// Its number.
    #[must_use]
    pub const fn number(self) -> i32 {
        self.0
    }

    /// The names of all signals, without `SIG`, in the order of their numbers.
    #[must_use]
    pub fn names() -> Vec<String> {
        let real_time = (0..=REAL_TIME.1 - REAL_TIME.0).map(|offset| match offset {
            0 => "RTMIN".to_owned(),
            offset => format!("RTMIN+{offset}"),
        });
        SIGNALS.iter().map(|name| (*name).to_owned()).chain(real_time).collect()
    }
}

impl FromStr for Signal {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let name = text.strip_prefix("SIG").unwrap_or(text);
        let number = if let Some(at) = SIGNALS.iter().position(|known| *known == name) {
            Some(at as i32 + 1)
        } else if let Some(rest) = name.strip_prefix("RTMIN") {
            offset(rest, '+').map(|by| REAL_TIME.0 + by)
        } else if let Some(rest) = name.strip_prefix("RTMAX") {
            offset(rest, '-').map(|by| REAL_TIME.1 - by)
        } else {
            text.parse().ok()
        };
        number
            .filter(|number| (1..=31).contains(number) || (REAL_TIME.0..=REAL_TIME.1).contains(number))
            .map(Self)
            .ok_or_else(|| ValueError::Signal(text.to_owned()))
    }
}

fn offset(text: &str, sign: char) -> Option<i32> {
    if text.is_empty() {
        return Some(0);
    }
    let digits = text.strip_prefix(sign)?;
    let number = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten();
    number.filter(|by| (0..=30).contains(by))
}

/// A set of processors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct CpuSet(Vec<u32>);

impl CpuSet {
    /// Their numbers, ascending.
    #[must_use]
    pub fn cpus(&self) -> &[u32] {
        &self.0
    }
}

impl FromStr for CpuSet {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let bad = || ValueError::Cpus(text.to_owned());
        let mut cpus = Vec::new();
        for word in text.split([',', ' ']).filter(|word| !word.is_empty()) {
            let (first, last) = word.split_once('-').unwrap_or((word, word));
            let (first, last): (u32, u32) = (first.parse().map_err(|_| bad())?, last.parse().map_err(|_| bad())?);
            if first > last || last >= 8192 {
                return Err(bad());
            }
            cpus.extend(first..=last);
        }
        cpus.sort_unstable();
        cpus.dedup();
        if cpus.is_empty() { Err(bad()) } else { Ok(Self(cpus)) }
    }
}

impl Display for CpuSet {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let words: Vec<_> = self.0.iter().map(u32::to_string).collect();
        f.write_str(&words.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_by_name_and_number() {
        for (text, number) in
            [("SIGTERM", 15), ("TERM", 15), ("15", 15), ("SIGRTMIN+3", 37), ("RTMAX", 64), ("RTMAX-1", 63)]
        {
            assert_eq!(text.parse::<Signal>().map(Signal::number), Ok(number), "{text}");
        }
        for text in ["", "0", "32", "65", "SIGNONE", "SIGRTMIN+31", "RTMIN-1", "RTMIN++1"] {
            assert!(text.parse::<Signal>().is_err(), "{text}");
        }
    }

    #[test]
    fn limits() {
        let parse = |resource, text| Rlimit::parse(resource, text).map(|limit| (limit.soft, limit.hard));
        for (resource, text, soft, hard) in [
            (Resource::OpenFiles, "8192:16384", Some(8192), Some(16384)),
            (Resource::OpenFiles, "infinity", None, None),
            (Resource::OpenFiles, "0x10:infinity", Some(16), None),
            (Resource::FileSize, "1.5K", Some(1536), Some(1536)),
            (Resource::Stack, "8M:1G", Some(8 << 20), Some(1 << 30)),
            (Resource::Cpu, "90", Some(90), Some(90)),
            (Resource::Cpu, "1500ms:1h", Some(2), Some(3600)),
            (Resource::RealTimeTimeout, "5", Some(5), Some(5)),
            (Resource::RealTimeTimeout, "1s", Some(1_000_000), Some(1_000_000)),
            (Resource::Nice, "5", Some(5), Some(5)),
            (Resource::Nice, "-5", Some(25), Some(25)),
            (Resource::Nice, "+5", Some(15), Some(15)),
        ] {
            assert_eq!(parse(resource, text), Ok((soft, hard)), "{text}");
        }
        for (resource, text) in [
            (Resource::OpenFiles, ""),
            (Resource::OpenFiles, "2:1"),
            (Resource::OpenFiles, "infinity:1"),
            (Resource::OpenFiles, "x"),
            (Resource::OpenFiles, "1:2:3"),
            (Resource::OpenFiles, ":"),
            (Resource::OpenFiles, "-1"),
            (Resource::OpenFiles, "1K"),
            (Resource::FileSize, "18446744073709551615"),
            (Resource::Cpu, "1 parsec"),
            (Resource::Nice, "41"),
            (Resource::Nice, "-21"),
            (Resource::Nice, "+20"),
        ] {
            assert!(parse(resource, text).is_err(), "{text}");
        }
        assert_eq!("LimitNOFILE".parse(), Ok(Resource::OpenFiles));
    }

    #[test]
    fn processors() {
        assert_eq!("3,0-1 1".parse::<CpuSet>().map(|set| set.to_string()), Ok("0,1,3".into()));
        for text in ["", "2-1", "x", "1-", "99999999"] {
            assert!(text.parse::<CpuSet>().is_err(), "{text}");
        }
    }
}
