use super::*;
use crate::pacman::test_package::TestPackage;

const DIRECTORY: &str = "var/lib/pacman";

fn installed(archive: &PackageArchive) -> Installed {
    Installed {
        package: archive.package.clone(),
        reason: Reason::Dependency,
        validation: vec![Validation::Pgp],
        install_date: 5,
        files: listed(archive),
        backup: archive.package.backup.iter().map(|path| (path.clone(), Some("0".repeat(32)))).collect(),
    }
}

#[test]
fn an_entry_is_written_as_pacman_does_and_read_back() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("tree");
    std::fs::create_dir(&root).unwrap();
    let tree = Tree::open(&root).unwrap();
    let package = TestPackage::new("a", "1:2-1")
        .info("url = u\npackager = p\nlicense = MIT\ngroup = g\nbackup = etc/a\ndepend = b>=2\noptdepend = c: why\n")
        .info("provides = z=1\nconflict = q\nreplaces = r\nxdata = pkgtype=pkg\nmakedepend = m\n")
        .file(".INSTALL", 0o644, "script")
        .file("x0", 0o644, "")
        .directory("x", 0o755)
        .file("x-y", 0o644, "")
        .directory("etc", 0o755)
        .file("etc/a", 0o644, "");
    let archive = PackageArchive::read(&package.write(directory.path())).unwrap();
    let mut database = LocalDatabase::read(&tree, DIRECTORY).unwrap();
    database.begin(&archive).unwrap();
    database.finish(&archive, installed(&archive)).unwrap();
    let entry = root.join("var/lib/pacman/local/a-1:2-1");
    let text = |name: &str| std::fs::read_to_string(entry.join(name)).unwrap();
    assert_eq!(
        text("desc"),
        "%NAME%\na\n\n%VERSION%\n1:2-1\n\n%BASE%\na\n\n%DESC%\nof a test\n\n%URL%\nu\n\n%ARCH%\nany\n\n%BUILDDATE%\n1\n\n\
         %INSTALLDATE%\n5\n\n%PACKAGER%\np\n\n%SIZE%\n1\n\n%REASON%\n1\n\n%GROUPS%\ng\n\n%LICENSE%\nMIT\n\n\
         %VALIDATION%\npgp\n\n%REPLACES%\nr\n\n%DEPENDS%\nb>=2\n\n%OPTDEPENDS%\nc: why\n\n%CONFLICTS%\nq\n\n\
         %PROVIDES%\nz=1\n\n%XDATA%\npkgtype=pkg\n\n"
    );
    let hash = "0".repeat(32);
    assert_eq!(text("files"), format!("%FILES%\netc/\netc/a\nx-y\nx/\nx0\n\n%BACKUP%\netc/a\t{hash}\n\n"));
    assert_eq!(text("install"), "script");
    assert!(!entry.join("mtree").exists());
    assert_eq!(std::fs::read(root.join("var/lib/pacman/local/ALPM_DB_VERSION")).unwrap(), b"9\n");
    let read = LocalDatabase::read(&tree, DIRECTORY).unwrap();
    assert_eq!(read.installed(), [installed(&archive)]);
    assert_eq!(read.unfinished(), []);
}

/// As a killed run leaves it.
fn begun(tree: &Tree, what: &str) {
    tree.write(&format!("{DIRECTORY}/db.lck"), format!("# redd: being installed\n{what}\n").as_bytes(), 0o600).unwrap();
}

