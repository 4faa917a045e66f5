//! Packages that must not be installed, and runs that do not come to their end.

use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bootstrap::progress::{Phase, Progress};
use testkit::requires;

use super::{Scene, Step, shell};

/// Ends the process at the so many-th thing that is said, as a kill does.
pub(crate) struct Killer(pub(crate) Mutex<u32>);

impl Killer {
    fn one(&self) {
        let mut left = self.0.lock().unwrap();
        match left.checked_sub(1) {
            Some(less) => *left = less,
            None => std::process::abort(),
        }
    }
}

impl Progress for Killer {
    fn begin(&self, _phase: Phase, _items: u64, _bytes: u64) {
        self.one();
    }
    fn advance(&self, _phase: Phase, _bytes: u64) {}
    fn item(&self, _phase: Phase, _name: &str) {
        self.one();
    }
    fn end(&self, _phase: Phase) {
        self.one();
    }
    fn notice(&self, _text: &str) {
        self.one();
    }
}

const PACKAGES: &str = r"mkdir -p h-1-1/usr/share/libalpm/hooks
    printf '[Trigger]\nType=Package\nOperation=Install\nTarget=*\n[Action]\nWhen=PostTransaction\nNeedsTargets\nExec=/bin/tee /hooked\n' > h-1-1/usr/share/libalpm/hooks/h.hook; pkg h 1-1
    for p in a b c; do mkdir -p $p-1-1/etc $p-1-1/opt/$p; echo $p > $p-1-1/etc/$p; echo $p > $p-1-1/opt/$p/f; ln -s f $p-1-1/opt/$p/l
    printf 'backup = etc/%s\n' $p > $p-1-1.info; done
    printf 'pre_install() { echo pre > /pre; }\npost_install() { cat /opt/b/f > /post; }\n' > b-1-1.install; pkg a 1-1; pkg b 1-1; pkg c 1-1
    mkdir -p a-2-1/opt/a a-2-1/etc; echo 2 > a-2-1/opt/a/g; echo 2 > a-2-1/etc/a; printf 'post_upgrade() { cat /opt/a/g > /upgraded; }\n' > a-2-1.install; pkg a 2-1";

/// Runs again as another process, which ends at the so many-th thing.
fn killed(scene: &Scene, packages: &[&str], at: u32) -> bool {
    !run_to_be_killed(scene, packages, at).output().unwrap().status.success()
}

fn run_to_be_killed(scene: &Scene, packages: &[&str], at: u32) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "refused::a_run_to_be_killed", "--nocapture", "--ignored"]);
    command.env("REDD_TEST_KILL", format!("{} {at} {}", scene.path("").display(), packages.join(" ")));
    command
}

#[test]
#[ignore = "run by others, which say what it is to do"]
fn a_run_to_be_killed() {
    let Ok(text) = std::env::var("REDD_TEST_KILL") else { return };
    let words: Vec<&str> = text.split(' ').collect();
    let scene = Scene::at(words[0]);
    scene.redd_with(&words[2..], &[], &[], &Killer(Mutex::new(words[1].parse().unwrap()))).unwrap();
}

/// Kills runs at each `step`-th thing that is said, from `first` on, and says how often.
fn kill_and_complete(first: u32, step: u32) -> u32 {
    let (one, two): (&[&str], &[&str]) = (&["h-1-1", "a-1-1", "b-1-1", "c-1-1"], &["a-2-1", "c-1-1"]);
    for (count, at) in (first..).step_by(step as usize).enumerate() {
        let scene = Scene::new(PACKAGES);
        let one_killed = killed(&scene, one, at);
        scene.step(Step::Again(one));
        scene.step(Step::Shell("echo mine > etc/a"));
        let two_killed = killed(&scene, two, at);
        scene.step(Step::Again(two));
        for tree in ["theirs", "ours"] {
            std::fs::remove_file(scene.path(tree).join("var/log/pacman.log")).unwrap();
        }
        scene.compare(&format!("killed at {at}"));
        assert!(!scene.path("ours").join("var/lib/pacman/db.lck").exists());
        if !one_killed && !two_killed {
            return u32::try_from(count).unwrap();
        }
    }
    unreachable!("each run ends by itself at last")
}

#[test]
fn what_a_killed_run_has_begun_the_next_one_completes() {
    requires!(root, program "pacman", program "bsdtar", program "busybox");
    assert!(kill_and_complete(2, 5) >= 2);
}

