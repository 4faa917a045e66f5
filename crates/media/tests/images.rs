//! Images that the tools of distributions make are read without the kernel as they were made.

mod manifest;

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use image::disk::storage::{FileStorage, Storage};
use media::erofs::Erofs;
use media::iso::{Iso, Kind};
use media::reader::Reader;
use media::squashfs::Squashfs;
use media::unpack::{self, Error, Report};
use testkit::disk::run;
use testkit::fixture::{self, Tree};
use testkit::requires;

use manifest::manifest;

/// A tree with what there can be: attributes, links of both kinds that lead nowhere good, holes, devices, owners, long
/// names, files of all sizes around blocks and fragments.
fn tree() -> Tree {
    let tree = fixture::empty();
    let mut state = 1u32;
    let mut noise = move |length: usize| -> Vec<u8> {
        (0..length)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                // Half of it can be compressed.
                if state & 0x8000_0000 == 0 { b'x' } else { (state >> 16) as u8 }
            })
            .collect()
    };
    for (number, size) in
        [0, 1, 4095, 4096, 4097, 131_071, 131_072, 131_073, 300_000, 2_000_000].into_iter().enumerate()
    {
        let path = tree.write(&format!("usr/bin/file{number}"), noise(size), 0o4755);
        std::os::unix::fs::chown(&path, Some(number as u32 * 1000), Some(7)).expect("an owner");
    }
    let program = tree.write("usr/bin/program", noise(50_000), 0o755);
    set(&program, "security.capability", &[1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    set(&program, "user.note", &noise(1000));
    set(&program, "user.short", b"value");
    fs::hard_link(&program, tree.join("usr/bin/again")).expect("a link");
    fs::create_dir_all(tree.join("etc")).expect("a directory");
    for (name, target) in [("absolute", "/etc/passwd"), ("dangling", "../../../../nowhere"), ("itself", "itself")] {
        symlink(target, tree.join("etc").join(name)).expect("a link");
    }
    for number in 0..400 {
        tree.write(&format!("etc/many/{number}"), noise(number * 7), 0o640);
    }
    let list = [
        2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 232, 3, 0, 0, 4, 0, 4, 0, 255, 255, 255, 255, 16, 0, 6,
        0, 255, 255, 255, 255, 32, 0, 4, 0, 255, 255, 255, 255,
    ];
    set(&tree.write("etc/listed", "x", 0o664), "system.posix_acl_access", &list);
    let deep = format!("{}/a/b/c", "n".repeat(200));
    tree.write(&format!("{deep}/file"), "deep", 0o600);
    let holes = File::create(tree.join("etc/holes")).expect("a file");
    holes.set_len(5_000_000).expect("a size");
    std::os::unix::fs::FileExt::write_all_at(&holes, b"in between", 3_000_000).expect("written");
    run(Command::new("mknod").arg(tree.join("etc/null")).args(["c", "1", "3"]));
    run(Command::new("mknod").arg(tree.join("etc/disk")).args(["b", "259", "70000"]));
    run(Command::new("mkfifo").arg(tree.join("etc/pipe")));
    drop(std::os::unix::net::UnixListener::bind(tree.join("etc/socket")).expect("a socket"));
    fs::set_permissions(tree.join("etc"), std::os::unix::fs::PermissionsExt::from_mode(0o1770)).expect("a mode");
    run(Command::new("touch")
        .args(["-h", "-d", "2001-02-03 04:05:06"])
        .arg(tree.join("etc/dangling"))
        .arg(tree.path()));
    tree
}

fn set(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, rustix::fs::XattrFlags::empty()).expect("an attribute");
}

fn squashfs(tree: &Path, at: &Path, options: &[&str]) -> PathBuf {
    let image = at.join("image.sfs");
    let _ = fs::remove_file(&image);
    run(Command::new("mksquashfs").arg(tree).arg(&image).args(["-quiet", "-no-progress", "-noappend"]).args(options));
    image
}

fn erofs(tree: &Path, at: &Path, options: &[&str]) -> PathBuf {
    let image = at.join("image.erofs");
    let _ = fs::remove_file(&image);
    run(Command::new("mkfs.erofs").arg("--quiet").args(options).arg(&image).arg(tree));
    image
}

fn unpacked(image: &Path, into: &Path) -> Result<Report, Error> {
    let file = File::open(image).expect("an image");
    let storage = FileStorage { file: &file, size: file.metadata().expect("its size").len() };
    let directory = File::open(into).expect("a directory");
    let go_on = &mut |_| true;
    if image.extension().is_some_and(|ending| ending == "sfs") {
        unpack::unpack(&mut Squashfs::open(&storage).expect("a squashfs"), directory.as_fd(), go_on)
    } else {
        unpack::unpack(&mut Erofs::open(&storage).expect("an EROFS"), directory.as_fd(), go_on)
    }
}

