use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use super::*;

struct Places {
    base: tempfile::TempDir,
    pool: Pool,
}

impl Places {
    fn new() -> Self {
        let base = tempfile::tempdir().expect("directory");
        let at = |name: &str| base.path().join(name);
        for name in ["one", "two", "settings"] {
            fs::create_dir(at(name)).expect("make");
        }
        let run = RunDirectory::at(at("run"), at("peer"));
        let pool = Pool::at(vec![at("one"), at("two"), at("none")], vec![at("settings")], run);
        Self { base, pool }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.base.path().join(path)
    }

    fn directory(&self, path: &str) {
        fs::create_dir_all(self.at(path)).expect("make");
    }

    fn file(&self, path: &str, text: &str) {
        fs::write(self.at(path), text).expect("write");
    }

    fn names(&self) -> Vec<String> {
        let images = self.pool.list().expect("list");
        images.into_iter().map(|image| image.name).filter(|name| name != HOST).collect()
    }

    /// A copy that runs without privileges, too.
    fn clone(&self, old: &str, new: &str, read_only: bool) -> Result<Cloned, Error> {
        self.pool.clone_image(&self.pool.find(old)?, new, read_only, &mut |_| true)
    }
}

#[test]
fn images_are_found_and_the_first_of_a_name_wins() {
    let places = Places::new();
    for path in ["one/tree/usr", "two/tree", "two/other", "one/.hidden", "one/.#tmp", "one/lost+found", "two/both"] {
        places.directory(path);
    }
    places.directory("one/versions.v/versions_1");
    places.directory("one/versions.v/versions_10");
    places.directory("one/empty.v");
    for path in ["one/disk.raw", "two/both.raw", "one/.raw", "one/file", "one/x\u{1}y.raw"] {
        places.file(path, "four");
    }
    symlink(places.at("two/other"), places.at("one/linked")).expect("link");
    symlink("nowhere", places.at("one/dangling")).expect("link");
    symlink("loop", places.at("one/loop")).expect("link");
    assert_eq!(places.names(), [".hidden", "both", "disk", "linked", "other", "tree", "versions"]);
    let find = |name: &str| places.pool.find(name).expect("image");
    assert_eq!(find("tree").path, places.at("one/tree"));
    assert_eq!(find("versions").path, places.at("one/versions.v/versions_10"));
    assert_eq!(find("both").kind.name(), find("linked").kind.name());
    let disk = find("disk");
    assert_eq!((disk.kind, disk.limit, disk.read_only), (Kind::Raw, 4, false));
    assert!(disk.modified > 1_600_000_000_000_000, "{disk:?}");
    assert!(find(".hidden").read_only && !find("tree").read_only);
    assert_eq!((find("tree").usage, find("tree").modified), (UNKNOWN, 0));
    for image in places.pool.list().expect("list") {
        assert_eq!(places.pool.find(&image.name).expect("found by its name"), image);
    }
    for missing in ["none", "dangling", "loop", "file", "disk.raw", "versions.v", "empty"] {
        assert!(matches!(places.pool.find(missing), Err(Error::Unknown(_))), "{missing}");
    }
    for bad in ["", ".", "..", "a/b", "../one", "a\nb", ".#tmp", "lost+found"] {
        assert!(matches!(places.pool.find(bad), Err(Error::Name(_))), "{bad}");
    }
    let host = find(HOST);
    assert_eq!((host.path.as_path(), host.read_only), (Path::new("/"), true));
}

