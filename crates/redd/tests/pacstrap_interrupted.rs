//! What a killed installation has left is completed by the next one, whatever that is asked for; two do not come into each
//! other's way.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use testkit::arch::{Crafted, Crafts, Host, Installer, System};
use testkit::{Ended, fixture, requires, run_limited};

const LIMIT: Duration = Duration::from_secs(120);
const REDD: Installer = Installer::Redd(env!("CARGO_BIN_EXE_redd"));

fn packages() -> Vec<Crafted> {
    vec![
        Crafted::new("a", "1-1").any().with("depend", "d").file("usr/a", "a", 0o644),
        Crafted::new("b", "1-1").any().file("usr/b", "b", 0o644),
        Crafted::new("d", "1-1").any().file("usr/d", "d", 0o644),
    ]
}

fn install(host: &Host, options: &[&str], tree: &Path, wanted: &[&str]) -> Ended {
    run_limited(REDD.command(host, options, tree, wanted), Vec::new(), LIMIT)
}

/// The tree is as if a run for a, which needs d, had been killed: a is not complete, d has been written down.
fn kill(tree: &Path) {
    let local = tree.join("var/lib/pacman/local");
    fs::remove_file(local.join("a-1-1/desc")).expect("a is installed");
    fs::remove_file(tree.join("usr/a")).expect("a is installed");
    let lock = "# redd: being installed\ninstall a\ndepend d\n";
    fs::write(tree.join("var/lib/pacman/db.lck"), lock).expect("file");
}

#[test]
fn another_target_completes_what_was_begun_too() {
    requires!(root, program "makepkg", program "pacman");
    let Some(system) = System::get() else { return };
    let crafts = Crafts::new(&system);
    let repository = crafts.repository("interrupted", &packages());
    let host = Host::new(&system, &repository);
    let tree = fixture::empty();
    let tree = tree.path();
    install(&host, &["-c", "-d"], tree, &["a"]).expect_code(0);
    kill(tree);
    // Files cannot complete it.
    let file = repository.join(packages()[1].file_name()).display().to_string();
    let said = install(&host, &["-c", "-d", "-U"], tree, &[&file]).expect_code(1).errors;
    assert!(said.contains("had begun to install a, d") && said.contains("repeat the command"), "{said}");
    // Nor can another repository.
    let other = crafts.repository("other", &packages()[1..2]);
    let said = install(&Host::new(&system, &other), &["-c", "-d"], tree, &["b"]).expect_code(1).errors;
    assert!(said.contains("had begun to install a, d"), "{said}");
    assert!(tree.join("var/lib/pacman/db.lck").exists() && !tree.join("usr/b").exists());
    let said = install(&host, &["-c", "-d"], tree, &["b"]).expect_code(0).errors;
    assert!(said.contains("completing what an interrupted run had begun to install: a, d"), "{said}");
    for name in ["a", "b", "d"] {
        assert!(tree.join("usr").join(name).exists(), "{name}");
        let desc = fs::read_to_string(tree.join(format!("var/lib/pacman/local/{name}-1-1/desc"))).expect("installed");
        assert_eq!(desc.contains("%REASON%\n1\n"), name == "d", "{name}: {desc}");
    }
    assert!(!tree.join("var/lib/pacman/db.lck").exists());
}

#[test]
fn a_second_run_is_refused_at_once() {
    requires!(root, program "makepkg", program "pacman");
    let Some(system) = System::get() else { return };
    let crafts = Crafts::new(&system);
    let host = Host::new(&system, &crafts.repository("second", &packages()));
    let tree = fixture::empty();
    let state = tree.join("var/lib/pacman");
    fs::create_dir_all(&state).expect("directory");
    let first = fs::File::open(&state).expect("directory");
    flock(&first, FlockOperation::LockExclusive).expect("nobody has it");
    let said = install(&host, &["-c", "-d"], tree.path(), &["b"]).expect_code(1).errors;
    assert!(said.contains("somebody else is installing packages there"), "{said}");
    assert_eq!(fs::read_dir(&state).expect("directory").count(), 0, "it has not even begun to write databases");
    drop(first);
    // pacman is at work.
    fs::write(state.join("db.lck"), "").expect("file");
    let said = install(&host, &["-c", "-d"], tree.path(), &["b"]).expect_code(1).errors;
    assert!(said.contains("pacman is at work there"), "{said}");
    assert!(!state.join("sync").exists());
    fs::remove_file(state.join("db.lck")).expect("ours to remove");
    install(&host, &["-c", "-d"], tree.path(), &["b"]).expect_code(0);
}
