//! `redd bind`: files of the host in machines that run.

use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use testkit::fixture::{self, Tree};
use testkit::{Ended, HostState, Isolated, Running, requires, run_limited};

const REDD: &str = env!("CARGO_BIN_EXE_redd");
const LIMIT: Duration = Duration::from_secs(60);
const WAYS: [&[&str]; 2] = [&[], &["-U"]];

fn machine(tree: &Tree, options: &[&str]) -> Running {
    let mut command = Command::new(REDD);
    command.args(["spawn", "-q", "-P", "-D"]).arg(tree.path()).args(options).args(["/bin/sleep", "1000"]);
    Running::start(command, &tree.name())
}

fn redd(words: &[&str]) -> Ended {
    let mut command = Command::new(REDD);
    command.args(words);
    run_limited(command, Vec::new(), LIMIT)
}

fn inside(tree: &Tree, script: &str) -> Ended {
    redd(&["exec", &tree.name(), "sh", "-c", script])
}

/// Something of the host to show: files of root and of somebody else.
fn shared() -> Tree {
    let shared = fixture::empty();
    shared.write("file", "of the host\n", 0o644);
    shared.write("theirs", "", 0o600);
    std::os::unix::fs::chown(shared.join("theirs"), Some(1000), Some(1000)).expect("owner");
    shared
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ours")
}

#[test]
fn what_is_shown_is_the_hosts_with_the_right_owners() {
    requires!(root, cgroup2, idmap);
    let (tree, shared) = (fixture::tree(), shared());
    let _isolated = Isolated::enter();
    std::fs::create_dir(tree.join("srv")).expect("directory");
    for way in WAYS {
        let host = HostState::capture(tree.path(), &[]);
        let running = machine(&tree, way);
        redd(&["bind", &tree.name(), text(shared.path()), "/srv"]).expect_code(0);
        let seen = inside(&tree, "cat /srv/file; stat -c %u:%g:%a /srv /srv/file /srv/theirs; echo new > /srv/new");
        assert_eq!(seen.expect_code(0).output, "of the host\n0:0:755\n0:0:644\n1000:1000:600\n", "{way:?}");
        let new = std::fs::metadata(shared.join("new")).expect("what was made inside");
        assert_eq!((new.uid(), new.gid()), (0, 0), "{way:?}");
        std::fs::remove_file(shared.join("new")).expect("removed");
        // A file, at the same path.
        let file = shared.join("file");
        redd(&["bind", "--mkdir", &tree.name(), text(&file)]).expect_code(0);
        let made = inside(&tree, &format!("cat {0}; stat -c %u:%a $(dirname {0})", file.display())).expect_code(0);
        assert_eq!(made.output, "of the host\n0:755\n", "{way:?}");
        running.stop();
        host.assert_same();
        assert_eq!(std::fs::read_dir(tree.join("srv")).expect("directory").count(), 0, "the tree has nothing of it");
    }
}

#[test]
fn read_only_stays_read_only() {
    requires!(root, cgroup2, idmap);
    let (tree, shared) = (fixture::tree(), shared());
    let _isolated = Isolated::enter();
    std::fs::create_dir(shared.join("below")).expect("directory");
    let below = shared.join("below");
    rustix::mount::mount("tmpfs", &below, "tmpfs", rustix::mount::MountFlags::empty(), None).expect("a mount below");
    for way in WAYS {
        let running = machine(&tree, way);
        redd(&["bind", "--read-only", "--mkdir", &tree.name(), text(shared.path()), "/a/b"]).expect_code(0);
        let refused = inside(&tree, "echo x > /a/b/file; echo x > /a/b/below/x").expect_code(2);
        assert_eq!(refused.errors.matches("Read-only file system").count(), 2, "{way:?} {refused}");
        if way == ["-U"] {
            // Neither its root nor new users of its own get it writable, nor anything else than it is.
            let tries = "mount -o remount,bind,rw /a/b && echo written; mount --bind /a/b /mnt && mount -o remount,bind,rw /mnt && \
                         echo written; unshare -Urm mount -o remount,bind,rw /a/b && echo written; true";
            std::fs::create_dir_all(tree.join("mnt")).expect("directory");
            let tried = inside(&tree, tries).expect_code(0);
            assert_eq!(tried.output, "", "{tried}");
            assert!(tried.errors.contains("permission denied"), "{tried}");
        }
        running.stop();
        std::fs::remove_dir_all(tree.join("a")).expect("what --mkdir has made");
    }
    assert_eq!(std::fs::read_to_string(shared.join("file")).expect("file"), "of the host\n");
    rustix::mount::unmount(&below, rustix::mount::UnmountFlags::empty()).expect("unmounted");
}