#[test]
fn a_disk_image_is_cloned_renamed_marked_and_removed() {
    let places = Places::new();
    places.file("two/disk.raw", "contents");
    fs::set_permissions(places.at("two/disk.raw"), fs::Permissions::from_mode(0o444)).expect("mode");
    places.file("two/disk.nspawn", "[Exec]\n");
    places.file("settings/disk.nspawn", "[Files]\n");
    let cloned = places.clone("disk", "copy", false).expect("clone");
    assert_eq!(cloned.image.path, places.at("one/copy.raw"));
    assert!(!cloned.image.read_only);
    assert_eq!(fs::read_to_string(places.at("one/copy.raw")).expect("read"), "contents");
    assert_eq!(fs::read_to_string(places.at("settings/copy.nspawn")).expect("read"), "[Files]\n");
    assert_eq!(fs::read_to_string(places.at("one/copy.nspawn")).expect("read"), "[Exec]\n");
    assert!(places.clone("disk", "fixed", true).expect("clone").image.read_only);
    assert!(matches!(places.clone("disk", "copy", false), Err(Error::Exists { .. })));
    places.file("settings/taken.nspawn", "");
    assert!(matches!(places.clone("disk", "taken", false), Err(Error::CompanionExists(_))));
    for bad in ["", "a/b", "..", ".#x", "x.raw", "x.v"] {
        assert!(matches!(places.clone("disk", bad, false), Err(Error::Name(_))), "{bad}");
    }
    let rename = |old: &str, new: &str| places.pool.rename(&places.pool.find(old).expect("image"), new);
    assert!(matches!(rename("copy", "disk"), Err(Error::Exists { .. })));
    assert!(matches!(rename("copy", "taken"), Err(Error::CompanionExists(_))));
    rename("copy", "renamed").expect("rename");
    let there = |path: &str| places.at(path).exists();
    assert!(there("one/renamed.raw") && there("one/renamed.nspawn") && there("settings/renamed.nspawn"));
    assert!(!there("one/copy.raw") && !there("one/copy.nspawn") && !there("settings/copy.nspawn"));
    let renamed = places.pool.find("renamed").expect("image");
    places.pool.mark_read_only(&renamed, true).expect("mark");
    assert_eq!(fs::metadata(&renamed.path).expect("there").permissions().mode() & 0o777, 0o444);
    places.pool.mark_read_only(&renamed, false).expect("mark");
    assert_eq!(fs::metadata(&renamed.path).expect("there").permissions().mode() & 0o777, 0o644);
    assert!(matches!(places.pool.set_limit(&renamed, None), Err(Error::Unsupported { .. })));
    places.pool.remove(&renamed).expect("remove");
    assert!(!there("one/renamed.raw") && !there("one/renamed.nspawn") && !there("settings/renamed.nspawn"));
    let left = |place: &str| fs::read_dir(places.at(place)).expect("list").count();
    assert_eq!((left("one"), left("run/locks")), (2, 0), "the clone that was kept, and its settings file");
}

#[test]
fn what_a_killed_call_has_left_of_settings_is_taken_over() {
    let places = Places::new();
    fs::create_dir_all(places.at("one/tree/usr")).expect("tree");
    places.file("settings/tree.nspawn", "[Exec]\n");
    // A clone that has come to its settings, and a rename likewise.
    places.file("settings/copy.nspawn", "[Exec]\n");
    places.clone("tree", "copy", false).expect("clone");
    fs::hard_link(places.at("settings/copy.nspawn"), places.at("settings/moved.nspawn")).expect("link");
    places.pool.rename(&places.pool.find("copy").expect("image"), "moved").expect("rename");
    assert!(!places.at("settings/copy.nspawn").exists());
    assert_eq!(fs::read_to_string(places.at("settings/moved.nspawn")).expect("read"), "[Exec]\n");
    // A failure leaves neither.
    places.file("settings/other.nspawn", "[Files]\n");
    places.file("one/tree.nspawn", "[Network]\n");
    assert!(matches!(places.clone("tree", "other", false), Err(Error::CompanionExists(_))));
    assert!(!places.at("one/other.nspawn").exists());
    assert_eq!(fs::read_to_string(places.at("settings/other.nspawn")).expect("read"), "[Files]\n");
}

