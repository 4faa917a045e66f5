//! The allocator of a program that lives short or allocates little: memory is handed out one piece after the other from
//! a static block, and given back only where the last piece is. What does not fit comes from the system's allocator, so
//! a long life costs no more than the block.
//!
//! It saves the system calls and page faults of a general allocator, which are a noticeable part of a container's start.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The size of the block, in bytes. Pages of it that were never handed out take no memory.
const SIZE: usize = 256 * 1024;

/// Zeroed pieces from this size on are better fresh from the kernel.
const LARGE: usize = 32 * 1024;

/// The allocator. There is to be one, as the program's `#[global_allocator]`.
#[derive(Debug)]
pub struct Arena {
    block: Block,
    used: AtomicUsize,
}

#[derive(Debug)]
#[repr(align(64))]
struct Block(UnsafeCell<[u8; SIZE]>);

// SAFETY: each part of the block is handed out to a single owner, by way of an atomic counter.
unsafe impl Sync for Arena {}

impl Arena {
    /// An empty one.
    #[must_use]
    pub const fn new() -> Self {
        Self { block: Block(UnsafeCell::new([0; SIZE])), used: AtomicUsize::new(0) }
    }

    /// Where a piece lies in the block, if it does.
    fn offset(&self, piece: *mut u8) -> Option<usize> {
        let offset = (piece as usize).wrapping_sub(self.block.0.get() as usize);
        (offset < SIZE).then_some(offset)
    }

    fn take(&self, layout: Layout) -> Option<*mut u8> {
        let mut used = self.used.load(Ordering::Relaxed);
        loop {
            let start = used.checked_next_multiple_of(layout.align())?;
            let end = start.checked_add(layout.size()).filter(|end| *end <= SIZE)?;
            match self.used.compare_exchange_weak(used, end, Ordering::Relaxed, Ordering::Relaxed) {
                // SAFETY: start is within the block, as end is not behind it.
                Ok(_) => return Some(unsafe { self.block.0.get().cast::<u8>().add(start) }),
                Err(now) => used = now,
            }
        }
    }

    /// Moves the end of the last piece, if this is the last one and the block is large enough.
    fn resize_last(&self, offset: usize, old: usize, new: usize) -> bool {
        offset + new <= SIZE
            && self.used.compare_exchange(offset + old, offset + new, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

impl Default for Arena {
    fn default() -> Self {
        Self::new()
    }
}

// SAFETY: a piece is taken out of the block by an atomic step, so no two of them overlap, and it is aligned because the
// block is; larger alignments and what does not fit are the system allocator's. Pieces are told apart by their address.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let piece = if layout.align() <= 64 { self.take(layout) } else { None };
        // SAFETY: as promised by the caller.
        piece.unwrap_or_else(|| unsafe { System.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if layout.size() >= LARGE {
            // SAFETY: as promised by the caller. Fresh pages are zero and need not be touched.
            return unsafe { System.alloc_zeroed(layout) };
        }
        // SAFETY: as promised by the caller; the piece is as large as the layout says.
        unsafe {
            let piece = self.alloc(layout);
            if !piece.is_null() {
                piece.write_bytes(0, layout.size());
            }
            piece
        }
    }

    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        match self.offset(piece) {
            Some(offset) => {
                self.resize_last(offset, layout.size(), 0);
            }
            // SAFETY: it is not ours, so it is the system allocator's.
            None => unsafe { System.dealloc(piece, layout) },
        }
    }

    unsafe fn realloc(&self, piece: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Some(offset) = self.offset(piece) else {
            // SAFETY: it is not ours, so it is the system allocator's.
            return unsafe { System.realloc(piece, layout, size) };
        };
        if size <= layout.size() || self.resize_last(offset, layout.size(), size) {
            return piece;
        }
        // SAFETY: the caller promises a size that is valid with this alignment; the new piece is another one, and at
        // least as large as what is copied.
        unsafe {
            let new = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !new.is_null() {
                ptr::copy_nonoverlapping(piece, new, layout.size());
            }
            new
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_apart_and_the_last_one_grows_in_place() {
        let arena = Box::leak(Box::<Arena>::default());
        let layout = Layout::from_size_align(10, 8).expect("layout");
        // SAFETY: pieces are used within their sizes and with their own layouts.
        unsafe {
            let one = arena.alloc(layout);
            let two = arena.alloc(layout);
            assert!(two as usize >= one as usize + 10 && (two as usize).is_multiple_of(8));
            one.write_bytes(1, 10);
            two.write_bytes(2, 10);
            assert_eq!(arena.realloc(two, layout, 100), two);
            let moved = arena.realloc(one, layout, 20);
            assert_ne!(moved, one);
            assert_eq!((*moved, *two.add(9)), (1, 2));
        }
    }

    #[test]
    fn what_does_not_fit_comes_from_elsewhere() {
        let arena = Box::leak(Box::<Arena>::default());
        let large = Layout::from_size_align(SIZE + 1, 16).expect("layout");
        let aligned = Layout::from_size_align(64, 4096).expect("layout");
        // SAFETY: pieces are given back with their own layouts.
        unsafe {
            for layout in [large, aligned] {
                let piece = arena.alloc(layout);
                assert!(!piece.is_null() && arena.offset(piece).is_none());
                assert!((piece as usize).is_multiple_of(layout.align()));
                arena.dealloc(piece, layout);
            }
        }
    }
}
