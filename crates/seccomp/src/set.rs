//! Sets of system calls.

use crate::names::NAMES;

const WORDS: usize = NAMES.len().div_ceil(64);

/// A set of system calls by name, independent of an architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallSet([u64; WORDS]);

impl CallSet {
    /// No call.
    pub const EMPTY: Self = Self([0; WORDS]);

    /// Every call that has a name here.
    pub const ALL: Self = {
        let mut set = Self::EMPTY;
        let mut id = 0;
        while id < NAMES.len() {
            set.0[id / 64] |= 1 << (id % 64);
            id += 1;
        }
        set
    };

    /// The set of the named calls; computed by the compiler, to which an unknown name is an error.
    pub(crate) const fn of(names: &[&str]) -> Self {
        let mut set = Self::EMPTY;
        let mut index = 0;
        while index < names.len() {
            match id(names[index]) {
                Some(id) => set.0[id as usize / 64] |= 1 << (id % 64),
                None => panic!("a system call in a table has no entry in NAMES"),
            }
            index += 1;
        }
        set
    }

    /// The calls in either set.
    #[must_use]
    pub const fn or(mut self, other: &Self) -> Self {
        let mut word = 0;
        while word < WORDS {
            self.0[word] |= other.0[word];
            word += 1;
        }
        self
    }

    /// The calls of this set that are not in the other.
    #[must_use]
    pub const fn without(mut self, other: &Self) -> Self {
        let mut word = 0;
        while word < WORDS {
            self.0[word] &= !other.0[word];
            word += 1;
        }
        self
    }

    /// Whether the call of that name is in the set; false for a name that is not known.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        id(name).is_some_and(|id| self.has(id))
    }

    /// The names in the set, in byte order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        NAMES.iter().enumerate().filter(|&(id, _)| self.0[id / 64] >> (id % 64) & 1 != 0).map(|(_, &name)| name)
    }

    pub(crate) const fn has(&self, id: u16) -> bool {
        self.0[id as usize / 64] >> (id % 64) & 1 != 0
    }

    pub(crate) const fn insert(&mut self, id: u16) {
        self.0[id as usize / 64] |= 1 << (id % 64);
    }
}

/// The place of a name in [`NAMES`].
pub(crate) const fn id(name: &str) -> Option<u16> {
    let (mut low, mut high) = (0, NAMES.len());
    while low < high {
        let middle = usize::midpoint(low, high);
        match compare(name.as_bytes(), NAMES[middle].as_bytes()) {
            0 => return Some(middle as u16),
            order if order < 0 => high = middle,
            _ => low = middle + 1,
        }
    }
    None
}

/// Negative, zero or positive, as `memcmp`; the standard comparison is not const.
const fn compare(left: &[u8], right: &[u8]) -> i32 {
    let mut index = 0;
    while index < left.len() && index < right.len() {
        if left[index] != right[index] {
            return left[index] as i32 - right[index] as i32;
        }
        index += 1;
    }
    left.len() as i32 - right.len() as i32
}
