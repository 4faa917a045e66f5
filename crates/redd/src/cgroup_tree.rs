//! The tree of control groups and the processes in them, drawn as systemd-cgls(1) does.
//!
//! A container names its own groups and decides how many there are and how deep: names are shown printable, and what is
//! deeper than [`DEEPEST`] is not looked at.

use std::ffi::OsString;
use std::io;
use std::path::Path;

use cgroup::View;
use cgroup::view::shown_name;
use rustix::io::Errno;

use crate::display;
use crate::host_process::{self, Stat};

/// How many levels of groups are shown.
const DEEPEST: usize = 100;

/// What is shown, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Groups without processes too.
    pub(crate) all: bool,
    /// The kernel's own threads too.
    pub(crate) kernel_threads: bool,
    /// As the service manager lists what is in a unit: groups in order, words of command lines quoted where they must be.
    pub(crate) as_by_manager: bool,
    /// The extended attributes of groups.
    pub(crate) attributes: bool,
    /// The numbers of groups.
    pub(crate) ids: bool,
    /// How long lines may be; `None`: as long as they are.
    pub(crate) columns: Option<usize>,
    /// What is less important in grey.
    pub(crate) colors: bool,
    /// Lines and dots that are not ASCII.
    pub(crate) unicode: bool,
}

impl Options {
    /// What fits standard output.
    pub(crate) fn for_output() -> Self {
        Self {
            all: false,
            kernel_threads: false,
            as_by_manager: false,
            attributes: false,
            ids: false,
            columns: Some(display::columns()),
            colors: display::colors(),
            unicode: display::unicode(),
        }
    }
}

/// The lines for what is in a group and below; that of a machine is [`View::of_machine`].
///
/// # Errors
/// Those of reading it; what goes away meanwhile is left out.
pub(crate) fn lines(group: &View, options: Options) -> io::Result<Vec<String>> {
    let mut tree = Tree { options, lines: Vec::new() };
    tree.add(group, &mut String::new(), 0)?;
    Ok(tree.lines)
}

struct Tree {
    options: Options,
    lines: Vec<String>,
}

impl Tree {
    fn sign(&self, unicode: &'static str, ascii: &'static str) -> &'static str {
        if self.options.unicode { unicode } else { ascii }
    }

    /// What is in a group, behind these signs.
    fn add(&mut self, group: &View, before: &mut String, depth: usize) -> io::Result<()> {
        let children = self.children(group)?;
        self.add_processes(group, before, children.is_empty())?;
        if depth >= DEEPEST {
            if !children.is_empty() {
                self.lines.push(format!("{before}{}", self.sign("…", "...")));
            }
            return Ok(());
        }
        let last = children.len().saturating_sub(1);
        for (index, name) in children.iter().enumerate() {
            let child = open(group, name)?;
            let branch = if index == last { self.sign("└─", "`-") } else { self.sign("├─", "|-") };
            let named = self.named(&shown_name(name), child.as_ref());
            self.lines.push(format!("{before}{branch}{named}"));
            let Some(child) = child else { continue };
            let length = before.len();
            before.push_str(if index == last { "  " } else { self.sign("│ ", "| ") });
            self.add_attributes(&child, before);
            match self.add(&child, before, depth + 1) {
                Err(error) if is_gone(&error) => {}
                other => other?,
            }
            before.truncate(length);
        }
        Ok(())
    }

    /// The names of the groups in a group that are to be shown. There may be more of them than descriptors.
    fn children(&self, group: &View) -> io::Result<Vec<OsString>> {
        let mut shown = Vec::new();
        for name in group.children()? {
            let populated = open(group, &name)?.is_some_and(|child| child.is_populated().unwrap_or(false));
            if self.options.all || populated {
                shown.push(name);
            }
        }
        if self.options.as_by_manager {
            shown.sort_unstable();
        }
        Ok(shown)
    }

    fn named(&self, name: &str, group: Option<&View>) -> String {
        let mut text = spec::printable(name);
        let Some(group) = group else { return text };
        if !self.options.as_by_manager && group.is_delegated() {
            let sign = self.sign("…", "...");
            text = if self.options.colors { format!("\x1b[4m{text}\x1b[0m {sign}") } else { format!("{text} {sign}") };
        }
        if let (true, Ok(id)) = (self.options.ids, group.id()) {
            text.push_str(&format!(" {}", self.grey(&format!("(#{id})"))));
        }
        text
    }

    fn add_attributes(&mut self, group: &View, before: &str) {
        if !self.options.attributes {
            return;
        }
        let arrow = self.sign("→", "->");
        for name in group.attributes() {
            let Some(value) = group.attribute(&name) else { continue };
            let value = spec::printable(&String::from_utf8_lossy(&value));
            self.lines.push(format!("{before}{arrow} {}: {value}", spec::printable(&name)));
        }
    }

    fn add_processes(&mut self, group: &View, before: &str, all_there_is: bool) -> io::Result<()> {
        let processes = group.processes()?.into_iter().filter_map(|pid| {
            if !self.options.kernel_threads && Stat::of(pid)?.kernel_thread {
                return None;
            }
            Some((pid, host_process::command_line(pid, self.options.as_by_manager)?))
        });
        let processes: Vec<_> = processes.collect();
        let digits = processes.last().map_or(0, |(pid, _)| pid.to_string().len());
        let last = processes.len().saturating_sub(1);
        for (index, (pid, command)) in processes.iter().enumerate() {
            let end = all_there_is && index == last;
            let branch = if end { self.sign("└─", "`-") } else { self.sign("├─", "|-") };
            let mut text = format!("{pid:digits$} {command}");
            if let Some(columns) = self.options.columns {
                let room = columns.saturating_sub(display::width(before) + display::width(branch));
                // The number is there in any case.
                text = display::shortened(&text, room.max(digits + 2), self.options.unicode);
            }
            self.lines.push(format!("{before}{branch}{}", self.grey(&text)));
        }
        Ok(())
    }

    fn grey(&self, text: &str) -> String {
        if self.options.colors { format!("\x1b[38;5;245m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// A group in a group; `None` if it is gone.
fn open(group: &View, name: &OsString) -> io::Result<Option<View>> {
    match group.below(Path::new(name)) {
        Err(Errno::NOENT | Errno::NODEV) => Ok(None),
        other => Ok(Some(other?)),
    }
}

fn is_gone(error: &io::Error) -> bool {
    [Errno::NOENT, Errno::NODEV].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
