//! Trees to run.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, Mutex};

use crate::requirement::find_program;

/// A tree that goes away with the value.
#[derive(Debug)]
pub struct Tree {
    directory: tempfile::TempDir,
}

impl Tree {
    /// Where it is: the last part is a valid machine name.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A path in it, as the host sees it. For trees that are not hostile.
    pub fn join(&self, inside: &str) -> PathBuf {
        self.path().join(inside.trim_start_matches('/'))
    }

    /// The machine name that follows from the path.
    pub fn name(&self) -> String {
        self.path().file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// Writes a file in it, and makes the directories above.
    ///
    /// # Panics
    /// If that fails.
    pub fn write(&self, inside: &str, contents: impl AsRef<[u8]>, mode: u32) -> PathBuf {
        let path = self.join(inside);
        fs::create_dir_all(path.parent().expect("a file has a directory")).expect("directory");
        fs::write(&path, contents).expect("file");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("mode");
        path
    }
}

/// Where trees are made: a directory on a real disk, where ids can be mapped and overlays have an upper layer.
pub fn place() -> PathBuf {
    std::env::var_os("REDD_TEST_DIRECTORY").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from)
}

/// An empty directory for a tree or anything else.
///
/// # Panics
/// If it cannot be made.
pub fn empty() -> Tree {
    let directory = tempfile::Builder::new().prefix("redd-test-").rand_bytes(10).tempdir_in(place()).expect("tree");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("mode");
    Tree { directory }
}

/// The programs of a small tree, as far as the machine has them.
const PROGRAMS: [&str; 63] = [
    "sh", "bash", "cat", "chmod", "chown", "cp", "cut", "date", "dd", "df", "dirname", "echo", "env", "expr", "false",
    "find", "getent", "grep", "head", "hostname", "id", "ip", "kill", "ln", "ls", "mkdir", "mkfifo", "mknod", "mount",
    "mv", "nproc", "od", "printenv", "ps", "pwd", "readlink", "rm", "rmdir", "sed", "seq", "setpriv", "sleep", "sort",
    "stat", "stty", "sync", "tail", "tee", "test", "timeout", "touch", "tr", "true", "tty", "umount", "uname",
    "unshare", "wc", "whoami", "nice", "taskset", "findmnt", "swapoff",
];

/// A small real tree: shell and basic programs of this machine with their libraries, the probe as `/probe`, users and
/// an os-release. Everything can be changed.
///
/// # Panics
/// If it cannot be made.
pub fn tree() -> Tree {
    let tree = empty();
    tree_at(tree.path());
    tree
}

/// The same with BusyBox, whose login asks root for the password `secret`. Ask for `program "busybox"` before.
///
/// # Panics
/// If it cannot be made.
pub fn tree_with_login() -> Tree {
    /// Of the word "secret", by crypt(3).
    const HASH: &str =
        "$6$abcdefgh$ltjgWl6579NluT/Vi1nwEvcil.G5Nbc4NiXZaNGStk8PSwGfQv72N2CKPPrVACtLtip/cZ/1GM/O6IND4WQhG.";
    let tree = tree();
    fs::copy(find_program("busybox").expect("busybox"), tree.join("usr/bin/busybox")).expect("program");
    tree.write("etc/shadow", format!("root:{HASH}:19000:0:99999:7:::\nuser:*:19000:0:99999:7:::\n"), 0o600);
    tree
}

/// The same, in an empty directory.
///
/// # Panics
/// If it cannot be made.
pub fn tree_at(directory: &Path) {
    static MODEL: LazyLock<(Mutex<()>, PathBuf)> = LazyLock::new(|| (Mutex::new(()), make_model()));
    let (lock, model) = &*MODEL;
    let _one_at_a_time = lock.lock();
    copy(model, directory);
}

