//! Copies of trees: what is in them afterwards.

use std::ffi::CStr;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use image::copy::{self, Progress, Report};
use image::{Tree, template};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Timespec, Timestamps, XattrFlags, makedev, mknodat, utimensat};
use testkit::disk::{Disk, Mounted, run};
use testkit::{Isolated, fixture, requires};

fn copy_to(from: &Path, place: &Path, observe: &mut dyn FnMut(Progress) -> bool) -> Result<Report, copy::Error> {
    let place = rustix::fs::open(place, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).expect("place");
    copy::directory(&Tree::open_any(from).expect("tree"), place.as_fd(), "copy".as_ref(), observe)
}

fn set_times(path: &Path, seconds: i64, nanoseconds: i64) {
    let at = |tv_sec| Timespec { tv_sec, tv_nsec: nanoseconds };
    let times = Timestamps { last_access: at(seconds + 1), last_modification: at(seconds) };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).expect("times");
}

fn set_attribute(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()).unwrap_or_else(|error| panic!("{name}: {error}"));
}

fn attribute(path: &Path, name: &CStr) -> Vec<u8> {
    let mut value = [0; 256];
    let length = rustix::fs::lgetxattr(path, name, &mut value).unwrap_or_else(|error| panic!("{name:?}: {error}"));
    value[..length].to_vec()
}

