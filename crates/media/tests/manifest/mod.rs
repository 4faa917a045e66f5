//! All that is to be the same of two trees.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// A line for each file: path, type and mode, owners, time, contents or the like, links, and extended attributes.
///
/// # Panics
/// If the tree cannot be read.
pub(crate) fn manifest(root: &Path) -> Vec<String> {
    let (mut lines, mut seen) = (Vec::new(), HashMap::new());
    add(root, "", &mut lines, &mut seen);
    lines
}

fn add(path: &Path, shown: &str, lines: &mut Vec<String>, seen: &mut HashMap<u64, String>) {
    let status = fs::symlink_metadata(path).expect("a file");
    let kind = status.file_type();
    let more = if kind.is_file() {
        let first = if status.nlink() > 1 { seen.entry(status.ino()).or_insert(shown.to_owned()) } else { "" };
        let contents = fs::read(path).expect("contents");
        let sum = contents
            .iter()
            .fold(0xcbf2_9ce4_8422_2325u64, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
        format!("{} {sum:x} {} {first}", contents.len(), status.nlink())
    } else if kind.is_symlink() {
        fs::read_link(path).expect("a link").display().to_string()
    } else if kind.is_char_device() || kind.is_block_device() {
        format!("{:x}", status.rdev())
    } else {
        String::new()
    };
    let (mode, time) = (status.mode(), status.mtime());
    lines.push(format!("{shown} {mode:o} {}:{} {time} {more}{}", status.uid(), status.gid(), attributes(path)));
    if kind.is_dir() {
        let mut names: Vec<_> =
            fs::read_dir(path).expect("a directory").map(|entry| entry.expect("an entry").file_name()).collect();
        names.sort();
        names.iter().for_each(|name| add(&path.join(name), &format!("{shown}/{}", name.display()), lines, seen));
    }
}

fn attributes(path: &Path) -> String {
    let mut names = vec![0; 65536];
    let length = rustix::fs::llistxattr(path, &mut names).expect("attributes");
    let mut lines: Vec<String> = names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let mut value = vec![0; 65536];
            let length = rustix::fs::lgetxattr(path, name, &mut value).expect("an attribute");
            format!(" {}={:02x?}", String::from_utf8_lossy(name), &value[..length])
        })
        .collect();
    lines.sort();
    lines.concat()
}
