//! What a test needs of the machine.

use std::path::{Path, PathBuf};
use std::process::Command;

/// One thing that not every machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// To be root with all usual capabilities.
    Root,
    /// A cgroup2 hierarchy that groups can be made in.
    Cgroup2,
    /// Control groups that limit memory, processors and processes, of whatever version.
    Limits,
    /// User namespaces.
    UserNamespaces,
    /// The file system of temporary trees can map ids.
    IdMap,
    /// Loop devices.
    Loop,
    /// A program in `$PATH`.
    Program(&'static str),
    /// A file or directory.
    Path(&'static str),
}

/// Finds a program in `$PATH` or in a system directory.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(system).map(|directory| directory.join(name)).find(|path| path.is_file())
}

impl Requirement {
    fn is_met(self) -> bool {
        match self {
            Self::Root => rustix::process::geteuid().is_root() && unshare_works(&["--mount"]),
            Self::Cgroup2 => cgroup2_mount().is_some(),
            Self::Limits => ["memory", "cpu", "cpuset", "pids"].into_iter().all(has_controller),
            Self::UserNamespaces => unshare_works(&["--user"]),
            Self::IdMap => id_map_works(),
            Self::Loop => Path::new("/dev/loop-control").exists(),
            Self::Program(name) => find_program(name).is_some(),
            Self::Path(path) => Path::new(path).exists(),
        }
    }
}

/// Version 1 has a hierarchy for it, or cgroup2 has it at its root.
fn has_controller(name: &str) -> bool {
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let listed =
        groups.lines().any(|line| line.split(':').nth(1).is_some_and(|all| all.split(',').any(|one| one == name)));
    listed || {
        let file = cgroup2_mount().map(|mount| mount.join("cgroup.controllers"));
        let text = file.and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
        text.split_whitespace().any(|one| one == name)
    }
}

fn unshare_works(options: &[&str]) -> bool {
    Command::new("unshare").args(options).arg("true").output().is_ok_and(|output| output.status.success())
}

/// Where cgroup2 is mounted.
pub(crate) fn cgroup2_mount() -> Option<PathBuf> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let line = table.lines().find(|line| line.contains(" - cgroup2 "))?;
    line.split(' ').nth(4).map(PathBuf::from)
}

/// Asks the kernel: maps the ids of a detached mount of the directory that trees are made in.
fn id_map_works() -> bool {
    // The file systems whose mounts can map ids as of Linux 6.12, by the magic number that statfs(2) gives.
    const MAGIC: [u64; 6] = [0xef53, 0x9123_683e, 0x5846_5342, 0x0102_1994, 0xf2f5_2010, 0xca45_1a4e];
    rustix::fs::statfs(crate::fixture::place()).is_ok_and(|status| MAGIC.contains(&(status.f_type as u64)))
}

/// The first requirement that the machine does not meet, in words. With `REDD_REQUIRED=1` that is a failure.
///
/// # Panics
/// Where a requirement is not met and `REDD_REQUIRED=1` is set.
pub fn missing(requirements: &[Requirement]) -> Option<String> {
    let missing = requirements.iter().find(|requirement| !requirement.is_met())?;
    let text = format!("{missing:?}");
    assert!(std::env::var_os("REDD_REQUIRED").is_none_or(|value| value != "1"), "REDD_REQUIRED=1, and needs {text}");
    Some(text)
}

/// Ends the test here, and says so, where the machine lacks something: `requires!(root, idmap, program "ip")`.
#[macro_export]
macro_rules! requires {
    (@one root) => { $crate::Requirement::Root };
    (@one cgroup2) => { $crate::Requirement::Cgroup2 };
    (@one limits) => { $crate::Requirement::Limits };
    (@one userns) => { $crate::Requirement::UserNamespaces };
    (@one idmap) => { $crate::Requirement::IdMap };
    (@one loop) => { $crate::Requirement::Loop };
    (@one program $name:literal) => { $crate::Requirement::Program($name) };
    (@one path $name:literal) => { $crate::Requirement::Path($name) };
    ($($kind:tt $($value:literal)?),+ $(,)?) => {
        if let Some(missing) = $crate::missing(&[$($crate::requires!(@one $kind $($value)?)),+]) {
            println!("SKIPPED {}: needs {missing}", module_path!());
            return;
        }
    };
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_there_is_found_and_what_is_not_ends_the_test() {
        crate::requires!(program "sh", path "/");
        if std::env::var_os("REDD_REQUIRED").is_some() {
            return;
        }
        let go = || {
            crate::requires!(program "no-such-program-anywhere");
            panic!("went on");
        };
        go();
    }
}
