//! Media, images and archives become machines: as they were made, or not at all.

mod import;
#[path = "../../media/tests/manifest/mod.rs"]
mod manifest;

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use testkit::disk::{Disk, Mounted, run};
use testkit::fixture::{self, Tree};
use testkit::{HostState, Isolated, requires};

use import::{MACHINES, Place, REDD, arch_archive, arch_medium, file_system, medium, redd, word};
use manifest::manifest;

/// All that is in the directory of machines.
fn all() -> Vec<String> {
    let names = fs::read_dir(MACHINES).expect("list").map(|entry| entry.expect("entry").file_name());
    names.map(|name| name.to_string_lossy().into_owned()).collect()
}

/// Bytes that compress to little less.
fn noise(length: u32) -> Vec<u8> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// A small system, with what is lost easily.
fn system() -> Tree {
    let tree = fixture::tree();
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(tree.join("usr/bin/nproc"), "security.capability", &capability, flags).expect("attribute");
    rustix::fs::setxattr(tree.join("usr/bin/nproc"), "user.note", b"note", flags).expect("attribute");
    fs::set_permissions(tree.join("usr/bin/mount"), fs::Permissions::from_mode(0o4755)).expect("mode");
    fs::hard_link(tree.join("usr/bin/nproc"), tree.join("usr/bin/who")).expect("link");
    symlink("/../../outside", tree.join("etc/dangling")).expect("link");
    run(Command::new("mknod").arg(tree.join("dev/null")).args(["c", "1", "3"]));
    run(Command::new("mkfifo").arg(tree.join("run/pipe")));
    let holes = File::create(tree.join("var/holes")).expect("file");
    holes.set_len(3 << 20).and_then(|()| holes.write_all_at(b"x", 2 << 20)).expect("file");
    // The times of what was changed above.
    for name in ["", "etc", "usr/bin", "var", "dev", "run"] {
        run(Command::new("touch").args(["-d", "2020-02-03 04:05:06"]).arg(tree.join(name)));
    }
    tree
}

/// All media with the same system on them.
fn media(tree: &Path, work: &Path) -> Vec<PathBuf> {
    let live = |files: &str, path: &str| {
        file_system(tree, &work.join(files).join(path));
        work.join(files)
    };
    let ubuntu = live("ubuntu", "casper/minimal.squashfs");
    // What lies upon it is no whole system.
    let part = work.join("part");
    fs::create_dir_all(part.join("usr/share/more")).expect("directory");
    fs::write(part.join("usr/share/more/file"), noise(300_000)).expect("file");
    file_system(&part, &ubuntu.join("casper/minimal.standard.squashfs"));
    let mut all = vec![
        arch_medium(tree, work, "sfs"),
        arch_medium(tree, work, "erofs"),
        arch_archive(tree, work),
        medium(&live("debian", "live/filesystem.squashfs"), "d-live"),
        medium(&live("gentoo", "image.squashfs"), "Gentoo"),
        medium(&ubuntu, "Ubuntu"),
    ];
    for name in ["bare.sfs", "bare.erofs"] {
        all.push(work.join(name));
        file_system(tree, &work.join(name));
    }
    all
}

#[test]
fn a_system_is_the_same_in_the_end_whatever_it_came_in() {
    requires!(root, loop, program "xorriso", program "mksquashfs", program "mkfs.erofs", program "tar");
    let place = Place::new();
    let (tree, work) = (system(), fixture::empty());
    let wanted = manifest(tree.path());
    let name = place.name("same");
    for source in media(tree.path(), work.path()) {
        for way in [&[][..], &["--user-space"]] {
            let words = [&["import-media", word(&source), &name, "--json=short"][..], way].concat();
            let ended = redd(&words).expect_code(0);
            assert_eq!(manifest(&Path::new(MACHINES).join(&name)), wanted, "{words:?}");
            assert!(ended.errors.contains(": Tiny Tree, ") && !ended.errors.contains("without the kernel"), "{ended}");
            assert!(ended.output.contains(&format!("\"name\":\"{name}\"")), "{ended}");
            let upon = ended.errors.contains("those upon it are left out: casper/minimal.standard.squashfs");
            assert_eq!(upon, source.ends_with("ubuntu.iso"), "{ended}");
            redd(&["remove", &name]).expect_code(0);
        }
        let users = sys::loop_device::users(std::os::fd::AsFd::as_fd(&File::open(&source).expect("file")));
        assert_eq!(users.expect("loop devices"), []);
    }
    assert_eq!(all(), [""; 0]);
}

