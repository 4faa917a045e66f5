//! Ids of containers: those of two never overlap, and the host's are not seen inside.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use testkit::{HostState, Isolated, Spawn, fixture, requires};

const BINARY: &str = env!("CARGO_BIN_EXE_redd-spawn");

const SHIFTED: u32 = 0x000d_0000;
const FOREIGN: u32 = 0x7ffe_0000;

/// Options, and the first id of the tree's files on disk.
const MODES: [(&[&str], u32); 15] = [
    (&["-U"], 0),
    (&["-U", "--private-network"], 0),
    (&["--private-users=pick", "--private-users-ownership=map"], 0),
    (&["--private-users=pick", "--private-users-ownership=chown"], 0),
    (&["--private-users=pick", "--private-users-ownership=foreign"], FOREIGN),
    (&["-U"], FOREIGN),
    (&["-U", "-x"], FOREIGN),
    (&["-U", "--volatile=overlay"], FOREIGN),
    (&["--private-users=yes"], SHIFTED),
    (&["--private-users=yes", "-x"], SHIFTED),
    (&["--private-users=851968:65536"], SHIFTED),
    (&["-U", "-x"], 0),
    (&["-x", "--private-users=pick", "--private-users-ownership=chown"], 0),
    (&["-U", "--volatile=state"], 0),
    (&["-U", "--volatile=overlay"], 0),
];

fn tree(owner: u32) -> fixture::Tree {
    let tree = fixture::tree();
    // Places that a read-only root must have.
    std::fs::create_dir_all(tree.join("mnt")).expect("directory");
    tree.write("srv/hostname", "", 0o644);
    give(&tree, owner);
    tree
}

fn give(tree: &fixture::Tree, owner: u32) {
    let mut command = Command::new("chown");
    assert!(command.args(["-hR", &format!("{owner}:{owner}")]).arg(tree.path()).status().expect("chown").success());
}

/// What no id of the container belongs to, without what is the kernel's: proc and sysfs are the host root's by nature.
const STRANGERS: &str = "find / \\( -path /proc -o -path /sys \\) -prune -o \\( -uid 65534 -o -gid 65534 \\) -print; \
     for file in /sys/fs/cgroup /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/cgroup.subtree_control; \
     do stat -c '%u:%g %n' $file | grep -v ^0:0; done; \
     touch /tmp/new /run/new; stat -c '%u:%g %n' /tmp/new /run/new | grep -v ^0:0; echo looked";

#[test]
fn no_file_inside_is_a_strangers() {
    requires!(root, cgroup2, userns, idmap, program "chown");
    let _isolated = Isolated::enter();
    for (options, owner) in MODES {
        let tree = tree(owner);
        let before = HostState::capture(tree.path(), &[]);
        let ended = Spawn::redd(BINARY, tree.path())
            .args(options)
            .args(["--bind=/etc/hostname:/srv/hostname:idmap", "--tmpfs=/mnt", "/bin/sh", "-c", STRANGERS])
            .run()
            .expect_code(0);
        assert_eq!(ended.output.trim_end(), "looked", "{options:?} on {owner}: {ended}");
        before.assert_same();
    }
}

/// What is written in the container has on disk the ids that the tree has.
#[test]
fn what_is_written_has_the_trees_ids_on_disk() {
    use std::os::unix::fs::MetadataExt;
    requires!(root, cgroup2, userns, idmap, program "chown");
    let _isolated = Isolated::enter();
    for (options, owner) in MODES {
        if options.contains(&"-x") || options.iter().any(|option| option.starts_with("--volatile")) {
            continue;
        }
        let tree = tree(owner);
        let script = "mkdir -p /srv/d; touch /srv/d/f; chown 7:8 /srv/d/f; stat -c %u:%g /srv/d/f";
        let ended = Spawn::redd(BINARY, tree.path()).args(options).args(["/bin/sh", "-c", script]).run().expect_code(0);
        assert_eq!(ended.output.trim_end(), "7:8", "{options:?}: {ended}");
        let status = tree.join("srv/d/f").metadata().expect("the file");
        let base = tree.path().metadata().expect("the tree").uid();
        assert_eq!((status.uid(), status.gid()), (base + 7, base + 8), "{options:?}");
    }
}

