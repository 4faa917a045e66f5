// What is done with bytes that come over the sockets of systemd-machined. Shared by the fuzz target and by the test that replays
// the seeds.

use machined::service::{Caller, Service};
use machined::varlink::{self, Face};

/// Calls of somebody who may do nothing: all that is said is read, and nothing is carried out.
pub(crate) fn machined(data: &[u8]) {
    let service = Service::system();
    let caller = Caller::Process { pid: 1, start_time: 0, uid: 65533 };
    for message in data.split(|byte| *byte == 0) {
        for face in [Face::Machines, Face::Users] {
            for answer in varlink::answers(&service, &caller, face, message).into_iter().flatten() {
                assert!(!answer.contains(&0), "one message");
                let answer: serde_json::Value = serde_json::from_slice(&answer).expect("JSON");
                assert!(answer["parameters"].is_object(), "{answer}");
                assert!(answer["error"].as_str().is_none_or(|name| name.contains('.')), "{answer}");
            }
        }
    }
}
