//! The database of the tree's own dpkg, written as dpkg leaves it when it has unpacked packages and configured none:
//! `/var/lib/dpkg/{status,info,triggers}`, see dpkg(1), deb-triggers(5) and deb-conffiles(5).

use std::collections::BTreeMap;
use std::fmt::Write;

use super::package::{MultiArch, Package};
use super::unpack::Unpacked;
use crate::tree::{Error, Tree};

/// Where it is in the tree.
const DIRECTORY: &str = "var/lib/dpkg";

/// Control files that the status file and the file list hold instead.
const ELSEWHERE: &[&str] = &["control", "list"];

/// Writes the database for packages of which no dpkg knows yet, in the order in which they count as unpacked.
///
/// # Errors
/// A file that cannot be written.
pub fn write(tree: &Tree, packages: &[Unpacked]) -> Result<(), Error> {
    for name in ["info", "updates", "parts", "alternatives", "triggers"] {
        tree.make_directories(format!("{DIRECTORY}/{name}").as_bytes())?;
    }
    tree.write(&format!("{DIRECTORY}/info/format"), b"1\n", 0o644)?;
    let mut status = String::new();
    let mut triggers = Triggers::default();
    for package in packages {
        let name = info_name(&package.package);
        for (file, control) in &package.control {
            if !ELSEWHERE.contains(&file.as_str()) {
                let mode = if control.executable { 0o755 } else { 0o644 };
                tree.write(&format!("{DIRECTORY}/info/{name}.{file}"), &control.content, mode)?;
            }
        }
        tree.write(&format!("{DIRECTORY}/info/{name}.list"), &file_list(package), 0o644)?;
        if let Some(declared) = package.control.get("triggers") {
            triggers.declare(&name, &String::from_utf8_lossy(&declared.content));
        }
        add_status(&mut status, package);
    }
    tree.write(&format!("{DIRECTORY}/status"), status.as_bytes(), 0o644)?;
    for (file, lines) in &triggers.files {
        tree.write(&format!("{DIRECTORY}/triggers/{file}"), lines.as_bytes(), 0o644)?;
    }
    Ok(())
}

/// How the files of a package are named: with the architecture where several can be installed beside each other.
pub fn info_name(package: &Package) -> String {
    match package.multi_arch() {
        MultiArch::Same => format!("{}:{}", package.name(), package.architecture()),
        _ => package.name().to_owned(),
    }
}

fn file_list(package: &Unpacked) -> Vec<u8> {
    let mut list = b"/.\n".to_vec();
    for path in &package.paths {
        // No line of the list can hold a path with a line break; Debian has none.
        if !path.contains(&b'\n') {
            list.push(b'/');
            list.extend_from_slice(path);
            list.push(b'\n');
        }
    }
    list
}

fn add_status(status: &mut String, package: &Unpacked) {
    // Writing to a string cannot fail.
    for (name, value) in package.package.paragraph().fields() {
        if matches!(name, "Status" | "Conffiles" | "Config-Version" | "Triggers-Pending" | "Triggers-Awaited") {
            continue;
        }
        let _ = writeln!(status, "{name}: {value}");
        if name == "Package" {
            status.push_str("Status: install ok unpacked\n");
        }
    }
    if !package.conffiles.is_empty() {
        status.push_str("Conffiles:\n");
        for (path, hash) in &package.conffiles {
            let _ = writeln!(status, " /{path} {hash}");
        }
    }
    status.push('\n');
}

/// Who wants to be told about what.
#[derive(Default)]
struct Triggers {
    /// The lines of each file: `File` for paths, else one file for each trigger.
    files: BTreeMap<String, String>,
}

impl Triggers {
    fn declare(&mut self, package: &str, text: &str) {
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let wait = match words.next() {
                Some("interest" | "interest-await") => "",
                Some("interest-noawait") => "/noawait",
                _ => continue,
            };
            let Some(trigger) = words.next() else { continue };
            let lines = |file: &str| file.to_owned();
            if trigger.starts_with('/') {
                let lines = self.files.entry(lines("File")).or_default();
                let _ = writeln!(lines, "{trigger} {package}{wait}");
            } else if trigger.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/') && !trigger.starts_with('.') {
                let lines = self.files.entry(lines(trigger)).or_default();
                let _ = writeln!(lines, "{package}{wait}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apt::deb::ControlFile;

    #[test]
    fn the_database_has_what_dpkg_expects() {
        let directory = tempfile::tempdir().unwrap();
        let tree = Tree::open(directory.path()).unwrap();
        let control =
            "Package: libx\nVersion: 1-1\nArchitecture: amd64\nMulti-Arch: same\nDescription: a\n longer\n .\n text\n";
        let file = |text: &str, executable| ControlFile { content: text.into(), executable };
        let unpacked = Unpacked::for_tests(
            Package::parse(control).unwrap(),
            [
                ("control", file(control, false)),
                ("postinst", file("#!/bin/sh\n", true)),
                ("triggers", file("# comment\ninterest-noawait ldconfig\ninterest /usr/lib/x\nactivate y\n", false)),
            ],
            &["usr", "usr/lib", "etc/x.conf"],
            &[("etc/x.conf", "d41d8cd98f00b204e9800998ecf8427e")],
        );
        write(&tree, &[unpacked]).unwrap();
        let read = |path: &str| String::from_utf8(tree.read(&format!("{DIRECTORY}/{path}")).unwrap().unwrap()).unwrap();
        assert_eq!(
            read("status"),
            "Package: libx\nStatus: install ok unpacked\nVersion: 1-1\nArchitecture: amd64\nMulti-Arch: same\n\
             Description: a\n longer\n .\n text\nConffiles:\n /etc/x.conf d41d8cd98f00b204e9800998ecf8427e\n\n"
        );
        assert_eq!(read("info/libx:amd64.list"), "/.\n/usr\n/usr/lib\n/etc/x.conf\n");
        assert_eq!(read("info/libx:amd64.postinst"), "#!/bin/sh\n");
        assert_eq!(read("triggers/File"), "/usr/lib/x libx:amd64\n");
        assert_eq!(read("triggers/ldconfig"), "libx:amd64/noawait\n");
        assert!(!tree.exists("var/lib/dpkg/info/libx:amd64.control"));
    }
}
