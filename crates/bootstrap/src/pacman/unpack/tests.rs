use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use rustix::fs::Mode;

use super::*;
use crate::pacman::local::{Reason, listed};
use crate::pacman::test_package::TestPackage;

struct Scene {
    directory: tempfile::TempDir,
    tree: Tree,
    no_extract: Patterns,
    no_upgrade: Patterns,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("tree")).unwrap();
        let tree = Tree::open(&directory.path().join("tree")).unwrap();
        Self { directory, tree, no_extract: Patterns::default(), no_upgrade: Patterns::default() }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.directory.path().join("tree").join(path)
    }

    fn text(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.at(path)).ok()
    }

    /// Unpacks, and gives the modes that differ besides.
    fn unpack(
        &self,
        package: &TestPackage,
        before: Option<&Installed>,
    ) -> Result<(Installed, Unpacked, Vec<String>), Error> {
        let archive = PackageArchive::read(&package.write(self.directory.path())).unwrap();
        let (directories, interrupt, failed) = (Directories::default(), Interrupt::default(), AtomicBool::new(false));
        let job = Unpacking {
            tree: &self.tree,
            directories: &directories,
            no_extract: &self.no_extract,
            no_upgrade: &self.no_upgrade,
            interrupt: &interrupt,
            failed: &failed,
        };
        let unpacked = job.unpack(0, &archive, before)?;
        let differ = unpacked.modes.iter().filter(|(_, said, found)| *said != directories.mode(*found));
        let differ = differ.map(|(path, ..)| lossy(path)).collect();
        let installed = Installed {
            package: archive.package.clone(),
            reason: Reason::Explicit,
            validation: vec![],
            install_date: 1,
            files: listed(&archive),
            backup: unpacked.backup.clone(),
        };
        Ok((installed, unpacked, differ))
    }
}

/// As the user who runs the tests: only root can give files away.
fn package(content: &str) -> TestPackage {
    TestPackage::new("a", "1-1").info("backup = etc/c\n").directory("etc", 0o755).file("etc/c", 0o640, content)
}

fn md5(content: &str) -> Option<String> {
    Some(Md5::digest(content).iter().map(|byte| format!("{byte:02x}")).collect())
}

#[test]
fn files_are_as_the_package_says() {
    testkit::requires!(root);
    let scene = Scene::new();
    let list = package("c")
        .directory("srv", 0o1777)
        .file("srv/s", 0o4755, "s")
        .hard_link("srv/h", "srv/s")
        .symlink("srv/l", "/etc/passwd")
        .null_device("srv/null");
    let (_, unpacked, differ) = scene.unpack(&list, None).unwrap();
    assert_eq!(unpacked.backup, [("etc/c".to_owned(), md5("c"))]);
    assert!(unpacked.messages.is_empty() && differ.is_empty(), "{unpacked:?}");
    let status = std::fs::metadata(scene.at("srv/s")).unwrap();
    assert_eq!((status.mode() & 0o7777, status.mtime(), status.nlink()), (0o4755, 1_000_000_000, 2));
    assert_eq!(std::fs::metadata(scene.at("srv")).unwrap().mode() & 0o7777, 0o1777);
    assert_eq!(std::fs::read_link(scene.at("srv/l")).unwrap(), PathBuf::from("/etc/passwd"));
    let null = std::fs::metadata(scene.at("srv/null")).unwrap();
    assert_eq!((null.mode(), null.rdev()), (0o020_600, rustix::fs::makedev(1, 3)));
}

#[test]
fn a_directory_that_is_there_keeps_its_mode() {
    testkit::requires!(root);
    let scene = Scene::new();
    std::fs::create_dir(scene.at("etc")).unwrap();
    std::fs::set_permissions(scene.at("etc"), std::fs::Permissions::from_mode(0o700)).unwrap();
    let (.., differ) = scene.unpack(&package("c"), None).unwrap();
    assert_eq!(differ, ["etc"]);
    assert_eq!(std::fs::metadata(scene.at("etc")).unwrap().mode() & 0o7777, 0o700);
}

