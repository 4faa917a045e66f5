//! `--image=`: real file systems in real partition tables, and nothing of them left on the host.

mod sources;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use testkit::disk::{Mounted, run};
use testkit::{Ended, Engine, HostState, Isolated, Spawn, fixture, requires};

const BINARY: &str = env!("CARGO_BIN_EXE_redd-spawn");
const ROOT: &str = "4f68bce3-e8cd-4db1-96e7-fbcaf984b709";
const USR: &str = "8484680c-9521-48c6-9c11-b0720656f69e";
const HOME: &str = "933ac7e1-2eb4-4f13-b844-0e14e2aef915";
const VAR: &str = "4d21b016-b534-45c2-a9fb-5c16e091fd2d";
const TMP: &str = "7ec6f557-3bc5-4aca-b293-16ef5df639d1";
const LINUX: &str = "0fc63daf-8483-4772-8e79-3d69d8477de4";

fn redd(image: &Path) -> Spawn {
    Spawn::new(&Engine::Redd(BINARY.into())).args(["-q", "--pipe", "-i"]).arg(image)
}

/// A directory with an image of the same name: tests run at the same time, and a name is that of one machine.
struct Place {
    directory: fixture::Tree,
}

impl Place {
    fn new() -> Self {
        Self { directory: fixture::empty() }
    }

    fn image(&self) -> PathBuf {
        self.directory.join(&format!("{}.raw", self.directory.name()))
    }

    /// A file system of this type with the tree in it.
    fn file_system(&self, kind: &str, tree: &Path) -> PathBuf {
        let image = self.image();
        make(kind, tree, &image, 96 << 20);
        image
    }

    /// A table with these partitions of so many MiB: type, further words for sfdisk(8), file system and tree.
    fn table(&self, label: &str, mib: u64, parts: &[(&str, &str, &str, &Path)]) -> PathBuf {
        let image = self.image();
        let size = mib << 20;
        fs::File::create(&image).expect("image").set_len((parts.len() as u64 + 1) * size).expect("size");
        let mut script = format!("label: {label}\n");
        for (kind, more, ..) in parts {
            script += &format!("size={mib}M, type={kind}{more}\n");
        }
        let file = self.directory.write("script", script, 0o600);
        run(Command::new("sfdisk").arg("-q").arg(&image).stdin(fs::File::open(file).expect("script")));
        for (number, (.., kind, tree)) in parts.iter().enumerate() {
            let part = self.directory.join("part");
            make(kind, tree, &part, size);
            let seek = format!("seek={}", 1 + mib * number as u64);
            let [from, to] = [("if=", &part), ("of=", &image)].map(|(word, path)| format!("{word}{}", path.display()));
            run(Command::new("dd").args([&from, &to, &seek]).args(["bs=1M", "conv=notrunc,sparse", "status=none"]));
            fs::remove_file(part).expect("part");
        }
        image
    }
}

fn make(kind: &str, tree: &Path, image: &Path, size: u64) {
    if matches!(kind, "ext4" | "btrfs" | "xfs") {
        fs::File::create(image).expect("image").set_len(size).expect("size");
    }
    match kind {
        "ext4" => run(Command::new("mkfs.ext4").args(["-q", "-d"]).arg(tree).arg(image)),
        "btrfs" => run(Command::new("mkfs.btrfs").args(["-q", "--mixed", "--rootdir"]).arg(tree).arg(image)),
        "squashfs" => {
            run(Command::new("mksquashfs").arg(tree).arg(image).args(["-quiet", "-noappend", "-no-progress"]))
        }
        "xfs" => {
            let mounted = fixture::empty();
            run(Command::new("mkfs.xfs").arg("-q").arg(image));
            let disk = Mounted::new(&["-o", "loop", &image.to_string_lossy()], mounted.path());
            fixture::copy(tree, mounted.path());
            drop(disk);
            String::new()
        }
        "erofs" => run(Command::new("mkfs.erofs").arg("--quiet").arg(image).arg(tree)),
        other => panic!("{other}"),
    };
}

