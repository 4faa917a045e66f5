//! Asks the tree's own apt in which order it would install the packages, see `--simulate` in apt-get(8).
//!
//! It sees an archive in which there is nothing but the packages that were chosen, so that there is nothing for it to
//! choose, and writes nothing but its answers.

use std::collections::BTreeSet;
use std::io;
use std::process::ExitStatus;

use super::container::{Container, Ended};
use super::control::Paragraph;
use super::order::Order;
use super::unpack::Item;
use crate::interrupt::Interrupt;
use crate::progress::Silent;
use crate::tree::{self, Tree};

/// Where apt finds everything, in the tree.
const DIRECTORY: &str = "var/lib/redd-order";
/// The name by which apt keeps the index of `file:/var/lib/redd-order/archive ./`.
const INDEX: &str = "_var_lib_redd-order_archive_._Packages";
/// apt's settings: that it looks nowhere else, keeps no caches, and takes no package for essential that is not marked
/// so (apt itself, otherwise), as mmdebstrap has it.
const SETTINGS: &str = r#"
Dir::State::lists "/var/lib/redd-order/lists/";
Dir::State::extended_states "/var/lib/redd-order/extended_states";
Dir::State::status "/var/lib/redd-order/status";
Dir::Cache::archives "/var/lib/redd-order/archives/";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Dir::Etc::SourceList "/var/lib/redd-order/sources.list";
Dir::Etc::SourceParts "/dev/null";
APT::Install-Recommends "false";
APT::Install-Suggests "false";
pkgCacheGen::ForceEssential ",";
Debug::NoLocking "true";
"#;
/// What is run: its arguments are the packages; the answer is left in a file.
const SCRIPT: &str = r#"cd /var/lib/redd-order && exec env APT_CONFIG=/var/lib/redd-order/apt.conf apt-get --simulate install "$@" >answer"#;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program that runs containers cannot be started.
    #[error("apt cannot be asked in which order it would install: cannot run '{program}'")]
    Start {
        /// The program.
        program: String,
        /// Why not.
        source: io::Error,
    },
    /// apt, or the container it runs in, failed.
    #[error("apt does not say in which order it would install ({status}); the last lines were:\n{output}")]
    Failed {
        /// How it ended.
        status: ExitStatus,
        /// What it said last.
        output: String,
    },
    /// The tree cannot be prepared, or tidied up.
    #[error("apt cannot be asked in which order it would install")]
    Tree(#[from] tree::Error),
    /// It was asked to stop.
    #[error("interrupted")]
    Interrupted,
}

/// Who asks and about what.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The tree, in which apt is unpacked.
    pub tree: &'a Tree,
    /// Its container.
    pub container: Container<'a>,
    /// The packages.
    pub items: &'a [Item],
    /// Those that were asked for by name.
    pub wanted: &'a BTreeSet<String>,
}

impl Question<'_> {
    /// The order. The tree is as before then.
    ///
    /// # Errors
    /// Where apt cannot be run or refuses.
    pub fn ask(&self, interrupt: &Interrupt) -> Result<Order, Error> {
        let answer = self.both(interrupt);
        self.tree.remove(DIRECTORY)?;
        answer
    }

    fn both(&self, interrupt: &Interrupt) -> Result<Order, Error> {
        let file = |name: &str| format!("{DIRECTORY}/{name}");
        for directory in ["lists/partial", "archives/partial", "archive"] {
            self.tree.make_directories(file(directory).as_bytes())?;
        }
        self.tree.write(&file("apt.conf"), SETTINGS.as_bytes(), 0o644)?;
        let source = "deb [trusted=yes] file:/var/lib/redd-order/archive ./\n";
        self.tree.write(&file("sources.list"), source.as_bytes(), 0o644)?;
        let paragraphs: Vec<&str> = self.items.iter().map(|item| item.package.paragraph().text().trim_end()).collect();
        self.tree.write(&file(&format!("lists/{INDEX}")), (paragraphs.join("\n\n") + "\n").as_bytes(), 0o644)?;
        self.tree.write(&file("status"), b"", 0o644)?;
        let essential = self.items.iter().filter(|item| item.package.is_essential());
        let first = self.simulate(essential.map(|item| item.package.name()).collect(), interrupt)?;
        let order = Order::of_apt(&first, "", self.items);
        let there: BTreeSet<&str> = order.essential.iter().map(|name| &**name).collect();
        let status: String = self
            .items
            .iter()
            .filter(|item| there.contains(item.package.name()))
            .map(|item| installed(item.package.paragraph()))
            .collect();
        self.tree.write(&file("status"), status.as_bytes(), 0o644)?;
        let names = self.items.iter().map(|item| item.package.name());
        let others = names.filter(|name| self.wanted.contains(*name) && !there.contains(name)).collect();
        let second = self.simulate(others, interrupt)?;
        Ok(Order::of_apt(&first, &second, self.items))
    }

    fn simulate(&self, packages: Vec<&str>, interrupt: &Interrupt) -> Result<String, Error> {
        if packages.is_empty() {
            return Ok(String::new());
        }
        let mut command = self.container.begin();
        command.args(["--", "/bin/sh", "-c", SCRIPT, "sh"]).args(packages);
        match self.container.run(command, &Silent, interrupt) {
            Ok(Ended::Well) => {}
            Ok(Ended::Interrupted) => return Err(Error::Interrupted),
            Ok(Ended::Failed { status, output }) => return Err(Error::Failed { status, output }),
            Err(source) => return Err(Error::Start { program: self.container.program(), source }),
        }
        let answer = self.tree.read(&format!("{DIRECTORY}/answer"))?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

/// The package as dpkg's status file has one that is installed.
fn installed(paragraph: Paragraph<'_>) -> String {
    let mut text = String::new();
    for (name, value) in paragraph.fields() {
        text.push_str(&format!("{name}: {value}\n"));
        if name == "Package" {
            text.push_str("Status: install ok installed\n");
        }
    }
    text.push('\n');
    text
}
