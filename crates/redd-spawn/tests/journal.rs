//! The container's journal on the host: linked for real systems, undone where nothing has started, safe from the tree.

use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use testkit::{Ended, HostState, Isolated, Spawn, fixture, requires};

const REDD: &str = env!("CARGO_BIN_EXE_redd-spawn");
const LIMIT: Duration = Duration::from_secs(120);
const ID: &str = "0123456789abcdef0123456789abcdef";

/// A host of the test's own that keeps journals, in memory.
struct Host {
    _isolated: Isolated,
}

impl Host {
    fn new() -> Self {
        let isolated = Isolated::enter();
        rustix::mount::mount("tmpfs", "/var/log", "tmpfs", rustix::mount::MountFlags::empty(), c"mode=755")
            .expect("tmpfs");
        std::fs::create_dir(plan::JOURNALS).expect("directory");
        Self { _isolated: isolated }
    }

    fn entry(&self, id: &str) -> PathBuf {
        Path::new(plan::JOURNALS).join(id)
    }

    /// What is below `/var/log/journal`.
    fn all(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(plan::JOURNALS).expect("directory").flatten();
        entries.map(|entry| entry.path()).collect()
    }
}

/// Boots the tree; a service says something and powers the system off.
fn boot(tree: &Path, work: &Path, options: &[&str]) -> Ended {
    let unit = "[Service]\nType=oneshot\nExecStart=/bin/echo the-words-of-the-container\n\
        ExecStart=/bin/journalctl --sync\nExecStart=/bin/systemctl --no-block poweroff\n";
    std::fs::write(work.join("mark.service"), unit).expect("unit");
    let bind = format!("--bind-ro={}:/etc/systemd/system/mark.service", work.join("mark.service").display());
    let spawn = Spawn::redd(REDD, tree).args(["-b", "--console=read-only"]).arg(bind).args(options);
    spawn.arg("systemd.wants=mark.service").limit(LIMIT).run()
}

/// Whether a journal file in the directory has what the service said.
fn has_words(directory: &Path) -> bool {
    let wanted = b"MESSAGE=the-words-of-the-container";
    std::fs::read_dir(directory).expect("journal directory").flatten().any(|file| {
        let bytes = std::fs::read(file.path()).expect("journal");
        bytes.windows(wanted.len()).any(|window| window == wanted)
    })
}

#[test]
fn a_system_writes_its_journal_to_the_host() {
    requires!(root, cgroup2);
    let Some(tree) = fixture::debian_tree() else { return };
    let work = tempfile::tempdir_in(fixture::place()).expect("directory");
    let host = Host::new();
    for users in [&[][..], &["-U"]] {
        if !users.is_empty() {
            requires!(userns, idmap);
        }
        let before = HostState::capture(&tree, &[]);
        // The tree's own name may be another test's.
        let name = format!("--machine=journal-{}", std::process::id());
        let options = ["--volatile=overlay", "--link-journal=host", &name, &format!("--uuid={ID}")];
        let ended = boot(&tree, work.path(), &[&options[..], users].concat());
        assert_eq!(ended.code(), 0, "{ended}");
        before.assert_same();
        let entry = host.entry(ID);
        assert!(
            has_words(&entry),
            "{users:?}: {:?}",
            std::fs::read_dir(&entry).expect("directory").flatten().collect::<Vec<_>>()
        );
        let system = entry.join("system.journal");
        assert_eq!(std::fs::metadata(&system).expect("journal").uid(), 0, "{users:?}");
        // As it is prepared now, the next start does the same by itself.
        for file in std::fs::read_dir(&entry).expect("directory").flatten() {
            std::fs::remove_file(file.path()).expect("remove");
        }
        let options = ["--volatile=overlay", &name, &format!("--uuid={ID}")];
        assert_eq!(boot(&tree, work.path(), &[&options[..], users].concat()).code(), 0);
        assert!(has_words(&entry), "{users:?}: auto");
        std::fs::remove_dir_all(&entry).expect("remove");
    }
}

