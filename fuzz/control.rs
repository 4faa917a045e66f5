// What is done with bytes that come over a control socket. Shared by the fuzz target and by the test that replays the seeds.

use machine::control::protocol::{self, Call, Request};

/// Calls, as a supervisor reads them, and the answers to them.
pub(crate) fn control(data: &[u8]) {
    for message in data.split(|byte| *byte == 0) {
        let Ok(request) = Request::parse(message) else { continue };
        let answer = match request.call {
            Ok(call) => {
                again(&call);
                protocol::answer(&Ok(protocol::info()))
            }
            Err(refusal) => protocol::answer(&Err(refusal)),
        };
        assert_eq!(answer.iter().position(|byte| *byte == 0), Some(answer.len() - 1), "one message");
    }
}

/// What was understood is written, and understood in the same way.
fn again(call: &Call) {
    let (method, parameters) = call.written();
    let text = serde_json::json!({ "method": method, "parameters": parameters }).to_string();
    let read = Request::parse(text.as_bytes()).expect("a call");
    assert_eq!(read.call.as_ref(), Ok(call));
}
