//! A Debian boots from disk images of each kind to a login and powers off: the images themselves and ephemeral copies,
//! with and without users of its own.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use testkit::disk::run;
use testkit::{HostState, Terminal, requires};

const REDD: &str = env!("CARGO_BIN_EXE_redd");
const LIMIT: Duration = Duration::from_secs(180);
const KINDS: [&str; 5] = ["ext4", "gpt", "btrfs", "squashfs", "erofs"];

/// A Debian that was installed just now, or a copy of one that others use, which gets what a first boot makes and
/// read-only ones need: without that directory the login manager does not start on them, whoever runs them.
fn tree(directory: &Path) -> PathBuf {
    const NEEDED: &str = "var/lib/systemd/linger";
    let tree = directory.join("tree");
    match std::env::var_os("REDD_TEST_TREE") {
        Some(given) => {
            run(Command::new("cp").arg("-a").arg(given).arg(&tree));
            fs::create_dir_all(tree.join(NEEDED)).expect("a directory");
        }
        None => {
            run(Command::new(REDD).args(["bootstrap", "debian"]).arg(&tree));
            assert!(tree.join(NEEDED).is_dir());
        }
    }
    tree
}

/// An image with the tree in it.
fn image(kind: &str, tree: &Path, directory: &Path) -> PathBuf {
    let path = directory.join(format!("{kind}.raw"));
    let empty = |path: &Path, mib: u64| fs::File::create(path).and_then(|file| file.set_len(mib << 20)).expect("image");
    let ext4 = |path: &Path| {
        empty(path, 1024);
        run(Command::new("mkfs.ext4").args(["-q", "-d"]).arg(tree).arg(path));
    };
    match kind {
        "ext4" => ext4(&path),
        "gpt" => {
            let part = directory.join("part");
            ext4(&part);
            empty(&path, 1026);
            let script = directory.join("script");
            fs::write(&script, "label: gpt\nsize=1024M, type=4f68bce3-e8cd-4db1-96e7-fbcaf984b709\n").expect("script");
            let input = Stdio::from(fs::File::open(script).expect("script"));
            run(Command::new("sfdisk").arg("-q").arg(&path).stdin(input));
            let [from, to] = [("if=", &part), ("of=", &path)].map(|(word, path)| format!("{word}{}", path.display()));
            run(Command::new("dd").args([from, to]).args(["bs=1M", "seek=1", "conv=notrunc,sparse", "status=none"]));
            fs::remove_file(part).expect("part");
        }
        "btrfs" => {
            empty(&path, 1024);
            run(Command::new("mkfs.btrfs").args(["-q", "--rootdir"]).arg(tree).arg(&path));
        }
        "squashfs" => {
            run(Command::new("mksquashfs").arg(tree).arg(&path).args(["-quiet", "-no-progress", "-comp", "lz4"]));
        }
        "erofs" => {
            run(Command::new("mkfs.erofs").arg("--quiet").arg(&path).arg(tree));
        }
        other => panic!("{other}"),
    }
    path
}

#[test]
#[ignore = "installs a system and boots it twenty times: for the acceptance"]
#[allow(clippy::print_stdout, reason = "the acceptance shows the summary")]
fn debian_boots_from_images_of_each_kind() {
    requires!(root, cgroup2, userns, idmap, loop, program "mkfs.ext4", program "mkfs.btrfs", program "mksquashfs", program "mkfs.erofs", program "sfdisk");
    let directory = tempfile::Builder::new().prefix("redd-images.").tempdir_in("/var/tmp").expect("a directory");
    let nspawn = directory.path().join("systemd-nspawn");
    symlink(REDD, &nspawn).expect("a link");
    let tree = tree(directory.path());
    for kind in KINDS {
        let image = image(kind, &tree, directory.path());
        let writable = !matches!(kind, "squashfs" | "erofs");
        for options in [&[][..], &["-U"], &["-x"], &["-x", "-U"]] {
            let before = HostState::capture(&image, &[]);
            let mut terminal =
                Terminal::start(Command::new(&nspawn).arg("-bi").arg(&image).args(options).env("TERM", "dumb"));
            terminal.expect("login: ", LIMIT);
            terminal.write_line("root");
            terminal.expect("# ", LIMIT);
            terminal.write_line(
                "echo is $(systemctl is-system-running --wait) failed: $(systemctl --failed --plain --no-legend) \
                 $(touch /new 2>&1 && echo written) e\"\"nd",
            );
            let answer = terminal.expect(" end", LIMIT);
            let touched = if writable || options.contains(&"-x") {
                "written"
            } else {
                "touch: cannot touch '/new': Read-only file system"
            };
            assert!(answer.contains(&format!("is running failed: {touched} end")), "{kind} {options:?}: {answer}");
            // By way of the login manager, which has to run therefore.
            terminal.write_line("systemctl poweroff");
            assert_eq!(terminal.wait(LIMIT).code(), Some(0), "{kind} {options:?}: {}", terminal.transcript());
            before.assert_same();
            println!("{kind} {options:?}: login, running, {touched}, power-off, exit code 0");
        }
        fs::remove_file(image).expect("image");
    }
}
