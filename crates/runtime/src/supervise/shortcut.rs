//! The key sequences that control the container, see systemd-nspawn(1): `^]` three times kills it, `^] ^] r` asks for a reboot and
//! `^] ^] p` for power-off.
//!
//! Keys that may become a sequence are held back until it is decided, for a second at most; keys of a completed sequence do not
//! reach the container, all others do, in their order and unchanged. No clock and no terminal in here.

use std::time::{Duration, Instant};

/// `^]`.
const ESCAPE: u8 = 0x1d;

/// Within this time a sequence must be completed.
pub(super) const WINDOW: Duration = Duration::from_secs(1);

/// What a completed sequence asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// End it at once.
    Kill,
    /// Ask for a reboot.
    Reboot,
    /// Ask for power-off.
    PowerOff,
}

/// The keys that are held back: when each `^]` was typed.
#[derive(Debug, Default)]
pub(super) struct Shortcut {
    first: Option<Instant>,
    second: Option<Instant>,
}

impl Shortcut {
    /// The most bytes that can be held back.
    pub(super) const MOST_HELD: usize = 2;

    /// Takes a key. Those that turn out to be ordinary ones go to `forward`.
    pub(super) fn feed(&mut self, key: u8, now: Instant, forward: &mut impl FnMut(u8)) -> Option<Command> {
        self.expire(now, forward);
        let command = match (key, self.first, self.second) {
            (ESCAPE, None, _) => {
                self.first = Some(now);
                return None;
            }
            (ESCAPE, Some(_), None) => {
                self.second = Some(now);
                return None;
            }
            (ESCAPE, Some(_), Some(_)) => Command::Kill,
            (b'r', Some(_), Some(_)) => Command::Reboot,
            (b'p', Some(_), Some(_)) => Command::PowerOff,
            _ => {
                self.release(forward);
                forward(key);
                return None;
            }
        };
        *self = Self::default();
        Some(command)
    }

    /// Forwards the keys that are held back for too long by now.
    pub(super) fn expire(&mut self, now: Instant, forward: &mut impl FnMut(u8)) {
        while self.first.is_some_and(|first| now.saturating_duration_since(first) >= WINDOW) {
            forward(ESCAPE);
            self.first = self.second.take();
        }
    }

    /// Forwards all keys that are held back.
    pub(super) fn release(&mut self, forward: &mut impl FnMut(u8)) {
        for _ in [self.first.take(), self.second.take()].into_iter().flatten() {
            forward(ESCAPE);
        }
    }

    /// When [`Shortcut::expire`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.first.map(|first| first + WINDOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds keys at times in milliseconds; returns what was forwarded and the commands.
    fn type_keys(keys: &[(u64, u8)]) -> (Vec<u8>, Vec<Command>) {
        let start = Instant::now();
        let mut shortcut = Shortcut::default();
        let (mut forwarded, mut commands) = (Vec::new(), Vec::new());
        for &(time, key) in keys {
            commands.extend(shortcut.feed(key, start + Duration::from_millis(time), &mut |byte| forwarded.push(byte)));
        }
        shortcut.release(&mut |byte| forwarded.push(byte));
        (forwarded, commands)
    }

    #[test]
    fn three_within_a_second_kill() {
        assert_eq!(type_keys(&[(0, ESCAPE), (0, ESCAPE), (999, ESCAPE)]), (vec![], vec![Command::Kill]));
        assert_eq!(type_keys(&[(0, ESCAPE), (400, ESCAPE), (1000, ESCAPE)]), (vec![ESCAPE; 3], vec![]));
    }

    #[test]
    fn the_window_slides() {
        let keys = [(0, ESCAPE), (900, ESCAPE), (1100, ESCAPE), (1200, ESCAPE)];
        assert_eq!(type_keys(&keys), (vec![ESCAPE], vec![Command::Kill]));
    }

    #[test]
    fn letters_ask_for_reboot_and_power_off() {
        let keys = [(0, b'a'), (0, ESCAPE), (10, ESCAPE), (20, b'r'), (30, b'b')];
        assert_eq!(type_keys(&keys), (b"ab".to_vec(), vec![Command::Reboot]));
        assert_eq!(type_keys(&[(0, ESCAPE), (10, ESCAPE), (20, b'p')]), (vec![], vec![Command::PowerOff]));
    }

    #[test]
    fn other_keys_break_a_sequence_and_lose_nothing() {
        let keys = [(0, ESCAPE), (0, b'r'), (0, ESCAPE), (0, ESCAPE), (0, b'x'), (0, ESCAPE), (0, ESCAPE)];
        assert_eq!(type_keys(&keys), (b"\x1dr\x1d\x1dx\x1d\x1d".to_vec(), vec![]));
        assert_eq!(type_keys(&[(0, ESCAPE), (0, ESCAPE), (1500, b'r')]), (b"\x1d\x1dr".to_vec(), vec![]));
    }

    #[test]
    fn a_sequence_does_not_count_for_the_next_one() {
        let keys = [(0, ESCAPE), (0, ESCAPE), (0, b'r'), (0, ESCAPE), (0, b'r')];
        assert_eq!(type_keys(&keys), (b"\x1dr".to_vec(), vec![Command::Reboot]));
    }

    #[test]
    fn a_lone_key_is_forwarded_after_the_window() {
        let start = Instant::now();
        let mut shortcut = Shortcut::default();
        let mut forwarded = Vec::new();
        assert_eq!(shortcut.deadline(), None);
        shortcut.feed(ESCAPE, start, &mut |byte| forwarded.push(byte));
        assert_eq!(shortcut.deadline(), Some(start + WINDOW));
        shortcut.expire(start + WINDOW - Duration::from_millis(1), &mut |byte| forwarded.push(byte));
        assert_eq!(forwarded, b"");
        shortcut.expire(start + WINDOW, &mut |byte| forwarded.push(byte));
        assert_eq!(forwarded, [ESCAPE]);
        assert_eq!(shortcut.deadline(), None);
    }

    #[test]
    fn every_byte_passes_outside_a_sequence() {
        let keys: Vec<_> = (0..=255).map(|key| (0, key)).collect();
        assert_eq!(type_keys(&keys), ((0..=255).collect(), vec![]));
    }
}
