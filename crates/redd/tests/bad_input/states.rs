//! States of machines that are damaged: told with the file and what to do, by every verb; others are there nevertheless.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use testkit::{Ended, HostState, fixture, requires};

use crate::scene::{Face, MACHINED, Machined, call, entry, isolate, listed, redd, spawn};

/// What lies there, how it is made where there was this, and what is said of it.
type Spoiled = (&'static str, fn(&Path, &[u8]), &'static str);

const SPOILED: [Spoiled; 8] = [
    ("empty", |path, _| write(path, b""), "EOF"),
    ("cut off", |path, known| write(path, &known[..40]), "EOF"),
    ("no JSON", |path, _| write(path, b"\x00\xff\x1b[2J nonsense"), "expected value"),
    ("other JSON", |path, _| write(path, b"[1, 2]"), "invalid"),
    ("8 GB of nothing", |path, _| sparse(path), "8589934592 bytes"),
    ("a pipe", |path, _| pipe(path), "a pipe"),
    ("a link", |path, _| std::os::unix::fs::symlink("/dev/zero", path).expect("link"), "a symbolic link"),
    ("a directory", |path, _| std::fs::create_dir(path).expect("directory"), "a directory"),
];

fn write(path: &Path, contents: &[u8]) {
    std::fs::write(path, contents).expect("state");
}

fn sparse(path: &Path) {
    std::fs::File::create(path).expect("state").set_len(8 << 30).expect("a sparse file");
}

fn pipe(path: &Path) {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("pipe");
}

/// Every verb that is given a machine, and under which names it can be asked for.
const BOTH: &[Face] = &[Face::Redd, Face::Machinectl];
const OWN: &[Face] = &[Face::Redd];
pub(crate) const VERBS: [(&[&str], &[Face]); 19] = [
    (&["status", "NAME"], BOTH),
    (&["show", "NAME"], BOTH),
    (&["kill", "NAME"], BOTH),
    (&["poweroff", "NAME"], BOTH),
    (&["reboot", "NAME"], BOTH),
    (&["terminate", "NAME"], BOTH),
    (&["pause", "NAME"], BOTH),
    (&["resume", "NAME"], BOTH),
    (&["shell", "NAME", "/bin/true"], BOTH),
    (&["login", "NAME"], BOTH),
    (&["bind", "NAME", "/etc", "/mnt"], BOTH),
    (&["copy-to", "NAME", "/etc/passwd", "/tmp/copied"], BOTH),
    (&["copy-from", "NAME", "/etc/passwd", "/tmp/redd-bad-input"], BOTH),
    (&["exec", "NAME", "--", "true"], OWN),
    (&["wait", "NAME"], OWN),
    (&["ps", "NAME"], OWN),
    (&["stats", "NAME", "--no-stream"], OWN),
    (&["cgls", "-M", "NAME"], OWN),
    (&["logs", "NAME"], OWN),
];

/// One line that names the file, and what to do.
#[track_caller]
fn assert_told(what: &str, ended: &Ended, path: &Path, why: &str) {
    let lines: Vec<&str> = ended.errors.lines().filter(|line| !line.starts_with("hint: ")).collect();
    let [line] = lines[..] else { panic!("{what}: {ended}") };
    let path = path.to_str().expect("a path");
    let directory = path.trim_end_matches("/state");
    assert!(
        line.contains(path) && line.contains(why) && line.contains(&format!("remove {directory}")),
        "{what}: {ended}"
    );
    assert!(!line.contains(['\x1b', '\0']), "{what}: {line:?}");
}