#[test]
fn files_that_are_no_directories() {
    requires!(root, cgroup2, idmap);
    let (tree, shared) = (fixture::tree(), shared());
    let _isolated = Isolated::enter();
    let fifo = shared.join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).expect("fifo");
    let _socket = std::os::unix::net::UnixListener::bind(shared.join("socket")).expect("socket");
    for way in WAYS {
        let _running = machine(&tree, way);
        for name in ["fifo", "socket"] {
            let (source, target) = (shared.join(name), format!("/run/x/{name}"));
            redd(&["bind", "--mkdir", &tree.name(), text(&source), &target]).expect_code(0);
        }
        let kinds = inside(&tree, "stat -c %F /run/x/fifo /run/x/socket").expect_code(0);
        assert_eq!(kinds.output, "fifo\nsocket\n", "{way:?}");
    }
}

#[test]
fn links_inside_lead_nowhere_else() {
    requires!(root, cgroup2, idmap);
    let (tree, shared, victim) = (fixture::tree(), shared(), fixture::empty());
    let _isolated = Isolated::enter();
    for name in ["srv", "mnt"] {
        std::fs::create_dir_all(tree.join(name)).expect("directory");
    }
    // To a directory of the host; out by dots; to what is there inside; to itself.
    symlink(victim.path(), tree.join("absolute")).expect("link");
    symlink(format!("../../../../..{}", victim.path().display()), tree.join("dots")).expect("link");
    symlink("/srv", tree.join("good")).expect("link");
    symlink("itself", tree.join("itself")).expect("link");
    for way in WAYS {
        let host = HostState::capture(tree.path(), &[victim.path()]);
        let running = machine(&tree, way);
        let bind = |path: &str, options: &[&str]| {
            redd(&[&["bind"], options, &[&tree.name(), text(shared.path()), path]].concat())
        };
        for path in ["/absolute", "/dots", "/absolute/x"] {
            let ended = bind(path, &[]).expect_code(1);
            assert!(ended.errors.contains("there is no ") && ended.errors.contains("--mkdir makes it"), "{ended}");
            // What a link leads to is not made for it.
            bind(path, &["--mkdir"]).expect_code(1);
        }
        let ended = bind("/itself", &[]).expect_code(1);
        assert!(ended.errors.contains("links are followed inside of the machine only"), "{ended}");
        // Magic links are not followed, wherever they lead.
        for path in ["/proc/1/root/srv", "/proc/self/root/srv", "/proc/1/cwd"] {
            bind(path, &[]).expect_code(1);
            bind(path, &["--mkdir"]).expect_code(1);
        }
        bind("/good", &[]).expect_code(0);
        assert_eq!(inside(&tree, "cat /srv/file").expect_code(0).output, "of the host\n");
        running.stop();
        host.assert_same();
    }
}

