//! Lets the tree's own dpkg configure the packages that have been unpacked, in a container of its own.
//!
//! No service is started: `policy-rc.d` (see invoke-rc.d(8)) forbids it while packages are configured, and whatever is
//! started regardless ends with the container.

use std::io;
use std::process::{Command, ExitStatus};

use super::container::{Container, Ended};
use super::dpkg_database::info_name;
use super::order::{Order, Step};
use super::unpack::{self, Item, Unpacked};
use crate::interrupt::Interrupt;
use crate::progress::{Phase, Progress};
use crate::tree::{self, Tree};

/// Where the files of packages that dpkg itself unpacks are seen in the container.
const PACKAGES: &str = "/run/redd-packages";
/// Forbids services to start.
const POLICY: &str = "usr/sbin/policy-rc.d";

/// By this program scripts see whether systemd is installed.
const SYSTEMCTL: &str = "/usr/bin/systemctl";
/// The script's word for running a preinst.
const PREINST: &str = "preinst";

/// What is run in the container; its arguments are the version of dpkg, and then what to do, in pairs: an act and the
/// packages. What is not configured in the end is then.
///
/// dpkg runs a package's preinst before it unpacks the package; here the files are there already, which is how
/// debootstrap and mmdebstrap treat the essential packages too. (Packages that move others' files away first are left
/// to dpkg.)
const SCRIPT: &str = r#"
set -e
umask 022
cd /
version="$1"
shift
options="--force-unsafe-io --force-confdef --force-confold"
# Where dpkg keeps the control files of a package that it is unpacking, and debconf looks for its name and templates.
new=/var/lib/dpkg/tmp.ci
preinst() {
    mkdir -p $new
    printf 'Package: %s\nArchitecture: %s\n' "$2" "$3" >$new/control
    for file in preinst templates config; do
        [ ! -e "/var/lib/dpkg/info/$1.$file" ] || ln -f "/var/lib/dpkg/info/$1.$file" $new/$file
    done
    export DPKG_ROOT= DPKG_ADMINDIR=/var/lib/dpkg DPKG_MAINTSCRIPT_NAME=preinst DPKG_MAINTSCRIPT_DEBUG=0
    export DPKG_RUNNING_VERSION="$version" DPKG_FORCE=security-mac,downgrade,unsafe-io
    export DPKG_MAINTSCRIPT_PACKAGE="$2" DPKG_MAINTSCRIPT_ARCH="$3"
    exec $new/preinst install
}
# The packages' names have no characters that mean something here.
while [ "$#" -gt 0 ]; do
    case "$1" in
        preinst) ( preinst $2 ) || { echo "the preinst of '$2' failed with $?" >&2; exit 1; } ;;
        essential) dpkg $options --force-depends --configure $2 ;;
        hide) [ ! -e "$2" ] || mv "$2" "$2.redd-hidden" ;;
        show) [ ! -e "$2.redd-hidden" ] || mv "$2.redd-hidden" "$2" ;;
        unpack) dpkg $options --force-depends --no-triggers --unpack $2 ;;
        configure) dpkg $options --no-triggers --configure $2 ;;
    esac
    shift 2
    rm -rf $new
done
exec dpkg $options --configure -a
"#;

/// Why the packages are not configured.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program that runs containers cannot be started.
    #[error("cannot run '{program}'")]
    Start {
        /// The program.
        program: String,
        /// Why not.
        source: io::Error,
    },
    /// dpkg, or the container it runs in, failed.
    #[error("the packages could not be configured ({status}); the last lines were:\n{output}")]
    Failed {
        /// How it ended.
        status: ExitStatus,
        /// What it said last.
        output: String,
    },
    /// The tree cannot be prepared.
    #[error("the packages could not be configured")]
    Tree(#[from] tree::Error),
    /// It was asked to stop.
    #[error("interrupted")]
    Interrupted,
}

/// Whether a package must be unpacked by dpkg itself: its preinst moves files of other packages out of the way, so that
/// they must not be there yet.
///
/// # Errors
/// Where its file cannot be read.
pub fn needs_dpkg(item: &Item) -> Result<bool, unpack::Error> {
    let deb = unpack::open(item)?;
    let script = deb.control.get("preinst").map(|script| &*script.content).unwrap_or_default();
    Ok(memchr::memmem::find(script, b"dpkg-divert").is_some())
}

/// A configuration to be carried out.
#[derive(Debug)]
pub struct Configuration<'a> {
    /// The tree.
    pub tree: &'a Tree,
    /// Its container.
    pub container: Container<'a>,
    /// In which order.
    pub order: &'a Order,
    /// The packages that are unpacked.
    pub unpacked: &'a [Unpacked],
    /// The packages that dpkg has to unpack itself.
    pub left: &'a [Item],
}