#[test]
fn damaged_states_are_named_and_hide_nobody_else() {
    requires!(root, cgroup2, program "mount");
    let _isolated = isolate(&[]);
    let tree = fixture::tree();
    let host = HostState::capture(tree.path(), &[]);
    let [good, odd] = ["bad-input-good", "bad-input-odd"].map(|name| format!("{name}-{}", std::process::id()));
    let running = [spawn(tree.path(), &good), spawn(tree.path(), &odd)];
    let _service = Machined::start();
    let path = entry(&odd).join("state");
    let known = std::fs::read(&path).expect("state");
    let leader = Path::new("/proc").join(running[1].leader().to_string());
    for (what, spoil, why) in SPOILED {
        std::fs::remove_file(&path).expect("its state");
        spoil(&path, &known);
        let begun = Instant::now();
        let list = redd(&["list", "--json=short"]).expect_code(0);
        assert!(list.output.contains(&good) && !list.output.contains(&odd), "{what}: {list}");
        assert_told(what, &list, &path, why);
        assert!(begun.elapsed() < Duration::from_secs(5), "{what}: {:?}", begun.elapsed());
        let list = call(Face::Machinectl, &["list", "--no-legend"]).expect_code(0);
        assert!(list.output.contains(&good) && list.errors.contains(path.to_str().expect("a path")), "{what}: {list}");
        std::thread::scope(|scope| {
            for (words, faces) in &VERBS {
                scope.spawn(|| {
                    let words: Vec<&str> =
                        words.iter().map(|word| if *word == "NAME" { odd.as_str() } else { word }).collect();
                    for face in *faces {
                        let ended = call(*face, &words).expect_code(1);
                        assert_told(&format!("{what}: {face:?} {words:?}"), &ended, &path, why);
                    }
                });
            }
        });
        assert!(!Path::new("/tmp/redd-bad-input").exists(), "{what}");
        // The service shows the others, and answers for this one.
        let mut service = UnixStream::connect(MACHINED).expect("connect");
        service.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
        let ask = |service: &mut UnixStream, name: &str| {
            let call = format!("{{\"method\":\"io.systemd.Machine.List\",\"parameters\":{{\"name\":\"{name}\"}}}}\0");
            service.write_all(call.as_bytes()).expect("asked");
            let mut answer = Vec::new();
            BufReader::new(service).read_until(0, &mut answer).expect("an answer");
            String::from_utf8(answer).expect("text")
        };
        assert!(ask(&mut service, &good).contains("\"class\":\"container\""), "{what}");
        assert!(ask(&mut service, &odd).contains("io.systemd.System"), "{what}: {}", ask(&mut service, &odd));
        // Nobody else takes its name, and it runs on.
        let second = redd(&["spawn", "-q", "-x", "-M", &odd, "-D", tree.path().to_str().expect("path"), "true"]);
        assert!(second.code() == 1 && second.errors.contains(&odd), "{what}: {second}");
        assert!(leader.exists(), "{what}");
        let _ = std::fs::remove_dir(&path);
        let _ = std::fs::remove_file(&path);
        std::fs::write(&path, &known).expect("state");
    }
    // All as before: nothing of what was asked for has come to it.
    assert_eq!(listed(), [good.clone(), odd.clone()]);
    for (name, running) in [&good, &odd].into_iter().zip(running) {
        redd(&["exec", name, "--", "test", "!", "-e", "/tmp/copied"]).expect_code(0);
        redd(&["poweroff", name]).expect_code(0);
        assert_eq!(running.end().code(), Some(7));
    }
    host.assert_same();
}

/// A supervisor that died with a damaged state: nobody has to remove anything.
#[test]
fn what_the_dead_have_left_damaged_goes_by_itself() {
    requires!(root, cgroup2, program "mount");
    let _isolated = isolate(&[]);
    let tree = fixture::tree();
    let name = format!("bad-input-dead-{}", std::process::id());
    for (what, spoil, _) in SPOILED {
        let mut running = spawn(tree.path(), &name);
        let path = entry(&name).join("state");
        let known = std::fs::read(&path).expect("state");
        running.kill();
        std::fs::remove_file(&path).expect("what it has left");
        spoil(&path, &known);
        let list = redd(&["list", "--json=short"]).expect_code(0);
        assert_eq!((list.output.trim(), list.errors.as_str()), ("[]", ""), "{what}");
        assert!(!entry(&name).exists(), "{what}");
        drop(running);
    }
    redd(&["spawn", "--cleanup", "-q", "-M", &name, "-D", tree.path().to_str().expect("path")]).expect_code(0);
}
