//! Whether two trees are the same.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use super::Scene;

/// What can be told of a file.
#[derive(Debug, PartialEq, Eq)]
struct File {
    mode: u32,
    owner: (u32, u32),
    links: u64,
    device: u64,
    /// Only of what has the time of a package: all else was made now.
    time: Option<i64>,
    attributes: Vec<(String, Vec<u8>)>,
    content: String,
}

impl Scene {
    /// Checks that redd has made the same of its tree as pacman of the other.
    pub(crate) fn compare(&self, name: &str) {
        let (theirs, ours) = (self.files("theirs"), self.files("ours"));
        for (path, file) in &theirs {
            assert_eq!(Some(file), ours.get(path), "{name}: {path} (left: pacman)");
        }
        let more: Vec<&String> = ours.keys().filter(|path| !theirs.contains_key(*path)).collect();
        assert!(more.is_empty(), "{name}: only redd has {more:?}");
    }

    fn files(&self, tree: &str) -> BTreeMap<String, File> {
        let mut files = BTreeMap::new();
        let root = self.path(tree);
        walk(&root, &root, &mut files);
        files
    }
}

fn walk(root: &Path, directory: &Path, files: &mut BTreeMap<String, File>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let short = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
        let status = fs::symlink_metadata(&path).unwrap();
        let kind = status.file_type();
        let content = if kind.is_symlink() {
            format!("-> {}", fs::read_link(&path).unwrap().display())
        } else if kind.is_file() {
            content(root, &short, &fs::read(&path).unwrap())
        } else {
            String::new()
        };
        let old = status.mtime() == 981_173_106;
        let device = if kind.is_char_device() || kind.is_block_device() { status.rdev() } else { 0 };
        let file = File {
            mode: status.mode(),
            owner: (status.uid(), status.gid()),
            links: if kind.is_dir() { 0 } else { status.nlink() },
            device,
            time: (old && !kind.is_dir()).then_some(status.mtime()),
            attributes: if kind.is_file() || kind.is_dir() { attributes(&path) } else { Vec::new() },
            content,
        };
        if kind.is_dir() {
            walk(root, &path, files);
        }
        files.insert(short, file);
    }
}

fn attributes(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut list = vec![0; 4096];
    let length = rustix::fs::listxattr(path, &mut list).unwrap();
    let names = list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let mut all: Vec<(String, Vec<u8>)> = names
        .map(|name| {
            let mut value = vec![0; 4096];
            let length = rustix::fs::getxattr(path, std::ffi::OsStr::from_bytes(name), &mut value).unwrap();
            value.truncate(length);
            (String::from_utf8_lossy(name).into_owned(), value)
        })
        .collect();
    all.sort();
    all
}

/// A file's content, without what differs from run to run.
fn content(root: &Path, path: &str, bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    if path == "var/log/pacman.log" {
        // `[TIME] [WHO] text`; pacman says paths with the root.
        let lines = text.lines().filter(|line| !line.contains("[PACMAN]"));
        let lines =
            lines.map(|line| line.split_once("] ").filter(|_| line.starts_with('[')).map_or(line, |(_, text)| text));
        return lines.map(|line| format!("{}\n", line.replace(root.to_str().unwrap(), ""))).collect();
    }
    if path.starts_with("var/lib/pacman/local/") && path.ends_with("/desc") {
        let mut lines: Vec<&str> = text.lines().collect();
        let at = lines.iter().position(|line| *line == "%INSTALLDATE%").unwrap();
        lines[at + 1] = "now";
        // pacman 6.0 does not write these, later ones do.
        if let Some(at) = lines.iter().position(|line| *line == "%XDATA%") {
            let end = lines[at..].iter().position(|line| line.is_empty()).unwrap();
            lines.drain(at..=at + end);
        }
        return lines.join("\n");
    }
    text.into_owned()
}
