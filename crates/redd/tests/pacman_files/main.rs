//! Package files that are installed into a tree, by redd and by the real pacman: the same files, database and log come of it.
//!
//! The packages are made as makepkg makes them, for cases that are odd: what is there already, what was changed, what
//! goes, links, modes, attributes, scripts and hooks.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod compare;
mod refused;
mod scenarios;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use bootstrap::container::ContainerCommand;
use bootstrap::interrupt::Interrupt;
use bootstrap::pacman::Transaction;
use bootstrap::pacman::local::{Reason, Validation};
use bootstrap::pacman::pattern::Patterns;
use bootstrap::pacman::transaction::{Error, Options, PackageFile};
use bootstrap::progress::{Phase, Progress};
use bootstrap::tree::Tree;

/// Makes packages as makepkg does. `pkg NAME VERSION` is called in a directory that has the package's files in `NAME-VERSION`,
/// more lines of `.PKGINFO` in `NAME-VERSION.info` and a script in `NAME-VERSION.install`.
const MAKE: &str = r#"
set -e
export LC_ALL=C
umask 022
lst() { find . -mindepth 1 \( -name .PKGINFO -o -name .INSTALL -o -name .MTREE -o -printf '%P\0' \) | sort -z; }
pkg() (
    stem=$1-$2; mkdir -p $stem; cd $stem
    find . -mindepth 1 -exec touch -h -d 2001-02-03T04:05:06Z {} +
    printf 'pkgname = %s\npkgbase = %s\npkgver = %s\npkgdesc = of a test\nurl = http://test\nbuilddate = 1600000000\n' $1 $1 $2 > .PKGINFO
    printf 'packager = me\nsize = 1234\narch = any\n' >> .PKGINFO
    [ ! -f ../$stem.info ] || cat ../$stem.info >> .PKGINFO
    own=.PKGINFO
    if [ -f ../$stem.install ]; then cp ../$stem.install .INSTALL; own="$own .INSTALL"; fi
    { printf '%s\0' $own; lst; } | bsdtar -cnf - --format=mtree \
        --options='!all,use-set,type,uid,gid,mode,time,size,md5,sha256,link' --null --files-from - | gzip -cfn > ../mtree
    mv ../mtree .MTREE
    { printf '%s\0' $own .MTREE; lst; } | bsdtar -cnf - --null --files-from - | gzip -1 > ../$stem-any.pkg.tar.gz
)
"#;

/// What both trees have before.
const BARE: &str = "set -e; mkdir -p etc/pacman.d/hooks usr/keep var/log var/lib/pacman/local dev proc run sys; mkdir -m 1777 tmp
    echo 9 > var/lib/pacman/local/ALPM_DB_VERSION; touch var/log/pacman.log; mkdir bin; cp /bin/busybox bin/busybox; for name in sh ls cat sort head stat printf tee; do ln -s busybox bin/$name; done
    touch -d 2001-02-03T04:05:06Z usr etc bin";

/// What is done to both trees.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    /// A script, run in the tree's directory.
    Shell(&'static str),
    /// Packages are installed.
    Install(&'static [&'static str]),
    /// Packages are installed, after a run for the same was killed in redd's tree.
    Again(&'static [&'static str]),
    /// Packages are installed with such lines of pacman.conf, `NoExtract` and `NoUpgrade`.
    With(&'static [&'static str], &'static [(&'static str, &'static str)]),
    /// Packages are installed and others removed for them.
    Replace(&'static [&'static str], &'static [&'static str]),
    /// Packages that cannot be installed, because files are in the way.
    Conflict(&'static [&'static str]),
    /// Packages that cannot be installed, because a hook says so.
    Aborted(&'static [&'static str]),
}

/// Two trees, and packages for both.
pub(crate) struct Scene {
    directory: PathBuf,
    /// Removes it.
    _own: Option<tempfile::TempDir>,
}

/// Keeps what is said.
#[derive(Default)]
pub(crate) struct Said(pub(crate) Mutex<Vec<String>>);

