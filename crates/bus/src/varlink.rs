//! A Varlink client that knows just what is needed: one call at a time, its answer, descriptors with a call. What comes in
//! is not trusted.
//!
//! Source: <https://varlink.org/Wire-Protocol>: JSON objects with a NUL behind each; descriptors go beside the first byte of
//! a message and are named by their place among them.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use serde_json::{Value, json};

use crate::socket::{self, Failed, PATIENCE, failed};

/// The longest answer, in bytes.
const LONGEST: usize = 1 << 20;
/// How many descriptors a call can have.
const DESCRIPTORS: usize = 4;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call.
    #[error("cannot {what}")]
    System {
        /// Which.
        what: &'static str,
        /// Why.
        source: Errno,
    },
    /// Nothing came in time.
    #[error("no answer came in time")]
    TimedOut,
    /// The other side has hung up.
    #[error("the connection was closed")]
    Closed,
    /// Nonsense came, or too much.
    #[error("the answer is none")]
    Malformed,
    /// The call failed.
    #[error("{name} {parameters}")]
    Call {
        /// The name of the error, such as `org.varlink.service.MethodNotFound`.
        name: String,
        /// What belongs to it.
        parameters: Value,
    },
}

impl From<Failed> for Error {
    fn from(Failed { what, source }: Failed) -> Self {
        Self::System { what, source }
    }
}

/// A connection to a service.
#[derive(Debug)]
pub struct Client {
    socket: OwnedFd,
    patience: Duration,
}

impl Client {
    /// Connects to the service's socket.
    ///
    /// # Errors
    /// [`Error::System`]; `ENOENT` and `ECONNREFUSED` mean that there is no such service.
    pub fn connect(path: &Path) -> Result<Self, Error> {
        let socket = socket::open(path)?;
        Ok(Self { socket, patience: PATIENCE })
    }

    /// How long the service may take for an answer from now on, in place of 25 seconds.
    #[must_use]
    pub fn patient_for(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Calls a method. Parameters name the descriptors by their place in `descriptors`.
    ///
    /// # Errors
    /// [`Error::Call`] is the service's own answer.
    pub fn call(&self, method: &str, parameters: Value, descriptors: &[BorrowedFd<'_>]) -> Result<Value, Error> {
        // Descriptors that nobody has asked for are closed.
        Ok(self.call_for_descriptors(method, parameters, descriptors)?.0)
    }

    /// The same, with the descriptors that come with the answer, close-on-exec. The answer names them by their place.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn call_for_descriptors(
        &self,
        method: &str,
        parameters: Value,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(Value, Vec<OwnedFd>), Error> {
        let mut message = json!({ "method": method, "parameters": parameters }).to_string().into_bytes();
        message.push(0);
        let until = Instant::now() + self.patience;
        match self.send(&message, descriptors, until) {
            // Who hangs up before it has heard us may have said why.
            Ok(()) | Err(Error::Closed) => {}
            Err(error) => return Err(error),
        }
        let (answer, descriptors) = self.receive(until)?;
        let answer: Value = serde_json::from_slice(&answer).map_err(|_| Error::Malformed)?;
        let parameters = answer.get("parameters").cloned().unwrap_or_default();
        match answer.get("error").map(Value::as_str) {
            None if answer.is_object() => Ok((parameters, descriptors)),
            Some(Some(name)) => Err(Error::Call { name: name.to_owned(), parameters }),
            _ => Err(Error::Malformed),
        }
    }

    fn send(&self, message: &[u8], descriptors: &[BorrowedFd<'_>], until: Instant) -> Result<(), Error> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(failed("send a call")(Errno::NOBUFS).into());
        }
        let mut rest = message;
        while !rest.is_empty() {
            match sendmsg(&self.socket, &[IoSlice::new(rest)], &mut control, SendFlags::NOSIGNAL) {
                Ok(sent) => {
                    rest = &rest[sent..];
                    control.clear();
                }
                Err(Errno::AGAIN) => self.wait(PollFlags::OUT, until)?,
                Err(Errno::INTR) => {}
                Err(Errno::PIPE | Errno::CONNRESET) => return Err(Error::Closed),
                Err(source) => return Err(failed("send a call")(source).into()),
            }
        }
        Ok(())
    }

    /// All up to the next NUL, and what comes beside it: as many descriptors as a call can have, no more.
    fn receive(&self, until: Instant) -> Result<(Vec<u8>, Vec<OwnedFd>), Error> {
        let mut answer = Vec::new();
        let mut descriptors = Vec::new();
        loop {
            let mut buffer = [0; 4096];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let received =
                recvmsg(&self.socket, &mut [IoSliceMut::new(&mut buffer)], &mut control, RecvFlags::CMSG_CLOEXEC);
            match received.map(|received| received.bytes) {
                Ok(0) | Err(Errno::CONNRESET) => return Err(Error::Closed),
                Ok(length) => {
                    answer.extend_from_slice(&buffer[..length]);
                    for message in control.drain() {
                        if let RecvAncillaryMessage::ScmRights(more) = message {
                            descriptors.extend(more);
                        }
                    }
                    if descriptors.len() > DESCRIPTORS {
                        return Err(Error::Malformed);
                    }
                }
                Err(Errno::AGAIN) => self.wait(PollFlags::IN, until)?,
                Err(Errno::INTR) => {}
                Err(source) => return Err(failed("read an answer")(source).into()),
            }
            if let Some(end) = answer.iter().position(|byte| *byte == 0) {
                answer.truncate(end);
                return Ok((answer, descriptors));
            }
            if answer.len() > LONGEST {
                return Err(Error::Malformed);
            }
        }
    }

    fn wait(&self, what: PollFlags, until: Instant) -> Result<(), Error> {
        if socket::ready(&self.socket, what, until)? { Ok(()) } else { Err(Error::TimedOut) }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;

    use super::*;

    /// A service that gives these bytes for an answer; the result is what it was asked.
    fn ask(answer: &'static [u8]) -> (Result<Value, Error>, Vec<u8>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let service = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut asked, mut byte) = (Vec::new(), [0]);
            while stream.read(&mut byte).unwrap() == 1 && byte != [0] {
                asked.push(byte[0]);
            }
            for part in answer.chunks(3) {
                stream.write_all(part).unwrap();
            }
            asked
        });
        let result = Client::connect(&path).unwrap().call("a.b.C", json!({ "x": [1, null] }), &[]);
        (result, service.join().unwrap())
    }

    /// A service that says this and hangs up, before it has heard anything.
    fn say_at_once(answer: &'static [u8]) -> (Result<Value, Error>, &'static str) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let client = Client::connect(&path).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(answer).unwrap();
        drop(stream);
        (client.call("a.b.C", json!({}), &[]), "before it was asked")
    }

