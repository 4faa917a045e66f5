//! `redd cgls` and `systemd-cgls`: the tree of control groups, with or without systemd.

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use cgroup::View;
use clap::Parser as _;
use machine::{Registry, group, machines};

use crate::cgroup_tree::{self, Options};
use crate::failure::{Failure, report_as, warn};
use crate::machinectl::pager;

/// Show control groups and the processes in them as a tree
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Arguments {
    /// Groups, by their paths in the tree or below /sys/fs/cgroup, or with --unit by the names of units
    groups: Vec<PathBuf>,
    /// Show empty groups too
    #[arg(short, long)]
    all: bool,
    /// The groups are those of units of the system
    #[arg(short, long, conflicts_with_all = ["user_unit", "machine"])]
    unit: bool,
    /// The groups are those of units of the calling user
    #[arg(long, conflicts_with = "machine")]
    user_unit: bool,
    /// Show the extended attributes of groups
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "yes", value_parser = boolean)]
    xattr: Option<bool>,
    /// The same as --xattr=yes
    #[arg(short = 'x', conflicts_with = "xattr")]
    with_xattr: bool,
    /// Show the numbers of groups
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "yes", value_parser = boolean)]
    cgroup_id: Option<bool>,
    /// The same as --cgroup-id=yes
    #[arg(short = 'c', conflicts_with = "cgroup_id")]
    with_cgroup_id: bool,
    /// Show whole command lines
    #[arg(short = 'l', long)]
    full: bool,
    /// Show threads of the kernel too
    #[arg(short = 'k')]
    kernel_threads: bool,
    /// Show what belongs to this machine
    #[arg(short = 'M', long, value_name = "MACHINE")]
    machine: Option<String>,
    /// Do not start a pager
    #[arg(long)]
    no_pager: bool,
}

/// Shows control groups and the processes in them as a tree.
#[derive(Debug, clap::Parser)]
#[command(name = "systemd-cgls", version)]
struct Cgls {
    #[command(flatten)]
    arguments: Arguments,
}

/// As everywhere in systemd's options.
fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "yes" | "y" | "true" | "t" | "on" => Ok(true),
        "0" | "no" | "n" | "false" | "f" | "off" => Ok(false),
        _ => Err("it is yes or no".to_owned()),
    }
}

/// Runs as `systemd-cgls`.
pub(crate) fn main(arguments: Vec<OsString>) -> ExitCode {
    report_as("systemd-cgls", run(&Cgls::parse_from(arguments).arguments))
}

/// What is shown: its heading and the group itself.
struct Shown {
    /// What it is, for errors.
    what: String,
    heading: String,
    group: rustix::io::Result<View>,
}

impl Shown {
    fn new(what: String, group: rustix::io::Result<View>) -> Self {
        Self { heading: format!("{what}:\n"), what, group }
    }
}

/// Prints the trees.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let (root, mount) = View::root()
        .context("cannot find the control groups")
        .map_err(|error| Failure::new(error, Some("mount them: mount -t cgroup2 cgroup2 /sys/fs/cgroup")))?;
    let place = Place { root: &root, mount: &mount };
    let mut options = Options {
        all: arguments.all,
        kernel_threads: arguments.kernel_threads,
        attributes: arguments.with_xattr || arguments.xattr == Some(true),
        ids: arguments.with_cgroup_id || arguments.cgroup_id == Some(true),
        ..Options::for_output()
    };
    if arguments.full {
        options.columns = None;
    }
    let mut failed = None;
    let mut told = String::new();
    for shown in place.wanted(arguments)? {
        told.push_str(&shown.heading);
        let lines = shown.group.map_err(Into::into).and_then(|group| cgroup_tree::lines(&group, options));
        match lines {
            Ok(lines) => lines.iter().for_each(|line| told.extend([line, "\n"])),
            Err(error) => {
                let error = anyhow::Error::from(error).context(format!("cannot list {}", shown.what));
                if let Some(before) = failed.replace(error) {
                    warn(&before);
                }
            }
        }
    }
    pager::show(&told, !arguments.no_pager)?;
    match failed {
        None => Ok(ExitCode::SUCCESS),
        Some(error) => Err(Failure::new(error, Some("see what there is with: redd cgls --all"))),
    }
}

