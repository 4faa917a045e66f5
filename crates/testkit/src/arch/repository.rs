//! Packages are built and put into a signed repository.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::keys::{Keys, PACKAGER};
use super::recipe::Recipe;
use super::work::{BUILDER, as_builder, done};

/// makepkg(8) is to be quick, and to sign what it makes.
const CONFIGURATION: &str = "CARCH=x86_64\nCHOST=x86_64-linux-gnu\nBUILDENV=(!distcc !color !ccache !check sign)\n\
    OPTIONS=(!strip docs libtool staticlibs emptydirs !zipman !purge !debug !lto)\nINTEGRITY_CHECK=(sha256)\n\
    PKGEXT=.pkg.tar.zst\nSRCEXT=.src.tar.zst\nCOMPRESSZST=(zstd -1 -c -q -)\nPACKAGER='Tests <packager@testing.test>'\n\
    GPGKEY=packager@testing.test\n";

/// Where packages are built: a directory of the builder's.
#[derive(Debug)]
pub(super) struct Workshop {
    directory: PathBuf,
    keys: Keys,
}

impl Workshop {
    pub(super) fn new(directory: &Path, keys: Keys) -> Self {
        fs::write(directory.join("makepkg.conf"), CONFIGURATION).expect("file");
        unchecked(&directory.join("library"));
        Self { directory: directory.to_owned(), keys }
    }

    /// The directory of a recipe, where files may be put beside it.
    pub(super) fn bench(&self, recipe: &Recipe) -> PathBuf {
        let bench = self.directory.join(recipe.base);
        fs::create_dir_all(&bench).expect("directory");
        bench
    }

    /// Writes the certificates there as a package with a keyring has them.
    pub(super) fn publish(&self, directory: &Path) {
        self.keys.publish(directory);
    }

    /// Builds all packages of the recipe, signed, into a directory.
    pub(super) fn build(&self, recipe: &Recipe, into: &Path) {
        let bench = self.bench(recipe);
        fs::write(bench.join("PKGBUILD"), recipe.text()).expect("file");
        for package in &recipe.packages {
            if let Some(scriptlet) = package.scriptlet {
                fs::write(bench.join(format!("{}.install", package.name)), scriptlet).expect("file");
            }
        }
        own(&bench);
        let mut makepkg = as_builder("makepkg", self.keys.home());
        if recipe.packages.len() > CHECKED {
            makepkg.env("LIBRARY", self.directory.join("library"));
        }
        makepkg.current_dir(&bench).env("PKGDEST", into).env("BUILDDIR", bench.join("build")).arg("--config");
        done(makepkg.arg(self.directory.join("makepkg.conf")).args([
            "--nodeps",
            "--skipinteg",
            "--noconfirm",
            "--nocheck",
        ]));
    }

    /// Signs each of these files beside it.
    pub(super) fn sign(&self, files: &[PathBuf]) {
        for file in files {
            let signature = format!("{}.sig", file.display());
            let words = ["--local-user", PACKAGER, "--output", &signature, "--detach-sign"];
            self.keys.gpg(&[&words[..], &[&file.to_string_lossy()]].concat());
        }
    }

    /// Makes the signed database of all packages in a directory.
    pub(super) fn index(&self, repository: &Path) {
        self.index_of(repository, &packages(repository));
    }

    /// Makes the signed database of these packages.
    pub(super) fn index_of(&self, repository: &Path, packages: &[PathBuf]) {
        let mut add = as_builder("repo-add", self.keys.home());
        add.args(["--quiet", "--sign", "--key", PACKAGER]).arg(repository.join("core.db.tar.gz"));
        done(add.args(packages));
    }
}

/// Build files of more packages than this are not checked: for all packages of a system that takes ten times as long as to
/// build them.
const CHECKED: usize = 10;

/// The parts of makepkg(8) as they are installed, but for the one that checks build files.
fn unchecked(library: &Path) {
    fs::create_dir(library).expect("directory");
    for entry in fs::read_dir("/usr/share/makepkg").expect("makepkg").flatten() {
        if entry.file_name() != "lint_pkgbuild.sh" {
            symlink(entry.path(), library.join(entry.file_name())).expect("link");
        }
    }
    fs::write(library.join("lint_pkgbuild.sh"), "lint_pkgbuild() { return 0; }\n").expect("file");
}

/// The packages in a directory, in order.
pub(super) fn packages(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("directory").flatten().map(|entry| entry.path());
    let mut all: Vec<_> = entries.filter(|path| path.to_string_lossy().ends_with(".pkg.tar.zst")).collect();
    all.sort();
    all
}

/// Gives a directory and what is in it to the builder.
pub(super) fn own(directory: &Path) {
    done(Command::new("chown").arg("-R").arg(format!("{BUILDER}:{BUILDER}")).arg(directory));
}

/// A new directory of the builder's.
pub(super) fn make(directory: &Path) {
    fs::create_dir(directory).expect("directory");
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).expect("mode");
    own(directory);
}
