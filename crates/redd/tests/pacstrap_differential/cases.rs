//! All cases, and packages that several of them have.

use testkit::arch::Crafted;

use crate::{Case, contents, relations, scripts, switches};

pub(crate) fn all() -> Vec<Case> {
    [contents::cases(), relations::cases(), scripts::cases(), switches::cases()].into_iter().flatten().collect()
}

/// A package with one file.
pub(crate) fn plain(name: &str) -> Crafted {
    version(name, "1-1")
}

/// The same, in this version.
pub(crate) fn version(name: &str, version: &str) -> Crafted {
    Crafted::new(name, version).file(&format!("usr/share/{name}/file"), format!("{name} {version}\n"), 0o644)
}

/// A shell for scripts, without libraries.
pub(crate) fn shell() -> Crafted {
    let program = ["/bin/busybox", "/usr/bin/busybox"].iter().find_map(|path| std::fs::read(path).ok());
    let shell = Crafted::new("shell", "1-1").file("usr/bin/busybox", program.expect("busybox"), 0o755);
    let names = ["sh", "cat", "echo", "id", "env", "sort", "pwd", "chmod", "ls", "tr"];
    let shell = names.iter().fold(shell, |shell, name| shell.link(&format!("usr/bin/{name}"), "busybox"));
    shell.link("bin", "usr/bin").with("provides", "sh")
}
