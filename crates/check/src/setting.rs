//! Settings of the running kernel: sysctls, and how it was configured.

use std::io::Read;
use std::path::{Path, PathBuf};

/// A setting below `/proc/sys`, with dots, as sysctl(8) has it. `None` where there is none or it is no number.
pub(crate) fn number(name: &str) -> Option<u64> {
    text(name)?.parse().ok()
}

/// The same as text.
pub(crate) fn text(name: &str) -> Option<String> {
    let path = Path::new("/proc/sys").join(name.replace('.', "/"));
    Some(std::fs::read_to_string(path).ok()?.trim().to_owned())
}

/// More than any configuration has, decompressed.
const LONGEST: u64 = 8 << 20;

/// What the kernel was configured with, where it or the distribution tells.
#[derive(Clone, Debug, Default)]
pub(crate) struct Configuration {
    path: PathBuf,
    text: String,
}

impl Configuration {
    /// That of the running kernel.
    pub(crate) fn find() -> Option<Self> {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let places = [
            PathBuf::from("/proc/config.gz"),
            PathBuf::from(format!("/boot/config-{release}")),
            PathBuf::from(format!("/lib/modules/{release}/config")),
            PathBuf::from(format!("/usr/lib/modules/{release}/config")),
        ];
        places.into_iter().find_map(|path| Self::read(&path))
    }

    fn read(path: &Path) -> Option<Self> {
        let file = std::fs::File::open(path).ok()?;
        let mut text = String::new();
        match path.extension().is_some_and(|extension| extension == "gz") {
            true => flate2::read::MultiGzDecoder::new(file).take(LONGEST).read_to_string(&mut text).ok()?,
            false => file.take(LONGEST).read_to_string(&mut text).ok()?,
        };
        // A file that says nothing, or something else.
        text.lines().any(|line| line.starts_with("CONFIG_")).then_some(Self { path: path.to_owned(), text })
    }

    /// What it says of an option: `y`, `m`, `n` or a value. An option that it does not name is one that this kernel does not
    /// know, or that depends on one that is off: `n`, too.
    pub(crate) fn value(&self, option: &str) -> &str {
        let begin = format!("CONFIG_{option}=");
        self.text.lines().rev().find_map(|line| line.strip_prefix(&begin)).unwrap_or("n")
    }

    /// The same as one reads it: `CONFIG_USER_NS=y in /proc/config.gz`.
    pub(crate) fn shown(&self, option: &str) -> String {
        format!("CONFIG_{option}={} in {}", self.value(option), self.path.display())
    }

    /// Where it was found.
    pub(crate) fn shown_path(&self) -> String {
        self.path.display().to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const TEXT: &str = "#\n# Linux/x86 6.18.0 Kernel Configuration\n#\nCONFIG_USER_NS=y\nCONFIG_VETH=m\n\
                        # CONFIG_AUDIT is not set\nCONFIG_USER_NS_LONGER=n\nCONFIG_LSM=\"landlock,yama\"\n";

    fn check(configuration: &Configuration) {
        let values =
            ["USER_NS", "VETH", "AUDIT", "LSM", "UNHEARD_OF", "USER"].map(|option| configuration.value(option));
        assert_eq!(values, ["y", "m", "n", "\"landlock,yama\"", "n", "n"]);
    }

    #[test]
    fn it_is_read_plain_and_compressed() {
        let directory = tempfile::tempdir().expect("directory");
        let plain = directory.path().join("config-6.18.0");
        std::fs::write(&plain, TEXT).expect("file");
        let read = Configuration::read(&plain).expect("read");
        check(&read);
        assert_eq!(read.shown("USER_NS"), format!("CONFIG_USER_NS=y in {}", plain.display()));
        let compressed = directory.path().join("config.gz");
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(TEXT.as_bytes()).expect("compress");
        std::fs::write(&compressed, encoder.finish().expect("compress")).expect("file");
        check(&Configuration::read(&compressed).expect("read"));
    }

    #[test]
    fn what_is_no_configuration_is_none() {
        let directory = tempfile::tempdir().expect("directory");
        for (name, contents) in [("empty", &b""[..]), ("broken.gz", b"\x1f\x8b\x08\x00"), ("other", b"hello\n")] {
            let path = directory.path().join(name);
            std::fs::write(&path, contents).expect("file");
            assert!(Configuration::read(&path).is_none(), "{name}");
        }
        assert!(Configuration::read(&directory.path().join("none")).is_none());
    }

    #[test]
    fn sysctls_of_this_kernel() {
        assert!(number("kernel.pid_max").is_some_and(|most| most > 300));
        assert_eq!(number("kernel.no-such-thing"), None);
        assert_eq!(text("kernel.ostype").as_deref(), Some("Linux"));
        assert_eq!(number("kernel.ostype"), None);
    }
}
