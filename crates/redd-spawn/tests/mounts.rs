//! Bind mounts: whose files they show, what is made for them, what they leave behind.

use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;

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
