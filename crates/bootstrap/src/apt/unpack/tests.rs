use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::progress::Silent;

/// One entry of an archive: path, type flag, mode, link target, content.
type Entry<'a> = (&'a str, u8, u32, &'a str, &'a [u8]);

fn tar(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (path, kind, mode, link, content) in entries {
        let mut header = tar::Header::new_gnu();
        let fields = header.as_gnu_mut().unwrap();
        fields.name[..path.len()].copy_from_slice(path.as_bytes());
        fields.linkname[..link.len()].copy_from_slice(link.as_bytes());
        fields.typeflag = [*kind];
        header.set_mode(*mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        header.set_size(content.len() as u64);
        if matches!(kind, b'3' | b'4') {
            header.set_device_major(1).unwrap();
            header.set_device_minor(3).unwrap();
        }
        header.set_cksum();
        archive.extend_from_slice(header.as_bytes());
        archive.extend_from_slice(content);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.resize(archive.len() + 1024, 0);
    archive
}

fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = b"!<arch>\n".to_vec();
    for (name, content) in members {
        writeln!(archive, "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`", 0, 0, 0, 100_644, content.len()).unwrap();
        archive.extend_from_slice(content);
        if content.len() % 2 == 1 {
            archive.push(b'\n');
        }
    }
    archive
}

fn xz(content: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// A package file and what an index would say of it.
fn package(directory: &Path, name: &str, more: &str, control: &[Entry<'_>], data: &[Entry<'_>]) -> Item {
    let text = format!("Package: {name}\nVersion: 1\nArchitecture: all\n{more}");
    let mut files = vec![("./control", b'0', 0o644, "", text.as_bytes())];
    files.extend_from_slice(control);
    let members: &[(&str, &[u8])] = &[
        ("debian-binary", b"2.0\n"),
        ("control.tar.zst", &zstd::encode_all(&*tar(&files), 1).unwrap()),
        ("data.tar.xz", &xz(&tar(data))),
    ];
    let file = directory.join(format!("{name}.deb"));
    fs::write(&file, ar(members)).unwrap();
    Item { package: Package::parse(&text).unwrap(), file }
}

struct Place {
    _directory: tempfile::TempDir,
    root: PathBuf,
    debs: PathBuf,
    tree: Tree,
}

fn place() -> Place {
    let directory = tempfile::tempdir().unwrap();
    let (root, debs) = (directory.path().join("root"), directory.path().join("debs"));
    fs::create_dir(&root).unwrap();
    fs::create_dir(&debs).unwrap();
    let tree = Tree::open(&root).unwrap();
    Place { _directory: directory, root, debs, tree }
}

fn unpack_all(place: &Place, items: &[Item]) -> Result<Vec<Unpacked>, Error> {
    unpack(&place.tree, items, &Silent, &Interrupt::default())
}

/// The package that comes first; with links below /usr as in Debian 13.
fn base(place: &Place) -> Item {
    let data: &[Entry<'_>] = &[
        ("./", b'5', 0o755, "", b""),
        ("./usr/", b'5', 0o755, "", b""),
        ("./usr/lib/", b'5', 0o755, "", b""),
        ("./usr/bin/", b'5', 0o755, "", b""),
        ("./bin", b'2', 0o777, "usr/bin", b""),
        ("./lib", b'2', 0o777, "usr/lib", b""),
        ("./tmp/", b'5', 0o1777, "", b""),
    ];
    package(&place.debs, "base-files", "", &[], data)
}

#[test]
fn files_come_as_the_package_has_them() {
    testkit::requires!(root);
    let place = place();
    let control: &[Entry<'_>] = &[
        ("./conffiles", b'0', 0o644, "", b"remove-on-upgrade /etc/gone\n/etc/one.conf\n"),
        ("./postinst", b'0', 0o755, "", b"#!/bin/sh\n"),
    ];
    let long = "x".repeat(90) + "/" + &"y".repeat(9);
    let data: &[Entry<'_>] = &[
        ("./", b'5', 0o700, "", b""),
        ("./lib/", b'5', 0o755, "", b""),
        ("./lib/file", b'0', 0o4755, "", b"content"),
        ("./lib/again", b'1', 0o4755, "./lib/file", b""),
        ("./etc/one.conf", b'0', 0o640, "", b"a\n"),
        ("./tmp/", b'5', 0o700, "", b""),
        ("./dev/null", b'3', 0o666, "", b""),
        (&long, b'0', 0o644, "", b""),
    ];
    let unpacked = unpack_all(&place, &[base(&place), package(&place.debs, "one", "", control, data)]).unwrap();
    assert_eq!(fs::read(place.root.join("usr/lib/file")).unwrap(), b"content");
    let status = fs::metadata(place.root.join("usr/lib/file")).unwrap();
    assert_eq!((status.mode() & 0o7777, status.mtime(), status.nlink()), (0o4755, 1_000_000_000, 2));
    assert_eq!(fs::read_link(place.root.join("lib")).unwrap(), Path::new("usr/lib"));
    // The first package says what a directory is like.
    assert_eq!(fs::metadata(place.root.join("tmp")).unwrap().permissions().mode() & 0o7777, 0o1777);
    let null = fs::metadata(place.root.join("dev/null")).unwrap();
    assert!(null.file_type().is_char_device());
    assert_eq!(null.rdev(), rustix::fs::makedev(1, 3));
    assert!(place.root.join(&long).exists());
    let conffiles =
        [("etc/gone", "newconffile remove-on-upgrade"), ("etc/one.conf", "60b725f10c9c85c70d97880dfe8191b3")];
    assert_eq!(unpacked[1].conffiles, conffiles.map(|(path, what)| (path.to_owned(), what.to_owned())));
    assert!(unpacked[1].control["postinst"].executable);
    assert_eq!(unpacked[1].paths[1], b"lib/file");
}

#[test]
fn directories_move_below_usr_where_the_base_does_not_link_them() {
    let place = place();
    let old: &[Entry<'_>] = &[("./bin/", b'5', 0o755, "", b""), ("./lib/", b'5', 0o755, "", b"")];
    let item = package(&place.debs, "base-files", "", &[], old);
    let tool: &[Entry<'_>] = &[("./bin/", b'5', 0o755, "", b""), ("./bin/tool", b'0', 0o755, "", b"x")];
    testkit::requires!(root);
    unpack_all(&place, &[item, package(&place.debs, "tool", "", &[], tool)]).unwrap();
    assert_eq!(fs::read_link(place.root.join("bin")).unwrap(), Path::new("usr/bin"));
    assert_eq!(fs::read(place.root.join("usr/bin/tool")).unwrap(), b"x");
}

#[test]
fn nothing_leads_out_of_the_tree() {
    testkit::requires!(root);
    let secret: &[u8] = b"outside";
    let hostile: &[&[Entry<'_>]] = &[
        &[("../evil", b'0', 0o644, "", b"x")],
        &[("./usr/../../evil", b'0', 0o644, "", b"x")],
        &[("./out", b'2', 0o777, "../..", b""), ("./out/evil", b'0', 0o644, "", b"x")],
        &[("./out", b'2', 0o777, "/", b""), ("./out/evil", b'0', 0o644, "", b"x")],
        &[("./out", b'2', 0o777, "../secret", b""), ("./out", b'0', 0o644, "", b"x")],
        &[("./hard", b'1', 0o644, "../secret", b"")],
        &[("./out", b'2', 0o777, "../secret", b""), ("./hard", b'1', 0o644, "out", b"")],
        &[("./self", b'2', 0o777, "/proc/self/root", b""), ("./self/evil", b'0', 0o644, "", b"x")],
        &[("./out", b'2', 0o777, "..", b""), ("./out/", b'5', 0o777, "", b""), ("./out/evil/", b'5', 0o777, "", b"")],
        &[("/evil", b'0', 0o644, "", b"x")],
    ];
    for data in hostile {
        let place = place();
        let above = place.root.parent().unwrap();
        fs::write(above.join("secret"), secret).unwrap();
        let before = fs::metadata(above.join("secret")).unwrap();
        let _ = unpack_all(&place, &[base(&place), package(&place.debs, "hostile", "", &[], data)]);
        let mut names: Vec<_> = fs::read_dir(above).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["debs", "root", "secret"], "{data:?}");
        let after = fs::metadata(above.join("secret")).unwrap();
        assert_eq!((after.nlink(), after.mode(), after.mtime()), (1, before.mode(), before.mtime()), "{data:?}");
        assert_eq!(fs::read(above.join("secret")).unwrap(), secret);
        assert!(!Path::new("/evil").exists());
    }
}

#[test]
fn a_file_of_two_packages_is_that_of_the_one_that_replaces_the_other() {
    testkit::requires!(root);
    let data = |content: &'static [u8]| [("./usr/lib/same", b'0', 0o644, "", content)];
    for first_replaces in [true, false] {
        let place = place();
        let (one, two) = if first_replaces { ("Replaces: two\n", "") } else { ("", "Replaces: one (<< 2)\n") };
        let items = [
            base(&place),
            package(&place.debs, "one", one, &[], &data(b"one")),
            package(&place.debs, "two", two, &[], &data(b"two")),
        ];
        let unpacked = unpack_all(&place, &items).unwrap();
        let (winner, loser) = if first_replaces { (1, 2) } else { (2, 1) };
        assert_eq!(fs::read(place.root.join("usr/lib/same")).unwrap(), if winner == 1 { b"one" } else { b"two" });
        assert!(unpacked[winner].paths.contains(&b"usr/lib/same".to_vec()));
        assert!(!unpacked[loser].paths.contains(&b"usr/lib/same".to_vec()));
    }
    let place = place();
    let items = [
        base(&place),
        package(&place.debs, "one", "", &[], &data(b"one")),
        package(&place.debs, "two", "Replaces: one (>> 1)\n", &[], &data(b"two")),
    ];
    assert!(matches!(unpack_all(&place, &items), Err(Error::Collision { .. })));
}

#[test]
fn a_file_that_holds_another_package_is_refused() {
    let place = place();
    let mut item = package(&place.debs, "one", "", &[], &[]);
    item.package = Package::parse("Package: two\nVersion: 1\nArchitecture: all\n").unwrap();
    assert!(matches!(unpack_all(&place, &[item]), Err(Error::Other { .. })));
}

#[test]
fn damaged_files_are_refused() {
    let good = tar(&[("./control", b'0', 0o644, "", b"Package: a\nVersion: 1\nArchitecture: all\n")]);
    let binary: (&str, &[u8]) = ("debian-binary", b"2.0\n");
    let files = [
        Vec::new(),
        b"!<arch>\n".to_vec(),
        ar(&[binary]),
        ar(&[("debian-binary", b"3.0\n"), ("control.tar", &good), ("data.tar", &tar(&[]))]),
        ar(&[binary, ("data.tar", &tar(&[])), ("control.tar", &good)]),
        ar(&[binary, ("control.tar", &tar(&[])), ("data.tar", &tar(&[]))]),
        ar(&[binary, ("control.tar.lzo", &good), ("data.tar", &tar(&[]))]),
        ar(&[binary, ("control.tar", &tar(&[("./control", b'2', 0o644, "/etc/passwd", b"")])), ("data.tar", b"")]),
        ar(&[binary, ("control.tar", &tar(&[("../x", b'0', 0o644, "", b"")])), ("data.tar", b"")]),
    ];
    for (number, file) in files.into_iter().enumerate() {
        assert!(Deb::read(io::Cursor::new(file)).is_err(), "{number}");
    }
}

/// Reads everything in a file, as far as it goes.
fn read_all(file: Vec<u8>) {
    if let Ok(mut deb) = Deb::read(io::Cursor::new(file)) {
        while let Ok(Some(_)) = deb.data.next_entry() {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn broken_files_never_panic(at in 0usize..5000, byte: u8, cut in 0usize..8000) {
        let control = tar(&[("./control", b'0', 0o644, "", b"Package: a\nVersion: 1\nArchitecture: all\n")]);
        let data = tar(&[("./a", b'0', 0o644, "", b"a"), ("./b", b'L', 0o644, "", b"long"), ("./c", b'x', 0, "", b"9 path=a\n")]);
        let mut file = ar(&[("debian-binary", b"2.0\n"), ("control.tar", &control), ("data.tar", &data)]);
        let length = file.len();
        file[at % length] = byte;
        file.truncate(cut.max(1));
        read_all(file);
    }

    #[test]
    fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
        let mut reader = crate::tar_reader::TarReader::new(&*bytes);
        while let Ok(Some(_)) = reader.next_entry() {}
        read_all(bytes);
    }
}
