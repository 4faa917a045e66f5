//! The syntax of unit files, see systemd.syntax(7).

/// A file taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// Its assignments, in order; those in sections and to keys that begin with `X-` are not among them.
    pub assignments: Vec<Assignment>,
    /// Lines that are ignored, and why.
    pub complaints: Vec<(usize, String)>,
}

/// `KEY=VALUE` in a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The section.
    pub section: String,
    /// The key.
    pub key: String,
    /// The value, continued lines joined by spaces, as they are; without white space around it.
    pub value: String,
    /// The line on which it ends, counted from 1.
    pub line: usize,
}

/// A line that begins with a bracket, but is no section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoSection {
    /// Which line, counted from 1.
    pub line: usize,
    /// What it says.
    pub text: String,
}

/// The sections that a settings file has.
const SECTIONS: [&str; 3] = ["Exec", "Files", "Network"];

/// Where a line stands.
enum Place {
    Outside,
    Known(String),
    Ignored,
}

/// Takes a file apart.
///
/// # Errors
/// `NoSection`: then it is unclear what all that follows belongs to.
pub fn parse(text: &[u8]) -> Result<Parsed, NoSection> {
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    let mut parsed = Parsed::default();
    let mut place = Place::Outside;
    let mut begun: Option<Vec<u8>> = None;
    let mut last = 0;
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        last = index + 1;
        let first = line.trim_ascii_start().first();
        if first.is_some_and(|first| matches!(first, b'#' | b';')) {
            continue;
        }
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let backslashes = line.iter().rev().take_while(|byte| **byte == b'\\').count();
        if backslashes % 2 == 1 {
            let joined = begun.get_or_insert_default();
            joined.extend_from_slice(&line[..line.len() - 1]);
            joined.push(b' ');
            continue;
        }
        let joined = begun.take();
        match joined {
            Some(mut joined) => {
                joined.extend_from_slice(line);
                whole_line(&joined, last, &mut place, &mut parsed)?;
            }
            None => whole_line(line, last, &mut place, &mut parsed)?,
        }
    }
    if let Some(joined) = begun {
        whole_line(&joined, last, &mut place, &mut parsed)?;
    }
    Ok(parsed)
}

fn whole_line(bytes: &[u8], line: usize, place: &mut Place, parsed: &mut Parsed) -> Result<(), NoSection> {
    let Some(text) = std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0')) else {
        parsed.complaints.push((line, "this is no text in UTF-8; the line is ignored".into()));
        return Ok(());
    };
    let text = text.trim_ascii();
    if text.is_empty() {
        return Ok(());
    }
    if let Some(header) = text.strip_prefix('[') {
        let name = header.strip_suffix(']').ok_or_else(|| NoSection { line, text: text.escape_debug().to_string() })?;
        *place = match name {
            name if SECTIONS.contains(&name) => Place::Known(name.to_owned()),
            name => {
                if !name.starts_with("X-") {
                    let name = name.escape_debug();
                    parsed.complaints.push((line, format!("there is no section [{name}]; it is ignored")));
                }
                Place::Ignored
            }
        };
        return Ok(());
    }
    let section = match place {
        Place::Known(section) => section.clone(),
        Place::Outside => {
            parsed.complaints.push((line, "this belongs to no section; the line is ignored".into()));
            return Ok(());
        }
        Place::Ignored => return Ok(()),
    };
    let Some((key, value)) = text.split_once('=') else {
        parsed.complaints.push((line, "this has no \"=\"; the line is ignored".into()));
        return Ok(());
    };
    let (key, value) = (key.trim_ascii_end(), value.trim_ascii());
    if !key.starts_with("X-") {
        let key = key.escape_debug().to_string();
        parsed.assignments.push(Assignment { section, key, value: value.to_owned(), line });
    }
    Ok(())
}

/// Words with white space between them; quotes hold words together, and nothing else is special.
pub(super) fn words(value: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for letter in value.chars() {
        match (quote, letter) {
            (Some(open), _) if open == letter => quote = None,
            (Some(_), _) => word.get_or_insert_default().push(letter),
            (None, '"' | '\'') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, _) if letter.is_ascii_whitespace() => words.extend(word.take()),
            (None, _) => word.get_or_insert_default().push(letter),
        }
    }
    if quote.is_some() {
        return Err("a quote is not closed");
    }
    words.extend(word);
    Ok(words)
}