impl Progress for Said {
    fn begin(&self, _phase: Phase, _items: u64, _bytes: u64) {}
    fn advance(&self, _phase: Phase, _bytes: u64) {}
    fn item(&self, _phase: Phase, _name: &str) {}
    fn end(&self, _phase: Phase) {}
    fn notice(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
}

pub(crate) fn shell(directory: &Path, script: &str) {
    let output = Command::new("/bin/bash").args(["-c", script]).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Scene {
    pub(crate) fn new(packages: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        shell(directory.path(), &format!("{MAKE}{packages}"));
        for tree in ["theirs", "ours"] {
            std::fs::create_dir(directory.path().join(tree)).unwrap();
            shell(&directory.path().join(tree), BARE);
        }
        Self { directory: directory.path().to_owned(), _own: Some(directory) }
    }

    /// One that another process has made.
    pub(crate) fn at(directory: &str) -> Self {
        Self { directory: directory.into(), _own: None }
    }

    pub(crate) fn path(&self, tree: &str) -> PathBuf {
        self.directory.join(tree)
    }

    fn file(&self, package: &str) -> PathBuf {
        self.path(&format!("{package}-any.pkg.tar.gz"))
    }

    /// Whether the real pacman installs them.
    fn pacman(&self, packages: &[&str], lines: &[(&str, &str)], replace: bool) -> bool {
        let root = self.path("theirs");
        let mut conf = "[options]\nSigLevel = Never\nLocalFileSigLevel = Never\nArchitecture = auto\n".to_owned();
        for (key, value) in lines {
            conf.push_str(&format!("{key} = {value}\n"));
        }
        std::fs::write(self.path("pacman.conf"), conf).unwrap();
        let mut pacman = Command::new("pacman");
        pacman
            .arg("-U")
            .arg("--noconfirm")
            .arg("-dd")
            .arg("-r")
            .arg(&root)
            .arg("--config")
            .arg(self.path("pacman.conf"));
        pacman.arg("--logfile").arg(root.join("var/log/pacman.log"));
        pacman.arg("--hookdir").arg(root.join("usr/share/libalpm/hooks"));
        pacman.arg("--hookdir").arg(root.join("etc/pacman.d/hooks"));
        if replace {
            // The question whether to remove what is in conflict.
            pacman.args(["--ask", "4"]);
        }
        let output = pacman.args(packages.iter().map(|package| self.file(package))).output().unwrap();
        output.status.success()
    }

    /// Whether redd installs them, and what it says.
    pub(crate) fn redd(
        &self,
        packages: &[&str],
        lines: &[(&str, &str)],
        removals: &[&str],
    ) -> (Result<(), Error>, Vec<String>) {
        let said = Said::default();
        let result = self.redd_with(packages, lines, removals, &said);
        (result, said.0.into_inner().unwrap())
    }

    /// Whether redd installs them.
    pub(crate) fn redd_with(
        &self,
        packages: &[&str],
        lines: &[(&str, &str)],
        removals: &[&str],
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        let root = self.path("ours");
        let tree = Tree::open(&root).unwrap();
        let file = |package: &&str| {
            let reason = Reason::Explicit;
            PackageFile {
                path: self.file(package),
                file: None,
                expected: None,
                reason,
                validation: vec![Validation::None],
            }
        };
        let files: Vec<PackageFile> = packages.iter().map(file).collect();
        let values = |key| lines.iter().filter(move |(other, _)| *other == key).flat_map(|(_, value)| value.split(' '));
        let options = Options {
            no_extract: Patterns::new(values("NoExtract")),
            no_upgrade: Patterns::new(values("NoUpgrade")),
            architectures: vec!["x86_64".to_owned()],
            command_line: "redd".to_owned(),
            check_space: true,
            ..Options::default()
        };
        let program = PathBuf::from(env!("CARGO_BIN_EXE_redd"));
        let container = ContainerCommand { program, arguments: vec!["spawn".into()] };
        let removals: Vec<String> = removals.iter().map(|name| (*name).to_owned()).collect();
        let transaction = Transaction {
            tree: &tree,
            path: &root,
            packages: &files,
            removals: &removals,
            options: &options,
            container: &container,
        };
        transaction.run(progress, &Interrupt::default())
    }

    pub(crate) fn step(&self, step: Step) {
        let (packages, lines, removals): (&[&str], &[(&str, &str)], &[&str]) = match step {
            Step::Shell(script) => {
                shell(&self.path("theirs"), script);
                shell(&self.path("ours"), script);
                return;
            }
            Step::Install(packages) | Step::Again(packages) | Step::Conflict(packages) | Step::Aborted(packages) => {
                (packages, &[], &[])
            }
            Step::With(packages, lines) => (packages, lines, &[]),
            Step::Replace(packages, removals) => (packages, &[], removals),
        };
        let theirs = self.pacman(packages, lines, !removals.is_empty());
        let (ours, said) = self.redd(packages, lines, removals);
        match step {
            Step::Conflict(_) => assert!(matches!(ours, Err(Error::Conflicts(_))), "{packages:?}: {ours:?}"),
            Step::Aborted(_) => assert!(matches!(ours, Err(Error::HookFailed(_))), "{packages:?}: {ours:?}"),
            _ => {
                if let Err(error) = &ours {
                    panic!("{packages:?}: {error} {error:?} {said:?}");
                }
            }
        }
        assert_eq!(theirs, ours.is_ok(), "{packages:?}: pacman {theirs}, redd {ours:?}");
    }
}
