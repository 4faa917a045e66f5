//! What makepkg is told: build files for several packages each, and what is added to the packages that are cut.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::cut::Cut;

/// One package of a build file.
#[derive(Debug, Clone, Default)]
pub(super) struct Package {
    /// Its name.
    pub(super) name: String,
    /// For every machine.
    pub(super) any: bool,
    /// Lists of the build file, such as `depends`, by their names.
    pub(super) lists: BTreeMap<&'static str, Vec<String>>,
    /// Its scriptlet.
    pub(super) scriptlet: Option<&'static str>,
    /// Commands after its files have been put into `$pkgdir`.
    pub(super) commands: &'static str,
}

/// One build file.
#[derive(Debug)]
pub(super) struct Recipe {
    /// The name of the whole.
    pub(super) base: &'static str,
    /// Version, release, epoch.
    pub(super) version: (&'static str, u32, u32),
    /// What is built.
    pub(super) packages: Vec<Package>,
}

impl Recipe {
    /// The text of the `PKGBUILD`. The files of a package are those of the archive `NAME.tar` beside it, where there is one.
    pub(super) fn text(&self) -> String {
        let (version, release, epoch) = self.version;
        let names = self.packages.iter().map(|package| quoted(&package.name)).collect::<Vec<_>>().join(" ");
        let mut text = format!(
            "pkgbase={}\npkgname=({names})\npkgver={version}\npkgrel={release}\nepoch={epoch}\narch=(x86_64)\n\
             url=https://example.org/\nlicense=(custom)\noptions=(!strip !zipman !purge !debug docs libtool staticlibs \
             emptydirs)\n",
            self.base
        );
        for package in &self.packages {
            package.write(&mut text);
        }
        text
    }
}

impl Package {
    pub(super) fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Adds to a list.
    pub(super) fn with(mut self, list: &'static str, words: &[&str]) -> Self {
        self.lists.entry(list).or_default().extend(words.iter().map(|word| (*word).to_owned()));
        self
    }

