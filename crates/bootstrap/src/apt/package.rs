//! A package of an index, see deb-control(5) and the repository format of Debian.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::control::{Paragraph, paragraphs};
use super::relation::{self, Dependency, Field};
use super::version::{self, Version};
use crate::digest::Sha256;

/// What is wrong with an index or a package in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A field that every package has is missing.
    #[error("package '{package}' has no field {field}")]
    Missing {
        /// The package's name, or where its paragraph begins.
        package: String,
        /// The field's name.
        field: &'static str,
    },
    /// A field's value cannot be used.
    #[error("package '{package}', field {field}: '{value}' is {reason}")]
    Value {
        /// The package's name.
        package: String,
        /// The field's name.
        field: &'static str,
        /// What stands there.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The version cannot be read.
    #[error("package '{package}'")]
    Version {
        /// The package's name.
        package: String,
        /// The reason.
        source: version::Error,
    },
    /// A relation cannot be read.
    #[error("package '{package}', field {field}")]
    Relation {
        /// The package's name.
        package: String,
        /// The field's name.
        field: &'static str,
        /// The reason.
        source: relation::Error,
    },
    /// The index is larger than can be dealt with.
    #[error("the index is larger than 4 GiB")]
    TooLarge,
}

/// How a package goes together with those of other architectures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MultiArch {
    /// Satisfies only dependencies of its own architecture.
    #[default]
    No,
    /// Can be installed for several architectures at once.
    Same,
    /// Satisfies dependencies of every architecture.
    Foreign,
    /// Satisfies dependencies of every architecture that ask for `:any`.
    Allowed,
}

/// A package, as it stands in an index (or in a `.deb`'s control file). Cheap to copy: it points into the index. The
/// fields that few packages are asked for are read when they are asked for.
#[derive(Clone)]
pub struct Package {
    index: Arc<str>,
    paragraph: Range<u32>,
    name: Range<u32>,
    architecture: Range<u32>,
    provides: Option<Range<u32>>,
    version: Version,
    essential: bool,
}

impl Package {
    /// Reads all packages of an index.
    ///
    /// # Errors
    /// The first paragraph without a usable name, version or architecture.
    pub fn parse_index(index: &Arc<str>) -> Result<Vec<Self>, Error> {
        if u32::try_from(index.len()).is_err() {
            return Err(Error::TooLarge);
        }
        let parts = parts(index);
        let read = |part: Range<usize>| {
            let mut packages = Vec::with_capacity(part.len() / 768);
            let mut all = paragraphs(&index[part.clone()]);
            while let Some((start, paragraph)) = all.next_at() {
                packages.push(Self::read(index, part.start + start, paragraph)?);
            }
            Ok(packages)
        };
        std::thread::scope(|scope| {
            let readers: Vec<_> = parts.into_iter().map(|part| scope.spawn(|| read(part))).collect();
            let mut packages = Vec::new();
            for reader in readers {
                let mut read = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
                if packages.is_empty() { packages = read } else { packages.append(&mut read) }
            }
            Ok(packages)
        })
    }

    /// Reads one package's paragraph.
    ///
    /// # Errors
    /// As [`Package::parse_index`].
    pub fn parse(paragraph: &str) -> Result<Self, Error> {
        let index: Arc<str> = paragraph.into();
        if u32::try_from(index.len()).is_err() {
            return Err(Error::TooLarge);
        }
        Self::read(&index, 0, Paragraph::new(&index))
    }

    fn read(index: &Arc<str>, start: usize, paragraph: Paragraph<'_>) -> Result<Self, Error> {
        let place = |value: &str| {
            let at = value.as_ptr() as usize - index.as_ptr() as usize;
            at as u32..(at + value.len()) as u32
        };
        let (mut name, mut version, mut architecture, mut provides, mut essential) = (None, None, None, None, false);
        for (field, value) in paragraph.fields() {
            match field {
                "Package" => name = Some(value),
                "Version" => version = Some(value),
                "Architecture" => architecture = Some(value),
                "Provides" => provides = Some(value),
                "Essential" => essential = value == "yes",
                _ => {}
            }
        }
        let nameless = || format!("at byte {start} of the index");
        let name = name.ok_or_else(|| Error::Missing { package: nameless(), field: "Package" })?;
        let is_name = |name: &str| {
            name.starts_with(|c: char| c.is_ascii_alphanumeric())
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-._".contains(&b))
        };
        if !is_name(name) {
            return Err(bad(&nameless(), "Package", name, "not a name"));
        }
        let missing = |field| Error::Missing { package: name.to_owned(), field };
        let version = version.ok_or_else(|| missing("Version"))?;
        let version = version.parse().map_err(|source| Error::Version { package: name.to_owned(), source })?;
        let architecture = architecture.ok_or_else(|| missing("Architecture"))?;
        if !is_name(architecture) {
            return Err(bad(name, "Architecture", architecture, "not an architecture"));
        }
        Ok(Self {
            index: Arc::clone(index),
            paragraph: place(paragraph.text()),
            name: place(name),
            architecture: place(architecture),
            provides: provides.map(place),
            version,
            essential,
        })
    }