#[test]
#[ignore = "a minute: part of the acceptance"]
fn wherever_a_run_is_killed_the_next_one_completes_it() {
    requires!(root, program "pacman", program "bsdtar", program "busybox");
    assert!(kill_and_complete(0, 1) > 8);
}

#[test]
fn a_script_ends_with_a_run_that_is_killed() {
    requires!(root, program "pacman", program "bsdtar", program "busybox");
    // Nobody else sleeps so long.
    let seconds = format!("1{:09}", std::process::id());
    let script = format!("post_install() {{ trap '' TERM; echo > /begun; /bin/busybox sleep {seconds}; }}");
    let scene = Scene::new(&format!("mkdir -p a-1-1/opt; echo \"{script}\" > a-1-1.install; pkg a 1-1"));
    let mut child = run_to_be_killed(&scene, &["a-1-1"], 1000).stdout(Stdio::null()).spawn().unwrap();
    while !scene.path("ours").join("begun").exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before");
        std::thread::sleep(Duration::from_millis(5));
    }
    while sleepers(&seconds) == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let limit = Instant::now() + Duration::from_secs(60);
    while sleepers(&seconds) > 0 {
        assert!(Instant::now() < limit, "its script goes on");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// How many processes are `sleep` for so long.
fn sleepers(seconds: &str) -> usize {
    let processes =
        std::fs::read_dir("/proc").unwrap().filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok());
    processes.filter(|line| line.split(|byte| *byte == 0).skip(1).take(2).eq([b"sleep", seconds.as_bytes()])).count()
}

#[test]
fn what_is_left_of_a_package_that_nobody_wants_any_more_goes() {
    requires!(root, program "pacman", program "bsdtar", program "busybox");
    let scene = Scene::new(PACKAGES);
    // While the script before b is run, or a is written down: neither is there to the end.
    let killed_at = (0..30).find(|at| {
        shell(
            &scene.path("ours"),
            "rm -rf opt etc var/lib/pacman/db.lck var/lib/pacman/local/*-*; mkdir etc; echo mine > etc/a",
        );
        assert!(killed(&scene, &["c-1-1", "a-1-1"], *at));
        let entry = scene.path("ours").join("var/lib/pacman/local/a-1-1");
        entry.join("files").exists() && !entry.join("desc").exists()
    });
    assert!(killed_at.is_some());
    let (result, _) = scene.redd(&["h-1-1"], &[], &[]);
    result.unwrap();
    assert!(!scene.path("ours").join("opt/a").exists());
    assert!(!scene.path("ours").join("var/lib/pacman/local/a-1-1").exists());
    assert_eq!(std::fs::read(scene.path("ours").join("etc/a")).unwrap(), b"mine\n", "it was there before");
    // Of c nobody knows whether it is complete.
    let lock = std::fs::read_to_string(scene.path("ours").join("var/lib/pacman/db.lck")).unwrap();
    assert!(lock.lines().skip(1).eq(["install c"]), "{lock}");
    scene.redd(&["c-1-1"], &[], &[]).0.unwrap();
    assert!(!scene.path("ours").join("var/lib/pacman/db.lck").exists());
}

#[test]
fn a_removal_that_was_killed_is_completed_by_the_next_run() {
    requires!(root, program "pacman", program "bsdtar", program "busybox");
    let scene = Scene::new(PACKAGES);
    scene.redd(&["a-1-1", "b-1-1"], &[], &[]).0.unwrap();
    let lock = scene.path("ours").join("var/lib/pacman/db.lck");
    std::fs::write(&lock, "# redd: being installed\nremove a\n").unwrap();
    std::fs::remove_file(scene.path("ours").join("opt/a/f")).unwrap();
    scene.redd(&["c-1-1"], &[], &[]).0.unwrap();
    let entry = |name: &str| scene.path("ours").join("var/lib/pacman/local").join(name).exists();
    assert!(!scene.path("ours").join("opt/a").exists() && !lock.exists());
    assert_eq!(["a-1-1", "b-1-1", "c-1-1"].map(entry), [false, true, true]);
}

#[test]
fn entries_of_others_are_left_alone() {
    requires!(root, program "pacman", program "bsdtar", program "busybox");
    let scene = Scene::new(PACKAGES);
    shell(
        &scene.path("ours"),
        "mkdir var/lib/pacman/local/foreign-1-1; printf '%%FILES%%\\nusr/\\nusr/keep/\\nusr/keep/file\\n' > var/lib/pacman/local/foreign-1-1/files
        echo mine > usr/keep/file; echo > var/lib/pacman/local/README",
    );
    let error = scene.redd(&["a-1-1"], &[], &[]).0.unwrap_err();
    assert!(error.to_string().contains("'foreign-1-1'") && error.hint().is_some(), "{error}");
    assert_eq!(std::fs::read(scene.path("ours").join("usr/keep/file")).unwrap(), b"mine\n");
    shell(&scene.path("ours"), "rm -r var/lib/pacman/local/foreign-1-1");
    scene.redd(&["a-1-1"], &[], &[]).0.unwrap();
    assert!(scene.path("ours").join("var/lib/pacman/local/README").exists());
}

