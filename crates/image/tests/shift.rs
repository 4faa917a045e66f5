//! Trees that are given to other ids: owners, access lists, capabilities, and what must stay as it is.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use image::shift::{self, Error, Mark, Report};
use rustix::fs::{CWD, FileType, IFlags, Mode, OFlags, XattrFlags, makedev, mknodat};
use testkit::disk::{Disk, Mounted, run as command};
use testkit::{Isolated, fixture, requires};

const BASE: u32 = 0x000a_0000;
/// `cap_net_raw=ep`: revision 2.
const CAPABILITIES: &[u8] = &[1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// The same for the root of a range: revision 3.
fn capabilities_of(root: u32) -> Vec<u8> {
    [&[1, 0, 0, 3][..], &CAPABILITIES[4..], &root.to_le_bytes()].concat()
}

/// An access list: owner, a user, group, another group, mask, others.
fn access_list(user: u32, group: u32) -> Vec<u8> {
    let entry = |kind: u16, id: u32| [&kind.to_le_bytes()[..], &5u16.to_le_bytes(), &id.to_le_bytes()].concat();
    let none = u32::MAX;
    let entries = [(1, none), (2, user), (4, none), (8, group), (16, none), (32, none)];
    [2u32.to_le_bytes().to_vec(), entries.iter().flat_map(|(kind, id)| entry(*kind, *id)).collect()].concat()
}

fn set(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()).unwrap_or_else(|error| panic!("{name}: {error}"));
}

fn attributes(path: &Path) -> BTreeMap<CString, Vec<u8>> {
    let mut names = [0; 1024];
    let length = rustix::fs::llistxattr(path, &mut names).expect("names");
    let names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let value = |name: &CStr| {
        let mut value = [0; 256];
        let length = rustix::fs::lgetxattr(path, name, &mut value).expect("value");
        value[..length].to_vec()
    };
    names.map(|name| CString::new(name).expect("name")).map(|name| (name.clone(), value(&name))).collect()
}

/// All that should be known about one file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    ids: (u32, u32),
    mode: u32,
    inode: u64,
    links: u64,
    written: i64,
    attributes: BTreeMap<CString, Vec<u8>>,
}

fn listing(root: &Path) -> BTreeMap<PathBuf, Seen> {
    fn add(path: &Path, root: &Path, all: &mut BTreeMap<PathBuf, Seen>) {
        let status = path.symlink_metadata().expect("status");
        let seen = Seen {
            ids: (status.uid(), status.gid()),
            mode: status.mode(),
            inode: status.ino(),
            links: status.nlink(),
            written: status.mtime_nsec(),
            attributes: attributes(path),
        };
        all.insert(path.strip_prefix(root).expect("below").to_owned(), seen);
        if status.is_dir() {
            fs::read_dir(path).expect("list").for_each(|entry| add(&entry.expect("entry").path(), root, all));
        }
    }
    let mut all = BTreeMap::new();
    add(root, root, &mut all);
    all
}

/// The same files as they are to be with the ids of a range.
fn expected(before: &BTreeMap<PathBuf, Seen>, base: u32) -> BTreeMap<PathBuf, Seen> {
    let id = |old: u32| base | old & 0xffff;
    let mut all = before.clone();
    for seen in all.values_mut() {
        seen.ids = (id(seen.ids.0), id(seen.ids.1));
        for (name, value) in &mut seen.attributes {
            if name.to_bytes().starts_with(b"system.posix_acl") {
                value[16..20].copy_from_slice(&(base | 7).to_le_bytes());
                value[32..36].copy_from_slice(&(base | 8).to_le_bytes());
            } else if name.to_bytes() == b"security.capability" {
                *value = if base == 0 { CAPABILITIES.to_vec() } else { capabilities_of(base) };
            }
        }
    }
    all
}

fn run(tree: &Path, base: u32) -> Result<Report, Error> {
    let root = rustix::fs::open(tree, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).expect("tree");
    shift::tree(root.as_fd(), base, &mut |_| true)
}

