//! `redd copy-to` and `copy-from`: files copied into machines that run, and out of them.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, XattrFlags, lgetxattr, lsetxattr, mknodat};
use testkit::fixture::{self, Tree};
use testkit::{Ended, HostState, Isolated, Running, requires, run_limited};

const REDD: &str = env!("CARGO_BIN_EXE_redd");
const LIMIT: Duration = Duration::from_secs(120);
const WAYS: [&[&str]; 2] = [&[], &["-U"]];

fn machine(tree: &Tree, options: &[&str]) -> Running {
    let mut command = Command::new(REDD);
    command.args(["spawn", "-q", "-P", "-D"]).arg(tree.path()).args(options).args(["/bin/sleep", "1000"]);
    Running::start(command, &tree.name())
}

fn redd(words: &[&str]) -> Ended {
    let mut command = Command::new(REDD);
    command.args(words);
    run_limited(command, Vec::new(), LIMIT)
}

fn inside(tree: &Tree, script: &str) -> Ended {
    redd(&["exec", &tree.name(), "sh", "-c", script])
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ours")
}

/// Everything below a directory, and it itself: kind, mode, owner, times, size, blocks, link, attribute.
fn listing(root: &Path, owners: bool) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(path) = waiting.pop() {
        let status = std::fs::symlink_metadata(&path).expect("a file");
        let mut value = [0; 100];
        let attribute = lgetxattr(&path, "user.redd", &mut value[..]).map(|length| value[..length].to_vec());
        let link = std::fs::read_link(&path).ok();
        let mut line = format!(
            "{:o} {}.{} {link:?} {:?} data {}",
            status.mode(),
            status.mtime(),
            status.mtime_nsec(),
            attribute.ok(),
            if status.is_file() { status.blocks() * 512 > status.size() / 2 } else { false },
        );
        if status.is_file() {
            line.push_str(&format!(" {} bytes", status.size()));
        }
        if owners {
            line.push_str(&format!(" {}:{}", status.uid(), status.gid()));
        }
        let name = path.strip_prefix(root).expect("below").as_os_str().as_bytes();
        all.insert(name.escape_ascii().to_string(), line);
        if status.is_dir() {
            waiting.extend(std::fs::read_dir(&path).expect("entries").map(|entry| entry.expect("entry").path()));
        }
    }
    all
}

/// A directory with something of every kind that can be copied.
fn everything() -> Tree {
    let tree = fixture::empty();
    tree.write("all/plain", "contents\n", 0o640);
    tree.write("all/empty", "", 0o600);
    tree.write("all/deep/er/file", vec![7; 300_000], 0o444);
    tree.write("all/set-user-id", "#!/bin/sh\n", 0o755);
    let all = tree.join("all");
    std::fs::write(all.join(std::ffi::OsStr::from_bytes(b"\xff \n\t\x1b[31m")), "odd").expect("a name of any bytes");
    symlink("plain", all.join("link")).expect("link");
    symlink("/etc/shadow", all.join("absolute")).expect("link");
    symlink("../../../../nowhere", all.join("dangling")).expect("link");
    std::fs::hard_link(all.join("plain"), all.join("hard")).expect("link");
    mknodat(CWD, all.join("fifo"), FileType::Fifo, Mode::RWXU, 0).expect("fifo");
    let sparse = std::fs::File::create(all.join("sparse")).expect("file");
    sparse.set_len(1 << 30).expect("a hole");
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"x", 1 << 29).expect("data");
    for name in ["plain", "deep"] {
        lsetxattr(all.join(name), "user.redd", b"value\0\xff", XattrFlags::empty()).expect("attribute");
    }
    for (name, id) in [("empty", 1000), ("set-user-id", 1000), ("deep/er", 7), ("link", 1001)] {
        std::os::unix::fs::lchown(all.join(name), Some(id), Some(id)).expect("owner");
    }
    for (name, mode) in [("set-user-id", 0o4755), ("deep/er", 0o3750), ("deep", 0o1777)] {
        std::fs::set_permissions(all.join(name), std::fs::Permissions::from_mode(mode)).expect("mode");
    }
    for name in ["plain", "deep/er", "deep", "."] {
        let file = std::fs::File::open(all.join(name)).expect("file");
        let time = std::time::UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
        file.set_modified(time).expect("time");
    }
    tree
}