#[test]
fn file_systems_in_file_systems_are_the_kernels() {
    requires!(root, loop, program "xorriso", program "mksquashfs", program "mkfs.ext4");
    let place = Place::new();
    let (tree, work) = (system(), fixture::empty());
    let files = work.join("fedora");
    let inner = work.join("inner");
    fs::create_dir_all(inner.join("LiveOS")).expect("directory");
    let ext4 = inner.join("LiveOS/rootfs.img");
    File::create(&ext4).and_then(|file| file.set_len(128 << 20)).expect("file");
    run(Command::new("mkfs.ext4").args(["-q", "-d"]).arg(tree.path()).arg(&ext4));
    file_system(&inner, &files.join("LiveOS/squashfs.img"));
    let source = medium(&files, "Fedora");
    // That maker has a directory of its own, and times of its own.
    let plain = |lines: Vec<String>| -> Vec<String> {
        lines.into_iter().filter(|line| !line.starts_with("/lost+found") && !line.starts_with(" ")).collect()
    };
    for source in [&source, &ext4] {
        let name = place.name("nested");
        redd(&["import-media", "-q", word(source), &name]).expect_code(0);
        assert_eq!(plain(manifest(&Path::new(MACHINES).join(&name))), plain(manifest(tree.path())));
        redd(&["remove", &name]).expect_code(0);
        let refused = redd(&["import-media", "--user-space", word(source), &name]).expect_code(1);
        assert!(refused.errors.contains("is read by the kernel alone"), "{refused}");
        assert!(refused.errors.contains("hint: import it without --user-space"), "{refused}");
    }
    assert_eq!(all(), [""; 0]);
}

#[test]
fn a_machine_that_was_imported_runs() {
    requires!(root, cgroup2, userns, idmap, loop, program "xorriso", program "mksquashfs");
    let place = Place::new();
    let (tree, work) = (system(), fixture::empty());
    tree.write("etc/machine-id", "00112233445566778899aabbccddeeff\n", 0o444);
    let name = place.name("runs");
    redd(&["import-media", "-q", "--read-only", word(&arch_medium(tree.path(), work.path(), "sfs")), &name])
        .expect_code(0);
    let ran = redd(&[
        "spawn",
        "-q",
        "-U",
        "--read-only",
        "-M",
        &name,
        "/bin/sh",
        "-c",
        "cat /etc/machine-id; id -u; ! touch /x 2>/dev/null",
    ]);
    assert_eq!(ran.expect_code(0).output.trim(), "0");
    assert!(fs::write(Path::new(MACHINES).join(&name).join("new"), "").is_err());
    redd(&["remove", &name]).expect_code(0);
}

