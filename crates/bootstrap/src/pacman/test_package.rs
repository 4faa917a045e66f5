//! Package files for tests.

use std::path::{Path, PathBuf};

/// A package to be made: `.PKGINFO`, what is added, in this order.
pub(crate) struct TestPackage {
    name: String,
    version: String,
    info: Option<String>,
    entries: Vec<(tar::Header, String, Vec<u8>)>,
    listed: Option<String>,
}

impl TestPackage {
    pub(crate) fn new(name: &str, version: &str) -> Self {
        let info = format!(
            "pkgname = {name}\npkgbase = {name}\npkgver = {version}\npkgdesc = of a test\nbuilddate = 1\nsize = 1\narch = any\n"
        );
        let (name, version) = (name.to_owned(), version.to_owned());
        Self { name, version, info: Some(info), entries: Vec::new(), listed: None }
    }

    /// More lines of `.PKGINFO`.
    pub(crate) fn info(mut self, lines: &str) -> Self {
        self.info.as_mut().unwrap().push_str(lines);
        self
    }

    /// `.PKGINFO` as it is.
    pub(crate) fn raw_info(mut self, info: Option<&str>) -> Self {
        self.info = info.map(ToOwned::to_owned);
        self
    }

    fn add(mut self, path: &str, kind: tar::EntryType, mode: u32, content: &[u8]) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        header.set_size(content.len() as u64);
        let old = header.as_old_mut();
        old.name[..path.len()].copy_from_slice(path.as_bytes());
        self.entries.push((header, path.to_owned(), content.to_vec()));
        self
    }

    fn leading_to(mut self, target: &str) -> Self {
        let header = &mut self.entries.last_mut().unwrap().0;
        header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        self
    }

    pub(crate) fn file(self, path: &str, mode: u32, content: &str) -> Self {
        self.add(path, tar::EntryType::Regular, mode, content.as_bytes())
    }

    pub(crate) fn bytes(self, path: &str, content: &[u8]) -> Self {
        self.add(path, tar::EntryType::Regular, 0o644, content)
    }

    pub(crate) fn directory(self, path: &str, mode: u32) -> Self {
        self.add(&format!("{path}/"), tar::EntryType::Directory, mode, b"")
    }

    pub(crate) fn symlink(self, path: &str, target: &str) -> Self {
        self.add(path, tar::EntryType::Symlink, 0o777, b"").leading_to(target)
    }

    pub(crate) fn hard_link(self, path: &str, target: &str) -> Self {
        self.add(path, tar::EntryType::Link, 0o644, b"").leading_to(target)
    }

    pub(crate) fn null_device(mut self, path: &str) -> Self {
        self = self.add(path, tar::EntryType::Char, 0o600, b"");
        let header = &mut self.entries.last_mut().unwrap().0;
        header.set_device_major(1).unwrap();
        header.set_device_minor(3).unwrap();
        self
    }

    /// Says so many bytes for the last file, whatever it has.
    pub(crate) fn claim_size(mut self, size: u64) -> Self {
        self.entries.last_mut().unwrap().0.set_size(size);
        self
    }

    /// With such a `.MTREE`.
    pub(crate) fn mtree(mut self, list: &str) -> Self {
        self.listed = Some(list.to_owned());
        self
    }

    pub(crate) fn archive(&self) -> Vec<u8> {
        let mut first = Self::new("", "");
        if let Some(info) = &self.info {
            first = first.file(".PKGINFO", 0o644, info);
        }
        if let Some(list) = &self.listed {
            first = first.file(".MTREE", 0o644, list);
        }
        let mut bytes = Vec::new();
        for (header, _, content) in first.entries.iter().chain(&self.entries) {
            let mut header = header.clone();
            header.set_cksum();
            bytes.extend_from_slice(header.as_bytes());
            bytes.extend_from_slice(content);
            bytes.resize(bytes.len().next_multiple_of(512), 0);
        }
        bytes.resize(bytes.len() + 1024, 0);
        bytes
    }

    /// Writes it, and says where.
    pub(crate) fn write(&self, directory: &Path) -> PathBuf {
        let path = directory.join(format!("{}-{}-any.pkg.tar.zst", self.name, self.version));
        std::fs::write(&path, zstd::encode_all(&*self.archive(), 1).unwrap()).unwrap();
        path
    }
}
