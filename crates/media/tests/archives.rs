//! Archives of whole systems, in every compression.

mod manifest;

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;

use media::format::{Compression, Found, detect};
use media::tarball::{self, Error};
use media::unpack::Report;
use testkit::disk::run;
use testkit::fixture::{self, Tree};
use testkit::requires;

use manifest::manifest;

/// A tree with what archives can have.
fn tree() -> Tree {
    let tree = fixture::empty();
    let program = tree.write("usr/bin/program", vec![b'p'; 100_000], 0o4755);
    let flags = rustix::fs::XattrFlags::empty();
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    rustix::fs::setxattr(&program, "security.capability", &capability, flags).expect("attribute");
    rustix::fs::setxattr(&program, "user.note", b"note", flags).expect("attribute");
    fs::hard_link(&program, tree.join("usr/bin/again")).expect("link");
    std::os::unix::fs::symlink("/../../outside", tree.join("usr/dangling")).expect("link");
    (0..200u32).for_each(|number| {
        let path = tree.write(&format!("etc/{number}"), number.to_string(), 0o640);
        std::os::unix::fs::chown(path, Some(number), Some(70_000)).expect("owner");
    });
    tree.write(&format!("{}/file", "n".repeat(150)), "long", 0o600);
    run(Command::new("mknod").arg(tree.join("etc/null")).args(["c", "1", "3"]));
    run(Command::new("mkfifo").arg(tree.join("etc/pipe")));
    // What is in it has neither its group nor its default access list.
    let shared = tree.join("srv/shared");
    fs::create_dir_all(shared.join("below")).expect("directories");
    tree.write("srv/shared/file", "of root", 0o644);
    std::os::unix::fs::chown(&shared, Some(0), Some(1234)).expect("owner");
    fs::set_permissions(&shared, std::os::unix::fs::PermissionsExt::from_mode(0o2775)).expect("mode");
    let list = [
        2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 7, 0, 232, 3, 0, 0, 4, 0, 5, 0, 255, 255, 255, 255, 16, 0, 7,
        0, 255, 255, 255, 255, 32, 0, 5, 0, 255, 255, 255, 255,
    ];
    rustix::fs::setxattr(&shared, "system.posix_acl_default", &list, flags).expect("attribute");
    for name in ["", "etc", "usr", "usr/bin", "srv/shared"] {
        run(Command::new("touch").args(["-d", "2001-02-03 04:05:06"]).arg(tree.join(name)));
    }
    tree
}

