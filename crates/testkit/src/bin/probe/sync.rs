//! Whether what writes through to the disk does anything. The descriptors are closed, so what is carried out fails.

use crate::kernel::call;
use crate::say;

#[cfg(target_arch = "x86_64")]
mod number {
    pub(super) const MSYNC: i64 = 26;
    pub(super) const FSYNC: i64 = 74;
    pub(super) const FDATASYNC: i64 = 75;
    pub(super) const SYNC: i64 = 162;
    pub(super) const OPENAT: i64 = 257;
    pub(super) const SYNC_FILE_RANGE: i64 = 277;
    pub(super) const SYNCFS: i64 = 306;
}

#[cfg(not(target_arch = "x86_64"))]
mod number {
    pub(super) const OPENAT: i64 = 56;
    pub(super) const SYNC: i64 = 81;
    pub(super) const FSYNC: i64 = 82;
    pub(super) const FDATASYNC: i64 = 83;
    pub(super) const SYNC_FILE_RANGE: i64 = 84;
    pub(super) const MSYNC: i64 = 227;
    pub(super) const SYNCFS: i64 = 267;
}

const OPENAT2: i64 = 437;
const O_WRONLY: usize = 0o1;
const O_APPEND: usize = 0o2_000;
const O_DSYNC: usize = 0o10_000;
const O_SYNC: usize = 0o4_010_000;

/// One line for each call: what it gives, 0 or the error's number.
pub(crate) fn run() {
    const NOTHING: usize = usize::MAX;
    const CLOSED: usize = 900;
    for (name, number, first) in [
        ("fsync", number::FSYNC, CLOSED),
        ("fdatasync", number::FDATASYNC, CLOSED),
        ("syncfs", number::SYNCFS, CLOSED),
        ("sync_file_range", number::SYNC_FILE_RANGE, CLOSED),
        // Not at the beginning of a page.
        ("msync", number::MSYNC, 1),
        ("sync", number::SYNC, 0),
        ("fsync -1", number::FSYNC, NOTHING),
        ("fdatasync -1", number::FDATASYNC, NOTHING),
        ("syncfs -1", number::SYNCFS, NOTHING),
        ("sync_file_range -1", number::SYNC_FILE_RANGE, NOTHING),
    ] {
        report(name, call(number, [first, 0, 0, 0, 0]));
    }
    let path = c"/dev/null";
    for (name, flags) in [
        ("open", O_WRONLY),
        ("open O_APPEND", O_WRONLY | O_APPEND),
        ("open O_SYNC", O_WRONLY | O_SYNC),
        ("open O_DSYNC", O_WRONLY | O_DSYNC),
        ("open O_SYNC O_APPEND", O_WRONLY | O_SYNC | O_APPEND),
    ] {
        report(name, call(number::OPENAT, [NOTHING - 99, path.as_ptr() as usize, flags, 0, 0]));
    }
    let how = [(O_WRONLY | O_SYNC) as u64, 0, 0];
    report("openat2 O_SYNC", call(OPENAT2, [NOTHING - 99, path.as_ptr() as usize, how.as_ptr() as usize, 24, 0]));
}

fn report(name: &str, result: Result<i64, i32>) {
    say(&format!("{name}={}", result.err().unwrap_or(0)));
}
