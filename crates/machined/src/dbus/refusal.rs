//! Errors as D-Bus names them.

use rustix::io::Errno;
use zbus::message::{Header, Message};
use zbus::names::ErrorName;

use crate::service::Error;

/// Why a call was refused.
#[derive(Debug)]
pub(super) struct Refusal {
    name: &'static str,
    text: String,
}

impl Refusal {
    /// An argument that makes no sense.
    pub(super) fn argument(text: impl Into<String>) -> Self {
        Self { name: "org.freedesktop.DBus.Error.InvalidArgs", text: text.into() }
    }

    /// Something in the service itself.
    pub(super) fn failed(error: &dyn std::error::Error) -> Self {
        Self { name: "org.freedesktop.DBus.Error.Failed", text: chain(error) }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl std::error::Error for Refusal {}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let name = match &error {
            Error::NoSuchMachine(_) => "org.freedesktop.machine1.NoSuchMachine",
            Error::NoMachineForProcess(_) => "org.freedesktop.machine1.NoMachineForPID",
            Error::MachineExists(_) => "org.freedesktop.machine1.MachineExists",
            Error::NoSuchImage(_) => "org.freedesktop.machine1.NoSuchImage",
            Error::NoPrivateNetworking(_) => "org.freedesktop.machine1.NoPrivateNetworking",
            Error::NoSuchUser(_) | Error::UserInHostRange(_) => "org.freedesktop.machine1.NoSuchUserMapping",
            Error::NoSuchGroup(_) | Error::GroupInHostRange(_) => "org.freedesktop.machine1.NoSuchGroupMapping",
            Error::NotPermitted(_) => "org.freedesktop.DBus.Error.AccessDenied",
            Error::Interactive(_) => "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired",
            Error::NotSupported { .. } => "org.freedesktop.DBus.Error.NotSupported",
            Error::TooManyOperations | Error::TooManyTerminals => "org.freedesktop.DBus.Error.LimitsExceeded",
            Error::Invalid { .. } | Error::NoUserNamed(_) => "org.freedesktop.DBus.Error.InvalidArgs",
            Error::NoOsRelease(_) => "org.freedesktop.DBus.Error.FileNotFound",
            // As upstream tells of both.
            Error::NoUidShift(_) | Error::NotAvailable { .. } => "System.Error.ENXIO",
            other => of_errno(other.errno()),
        };
        Self { name, text: chain(&error) }
    }
}

/// The whole of an error, with what was behind it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// The names that sd-bus-errors(3) has for errors of the system.
fn of_errno(errno: Errno) -> &'static str {
    match errno {
        Errno::NOMEM => "org.freedesktop.DBus.Error.NoMemory",
        Errno::PERM | Errno::ACCESS => "org.freedesktop.DBus.Error.AccessDenied",
        Errno::INVAL => "org.freedesktop.DBus.Error.InvalidArgs",
        Errno::SRCH => "org.freedesktop.DBus.Error.UnixProcessIdUnknown",
        Errno::NOENT => "org.freedesktop.DBus.Error.FileNotFound",
        Errno::EXIST => "org.freedesktop.DBus.Error.FileExists",
        Errno::TIMEDOUT => "org.freedesktop.DBus.Error.Timeout",
        Errno::OPNOTSUPP => "org.freedesktop.DBus.Error.NotSupported",
        Errno::ADDRINUSE => "org.freedesktop.DBus.Error.AddressInUse",
        Errno::BUSY => "System.Error.EBUSY",
        Errno::ROFS => "System.Error.EROFS",
        Errno::NOSPC => "System.Error.ENOSPC",
        Errno::DQUOT => "System.Error.EDQUOT",
        Errno::NOTDIR => "System.Error.ENOTDIR",
        Errno::ISDIR => "System.Error.EISDIR",
        Errno::LOOP => "System.Error.ELOOP",
        Errno::XDEV => "System.Error.EXDEV",
        Errno::MFILE => "System.Error.EMFILE",
        Errno::NFILE => "System.Error.ENFILE",
        Errno::NOTTY => "System.Error.ENOTTY",
        _ => "org.freedesktop.DBus.Error.IOError",
    }
}

impl zbus::DBusError for Refusal {
    fn create_reply(&self, call: &Header<'_>) -> zbus::Result<Message> {
        Message::error(call, self.name()).build(&(self.text.as_str(),))
    }

    fn name(&self) -> ErrorName<'_> {
        ErrorName::from_static_str_unchecked(self.name)
    }

    fn description(&self) -> Option<&str> {
        Some(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zbus::DBusError;

    #[test]
    fn every_name_is_one() {
        let errors = [
            Error::NoSuchMachine("a".to_owned()),
            Error::Interactive("x"),
            Error::TooManyOperations,
            Error::NoUidShift("a".to_owned()),
            Error::System { what: "open".to_owned(), source: Errno::NOSPC },
            Error::System { what: "open".to_owned(), source: Errno::NXIO },
        ];
        for error in errors {
            let refusal = Refusal::from(error);
            assert!(ErrorName::try_from(refusal.name).is_ok(), "{refusal:?}");
            assert_eq!(refusal.name().as_str(), refusal.name);
        }
        let refusal = Refusal::from(Error::System { what: "open x".to_owned(), source: Errno::NOSPC });
        assert_eq!(refusal.name, "System.Error.ENOSPC");
        assert!(refusal.text.starts_with("cannot open x: "), "{}", refusal.text);
    }
}
