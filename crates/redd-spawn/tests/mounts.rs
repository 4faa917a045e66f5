//! Bind mounts: whose files they show, what is made for them, what they leave behind.

use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;

use testkit::disk::Mounted;
use testkit::{HostState, Isolated, Spawn, fixture, requires};

const BINARY: &str = env!("CARGO_BIN_EXE_redd-spawn");
const USERS: [&str; 2] = ["--private-users=600000:65536", "--private-users-ownership=map"];

/// A directory of uid 1000 and gid 2000 with files of several owners.
fn source() -> fixture::Tree {
    let source = fixture::empty();
    for (name, uid, gid) in [("root", 0, 0), ("owner", 1000, 1000), ("far", 70_000, 70_000)] {
        let file = source.write(name, name, 0o644);
        chown(file, Some(uid), Some(gid)).expect("owner");
    }
    chown(source.path(), Some(1000), Some(2000)).expect("owner");
    source
}

/// What `stat` says inside about the directory and its files, in one line.
fn owners(tree: &Path, users: &[&str], bind: &str) -> String {
    let script = "for f in /dst /dst/root /dst/owner /dst/far; do stat -c %u:%g $f; done";
    let ended = Spawn::redd(BINARY, tree).args(users).arg(bind).script(script).run().expect_code(0);
    ended.output.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Names that can be foreseen are not counted on where anybody can make them.
#[test]
fn what_anybody_has_made_in_var_tmp_is_in_no_start_s_way() {
    requires!(root, cgroup2);
    let _isolated = Isolated::enter();
    let tree = fixture::tree();
    let inside = Path::new("/var/tmp");
    let theirs = ["", "#mounts"].map(|end| inside.join(format!(".#redd.{}{end}", tree.name())));
    for (way, path) in theirs.iter().enumerate() {
        match way {
            0 => std::os::unix::fs::symlink("/", path).expect("link"),
            _ => std::fs::create_dir(path).expect("directory"),
        }
        std::os::unix::fs::lchown(path, Some(65534), Some(65534)).expect("owner");
    }
    let before = HostState::capture(tree.path(), &[]);
    let run = |options: &[&str]| Spawn::redd(BINARY, tree.path()).args(options).arg("/bin/true").run();
    let ended = [&["--bind=:/srv"][..], &["-x"], &["-x", "--overlay=+/etc::/etc"]].map(run);
    before.assert_same();
    let cleaned = run(&["--cleanup"]);
    assert!(theirs.iter().all(|path| path.symlink_metadata().is_ok()));
    std::fs::remove_file(&theirs[0]).expect("remove");
    std::fs::remove_dir(&theirs[1]).expect("remove");
    ended.into_iter().for_each(|ended| drop(ended.expect_code(0)));
    cleaned.expect_code(0);
}

#[test]
fn each_way_to_map_ids() {
    requires!(root, cgroup2, userns, idmap);
    let _isolated = Isolated::enter();
    let (tree, source) = (fixture::tree(), source());
    let destination = tree.join("dst");
    std::fs::create_dir(&destination).expect("directory");
    chown(&destination, Some(7), Some(8)).expect("owner");
    let state = HostState::capture(tree.path(), &[source.path()]);
    const NOBODY: &str = "65534:65534";
    for (options, expected) in [
        ("", [NOBODY; 4]),
        (":noidmap", [NOBODY; 4]),
        (":idmap", ["1000:2000", "0:0", "1000:1000", NOBODY]),
        (":rootidmap", ["0:65534", NOBODY, "0:0", NOBODY]),
        (":owneridmap", ["7:65534", NOBODY, "7:7", NOBODY]),
        (":map=5:1000:1", ["5:65534", NOBODY, "5:5", NOBODY]),
        (":map=5:0:1,norbind,map=20:1000:1001", ["20:1020", "5:5", "20:20", NOBODY]),
        (":map=30:70000:10", [NOBODY, NOBODY, NOBODY, "30:30"]),
    ] {
        for switch in ["--bind", "--bind-ro"] {
            let bind = format!("{switch}={}:/dst{options}", source.path().display());
            assert_eq!(owners(tree.path(), &USERS, &bind), expected.join(" "), "{bind}");
        }
    }
    // With the host's users an id is itself, unless something else is said.
    for (options, expected) in [
        ("", ["1000:2000", "0:0", "1000:1000", "70000:70000"]),
        (":idmap", ["1000:2000", "0:0", "1000:1000", "70000:70000"]),
        (":rootidmap", ["0:65534", NOBODY, "0:0", NOBODY]),
        (":owneridmap", ["7:65534", NOBODY, "7:7", NOBODY]),
        (":map=5:70000:1", [NOBODY, NOBODY, NOBODY, "5:5"]),
    ] {
        let bind = format!("--bind={}:/dst{options}", source.path().display());
        assert_eq!(owners(tree.path(), &[], &bind), expected.join(" "), "{bind}");
    }
    state.assert_same();
}

#[test]
fn what_root_inside_makes_belongs_to_the_owner_outside() {
    requires!(root, cgroup2, userns, idmap);
    let _isolated = Isolated::enter();
    let (tree, source) = (fixture::tree(), source());
    let bind = |options: &str| format!("--bind={}:/dst:{options}", source.path().display());
    let run = |options: &str, script: &str| {
        Spawn::redd(BINARY, tree.path()).arg("-P").args(USERS).arg(bind(options)).script(script).run()
    };
    let owner =
        |name: &str| std::fs::metadata(source.join(name)).map(|status| (status.uid(), status.gid())).expect(name);
    run("idmap", "echo x > /dst/a && chown 12:13 /dst/a && chown 0:2000 /dst").expect_code(0);
    assert_eq!(owner("a"), (12, 13));
    assert_eq!(owner(""), (0, 2000));
    // In a directory of a group without an id inside the kernel lets nobody make anything.
    chown(source.path(), Some(1000), Some(2000)).expect("owner");
    assert_ne!(run("rootidmap", "echo x > /dst/b").code(), 0);
    chown(source.path(), Some(1000), Some(1000)).expect("owner");
    run("rootidmap", "echo x > /dst/b").expect_code(0);
    assert_eq!(owner("b"), (1000, 1000));
    // The kernel has no id on disk for anybody else.
    assert_ne!(run("rootidmap", "chown 1 /dst/b").code(), 0);
    run("map=0:1000:1,map=1:5:1", "echo x > /dst/c && chown 1:1 /dst/c").expect_code(0);
    assert_eq!(owner("c"), (5, 5));
    // Read-only is read-only, whoever it belongs to.
    let read_only = format!("--bind-ro={}:/dst:idmap", source.path().display());
    let ended = Spawn::redd(BINARY, tree.path()).arg("-P").args(USERS).arg(read_only).script("echo x > /dst/d").run();
    assert_ne!(ended.code(), 0, "{ended}");
    assert!(!source.join("d").exists());
}

#[test]
fn a_part_of_the_tree_is_mapped_otherwise_than_the_tree() {
    requires!(root, cgroup2, userns, idmap);
    let _isolated = Isolated::enter();
    let tree = fixture::tree();
    let file = tree.write("data/file", "x", 0o644);
    for path in [&file, &tree.join("data")] {
        chown(path, Some(1000), Some(1000)).expect("owner");
    }
    let run = |options: &str| {
        let script = "stat -c %u /dst/file";
        Spawn::redd(BINARY, tree.path())
            .arg("-P")
            .args(USERS)
            .arg(format!("--bind=+/data:/dst{options}"))
            .script(script)
            .run()
    };
    assert_eq!(run("").expect_code(0).output, "1000\n");
    assert_eq!(run(":idmap").expect_code(0).output, "1000\n");
    let ended = run(":rootidmap");
    // Linux 6.15 can; before, it is said.
    if ended.code() == 0 {
        assert_eq!(ended.output, "0\n");
    } else {
        assert!(ended.errors.contains("6.15"), "{ended}");
    }
}

#[test]
fn where_ids_cannot_be_mapped_it_is_said() {
    requires!(root, cgroup2, userns, idmap);
    let _isolated = Isolated::enter();
    let tree = fixture::tree();
    let state = HostState::capture(tree.path(), &[]);
    let ended =
        Spawn::redd(BINARY, tree.path()).arg("-P").args(USERS).arg("--bind=/proc:/dst:idmap").script("true").run();
    assert_ne!(ended.code(), 0);
    assert!(ended.errors.contains("cannot map ids; use noidmap"), "{ended}");
    let ended = Spawn::redd(BINARY, tree.path())
        .arg("-P")
        .args(USERS)
        .arg("--bind=/tmp:/dst:map=65530:0:10")
        .script("true")
        .run();
    assert_ne!(ended.code(), 0);
    assert!(ended.errors.contains("its highest one is 65535"), "{ended}");
    std::fs::remove_dir(tree.join("dst")).expect("the mount point of the first");
    state.assert_same();
}

/// A host's directory with a node of every kind.
fn kinds() -> fixture::Tree {
    use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
    let host = fixture::empty();
    host.write("file", "file\n", 0o644);
    std::fs::create_dir(host.join("dir")).expect("directory");
    for (name, kind, device) in [
        ("fifo", FileType::Fifo, 0),
        ("sock", FileType::Socket, 0),
        ("chr", FileType::CharacterDevice, makedev(1, 3)),
        ("blk", FileType::BlockDevice, makedev(7, 200)),
    ] {
        mknodat(CWD, host.join(name), kind, Mode::from_raw_mode(0o644), device).expect("node");
    }
    host
}

#[test]
fn what_is_missing_is_made_for_every_kind_and_belongs_to_root() {
    requires!(root, cgroup2, userns, idmap);
    let _isolated = Isolated::enter();
    let host = kinds();
    for (name, kind, point) in [
        ("file", "regular file", "regular empty file"),
        ("dir", "directory", "directory"),
        ("fifo", "fifo", "regular empty file"),
        ("sock", "socket", "regular empty file"),
        ("chr", "character special file", "regular empty file"),
        ("blk", "block special file", "regular empty file"),
    ] {
        let tree = fixture::tree();
        let bind = format!("--bind={}:/new/deep/{name}", host.join(name).display());
        let script = format!("stat -c '%F' /new/deep/{name}; stat -c '%u %g %a' /new /new/deep");
        let ended = Spawn::redd(BINARY, tree.path()).arg("-P").args(USERS).arg(bind).script(&script).run();
        assert_eq!(ended.expect_code(0).output, format!("{kind}\n0 0 755\n0 0 755\n"));
        // What lies under it, from outside.
        let made =
            std::process::Command::new("stat").args(["-c", "%F %u"]).arg(tree.join("new/deep").join(name)).output();
        assert_eq!(String::from_utf8_lossy(&made.expect("stat").stdout), format!("{point} 0\n"));
    }
}

#[test]
fn a_directory_is_not_put_on_a_file_or_a_file_on_a_directory() {
    requires!(root, cgroup2);
    let _isolated = Isolated::enter();
    let (tree, host) = (fixture::tree(), kinds());
    let state = HostState::capture(tree.path(), &[tree.path(), host.path()]);
    for (source, target, word) in [("dir", "/etc/passwd", "is no directory"), ("file", "/etc", "is a directory")] {
        let bind = format!("--bind={}:{target}", host.join(source).display());
        let ended = Spawn::redd(BINARY, tree.path()).arg("-P").arg(bind).script("echo started").run();
        assert_eq!((ended.code(), ended.output.as_str()), (1, ""), "{ended}");
        assert!(ended.errors.contains(word), "{ended}");
    }
    state.assert_same();
}

#[test]
fn links_in_a_hostile_tree_lead_nowhere_but_into_it() {
    requires!(root, cgroup2);
    let _isolated = Isolated::enter();
    let (host, outside) = (kinds(), fixture::empty());
    outside.write("secret", "outside\n", 0o600);
    let escape = outside.path().display().to_string();
    let up = format!("../../../../../../../../..{escape}");
    // The link at /dst, the mount, and where it is then found inside.
    let link = |at: &str, to: &str| {
        let tree = fixture::tree();
        std::os::unix::fs::symlink(to, tree.join(at)).expect("link");
        tree
    };
    let state = HostState::capture(host.path(), &[outside.path(), Path::new("/etc")]);
    for (to, destination, found) in [
        (escape.as_str(), "/dst/made", format!("{escape}/made")),
        (&up, "/dst/made", format!("{escape}/made")),
        (&up, "/dst", escape.clone()),
        ("/etc", "/dst/made", "/etc/made".to_owned()),
        ("nothing/../deeper", "/dst/a", "/deeper/a".to_owned()),
        ("/proc/self/root/made", "/dst", "/dst".to_owned()),
        ("/proc/1/cwd", "/dst/made", "/dst/made".to_owned()),
    ] {
        for switch in ["--bind", "--tmpfs", "--overlay"] {
            let tree = link("dst", to);
            let source = host.join("dir").display().to_string();
            let option = match switch {
                "--bind" => format!("--bind={source}:{destination}"),
                "--tmpfs" => format!("--tmpfs={destination}"),
                _ => format!("--overlay={source}::{destination}"),
            };
            let script = format!("stat -c %F {found}/. 2>/dev/null || echo hidden");
            let ended = Spawn::redd(BINARY, tree.path()).arg("-P").arg(&option).script(&script).run();
            let hidden = to.starts_with("/proc");
            let expected = if hidden { "hidden\n" } else { "directory\n" };
            assert_eq!(ended.expect_code(0).output, expected, "{option} with a link to {to}");
            assert!(!outside.join("made").exists());
        }
        let tree = link("dst", to);
        let ended = Spawn::redd(BINARY, tree.path()).arg("-P").arg("--inaccessible=/dst/secret").script("true").run();
        assert_eq!(ended.code(), 1, "there is nothing inside that could be hidden: {ended}");
    }
    for to in ["/dst", "dst", "../dst/x"] {
        let tree = link("dst", to);
        let ended = Spawn::redd(BINARY, tree.path()).arg("-P").arg("--tmpfs=/dst").script("true").run();
        assert_eq!(ended.code(), 1, "{ended}");
        // In the words of the one C library or the other.
        let loops = ended.errors.contains("levels of symbolic links") || ended.errors.contains("Symbolic link loop");
        assert!(loops, "{to}: {ended}");
    }
    // A source in the tree is found there, too.
    let tree = link("dst", &format!("{escape}/secret"));
    let ended = Spawn::redd(BINARY, tree.path()).arg("-P").arg("--bind=+/dst:/mnt").script("true").run();
    assert_eq!(ended.code(), 1, "{ended}");
    state.assert_same();
}

#[test]
fn a_link_that_points_to_another_mount_leads_into_it() {
    requires!(root, cgroup2);
    let _isolated = Isolated::enter();
    let (tree, host) = (fixture::tree(), kinds());
    std::os::unix::fs::symlink("/memory/sub", tree.join("link")).expect("link");
    let bind = format!("--bind={}:/link/file", host.join("file").display());
    let script = "cat /memory/sub/file; stat -f -c %T /memory/sub; cat /link/file";
    let ended = Spawn::redd(BINARY, tree.path()).arg("-P").arg(&bind).arg("--tmpfs=/memory").script(script).run();
    assert_eq!(ended.expect_code(0).output, "file\ntmpfs\nfile\n");
    assert!(!tree.join("memory/sub").exists(), "it was made in memory");
}

#[test]
fn a_mount_at_the_root_takes_the_place_of_the_tree() {
    requires!(root, cgroup2, userns, idmap);
    let _isolated = Isolated::enter();
    let (tree, other) = (fixture::tree(), fixture::tree());
    other.write("other", "other\n", 0o644);
    for users in [&[][..], &USERS] {
        let bind = format!("--bind={}:/:idmap", other.path().display());
        let script = "cat /other; stat -c %u /; test -d /proc/1 && ls /run/host/container-manager; cat /memory/* ";
        let ended =
            Spawn::redd(BINARY, tree.path()).arg("-P").args(users).arg("--tmpfs=/memory").arg(bind).script(script);
        assert_eq!(ended.run().output, "other\n0\n/run/host/container-manager\n", "{users:?}");
    }
    assert!(!tree.join("memory").exists() && other.join("memory").exists());
}

#[test]
fn every_kind_of_node_is_hidden() {
    requires!(root, cgroup2, userns, idmap);
    let _isolated = Isolated::enter();
    for users in [&[][..], &USERS] {
        let tree = fixture::tree();
        fixture::copy(kinds().path(), &tree.join("mnt"));
        std::os::unix::fs::symlink("file", tree.join("mnt/link")).expect("link");
        let state = HostState::capture(tree.path(), &[&tree.join("mnt")]);
        for (name, kind) in [
            ("file", "regular empty file 0"),
            ("link", "regular empty file 0"),
            ("dir", "directory 0"),
            ("fifo", "fifo 0"),
            ("sock", "socket 0"),
            ("chr", "character special file 0"),
            ("blk", "block special file 0"),
        ] {
            // Nothing that root's privileges reach either: it is empty, or no driver has it.
            let script = format!(
                "stat -L -c '%F %a' /mnt/{name}; ls -A /mnt/dir; cat /mnt/file; umount /mnt/{name} 2>/dev/null"
            );
            let hide = format!("--inaccessible=/mnt/{name}");
            let ended = Spawn::redd(BINARY, tree.path()).arg("-P").args(users).arg(hide).script(&script).run();
            assert_eq!(ended.output.lines().next(), Some(kind), "{name} {users:?}: {ended}");
            assert_eq!(ended.output.contains("\nfile\n"), !matches!(name, "file" | "link"), "{name} {ended}");
        }
        let ended = Spawn::redd(BINARY, tree.path()).arg("--inaccessible=/mnt/nothing").script("true").run();
        assert_eq!(ended.code(), 1, "{ended}");
        state.assert_same();
    }
}

#[test]
fn devices_that_are_bound_can_be_opened_and_no_others() {
    requires!(root, cgroup2, loop);
    let _isolated = Isolated::enter();
    let tree = fixture::tree();
    let script = "mknod /own c 10 237 && echo own; (exec 4</dst) 2>/dev/null && echo read; \
        [ -c /dst ] && (exec 4>>/dst) 2>/dev/null && echo written";
    let run = |bind: &[&str]| Spawn::redd(BINARY, tree.path()).arg("-P").args(bind).script(script).run().output;
    assert_eq!(run(&[]), "");
    assert_eq!(run(&["--bind=/dev/loop-control:/dst"]), "read\nwritten\n");
    assert_eq!(run(&["--bind-ro=/dev/loop-control:/dst"]), "read\n");
}

#[test]
fn mounts_below_come_along_read_only_and_mapped_or_stay_away() {
    requires!(root, cgroup2, userns, idmap);
    let _isolated = Isolated::enter();
    let (tree, source) = (fixture::tree(), source());
    std::fs::create_dir(source.join("below")).expect("directory");
    let memory = Mounted::new(&["-t", "tmpfs", "tmpfs"], &source.join("below"));
    source.write("below/file", "below", 0o644);
    let run = |option: &str, script: &str| {
        let (switch, words) = option.split_once(' ').expect("a switch and words");
        let bind = format!("{switch}={}:/dst:{words}", source.path().display());
        let ended = Spawn::redd(BINARY, tree.path()).arg("-P").args(USERS).arg(bind).script(script).run();
        ended.output
    };
    let look =
        "cat /dst/below/file 2>/dev/null; stat -c %u /dst/below; (echo > /dst/below/new) 2>/dev/null && echo written";
    assert_eq!(run("--bind rbind,idmap", look), "below0\nwritten\n");
    assert_eq!(run("--bind-ro rbind,idmap", look), "below0\n");
    assert_eq!(run("--bind-ro idmap", look), "below0\n");
    assert_eq!(run("--bind norbind,idmap", look), "0\nwritten\n");
    assert!(source.join("below/new").exists() && tree.join("dst").exists());
    drop(memory);
    // A file system below that cannot map ids.
    let _proc = Mounted::new(&["-t", "proc", "proc"], &source.join("below"));
    let bind = |options: &str| format!("--bind={}:/dst:{options}", source.path().display());
    let ended = Spawn::redd(BINARY, tree.path()).args(USERS).arg(bind("idmap")).script("true").run();
    assert_eq!(ended.code(), 1, "{ended}");
    assert!(ended.errors.contains("or below it cannot map ids"), "{ended}");
    Spawn::redd(BINARY, tree.path()).args(USERS).arg(bind("idmap,norbind")).script("true").run().expect_code(0);
}