#[test]
fn squashfs_of_all_compressions() {
    requires!(root, program "mksquashfs");
    let (tree, work) = (tree(), fixture::empty());
    let wanted = manifest(tree.path());
    let options: [&[&str]; 8] = [
        &["-comp", "gzip"],
        &["-comp", "xz", "-Xbcj", "x86"],
        &["-comp", "lz4", "-Xhc"],
        &["-comp", "zstd", "-b", "1M"],
        &["-no-fragments", "-b", "4K"],
        &["-always-use-fragments", "-noI", "-noX"],
        &["-noI", "-noD", "-noF", "-noX"],
        &["-nopad", "-no-duplicates"],
    ];
    for options in options {
        let target = fixture::empty();
        let report = unpacked(&squashfs(tree.path(), work.path(), options), target.path());
        let report = report.unwrap_or_else(|error| panic!("{options:?}: {error:?}"));
        // No squashfs of this maker has access lists.
        let wanted: Vec<_> = wanted.iter().map(|line| line.split(" system.posix").next().expect("a line")).collect();
        assert_eq!(manifest(target.path()), wanted, "{options:?}");
        assert_eq!(report.lost.len() + report.devices as usize, 0);
        assert!(fs::metadata(target.join("etc/holes")).expect("a file").blocks() < 2500, "{options:?}");
    }
}

#[test]
fn erofs_plain_in_chunks_and_compressed() {
    requires!(root, program "mkfs.erofs");
    let (tree, work) = (tree(), fixture::empty());
    let wanted = manifest(tree.path());
    let options: [&[&str]; 8] = [
        &[],
        &["--chunksize=16384"],
        &["-zlz4"],
        &["-zlz4hc,9", "-C65536"],
        &["-zlz4hc", "-Elegacy-compress"],
        &["-zlz4hc", "-Eztailpacking"],
        &["-zlz4hc", "-Eztailpacking", "-C262144"],
        &["-zlz4", "-Eforce-inode-extended", "-x0"],
    ];
    for options in options {
        let target = fixture::empty();
        let report = unpacked(&erofs(tree.path(), work.path(), options), target.path());
        let report = report.unwrap_or_else(|error| panic!("{options:?}: {error:?}"));
        assert_eq!(manifest(target.path()), wanted, "{options:?}");
        assert_eq!(report.lost.len() + report.devices as usize, 0);
    }
}

/// Every way of being cut off is an error, and none goes beyond what the caller made.
#[test]
fn what_is_cut_off_is_told_of() {
    requires!(root, program "mksquashfs", program "mkfs.erofs");
    let (tree, work) = (fixture::empty(), fixture::empty());
    tree.write("usr/one", vec![b'x'; 300_000], 0o644);
    tree.write("usr/two", "two", 0o644);
    for image in [squashfs(tree.path(), work.path(), &["-nopad"]), erofs(tree.path(), work.path(), &["-zlz4"])] {
        let whole = fs::read(&image).expect("an image");
        for length in (0..whole.len() - 1).step_by(whole.len() / 60) {
            let part = &whole[..length];
            let target = fixture::empty();
            let directory = File::open(target.path()).expect("a directory");
            let failed =
                if image.ends_with("image.sfs") { Squashfs::open(part).is_err() } else { Erofs::open(part).is_err() };
            assert!(failed, "{}: {length} of {} bytes", image.display(), whole.len());
            drop(directory);
        }
    }
}

