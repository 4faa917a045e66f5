//! The service is killed in what it does when it is asked over the bus.

use testkit::requires;
use zbus::OwnedObjectPath;

use super::killed::{self, Face, Operation, Place};
use super::scene::{Scene, service, until};
use super::{MANAGER, scene};

impl Face for Scene {
    fn start(&mut self) -> i32 {
        self.reap();
        self.service = service(&self.bus).spawn().expect("start");
        until("it can be asked", || self.client.done(MANAGER, "Manager.GetMachine", &(".host",)).is_ok());
        i32::try_from(self.service.id()).expect("number")
    }

    fn reap(&mut self) {
        let _ = self.service.kill();
        self.service.wait().expect("a child of ours");
    }

    fn ask(&mut self, operation: Operation, place: &Place) -> bool {
        let (name, outside) = (place.machine.as_str(), place.outside.to_str().expect("text"));
        let stock = format!("{outside}/stock");
        let client = &self.client;
        let none = [""; 0];
        match operation {
            Operation::CopyTo => client.done(MANAGER, "Manager.CopyToMachine", &(name, stock, "/tmp/copied")),
            Operation::CopyFrom => {
                client.done(MANAGER, "Manager.CopyFromMachine", &(name, "/srv/stock", format!("{outside}/taken")))
            }
            Operation::Bind => {
                client.done(MANAGER, "Manager.BindMountMachine", &(name, stock, "/tmp/bound", false, true))
            }
            Operation::Terminal => client.terminal(MANAGER, "Manager.OpenMachinePTY", &(name,)).map(drop),
            Operation::Login => client.terminal(MANAGER, "Manager.OpenMachineLogin", &(name,)).map(drop),
            Operation::Shell => {
                let arguments = ["sh", "-c", "sleep 0.02; read line"];
                let call = (name, "", "/bin/sh", &arguments[..], &none[..]);
                client.terminal(MANAGER, "Manager.OpenMachineShell", &call).map(drop)
            }
            Operation::Register => {
                let told = (place.vm.as_str(), Vec::<u8>::new(), "test", "vm", place.foreign(), "");
                client.call::<_, OwnedObjectPath>(MANAGER, "Manager.RegisterMachine", &told).map(drop)
            }
            Operation::Clean => client.done(MANAGER, "Manager.CleanPool", &("hidden",)),
            Operation::Limit => client.done(MANAGER, "Manager.SetImageLimit", &(place.image.as_str(), killed::SET)),
            Operation::PoolLimit => client.done(MANAGER, "Manager.SetPoolLimit", &(killed::SET,)),
            Operation::ReadOnly => client.done(MANAGER, "Manager.MarkImageReadOnly", &(place.image.as_str(), true)),
            Operation::CloneReadOnly => {
                let new = format!("{}-copy", place.image);
                client.done(MANAGER, "Manager.CloneImage", &(place.image.as_str(), new, true))
            }
        }
        .is_ok()
    }
}

#[test]
#[ignore = "for the acceptance"]
fn whatever_it_is_killed_in_is_done_or_not() {
    requires!(root, cgroup2, loop, program "dbus-daemon", program "mkfs.btrfs", program "busybox");
    killed::whatever_it_is_killed_in(&mut scene(&[]));
}