#[test]
fn all_that_can_be_copied_is_as_it_was() {
    requires!(root, cgroup2, idmap);
    let (tree, source) = (fixture::tree(), everything());
    let _isolated = Isolated::enter();
    let original = source.join("all");
    for way in WAYS {
        let users = way == ["-U"];
        let host = HostState::capture(tree.path(), &[]);
        let running = machine(&tree, way);
        redd(&["copy-to", &tree.name(), text(&original), "/srv"]).expect_code(0);
        let (mut there, before) = (tree.join("srv"), listing(&original, !users));
        if users {
            let owners = inside(&tree, "find /srv -exec stat -c %u:%g {} +").expect_code(0);
            assert!(owners.output.lines().all(|line| line == "0:0"), "{owners}");
        }
        // What would run as root, or as whoever has the number, where owners are not kept.
        let plain = |mut list: BTreeMap<String, String>, names: &[&str]| {
            for name in names {
                let line = list.get_mut(*name).expect("a file with such bits");
                *line = line.replace("104755", "100755").replace("43750", "41750");
            }
            list
        };
        let expected = if users { plain(before.clone(), &["set-user-id", "deep/er"]) } else { before.clone() };
        assert_eq!(listing(&there, !users), expected, "{way:?}");
        assert_eq!(std::fs::read(there.join("deep/er/file")).expect("file"), vec![7; 300_000]);
        // And out again.
        let back = fixture::empty();
        redd(&["copy-from", &tree.name(), "/srv", text(&back.join("x"))]).expect_code(0);
        assert_eq!(listing(&back.join("x"), !users), plain(expected, &["set-user-id"]), "{way:?}");
        if users {
            assert!(listing(&back.join("x"), true).values().all(|line| line.ends_with(" 0:0")));
        }
        // Single files and links, at the same path, too.
        let ended = redd(&["copy-from", &tree.name(), "/srv/absolute", text(&back.join("link"))]).expect_code(0);
        assert!(ended.errors.contains("/srv/absolute is a link to /etc/shadow, and was copied as one"), "{ended}");
        assert_eq!(std::fs::read_link(back.join("link")).expect("a link"), Path::new("/etc/shadow"));
        redd(&["copy-to", &tree.name(), "/etc/hostname"]).expect_code(0);
        assert_eq!(std::fs::read(tree.join("etc/hostname")).ok(), std::fs::read("/etc/hostname").ok());
        std::fs::remove_file(tree.join("etc/hostname")).expect("removed");
        assert_eq!(std::fs::read_dir(back.path()).expect("entries").count(), 2, "no temporary name is left");
        running.stop();
        host.assert_same();
        there.push(".");
        std::fs::remove_dir_all(tree.join("srv")).expect("removed");
    }
}