/// An access list as the kernel keeps it: version 2; owner, user 1234, group, mask, others.
const ACCESS_LIST: &[u8] = &[
    2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 5, 0, 0xd2, 4, 0, 0, 4, 0, 5, 0, 255, 255, 255, 255, 16, 0, 5, 0,
    255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255,
];
/// `cap_net_raw=ep`, revision 2.
const CAPABILITIES: &[u8] = &[1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn all_that_a_tree_can_have_is_in_its_copy() {
    requires!(root);
    let (tree, place) = (fixture::empty(), fixture::empty());
    let owned = tree.write("etc/owned", "owned", 0o644);
    std::os::unix::fs::chown(&owned, Some(1000), Some(2000)).expect("owner");
    fs::set_permissions(&owned, fs::Permissions::from_mode(0o6755)).expect("mode");
    let capable = tree.write("usr/capable", "x", 0o755);
    set_attribute(&capable, "security.capability", CAPABILITIES);
    set_attribute(&capable, "user.note", b"\x00binary\xff");
    set_attribute(&tree.join("etc"), "system.posix_acl_access", ACCESS_LIST);
    set_attribute(&tree.join("etc"), "system.posix_acl_default", ACCESS_LIST);
    fs::hard_link(&capable, tree.join("etc/second")).expect("link");
    fs::hard_link(&capable, tree.join("third")).expect("link");
    symlink("/outside/nowhere", tree.join("link")).expect("link");
    fs::hard_link(tree.join("link"), tree.join("etc/same-link")).expect("link");
    set_attribute(&tree.join("link"), "trusted.note", b"on a link");
    std::os::unix::fs::lchown(tree.join("link"), Some(7), Some(8)).expect("owner");
    let node = |name: &str, kind, device| {
        mknodat(CWD, tree.join(name), kind, Mode::from_raw_mode(0o640), device).expect(name);
    };
    node("fifo", FileType::Fifo, 0);
    node("socket", FileType::Socket, 0);
    node("character", FileType::CharacterDevice, makedev(1, 3));
    node("block", FileType::BlockDevice, makedev(7, 300));
    for (number, path) in ["etc/owned", "usr/capable", "link", "fifo", "character", "etc", "usr", ""].iter().enumerate()
    {
        let path = if path.is_empty() { tree.path().to_owned() } else { tree.join(path) };
        set_times(&path, 1_000_000 + number as i64, 123_456_789);
    }
    let report = copy_to(tree.path(), place.path(), &mut |_| true).expect("copy");
    assert_eq!(report.lost, []);
    let copied = |path: &str| place.join(&format!("copy/{path}"));
    for path in [
        "",
        "etc",
        "etc/owned",
        "etc/second",
        "etc/same-link",
        "usr",
        "usr/capable",
        "third",
        "link",
        "fifo",
        "socket",
        "character",
        "block",
    ] {
        let (old, new) =
            (tree.join(path).symlink_metadata().expect(path), copied(path).symlink_metadata().expect(path));
        let facts = |m: &fs::Metadata| {
            let links = if m.is_dir() { 0 } else { m.nlink() };
            (m.mode(), m.uid(), m.gid(), m.rdev(), m.mtime(), m.mtime_nsec(), links)
        };
        assert_eq!(facts(&old), facts(&new), "{path}");
        if !old.is_dir() {
            assert_eq!(old.len(), new.len(), "{path}");
        }
    }
    let inode = |path: &str| copied(path).symlink_metadata().expect(path).ino();
    assert!(inode("third") == inode("usr/capable") && inode("etc/second") == inode("third"));
    assert_eq!(inode("link"), inode("etc/same-link"));
    assert_eq!(fs::read_link(copied("link")).expect("link"), Path::new("/outside/nowhere"));
    assert!(copied("socket").symlink_metadata().expect("socket").file_type().is_socket());
    assert_eq!(fs::read(copied("etc/owned")).expect("file"), b"owned");
    assert_eq!(attribute(&copied("usr/capable"), c"security.capability"), CAPABILITIES);
    assert_eq!(attribute(&copied("usr/capable"), c"user.note"), b"\x00binary\xff");
    assert_eq!(attribute(&copied("etc"), c"system.posix_acl_access"), ACCESS_LIST);
    assert_eq!(attribute(&copied("etc"), c"system.posix_acl_default"), ACCESS_LIST);
    assert_eq!(attribute(&copied("link"), c"trusted.note"), b"on a link");
}

#[test]
fn holes_stay_holes() {
    let (tree, place) = (fixture::empty(), fixture::empty());
    let file = fs::File::create(tree.join("sparse")).expect("file");
    file.set_len(1 << 32).expect("size");
    std::os::unix::fs::FileExt::write_all_at(&file, b"middle", 1 << 30).expect("write");
    fs::File::create(tree.join("hole")).expect("file").set_len(5 << 20).expect("size");
    copy_to(tree.path(), place.path(), &mut |_| true).expect("copy");
    let sparse = place.join("copy/sparse");
    let status = sparse.metadata().expect("copy");
    assert_eq!(status.len(), 1 << 32);
    assert!(status.blocks() * 512 < 1 << 20, "{} blocks", status.blocks());
    let mut middle = [0; 8];
    std::os::unix::fs::FileExt::read_exact_at(&fs::File::open(sparse).expect("open"), &mut middle, 1 << 30)
        .expect("read");
    assert_eq!(&middle, b"middle\0\0");
    let hole = place.join("copy/hole").metadata().expect("copy");
    assert_eq!((hole.len(), hole.blocks()), (5 << 20, 0));
}

#[test]
fn depth_beyond_paths_and_descriptors() {
    use rustix::fs::{mkdirat, openat};
    let (tree, place) = (fixture::empty(), fixture::empty());
    let name = "d".repeat(200);
    let open = |at: &dyn AsFd, name: &str| openat(at.as_fd(), name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let mut here = rustix::fs::open(tree.path(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).expect("tree");
    for _ in 0..1200 {
        mkdirat(&here, &name, Mode::RWXU).expect("level");
        here = open(&here, &name).expect("level");
    }
    openat(&here, "bottom", OFlags::CREATE | OFlags::CLOEXEC, Mode::RUSR).expect("bottom");
    drop(here);
    let report = copy_to(tree.path(), place.path(), &mut |_| true).expect("copy");
    assert_eq!(report.progress.entries, 1201);
    let mut here = rustix::fs::open(place.join("copy"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).expect("copy");
    for level in 0..1200 {
        here = open(&here, &name).unwrap_or_else(|error| panic!("level {level}: {error}"));
    }
    assert!(open(&here, "bottom").is_ok());
    drop(here);
    for directory in [&tree, &place] {
        let at = rustix::fs::open(directory.path(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).expect("open");
        let first = if directory.path() == tree.path() { name.as_str() } else { "copy" };
        image::remove::tree(at.as_fd(), first.as_ref()).expect("remove");
    }
}

#[test]
fn what_is_mounted_in_the_tree_is_left_out() {
    requires!(root, program "mount");
    let _isolated = Isolated::enter();
    let (tree, place) = (fixture::empty(), fixture::empty());
    tree.write("data/below", "x", 0o644);
    let _mounted = Mounted::new(&["-t", "tmpfs", "tmpfs"], &tree.join("data"));
    tree.write("data/mounted", "x", 0o644);
    copy_to(tree.path(), place.path(), &mut |_| true).expect("copy");
    assert!(place.join("copy/data/below").exists() && !place.join("copy/data/mounted").exists());
}

#[test]
fn an_interrupted_template_leaves_nothing() {
    let (tree, place) = (fixture::empty(), fixture::empty());
    for number in 0..500 {
        tree.write(&format!("usr/{number}"), "x", 0o644);
    }
    let template = Tree::open(tree.path()).expect("template");
    let target = place.join("new");
    let error =
        template::make(&template, &target, "m", &mut |progress| progress.entries < 200).expect_err("interrupted");
    assert!(matches!(error, template::Error::Copy { source: copy::Error::Interrupted, .. }), "{error}");
    assert_eq!(fs::read_dir(place.path()).expect("place").count(), 0);
    template::make(&template, &target, "m", &mut |_| true).expect("made");
    assert_eq!(fs::read_dir(place.join("new/usr")).expect("copy").count(), 500);
    assert!(matches!(template::make(&template, &target, "m", &mut |_| true), Err(template::Error::Exists(_))));
    assert_eq!(fs::read_dir(place.path()).expect("place").count(), 1);
}

#[test]
fn contents_are_shared_where_the_file_system_can() {
    requires!(root, loop, program "mount", program "mkfs.btrfs");
    let _isolated = Isolated::enter();
    let disk = Disk::new("btrfs", 256);
    let tree = disk.path().join("tree");
    fs::create_dir_all(tree.join("usr")).expect("tree");
    fs::write(tree.join("usr/file"), vec![1; 1 << 20]).expect("file");
    let template = Tree::open(&tree).expect("template");
    let made = template::make(&template, &disk.path().join("new"), "m", &mut |_| true).expect("made");
    let template::Made::Copy(report) = made else { panic!("a directory is no subvolume: {made:?}") };
    assert!(report.shared && report.progress.bytes == 0, "{report:?}");
    assert_eq!(fs::read(disk.path().join("new/usr/file")).expect("file"), vec![1; 1 << 20]);
    // The new one is a subvolume, so that the next one is a snapshot.
    let second = Tree::open(&disk.path().join("new")).expect("tree");
    assert!(second.is_subvolume);
    let made = template::make(&second, &disk.path().join("newer"), "m", &mut |_| true).expect("made");
    assert_eq!(made, template::Made::Snapshot);
    assert_eq!(fs::read(disk.path().join("newer/usr/file")).expect("file"), vec![1; 1 << 20]);
}

/// Directories with two names in each other: every level would double the copies.
#[test]
fn a_directory_of_a_hostile_file_system_is_copied_once() {
    requires!(root, loop, program "mkfs.ext4", program "debugfs");
    let (work, place, tree) = (fixture::empty(), fixture::empty(), fixture::empty());
    tree.write("a/a/a/a/file", "x", 0o644);
    let image = work.join("image");
    fs::File::create(&image).and_then(|file| file.set_len(1 << 20)).expect("image");
    run(std::process::Command::new("mkfs.ext4").args(["-q", "-d"]).arg(tree.path()).arg(&image));
    let attempt = |name: &str| {
        let file = fs::File::open(&image).expect("image");
        let mounted =
            image::disk::range::Mounted::new(file.as_fd(), 0, 1 << 20, image::disk::Format::Ext4).expect("mounted");
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(mounted.root(), ".", flags, Mode::empty()).expect("root");
        let place = rustix::fs::open(place.path(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).expect("place");
        let done = copy::opened(root, place.as_fd(), name.as_ref(), |_| true, &mut |_| true);
        mounted.release();
        done
    };
    assert!(attempt("good").expect("copy").progress.entries >= 5);
    for (of, name) in [("/a/a/a/a", "/a/a/a/b"), ("/a/a/a", "/a/a/b"), ("/a/a", "/a/b"), ("/a", "/b")] {
        run(std::process::Command::new("debugfs").args(["-w", "-R", &format!("link {of} {name}")]).arg(&image));
    }
    let error = attempt("bad").expect_err("directories");
    assert!(matches!(error, copy::Error::Again { .. }), "{error:?}");
}

/// What a running system does to its tree all the time: here just when some names are listed and not yet looked at.
#[test]
fn what_goes_or_becomes_something_else_meanwhile_ends_no_copy() {
    requires!(root);
    const COUNT: usize = 600;
    let (tree, place) = (fixture::empty(), fixture::empty());
    let file = |number| tree.join(&format!("all/file-{number}"));
    let directory = |number| tree.join(&format!("all/directory-{number}"));
    for number in 0..COUNT {
        tree.write(&format!("all/file-{number}"), "x", 0o644);
        fs::create_dir(directory(number)).expect("directory");
    }
    let make = |path: &Path, number: usize| {
        let node = |kind| mknodat(CWD, path, kind, Mode::from_raw_mode(0o600), makedev(1, 3)).expect("node");
        match number % 7 {
            0 => {}
            1 => symlink("/nonexistent", path).expect("link"),
            2 => node(FileType::Socket),
            3 => node(FileType::Fifo),
            4 => node(FileType::CharacterDevice),
            5 => fs::write(path, "new").expect("file"),
            _ => fs::create_dir(path).expect("directory"),
        }
    };
    let mut changed = false;
    let report = copy_to(tree.path(), place.path(), &mut |progress| {
        if !changed && progress.entries > 1 {
            for number in 0..COUNT {
                fs::remove_file(file(number)).expect("remove");
                fs::remove_dir(directory(number)).expect("remove");
                make(&file(number), number);
                make(&directory(number), number);
            }
            changed = true;
        }
        true
    });
    report.expect("copied");
    assert!(changed);
    let kinds: std::collections::BTreeSet<u32> = fs::read_dir(place.join("copy/all"))
        .expect("list")
        .map(|entry| entry.expect("entry").metadata().expect("status").mode() & 0o170_000)
        .collect();
    // As they became.
    for kind in [FileType::Symlink, FileType::Socket, FileType::Fifo, FileType::CharacterDevice] {
        assert!(kinds.contains(&kind.as_raw_mode()), "{kind:?}: {kinds:?}");
    }
}
