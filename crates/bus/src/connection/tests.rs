//! Against a bus of the test's own at the other end of a socket.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread::{JoinHandle, spawn};

use super::*;
use crate::message::tests::{encode, job_removed};

/// Listens, and does with the first caller what the test says.
fn serve(act: impl FnOnce(UnixStream) + Send + 'static) -> (tempfile::TempDir, std::path::PathBuf, JoinHandle<()>) {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("bus");
    let listener = UnixListener::bind(&path).expect("bind");
    let thread = spawn(move || act(listener.accept().expect("accept").0));
    (directory, path, thread)
}

/// Reads until the caller has said what it says before its first message.
fn greet(stream: &mut UnixStream) -> String {
    let mut said = Vec::new();
    while !said.ends_with(b"BEGIN\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("read");
        said.push(byte[0]);
    }
    String::from_utf8(said).expect("text")
}

/// Reads one message of the caller, returns its serial number.
fn hear(stream: &mut UnixStream) -> u32 {
    let mut fixed = [0; FIXED];
    stream.read_exact(&mut fixed).expect("read");
    let mut rest = vec![0; Message::length(&fixed).expect("valid") - FIXED];
    stream.read_exact(&mut rest).expect("read");
    u32::from_le_bytes([fixed[8], fixed[9], fixed[10], fixed[11]])
}

const CALL: Call<'static> = Call { destination: "a.b", path: "/a", interface: "a.b", member: "C", signature: "" };

#[test]
fn a_reply_is_found_among_signals_that_are_kept() {
    let (_directory, path, thread) = serve(|mut stream| {
        let user = rustix::process::geteuid().as_raw().to_string();
        let digits: String = user.bytes().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(greet(&mut stream), format!("\0AUTH EXTERNAL {digits}\r\nBEGIN\r\n"));
        stream.write_all(b"OK 0123456789abcdef\r\n").expect("write");
        let serial = hear(&mut stream);
        let mut answer = job_removed("/job/1", "done");
        answer.extend(encode(2, &[], Some(serial + 9), b""));
        answer.extend(encode(2, &[(8, "g", "u")], Some(serial), &5u32.to_le_bytes()));
        // In small pieces.
        for piece in answer.chunks(7) {
            stream.write_all(piece).expect("write");
        }
    });
    let mut connection = Connection::open(&path).expect("open");
    assert_eq!(connection.call(&CALL, Writer::default()).expect("call").body().u32(), Ok(5));
    assert_eq!(connection.signal().expect("signal").member, "JobRemoved");
    assert!(matches!(connection.signal(), Err(Error::Closed)));
    thread.join().expect("server");
}

#[test]
fn errors_are_told_in_the_other_sides_words() {
    let (_directory, path, thread) = serve(|mut stream| {
        greet(&mut stream);
        stream.write_all(b"OK 0\r\n").expect("write");
        let serial = hear(&mut stream);
        let mut body = Writer::default();
        body.string("Unit x.scope exists.");
        let fields = [(4, "s", "org.freedesktop.systemd1.UnitExists"), (8, "g", "s")];
        stream.write_all(&encode(3, &fields, Some(serial), &body.into_bytes())).expect("write");
    });
    let mut connection = Connection::open(&path).expect("open");
    let error = connection.call(&CALL, Writer::default()).expect_err("refused");
    assert_eq!(error.to_string(), "Unit x.scope exists. (org.freedesktop.systemd1.UnitExists)");
    thread.join().expect("server");
}

#[test]
fn refusals_nonsense_and_silence_end_it() {
    for (says, expected) in [
        (&b"REJECTED EXTERNAL\r\n"[..], "the authentication was refused"),
        (b"OK", "the connection was closed"),
        (&[b'x'; 600], "a malformed D-Bus message: an endless line"),
    ] {
        let (_directory, path, thread) = serve(move |mut stream| {
            greet(&mut stream);
            stream.write_all(says).expect("write");
        });
        assert_eq!(Connection::open(&path).expect_err("refused").to_string(), expected);
        thread.join().expect("server");
    }
    let (_directory, path, thread) = serve(|mut stream| {
        greet(&mut stream);
        stream.write_all(b"OK 0\r\n").expect("write");
        hear(&mut stream);
        stream.write_all(&[b'l', 2, 0, 1, 255, 255, 255, 255, 0, 0, 0, 0, 255, 255, 255, 255]).expect("write");
    });
    let mut connection = Connection::open(&path).expect("open");
    let error = connection.call(&CALL, Writer::default()).expect_err("nonsense");
    assert_eq!(error.to_string(), "a malformed D-Bus message: it is too long");
    thread.join().expect("server");
    let missing = Connection::open(std::path::Path::new("/nowhere/bus")).expect_err("missing");
    assert_eq!(missing.to_string(), "cannot connect");
}
