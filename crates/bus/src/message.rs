//! Messages: the header that says what one is, and its body.

use crate::wire::{LONGEST, Malformed, Reader, Writer};

/// Length of the fixed part of a header, with the length of the array that follows.
pub(crate) const FIXED: usize = 16;

/// Numbers of the header's fields.
mod field {
    pub(super) const PATH: u8 = 1;
    pub(super) const INTERFACE: u8 = 2;
    pub(super) const MEMBER: u8 = 3;
    pub(super) const ERROR_NAME: u8 = 4;
    pub(super) const REPLY_SERIAL: u8 = 5;
    pub(super) const DESTINATION: u8 = 6;
    pub(super) const SIGNATURE: u8 = 8;
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Somebody asks for something.
    Call,
    /// The answer to the call with this serial number.
    Reply(u32),
    /// The call with this serial number failed.
    Error(u32),
    /// Something happened.
    Signal,
    /// Of a kind that is not known, to be ignored.
    Unknown,
}

/// A method call.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The bus name of the receiver.
    pub destination: &'a str,
    /// The object.
    pub path: &'a str,
    /// The interface.
    pub interface: &'a str,
    /// The method.
    pub member: &'a str,
    /// The types of the arguments, empty without.
    pub signature: &'a str,
}

impl Call<'_> {
    /// The whole message.
    pub(crate) fn encode(&self, serial: u32, body: &[u8]) -> Vec<u8> {
        let mut writer = Writer::default();
        // Little-endian, a call, no flags, version 1 of the protocol.
        for byte in [b'l', 1, 0, 1] {
            writer.byte(byte);
        }
        writer.u32(body.len() as u32);
        writer.u32(serial);
        writer.array(8, |fields| {
            for (number, signature, value) in [
                (field::PATH, "o", self.path),
                (field::INTERFACE, "s", self.interface),
                (field::MEMBER, "s", self.member),
                (field::DESTINATION, "s", self.destination),
            ] {
                fields.structure();
                fields.byte(number);
                fields.signature(signature);
                fields.string(value);
            }
            if !self.signature.is_empty() {
                fields.structure();
                fields.byte(field::SIGNATURE);
                fields.signature("g");
                fields.signature(self.signature);
            }
        });
        writer.align(8);
        let mut bytes = writer.into_bytes();
        bytes.extend(body);
        bytes
    }
}

/// A message that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it is.
    pub kind: Kind,
    /// The object that it comes from, or empty.
    pub path: String,
    /// The interface of a signal.
    pub interface: String,
    /// The name of a signal.
    pub member: String,
    /// The name of an error.
    pub error_name: String,
    /// The types in the body.
    pub signature: String,
    big_endian: bool,
    body: Vec<u8>,
}

impl Message {
    /// How long the message is that begins with these bytes.
    ///
    /// # Errors
    /// [`Malformed`] if it is none, or too long to be believed.
    pub(crate) fn length(fixed: &[u8; FIXED]) -> Result<usize, Malformed> {
        let mut reader = Reader::new(fixed, big_endian(fixed[0])?);
        reader.skip_basic("u")?;
        let body = reader.u32()? as usize;
        reader.skip_basic("u")?;
        let fields = reader.u32()? as usize;
        let total = FIXED.checked_add(fields).map(|end| end.next_multiple_of(8)).and_then(|end| end.checked_add(body));
        total.filter(|total| *total <= LONGEST).ok_or(Malformed("it is too long"))
    }