#[test]
fn what_is_there_stays_unless_it_is_to_be_replaced() {
    requires!(root, cgroup2, idmap);
    let (tree, source) = (fixture::tree(), fixture::empty());
    let _isolated = Isolated::enter();
    source.write("new", "new", 0o644);
    source.write("directory/a", "new", 0o644);
    source.write("directory/b/c", "new", 0o644);
    let read = |path: &str| std::fs::read_to_string(tree.join(path)).expect("a file");
    for way in WAYS {
        let _running = machine(&tree, way);
        inside(
            &tree,
            "mkdir -p /x/d/b; for f in file victim d/old d/b/old; do echo -n old > /x/$f; done; ln -s victim /x/link",
        )
        .expect_code(0);
        let copy = |options: &[&str], from: &str, to: &str| {
            redd(&[&["copy-to"], options, &[&tree.name(), text(&source.join(from)), to]].concat())
        };
        let ended = copy(&[], "new", "/x/file").expect_code(1);
        let said = format!("/x/file exists in the machine {} already", tree.name());
        assert!(ended.errors.contains(&said) && ended.errors.contains("hint: --force replaces it"), "{ended}");
        copy(&[], "new", "/x/link").expect_code(1);
        assert_eq!((read("x/file"), read("x/victim")), ("old".into(), "old".into()));
        copy(&["--force"], "new", "/x/file").expect_code(0);
        copy(&["--force"], "new", "/x/link").expect_code(0);
        assert_eq!((read("x/file"), read("x/link"), read("x/victim")), ("new".into(), "new".into(), "old".into()));
        // A directory goes into one that is there; what is there already is found before anything is moved.
        copy(&[], "directory", "/x/d").expect_code(0);
        assert_eq!((read("x/d/a"), read("x/d/b/c"), read("x/d/b/old")), ("new".into(), "new".into(), "old".into()));
        inside(&tree, "rm /x/d/a; echo -n old > /x/d/b/c").expect_code(0);
        let ended = copy(&[], "directory", "/x/d").expect_code(1);
        assert!(ended.errors.contains("/x/d/b/c exists"), "{ended}");
        assert!(!tree.join("x/d/a").exists(), "nothing of it was moved");
        copy(&["--force"], "directory", "/x/d").expect_code(0);
        assert_eq!((read("x/d/a"), read("x/d/b/c")), ("new".into(), "new".into()));
        for (from, to, said) in [
            ("new", "/x/d", "is a directory, and what is copied there is not"),
            ("directory", "/x/victim", "is no directory, and what is copied there is not"),
        ] {
            let ended = copy(&["--force"], from, to).expect_code(1);
            assert!(ended.errors.contains(said), "{ended}");
        }
        inside(&tree, "rm /x/d/a; mkdir /x/d/a").expect_code(0);
        copy(&["--force"], "directory", "/x/d").expect_code(1);
        let left = inside(&tree, "find / -xdev -name '.#redd-copy*'; rm -r /x").expect_code(0);
        assert_eq!(left.output, "");
        // The same the other way round.
        let place = fixture::empty();
        let path = place.write("there", "old", 0o644);
        let target = text(&path);
        redd(&["copy-from", &tree.name(), "/etc/passwd", target]).expect_code(1);
        assert_eq!(std::fs::read_to_string(&path).expect("file"), "old");
        redd(&["copy-from", "--force", &tree.name(), "/etc/passwd", target]).expect_code(0);
        assert_eq!(std::fs::read(&path).expect("file"), std::fs::read(tree.join("etc/passwd")).expect("file"));
    }
}

#[test]
fn links_inside_lead_nowhere_else() {
    requires!(root, cgroup2, idmap);
    let (tree, victim) = (fixture::tree(), fixture::empty());
    let _isolated = Isolated::enter();
    victim.write("secret", "of the host", 0o600);
    let source = victim.write("new", "new", 0o644);
    std::fs::create_dir(tree.join("srv")).expect("directory");
    symlink(victim.path(), tree.join("absolute")).expect("link");
    symlink(format!("../../../../..{}", victim.path().display()), tree.join("dots")).expect("link");
    symlink("/srv", tree.join("good")).expect("link");
    for way in WAYS {
        let place = fixture::empty();
        let host = HostState::capture(tree.path(), &[victim.path(), place.path()]);
        let running = machine(&tree, way);
        for path in ["/absolute", "/dots", "/proc/1/root", "/proc/self/root", "/proc/1/cwd", "/proc/self/fd/0"] {
            redd(&["copy-from", &tree.name(), &format!("{path}/secret"), text(&place.join("x"))]).expect_code(1);
            redd(&["copy-to", &tree.name(), text(&source), &format!("{path}/x")]).expect_code(1);
        }
        redd(&["copy-from", &tree.name(), "/proc/1/root", text(&place.join("root"))]).expect_code(1);
        redd(&["copy-to", &tree.name(), text(&source), "/good/x"]).expect_code(0);
        assert_eq!(std::fs::read_to_string(tree.join("srv/x")).expect("file"), "new");
        std::fs::remove_file(tree.join("srv/x")).expect("removed");
        running.stop();
        host.assert_same();
    }
}

