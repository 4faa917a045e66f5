use super::*;

fn scene() -> (tempfile::TempDir, Tree) {
    let directory = tempfile::tempdir().unwrap();
    let tree = Tree::open(directory.path()).unwrap();
    (directory, tree)
}

fn one(name: &str, beginning: Beginning) -> Begun {
    [(name.to_owned(), beginning)].into()
}

#[test]
fn what_was_begun_is_known_to_the_next() {
    let (_directory, tree) = scene();
    let mine: Begun = [
        ("a".to_owned(), Beginning::Explicit),
        ("b".to_owned(), Beginning::Upgrade),
        ("d".to_owned(), Beginning::Dependency),
        ("r".to_owned(), Beginning::Remove),
    ]
    .into();
    assert!(begun(&tree, "/db/").unwrap().is_empty());
    let mut lock = Lock::take(&tree, "/db/").unwrap();
    assert!(matches!(Lock::take(&tree, "db"), Err(Error::Held(_))));
    lock.begin(mine.clone()).unwrap();
    assert!(matches!(Lock::take(&tree, "db"), Err(Error::Held(_))));
    drop(lock);
    assert_eq!(begun(&tree, "db").unwrap(), mine);
    drop(Lock::take(&tree, "db").unwrap());
    let mut lock = Lock::take(&tree, "db").unwrap();
    lock.begin(one("a", Beginning::Upgrade)).unwrap();
    lock.begin(one("c", Beginning::Upgrade)).unwrap();
    lock.begin(one("r", Beginning::Upgrade)).unwrap();
    lock.begin(one("b", Beginning::Remove)).unwrap();
    let mut all = mine;
    all.insert("b".to_owned(), Beginning::Remove);
    all.insert("c".to_owned(), Beginning::Upgrade);
    all.insert("r".to_owned(), Beginning::Upgrade);
    assert_eq!(begun(&tree, "db").unwrap(), all);
    lock.finish(|name| name != "d").unwrap();
    assert_eq!(begun(&tree, "db").unwrap(), one("d", Beginning::Dependency));
    Lock::take(&tree, "db").unwrap().finish(|_| true).unwrap();
    assert!(!tree.exists("db/db.lck"));
    drop(Lock::take(&tree, "db").unwrap());
    assert_eq!(tree.list("db").unwrap(), [""; 0]);
}

#[test]
fn the_lock_of_pacman_stays() {
    let (directory, tree) = scene();
    for content in ["", "rubbish"] {
        tree.write("db/db.lck", content.as_bytes(), 0o600).unwrap();
        assert!(matches!(Lock::take(&tree, "db"), Err(Error::Foreign(_))));
        assert!(matches!(Turn::take(&tree, "db"), Err(Error::Foreign(_))));
        assert!(begun(&tree, "db").unwrap().is_empty());
        assert_eq!(tree.read("db/db.lck").unwrap().unwrap(), content.as_bytes());
    }
    tree.remove("db/db.lck").unwrap();
    // One that somebody puts in place of ours stays, too.
    let lock = Lock::take(&tree, "db").unwrap();
    std::fs::remove_file(directory.path().join("db/db.lck")).unwrap();
    tree.write("db/db.lck", b"theirs", 0o600).unwrap();
    lock.finish(|_| true).unwrap();
    assert_eq!(tree.read("db/db.lck").unwrap().unwrap(), b"theirs");
}

#[test]
fn only_one_of_many_has_it() {
    let (_directory, tree) = scene();
    let (holders, had) = (std::sync::atomic::AtomicU32::new(0), std::sync::atomic::AtomicU32::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..500 {
                    let lock = match Lock::take(&tree, "db") {
                        Ok(lock) => lock,
                        Err(Error::Held(_)) => continue,
                        Err(other) => panic!("{other:?}"),
                    };
                    assert_eq!(holders.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                    had.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    holders.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                    if round % 2 == 0 { lock.finish(|_| true).unwrap() } else { drop(lock) }
                }
            });
        }
    });
    assert!(had.into_inner() > 0);
    assert_eq!(tree.list("db").unwrap(), [""; 0]);
}

#[test]
fn what_a_killed_run_has_left_of_the_lock_is_taken_over() {
    let (directory, tree) = scene();
    tree.write("db/db.lck", format!("{MARK}\ninstall a\n").as_bytes(), 0o600).unwrap();
    // Killed between the two names of the file.
    std::fs::hard_link(directory.path().join("db/db.lck"), directory.path().join("db").join(PART)).unwrap();
    let mut lock = Lock::take(&tree, "db").unwrap();
    lock.begin(one("b", Beginning::Upgrade)).unwrap();
    assert_eq!(begun(&tree, "db").unwrap().len(), 2);
    drop(lock);
    tree.link("/etc/passwd", &format!("db/{PART}")).unwrap();
    Lock::take(&tree, "db").unwrap().finish(|name| name == "a").unwrap();
    assert_eq!(begun(&tree, "db").unwrap(), one("b", Beginning::Upgrade));
}

#[test]
fn a_turn_leaves_nothing() {
    let (_directory, tree) = scene();
    let turn = Turn::take(&tree, "db").unwrap();
    assert!(matches!(Turn::take(&tree, "/db/"), Err(Error::Held(_))));
    drop(Lock::take(&tree, "db").unwrap());
    assert_eq!(tree.list("db").unwrap(), [""; 0]);
    drop(turn);
    Turn::take(&tree, "db").unwrap();
}