    /// Reads a whole message.
    ///
    /// # Errors
    /// [`Malformed`] if it is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let fixed: &[u8; FIXED] = bytes.first_chunk().ok_or(Malformed("it ends early"))?;
        if Self::length(fixed)? != bytes.len() {
            return Err(Malformed("its lengths do not add up"));
        }
        let big_endian = big_endian(bytes[0])?;
        if bytes[3] != 1 {
            return Err(Malformed("a version of the protocol that is not known"));
        }
        let mut reader = Reader::new(bytes, big_endian);
        reader.skip_basic("t")?;
        reader.skip_basic("u")?;
        let end = FIXED + reader.u32()? as usize;
        let (mut reply_serial, mut path) = (None, "");
        let (mut interface, mut member, mut error_name, mut signature) = ("", "", "", "");
        while reader.position() < end {
            reader.align(8)?;
            let number = reader.byte()?;
            match (number, reader.signature()?) {
                (field::PATH, "o") => path = reader.string()?,
                (field::INTERFACE, "s") => interface = reader.string()?,
                (field::MEMBER, "s") => member = reader.string()?,
                (field::ERROR_NAME, "s") => error_name = reader.string()?,
                (field::REPLY_SERIAL, "u") => reply_serial = Some(reader.u32()?),
                (field::SIGNATURE, "g") => signature = reader.signature()?,
                (field::PATH..=field::REPLY_SERIAL | field::SIGNATURE, _) => {
                    return Err(Malformed("a header field of the wrong type"));
                }
                (_, other) => reader.skip_basic(other)?,
            }
        }
        if reader.position() != end {
            return Err(Malformed("header fields that end late"));
        }
        reader.align(8)?;
        let serial = reply_serial.ok_or(Malformed("an answer to nothing"));
        let kind = match bytes[1] {
            0 => return Err(Malformed("of no kind")),
            1 => Kind::Call,
            2 => Kind::Reply(serial?),
            3 => Kind::Error(serial?),
            4 => Kind::Signal,
            _ => Kind::Unknown,
        };
        Ok(Self {
            kind,
            path: path.to_owned(),
            interface: interface.to_owned(),
            member: member.to_owned(),
            error_name: error_name.to_owned(),
            signature: signature.to_owned(),
            big_endian,
            body: bytes[reader.position()..].to_vec(),
        })
    }

    /// Reads the body.
    #[must_use]
    pub fn body(&self) -> Reader<'_> {
        Reader::new(&self.body, self.big_endian)
    }
}