    fn slice(&self, range: &Range<u32>) -> &str {
        &self.index[range.start as usize..range.end as usize]
    }

    /// The package's name.
    pub fn name(&self) -> &str {
        self.slice(&self.name)
    }

    /// The version.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// The architecture: one of Debian's names, or `all`.
    pub fn architecture(&self) -> &str {
        self.slice(&self.architecture)
    }

    /// All fields as they stand in the index.
    pub fn paragraph(&self) -> Paragraph<'_> {
        Paragraph::new(self.slice(&self.paragraph))
    }

    /// Any field's value.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.paragraph().field(name)
    }

    /// Whether the package belongs to every installation and is relied on without a dependency.
    pub fn is_essential(&self) -> bool {
        self.essential
    }

    /// Whether the package must not be removed once it is there, though it need not be there (`Important` or
    /// `Protected`).
    pub fn is_protected(&self) -> bool {
        self.field("Important") == Some("yes") || self.field("Protected") == Some("yes")
    }

    /// The priority: `required`, `important`, `standard`, `optional` or `extra`; `optional` where none is given.
    pub fn priority(&self) -> &str {
        self.field("Priority").unwrap_or("optional")
    }

    /// How it goes together with other architectures.
    pub fn multi_arch(&self) -> MultiArch {
        match self.field("Multi-Arch") {
            Some("same") => MultiArch::Same,
            Some("foreign") => MultiArch::Foreign,
            Some("allowed") => MultiArch::Allowed,
            _ => MultiArch::No,
        }
    }

    /// The relations of one kind.
    ///
    /// # Errors
    /// A field that cannot be read.
    pub fn relations(&self, field: Field) -> Result<Vec<Dependency>, Error> {
        let value = match field {
            Field::Provides => self.provides.as_ref().map(|range| self.slice(range)),
            other => self.field(other.name()),
        };
        let Some(value) = value else { return Ok(Vec::new()) };
        relation::parse(value).map_err(|source| Error::Relation {
            package: self.name().to_owned(),
            field: field.name(),
            source,
        })
    }

    /// The size on disk once installed, in bytes; 0 where the index does not say.
    pub fn installed_size(&self) -> u64 {
        self.field("Installed-Size").and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0).saturating_mul(1024)
    }

    /// The path of the `.deb` below the mirror.
    ///
    /// # Errors
    /// Where it is missing or leads out of the mirror.
    pub fn filename(&self) -> Result<&str, Error> {
        let value = self.required("Filename")?;
        let plain = |part: &str| {
            !matches!(part, "" | "." | "..") && part.bytes().all(|b| b.is_ascii_graphic() && !b"\\?#%\"<>".contains(&b))
        };
        // An index may say "./pool/…".
        let path = value.strip_prefix("./").unwrap_or(value);
        if !path.split('/').all(plain) {
            return Err(bad(self.name(), "Filename", value, "not a plain path below the mirror"));
        }
        Ok(path)
    }

    /// The size of the `.deb` in bytes.
    ///
    /// # Errors
    /// Where it is missing or no number.
    pub fn size(&self) -> Result<u64, Error> {
        let value = self.required("Size")?;
        value.parse().map_err(|_| bad(self.name(), "Size", value, "not a number"))
    }

    /// The SHA-256 of the `.deb`.
    ///
    /// # Errors
    /// Where it is missing or none.
    pub fn sha256(&self) -> Result<Sha256, Error> {
        let value = self.required("SHA256")?;
        value.parse().map_err(|_| bad(self.name(), "SHA256", value, "not a SHA-256"))
    }

    fn required(&self, field: &'static str) -> Result<&str, Error> {
        self.field(field).ok_or_else(|| Error::Missing { package: self.name().to_owned(), field })
    }
}

/// Divides an index between paragraphs, into as many parts as threads are worth while.
fn parts(index: &str) -> Vec<Range<usize>> {
    const SMALLEST: usize = 4 << 20;
    let count = std::thread::available_parallelism().map_or(1, usize::from).min(4).min(index.len() / SMALLEST).max(1);
    let mut parts = Vec::new();
    let mut start = 0;
    for nr in 1..=count {
        let from = (index.len() / count * nr).max(start);
        let end = match memchr::memmem::find(&index.as_bytes()[from..], b"\n\n") {
            Some(at) if nr < count => from + at + 1,
            _ => index.len(),
        };
        parts.push(start..end);
        start = end;
    }
    parts
}

