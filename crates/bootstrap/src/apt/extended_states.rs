//! Which packages are there only because others need them, as apt keeps it, see apt-mark(8): `apt autoremove` removes
//! these when nobody needs them any more.

use std::collections::BTreeSet;

use crate::tree::{Error, Tree};

/// Where apt keeps it.
const FILE: &str = "var/lib/apt/extended_states";

/// Writes the file, unless there are none.
///
/// # Errors
/// Where it cannot be written.
pub(super) fn write(tree: &Tree, automatic: &BTreeSet<&str>, architecture: &str) -> Result<(), Error> {
    if automatic.is_empty() {
        return Ok(());
    }
    tree.write(FILE, text(automatic, architecture).as_bytes(), 0o644)
}

/// The paragraphs have the order in which apt itself finds the packages.
fn text(automatic: &BTreeSet<&str>, architecture: &str) -> String {
    let mut names: Vec<&str> = automatic.iter().copied().collect();
    names.sort_by_key(|name| place(name));
    let paragraph = |name| format!("Package: {name}\nArchitecture: {architecture}\nAuto-Installed: 1\n\n");
    names.into_iter().map(paragraph).collect()
}

/// Where a name stands in apt's table of names: Bernstein's hash in a table of the size that apt has by default.
fn place(name: &str) -> u32 {
    name.bytes().fold(5381_u32, |hash, byte| hash.wrapping_mul(33).wrapping_add(byte.into())) % 196_613
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apt_wrote_this_order() {
        let names = ["libnettle8", "libffi8", "libext2fs2"];
        assert_eq!(
            text(&names.into(), "amd64"),
            "Package: libext2fs2\nArchitecture: amd64\nAuto-Installed: 1\n\n\
             Package: libffi8\nArchitecture: amd64\nAuto-Installed: 1\n\n\
             Package: libnettle8\nArchitecture: amd64\nAuto-Installed: 1\n\n"
        );
    }
}
