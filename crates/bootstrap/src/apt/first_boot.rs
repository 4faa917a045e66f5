//! Makes a configured tree ready for its first use: a name, a root account without password, where more packages come
//! from, and nothing left of the installation.

use super::Source;
use super::distribution::Distribution;
use crate::tree::{Error, Tree};

/// Directories that are emptied: what is in them was made by the installation or can be made again.
const EMPTIED: &[&str] = &[
    "var/lib/apt/lists",
    "var/cache/apt",
    "var/cache/debconf",
    "var/cache/ldconfig",
    "var/log/apt",
    "tmp",
    "var/tmp",
    "run",
    "dev",
];
/// Files that the installation left.
const REMOVED: &[&str] = &[
    "etc/.pwd.lock",
    "etc/group-",
    "etc/gshadow-",
    "etc/passwd-",
    "etc/shadow-",
    "etc/subgid-",
    "etc/subuid-",
    "etc/resolv.conf.dpkg-new",
    "root/.bash_history",
    "var/lib/dpkg/available-old",
    "var/lib/dpkg/diversions-old",
    "var/lib/dpkg/lock",
    "var/lib/dpkg/lock-frontend",
    "var/lib/dpkg/statoverride-old",
    "var/lib/dpkg/status-old",
    "var/lib/dpkg/triggers/Lock",
    "var/lib/systemd/random-seed",
    "var/log/alternatives.log",
    "var/log/bootstrap.log",
    "var/log/dpkg.log",
    "var/log/fontconfig.log",
    "var/log/install_packages.list",
];

/// What a tree is called and where it came from.
#[derive(Debug, Clone)]
pub struct FirstBoot<'a> {
    /// What is installed.
    pub distribution: Distribution,
    /// Where from.
    pub source: &'a Source,
    /// The system's name in its network.
    pub hostname: &'a str,
}

impl FirstBoot<'_> {
    /// Does it all.
    ///
    /// # Errors
    /// A file that cannot be read, written or removed.
    pub fn prepare(&self, tree: &Tree) -> Result<(), Error> {
        for directory in EMPTIED {
            tree.empty(directory)?;
        }
        // apt warns without it.
        if tree.exists("usr/bin/apt-get") {
            tree.make_directories(b"var/lib/apt/lists/partial")?;
            tree.make_directories(b"var/cache/apt/archives/partial")?;
        }
        for path in REMOVED {
            tree.remove(path)?;
        }
        tree.write("etc/hostname", format!("{}\n", self.hostname).as_bytes(), 0o644)?;
        if !tree.exists("etc/hosts") {
            let hosts = "127.0.0.1\tlocalhost\n::1\t\tlocalhost ip6-localhost ip6-loopback\nff02::1\t\tip6-allnodes\nff02::2\t\tip6-allrouters\n";
            tree.write("etc/hosts", hosts.as_bytes(), 0o644)?;
        }
        // An empty file: the first boot makes an identity, without the questions of a system that was never set up.
        tree.write("etc/machine-id", b"", 0o444)?;
        tree.remove("var/lib/dbus/machine-id")?;
        if tree.exists("usr/bin/dbus-daemon") || tree.exists("var/lib/dbus") {
            tree.link("/etc/machine-id", "var/lib/dbus/machine-id")?;
        }
        // Made at the first start of the login manager, which is not to be lacking where the tree, or an image of it, is
        // read-only then: whoever asks it to power off waits for more than a minute.
        if tree.exists("usr/lib/systemd/systemd-logind") {
            tree.make_directories(b"var/lib/systemd/linger")?;
        }
        self.sources(tree)?;
        unlock_root(tree)
    }

    /// Where the tree's own apt gets packages from.
    fn sources(&self, tree: &Tree) -> Result<(), Error> {
        if !tree.exists("etc/apt") {
            return Ok(());
        }
        let name = self.distribution.name();
        let keyring = ["pgp", "gpg"]
            .map(|suffix| format!("usr/share/keyrings/{name}-archive-keyring.{suffix}"))
            .into_iter()
            .find(|path| tree.exists(path));
        let paragraph = |mirror: &str, suites: &str| {
            let mut text = format!(
                "Types: deb\nURIs: {mirror}\nSuites: {suites}\nComponents: {}\n",
                self.source.components.join(" ")
            );
            if let Some(keyring) = &keyring {
                text.push_str(&format!("Signed-By: /{keyring}\n"));
            }
            if self.source.accept_expired {
                text.push_str("Check-Valid-Until: no\n");
            }
            text
        };
        let mut text = paragraph(&self.source.mirror, &self.source.suite);
        if let Some((mirror, suite)) = self.security() {
            text.push('\n');
            text.push_str(&paragraph(&mirror, &suite));
        }
        tree.write(&format!("etc/apt/sources.list.d/{name}.sources"), text.as_bytes(), 0o644)?;
        // An older apt would warn about a file with nothing in it; one that a package made stays.
        Ok(())
    }

    /// The archive of security updates that belongs to the suite, beside a mirror of the whole distribution.
    fn security(&self) -> Option<(String, String)> {
        let suite = &self.source.suite;
        let released = ["bullseye", "bookworm", "trixie", "stable", "oldstable"];
        match self.distribution {
            Distribution::Debian if released.contains(&suite.as_str()) => {
                let mirror = self.source.mirror.strip_suffix("/debian")?;
                // The distribution's own mirrors have it beside the main archive; of others that is not known.
                let own = ["http://deb.debian.org", "https://deb.debian.org", "http://ftp.debian.org"];
                let mirror = if own.contains(&mirror) { "http://deb.debian.org" } else { return None };
                Some((format!("{mirror}/debian-security"), format!("{suite}-security")))
            }
            _ => None,
        }
    }
}

