//! Bad input gets one clear error that names the thing, exit code 1 (2 for the command line's own), and leaves the host
//! as it was.

use std::os::unix::fs::symlink;

use testkit::fixture::{self, Tree};
use testkit::{HostState, Isolated, Spawn, requires};

const REDD: &str = env!("CARGO_BIN_EXE_redd-spawn");

/// Runs it; it must fail with this code and one error that has these words in it.
#[track_caller]
fn fails(tree: &Tree, arguments: &[&str], code: i32, words: &[&str]) {
    let _isolated = Isolated::enter();
    // The tree itself gets what integration puts there before the program is looked for: resolv.conf, mount points.
    let before = HostState::capture(tree.path(), &[]);
    let ended = Spawn::redd(REDD, tree.path()).args(arguments).run();
    before.assert_same();
    assert_eq!(ended.code(), code, "{arguments:?}: {ended}");
    assert!(ended.output.is_empty(), "{arguments:?}: {ended}");
    assert!((1..=2).contains(&ended.errors.lines().count()), "one error and a hint: {arguments:?}: {ended}");
    let text = ended.errors.to_lowercase();
    assert!(words.iter().all(|word| text.contains(&word.to_lowercase())), "{words:?}: {arguments:?}: {ended}");
}

#[test]
fn a_tree_that_is_not_there_or_no_directory() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    fails(&tree, &["-D", "/nowhere/at/all", "true"], 1, &["/nowhere/at/all does not exist", "bootstrap"]);
    let file = tree.write("file", "", 0o644);
    fails(&tree, &["-D", &file.to_string_lossy(), "true"], 1, &["file", "directory"]);
    let link = tree.join("loop");
    symlink("loop", &link).expect("link");
    fails(&tree, &["-D", &link.to_string_lossy(), "true"], 1, &["loop"]);
}

#[test]
fn versions_of_a_tree_are_not_picked_from() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    for made in ["t.v/t_1/usr", "t.v/t_2/usr", "d.raw.v"] {
        std::fs::create_dir_all(tree.join(made)).expect("directory");
    }
    tree.write("d.raw.v/d_7.raw", "", 0o644);
    let at = |name: &str| tree.join(name).to_string_lossy().into_owned();
    let versions = "is a directory of versions";
    fails(&tree, &["-D", &at("t.v"), "true"], 1, &["t.v ", versions, "-D", "t.v/t_2"]);
    fails(&tree, &["-D", &at("t.v/t___"), "true"], 1, &["t.v/t___ ", versions, "t.v/t_2"]);
    fails(&tree, &["--directory=", "-i", &at("d.raw.v/"), "true"], 1, &["d.raw.v", versions, "-i", "d.raw.v/d_7.raw"]);
}

#[test]
fn a_settings_file_that_is_none_is_no_fault_of_the_words() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    let beside = tree.path().with_extension("nspawn");
    std::fs::write(&beside, "[Exec\n").expect("file");
    let ended = Spawn::redd(REDD, tree.path()).arg("true").run();
    std::fs::remove_file(beside).expect("file");
    assert_eq!(ended.code(), 1, "{ended}");
    assert!(ended.errors.contains(".nspawn:1: this is no section") && !ended.errors.contains("--help"), "{ended}");
}

#[test]
fn half_a_tree() {
    requires!(root, cgroup2);
    let empty = fixture::empty();
    fails(&empty, &["-b"], 1, &["is empty", "bootstrap"]);
    fails(&empty, &["--volatile=yes", "true"], 1, &["is empty"]);
    empty.write("some/file", "", 0o644);
    fails(&empty, &["-b"], 1, &["does not look like", "usr"]);
    empty.write("bin/true", "", 0o755);
    fails(&empty, &["/bin/true"], 1, &["no /usr directory", "-D", "bootstrap"]);
    empty.write("usr/file", "", 0o644);
    fails(&empty, &["-b"], 1, &["os-release"]);
    fails(&empty, &["--volatile=yes", "true"], 1, &["/usr"]);
    let no_init = fixture::tree();
    fails(&no_init, &["-b"], 1, &["/sbin/init", "no such"]);
    let no_loader = fixture::tree();
    std::fs::remove_dir_all(no_loader.join("usr/lib64")).expect("remove");
    std::fs::remove_dir_all(no_loader.join("usr/lib")).expect("remove");
    fails(&no_loader, &["/bin/ls"], 1, &["/bin/ls", "loader"]);
}

