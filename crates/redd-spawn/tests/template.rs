//! `--template=`.

use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use testkit::{HostState, Isolated, Spawn, fixture, requires};

const BINARY: &str = env!("CARGO_BIN_EXE_redd-spawn");

#[test]
fn a_tree_is_made_once_and_kept() {
    requires!(root, cgroup2, idmap);
    let _isolated = Isolated::enter();
    let (template, place) = (fixture::tree(), fixture::empty());
    let target = place.join("new");
    let before = HostState::capture(template.path(), &[template.path()]);
    let option = format!("--template={}", template.path().display());
    for _ in 0..2 {
        Spawn::redd(BINARY, &target).arg(&option).script("echo x >> /grown").run().expect_code(0);
    }
    assert_eq!(std::fs::read_to_string(target.join("grown")).expect("kept"), "x\nx\n");
    let spawn = Spawn::new(&testkit::Engine::Redd(BINARY.into())).arg("-D").arg(&target).arg(&option);
    let ended = spawn.arg("/bin/true").run().expect_code(0);
    assert!(ended.errors.contains("exists, so the template is not used"), "{ended}");
    // With users of its own the ids on disk stay the template's.
    let other = place.join("other");
    Spawn::redd(BINARY, &other).args(["-U", &option]).script("touch /made && id -u").run().expect_code(0);
    assert_eq!(other.join("made").metadata().expect("made").uid(), 0);
    let mut names: Vec<_> = std::fs::read_dir(place.path()).expect("place").flatten().map(|e| e.file_name()).collect();
    names.sort();
    assert_eq!(names, ["new", "other"]);
    before.assert_same();
}

#[test]
fn what_cannot_be_made_leaves_nothing() {
    requires!(root, cgroup2);
    let _isolated = Isolated::enter();
    let (template, place) = (fixture::tree(), fixture::empty());
    let option = format!("--template={}", template.path().display());
    let none = format!("--template={}", place.join("none").display());
    let run = |arguments: &[&str]| Spawn::redd(BINARY, &place.join("new")).args(arguments).run();
    assert!(run(&[&none, "/bin/true"]).expect_code(1).errors.contains("does not exist"));
    assert!(run(&[&option, "-x", "/bin/true"]).expect_code(2).errors.contains("exclude each other"));
    std::fs::remove_file(template.join("usr/lib/os-release")).expect("os-release");
    std::fs::remove_file(template.join("etc/os-release")).expect("os-release");
    assert!(run(&[&option, "-b"]).expect_code(1).errors.contains("os-release"));
    run(&[&option, "/no/such/program"]).expect_code(1);
    assert!(place.join("new/usr").exists(), "the tree is made before its program is looked for");
    let nowhere = Spawn::redd(BINARY, &place.join("missing/new")).arg(&option).arg("/bin/true").run();
    assert!(nowhere.expect_code(1).errors.contains("missing"));
}

#[test]
fn an_interruption_leaves_nothing() {
    requires!(root, cgroup2);
    let _isolated = Isolated::enter();
    let (template, place) = (fixture::tree(), fixture::empty());
    for directory in 0..25 {
        for file in 0..250 {
            template.write(&format!("srv/{directory}/{file}"), "some contents", 0o644);
        }
    }
    let before = HostState::capture(template.path(), &[place.path()]);
    // Whoever runs this in the background ignores the signal.
    let mut command = Command::new("env");
    command.args(["--default-signal=INT", BINARY, "-q", "-D"]).arg(place.join("new")).arg("--template");
    command.arg(template.path()).arg("/bin/true");
    let child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("start");
    // Until it is at work.
    let limit = std::time::Instant::now() + Duration::from_secs(10);
    while std::fs::read_dir(place.path()).expect("place").count() == 0 {
        assert!(std::time::Instant::now() < limit, "it does not begin");
        std::thread::sleep(Duration::from_millis(1));
    }
    let process = rustix::process::Pid::from_raw(child.id().cast_signed()).expect("a number");
    rustix::process::kill_process(process, rustix::process::Signal::INT).expect("kill");
    let output = child.wait_with_output().expect("end");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.contains("the copy was interrupted"), "{errors}");
    assert_eq!(std::fs::read_dir(place.path()).expect("place").count(), 0);
    let differences = before.differences();
    assert!(differences.iter().all(|line| line.starts_with("changed: file")), "{differences:?}");
}
