//! What an init system says on its console when it has run into a limit of the host's that it does not name.

/// What strerror(3) makes of `EMFILE`, which inotify_init(2) fails with where a user has too many instances. Init systems
/// have no language yet when they say so.
const WORDS: &[u8] = b"Too many open files";
/// How much is listened to, in bytes: it is said early.
const LISTENED: usize = 256 << 10;

/// Listens to the console.
#[derive(Debug)]
pub(super) struct Overheard {
    left: usize,
    /// The end of what was said before, in which the words may begin.
    before: Vec<u8>,
    heard: bool,
}

impl Overheard {
    /// One that listens, or does not.
    pub(super) fn new(listens: bool) -> Self {
        Self { left: if listens { LISTENED } else { 0 }, before: Vec::new(), heard: false }
    }

    /// Something is said.
    pub(super) fn hear(&mut self, said: &[u8]) {
        if self.heard || self.left == 0 {
            return;
        }
        self.left = self.left.saturating_sub(said.len());
        self.before.extend_from_slice(said);
        self.heard = self.before.windows(WORDS.len()).any(|words| words == WORDS);
        self.before.drain(..self.before.len().saturating_sub(WORDS.len() - 1));
    }

    /// Whether the words were among it.
    pub(super) fn has_heard(&self) -> bool {
        self.heard
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(pieces: &[&[u8]], listens: bool) -> bool {
        let mut overheard = Overheard::new(listens);
        pieces.iter().for_each(|piece| overheard.hear(piece));
        overheard.has_heard()
    }

    #[test]
    fn words_are_heard_in_pieces_and_only_in_the_beginning() {
        assert!(heard(&[b"object: Too many open files\r\n"], true));
        assert!(heard(&[b"x Too ma", b"n", b"y open file", b"s"], true));
        assert!(!heard(&[b"Too many open", b"ed files"], true));
        assert!(!heard(&[b"Too many open files"], false));
        assert!(!heard(&[&vec![b'x'; LISTENED], b"Too many open files"], true));
    }
}
