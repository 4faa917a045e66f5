use super::*;
use crate::pacman::test_package::TestPackage;

fn read(package: &TestPackage) -> Result<(Vec<String>, PackageArchive), Problem> {
    let directory = tempfile::tempdir().unwrap();
    let path = package.write(directory.path());
    let archive = PackageArchive::read(&path).map_err(|error| error.source)?;
    let mut entries = archive.entries().unwrap();
    let mut paths = Vec::new();
    while let Some(entry) = entries.next_entry().map_err(|error| error.source)? {
        paths.push(String::from_utf8(entry.path).unwrap());
    }
    drop(entries);
    Ok((paths, archive))
}

fn plain_package() -> TestPackage {
    TestPackage::new("a", "1:2.0-1")
        .info("depend = glibc\n")
        .file(".INSTALL", 0o644, "post_install() { :; }")
        .directory("usr", 0o755)
        .file("usr/a", 0o644, "content")
        .hard_link("usr/b", "usr/a")
        .symlink("usr/c", "../../../etc/shadow")
        .null_device("usr/null")
}

#[test]
fn a_package_is_read_with_its_list_or_without() {
    let list =
        "#mtree\n./.PKGINFO\n./usr type=dir\n./usr/a size=7\n./usr/b size=7\n./usr/c type=link\n./usr/null type=char\n";
    for package in [plain_package(), plain_package().mtree(list)] {
        let (paths, archive) = read(&package).unwrap();
        assert_eq!(paths, ["usr", "usr/a", "usr/b", "usr/c", "usr/null"]);
        assert_eq!(archive.files.len(), 5);
        assert_eq!(archive.package.version, Version::new("1:2.0-1"));
        assert_eq!(archive.install.as_deref(), Some(&b"post_install() { :; }"[..]));
        assert!(archive.changelog.is_none());
    }
}

#[test]
fn paths_and_links_that_lead_elsewhere_are_refused() {
    let new = || TestPackage::new("a", "1-1");
    for package in [
        new().file("../x", 0o644, ""),
        new().file("/etc/x", 0o644, ""),
        new().file("usr/../../x", 0o644, ""),
        new().file("usr//x", 0o644, ""),
        new().file("usr/./x", 0o644, ""),
        new().file("./usr", 0o644, ""),
        new().file("usr/x\ny", 0o644, ""),
        new().directory("usr/..", 0o755),
        new().symlink("usr", "../../etc").file("usr/x", 0o644, ""),
        new().file("usr/x", 0o644, "").symlink("usr", "/etc"),
        new().mtree("#mtree\n./usr/../../x\n").file("usr", 0o644, ""),
        new().mtree("#mtree\n./usr/\\056./x\n").file("usr", 0o644, ""),
    ] {
        let error = read(&package).unwrap_err();
        assert!(matches!(error, Problem::Path(_)), "{error:?}");
    }
    for target in ["../../etc/passwd", "/etc/passwd", "usr/other", "usr", "usr/l"] {
        let error = read(&new().directory("usr", 0o755).symlink("usr/l", "x").hard_link("usr/h", target)).unwrap_err();
        assert!(matches!(error, Problem::HardLink(_)), "{error:?}");
    }
    assert!(matches!(read(&new().file("a", 0o644, "").file("a", 0o644, "")), Err(Problem::Twice(_))));
}

#[test]
fn lists_that_are_not_as_the_archive_are_refused() {
    let new = |list: &str| TestPackage::new("a", "1-1").file(".INSTALL", 0o644, "").file("b", 0o644, "bb").mtree(list);
    assert!(read(&new("#mtree\n./b size=2\n")).is_ok());
    for list in ["#mtree\n", "#mtree\n./b size=3\n", "#mtree\n./b type=dir\n", "#mtree\n./b size=2\n./c\n"] {
        let error = read(&new(list)).unwrap_err();
        assert!(matches!(error, Problem::List(_)), "{list:?}: {error:?}");
    }
    let late = TestPackage::new("a", "1-1").file("b", 0o644, "").file(".INSTALL", 0o644, "").mtree("#mtree\n./b\n");
    assert!(matches!(read(&late), Err(Problem::List(path)) if path == ".INSTALL"));
}