#[test]
fn what_is_swapped_in_mid_copy_leads_nowhere_else() {
    requires!(root, cgroup2, idmap);
    let (tree, victim) = (fixture::tree(), fixture::empty());
    let _isolated = Isolated::enter();
    victim.write("d/secret", "of the host", 0o600);
    let source = fixture::empty();
    source.write("all/d/new", "new", 0o644);
    for way in WAYS {
        let host = HostState::capture(tree.path(), &[victim.path()]);
        let running = machine(&tree, way);
        inside(&tree, "mkdir -p /x/d /x/other; echo good > /x/d/file; echo good > /x/f").expect_code(0);
        // Directories become links to directories of the host, and files fifos, all the time.
        let swaps = format!(
            "while test -e /x; do mv /x/d /x/away; ln -s {0}/d /x/d; rm /x/f; mkfifo /x/f; rm /x/d; mv /x/away /x/d; \
             rm /x/f; echo good > /x/f; rm -rf /x/t; mkdir /x/t; rm -rf /x/t; ln -s {0} /x/t; rm /x/t; done",
            victim.path().display()
        );
        let mut swapper = Command::new(REDD)
            .args(["exec", &tree.name(), "sh", "-c", &swaps])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("redd exec");
        let mut copied = 0;
        for number in 0..60 {
            let place = fixture::empty();
            let ended = redd(&["copy-from", &tree.name(), "/x", text(&place.join("x"))]);
            for (name, line) in listing(place.path(), false) {
                let path = place.join(&name);
                if path.is_file() && !path.is_symlink() {
                    let contents = std::fs::read_to_string(&path).expect("file");
                    assert!(["good\n", "new", ""].contains(&contents.as_str()), "{name} {line} {contents}");
                }
            }
            copied += usize::from(ended.code() == 0);
            if ended.code() != 0 {
                assert_eq!(std::fs::read_dir(place.path()).expect("entries").count(), 0, "{ended}");
            }
            redd(&["copy-to", &tree.name(), text(&source.join("all")), &format!("/x/t/{number}")]);
            redd(&["copy-to", "--force", &tree.name(), text(&source.join("all")), "/x"]);
        }
        assert!(copied > 0, "{way:?}: some have come through");
        inside(&tree, "mv /x /y").expect_code(0);
        swapper.wait().expect("the shell");
        running.stop();
        host.assert_same();
        assert_eq!(std::fs::read_dir(victim.join("d")).expect("entries").count(), 1);
        std::fs::remove_dir_all(tree.join("y")).expect("removed");
    }
}

