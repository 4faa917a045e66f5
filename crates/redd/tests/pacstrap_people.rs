//! Systems are installed as people do it: as the page says, in the short form, and with what goes wrong with people, disks and
//! power.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};
use rustix::process::{Pid, Signal, kill_process};
use testkit::arch::{Host, Installer, System};
use testkit::fixture::Tree;
use testkit::{Ended, HostState, Isolated, Terminal, fixture, requires, run_limited};

const LIMIT: Duration = Duration::from_secs(180);

const PROGRAM: &str = env!("CARGO_BIN_EXE_redd");

const REDD: Installer = Installer::Redd(PROGRAM);

/// The page, which is to be true.
const PAGE: &str = include_str!("../../../docs/arch.md");

/// What a person types first.
fn page() -> Vec<&'static str> {
    let (_, block) = PAGE.split_once("```sh\n").expect("a block");
    let (block, _) = block.split_once("```").expect("its end");
    block.lines().collect()
}

/// The installed packages have all their files, by the pacman that is installed here.
fn expect_whole(tree: &Path, packages: usize) {
    let mut command = Command::new("pacman");
    command.arg("--root").arg(tree).arg("--dbpath").arg(tree.join("var/lib/pacman")).arg("-Qk");
    let said = run_limited(command, Vec::new(), LIMIT).expect_code(0).output;
    assert!(said.lines().count() > packages, "{said}");
    let missing: Vec<&str> = said.lines().filter(|line| !line.ends_with(" 0 missing files")).collect();
    assert_eq!(missing, [""; 0]);
}

#[test]
fn the_page_is_typed_as_it_stands() {
    requires!(root, cgroup2, program "makepkg", program "pacman-key");
    let lines = page();
    assert_eq!(lines.len(), 3, "{lines:?}");
    let Some(system) = System::get() else { return };
    let host = Host::new(&system, &system.first());
    let home = fixture::empty();
    symlink(PROGRAM, host.join("redd")).expect("link");
    let path = format!("{}:{}", host.join("").display(), std::env::var("PATH").expect("a path"));
    let mut shell = host.command("bash");
    shell.args(["--norc", "--noprofile"]).env("HOME", home.path()).env("PATH", path).env("PS1", "here% ");
    let mut terminal = Terminal::start(shell.env("TERM", "dumb"));
    terminal.expect("here% ", LIMIT);
    terminal.write_line(lines[0]);
    terminal.expect("here% ", LIMIT);
    terminal.write_line(lines[1]);
    for question in ["Enter a number (default=1): ", "Proceed with installation? [Y/n] "] {
        terminal.expect(question, LIMIT);
        terminal.write_line("");
    }
    terminal.expect("installed 8", LIMIT);
    terminal.expect("here% ", LIMIT);
    terminal.write_line(lines[2]);
    terminal.expect("login: ", LIMIT);
    terminal.write_line("root");
    terminal.expect("# ", LIMIT);
    terminal.write_line("systemctl poweroff");
    terminal.expect("here% ", LIMIT);
    terminal.write_line("exit $?");
    assert_eq!(terminal.wait(LIMIT).code(), Some(0), "{}", terminal.transcript());
}

/// `redd bootstrap arch`
fn bootstrap(host: &Host, cache: &Path, tree: &Path) -> Command {
    let mut command = host.command(PROGRAM);
    command.args(["bootstrap", "arch", "--include", "nano", "--cache"]).arg(cache).arg(tree);
    command
}

