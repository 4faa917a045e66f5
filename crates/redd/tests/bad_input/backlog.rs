//! Sockets whose queues are full, because nobody accepts: callers wait a while and say so, and none of them for ever.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::process::{Pid, Signal, kill_process};
use testkit::{HostState, fixture, requires};

use crate::scene::{Face, MACHINED, Machined, call, entry, isolate, listed, redd, spawn};

/// As many connections as there is room for.
fn fill(path: &Path) -> Vec<OwnedFd> {
    let address = SocketAddrUnix::new(path).expect("a path");
    let mut all = Vec::new();
    loop {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).expect("socket");
        match connect(&socket, &address) {
            Ok(()) => all.push(socket),
            Err(Errno::AGAIN) => return all,
            Err(error) => panic!("{}: {error}", path.display()),
        }
    }
}

fn stop(pid: i32) -> impl FnOnce() {
    let pid = Pid::from_raw(pid).expect("a process");
    kill_process(pid, Signal::STOP).expect("stopped");
    move || kill_process(pid, Signal::CONT).expect("goes on")
}

#[test]
#[ignore = "for the acceptance: callers wait for as long as they do"]
fn a_supervisor_that_accepts_nobody() {
    requires!(root, cgroup2, program "mount");
    let _isolated = isolate(&[]);
    let tree = fixture::tree();
    let host = HostState::capture(tree.path(), &[]);
    let [name, other] = ["bad-input-full", "bad-input-free"].map(|name| format!("{name}-{}", std::process::id()));
    let running = [spawn(tree.path(), &name), spawn(tree.path(), &other)];
    let go_on = stop(running[0].supervisor());
    let connections = fill(&entry(&name).join("control"));
    assert!(connections.len() > 5, "{}", connections.len());
    let begun = Instant::now();
    // What needs no supervisor is there at once.
    assert_eq!(listed(), [other.clone(), name.clone()]);
    redd(&["status", &name]).expect_code(0);
    redd(&["show", &name]).expect_code(0);
    redd(&["exec", &other, "--", "true"]).expect_code(0);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    std::thread::scope(|scope| {
        for words in [
            &["poweroff", "NAME"][..],
            &["reboot", "NAME"],
            &["pause", "NAME"],
            &["resume", "NAME"],
            &["kill", "NAME", "--kill-whom=leader", "--signal=WINCH"],
            &["bind", "NAME", "/etc", "/mnt"],
            &["copy-to", "NAME", "/etc/passwd", "/tmp/copied"],
            &["shell", "NAME", "/bin/true"],
        ] {
            for face in [Face::Redd, Face::Machinectl] {
                let name = &name;
                scope.spawn(move || {
                    let words: Vec<&str> =
                        words.iter().map(|word| if *word == "NAME" { name.as_str() } else { word }).collect();
                    let ended = call(face, &words);
                    assert_eq!(ended.code(), 1, "{face:?} {words:?}: {ended}");
                    assert!(ended.errors.contains(name.as_str()), "{face:?} {words:?}: {ended}");
                    assert!(!ended.errors.contains("panicked"), "{ended}");
                });
            }
        }
    });
    drop(connections);
    go_on();
    // Nothing of that has come to it late: it is as it was.
    redd(&["exec", &name, "--", "test", "!", "-e", "/tmp/copied"]).expect_code(0);
    for (name, running) in [&name, &other].into_iter().zip(running) {
        redd(&["poweroff", name]).expect_code(0);
        assert_eq!(running.end().code(), Some(7));
    }
    host.assert_same();
}

#[test]
fn a_service_that_accepts_nobody_holds_no_machine_up() {
    requires!(root, cgroup2, program "mount");
    let _isolated = isolate(&[]);
    let tree = fixture::tree();
    let name = format!("bad-input-service-{}", std::process::id());
    let service = Machined::start();
    let go_on = stop(i32::try_from(service.0.id()).expect("number"));
    let connections = fill(Path::new(MACHINED));
    assert!(connections.len() > 5, "{}", connections.len());
    let begun = Instant::now();
    let running = spawn(tree.path(), &name);
    for words in [&["list"][..], &["status", "NAME"], &["show", "NAME"], &["pause", "NAME"], &["resume", "NAME"]] {
        for face in [Face::Redd, Face::Machinectl] {
            let words: Vec<&str> =
                words.iter().map(|word| if *word == "NAME" { name.as_str() } else { word }).collect();
            call(face, &words).expect_code(0);
        }
    }
    redd(&["poweroff", &name]).expect_code(0);
    assert_eq!(running.end().code(), Some(7));
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    // Whoever waited in the queue is served when it goes on.
    go_on();
    let answered = connections.first().map(|socket| {
        rustix::fs::fcntl_setfl(socket, rustix::fs::OFlags::empty()).expect("waits");
        rustix::io::write(socket, b"{\"method\":\"io.systemd.service.Ping\"}\0").expect("asked");
        rustix::io::read(socket, &mut [0; 64]).expect("answered")
    });
    assert!(answered.is_some_and(|length| length > 0), "{answered:?}");
}