#[test]
fn of_two_packages_at_once_the_first_one_says_a_directorys_mode() {
    testkit::requires!(root);
    let scene = Scene::new();
    let archive = |name, mode| {
        let package = TestPackage::new(name, "1-1").directory("d", mode);
        PackageArchive::read(&package.write(scene.directory.path())).unwrap()
    };
    let (directories, interrupt, failed) = (Directories::default(), Interrupt::default(), AtomicBool::new(false));
    let (tree, patterns) = (&scene.tree, Patterns::default());
    let (no_extract, no_upgrade) = (&patterns, &patterns);
    let job =
        Unpacking { tree, directories: &directories, no_extract, no_upgrade, interrupt: &interrupt, failed: &failed };
    let second = job.unpack(1, &archive("b", 0o700), None).unwrap();
    let first = job.unpack(0, &archive("a", 0o711), None).unwrap();
    assert_eq!(std::fs::metadata(scene.at("d")).unwrap().mode() & 0o7777, 0o711);
    assert_eq!(directories.mode(first.modes[0].2), 0o711);
    assert_eq!(directories.mode(second.modes[0].2), 0o711);
}

#[test]
fn what_was_changed_is_kept() {
    testkit::requires!(root);
    // Before, current, new; then what the file has, and what the one beside it.
    for (before, current, new, file, beside) in [
        (Some("X"), "X", "X", "X", None),
        (Some("X"), "X", "Y", "Y", None),
        (Some("X"), "Y", "X", "Y", None),
        (Some("X"), "Y", "Y", "Y", None),
        (Some("X"), "Y", "Z", "Y", Some("Z")),
        (None, "Y", "Z", "Y", Some("Z")),
        (None, "Y", "Y", "Y", None),
    ] {
        let scene = Scene::new();
        let before = before.map(|before| scene.unpack(&package(before), None).unwrap().0);
        std::fs::create_dir_all(scene.at("etc")).unwrap();
        std::fs::write(scene.at("etc/c"), current).unwrap();
        let (_, unpacked, _) = scene.unpack(&package(new), before.as_ref()).unwrap();
        let case = format!("{before:?} {current} {new}");
        assert_eq!(scene.text("etc/c").as_deref(), Some(file), "{case}");
        assert_eq!(scene.text("etc/c.pacnew").as_deref(), beside, "{case}");
        assert_eq!(unpacked.backup[0].1, md5(new), "{case}");
        let said = unpacked.messages == ["warning: /etc/c installed as /etc/c.pacnew"];
        assert_eq!(said, beside.is_some(), "{case}: {:?}", unpacked.messages);
    }
}

#[test]
fn what_is_not_to_be_extracted_or_touched_is_not() {
    testkit::requires!(root);
    let mut scene = Scene::new();
    scene.no_extract = Patterns::new(["usr/*", "!usr/keep", "etc/c"]);
    scene.no_upgrade = Patterns::new(["etc/n"]);
    let list = || {
        let list = package("c").file("etc/n", 0o644, "new").file("usr/skip", 0o644, "");
        list.directory("usr/skipped", 0o755).file("usr/keep", 0o644, "")
    };
    let (installed, unpacked, _) = scene.unpack(&list(), None).unwrap();
    assert_eq!(unpacked.backup, [("etc/c".to_owned(), None)]);
    assert_eq!(scene.text("etc/n").as_deref(), Some("new"), "nothing was there");
    assert!(scene.text("usr/keep").is_some() && scene.text("etc/c").is_none());
    assert!(!scene.at("usr/skip").exists() && !scene.at("usr/skipped").exists());
    std::fs::write(scene.at("etc/n"), "mine").unwrap();
    let (_, unpacked, _) = scene.unpack(&list(), Some(&installed)).unwrap();
    assert_eq!(scene.text("etc/n").as_deref(), Some("mine"));
    assert_eq!(scene.text("etc/n.pacnew").as_deref(), Some("new"));
    assert_eq!(unpacked.messages.len(), 1);
}

#[test]
fn files_and_links_are_replaced_and_nothing_is_followed() {
    testkit::requires!(root);
    let scene = Scene::new();
    let outside = scene.directory.path().join("outside");
    std::fs::write(&outside, "mine").unwrap();
    std::fs::create_dir(scene.at("usr")).unwrap();
    std::os::unix::fs::symlink(&outside, scene.at("usr/x")).unwrap();
    std::fs::write(scene.at("usr/l"), "").unwrap();
    let list = TestPackage::new("a", "1-1").file("usr/x", 0o644, "new").symlink("usr/l", "x");
    scene.unpack(&list, None).unwrap();
    assert_eq!(std::fs::read_to_string(&outside).unwrap(), "mine");
    assert_eq!(std::fs::read_link(scene.at("usr/l")).unwrap(), PathBuf::from("x"));
    assert_eq!(scene.text("usr/x").as_deref(), Some("new"));
    std::fs::create_dir(scene.at("usr/d")).unwrap();
    let error = scene.unpack(&TestPackage::new("a", "1-1").file("usr/d", 0o644, ""), None).unwrap_err();
    assert!(matches!(&error, Error::InTheWay { path, .. } if path == "usr/d"), "{error:?}");
    // A link that leads out is followed inside of the tree, where there is nothing.
    std::os::unix::fs::symlink("../../..", scene.at("usr/up")).unwrap();
    scene.unpack(&TestPackage::new("a", "1-1").file("usr/up/outside", 0o644, "x"), None).unwrap();
    assert_eq!(scene.text("outside").as_deref(), Some("x"));
    assert_eq!(std::fs::read_to_string(&outside).unwrap(), "mine");
}

