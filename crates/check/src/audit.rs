//! The kernel's audit, see [audit](https://man7.org/linux/man-pages/man8/auditd.8.html), and why nothing has to be done
//! about it.

use rustix::io::Errno;
use rustix::thread::CapabilitySet;

use crate::Context;
use crate::attempt::{Attempt, Doing, in_child};
use crate::caller::Caller;
use crate::filters::audit_socket;
use crate::finding::{Feature, Finding, Need, State, Topic};
use crate::netlink::{ACKNOWLEDGED, Message, Socket};

static FEATURE: Feature = Feature {
    name: "audit",
    topic: Topic::Host,
    need: Need::Useful,
    why: "The kernel has one audit for all containers, and logins inside used to fail when it refused what they told it, so \
          that many guides say to boot with audit=0. With redd that is not needed: to programs in a container it looks like a \
          kernel without audit (the socket is refused with EAFNOSUPPORT), which they all cope with, and the host's own \
          audit stays on.",
};

/// `AUDIT_GET`, and where its answer has what is wanted (`struct audit_status`).
const GET: u16 = 1000;
const ENABLED: usize = 4;
const DAEMON: usize = 12;

const NOT_NEEDED: &str = "audit=0 is not needed";

pub(crate) fn finding(context: &Context) -> Finding {
    let line = std::fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let told = parameter(&line);
    let attempt = in_child(|| ask(&context.caller));
    match (attempt, told) {
        (_, Some(value @ ("0" | "off"))) => FEATURE
            .is(State::Works, format!("off by audit={value} on the kernel's command line, which redd does not need")),
        (Ok(state), _) => FEATURE.is(State::Works, format!("{state}; {NOT_NEEDED}")),
        (Err(refused), _) if refused.errno == Errno::PROTONOSUPPORT => {
            FEATURE.is(State::Works, format!("the kernel has none; {NOT_NEEDED}"))
        }
        (Err(refused), _) if refused.errno == Errno::AFNOSUPPORT => {
            FEATURE.is(State::Works, format!("hidden by a filter, as in a container of redd's; {NOT_NEEDED}"))
        }
        // It is the caller's matter that its state is not told. What containers see of it is the same in any case.
        (Err(_), _) => FEATURE.is(State::Works, format!("the kernel has it; {NOT_NEEDED}")),
    }
}

/// What the kernel's command line says of it.
fn parameter(line: &str) -> Option<&str> {
    line.split_whitespace().filter_map(|word| word.strip_prefix("audit=")).next_back()
}

/// Asks for its state, which only some may hear.
fn ask(caller: &Caller) -> Attempt {
    let socket = Socket::from(audit_socket().doing("open an audit socket")?);
    if !caller.has(CapabilitySet::AUDIT_CONTROL) {
        return Ok("the kernel has it".to_owned());
    }
    let answer = socket.ask(&Message::new(GET, ACKNOWLEDGED, 1)).doing("ask for its state")?;
    let number = |at: usize| answer.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_ne_bytes);
    Ok(match (number(ENABLED), number(DAEMON)) {
        (Some(0), _) => "the kernel has it, and it is off".to_owned(),
        (Some(_), Some(0)) => "on, and nobody listens".to_owned(),
        (Some(_), Some(daemon)) => format!("on, process {daemon} listens"),
        _ => "the kernel has it".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_counts() {
        assert_eq!(parameter("root=/dev/sda audit=1 quiet audit=0\n"), Some("0"));
        assert_eq!(parameter("root=/dev/sda audit_backlog_limit=64\n"), None);
    }
}
