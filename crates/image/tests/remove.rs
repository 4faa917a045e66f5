//! Removal of trees made by somebody hostile.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use rustix::fs::{IFlags, Mode, OFlags, ioctl_setflags, mkdirat, open, openat};
use rustix::io::Errno;
use testkit::disk::{Disk, Mounted, run};
use testkit::{Isolated, fixture, requires};

fn directory(path: &Path) -> OwnedFd {
    open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).expect("directory")
}

fn remove(place: &Path, name: &str) -> Result<(), image::remove::Error> {
    image::remove::tree(directory(place).as_fd(), name.as_ref())
}

#[test]
fn depth_beyond_paths_and_descriptors() {
    let place = fixture::empty();
    let name = "d".repeat(200);
    let mut here = directory(place.path());
    mkdirat(&here, "top", Mode::RWXU).expect("top");
    here = openat(&here, "top", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).expect("top");
    // 600 KB of path, and more levels than a process may have descriptors.
    for level in 0..3000 {
        mkdirat(&here, &name, Mode::RWXU).unwrap_or_else(|error| panic!("level {level}: {error}"));
        drop(openat(&here, "file", OFlags::CREATE | OFlags::CLOEXEC, Mode::RUSR).expect("file"));
        here = openat(&here, &name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).expect("level");
    }
    drop(here);
    remove(place.path(), "top").expect("removed");
    assert_eq!(fs::read_dir(place.path()).expect("place").count(), 0);
}

#[test]
fn links_lead_nowhere() {
    let (place, outside) = (fixture::empty(), fixture::empty());
    let kept = outside.write("kept/file", "x", 0o644);
    fs::create_dir(place.join("top")).expect("top");
    symlink(outside.path(), place.join("top/link")).expect("link");
    symlink(outside.path(), place.join("link")).expect("link");
    remove(place.path(), "top").expect("removed");
    remove(place.path(), "link").expect("the link itself");
    remove(place.path(), "nothing").expect("nothing there");
    assert!(kept.exists());
    assert_eq!(fs::read_dir(place.path()).expect("place").count(), 0);
}

#[test]
fn names_that_lead_out_are_refused() {
    // Two levels down, so that a failure would harm nothing but this.
    let outer = fixture::empty();
    let kept = outer.write("place/inner/kept", "x", 0o644);
    let place = outer.join("place/inner");
    for bad in ["", ".", "..", "./kept", "../inner", "a/b", "kept/"] {
        let error = remove(&place, bad).expect_err(bad);
        assert_eq!(error.source, Errno::INVAL, "{bad:?}");
        assert!(kept.exists(), "{bad:?}");
    }
}

#[test]
fn protected_files_and_directories() {
    requires!(root);
    let place = fixture::empty();
    place.write("top/plain/file", "x", 0o000);
    place.write("top/append/file", "x", 0o644);
    place.write("top/fixed/file", "x", 0o644);
    fs::set_permissions(place.join("top/plain"), fs::Permissions::from_mode(0o0)).expect("mode");
    let flag = |path: &str, flags| {
        let file = open(place.join(path), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).expect(path);
        ioctl_setflags(file, flags)
    };
    match flag("top/append/file", IFlags::APPEND) {
        // A file system without flags has nothing to protect with.
        Err(Errno::NOTTY | Errno::OPNOTSUPP) => {}
        other => {
            other.expect("append");
            flag("top/append", IFlags::APPEND).expect("append");
            flag("top/fixed/file", IFlags::IMMUTABLE).expect("immutable");
            flag("top/fixed", IFlags::IMMUTABLE).expect("immutable");
            flag("top", IFlags::IMMUTABLE).expect("immutable");
            assert!(fs::remove_dir_all(place.join("top")).is_err(), "the protection works");
        }
    }
    remove(place.path(), "top").expect("removed");
    assert!(!place.join("top").exists());
}

#[test]
fn mounts_are_not_crossed() {
    requires!(root, program "mount");
    let _isolated = Isolated::enter();
    let (place, outside) = (fixture::empty(), fixture::empty());
    let kept = outside.write("kept", "x", 0o644);
    place.write("top/a/file", "x", 0o644);
    place.write("top/mounted/covered", "x", 0o644);
    place.write("top/z/file", "x", 0o644);
    let mounted = Mounted::new(&["--bind", outside.path().to_str().expect("path")], &place.join("top/mounted"));
    let error = remove(place.path(), "top").expect_err("something is mounted");
    assert_eq!((error.path.as_path(), error.source), (Path::new("top/mounted"), Errno::XDEV));
    assert!(error.to_string().contains("something is mounted"), "{error}");
    assert!(kept.exists());
    assert!(!place.join("top/a").exists() && !place.join("top/z").exists(), "the rest is gone");
    drop(mounted);
    assert!(place.join("top/mounted/covered").exists());
    remove(place.path(), "top").expect("removed");
}

#[test]
fn subvolumes_within_subvolumes() {
    requires!(root, loop, program "mount", program "mkfs.btrfs", program "btrfs");
    let _isolated = Isolated::enter();
    let disk = Disk::new("btrfs", 256);
    let at = |path: &str| disk.path().join(path);
    for path in ["top", "top/inner", "top/inner/deepest"] {
        run(Command::new("btrfs").args(["subvolume", "create"]).arg(at(path)));
        fs::write(at(path).join("file"), "x").expect("file");
    }
    run(Command::new("btrfs").args(["property", "set", "-ts"]).arg(at("top/inner/deepest")).args(["ro", "true"]));
    run(Command::new("btrfs").args(["property", "set", "-ts"]).arg(at("top")).args(["ro", "true"]));
    remove(&disk.path(), "top").expect("removed");
    assert_eq!(run(Command::new("btrfs").args(["subvolume", "list"]).arg(disk.path())), "");
}
