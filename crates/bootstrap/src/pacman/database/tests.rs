use std::io::Write;
use std::process::Command;

use testkit::requires;

use super::*;

/// An archive of these files.
fn tar(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        append(&mut builder, path, tar::EntryType::Regular, content);
    }
    builder.into_inner().unwrap()
}

fn header(path: &str, kind: tar::EntryType, size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_device_major(1).unwrap();
    header.set_device_minor(1).unwrap();
    header.set_cksum();
    header
}

/// The path stands there as it is given, whatever it holds.
fn append(builder: &mut tar::Builder<Vec<u8>>, path: &str, kind: tar::EntryType, content: &str) {
    let header = header(path, kind, content.len() as u64);
    builder.append(&header, content.as_bytes()).unwrap();
}

fn desc(name: &str, version: &str) -> String {
    format!("%FILENAME%\n{name}-{version}-any.pkg.tar.zst\n\n%NAME%\n{name}\n\n%VERSION%\n{version}\n\n%ARCH%\nany\n\n")
}

fn read(files: &[(&str, &str)]) -> Result<SyncDatabase, Error> {
    SyncDatabase::read("core", 0, tar(files))
}

fn error(files: &[(&str, &str)]) -> String {
    let error = read(files).unwrap_err();
    assert!(error.hint().is_some());
    std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

const BASH: &str = "%FILENAME%\nbash-5.2.037-1-x86_64.pkg.tar.zst\n\n%NAME%\nbash\n\n%BASE%\nbash\n\n%VERSION%\n5.2.037-1\n\n\
%DESC%\nThe GNU Bourne Again shell\n\n%GROUPS%\nbase\nshells\n\n%CSIZE%\n1907123\n\n%ISIZE%\n9411434\n\n\
%SHA256SUM%\n0000000000000000000000000000000000000000000000000000000000000001\n\n%PGPSIG%\naGFsbG8=\n\n\
%URL%\nhttps://www.gnu.org/software/bash/bash.html\n\n%LICENSE%\nGPL-3.0-or-later\n\n%ARCH%\nx86_64\n\n%BUILDDATE%\n1727000000\n\n\
%PACKAGER%\nSome One <some@one>\n\n%CONFLICTS%\nash\n\n%PROVIDES%\nsh\nlibx.so=1-64\n\n%REPLACES%\nold\n\n\
%DEPENDS%\nreadline>=8\nglibc\n\n%OPTDEPENDS%\nbash-completion: for tabs\n\n%MAKEDEPENDS%\ngcc\n\n%CHECKDEPENDS%\nexpect\n\n%XDATA%\npkgtype=pkg\n\n";

#[test]
fn everything_that_is_said_is_read() {
    let database = SyncDatabase::read(
        "core",
        3,
        tar(&[
            ("zsh-5-1/desc", &desc("zsh", "5-1")),
            ("bash-5.2.037-1/desc", BASH),
            ("bash-5.2.037-1/files", "%FILES%\n"),
        ]),
    )
    .unwrap();
    assert_eq!((database.name(), database.packages().len()), ("core", 2));
    let bash = database.find("bash").unwrap();
    assert_eq!((bash.repository, bash.compressed_size), (3, 1_907_123));
    assert_eq!(bash.file_name, "bash-5.2.037-1-x86_64.pkg.tar.zst");
    assert_eq!(bash.signature.as_deref(), Some(&b"hallo"[..]));
    assert!(bash.sha256.is_some_and(|sum| sum.to_string().ends_with("01")));
    let package = &bash.package;
    assert_eq!((package.version.as_str(), package.installed_size), ("5.2.037-1", 9_411_434));
    assert_eq!((package.build_date, package.architecture.as_str()), (1_727_000_000, "x86_64"));
    assert_eq!(package.groups, ["base", "shells"]);
    let all = |list: &[Dependency]| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    assert_eq!(all(&package.depends), "readline>=8 glibc");
    assert_eq!(all(&package.provides), "sh libx.so=1-64");
    assert_eq!([&package.conflicts, &package.replaces].map(|list| all(list)), ["ash", "old"]);
    assert_eq!(package.extended_data, ["pkgtype=pkg"]);
    assert!(database.find("zsh").is_some() && database.find("ksh").is_none());
}

#[test]
fn an_old_database_has_dependencies_in_a_file_of_their_own() {
    let depends = "%DEPENDS%\nb\n\n%PROVIDES%\nc\n\n";
    for order in [[0, 1], [1, 0]] {
        let desc = desc("a", "1-1");
        let files = [("a-1-1/desc", desc.as_str()), ("a-1-1/depends", depends)];
        let database = read(&order.map(|nr| files[nr])).unwrap();
        let package = &database.packages()[0].package;
        assert_eq!((package.depends.len(), package.provides.len(), package.name.as_str()), (1, 1, "a"));
    }
}

#[test]
fn every_compression_is_read() {
    let plain = tar(&[("a-1-1/desc", &desc("a", "1-1"))]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
    xz.write_all(&plain).unwrap();
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bzip2.write_all(&plain).unwrap();
    let zstd = zstd::encode_all(&*plain, 1).unwrap();
    for compressed in [gzip.finish().unwrap(), xz.finish().unwrap(), bzip2.finish().unwrap(), zstd, plain.clone()] {
        assert_eq!(SyncDatabase::read("core", 0, compressed.clone()).unwrap().packages().len(), 1);
        let cut = SyncDatabase::read("core", 0, compressed[..compressed.len().min(1024) / 2 + 40].to_vec());
        assert!(matches!(cut, Err(Error::Archive { .. })), "{cut:?}");
    }
    assert!(matches!(SyncDatabase::read("core", 0, Vec::new()), Err(Error::Empty(_))));
    let page = b"<html><body>not found</body></html>".repeat(40);
    assert!(matches!(SyncDatabase::read("core", 0, page), Err(Error::Archive { .. })));
    assert_eq!(SyncDatabase::read("core", 0, tar(&[])).unwrap().packages(), []);
}

#[test]
fn what_could_lead_elsewhere_is_refused() {
    let changed = |from: &str, to: &str| desc("a", "1-1").replace(from, to);
    let file = |to: &str| changed("%FILENAME%\na-1-1-any.pkg.tar.zst", &format!("%FILENAME%\n{to}"));
    let of_package = |reason: &str| format!("the database of 'core' describes 'a-1-1' wrongly: {reason}");
    for (text, reason) in [
        (file("../a"), "'../a' can be no %FILENAME%"),
        (file(".a"), "'.a' can be no %FILENAME%"),
        (file("-a"), "'-a' can be no %FILENAME%"),
        (file("a\u{1b}[2J"), "'a\u{fffd}[2J' can be no %FILENAME%"),
        (file(""), "there is no %FILENAME%"),
        (file(&"a".repeat(256)), &format!("'{}' can be no %FILENAME%", "a".repeat(256))),
        (changed("%NAME%\na", "%NAME%\nb"), "it calls itself 'b-1-1'"),
        (changed("%NAME%\na", "%NAME%\n../a"), "'../a' can be no %NAME%"),
        (changed("%VERSION%\n1-1", "%VERSION%\n2-1"), "it calls itself 'a-2-1'"),
        (changed("%VERSION%\n1-1\n", ""), "there is no %VERSION%"),
        (changed("%ARCH%\nany", "%DEPENDS%\n>=1"), "'>=1' names no package"),
        (changed("%ARCH%\nany", "%DEPENDS%\nb\u{1b}c"), "'b\u{fffd}c' can be no %DEPENDS%"),
        (changed("%ARCH%\nany", "%PROVIDES%\nb c"), "'b c' can be no %PROVIDES%"),
        (changed("%ARCH%\nany", "%GROUPS%\n-g"), "'-g' can be no %GROUPS%"),
        (changed("%ARCH%\nany", "%CSIZE%\nmuch"), "'much' can be no %CSIZE%"),
        (changed("%ARCH%\nany", "%SHA256SUM%\n12"), "'12' can be no %SHA256SUM%"),
        (changed("%ARCH%\nany", "%PGPSIG%\n!!"), "'!!' can be no %PGPSIG%"),
    ] {
        assert_eq!(error(&[("a-1-1/desc", &text)]), of_package(reason));
    }
    assert!(error(&[("a/desc", &desc("a", "1"))]).ends_with("it calls itself 'a-1'"));
    assert!(error(&[("a-1/desc", &desc("a", "1"))]).ends_with("'1' can be no %VERSION%"));
    let twice = [("a-1-1/desc", &*desc("a", "1-1")), ("a-2-1/desc", &*desc("a", "2-1"))];
    assert!(error(&twice).ends_with("describes 'a-1-1' wrongly: the package is in it twice, also as 'a-2-1'"));
    for path in
        ["../a-1-1/desc", "/a-1-1/desc", "a-1-1/../desc", "./a-1-1/desc", "a-1-1/x/desc", "a-1-1/..", "a b/desc"]
    {
        let text = error(&[(path, &desc("a", "1-1"))]);
        assert!(text.contains(&format!("has the entry '{path}': a database has a directory")), "{text}");
    }
}

#[test]
fn links_and_devices_are_refused() {
    for kind in [tar::EntryType::Symlink, tar::EntryType::Link, tar::EntryType::Char, tar::EntryType::Fifo] {
        let mut builder = tar::Builder::new(Vec::new());
        let header = header("a-1-1/desc", kind, 0);
        builder.append(&header, io::empty()).unwrap();
        let refused = SyncDatabase::read("core", 0, builder.into_inner().unwrap()).unwrap_err();
        assert!(refused.to_string().ends_with("a database has files and directories only"), "{refused}");
    }
}

#[test]
fn what_decides_nothing_may_be_written_in_any_way() {
    let odd = desc("a", "1-1") + "%OPTDEPENDS%\ngtk3 for the GUI\n: no name\n\n%MAKEDEPENDS%\n>=2\n\n";
    let database = SyncDatabase::read("core", 0, tar(&[("a-1-1/desc", &odd)])).unwrap();
    assert!(database.find("a").is_some());
}

/// Few bytes in a file can be many in memory.
#[test]
fn descriptions_that_go_on_and_on_are_refused() {
    let many = format!("%DEPENDS%\n{}\n", "a\n".repeat(120_000));
    let names: Vec<String> = (0..40).map(|number| format!("a{number}-1-1/desc")).collect();
    let entries: Vec<(&str, &str)> = names.iter().map(|name| (&**name, &*many)).collect();
    let refused = error(&entries);
    assert!(refused.ends_with("there is more described than a database can have"), "{refused}");
}

#[test]
fn bombs_are_refused() {
    let long = "x".repeat(LONGEST_DESC as usize + 1);
    assert!(error(&[("a-1-1/desc", &long)]).ends_with("it is larger than a description can be"));
    // A list of files that never ends is passed over, up to the limit.
    let header = header("a-1-1/files", tar::EntryType::Regular, LARGEST + 512);
    let mut zstd = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    zstd.write_all(header.as_bytes()).unwrap();
    let zeroes = vec![0; 1 << 20];
    (0..=LARGEST >> 20).for_each(|_| zstd.write_all(&zeroes).unwrap());
    let bomb = zstd.finish().unwrap();
    assert!(bomb.len() < 1 << 20);
    let refused = SyncDatabase::read("core", 0, bomb).unwrap_err();
    let source = std::error::Error::source(&refused).and_then(std::error::Error::source).unwrap();
    assert!(source.to_string().contains("more than 2147483648 bytes"), "{source}");
}

#[test]
fn what_repo_add_makes_is_read() {
    requires!(program "repo-add", program "bsdtar");
    let directory = tempfile::tempdir().unwrap();
    let info = "pkgname = hello\npkgbase = hello\npkgver = 1:2.0-3\npkgdesc = says hello\nurl = http://x\nbuilddate = 1700000000\n\
packager = Some One\nsize = 12345\narch = any\nlicense = MIT\ngroup = g\ndepend = glibc>=2\noptdepend = perl: why\nprovides = hi=2\n";
    std::fs::write(directory.path().join(".PKGINFO"), info).unwrap();
    let run = |program: &str, words: &[&str]| {
        let output = Command::new(program).args(words).current_dir(directory.path()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    run("bsdtar", &["-cf", "hello-1:2.0-3-any.pkg.tar", ".PKGINFO"]);
    for suffix in ["gz", "xz", "bz2", "zst"] {
        let name = format!("r.db.tar.{suffix}");
        run("repo-add", &["-q", &name, "hello-1:2.0-3-any.pkg.tar"]);
        let content = std::fs::read(directory.path().join(&name)).unwrap();
        let database = SyncDatabase::read("r", 0, content).unwrap();
        let hello = database.find("hello").unwrap();
        assert_eq!(hello.file_name, "hello-1:2.0-3-any.pkg.tar");
        assert!(hello.sha256.is_some() && hello.compressed_size > 0);
        assert_eq!((hello.package.version.as_str(), hello.package.installed_size), ("1:2.0-3", 12345));
        assert_eq!(hello.package.depends[0].to_string(), "glibc>=2");
        let files = std::fs::read(directory.path().join(format!("r.files.tar.{suffix}"))).unwrap();
        assert_eq!(SyncDatabase::read("r", 0, files).unwrap(), database);
    }
}
