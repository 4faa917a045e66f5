use std::path::Path;

use super::*;
use crate::pacman::local::{Installed, Reason, listed};
use crate::pacman::test_package::TestPackage;

struct Scene {
    directory: tempfile::TempDir,
    tree: Tree,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("tree")).unwrap();
        let tree = Tree::open(&directory.path().join("tree")).unwrap();
        Self { directory, tree }
    }

    fn at(&self, path: &str) -> std::path::PathBuf {
        self.directory.path().join("tree").join(path)
    }

    fn archive(&self, package: &TestPackage) -> PackageArchive {
        PackageArchive::read(&package.write(self.directory.path())).unwrap()
    }

    /// As if it was installed; its files are the test's to make.
    fn own(&self, package: &TestPackage) {
        let archive = self.archive(package);
        let mut database = LocalDatabase::read(&self.tree, "db").unwrap();
        database.begin(&archive).unwrap();
        let (package, files) = (archive.package.clone(), listed(&archive));
        let reason = Reason::Explicit;
        let one = Installed { package, reason, validation: vec![], install_date: 1, files, backup: vec![] };
        database.finish(&archive, one).unwrap();
    }

    /// The paths in conflict.
    fn conflicts(&self, packages: &[TestPackage], removed: &[&str], overwrite: &str) -> Vec<String> {
        let database = LocalDatabase::read(&self.tree, "db").unwrap();
        let packages: Vec<PackageArchive> = packages.iter().map(|package| self.archive(package)).collect();
        let going = packages.iter().map(|one| &*one.package.name).chain(removed.iter().copied()).collect();
        let overwrite = Patterns::new(overwrite.split_whitespace());
        let mut search = Search::new(&self.tree, &database, going, &overwrite);
        let path = |conflict: &Conflict| match conflict {
            Conflict::Both { path, first, second } => format!("{path}: {first} {second}"),
            Conflict::Exists { path, owner, .. } => format!("{path}{}", owner.as_ref().map_or("", |_| " owned")),
        };
        search.all(&packages).unwrap().iter().map(path).collect()
    }
}

fn package(name: &str) -> TestPackage {
    TestPackage::new(name, "1-1").directory("usr", 0o755)
}

fn write(path: &Path) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, "x").unwrap();
}

#[test]
fn packages_may_share_directories_and_nothing_else() {
    let scene = Scene::new();
    let file = |name| package(name).file("usr/x", 0o644, "");
    let directory = package("d").directory("usr/x", 0o700);
    let below = TestPackage::new("b", "1-1").file("usr/x/y", 0o644, "");
    assert_eq!(scene.conflicts(&[package("a"), package("b")], &[], ""), [""; 0]);
    assert_eq!(scene.conflicts(&[file("a"), file("b")], &[], "*"), ["usr/x: a b"]);
    assert_eq!(scene.conflicts(&[file("a"), directory], &[], ""), ["usr/x: a d"]);
    assert_eq!(scene.conflicts(&[file("a"), below], &[], ""), ["usr/x: a b"], "a directory that it does not name");
}

#[test]
fn what_is_in_the_tree_is_in_the_way_unless_it_is_a_directory_for_a_directory() {
    let scene = Scene::new();
    write(&scene.at("usr/x"));
    write(&scene.at("usr/d/y"));
    std::os::unix::fs::symlink("d", scene.at("usr/l")).unwrap();
    std::os::unix::fs::symlink("nowhere", scene.at("usr/dangling")).unwrap();
    let conflicts = |package: TestPackage| scene.conflicts(&[package], &[], "");
    assert_eq!(conflicts(package("a").directory("usr/d", 0o755).file("usr/new", 0o644, "")), [""; 0]);
    assert_eq!(conflicts(package("a").file("usr/x", 0o644, "")), ["usr/x"]);
    assert_eq!(conflicts(package("a").file("usr/d", 0o644, "")), ["usr/d"]);
    assert_eq!(conflicts(package("a").symlink("usr/dangling", "nowhere")), ["usr/dangling"]);
    assert_eq!(conflicts(package("a").directory("usr/dangling", 0o755)), ["usr/dangling"]);
    let through = package("a").directory("usr/l", 0o755).file("usr/l/y", 0o644, "");
    assert_eq!(conflicts(through), ["usr/l"], "only the link itself");
    assert_eq!(conflicts(package("a").file("usr/l/y", 0o644, "")), ["usr/l"]);
    assert_eq!(conflicts(package("a").info("backup = usr/x\n").file("usr/x", 0o644, "")), [""; 0]);
    let both = package("a").file("usr/x", 0o644, "").file("usr/d", 0o644, "");
    assert_eq!(scene.conflicts(&[both], &[], "usr/*"), ["usr/d"], "a directory is never overwritten");
}

#[test]
fn what_belongs_to_packages_that_go_is_not_in_the_way() {
    let scene = Scene::new();
    let old = || package("old").file("usr/x", 0o644, "").directory("usr/d", 0o755).file("usr/d/y", 0o644, "");
    scene.own(&old());
    write(&scene.at("usr/x"));
    write(&scene.at("usr/d/y"));
    let new = || package("new").file("usr/x", 0o644, "").symlink("usr/d", "x");
    assert_eq!(scene.conflicts(&[new()], &[], ""), ["usr/x owned", "usr/d owned"]);
    assert_eq!(scene.conflicts(&[new()], &["old"], ""), [""; 0]);
    assert_eq!(scene.conflicts(&[old()], &[], ""), [""; 0], "installed again");
    let file_for_directory = package("old").directory("usr/x", 0o755).file("usr/d", 0o644, "");
    assert_eq!(scene.conflicts(&[file_for_directory], &[], ""), [""; 0]);
    write(&scene.at("usr/d/mine"));
    assert_eq!(scene.conflicts(&[new()], &["old"], ""), ["usr/d owned"]);
    scene.own(&package("other").directory("usr/d", 0o755).file("usr/d/mine", 0o644, ""));
    assert_eq!(scene.conflicts(&[new()], &["old"], ""), ["usr/d owned"]);
}

#[test]
fn what_a_killed_run_has_left_is_not_in_the_way() {
    let scene = Scene::new();
    let half = package("a").file("usr/x", 0o644, "");
    LocalDatabase::read(&scene.tree, "db").unwrap().begin(&scene.archive(&half)).unwrap();
    scene.tree.write("db/db.lck", b"# redd: being installed\ninstall a\n", 0o600).unwrap();
    write(&scene.at("usr/x"));
    write(&scene.at("usr/y"));
    let again = package("a").file("usr/x", 0o644, "").file("usr/y", 0o644, "");
    assert_eq!(scene.conflicts(&[again], &[], ""), ["usr/y"]);
}

#[test]
fn many_are_shown_shortly() {
    let one = Conflict::Exists { package: "a".to_owned(), path: "x".to_owned(), owner: None };
    let text = Conflicts(vec![one.clone(); 25]).to_string();
    assert_eq!(text.lines().count(), 22);
    assert!(text.ends_with("and 5 more"));
    assert!(!Conflicts(vec![one; 20]).to_string().contains("more"));
}
