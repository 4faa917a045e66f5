//! A Debian tree is cut into packages as pacman's distributions have them: one for each source package, named as there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What the system is made of; what these depend on comes too.
const WANTED: &str = "filesystem glibc bash coreutils systemd systemd-sysvcompat util-linux dbus pam shadow pacman \
                      gnupg tar gzip xz zstd curl libcap libarchive procps grep sed findutils diffutils less iproute2 \
                      kmod mawk original-awk nano";

/// Where the name of Debian's source package, or of one binary package of it, is another.
const NAMES: [(&str, &str); 17] = [
    ("systemd-sysv", "systemd-sysvcompat"),
    ("base-files", "filesystem"),
    ("base-passwd", "filesystem"),
    ("hostname", "inetutils"),
    ("gnupg2", "gnupg"),
    ("pacman-package-manager", "pacman"),
    ("libzstd", "zstd"),
    ("xz-utils", "xz"),
    ("gpgme1.0", "gpgme"),
    ("gcc-12", "gcc-libs"),
    ("openldap", "libldap"),
    ("sqlite3", "sqlite"),
    ("libcap2", "libcap"),
    ("cyrus-sasl2", "libsasl"),
    ("gnutls28", "gnutls"),
    ("libxcrypt", "libcrypt"),
    ("libselinux", "selinux-libs"),
];

/// Debian's own machinery: nothing depends on it in the new packages.
const LEFT_OUT: [&str; 14] = [
    "adduser",
    "apt",
    "dash",
    "debconf",
    "cdebconf",
    "debian-archive-keyring",
    "debianutils",
    "dpkg",
    "init-system-helpers",
    "perl",
    "sysvinit",
    "usrmerge",
    "libfile-find-rule-perl",
    // Who needs any awk is not to need this one.
    "mawk",
];

/// Nobody's files of the tree that do not go into `filesystem`: state, what is made of others, and Debian's own.
const NOT_KEPT: [&str; 22] = [
    "var/lib/dpkg",
    "var/lib/apt",
    "var/cache",
    "var/log",
    "var/lib/systemd",
    "dev",
    "proc",
    "sys",
    "run",
    "tmp",
    "etc/machine-id",
    "etc/ld.so.cache",
    "etc/resolv.conf",
    "etc/hostname",
    "etc/apt",
    "etc/dpkg",
    "etc/rc",
    "etc/systemd/system/timers.target.wants",
    "etc/systemd/system/multi-user.target.wants/e2scrub",
    "usr/lib/udev/hwdb.bin",
    "usr/bin/awk",
    "usr/bin/nawk",
];

/// Left out of every package: many files that no test looks at.
const NO_USE: [&str; 6] =
    ["usr/share/doc/", "usr/share/locale/", "usr/share/info/", "usr/share/lintian/", "usr/bin/awk", "usr/bin/nawk"];

/// Files that the distribution's packages have in its configuration although Debian makes them at installation.
const MADE_CONFIGURATION: [&str; 7] =
    ["etc/passwd", "etc/group", "etc/shadow", "etc/gshadow", "etc/hosts", "etc/shells", "etc/nsswitch.conf"];

/// Links at the top: `filesystem` has them, whichever package's list has a directory of that name.
const MERGED: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// One package of Debian, of its status file.
#[derive(Debug, Default)]
struct Deb {
    group: String,
    needs: Vec<String>,
    provides: Vec<String>,
    configuration: Vec<String>,
    paths: Vec<String>,
}

/// One package that is made.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Cut {
    /// The packages that it needs.
    pub(super) needs: BTreeSet<String>,
    /// The files that are the administrator's, as they are named in packages.
    pub(super) backup: BTreeSet<String>,
    /// Everything in it, directories too, without a slash in front.
    pub(super) paths: BTreeSet<String>,
}