/// Where the groups are.
struct Place<'a> {
    root: &'a View,
    mount: &'a Path,
}

impl Place<'_> {
    fn wanted(&self, arguments: &Arguments) -> Result<Vec<Shown>, Failure> {
        if arguments.unit || arguments.user_unit {
            return self.units(arguments);
        }
        let within = match &arguments.machine {
            Some(name) => Some(self.of_machine(name)?),
            None => None,
        };
        if arguments.groups.is_empty() {
            return Ok(vec![match within {
                Some(path) => self.group(&machine_group(&path)),
                None => self.here(),
            }]);
        }
        Ok(arguments.groups.iter().map(|group| self.named(within.as_deref(), group)).collect())
    }

    /// The working directory if that is a group, else everything.
    fn here(&self) -> Shown {
        let directory = std::env::current_dir().unwrap_or_default();
        if directory.starts_with("/sys/fs/cgroup")
            && let Ok(group) = View::open(&directory)
        {
            return Shown::new(format!("Working directory {}", shown(&directory)), Ok(group));
        }
        let mut all = Shown::new("CGroup /".to_owned(), self.root.below(Path::new("/")));
        all.heading.push_str("-.slice\n");
        all
    }

    /// A group that was asked for: a directory, a path in the tree, or `CONTROLLER:PATH` of version 1.
    fn named(&self, within: Option<&Path>, asked: &Path) -> Shown {
        if asked.starts_with("/sys/fs/cgroup") {
            return Shown::new(format!("Directory {}", shown(asked)), View::open(asked));
        }
        if let Some((controller, path)) = asked.to_str().and_then(|text| text.split_once(':'))
            && within.is_none()
        {
            let directory = Path::new("/sys/fs/cgroup").join(controller).join(path.trim_start_matches('/'));
            let group = if is_plain(&directory) { View::open(&directory) } else { Err(rustix::io::Errno::INVAL) };
            return Shown::new(format!("Controller {controller}; control group {path}"), group);
        }
        let path = within.unwrap_or(Path::new("/")).join(asked.strip_prefix("/").unwrap_or(asked));
        self.group(&path)
    }

    fn group(&self, path: &Path) -> Shown {
        let group = if is_plain(path) { self.root.below(path) } else { Err(rustix::io::Errno::INVAL) };
        Shown::new(format!("CGroup {}", shown(path)), group)
    }

    /// The path of the group that a machine's processes are in.
    fn of_machine(&self, name: &str) -> Result<PathBuf, Failure> {
        let machine = machines::machine(&Registry::system(), name)
            .map_err(|error| Failure::new(error, Some("see what runs with: redd list")))?;
        let path = machine.state.control_group.as_ref().map(PathBuf::from).or_else(|| group::of_unit(&machine.state));
        let path = path.ok_or_else(|| Failure::new(anyhow!("the control group of {name} is not known"), None))?;
        Ok(Path::new("/").join(path.strip_prefix(self.mount).unwrap_or(&path)))
    }

    /// Groups of units, as the service manager lays them out (systemd.slice(5)): found without asking it.
    fn units(&self, arguments: &Arguments) -> Result<Vec<Shown>, Failure> {
        let begin = if arguments.user_unit { self.user_manager()? } else { PathBuf::from("/") };
        if arguments.groups.is_empty() {
            return Ok(vec![if arguments.user_unit { self.group(&begin) } else { self.here() }]);
        }
        let mut found = Vec::new();
        for asked in &arguments.groups {
            let name = unit_name(&asked.to_string_lossy());
            match self.find_unit(&begin, &name) {
                Some(path) => {
                    let what = format!("Unit {} ({})", spec::printable(&name), shown(&path));
                    found.push(Shown::new(what, self.root.below(&path)));
                }
                None => {
                    warn(&anyhow!("unit {name} has no control group: there is none of this name, or it does not run"))
                }
            }
        }
        if found.is_empty() {
            return Err(Failure::new(anyhow!("none of these units has a control group"), None));
        }
        Ok(found)
    }

    /// The group of the manager of the calling user's units.
    fn user_manager(&self) -> Result<PathBuf, Failure> {
        let uid = rustix::process::getuid().as_raw();
        let path = PathBuf::from(format!("/user.slice/user-{uid}.slice/user@{uid}.service"));
        match self.root.below(&path) {
            Ok(_) => Ok(path),
            Err(error) => {
                let error = anyhow::Error::from(error).context(format!("user {uid} has no service manager that runs"));
                Err(Failure::new(error, None))
            }
        }
    }

    /// Units are in slices, and slices in slices. Other groups are not searched: what is in them is not the manager's.
    fn find_unit(&self, begin: &Path, name: &str) -> Option<PathBuf> {
        let mut waiting = vec![begin.to_owned()];
        while let Some(path) = waiting.pop() {
            let Ok(children) = self.root.below(&path).and_then(|group| group.children()) else { continue };
            for child in children {
                let below = path.join(&child);
                if cgroup::view::shown_name(&child) == name {
                    return Some(below);
                }
                if Path::new(&child).extension().is_some_and(|suffix| suffix == "slice") {
                    waiting.push(below);
                }
            }
        }
        None
    }
}

