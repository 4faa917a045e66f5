//! The control groups of a machine's first process, which its commands are in, too: where an init system runs inside, that is
//! the one group that surely takes processes.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat, statfs};
use rustix::io::Errno;

/// What statfs(2) says of a cgroup2 file system.
const CGROUP2_MAGIC: rustix::fs::FsWord = 0x6367_7270;
/// Where cgroup2 is: alone, or beside version 1.
const UNIFIED: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
/// Where the hierarchies of version 1 are.
const HIERARCHIES: &str = "/sys/fs/cgroup";

/// The groups to be entered.
#[derive(Debug)]
pub(super) struct Groups {
    /// That of cgroup2.
    pub(super) unified: Option<OwnedFd>,
    /// The files that take processes, in hierarchies of version 1 where it is in another group than we are.
    pub(super) others: Vec<PathBuf>,
}

/// Those of the process with this number.
///
/// # Errors
/// Those of reading `/proc` and of opening the group of cgroup2.
pub(super) fn of(pid: i32) -> rustix::io::Result<Groups> {
    let read = |who: &str| std::fs::read_to_string(format!("/proc/{who}/cgroup")).map_err(|_| Errno::SRCH);
    let (theirs, ours) = (read(&pid.to_string())?, read("self")?);
    let mut groups = Groups { unified: None, others: Vec::new() };
    for line in theirs.lines() {
        let Some((controllers, path)) = parse(line) else { continue };
        if controllers.is_empty() {
            groups.unified = unified(path)?;
        } else if !ours.lines().any(|own| parse(own) == Some((controllers, path))) {
            let name = controllers.strip_prefix("name=").unwrap_or(controllers);
            groups.others.push(Path::new(HIERARCHIES).join(name).join(relative(path)).join("cgroup.procs"));
        }
    }
    Ok(groups)
}

impl Groups {
    /// Enters those of version 1.
    ///
    /// # Errors
    /// Those of writing: a limit is never left behind silently. A hierarchy that is not mounted limits nothing.
    pub(super) fn enter_others(&self) -> rustix::io::Result<()> {
        for path in &self.others {
            let file = OpenOptions::new().write(true).open(path);
            match file.and_then(|mut file| file.write_all(b"0")) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                other => other.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?,
            }
        }
        Ok(())
    }
}

/// Controllers and path of a line, see cgroups(7).
fn parse(line: &str) -> Option<(&str, &str)> {
    let (_, rest) = line.split_once(':')?;
    rest.split_once(':')
}

fn relative(path: &str) -> &str {
    path.trim_start_matches('/')
}

fn unified(path: &str) -> rustix::io::Result<Option<OwnedFd>> {
    for place in UNIFIED {
        if statfs(place).is_ok_and(|status| status.f_type == CGROUP2_MAGIC) {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            return openat(CWD, Path::new(place).join(relative(path)), flags, Mode::empty()).map(Some);
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        assert_eq!(parse("0::/redd/a/payload"), Some(("", "/redd/a/payload")));
        assert_eq!(parse("4:memory:/a:b"), Some(("memory", "/a:b")));
        assert_eq!(parse("nonsense"), None);
    }

    #[test]
    fn our_own_are_no_others() {
        let own = of(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(own.others.is_empty(), "{own:?}");
    }
}
