//! How values lie in a message.

/// The longest message that is read, in bytes. The specification allows 128 MiB; a service manager has less to say.
pub(crate) const LONGEST: usize = 1 << 20;

/// Bytes that are no valid message. The text says in which respect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a malformed D-Bus message: {0}")]
pub struct Malformed(pub &'static str);

/// A value of a property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `s`
    String(String),
    /// `b`
    Boolean(bool),
    /// `u`
    U32(u32),
    /// `i`
    I32(i32),
    /// `t`
    U64(u64),
    /// `as`
    Strings(Vec<String>),
    /// `au`
    U32s(Vec<u32>),
    /// `ay`
    Bytes(Vec<u8>),
    /// `a(st)`
    TextNumbers(Vec<(String, u64)>),
    /// `a(ss)`
    TextPairs(Vec<(String, String)>),
    /// `a(iayu)`: family, address and length of the prefix of networks.
    Networks(Vec<(i32, Vec<u8>, u32)>),
    /// `a(iiqq)`: family, protocol, number of ports and first port.
    Sockets(Vec<(i32, i32, u16, u16)>),
    /// `(bas)`
    Marked(bool, Vec<String>),
    /// `a(sasb)`: programs, their arguments, and whether it is no failure if they fail.
    Commands(Vec<(String, Vec<String>, bool)>),
    /// `a(iiss)`: source, family, table and set of nftables.
    Sets(Vec<(i32, i32, String, String)>),
}

impl Value {
    /// Its type, as the specification writes it.
    #[must_use]
    pub fn signature(&self) -> &'static str {
        match self {
            Self::String(_) => "s",
            Self::Boolean(_) => "b",
            Self::U32(_) => "u",
            Self::I32(_) => "i",
            Self::U64(_) => "t",
            Self::Strings(_) => "as",
            Self::U32s(_) => "au",
            Self::Bytes(_) => "ay",
            Self::TextNumbers(_) => "a(st)",
            Self::TextPairs(_) => "a(ss)",
            Self::Networks(_) => "a(iayu)",
            Self::Sockets(_) => "a(iiqq)",
            Self::Marked(..) => "(bas)",
            Self::Commands(_) => "a(sasb)",
            Self::Sets(_) => "a(iiss)",
        }
    }
}