#[test]
fn media_have_names_of_rock_ridge_joliet_or_their_own() {
    requires!(program "xorriso");
    let (tree, work) = (fixture::empty(), fixture::empty());
    let long = "L".repeat(200);
    tree.write("arch/x86_64/airootfs.sfs", vec![7; 10_000], 0o644);
    tree.write(&format!("{long}/in it"), "found", 0o644);
    tree.write("a/b/c/d/e/f/g/h/i/j/deep", "deep", 0o644);
    tree.write("empty", "", 0o644);
    symlink("empty", tree.join("link")).expect("a link");
    (0..300).for_each(|number| drop(tree.write(&format!("many/file number {number}"), number.to_string(), 0o644)));
    let options: [(&[&str], bool); 4] = [
        (&["-iso-level", "3", "-R"], true),
        (&["-R", "-J", "-joliet-long"], true),
        (&["-iso-level", "3", "-R", "-D"], true),
        (&["-iso-level", "1", "-no-rock"], false),
    ];
    for (options, long_names) in options {
        let image = work.join("image.iso");
        let _ = fs::remove_file(&image);
        let options = options.iter().filter(|option| **option != "-no-rock");
        let mut command = Command::new("xorriso");
        command.args(["-as", "mkisofs", "-quiet", "-V", "ARCH_TEST", "-o"]).arg(&image).args(options).arg(tree.path());
        if !long_names {
            command.args(["--norock"]);
        }
        run(&mut command);
        let file = File::open(&image).expect("an image");
        let storage = FileStorage { file: &file, size: file.metadata().expect("its size").len() };
        let iso = Iso::open(&storage).unwrap_or_else(|error| panic!("{command:?}: {error:?}"));
        let read = |path: &str| {
            let entry = iso.find(path).expect("read").unwrap_or_else(|| panic!("{command:?}: no {path}"));
            let mut bytes = vec![0; entry.size() as usize];
            if let Some((start, _)) = entry.parts.first().filter(|_| !bytes.is_empty()) {
                storage.read(*start, &mut bytes).expect("read");
            }
            bytes
        };
        assert_eq!(read("a/b/c/d/e/f/g/h/i/j/deep"), b"deep");
        assert_eq!(read("empty"), b"");
        assert!(iso.find("arch/x86_64/gone").expect("read").is_none());
        assert!(iso.find("empty/below").expect("read").is_none());
        if long_names {
            assert_eq!(read("arch/x86_64/airootfs.sfs"), vec![7; 10_000]);
            assert_eq!(read(&format!("{long}/in it")), b"found");
            assert_eq!(read("many/file number 299"), b"299");
            assert_eq!(iso.find("link").expect("read").map(|entry| entry.kind), Some(Kind::Other));
            assert_eq!(iso.files().expect("read").len(), 304);
        }
    }
}

#[test]
#[ignore = "writes four gigabytes: for the acceptance"]
fn a_file_can_have_several_parts() {
    requires!(program "xorriso");
    let (tree, work) = (fixture::empty(), fixture::empty());
    // More than one part can have.
    let size = (4u64 << 30) + 5000;
    let large = File::create(tree.join("large")).expect("a file");
    large.set_len(size).expect("a size");
    std::os::unix::fs::FileExt::write_all_at(&large, b"the end", size - 7).expect("written");
    let image = work.join("image.iso");
    run(Command::new("xorriso")
        .args(["-as", "mkisofs", "-quiet", "-iso-level", "3", "-R", "-o"])
        .arg(&image)
        .arg(tree.path()));
    let file = File::open(&image).expect("an image");
    let storage = FileStorage { file: &file, size: file.metadata().expect("its size").len() };
    let entry = Iso::open(&storage).expect("a medium").find("large").expect("read").expect("a file");
    assert!(entry.parts.len() > 1 && entry.size() == size);
    let parts = media::extents::Extents::new(&file, &entry.parts).expect("parts");
    let mut end = [0; 7];
    parts.read(size - 7, &mut end).expect("read");
    assert_eq!(&end, b"the end");
    assert!(parts.start().is_some());
}

/// What a reader says is not believed: one that says all that is wrong.
#[test]
fn names_and_directories_that_cannot_be() {
    requires!(root);
    for (name, problem) in [("..", "name"), ("a/b", "name"), ("", "name"), ("a\0b", "zero"), ("again", "elsewhere")] {
        let target = fixture::empty();
        let directory = File::open(target.path()).expect("a directory");
        let error = unpack::unpack(&mut Liar(name), directory.as_fd(), &mut |_| true).expect_err(name);
        assert!(error.to_string().contains(problem), "{name:?}: {error}");
        assert!(fs::read_dir(target.path()).expect("a directory").count() <= 1);
    }
}

struct Liar(&'static str);

impl Reader for Liar {
    type Inode = media::reader::Node;

    fn root(&mut self) -> media::reader::Result<Self::Inode> {
        self.inode(1)
    }

    fn inode(&mut self, place: u64) -> media::reader::Result<Self::Inode> {
        let kind = media::reader::Kind::Directory;
        let (mode, uid, gid, modified, links, size, device) = (0o755, 0, 0, (0, 0), 1, 0, (0, 0));
        Ok(Self::Inode { number: place, kind, mode, uid, gid, modified, links, size, device })
    }

    fn node<'a>(&self, inode: &'a Self::Inode) -> &'a media::reader::Node {
        inode
    }

    fn entries(&mut self, _: &Self::Inode, _: usize) -> media::reader::Result<Vec<media::reader::Entry>> {
        Ok(vec![media::reader::Entry { name: self.0.as_bytes().to_vec(), place: 1 }])
    }

    fn target(&mut self, _: &Self::Inode) -> media::reader::Result<Vec<u8>> {
        Ok(Vec::new())
    }

    fn attributes(&mut self, _: &Self::Inode) -> media::reader::Result<Vec<media::reader::Attribute>> {
        Ok(Vec::new())
    }

    fn content(&mut self, _: &Self::Inode, _: media::reader::Sink<'_>) -> media::reader::Result<()> {
        Ok(())
    }
}
