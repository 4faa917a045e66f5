//! Lets the tree's own dpkg configure the packages that have been unpacked, in a container of its own.
//!
//! No service is started: `policy-rc.d` (see invoke-rc.d(8)) forbids it while packages are configured, and whatever is
//! started regardless ends with the container.

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use super::dpkg_database::info_name;
use super::package::Package;
use super::unpack::{self, Item, Unpacked};
use crate::container::ContainerCommand;
use crate::interrupt::Interrupt;
use crate::progress::{Phase, Progress};
use crate::tree::{self, Tree};

/// Where the files of packages that dpkg itself unpacks are seen in the container.
const PACKAGES: &str = "/run/redd-packages";
/// How many lines of dpkg's output an error shows.
const LAST_LINES: usize = 25;
/// Forbids services to start.
const POLICY: &str = "usr/sbin/policy-rc.d";

/// What is run in the container; its arguments are the scripts to run before the packages are configured.
///
/// dpkg runs a package's preinst before it unpacks the package; here the files are there already, which is how
/// debootstrap and mmdebstrap treat the essential packages too. (Packages that move others' files away first are left
/// to dpkg.)
const SCRIPT: &str = r#"
set -e
umask 022
cd /
export DPKG_ROOT= DPKG_ADMINDIR=/var/lib/dpkg DPKG_MAINTSCRIPT_NAME=preinst DPKG_MAINTSCRIPT_DEBUG=0
export DPKG_RUNNING_VERSION="$1" DPKG_FORCE=security-mac,downgrade,unsafe-io
shift
while [ "$1" != -- ]; do
    export DPKG_MAINTSCRIPT_PACKAGE="$2" DPKG_MAINTSCRIPT_ARCH="$3"
    "/var/lib/dpkg/info/$1.preinst" install || { echo "the preinst of $2 failed with $?" >&2; exit 1; }
    shift 3
done
shift
unset DPKG_MAINTSCRIPT_NAME DPKG_MAINTSCRIPT_PACKAGE DPKG_MAINTSCRIPT_ARCH DPKG_MAINTSCRIPT_DEBUG
unset DPKG_RUNNING_VERSION DPKG_FORCE DPKG_ROOT DPKG_ADMINDIR
if [ "$#" -gt 0 ]; then
    dpkg --force-unsafe-io --force-confdef --force-confold --force-depends --unpack "$@"
fi
exec dpkg --force-unsafe-io --force-confdef --force-confold --configure -a
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
    /// The path of the tree, for the container.
    pub path: &'a Path,
    /// The packages that are unpacked, dependencies first.
    pub unpacked: &'a [Unpacked],
    /// The packages that dpkg has to unpack itself.
    pub left: &'a [Item],
    /// How to run a container.
    pub container: &'a ContainerCommand,
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
        let result = self.run_container(progress, interrupt);
        progress.end(Phase::Configure);
        if !had_policy {
            self.tree.remove(POLICY)?;
        }
        result
    }

    fn run_container(&self, progress: &dyn Progress, interrupt: &Interrupt) -> Result<(), Error> {
        let start = |source| Error::Start { program: self.container.program.display().to_string(), source };
        let mut command = self.command();
        let mut child = command.spawn().map_err(start)?;
        let last = match interrupt.watch(Some(&child)) {
            Ok(()) => follow(&mut child, progress),
            Err(errno) => {
                // It cannot be told to end later, so it does now.
                let _ = child.kill();
                Err(errno.into())
            }
        };
        let status = child.wait().map_err(start)?;
        interrupt.watch(None).map_err(|errno| start(errno.into()))?;
        let last = last.map_err(start)?;
        if interrupt.is_wanted() {
            return Err(Error::Interrupted);
        }
        if status.success() { Ok(()) } else { Err(Error::Failed { status, output: last.join("\n") }) }
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
        let mut command = Command::new(&self.container.program);
        command.args(&self.container.arguments);
        command.args(["--quiet", "--register=no", "--keep-unit", "--settings=no", "--console=pipe", "--as-pid2"]);
        command.arg("--suppress-sync=yes");
        // The directory's own name is none that a machine can have.
        command.arg(format!("--machine=redd-bootstrap-{}", std::process::id()));
        command.arg("--directory").arg(self.path);
        for (name, value) in [
            ("DEBIAN_FRONTEND", "noninteractive"),
            ("DEBCONF_NONINTERACTIVE_SEEN", "true"),
            ("DEBCONF_NOWARNINGS", "yes"),
            ("LC_ALL", "C.UTF-8"),
            ("HOME", "/root"),
            ("TERM", "dumb"),
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ] {
            command.arg(format!("--setenv={name}={value}"));
        }
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
        for package in first_scripts(self.unpacked) {
            command.args([&info_name(package), package.name(), package.architecture()]);
        }
        command.arg("--");
        for item in self.left {
            command.arg(format!("{PACKAGES}/{}.deb", item.package.name()));
        }
        // A group of its own: an interrupt from the terminal is for us, and we tell the container.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

/// The packages whose preinst has to run, `base-passwd` first: it makes the list of users that others look into.
fn first_scripts(unpacked: &[Unpacked]) -> Vec<&Package> {
    let mut packages: Vec<&Package> =
        unpacked.iter().filter(|one| one.control.contains_key("preinst")).map(|one| &one.package).collect();
    packages.sort_by_key(|package| package.name() != "base-passwd");
    packages
}

/// Reads what the child says until it closes both outputs; gives the last lines.
fn follow(child: &mut Child, progress: &dyn Progress) -> io::Result<Vec<String>> {
    let lines = std::sync::Mutex::new(Vec::new());
    let read = |stream: Option<&mut (dyn Read + Send)>| -> io::Result<()> {
        let Some(stream) = stream else { return Ok(()) };
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        while stream.by_ref().take(16384).read_until(b'\n', &mut line)? > 0 {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            if let Some(package) = text.strip_prefix("Setting up ") {
                progress.item(Phase::Configure, package.split([' ', ':']).next().unwrap_or(package));
            }
            let mut lines = lines.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if lines.len() == LAST_LINES {
                lines.remove(0);
            }
            lines.push(text);
            line.clear();
        }
        Ok(())
    };
    let (mut output, mut errors) = (child.stdout.take(), child.stderr.take());
    std::thread::scope(|scope| {
        let other = scope.spawn(|| read(errors.as_mut().map(|stream| stream as _)));
        read(output.as_mut().map(|stream| stream as _))?;
        other.join().map_err(|_| io::Error::other("the reader of its errors ended early"))?
    })?;
    Ok(lines.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
}