/// Writes values one after the other, little-endian, aligned from the first byte on.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// What was written.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(crate) fn align(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }

    pub(crate) fn byte(&mut self, value: u8) {
        self.bytes.push(value);
    }

    /// `q`
    pub fn u16(&mut self, value: u16) {
        self.align(2);
        self.bytes.extend(value.to_le_bytes());
    }

    /// `i`
    pub fn i32(&mut self, value: i32) {
        self.u32(value.cast_unsigned());
    }

    /// `ay`
    pub fn bytes(&mut self, value: &[u8]) {
        self.array(1, |array| array.bytes.extend(value));
    }

    /// `as`
    pub fn strings<S: AsRef<str>>(&mut self, all: &[S]) {
        self.array(4, |array| all.iter().for_each(|one| array.string(one.as_ref())));
    }

    /// An array of structures.
    fn structures<T>(&mut self, all: &[T], mut write: impl FnMut(&mut Self, &T)) {
        self.array(8, |array| {
            for one in all {
                array.structure();
                write(array, one);
            }
        });
    }

    /// `u`
    pub fn u32(&mut self, value: u32) {
        self.align(4);
        self.bytes.extend(value.to_le_bytes());
    }

    /// `t`
    pub fn u64(&mut self, value: u64) {
        self.align(8);
        self.bytes.extend(value.to_le_bytes());
    }

    /// `s` or `o`. Strings have no zero bytes; one would end it.
    pub fn string(&mut self, value: &str) {
        let value = value.split('\0').next().unwrap_or_default();
        self.u32(value.len() as u32);
        self.bytes.extend(value.as_bytes());
        self.byte(0);
    }

    /// `g`, of at most 255 bytes.
    pub(crate) fn signature(&mut self, value: &str) {
        self.byte(value.len() as u8);
        self.bytes.extend(value.as_bytes());
        self.byte(0);
    }

    /// An array, whose elements start at multiples of `alignment`.
    pub fn array(&mut self, alignment: usize, fill: impl FnOnce(&mut Self)) {
        self.u32(0);
        let length_at = self.bytes.len() - 4;
        self.align(alignment);
        let start = self.bytes.len();
        fill(self);
        let length = (self.bytes.len() - start) as u32;
        self.bytes[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
    }

    /// The beginning of a structure.
    pub fn structure(&mut self) {
        self.align(8);
    }

    /// `v`
    pub fn variant(&mut self, value: &Value) {
        self.signature(value.signature());
        match value {
            Value::String(text) => self.string(text),
            Value::Boolean(yes) => self.u32(u32::from(*yes)),
            Value::U32(number) => self.u32(*number),
            Value::I32(number) => self.i32(*number),
            Value::U64(number) => self.u64(*number),
            Value::Strings(all) => self.strings(all),
            Value::U32s(all) => self.array(4, |array| all.iter().for_each(|one| array.u32(*one))),
            Value::Bytes(bytes) => self.bytes(bytes),
            Value::TextNumbers(all) => self.structures(all, |one, (text, number)| {
                one.string(text);
                one.u64(*number);
            }),
            Value::TextPairs(all) => self.structures(all, |one, (first, second)| {
                one.string(first);
                one.string(second);
            }),
            Value::Networks(all) => self.structures(all, |one, (family, address, prefix)| {
                one.i32(*family);
                one.bytes(address);
                one.u32(*prefix);
            }),
            Value::Sockets(all) => self.structures(all, |one, (family, protocol, count, first)| {
                one.i32(*family);
                one.i32(*protocol);
                one.u16(*count);
                one.u16(*first);
            }),
            Value::Marked(mark, all) => {
                self.structure();
                self.u32(u32::from(*mark));
                self.strings(all);
            }
            Value::Commands(all) => self.structures(all, |one, (program, arguments, ignore)| {
                one.string(program);
                one.strings(arguments);
                one.u32(u32::from(*ignore));
            }),
            Value::Sets(all) => self.structures(all, |one, (source, family, table, set)| {
                one.i32(*source);
                one.i32(*family);
                one.string(table);
                one.string(set);
            }),
        }
    }

    /// `a(sv)`: properties by name.
    pub fn properties(&mut self, all: &[(&str, Value)]) {
        self.array(8, |array| {
            for (name, value) in all {
                array.structure();
                array.string(name);
                array.variant(value);
            }
        });
    }
}

