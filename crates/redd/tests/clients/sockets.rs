//! Varlink's sockets, by `varlinkctl`.

use crate::host::Replaced;

/// The socket, an interface of it, a method and what its introspection says.
const SOCKETS: [(&str, &str, &str, &str); 5] = [
    ("/run/systemd/machine/io.systemd.Machine", "io.systemd.Machine", "List", "error NoSuchMachine"),
    ("/run/systemd/machine/io.systemd.Machine", "io.systemd.MachineImage", "Clone", "error NoSuchImage"),
    ("/run/systemd/machine/io.systemd.MachineImage", "io.systemd.Machine", "Open", "error NoSuchMachine"),
    ("/run/systemd/machine/io.systemd.MachineImage", "io.systemd.MachineImage", "List", "error NoSuchImage"),
    ("/run/systemd/userdb/io.systemd.Machine", "io.systemd.UserDatabase", "GetUserRecord", "error NoRecordFound"),
];

/// What varlinkctl makes of `MethodNotFound` and `InterfaceNotFound`.
const NO_METHOD: &str = "No such device or address";
const NO_INTERFACE: &str = "Cannot assign requested address";
/// A call, and what is answered; or the error that it is refused with.
const CALLS: [(&str, &str, &str, Result<&str, &str>); 15] = [
    ("machine/io.systemd.Machine", "Machine.List", r#"{"name":"box"}"#, Ok(r#""name":"box""#)),
    ("machine/io.systemd.Machine", "Machine.List", r#"{"name":"nosuch"}"#, Err("io.systemd.Machine.NoSuchMachine")),
    ("machine/io.systemd.Machine", "Machine.List", r#"{"name":7}"#, Err("Invalid argument")),
    ("machine/io.systemd.Machine", "Machine.Frobnicate", "{}", Err(NO_METHOD)),
    ("machine/io.systemd.Machine", "Import.List", "{}", Err(NO_INTERFACE)),
    (
        "machine/io.systemd.MachineImage",
        "MachineImage.List",
        r#"{"name":"box"}"#,
        Ok(r#""name":"box","path":"/var/lib/machines/box","readOnly":false,"type":"directory""#),
    ),
    (
        "machine/io.systemd.MachineImage",
        "MachineImage.List",
        r#"{"name":"nosuch"}"#,
        Err("io.systemd.MachineImage.NoSuchImage"),
    ),
    (
        "machine/io.systemd.MachineImage",
        "MachineImage.Remove",
        r#"{"name":"nosuch"}"#,
        Err("io.systemd.MachineImage.NoSuchImage"),
    ),
    (
        "userdb/io.systemd.Machine",
        "UserDatabase.GetUserRecord",
        r#"{"userName":"vu-deb-33","service":"io.systemd.Machine"}"#,
        Ok(r#""realName":"UID 33 of Container deb""#),
    ),
    (
        "userdb/io.systemd.Machine",
        "UserDatabase.GetUserRecord",
        r#"{"userName":"vu-nosuch-33","service":"io.systemd.Machine"}"#,
        Err("io.systemd.UserDatabase.NoRecordFound"),
    ),
    (
        "userdb/io.systemd.Machine",
        "UserDatabase.GetUserRecord",
        r#"{"userName":"vu-deb-33","service":"io.systemd.Other"}"#,
        Err("io.systemd.UserDatabase.BadService"),
    ),
    (
        "userdb/io.systemd.Machine",
        "UserDatabase.GetGroupRecord",
        r#"{"groupName":"vg-deb-5","service":"io.systemd.Machine"}"#,
        Ok(r#""description":"GID 5 of Container deb""#),
    ),
    (
        "userdb/io.systemd.Machine",
        "UserDatabase.GetGroupRecord",
        r#"{"gid":5,"service":"io.systemd.Machine"}"#,
        Err("io.systemd.UserDatabase.NoRecordFound"),
    ),
    (
        "userdb/io.systemd.Machine",
        "UserDatabase.GetMemberships",
        r#"{"service":"io.systemd.Machine"}"#,
        Err("io.systemd.UserDatabase.NoRecordFound"),
    ),
    ("userdb/io.systemd.Machine", "Machine.List", "{}", Err(NO_INTERFACE)),
];

pub(crate) fn all(on: &Replaced) {
    for (socket, interface, method, words) in SOCKETS {
        on.says(&format!("varlinkctl info {socket}"), &["Vendor: redd", "Version:", interface]);
        on.says(
            &format!("varlinkctl list-interfaces {socket}"),
            &[interface, "org.varlink.service", "io.systemd.service"],
        );
        on.says(&format!("varlinkctl list-methods {socket} {interface}"), &[&format!("{interface}.{method}")]);
        on.says(&format!("varlinkctl introspect {socket} {interface}"), &[&format!("method {method}("), words]);
        on.refuses(
            on.run(&format!("varlinkctl introspect {socket} io.systemd.Nosuch")),
            1,
            &["Cannot assign requested address"],
        );
        on.says(&format!("varlinkctl call {socket} io.systemd.service.Ping '{{}}'"), &["{}"]);
    }
    for (socket, method, parameters, answer) in CALLS {
        let ended = on.run(&format!("varlinkctl call -j /run/systemd/{socket} io.systemd.{method} '{parameters}'"));
        match answer {
            Ok(words) => {
                assert_eq!(ended.code(), 0, "{method} {parameters}: {ended}");
                assert!(ended.output.contains(words), "{method} {parameters}: {ended}");
            }
            Err(name) => {
                assert!(ended.code() != 0 && ended.errors.contains(name), "{method} {parameters}: {ended}");
            }
        }
    }
}
