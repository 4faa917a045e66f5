//! Services of systemd that redd works with where they are there, and does without elsewhere.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use bus::varlink::{self, Client};
use bus::{Call, Connection, Writer};
use cgroup::scope::{BUS, Manager};
use serde_json::json;

use crate::finding::{Feature, Finding, Need, State, Topic};

const fn feature(name: &'static str, why: &'static str) -> Feature {
    Feature { name, topic: Topic::Host, need: Need::Optional, why }
}

static MANAGER: Feature = feature(
    "systemd",
    "Where it manages the host, machines are units of it, with its limits and its log, and it starts them at boot; elsewhere \
     redd does that.",
);

/// A service with a socket for Varlink.
struct Service {
    feature: Feature,
    socket: &'static str,
    /// Its name on the bus, which older versions have alone.
    bus_name: Option<&'static str>,
    program: &'static str,
}

static SERVICES: [Service; 3] = [
    Service {
        feature: feature(
            "systemd-machined",
            "Programs that ask it for machines are told of redd's, too; 'redd machined' is the same service, where it is \
             not there.",
        ),
        socket: "/run/systemd/machine/io.systemd.Machine",
        bus_name: Some("org.freedesktop.machine1"),
        program: "systemd-machined",
    },
    Service {
        feature: feature(
            "systemd-nsresourced",
            "It gives ranges of ids to who has none (--private-users=managed); root picks ranges without it.",
        ),
        socket: "/run/systemd/io.systemd.NamespaceResource",
        bus_name: None,
        program: "systemd-nsresourced",
    },
    Service {
        feature: feature(
            "systemd-mountfsd",
            "It mounts disk images for containers that may not do so themselves; root mounts them without it.",
        ),
        socket: "/run/systemd/io.systemd.MountFileSystem",
        bus_name: None,
        program: "systemd-mountfsd",
    },
];

/// How long a service may take to say who it is, which may have to be started for that.
const PATIENCE: Duration = Duration::from_secs(5);
/// Where programs of systemd are.
const PROGRAMS: [&str; 2] = ["/usr/lib/systemd", "/lib/systemd"];

pub(crate) fn findings() -> Vec<Finding> {
    let installed = installed_version();
    let mut all = vec![manager(installed.as_deref())];
    all.extend(SERVICES.iter().map(|service| service.finding(installed.as_deref())));
    all
}

fn manager(installed: Option<&str>) -> Finding {
    if Manager::System.is_available() {
        return match running_version() {
            Some(version) => MANAGER.is(State::Works, format!("version {version}, manages this host")),
            None => {
                let version = installed.map(|version| format!(" ({version})")).unwrap_or_default();
                MANAGER.is(State::Works, format!("manages this host{version}; it tells this user no version"))
            }
        };
    }
    let first = std::fs::read_to_string("/proc/1/comm").map_or_else(
        |_| "process 1 cannot be seen".to_owned(),
        |name| format!("process 1 is {}", spec::printable(name.trim())),
    );
    let found = match installed {
        Some(version) => format!("{first}; version {version} is installed"),
        None => first,
    };
    MANAGER.is(State::Absent, found)
}

/// What it says on the bus.
fn running_version() -> Option<String> {
    let mut connection = Connection::open_bus(Path::new(BUS)).ok()?.patient_for(PATIENCE);
    let of = ("org.freedesktop.systemd1.Manager", "Version");
    let read = |value: &mut bus::Reader<'_>| value.string_variant().map(str::to_owned);
    let version = bus::manager::property(&mut connection, "/org/freedesktop/systemd1", of, read).ok()?;
    Some(spec::printable(&version))
}

/// What the first line says that its programs print: `systemd 252 (252.39-1)`.
fn installed_version() -> Option<String> {
    let program = ["/usr/bin/systemctl", "/bin/systemctl"].into_iter().find(|path| Path::new(path).is_file())?;
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    version_of(&String::from_utf8_lossy(&output.stdout))
}

