//! `linux.seccomp`: the system calls that the container may make. The names are those of libseccomp.

#[cfg(test)]
mod tests;

use serde::Serialize;

use super::BundleError;
use super::node::{Node, Object};

/// A filter of the bundle's own, which takes the place of the container's usual one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CallProfile {
    /// What becomes of calls that no rule fits.
    pub default: CallAction,
    /// The system call interfaces that may be used beside the native one.
    pub interfaces: Vec<CallInterface>,
    /// What becomes of the others.
    pub rules: Vec<CallRule>,
    /// All actions but those that allow a call are logged (`SECCOMP_FILTER_FLAG_LOG`).
    pub log: bool,
    /// Speculative execution stays as it is (`SECCOMP_FILTER_FLAG_SPEC_ALLOW`).
    pub allow_speculation: bool,
}

/// A rule: where all conditions hold for one of these calls, this becomes of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CallRule {
    /// The calls.
    pub names: Vec<String>,
    /// What becomes of them.
    pub action: CallAction,
    /// What has to hold.
    pub conditions: Vec<CallCondition>,
}

/// What becomes of a call, see [`seccomp(2)`](https://man7.org/linux/man-pages/man2/seccomp.2.html).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum CallAction {
    /// The process ends.
    KillProcess,
    /// The thread ends.
    KillThread,
    /// The thread gets `SIGSYS`.
    Trap,
    /// It fails with this error number.
    Errno(u16),
    /// A tracer decides, and is told this number.
    Trace(u16),
    /// It is made and logged.
    Log,
    /// It is made.
    Allow,
}

/// What one of its arguments, a number of 64 bits, has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct CallCondition {
    /// Which argument, from 0 to 5.
    pub argument: u8,
    /// How it is compared.
    pub comparison: CallComparison,
    /// With what; the bits that are looked at where it is masked.
    pub value: u64,
    /// What the masked bits have to be; 0 elsewhere.
    pub masked: u64,
}

/// How an argument is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum CallComparison {
    /// It is another number.
    NotEqual,
    /// It is below.
    Less,
    /// It is below or the same.
    LessOrEqual,
    /// It is the same.
    Equal,
    /// It is above or the same.
    GreaterOrEqual,
    /// It is above.
    Greater,
    /// Some of its bits are what they have to be.
    Masked,
}

/// A system call interface that redd's processors have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum CallInterface {
    /// 64-bit x86.
    X86_64,
    /// 32-bit x86.
    X86,
    /// 64-bit x86 with 32-bit pointers.
    X32,
    /// 64-bit Arm.
    Aarch64,
    /// 32-bit Arm.
    Arm,
}

/// What a call fails with where nothing is said: `EPERM`.
const USUAL_ERRNO: u16 = 1;

/// `MAX_ERRNO` of the kernel, which takes a larger one for this.
const LARGEST_ERRNO: u64 = 4095;

/// Those of processors on which redd does not run: no program here can use them, so that nothing is to be done.
const FOREIGN: [&str; 18] = [
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_PARISC",
    "SCMP_ARCH_PARISC64",
    "SCMP_ARCH_RISCV64",
    "SCMP_ARCH_LOONGARCH64",
    "SCMP_ARCH_M68K",
    "SCMP_ARCH_SH",
    "SCMP_ARCH_SHEB",
];

pub(super) fn read(node: Node) -> Result<CallProfile, BundleError> {
    let mut profile = node.object()?;
    let action = profile.need("defaultAction")?;
    let default = self::action(&action, profile.take("defaultErrnoRet"))?;
    let mut interfaces = Vec::new();
    for node in profile.take("architectures").map(Node::array).transpose()?.unwrap_or_default() {
        interfaces.extend(interface(&node)?.filter(|one| !interfaces.contains(one)));
    }
    let (log, allow_speculation) = flags(&mut profile)?;
    let mut rules = Vec::new();
    for rule in profile.take("syscalls").map(Node::array).transpose()?.unwrap_or_default() {
        rules.push(self::rule(rule)?);
    }
    let why = "no other program is asked about a call; take SCMP_ACT_NOTIFY out, and this with it";
    profile.refuse(&[("listenerPath", why), ("listenerMetadata", why)])?;
    profile.finish()?;
    Ok(CallProfile { default, interfaces, rules, log, allow_speculation })
}

/// Whether what is refused is logged, and whether speculative execution stays as it is.
fn flags(profile: &mut Object) -> Result<(bool, bool), BundleError> {
    let (mut log, mut speculation) = (false, false);
    for node in profile.take("flags").map(Node::array).transpose()?.unwrap_or_default() {
        match node.text()? {
            // The filter is loaded while there is one thread, and all later ones have it.
            "SECCOMP_FILTER_FLAG_TSYNC" => {}
            "SECCOMP_FILTER_FLAG_LOG" => log = true,
            "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => speculation = true,
            "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" => {
                return Err(node.refused("it goes with SCMP_ACT_NOTIFY; no other program is asked about a call"));
            }
            _ => return Err(node.error("it is no flag of a filter, such as SECCOMP_FILTER_FLAG_LOG")),
        }
    }
    Ok((log, speculation))
}