/// The group of all that belongs to a machine, from that of its payload.
fn machine_group(payload: &Path) -> PathBuf {
    match (payload.file_name(), payload.parent()) {
        (Some(name), Some(above)) if name == "payload" => above.to_owned(),
        _ => payload.to_owned(),
    }
}

/// What is no unit's name yet is a service's.
fn unit_name(asked: &str) -> String {
    const KINDS: [&str; 6] = [".service", ".scope", ".slice", ".socket", ".mount", ".swap"];
    if KINDS.iter().any(|kind| asked.ends_with(kind)) { asked.to_owned() } else { format!("{asked}.service") }
}

/// Nothing in the path leads up.
fn is_plain(path: &Path) -> bool {
    path.components().all(|part| !matches!(part, Component::ParentDir))
}

fn shown(path: &Path) -> String {
    spec::printable(&path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_of_the_manual() {
        let read = |line: &str| {
            Cgls::try_parse_from(std::iter::once("systemd-cgls").chain(line.split_whitespace()))
                .map(|all| all.arguments)
        };
        let all = read("-axckl --no-pager /a b").unwrap();
        assert!(all.all && all.with_xattr && all.with_cgroup_id && all.kernel_threads && all.full && all.no_pager);
        assert_eq!(all.groups, [Path::new("/a"), Path::new("b")]);
        assert_eq!(read("--xattr --cgroup-id=no").unwrap().xattr, Some(true));
        assert_eq!(read("--xattr --cgroup-id=no").unwrap().cgroup_id, Some(false));
        assert_eq!(read("--unit a.service b").unwrap().groups.len(), 2);
        assert_eq!(read("-M web /system.slice").unwrap().machine.as_deref(), Some("web"));
        assert!(read("--xattr=perhaps").is_err());
        assert!(read("-u --user-unit x").is_err());
    }

    #[test]
    fn names() {
        assert_eq!(unit_name("dbus"), "dbus.service");
        assert_eq!(unit_name("a.slice"), "a.slice");
        assert_eq!(machine_group(Path::new("/redd/x/payload")), Path::new("/redd/x"));
        assert_eq!(machine_group(Path::new("/redd/x")), Path::new("/redd/x"));
    }
}