#[test]
fn a_run_that_has_begun_nothing_leaves_no_lock() {
    requires!(root, program "pacman", program "bsdtar", program "busybox");
    let scene = Scene::new(PACKAGES);
    shell(&scene.path("ours"), "rm var/log/pacman.log; mkdir var/log/pacman.log");
    let error = scene.redd(&["a-1-1"], &[], &[]).0.unwrap_err();
    assert!(matches!(error, bootstrap::pacman::transaction::Error::Tree(_)), "{error}");
    let left: Vec<_> = std::fs::read_dir(scene.path("ours").join("var/lib/pacman")).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn hostile_packages_change_nothing() {
    requires!(root, program "pacman", program "bsdtar", program "busybox");
    let scene = Scene::new(
        r#"info() { printf 'pkgname = %s\npkgver = 1-1\narch = %s\n' $1 ${2:-any} > .PKGINFO; }
        pack() { bsdtar -czf $1-1-1-any.pkg.tar.gz -P "${@:2}"; }
        mkdir w; cd w; mkdir usr; echo > usr/x
        info up; bsdtar -czf ../up-1-1-any.pkg.tar.gz -P -s ',usr/x,../../escaped,' .PKGINFO usr/x
        info absolute; bsdtar -czf ../absolute-1-1-any.pkg.tar.gz -P -s ',usr/x,/tmp/redd-escaped,' .PKGINFO usr/x
        ln -s ../../.. out; info through; bsdtar -czf ../through-1-1-any.pkg.tar.gz -P -s ',usr/x,out/x,' .PKGINFO out usr/x; rm out
        info none; bsdtar -czf ../none-1-1-any.pkg.tar.gz usr; info foreign armv7h; bsdtar -czf ../foreign-1-1-any.pkg.tar.gz .PKGINFO usr
        info ../name; bsdtar -czf ../name-1-1-any.pkg.tar.gz .PKGINFO usr; info cut; head -c 100000 /dev/urandom > usr/x
        bsdtar -cf - .PKGINFO usr | gzip -1 | head -c 50000 > ../cut-1-1-any.pkg.tar.gz
        echo rubbish > ../rubbish-1-1-any.pkg.tar.gz; info good; bsdtar -czf ../good-1-1-any.pkg.tar.gz .PKGINFO usr; cd ..; rm -r w"#,
    );
    for (package, what) in [
        ("up", "none of a file below the root"),
        ("absolute", "none of a file below the root"),
        ("through", "none of a file below the root"),
        ("none", "it has no '.PKGINFO'"),
        ("foreign", "it is for 'armv7h'"),
        ("name", "'.PKGINFO' is wrong"),
        ("cut", "cut-1-1"),
        ("rubbish", "rubbish-1-1"),
        ("missing", "missing-1-1"),
    ] {
        let (result, _) = scene.redd(&["good-1-1", &format!("{package}-1-1")], &[], &[]);
        let error = result.unwrap_err();
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(error) = source {
            text.push_str(&format!(": {error}"));
            source = error.source();
        }
        assert!(text.contains(what) && error.hint().is_some(), "{package}: {text}");
        scene.compare(package);
        assert!(!std::path::Path::new("/tmp/redd-escaped").exists() && !scene.path("escaped").exists());
    }
    assert!(scene.redd(&["good-1-1"], &[], &[]).0.is_ok());
}

#[test]
fn a_tree_in_which_somebody_is_at_work_is_left_alone() {
    requires!(root, program "pacman", program "bsdtar", program "busybox");
    let scene = Scene::new("mkdir -p a-1-1/srv; pkg a 1-1");
    shell(&scene.path("ours"), "touch var/lib/pacman/db.lck");
    let (result, _) = scene.redd(&["a-1-1"], &[], &[]);
    let error = result.unwrap_err();
    assert!(error.to_string().contains("db.lck") && error.hint().is_some(), "{error}");
    shell(&scene.path("ours"), "rm var/lib/pacman/db.lck");
    scene.compare("locked");
    scene.redd(&["a-1-1"], &[], &[]).0.unwrap();
}