/// The model of this test process; it stays in the build directory, where the next run replaces it.
fn make_model() -> PathBuf {
    let build = Path::new(crate::PROBE).parent().expect("build directory");
    let name = std::env::current_exe().ok().and_then(|path| path.file_name().map(|name| name.to_owned()));
    let model = build.join("trees").join(name.unwrap_or_else(|| OsString::from("tree")));
    match fs::remove_dir_all(&model) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{}: {error}", model.display()),
        _ => {}
    }
    fill(&model);
    model
}

/// Copies a tree as it is: owners, modes, times, links, extended attributes.
///
/// # Panics
/// If cp(1) fails.
pub fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg("--reflink=auto").arg(from.join(".")).arg(to).status();
    assert!(status.is_ok_and(|status| status.success()), "cannot copy {} to {}", from.display(), to.display());
}

fn fill(root: &Path) {
    for name in ["usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "usr/share", "etc", "root", "home", "tmp", "var/tmp"] {
        fs::create_dir_all(root.join(name)).expect("directory");
    }
    for name in ["proc", "sys", "dev", "run"] {
        fs::create_dir_all(root.join(name)).expect("directory");
    }
    for (name, target) in [("bin", "usr/bin"), ("sbin", "usr/sbin"), ("lib", "usr/lib"), ("lib64", "usr/lib64")] {
        symlink(target, root.join(name)).expect("link");
    }
    for (name, mode) in [("tmp", 0o1777), ("var/tmp", 0o1777), ("root", 0o700)] {
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).expect("mode");
    }
    let programs: Vec<PathBuf> = PROGRAMS.iter().filter_map(|name| find_program(name)).collect();
    for program in &programs {
        let name = program.file_name().expect("a program has a name");
        fs::copy(program, root.join("usr/bin").join(name)).expect("program");
    }
    for library in libraries(&programs) {
        let target = root.join(library.strip_prefix("/").expect("libraries have absolute paths"));
        fs::create_dir_all(target.parent().expect("a library has a directory")).expect("directory");
        fs::copy(&library, target).expect("library");
    }
    fs::copy(crate::PROBE, root.join("probe")).expect("probe");
    let files = [
        (
            "etc/passwd",
            "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:A User:/home/user:/bin/sh\n\
             nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
        ),
        ("etc/group", "root:x:0:\ntty:x:5:\naudio:x:29:user\nvideo:x:44:root,user\nuser:x:1000:\nnogroup:x:65534:\n"),
        ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"),
        ("etc/machine-id", ""),
        ("usr/lib/os-release", "ID=tiny\nNAME=Tiny\nVERSION_ID=1\nPRETTY_NAME=\"Tiny Tree\"\n"),
    ];
    for (name, contents) in files {
        fs::write(root.join(name), contents).expect("file");
    }
    symlink("../usr/lib/os-release", root.join("etc/os-release")).expect("link");
    fs::create_dir_all(root.join("home/user")).expect("directory");
    std::os::unix::fs::chown(root.join("home/user"), Some(1000), Some(1000))
        .or_else(|error| if rustix::process::geteuid().is_root() { Err(error) } else { Ok(()) })
        .expect("owner");
}

/// The libraries that programs need, with the dynamic loader, as ldd(1) lists them.
fn libraries(programs: &[PathBuf]) -> Vec<PathBuf> {
    let output = Command::new("ldd").args(programs).output().expect("ldd");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words = text.lines().filter(|line| line.starts_with('\t')).filter_map(|line| {
        let line = line.trim();
        line.split_once("=> ").map_or(line, |(_, path)| path).split(' ').next()
    });
    let mut all: Vec<PathBuf> = words.filter(|word| word.starts_with('/')).map(PathBuf::from).collect();
    all.sort();
    all.dedup();
    all
}

/// A real Debian with systemd, for boots. It is shared: start it with `--ephemeral`, or copy it. `REDD_TEST_TREE`
/// names one; else redd itself installs it once, and it is kept in the build directory.
///
/// `None` where that does not work; the reason is printed, and with `REDD_REQUIRED=1` it is a failure.
///
/// # Panics
/// Where `REDD_REQUIRED=1` is set and there is none.
pub fn debian_tree() -> Option<PathBuf> {
    static TREE: LazyLock<Result<PathBuf, String>> =
        LazyLock::new(|| installed("REDD_TEST_TREE", "redd-test-debian", &[]));
    there(&TREE)
}

