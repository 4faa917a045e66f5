//! Small packages that a few words describe, and signed repositories of them.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{CWD, FileType, Mode, XattrFlags, mknodat, setxattr};

use super::System;
use super::keys::Keys;
use super::repository::{self, Workshop};
use super::work::{BUILDER, done};
use crate::fixture;

/// What a path of a package is.
#[derive(Debug, Clone)]
enum Kind {
    File(Vec<u8>),
    Directory,
    Link(String),
    HardLink(String),
    Pipe,
}

#[derive(Debug, Clone)]
struct Entry {
    path: String,
    kind: Kind,
    mode: u32,
    owner: (u32, u32),
    attribute: Option<(String, Vec<u8>)>,
}

/// A package that is packed without makepkg(8), which takes too long for many: archive, description and list of files are
/// made in the same way, by bsdtar(1).
#[derive(Debug, Clone)]
pub struct Crafted {
    name: String,
    version: String,
    fields: Vec<(&'static str, String)>,
    entries: Vec<Entry>,
    /// Files of its description, such as `.INSTALL`.
    beside: Vec<(&'static str, String)>,
    compression: &'static str,
}

impl Crafted {
    /// A package for this machine without files.
    #[must_use]
    pub fn new(name: &str, version: &str) -> Self {
        let (name, version) = (name.to_owned(), version.to_owned());
        let fields = vec![("arch", "x86_64".to_owned())];
        Self { name, version, fields, entries: Vec::new(), beside: Vec::new(), compression: "zst" }
    }

    /// For every machine.
    #[must_use]
    pub fn any(mut self) -> Self {
        self.fields.retain(|(key, _)| *key != "arch");
        self.with("arch", "any")
    }

    /// A line of its description: `depend`, `provides`, `conflict`, `backup`, ...
    #[must_use]
    pub fn with(mut self, key: &'static str, value: &str) -> Self {
        self.fields.push((key, value.to_owned()));
        self
    }

    /// Packed with another compression: `gz`, `xz`, `bz2`, `zst`, or none at all with an empty word.
    #[must_use]
    pub fn packed(mut self, compression: &'static str) -> Self {
        self.compression = compression;
        self
    }

    /// A file.
    #[must_use]
    pub fn file(self, path: &str, contents: impl AsRef<[u8]>, mode: u32) -> Self {
        self.entry(path, Kind::File(contents.as_ref().to_vec()), mode)
    }

    /// A directory.
    #[must_use]
    pub fn directory(self, path: &str, mode: u32) -> Self {
        self.entry(path, Kind::Directory, mode)
    }

    /// A symbolic link.
    #[must_use]
    pub fn link(self, path: &str, target: &str) -> Self {
        self.entry(path, Kind::Link(target.to_owned()), 0o777)
    }

    /// Another name of a file that came before.
    #[must_use]
    pub fn hard_link(self, path: &str, of: &str) -> Self {
        self.entry(path, Kind::HardLink(of.to_owned()), 0)
    }

    /// A pipe.
    #[must_use]
    pub fn pipe(self, path: &str, mode: u32) -> Self {
        self.entry(path, Kind::Pipe, mode)
    }

    /// Gives what came last to somebody.
    #[must_use]
    pub fn owned(mut self, user: u32, group: u32) -> Self {
        self.entries.last_mut().expect("a path").owner = (user, group);
        self
    }

    /// Gives what came last an extended attribute.
    #[must_use]
    pub fn attribute(mut self, name: &str, value: &[u8]) -> Self {
        self.entries.last_mut().expect("a path").attribute = Some((name.to_owned(), value.to_vec()));
        self
    }

    /// Its scriptlet.
    #[must_use]
    pub fn scriptlet(mut self, text: &str) -> Self {
        self.beside.push((".INSTALL", text.to_owned()));
        self
    }

    /// Its list of changes.
    #[must_use]
    pub fn changelog(mut self, text: &str) -> Self {
        self.beside.push((".CHANGELOG", text.to_owned()));
        self
    }

    fn entry(mut self, path: &str, kind: Kind, mode: u32) -> Self {
        self.entries.push(Entry { path: path.to_owned(), kind, mode, owner: (0, 0), attribute: None });
        self
    }

    /// The name of its file.
    #[must_use]
    pub fn file_name(&self) -> String {
        let architecture = self.fields.iter().find(|(key, _)| *key == "arch").map_or("", |(_, value)| value);
        let dot = if self.compression.is_empty() { "" } else { "." };
        format!("{}-{}-{architecture}.pkg.tar{dot}{}", self.name, self.version, self.compression)
    }

    /// Packs it into a directory. What comes of `stage` is in no way the package's.
    fn pack(&self, stage: &Path, into: &Path) {
        fs::create_dir(stage).expect("directory");
        self.entries.iter().for_each(|entry| entry.make(stage));
        fs::write(stage.join(".PKGINFO"), self.information()).expect("file");
        self.beside.iter().for_each(|(name, text)| fs::write(stage.join(name), text).expect("file"));
        let times = "find . -exec touch -h -d @1500000000 {} +";
        done(Command::new("sh").args(["-c", times]).current_dir(stage));
        let mut names: Vec<_> =
            fs::read_dir(stage).expect("directory").flatten().map(|entry| entry.file_name()).collect();
        names.sort();
        let mut mtree = Command::new("bsdtar");
        mtree.current_dir(stage).args(["-czf", ".MTREE", "--format=mtree"]);
        mtree.arg("--options=!all,use-set,type,uid,gid,mode,time,size,md5,sha256,link");
        done(mtree.args(&names));
        let mut pack = Command::new("bsdtar");
        pack.current_dir(stage).args(["--no-fflags", "--xattrs", "-cf"]).arg(into.join(self.file_name()));
        match self.compression {
            "zst" => pack.args(["--zstd", "--options=zstd:compression-level=1"]),
            "gz" => pack.arg("--gzip"),
            "xz" => pack.arg("--xz"),
            "bz2" => pack.arg("--bzip2"),
            _ => &mut pack,
        };
        done(pack.arg(".MTREE").args(&names));
    }

    fn information(&self) -> String {
        let size: usize = self.entries.iter().map(Entry::size).sum();
        let mut text = format!("# made for tests\npkgname = {}\n", self.name);
        let given = |key: &str| self.fields.iter().any(|(field, _)| *field == key);
        let usual = [
            ("pkgbase", self.name.clone()),
            ("pkgver", self.version.clone()),
            ("pkgdesc", format!("{}, for tests", self.name)),
            ("url", "https://example.org/".into()),
            ("builddate", "1500000000".into()),
            ("packager", "Tests <packager@testing.test>".into()),
            ("size", size.to_string()),
        ];
        let usual = usual.iter().filter(|(key, _)| !given(key)).map(|(key, value)| (*key, value));
        for (key, value) in usual.chain(self.fields.iter().map(|(key, value)| (*key, value))) {
            writeln!(text, "{key} = {value}").expect("memory");
        }
        text
    }
}

impl Entry {
    fn size(&self) -> usize {
        match &self.kind {
            Kind::File(contents) => contents.len(),
            _ => 0,
        }
    }

    fn make(&self, stage: &Path) {
        let path = stage.join(&self.path);
        fs::create_dir_all(path.parent().expect("a path in the package")).expect("directory");
        match &self.kind {
            Kind::File(contents) => fs::write(&path, contents).expect("file"),
            Kind::Directory => fs::create_dir_all(&path).expect("directory"),
            Kind::Link(target) => return symlink(target, &path).expect("link"),
            Kind::HardLink(of) => return fs::hard_link(stage.join(of), &path).expect("link"),
            Kind::Pipe => mknodat(CWD, &path, FileType::Fifo, Mode::RUSR, 0).expect("pipe"),
        }
        chown(&path, Some(self.owner.0), Some(self.owner.1)).expect("owner");
        fs::set_permissions(&path, fs::Permissions::from_mode(self.mode)).expect("mode");
        if let Some((name, value)) = &self.attribute {
            setxattr(&path, name.as_str(), value, XattrFlags::empty()).expect("extended attribute");
        }
    }
}

/// Makes repositories of crafted packages, signed by the packager of the distribution.
#[derive(Debug)]
pub struct Crafts {
    work: fixture::Tree,
    workshop: Workshop,
}

impl Crafts {
    /// With the keys of the distribution.
    ///
    /// # Panics
    /// If they cannot be copied.
    #[must_use]
    pub fn new(system: &System) -> Self {
        let work = fixture::empty();
        chown(work.path(), Some(BUILDER), Some(BUILDER)).expect("owner");
        let workshop = Workshop::new(work.path(), Keys::copied(&system.secret(), &work.join("gnupg")));
        Self { work, workshop }
    }

    /// A repository of these packages, under this name.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn repository(&self, name: &str, packages: &[Crafted]) -> PathBuf {
        let repository = self.work.join(name);
        repository::make(&repository);
        for package in packages {
            package.pack(&self.work.join(&format!("stage-{name}-{}", package.name)), &repository);
        }
        let files: Vec<PathBuf> = packages.iter().map(|package| repository.join(package.file_name())).collect();
        repository::own(&repository);
        self.workshop.sign(&files);
        self.workshop.index_of(&repository, &files);
        repository
    }
}
