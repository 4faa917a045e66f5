use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use super::*;

/// As the user who runs the tests: only root can give files away.
fn directory(path: &str, mode: u32) -> Entry {
    Entry {
        path: path.into(),
        kind: Kind::Directory,
        mode,
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        mtime: (0, 0),
        size: 0,
        link: Vec::new(),
        device: (0, 0),
        xattrs: Vec::new(),
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_directory_whose_making_was_cut_short_is_finished_by_the_next_run() {
    let place = tempfile::tempdir().unwrap();
    let tree = Tree::open(place.path()).unwrap();
    // One that fails between the directory and its mode, as a kill does there.
    let mut failing = directory("d", 0o755);
    failing.xattrs.push((b"trusted.x".to_vec(), Vec::new()));
    let directories = Directories::default();
    Extractor::new(&tree, &directories, 0).keep_directory(&failing).unwrap_err();
    assert!(place.path().join("d").is_dir());
    let directories = Directories::default();
    let found = Extractor::new(&tree, &directories, 0).keep_directory(&directory("d", 0o751)).unwrap().unwrap();
    assert_eq!((mode(&place.path().join("d")), directories.mode(found)), (0o751, 0o751));
    // What a person has made stays.
    std::fs::set_permissions(place.path().join("d"), std::fs::Permissions::from_mode(0o700)).unwrap();
    let directories = Directories::default();
    let found = Extractor::new(&tree, &directories, 0).keep_directory(&directory("d", 0o751)).unwrap().unwrap();
    assert_eq!((mode(&place.path().join("d")), directories.mode(found)), (0o700, 0o700));
}

#[test]
fn a_directory_that_has_its_owner_and_not_its_mode_is_finished() {
    testkit::requires!(root);
    let place = tempfile::tempdir().unwrap();
    let tree = Tree::open(place.path()).unwrap();
    std::fs::create_dir(place.path().join("above")).unwrap();
    std::fs::set_permissions(place.path().join("above"), std::fs::Permissions::from_mode(0o2755)).unwrap();
    let entry = Entry { uid: 5, gid: 6, ..directory("above/d", 0o750) };
    let mut failing = entry.clone();
    failing.xattrs.push((b"trusted.x".to_vec(), Vec::new()));
    Extractor::new(&tree, &Directories::default(), 0).keep_directory(&failing).unwrap_err();
    let left = std::fs::metadata(place.path().join("above/d")).unwrap();
    assert_eq!((left.uid(), left.mode() & 0o7777), (5, 0o3700), "as a kill leaves it");
    Extractor::new(&tree, &Directories::default(), 0).keep_directory(&entry).unwrap().unwrap();
    let finished = std::fs::metadata(place.path().join("above/d")).unwrap();
    assert_eq!((finished.uid(), finished.gid(), finished.mode() & 0o7777), (5, 6, 0o750));
}

#[test]
fn directories_of_two_file_systems_may_have_the_same_number() {
    testkit::requires!(root);
    let place = tempfile::tempdir().unwrap();
    let isolated = testkit::Isolated::enter();
    for name in ["a", "b"] {
        let point = place.path().join(name);
        std::fs::create_dir(&point).unwrap();
        rustix::mount::mount("tmpfs", &point, "tmpfs", rustix::mount::MountFlags::empty(), c"mode=755").unwrap();
    }
    let tree = Tree::open(place.path()).unwrap();
    let directories = Directories::default();
    let mut extractor = Extractor::new(&tree, &directories, 0);
    for (path, mode) in [("a/d", 0o711), ("b/d", 0o755)] {
        extractor.extract(&directory(path, mode), &mut io::empty()).unwrap();
    }
    let kept = ["a/d", "b/d"].map(|path| extractor.keep_directory(&directory(path, 0o700)).unwrap().unwrap());
    let modes = ["a/d", "b/d"].map(|path| mode(&place.path().join(path)));
    let numbers = kept.map(|found| found.inode.1);
    drop(extractor);
    drop(tree);
    for name in ["a", "b"] {
        rustix::mount::unmount(place.path().join(name), rustix::mount::UnmountFlags::DETACH).unwrap();
    }
    drop(isolated);
    assert_eq!(numbers[0], numbers[1], "the test tests it");
    assert_eq!(modes, [0o711, 0o755]);
    assert_eq!(kept.map(|found| directories.mode(found)), [0o711, 0o755]);
}

#[test]
fn nodes_have_the_mode_of_the_archive() {
    testkit::requires!(root);
    let place = tempfile::tempdir().unwrap();
    let tree = Tree::open(place.path()).unwrap();
    let directories = Directories::default();
    let mut extractor = Extractor::new(&tree, &directories, 0);
    for (path, kind) in [("c", Kind::CharacterDevice), ("b", Kind::BlockDevice), ("p", Kind::Fifo)] {
        let entry = Entry { kind, device: (1, 3), ..directory(path, 0o666) };
        assert_eq!(extractor.extract(&entry, &mut io::empty()).unwrap(), Outcome::Made);
        assert_eq!(mode(&place.path().join(path)), 0o666, "{path}");
    }
}

/// The group of a directory with a set-group-ID bit is that of what is in it only where the archive says so.
#[test]
fn what_is_in_a_directory_has_its_own_group() {
    testkit::requires!(root);
    let place = tempfile::tempdir().unwrap();
    let tree = Tree::open(place.path()).unwrap();
    let directories = Directories::default();
    let mut extractor = Extractor::new(&tree, &directories, 0);
    let root = |path: &str, mode| Entry { uid: 0, gid: 0, ..directory(path, mode) };
    let file = |path: &str, gid| Entry { kind: Kind::File, gid, ..root(path, 0o644) };
    extractor.extract(&Entry { gid: 8, ..root("mail", 0o2775) }, &mut io::empty()).unwrap();
    for entry in [root("mail/below", 0o755), file("mail/file", 0), file("mail/own", 8), file("mail/implied/a/file", 0)]
    {
        extractor.extract(&entry, &mut io::empty()).unwrap();
    }
    extractor.keep_directory(&root("mail/kept", 0o750)).unwrap();
    tree.write("mail/written", b"", 0o600).unwrap();
    tree.write("mail/made/written", b"", 0o600).unwrap();
    tree.make_directory("mail/new", 0o711).unwrap();
    tree.link("file", "mail/link").unwrap();
    let seen = |path: &str| {
        let status = std::fs::symlink_metadata(place.path().join(path)).unwrap();
        (status.gid(), status.mode() & 0o7777)
    };
    assert_eq!((seen("mail"), seen("mail/own")), ((8, 0o2775), (8, 0o644)));
    for (path, mode) in [
        ("below", 0o755),
        ("file", 0o644),
        ("implied", 0o755),
        ("implied/a", 0o755),
        ("implied/a/file", 0o644),
        ("kept", 0o750),
        ("written", 0o600),
        ("made", 0o755),
        ("made/written", 0o600),
        ("new", 0o711),
        ("link", 0o777),
    ] {
        assert_eq!(seen(&format!("mail/{path}")), (0, mode), "{path}");
    }
}