fn version_of(text: &str) -> Option<String> {
    let mut words = text.lines().next()?.split_whitespace();
    (words.next() == Some("systemd")).then(|| words.next().map(spec::printable))?
}

impl Service {
    fn finding(&'static self, installed: Option<&str>) -> Finding {
        let feature = &self.feature;
        match ask(self.socket) {
            Ok((product, version)) => feature.is(State::Works, format!("{product}, version {version}, answers")),
            Err(Some(error)) => feature
                .is(State::Limited, spec::printable(&format!("listens, but does not say who it is: {error}")))
                .advise(format!("Look into its log: journalctl -u {}.service", self.program)),
            Err(None) if self.bus_name.is_some_and(has_owner) => feature.is(State::Works, "answers on the bus"),
            Err(None) => match (self.program_path(), installed) {
                (Some(_), Some(version)) => {
                    feature.is(State::Absent, format!("version {version} is installed, and does not run"))
                }
                (Some(path), None) => {
                    feature.is(State::Absent, format!("{} is there, and does not run", path.display()))
                }
                (None, _) => feature.is(State::Absent, "not installed"),
            },
        }
    }

    fn program_path(&self) -> Option<PathBuf> {
        PROGRAMS.iter().map(|place| Path::new(place).join(self.program)).find(|path| path.is_file())
    }
}

/// Asks a service for its product and version. Nothing where there is no service.
fn ask(socket: &str) -> Result<(String, String), Option<varlink::Error>> {
    use rustix::io::Errno;
    let client = match Client::connect(Path::new(socket)) {
        Err(varlink::Error::System { source: Errno::NOENT | Errno::CONNREFUSED | Errno::NOTDIR, .. }) => {
            return Err(None);
        }
        other => other.map_err(Some)?.patient_for(PATIENCE),
    };
    let answer = client.call("org.varlink.service.GetInfo", json!({}), &[]).map_err(Some)?;
    let text = |key: &str| answer[key].as_str().map_or_else(|| "?".to_owned(), spec::printable);
    Ok((text("product"), text("version")))
}

/// Whether somebody has this name on the bus. Nobody is started for it.
fn has_owner(name: &str) -> bool {
    let asked = || -> Option<bool> {
        let mut connection = Connection::open_bus(Path::new(BUS)).ok()?.patient_for(PATIENCE);
        let call = Call {
            destination: "org.freedesktop.DBus",
            path: "/org/freedesktop/DBus",
            interface: "org.freedesktop.DBus",
            member: "NameHasOwner",
            signature: "s",
        };
        let mut body = Writer::default();
        body.string(name);
        let reply = connection.call(&call, body).ok()?;
        Some(reply.body().u32().ok()? != 0)
    };
    asked().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn versions_of_programs() {
        assert_eq!(version_of("systemd 252 (252.39-1~deb12u1)\n+PAM +AUDIT\n").as_deref(), Some("252"));
        assert_eq!((version_of(""), version_of("busybox 1")), (None, None));
    }

    #[test]
    fn a_service_says_who_it_is() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("socket");
        let asked = |path: &Path| ask(path.to_str().expect("text"));
        assert!(matches!(asked(&path), Err(None)));
        for (answer, good) in [
            (r#"{"parameters":{"product":"systemd (systemd-nsresourced)","version":"262"}}"#, true),
            (r#"{"error":"org.varlink.service.MethodNotFound"}"#, false),
        ] {
            let _ = std::fs::remove_file(&path);
            let listener = UnixListener::bind(&path).expect("socket");
            let served = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().expect("accept");
                let mut byte = [0];
                while stream.read(&mut byte).expect("read") == 1 && byte != [0] {}
                stream.write_all(format!("{answer}\0").as_bytes()).expect("write");
            });
            match asked(&path) {
                Ok(pair) => assert_eq!((good, pair), (true, ("systemd (systemd-nsresourced)".into(), "262".into()))),
                Err(error) => assert!(!good && error.is_some(), "{error:?}"),
            }
            served.join().expect("served");
            // Nobody accepts any more.
            assert!(matches!(asked(&path), Err(None)));
        }
    }
}