    fn write(&self, text: &mut String) {
        let name = &self.name;
        let mut line = |line: String| writeln!(text, "{line}").expect("memory");
        line(format!("package_{name}() {{\n pkgdesc={}", quoted(&format!("{name}, for tests"))));
        if self.any {
            line(" arch=(any)".into());
        }
        for (list, words) in &self.lists {
            let words = words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
            line(format!(" {list}=({words})"));
        }
        if self.scriptlet.is_some() {
            line(format!(" install={name}.install"));
        }
        line(format!(" [ ! -e \"$startdir/{name}.tar\" ] || bsdtar -xpf \"$startdir/{name}.tar\" -C \"$pkgdir\""));
        line(format!(" cd \"$pkgdir\"\n{}\n}}", self.commands));
    }
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// The system: what is cut of the tree, in one build file with one version.
pub(super) fn system(cut: &BTreeMap<String, Cut>) -> Recipe {
    let packages = cut.iter().map(|(name, one)| {
        let mut package = Package::named(name);
        let owned = |words: &std::collections::BTreeSet<String>| words.iter().cloned().collect::<Vec<_>>();
        package.lists.insert("depends", owned(&one.needs));
        package.lists.insert("backup", owned(&one.backup));
        added(package)
    });
    Recipe { base: "debian", version: ("12", 1, 0), packages: packages.collect() }
}

/// A hook that runs when users are described.
const SYSUSERS: &str = "[Trigger]\nType = Path\nOperation = Install\nOperation = Upgrade\n\
                        Target = usr/lib/sysusers.d/*.conf\n\n[Action]\nDescription = Creating system user accounts...\n\
                        When = PostTransaction\nExec = /usr/bin/systemd-sysusers\n";

/// A hook that writes down what it is called for.
const NOTED: &str = "[Trigger]\nType = Path\nOperation = Install\nOperation = Upgrade\nOperation = Remove\n\
                     Target = usr/lib/systemd/system/*\n\n[Action]\nDescription = Noting units...\n\
                     When = PostTransaction\nExec = /bin/sh -c 'cat >> /var/lib/noted-units'\nNeedsTargets\n";

/// What a package has beyond Debian's files.
fn added(package: Package) -> Package {
    match package.name.as_str() {
        "bash" => {
            let package = package.with("provides", &["sh"]);
            Package { commands: "ln -sf bash usr/bin/sh", ..package }
        }
        "filesystem" => Package { commands: FILESYSTEM, ..package },
        "systemd" => {
            let package = package.with("provides", &["udev=12", "systemd-libs=12"]).with("depends", &["sh"]);
            let package = package.with("replaces", &["udev"]).with("optdepends", &["curl: to fetch images"]);
            Package {
                commands: SYSTEMD,
                scriptlet: Some("post_install() {\n  systemd-machine-id-setup\n}\n"),
                ..package
            }
        }
        "systemd-sysvcompat" => package.with("conflicts", &["sysvinit"]).with("provides", &["init"]),
        "shadow" => {
            let package = package.with("depends", &["bash", "libcap"]).with("replaces", &["login-tools"]);
            let scriptlet = "post_install() {\n  setcap cap_setuid+ep usr/bin/newuidmap\n  \
                             setcap cap_setgid+ep usr/bin/newgidmap\n}\npost_upgrade() {\n  post_install\n}\n";
            Package { commands: "chmod 755 usr/bin/newuidmap usr/bin/newgidmap", scriptlet: Some(scriptlet), ..package }
        }
        "mawk" => {
            let package = package.with("provides", &["awk"]).with("conflicts", &["original-awk"]);
            Package { commands: "ln -s mawk usr/bin/awk", ..package }
        }
        "original-awk" => {
            let package = package.with("provides", &["awk"]).with("conflicts", &["mawk"]);
            Package { commands: "ln -s original-awk usr/bin/awk", ..package }
        }
        "tar" | "gzip" | "xz" | "zstd" | "libarchive" => package.with("groups", &["archivers"]),
        "pacman" => {
            let package = package.with("depends", &["bash", "coreutils", "pacman-mirrorlist", "testing-keyring"]);
            Package { commands: PACMAN, ..package }
        }
        _ => package,
    }
}

/// The users that hooks make are not there before.
const FILESYSTEM: &str = "sed -i '/^systemd-/d' etc/passwd etc/group etc/shadow etc/gshadow\n\
                          chmod 555 proc sys\n";

/// The shell of a hook is there when the transaction ends.
const SYSTEMD: &str = "mkdir -p usr/share/libalpm/hooks\n\
                       cp \"$startdir/20-sysusers.hook\" \"$startdir/90-noted.hook\" usr/share/libalpm/hooks/\n";

/// The configuration in the tree names the repository as the host's does.
const PACMAN: &str = "printf '[options]\\nHoldPkg = pacman glibc\\nArchitecture = auto\\nCheckSpace\\nSigLevel = Required\\n\
                      [core]\\nInclude = /etc/pacman.d/mirrorlist\\n' > etc/pacman.conf\n";

/// Files beside the build file.
pub(super) const BESIDE: [(&str, &str); 2] = [("20-sysusers.hook", SYSUSERS), ("90-noted.hook", NOTED)];

/// What has no files of Debian: the package that depends on all others, a kernel that nothing depends on.
pub(super) fn meta() -> Recipe {
    let base = Package { any: true, ..Package::named("base") };
    let base = base.with("depends", &BASE).with("optdepends", &["linux: bare metal support"]);
    let linux = Package { commands: LINUX, ..Package::named("linux") };
    let linux = linux.with("depends", &["coreutils", "kmod"]).with("provides", &["WIREGUARD-MODULE"]);
    let mirrors = Package { any: true, commands: MIRRORS, ..Package::named("pacman-mirrorlist") };
    let mirrors = mirrors.with("backup", &["etc/pacman.d/mirrorlist"]);
    let keys = Package { any: true, commands: KEYS, scriptlet: Some(POPULATE), ..Package::named("testing-keyring") };
    let kernel_group = linux.with("groups", &["kernels"]);
    Recipe { base: "meta", version: ("3", 1, 1), packages: vec![base, kernel_group, mirrors, keys] }
}

const BASE: [&str; 23] = [
    "filesystem",
    "glibc>=12-1",
    "bash",
    "coreutils",
    "systemd",
    "systemd-sysvcompat",
    "util-linux",
    "dbus",
    "pam",
    "shadow",
    "pacman",
    "gnupg",
    "tar",
    "procps",
    "grep",
    "sed",
    "findutils",
    "libcap",
    "awk",
    "less",
    "curl",
    "init",
    "udev>=12",
];

const LINUX: &str = "mkdir -p usr/lib/modules/6.9.1\nprintf linux > usr/lib/modules/6.9.1/pkgbase\n\
                     printf 'not a kernel' > usr/lib/modules/6.9.1/vmlinuz\n";

const MIRRORS: &str = "mkdir -p etc/pacman.d\nprintf '# none is chosen\\n' > etc/pacman.d/mirrorlist\n";

const KEYS: &str = "mkdir -p usr/share/pacman/keyrings\ncp \"$startdir\"/testing.gpg \"$startdir\"/testing-trusted \
                    \"$startdir\"/testing-revoked usr/share/pacman/keyrings/\n";

const POPULATE: &str = "post_upgrade() {\n  if usr/bin/pacman-key -l >/dev/null 2>&1; then\n    \
                        usr/bin/pacman-key --populate testing\n  fi\n}\npost_install() {\n  post_upgrade\n}\n";

/// What is in the second state of the repository: one package is newer, with other files and another default configuration,
/// one is new, one takes the place of another.
pub(super) fn newer(cut: &BTreeMap<String, Cut>) -> Recipe {
    let mut nano = Package { commands: NEWER_NANO, ..Package::named("nano") };
    let cut = &cut["nano"];
    nano.lists.insert("depends", cut.needs.iter().cloned().collect());
    nano.lists.insert("backup", cut.backup.iter().cloned().collect());
    let pager = Package {
        commands: "mkdir -p usr/bin\nprintf '#!/bin/sh\\ncat \"$@\"\\n' > usr/bin/less\nchmod 755 usr/bin/less\n",
        any: true,
        ..Package::named("pager")
    };
    let pager = pager
        .with("depends", &["sh"])
        .with("replaces", &["less"])
        .with("conflicts", &["less"])
        .with("provides", &["less"]);
    let greeting = Package {
        any: true,
        commands: "mkdir -p usr/lib/systemd/system\nprintf '[Service]\\nType=oneshot\\nExecStart=/bin/true\\n' > usr/lib/systemd/system/greeting.service\n",
        ..Package::named("greeting")
    };
    Recipe { base: "newer", version: ("13", 1, 0), packages: vec![nano, pager, greeting] }
}

const NEWER_NANO: &str = "rm -rf usr/share/nano\nmkdir -p usr/share/nano-13\nprintf 'new\\n' > usr/share/nano-13/new\n\
                          printf '# the new default\\n' >> etc/nanorc\n";
