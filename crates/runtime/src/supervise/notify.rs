//! What the container's first process says of itself (sd_notify(3)), and what of it our own service manager is told.
//!
//! The container is not trusted: words are passed on one by one, as far as they say something about the container as a
//! whole. That it stops is none of them: it may come back at once, and a service manager would not wait for that.
//! Descriptors that it wants to be kept go one level up, as systemd-nspawn(1) describes it under `--notify-ready=`.

use std::os::fd::BorrowedFd;

use super::upstream::Upstream;

/// The longest message that is looked at, in bytes.
const LONGEST: usize = 4096;

/// Reads one message from the container's socket, and passes on what concerns `upstream`. Messages that no process of
/// the container can have sent, or that are too long, are thrown away.
///
/// # Errors
/// Those of recvmsg(2).
pub(super) fn receive(
    socket: BorrowedFd<'_>,
    first: i32,
    wait_for_ready: bool,
    upstream: Option<&Upstream>,
) -> rustix::io::Result<()> {
    let mut buffer = [0; LONGEST];
    let Some(received) = sys::notify::receive(socket, &mut buffer)? else { return Ok(()) };
    let (Some(upstream), false) = (upstream, received.truncated) else { return Ok(()) };
    let Ok(text) = std::str::from_utf8(&buffer[..received.length]) else { return Ok(()) };
    if received.sender != Some(first) {
        return Ok(());
    }
    if lines(text).any(|line| matches!(line, "FDSTORE=1" | "FDSTOREREMOVE=1")) {
        let about_descriptors = only(text, &["FDSTORE=", "FDSTOREREMOVE=", "FDNAME=", "FDPOLL="]);
        upstream.pass_on(&about_descriptors, received.descriptors);
    }
    let mut words = String::new();
    let status = lines(text).find_map(|line| line.strip_prefix("STATUS="));
    if lines(text).any(|line| line == "READY=1") {
        words.push_str(if wait_for_ready { "READY=1\n" } else { "" });
        words.push_str(if status.is_none() { "STATUS=Container running.\n" } else { "" });
    }
    if let Some(status) = status {
        words.push_str(&format!("STATUS=Container running: {status}\n"));
    }
    if !words.is_empty() {
        upstream.tell(&words);
    }
    Ok(())
}

/// What systemd takes for lines: with it a carriage return ends one as well, so that what is behind it would be a word of
/// ours, not the container's.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split(['\n', '\r'])
}

fn only(text: &str, fields: &[&str]) -> String {
    let lines = lines(text).filter(|line| fields.iter().any(|field| line.starts_with(field)));
    lines.flat_map(|line| [line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::fd::AsFd;

    use rustix::net::SocketAddrUnix;

    use super::*;

    #[test]
    fn what_the_first_process_says_is_passed_on_word_by_word() {
        let name = format!("@redd-notify-{}", std::process::id());
        let inside = SocketAddrUnix::new_abstract_name(format!("{name}-inside").as_bytes()).expect("name");
        let manager_address = SocketAddrUnix::new_abstract_name(&name.as_bytes()[1..]).expect("name");
        let manager = sys::notify::listen(&manager_address).expect("listen");
        let socket = sys::notify::listen(&inside).expect("listen");
        let client = sys::notify::unbound().expect("socket");
        let upstream = Upstream::new(OsStr::new(&name)).expect("upstream");
        let us = std::process::id() as i32;
        let said = |message: &str, first: i32, wait: bool| {
            sys::notify::send(client.as_fd(), &inside, message.as_bytes(), &[]).expect("send");
            receive(socket.as_fd(), first, wait, Some(&upstream)).expect("receive");
            let mut buffer = [0; 512];
            let heard = sys::notify::receive(manager.as_fd(), &mut buffer).expect("receive");
            heard.map(|heard| String::from_utf8_lossy(&buffer[..heard.length]).into_owned())
        };
        let all = "READY=1\nSTATUS=up\nMAINPID=1\nX_SYSTEMD_UNIT=a\n";
        assert_eq!(said(all, us, true).as_deref(), Some("READY=1\nSTATUS=Container running: up\n"));
        assert_eq!(said(all, us, false).as_deref(), Some("STATUS=Container running: up\n"));
        assert_eq!(said("READY=1", us, true).as_deref(), Some("READY=1\nSTATUS=Container running.\n"));
        assert_eq!(said("READY=1", us, false).as_deref(), Some("STATUS=Container running.\n"));
        assert_eq!(said(all, us + 1, true), None, "another process of the container");
        assert_eq!(said("FDSTORE=1\nFDNAME=a\nX=1", us, true).as_deref(), Some("FDSTORE=1\nFDNAME=a\n"));
        let behind = "STATUS=up\rWATCHDOG=trigger\r\nERRNO=5";
        assert_eq!(said(behind, us, true).as_deref(), Some("STATUS=Container running: up\n"));
        let behind = "FDSTORE=1\nFDNAME=a\rMAINPID=1";
        assert_eq!(said(behind, us, true).as_deref(), Some("FDSTORE=1\nFDNAME=a\n"));
        for own in ["MAINPID=1", "STOPPING=1", "RELOADING=1\nMONOTONIC_USEC=1", "WATCHDOG=1", "READY=0", "X_A=1", ""] {
            assert_eq!(said(own, us, true), None, "{own}");
        }
    }
}
