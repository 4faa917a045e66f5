//! The verbs about images, on directories, btrfs subvolumes and disk images.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::disk::{Disk, Mounted, run};
use testkit::{Ended, Isolated, Running, fixture, requires, run_limited};

const LIMIT: Duration = Duration::from_secs(60);
const IMAGES: &str = "/var/lib/machines";
const SETTINGS: &str = "/etc/systemd/nspawn";

/// A host whose images are on btrfs, and that has no others.
struct Place {
    _mounts: [Mounted; 2],
    _disk: Disk,
    _isolated: Isolated,
}

impl Place {
    fn new() -> Self {
        let isolated = Isolated::enter();
        let disk = Disk::new("btrfs", 512);
        fs::create_dir_all(IMAGES).expect("directory");
        let source = disk.path();
        let mounts = [
            Mounted::new(&["--bind", source.to_str().expect("ours")], Path::new(IMAGES)),
            Mounted::new(&["-t", "tmpfs", "-o", "mode=755", "tmpfs"], Path::new("/etc/systemd")),
        ];
        fs::create_dir(SETTINGS).expect("directory");
        Self { _mounts: mounts, _disk: disk, _isolated: isolated }
    }
}

fn redd(words: &[&str]) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_redd"));
    command.args(words);
    run_limited(command, Vec::new(), LIMIT)
}

fn at(name: &str) -> PathBuf {
    Path::new(IMAGES).join(name)
}

fn directory(name: &str) {
    fs::create_dir_all(at(name).join("usr")).expect("tree");
}

fn subvolume(path: &str) {
    run(Command::new("btrfs").args(["subvolume", "create"]).arg(at(path)));
}

fn names(path: &str) -> Vec<String> {
    let entry = |entry: std::io::Result<fs::DirEntry>| entry.expect("entry").file_name().to_string_lossy().into_owned();
    let mut names: Vec<String> = fs::read_dir(path).expect("list").map(entry).collect();
    names.sort();
    names
}

fn property(image: &str, name: &str) -> String {
    let shown = redd(&["show-image", image, &format!("--property={name}"), "--value"]).expect_code(0).output;
    shown.trim_end().to_owned()
}

fn listed() -> Vec<(String, String, bool)> {
    let shown = redd(&["list-images", "--json=short"]).expect_code(0).output;
    let rows: Value = serde_json::from_str(&shown).expect("JSON");
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let row = |row: &Value| (text(&row["name"]), text(&row["type"]), row["ro"].as_bool().expect("boolean"));
    rows.as_array().expect("list").iter().map(row).collect()
}

/// Something can be written to the image.
fn is_writable(name: &str) -> bool {
    let raw = at(&format!("{name}.raw"));
    if raw.exists() {
        return fs::metadata(&raw).expect("file").permissions().mode() & 0o222 != 0;
    }
    let (new, there) = (at(name).join("new"), at(name).exists());
    assert!(there, "{name}");
    fs::write(&new, "").and_then(|()| fs::remove_file(&new)).is_ok()
}

#[test]
fn images_are_cloned_marked_renamed_and_removed() {
    requires!(root, loop, program "mkfs.btrfs", program "btrfs");
    let _place = Place::new();
    directory("images-d.e");
    subvolume("images-sö");
    fs::create_dir(at("images-sö/usr")).expect("tree");
    fs::write(at("images-r.raw"), vec![7; 4096]).expect("file");
    for (name, kind, of_clone) in
        [("images-d.e", "directory", "subvolume"), ("images-sö", "subvolume", "subvolume"), ("images-r", "raw", "raw")]
    {
        let others = listed();
        fs::write(Path::new(SETTINGS).join(format!("{name}.nspawn")), "[Exec]\n").expect("settings");
        fs::write(at(&format!("{name}.nspawn")), "[Files]\n").expect("settings");
        redd(&["clone", name, "images-copy"]).expect_code(0);
        assert!(listed().contains(&("images-copy".into(), of_clone.into(), false)), "{name}: {:?}", listed());
        assert!(is_writable("images-copy"), "{name}");
        let again = redd(&["clone", name, "images-copy"]).expect_code(1);
        assert!(again.errors.contains("there is an image named images-copy already"), "{again}");
        redd(&["read-only", "images-copy"]).expect_code(0);
        assert_eq!(property("images-copy", "ReadOnly"), "yes", "{name}");
        assert!(!is_writable("images-copy"), "{name}");
        // Renamed and removed all the same, with the settings.
        redd(&["rename", "images-copy", "images-moved"]).expect_code(0);
        assert_eq!(property("images-moved", "ReadOnly"), "yes", "{name}");
        assert_eq!(property("images-moved", "Type"), of_clone, "{name}");
        let text = |path: PathBuf| fs::read_to_string(path).expect("settings");
        assert_eq!(text(Path::new(SETTINGS).join("images-moved.nspawn")), "[Exec]\n");
        assert_eq!(text(at("images-moved.nspawn")), "[Files]\n");
        redd(&["clone", "--read-only", "images-moved", "images-third"]).expect_code(0);
        assert!(!is_writable("images-third"), "{name}");
        redd(&["read-only", "images-third", "no"]).expect_code(0);
        assert!(is_writable("images-third"), "{name}");
        redd(&["remove", "images-moved", "images-third"]).expect_code(0);
        assert_eq!(listed(), others, "{name}: {kind}");
        assert!(names(SETTINGS).iter().all(|file| !file.contains("moved") && !file.contains("third")));
        redd(&["read-only", name]).expect_code(0);
        redd(&["remove", name]).expect_code(0);
    }
    assert_eq!((names(IMAGES), names(SETTINGS)), (vec![], vec![]));
}

