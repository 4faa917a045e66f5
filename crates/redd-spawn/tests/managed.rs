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
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::{Value, json};
use testkit::disk::Mounted;
use testkit::{HostState, Isolated, Spawn, fixture, requires};

const BINARY: &str = env!("CARGO_BIN_EXE_redd-spawn");
const SOCKET: &str = "/run/systemd/io.systemd.NamespaceResource";
const GIVEN: u32 = 0x0012_0000;
/// The ranges for containers inside, two of which are neighbours.
const PASSED_ON: [u32; 3] = [0x0013_0000, 0x0014_0000, 0x0016_0000];

/// The service of each test gives the same range, which one container can have.
static RANGE: Mutex<()> = Mutex::new(());

/// The thread's own `/run/systemd`, and the range for as long.
fn own_run() -> (Isolated, Mounted, MutexGuard<'static, ()>) {
    let range = RANGE.lock().unwrap_or_else(PoisonError::into_inner);
    let isolated = Isolated::enter();
    (isolated, Mounted::new(&["-t", "tmpfs", "-o", "mode=755", "tmpfs"], Path::new("/run/systemd")), range)
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
fn give(users: OwnedFd, lines: &str) {
    let mut command = Command::new("nsenter");
    command.args(["--preserve-credentials", "--user=/proc/self/fd/0", "sleep", "5"]).stdin(Stdio::from(users));
    let mut inside = command.spawn().expect("nsenter");
    let own = std::fs::read_link("/proc/self/ns/user").expect("a namespace");
    let theirs = || std::fs::read_link(format!("/proc/{}/ns/user", inside.id())).expect("a namespace");
    while theirs() == own {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    for map in ["uid_map", "gid_map"] {
        std::fs::write(format!("/proc/{}/{map}", inside.id()), lines).expect("a map");
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
            let passed_on = call["parameters"]["delegateContainerRanges"].as_u64().unwrap_or(0);
            let further = PASSED_ON.iter().take(passed_on as usize).map(|start| format!("{start} {start} 65536\n"));
            give(fds.remove(0), &(format!("0 {GIVEN} 65536\n") + &further.collect::<String>()));
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
        (["--private-users=pick", "--private-users-delegate=2"], "needs --private-users=managed"),
        (["--private-users=managed", "--private-users-delegate=17"], "at most 16"),
    ] {
        let ended = Spawn::redd(BINARY, tree.path()).args(options).arg("/bin/true").run();
        assert!(ended.code() != 0 && ended.errors.contains(words), "{ended}");
    }
    // One that gives less than it was asked for, as services do that do not know of it.
    let _ = std::fs::remove_file(SOCKET);
    let service = serve(json!({ "parameters": {} }));
    let ended = Spawn::redd(BINARY, tree.path())
        .args(["--private-users=managed", "--private-users-delegate=4", "/bin/true"])
        .run();
    service.join().expect("the service");
    assert!(ended.code() != 0 && ended.errors.contains("of which 4 are passed on"), "{ended}");
}

/// Inside: the ids and who owns what, the sockets and the links by which they are found.
const PASSED_ON_INSIDE: &str = "cat /proc/self/uid_map
    touch /own /passed-on; chown 1310725:1310726 /passed-on; stat -c '%n %u %g' /own /passed-on
    cd /run/systemd; stat -c '%n %F' io.*; readlink userdb/* ../varlink/registry/*
    for link in userdb/* ../varlink/registry/*; do test -S $link || echo dead; done
    readlink /proc/self/ns/user";

#[test]
fn ranges_are_passed_on_with_the_way_to_the_service() {
    requires!(root, cgroup2, userns, idmap, program "nsenter", program "mount");
    let _own = own_run();
    let tree = fixture::tree();
    let before = HostState::capture(tree.path(), &[]);
    let service = serve(json!({ "parameters": { "name": "given" } }));
    let options = ["--private-users=managed", "--private-users-delegate=3", "--private-network"];
    let ended = Spawn::redd(BINARY, tree.path()).args(options).script(PASSED_ON_INSIDE).run().expect_code(0);
    let call = service.join().expect("the service");
    assert_eq!(call["parameters"]["delegateContainerRanges"], 3);
    let lines: Vec<_> =
        ended.output.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let maps: Vec<_> = [(0, GIVEN)].into_iter().chain(PASSED_ON.map(|start| (start, start))).collect();
    let maps: Vec<_> = maps.into_iter().map(|(inside, outside)| format!("{inside} {outside} 65536")).collect();
    assert_eq!(lines[..4], maps, "{ended}");
    let expected = [
        "/own 0 0",
        "/passed-on 1310725 1310726",
        "io.systemd.NamespaceResource socket",
        "/run/systemd/io.systemd.NamespaceResource",
        "/run/systemd/io.systemd.NamespaceResource",
    ];
    assert_eq!(lines[4..9], expected, "{ended}");
    assert_eq!(lines.len(), 10, "{ended}");
    let status = tree.join("passed-on").metadata().expect("the file");
    assert_eq!((status.uid(), status.gid()), (1_310_725, 1_310_726), "the same outside");
    std::fs::remove_file(SOCKET).expect("the socket");
    before.assert_same();
}

#[test]
fn the_container_is_in_the_namespace_that_the_service_has_mapped() {
    requires!(root, cgroup2, userns, idmap, program "nsenter", program "mount");
    let _own = own_run();
    let tree = fixture::tree();
    let (send, shown) = std::sync::mpsc::channel();
    let _ = std::fs::remove_file(SOCKET);
    let listener = UnixListener::bind(SOCKET).expect("a socket");
    let service = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let (_, mut fds) = hear(&stream);
        let users = fds.remove(0);
        send.send(rustix::fs::fstat(&users).expect("a namespace").st_ino).expect("heard");
        give(users, &format!("0 {GIVEN} 65536\n"));
        stream.write_all(b"{\"parameters\":{}}\0").expect("an answer");
    });
    // Its other namespaces belong to it: who is root inside has the privileges there that root of a container has.
    let script = "readlink /proc/self/ns/user; mount -t tmpfs none /tmp && touch /tmp/x
        ip link set lo down && echo down; grep -c ^Name /proc/1/status; id -u";
    let ended = Spawn::redd(BINARY, tree.path())
        .args(["--private-users=managed", "--private-network"])
        .script(script)
        .run()
        .expect_code(0);
    service.join().expect("the service");
    let inode = shown.recv().expect("the namespace");
    assert_eq!(ended.output.replace('\r', ""), format!("user:[{inode}]\ndown\n1\n0\n"), "{ended}");
    std::fs::remove_file(SOCKET).expect("the socket");
}