fn big_endian(mark: u8) -> Result<bool, Malformed> {
    match mark {
        b'l' => Ok(false),
        b'B' => Ok(true),
        _ => Err(Malformed("of no known byte order")),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A message as a bus would send it.
    pub(crate) fn encode(kind: u8, fields: &[(u8, &str, &str)], reply_to: Option<u32>, body: &[u8]) -> Vec<u8> {
        let mut writer = Writer::default();
        for byte in [b'l', kind, 0, 1] {
            writer.byte(byte);
        }
        writer.u32(body.len() as u32);
        writer.u32(1);
        writer.array(8, |array| {
            for (number, signature, value) in fields {
                array.structure();
                array.byte(*number);
                array.signature(signature);
                if *signature == "g" { array.signature(value) } else { array.string(value) }
            }
            if let Some(serial) = reply_to {
                array.structure();
                array.byte(field::REPLY_SERIAL);
                array.signature("u");
                array.u32(serial);
            }
        });
        writer.align(8);
        let mut bytes = writer.into_bytes();
        bytes.extend(body);
        bytes
    }

    /// `JobRemoved` as systemd sends it.
    pub(crate) fn job_removed(job: &str, result: &str) -> Vec<u8> {
        let mut body = Writer::default();
        body.u32(7);
        for text in [job, "machine-x.scope", result] {
            body.string(text);
        }
        let fields = [
            (field::PATH, "o", "/org/freedesktop/systemd1"),
            (field::INTERFACE, "s", "org.freedesktop.systemd1.Manager"),
            (field::MEMBER, "s", "JobRemoved"),
            (field::SIGNATURE, "g", "uoss"),
        ];
        encode(4, &fields, None, &body.into_bytes())
    }

    /// `PropertiesChanged` of a service, as systemd sends it.
    pub(crate) fn exit_told(unit: &str, code: i32, status: i32) -> Vec<u8> {
        let mut body = Writer::default();
        body.string("org.freedesktop.systemd1.Service");
        let number = |value| crate::Value::I32(value);
        let result = crate::Value::String("exit-code".into());
        body.properties(&[("Result", result), ("ExecMainCode", number(code)), ("ExecMainStatus", number(status))]);
        body.strings(&["ExecStart"]);
        let unit = unit.replace('@', "_40").replace('.', "_2e");
        let fields = [
            (field::PATH, "o", format!("/org/freedesktop/systemd1/unit/{unit}")),
            (field::INTERFACE, "s", "org.freedesktop.DBus.Properties".into()),
            (field::MEMBER, "s", "PropertiesChanged".into()),
            (field::SIGNATURE, "g", "sa{sv}as".into()),
        ];
        let fields: Vec<_> = fields.iter().map(|(number, kind, text)| (*number, *kind, text.as_str())).collect();
        encode(4, &fields, None, &body.into_bytes())
    }

    #[test]
    fn a_signal_is_read() {
        let message = Message::parse(&job_removed("/job/7", "done")).expect("valid");
        assert_eq!(
            (message.kind, message.member.as_str(), message.signature.as_str()),
            (Kind::Signal, "JobRemoved", "uoss")
        );
        let mut body = message.body();
        assert_eq!(body.u32(), Ok(7));
        assert_eq!([body.string(), body.string(), body.string()], [Ok("/job/7"), Ok("machine-x.scope"), Ok("done")]);
    }

    #[test]
    fn a_big_endian_reply_is_read() {
        let bytes = [
            b'B', 2, 1, 1, 0, 0, 0, 4, 0, 0, 0, 9, 0, 0, 0, 15, // fixed: body of 4 bytes, fields of 15
            5, 1, b'u', 0, 0, 0, 0, 3, // in answer to 3
            8, 1, b'g', 0, 1, b'u', 0, 0, // the body is a number
            0, 0, 1, 0,
        ];
        let message = Message::parse(&bytes).expect("valid");
        assert_eq!((message.kind, message.body().u32()), (Kind::Reply(3), Ok(256)));
    }

    #[test]
    fn a_call_is_a_message() {
        let call = Call { destination: "a.b", path: "/a", interface: "a.b", member: "C", signature: "s" };
        let mut body = Writer::default();
        body.string("x");
        let bytes = call.encode(5, &body.into_bytes());
        let message = Message::parse(&bytes).expect("valid");
        assert_eq!((message.kind, message.member.as_str(), message.body().string()), (Kind::Call, "C", Ok("x")));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let good = job_removed("/job/7", "done");
        let changed = |at: usize, to: u8| {
            let mut bytes = good.clone();
            bytes[at] = to;
            Message::parse(&bytes).expect_err("invalid").0
        };
        assert_eq!(changed(0, b'x'), "of no known byte order");
        assert_eq!(changed(1, 0), "of no kind");
        assert_eq!(changed(1, 2), "an answer to nothing");
        assert_eq!(changed(3, 2), "a version of the protocol that is not known");
        assert_eq!(changed(4, 200), "its lengths do not add up");
        assert_eq!(changed(7, 200), "it is too long");
        assert_eq!(changed(58, b'u'), "a header field of the wrong type");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = Message::parse(&bytes);
        }

        #[test]
        fn damaged_messages_are_read_without_harm(
            damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
            cut in any::<proptest::sample::Index>(),
            shorten in any::<bool>(),
        ) {
            let mut bytes = job_removed("/org/freedesktop/systemd1/job/7", "done");
            for (at, to) in damage {
                let at = at.index(bytes.len());
                bytes[at] = to;
            }
            if shorten {
                bytes.truncate(cut.index(bytes.len()));
            }
            if let Ok(message) = Message::parse(&bytes) {
                let mut body = message.body();
                let _ = body.u32();
                while body.string().is_ok() {}
            }
        }
    }
}