#[test]
fn read_only_subvolumes_go_with_those_in_them() {
    requires!(root, loop, program "mkfs.btrfs", program "btrfs");
    let _place = Place::new();
    for path in ["images-outer", "images-outer/inner", "images-outer/inner/third"] {
        subvolume(path);
        fs::write(at(path).join("file"), "").expect("file");
    }
    for path in ["images-outer/inner/third", "images-outer/inner", "images-outer"] {
        run(Command::new("btrfs").args(["property", "set"]).arg(at(path)).args(["ro", "true"]));
    }
    redd(&["rename", "images-outer", "images-other"]).expect_code(0);
    assert!(!is_writable("images-other"));
    let some = redd(&["remove", "images-none", "images-other", "images-none2"]).expect_code(1);
    assert!(some.errors.contains("images-none2") && some.errors.contains("named images-none\n"), "{some}");
    assert!(names(IMAGES).is_empty());
    // Hidden ones, too.
    subvolume(".hidden");
    run(Command::new("btrfs").args(["property", "set"]).arg(at(".hidden")).args(["ro", "true"]));
    directory("images-seen");
    let cleaned = redd(&["clean"]).expect_code(0);
    assert!(cleaned.output.contains("Removed image '.hidden'"), "{cleaned}");
    assert_eq!(names(IMAGES), ["images-seen"]);
}

