//! Media as distributions make them, and a directory of machines that is a test's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use testkit::disk::{Mounted, run};
use testkit::fixture::{self, Tree};
use testkit::{Ended, Isolated, run_limited};

pub(crate) const REDD: &str = env!("CARGO_BIN_EXE_redd");
pub(crate) const MACHINES: &str = "/var/lib/machines";
const LIMIT: Duration = Duration::from_secs(120);

/// A host that has no machines but the test's.
pub(crate) struct Place {
    _mount: Mounted,
    own: Tree,
    _isolated: Isolated,
}

impl Place {
    pub(crate) fn new() -> Self {
        let isolated = Isolated::enter();
        let own = fixture::empty();
        fs::create_dir_all(MACHINES).expect("directory");
        let mount = Mounted::new(&["--bind", own.path().to_str().expect("ours")], Path::new(MACHINES));
        Self { _mount: mount, own, _isolated: isolated }
    }

    /// A name that no other test has.
    pub(crate) fn name(&self, what: &str) -> String {
        format!("{what}-{}", self.own.name())
    }
}

pub(crate) fn redd(words: &[&str]) -> Ended {
    let mut command = Command::new(REDD);
    command.args(words);
    run_limited(command, Vec::new(), LIMIT)
}

/// A path as a word.
pub(crate) fn word(path: &Path) -> &str {
    path.to_str().expect("a path of ours")
}

/// A squashfs or an EROFS, by the ending of its name, with what is in a tree.
pub(crate) fn file_system(tree: &Path, image: &Path) {
    fs::create_dir_all(image.parent().expect("a directory")).expect("directory");
    if image.extension().is_some_and(|ending| ending == "erofs") {
        run(Command::new("mkfs.erofs").args(["--quiet", "-zlz4"]).arg(image).arg(tree));
    } else {
        let options = ["-quiet", "-no-progress", "-noappend", "-comp", "zstd", "-Xcompression-level", "1"];
        run(Command::new("mksquashfs").arg(tree).arg(image).args(options));
    }
}

/// A medium with what is in a directory, which can be started from a stick, too.
pub(crate) fn medium(directory: &Path, label: &str) -> PathBuf {
    let image = directory.with_extension("iso");
    let mut command = Command::new("xorriso");
    command.args(["-as", "mkisofs", "-quiet", "-iso-level", "3", "-R", "-J", "-joliet-long", "-V", label]);
    // The table of partitions of a hybrid medium comes first, and ISO 9660 behind it.
    command.args(["-partition_offset", "16", "-o"]).arg(&image).arg(directory);
    run(&mut command);
    image
}

/// A medium like that of Arch: its root file system in a squashfs (`sfs`) or an EROFS.
pub(crate) fn arch_medium(tree: &Path, work: &Path, ending: &str) -> PathBuf {
    let files = work.join(format!("arch-{ending}"));
    file_system(tree, &files.join(format!("arch/x86_64/airootfs.{ending}")));
    fs::write(files.join(format!("arch/x86_64/airootfs.{ending}.sha512")), "sums").expect("written");
    fs::create_dir_all(files.join("loader/entries")).expect("directory");
    fs::write(files.join("loader/loader.conf"), "timeout 15\n").expect("written");
    medium(&files, "ARCH_202611")
}

/// An archive like that of Arch, with all below `root.x86_64`.
pub(crate) fn arch_archive(tree: &Path, work: &Path) -> PathBuf {
    let archive = work.join("archlinux-bootstrap-x86_64.tar.gz");
    for name in ["pkglist.x86_64.txt", "version"] {
        fs::write(work.join(name), "2026.11.01\n").expect("written");
    }
    let (name, above) = (tree.file_name().expect("a name"), tree.parent().expect("a directory"));
    let top = format!("s,^{},root.x86_64,S", name.to_string_lossy());
    let mut command = Command::new("tar");
    command.args(["--format=pax", "--xattrs", "--xattrs-include=*", "--numeric-owner", "--transform", &top]);
    command.arg("-czf").arg(&archive).arg("-C").arg(work).args(["pkglist.x86_64.txt", "version"]);
    run(command.arg("-C").arg(above).arg(name));
    archive
}
