//! `.MTREE`: the list of a package's files, by which they are known before the archive is read to its end; see mtree(5).

use std::io::Read;

use super::decoder::decoder;

/// The most that a list may take decompressed: the largest of Arch Linux take some MiB.
const LARGEST: u64 = 256 << 20;

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
#[must_use]
pub fn files(compressed: &[u8]) -> Option<Vec<Listed>> {
    let mut text = Vec::new();
    let mut content = decoder(std::io::Cursor::new(compressed.to_vec())).ok()?.take(LARGEST + 1);
    content.read_to_end(&mut text).ok()?;
    if text.len() as u64 > LARGEST {
        return None;
    }
    parse(&text)
}

/// As [`files`], of what has been decompressed.
#[must_use]
pub fn parse(text: &[u8]) -> Option<Vec<Listed>> {
    let mut lines = text.split(|byte| *byte == b'\n');
    if !lines.next()?.starts_with(b"#mtree") {
        return None;
    }
    let mut defaults = Defaults::default();
    let mut files = Vec::new();
    for line in lines {
        let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        let Some(first) = words.next() else { continue };
        match first {
            b"/set" => words.try_for_each(|word| apply(word, &mut defaults))?,
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
                let mut own = Defaults { ..defaults };
                words.try_for_each(|word| apply(word, &mut own))?;
                if !path.starts_with(b".") {
                    files.push(Listed { path, directory: own.directory, size: own.size });
                }
            }
        }
    }
    Some(files)
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
            parse(text).unwrap(),
            [listed("etc", true, 0), listed("etc/a b\\", false, 5), listed("usr", true, 0), listed("usr/l", false, 0)]
        );
    }

    #[test]
    fn other_forms_are_left() {
        for text in
            ["", "usr type=dir\n", "#mtree\nusr type=dir\n    bin\n..\n", "#mtree\n./a\\4\n", "#mtree\n./a size=x\n"]
        {
            assert_eq!(parse(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(parse(b"#mtree\n"), Some(Vec::new()));
    }
}
