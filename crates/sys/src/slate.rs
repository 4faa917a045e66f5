//! A little memory that a process shares with those it makes: they tell by it what they have no descriptor for.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicI32, AtomicU8, AtomicU32, Ordering};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::io::{Errno, Result};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

#[allow(missing_docs, reason = "the file is a program's, too")]
pub mod layout;

use layout::{DETAIL, ERROR, KIND, LENGTH, NUMBER, SIZE};

/// One page: the number of a process, and a message. Whoever shares it may have written anything.
#[derive(Debug)]
pub struct Slate {
    start: NonNull<u8>,
    memory: OwnedFd,
}

impl Slate {
    /// An empty one.
    ///
    /// # Errors
    /// Those of [`memfd_create(2)`](https://man7.org/linux/man-pages/man2/memfd_create.2.html) and
    /// [`mmap(2)`](https://man7.org/linux/man-pages/man2/mmap.2.html).
    pub fn new() -> Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let memory = match memfd_create("slate", flags | MemfdFlags::NOEXEC_SEAL) {
            // Linux before 6.3.
            Err(Errno::INVAL) => memfd_create("slate", flags),
            other => other,
        }?;
        ftruncate(&memory, SIZE as u64)?;
        // Who finds it shorter than it is mapped would be killed.
        fcntl_add_seals(&memory, SealFlags::SHRINK | SealFlags::GROW)?;
        // SAFETY: the kernel chooses the place.
        let start = unsafe {
            mmap(std::ptr::null_mut(), SIZE, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, &memory, 0)
        }?;
        NonNull::new(start.cast()).map(|start| Self { start, memory }).ok_or(Errno::NOMEM)
    }

    /// It as a file.
    pub(crate) fn memory(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }

    /// Where the kernel writes a number.
    pub(crate) fn place(&self) -> *mut i32 {
        // SAFETY: it lies within the page, and is aligned.
        unsafe { self.start.as_ptr().add(NUMBER) }.cast()
    }

    /// The number of the process that was made last, as its maker sees it; 0 if none was.
    #[must_use]
    pub fn number(&self) -> i32 {
        // SAFETY: the page begins there, is aligned, and lives as long as `self`; others use it by atomics or the kernel.
        unsafe { AtomicI32::from_ptr(self.place()) }.load(Ordering::Acquire)
    }

    fn four(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4) && offset < SIZE);
        // SAFETY: it lies within the page and is aligned; every access to it is atomic.
        unsafe { AtomicU32::from_ptr(self.start.as_ptr().add(offset).cast()) }
    }

    fn bytes(&self, from: usize) -> impl Iterator<Item = &AtomicU8> {
        // SAFETY: all of the range lies within the page; every access to it is atomic.
        (from..SIZE).map(|offset| unsafe { AtomicU8::from_ptr(self.start.as_ptr().add(offset)) })
    }

    /// Leaves a message in place of what is there. Its detail is cut off to what there is room for.
    pub fn write(&self, message: &Message) {
        let length = message.detail.len().min(SIZE - DETAIL);
        let head = [message.kind, message.step];
        self.bytes(KIND).zip(head).for_each(|(place, byte)| place.store(byte, Ordering::Relaxed));
        self.bytes(DETAIL).zip(&message.detail).for_each(|(place, byte)| place.store(*byte, Ordering::Relaxed));
        self.four(LENGTH).store(u32::try_from(length).unwrap_or(0), Ordering::Relaxed);
        self.four(ERROR).store(message.error, Ordering::Release);
    }

    /// What is there; nothing as long as that has no error.
    #[must_use]
    pub fn read(&self) -> Option<Message> {
        let error = self.four(ERROR).load(Ordering::Acquire);
        if error == 0 {
            return None;
        }
        let read = |byte: &AtomicU8| byte.load(Ordering::Relaxed);
        let mut head = self.bytes(KIND).map(read);
        let (kind, step) = (head.next().unwrap_or(0), head.next().unwrap_or(0));
        let length = usize::try_from(self.four(LENGTH).load(Ordering::Relaxed)).unwrap_or(0);
        Some(Message { kind, step, error, detail: self.bytes(DETAIL).take(length).map(read).collect() })
    }
}

/// A message on a slate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// What kind it is of.
    pub kind: u8,
    /// What was done.
    pub step: u8,
    /// The number of an error; 0 where there is none.
    pub error: u32,
    /// What it was about.
    pub detail: Vec<u8>,
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
        assert_eq!((slate.number(), slate.read()), (0, None));
        let mut message = Message { kind: 1, step: 2, error: 3, detail: b"words".to_vec() };
        slate.write(&message);
        assert_eq!(slate.read().as_ref(), Some(&message));
        message.detail = vec![7; 5000];
        slate.write(&message);
        assert_eq!(slate.read().unwrap().detail, [7; SIZE - DETAIL]);
        // Whatever others have left there.
        slate.four(LENGTH).store(u32::MAX, Ordering::Release);
        assert_eq!(slate.read().unwrap().detail.len(), SIZE - DETAIL);
        slate.write(&Message::default());
        assert_eq!(slate.read(), None);
    }
}
