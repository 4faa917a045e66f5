//! Where images come from, and what else is there: xfs, block devices, the directories of machines, settings files beside
//! images, and the partition for `/var` of whoever's it is.

use super::*;

#[test]
fn xfs_runs_in_every_way_twice_at_the_same_time_and_grows() {
    requires!(root, cgroup2, idmap, loop, program "mkfs.xfs", program "mount", program "sfdisk");
    let _isolated = Isolated::enter();
    let tree = fixture::tree();
    let place = Place::new();
    let image = place.image();
    make("xfs", tree.path(), &image, 320 << 20);
    // Its identity is that of the first one.
    let other = place.directory.join("other.raw");
    fs::copy(&image, &other).expect("copy");
    let before = HostState::capture(&image, &[]);
    let script = "findmnt -rno FSTYPE / | tail -n 1; stat -c %u:%g /etc /; echo x 2>&- >/new && echo written; true";
    let cases: [(&[&str], &str, &str); 7] = [
        (&[], "xfs", "written\n"),
        (&["-U"], "xfs", "written\n"),
        (&["--read-only"], "xfs", ""),
        (&["-x"], "overlay", "written\n"),
        (&["-x", "-U"], "overlay", "written\n"),
        (&["--volatile=state"], "xfs", ""),
        (&["--volatile=yes", "-U"], "tmpfs", "written\n"),
    ];
    for (options, expected, written) in cases {
        let ended = redd(&image).args(options).script(script).run().expect_code(0);
        assert_eq!(ended.output, format!("{expected}\n0:0\n0:0\n{written}"), "{options:?}: {ended}");
        before.assert_same();
    }
    let first = start(&image, &format!("xfs-a-{}", std::process::id()), &[]);
    let second = start(&other, &format!("xfs-b-{}", std::process::id()), &[]);
    for mut child in [first, second] {
        drop(child.stdin.take());
        assert!(child.wait().expect("end").success());
    }
    // One that is smaller than its partition and marked to grow.
    let grown = place.directory.join("grown.raw");
    fs::File::create(&grown).expect("image").set_len(402 << 20).expect("size");
    let line = format!("label: gpt\nsize=400M, type={ROOT}, attrs=\"GUID:59\"\n");
    let file = place.directory.write("script", line, 0o600);
    run(Command::new("sfdisk").arg("-q").arg(&grown).stdin(fs::File::open(file).expect("script")));
    write_at(&grown, &other, 1);
    let ended = redd(&grown).script("df -k / | tail -n 1 | tr -s ' ' | cut -d ' ' -f 2").run().expect_code(0);
    assert!(ended.output.trim().parse::<u64>().expect("a number") > 330 << 10, "{ended}");
}

/// Whether a process of the host may what a bit of capabilities(7) stands for.
fn is_capable(bit: u32) -> bool {
    let status = fs::read_to_string("/proc/self/status").expect("status");
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:")).expect("capabilities");
    u64::from_str_radix(line.trim(), 16).expect("a mask") & (1 << bit) != 0
}

#[test]
fn ext4_grows_or_says_what_is_missing_for_it() {
    const CAP_SYS_RESOURCE: u32 = 24;
    requires!(root, cgroup2, loop, program "mkfs.ext4", program "sfdisk");
    let _isolated = Isolated::enter();
    let tree = fixture::tree();
    let place = Place::new();
    let image = place.table("gpt", 128, &[(ROOT, ", attrs=\"GUID:59\"", "ext4", tree.path())]);
    let part = place.directory.join("small");
    make("ext4", tree.path(), &part, 48 << 20);
    write_at(&image, &part, 1);
    let script = "df -k / | tail -n 1 | tr -s ' ' | cut -d ' ' -f 2";
    let ended = Spawn::new(&Engine::Redd(BINARY.into())).args(["--pipe", "-i"]).arg(&image).script(script).run();
    let size: u64 = ended.output.trim().parse().unwrap_or_else(|_| panic!("{ended}"));
    if is_capable(CAP_SYS_RESOURCE) {
        assert!(size > 90 << 10 && !ended.errors.contains("does not become"), "{ended}");
    } else {
        assert!(size < 50 << 10 && ended.errors.contains("CAP_SYS_RESOURCE"), "{ended}");
    }
    // Nobody who leaves it as it is makes it larger.
    let ended = Spawn::new(&Engine::Redd(BINARY.into())).args(["--pipe", "--read-only", "-i"]).arg(&image);
    let ended = ended.script(script).run().expect_code(0);
    assert!(ended.output.trim() == size.to_string() && !ended.errors.contains("does not become"), "{ended}");
}

