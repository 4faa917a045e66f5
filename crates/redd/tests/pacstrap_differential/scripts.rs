//! Scriptlets and hooks.

use testkit::arch::Crafted;

use crate::Case;
use crate::cases::{plain, shell};

pub(crate) fn cases() -> Vec<Case> {
    [scriptlets(), hooks()].into_iter().flatten().collect()
}

/// What runs notes here what it was told.
const NOTES: &str = "var/notes";

fn scripted(name: &str, text: &str) -> Crafted {
    plain(name).with("depend", "shell").directory("var", 0o755).scriptlet(text)
}

fn scriptlets() -> Vec<Case> {
    let text = "pre_install() {\n  echo pre $# $1 $PWD $(id -u) >> /var/notes\n}\npost_install() {\n  \
                echo post $# \"$@\" >> /var/notes\n  ls /usr/share/a >> /var/notes\n  echo said\n}\n\
                post_upgrade() { echo no >> /var/notes; }\n";
    let environment =
        "post_install() { umask >> /var/notes; echo $HOME >> /var/notes; chmod 700 /usr/share/a/file; }\n";
    let order =
        ["a", "b", "c"].map(|name| scripted(name, &format!("post_install() {{ echo {name} >> /var/notes; }}\n")));
    let [a, b, c] = order;
    let failing =
        "pre_install() { echo before >> /var/notes; exit 3; }\npost_install() { echo after >> /var/notes; false; }\n";
    let without =
        Crafted::new("a", "1-1").file("etc/a", "", 0o644).scriptlet("post_install() { echo never > /var/notes; }\n");
    vec![
        Case::new("scriptlet", vec![scripted("a", text), shell()], NOTES),
        Case::new("scriptlet-environment", vec![scripted("a", environment), shell()], NOTES),
        Case::new("scriptlets-in-order", vec![a.with("depend", "b"), b.with("depend", "c"), c, shell()], NOTES),
        Case::new("scriptlet-fails", vec![scripted("a", failing), shell()], NOTES),
        Case::new("scriptlet-without-shell", vec![without], "etc/a"),
        Case::new(
            "scriptlet-other-function",
            vec![scripted("a", "post_remove() { :; }\nx() { :; }\n"), shell()],
            "usr/share/a/file",
        ),
    ]
}

fn hook(trigger: &str, action: &str) -> String {
    format!("[Trigger]\n{trigger}\n\n[Action]\nDescription = Noting\n{action}\n")
}

const NOTE: &str = "Exec = /bin/sh -c 'cat >> /var/notes; echo end >> /var/notes'\nNeedsTargets";

fn hooked(name: &str, text: &str) -> Crafted {
    let path = format!("usr/share/libalpm/hooks/{name}.hook");
    plain("a").with("depend", "shell").directory("var", 0o755).file(&path, text, 0o644)
}

fn hooks() -> Vec<Case> {
    let after = |rest: &str| format!("When = PostTransaction\n{rest}");
    let path =
        hook("Type = Path\nOperation = Install\nTarget = usr/share/*\nTarget = !usr/share/libalpm/*", &after(NOTE));
    let package = hook("Type = Package\nOperation = Install\nOperation = Upgrade\nTarget = *", &after(NOTE));
    let removal = hook("Type = Package\nOperation = Remove\nTarget = *", &after(NOTE));
    let first = hook(
        "Type = Package\nOperation = Install\nTarget = a",
        "When = PreTransaction\nExec = /bin/false\nAbortOnFail",
    );
    let needing =
        hook("Type = Package\nOperation = Install\nTarget = a", &after(&format!("Depends = nothing-of-this\n{NOTE}")));
    let failing = hook(
        "Type = Package\nOperation = Install\nTarget = a",
        &after("Exec = /bin/sh -c 'echo ran > /var/notes; exit 4'"),
    );
    let broken = "[Trigger]\nOperation = Install\n".to_owned();
    let echo = |word: &str| {
        hook(
            "Type = Package\nOperation = Install\nTarget = a",
            &after(&format!("Exec = /bin/sh -c 'echo {word} >> /var/notes'")),
        )
    };
    let ordered =
        hooked("20-second", &echo("second")).file("usr/share/libalpm/hooks/10-first.hook", echo("first"), 0o644);
    let masked = ordered.clone().link("etc/pacman.d/hooks/10-first.hook", "/dev/null");
    let changed = ordered.clone().file("etc/pacman.d/hooks/20-second.hook", echo("instead"), 0o644);
    let file = "usr/share/a/file";
    vec![
        Case::new("hook-of-paths", vec![hooked("x", &path), shell()], NOTES),
        Case::new("hook-of-packages", vec![hooked("x", &package), shell()], NOTES),
        Case::new("hook-of-removal", vec![hooked("x", &removal), shell()], file),
        Case::new("hook-too-late", vec![hooked("x", &first), shell()], file),
        Case::new("hook-needing", vec![hooked("x", &needing), shell()], file),
        Case::new("hook-fails", vec![hooked("x", &failing), shell()], NOTES),
        Case::new("hook-broken", vec![hooked("x", &broken), shell()], file),
        Case::new("hooks-in-order", vec![ordered, shell()], NOTES),
        Case::new("hook-masked", vec![masked, shell()], NOTES),
        Case::new("hook-changed", vec![changed, shell()], NOTES),
    ]
}