/// One of everything.
fn fill(tree: &fixture::Tree) {
    let owned = tree.write("etc/owned", "x", 0o640);
    lchown(&owned, Some(1000), Some(2000)).expect("owner");
    lchown(tree.write("etc/nobody", "x", 0o600), Some(65534), Some(65534)).expect("owner");
    for (name, mode) in [("su", 0o4755), ("wall", 0o2755), ("both", 0o6711), ("lock", 0o2644), ("sticky", 0o1777)] {
        let path = tree.write(name, "x", mode);
        lchown(&path, Some(5), Some(6)).expect("owner");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("mode");
    }
    set(&tree.write("ping", "x", 0o755), "security.capability", CAPABILITIES);
    let capable = tree.write("special", "x", 0o4755);
    set(&capable, "security.capability", CAPABILITIES);
    fs::set_permissions(&capable, fs::Permissions::from_mode(0o4755)).expect("mode");
    for name in ["etc", "etc/owned"] {
        set(&tree.join(name), "system.posix_acl_access", &access_list(7, 8));
    }
    set(&tree.join("etc"), "system.posix_acl_default", &access_list(7, 8));
    set(&owned, "user.note", b"kept");
    set(&owned, "trusted.note", b"kept");
    for number in 0..40 {
        fs::hard_link(&capable, tree.join(&format!("etc/link-{number}"))).expect("link");
    }
    symlink("/etc/passwd", tree.join("link")).expect("link");
    fs::create_dir(tree.join("group")).expect("directory");
    fs::set_permissions(tree.join("group"), fs::Permissions::from_mode(0o3775)).expect("mode");
    mknodat(CWD, tree.join("null"), FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(1, 3))
        .expect("node");
    mknodat(CWD, tree.join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o644), 0).expect("fifo");
    let mut deep = tree.join("deep");
    for _ in 0..80 {
        fs::create_dir(&deep).expect("directory");
        fs::write(deep.join("file"), "x").expect("file");
        deep.push("d");
    }
    for number in 0..3000 {
        fs::write(tree.join(&format!("etc/many-{number}")), "x").expect("file");
    }
}

#[test]
fn everything_gets_other_ids_and_nothing_else_and_back_again() {
    requires!(root);
    let tree = fixture::empty();
    fill(&tree);
    let before = listing(tree.path());
    for base in [BASE, 0x6fff_0000, BASE, 0] {
        let report = run(tree.path(), base).expect("shifted");
        assert_eq!(report.entries as usize, before.len() - 1);
        let (seen, expected) = (listing(tree.path()), expected(&before, base));
        for (path, seen) in &seen {
            assert_eq!(seen, &expected[path], "{} at {base:x}", path.display());
        }
        assert_eq!(seen.len(), expected.len());
    }
}

#[test]
fn neither_links_nor_mounts_lead_out() {
    requires!(root, program "mount");
    let _isolated = Isolated::enter();
    let (tree, outside) = (fixture::empty(), fixture::empty());
    outside.write("file", "x", 0o644);
    let before = listing(outside.path());
    symlink(outside.path(), tree.join("link")).expect("link");
    symlink(outside.join("file"), tree.join("link-to-file")).expect("link");
    fs::create_dir(tree.join("mounted")).expect("directory");
    tree.write("file", "x", 0o644);
    {
        let _mounts = [
            Mounted::new(&["--bind", &outside.path().display().to_string()], &tree.join("mounted")),
            Mounted::new(&["--bind", &outside.join("file").display().to_string()], &tree.join("file")),
        ];
        run(tree.path(), BASE).expect("shifted");
        assert_eq!(listing(outside.path()), before);
    }
    for name in ["link", "link-to-file", "mounted", "file"] {
        assert_eq!(tree.join(name).symlink_metadata().expect("status").uid(), BASE, "{name}");
    }
}

