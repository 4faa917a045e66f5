//! `.MTREE`: the list of a package's files, by which they are known before the archive is read to its end; see mtree(5).

use std::io::{BufRead, BufReader, Read};

use super::archive::Problem;
use super::archive::list::FileList;
use super::decoder::decoder;

/// The most that a list may take decompressed: the largest of Arch Linux take some MiB.
const LARGEST: u64 = 128 << 20;
/// The longest line: a path of 4096 bytes, each in four letters, and room for what is said of it.
const LONGEST_LINE: u64 = 32 << 10;

/// A file of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its path, without a slash at the beginning or the end.
    pub path: Vec<u8>,
    /// Whether it is a directory.
    pub directory: bool,
    /// The size of a regular file; 0 for all else.
    pub size: u64,
}

/// What a line says where it says nothing else.
#[derive(Default)]
struct Defaults {
    directory: bool,
    size: u64,
}

/// The files of the list as `.MTREE` has it (compressed), without those of the package itself, such as `.PKGINFO`. `None`
/// where it is not in the form that makepkg(8) gives it.
///
/// # Errors
/// Where a file is listed twice, none of a package's, or one too many.
pub fn files(compressed: &[u8]) -> Result<Option<Vec<Listed>>, Problem> {
    let Ok(content) = decoder(std::io::Cursor::new(compressed.to_vec())) else { return Ok(None) };
    let mut text = BufReader::new(content.take(LARGEST + 1));
    let files = read(&mut text)?;
    Ok(files.filter(|_| text.get_ref().limit() > 0))
}

/// As [`files`], of what has been decompressed.
///
/// # Errors
/// As [`files`].
pub fn parse(text: &[u8]) -> Result<Option<Vec<Listed>>, Problem> {
    read(&mut &*text)
}

fn read(text: &mut impl BufRead) -> Result<Option<Vec<Listed>>, Problem> {
    let mut line = Vec::new();
    if !matches!(next_line(text, &mut line), Some(true)) || !line.starts_with(b"#mtree") {
        return Ok(None);
    }
    let mut defaults = Defaults::default();
    let mut files = FileList::default();
    loop {
        match next_line(text, &mut line) {
            Some(true) => {}
            Some(false) => return files.finish().map(Some),
            None => return Ok(None),
        }
        match entry(&line, &mut defaults) {
            Some(Some(file)) => files.push(file)?,
            Some(None) => {}
            None => return Ok(None),
        }
    }
}

/// The next line; `Some(false)` behind the last one, `None` where it cannot be read, or is longer than any can be.
fn next_line(text: &mut impl BufRead, line: &mut Vec<u8>) -> Option<bool> {
    line.clear();
    let read = text.take(LONGEST_LINE + 1).read_until(b'\n', line).ok()?;
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    (line.len() as u64 <= LONGEST_LINE).then_some(read > 0)
}

/// What a line says: `Some(None)` if it is nothing of a file, `None` if it has another form.
fn entry(line: &[u8], defaults: &mut Defaults) -> Option<Option<Listed>> {
    let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let Some(first) = words.next() else { return Some(None) };
    match first {
        b"/set" => words.try_for_each(|word| apply(word, defaults))?,
        b"/unset" => {
            for word in words {
                match word {
                    b"type" => defaults.directory = false,
                    b"size" => defaults.size = 0,
                    _ => {}
                }
            }
        }
        _ if first[0] == b'#' => {}
        _ => {
            let path = unescape(first.strip_prefix(b"./")?)?;
            let mut own = Defaults { ..*defaults };
            words.try_for_each(|word| apply(word, &mut own))?;
            if !path.starts_with(b".") {
                return Some(Some(Listed { path, directory: own.directory, size: own.size }));
            }
        }
    }
    Some(None)
}

fn apply(word: &[u8], to: &mut Defaults) -> Option<()> {
    if let Some(kind) = word.strip_prefix(b"type=") {
        to.directory = kind == b"dir";
    } else if let Some(size) = word.strip_prefix(b"size=") {
        to.size = std::str::from_utf8(size).ok()?.parse().ok()?;
    }
    Some(())
}

/// A backslash and three octal digits stand for a byte.
fn unescape(word: &[u8]) -> Option<Vec<u8>> {
    let mut path = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            path.push(byte);
            continue;
        }
        let (digits, after) = rest.split_at_checked(3)?;
        rest = after;
        path.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()?);
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_of_makepkg_are_read() {
        let listed = |path: &str, directory, size| Listed { path: path.into(), directory, size };
        let text = b"#mtree\n/set type=file uid=0 gid=0 mode=644\n./.PKGINFO time=1.0 size=331 md5digest=x\n\
            ./etc time=1.0 mode=755 type=dir\n./etc/a\\040b\\134 time=1.0 size=5\n/set mode=755 type=dir\n./usr time=1.0\n\
            ./usr/l type=link link=x\n";
        assert_eq!(
            parse(text).unwrap().unwrap(),
            [listed("etc", true, 0), listed("etc/a b\\", false, 5), listed("usr", true, 0), listed("usr/l", false, 0)]
        );
    }

    #[test]
    fn other_forms_are_left() {
        for text in
            ["", "usr type=dir\n", "#mtree\nusr type=dir\n    bin\n..\n", "#mtree\n./a\\4\n", "#mtree\n./a size=x\n"]
        {
            assert_eq!(parse(text.as_bytes()).unwrap(), None, "{text:?}");
        }
        assert_eq!(parse(b"#mtree\n").unwrap(), Some(Vec::new()));
        let escaped = vec!["\\101".repeat(250); 16].join("/");
        assert_eq!(parse(format!("#mtree\n./{escaped}\n").as_bytes()).unwrap().unwrap()[0].path.len(), 4015);
        assert_eq!(parse(format!("#mtree\n./a {}\n", " ".repeat(1 << 20)).as_bytes()).unwrap(), None);
    }

    #[test]
    fn lists_do_not_grow_without_end() {
        let refused = |text: &str| files(&zstd::encode_all(text.as_bytes(), 1).unwrap()).unwrap_err();
        // The rest is not read.
        let error = refused(&format!("#mtree\n{}", "./a\n".repeat(1 << 20)));
        assert!(matches!(&error, Problem::Twice(path) if path == "a"), "{error}");
        let many: String = (0..=1_000_000).map(|number| format!("./{number:x}\n")).collect();
        assert!(matches!(refused(&format!("#mtree\n{many}")), Problem::TooMany));
        let path = vec!["d".repeat(255); 15].join("/");
        let long: String = (0..28_000).map(|number| format!("./{path}/{number}\n")).collect();
        assert!(matches!(refused(&format!("#mtree\n{long}")), Problem::TooMany));
        // Nothing but comments: it is read to a limit, then counts as none.
        let line = format!("# {}\n", "x".repeat(10_000));
        let lines = std::iter::once(&b"#mtree\n"[..]).chain(std::iter::repeat_n(line.as_bytes(), 14_000));
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        lines.for_each(|line| std::io::Write::write_all(&mut encoder, line).unwrap());
        assert_eq!(files(&encoder.finish().unwrap()).unwrap(), None);
    }
}