#[test]
fn every_file_system_runs_in_every_way() {
    requires!(root, cgroup2, idmap, loop, program "mkfs.ext4", program "mkfs.btrfs", program "mksquashfs", program "mkfs.erofs");
    let _isolated = Isolated::enter();
    let tree = fixture::tree();
    for kind in ["ext4", "btrfs", "squashfs", "erofs"] {
        let place = Place::new();
        let image = place.file_system(kind, tree.path());
        let before = HostState::capture(&image, &[]);
        let writable = matches!(kind, "ext4" | "btrfs");
        let script = "findmnt -rno FSTYPE /; stat -c %u:%g /etc /; echo x 2>&- >/new && echo written; true";
        let cases: [(&[&str], &str, bool); 8] = [
            (&[], kind, writable),
            (&["-U"], kind, writable),
            (&["--read-only"], kind, false),
            (&["-x"], "overlay", true),
            (&["-x", "-U"], "overlay", true),
            (&["--volatile=overlay", "-U"], "overlay", true),
            (&["--volatile=state"], kind, false),
            (&["--volatile=yes", "-U"], "tmpfs", true),
        ];
        for (options, expected, written) in cases {
            let ended = redd(&image).args(options).script(script).run().expect_code(0);
            let end = if written { "written\n" } else { "" };
            assert_eq!(ended.output, format!("{expected}\n0:0\n0:0\n{end}"), "{kind} {options:?}: {ended}");
            before.assert_same();
        }
        // What was written to the image stays, what was written to a copy does not.
        let kept = redd(&image).arg("--read-only").script("cat /new").run();
        assert_eq!(kept.code() == 0, writable, "{kind}: {kept}");
    }
}

#[test]
fn partitions_are_mounted_in_their_places_and_ephemeral_ones_change_nothing() {
    requires!(root, cgroup2, idmap, loop, program "mkfs.ext4", program "sfdisk");
    let _isolated = Isolated::enter();
    let (tree, home) = (fixture::tree(), fixture::empty());
    home.write("kept", "old\n", 0o644);
    let place = Place::new();
    let image = place.table(
        "gpt",
        64,
        &[
            (ROOT, "", "ext4", tree.path()),
            (HOME, "", "ext4", home.path()),
            (TMP, ", attrs=\"GUID:60\"", "ext4", home.path()),
        ],
    );
    let before = HostState::capture(&image, &[]);
    let script = "cat /home/kept; echo new 2>&- >/home/kept || echo refused; echo x 2>&- >/var/tmp/x || echo read-only; \
                  findmnt -rno OPTIONS /home | grep -o nodev; findmnt -rno OPTIONS /var/tmp | grep -o nosuid";
    for options in [&["-x"][..], &["-x", "-U"], &["--volatile=overlay"], &[]] {
        let ended = redd(&image).args(options).script(script).run().expect_code(0);
        assert_eq!(ended.output, "old\nread-only\nnodev\nnosuid\n", "{options:?}: {ended}");
        before.assert_same();
    }
    let ended = redd(&image).args(["--read-only", "-U"]).script(script).run().expect_code(0);
    assert_eq!(ended.output, "new\nrefused\nread-only\nnodev\nnosuid\n", "{ended}");
}

#[test]
fn a_place_for_a_partition_is_made_where_it_can_be() {
    requires!(root, cgroup2, loop, program "mkfs.ext4", program "mksquashfs", program "sfdisk");
    let _isolated = Isolated::enter();
    let (tree, home) = (fixture::tree(), fixture::empty());
    home.write("kept", "old\n", 0o644);
    fs::remove_dir_all(tree.join("home")).expect("home");
    for kind in ["squashfs", "ext4"] {
        let place = Place::new();
        let image = place.table("gpt", 64, &[(ROOT, "", kind, tree.path()), (HOME, "", "ext4", home.path())]);
        let before = HostState::capture(&image, &[]);
        let run = |options: &[&str]| {
            let mut spawn = Spawn::new(&Engine::Redd(BINARY.into())).args(["--pipe", "-i"]).arg(&image);
            spawn = spawn.args(options);
            spawn.script("cat /home/kept 2>&-; true").run().expect_code(0)
        };
        for options in [&["-x"][..], &["--volatile=overlay"]] {
            let ended = run(options);
            assert_eq!(ended.output, "old\n", "{kind} {options:?}: {ended}");
        }
        for options in [&["--read-only"][..], &["--volatile=state"], &["-x", "--read-only"]] {
            let ended = run(options);
            assert_eq!(ended.output, "", "{kind} {options:?}: {ended}");
            assert!(ended.errors.contains("has no place for its partition for home"), "{kind} {options:?}: {ended}");
        }
        before.assert_same();
        // The directory is in the image from now on.
        let ended = run(&[]);
        assert_eq!(ended.output == "old\n", kind == "ext4", "{kind}: {ended}");
        assert_eq!(run(&["--read-only"]).output == "old\n", kind == "ext4", "{kind}");
    }
}

