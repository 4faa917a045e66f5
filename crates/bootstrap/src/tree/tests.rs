use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use rustix::fs::{FileType, makedev};

use super::*;

struct Scene {
    directory: tempfile::TempDir,
    tree: Tree,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let tree = Tree::open(directory.path()).unwrap();
        Self { directory, tree }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    fn names(&self) -> Vec<std::ffi::OsString> {
        self.tree.list("").unwrap()
    }
}

#[test]
fn a_written_file_is_new_and_whatever_had_its_name_is_as_it_was() {
    let scene = Scene::new();
    std::fs::write(scene.at("other"), "other").unwrap();
    std::fs::hard_link(scene.at("other"), scene.at("f")).unwrap();
    scene.tree.write("f", b"one", 0o640).unwrap();
    assert_eq!(std::fs::read(scene.at("f")).unwrap(), b"one");
    assert_eq!(std::fs::metadata(scene.at("f")).unwrap().permissions().mode() & 0o7777, 0o640);
    scene.tree.remove("f").unwrap();
    scene.tree.link("other", "f").unwrap();
    scene.tree.write("f", b"two", 0o4755).unwrap();
    assert_eq!(std::fs::symlink_metadata(scene.at("f")).unwrap().permissions().mode() & 0o7777, 0o4755);
    assert_eq!(std::fs::read(scene.at("other")).unwrap(), b"other");
    assert_eq!(scene.names(), ["f", "other"]);
    std::fs::create_dir(scene.at("d")).unwrap();
    assert!(scene.tree.write("d", b"", 0o644).is_err());
    assert_eq!(scene.names(), ["d", "f", "other"]);
}

#[test]
fn names_may_be_as_long_as_file_systems_take_them_and_what_killed_runs_have_left_goes() {
    let scene = Scene::new();
    let longest = "n".repeat(255);
    scene.tree.write(&longest, b"1", 0o644).unwrap();
    scene.tree.write(&longest, b"2", 0o644).unwrap();
    assert_eq!(scene.tree.read(&longest).unwrap().unwrap(), b"2");
    assert!(scene.tree.write(&"n".repeat(256), b"", 0o644).is_err());
    scene.tree.remove(&longest).unwrap();
    std::fs::write(scene.at(".f.part"), "half").unwrap();
    scene.tree.write("f", b"whole", 0o644).unwrap();
    std::fs::create_dir_all(scene.at(".g.part/in it")).unwrap();
    scene.tree.write("g", b"whole", 0o644).unwrap();
    assert_eq!(scene.names(), ["f", "g"]);
}

#[test]
fn a_file_without_room_stays_as_it_was() {
    testkit::requires!(root);
    let scene = Scene::new();
    std::fs::create_dir(scene.at("small")).unwrap();
    let isolated = testkit::Isolated::enter();
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("tmpfs", scene.at("small"), "tmpfs", flags, c"size=64k").unwrap();
    let tree = Tree::open(&scene.at("small")).unwrap();
    tree.write("f", b"9\n", 0o644).unwrap();
    let full = tree.write("f", &[b'x'; 1 << 17], 0o644);
    let new = tree.write("new", &[b'x'; 1 << 17], 0o644);
    let (content, names) = (tree.read("f"), tree.list(""));
    drop(tree);
    rustix::mount::unmount(scene.at("small"), rustix::mount::UnmountFlags::DETACH).unwrap();
    drop(isolated);
    assert!(full.unwrap_err().is_full() && new.unwrap_err().is_full());
    assert_eq!(content.unwrap().unwrap(), b"9\n");
    assert_eq!(names.unwrap(), ["f"], "nothing takes up room");
}

#[test]
fn whoever_reads_a_file_while_it_is_written_sees_all_of_it() {
    let scene = Scene::new();
    let (one, two) = (vec![b'1'; 1 << 20], vec![b'2'; 1 << 20]);
    scene.tree.write("f", &one, 0o644).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for content in [&two, &one].into_iter().cycle().take(40) {
                scene.tree.write("f", content, 0o644).unwrap();
            }
            done.store(true, std::sync::atomic::Ordering::SeqCst);
        });
        while !done.load(std::sync::atomic::Ordering::SeqCst) {
            let content = std::fs::read(scene.at("f")).unwrap();
            assert!(content == one || content == two, "{} bytes", content.len());
        }
    });
}

#[test]
fn what_is_no_regular_file_is_not_opened() {
    testkit::requires!(root);
    let scene = Scene::new();
    // No driver has it: whoever opens it is told that there is no such device.
    let mode = Mode::from_raw_mode(0o600);
    let device = makedev(10, 199);
    rustix::fs::mknodat(rustix::fs::CWD, scene.at("device"), FileType::CharacterDevice, mode, device).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, scene.at("pipe"), FileType::Fifo, mode, 0).unwrap();
    scene.tree.link("device", "link").unwrap();
    for path in ["device", "pipe", "link", ""] {
        let error = scene.tree.read(path).unwrap_err();
        assert_eq!(error.source.to_string(), "it is no regular file", "{path}");
        for flags in [OFlags::RDONLY, OFlags::WRONLY | OFlags::APPEND] {
            assert!(scene.tree.open_file(path.as_bytes(), flags).unwrap().is_none(), "{path}");
        }
    }
    for path in ["device", "pipe", "link"] {
        let error = scene.tree.set_modified(path, std::time::UNIX_EPOCH).unwrap_err();
        assert_eq!(error.source.to_string(), "it is no regular file", "{path}");
    }
    scene.tree.write("file", b"x", 0o600).unwrap();
    scene.tree.set_modified("file", std::time::UNIX_EPOCH).unwrap();
    assert_eq!(std::fs::metadata(scene.at("file")).unwrap().mtime(), 0);
    assert!(scene.tree.read("missing").unwrap().is_none() && scene.tree.read("file/x").unwrap().is_none());
}

#[test]
fn no_file_is_read_without_end() {
    let scene = Scene::new();
    let size = |size| std::fs::File::create(scene.at("f")).unwrap().set_len(size).unwrap();
    size(64 << 20);
    assert_eq!(scene.tree.read("f").unwrap().unwrap().len(), 64 << 20);
    size(1 << 40);
    let error = scene.tree.read("f").unwrap_err();
    assert_eq!(format!("{error}: {}", error.source), "cannot read '/f' in the tree: it is larger than 64 MiB");
}

#[test]
fn no_mode_is_set_of_what_a_link_leads_to() {
    let (scene, outside) = (Scene::new(), tempfile::tempdir().unwrap());
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    std::fs::set_permissions(outside.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    std::os::unix::fs::symlink(outside.path(), scene.at("link")).unwrap();
    // As if it had taken the place of what was made a moment ago. Some kernels set that of the link itself.
    let _ = set_mode(scene.tree.root(), OsStr::new("link"), 0o777);
    assert!(opened_with_mode(scene.tree.root(), b"link", 0o777).is_err());
    assert!(scene.tree.make_directory("link", 0o777).is_err() && scene.tree.make_directory("link/x", 0o777).is_err());
    assert_eq!((mode(outside.path()), std::fs::read_dir(outside.path()).unwrap().count()), (0o700, 0));
    scene.tree.make_directories(b"a/b").unwrap();
    scene.tree.make_directory("a/c/d", 0o1777).unwrap();
    scene.tree.make_directory("a/c/d", 0o755).unwrap();
    assert_eq!(["a", "a/b", "a/c", "a/c/d"].map(|path| mode(&scene.at(path))), [0o755, 0o755, 0o755, 0o1777]);
}