/// A Debian that is a host with all that systemd has for containers, and sessions of users. As [`debian_tree`], but
/// `REDD_TEST_HOST_TREE` names it.
///
/// # Panics
/// Where `REDD_REQUIRED=1` is set and there is none.
pub fn debian_host() -> Option<PathBuf> {
    const PACKAGES: &str = "--include=systemd-container,libpam-systemd,dbus-user-session";
    static TREE: LazyLock<Result<PathBuf, String>> =
        LazyLock::new(|| installed("REDD_TEST_HOST_TREE", "redd-test-debian-host", &[PACKAGES]));
    there(&TREE)
}

/// A Debian of this suite with these packages; `variable` names one that is there, else it is installed as `name` in the build
/// directory, as [`debian_tree`]'s is.
///
/// # Panics
/// Where `REDD_REQUIRED=1` is set and there is none.
pub fn suite_tree(variable: &str, name: &str, suite: &str, packages: &str) -> Option<PathBuf> {
    there(&installed(variable, name, &["--accept-expired", "--suite", suite, "--include", packages]))
}

/// The tree, or what a test without one says.
pub(crate) fn there(tree: &Result<PathBuf, String>) -> Option<PathBuf> {
    match tree {
        Ok(path) => Some(path.clone()),
        Err(reason) => {
            assert!(std::env::var_os("REDD_REQUIRED").is_none_or(|value| value != "1"), "no Debian tree: {reason}");
            println!("SKIPPED: no Debian tree: {reason}");
            None
        }
    }
}

/// A Debian that redd installs with these options as `name` in the build directory, where `variable` names none.
pub(crate) fn installed(variable: &str, name: &str, options: &[&str]) -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os(variable) {
        return Ok(PathBuf::from(path));
    }
    let build = Path::new(crate::PROBE).ancestors().nth(4).ok_or("no build directory")?;
    let tree = build.join(name);
    let lock = fs::File::create(build.join(format!("{name}.lock"))).map_err(|error| error.to_string())?;
    lock.lock().map_err(|error| error.to_string())?;
    // One that was installed with other packages is not what is wanted now.
    let (note, made_with) = (build.join(format!("{name}.options")), options.join(" "));
    let same = std::fs::read_to_string(&note).map_or(options.is_empty(), |noted| noted == made_with);
    if tree.join("usr/lib/systemd/systemd").exists() {
        if same {
            return Ok(tree);
        }
        std::fs::remove_dir_all(&tree).map_err(|error| error.to_string())?;
    }
    let mut install = Command::new(build_redd(build)?);
    install.args(["bootstrap", "debian", "--quiet"]).args(options).arg(&tree);
    let output = install.output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("{install:?}: {}", String::from_utf8_lossy(&output.stderr)));
    }
    std::fs::write(note, made_with).map_err(|error| error.to_string())?;
    Ok(tree)
}

/// The program that installs. `REDD_TEST_PROGRAM` names it where it has been built; a test of another package alone has not
/// done that. Cargo builds it with other features of its dependencies than for tests, so that much of them is built again.
fn build_redd(build: &Path) -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os("REDD_TEST_PROGRAM") {
        return Ok(PathBuf::from(path));
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--locked", "--package=redd", "--manifest-path"]);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml"));
    if build.ends_with("release") {
        command.arg("--release");
    }
    let output = command.output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)));
    }
    Ok(build.join("redd"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_small_tree_has_a_shell_with_its_libraries() {
        let tree = super::tree();
        let loader = std::fs::read_dir(tree.join("usr/lib64")).into_iter().flatten().count()
            + std::fs::read_dir(tree.join("usr/lib")).into_iter().flatten().count();
        assert!(tree.join("bin/sh").exists() && loader > 0);
        let path = tree.path().to_owned();
        drop(tree);
        assert!(!path.exists());
    }
}