/// A root with more or less memory behind it, around a partition for `/usr`.
#[test]
fn an_image_with_usr_alone_has_its_root_in_memory() {
    requires!(root, cgroup2, idmap, loop, program "mkfs.ext4", program "sfdisk");
    let _isolated = Isolated::enter();
    let (tree, home) = (fixture::tree(), fixture::empty());
    home.write("kept", "old\n", 0o644);
    let usr = tree.join("usr");
    let place = Place::new();
    let image = place.table("gpt", 64, &[(USR, "", "ext4", &usr), (HOME, "", "ext4", home.path())]);
    let before = HostState::capture(&image, &[]);
    let script = "findmnt -rno FSTYPE / | tail -n 1; findmnt -rno FSTYPE /usr | tail -n 1; readlink /bin; stat -c %a:%u / /root /tmp; \
                  ls /etc/machine-id 2>&-; for place in / /etc/ /var/ /usr/ /home/; do echo x 2>&- >${place}new && echo $place; done; \
                  cat /home/kept 2>&-; true";
    let cases: [(&[&str], &str, &str, &str); 8] = [
        (&["-x"], "overlay", "overlay", "/\n/etc/\n/var/\n/usr/\n/home/\nold\n"),
        (&["-x", "-U"], "overlay", "overlay", "/\n/etc/\n/var/\n/usr/\n/home/\nold\n"),
        (&["--volatile=yes"], "tmpfs", "ext4", "/\n/etc/\n/var/\n/home/\n"),
        (&["--volatile=yes", "-U"], "tmpfs", "ext4", "/\n/etc/\n/var/\n/home/\n"),
        (&["--volatile=state"], "tmpfs", "ext4", "/var/\nold\n"),
        (&["--volatile=overlay"], "overlay", "overlay", "/\n/etc/\n/var/\n/usr/\n/home/\nold\n"),
        (&["--read-only"], "tmpfs", "ext4", "old\n"),
        (&["-U"], "tmpfs", "ext4", "/\n/etc/\n/var/\n/usr/\n/home/\nold\n"),
    ];
    for (options, root, usr, written) in cases {
        let ended = redd(&image).args(options).script(script).run().expect_code(0);
        let expected = format!("{root}\n{usr}\nusr/bin\n755:0\n750:0\n1777:0\n{written}");
        assert_eq!(ended.output, expected, "{options:?}: {ended}");
        before.assert_same();
    }
    // The root is new each time, what is on the disk stays.
    let ended = redd(&image).script("ls /new /etc/new /usr/new /home/new 2>&-; true").run().expect_code(0);
    assert_eq!(ended.output, "/home/new\n/usr/new\n", "{ended}");
}

#[test]
fn one_partition_is_found_in_tables_of_both_kinds_and_grows_where_it_is_to() {
    requires!(root, cgroup2, loop, program "mkfs.ext4", program "mkfs.btrfs", program "sfdisk");
    let _isolated = Isolated::enter();
    let tree = fixture::tree();
    let old = Place::new();
    let image = old.table("dos", 64, &[("83", ", bootable", "ext4", tree.path())]);
    redd(&image).args(["/bin/test", "-e", "/probe"]).run().expect_code(0);
    let new = Place::new();
    let image = new.table("gpt", 300, &[(LINUX, ", attrs=\"GUID:59\"", "btrfs", tree.path())]);
    redd(&image).args(["/bin/test", "-e", "/probe"]).run().expect_code(0);
    // A file system that is smaller than its partition; btrfs becomes no smaller than 256 MiB.
    let part = new.directory.join("small");
    make("btrfs", tree.path(), &part, 120 << 20);
    let to = format!("of={}", image.display());
    run(Command::new("dd")
        .arg(format!("if={}", part.display()))
        .args([&to, "seek=1", "bs=1M"])
        .args(["conv=notrunc", "status=none"]));
    let ended = redd(&image).script("df -k / | tail -n 1 | tr -s ' ' | cut -d ' ' -f 2").run().expect_code(0);
    let size: u64 = ended.output.trim().parse().unwrap_or_else(|_| panic!("{ended}"));
    assert!(size > 290 << 10, "{ended}");
}

#[test]
fn what_cannot_be_used_is_refused_with_its_name_and_leaves_nothing() {
    requires!(root, cgroup2, loop, program "mkfs.ext4", program "sfdisk");
    let _isolated = Isolated::enter();
    let tree = fixture::tree();
    let place = Place::new();
    let image = place.table("gpt", 64, &[(LINUX, "", "ext4", tree.path()), (LINUX, "", "ext4", tree.path())]);
    let before = HostState::capture(&image, &[]);
    let refused = |words: &[&str]| -> Ended {
        let ended = redd(&image).arg("/bin/true").run().expect_code(1);
        let shown = image.display().to_string();
        assert!(words.iter().chain([&&*shown]).all(|word| ended.errors.contains(word)), "{words:?}: {ended}");
        ended
    };
    refused(&["several partitions that may be the root (1, 2)"]);
    before.assert_same();
    let file = fs::OpenOptions::new().write(true).open(&image).expect("image");
    file.set_len(0).expect("size");
    refused(&["is empty"]);
    file.set_len(1 << 20).expect("size");
    refused(&["neither a file system nor a partition table"]);
    fs::remove_file(&image).expect("image");
    place.file_system("ext4", tree.path());
    let file = fs::OpenOptions::new().write(true).open(&image).expect("image");
    file.set_len(20 << 20).expect("size");
    refused(&["is cut off", "ext4"]);
    // All but the magic number is gone: the kernel's to judge.
    file.set_len(0).expect("size");
    file.set_len(20 << 20).expect("size");
    std::os::unix::fs::FileExt::write_all_at(&file, &[0x53, 0xef], 1024 + 56).expect("write");
    refused(&["cannot mount the image", "as ext4"]);
    redd(tree.path()).arg("/bin/true").run().expect_code(1);
    redd(&place.directory.join("none.raw")).arg("/bin/true").run().expect_code(1);
}