#[test]
fn what_is_no_file_is_not_opened_to_be_compared() {
    testkit::requires!(root);
    let scene = Scene::new();
    std::fs::create_dir(scene.at("etc")).unwrap();
    // No driver has it: whoever opens it is told that there is no such device.
    let (kind, device) = (rustix::fs::FileType::CharacterDevice, rustix::fs::makedev(10, 199));
    rustix::fs::mknodat(rustix::fs::CWD, scene.at("etc/c"), kind, Mode::from_raw_mode(0o600), device).unwrap();
    let (_, unpacked, _) = scene.unpack(&package("c"), None).unwrap();
    assert_eq!(unpacked.messages, ["warning: /etc/c installed as /etc/c.pacnew"]);
    assert_eq!(scene.text("etc/c.pacnew").as_deref(), Some("c"));
}

#[test]
fn what_is_kept_is_there_as_a_whole_or_not_at_all() {
    testkit::requires!(root);
    for (path, no_upgrade) in [("etc/c", ""), ("etc/n", "etc/n")] {
        let mut scene = Scene::new();
        scene.no_upgrade = Patterns::new([no_upgrade]);
        // Not to be compressed, so that half of the archive ends within it.
        let text: String =
            (0_u64..60_000).map(|number| format!("{:x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
        let package = TestPackage::new("a", "1-1").info("backup = etc/c\n").directory("etc", 0o755);
        let list = format!("#mtree\n./etc type=dir\n./{path} size={}\n./etc/h size={}\n", text.len(), text.len());
        let package = package.file(path, 0o640, &text).hard_link("etc/h", path).mtree(&list);
        let file = package.write(scene.directory.path());
        let whole = std::fs::read(&file).unwrap();
        std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
        let archive = PackageArchive::read(&file).unwrap();
        let (directories, interrupt, failed) = (Directories::default(), Interrupt::default(), AtomicBool::new(false));
        let job = Unpacking {
            tree: &scene.tree,
            directories: &directories,
            no_extract: &scene.no_extract,
            no_upgrade: &scene.no_upgrade,
            interrupt: &interrupt,
            failed: &failed,
        };
        let error = job.unpack(0, &archive, None).unwrap_err();
        assert!(matches!(&error, Error::Tree { source, .. } if source.path == path), "{error:?}");
        assert_eq!(scene.tree.names(b"etc").unwrap(), Vec::<Vec<u8>>::new());
        // What a run leaves that is killed is replaced, and the next one ends as if there had been none.
        std::fs::write(scene.at(&path.replace('/', "/.")).with_added_extension("part"), "half").unwrap();
        let (_, unpacked, _) = scene.unpack(&package, None).unwrap();
        assert_eq!(unpacked.messages, Vec::<String>::new());
        assert_eq!(scene.text(path).unwrap(), text);
        let mut names = scene.tree.names(b"etc").unwrap();
        names.sort();
        assert!(names.len() == 2 && names.contains(&b"h".to_vec()), "{names:?}");
        let linked = std::fs::metadata(scene.at("etc/h")).unwrap();
        assert_eq!((linked.nlink(), linked.mode() & 0o7777), (2, 0o640));
    }
}

#[test]
fn of_kept_files_with_two_names_nothing_else_stays() {
    testkit::requires!(root);
    let scene = Scene::new();
    let list = package("c").info("backup = etc/h\n").hard_link("etc/h", "etc/c");
    let (installed, ..) = scene.unpack(&list, None).unwrap();
    scene.unpack(&list, Some(&installed)).unwrap();
    let mut names = scene.tree.names(b"etc").unwrap();
    names.sort();
    assert_eq!(names, [b"c", b"h"]);
}