impl Configuration<'_> {
    /// Carries it out.
    ///
    /// # Errors
    /// Where the container cannot be run, or a package's script fails.
    pub fn run(&self, progress: &dyn Progress, interrupt: &Interrupt) -> Result<(), Error> {
        let had_policy = self.tree.exists(POLICY);
        if !had_policy {
            self.tree.write(POLICY, b"#!/bin/sh\nexit 101\n", 0o755)?;
        }
        progress.begin(Phase::Configure, (self.unpacked.len() + self.left.len()) as u64, 0);
        let ended = self.container.run(self.command(), progress, interrupt);
        progress.end(Phase::Configure);
        if !had_policy {
            self.tree.remove(POLICY)?;
        }
        match ended {
            Ok(Ended::Well) => Ok(()),
            Ok(Ended::Interrupted) => Err(Error::Interrupted),
            Ok(Ended::Failed { status, output }) => Err(Error::Failed { status, output }),
            Err(source) => Err(Error::Start { program: self.container.program(), source }),
        }
    }

    /// Packages that ask whether they are in a chroot(2) or have an init to restart, such as sysvinit's, are told the former:
    /// ischroot(1) itself finds that the container's processes have the root directory that its first one has.
    fn says_chroot(&self) -> Option<String> {
        let replaced = self.left.iter().any(|item| item.package.name() == "debianutils");
        let at = |path: &&str| self.tree.exists(path);
        let yes = ["usr/bin/true", "bin/true"].into_iter().find(at)?;
        let asked = ["usr/bin/ischroot", "bin/ischroot"].into_iter().find(at)?;
        (!replaced).then(|| format!("--bind-ro=+/{yes}:/{asked}"))
    }

    fn command(&self) -> Command {
        let mut command = self.container.begin();
        for item in self.left {
            // A colon or a backslash would end the path.
            let file = item.file.to_string_lossy().replace('\\', "\\\\").replace(':', "\\:");
            command.arg(format!("--bind-ro={file}:{PACKAGES}/{}.deb", item.package.name()));
        }
        if let Some(bind) = self.says_chroot() {
            command.arg(bind);
        }
        let dpkg = self.unpacked.iter().find(|one| one.package.name() == "dpkg");
        command.args(["--", "/bin/sh", "-c", SCRIPT, "sh"]);
        command.arg(dpkg.map_or("1", |dpkg| dpkg.package.version().as_str()));
        for (act, what) in self.acts() {
            command.args([act, &what]);
        }
        command
    }

    /// What the script has to do, one after the other.
    fn acts(&self) -> Vec<(&'static str, String)> {
        let mut acts: Vec<(&'static str, String)> = Vec::new();
        let mut add = |act: &'static str, what: String| match acts.last_mut() {
            // dpkg does much at once sooner than one after the other.
            Some((last, all)) if *last == act && act != PREINST => {
                all.push(' ');
                all.push_str(&what);
            }
            _ => acts.push((act, what)),
        };
        let unpacked = |name: &str| self.unpacked.iter().find(|one| one.package.name() == name);
        let preinst = |name: &str| {
            let package = unpacked(name).filter(|one| one.control.contains_key("preinst")).map(|one| &one.package)?;
            Some(format!("{} {} {}", info_name(package), package.name(), package.architecture()))
        };
        // The list of users, into which others look, is made by one of them.
        let (first, others): (Vec<&String>, Vec<&String>) =
            self.order.essential.iter().partition(|name| *name == "base-passwd");
        for name in first.into_iter().chain(others) {
            if let Some(what) = preinst(name) {
                add(PREINST, what);
            }
        }
        // As long as only the essential packages are installed, there is nothing of systemd either: where it is, they
        // enable their units in another way.
        let hides = !self.order.essential.iter().any(|name| name == "systemd");
        if hides {
            add("hide", SYSTEMCTL.to_owned());
        }
        for name in &self.order.essential {
            add("essential", name.clone());
        }
        if hides {
            add("show", SYSTEMCTL.to_owned());
        }
        for step in &self.order.rest {
            match step {
                Step::Configure(name) => add("configure", name.clone()),
                Step::Unpack(name) if unpacked(name).is_none() => add("unpack", format!("{PACKAGES}/{name}.deb")),
                Step::Unpack(name) => {
                    if let Some(what) = preinst(name) {
                        add(PREINST, what);
                    }
                }
            }
        }
        acts
    }
}