#[test]
fn what_is_no_package_is_refused() {
    let new = || TestPackage::new("a", "1-1");
    assert!(matches!(read(&new().raw_info(None).directory("usr", 0o755)), Err(Problem::NoInfo)));
    assert!(matches!(
        read(&new().raw_info(Some("pkgname = a\n"))),
        Err(Problem::Info(pkginfo::Error::Missing("pkgver")))
    ));
    assert!(matches!(read(&new().raw_info(Some("pkgname = ../a\npkgver = 1-1\n"))), Err(Problem::Info(_))));
    assert!(matches!(read(&new().file(".INSTALL", 0o644, "").claim_size(1 << 40)), Err(Problem::Own(_))));
    assert!(matches!(read(&new().file("usr", 0o644, "").claim_size(1 << 40)), Err(Problem::Bomb)));
    let info = format!("pkgname = a\npkgver = 1-1\nsize = {}\n", u64::MAX);
    let endless = new().raw_info(Some(&info)).file("usr", 0o644, "").claim_size(1 << 40);
    assert!(matches!(read(&endless), Err(Problem::Bomb)), "whatever size it says");
    let twice = new().file("a", 0o644, "").mtree("#mtree\n./a\n./a\n");
    assert!(matches!(read(&twice), Err(Problem::Twice(path)) if path == "a"));
    let many = (0..100).fold(new(), |package, number| package.file(&format!(".a{number}"), 0o644, ""));
    assert!(matches!(read(&many), Err(Problem::Own(_))));
}

#[test]
fn truncated_and_damaged_files_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let large: String = (0..50_000).map(|number| format!("{}", number * 7919)).collect();
    let path = plain_package().file("usr/large", 0o644, &large).write(directory.path());
    let whole = std::fs::read(&path).unwrap();
    let walk = || -> Result<(), Error> {
        let archive = PackageArchive::read(&path)?;
        let mut entries = archive.entries()?;
        while entries.next_entry()?.is_some() {}
        Ok(())
    };
    walk().unwrap();
    for length in [0, 1, 10, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        let error = walk().unwrap_err();
        assert!(error.hint().is_some() && error.to_string().contains("a-1:2.0-1-any"), "{length}: {error}");
    }
    std::fs::write(&path, "rubbish ".repeat(1000)).unwrap();
    assert!(walk().is_err());
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(walk().unwrap_err().source, Problem::Read(_)));
    assert!(PackageArchive::read(Path::new("/dev/zero")).is_err());
}

#[test]
fn another_package_or_one_for_other_machines_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let archive = PackageArchive::read(&TestPackage::new("a", "1-1").write(directory.path())).unwrap();
    let version = Version::new("1-1");
    archive.check(Some(("a", &version)), &[]).unwrap();
    let check = |name, version, architecture: &str| {
        archive.check(Some((name, &Version::new(version))), &[architecture.to_owned()]).map_err(|error| error.source)
    };
    check("a", "1-1", "x86_64").unwrap();
    assert!(matches!(check("b", "1-1", "x86_64"), Err(Problem::Other { .. })));
    assert!(matches!(check("a", "1-2", "x86_64"), Err(Problem::Other { .. })));
    let info = "pkgname = a\npkgver = 1-1\narch = armv7h\n";
    let other = TestPackage::new("a", "1-1").raw_info(Some(info)).write(directory.path());
    let other = PackageArchive::read(&other).unwrap();
    assert!(other.check(None, &["armv7h".to_owned()]).is_ok());
    let error = other.check(None, &["x86_64".to_owned(), "x86_64_v3".to_owned()]).unwrap_err();
    assert!(matches!(error.source, Problem::Architecture(_)) && error.hint().is_some());
}