#[test]
fn what_is_no_file_is_left_out_and_told() {
    requires!(root, cgroup2, idmap);
    let tree = fixture::tree();
    let _isolated = Isolated::enter();
    let node = tree.join("srv/node");
    std::fs::create_dir(tree.join("srv")).expect("directory");
    mknodat(CWD, &node, FileType::CharacterDevice, Mode::RUSR, rustix::fs::makedev(1, 5)).expect("device");
    let _socket = std::os::unix::net::UnixListener::bind(tree.join("srv/socket")).expect("socket");
    tree.write("srv/file", "x", 0o644);
    for way in WAYS {
        let place = fixture::empty();
        let _running = machine(&tree, way);
        let ended = redd(&["copy-from", &tree.name(), "/srv", text(&place.join("x"))]).expect_code(0);
        assert!(ended.errors.contains("left out /srv/node: a device node"), "{ended}");
        assert!(ended.errors.contains("left out /srv/socket: a socket"), "{ended}");
        assert_eq!(std::fs::read_dir(place.join("x")).expect("entries").count(), 1);
        for path in ["/srv/node", "/srv/socket", "/dev/zero"] {
            let ended = redd(&["copy-from", &tree.name(), path, text(&place.join("y"))]).expect_code(1);
            assert!(ended.errors.contains("is neither a file nor a directory"), "{ended}");
        }
        let ended = redd(&["copy-to", &tree.name(), "/dev/null", "/srv/null"]).expect_code(1);
        assert!(ended.errors.contains("/dev/null on the host is neither"), "{ended}");
        // A whole machine, without what the kernel has in it; single files of that can be had.
        let ended = redd(&["copy-from", &tree.name(), "/", text(&place.join("whole"))]).expect_code(0);
        assert!(ended.errors.contains("left out /proc: a file system of the kernel"), "{ended}");
        assert_eq!(std::fs::read_dir(place.join("whole/proc")).expect("entries").count(), 0);
        assert_eq!(
            std::fs::read(place.join("whole/usr/bin/sh")).expect("file"),
            std::fs::read(tree.join("usr/bin/sh")).expect("file")
        );
        redd(&["copy-from", &tree.name(), "/proc/version", text(&place.join("version"))]).expect_code(0);
        assert_eq!(std::fs::read(place.join("version")).expect("file"), std::fs::read("/proc/version").expect("file"));
    }
}

#[test]
fn many_files_and_a_large_one() {
    requires!(root, cgroup2, idmap);
    let (tree, source) = (fixture::tree(), fixture::empty());
    let _isolated = Isolated::enter();
    for number in 0..10_000 {
        let path = source.join(&format!("many/{}/{number}", number % 100));
        if number < 100 {
            std::fs::create_dir_all(path.parent().expect("above")).expect("directory");
        }
        std::fs::write(path, number.to_string()).expect("file");
    }
    let large = source.join("large");
    {
        let mut file = std::fs::File::create(&large).expect("file");
        let mut piece: Vec<u8> =
            (0..1_u32 << 20).map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        (0..1024_u64).for_each(|number| {
            // No two pieces are the same.
            piece[..8].copy_from_slice(&number.to_le_bytes());
            std::io::Write::write_all(&mut file, &piece).expect("1 GiB");
        });
    }
    for way in WAYS {
        let _running = machine(&tree, way);
        // The large one once: what differs between the ways is not the contents.
        for name in if way.is_empty() { &["many"][..] } else { &["many", "large"] } {
            redd(&["copy-to", &tree.name(), text(&source.join(name)), &format!("/{name}")]).expect_code(0);
            let back = source.join("back");
            redd(&["copy-from", &tree.name(), &format!("/{name}"), text(&back)]).expect_code(0);
            let mut compare = Command::new("diff");
            compare.args(["-r", text(&source.join(name)), text(&back)]);
            assert_eq!(run_limited(compare, Vec::new(), LIMIT).expect_code(0).output, "", "{way:?} {name}");
            let removed = if back.is_dir() { std::fs::remove_dir_all(&back) } else { std::fs::remove_file(&back) };
            removed.expect("removed");
            inside(&tree, &format!("rm -r /{name}")).expect_code(0);
        }
    }
}