#[test]
fn the_short_form_makes_all_of_it_or_nothing() {
    requires!(root, program "makepkg", program "pacman-key");
    let Some(system) = System::get() else { return };
    let host = Host::new(&system, &system.first());
    let (work, cache) = (fixture::empty(), fixture::empty());
    let tree = work.join("new");
    // From a mirror that has the database and not all packages.
    let half = work.join("half");
    fs::create_dir(&half).expect("directory");
    for entry in fs::read_dir(system.first()).expect("repository") {
        let path = entry.expect("entry").path();
        let name = path.file_name().expect("name").to_owned();
        if !name.to_string_lossy().starts_with("nano-") {
            symlink(&path, half.join(name)).expect("link");
        }
    }
    let broken = Host::with_mirror(&system, &format!("file://{}", half.display()));
    let said = run_limited(bootstrap(&broken, cache.path(), &tree), Vec::new(), LIMIT).expect_code(1).errors;
    assert!(said.contains("cannot fetch 'nano-12-1-") && said.contains("use another one"), "{said}");
    fs::remove_dir_all(&half).expect("removed");
    assert_eq!(names(work.path()), [""; 0]);
    // Ctrl-C, while it unpacks.
    let mut child = bootstrap(&host, cache.path(), &tree).stderr(Stdio::null()).spawn().expect("started");
    await_first(work.path(), &mut child);
    kill_process(Pid::from_child(&child), Signal::INT).expect("it runs");
    assert_eq!(child.wait().expect("a child").code(), Some(130));
    assert_eq!(names(work.path()), [""; 0]);
    // And now all of it.
    let said = run_limited(bootstrap(&host, cache.path(), &tree), Vec::new(), LIMIT).expect_code(0).errors;
    assert!(said.contains("boot it with: redd spawn -b -D "), "{said}");
    assert_eq!(names(work.path()), ["new"]);
    expect_whole(&tree, 60);
    assert!(tree.join("usr/bin/nano").exists() && tree.join("etc/pacman.d/gnupg/trustdb.gpg").exists());
    let said = run_limited(bootstrap(&host, cache.path(), &tree), Vec::new(), LIMIT).expect_code(1).errors;
    assert!(said.contains("name a directory that does not exist yet"), "{said}");
}

fn names(directory: &Path) -> Vec<String> {
    let names = fs::read_dir(directory).expect("directory");
    names.map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned()).collect()
}

