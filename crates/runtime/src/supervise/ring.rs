//! A buffer of fixed size that bytes go through in their order.

use std::io::IoSlice;

/// The bytes between a reader and a writer. Memory is taken with the first byte, and touched only as far as it is used.
#[derive(Debug)]
pub(super) struct Ring {
    capacity: usize,
    /// None, or as many as there is room for.
    bytes: Box<[u8]>,
    start: usize,
    length: usize,
}

impl Ring {
    /// An empty one with room for `capacity` bytes.
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, bytes: Box::default(), start: 0, length: 0 }
    }

    /// How many bytes it holds.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Whether it holds none.
    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// How many more bytes fit.
    pub(super) fn space(&self) -> usize {
        self.capacity - self.length
    }

    /// What it holds, oldest first, in two parts.
    pub(super) fn parts(&self) -> [&[u8]; 2] {
        let first = self.length.min(self.bytes.len() - self.start);
        [&self.bytes[self.start..self.start + first], &self.bytes[..self.length - first]]
    }

    /// As [`Ring::parts`], for `writev(2)`.
    pub(super) fn slices(&self) -> [IoSlice<'_>; 2] {
        self.parts().map(IoSlice::new)
    }

    /// Free room, not all of it perhaps.
    fn room(&mut self) -> &mut [u8] {
        if self.bytes.is_empty() {
            self.bytes = vec![0; self.capacity].into_boxed_slice();
        }
        if self.length == 0 {
            self.start = 0;
        }
        let end = self.start + self.length;
        match end.checked_sub(self.bytes.len()) {
            Some(wrapped) => &mut self.bytes[wrapped..self.start],
            None => &mut self.bytes[end..],
        }
    }

    /// Adds as many of `bytes` as fit and tells how many those were.
    pub(super) fn push(&mut self, bytes: &[u8]) -> usize {
        let mut added = 0;
        while added < bytes.len() && self.space() > 0 {
            let room = self.room();
            let count = room.len().min(bytes.len() - added);
            room[..count].copy_from_slice(&bytes[added..added + count]);
            self.length += count;
            added += count;
        }
        added
    }

    /// Removes the oldest `count` bytes, or all.
    pub(super) fn consume(&mut self, count: usize) {
        let count = count.min(self.length);
        self.start = (self.start + count) % self.capacity;
        self.length -= count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(ring: &Ring) -> Vec<u8> {
        ring.parts().concat()
    }

    #[test]
    fn bytes_come_out_in_their_order() {
        let mut ring = Ring::new(5);
        assert_eq!(ring.push(b"abcdefg"), 5);
        assert_eq!((ring.len(), ring.space()), (5, 0));
        assert!(ring.room().is_empty());
        ring.consume(3);
        assert_eq!(ring.push(b"hi"), 2);
        assert_eq!(contents(&ring), b"dehi");
        assert_eq!(ring.parts(), [b"de".as_slice(), b"hi"]);
        ring.consume(9);
        assert!(ring.is_empty());
        assert_eq!(ring.room().len(), 5);
    }

    #[test]
    fn it_agrees_with_a_queue() {
        let mut ring = Ring::new(7);
        let mut queue = std::collections::VecDeque::<u8>::new();
        let mut number = 12345_u32;
        for step in 0..5000_u32 {
            number = number.wrapping_mul(1_103_515_245).wrapping_add(12345);
            let count = (number >> 16) as usize % 9;
            if number & 0x8000 == 0 {
                let bytes = vec![step as u8; count];
                let added = ring.push(&bytes);
                assert_eq!(added, count.min(7 - queue.len()));
                queue.extend(&bytes[..added]);
            } else {
                ring.consume(count);
                queue.drain(..count.min(queue.len()));
            }
            assert!(queue.iter().copied().eq(contents(&ring)));
        }
    }
}