#[test]
fn of_two_entries_that_a_killed_run_has_left_the_old_one_counts() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("tree");
    std::fs::create_dir(&root).unwrap();
    let tree = Tree::open(&root).unwrap();
    for (first, then, dates) in [("1-1", "2-1", [5, 5]), ("10-1", "9-1", [5, 6]), ("9-1", "10-1", [5, 6])] {
        for (version, date) in [first, then].into_iter().zip(dates) {
            let package = TestPackage::new("a", version).file(version, 0o644, "");
            let archive = PackageArchive::read(&package.write(directory.path())).unwrap();
            // Each as if it was alone.
            tree.remove(&format!("{DIRECTORY}/hidden")).unwrap();
            let local = root.join(DIRECTORY).join("local");
            let hidden =
                (version == then).then(|| std::fs::rename(&local, root.join(DIRECTORY).join("hidden")).unwrap());
            let mut database = LocalDatabase::read(&tree, DIRECTORY).unwrap();
            database.begin(&archive).unwrap();
            database.finish(&archive, Installed { install_date: date, ..installed(&archive) }).unwrap();
            if hidden.is_some() {
                let entry = format!("a-{first}");
                std::fs::rename(root.join(DIRECTORY).join("hidden").join(&entry), local.join(&entry)).unwrap();
            }
        }
        tree.remove(&format!("{DIRECTORY}/db.lck")).unwrap();
        assert!(matches!(LocalDatabase::read(&tree, DIRECTORY), Err(Error::Entry(_))));
        begun(&tree, "upgrade a");
        let database = LocalDatabase::read(&tree, DIRECTORY).unwrap();
        let versions: Vec<&str> = database.installed().iter().map(|one| one.package.version.as_str()).collect();
        assert_eq!(versions, [first]);
        assert_eq!(database.unfinished()[0].entry, format!("a-{then}"));
        assert_eq!(database.unfinished()[0].files, [then.as_bytes()]);
        tree.remove(DIRECTORY).unwrap();
    }
}

#[test]
fn an_entry_that_was_not_ended_is_no_installed_package() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("tree");
    std::fs::create_dir(&root).unwrap();
    let tree = Tree::open(&root).unwrap();
    let archive = |version| {
        let package = TestPackage::new("a-b", version).file(version, 0o644, "");
        PackageArchive::read(&package.write(directory.path())).unwrap()
    };
    let (old, new) = (archive("1-1"), archive("2-1"));
    let mut database = LocalDatabase::read(&tree, DIRECTORY).unwrap();
    database.begin(&old).unwrap();
    database.finish(&old, installed(&old)).unwrap();
    database.begin(&new).unwrap();
    let error = LocalDatabase::read(&tree, DIRECTORY).unwrap_err();
    assert!(matches!(&error, Error::NoDesc(entry) if entry == "a-b-2-1"), "nobody says that it was begun: {error}");
    begun(&tree, "upgrade a-b");
    let mut database = LocalDatabase::read(&tree, DIRECTORY).unwrap();
    assert_eq!(database.installed()[0].package.version, Version::new("1-1"));
    assert_eq!(database.unfinished()[0].name(), "a-b");
    assert_eq!(database.unfinished()[0].files, [b"2-1"]);
    database.finish(&new, installed(&new)).unwrap();
    let database = LocalDatabase::read(&tree, DIRECTORY).unwrap();
    assert_eq!(database.installed().len(), 1);
    assert_eq!(database.find("a-b").unwrap().package.version, Version::new("2-1"));
    assert_eq!(database.unfinished(), []);
}

#[test]
fn a_file_that_a_killed_run_was_writing_is_no_entry() {
    let directory = tempfile::tempdir().unwrap();
    let tree = Tree::open(directory.path()).unwrap();
    tree.write(&format!("{DIRECTORY}/local/.ALPM_DB_VERSION.part"), b"", 0o644).unwrap();
    let database = LocalDatabase::read(&tree, DIRECTORY).unwrap();
    assert!(database.installed().is_empty() && database.unfinished().is_empty());
}

#[test]
fn damaged_databases_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let tree = Tree::open(directory.path()).unwrap();
    assert_eq!(LocalDatabase::read(&tree, DIRECTORY).unwrap().installed(), []);
    for (path, content) in [
        ("a-1-1/desc", ""),
        ("a-1-1/desc", "%NAME%\na\n\n"),
        ("a-1-1/desc", "%NAME%\nb\n\n%VERSION%\n1-1\n\n"),
        ("a-1-1/desc", "%NAME%\n../a\n\n%VERSION%\n1-1\n\n"),
        ("ALPM_DB_VERSION", "8\n"),
    ] {
        tree.write(&format!("{DIRECTORY}/local/{path}"), content.as_bytes(), 0o644).unwrap();
        assert!(LocalDatabase::read(&tree, DIRECTORY).is_err(), "{path} {content:?}");
        tree.remove(DIRECTORY).unwrap();
    }
    tree.link("../../../../etc", &format!("{DIRECTORY}/local")).unwrap();
    let listed = LocalDatabase::read(&tree, DIRECTORY).unwrap();
    assert!(listed.installed().is_empty() && listed.unfinished().is_empty(), "it leads nowhere inside of the tree");
}
