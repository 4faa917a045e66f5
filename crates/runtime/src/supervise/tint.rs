//! A tint of our terminal's background while a container has it, by the control sequences OSC 11 and 111 of xterm.
//!
//! The terminal is asked for its background, and only one that answers is tinted: dark ones get a little blue, light
//! ones lose a little of the rest. The answer comes between the keys and is taken out of them.

use std::time::{Duration, Instant};

/// Asks for the background colour.
pub(super) const ASK: &str = "\x1b]11;?\x1b\\";
/// Brings the background of before back.
pub(super) const RESTORE: &str = "\x1b]111\x1b\\";

/// How long an answer is waited for. One that comes later is taken for keys.
const OPEN: Duration = Duration::from_secs(2);
/// How long the beginning of an answer is held back: the escape key begins like one.
const HELD: Duration = Duration::from_millis(50);

const PREFIX: &[u8] = b"\x1b]11;rgb:";
/// Longer than any answer.
const LONGEST: usize = 32;

/// Red, green and blue, of 65535 each.
type Colour = [u32; 3];

/// An answer that is expected.
#[derive(Debug)]
pub(super) struct Answer {
    asked: Instant,
    held: [u8; LONGEST],
    length: usize,
    last: Instant,
}

impl Answer {
    /// The most bytes that can be held back.
    pub(super) const MOST_HELD: usize = LONGEST;

    /// The terminal was just asked.
    pub(super) fn new(now: Instant) -> Self {
        Self { asked: now, held: [0; LONGEST], length: 0, last: now }
    }

    /// Takes a byte. Those that are of no answer go to `forward`. The result is the sequence that sets the tint, when the
    /// answer is complete.
    pub(super) fn feed(&mut self, byte: u8, now: Instant, forward: &mut impl FnMut(u8)) -> Option<String> {
        self.last = now;
        self.held[self.length] = byte;
        self.length += 1;
        match read(&self.held[..self.length]) {
            Reading::Complete(colour) => {
                self.length = 0;
                Some(set(tinted(colour)))
            }
            Reading::Beginning if self.length < LONGEST => None,
            _ => {
                self.length -= 1;
                self.release(forward);
                if byte == PREFIX[0] {
                    self.held[0] = byte;
                    self.length = 1;
                } else {
                    forward(byte);
                }
                None
            }
        }
    }

    /// Forwards all that is held back.
    pub(super) fn release(&mut self, forward: &mut impl FnMut(u8)) {
        self.held[..self.length].iter().copied().for_each(forward);
        self.length = 0;
    }

    /// Forwards what is held back for too long. False once no answer is expected any more.
    pub(super) fn expire(&mut self, now: Instant, forward: &mut impl FnMut(u8)) -> bool {
        if self.length > 0 && now.saturating_duration_since(self.last) >= HELD {
            self.release(forward);
        }
        self.length > 0 || now.saturating_duration_since(self.asked) < OPEN
    }

    /// When [`Answer::expire`] has something to forward.
    pub(super) fn deadline(&self) -> Option<Instant> {
        (self.length > 0).then_some(self.last + HELD)
    }
}

enum Reading {
    Beginning,
    Complete(Colour),
    Other,
}

fn read(bytes: &[u8]) -> Reading {
    let Some(rest) = bytes.strip_prefix(PREFIX) else {
        return if PREFIX.starts_with(bytes) { Reading::Beginning } else { Reading::Other };
    };
    let end = rest.iter().position(|byte| !(byte.is_ascii_hexdigit() || *byte == b'/')).unwrap_or(rest.len());
    match &rest[end..] {
        b"" | b"\x1b" => Reading::Beginning,
        b"\x07" | b"\x1b\\" => colour(&rest[..end]).map_or(Reading::Other, Reading::Complete),
        _ => Reading::Other,
    }
}

/// Reads `RRRR/GGGG/BBBB`, where each number has one to four digits and its greatest value stands for full.
fn colour(text: &[u8]) -> Option<Colour> {
    let mut parts = std::str::from_utf8(text).ok()?.split('/').map(|digits| {
        let greatest = 16_u32.checked_pow(u32::try_from(digits.len()).ok()?)? - 1;
        let value = u32::from_str_radix(digits, 16).ok().filter(|_| (1..=4).contains(&digits.len()))?;
        Some(value * 0xffff / greatest)
    });
    let all = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(all)
}

fn tinted(background: Colour) -> Colour {
    let [red, green, blue] = background;
    let light = (red * 3 + green * 6 + blue) / 10 > 0x8000;
    let (tint, percent) = if light { ([0x6000, 0xa000, 0xffff], 10) } else { ([0x3000, 0x6000, 0xffff], 14) };
    std::array::from_fn(|part| (background[part] * (100 - percent) + tint[part] * percent) / 100)
}

/// The sequence that sets this background: red, green, blue.
pub(super) fn exactly(colour: [u8; 3]) -> String {
    set(colour.map(|part| u32::from(part) * 0x101))
}

fn set([red, green, blue]: Colour) -> String {
    format!("\x1b]11;rgb:{red:04x}/{green:04x}/{blue:04x}\x1b\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(bytes: &[u8]) -> (Vec<u8>, Vec<String>) {
        let now = Instant::now();
        let mut answer = Answer::new(now);
        let (mut keys, mut tints) = (Vec::new(), Vec::new());
        for byte in bytes {
            tints.extend(answer.feed(*byte, now, &mut |key| keys.push(key)));
        }
        answer.release(&mut |key| keys.push(key));
        (keys, tints)
    }

    #[test]
    fn answers_are_taken_out_of_the_keys() {
        let dark = "\x1b]11;rgb:06b8/0d70/23d6\x1b\\".to_owned();
        assert_eq!(feed(b"a\x1b]11;rgb:0000/0000/0000\x1b\\b"), (b"ab".to_vec(), vec![dark.clone()]));
        assert_eq!(feed(b"\x1b]11;rgb:00/00/00\x07"), (vec![], vec![dark]));
        let (keys, tints) = feed(b"\x1b]11;rgb:ffff/ffff/ffff\x07");
        assert_eq!((keys, tints.as_slice()), (vec![], &["\x1b]11;rgb:efff/f665/ffff\x1b\\".to_owned()][..]));
    }

    #[test]
    fn everything_else_passes_unchanged() {
        for keys in [
            &b"\x1b[A\x1b\x1b]x"[..],
            b"\x1b",
            b"\x1b]11;rgb:",
            b"\x1b]11;rgb:0/0\x07",
            b"\x1b]11;rgb:00000/0/0\x07",
            b"\x1b]11;rgb:0/0/0/0\x07",
            b"\x1b]11;rgb:0000000000000000000000000000000000000000000000",
            b"\x1b]11;rgb:0/\x1bOP",
        ] {
            assert_eq!(feed(keys), (keys.to_vec(), vec![]), "{:?}", String::from_utf8_lossy(keys));
        }
    }

    #[test]
    fn the_escape_key_is_not_kept_and_the_question_not_for_ever_open() {
        let start = Instant::now();
        let mut answer = Answer::new(start);
        let mut keys = Vec::new();
        assert_eq!(answer.deadline(), None);
        answer.feed(0x1b, start, &mut |key| keys.push(key));
        assert_eq!(answer.deadline(), Some(start + HELD));
        assert!(answer.expire(start + HELD, &mut |key| keys.push(key)));
        assert_eq!(keys, [0x1b]);
        assert!(!answer.expire(start + OPEN, &mut |key| keys.push(key)));
    }
}
