//! Trees that systemd-nspawn uses, too: whoever comes second is refused, whichever it is.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{ffi::OsString, fs};

use testkit::disk::{Mounted, run};
use testkit::{Engine, Isolated, Spawn, fixture, requires};

const RUN: &str = "/run/systemd";
const LOCKS: &str = "/run/systemd/nspawn/locks";

fn redd() -> Engine {
    Engine::Redd(env!("CARGO_BIN_EXE_redd-spawn").into())
}

/// A running container that is ended by the end of its input.
fn start(spawn: Spawn) -> Child {
    let mut command = spawn.args(["/bin/sh", "-c", "echo ready; read x"]).command();
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("start");
    let mut word = [0; 5];
    child.stdout.as_mut().expect("pipe").read_exact(&mut word).expect("ready");
    child
}

fn end(mut child: Child) {
    drop(child.stdin.take());
    let limit = Instant::now() + Duration::from_secs(20);
    while child.try_wait().expect("child").is_none() {
        assert!(Instant::now() < limit, "it does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn of(engine: &Engine, tree: &Path) -> Spawn {
    Spawn::of(engine, tree).arg("--pipe")
}

/// The files in a directory that begin like those of locks.
fn locks(directory: &Path) -> Vec<OsString> {
    let names = fs::read_dir(directory).expect("list").map(|entry| entry.expect("entry").file_name());
    names.filter(|name| name.as_encoded_bytes().ends_with(b".lck")).collect()
}

/// As after a boot, when nothing of systemd-nspawn has run yet.
fn fresh() -> Mounted {
    Mounted::new(&["-t", "tmpfs", "-o", "mode=755", "tmpfs"], Path::new(RUN))
}

#[test]
fn neither_starts_where_the_other_writes() {
    requires!(root, cgroup2, program "systemd-nspawn", program "mount");
    let _isolated = Isolated::enter();
    let place = fixture::empty();
    let name = place.name();
    let (tree, lock, aside) = (place.join(&name), place.join(&format!(".#{name}.lck")), place.join("aside"));
    fixture::tree_at(&tree);
    for (first, second) in [(redd(), Engine::Reference), (Engine::Reference, redd())] {
        // By the locks in `/run`, and by those beside the tree where each has a `/run` of its own.
        for shared in [true, false] {
            let _fresh = fresh();
            let running = start(of(&first, &tree));
            assert!(lock.exists(), "{first:?}");
            let _hidden = (!shared).then(|| Mounted::new(&["-t", "tmpfs", "tmpfs"], Path::new(LOCKS)));
            if shared {
                assert_eq!(fs::metadata(LOCKS).expect("locks").permissions().mode() & 0o7777, 0o700);
                fs::rename(&lock, &aside).expect("aside");
            }
            let refused = of(&second, &tree).arg("/bin/true").run().expect_code(1);
            assert!(refused.errors.contains("busy") || refused.errors.contains("in use"), "{first:?}: {refused}");
            if shared {
                fs::rename(&aside, &lock).expect("back");
            }
            end(running);
            // Two that only look at it do not mind each other.
            let reader = start(of(&first, &tree).arg("--read-only"));
            of(&second, &tree).arg("/bin/true").run().expect_code(1);
            of(&second, &tree).arg("--read-only").arg(format!("-M{name}-too")).arg("/bin/true").run().expect_code(0);
            end(reader);
            of(&second, &tree).arg("/bin/true").run().expect_code(0);
            assert!(!lock.exists());
            assert_eq!(fs::read_dir(LOCKS).expect("locks").count(), 0);
        }
    }
}

#[test]
fn a_lock_that_a_killed_run_has_left_beside_the_tree_is_in_nobodys_way() {
    requires!(root, cgroup2, program "mount");
    let _isolated = Isolated::enter();
    let _fresh = fresh();
    let place = fixture::empty();
    let (tree, lock) = (place.join(&place.name()), place.join(&format!(".#{}.lck", place.name())));
    fixture::tree_at(&tree);
    let again = |options: &[&str]| of(&redd(), &tree).args(options).run().expect_code(0);
    fs::write(&lock, "").expect("a lock that nobody holds");
    again(&["/bin/true"]);
    assert_eq!(locks(place.path()), [""; 0]);
    for cleanup in [false, true] {
        let mut killed = start(of(&redd(), &tree));
        killed.kill().expect("kill");
        killed.wait().expect("wait");
        assert!(lock.exists());
        again(if cleanup { &["--cleanup"] } else { &["/bin/true"] });
        assert_eq!(locks(place.path()), [""; 0], "{cleanup}");
    }
    // As after a reboot.
    fs::write(&lock, "").expect("a lock that nobody holds");
    again(&["--cleanup"]);
    assert_eq!(locks(place.path()), [""; 0]);
}

/// Where others can make files, they could be in the way.
#[test]
fn names_in_everybodys_directory_count_for_nothing() {
    requires!(root, cgroup2);
    let _isolated = Isolated::enter();
    let place = fixture::empty();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o1777)).expect("mode");
    let (tree, lock) = (place.join(&place.name()), place.join(&format!(".#{}.lck", place.name())));
    fixture::tree_at(&tree);
    std::os::unix::fs::symlink("/nonexistent", &lock).expect("link");
    of(&redd(), &tree).arg("/bin/true").run().expect_code(0);
    assert!(lock.symlink_metadata().is_ok());
}

/// A device is the same whatever it is called.
#[test]
fn block_devices_are_locked_by_their_numbers() {
    requires!(root, cgroup2, loop, program "mkfs.ext4", program "losetup", program "mount");
    let _isolated = Isolated::enter();
    let _fresh = fresh();
    let place = fixture::empty();
    let (image, tree) = (place.join("image"), fixture::tree());
    fs::File::create(&image).expect("image").set_len(96 << 20).expect("size");
    run(Command::new("mkfs.ext4").args(["-q", "-d"]).arg(tree.path()).arg(&image));
    let device = PathBuf::from(run(Command::new("losetup").args(["-f", "--show"]).arg(&image)).trim());
    let numbers = std::os::unix::fs::MetadataExt::rdev(&fs::metadata(&device).expect("device"));
    let other = place.join("other");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &other, rustix::fs::FileType::BlockDevice, mode, numbers).expect("node");
    let by = |node: &Path| Spawn::new(&redd()).args(["-q", "--pipe", "-i"]).arg(node);
    let running = start(by(&device).arg(format!("-M{}", place.name())));
    let name = format!("block-{}:{}", rustix::fs::major(numbers), rustix::fs::minor(numbers));
    let held: Vec<_> = fs::read_dir(LOCKS).expect("locks").map(|entry| entry.expect("entry").file_name()).collect();
    let refused = by(&other).arg("-x").arg(format!("-M{}-too", place.name())).arg("/bin/true").run();
    end(running);
    run(Command::new("losetup").arg("-d").arg(&device));
    assert_eq!(held, [OsString::from(name)]);
    let refused = refused.expect_code(1);
    // A copy is refused as well, so that it is no way out.
    assert!(refused.errors.contains("in use by machine") && !refused.errors.contains("-x"), "{refused}");
}
