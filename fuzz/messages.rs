// What is done with bytes that come from a bus. Shared by the fuzz target and by the test that replays the seeds.

use std::io::Write;
use std::os::unix::net::UnixStream;

use bus::{Call, Connection, Message, Reader, Value, Writer};

const CALL: Call<'static> = Call {
    destination: "org.freedesktop.machine1",
    path: "/org/freedesktop/machine1",
    interface: "org.freedesktop.machine1.Manager",
    member: "UnregisterMachine",
    signature: "s",
};

/// A message, and all that a whole conversation might answer.
pub(crate) fn dbus(data: &[u8]) {
    if let Ok(message) = Message::parse(data) {
        read(message.body(), &message.signature);
        let _ = format!("{message:?}");
    }
    write(data);
    let _ = converse(data);
}

/// Reads a body as its types say, as far as there are functions for them.
fn read(mut body: Reader<'_>, signature: &str) {
    if signature == "sa{sv}as" {
        let _ = body.string().and_then(|_| {
            body.dictionary(|_, mut value| {
                let _ = value.i32_variant();
            })
        });
        return;
    }
    for letter in signature.bytes() {
        let read = match letter {
            b's' | b'o' => body.string().map(drop),
            b'u' => body.u32().map(drop),
            b'v' => body.clone().string_variant().map(drop).or_else(|_| body.i32_variant().map(drop)),
            _ => return,
        };
        if read.is_err() {
            return;
        }
    }
}

/// The bytes as values of each type that properties have: what is written is a message.
fn write(data: &[u8]) {
    let text = String::from_utf8_lossy(data).into_owned();
    let number = data.len() as u64;
    let values = [
        Value::String(text.clone()),
        Value::Bytes(data.to_vec()),
        Value::Strings(text.split(' ').map(str::to_owned).collect()),
        Value::TextNumbers(vec![(text.clone(), number)]),
        Value::TextPairs(vec![(text.clone(), text.clone())]),
        Value::Networks(vec![(2, data.to_vec(), 8)]),
        Value::Sockets(vec![(2, 6, 1, 80)]),
        Value::Marked(true, vec![text.clone()]),
        Value::Commands(vec![(text.clone(), vec![text.clone()], true)]),
        Value::Sets(vec![(3, 1, text.clone(), text)]),
    ];
    let mut writer = Writer::default();
    let named: Vec<_> = values.into_iter().map(|value| ("Name", value)).collect();
    writer.properties(&named);
    assert!(writer.into_bytes().len() > data.len());
}

/// The bytes are all that the other side ever says.
fn converse(data: &[u8]) -> Result<(), bus::Error> {
    let Ok((mut theirs, ours)) = UnixStream::pair() else { return Ok(()) };
    if theirs.set_nonblocking(true).is_err() || ours.set_nonblocking(true).is_err() {
        return Ok(());
    }
    // What does not fit into the socket is not said.
    let _ = theirs.write(b"OK 0123456789abcdef0123456789abcdef\r\n").and_then(|_| theirs.write(data));
    let _ = theirs.shutdown(std::net::Shutdown::Write);
    let mut connection = Connection::over(ours.into())?;
    let mut body = Writer::default();
    body.string("machine");
    let reply = connection.call(&CALL, body)?;
    read(reply.body(), &reply.signature);
    let signal = connection.signal()?;
    read(signal.body(), &signal.signature);
    bus::manager::result_of_start(&mut connection, "/job", "a.service")?;
    Ok(())
}
