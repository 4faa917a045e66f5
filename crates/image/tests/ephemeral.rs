//! Which copy fits which tree, and what is left of it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use image::ephemeral::{Kind, choose, prepare};
use image::holder::{Holder, Purpose, list, remove_dead_at};
use image::lock::{NameLock, TreeLock};
use image::record::Entry;
use image::{RunDirectory, Tree};
use spec::MachineName;
use testkit::disk::{Disk, Mounted, run};
use testkit::{Isolated, fixture, requires};

fn run_directory(place: &fixture::Tree) -> RunDirectory {
    RunDirectory::at(place.join("run"), place.join("peer"))
}

fn tree_in(place: &Path) -> Tree {
    fs::create_dir_all(place.join("tree/usr")).expect("tree");
    Tree::open(&place.join("tree")).expect("tree")
}

fn name(text: &str) -> MachineName {
    MachineName::try_from(text).expect("name")
}

#[test]
fn an_upper_layer_lies_beside_and_its_root_is_as_the_tree_s() {
    requires!(root);
    let place = fixture::empty();
    let run = run_directory(&place);
    let tree = tree_in(place.path());
    fs::set_permissions(&tree.path, fs::Permissions::from_mode(0o3751)).expect("mode");
    std::os::unix::fs::chown(&tree.path, Some(4242), Some(4343)).expect("owner");
    fs::set_permissions(&tree.path, fs::Permissions::from_mode(0o3751)).expect("mode");
    rustix::fs::setxattr(&tree.path, "user.note", b"kept", rustix::fs::XattrFlags::empty()).expect("attribute");
    let tree = Tree::open(&tree.path).expect("tree");
    let choice = choose(&run, &tree).expect("choice");
    assert_eq!((choice.kind, choice.place.as_path(), choice.notice), (Kind::Overlay, place.path(), None));
    let copy = prepare(&tree, "m", (choice.kind, place.path()), &mut |_| true).expect("copy").expect("on disk");
    let upper = place.join(".#redd.m/layers/upper");
    let status = upper.metadata().expect("upper");
    assert_eq!((status.mode() & 0o7777, status.uid(), status.gid()), (0o3751, 4242, 4343));
    let mut value = [0; 16];
    let length = rustix::fs::getxattr(&upper, "user.note", &mut value).expect("attribute");
    assert_eq!(&value[..length], b"kept");
    copy.remove().expect("removed");
    assert_eq!(list(place.path(), 10), Vec::<String>::new());
}

#[test]
fn another_place_where_none_fits_beside() {
    requires!(root, program "mount");
    let _isolated = Isolated::enter();
    let place = fixture::empty();
    let run = run_directory(&place);
    let tree = tree_in(place.path());
    let source = tree.path.to_str().expect("path").to_owned();
    let elsewhere = |tree: &Path, why: &str| {
        let choice = choose(&run, &Tree::open(tree).expect("tree")).expect("choice");
        let notice = choice.notice.expect("a person is told");
        assert!(notice.contains(why), "{notice}");
        assert_eq!((choice.kind, choice.place.as_path()), (Kind::Overlay, Path::new("/var/tmp")), "{why}");
    };
    // On the isolated thread's own tmpfs, so that it stays in sight when /var/tmp is covered.
    let point = Path::new("/run/systemd/machines/point").to_owned();
    fs::create_dir(&point).expect("mount point");
    {
        let _mounted = Mounted::new(&["--bind", &source], &point);
        elsewhere(&point, "mount point");
    }
    {
        let _mounted = Mounted::new(&["-o", "bind,ro", place.path().to_str().expect("path")], &point);
        elsewhere(&point.join("tree"), "read-only");
    }
    for layer in ["upper", "work"] {
        fs::create_dir(place.join(layer)).expect("layer");
    }
    let at = |name: &str| place.join(name).display().to_string();
    let options = format!("lowerdir={},upperdir={},workdir={}", at("tree"), at("upper"), at("work"));
    let _mounted = Mounted::new(&["-t", "overlay", "overlay", "-o", &options], &point);
    fs::create_dir_all(point.join("inner/usr")).expect("tree");
    elsewhere(&point.join("inner"), "overlay");
    // Nor in /var/tmp: memory is left.
    let _memory = Mounted::new(&["-t", "tmpfs", "-o", "ro", "tmpfs"], Path::new("/var/tmp"));
    let choice = choose(&run, &Tree::open(&point.join("inner")).expect("tree")).expect("choice");
    assert_eq!(choice.kind, Kind::Memory);
    assert!(choice.notice.expect("a person is told").contains("in memory"));
}