/// Cuts the tree: the packages by their names.
pub(super) fn cut(tree: &Path) -> BTreeMap<String, Cut> {
    let debs = read(tree);
    let owner = |word: &str| -> Option<&Deb> {
        debs.get(word).or_else(|| debs.values().find(|deb| deb.provides.iter().any(|name| name == word)))
    };
    let mut all: BTreeMap<String, Cut> = BTreeMap::new();
    let mut owned = BTreeSet::new();
    for deb in debs.values() {
        owned.extend(deb.paths.iter().cloned());
        let into = all.entry(deb.group.clone()).or_default();
        into.paths.extend(deb.paths.iter().filter(|path| wanted_path(path)).cloned());
        into.backup.extend(deb.configuration.iter().cloned());
        for clause in &deb.needs {
            let found =
                clause.split('|').find_map(|one| owner(one.split([' ', ':', '(']).find(|word| !word.is_empty())?));
            into.needs.extend(found.map(|found| found.group.clone()));
        }
    }
    let filesystem = all.entry("filesystem".into()).or_default();
    filesystem.backup.extend(MADE_CONFIGURATION.map(String::from));
    walk(tree, Path::new(""), &mut |path| {
        if !owned.contains(path) && wanted_path(path) && !NOT_KEPT.iter().any(|one| path.starts_with(one)) {
            filesystem.paths.insert(path.to_owned());
        }
    });
    close(all)
}

fn wanted_path(path: &str) -> bool {
    !NO_USE.iter().any(|one| path.starts_with(one))
}

/// Those that are wanted and all that they need.
fn close(mut all: BTreeMap<String, Cut>) -> BTreeMap<String, Cut> {
    for (name, one) in &mut all {
        one.needs.retain(|need| need != name && !LEFT_OUT.contains(&need.as_str()));
    }
    let mut kept = BTreeMap::new();
    let mut next: Vec<String> = WANTED.split(' ').map(String::from).collect();
    while let Some(name) = next.pop() {
        if let Some(one) = all.remove(&name) {
            next.extend(one.needs.iter().cloned());
            kept.insert(name, one);
        }
    }
    kept
}

/// What dpkg knows.
fn read(tree: &Path) -> BTreeMap<String, Deb> {
    let database = tree.join("var/lib/dpkg");
    let status = fs::read_to_string(database.join("status")).expect("the tree has a status file");
    status.split("\n\n").filter(|text| !text.trim().is_empty()).map(|text| stanza(tree, &database, text)).collect()
}

fn stanza(tree: &Path, database: &Path, text: &str) -> (String, Deb) {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or_default().to_owned()
    };
    let (name, architecture) = (field("Package"), field("Architecture"));
    let source = field("Source").split(' ').next().filter(|word| !word.is_empty()).unwrap_or(&name).to_owned();
    let list =
        |value: String| value.split(',').map(|one| one.trim().to_owned()).filter(|one| !one.is_empty()).collect();
    let needs = [list(field("Pre-Depends")), list(field("Depends"))].concat();
    let provides: Vec<String> = list(field("Provides"));
    let provides = provides.iter().filter_map(|one| one.split(' ').next().map(str::to_owned)).collect();
    let lists =
        [format!("{name}.list"), format!("{name}:{architecture}.list")].map(|file| database.join("info").join(file));
    let listed = lists.iter().find_map(|file| fs::read_to_string(file).ok()).unwrap_or_default();
    let mut places = BTreeMap::new();
    let paths = listed.lines().filter_map(|line| placed(tree, line, &mut places)).collect();
    let configuration = text.split_once("\nConffiles:\n").map_or("", |(_, behind)| behind);
    let configuration = configuration.lines().take_while(|line| line.starts_with(' '));
    let configuration = configuration.filter_map(|line| line.split_whitespace().next()?.strip_prefix('/'));
    let configuration = configuration.filter(|path| tree.join(path).is_file()).map(str::to_owned).collect();
    (name.clone(), Deb { group: group(&name, &source), needs, provides, configuration, paths })
}