#[test]
fn images_of_running_machines_stay() {
    requires!(root, loop, cgroup2, program "mkfs.btrfs", program "btrfs");
    let _place = Place::new();
    subvolume("images-busy");
    fixture::tree_at(&at("images-busy"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_redd"));
    command.args(["spawn", "-q", "-P", "-M", "images-busy", "/bin/sleep", "1000"]);
    let running = Running::start(command, "images-busy");
    let before = names(IMAGES);
    for words in [&["remove", "images-busy"][..], &["rename", "images-busy", "images-x"], &["read-only", "images-busy"]]
    {
        let ended = redd(words).expect_code(1);
        assert!(ended.errors.contains("a machine named images-busy is running"), "{ended}");
        assert!(ended.errors.contains("hint: 'poweroff NAME'"), "{ended}");
    }
    let ended = redd(&["clean", "--all"]).expect_code(1);
    assert!(ended.errors.contains("the image images-busy stays"), "{ended}");
    assert_eq!(names(IMAGES), before);
    redd(&["clone", "images-busy", "images-snapshot"]).expect_code(0);
    assert!(at("images-snapshot/usr").exists());
    drop(running);
    redd(&["remove", "images-busy", "images-snapshot"]).expect_code(0);
    assert!(names(IMAGES).is_empty());
}

#[test]
fn a_clone_that_is_killed_leaves_no_image() {
    requires!(root, loop, program "mkfs.btrfs", program "btrfs");
    let _place = Place::new();
    directory("images-many");
    for number in 0..20_000 {
        fs::write(at(&format!("images-many/{number}")), "").expect("file");
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_redd"));
    let mut clone = command.args(["clone", "images-many", "images-half"]).stdin(Stdio::null()).spawn().expect("redd");
    let end = Instant::now() + LIMIT;
    while !names(IMAGES).iter().any(|name| name.starts_with(".#redd.")) {
        assert!(Instant::now() < end && clone.try_wait().expect("wait").is_none(), "no copy is begun");
    }
    clone.kill().expect("kill");
    assert!(!clone.wait().expect("wait").success());
    assert_eq!(listed(), [("images-many".to_owned(), "directory".to_owned(), false)]);
    let all = redd(&["list-images", "--all", "--no-legend"]).expect_code(0);
    assert!(!all.output.contains("half") && !all.output.contains(".#"), "{all}");
    let cleaned = redd(&["clean"]).expect_code(0);
    assert!(cleaned.output.contains("Removed 1 unfinished copies or removals."), "{cleaned}");
    assert_eq!(names(IMAGES), ["images-many"]);
    redd(&["clone", "images-many", "images-half"]).expect_code(0);
    assert_eq!(names(at("images-half").to_str().expect("ours")).len(), 20_001);
}

#[test]
fn limits_hold() {
    requires!(root, loop, program "mkfs.btrfs", program "btrfs");
    let _place = Place::new();
    subvolume("images-small");
    directory("images-plain");
    assert_eq!(property("images-small", "Limit"), "infinity");
    let uncounted = redd(&["set-limit", "images-small", "8M"]).expect_code(1);
    assert!(uncounted.errors.contains("its file system does not count"), "{uncounted}");
    redd(&["set-limit", "256M"]).expect_code(0);
    assert!(redd(&["show-image"]).expect_code(0).output.contains("PoolLimit=268435456\n"));
    redd(&["set-limit", "images-small", "8M"]).expect_code(0);
    assert_eq!(property("images-small", "Limit"), "8388608");
    let fill = || fs::write(at("images-small/file"), vec![1; 16 << 20]);
    let full = fill().and_then(|()| fs::File::open(at("images-small/file")).and_then(|file| file.sync_all()));
    assert_eq!(full.map_err(|error| error.raw_os_error()), Err(Some(122)), "EDQUOT");
    redd(&["set-limit", "images-small", "-"]).expect_code(0);
    assert_eq!(property("images-small", "Limit"), "infinity");
    fill().expect("room again");
    let plain = redd(&["set-limit", "images-plain", "8M"]).expect_code(1);
    assert!(plain.errors.contains("images-plain is a directory: only btrfs subvolumes"), "{plain}");
    redd(&["set-limit", "images-small", "much"]).expect_code(2);
}

/// It is of all images: those that are there, and those that come to be.
#[test]
fn the_limit_of_all_images_holds_for_each() {
    requires!(root, loop, program "mkfs.btrfs", program "btrfs");
    let _place = Place::new();
    subvolume("images-one");
    fs::create_dir(at("images-one/usr")).expect("tree");
    fs::write(at("images-one/file"), vec![1; 20 << 20]).expect("room");
    // It is counted when it is on the disk.
    run(Command::new("sync").arg("-f").arg(IMAGES));
    let pool = |name: &str| {
        let shown = redd(&["show", "-p", name, "--value"]).expect_code(0).output;
        shown.trim().parse::<u64>().expect("a number")
    };
    redd(&["set-limit", "64M"]).expect_code(0);
    assert_eq!(pool("PoolLimit"), 64 << 20);
    assert!((20 << 20..24 << 20).contains(&pool("PoolUsage")), "{}", pool("PoolUsage"));
    redd(&["clone", "images-one", "images-two"]).expect_code(0);
    redd(&["clone", "--read-only", "images-one", "images-three"]).expect_code(0);
    run(Command::new("btrfs").args(["quota", "rescan", "-w", IMAGES]));
    let write = |path: &str, size: usize| {
        let file = fs::write(at(path), vec![2; size]).and_then(|()| fs::File::open(at(path)));
        file.and_then(|file| file.sync_all()).map_err(|error| error.raw_os_error())
    };
    assert_eq!(write("images-two/more", 80 << 20), Err(Some(122)), "EDQUOT in a new one");
    fs::remove_file(at("images-two/more")).expect("removed");
    run(Command::new("sync").arg("-f").arg(IMAGES));
    assert_eq!(write("images-one/more", 80 << 20), Err(Some(122)), "EDQUOT in one that was there");
    fs::remove_file(at("images-one/more")).expect("removed");
    run(Command::new("sync").arg("-f").arg(IMAGES));
    redd(&["set-limit", "-"]).expect_code(0);
    assert_eq!(write("images-two/more", 80 << 20), Ok(()));
}

#[test]
fn bad_names_change_nothing() {
    requires!(root, loop, program "mkfs.btrfs");
    let _place = Place::new();
    directory("images-one");
    let before = listed();
    for bad in ["..", ".", "", "a/b", "../x", "a\nb", ".#x"] {
        for words in [
            &["clone", "images-one", bad][..],
            &["clone", bad, "images-new"],
            &["rename", "images-one", bad],
            &["rename", bad, "images-new"],
            &["remove", bad],
            &["read-only", bad],
            &["set-limit", bad, "1G"],
            &["show-image", bad],
            &["image-status", bad],
        ] {
            let ended = redd(words).expect_code(1);
            assert!(ended.errors.contains("an image cannot be named"), "{words:?}: {ended}");
        }
    }
    for verb in ["remove", "read-only", "show-image", "image-status"] {
        let ended = redd(&[verb, "images-none"]).expect_code(1);
        assert!(ended.errors.contains("there is no image named images-none"), "{ended}");
        assert!(ended.errors.contains("hint: 'list-images --all'"), "{ended}");
    }
    let host = redd(&["remove", ".host"]).expect_code(1);
    assert!(host.errors.contains("the running system itself"), "{host}");
    redd(&["read-only", "images-one", "perhaps"]).expect_code(2);
    assert_eq!(listed(), before);
}