#[test]
fn the_host_looks_into_the_systems_own_journal() {
    requires!(root, cgroup2);
    let Some(model) = fixture::debian_tree() else { return };
    let work = tempfile::tempdir_in(fixture::place()).expect("directory");
    let host = Host::new();
    let tree = fixture::empty();
    fixture::copy(&model, tree.path());
    std::fs::write(tree.join("/etc/machine-id"), format!("{ID}\n")).expect("machine id");
    let entry = host.entry(ID);
    assert_eq!(boot(tree.path(), work.path(), &["-j"]).code(), 0);
    assert_eq!(std::fs::read_link(&entry).expect("a link"), tree.join(&format!("/var/log/journal/{ID}")));
    assert!(has_words(&entry));
    // With users of its own the files stay where they are, and so does the link.
    assert_eq!(boot(tree.path(), work.path(), &["-U"]).code(), 0);
    assert!(has_words(&entry));
    assert_eq!(host.all(), [entry]);
    // A copy has a journal of its own, which nobody sees.
    assert_eq!(boot(tree.path(), work.path(), &["-x", "--link-journal=try-guest", "--machine=copy"]).code(), 0);
    assert_eq!(host.all(), [host.entry(ID)]);
}

#[test]
fn a_start_that_fails_leaves_what_was_there() {
    requires!(root, cgroup2);
    let host = Host::new();
    let entry = host.entry(ID);
    let uuid = format!("--uuid={ID}");
    for mode in ["--link-journal=host", "--link-journal=guest"] {
        let tree = fixture::tree();
        let fails = || {
            let ended = Spawn::redd(REDD, tree.path()).args([mode, &uuid, "/no/such/program"]).run();
            assert_eq!(ended.code(), 1, "{mode}: {ended}");
        };
        fails();
        assert!(host.all().is_empty(), "{mode}: {:?}", host.all());
        symlink("/elsewhere", &entry).expect("link");
        fails();
        assert_eq!(std::fs::read_link(&entry).expect("the old link"), Path::new("/elsewhere"), "{mode}");
        std::fs::remove_file(&entry).expect("remove");
        std::fs::create_dir(&entry).expect("directory");
        fails();
        assert!(std::fs::symlink_metadata(&entry).expect("the old directory").is_dir(), "{mode}");
        std::fs::remove_dir(&entry).expect("remove");
        // What was prepared stays if something has started, whatever becomes of that.
        let ended = Spawn::redd(REDD, tree.path()).args([mode, &uuid, "/bin/false"]).run();
        assert_eq!(ended.code(), 1, "{mode}: {ended}");
        assert_eq!(host.all(), std::slice::from_ref(&entry), "{mode}");
        if mode.ends_with("host") { std::fs::remove_dir(&entry) } else { std::fs::remove_file(&entry) }
            .expect("remove");
    }
}

#[test]
fn links_in_the_tree_lead_nowhere_on_the_host() {
    requires!(root, cgroup2);
    let host = Host::new();
    let uuid = format!("--uuid={ID}");
    for place in ["/var", "/var/log", "/var/log/journal"] {
        for mode in ["--link-journal=host", "--link-journal=guest", "--link-journal=try-guest"] {
            let outside = tempfile::tempdir_in(fixture::place()).expect("directory");
            for name in ["log", "journal", "log/journal"] {
                std::fs::create_dir_all(outside.path().join(name)).expect("directory");
            }
            let tree = fixture::tree();
            let _ = std::fs::remove_dir_all(tree.join(place));
            std::fs::create_dir_all(tree.join(place).parent().expect("a parent")).expect("directory");
            symlink(outside.path(), tree.join(place)).expect("link");
            let before = HostState::capture(tree.path(), &[outside.path()]);
            let ended = Spawn::redd(REDD, tree.path()).args([mode, &uuid, "--pipe"]).script("echo up").run();
            assert!(matches!(ended.code(), 0 | 1), "{place} {mode}: {ended}");
            before.assert_same();
            for entry in host.all() {
                let _ = std::fs::remove_file(&entry).or_else(|_| std::fs::remove_dir(&entry));
            }
        }
    }
}

#[test]
fn two_machines_with_the_hosts_id_are_told() {
    requires!(root, cgroup2);
    let host = Host::new();
    let tree = fixture::tree();
    let own = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
    if own.trim().len() != 32 {
        return;
    }
    let uuid = format!("--uuid={}", own.trim());
    let refused = Spawn::redd(REDD, tree.path()).args(["--link-journal=guest", &uuid, "true"]).run().expect_code(1);
    assert!(refused.errors.contains("the host's own id"), "{refused}");
    let loud = Spawn::new(&testkit::Engine::Redd(REDD.into())).arg("-D").arg(tree.path());
    let told = loud.args(["-j", &uuid, "--pipe", "true"]).run().expect_code(0);
    assert!(told.errors.contains("The journal is not linked: the machine has the host's own id"), "{told}");
    assert!(host.all().is_empty());
}
