//! A Debian is put on media like those of Arch and into an archive, imported, and boots to a login.

mod import;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use testkit::{Terminal, fixture, requires};

use import::{MACHINES, Place, REDD, arch_archive, arch_medium, redd, word};

const LIMIT: Duration = Duration::from_secs(180);

/// Boots a machine, logs in as root, and powers it off from inside.
fn boots(name: &str, options: &[&str]) {
    let mut command = Command::new(REDD);
    command.args(["spawn", "-b", "-M", name]).args(options).env("TERM", "dumb");
    let mut terminal = Terminal::start(&mut command);
    terminal.expect("login: ", LIMIT);
    terminal.write_line("root");
    terminal.expect("# ", LIMIT);
    terminal.write_line(
        "echo is $(systemctl is-system-running --wait) failed: $(systemctl --failed --plain --no-legend) \
         id $(wc -c </etc/machine-id) e\"\"nd",
    );
    let answer = terminal.expect(" end", LIMIT);
    assert!(answer.contains("is running failed: id 33"), "{name} {options:?}: {answer}");
    terminal.write_line("systemctl poweroff");
    assert_eq!(terminal.wait(LIMIT).code(), Some(0), "{name} {options:?}: {}", terminal.transcript());
}

fn imported(place: &Place, source: &Path, way: &[&str]) -> String {
    let name = place.name("boots");
    let words = [&["import-media", word(source), &name][..], way].concat();
    let ended = redd(&words).expect_code(0);
    assert!(ended.errors.contains(": Debian GNU/Linux"), "{ended}");
    name
}

fn debian(work: &Path, tree: &Path) -> PathBuf {
    let own = work.join("debian");
    fs::create_dir(&own).expect("directory");
    fixture::copy(tree, &own);
    // Media have an ID like this one.
    fs::write(own.join("etc/machine-id"), "uninitialized\n").expect("written");
    own
}

#[test]
fn an_arch_like_medium_is_imported_and_boots() {
    requires!(root, cgroup2, userns, idmap, loop, program "xorriso", program "mksquashfs");
    let Some(tree) = fixture::debian_tree() else { return };
    let (place, work) = (Place::new(), fixture::empty());
    let medium = arch_medium(&debian(work.path(), &tree), work.path(), "sfs");
    boots(&imported(&place, &medium, &[]), &["-U"]);
}

#[test]
#[ignore = "boots a Debian ten times: for the acceptance"]
#[allow(clippy::print_stdout, reason = "the acceptance shows the summary")]
fn media_and_archives_are_imported_in_both_ways_and_boot() {
    requires!(root, cgroup2, userns, idmap, loop, program "xorriso", program "mksquashfs", program "mkfs.erofs", program "tar");
    let Some(tree) = fixture::debian_tree() else { return };
    let (place, work) = (Place::new(), fixture::empty());
    let tree = debian(work.path(), &tree);
    let sources = [
        arch_medium(&tree, work.path(), "sfs"),
        arch_medium(&tree, work.path(), "erofs"),
        arch_archive(&tree, work.path()),
    ];
    for source in sources {
        for way in [&[][..], &["--user-space"]] {
            let name = imported(&place, &source, way);
            for options in [&[][..], &["-U"]] {
                boots(&name, options);
                println!("{} {way:?} {options:?}: imported, login, running, power-off", source.display());
            }
            redd(&["remove", &name]).expect_code(0);
            assert!(!Path::new(MACHINES).join(&name).exists());
        }
    }
}
