//! A Varlink client for tests.

use std::io::{IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::{Value, json};

/// What a call gives: parameters, or the name of an error and its parameters.
pub(crate) type Answer = Result<Value, (String, Value)>;

/// A connection.
pub(crate) struct Client {
    stream: UnixStream,
    received: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

impl Client {
    #[track_caller]
    pub(crate) fn connect(path: &str) -> Self {
        Self::over(UnixStream::connect(path).unwrap_or_else(|error| panic!("{path}: {error}")))
    }

    pub(crate) fn over(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("timeout");
        Self { stream, received: Vec::new(), descriptors: Vec::new() }
    }

    #[track_caller]
    pub(crate) fn call(&mut self, method: &str, parameters: Value) -> Answer {
        self.send(&json!({ "method": method, "parameters": parameters }));
        self.answer().0
    }

    /// Whether it was answered, and not by an error; the service may go in the midst of it.
    pub(crate) fn try_call(&mut self, method: &str, parameters: Value) -> bool {
        let mut bytes = json!({ "method": method, "parameters": parameters }).to_string().into_bytes();
        bytes.push(0);
        self.stream.write_all(&bytes).is_ok() && self.message().is_some_and(|answer| answer["error"].is_null())
    }

    /// The same with the descriptors of the answer.
    #[track_caller]
    pub(crate) fn call_for_descriptors(&mut self, method: &str, parameters: Value) -> (Answer, Vec<OwnedFd>) {
        let answer = self.call(method, parameters);
        (answer, std::mem::take(&mut self.descriptors))
    }

    /// All answers to a call with `more`.
    #[track_caller]
    pub(crate) fn call_more(&mut self, method: &str, parameters: Value) -> Result<Vec<Value>, (String, Value)> {
        self.send(&json!({ "method": method, "parameters": parameters, "more": true }));
        let mut all = Vec::new();
        loop {
            let (answer, continues) = self.answer();
            all.push(answer?);
            if !continues {
                return Ok(all);
            }
        }
    }

    #[track_caller]
    pub(crate) fn send(&mut self, message: &Value) {
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.stream.write_all(&bytes).expect("send");
    }

    /// The next answer, and whether more follow.
    #[track_caller]
    pub(crate) fn answer(&mut self) -> (Answer, bool) {
        let answer = self.message().expect("an answer");
        let parameters = answer["parameters"].clone();
        match answer["error"].as_str() {
            Some(name) => (Err((name.to_owned(), parameters)), false),
            None => (Ok(parameters), answer["continues"] == true),
        }
    }

    /// The next message; none where the service has hung up.
    #[track_caller]
    pub(crate) fn message(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.received.iter().position(|byte| *byte == 0) {
                let rest = self.received.split_off(end + 1);
                let message = std::mem::replace(&mut self.received, rest);
                return Some(serde_json::from_slice(&message[..end]).expect("JSON"));
            }
            let mut piece = [0; 8192];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let flags = RecvFlags::CMSG_CLOEXEC;
            let received = recvmsg(&self.stream, &mut [IoSliceMut::new(&mut piece)], &mut control, flags);
            let length = match received {
                Err(rustix::io::Errno::CONNRESET) => 0,
                // By being stopped for a moment: with a time limit the kernel does not go on by itself.
                Err(rustix::io::Errno::INTR) => continue,
                other => other.expect("an answer in time").bytes,
            };
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                    self.descriptors.extend(descriptors);
                }
            }
            if length == 0 {
                return None;
            }
            self.received.extend_from_slice(&piece[..length]);
        }
    }
}