#[test]
fn what_cannot_be_done_says_so_and_changes_nothing() {
    requires!(root, cgroup2, idmap);
    let (tree, shared) = (fixture::tree(), shared());
    let _isolated = Isolated::enter();
    tree.write("file", "", 0o644);
    let source = text(shared.path());
    let expect = |words: &[&str], code: i32, said: &str| {
        let ended = redd(words).expect_code(code);
        assert!(ended.errors.contains(said), "{ended}");
    };
    expect(&["bind", "inside-none", source, "/srv"], 1, "no machine named inside-none is running");
    expect(&["bind", ".host", source, "/srv"], 1, ".host is this host");
    expect(&["bind", "../x", source, "/srv"], 1, "../x");
    let name = tree.name();
    let running = machine(&tree, &["-U"]);
    expect(&["bind", &name, "/inside/none", "/srv"], 1, "cannot take /inside/none of the host: No such file");
    expect(&["bind", &name, source, "/none"], 1, &format!("there is no /none in the machine {name}"));
    expect(&["bind", &name, source, "/file"], 1, "is no directory, and");
    expect(&["bind", &name, &format!("{source}/file"), "/usr"], 1, "is a directory, and");
    expect(&["bind", &name, source, "/"], 2, "that is the whole machine");
    expect(&["bind", &name, source, "/a/../b"], 2, "it has .. in it");
    expect(&["bind", &name, source, "relative"], 2, "it is not absolute");
    expect(&["bind", "--mkdir", &name, source, "/file/x/y"], 1, "cannot look up /file/x");
    expect(&["bind", "--mkdir", &name, source, "/new/\u{1}/../y"], 2, "it has .. in it");
    let said = "which has users of its own: its file system, sysfs, cannot map owners";
    expect(&["bind", "--mkdir", &name, "/sys/kernel", "/new/a"], 1, said);
    assert!(!tree.join("new").exists());
    let unmapped = fixture::empty();
    std::fs::create_dir(unmapped.join("below")).expect("directory");
    rustix::mount::mount_bind("/sys/kernel", unmapped.join("below")).expect("a mount below");
    expect(
        &["bind", "--mkdir", &name, text(unmapped.path()), "/new"],
        1,
        "something that is mounted below it cannot map",
    );
    rustix::mount::unmount(unmapped.join("below"), rustix::mount::UnmountFlags::DETACH).expect("unmounted");
    running.stop();
    expect(&["bind", &name, source, "/srv"], 1, "no machine named");
    // Nothing can be made in a tree that is read-only, and nothing of it stays.
    let running = machine(&tree, &["--read-only"]);
    expect(&["bind", "--mkdir", &name, source, "/new"], 1, "Read-only file system");
    redd(&["bind", "--mkdir", &name, source, "/run/new"]).expect_code(0);
    let mut unprivileged = Command::new("setpriv");
    unprivileged.args(["--reuid=65534", "--clear-groups", "/proc/self/fd/0", "bind", &name, "/etc", "/srv"]);
    // By a descriptor, because the directory may be root's alone.
    let ended = unprivileged.stdin(std::fs::File::open(REDD).expect("redd")).output().expect("setpriv");
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(ended.status.code() == Some(1) && said.contains("only root may reach the files of the machine"), "{said}");
    running.stop();
}

/// A process that somebody else has registered, in the way that systemd-machined notes it.
struct Registered {
    child: Child,
}

impl Registered {
    fn start(name: &str, mut command: Command) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("a process");
        let mut registered = Self { child };
        let mut byte = [0];
        let output = registered.child.stdout.as_mut().expect("output");
        std::io::Read::read_exact(output, &mut byte).expect("it is ready");
        let text = format!("NAME={name}\nCLASS=container\nLEADER={}\nREALTIME=1\nMONOTONIC=1\n", registered.child.id());
        std::fs::write(Path::new("/run/systemd/machines").join(name), text).expect("its file");
        registered
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn machines_of_others() {
    requires!(root, cgroup2, idmap);
    let (shared, place) = (shared(), fixture::empty());
    let _isolated = Isolated::enter();
    let look = |registered: &Registered, path: &Path| {
        let path = format!("/proc/{}/root{}", registered.child.id(), path.display());
        std::fs::read_to_string(path).ok()
    };
    // Mounts of its own; users of its own beside them, to whom the mounts do not belong; both.
    let ways: [(&str, &[&str]); 3] = [
        ("inside-mounts", &["-m", "sh", "-c", "echo; exec sleep 1000"]),
        ("inside-users", &["-m", "unshare", "-Ur", "sh", "-c", "echo; exec sleep 1000"]),
        ("inside-both", &["-Urm", "sh", "-c", "echo; exec sleep 1000"]),
    ];
    for (name, words) in ways {
        let mut command = Command::new("unshare");
        command.args(words);
        let registered = Registered::start(name, command);
        let target = place.join(name).join("x");
        redd(&["bind", "--mkdir", name, text(shared.path()), text(&target)]).expect_code(0);
        assert_eq!(look(&registered, &target.join("file")).as_deref(), Some("of the host\n"), "{name}");
        assert!(!target.join("file").exists(), "{name}: the host sees nothing of it");
        let made = std::fs::metadata(&target).expect("what --mkdir has made");
        assert_eq!((made.uid(), made.mode() & 0o7777), (0, 0o755), "{name}");
        // Copies go where the machine sees them, which is the host's tree here.
        let (there, back) = (place.join(name).join("copy"), place.join(name).join("back"));
        redd(&["copy-to", name, text(shared.path()), text(&there)]).expect_code(0);
        redd(&["copy-from", name, text(&there.join("file")), text(&back)]).expect_code(0);
        assert_eq!(std::fs::read_to_string(&back).ok().as_deref(), Some("of the host\n"), "{name}");
    }
    // One that sees what the host sees.
    let mut command = Command::new("sh");
    command.args(["-c", "echo; exec sleep 1000"]);
    let registered = Registered::start("inside-same", command);
    let ended = redd(&["bind", "inside-same", text(shared.path()), "/mnt"]).expect_code(1);
    assert!(ended.errors.contains("has no mounts of its own"), "{ended}");
    drop(registered);
    redd(&["bind", "inside-same", text(shared.path()), "/mnt"]).expect_code(1);
}

/// The process of this name below another one.
fn descendant(pid: u32, name: &str) -> Option<u32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().filter_map(|child| child.parse().ok()).find_map(|child| {
        let comm = std::fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
        if comm.trim() == name { Some(child) } else { descendant(child, name) }
    })
}