fn action(node: &Node, errno: Option<Node>) -> Result<CallAction, BundleError> {
    let number = |largest: u64| match &errno {
        None => Ok(USUAL_ERRNO),
        Some(errno) => match errno.unsigned()? {
            number if number <= largest => Ok(number as u16),
            _ => Err(errno.error(format!("it is above {largest}"))),
        },
    };
    let action = match node.text()? {
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => CallAction::KillThread,
        "SCMP_ACT_KILL_PROCESS" => CallAction::KillProcess,
        "SCMP_ACT_TRAP" => CallAction::Trap,
        "SCMP_ACT_ERRNO" => CallAction::Errno(number(LARGEST_ERRNO)?),
        "SCMP_ACT_TRACE" => CallAction::Trace(number(u64::from(u16::MAX))?),
        "SCMP_ACT_LOG" => CallAction::Log,
        "SCMP_ACT_ALLOW" => CallAction::Allow,
        "SCMP_ACT_NOTIFY" => {
            return Err(node.refused("no other program is asked about a call; allow the call or refuse it"));
        }
        _ => return Err(node.error("it is no action, such as SCMP_ACT_ERRNO")),
    };
    match errno {
        Some(errno) if !matches!(action, CallAction::Errno(_) | CallAction::Trace(_)) => {
            Err(errno.error("the action has no error number"))
        }
        _ => Ok(action),
    }
}

/// The native one is there anyway.
fn interface(node: &Node) -> Result<Option<CallInterface>, BundleError> {
    Ok(match node.text()? {
        "SCMP_ARCH_X86_64" => Some(CallInterface::X86_64),
        "SCMP_ARCH_X86" => Some(CallInterface::X86),
        "SCMP_ARCH_X32" => Some(CallInterface::X32),
        "SCMP_ARCH_AARCH64" => Some(CallInterface::Aarch64),
        "SCMP_ARCH_ARM" => Some(CallInterface::Arm),
        "SCMP_ARCH_NATIVE" => None,
        name if FOREIGN.contains(&name) => None,
        _ => return Err(node.error("it is no architecture, such as SCMP_ARCH_X86_64")),
    })
}

fn rule(node: Node) -> Result<CallRule, BundleError> {
    let mut rule = node.object()?;
    let list = rule.need("names")?;
    let empty = list.error("no system call is named");
    let names: Vec<_> =
        list.array()?.iter().map(|name| Ok(name.text()?.to_owned())).collect::<Result<_, BundleError>>()?;
    if names.is_empty() {
        return Err(empty);
    }
    let action = rule.need("action")?;
    let action = self::action(&action, rule.take("errnoRet"))?;
    let mut conditions: Vec<CallCondition> = Vec::new();
    for node in rule.take("args").map(Node::array).transpose()?.unwrap_or_default() {
        let twice = node.refused("the argument is compared twice in one entry; make two entries of it");
        let condition = condition(node)?;
        if conditions.iter().any(|known| known.argument == condition.argument) {
            return Err(twice);
        }
        conditions.push(condition);
    }
    rule.finish()?;
    Ok(CallRule { names, action, conditions })
}

fn condition(node: Node) -> Result<CallCondition, BundleError> {
    let mut condition = node.object()?;
    let index = condition.need("index")?;
    let argument = u8::try_from(index.unsigned()?).ok().filter(|argument| *argument < 6);
    let argument = argument.ok_or_else(|| index.error("a system call has the arguments 0 to 5"))?;
    let value = condition.need("value")?.unsigned()?;
    let second = condition.take("valueTwo");
    let masked = second.as_ref().map_or(Ok(0), Node::unsigned)?;
    let operator = condition.need("op")?;
    let comparison = match operator.text()? {
        "SCMP_CMP_NE" => CallComparison::NotEqual,
        "SCMP_CMP_LT" => CallComparison::Less,
        "SCMP_CMP_LE" => CallComparison::LessOrEqual,
        "SCMP_CMP_EQ" => CallComparison::Equal,
        "SCMP_CMP_GE" => CallComparison::GreaterOrEqual,
        "SCMP_CMP_GT" => CallComparison::Greater,
        "SCMP_CMP_MASKED_EQ" => CallComparison::Masked,
        _ => return Err(operator.error("it is no comparison, such as SCMP_CMP_EQ")),
    };
    match (comparison, second) {
        (CallComparison::Masked, Some(second)) if masked & !value != 0 => {
            return Err(second.error("it has bits that the mask in value has not, so that it never holds"));
        }
        (CallComparison::Masked, _) | (_, None) => {}
        (_, Some(second)) if masked != 0 => {
            return Err(second.error("SCMP_CMP_MASKED_EQ alone has a second value"));
        }
        _ => {}
    }
    condition.finish()?;
    Ok(CallCondition { argument, comparison, value, masked })
}