/// Waits until there is something in the directory that is being made.
fn await_first(work: &Path, child: &mut Child) {
    let begun = || {
        let staging: Option<PathBuf> = names(work).first().map(|name| work.join(name));
        staging.is_some_and(|staging| staging.join("usr/share").exists())
    };
    while !begun() {
        assert!(child.try_wait().expect("a child").is_none(), "it ended before");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A configuration that does not look for room first.
fn without_a_look(host: &Host, repository: &Path) -> PathBuf {
    let path = host.join("unchecked.conf");
    let text = format!(
        "[options]\nArchitecture = auto\nSigLevel = Required\n[core]\nServer = file://{}\n",
        repository.display()
    );
    fs::write(&path, text).expect("file");
    path
}

#[test]
fn a_full_disk_is_told_of_and_the_next_run_goes_on() {
    requires!(root, program "makepkg", program "pacman-key");
    let Some(system) = System::get() else { return };
    let host = Host::new(&system, &system.first());
    let isolated = Isolated::enter();
    let tree = fixture::empty();
    mount("tmpfs", tree.path(), "tmpfs", MountFlags::empty(), c"size=40m").expect("tmpfs");
    let install = |configuration: Option<&Path>| -> Ended {
        let mut command = REDD.command(&host, &["-c"], tree.path(), &["base"]);
        if let Some(configuration) = configuration {
            command.arg("-C").arg(configuration);
        }
        run_limited(command, Vec::new(), LIMIT)
    };
    // Looked for beforehand: nothing is unpacked.
    let said = install(None).expect_code(1).errors;
    assert!(said.contains("not enough room") || said.contains("make room"), "{said}");
    assert!(!tree.join("usr").exists(), "{:?}", names(tree.path()));
    // Found out in the middle.
    let unchecked = without_a_look(&host, &system.first());
    let said = install(Some(&unchecked)).expect_code(1).errors;
    assert!(said.contains("No space left on device") && said.contains("make room"), "{said}");
    assert!(tree.join("usr").exists());
    mount_remount(tree.path(), MountFlags::empty(), c"size=2g").expect("more room");
    install(Some(&unchecked)).expect_code(0);
    expect_whole(tree.path(), 60);
    unmount(tree.path(), UnmountFlags::DETACH).expect("unmounted");
    drop(isolated);
}

/// Any bytes can be typed.
#[test]
fn odd_words_and_keys_are_told_of() {
    requires!(root, program "makepkg", program "pacman-key");
    let Some(system) = System::get() else { return };
    let host = Host::new(&system, &system.first());
    let tree = fixture::empty();
    host.configure("SigLevel = Required\nDBPath = /nowhere\nHookDir = /nowhere\n");
    let odd = tree.path().join(OsStr::from_bytes(b"\xff\n"));
    let command = REDD.command(&host, &["-c", "-d"], &odd, &["pacman-mirrorlist", "helo"]);
    let said = run_limited(command, Vec::new(), LIMIT).expect_code(1).errors;
    assert!(said.contains("warning: DBPath of /etc/pacman.conf is passed over: the new system has its own"), "{said}");
    assert!(said.contains("warning: HookDir of /etc/pacman.conf is passed over"), "{said}");
    assert!(said.contains("there is no package or group 'helo'"), "{said}");
    run_limited(REDD.command(&host, &["-c", "-d"], &odd, &["pacman-mirrorlist"]), Vec::new(), LIMIT).expect_code(0);
    let log = fs::read_to_string(odd.join("var/log/pacman.log")).expect("a log");
    assert!(
        log.lines().all(|line| line.starts_with('[')) && log.contains("\u{fffd}\u{fffd} pacman-mirrorlist'"),
        "{log}"
    );
    // A configuration without a repository is copied, too.
    let text = "[options]\nArchitecture = auto\n";
    fs::write(host.join("etc/pacman.conf"), text).expect("file");
    let package = fs::read_dir(system.first()).expect("repository").find_map(|entry| {
        let path = entry.expect("entry").path();
        let name = path.file_name()?.to_string_lossy().into_owned();
        (name.starts_with("pacman-mirrorlist-") && !name.ends_with(".sig")).then_some(path)
    });
    let package = package.expect("a package").to_string_lossy().into_owned();
    let command = REDD.command(&host, &["-P", "-U", "-d", "-D"], tree.path(), &[&package]);
    run_limited(command, Vec::new(), LIMIT).expect_code(0);
    assert_eq!(fs::read_to_string(tree.join("etc/pacman.conf")).expect("copied"), text);
}

/// A terminal on which the question whether to go on is waiting for its answer.
fn asked(host: &Host, tree: &Tree) -> Terminal {
    let mut terminal = Terminal::start(&mut REDD.command(host, &["-i", "-c", "-d"], tree.path(), &["base"]));
    terminal.expect("Enter a number (default=1): ", LIMIT);
    terminal.write_line("");
    terminal.expect("Proceed with installation? [Y/n] ", LIMIT);
    terminal
}

#[test]
fn who_leaves_a_question_has_installed_nothing() {
    requires!(root, program "makepkg", program "pacman-key");
    let Some(system) = System::get() else { return };
    let host = Host::new(&system, &system.first());
    let tree = fixture::empty();
    let before = HostState::capture(tree.path(), &[]);
    let nothing = || {
        assert!(!tree.join("usr").exists() && !tree.join("var/lib/pacman/db.lck").exists());
        before.assert_same();
    };
    // The window is closed.
    let mut terminal = asked(&host, &tree);
    let pid = Pid::from_raw(terminal.pid().cast_signed()).expect("a process");
    kill_process(pid, Signal::HUP).expect("it runs");
    assert!(!terminal.wait(LIMIT).success(), "{}", terminal.transcript());
    nothing();
    // Ctrl-C, Ctrl-D and no.
    for (typed, code) in [("\u{3}", None), ("\u{4}", Some(1)), ("n\r", Some(1))] {
        let mut terminal = asked(&host, &tree);
        terminal.write(typed);
        let status = terminal.wait(LIMIT);
        assert!(code.is_none_or(|code| status.code() == Some(code)), "{typed:?}: {status}: {}", terminal.transcript());
        assert!(!status.success(), "{typed:?}: {}", terminal.transcript());
        nothing();
    }
}

#[test]
#[ignore = "a minute: for the acceptance"]
fn killed_whenever_it_is_completed_by_the_next_run() {
    requires!(root, program "makepkg", program "pacman-key");
    let Some(system) = System::get() else { return };
    let host = Host::new(&system, &system.first());
    let tree = fixture::empty();
    let before = HostState::capture(tree.path(), &[]);
    let mut kills = 0;
    for round in 0..12_u64 {
        let mut command = REDD.command(&host, &["-c", "-d", "-q"], tree.path(), &["base"]);
        let mut child = command.stderr(Stdio::null()).spawn().expect("started");
        std::thread::sleep(Duration::from_millis(300 + 250 * round));
        kills += u32::from(child.try_wait().expect("a child").is_none());
        child.kill().expect("a child");
        child.wait().expect("a child");
        if round % 3 == 2 {
            run_limited(REDD.command(&host, &["-c", "-d", "-q"], tree.path(), &["base"]), Vec::new(), LIMIT)
                .expect_code(0);
            expect_whole(tree.path(), 60);
            before.assert_same();
            for name in names(tree.path()) {
                let path = tree.join(&name);
                if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.expect("removed");
            }
        }
    }
    assert!(kills > 4, "only {kills} of them were killed");
}
