//! A little memory that a process shares with those it makes: they tell by it what they have no descriptor for.

use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicI32, AtomicU8, AtomicU32, Ordering};

use rustix::io::Result;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// All of it, in bytes.
const SIZE: usize = 4096;
/// Where the length of the message is, and the message. The number of a process stands at the beginning.
const LENGTH: usize = 4;
const MESSAGE: Range<usize> = 8..SIZE;

/// One page: the number of a process, and a message. Whoever shares it may have written anything.
#[derive(Debug)]
pub struct Slate {
    start: NonNull<u8>,
}

impl Slate {
    /// An empty one.
    ///
    /// # Errors
    /// Those of [`mmap(2)`](https://man7.org/linux/man-pages/man2/mmap.2.html).
    pub fn new() -> Result<Self> {
        // SAFETY: the kernel chooses the place.
        let start = unsafe {
            mmap_anonymous(std::ptr::null_mut(), SIZE, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED)
        }?;
        NonNull::new(start.cast()).map(|start| Self { start }).ok_or(rustix::io::Errno::NOMEM)
    }

    /// Where the kernel writes a number.
    pub(crate) fn place(&self) -> *mut i32 {
        self.start.as_ptr().cast()
    }

    /// The number of the process that was made last, as its maker sees it; 0 if none was.
    #[must_use]
    pub fn number(&self) -> i32 {
        // SAFETY: the page begins there, is aligned, and lives as long as `self`; others use it by atomics or the kernel.
        unsafe { AtomicI32::from_ptr(self.place()) }.load(Ordering::Acquire)
    }

    fn length(&self) -> &AtomicU32 {
        // SAFETY: it lies within the page and is aligned; every access to it is atomic.
        unsafe { AtomicU32::from_ptr(self.start.as_ptr().add(LENGTH).cast()) }
    }

    fn bytes(&self) -> impl Iterator<Item = &AtomicU8> {
        // SAFETY: all of the range lies within the page; every access to it is atomic.
        MESSAGE.map(|offset| unsafe { AtomicU8::from_ptr(self.start.as_ptr().add(offset)) })
    }

    /// Leaves a message, cut off to what there is room for.
    pub fn write(&self, message: &[u8]) {
        let length = message.len().min(MESSAGE.len());
        self.bytes().zip(message).for_each(|(place, byte)| place.store(*byte, Ordering::Relaxed));
        self.length().store(u32::try_from(length).unwrap_or(0), Ordering::Release);
    }

    /// The message; empty if there is none.
    #[must_use]
    pub fn read(&self) -> Vec<u8> {
        let length = self.length().load(Ordering::Acquire);
        self.bytes().take(usize::try_from(length).unwrap_or(0)).map(|byte| byte.load(Ordering::Relaxed)).collect()
    }
}

impl Drop for Slate {
    fn drop(&mut self) {
        // SAFETY: it was mapped by us, and no reference outlives the value. Others have mappings of their own.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), SIZE) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let slate = Slate::new().unwrap();
        assert_eq!((slate.number(), slate.read()), (0, Vec::new()));
        slate.write(b"words");
        assert_eq!(slate.read(), b"words");
        slate.write(&[7; 5000]);
        assert_eq!(slate.read(), [7; SIZE - 8]);
        // Whatever others have left there.
        slate.length().store(u32::MAX, Ordering::Release);
        assert_eq!(slate.read().len(), SIZE - 8);
    }
}
