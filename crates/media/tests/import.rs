//! Whole imports, as no program starts them.

mod manifest;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use image::pool::Pool;
use image::run_directory::RunDirectory;
use media::import::{self, Error, Imported, Request};
use sha2::{Digest, Sha256};
use testkit::disk::{Disk, run};
use testkit::fixture::{self, Tree};
use testkit::{Isolated, requires};

use manifest::manifest;

/// A squashfs of a tree.
fn squashfs(tree: &Path, work: &Tree) -> PathBuf {
    let image = work.join("image.sfs");
    run(Command::new("mksquashfs").arg(tree).arg(&image).args(["-quiet", "-no-progress", "-noappend"]));
    image
}

fn import(
    into: &Path,
    (file, sha256, user_space): (&Path, Option<[u8; 32]>, bool),
    observe: &mut dyn FnMut(image::copy::Progress) -> bool,
) -> Result<Imported, Error> {
    let pool = Pool::at(vec![into.to_owned()], Vec::new(), RunDirectory::at(into.join("run"), into.join("locks")));
    import::import(&pool, Request { file, name: "made", read_only: false, user_space, sha256, inner: None }, observe)
}

/// The sum is that of what was read first; what is imported is read later.
#[test]
fn a_file_with_a_sum_may_not_change_meanwhile() {
    requires!(root, program "mksquashfs");
    let (tree, work, place) = (fixture::empty(), fixture::empty(), fixture::empty());
    tree.write("usr/file", "x", 0o644);
    let image = squashfs(tree.path(), &work);
    let sum: [u8; 32] = Sha256::digest(fs::read(&image).expect("image")).into();
    let changed = import(place.path(), (&image, Some(sum), true), &mut |progress| {
        if progress.entries > 0 {
            File::options().append(true).open(&image).and_then(|mut file| file.write_all(b"x")).expect("written");
        }
        true
    });
    assert!(matches!(changed, Err(Error::Changed { .. })), "{changed:?}");
    assert!(!place.join("made").exists());
    let sum: [u8; 32] = Sha256::digest(fs::read(&image).expect("image")).into();
    import(place.path(), (&image, Some(sum), true), &mut |_| true).expect("imported");
    assert_eq!(fs::read(place.join("made/usr/file")).expect("file"), b"x");
}

/// ext4 has no place for values that are longer than a block, and says that it is full.
#[test]
fn an_attribute_that_is_too_long_is_left_out() {
    requires!(root, loop, program "mksquashfs", program "mkfs.ext4", program "mkfs.xfs", program "mount");
    let _isolated = Isolated::enter();
    let (tree, work) = (fixture::empty(), fixture::empty());
    tree.write("usr/file", "x", 0o644);
    fs::create_dir(tree.join("usr/directory")).expect("directory");
    let source = Disk::new("xfs", 300);
    run(Command::new("cp").arg("-a").arg(tree.join("usr")).arg(source.path()));
    for name in ["usr/file", "usr/directory"] {
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(source.path().join(name), "user.long", &[b'v'; 40_000], flags).expect("attribute");
        rustix::fs::setxattr(source.path().join(name), "user.short", b"v", flags).expect("attribute");
    }
    let image = squashfs(&source.path(), &work);
    let archive = work.join("archive.tar");
    run(Command::new("tar")
        .args(["--format=pax", "--xattrs", "--xattrs-include=*", "-cf"])
        .arg(&archive)
        .arg("-C")
        .arg(source.path())
        .arg("usr"));
    for (file, user_space) in [(&image, true), (&image, false), (&archive, false)] {
        let disk = Disk::new("ext4", 32);
        let imported = import(&disk.path(), (file, None, user_space), &mut |_| true).expect("imported");
        let notice = "2 files come without the attribute user.long, which the file system of the tree refuses";
        assert!(imported.notices.iter().any(|line| line == notice), "{:?}", imported.notices);
        let made = manifest(&disk.path().join("made/usr")).concat();
        assert_eq!((made.matches("user.short").count(), made.matches("user.long").count()), (2, 0));
    }
}

/// Holes are written in ways of tar's own.
#[test]
fn archives_with_holes_are_to_be_made_without() {
    requires!(root, program "tar");
    let (tree, work, place) = (fixture::empty(), fixture::empty(), fixture::empty());
    tree.write("usr/file", "x", 0o644);
    File::create(tree.join("usr/holes")).and_then(|file| file.set_len(10 << 20)).expect("file");
    for format in ["--format=pax", "--format=gnu"] {
        let archive = work.join("archive.tar");
        run(Command::new("tar").args([format, "-S", "-cf"]).arg(&archive).arg("-C").arg(tree.path()).arg("usr"));
        let error = import(place.path(), (&archive, None, false), &mut |_| true).expect_err("holes");
        assert_eq!(error.hint(), Some("make the archive again, without --sparse (-S)"), "{error:?}");
        run(Command::new("tar").args([format, "-cf"]).arg(&archive).arg("-C").arg(tree.path()).arg("usr"));
        import(place.path(), (&archive, None, false), &mut |_| true).expect("imported");
        assert_eq!(fs::metadata(place.join("made/usr/holes")).expect("file").len(), 10 << 20);
        run(Command::new("rm").arg("-r").arg(place.join("made")));
    }
}