/// A clone that was killed between its name and its mark, as the kernel makes no immutable directory under a name.
#[test]
fn a_read_only_clone_is_so_from_the_moment_on_that_it_is_seen() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let places = Places::new();
    let immutable = |path: &str| {
        let directory = fs::File::open(places.at(path)).expect("open");
        rustix::fs::ioctl_getflags(&directory).is_ok_and(|flags| flags.contains(rustix::fs::IFlags::IMMUTABLE))
    };
    let writable = |name: &str| {
        let image = places.pool.find(name).expect("image");
        places.pool.mark_read_only(&image, false).expect("writable");
    };
    places.directory("one/tree/usr");
    match places.clone("tree", "copy", true) {
        Err(Error::Unsupported { .. }) => {
            return assert_eq!(places.names(), ["tree"], "no such flag, and nothing left");
        }
        other => assert!(other.expect("clone").image.read_only && immutable("one/copy")),
    }
    writable("copy");
    assert!(!places.pool.find("copy").expect("image").read_only && !immutable("one/copy"));
    assert_eq!(fs::read_dir(places.at("one")).expect("list").count(), 2);
    // What its violent death leaves then: the name is given, the mark is not.
    let leave = |name: &str| {
        places.directory(&format!("one/.#redd.{name}"));
        fs::create_dir_all(places.at(&format!("one/{name}/usr"))).expect("tree");
        let inode =
            std::os::unix::fs::MetadataExt::ino(&fs::metadata(places.at(&format!("one/{name}"))).expect("there"));
        places.file(&format!("one/.#redd.{name}/read-only"), &format!("{inode} {name}"));
    };
    let read_only = |name: &str| places.pool.find(name).expect("image").read_only;
    leave("killed");
    assert!(read_only("killed") && !immutable("one/killed"));
    assert!(places.pool.list().expect("list").iter().any(|image| image.name == "killed" && image.read_only));
    places.pool.clean(Clean::Hidden).expect("clean");
    assert!(read_only("killed") && immutable("one/killed") && !places.at("one/.#redd.killed").exists());
    writable("killed");
    leave("killed");
    places.pool.rename(&places.pool.find("killed").expect("image"), "named").expect("rename");
    assert!(read_only("named") && immutable("one/named"));
    leave("other");
    writable("other");
    assert!(!read_only("other") && !immutable("one/other"));
    // One of the same name that has come since is another.
    leave("gone");
    fs::rename(places.at("one/gone"), places.at("two/gone")).expect("away");
    places.directory("one/gone/usr");
    assert!(!read_only("gone"));
    places.pool.clean(Clean::Hidden).expect("clean");
    assert!(!immutable("one/gone"));
    for name in ["named", "copy"] {
        places.pool.remove(&places.pool.find(name).expect("image")).expect("remove");
    }
}

#[test]
fn what_must_not_be_changed_stays() {
    let places = Places::new();
    let host = places.pool.find(HOST).expect("host");
    let mut vendors = host.clone();
    (vendors.name, vendors.path) = ("v".to_owned(), "/usr/lib/machines/v".into());
    for image in [&host, &vendors] {
        assert!(matches!(places.pool.remove(image), Err(Error::Protected { .. })));
        assert!(matches!(places.pool.rename(image, "x"), Err(Error::Protected { .. })));
        assert!(matches!(places.pool.mark_read_only(image, true), Err(Error::Protected { .. })));
        assert!(matches!(places.pool.set_limit(image, None), Err(Error::Protected { .. })));
    }
    assert!(matches!(places.pool.clone_image(&host, "x", false, &mut |_| true), Err(Error::Unsupported { .. })));
    // A link that leads to the running system.
    symlink("/", places.at("one/root")).expect("link");
    let root = places.pool.find("root").expect("image");
    assert!(matches!(places.pool.mark_read_only(&root, true), Err(Error::Protected { .. })));
}