#[test]
fn a_tree_half_way_says_so_and_is_gone_on_with() {
    requires!(root);
    let tree = fixture::empty();
    fill(&tree);
    let before = listing(tree.path());
    let root = rustix::fs::open(tree.path(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).expect("tree");
    // Enough for several times a tenth of a second.
    let mut asked = 0;
    for number in 0..20 {
        let many = tree.join(&format!("more-{number}"));
        fs::create_dir(&many).expect("directory");
        (0..1500).for_each(|number| fs::write(many.join(number.to_string()), "").expect("file"));
    }
    let stopped = shift::tree(root.as_fd(), BASE, &mut |_| {
        asked += 1;
        false
    });
    if asked > 0 {
        assert!(matches!(stopped, Err(Error::Interrupted)), "{stopped:?}");
        assert!(shift::is_half_way(tree.path().metadata().expect("status").uid()));
    }
    // To another range than the first time.
    run(tree.path(), 2 * BASE).expect("shifted");
    let (seen, expected) = (listing(tree.path()), expected(&before, 2 * BASE));
    assert_eq!(seen.get(Path::new("")).map(|root| root.ids), Some((2 * BASE, 2 * BASE)));
    for (path, expected) in expected.iter().filter(|(path, _)| !path.as_os_str().is_empty()) {
        assert_eq!(&seen[path], expected, "{}", path.display());
    }
    assert!(seen.values().all(|seen| seen.ids.0 & !0xffff == 2 * BASE));
}

#[test]
fn what_a_killed_change_was_about_to_take_away_is_given_back() {
    requires!(root);
    let tree = fixture::empty();
    let path = tree.write("su", "x", 0o755);
    // As between the change of the owner and all that follows.
    lchown(&path, Some(BASE), Some(BASE)).expect("owner");
    set(&path, "trusted.redd.shift", &[&0o4755u32.to_le_bytes()[..], CAPABILITIES].concat());
    run(tree.path(), BASE).expect("shifted");
    assert_eq!(path.metadata().expect("status").mode() & 0o7777, 0o4755);
    assert_eq!(
        attributes(&path).into_iter().collect::<Vec<_>>(),
        [(c"security.capability".to_owned(), capabilities_of(BASE))]
    );
}

#[test]
fn bases_that_are_none_and_read_only_trees_are_refused() {
    requires!(root, program "mount");
    let tree = fixture::empty();
    tree.write("file", "x", 0o644);
    for base in [1, 65535, 0xfffe_0000, 0xffff_0000] {
        assert!(matches!(run(tree.path(), base), Err(Error::Base(_))), "{base:x}");
    }
    let _isolated = Isolated::enter();
    let path = tree.path().display().to_string();
    let _mounted = Mounted::new(&["--bind", "-o", "ro", &path], tree.path());
    let error = run(tree.path(), BASE).expect_err("read-only");
    assert!(matches!(error, Error::System { source: rustix::io::Errno::ROFS, .. }), "{error}");
    assert_eq!(tree.path().metadata().expect("status").uid(), 0);
}

#[test]
fn names_are_told_as_they_are_in_the_tree() {
    requires!(root);
    let tree = fixture::empty();
    let path = tree.write("a/b/c", "x", 0o644);
    let file = fs::File::open(&path).expect("file");
    rustix::fs::ioctl_setflags(&file, rustix::fs::IFlags::IMMUTABLE).expect("a flag");
    let error = run(tree.path(), BASE);
    rustix::fs::ioctl_setflags(&file, rustix::fs::IFlags::empty()).expect("no flag");
    let error = error.expect_err("an immutable file");
    assert!(matches!(&error, Error::Marked { path, mark: Mark::Immutable } if path == Path::new("a/b/c")), "{error}");
    assert!(error.to_string().contains("\"chattr -i\""), "{error}");
    run(tree.path(), BASE).expect("gone on with");
}

#[test]
fn a_root_with_a_mark_is_left_alone() {
    requires!(root);
    let tree = fixture::empty();
    tree.write("file", "x", 0o644);
    let root = fs::File::open(tree.path()).expect("root");
    for (flag, mark) in [(IFlags::IMMUTABLE, Mark::Immutable), (IFlags::APPEND, Mark::AppendOnly)] {
        rustix::fs::ioctl_setflags(&root, flag).expect("a flag");
        let error = run(tree.path(), BASE);
        rustix::fs::ioctl_setflags(&root, IFlags::empty()).expect("no flag");
        let error = error.expect_err("a mark");
        assert!(
            matches!(&error, Error::Marked { path, mark: found } if path == Path::new(".") && *found == mark),
            "{error}"
        );
        assert_eq!(listing(tree.path()).values().filter(|seen| seen.ids != (0, 0)).count(), 0);
    }
}

/// Snapshots of the system, as snapper keeps them in it.
#[test]
fn read_only_subvolumes_are_left_as_they_are_and_all_else_is_changed() {
    requires!(root, loop, program "mkfs.btrfs", program "btrfs", program "mount");
    let _isolated = Isolated::enter();
    let disk = Disk::new("btrfs", 256);
    let tree = disk.path().join("tree");
    let btrfs = |words: &[&str], path: &Path| drop(command(Command::new("btrfs").args(words).arg(path)));
    btrfs(&["subvolume", "create"], &tree);
    for name in ["kept", "before/file", "snapshots/1/deep/file", "zz/file"] {
        fs::create_dir_all(tree.join(name).parent().expect("parent")).expect("directory");
        fs::write(tree.join(name), "x").expect("file");
    }
    let snapshot = tree.join("snapshots/2");
    btrfs(&["subvolume", "snapshot", "-r", &tree.join("").display().to_string()], &snapshot);
    for base in [BASE, 0] {
        let report = run(&tree, base).expect("shifted");
        assert_eq!(report.read_only, u64::from(base != 0), "one directory, and nothing below it");
        for (path, seen) in listing(&tree) {
            let expected = if path.starts_with("snapshots/2") { 0 } else { base };
            assert_eq!(seen.ids, (expected, expected), "{}", path.display());
        }
    }
}

/// The mark of a change that was killed is believed only if it can be one.
#[test]
fn strange_attributes_end_no_change() {
    requires!(root);
    let tree = fixture::empty();
    for (name, value) in [
        ("one", &b"strange"[..]),
        ("two", &[0o755u32.to_le_bytes().to_vec(), b"strange".to_vec()].concat()),
        ("three", b""),
    ] {
        set(&tree.write(name, "x", 0o4755), "trusted.redd.shift", value);
        fs::set_permissions(tree.join(name), fs::Permissions::from_mode(0o4755)).expect("mode");
    }
    run(tree.path(), BASE).expect("shifted");
    for (path, seen) in listing(tree.path()).iter().filter(|(path, _)| !path.as_os_str().is_empty()) {
        assert_eq!((seen.ids, seen.mode & 0o7777), ((BASE, BASE), 0o4755), "{}", path.display());
        assert!(seen.attributes.is_empty(), "{}: {:?}", path.display(), seen.attributes);
    }
}
