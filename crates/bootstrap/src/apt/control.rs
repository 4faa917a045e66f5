//! The format of control files, release files and package indices: paragraphs of fields, see deb822(5). Nothing is
//! copied: an index is 60 MB of text of which an installation looks at little.

use memchr::{memchr, memmem};

/// A paragraph: fields, each `Name: value`, the value going on in lines that begin with a space or a tab.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paragraph<'a> {
    text: &'a str,
}

impl<'a> Paragraph<'a> {
    /// Takes `text` as one paragraph.
    pub fn new(text: &'a str) -> Self {
        Self { text }
    }

    /// The paragraph as it stands.
    pub fn text(self) -> &'a str {
        self.text
    }

    /// The fields in their order.
    pub fn fields(self) -> Fields<'a> {
        Fields { rest: self.text }
    }

    /// The value of the first field of that name. Upper and lower case of the name are the same; the value has no space
    /// around it and keeps its line breaks.
    pub fn field(self, name: &str) -> Option<&'a str> {
        self.fields().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// The fields of a paragraph. Lines that are neither a field nor part of one are passed over, and so are comments.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.rest.is_empty() {
                return None;
            }
            let bytes = self.rest.as_bytes();
            let mut end = line_end(bytes, 0);
            if matches!(bytes[0], b' ' | b'\t' | b'#' | b'\n' | b'\r') {
                self.rest = &self.rest[end..];
                continue;
            }
            let colon = memchr(b':', &bytes[..end]);
            while matches!(bytes.get(end), Some(b' ' | b'\t')) {
                end = line_end(bytes, end);
            }
            let (field, rest) = self.rest.split_at(end);
            self.rest = rest;
            if let Some(colon) = colon {
                return Some((field[..colon].trim_end(), field[colon + 1..].trim()));
            }
        }
    }
}

/// Where the line that begins at `from` ends, its line break included.
fn line_end(bytes: &[u8], from: usize) -> usize {
    memchr(b'\n', &bytes[from..]).map_or(bytes.len(), |at| from + at + 1)
}

/// The paragraphs of a text: what lies between empty lines.
pub fn paragraphs(text: &str) -> Paragraphs<'_> {
    Paragraphs { text, position: 0 }
}

/// Iterates over the paragraphs of a text.
#[derive(Debug, Clone)]
pub struct Paragraphs<'a> {
    text: &'a str,
    position: usize,
}

impl<'a> Paragraphs<'a> {
    /// Like `next`, with the place of the paragraph in the text.
    pub fn next_at(&mut self) -> Option<(usize, Paragraph<'a>)> {
        let bytes = self.text.as_bytes();
        while matches!(bytes.get(self.position), Some(b'\n' | b'\r')) {
            self.position += 1;
        }
        if self.position >= bytes.len() {
            return None;
        }
        let start = self.position;
        let end = memmem::find(&bytes[start..], b"\n\n").map_or(bytes.len(), |at| start + at + 1);
        self.position = end;
        Some((start, Paragraph { text: &self.text[start..end] }))
    }
}

impl<'a> Iterator for Paragraphs<'a> {
    type Item = Paragraph<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_at().map(|(_, paragraph)| paragraph)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = "\n\nPackage: a\nDescription: short\n long\n .\n more\nEmpty:\n# comment\nVersion : 1\n\n\nPackage: b\nno field\n\tlost\nX:y";

    #[test]
    fn paragraphs_and_fields() {
        let all: Vec<_> = paragraphs(TEXT).collect();
        assert_eq!(all.len(), 2);
        let fields: Vec<_> = all[0].fields().collect();
        assert_eq!(
            fields,
            [("Package", "a"), ("Description", "short\n long\n .\n more"), ("Empty", ""), ("Version", "1")]
        );
        assert_eq!(all[1].field("package"), Some("b"));
        assert_eq!(all[1].field("X"), Some("y"));
        assert_eq!(all[1].field("Y"), None);
        assert_eq!(all[1].fields().count(), 2);
    }

    proptest! {
        #[test]
        fn never_panics(text in "([A-Za-z]{0,3}|[:\n\r\t #]|ä){0,60}") {
            for paragraph in paragraphs(&text) {
                for (name, value) in paragraph.fields() {
                    prop_assert!(!name.contains('\n'));
                    prop_assert_eq!(value.trim(), value);
                }
            }
        }
    }
}