#[test]
fn an_image_in_use_stays_and_a_link_goes_without_what_it_leads_to() {
    let places = Places::new();
    places.directory("two/tree/usr");
    places.directory("elsewhere/usr");
    symlink(places.at("elsewhere"), places.at("one/linked")).expect("link");
    let tree = places.pool.find("tree").expect("image");
    let machine = spec::MachineName::try_from("someone").expect("name");
    let run = RunDirectory::at(places.at("run"), places.at("peer"));
    let opened = crate::Tree::open(&tree.path).expect("tree");
    let lock = crate::lock::TreeLock::shared(&run, &opened, &machine).expect("lock");
    let in_use = |result| matches!(result, Err(Error::InUse { machine: Some(machine), .. }) if machine == "someone");
    assert!(in_use(places.pool.remove(&tree)) && in_use(places.pool.rename(&tree, "x")));
    drop(lock);
    let name = crate::lock::NameLock::take(&run, &spec::MachineName::try_from("tree").expect("name")).expect("lock");
    assert!(matches!(places.pool.remove(&tree), Err(Error::Running(name)) if name == "tree"));
    drop(name);
    // The original's lock, where its directory exists.
    places.directory("peer");
    let file = std::ffi::OsString::from(format!("inode-{}", opened.identity));
    let peer = crate::lock_file::LockFile::acquire(&places.at("peer"), &file, sys::file_lock::Mode::Shared);
    assert!(matches!(places.pool.remove(&tree), Err(Error::InUse { .. })));
    drop(peer);
    places.pool.remove(&tree).expect("remove");
    assert!(!places.at("two/tree").exists());
    let linked = places.pool.find("linked").expect("image");
    places.pool.rename(&linked, "renamed").expect("rename");
    places.pool.remove(&places.pool.find("renamed").expect("image")).expect("remove");
    assert!(places.at("elsewhere/usr").exists() && places.names().is_empty());
}

#[test]
fn hidden_images_go_and_what_the_dead_have_left() {
    let places = Places::new();
    places.directory("one/tree/usr");
    places.directory("one/.hidden/usr");
    places.file("one/.download.raw", "12345");
    // As a copy or a removal that was killed leaves it.
    places.directory("one/.#redd.dead/root/usr");
    places.directory("one/.#foreign");
    let cleaned = places.pool.clean(Clean::Hidden).expect("clean");
    let mut names: Vec<&str> = cleaned.removed.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!((names, cleaned.left_behind, cleaned.failed.len()), (vec![".download", ".hidden"], 1, 0));
    assert_eq!(cleaned.space(), UNKNOWN, "nobody counts what directories take");
    assert_eq!(places.names(), ["tree"]);
    assert!(!places.at("one/.#redd.dead").exists() && places.at("one/.#foreign").exists());
    let cleaned = places.pool.clean(Clean::All).expect("clean");
    assert_eq!((cleaned.removed.len(), cleaned.left_behind), (1, 0));
    assert!(places.names().is_empty());
}

#[test]
fn what_a_hostile_tree_says_of_itself_is_read_inside_of_it() {
    let places = Places::new();
    for path in ["one/tree/etc", "one/tree/usr/lib", "one/bad/etc"] {
        places.directory(path);
    }
    places.file("one/tree/etc/hostname", "web\n");
    places.file("one/tree/etc/machine-id", "0123456789abcdef0123456789abcdef\n");
    places.file("one/tree/usr/lib/os-release", "ID=x\nPRETTY_NAME=\"X 1\"\n");
    symlink("../usr/lib/os-release", places.at("one/tree/etc/os-release")).expect("link");
    let metadata = |name: &str| places.pool.metadata(&places.pool.find(name).expect("image")).expect("metadata");
    let tree = metadata("tree");
    assert_eq!((tree.hostname.as_deref(), tree.operating_system()), (Some("web"), Some("X 1")));
    assert_eq!(tree.machine_id.map(|id| id[15]), Some(0xef));
    places.file("secret", "ID=host\n");
    symlink(places.at("secret"), places.at("one/bad/etc/os-release")).expect("link");
    symlink("/proc/self/root/etc/machine-id", places.at("one/bad/etc/machine-id")).expect("link");
    let fifo = places.at("one/bad/etc/machine-info");
    rustix::fs::mknodat(rustix::fs::CWD, fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).expect("fifo");
    assert_eq!(metadata("bad"), Metadata::default());
}