fn bad(package: &str, field: &'static str, value: &str, reason: &'static str) -> Error {
    Error::Value { package: package.to_owned(), field, value: value.chars().take(120).collect(), reason }
}

impl fmt::Debug for Package {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Package({self})")
    }
}

/// Shown as `name:architecture=version`.
impl fmt::Display for Package {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}={}", self.name(), self.architecture(), self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const INDEX: &str = "Package: base-files
Version: 13.8+deb13u1
Installed-Size: 349
Architecture: amd64
Essential: yes
Multi-Arch: foreign
Provides: base, usrmerge (= 3)
Pre-Depends: awk
Priority: required
Filename: pool/main/b/base-files/base-files_13.8_amd64.deb
Size: 73012
SHA256: 4a2b4e6d1c0f8e7a9b3c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f809102

Package: evil
Version: 1
Architecture: all
Filename: ../../etc/passwd
Size: -1
SHA256: 00
";

    #[test]
    fn an_index() {
        let packages = Package::parse_index(&INDEX.into()).unwrap();
        let [base, evil] = &packages[..] else { panic!("{packages:?}") };
        assert_eq!(base.to_string(), "base-files:amd64=13.8+deb13u1");
        assert!(base.is_essential() && !base.is_protected());
        assert_eq!(base.multi_arch(), MultiArch::Foreign);
        assert_eq!(base.priority(), "required");
        assert_eq!(base.installed_size(), 349 * 1024);
        assert_eq!(base.size(), Ok(73012));
        assert_eq!(base.filename(), Ok("pool/main/b/base-files/base-files_13.8_amd64.deb"));
        assert!(base.sha256().unwrap().to_string().starts_with("4a2b4e"));
        assert_eq!(base.relations(Field::Provides).unwrap().len(), 2);
        assert_eq!(base.relations(Field::PreDepends).unwrap()[0].to_string(), "awk");
        assert_eq!(base.relations(Field::Depends).unwrap(), []);

        assert_eq!(evil.priority(), "optional");
        assert!(evil.filename().is_err() && evil.size().is_err() && evil.sha256().is_err());
    }

    #[test]
    fn hostile_paths_are_refused() {
        for path in ["/etc/passwd", "pool/../../x", "pool//x", "", ".", "pool/x?y", "pool/x y", "pool/%2e%2e/x", "a\\b"]
        {
            let package =
                Package::parse(&format!("Package: a\nVersion: 1\nArchitecture: all\nFilename: {path}\n")).unwrap();
            assert!(package.filename().is_err(), "{path}");
        }
    }

    #[test]
    fn what_every_package_needs() {
        for paragraph in [
            "Version: 1\nArchitecture: all\n",
            "Package: a\nArchitecture: all\n",
            "Package: a\nVersion: 1\n",
            "Package: ../a\nVersion: 1\nArchitecture: all\n",
            "Package: a\nVersion: ü\nArchitecture: all\n",
            "Package: a\nVersion: 1\nArchitecture: a/b\n",
        ] {
            assert!(Package::parse(paragraph).is_err(), "{paragraph}");
        }
    }

    #[test]
    fn large_indices_are_read_in_parts() {
        let count = 200_000;
        let mut index = String::new();
        for nr in 0..count {
            index += &format!("Package: p{nr}\nVersion: 1\nArchitecture: all\nDescription: some text to fill it\n\n");
        }
        for index in [index.as_str(), index.trim_end()] {
            let packages = Package::parse_index(&index.into()).unwrap();
            assert_eq!(packages.len(), count);
            assert!(packages.iter().enumerate().all(|(nr, package)| package.name() == format!("p{nr}")));
        }
        let one = format!("Package: p\nVersion: 1\nArchitecture: all\nDescription: {}\n", "x".repeat(20 << 20));
        assert_eq!(Package::parse_index(&one.as_str().into()).unwrap().len(), 1);
    }

    proptest! {
        #[test]
        fn never_panics(text in "((Package|Version|Architecture|Filename|Size|SHA256|Depends|Provides): ?[a-z0-9./:ä]{0,6}\n|\n| x\n){0,12}") {
            for package in Package::parse_index(&text.as_str().into()).unwrap_or_default() {
                let _ = (package.filename(), package.size(), package.sha256(), package.multi_arch(), package.installed_size());
                let _ = (package.relations(Field::Depends), package.relations(Field::Provides));
            }
        }
    }
}