/// Takes root's password away, so that a login on the console needs none.
fn unlock_root(tree: &Tree) -> Result<(), Error> {
    // Without a shadow file the password stands in the list of users.
    for (path, mode) in [("etc/shadow", 0o640), ("etc/passwd", 0o644)] {
        let Some(content) = tree.read(path)? else { continue };
        let content = String::from_utf8_lossy(&content).into_owned();
        let mut lines = Vec::new();
        for line in content.lines() {
            match line.strip_prefix("root:").and_then(|rest| rest.split_once(':')) {
                Some((password, rest)) if path == "etc/shadow" || password != "x" => {
                    lines.push(format!("root::{rest}"))
                }
                _ => lines.push(line.to_owned()),
            }
        }
        let changed = lines.join("\n") + "\n";
        if changed != content {
            replace(tree, path, changed.as_bytes(), mode)?;
        }
    }
    Ok(())
}

/// Writes a file anew that keeps its owner.
fn replace(tree: &Tree, path: &str, content: &[u8], mode: u32) -> Result<(), Error> {
    let error = |errno: rustix::io::Errno| Error { action: "write", path: path.to_owned(), source: errno.into() };
    let open = || tree.open_at(path.as_bytes(), rustix::fs::OFlags::PATH | rustix::fs::OFlags::NOFOLLOW).map_err(error);
    let before = rustix::fs::fstat(open()?).map_err(error)?;
    tree.write(path, content, mode)?;
    let (uid, gid) = crate::tree::owner(before.st_uid, before.st_gid);
    rustix::fs::chownat(open()?, c"", uid, gid, rustix::fs::AtFlags::EMPTY_PATH).map_err(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apt::host_configuration::HostConfiguration;

    fn prepared(files: &[(&str, &str)], suite: &str, mirror: &str) -> (tempfile::TempDir, Tree) {
        let directory = tempfile::tempdir().unwrap();
        let tree = Tree::open(directory.path()).unwrap();
        for (path, content) in files {
            tree.write(path, content.as_bytes(), 0o640).unwrap();
        }
        let host = HostConfiguration::default();
        let mut source = Source::new(Distribution::Debian, "amd64", &host).with_mirror(mirror, &host);
        source.suite = suite.to_owned();
        FirstBoot { distribution: Distribution::Debian, source: &source, hostname: "box" }.prepare(&tree).unwrap();
        (directory, tree)
    }

    fn text(tree: &Tree, path: &str) -> String {
        String::from_utf8(tree.read(path).unwrap().unwrap()).unwrap()
    }

    #[test]
    fn root_needs_no_password() {
        let (_directory, tree) = prepared(
            &[
                ("etc/shadow", "root:*:20000:0:99999:7:::\ndaemon:*:20000:0:99999:7:::\n"),
                ("etc/passwd", "root:x:0:0:root:/root:/bin/bash\n"),
            ],
            "trixie",
            "http://mirror.example/debian",
        );
        assert_eq!(text(&tree, "etc/shadow"), "root::20000:0:99999:7:::\ndaemon:*:20000:0:99999:7:::\n");
        assert_eq!(text(&tree, "etc/passwd"), "root:x:0:0:root:/root:/bin/bash\n");
        let (_directory, tree) =
            prepared(&[("etc/passwd", "root:*:0:0:root:/root:/bin/bash\n")], "trixie", "http://mirror.example/debian");
        assert_eq!(text(&tree, "etc/passwd"), "root::0:0:root:/root:/bin/bash\n");
    }

    #[test]
    fn nothing_is_left_of_the_installation() {
        let (_directory, tree) = prepared(
            &[
                ("var/lib/apt/lists/index", "x"),
                ("var/log/dpkg.log", "x"),
                ("etc/machine-id", "0123\n"),
                ("var/lib/dbus/machine-id", "0123\n"),
                ("tmp/a/b", "x"),
                ("usr/lib/systemd/systemd-logind", "x"),
            ],
            "trixie",
            "http://mirror.example/debian",
        );
        assert_eq!(text(&tree, "etc/machine-id"), "");
        assert_eq!(text(&tree, "etc/hostname"), "box\n");
        assert_eq!(text(&tree, "var/lib/dbus/machine-id"), "");
        assert!(text(&tree, "etc/hosts").contains("::1"));
        assert!(tree.exists("var/lib/systemd/linger"));
        for path in ["var/lib/apt/lists/index", "var/log/dpkg.log", "tmp/a"] {
            assert!(!tree.exists(path), "{path}");
        }
    }

    #[test]
    fn apt_gets_the_mirror_and_security_updates_where_they_are_known() {
        let files = [("etc/apt/apt.conf", ""), ("usr/share/keyrings/debian-archive-keyring.gpg", "")];
        let (_directory, tree) = prepared(&files, "trixie", "http://deb.debian.org/debian/");
        assert_eq!(
            text(&tree, "etc/apt/sources.list.d/debian.sources"),
            "Types: deb\nURIs: http://deb.debian.org/debian\nSuites: trixie\nComponents: main\n\
             Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n\
             Types: deb\nURIs: http://deb.debian.org/debian-security\nSuites: trixie-security\nComponents: main\n\
             Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
        );
        let (_directory, tree) = prepared(&files, "sid", "http://deb.debian.org/debian");
        assert!(!text(&tree, "etc/apt/sources.list.d/debian.sources").contains("security"));
    }
}