#[test]
fn programs_that_cannot_run() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    fails(&tree, &["no-such-program"], 1, &["no-such-program"]);
    fails(&tree, &["/no/such/program"], 1, &["/no/such/program"]);
    fails(&tree, &["/etc"], 1, &["/etc"]);
    tree.write("unmarked", "#!/bin/sh\n", 0o644);
    fails(&tree, &["/unmarked"], 1, &["/unmarked", "permission"]);
    tree.write("script", "#!/no/interpreter\n", 0o755);
    fails(&tree, &["/script"], 1, &["/script", "interpreter"]);
    tree.write("garbage", "\u{1}\u{2}\u{3}", 0o755);
    fails(&tree, &["/garbage"], 1, &["/garbage", "format"]);
    fails(&tree, &["-a", "no-such-program"], 1, &["no-such-program"]);
    fails(&tree, &["-U", "no-such-program"], 1, &["no-such-program"]);
}

#[test]
fn a_program_of_another_kind_of_processor() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    let mut elf = std::fs::read(testkit::PROBE).expect("probe");
    // e_machine: SPARC version 9.
    elf[18..20].copy_from_slice(&43u16.to_ne_bytes());
    tree.write("sparc", &elf, 0o755);
    fails(&tree, &["/sparc"], 1, &["/sparc", "processor"]);
    tree.write("usr/lib/systemd/systemd", &elf, 0o755);
    fails(&tree, &["-b"], 1, &["/usr/lib/systemd/systemd", "processor"]);
}

#[test]
fn users_and_directories_that_are_not_there() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    fails(&tree, &["-u", "nobody-like-this", "true"], 1, &["no user nobody-like-this", "/etc/passwd", "-u"]);
    fails(&tree, &["--cpu-affinity=8191", "true"], 1, &["8191", "--cpu-affinity", "online"]);
    fails(&tree, &["--chdir=/not/there", "true"], 1, &["/not/there"]);
    fails(&tree, &["--chdir=relative", "true"], 2, &["relative"]);
    fails(&tree, &["--bind=/not/there:/x", "true"], 1, &["/not/there"]);
    fails(&tree, &["--bind=+/not/there:/x", "true"], 1, &["/not/there"]);
    fails(&tree, &["--inaccessible=/not/there", "true"], 1, &["/not/there"]);
    fails(&tree, &["--pivot-root=/not/there", "true"], 1, &["/not/there"]);
}

#[test]
fn words_that_mean_nothing() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    let long = format!("--machine={}", "a".repeat(65));
    let cases: [(&[&str], &str); 14] = [
        (&["--hostname=not a host name!"], "not a host name"),
        (&["--hostname=-dash"], "-dash"),
        (&["-M", "a/b"], "a/b"),
        (&["-M", ".."], ".."),
        (&[&long], "aaa"),
        (&["--no-such-option"], "no-such-option"),
        (&["--private-users=many"], "many"),
        (&["--capability=CAP_NO_SUCH"], "CAP_NO_SUCH"),
        (&["--uuid=xyz"], "xyz"),
        (&["--volatile=perhaps"], "perhaps"),
        (&["--rlimit=RLIMIT_NONE=1"], "RLIMIT_NONE"),
        (&["--console=none"], "none"),
        (&["--personality=vax"], "vax"),
        (&["-E", "=value"], "=value"),
    ];
    for (arguments, word) in cases {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["true"]).collect();
        fails(&tree, &arguments, 2, &[word]);
    }
}

#[test]
fn unknown_names_of_calls_are_told_and_change_nothing() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    let ended = Spawn::redd(REDD, tree.path())
        .args(["-q", "--system-call-filter=~no_such_call mkdir:EFOO", "--system-call-filter=@no-such-group bpf"])
        .args(["/bin/mkdir", "/tmp/made"])
        .run()
        .expect_code(0);
    for word in ["no_such_call", "mkdir:EFOO", "@no-such-group"] {
        assert!(ended.errors.contains(&format!("{word:?} in --system-call-filter=")), "{word}: {ended}");
    }
    assert_eq!(ended.errors.lines().count(), 3, "{ended}");
}

#[test]
fn what_hostile_files_say_is_no_order_to_the_terminal() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    let beside = tree.path().with_extension("nspawn");
    std::fs::write(&beside, "[Exec]\nPersonality=\u{1b}]0;title\u{7}\u{9b}2J\nEnvironment=\"A=\u{1b}[31m\"\n")
        .expect("file");
    let ended = Spawn::redd(REDD, tree.path()).arg("--dry-run").run();
    std::fs::remove_file(beside).expect("file");
    assert_eq!(ended.code(), 0, "{ended}");
    assert!(ended.errors.contains(r"Personality=\u{1b}]0;title\u{7}\u{9b}2J is ignored"), "{ended}");
    assert!(ended.output.contains(r"A=\u{1b}[31m"), "{ended}");
    assert!(!format!("{ended}").contains(|letter: char| letter.is_control() && letter != '\n'), "{ended:?}");
}