#[test]
fn a_tree_that_is_written_to_is_copied() {
    requires!(root);
    let place = fixture::empty();
    let run = run_directory(&place);
    let tree = tree_in(place.path());
    fs::write(tree.path.join("usr/file"), "contents").expect("file");
    let writer = TreeLock::exclusive(&run, &tree, &name("writer")).expect("lock");
    let choice = choose(&run, &tree).expect("choice");
    assert_eq!(choice.kind, Kind::Copy);
    assert!(choice.notice.expect("a person is told").contains("is copied"));
    let copy = prepare(&tree, "m", (choice.kind, &choice.place), &mut |_| true).expect("copy").expect("on disk");
    let root = &copy.tree().expect("a tree of its own").path;
    assert_eq!(fs::read(root.join("usr/file")).expect("file"), b"contents");
    fs::write(root.join("usr/file"), "changed").expect("file");
    assert_eq!(fs::read(tree.path.join("usr/file")).expect("file"), b"contents");
    copy.remove().expect("removed");
    drop(writer);
    assert_eq!(choose(&run, &tree).expect("choice").kind, Kind::Overlay);
}

#[test]
fn a_subvolume_is_snapshotted_with_those_in_it() {
    requires!(root, loop, program "mount", program "mkfs.btrfs", program "btrfs");
    let _isolated = Isolated::enter();
    let disk = Disk::new("btrfs", 256);
    let place = fixture::empty();
    let run_directory = run_directory(&place);
    let at = |path: &str| disk.path().join(path);
    run(Command::new("btrfs").args(["subvolume", "create"]).arg(at("tree")));
    fs::create_dir_all(at("tree/usr/lib")).expect("directory");
    run(Command::new("btrfs").args(["subvolume", "create"]).arg(at("tree/usr/lib/inner")));
    run(Command::new("btrfs").args(["subvolume", "create"]).arg(at("tree/var")));
    fs::write(at("tree/usr/lib/inner/file"), "inner").expect("file");
    let tree = Tree::open(&at("tree")).expect("tree");
    // Whoever writes to it does not matter.
    let _writer = TreeLock::exclusive(&run_directory, &tree, &name("writer")).expect("lock");
    let choice = choose(&run_directory, &tree).expect("choice");
    assert_eq!((choice.kind, choice.notice), (Kind::Snapshot, None));
    let copy = prepare(&tree, "m", (choice.kind, &choice.place), &mut |_| true).expect("copy").expect("on disk");
    let root = copy.tree().expect("a tree of its own").path.clone();
    assert_eq!(fs::read(root.join("usr/lib/inner/file")).expect("nested"), b"inner");
    fs::write(root.join("usr/lib/inner/file"), "changed").expect("writable");
    fs::write(root.join("var/file"), "new").expect("writable");
    assert_eq!(fs::read(at("tree/usr/lib/inner/file")).expect("original"), b"inner");
    copy.remove().expect("removed");
    let left = run(Command::new("btrfs").args(["subvolume", "list"]).arg(disk.path()));
    assert_eq!(left.lines().count(), 3, "{left}");
}

#[test]
fn a_directory_is_removed_when_its_owner_is_dead_and_only_then() {
    let place = fixture::empty();
    let holder = Holder::create(place.path(), "m", Purpose::Copy).expect("holder");
    fs::write(holder.path().join("file"), "x").expect("file");
    let path = holder.path().to_owned();
    assert_eq!(list(place.path(), 10), ["m"]);
    assert!(!remove_dead_at(&path).expect("looked at"), "alive");
    assert!(Holder::create(place.path(), "m", Purpose::Copy).is_err(), "alive");
    let mounts = Holder::create(place.path(), "m", Purpose::Mounts).expect("another purpose");
    assert_eq!(list(place.path(), 10), ["m", "m"]);
    mounts.remove().expect("removed");
    // Without removal, as after a violent death.
    drop(holder);
    let again = Holder::create(place.path(), "m", Purpose::Copy).expect("the dead one is removed");
    assert_eq!(fs::read_dir(again.path()).expect("directory").count(), 0);
    drop(again);
    assert!(remove_dead_at(&path).expect("removed"));
    assert!(!path.exists());
}

#[test]
fn the_dead_are_known_by_their_locks() {
    let place = fixture::empty();
    let run = run_directory(&place);
    let tree = tree_in(place.path());
    let lock = NameLock::take(&run, &name("m")).expect("name");
    let entries = [Entry::Tree(tree.path.clone()), Entry::Directory("/a b".into()), Entry::Range(7)];
    lock.note(&entries).expect("note");
    assert!(NameLock::take_if_free(&run, &name("m")).expect("looked at").is_none());
    // As after a violent death: the lock is gone, the file is not.
    lock.keep();
    let mut lock = NameLock::take_if_free(&run, &name("m")).expect("looked at").expect("free");
    assert_eq!(lock.left(), entries);
    lock.clear().expect("clear");
    drop(lock);
    assert!(NameLock::take(&run, &name("m")).expect("name").left().is_empty());
    let stale = run.locks().join(format!("inode-{}", tree.identity));
    fs::write(&stale, format!("1 shared dead {}\n", tree.path.display())).expect("a dead holder's line");
    let held = TreeLock::shared(&run, &tree, &name("m")).expect("lock");
    assert_eq!(held.dead(), ["dead"]);
    let second = TreeLock::shared(&run, &tree, &name("n")).expect("lock");
    assert!(second.dead().is_empty(), "m lives");
    drop((held, second));
    assert_eq!(fs::read_dir(run.locks()).expect("locks").count(), 0);
}
