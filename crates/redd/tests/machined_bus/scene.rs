//! `systemd-machined` on a bus of the test's own, with a registry of the test's own.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use testkit::Isolated;
use testkit::disk::Mounted;

use super::bus::{Bus, Client};
use super::{LIMIT, MANAGER, REDD};

/// All of it; ended with the value.
pub(crate) struct Scene {
    pub(crate) client: Client,
    pub(crate) service: Child,
    pub(crate) bus: Bus,
    _mounts: Vec<Mounted>,
    _isolated: Isolated,
}

impl Scene {
    /// With nothing in these directories, beside the registries.
    pub(crate) fn with(places: &[&str], arguments: &[&str]) -> Self {
        let isolated = Isolated::enter();
        let own = |path: &&str| {
            std::fs::create_dir_all(path).expect("directory");
            Mounted::new(&["-t", "tmpfs", "-o", "mode=755", "tmpfs"], Path::new(path))
        };
        let mounts = ["/run/redd", "/run/systemd"].iter().chain(places).map(own).collect();
        let policy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dist/dbus/org.freedesktop.machine1.conf");
        let bus = Bus::start(&policy);
        let service = service(&bus).args(arguments).spawn().expect("start");
        let client = Client::connect(&bus);
        let scene = Self { client, service, bus, _mounts: mounts, _isolated: isolated };
        until("the service has its name", || scene.client.introspected(MANAGER).is_ok());
        scene
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = self.service.kill();
        let _ = self.service.wait();
    }
}

/// The service, on this bus.
pub(crate) fn service(bus: &Bus) -> Command {
    let mut command = Command::new(REDD);
    command.arg0("/usr/lib/systemd/systemd-machined").stdin(Stdio::null());
    command.env("DBUS_SYSTEM_BUS_ADDRESS", bus.address());
    command
}

#[track_caller]
pub(crate) fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !reached() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