    #[test]
    fn descriptors_come_with_an_answer() {
        use std::os::fd::AsFd;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let client = Client::connect(&path).unwrap();
        let (stream, _) = listener.accept().unwrap();
        let answer = |count: usize| {
            let null = std::fs::File::open("/dev/null").unwrap();
            let many = vec![null.as_fd(); count];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            assert!(control.push(SendAncillaryMessage::ScmRights(&many)));
            sendmsg(&stream, &[IoSlice::new(b"{}\0")], &mut control, SendFlags::empty()).unwrap();
        };
        answer(2);
        let (_, descriptors) = client.call_for_descriptors("a.b.C", json!({}), &[]).unwrap();
        assert_eq!(descriptors.len(), 2);
        assert!(rustix::io::fcntl_getfd(&descriptors[0]).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
        answer(1);
        client.call("a.b.C", json!({}), &[]).unwrap();
    }

    #[test]
    fn calls_and_answers() {
        let (answer, asked) = ask(b"{\"parameters\":{\"name\":\"n\"}}\0");
        assert_eq!(answer.unwrap(), json!({ "name": "n" }));
        let asked: Value = serde_json::from_slice(&asked).unwrap();
        assert_eq!(asked, json!({ "method": "a.b.C", "parameters": { "x": [1, null] } }));
        assert_eq!(ask(b"{}\0").0.unwrap(), Value::Null);
    }

    #[test]
    fn errors_of_the_service_and_nonsense() {
        let (answer, _) = ask(b"{\"error\":\"a.b.Wrong\",\"parameters\":{\"why\":1}}\0");
        assert_eq!(answer.unwrap_err().to_string(), "a.b.Wrong {\"why\":1}");
        let (answer, asked) = say_at_once(b"{\"error\":\"a.b.Busy\"}\0");
        assert_eq!(answer.unwrap_err().to_string(), "a.b.Busy null", "{asked}");
        for nonsense in [&b"[]\0"[..], b"{\0", b"\0", b"{\"error\":5}\0", b"\xff\0"] {
            assert!(matches!(ask(nonsense).0, Err(Error::Malformed)), "{nonsense:?}");
        }
        assert!(matches!(ask(b"{\"parameters\":{}}").0, Err(Error::Closed)));
        assert!(matches!(Client::connect(Path::new("/nonexistent/socket")), Err(Error::System { .. })));
    }
}