/// The package that one of Debian's goes into.
fn group(name: &str, source: &str) -> String {
    let found = [name, source].iter().find_map(|word| NAMES.iter().find(|(debian, _)| debian == word));
    found.map_or(source, |(_, other)| other).to_owned()
}

/// The real place of a path that Debian's lists have through links to directories; `None` where nothing is there.
fn placed(tree: &Path, line: &str, places: &mut BTreeMap<String, Option<PathBuf>>) -> Option<String> {
    let path = line.trim_start_matches('/');
    let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
    if name.is_empty() || name == "." || (above.is_empty() && MERGED.contains(&name)) {
        return None;
    }
    let real = |above: &str| {
        let found = fs::canonicalize(tree.join(above)).ok()?;
        found.strip_prefix(tree).ok().map(Path::to_owned)
    };
    let above = places.entry(above.to_owned()).or_insert_with(|| real(above)).as_ref()?;
    let path = above.join(name);
    fs::symlink_metadata(tree.join(&path)).ok()?;
    Some(path.to_str()?.to_owned())
}

/// Every path in the tree, on its own file system.
fn walk(tree: &Path, inside: &Path, visit: &mut dyn FnMut(&str)) {
    let device = |path: &Path| fs::symlink_metadata(path).map_or(0, |status| status.dev());
    let Ok(entries) = fs::read_dir(tree.join(inside)) else { return };
    for entry in entries.flatten() {
        let path = inside.join(entry.file_name());
        path.to_str().into_iter().for_each(&mut *visit);
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) && device(&entry.path()) == device(tree) {
            walk(tree, &path, visit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree of three packages of Debian, and a file that nobody owns.
    fn tree() -> crate::fixture::Tree {
        let tree = crate::fixture::empty();
        let status = "Package: libc6\nSource: glibc (2.36-9)\nArchitecture: amd64\nVersion: 2.36-9+deb12u1\n\
                      Depends: libgcc-s1, dpkg\n\nPackage: bash\nArchitecture: amd64\nPre-Depends: libc6 (>= 2.36)\n\
                      Depends: debconf | base\nConffiles:\n /etc/bash.bashrc 0123\n /etc/gone 0123\n\n\
                      Package: libgcc-s1\nSource: gcc-12\nArchitecture: amd64\nDepends: libc6\n\n";
        tree.write("var/lib/dpkg/status", status, 0o644);
        tree.write("usr/bin/bash", "#!", 0o755);
        std::os::unix::fs::symlink("usr/bin", tree.join("bin")).expect("link");
        tree.write("etc/bash.bashrc", "", 0o644);
        tree.write("etc/machine-id", "", 0o644);
        tree.write("var/lib/dpkg/info/bash.list", "/.\n/bin\n/bin/bash\n/bin/gone\n/etc\n/etc/bash.bashrc\n", 0o644);
        tree.write("var/lib/dpkg/info/libc6:amd64.list", "/.\n/etc\n", 0o644);
        tree
    }

    #[test]
    fn packages_follow_sources_real_places_and_what_they_need() {
        let cut = cut(tree().path());
        assert_eq!(cut.keys().collect::<Vec<_>>(), ["bash", "filesystem", "gcc-libs", "glibc"]);
        let bash = &cut["bash"];
        assert_eq!(bash.needs, BTreeSet::from(["glibc".to_owned()]));
        assert_eq!(bash.backup, BTreeSet::from(["etc/bash.bashrc".to_owned()]));
        assert!(bash.paths.contains("usr/bin/bash") && !bash.paths.contains("bin/gone"), "{:?}", bash.paths);
        assert_eq!(cut["glibc"].needs, BTreeSet::from(["gcc-libs".to_owned()]));
        let filesystem = &cut["filesystem"].paths;
        assert!(filesystem.contains("usr/bin") && !filesystem.contains("etc/machine-id"), "{filesystem:?}");
    }
}