#[test]
fn machines_that_systemd_nspawn_runs() {
    requires!(root, cgroup2, idmap, program "systemd-nspawn");
    let (shared, place) = (shared(), fixture::empty());
    let _isolated = Isolated::enter();
    for way in WAYS {
        // The original changes the owners of the tree where it has users of its own.
        let tree = fixture::tree();
        let name = tree.name();
        let mut command = Command::new("systemd-nspawn");
        command.args(["-q", "--register=no", "--keep-unit", "-D"]).arg(tree.path()).args(way).args(["sleep", "1000"]);
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut engine = quiet.spawn().expect("systemd-nspawn");
        let end = std::time::Instant::now() + LIMIT;
        let leader = loop {
            match descendant(engine.id(), "sleep") {
                Some(leader) => break leader,
                None => assert!(std::time::Instant::now() < end, "it does not come up"),
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let entry = format!("NAME={name}\nCLASS=container\nLEADER={leader}\nREALTIME=1\nMONOTONIC=1\n");
        std::fs::write(Path::new("/run/systemd/machines").join(&name), entry).expect("its file");
        redd(&["bind", "--mkdir", "--read-only", &name, text(shared.path()), "/shown"]).expect_code(0);
        redd(&["copy-to", &name, text(shared.path()), "/copied"]).expect_code(0);
        let back = place.join(&name);
        redd(&["copy-from", &name, "/copied", text(&back)]).expect_code(0);
        let owners = |path: &Path| std::fs::metadata(path).map(|status| (status.uid(), status.gid())).expect("a file");
        assert_eq!(owners(&back.join("theirs")), if way.is_empty() { (1000, 1000) } else { (0, 0) });
        let mut look = Command::new("nsenter");
        look.args(["-a", "-t", &leader.to_string(), "sh", "-c"]);
        look.arg("stat -c %u:%g /shown /shown/file /shown/theirs /copied /copied/file; echo x > /shown/file");
        let seen = run_limited(look, Vec::new(), LIMIT);
        let expected = ["0:0", "0:0", "1000:1000", "0:0", "0:0"];
        assert_eq!(seen.output.lines().collect::<Vec<_>>(), expected, "{way:?} {seen}");
        assert!(seen.errors.contains("Read-only file system"), "{seen}");
        let leader = rustix::process::Pid::from_raw(i32::try_from(leader).expect("a number")).expect("a process");
        rustix::process::kill_process(leader, rustix::process::Signal::KILL).expect("a signal");
        engine.wait().expect("its end");
    }
}

#[test]
fn the_original_command_line() {
    requires!(root, cgroup2);
    let (tree, shared) = (fixture::tree(), shared());
    let _isolated = Isolated::enter();
    let _running = machine(&tree, &[]);
    let links = fixture::empty();
    let machinectl = links.join("machinectl");
    symlink(REDD, &machinectl).expect("link");
    let run = |words: &[&str]| {
        let mut command = Command::new(&machinectl);
        command.args(words);
        run_limited(command, Vec::new(), LIMIT)
    };
    run(&["bind", &tree.name(), text(shared.path()), "/srv/y", "--mkdir", "--read-only"]).expect_code(0);
    assert_eq!(inside(&tree, "cat /srv/y/file").expect_code(0).output, "of the host\n");
    let ended = run(&["bind", "inside-none", "/etc", "/srv"]).expect_code(1);
    assert!(ended.errors.contains("No machine 'inside-none' known"), "{ended}");
    run(&["bind", &tree.name()]).expect_code(1);
}