/// Reads values one after the other. Nothing is read beyond the end, nothing is copied.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    big_endian: bool,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8], big_endian: bool) -> Self {
        Self { bytes, at: 0, big_endian }
    }

    /// How many bytes were read.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(count).ok_or(Malformed("a length out of range"))?;
        let taken = self.bytes.get(self.at..end).ok_or(Malformed("it ends early"))?;
        self.at = end;
        Ok(taken)
    }

    pub(crate) fn align(&mut self, to: usize) -> Result<(), Malformed> {
        let padding = self.take(self.at.next_multiple_of(to) - self.at)?;
        if padding.iter().all(|byte| *byte == 0) { Ok(()) } else { Err(Malformed("padding that is not zero")) }
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.take(1)?[0])
    }

    /// `u`
    ///
    /// # Errors
    /// [`Malformed`] at the end.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.align(4)?;
        let bytes = self.take(4)?;
        let array = [bytes[0], bytes[1], bytes[2], bytes[3]];
        Ok(if self.big_endian { u32::from_be_bytes(array) } else { u32::from_le_bytes(array) })
    }

    /// `v` with a `u` in it
    ///
    /// # Errors
    /// [`Malformed`] if something else is in it.
    pub fn u32_variant(&mut self) -> Result<u32, Malformed> {
        if self.signature()? == "u" { self.u32() } else { Err(Malformed("a value of the wrong type")) }
    }

    /// `v` with an `i` in it
    ///
    /// # Errors
    /// [`Malformed`] if something else is in it.
    pub fn i32_variant(&mut self) -> Result<i32, Malformed> {
        if self.signature()? == "i" {
            Ok(self.u32()?.cast_signed())
        } else {
            Err(Malformed("a value of the wrong type"))
        }
    }

    /// `v` with an `s` in it
    ///
    /// # Errors
    /// [`Malformed`] if something else is in it.
    pub fn string_variant(&mut self) -> Result<&'a str, Malformed> {
        if self.signature()? == "s" { self.string() } else { Err(Malformed("a value of the wrong type")) }
    }

    /// `s` or `o`
    ///
    /// # Errors
    /// [`Malformed`] if it is longer than the message, not UTF-8, or has a zero byte other than the last.
    pub fn string(&mut self) -> Result<&'a str, Malformed> {
        let length = self.u32()? as usize;
        self.text(length)
    }

    /// `a(sss)`
    ///
    /// # Errors
    /// [`Malformed`] if it is longer than the message, or one of its strings is.
    pub fn string_triples(&mut self) -> Result<Vec<[&'a str; 3]>, Malformed> {
        let length = self.u32()? as usize;
        self.align(8)?;
        let end = self.at.checked_add(length).ok_or(Malformed("a length out of range"))?;
        let mut all = Vec::new();
        while self.at < end {
            self.align(8)?;
            all.push([self.string()?, self.string()?, self.string()?]);
        }
        if self.at == end { Ok(all) } else { Err(Malformed("an array that does not end where it says")) }
    }

    /// `g`
    pub(crate) fn signature(&mut self) -> Result<&'a str, Malformed> {
        let length = usize::from(self.byte()?);
        self.text(length)
    }

    fn text(&mut self, length: usize) -> Result<&'a str, Malformed> {
        let text = self.take(length)?;
        if self.byte()? != 0 || text.contains(&0) {
            return Err(Malformed("a string that does not end where it says"));
        }
        std::str::from_utf8(text).map_err(|_| Malformed("a string that is not UTF-8"))
    }

    /// `a{sv}`: each name, with a reader that is at its variant, for what it is to be read as.
    ///
    /// # Errors
    /// [`Malformed`] if it is longer than the message, or something in it is none of its type.
    pub fn dictionary(&mut self, mut each: impl FnMut(&'a str, Reader<'a>)) -> Result<(), Malformed> {
        let end = self.array_of(8)?;
        while self.at < end {
            self.align(8)?;
            let name = self.string()?;
            each(name, self.clone());
            let signature = self.signature()?;
            self.skip_all(signature, DEEPEST)?;
        }
        self.ends_at(end)
    }

    /// The length of an array, up to its first element: where it ends.
    fn array_of(&mut self, alignment: usize) -> Result<usize, Malformed> {
        let length = self.u32()? as usize;
        self.align(alignment)?;
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        end.ok_or(Malformed("a length out of range"))
    }

    fn ends_at(&self, end: usize) -> Result<(), Malformed> {
        if self.at == end { Ok(()) } else { Err(Malformed("an array that does not end where it says")) }
    }

    /// Passes over values of these types.
    fn skip_all(&mut self, mut types: &str, depth: usize) -> Result<(), Malformed> {
        let depth = depth.checked_sub(1).ok_or(Malformed("it is too deep"))?;
        while !types.is_empty() {
            let (first, rest) = split_type(types)?;
            match first.as_bytes()[0] {
                b'v' => {
                    let inner = self.signature()?;
                    self.skip_all(inner, depth)?;
                }
                b'(' | b'{' => {
                    self.align(8)?;
                    self.skip_all(&first[1..first.len() - 1], depth)?;
                }
                b'a' => {
                    let element = &first[1..];
                    let end = self.array_of(alignment(element))?;
                    while self.at < end {
                        let before = self.at;
                        self.skip_all(element, depth)?;
                        if self.at == before {
                            return Err(Malformed("an array of nothing"));
                        }
                    }
                    self.ends_at(end)?;
                }
                _ => self.skip_basic(first)?,
            }
            types = rest;
        }
        Ok(())
    }

    /// Passes over a value of a basic type.
    pub(crate) fn skip_basic(&mut self, signature: &str) -> Result<(), Malformed> {
        let width = match signature {
            "y" => 1,
            "n" | "q" => 2,
            "b" | "i" | "u" | "h" => 4,
            "x" | "t" | "d" => 8,
            "s" | "o" => return self.string().map(drop),
            "g" => return self.signature().map(drop),
            _ => return Err(Malformed("a header field that is no basic value")),
        };
        self.align(width)?;
        self.take(width).map(drop)
    }
}

/// How deep types may be nested: the specification has 32 of each kind.
const DEEPEST: usize = 64;

