// What is done with bytes that a copy out of a machine consists of. Shared by the fuzz target and by the test that replays the seeds.

use std::os::unix::ffi::OsStrExt;

use machine::transfer::stream::{Frame, Frames};

/// Reads a walk; what was understood means the same when it is written again, and names nothing outside.
pub(crate) fn transfer(data: &[u8]) {
    let mut frames = Frames::new(data);
    let mut written = Vec::new();
    while let Ok(Some(frame)) = frames.next_frame() {
        frame.write(&mut written).expect("what was read can be written");
        if let Frame::Directory(_, name) | Frame::File(_, name) | Frame::Link(_, name, _) | Frame::Fifo(_, name) = frame
        {
            assert!(!name.as_bytes().contains(&b'/') && name != "." && name != ".." && !name.is_empty(), "{name:?}");
        }
    }
    assert_eq!(data.get(..written.len()), Some(&written[..]), "nothing of it is lost");
}