#[test]
fn where_there_is_no_room_nothing_is_left() {
    requires!(root, cgroup2, idmap);
    let (tree, source, place) = (fixture::tree(), fixture::empty(), fixture::empty());
    let _isolated = Isolated::enter();
    for number in 0..20 {
        source.write(&format!("all/{number}"), vec![1; 100_000], 0o644);
    }
    rustix::mount::mount("tmpfs", place.path(), "tmpfs", rustix::mount::MountFlags::empty(), c"size=1M")
        .expect("tmpfs");
    for way in WAYS {
        let running = machine(&tree, &[way, &["--tmpfs=/small:size=1M"]].concat());
        let ended = redd(&["copy-to", &tree.name(), text(&source.join("all")), "/small/x"]).expect_code(1);
        assert!(ended.errors.contains("No space left on device"), "{ended}");
        assert_eq!(inside(&tree, "ls -A /small").expect_code(0).output, "");
        redd(&["copy-to", &tree.name(), text(&source.join("all")), "/all"]).expect_code(0);
        let ended = redd(&["copy-from", &tree.name(), "/all", text(&place.join("x"))]).expect_code(1);
        assert!(ended.errors.contains("No space left on device"), "{ended}");
        assert_eq!(std::fs::read_dir(place.path()).expect("entries").count(), 0);
        running.stop();
        std::fs::remove_dir_all(tree.join("all")).expect("removed");
    }
    // A machine that is read-only takes nothing, and gives.
    let _running = machine(&tree, &["--read-only"]);
    let ended = redd(&["copy-to", &tree.name(), text(&source.join("all")), "/all"]).expect_code(1);
    assert!(ended.errors.contains("Read-only file system"), "{ended}");
    redd(&["copy-from", &tree.name(), "/etc/passwd", text(&place.join("x"))]).expect_code(0);
    rustix::mount::unmount(place.path(), rustix::mount::UnmountFlags::DETACH).expect("unmounted");
}

#[test]
fn what_cannot_be_done_says_so() {
    requires!(root, cgroup2, idmap);
    let tree = fixture::tree();
    let _isolated = Isolated::enter();
    let name = tree.name();
    let running = machine(&tree, &["-U"]);
    let expect = |words: &[&str], code: i32, said: &str| {
        let ended = redd(words).expect_code(code);
        assert!(ended.errors.contains(said), "{ended}");
    };
    expect(&["copy-to", "inside-none", "/etc/hostname"], 1, "no machine named inside-none is running");
    expect(&["copy-to", ".host", "/etc/hostname"], 1, ".host is this host");
    expect(&["copy-from", ".host", "/etc/hostname"], 1, ".host is this host");
    expect(&["copy-to", &name, "/inside/none", "/x"], 1, "there is no /inside/none on the host");
    expect(&["copy-to", &name, "/etc/hostname", "/none/x"], 1, &format!("there is no /none in the machine {name}"));
    expect(&["copy-to", &name, "/etc/hostname", "x"], 2, "it is not absolute");
    expect(&["copy-from", &name, "etc/passwd", "/x"], 2, "it is not absolute");
    expect(&["copy-from", &name, "/none", "/inside-x"], 1, &format!("there is no /none in the machine {name}"));
    expect(&["copy-from", &name, "/etc/passwd/x", "/inside-x"], 1, "there is no /etc/passwd/x");
    expect(&["copy-from", &name, "/etc/passwd", "/inside-none/x"], 1, "there is no /inside-none on the host");
    inside(&tree, "mkdir /deep; cd /deep; for n in $(seq 300); do mkdir d; cd d; done").expect_code(0);
    let place = fixture::empty();
    expect(&["copy-from", &name, "/deep", text(&place.join("x"))], 1, "more than 256 directories deep");
    assert_eq!(std::fs::read_dir(place.path()).expect("entries").count(), 0);
    let mut unprivileged = Command::new("setpriv");
    unprivileged.args([
        "--reuid=65534",
        "--clear-groups",
        "/proc/self/fd/0",
        "copy-from",
        &name,
        "/etc/passwd",
        "/tmp/x",
    ]);
    let ended = unprivileged.stdin(std::fs::File::open(REDD).expect("redd")).output().expect("setpriv");
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(ended.status.code() == Some(1) && said.contains("only root may reach the files of the machine"), "{said}");
    running.stop();
    expect(&["copy-from", &name, "/etc/passwd", "/inside-x"], 1, "no machine named");
    let links = fixture::empty();
    symlink(REDD, links.join("machinectl")).expect("link");
    let _running = machine(&tree, &[]);
    let mut command = Command::new(links.join("machinectl"));
    command.args(["copy-from", &name, "/etc/passwd", text(&links.join("x")), "--force"]);
    run_limited(command, Vec::new(), LIMIT).expect_code(0);
    chown(links.join("x"), Some(0), Some(0)).expect("it is there");
}