/// Writes a file into an image from that MiB on.
pub(super) fn write_at(image: &Path, part: &Path, mib: u64) {
    let [from, to] = [("if=", part), ("of=", image)].map(|(word, path)| format!("{word}{}", path.display()));
    let seek = format!("seek={mib}");
    run(Command::new("dd").args([&from, &to, &seek]).args(["bs=1M", "conv=notrunc,sparse", "status=none"]));
}

/// A loop device of a test's own.
struct Node(String);

impl Node {
    fn new(image: &Path, options: &[&str]) -> Self {
        let output = run(Command::new("losetup").args(["-f", "--show"]).args(options).arg(image));
        Self(output.trim().to_owned())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        run(Command::new("losetup").arg("-d").arg(&self.0));
    }
}

#[test]
fn block_devices_are_images_too() {
    requires!(root, cgroup2, idmap, loop, program "mkfs.ext4", program "losetup", program "sfdisk", program "mount");
    let _isolated = Isolated::enter();
    let (tree, home) = (fixture::tree(), fixture::empty());
    home.write("kept", "old\n", 0o644);
    let place = Place::new();
    let image = place.table("gpt", 64, &[(ROOT, "", "ext4", tree.path()), (HOME, "", "ext4", home.path())]);
    let node = Node::new(&image, &[]);
    let device = Path::new(&node.0);
    let name = device.file_name().and_then(|name| name.to_str()).expect("a name");
    let script =
        "cat /proc/sys/kernel/hostname | cut -d - -f 1; cat /home/kept; echo x 2>&- >/new && echo written; true";
    let before = HostState::capture(tree.path(), &[]);
    let cases: [(&[&str], &str); 7] = [
        (&["-x"], "written\n"),
        (&["-x", "-U"], "written\n"),
        (&["--read-only"], ""),
        (&["--volatile=overlay", "-U"], "written\n"),
        (&["--volatile=state", "-U"], ""),
        (&["-U"], "written\n"),
        (&[], "written\n"),
    ];
    for (options, written) in cases {
        let ended = redd(device).args(options).script(script).run().expect_code(0);
        assert_eq!(ended.output, format!("{name}\nold\n{written}"), "{options:?}: {ended}");
        before.assert_same();
    }
    let kept = redd(device).args(["/bin/test", "-e", "/new"]).run();
    assert_eq!(kept.code(), 0, "{kept}");
    // Two copies at the same time, but nobody beside a writer.
    let mut copy = start(device, &format!("node-a-{}", std::process::id()), &["-x"]);
    redd(device).args(["-x", "/bin/true"]).run().expect_code(0);
    let ended = redd(device).arg("/bin/true").run().expect_code(1);
    assert!(ended.errors.contains("is in use by machine node-a"), "{ended}");
    drop(copy.stdin.take());
    assert!(copy.wait().expect("end").success());
    // What is mounted already is nobody else's.
    let part = Node::new(&image, &["-o", "1048576", "--sizelimit", "67108864"]);
    let mounted = Mounted::new(&[&part.0], home.path());
    let ended = redd(Path::new(&part.0)).arg("/bin/true").run().expect_code(1);
    assert!(ended.errors.contains("is in use"), "{ended}");
    drop(mounted);
}

