//! Loop devices that many want at the same moment.

use std::os::fd::AsFd;
use std::sync::Barrier;

use sys::loop_device::{LoopDevice, Part};
use testkit::{fixture, requires};

#[test]
fn all_get_one_who_ask_at_once() {
    const MANY: usize = 150;
    const ROUNDS: usize = 10;
    requires!(root, loop);
    let place = fixture::empty();
    let file = std::fs::File::open(place.write("file", [0; 4096], 0o600)).expect("file");
    let part = Part { offset: 0, size: 0, block_size: 512, read_only: true };
    let start = Barrier::new(MANY);
    let work = || {
        start.wait();
        // While others give theirs back.
        (0..ROUNDS).try_for_each(|_| LoopDevice::attach(file.as_fd(), part).map(LoopDevice::release))
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..MANY).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            assert_eq!(thread.join().expect("thread"), Ok(()));
        }
    });
}
