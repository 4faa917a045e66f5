//! A message bus of the test's own, and a client of it.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use zbus::Type;
use zbus::message::Message;

/// How long anything may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
/// The name of the service, and of its interfaces before their last part.
const SERVICE: &str = "org.freedesktop.machine1";

/// What everybody may do: all that a system bus permits with the policy of the service.
const CONFIGURATION: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=DIRECTORY/bus</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
  </policy>
  <include>POLICY</include>
</busconfig>
"#;

/// The bus; ended with the value.
pub(crate) struct Bus {
    directory: tempfile::TempDir,
    daemon: Child,
}

impl Bus {
    /// One that knows this policy.
    pub(crate) fn start(policy: &Path) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().expect("directory");
        // Everybody may connect.
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(directory.path(), open).expect("permissions");
        let text = CONFIGURATION
            .replace("DIRECTORY", directory.path().to_str().expect("path"))
            .replace("POLICY", policy.to_str().expect("path"));
        let configuration = directory.path().join("bus.conf");
        std::fs::write(&configuration, text).expect("configuration");
        let mut command = Command::new("dbus-daemon");
        command.arg("--nofork").arg("--nopidfile").arg(format!("--config-file={}", configuration.display()));
        let daemon = command.stdin(Stdio::null()).spawn().expect("dbus-daemon");
        let bus = Self { directory, daemon };
        let end = Instant::now() + LIMIT;
        // Its socket is there a moment before anybody listens.
        while std::os::unix::net::UnixStream::connect(bus.directory.path().join("bus")).is_err() {
            assert!(Instant::now() < end, "the bus listens");
            std::thread::sleep(Duration::from_millis(5));
        }
        bus
    }

    pub(crate) fn address(&self) -> String {
        format!("unix:path={}/bus", self.directory.path().display())
    }

    /// Ends it, as a restart of the bus does.
    pub(crate) fn end(&mut self) {
        self.daemon.kill().expect("kill");
        self.daemon.wait().expect("wait");
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// A connection to it.
pub(crate) struct Client {
    runtime: tokio::runtime::Runtime,
    connection: zbus::Connection,
}

impl Client {
    pub(crate) fn connect(bus: &Bus) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        let address = bus.address();
        let connection = runtime
            .block_on(async { zbus::connection::Builder::address(address.as_str()).build().await.expect("connect") });
        Self { runtime, connection }
    }

    /// Takes the name of the service for itself.
    pub(crate) fn take_name(&self) {
        self.runtime.block_on(self.connection.request_name(SERVICE)).expect("the name");
    }

    fn send<B: Serialize + Type>(
        &self,
        (path, interface, method): (&str, &str, &str),
        body: &B,
    ) -> Result<Message, String> {
        let call = self.connection.call_method(Some(SERVICE), path, Some(interface), method, body);
        let answer = self.runtime.block_on(async { tokio::time::timeout(LIMIT, call).await.expect("an answer") });
        answer.map_err(|error| match error {
            zbus::Error::MethodError(name, ..) => name.to_string(),
            zbus::Error::FDO(error) => zbus::DBusError::name(&error).to_string(),
            zbus::Error::DBus(error) => zbus::DBusError::name(&error).to_string(),
            other => panic!("{method}: {other}"),
        })
    }

    /// Calls a method of the interface that ends in this; what is refused is told by the name of the error.
    pub(crate) fn call<B, R>(&self, path: &str, method: &str, body: &B) -> Result<R, String>
    where
        B: Serialize + Type,
        R: DeserializeOwned + Type,
    {
        let (interface, method) = method.split_once('.').expect("interface.method");
        let answer = self.send((path, &format!("{SERVICE}.{interface}"), method), body)?;
        Ok(answer.body().deserialize().expect(method))
    }

    /// Calls a method for what it does, whatever it answers.
    pub(crate) fn done<B: Serialize + Type>(&self, path: &str, method: &str, body: &B) -> Result<(), String> {
        let (interface, method) = method.split_once('.').expect("interface.method");
        self.send((path, &format!("{SERVICE}.{interface}"), method), body).map(drop)
    }

    /// A descriptor that a method answers with.
    pub(crate) fn opened(&self, path: &str, method: &str, name: &str) -> Result<std::os::fd::OwnedFd, String> {
        let (interface, method) = method.split_once('.').expect("interface.method");
        let answer = self.send((path, &format!("{SERVICE}.{interface}"), method), &(name,))?;
        let fd: zbus::OwnedFd = answer.body().deserialize().expect("a descriptor");
        Ok(fd.into())
    }

    /// The same of a method of an object, which needs no name.
    pub(crate) fn opened_by_object(&self, path: &str, method: &str) -> Result<std::os::fd::OwnedFd, String> {
        let (interface, method) = method.split_once('.').expect("interface.method");
        let answer = self.send((path, &format!("{SERVICE}.{interface}"), method), &())?;
        let fd: zbus::OwnedFd = answer.body().deserialize().expect("a descriptor");
        Ok(fd.into())
    }

    /// A terminal that a method answers with: our end, and the path of the other end.
    pub(crate) fn terminal<B: Serialize + Type>(
        &self,
        path: &str,
        method: &str,
        body: &B,
    ) -> Result<(std::os::fd::OwnedFd, String), String> {
        let (interface, method) = method.split_once('.').expect("interface.method");
        let answer = self.send((path, &format!("{SERVICE}.{interface}"), method), body)?;
        let (fd, name): (zbus::OwnedFd, String) = answer.body().deserialize().expect("a terminal");
        Ok((fd.into(), name))
    }

    /// A property.
    pub(crate) fn property<T>(&self, path: &str, name: &str) -> T
    where
        T: TryFrom<zbus::OwnedVariant>,
        T::Error: std::fmt::Debug,
    {
        let (interface, name) = name.split_once('.').expect("interface.property");
        let call = (path, "org.freedesktop.DBus.Properties", "Get");
        let answer = self.send(call, &(format!("{SERVICE}.{interface}"), name)).expect(name);
        let value: zbus::OwnedVariant = answer.body().deserialize().expect("a variant");
        T::try_from(value).expect(name)
    }

    /// A call of the interface that all properties are read by, and what it answers.
    pub(crate) fn properties<B, R>(&self, path: &str, method: &str, body: &B) -> Result<R, String>
    where
        B: Serialize + Type,
        R: DeserializeOwned + Type,
    {
        let answer = self.send((path, "org.freedesktop.DBus.Properties", method), body)?;
        Ok(answer.body().deserialize().expect(method))
    }

    /// The description of an object.
    pub(crate) fn introspected(&self, path: &str) -> Result<String, String> {
        let answer = self.send((path, "org.freedesktop.DBus.Introspectable", "Introspect"), &())?;
        Ok(answer.body().deserialize().expect("text"))
    }

    /// What the manager tells of machines from now on.
    pub(crate) fn signals(&self) -> Signals<'_> {
        let rule = format!("type='signal',interface='{SERVICE}.Manager'");
        let stream = self.runtime.block_on(async {
            let rule: zbus::MatchRule<'_> = rule.as_str().try_into().expect("rule");
            zbus::MessageStream::for_match_rule(rule, &self.connection, None).await.expect("signals")
        });
        Signals { client: self, stream }
    }
}

pub(crate) struct Signals<'a> {
    client: &'a Client,
    stream: zbus::MessageStream,
}

impl Signals<'_> {
    /// The next one: its name, the machine and its object.
    pub(crate) fn next(&mut self) -> (String, String, String) {
        use futures_util::StreamExt;
        let next = async { tokio::time::timeout(LIMIT, self.stream.next()).await.expect("a signal") };
        let message = self.client.runtime.block_on(next).expect("the bus").expect("a message");
        let (machine, path): (String, zbus::OwnedObjectPath) = message.body().deserialize().expect("so");
        let member = message.header().member().expect("member").to_string();
        (member, machine, path.to_string())
    }
}