/// The bytes of an archive of what is in a directory; `transform` says how names are changed.
fn archive(of: &Path, transform: &str, more: &[&str]) -> Vec<u8> {
    let mut command = Command::new("tar");
    command.args(["--format=pax", "--xattrs", "--xattrs-include=*", "--numeric-owner", "--transform", transform]);
    let output = command.args(["-cf", "-", "-C"]).arg(of).arg(".").args(more).output().expect("tar");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn compressed(bytes: &[u8], compression: Compression) -> Vec<u8> {
    let finish = |mut writer: liblzma::write::XzEncoder<Vec<u8>>| {
        writer.write_all(bytes).expect("written");
        writer.finish().expect("written")
    };
    match compression {
        Compression::None => bytes.to_vec(),
        Compression::Gzip => {
            let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            writer.write_all(bytes).expect("written");
            writer.finish().expect("written")
        }
        Compression::Xz => finish(liblzma::write::XzEncoder::new(Vec::new(), 1)),
        Compression::Zstd => zstd::encode_all(bytes, 1).expect("written"),
        Compression::Bzip2 => {
            let mut writer = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            writer.write_all(bytes).expect("written");
            writer.finish().expect("written")
        }
        Compression::Lz4 => {
            let mut writer = lz4_flex::frame::FrameEncoder::new(Vec::new());
            writer.write_all(bytes).expect("written");
            writer.finish().expect("written")
        }
    }
}

fn unpacked(bytes: &[u8], into: &Path) -> Result<Report, Error> {
    let mut file = tempfile::tempfile().expect("file");
    file.write_all(bytes).expect("written");
    let Ok(Found::Archive(compression)) = detect(bytes) else { panic!("no archive") };
    tarball::unpack(&file, compression, File::open(into).expect("directory").as_fd(), &mut |_| true)
}

const ALL: [Compression; 6] =
    [Compression::None, Compression::Gzip, Compression::Xz, Compression::Zstd, Compression::Bzip2, Compression::Lz4];

#[test]
fn every_compression_and_every_top_directory() {
    requires!(root, program "tar");
    let tree = tree();
    let wanted = manifest(tree.path());
    let beside = fixture::empty();
    beside.write("pkglist.x86_64.txt", "packages", 0o644);
    let beside = ["-C", beside.path().to_str().expect("ours"), "pkglist.x86_64.txt"];
    let below = "s,^\\.,root.x86_64,S";
    for compression in ALL {
        for (transform, more) in [("s,x,x,", &[][..]), (below, &[]), (below, &beside)] {
            let bytes = compressed(&archive(tree.path(), transform, more), compression);
            let target = fixture::empty();
            let report = unpacked(&bytes, target.path()).unwrap_or_else(|error| panic!("{compression:?}: {error:?}"));
            assert_eq!(manifest(target.path()), wanted, "{compression:?} {transform}");
            assert_eq!(report.lost.len() + report.devices as usize, 0);
        }
    }
}

/// The last entry counts, with all that it has.
#[test]
fn a_directory_can_be_there_twice() {
    requires!(root, program "tar");
    let (first, second) = (fixture::empty(), fixture::empty());
    for (tree, note, mode) in [(&first, b"one", 0o2770), (&second, b"two", 0o1755)] {
        tree.write("usr/file", note.as_slice(), 0o644);
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(tree.join("usr"), "user.note", note, flags).expect("attribute");
        fs::set_permissions(tree.join("usr"), std::os::unix::fs::PermissionsExt::from_mode(mode)).expect("mode");
        std::os::unix::fs::chown(tree.join("usr"), Some(mode), Some(mode)).expect("owner");
    }
    run(Command::new("touch").args(["-d", "2001-02-03 04:05:06"]).arg(second.join("usr")).arg(second.path()));
    let wanted = manifest(second.path());
    let place = second.path().to_str().expect("ours").to_owned();
    let bytes = archive(first.path(), "s,x,x,", &["-C", &place, "."]);
    let target = fixture::empty();
    let report = unpacked(&bytes, target.path()).expect("unpacked");
    assert_eq!(manifest(target.path()), wanted);
    assert_eq!(report.lost.len(), 0);
}

#[test]
fn what_is_cut_off_or_changed_is_told_of() {
    requires!(root, program "tar");
    let tree = tree();
    let whole = archive(tree.path(), "s,x,x,", &[]);
    // The end of the last file is where its mark at the end begins, and the whole is filled up with zeroes.
    let used = whole.iter().rposition(|byte| *byte != 0).expect("bytes") + 1;
    for compression in ALL {
        let bytes = compressed(&whole, compression);
        let length = match compression {
            Compression::None => used,
            // Its mark at the end is four zeroes, without which all is there.
            Compression::Lz4 => bytes.len() - 5,
            _ => bytes.len() - 1,
        };
        for length in [length, length / 2, 600] {
            let failed = unpacked(&bytes[..length], fixture::empty().path());
            assert!(failed.is_err(), "{compression:?} {length} of {}", bytes.len());
        }
    }
    for compression in [Compression::Gzip, Compression::Xz, Compression::Bzip2] {
        let mut bytes = compressed(&whole, compression);
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
        assert!(unpacked(&bytes, fixture::empty().path()).is_err(), "{compression:?}");
    }
    let other = compressed(&[7; 100_000], Compression::Zstd);
    assert!(matches!(unpacked(&other, fixture::empty().path()), Err(Error::NoArchive)));
}
