//! Ranges of ids that a service of the host gives (`--private-users=managed`). The service here stands for
//! `systemd-nsresourced`, which needs BPF programs that many kernels let nobody load: it reads the call as that does, and
//! really writes the map of the namespace.

use std::io::{IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::{Value, json};
use testkit::disk::Mounted;
use testkit::{HostState, Isolated, Spawn, fixture, requires};

const BINARY: &str = env!("CARGO_BIN_EXE_redd-spawn");
const SOCKET: &str = "/run/systemd/io.systemd.NamespaceResource";
const GIVEN: u32 = 0x0012_0000;

/// The thread's own `/run/systemd`.
fn own_run() -> (Isolated, Mounted) {
    let isolated = Isolated::enter();
    (isolated, Mounted::new(&["-t", "tmpfs", "-o", "mode=755", "tmpfs"], Path::new("/run/systemd")))
}

/// One call, and the descriptors that came with it.
fn hear(stream: &UnixStream) -> (Value, Vec<OwnedFd>) {
    let (mut bytes, mut fds) = (Vec::new(), Vec::new());
    while bytes.last() != Some(&0) {
        let mut buffer = [0; 512];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let parts = &mut [IoSliceMut::new(&mut buffer)];
        let length = recvmsg(stream, parts, &mut control, RecvFlags::CMSG_CLOEXEC).expect("a call").bytes;
        assert_ne!(length, 0, "hung up");
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                fds.extend(rights);
            }
        }
        bytes.extend_from_slice(&buffer[..length]);
    }
    bytes.pop();
    (serde_json::from_slice(&bytes).expect("JSON"), fds)
}

/// Writes the map of a namespace by way of a process in it.
fn give(users: OwnedFd, start: u32) {
    let mut command = Command::new("nsenter");
    command.args(["--preserve-credentials", "--user=/proc/self/fd/0", "sleep", "5"]).stdin(Stdio::from(users));
    let mut inside = command.spawn().expect("nsenter");
    let own = std::fs::read_link("/proc/self/ns/user").expect("a namespace");
    let theirs = || std::fs::read_link(format!("/proc/{}/ns/user", inside.id())).expect("a namespace");
    while theirs() == own {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    for map in ["uid_map", "gid_map"] {
        std::fs::write(format!("/proc/{}/{map}", inside.id()), format!("0 {start} 65536\n")).expect("a map");
    }
    inside.kill().expect("kill");
    inside.wait().expect("wait");
}

/// Serves one call with this answer; the result is what was asked.
fn serve(answer: Value) -> std::thread::JoinHandle<Value> {
    let _ = std::fs::remove_file(SOCKET);
    let listener = UnixListener::bind(SOCKET).expect("a socket");
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let (call, mut fds) = hear(&stream);
        assert_eq!(fds.len(), 1);
        if answer.get("error").is_none() {
            give(fds.remove(0), GIVEN);
        }
        let mut bytes = answer.to_string().into_bytes();
        bytes.push(0);
        stream.write_all(&bytes).expect("an answer");
        call
    })
}

#[test]
fn the_range_is_the_one_that_the_service_gives() {
    requires!(root, cgroup2, userns, idmap, program "nsenter", program "mount");
    let _own = own_run();
    let tree = fixture::tree();
    let before = HostState::capture(tree.path(), &[]);
    let service = serve(json!({ "parameters": { "name": "given" } }));
    let ended = Spawn::redd(BINARY, tree.path())
        .args(["--private-users=managed", "--machine=asked", "/bin/sh", "-c"])
        .arg("cat /proc/self/uid_map /proc/self/gid_map; touch /new; stat -c %u:%g / /new")
        .run()
        .expect_code(0);
    let call = service.join().expect("the service");
    assert_eq!(call["method"], "io.systemd.NamespaceResource.AllocateUserRange");
    assert_eq!(
        call["parameters"],
        json!({ "name": "asked", "mangleName": true, "size": 65536, "target": 0, "userNamespaceFileDescriptor": 0 })
    );
    let words: Vec<_> = ended.output.split_whitespace().collect();
    let given = GIVEN.to_string();
    assert_eq!(words, ["0", &given, "65536", "0", &given, "65536", "0:0", "0:0"], "{ended}");
    assert_eq!(tree.join("new").metadata().expect("the file").uid(), 0, "mapped, as is the default");
    std::fs::remove_file(SOCKET).expect("the socket");
    before.assert_same();
}

#[test]
fn what_the_service_refuses_is_refused_with_the_next_step() {
    requires!(root, cgroup2, userns, program "mount");
    let _own = own_run();
    let tree = fixture::tree();
    let run = || Spawn::redd(BINARY, tree.path()).args(["--private-users=managed", "/bin/true"]).run();
    let ended = run();
    assert!(ended.code() != 0 && ended.errors.contains(SOCKET) && ended.errors.contains("pick"), "{ended}");
    for (error, words) in [
        ("io.systemd.NamespaceResource.UserNamespaceInterfaceNotSupported", "BPF"),
        ("io.systemd.NamespaceResource.DynamicRangeUnavailable", "DynamicRangeUnavailable"),
    ] {
        let service = serve(json!({ "error": error, "parameters": {} }));
        let ended = run();
        service.join().expect("the service");
        assert!(ended.code() != 0 && ended.errors.contains(words) && ended.errors.contains("pick"), "{ended}");
    }
    for (options, words) in [
        (["--private-users=managed", "--private-users-delegate=2"], "has made"),
        (["--private-users=pick", "--private-users-delegate=17"], "at most 16"),
    ] {
        let ended = Spawn::redd(BINARY, tree.path()).args(options).arg("/bin/true").run();
        assert!(ended.code() != 0 && ended.errors.contains(words), "{ended}");
    }
}
