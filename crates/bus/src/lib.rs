//! A D-Bus client that knows just what is needed to talk to a service manager: calls, their replies and errors, and
//! signals. One connection, one thread, no background work. What comes in is not trusted.
//!
//! Source: the D-Bus specification, <https://dbus.freedesktop.org/doc/dbus-specification.html>.

mod connection;
pub mod manager;
mod message;
mod socket;
pub mod varlink;
mod wire;

pub use connection::{Connection, Error};
pub use message::{Call, Kind, Message};
pub use wire::{Malformed, Reader, Value, Writer};