/// The first complete type, and what follows it.
fn split_type(types: &str) -> Result<(&str, &str), Malformed> {
    let mut open = 0_usize;
    for (at, letter) in types.bytes().enumerate() {
        match letter {
            b'a' => continue,
            b'(' | b'{' => open += 1,
            b')' | b'}' => open = open.checked_sub(1).ok_or(Malformed("a type that does not begin"))?,
            _ => {}
        }
        if open == 0 {
            return types.split_at_checked(at + 1).ok_or(Malformed("a type that is no text"));
        }
    }
    Err(Malformed("a type that does not end"))
}

fn alignment(kind: &str) -> usize {
    match kind.bytes().next() {
        Some(b'y' | b'g' | b'v') => 1,
        Some(b'n' | b'q') => 2,
        Some(b'x' | b't' | b'd' | b'(' | b'{') => 8,
        _ => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn properties_lie_as_the_specification_says() {
        let mut writer = Writer::default();
        writer.properties(&[("a", Value::Boolean(true)), ("PIDs", Value::U32s(vec![7]))]);
        let expected: &[u8] = &[
            40, 0, 0, 0, 0, 0, 0, 0, // length of the array, padding to its first structure
            1, 0, 0, 0, b'a', 0, 1, b'b', 0, 0, 0, 0, 1, 0, 0, 0, // "a", "b", true
            4, 0, 0, 0, b'P', b'I', b'D', b's', 0, 2, b'a', b'u', 0, 0, 0, 0, // "PIDs", "au"
            4, 0, 0, 0, 7, 0, 0, 0,
        ];
        let bytes = writer.into_bytes();
        assert_eq!(bytes, expected);
    }

    #[test]
    fn a_number_in_a_variant() {
        let mut writer = Writer::default();
        writer.variant(&Value::U32(7));
        writer.variant(&Value::Boolean(true));
        let bytes = writer.into_bytes();
        let mut reader = Reader::new(&bytes, false);
        assert_eq!(reader.u32_variant(), Ok(7));
        assert!(reader.u32_variant().is_err());
    }

    #[test]
    fn what_a_variant_has_to_hold() {
        let mut writer = Writer::default();
        writer.variant(&Value::I32(-7));
        writer.variant(&Value::String("x".into()));
        let bytes = writer.into_bytes();
        let mut reader = Reader::new(&bytes, false);
        assert!(reader.clone().string_variant().is_err());
        assert_eq!(reader.i32_variant(), Ok(-7));
        assert!(reader.clone().i32_variant().is_err());
        assert_eq!(reader.string_variant(), Ok("x"));
    }

    #[test]
    fn commands_of_a_service() {
        let mut writer = Writer::default();
        writer.variant(&Value::Commands(vec![("/a".into(), vec!["-a".into()], true)]));
        let mut expected = b"\x07a(sasb)\0\0\0\0".to_vec();
        // Length of the array; program, length of the array of arguments, the only one, the mark.
        expected
            .extend([24, 0, 0, 0, 2, 0, 0, 0, b'/', b'a', 0, 0, 7, 0, 0, 0, 2, 0, 0, 0, b'-', b'a', 0, 0, 1, 0, 0, 0]);
        let bytes = writer.into_bytes();
        assert_eq!(bytes, expected);
    }

    #[test]
    fn a_dictionary_of_whatever_types() {
        let values = [
            ("Text", Value::String("x".into())),
            ("Code", Value::I32(7)),
            ("Pairs", Value::TextNumbers(vec![("a".into(), 1), ("b".into(), 2)])),
            ("None", Value::Networks(Vec::new())),
            ("Commands", Value::Commands(vec![("/a".into(), vec!["-a".into()], true)])),
            ("Marked", Value::Marked(true, vec!["lo".into()])),
            ("Last", Value::U64(1)),
        ];
        let mut writer = Writer::default();
        writer.properties(&values);
        writer.u32(9);
        let bytes = writer.into_bytes();
        let mut reader = Reader::new(&bytes, false);
        let (mut names, mut code) = (Vec::new(), None);
        let read = reader.dictionary(|name, mut value| {
            names.push(name);
            if name == "Code" {
                code = value.i32_variant().ok();
            }
        });
        assert_eq!((read, code, reader.u32()), (Ok(()), Some(7), Ok(9)));
        assert_eq!(names, values.map(|(name, _)| name));
        for cut in 0..bytes.len() - 4 {
            assert!(Reader::new(&bytes[..cut], false).dictionary(|_, _| {}).is_err(), "{cut}");
        }
        // Types that are none, that hold nothing, and that never end.
        for signature in ["(", "a", ")", "()", "a()", "z", "(i", "a{", "\u{e4}"] {
            let mut writer = Writer::default();
            writer.array(8, |array| {
                array.structure();
                array.string("Name");
                array.signature(signature);
                (0..4).for_each(|_| array.u64(0x0000_0008_0000_0008));
            });
            let bytes = writer.into_bytes();
            assert!(Reader::new(&bytes, false).dictionary(|_, _| {}).is_err(), "{signature}");
        }
        let deep = format!("{}i", "a".repeat(200));
        let mut writer = Writer::default();
        writer.array(8, |array| {
            array.structure();
            array.string("Name");
            array.signature(&deep);
            (0..200).rev().for_each(|left| array.u32(left * 4 + 4));
            array.u32(1);
        });
        let bytes = writer.into_bytes();
        assert_eq!(Reader::new(&bytes, false).dictionary(|_, _| {}), Err(Malformed("it is too deep")));
    }

    #[test]
    fn three_strings_each() {
        let mut writer = Writer::default();
        writer.u32(1);
        writer.array(8, |writer| {
            for triple in [["symlink", "/a", "/b"], ["", "x", "y"]] {
                writer.structure();
                triple.iter().for_each(|text| writer.string(text));
            }
        });
        let bytes = writer.into_bytes();
        let mut reader = Reader::new(&bytes, false);
        assert_eq!(reader.u32(), Ok(1));
        assert_eq!(reader.string_triples(), Ok(vec![["symlink", "/a", "/b"], ["", "x", "y"]]));
        assert_eq!(reader.position(), bytes.len());
        let mut none = Reader::new(&[0; 8], false);
        assert_eq!(none.string_triples(), Ok(Vec::new()));
        // Cut short, and with a length that ends within a string.
        assert!(Reader::new(&bytes[4..bytes.len() - 1], false).string_triples().is_err());
        let mut wrong = bytes;
        wrong[4] -= 2;
        let mut reader = Reader::new(&wrong, false);
        assert!(reader.u32().is_ok() && reader.string_triples().is_err());
    }

    #[test]
    fn structures_begin_at_multiples_of_eight() {
        let mut writer = Writer::default();
        writer.variant(&Value::Networks(vec![(2, vec![10, 0, 0, 0], 8)]));
        let mut expected = b"\x07a(iayu)\0".to_vec();
        expected.extend([0; 3]);
        // Behind the padding: length of the array (from the first structure on), family, length and bytes of the address, prefix.
        expected.extend([16, 0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 0, 10, 0, 0, 0, 8, 0, 0, 0]);
        assert_eq!(writer.into_bytes(), expected);
        let mut writer = Writer::default();
        writer.variant(&Value::Marked(true, vec!["lo".into()]));
        let expected: &[u8] = &[
            5, b'(', b'b', b'a', b's', b')', 0, 0, // the type, padding to the structure
            1, 0, 0, 0, 7, 0, 0, 0, 2, 0, 0, 0, b'l', b'o', 0,
        ];
        assert_eq!(writer.into_bytes(), expected);
        let mut writer = Writer::default();
        writer.variant(&Value::Sockets(vec![(10, 6, 10, 80)]));
        let bytes = writer.into_bytes();
        assert_eq!(bytes[12..], [12, 0, 0, 0, 10, 0, 0, 0, 6, 0, 0, 0, 10, 0, 80, 0]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(strings in proptest::collection::vec("[^\0]{0,20}", 0..5), number in any::<u32>()) {
            let mut writer = Writer::default();
            for text in &strings {
                writer.string(text);
                writer.u32(number);
            }
            let bytes = writer.into_bytes();
            let mut reader = Reader::new(&bytes, false);
            for text in &strings {
                prop_assert_eq!(reader.string(), Ok(text.as_str()));
                prop_assert_eq!(reader.u32(), Ok(number));
            }
            prop_assert_eq!(reader.position(), bytes.len());
            prop_assert!(reader.byte().is_err());
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..64), order in any::<bool>()) {
            let mut reader = Reader::new(&bytes, order);
            let _ = (reader.clone().string_variant(), reader.clone().i32_variant(), reader.clone().u32_variant());
            let _ = reader.clone().dictionary(|_, _| {});
            while reader.string().is_ok() && reader.skip_basic("t").is_ok() && reader.skip_basic("g").is_ok() {}
            prop_assert!(reader.position() <= bytes.len());
        }
    }
}
