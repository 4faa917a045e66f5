//! The addresses of machines, from the kernel by rtnetlink(7) inside their network namespaces.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::{self, Errno};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::process::Process;

/// The kernel's answers come in pieces of at most this size, in bytes.
const PIECE: usize = 32 << 10;
/// How many addresses of one machine are looked at.
const MOST: usize = 4096;

const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST_DUMP: u16 = 0x301;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;
const IFA_F_DEPRECATED: u32 = 0x20;
/// Scopes from here on are of no use to others: host, nowhere.
const SCOPE_HOST: u8 = 254;
const SCOPE_LINK: u8 = 253;

/// An address of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// How far it reaches: 0 everywhere, more is less far.
    scope: u8,
    /// The link's number inside.
    pub link: u32,
    /// It.
    pub address: IpAddr,
}

impl Address {
    /// One that reaches everywhere.
    #[must_use]
    pub fn everywhere(address: IpAddr) -> Self {
        Self { scope: 0, link: 0, address }
    }

    /// Whether it means something only on one link.
    #[must_use]
    pub fn is_of_link(&self) -> bool {
        self.scope == SCOPE_LINK
    }
}

/// The addresses of the caller's own network, those that reach furthest first.
///
/// # Errors
/// Those of the system calls.
pub fn of_host() -> io::Result<Vec<Address>> {
    ask(&socket()?)
}

/// The addresses of machines that have a network of their own. A thread of its own enters each network.
#[must_use]
pub fn of_machines(leaders: &[&Process]) -> Vec<io::Result<Vec<Address>>> {
    if leaders.is_empty() {
        return Vec::new();
    }
    let visit = || leaders.iter().map(|leader| of_machine(leader)).collect();
    let visited = std::thread::scope(|scope| match std::thread::Builder::new().spawn_scoped(scope, visit) {
        Ok(thread) => thread.join().ok(),
        Err(_) => None,
    });
    visited.unwrap_or_else(|| leaders.iter().map(|_| Err(Errno::AGAIN)).collect())
}

/// Leaves the calling thread there.
fn of_machine(leader: &Process) -> io::Result<Vec<Address>> {
    let path = format!("/proc/{}/ns/net", leader.pid);
    let network = rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    // Looked at after it was opened: the number is the leader's then, too.
    if !leader.lives() {
        return Err(Errno::SRCH);
    }
    move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))?;
    ask(&socket()?)
}

fn socket() -> io::Result<OwnedFd> {
    // Protocol 0 is NETLINK_ROUTE.
    socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)
}

fn ask(socket: &OwnedFd) -> io::Result<Vec<Address>> {
    // struct nlmsghdr and struct ifaddrmsg: of all families and links.
    let mut request = Vec::with_capacity(24);
    request.extend(24u32.to_ne_bytes());
    request.extend(RTM_GETADDR.to_ne_bytes());
    request.extend(NLM_F_REQUEST_DUMP.to_ne_bytes());
    request.extend([0; 16]);
    sendto(socket, &request, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut all = Vec::new();
    let mut piece = vec![0; PIECE];
    loop {
        let (length, _) = io::retry_on_intr(|| recv(socket, piece.as_mut_slice(), RecvFlags::empty()))?;
        if length == 0 || take(&piece[..length], &mut all)? || all.len() > MOST {
            break;
        }
    }
    all.sort_unstable_by_key(|address| (address.scope, address.address.is_ipv6(), *address));
    Ok(all)
}

/// The addresses in one piece of the answer; true at its end.
fn take(mut piece: &[u8], all: &mut Vec<Address>) -> io::Result<bool> {
    while let (Some(length), Some(kind)) = (u32_at(piece, 0), u16_at(piece, 4)) {
        let length = usize::try_from(length).map_err(|_| Errno::PROTO)?;
        let message = piece.get(16..length).ok_or(Errno::PROTO)?;
        match kind {
            NLMSG_DONE => return Ok(true),
            NLMSG_ERROR => {
                let code = u32_at(message, 0).map_or(0, u32::cast_signed);
                return if code == 0 { Ok(true) } else { Err(Errno::from_raw_os_error(-code)) };
            }
            RTM_NEWADDR => all.extend(address(message)),
            _ => {}
        }
        piece = piece.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    }
    Ok(false)
}

/// struct ifaddrmsg and its attributes.
fn address(message: &[u8]) -> Option<Address> {
    let (scope, link) = (*message.get(3)?, u32_at(message, 4)?);
    let mut flags = u32::from(*message.get(2)?);
    let (mut local, mut other) = (None, None);
    let mut rest = message.get(8..)?;
    while let (Some(length), Some(kind)) = (u16_at(rest, 0), u16_at(rest, 2)) {
        let value = rest.get(4..usize::from(length))?;
        match kind {
            IFA_LOCAL => local = ip(value),
            IFA_ADDRESS => other = ip(value),
            IFA_FLAGS => flags = u32_at(value, 0)?,
            _ => {}
        }
        rest = rest.get(usize::from(length).next_multiple_of(4)..).unwrap_or(&[]);
    }
    if scope >= SCOPE_HOST || flags & IFA_F_DEPRECATED != 0 {
        return None;
    }
    Some(Address { scope, link, address: local.or(other)? })
}

fn ip(value: &[u8]) -> Option<IpAddr> {
    if let Ok(bytes) = <[u8; 4]>::try_from(value) {
        return Some(Ipv4Addr::from(bytes).into());
    }
    <[u8; 16]>::try_from(value).ok().map(|bytes| Ipv6Addr::from(bytes).into())
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(u32::try_from(16 + body.len()).unwrap().to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(body);
        bytes
    }

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(u16::try_from(4 + value.len()).unwrap().to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes
    }

    fn of(scope: u8, address: &[u8]) -> Vec<u8> {
        let mut body = vec![2, 24, 0x80, scope];
        body.extend(7u32.to_ne_bytes());
        body.extend(attribute(IFA_ADDRESS, address));
        message(RTM_NEWADDR, &body)
    }

    #[test]
    fn addresses_that_others_can_reach() {
        let mut piece = of(0, &[10, 0, 0, 2]);
        piece.extend(of(SCOPE_HOST, &[127, 0, 0, 1]));
        piece.extend(of(SCOPE_LINK, &[0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]));
        let mut all = Vec::new();
        assert_eq!(take(&piece, &mut all), Ok(false));
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].address, all[0].link), ("10.0.0.2".parse().unwrap(), 7));
        assert!(!all[0].is_of_link() && all[1].is_of_link());
        assert_eq!(take(&message(NLMSG_DONE, &[0; 4]), &mut all), Ok(true));
        assert_eq!(take(&message(NLMSG_ERROR, &(-1i32).to_ne_bytes()), &mut all), Err(Errno::PERM));
    }

    #[test]
    fn broken_answers_are_refused_or_passed_over() {
        let whole = of(0, &[10, 0, 0, 2]);
        for length in 0..whole.len() {
            let mut all = Vec::new();
            let _ = take(&whole[..length], &mut all);
            assert_eq!(all, [], "{length}");
        }
        let mut endless = whole.clone();
        endless[..4].copy_from_slice(&0u32.to_ne_bytes());
        assert_eq!(take(&endless, &mut Vec::new()), Err(Errno::PROTO));
    }

    #[test]
    fn the_caller_s_own() {
        // Whatever they are: the kernel answers.
        assert!(of_host().is_ok());
    }
}
