//! The repository of a system that boots.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use super::cut::{self, Cut};
use super::keys::Keys;
use super::recipe;
use super::repository::{Workshop, make, packages};
use super::work::done;
use crate::fixture;

/// What the Debian has whose files the packages are made of.
const PACKAGES: &str = "pacman-package-manager,gnupg,zstd,xz-utils,curl,libcap2-bin,libarchive-tools,systemd-sysv,dbus,udev,\
                        procps,less,iproute2,uidmap,original-awk,kmod,nano";

/// A distribution as pacman's are, in files: two states of a signed repository, and the keyring of a host that trusts it.
/// It is made once with the real makepkg(8), repo-add(8) and pacman-key(8), of the files of a Debian with systemd, and kept in
/// the build directory. It is shared: nobody changes it.
#[derive(Debug, Clone)]
pub struct System {
    directory: PathBuf,
}

impl System {
    /// Where it cannot be made the reason is printed, and with `REDD_REQUIRED=1` it is a failure.
    ///
    /// # Panics
    /// Where it cannot be made although there is a Debian.
    pub fn get() -> Option<Self> {
        static SYSTEM: LazyLock<Option<System>> = LazyLock::new(System::made);
        SYSTEM.clone()
    }

    /// The repository in its first state.
    pub fn first(&self) -> PathBuf {
        self.directory.join("first")
    }

    /// The repository some time later: one package is newer, one is new, one takes the place of another.
    pub fn second(&self) -> PathBuf {
        self.directory.join("second")
    }

    /// The keyring of a host that trusts it, as pacman-key(8) made it.
    pub fn keyring(&self) -> PathBuf {
        self.directory.join("keyring")
    }

    /// The secret keys, as a directory of GnuPG.
    pub(super) fn secret(&self) -> PathBuf {
        self.directory.join("secret")
    }

    fn made() -> Option<Self> {
        let options = ["--suite", "bookworm", "--variant", "minbase", "--include", PACKAGES];
        let tree = fixture::there(&fixture::installed("REDD_TEST_ARCH_TREE", "redd-test-arch-debian", &options))?;
        let build = Path::new(crate::PROBE).ancestors().nth(4).expect("build directory");
        let directory = build.join("redd-test-arch");
        let lock = fs::File::create(build.join("redd-test-arch.lock")).expect("lock");
        lock.lock().expect("lock");
        let cut = cut::cut(&fs::canonicalize(tree).expect("the tree"));
        let note = noted(&cut);
        if fs::read_to_string(directory.join("note")).is_ok_and(|there| there == note) {
            return Some(Self { directory });
        }
        match fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{}: {error}", directory.display()),
            _ => {}
        }
        let system = Self { directory };
        system.make(&build.join("redd-test-arch-debian"), &cut);
        fs::write(system.directory.join("note"), note).expect("file");
        Some(system)
    }

    fn make(&self, tree: &Path, cut: &BTreeMap<String, Cut>) {
        let work = fixture::empty();
        std::os::unix::fs::chown(work.path(), Some(super::work::BUILDER), Some(super::work::BUILDER)).expect("owner");
        let workshop = Workshop::new(work.path(), Keys::make(&work.join("gnupg")));
        let (system, meta, newer) = (recipe::system(cut), recipe::meta(), recipe::newer(cut));
        let bench = workshop.bench(&system);
        for (name, one) in cut {
            archive(tree, one, &bench.join(format!("{name}.tar")));
        }
        for (name, text) in recipe::BESIDE {
            fs::write(bench.join(name), text).expect("file");
        }
        archive(tree, &cut["nano"], &workshop.bench(&newer).join("nano.tar"));
        let published = workshop.bench(&meta);
        workshop.publish(&published);
        let repositories = ["first", "second", "third"].map(|name| work.join(name));
        repositories.iter().for_each(|path| make(path));
        let [first, second, third] = &repositories;
        std::thread::scope(|scope| {
            scope.spawn(|| workshop.build(&system, first));
            workshop.build(&newer, second);
            workshop.build(&meta, third);
        });
        take_over(third, first);
        std::thread::scope(|scope| {
            scope.spawn(|| Keys::host_keyring(&published, &work.join("keyring")));
            workshop.index(first);
            take_over(first, second);
            workshop.index(second);
        });
        drop(workshop);
        fs::create_dir(&self.directory).expect("directory");
        for (from, to) in [("first", "first"), ("second", "second"), ("keyring", "keyring"), ("gnupg", "secret")] {
            done(Command::new("cp").arg("-a").arg(work.join(from)).arg(self.directory.join(to)));
        }
    }
}

/// All that decides what is made.
fn noted(cut: &BTreeMap<String, Cut>) -> String {
    let recipes = [recipe::system(cut), recipe::meta(), recipe::newer(cut)];
    let sources = concat!(include_str!("keys.rs"), include_str!("recipe.rs"), include_str!("repository.rs"));
    let texts: String = recipes.iter().map(recipe::Recipe::text).collect();
    format!("{texts}\n{cut:?}\n{sources}\n")
}

/// The packages of the first state that the second has no newer ones of.
fn take_over(first: &Path, second: &Path) {
    let name = |path: &Path| {
        let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        file.rsplitn(4, '-').nth(3).map(str::to_owned).unwrap_or_default()
    };
    let newer: Vec<String> = packages(second).iter().map(|path| name(path)).collect();
    for package in packages(first).iter().filter(|path| !newer.contains(&name(path)) && name(path) != "less") {
        let file = package.file_name().expect("a file has a name");
        let signature = format!("{}.sig", file.to_string_lossy());
        fs::hard_link(package, second.join(file)).expect("link");
        fs::hard_link(first.join(&signature), second.join(signature)).expect("link");
    }
}

/// Puts the files of one package into an archive that the builder can read.
fn archive(tree: &Path, cut: &Cut, file: &Path) {
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(tree).args([
        "--null",
        "--no-recursion",
        "--verbatim-files-from",
        "--files-from=-",
        "--numeric-owner",
    ]);
    let mut child = tar.args(["--format=pax", "-cf"]).arg(file).stdin(Stdio::piped()).spawn().expect("tar");
    let list: String = cut.paths.iter().map(|path| format!("{path}\0")).collect();
    child.stdin.take().expect("a pipe").write_all(list.as_bytes()).expect("tar reads its list");
    assert!(child.wait().is_ok_and(|status| status.success()), "tar cannot archive {}", file.display());
}
