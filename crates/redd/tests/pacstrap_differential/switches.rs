//! Options of the command line, and lines of the configuration.

use crate::Case;
use crate::cases::{plain, version};

pub(crate) fn cases() -> Vec<Case> {
    [switches(), configuration()].into_iter().flatten().collect()
}

const FILE: &str = "usr/share/a/file";

fn case(name: &'static str) -> Case {
    Case::new(name, vec![plain("a").with("depend", "b"), plain("b")], FILE)
}

fn switches() -> Vec<Case> {
    let missing = Case::new("without-checks", vec![plain("a").with("depend", "nothing")], FILE);
    let files = Case::new("of-files", vec![plain("a").with("depend", "b"), plain("b")], FILE);
    vec![
        Case { options: &[], there: "var/cache/pacman/pkg/a-1-1-x86_64.pkg.tar.zst", ..case("cache-in-the-tree") },
        Case { options: &["-c", "-G"], ..case("no-keyring") },
        Case { options: &["-c", "-M"], ..case("no-mirrors") },
        Case { options: &["-cGM"], ..case("neither") },
        Case { options: &["-c", "-P"], there: "etc/pacman.conf", ..case("configuration-too") },
        Case {
            options: &["-c", "-K"],
            there: "etc/pacman.d/gnupg/pubring.gpg",
            but: &["etc/pacman.d/gnupg/"],
            ..case("keyring-of-its-own")
        },
        Case { options: &["-c", "-D"], ..missing },
        Case {
            options: &["-c", "-U"],
            wanted: &["REPOSITORY/a-1-1-x86_64.pkg.tar.zst", "REPOSITORY/b-1-1-x86_64.pkg.tar.zst"],
            ..files
        },
    ]
}

fn configuration() -> Vec<Case> {
    let some = plain("a").file("usr/share/doc/a/text", "t", 0o644).file("usr/share/man/a.1", "m", 0o644);
    let extract =
        Case::new("no-extract", vec![some.clone().file("usr/share/man/kept", "k", 0o644)], "usr/share/man/kept");
    let upgrade = Case::new("no-upgrade", vec![some.clone()], "usr/share/man/a.1");
    let ignored = Case::new("ignored", vec![plain("a").with("depend", "b"), plain("b")], FILE);
    let machines = Case::new("machines", vec![plain("a").any(), version("b", "1-1")], FILE);
    vec![
        Case {
            configuration: "SigLevel = Required\nNoExtract = usr/share/doc/* usr/share/man/*\nNoExtract = !usr/share/man/kept\n",
            ..extract
        },
        Case { configuration: "SigLevel = Required\nNoUpgrade = usr/share/man/a.1\n", ..upgrade },
        Case { configuration: "SigLevel = Required\nIgnorePkg = a\n", ..ignored },
        Case { configuration: "SigLevel = Never\n", ..case("unsigned") },
        Case { configuration: "SigLevel = PackageRequired DatabaseOptional\n", ..case("database-optional") },
        Case { configuration: "SigLevel = Required\nArchitecture = x86_64_v3 x86_64\n", ..machines },
    ]
}