#[test]
fn machines_are_found_by_name_with_the_settings_beside_them() {
    requires!(root, cgroup2, loop, program "mkfs.ext4", program "mount");
    let _isolated = Isolated::enter();
    let tree = fixture::tree();
    let place = Place::new();
    let image = place.file_system("ext4", tree.path());
    let machine = place.directory.name().to_owned();
    let memory: Vec<Mounted> = ["/var/lib", "/usr/local/lib"]
        .map(|place| Mounted::new(&["-t", "tmpfs", "tmpfs"], Path::new(place)))
        .into_iter()
        .collect();
    let by_name = |options: &[&str]| {
        let engine = Engine::Redd(BINARY.into());
        Spawn::new(&engine).args(["-q", "--pipe", "-M", &machine]).args(options)
    };
    let missing = by_name(&[]).arg("/bin/true").run().expect_code(1);
    assert!(missing.errors.contains("no machine named"), "{missing}");
    for (directory, written) in [("/usr/local/lib/machines", false), ("/var/lib/machines", true)] {
        let directory = Path::new(directory);
        fs::create_dir_all(directory).expect("a directory");
        let raw = directory.join(format!("{machine}.raw"));
        fs::copy(&image, &raw).expect("copy");
        // As in the search of the manual: the administrator's comes before the vendor's.
        fs::write(directory.join(format!("{machine}.nspawn")), format!("[Exec]\nEnvironment=WORD={written}\n"))
            .expect("settings");
        let script = "echo $WORD; cat /proc/sys/kernel/hostname; echo x 2>&- >/new && echo written; true";
        let ended = by_name(&[]).script(script).run().expect_code(0);
        let end = if written { "written\n" } else { "" };
        assert_eq!(ended.output, format!("{written}\n{machine}\n{end}"), "{ended}");
        let ended = by_name(&["-x", "-U"]).script("echo x >/new && echo $WORD").run().expect_code(0);
        assert_eq!(ended.output, format!("{written}\n"), "{ended}");
        let ended = by_name(&[]).args(["/bin/test", "-e", "/new"]).run();
        assert_eq!(ended.code() == 0, written, "{ended}");
    }
    // By its path, too; and the name is then that of the file.
    let settings = place.directory.write(&format!("{machine}.nspawn"), "[Exec]\nEnvironment=WORD=path\n", 0o644);
    let ended = redd(&image).script("echo $WORD; cat /proc/sys/kernel/hostname").run().expect_code(0);
    assert_eq!(ended.output, format!("path\n{machine}\n"), "{ended}");
    let ended = redd(&image).args(["--settings=no"]).script("echo $WORD").run().expect_code(0);
    assert_eq!(ended.output, "\n", "{ended}");
    fs::remove_file(settings).expect("settings");
    drop(memory);
}

/// The rule of the specification that it is to be marked with the machine's id is for systems that search their own disk;
/// the original does not ask for it either.
#[test]
fn a_partition_for_var_is_used_whoever_made_it() {
    requires!(root, cgroup2, idmap, loop, program "mkfs.ext4", program "sfdisk");
    let _isolated = Isolated::enter();
    let (tree, var) = (fixture::tree(), fixture::empty());
    var.write("marker", "var\n", 0o644);
    tree.write("etc/machine-id", "0123456789abcdef0123456789abcdef\n", 0o444);
    let place = Place::new();
    let image = place.table("gpt", 64, &[(ROOT, "", "ext4", tree.path()), (VAR, "", "ext4", var.path())]);
    for options in [&[][..], &["-U"], &["-x"], &["--read-only"], &["--volatile=overlay"]] {
        let ended = redd(&image).args(options).script("cat /var/marker").run().expect_code(0);
        assert_eq!(ended.output, "var\n", "{options:?}: {ended}");
    }
    let ended = redd(&image).args(["--volatile=state"]).script("ls -A /var; findmnt -rno FSTYPE /var").run();
    assert_eq!(ended.output, "tmpfs\n", "{ended}");
}
