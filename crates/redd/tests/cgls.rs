//! The tree of control groups, beside the original's.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use testkit::{requires, run_limited};

const REDD: &str = env!("CARGO_BIN_EXE_redd");

/// Groups of a test's own, with processes in them.
struct Groups {
    top: PathBuf,
    children: Vec<Child>,
}

impl Groups {
    fn new(name: &str) -> Self {
        let mount = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(Path::new);
        let mount = mount.into_iter().find(|path| path.join("cgroup.procs").exists()).expect("cgroup2");
        let top = mount.join(format!("redd-test-{name}-{}", std::process::id()));
        std::fs::create_dir(&top).expect("group");
        Self { top, children: Vec::new() }
    }

    fn name(&self) -> String {
        self.top.file_name().expect("a name").to_string_lossy().into_owned()
    }

    fn add(&mut self, below: &str, command: &[&str]) {
        let group = self.top.join(below);
        std::fs::create_dir_all(&group).expect("group");
        let Some((program, words)) = command.split_first() else { return };
        let mut child = Command::new(program).args(words).spawn().expect("process");
        std::fs::write(group.join("cgroup.procs"), child.id().to_string()).expect("moved");
        let patience = Instant::now() + Duration::from_secs(5);
        while !std::fs::read(format!("/proc/{}/cmdline", child.id()))
            .expect("its command")
            .starts_with(program.as_bytes())
        {
            assert!(Instant::now() < patience && child.try_wait().expect("a child").is_none(), "{command:?}");
        }
        self.children.push(child);
    }

    fn remove(directory: &Path) {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                Self::remove(&entry.path());
            }
        }
        std::fs::remove_dir(directory).expect("an empty group");
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        Self::remove(&self.top);
    }
}

/// What a program prints, behind its first line.
fn tree(program: &str, words: &[&str], environment: &[(&str, &str)]) -> String {
    let mut command = Command::new(program);
    command.args(words).env("LANG", "C.UTF-8").env_remove("LC_ALL").envs(environment.iter().copied());
    let ended = run_limited(command, Vec::new(), Duration::from_secs(20)).expect_code(0);
    let (_, rest) = ended.output.split_once('\n').unwrap_or_default();
    rest.to_owned()
}

/// A delegated group, numbers of different lengths, an escaped name, a long command, an empty group.
fn some_groups(name: &str) -> Groups {
    let mut groups = Groups::new(name);
    groups.add("", &["sleep", "1000"]);
    groups.add("web.service/init.scope", &["sleep", "1001"]);
    groups.add("web.service/init.scope", &["sleep", "1002"]);
    groups.add("_memory.max", &["sleep", "1003"]);
    groups.add("deep/er/and/deeper", &["sleep", "1004"]);
    let long = "0".repeat(120);
    groups.add("deep/er", &["sleep", &long, "1005"]);
    groups.add("empty/below", &[]);
    rustix::fs::setxattr(groups.top.join("web.service"), "user.delegate", b"1", rustix::fs::XattrFlags::empty())
        .expect("attribute");
    groups
}

#[test]
fn the_tree_is_drawn_as_by_the_original() {
    requires!(root, cgroup2, program "systemd-cgls");
    let groups = some_groups("cgls");
    let path = format!("/{}", groups.name());
    // Version 252 shows numbers and attributes unless told not to.
    let plain = ["--no-pager", "--cgroup-id=no", "--xattr=no"];
    type Case = (&'static [&'static str], &'static [(&'static str, &'static str)]);
    let cases: [Case; 6] = [
        (&[], &[]),
        (&["-a"], &[]),
        (&["-l"], &[]),
        (&[], &[("COLUMNS", "30")]),
        (&[], &[("LANG", "C")]),
        (&["-a", "-k"], &[("COLUMNS", "40")]),
    ];
    for (options, environment) in cases {
        let words = [&plain[..], options, &[&path]].concat();
        let ours = tree(REDD, &[&["cgls"], &words[..]].concat(), environment);
        assert_eq!(ours, tree("systemd-cgls", &words, environment), "{options:?} {environment:?}");
    }
    let with_all = ["--no-pager", "--cgroup-id=yes", "--xattr=yes", &path];
    assert_eq!(tree(REDD, &[&["cgls"], &with_all[..]].concat(), &[]), tree("systemd-cgls", &with_all, &[]));
}

#[test]
fn groups_are_found_by_path_directory_and_working_directory() {
    requires!(root, cgroup2);
    let mut groups = Groups::new("cgls-path");
    groups.add("one", &["sleep", "1000"]);
    let number = groups.children[0].id();
    let expected = format!("└─one\n  └─{number} sleep 1000\n");
    let path = format!("/{}", groups.name());
    let directory = groups.top.to_str().expect("text").to_owned();
    for asked in [&path, &path[1..], &directory] {
        assert_eq!(tree(REDD, &["cgls", asked], &[]), expected, "{asked}");
    }
    let mut here = Command::new(REDD);
    here.arg("cgls").current_dir(&groups.top).env("LANG", "C.UTF-8");
    let ended = run_limited(here, Vec::new(), Duration::from_secs(20)).expect_code(0);
    assert_eq!(ended.output, format!("Working directory {directory}:\n{expected}"));
}

#[test]
fn what_is_not_there_is_named() {
    requires!(cgroup2);
    for (words, expected) in [
        (&["/no-such-group"][..], "/no-such-group"),
        (&["/a/../b"], "/a/../b"),
        (&["-u", "no-such-unit"], "no-such-unit.service"),
        (&["-M", "no-such-machine"], "no-such-machine"),
        (&["no-such:/x"], "no-such"),
    ] {
        let mut command = Command::new(REDD);
        command.arg("cgls").args(words);
        let ended = run_limited(command, Vec::new(), Duration::from_secs(20)).expect_code(1);
        assert!(ended.errors.contains(expected), "{ended}");
    }
}