#[test]
fn an_image_with_a_root_hash_and_verity_data_beside_it_is_not_run_unprotected() {
    requires!(root, cgroup2, loop, program "mkfs.ext4");
    let _isolated = Isolated::enter();
    let place = Place::new();
    let image = place.file_system("ext4", fixture::tree().path());
    fs::write(image.with_extension("verity"), "hashes").expect("data");
    redd(&image).arg("/bin/true").run().expect_code(0);
    rustix::fs::setxattr(&image, "user.verity.roothash", b"00ff", rustix::fs::XattrFlags::empty()).expect("attribute");
    let ended = redd(&image).arg("/bin/true").run().expect_code(1);
    assert!(ended.errors.contains("protected by dm-verity") && ended.errors.contains("the attribute"), "{ended}");
    let hash = image.with_extension("roothash");
    fs::write(&hash, "00ff").expect("hash");
    let before = HostState::capture(&image, &[]);
    let ended = redd(&image).arg("/bin/true").run().expect_code(1);
    assert!(ended.errors.contains(&hash.display().to_string()), "{ended}");
    before.assert_same();
}

/// A running container that says `ready` and ends with its input.
fn start(image: &Path, name: &str, options: &[&str]) -> Child {
    let mut command = Command::new(BINARY);
    command.args(["-q", "--pipe", "-M", name, "-i"]).arg(image).args(options);
    command.args(["/bin/sh", "-c", "echo x > /new; echo ready; read x; true"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("start");
    let mut word = [0; 6];
    std::io::Read::read_exact(child.stdout.as_mut().expect("a pipe"), &mut word).expect("ready");
    child
}

fn loop_devices(image: &Path) -> usize {
    let output = run(Command::new("losetup").args(["-n", "-O", "BACK-FILE", "-j"]).arg(image));
    output.lines().count()
}

#[test]
fn writers_are_alone_copies_are_not_and_a_violent_death_leaves_no_loop_device() {
    requires!(root, cgroup2, loop, program "mkfs.ext4", program "losetup");
    let _isolated = Isolated::enter();
    let tree = fixture::tree();
    let place = Place::new();
    let image = place.file_system("ext4", tree.path());
    let before = HostState::capture(&image, &[]);
    let name = |letter: &str| format!("disk-{letter}-{}", std::process::id());
    let copies = [start(&image, &name("a"), &["-x"]), start(&image, &name("b"), &["-x"])];
    let ended = redd(&image).arg("/bin/true").run().expect_code(1);
    assert!(ended.errors.contains("is in use by machine disk-"), "{ended}");
    for mut child in copies {
        drop(child.stdin.take());
        assert!(child.wait().expect("end").success());
    }
    before.assert_same();
    let mut writer = start(&image, &name("c"), &[]);
    for options in [&["-x"][..], &[]] {
        let ended = redd(&image).args(options).arg("/bin/true").run().expect_code(1);
        assert!(ended.errors.contains("is in use by machine disk-c"), "{ended}");
    }
    assert_eq!(loop_devices(&image), 1);
    writer.kill().expect("kill");
    writer.wait().expect("end");
    // At once: the kernel may still be writing out what the dead one had.
    let ended = redd(&image).args(["-M", &name("c")]).script("cat /new").run().expect_code(0);
    assert_eq!(ended.output, "x\n", "{ended}");
    let limit = Instant::now() + Duration::from_secs(10);
    while loop_devices(&image) > 0 {
        assert!(Instant::now() < limit, "the loop device stays");
        std::thread::sleep(Duration::from_millis(10));
    }
    // Somebody else's loop device is seen, too.
    let node = run(Command::new("losetup").args(["-f", "--show"]).arg(&image));
    let ended = redd(&image).arg("/bin/true").run();
    run(Command::new("losetup").arg("-d").arg(node.trim()));
    assert!(ended.code() == 1 && ended.errors.contains(node.trim()), "{ended}");
    redd(&image).arg("/bin/true").run().expect_code(0);
}
