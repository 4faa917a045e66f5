use super::*;

/// A run directory and a host's root of its own.
fn place() -> (tempfile::TempDir, RunDirectory) {
    let directory = tempfile::tempdir().unwrap();
    let base = directory.path().join("run/redd");
    std::fs::create_dir_all(&base).unwrap();
    std::fs::create_dir_all(directory.path().join("etc")).unwrap();
    (directory, RunDirectory::at(base.clone(), base.join("peer")))
}

fn find(directory: &tempfile::TempDir, run: &RunDirectory, machine: &str, owner: u32) -> u32 {
    find_among(run, &Taken::read(directory.path()), machine, owner).unwrap()
}

fn range(start: u32, count: u32) -> UidRange {
    UidRange::new(start, count).unwrap()
}

#[test]
fn the_range_follows_from_the_name_and_is_within_the_limits() {
    let (directory, run) = place();
    // Never to be changed: machines would get other ids.
    assert_eq!(find(&directory, &run, "debian", 0), 0x13c8_0000);
    for number in 0..2000 {
        let start = find(&directory, &run, &format!("machine-{number}"), 0);
        assert!((0x8_0000..=0x6fff_0000).contains(&start) && start.is_multiple_of(0x1_0000), "{start:x}");
    }
}

#[test]
fn the_range_of_the_trees_owner_comes_first() {
    let (directory, run) = place();
    assert_eq!(find(&directory, &run, "m", 0x9_0000), 0x9_0000);
    assert_eq!(find(&directory, &run, "m", 0x9_0005), 0x9_0000);
    for outside in [0, 0x7_0000, 0x7000_0000, 0x7ffe_0000, 0xfffe_0000, u32::MAX] {
        assert_eq!(find(&directory, &run, "m", outside), find(&directory, &run, "m", 0), "{outside:x}");
    }
}

#[test]
fn what_somebody_else_has_is_not_picked() {
    let usual = {
        let (directory, run) = place();
        find(&directory, &run, "m", 0)
    };
    let (middle, last) = (usual + 77, usual + 0xffff);
    for (file, text) in [
        ("etc/passwd", format!("root:x:0:0::/:\nx:x:{middle}:5:::\n")),
        ("etc/passwd", format!("x:x:5:{last}:::\n")),
        ("etc/group", format!("x:x:{usual}:a,b\n")),
        ("etc/subuid", format!("x:{}:65536\n", usual - 1)),
        ("etc/subgid", format!("# no line\nx:{last}:1")),
        ("etc/subuid", "x:524288:4294967295\ny:0:100000".to_owned()),
        ("etc/userdb/x", String::new()),
    ] {
        let (directory, run) = place();
        std::fs::create_dir_all(directory.path().join("etc/userdb")).unwrap();
        std::fs::write(directory.path().join(file), &text).unwrap();
        std::fs::write(directory.path().join(format!("etc/userdb/{last}.group")), "").unwrap();
        let found = find_among(&run, &Taken::read(directory.path()), "m", usual);
        if text.contains("4294967295") {
            assert!(matches!(found, Err(Error::NoneFree(_))), "{file} {text:?}");
        } else {
            assert_ne!(found.unwrap(), usual, "{file} {text:?}");
        }
    }
}

#[test]
fn a_picked_range_is_had_once() {
    let (directory, run) = place();
    let usual = find(&directory, &run, "m", 0);
    let lock = RangeLock::take(&run, usual).unwrap();
    let other = find(&directory, &run, "m", 0);
    assert_ne!(other, usual);
    assert_ne!(find(&directory, &run, "m", usual), usual);
    assert!(matches!(RangeLock::take(&run, usual), Err(Error::InUse(start)) if start == usual));
    assert!(matches!(RangeLock::share(&run, range(usual + 5, 1)), Err(Error::InUse(_))));
    assert!(RangeLock::share(&run, range(usual + 0x1_0000, 1)).is_ok());
    assert!(run.peer_ranges().join(usual.to_string()).exists(), "where systemd-nspawn looks");
    drop(lock);
    assert_eq!(find(&directory, &run, "m", 0), usual);
    assert_eq!(std::fs::read_dir(run.ranges()).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(run.peer_ranges()).unwrap().count(), 0);
}

#[test]
fn a_range_that_was_asked_for_is_shared_but_never_picked() {
    let (directory, run) = place();
    let usual = find(&directory, &run, "m", 0);
    let asked = range(usual - 5, 10);
    let held = [RangeLock::share(&run, asked).unwrap(), RangeLock::share(&run, asked).unwrap()];
    assert_ne!(find(&directory, &run, "m", 0), usual);
    assert!(matches!(RangeLock::take(&run, usual), Err(Error::InUse(_))));
    assert!(RangeLock::share(&run, range(0, u32::MAX)).is_ok(), "the largest range there is");
    drop(held);
    assert!(RangeLock::take(&run, usual).is_ok());
}

/// The last one of those who share a range has its file exclusively for as long as it removes it.
#[test]
fn who_lets_go_of_a_range_is_waited_for() {
    let (_directory, run) = place();
    let asked = range(0x9_0000, 10);
    for _ in 0..20 {
        let leaving = LockFile::acquire(&run.ranges(), OsStr::new(&shared_name(asked)), Mode::Exclusive).unwrap();
        let left = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(2));
            drop(leaving);
        });
        RangeLock::share(&run, asked).unwrap();
        left.join().unwrap();
    }
}

#[test]
fn ranges_locked_by_the_peer_alone_are_gone_around() {
    let (directory, run) = place();
    let usual = find(&directory, &run, "m", 0);
    let peer = LockFile::acquire(run.peer_ranges(), OsStr::new(&usual.to_string()), Mode::Exclusive).unwrap();
    assert_ne!(find(&directory, &run, "m", 0), usual);
    assert!(matches!(RangeLock::take(&run, usual), Err(Error::InUse(_))));
    drop(peer);
}

#[test]
fn ranges_that_the_service_has_given_are_gone_around() {
    use std::io::{Read, Write};
    let (directory, run) = place();
    let usual = find(&directory, &run, "m", 0);
    let systemd = directory.path().join("run/systemd");
    std::fs::create_dir_all(systemd.join("userdb")).unwrap();
    std::fs::create_dir_all(systemd.join("nsresource/registry")).unwrap();
    let listener = std::os::unix::net::UnixListener::bind(systemd.join("userdb/io.systemd.NamespaceResource")).unwrap();
    // It is not asked before it has given any.
    assert_eq!(find(&directory, &run, "m", 0), usual);
    std::fs::write(systemd.join("nsresource/registry/x"), "").unwrap();
    let service = std::thread::spawn(move || {
        for answer in [r#"{"parameters":{"record":{"uid":0}}}"#, r#"{"error":"io.systemd.UserDatabase.NoRecordFound"}"#]
        {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut asked, mut byte) = (Vec::new(), [0]);
            while stream.read(&mut byte).unwrap() == 1 && byte != [0] {
                asked.push(byte[0]);
            }
            assert!(String::from_utf8(asked).unwrap().contains("GetUserRecord"));
            stream.write_all(format!("{answer}\0").as_bytes()).unwrap();
        }
    });
    let other = find(&directory, &run, "m", 0);
    assert!(other != usual && other == find_among(&run, &Taken::default(), "m", other).unwrap());
    service.join().unwrap();
}
