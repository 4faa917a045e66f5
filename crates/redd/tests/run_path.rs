//! `redd run` of disk images and trees: a copy with users of its own, and nothing of it stays.

use std::path::Path;
use std::process::{Command, Output};

use testkit::disk::run;
use testkit::{HostState, Isolated, fixture, requires};

const REDD: &str = env!("CARGO_BIN_EXE_redd");

fn redd_run(path: &Path, more: &[&str]) -> Output {
    Command::new(REDD).arg("run").arg(path).args(more).output().expect("start")
}

#[test]
fn images_and_trees_run_as_copies_with_users_of_their_own() {
    requires!(root, cgroup2, userns, idmap, loop, program "mkfs.ext4");
    let _isolated = Isolated::enter();
    let (tree, directory) = (fixture::tree(), fixture::empty());
    let name = directory.name().trim_matches('-').to_owned();
    let image = directory.join(&format!("{name}.raw"));
    std::fs::File::create(&image).and_then(|file| file.set_len(64 << 20)).expect("image");
    run(Command::new("mkfs.ext4").args(["-q", "-d"]).arg(tree.path()).arg(&image));
    // What is beside it counts.
    directory.write(&format!("{name}.nspawn"), "[Exec]\nEnvironment=WORD=said\nPrivateUsers=no\n", 0o644);
    let script = "echo x > /new && tr -s ' ' < /proc/self/uid_map && echo $WORD; exit 7";
    for (path, word) in [(image.as_path(), "said"), (tree.path(), "")] {
        let before = HostState::capture(path, &[]);
        let output = redd_run(path, &["--", "/bin/sh", "-c", script]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let shown = format!("{text}{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(7), "{shown}");
        // Ids of the host's own are none of them.
        assert!(text.starts_with(" 0 ") && !text.starts_with(" 0 0 "), "{shown}");
        assert!(text.ends_with(&format!(" 65536\n{word}\n")), "{shown}");
        let output = redd_run(path, &["--", "/bin/sh", "-c", "test ! -e /new"]);
        assert!(output.status.success(), "{output:?}");
        before.assert_same();
    }
}

#[test]
fn what_is_no_system_is_refused_with_what_to_do() {
    let refused = |arguments: &[&str], word: &str, code| {
        let output = Command::new(REDD).arg("run").args(arguments).output().expect("start");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(code) && text.contains(word), "{arguments:?}: {text}");
    };
    refused(&["fedora"], "choose debian, ubuntu or host, or write ./fedora", 2);
    refused(&["./none.raw"], "cannot use './none.raw'", 1);
    refused(&["./none.raw", "--suite", "sid"], "nothing is installed that --suite could be about", 2);
    refused(&["host", "--include=vim"], "nothing is installed that --include could be about", 2);
}