/// A header of an archive, and what it says.
fn header(path: &str, kind: u8, link: &str) -> Vec<u8> {
    let mut header = vec![0; 512];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, path);
    put(100, "0000755\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, "00000000000\0");
    put(136, "00000000000\0");
    put(148, "        ");
    put(157, link);
    put(257, "ustar\x0000");
    header[156] = kind;
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

#[test]
fn bad_input_gets_one_error_and_leaves_nothing() {
    requires!(root, loop, program "xorriso", program "mksquashfs", program "mkfs.erofs", program "tar");
    let place = Place::new();
    let (tree, work) = (fixture::empty(), fixture::empty());
    tree.write("usr/file", noise(400_000), 0o644);
    let outside = work.path().with_extension("outside");
    let sfs = work.join("good.sfs");
    file_system(tree.path(), &sfs);
    let iso = arch_medium(tree.path(), work.path(), "erofs");
    let cut = |of: &Path, name: &str, length: u64| {
        fs::copy(of, work.join(name))
            .and_then(|_| File::options().write(true).open(work.join(name))?.set_len(length))
            .expect("file");
        work.join(name)
    };
    let write = |name: &str, contents: &[u8]| {
        fs::write(work.join(name), contents).expect("file");
        work.join(name)
    };
    let archive = |name: &str, headers: &[Vec<u8>]| {
        write(name, &[&[header("usr/", b'5', ""), headers.concat()].concat()[..], &[0; 1024]].concat())
    };
    let several = work.join("several");
    fs::create_dir_all(&several).expect("directory");
    for name in ["one.sfs", "two.sfs"] {
        fs::copy(&sfs, several.join(name)).expect("file");
    }
    let empty = work.join("nothing");
    fs::create_dir_all(empty.join("etc")).expect("directory");
    fs::write(empty.join("etc/x"), noise(300_000)).expect("file");
    file_system(&empty, &work.join("nothing.sfs"));
    let mut damaged = fs::read(&sfs).expect("file");
    // Its tables are at its end.
    let end = damaged.len();
    damaged[end - 4096..].fill(0xa5);
    let inside = format!("{}/x", outside.display());
    let no_options: &[&str] = &[];
    let cases: Vec<(PathBuf, &[&str], &str)> = vec![
        (work.join("gone"), no_options, "cannot read"),
        (work.path().to_owned(), no_options, "is a directory"),
        (PathBuf::from("/dev/null"), no_options, "neither a file nor a block device"),
        (write("empty", b""), no_options, "is empty"),
        (write("words", b"words that are nothing"), no_options, "neither a medium nor"),
        (write("page.iso", b"<!DOCTYPE html>"), no_options, "a page of the web"),
        (write("disk.qcow2", b"QFI\xfb\0\0\0\x03"), no_options, "QEMU"),
        (cut(&sfs, "cut.sfs", 5000), &["--user-space"], "cut off"),
        (cut(&sfs, "cut2.sfs", 5000), no_options, "cut off"),
        (cut(&iso, "cut.iso", 80 << 10), no_options, "cut off"),
        (cut(&iso, "cut2.iso", 32_780), no_options, "cut off"),
        (write("damaged.sfs", &damaged), &["--user-space"], "cannot read"),
        (work.join("nothing.sfs"), no_options, "no system's root"),
        (work.join("nothing.sfs"), &["--user-space"], "no system's root"),
        (iso.clone(), &["--file=gone"], "no file 'gone'"),
        (sfs.clone(), &["--file=gone"], "no file 'gone'"),
        (medium(&several, "two"), no_options, "one.sfs, two.sfs"),
        (medium(&empty, "none"), no_options, "no file on the medium"),
        (
            sfs.clone(),
            &["--sha256=0000000000000000000000000000000000000000000000000000000000000000"],
            "has the SHA-256 sum",
        ),
        (write("text.gz", b"\x1f\x8b\x08\0\0\0\0\0"), no_options, "archive"),
        (archive("up.tar", &[header("../up", b'0', "")]), no_options, "leads out of the tree"),
        (archive("link.tar", &[header("usr/x", b'1', "../../etc/passwd")]), no_options, "leads out of the tree"),
        (
            archive("through.tar", &[header("way", b'2', word(&outside)), header("way/x", b'0', "")]),
            no_options,
            "cannot make directory '/way'",
        ),
        (archive("twice.tar", &[header("usr/a/", b'5', ""), header("usr/a", b'0', "")]), no_options, "in the way"),
        (write("cut.tar", &header("usr/", b'5', "")), no_options, "cut off"),
        (archive("absolute.tar", &[header(&inside, b'1', &inside)]), no_options, "cannot make link"),
    ];
    let name = place.name("bad");
    for (source, options, problem) in cases {
        let words = [&["import-media", word(&source), &name][..], options].concat();
        let ended = redd(&words).expect_code(1);
        let lines: Vec<&str> = ended.errors.lines().filter(|line| !line.contains("without the kernel")).collect();
        assert!(ended.errors.contains(problem), "{words:?}: {ended}");
        assert!(lines.len() <= 2 && lines[0].starts_with("redd: "), "{words:?}: {ended}");
        assert_eq!(all(), [""; 0], "{words:?}");
        assert!(!outside.exists());
    }
    // Names, and what is there already.
    for name in ["..", "a/b", ".#x", "x.raw"] {
        let refused = redd(&["import-media", word(&sfs), name]).expect_code(1);
        assert!(refused.errors.contains("cannot be named"), "{refused}");
    }
    redd(&["import-media", "-q", word(&sfs), &name]).expect_code(0);
    let again = redd(&["import-media", word(&sfs), &name]).expect_code(1);
    assert!(again.errors.contains("already") && again.errors.contains("redd remove"), "{again}");
    redd(&["import-media", word(&sfs), &name, "--sha256=0"]).expect_code(2);
    redd(&["remove", &name]).expect_code(0);
}

#[test]
fn a_full_disk_is_told_of_and_is_empty_again() {
    requires!(root, loop, program "mksquashfs", program "mkfs.ext4", program "mount");
    let _isolated = Isolated::enter();
    let (tree, work) = (fixture::empty(), fixture::empty());
    // Little of the image, and more than there is space for.
    tree.write("usr/zeroes", vec![1; 64 << 20], 0o644);
    let image = work.join("bomb.sfs");
    file_system(tree.path(), &image);
    let archive = work.join("bomb.tar.gz");
    run(Command::new("tar").arg("-czf").arg(&archive).arg("-C").arg(tree.path()).arg("usr"));
    let disk = Disk::new("ext4", 24);
    fs::create_dir_all(MACHINES).expect("directory");
    let _mount = Mounted::new(&["--bind", word(&disk.path())], Path::new(MACHINES));
    for (source, options) in [(&image, &[][..]), (&image, &["--user-space"]), (&archive, &[])] {
        let words = [&["import-media", word(source), "bomb-media"][..], options].concat();
        let ended = redd(&words).expect_code(1);
        assert!(ended.errors.contains("there is no space left"), "{ended}");
        let names: Vec<_> =
            fs::read_dir(MACHINES).expect("list").map(|entry| entry.expect("entry").file_name()).collect();
        assert_eq!(names, ["lost+found"]);
    }
}

#[test]
fn what_is_interrupted_or_killed_leaves_nothing_or_what_is_cleaned() {
    requires!(root, loop, program "mksquashfs");
    let place = Place::new();
    let (tree, work) = (fixture::empty(), fixture::empty());
    // Small as an image, and slow to write.
    let first = tree.write("usr/0", vec![1; 32 << 20], 0o644);
    for number in 1..40 {
        fs::copy(&first, tree.join(&format!("usr/{number}"))).expect("copy");
    }
    let image = work.join("large.sfs");
    file_system(tree.path(), &image);
    let name = place.name("stopped");
    for (signal, way) in [
        (Signal::INT, None),
        (Signal::TERM, Some("--user-space")),
        (Signal::KILL, None),
        (Signal::KILL, Some("--user-space")),
    ] {
        let before = HostState::capture(&image, &[]);
        let mut child = Command::new(REDD)
            .arg("import-media")
            .arg(&image)
            .arg(&name)
            .args(way)
            .stderr(Stdio::null())
            .spawn()
            .expect("start");
        let limit = Instant::now() + Duration::from_secs(60);
        let begun = || {
            let place = Path::new(MACHINES).join(format!(".#redd.{name}/root/usr"));
            fs::read_dir(place).is_ok_and(|entries| entries.count() > 0)
        };
        while !begun() {
            assert!(Instant::now() < limit && child.try_wait().expect("wait").is_none(), "{signal:?} {way:?}");
        }
        kill_process(Pid::from_child(&child), signal).expect("signal");
        assert_eq!(child.wait().expect("wait").signal(), Some(signal.as_raw()), "{way:?}");
        if signal == Signal::KILL {
            assert_eq!(all(), [format!(".#redd.{name}")]);
            let cleaned = redd(&["clean"]).expect_code(0);
            assert!(cleaned.output.contains("1 unfinished"), "{cleaned}");
        }
        assert_eq!(all(), [""; 0], "{signal:?} {way:?}");
        // The kernel takes a moment to let go of the device of who was killed.
        while !before.differences().is_empty() && Instant::now() < limit {
            std::thread::sleep(Duration::from_millis(20));
        }
        before.assert_same();
    }
}

#[test]
fn only_root_imports() {
    requires!(root, program "setpriv");
    let work = fixture::empty();
    let image = work.write("image", "x", 0o644);
    let mut command = Command::new("setpriv");
    // The program itself may lie where others do not reach it.
    let program = work.join("redd");
    fs::copy(REDD, &program).expect("copy");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(program)
        .args(["import-media"])
        .arg(image)
        .arg("x");
    let ended = testkit::run_limited(command, Vec::new(), Duration::from_secs(60)).expect_code(1);
    assert!(ended.errors.contains("only root can import"), "{ended}");
    assert!(ended.errors.contains("hint: run it with sudo"), "{ended}");
}
