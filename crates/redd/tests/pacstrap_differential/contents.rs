//! What is in packages.

use testkit::arch::Crafted;

use crate::Case;
use crate::cases::plain;

pub(crate) fn cases() -> Vec<Case> {
    [kinds(), names(), packing(), shared()].into_iter().flatten().collect()
}

fn package() -> Crafted {
    Crafted::new("a", "1-1")
}

fn kinds() -> Vec<Case> {
    let modes =
        [("r", 0o400), ("plain", 0o644), ("program", 0o755), ("setuid", 0o4755), ("setgid", 0o2711), ("none", 0)];
    let modes =
        modes.iter().fold(package(), |package, (name, mode)| package.file(&format!("usr/bin/{name}"), *name, *mode));
    let directories =
        package().directory("srv/closed", 0o700).directory("srv/open", 0o1777).directory("srv/group", 0o2775);
    let owners =
        package().file("srv/web", "w", 0o640).owned(33, 33).file("srv/big", "b", 0o4755).owned(100_000, 4_000_000);
    let owners = owners
        .directory("srv/home", 0o750)
        .owned(1000, 100)
        .link("srv/link", "web")
        .pipe("srv/pipe", 0o660)
        .owned(0, 5);
    let links = package()
        .file("usr/lib/x.so.1", "x", 0o755)
        .link("usr/lib/x.so", "x.so.1")
        .link("usr/lib/absolute", "/usr/lib/x.so.1");
    let links = links.link("usr/lib/dangling", "/nowhere/at/all").link("usr/lib/up", "../../../../etc");
    let hard = package()
        .file("usr/bin/one", "one", 0o755)
        .hard_link("usr/bin/two", "usr/bin/one")
        .hard_link("opt/three", "usr/bin/one");
    let capable = package().file("usr/bin/ping", "p", 0o755).attribute("security.capability", CAPABILITY);
    let capable = capable.file("usr/share/noted", "n", 0o644).attribute("user.note", b"a note");
    let empty = package().file("etc/empty", "", 0o644).directory("var/empty", 0o755);
    vec![
        Case::new("one-file", vec![plain("a")], "usr/share/a/file"),
        Case::new("no-files", vec![package()], "var/lib/pacman/local/a-1-1/desc"),
        Case::new("modes", vec![modes], "usr/bin/setuid"),
        Case::new("directories", vec![directories], "srv/open"),
        Case::new("owners", vec![owners], "srv/pipe"),
        Case::new("links", vec![links], "usr/lib/dangling"),
        Case::new("hard-links", vec![hard], "opt/three"),
        Case::new("attributes", vec![capable], "usr/bin/ping"),
        Case::new("empty", vec![empty], "var/empty"),
    ]
}

/// `cap_net_raw=ep`, as the kernel keeps it.
const CAPABILITY: &[u8] = &[1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn names() -> Vec<Case> {
    let odd = package().file("usr/share/with space/ä ö", "1", 0o644).file("usr/share/quote'\"\\$(x)", "2", 0o644);
    let odd = odd.file("usr/share/-dash", "3", 0o644).file("usr/share/[a]*?", "4", 0o644).file(
        "usr/share/.hidden",
        "5",
        0o644,
    );
    let long = "d".repeat(100);
    let deep = format!("usr/{long}/{long}/{long}/file");
    let long = package().file(&deep, "deep", 0o644).file(&format!("usr/{}", "n".repeat(255)), "long", 0o644);
    let long = long.link("usr/far", &"../long/".repeat(60));
    let many = (0..300)
        .fold(package(), |package, index| package.file(&format!("usr/lib/many/{index}"), format!("{index}"), 0o644));
    let large = package().file("usr/lib/large", vec![7; 3 << 20], 0o644).file("usr/lib/zeros", vec![0; 2 << 20], 0o644);
    vec![
        Case::new("odd-names", vec![odd], "usr/share/-dash"),
        Case::new("long-names", vec![long], "usr/far"),
        Case::new("many-files", vec![many], "usr/lib/many/299"),
        Case::new("large-files", vec![large], "usr/lib/large"),
    ]
}

fn packing() -> Vec<Case> {
    let described =
        package().any().with("pkgdesc", "Ünïcödé, % and = signs").with("license", "MIT").with("license", "custom:x y");
    let described =
        described.with("url", "https://example.org/?a=b").with("pkgbase", "other").with("makedepend", "gcc>=4");
    let described = described.with("checkdepend", "perl").with("optdepend", "b: for this").with("optdepend", "c");
    let every = ["zst", "gz", "xz", "bz2", ""].map(|how| (if how.is_empty() { "none" } else { how }, how));
    let every = every.map(|(name, how)| plain(&format!("in-{name}")).packed(how));
    let all =
        plain("a").with("depend", "in-zst").with("depend", "in-gz").with("depend", "in-xz").with("depend", "in-bz2");
    let backup =
        package().file("etc/a.conf", "default\n", 0o644).file("etc/b.conf", "", 0o600).with("backup", "etc/a.conf");
    let backup = backup.with("backup", "etc/b.conf").with("backup", "etc/not there.conf");
    let changes = plain("a").changelog("2020: all is new\n").scriptlet("post_remove() { :; }\n");
    vec![
        Case::new("described", vec![described], "var/lib/pacman/local/a-1-1/files"),
        Case::new(
            "compressions",
            [vec![all.with("depend", "in-none")], every.to_vec()].concat(),
            "usr/share/in-none/file",
        ),
        Case::new("backup", vec![backup], "etc/b.conf"),
        Case::new("changelog", vec![changes], "var/lib/pacman/local/a-1-1/changelog"),
    ]
}

fn shared() -> Vec<Case> {
    let one = package().directory("srv/both", 0o700).file("srv/both/a", "", 0o644).with("depend", "b");
    let two = Crafted::new("b", "1-1").directory("srv/both", 0o755).owned(5, 6).file("srv/both/b", "", 0o644);
    let conflicting = [plain("a").file("etc/x", "a", 0o644).with("depend", "b"), plain("b").file("etc/x", "b", 0o644)];
    let merged = package().file("usr/bin/a", "a", 0o755).with("depend", "b");
    let through = Crafted::new("b", "1-1").directory("usr/bin", 0o755).link("bin", "usr/bin");
    let across = [package().file("bin/x", "a", 0o755).with("depend", "b"), through.clone()];
    let before = Case::new("file-before", vec![plain("a")], "");
    let kept = Case::new("directory-before", vec![package().directory("srv/kept", 0o755)], "srv/kept");
    vec![
        Case::new("shared-directory", vec![one, two], "srv/both/b"),
        Case::refused("same-file-twice", conflicting.to_vec()),
        Case::new("link-to-directory", vec![merged, through], "usr/bin/a"),
        Case::refused("file-through-a-link", across.to_vec()),
        Case { refused: true, before: |tree| drop(tree.write("usr/share/a/file", "mine", 0o644)), ..before },
        Case { before: |tree| drop(tree.write("srv/kept/mine", "mine", 0o600)), ..kept },
    ]
}
