//! What a machine's first process may, as the host's kernel says: all that is known of machines that others run, and of ours
//! what nobody has written down. Resources are taken over from it.

use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, setrlimit};
use sys::seccomp::Instruction;

use crate::confinement::{Confinement, Filter, Limit};
use crate::rlimit;

/// How long it may take to stop.
const STILL: Duration = Duration::from_secs(5);

/// Its standing.
#[derive(Debug)]
pub(super) struct Leader {
    /// See proc_pid_status(5): of which the values here are.
    status: String,
    /// The adjustment of its badness when memory runs out.
    oom_score_adjust: String,
    /// Its execution domain.
    personality: String,
    /// Its resource limits.
    limits: Vec<(Resource, Rlimit)>,
    process: Pid,
}

impl Leader {
    /// That of the process with this number.
    ///
    /// # Errors
    /// `ESRCH` if it is gone, `EINVAL` for a kernel that tells something else.
    pub(super) fn of(pid: i32) -> rustix::io::Result<Self> {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).map_err(|_| Errno::SRCH);
        let process = Pid::from_raw(pid).ok_or(Errno::SRCH)?;
        let limit = |resource| {
            let resource = rlimit::resource(resource);
            sys::process::limit_of(process, resource).map(|limit| (resource, limit))
        };
        let limits = spec::Resource::ALL.into_iter().map(limit).collect::<rustix::io::Result<_>>()?;
        let (oom_score_adjust, personality) = (read("oom_score_adj")?, read("personality")?);
        Ok(Self { status: read("status")?, oom_score_adjust, personality, limits, process })
    }

    fn field(&self, name: &str) -> rustix::io::Result<&str> {
        let value = self.status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.map(str::trim).ok_or(Errno::INVAL)
    }

    /// What confines it, as the kernel says: it is stopped for a moment where it has a filter of system calls.
    ///
    /// # Errors
    /// `EINVAL`; those of [`sys::trace::filters_of`] if it has filters that cannot be read.
    pub(super) fn confinement(&self) -> rustix::io::Result<Confinement> {
        let capabilities = u64::from_str_radix(self.field("CapBnd")?, 16).map_err(|_| Errno::INVAL)?;
        let no_new_privileges = self.field("NoNewPrivs")? == "1";
        // The lowest byte is the domain: 8 is that of 32-bit programs, see personality(2).
        let domain = u32::from_str_radix(self.personality.trim(), 16).map_err(|_| Errno::INVAL)? & 0xff;
        let personality = (domain == 8).then(|| "x86".to_owned());
        // A kernel without filters does not name them.
        let filters = if self.field("Seccomp").unwrap_or("0") == "0" {
            Vec::new()
        } else {
            sys::trace::filters_of(self.process, STILL)?.iter().map(|filter| written(filter)).collect()
        };
        Ok(Confinement { capabilities, no_new_privileges, filters, personality, ..Confinement::default() })
    }

    /// Takes over what needs the host's privileges or its `/proc`, for the calling process. The control groups come before.
    ///
    /// # Errors
    /// Those of writing and of sched_setaffinity(2). Where we may not have what it has, we keep to less.
    pub(super) fn take_over(&self, confinement: &Confinement) -> rustix::io::Result<()> {
        let adjusted = std::fs::write("/proc/self/oom_score_adj", &self.oom_score_adjust);
        match adjusted.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO)) {
            // Ours is higher, and we may not lower it.
            Err(Errno::ACCESS | Errno::PERM) => {}
            other => other?,
        }
        sys::process::set_cpu_affinity(&processors(self.field("Cpus_allowed_list")?).ok_or(Errno::INVAL)?)?;
        for (resource, wanted) in self.limits(confinement) {
            let present = getrlimit(resource);
            if rlimit::within(&wanted, &present).maximum != wanted.maximum {
                // Only raised: what we still do is not limited by it.
                match setrlimit(resource, Rlimit { current: present.current, maximum: wanted.maximum }) {
                    Err(Errno::PERM) => {}
                    other => other?,
                }
            }
        }
        Ok(())
    }

    /// Limits the calling process to what the command may have.
    ///
    /// # Errors
    /// Those of setrlimit(2).
    pub(super) fn limit(&self, confinement: &Confinement) -> rustix::io::Result<()> {
        for (resource, wanted) in self.limits(confinement) {
            let present = getrlimit(resource);
            let limit = rlimit::within(&wanted, &present);
            if limit != present {
                setrlimit(resource, limit)?;
            }
        }
        Ok(())
    }

    /// Those that the program was started with, else those of the process, which may have changed them.
    fn limits(&self, confinement: &Confinement) -> impl Iterator<Item = (Resource, Rlimit)> {
        let written = |resource: spec::Resource| confinement.limits.as_ref()?.get(resource.name()).copied();
        let written = spec::Resource::ALL.map(|resource| written(resource).map(|Limit { soft, hard }| (soft, hard)));
        self.limits.iter().zip(written).map(|(&(resource, present), written)| {
            let (current, maximum) = written.unwrap_or((present.current, present.maximum));
            (resource, Rlimit { current, maximum })
        })
    }
}

fn written(filter: &[Instruction]) -> Filter {
    let instructions = filter.iter().map(|one| (one.code, one.jt, one.jf, one.k)).collect();
    Filter { instructions, ..Filter::default() }
}

/// The numbers of a list like `0-2,7`, see cpuset(7).
fn processors(list: &str) -> Option<Vec<u32>> {
    let mut all = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        all.extend(first.parse::<u32>().ok()?..=last.parse().ok()?);
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors() {
        assert_eq!(processors("0-2,7"), Some(vec![0, 1, 2, 7]));
        assert_eq!(processors("3"), Some(vec![3]));
        assert_eq!(processors(""), None);
        assert_eq!(processors("1-x"), None);
    }

    #[test]
    fn we_are_what_the_kernel_says() {
        let us = Leader::of(i32::try_from(std::process::id()).unwrap()).unwrap();
        for (resource, limit) in us.limits(&Confinement::default()) {
            assert_eq!(limit, getrlimit(resource));
        }
        let written = Confinement {
            limits: Some([("NOFILE".to_owned(), Limit { soft: Some(5), hard: None })].into()),
            ..Confinement::default()
        };
        let limit = us.limits(&written).find(|(resource, _)| *resource == Resource::Nofile).unwrap().1;
        assert_eq!((limit.current, limit.maximum), (Some(5), None));
    }
}
