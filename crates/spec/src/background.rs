//! `--background=`: a colour as the numbers of an SGR sequence, see console_codes(4).

use std::str::FromStr;

use serde::Serialize;

/// The background of the caller's terminal while a container has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Background {
    /// As it is.
    Unchanged,
    /// The numbers say nothing about the background.
    NotSaid,
    /// Red, green, blue.
    Colour([u8; 3]),
}

/// The colours 0 to 15, as xterm has them; the terminal may have others.
const NAMED: [[u8; 3]; 16] = [
    [0, 0, 0],
    [205, 0, 0],
    [0, 205, 0],
    [205, 205, 0],
    [0, 0, 238],
    [205, 0, 205],
    [0, 205, 205],
    [229, 229, 229],
    [127, 127, 127],
    [255, 0, 0],
    [0, 255, 0],
    [255, 255, 0],
    [92, 92, 255],
    [255, 0, 255],
    [0, 255, 255],
    [255, 255, 255],
];

impl FromStr for Background {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Ok(Self::Unchanged);
        }
        let digits = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
        if !text.split(';').all(digits) {
            return Err("it is no list of numbers such as 41 or 48;2;0;0;64");
        }
        // What is too large for a number of 32 bits stands for no colour either.
        let numbers: Vec<u32> = text.split(';').map(|word| word.parse().unwrap_or(u32::MAX)).collect();
        Ok(read(&numbers))
    }
}

/// The last one counts, as in a terminal.
fn read(mut numbers: &[u32]) -> Background {
    let mut found = Background::NotSaid;
    loop {
        numbers = match *numbers {
            [] => return found,
            [number @ 40..=47, ref rest @ ..] => {
                found = indexed(number - 40);
                rest
            }
            [number @ 100..=107, ref rest @ ..] => {
                found = indexed(number - 100 + 8);
                rest
            }
            [0 | 49, ref rest @ ..] => {
                found = Background::Unchanged;
                rest
            }
            [kind @ (38 | 48), 5, number, ref rest @ ..] => {
                if kind == 48 {
                    found = indexed(number);
                }
                rest
            }
            [kind @ (38 | 48), 2, red, green, blue, ref rest @ ..] => {
                let parts = [red, green, blue].map(u8::try_from);
                if let (48, [Ok(red), Ok(green), Ok(blue)]) = (kind, parts) {
                    found = Background::Colour([red, green, blue]);
                }
                rest
            }
            // Cut short: what follows would be taken for something else.
            [38 | 48, ..] => return found,
            [_, ref rest @ ..] => rest,
        };
    }
}

/// A colour of the usual 256: 16 named ones, a cube of 6 by 6 by 6, 24 greys.
fn indexed(number: u32) -> Background {
    let Ok(number) = u8::try_from(number) else { return Background::NotSaid };
    Background::Colour(match number {
        0..=15 => NAMED[usize::from(number)],
        16..=231 => {
            let part = |step: u8| if step == 0 { 0 } else { 55 + 40 * step };
            let number = number - 16;
            [part(number / 36), part(number / 6 % 6), part(number % 6)]
        }
        232..=255 => [8 + 10 * (number - 232); 3],
    })
}

#[cfg(test)]
mod tests {
    use super::Background::{self, Colour, NotSaid, Unchanged};

    #[test]
    fn forms() {
        for (text, meaning) in [
            ("", Unchanged),
            ("40", Colour([0, 0, 0])),
            ("41", Colour([205, 0, 0])),
            ("041", Colour([205, 0, 0])),
            ("47", Colour([229, 229, 229])),
            ("104", Colour([92, 92, 255])),
            ("48;5;17", Colour([0, 0, 95])),
            ("48;5;231", Colour([255, 255, 255])),
            ("48;5;232", Colour([8, 8, 8])),
            ("48;5;255", Colour([238, 238, 238])),
            ("48;2;1;2;3", Colour([1, 2, 3])),
            ("1;31;44", Colour([0, 0, 238])),
            ("38;2;1;2;41;42", Colour([0, 205, 0])),
            ("41;49", Unchanged),
            ("30", NotSaid),
            ("38;5;41", NotSaid),
            ("48;5", NotSaid),
            ("48;5;300", NotSaid),
            ("48;2;256;0;0", NotSaid),
            ("99999999999", NotSaid),
        ] {
            assert_eq!(text.parse::<Background>(), Ok(meaning), "{text}");
        }
        for text in ["red", "#123456", "4 1", "48:2:1:2:3", "41m", ";", "41;", ";41", "-41", "+41", "\u{1b}[41m"] {
            assert!(text.parse::<Background>().is_err(), "{text}");
        }
    }
}