#[test]
fn parts_of_the_tree_are_mapped_from_where_the_tree_is() {
    requires!(root, cgroup2, userns, idmap, program "chown");
    let _isolated = Isolated::enter();
    for base in [0, FOREIGN] {
        let tree = tree(base);
        std::fs::create_dir_all(tree.join("srv/of-five")).expect("directory");
        give(&tree, base);
        std::os::unix::fs::chown(tree.join("srv/of-five"), Some(base + 5), Some(base + 5)).expect("owner");
        let ended = Spawn::redd(BINARY, tree.path())
            .args(["-U", "--bind=+/srv/of-five:/mnt:rootidmap", "stat", "-c", "%u:%g", "/srv/of-five", "/mnt"])
            .run();
        if ended.errors.contains("only Linux 6.15") {
            println!("SKIPPED: this kernel cannot map a mount anew");
            return;
        }
        let ended = ended.expect_code(0);
        assert_eq!(ended.output.split_whitespace().collect::<Vec<_>>(), ["5:5", "0:0"], "{base}: {ended}");
    }
}

/// A machine that tells its ids and waits for the end of its input.
struct Machine {
    child: Child,
    first: u32,
}

fn start(program: &str, tree: &Path, options: &[&str]) -> Child {
    let mut command = Command::new(program);
    command.args(["-q", "--pipe", "--register=no", "--keep-unit", "-D"]).arg(tree).args(options);
    command.args(["/bin/sh", "-c", "cat /proc/self/uid_map; read -r word"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().expect("start")
}

impl Machine {
    fn listen(mut child: Child) -> Self {
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("output")).read_line(&mut line).expect("a line");
        let words: Vec<u32> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        assert_eq!((words.first(), words.get(2)), (Some(&0), Some(&65536)), "{line:?}");
        Self { child, first: words[1] }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

#[test]
fn machines_that_start_at_once_have_different_ids() {
    requires!(root, cgroup2, userns, idmap);
    let _isolated = Isolated::enter();
    let (shared, own) = (tree(0), tree(0));
    let mut children: Vec<Child> = (0..12).map(|_| start(BINARY, shared.path(), &["-x", "-U"])).collect();
    children.push(start(BINARY, own.path(), &["--private-users=pick", "--private-users-ownership=chown"]));
    let mut machines: Vec<Machine> = children.into_iter().map(Machine::listen).collect();
    if Command::new("systemd-nspawn").arg("--version").output().is_ok_and(|output| output.status.success()) {
        // One that would like the range of a machine that runs.
        for running in [machines[0].first, machines[12].first] {
            let tree = tree(running);
            let options = ["--private-users=pick", "--private-users-ownership=chown"];
            machines.push(Machine::listen(start("systemd-nspawn", tree.path(), &options)));
        }
        // And the other way round.
        let tree = tree(machines[13].first);
        machines.push(Machine::listen(start(BINARY, tree.path(), &["-U"])));
    }
    let mut firsts: Vec<u32> = machines.iter().map(|machine| machine.first).collect();
    firsts.sort_unstable();
    assert!(firsts.windows(2).all(|pair| pair[1] - pair[0] >= 65536), "{firsts:?}");
    assert!(firsts.iter().all(|first| (0x8_0000..=0x6fff_0000).contains(first) && first % 65536 == 0), "{firsts:?}");
    drop(machines);
}

#[test]
fn a_machine_keeps_its_ids_and_those_of_a_running_one_are_refused() {
    requires!(root, cgroup2, userns, idmap);
    let _isolated = Isolated::enter();
    let (first, second) = (tree(0), tree(0));
    let ids = |tree: &fixture::Tree| Machine::listen(start(BINARY, tree.path(), &["-U"])).first;
    let of_first = ids(&first);
    assert_eq!(ids(&first), of_first);
    let running = Machine::listen(start(BINARY, first.path(), &["-U"]));
    let range = format!("--private-users={}", running.first);
    let ended = Spawn::redd(BINARY, second.path()).args([&range, "/bin/true"]).run();
    assert!(ended.code() != 0 && ended.errors.contains("in use by another container"), "{ended}");
    drop(running);
    Spawn::redd(BINARY, second.path()).args([&range, "/bin/true"]).run().expect_code(0);
    // Two that were given the same one have it both.
    let machines =
        [start(BINARY, first.path(), &[&range]), start(BINARY, second.path(), &[&range])].map(Machine::listen);
    assert_eq!(machines[0].first, machines[1].first);
}
