//! The instructions of a filter as text: sixteen hexadecimal digits each, for code, jumps and operand. As numbers of JSON
//! they would take longer to write than the rest of a machine's entry, and as long to read for each command that is run
//! inside.

use std::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserializer, Serializer};

type Instruction = (u16, u8, u8, u32);

/// How many digits one takes.
const DIGITS: usize = 16;

pub(crate) fn serialize<S: Serializer>(instructions: &[Instruction], serializer: S) -> Result<S::Ok, S::Error> {
    let mut text = Vec::with_capacity(instructions.len() * DIGITS);
    for &(code, jt, jf, k) in instructions {
        let all = u64::from(code) << 48 | u64::from(jt) << 40 | u64::from(jf) << 32 | u64::from(k);
        for place in (0..DIGITS).rev() {
            text.push(b"0123456789abcdef"[(all >> (place * 4) & 0xf) as usize]);
        }
    }
    serializer.serialize_str(std::str::from_utf8(&text).map_err(serde::ser::Error::custom)?)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Instruction>, D::Error> {
    deserializer.deserialize_any(Either)
}

/// The text; or a list for each of the four, which machines have written that were started before there was the text.
struct Either;

impl<'de> Visitor<'de> for Either {
    type Value = Vec<Instruction>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("sixteen hexadecimal digits an instruction")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        let (all, []) = text.as_bytes().as_chunks::<DIGITS>() else {
            return Err(E::invalid_length(text.len(), &self));
        };
        let one = |digits: &[u8; DIGITS]| {
            let mut all = 0u64;
            for digit in digits {
                let value = char::from(*digit).to_digit(16).ok_or_else(|| E::custom("no hexadecimal digit"))?;
                all = all << 4 | u64::from(value);
            }
            let [c0, c1, jt, jf, k @ ..] = all.to_be_bytes();
            Ok((u16::from_be_bytes([c0, c1]), jt, jf, u32::from_be_bytes(k)))
        };
        all.iter().map(one).collect()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut instructions = Vec::new();
        while let Some(one) = list.next_element()? {
            instructions.push(one);
        }
        Ok(instructions)
    }
}

#[cfg(test)]
mod tests {
    use crate::confinement::Filter;

    #[test]
    fn they_are_read_as_they_were_written() {
        let filter = Filter {
            instructions: vec![(0x20, 0, 0, 4), (0x15, 0, 255, 0xc000_003e), (6, 1, 2, u32::MAX), (u16::MAX, 9, 0, 0)],
            ..Filter::default()
        };
        let text = serde_json::to_string(&filter).unwrap();
        assert!(text.contains("\"00200000000000040015"), "{text}");
        assert_eq!(serde_json::from_str::<Filter>(&text).unwrap(), filter);
        let before = r#"{"instructions":[[32,0,0,4],[21,0,255,3221225534],[6,1,2,4294967295],[65535,9,0,0]]}"#;
        assert_eq!(serde_json::from_str::<Filter>(before).unwrap(), filter);
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in
            ["\"0\"", "\"00200000000000g0\"", "\"+020000000000004\"", "7", "[[1,2,3]]", "\"\u{e9}0200000000004\""]
        {
            let text = format!("{{\"instructions\":{text}}}");
            assert!(serde_json::from_str::<Filter>(&text).is_err(), "{text}");
        }
    }
}
