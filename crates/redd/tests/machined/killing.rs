//! The service is killed in what it does when it is asked over Varlink.

use serde_json::json;
use testkit::requires;

use crate::client::Client;
use crate::killed::{self, Face, Operation, Place};
use crate::service::{IMAGES, MACHINES, Machined, isolate};

#[derive(Default)]
struct Varlink(Option<(Machined, [Client; 2])>);

impl Face for Varlink {
    fn start(&mut self) -> i32 {
        let service = Machined::start();
        let pid = service.pid();
        self.0 = Some((service, [MACHINES, IMAGES].map(Client::connect)));
        pid
    }

    fn reap(&mut self) {
        self.0 = None;
    }

    fn ask(&mut self, operation: Operation, place: &Place) -> bool {
        let (_, [machines, images]) = self.0.as_mut().expect("it was started");
        let (name, outside) = (&place.machine, place.outside.to_str().expect("text"));
        let mut machine = |method: &str, mut words: serde_json::Value| {
            words["name"] = json!(name);
            machines.try_call(&format!("io.systemd.Machine.{method}"), words)
        };
        let mut image = |method: &str, words| images.try_call(&format!("io.systemd.MachineImage.{method}"), words);
        match operation {
            Operation::CopyTo => {
                machine("CopyTo", json!({ "source": format!("{outside}/stock"), "destination": "/tmp/copied" }))
            }
            Operation::CopyFrom => {
                machine("CopyFrom", json!({ "source": "/srv/stock", "destination": format!("{outside}/taken") }))
            }
            Operation::Bind => {
                let source = format!("{outside}/stock");
                machine("BindMount", json!({ "source": source, "destination": "/tmp/bound", "mkdir": true }))
            }
            Operation::Terminal => machine("Open", json!({ "mode": "tty" })),
            Operation::Login => machine("Open", json!({ "mode": "login" })),
            Operation::Shell => {
                let words =
                    json!({ "mode": "shell", "path": "/bin/sh", "args": ["sh", "-c", "sleep 0.02; read line"] });
                machine("Open", words)
            }
            Operation::Register => {
                let told = json!({ "name": place.vm, "class": "vm", "leader": place.foreign() });
                machines.try_call("io.systemd.Machine.Register", told)
            }
            Operation::Clean => {
                images.send(&json!({
                    "method": "io.systemd.MachineImage.CleanPool", "parameters": { "mode": "hidden" }, "more": true,
                }));
                loop {
                    match images.message() {
                        Some(answer) if answer["error"].is_null() && answer["continues"] == true => {}
                        None => return false,
                        // There was none left, but perhaps the rest of one.
                        Some(answer) => {
                            let error = answer["error"].as_str();
                            return error.is_none_or(|error| error == "io.systemd.MachineImage.NoSuchImage");
                        }
                    }
                }
            }
            Operation::Limit => image("Update", json!({ "name": place.image, "limit": killed::SET })),
            Operation::PoolLimit => image("SetPoolLimit", json!({ "limit": killed::SET })),
            Operation::ReadOnly => image("Update", json!({ "name": place.image, "readOnly": true })),
            Operation::CloneReadOnly => {
                let new = format!("{}-copy", place.image);
                image("Clone", json!({ "name": place.image, "newName": new, "readOnly": true }))
            }
        }
    }
}

#[test]
#[ignore = "for the acceptance"]
fn whatever_it_is_killed_in_is_done_or_not() {
    requires!(root, cgroup2, loop, program "mkfs.btrfs", program "busybox");
    let _isolated = isolate();
    killed::whatever_it_is_killed_in(&mut Varlink::default());
}
