//! The odd cases.

use testkit::requires;

use super::Step::{Aborted, Conflict, Install, Replace, Shell, With};
use super::{Scene, Step};

fn same(name: &str, packages: &str, steps: &[Step]) {
    requires!(root, program "pacman", program "bsdtar", program "busybox");
    let scene = Scene::new(packages);
    for step in steps {
        scene.step(*step);
        scene.compare(&format!("{name}, {step:?}"));
    }
}

#[test]
fn files_of_every_kind() {
    same(
        "kinds",
        r"mkdir -p a-1-1/srv/{x,empty} a-1-1/usr/bin; cd a-1-1/srv
        touch x-y x.z x0 x/q; chown 5:6 empty; chmod 1777 empty; cp /bin/true suid; chmod 4755 suid
        mkfifo fifo; mknod null c 1 3; ln -s /nowhere dangling; ln -s ../../../etc/shadow up; ln suid hard
        echo 'with blanks' > 'a b\c'; echo umlaut > $'\xc3\xa4'; echo latin > $'\xe4'; ln -s x0 ../usr/bin/l; cd ../..; pkg a 1-1",
        &[Install(&["a-1-1"]), Install(&["a-1-1"])],
    );
}

#[test]
fn attributes_and_owners() {
    same(
        "attributes",
        r"mkdir -p a-1-1/srv; cd a-1-1/srv; cp /bin/true cap; chown 1:1 cap; chmod 2755 cap
        setcap cap_net_raw+ep cap; cd ../..; pkg a 1-1",
        &[Install(&["a-1-1"])],
    );
}

#[test]
fn everything_that_is_said_of_a_package() {
    same(
        "metadata",
        r"printf 'license = GPL\nlicense = MIT\ngroup = g\ngroup = h\nbackup = etc/none\ndepend = glibc>=2\ndepend = b\n' > a-1:2.0_x-3.1.info
        printf 'optdepend = c: for: this\noptdepend = d\nprovides = z=1\nprovides = y\nconflict = q<1\nreplaces = r\nxdata = pkgtype=pkg\n' >> a-1:2.0_x-3.1.info
        printf 'makedepend = m\ncheckdepend = k\nunknown = u\n# comment\nnothing\n' >> a-1:2.0_x-3.1.info
        pkg a 1:2.0_x-3.1; pkg empty 1-1; mkdir -p split-b-1-1/etc; printf 'pkgbase = split\n' > split-b-1-1.info; pkg split-b 1-1",
        &[Install(&["a-1:2.0_x-3.1", "empty-1-1", "split-b-1-1"])],
    );
}

const CONF: &str = r"for v in 1 2; do mkdir -p a-$v-1/etc; echo $v > a-$v-1/etc/a; echo same > a-$v-1/etc/b
    printf 'backup = etc/a\nbackup = etc/b\n' > a-$v-1.info; pkg a $v-1; done";

#[test]
fn files_that_keep_changes() {
    same("nothing there", CONF, &[Install(&["a-1-1"]), Install(&["a-2-1"])]);
    same("there before", CONF, &[Shell("echo mine > etc/a; echo same > etc/b"), Install(&["a-1-1"])]);
    same("a link before", CONF, &[Shell("echo same > etc/c; ln -s c etc/b; ln -s nowhere etc/a"), Install(&["a-1-1"])]);
    let changed = Shell("echo mine > etc/a; echo mine > etc/b; chmod 600 etc/b");
    same("changed", CONF, &[Install(&["a-1-1"]), changed, Install(&["a-2-1"]), Install(&["a-2-1"])]);
    same("changed to the new", CONF, &[Install(&["a-1-1"]), Shell("echo 2 > etc/a"), Install(&["a-2-1"])]);
    same("gone", CONF, &[Install(&["a-1-1"]), Shell("rm etc/a"), Install(&["a-2-1"])]);
    same(
        "a link that keeps changes",
        r"mkdir -p a-1-1/etc; ln -s b a-1-1/etc/c; echo b > a-1-1/etc/b; echo 'backup = etc/c' > a-1-1.info; pkg a 1-1",
        &[Install(&["a-1-1"]), Shell("rm etc/c; echo mine > etc/c"), Install(&["a-1-1"])],
    );
}

/// `etc/x` keeps changes in the first version of a, is there in the second, and not in the third; b takes it over.
const ENDING: &str = r"for v in 1 2 3; do mkdir -p a-$v-1/etc; echo $v > a-$v-1/etc/x; done; echo 'backup = etc/x' > a-1-1.info
    pkg a 1-1; pkg a 2-1; rm a-3-1/etc/x; pkg a 3-1
    for v in 1 2; do mkdir -p b-$v-1/etc; echo b$v > b-$v-1/etc/x; done; echo 'backup = etc/x' > b-1-1.info; pkg b 1-1; pkg b 2-1";

#[test]
fn files_that_do_not_keep_changes_any_more() {
    let (old, mine) = (Install(&["a-1-1"]), Shell("echo mine > etc/x"));
    same("changed", ENDING, &[old, mine, Install(&["a-2-1"]), Install(&["a-2-1"]), old]);
    same("not changed", ENDING, &[old, Install(&["a-2-1"])]);
    same("changed to the new", ENDING, &[old, Shell("echo 2 > etc/x"), Install(&["a-2-1"])]);
    same("a link", ENDING, &[old, Shell("echo mine > etc/y; ln -sf y etc/x"), Install(&["a-2-1"])]);
    same("gone", ENDING, &[old, Shell("rm etc/x"), Install(&["a-2-1"])]);
    let lines: &[(&str, &str)] = &[("NoUpgrade", "etc/x")];
    same("not touched", ENDING, &[old, mine, With(&["a-2-1"], lines)]);
    let lines: &[(&str, &str)] = &[("NoExtract", "etc/x")];
    same("not extracted", ENDING, &[old, mine, With(&["a-2-1"], lines)]);
    same("taken over, and kept", ENDING, &[old, mine, Conflict(&["b-1-1"]), Install(&["a-3-1", "b-1-1"])]);
    same("taken over before, and kept", ENDING, &[old, mine, Install(&["b-1-1", "a-3-1"])]);
    same("taken over", ENDING, &[old, mine, Conflict(&["b-2-1"]), Install(&["b-2-1", "a-3-1"])]);
}

#[test]
fn what_was_saved_before_stays() {
    let (old, mine) = (Install(&["a-1-1"]), Shell("echo mine > etc/x"));
    let saved =
        Shell("for n in '' .0 .1 .03 .7 .9 .10 .1a .+2; do echo $n > etc/x.pacsave$n; done; mkdir etc/x.pacsave.11");
    same("several times", ENDING, &[old, mine, saved, Install(&["a-3-1"]), old, mine, Install(&["a-2-1"])]);
    same("only a numbered one", ENDING, &[old, mine, Shell("echo > etc/x.pacsave.1"), Install(&["a-3-1"])]);
}

#[test]
fn what_is_not_extracted_or_not_touched() {
    let packages = r"mkdir -p a-1-1/{etc,usr/share/doc/d,usr/bin}; for f in etc/a usr/share/doc/d/x usr/bin/a usr/bin/b; do echo $f > a-1-1/$f; done
        ln -s a a-1-1/usr/bin/l; echo 'backup = etc/a' > a-1-1.info; pkg a 1-1";
    let lines: &[(&str, &str)] =
        &[("NoExtract", "usr/share/* !usr/share/doc/ usr/bin/l etc/a"), ("NoUpgrade", "usr/bin/a")];
    same("no extract", packages, &[With(&["a-1-1"], lines), With(&["a-1-1"], lines), Install(&["a-1-1"])]);
    same("no upgrade", packages, &[Install(&["a-1-1"]), Shell("echo mine > usr/bin/a"), With(&["a-1-1"], lines)]);
    let lines: &[(&str, &str)] = &[("NoUpgrade", "etc/* !etc/b"), ("NoExtract", "etc/b")];
    same("no upgrade of what keeps changes", packages, &[Shell("echo mine > etc/a"), With(&["a-1-1"], lines)]);
}

#[test]
fn directories_with_other_modes() {
    let packages =
        r"mkdir -p a-1-1/srv/d b-1-1/srv/d; chmod 700 a-1-1/srv/d; chown 5 b-1-1/srv/d; pkg a 1-1; pkg b 1-1";
    same("together", packages, &[Install(&["a-1-1", "b-1-1"])]);
    same("the other way", packages, &[Install(&["b-1-1", "a-1-1"])]);
    same("one by one", packages, &[Install(&["b-1-1"]), Install(&["a-1-1"])]);
    same("there", packages, &[Shell("mkdir -m 711 srv srv/d; chown 3 srv"), Install(&["a-1-1"]), Install(&["a-1-1"])]);
}

#[test]
fn what_is_in_the_way() {
    let packages = r"mkdir -p l-1-1/usr/lib; ln -s usr/lib l-1-1/lib; pkg l 1-1; mkdir -p d-1-1/lib; echo > d-1-1/lib/x; pkg d 1-1
        mkdir -p f-1-1/usr/lib; echo > f-1-1/usr/lib/x; pkg f 1-1; pkg g 1-1; mkdir -p g-2-1/usr/lib; echo > g-2-1/usr/lib/x; pkg g 2-1";
    same("two packages", packages, &[Conflict(&["f-1-1", "g-2-1"]), Install(&["f-1-1"]), Conflict(&["g-2-1"])]);
    same(
        "a link and a directory",
        packages,
        &[Conflict(&["l-1-1", "d-1-1"]), Install(&["l-1-1"]), Conflict(&["d-1-1"])],
    );
    same("a directory there", packages, &[Shell("mkdir lib"), Conflict(&["l-1-1"]), Install(&["d-1-1"])]);
    same("the same link there", packages, &[Shell("mkdir -p usr/lib; ln -s usr/lib lib"), Conflict(&["l-1-1"])]);
    same(
        "a link to a directory there",
        packages,
        &[Shell("mkdir -p usr/lib; ln -s usr/lib lib"), Conflict(&["d-1-1"])],
    );
    same("a file for a directory", packages, &[Shell("touch lib"), Conflict(&["d-1-1"])]);
    same("a dangling link", packages, &[Shell("mkdir usr/lib; ln -s no usr/lib/x"), Conflict(&["f-1-1"])]);
}

#[test]
fn upgrades() {
    let packages = r"mkdir -p a-1-1/opt/d a-1-1/usr/bin; echo 1 > a-1-1/opt/d/f; echo 1 > a-1-1/usr/bin/a; ln a-1-1/usr/bin/a a-1-1/usr/bin/h; pkg a 1-1
        mkdir -p a-2-1/opt/e a-2-1/usr/bin; echo 2 > a-2-1/opt/e/f; ln -s e a-2-1/opt/d; echo 2 > a-2-1/usr/bin/a; pkg a 2-1
        mkdir -p b-1-1/usr/bin; echo b > b-1-1/usr/bin/h; pkg b 1-1";
    same("a directory becomes a link", packages, &[Install(&["a-1-1"]), Install(&["a-2-1"]), Install(&["a-1-1"])]);
    same("it is not empty", packages, &[Install(&["a-1-1"]), Shell("touch opt/d/mine"), Conflict(&["a-2-1"])]);
    same("a file moves", packages, &[Install(&["a-1-1"]), Conflict(&["b-1-1"]), Install(&["b-1-1", "a-2-1"])]);
    same("it moves later", packages, &[Install(&["a-1-1"]), Install(&["a-2-1", "b-1-1"])]);
    let changed = Shell("rm usr/bin/a; mkdir -p x; ln -s ../x usr/bin/a");
    same("what was changed and keeps nothing", packages, &[Install(&["a-1-1"]), changed, Install(&["a-2-1"])]);
}

#[test]
fn removals() {
    let packages = r"mkdir -p q-1-1/{usr/bin,etc,var/q}; echo q > q-1-1/usr/bin/q; echo c > q-1-1/etc/q; echo d > q-1-1/etc/q2
        printf 'backup = etc/q\nbackup = etc/q2\n' > q-1-1.info
        printf 'pre_remove() { echo pre $*; ls /usr/bin; }\npost_remove() { echo post $*; ls /etc; }\n' > q-1-1.install; pkg q 1-1
        mkdir -p r-1-1/{usr/bin,etc}; echo r > r-1-1/usr/bin/q; echo rc > r-1-1/etc/q; printf 'conflict = q\nprovides = q\nbackup = etc/q\n' > r-1-1.info
        pkg r 1-1; mkdir -p o-1-1/var/q; pkg o 1-1";
    same("replaced", packages, &[Install(&["q-1-1"]), Replace(&["r-1-1"], &["q"])]);
    let changed = Shell("echo mine > etc/q; echo mine > etc/q2; touch var/q/mine");
    same("with changes", packages, &[Install(&["q-1-1"]), changed, Replace(&["r-1-1"], &["q"])]);
    same("a shared directory", packages, &[Install(&["q-1-1", "o-1-1"]), Replace(&["r-1-1"], &["q"])]);
}

#[test]
fn scripts() {
    let packages = r#"printf 'pre_install() { echo pre "$@"; pwd; ls /srv; umask; echo errors >&2; }\npost_install() { echo post "$@"; ls /srv; }\n' > a-1-1.install
        printf 'pre_upgrade() { echo preup "$@"; cat /srv/a; }\npost_upgrade() { echo postup "$@"; cat /srv/a; echo x > /srv/made; }\n' > a-2-1.install
        for v in 1 2; do mkdir -p a-$v-1/srv; echo $v > a-$v-1/srv/a; pkg a $v-1; done
        mkdir -p f-1-1/srv; echo > f-1-1/srv/f; printf 'pre_install() { return 3; }\npost_install() { echo still; false; }\n' > f-1-1.install; pkg f 1-1
        mkdir -p z-1-1/srv; echo > z-1-1/srv/z; pkg z 1-1; mkdir -p y-1-1/srv; echo > y-1-1/srv/y; pkg y 1-1"#;
    same(
        "install, upgrade",
        packages,
        &[Install(&["a-1-1"]), Install(&["a-2-1"]), Install(&["a-2-1"]), Install(&["a-1-1"])],
    );
    same("in order", packages, &[Install(&["z-1-1", "a-1-1", "y-1-1"])]);
    same("they fail", packages, &[Install(&["f-1-1", "z-1-1"])]);
    same("no shell", packages, &[Shell("rm bin/sh"), Install(&["a-1-1", "f-1-1"])]);
    same(
        "what later packages have",
        r"printf 'post_install() { mkdir -m 700 /srv/d; echo mine > /srv/c; }\n' > a-1-1.install; pkg a 1-1
        mkdir -p b-1-1/srv/d; echo > b-1-1/srv/d/f; echo theirs > b-1-1/srv/c; echo 'backup = srv/c' > b-1-1.info; pkg b 1-1",
        &[Install(&["a-1-1", "b-1-1"])],
    );
}

const HOOKS: &str = r#"mkdir -p h-1-1/usr/share/libalpm/hooks; cd h-1-1/usr/share/libalpm/hooks
    hook() { printf '[Trigger]\nType = %s\nOperation = %s\nTarget = %s\n[Action]\nWhen = %sTransaction\nNeedsTargets\nExec = %s\n' $2 $3 "$4" $5 '/bin/sh -c '\''echo '$1' $# $@; cat'\'' x y z' > $1.hook; }
    hook 10-files Path Install 'srv/*' Post; hook 20-packages Package Install '*' Pre; hook 30-upgrades Package Upgrade '*' Post
    hook 40-paths Path Upgrade '*' Post; hook 50-removed Path Remove '*' Post; hook 60-masked Package Install '*' Post
    hook 70-depends Package Install a Post; echo 'Depends = nothing' >> 70-depends.hook; hook 71-depends Package Install a Post; echo 'Depends = p>=1' >> 71-depends.hook
    hook 80-many Path Install '!srv/b' Post; sed -i 's,Target = !srv/b,Target = srv/*\nTarget = !srv/b\n[Trigger]\nType = Package\nOperation = Install\nTarget = a,' 80-many.hook
    cd ../../../../..; pkg h 1-1
    for v in 1 2; do mkdir -p a-$v-1/srv; echo $v > a-$v-1/srv/a; echo $v > a-$v-1/srv/b; echo 'provides = p=2' > a-$v-1.info; done; rm a-2-1/srv/b; echo > a-2-1/srv/c; pkg a 1-1; pkg a 2-1
    mkdir -p r-1-1; echo 'conflict = a' > r-1-1.info; pkg r 1-1"#;

#[test]
fn hooks() {
    let masked = Shell("ln -s /dev/null etc/pacman.d/hooks/60-masked.hook");
    same(
        "hooks",
        HOOKS,
        &[masked, Install(&["h-1-1"]), Install(&["a-1-1"]), Install(&["a-2-1"]), Replace(&["r-1-1"], &["a"])],
    );
    same("with their package", HOOKS, &[Install(&["a-1-1", "h-1-1"])]);
    let abort = Shell(
        r#"printf '[Trigger]\nType=Package\nOperation=Install\nTarget=a\n[Action]\nWhen=PreTransaction\nExec=/bin/sh -c "echo no; exit 1"\nAbortOnFail\n' > etc/pacman.d/hooks/99.hook"#,
    );
    same("aborted", HOOKS, &[abort, Aborted(&["a-1-1"]), Install(&["r-1-1"])]);
    let missing = Shell(
        r"printf '[Trigger]\nType=Package\nOperation=Install\nTarget=a\n[Action]\nWhen=PostTransaction\nExec=/usr/bin/nothing\n' > etc/pacman.d/hooks/99.hook",
    );
    same("a program that is not there", HOOKS, &[missing, Install(&["a-1-1"])]);
}

#[test]
fn shared_libraries() {
    let packages = r#"mkdir -p l-1-1/etc l-1-1/sbin; echo > l-1-1/etc/ld.so.conf; printf '#!/bin/sh\necho ldconfig "$@" >> /log\n' > l-1-1/sbin/ldconfig; chmod 755 l-1-1/sbin/ldconfig
        mkdir -p l-1-1/usr/share/libalpm/hooks; printf '[Trigger]\nType=Package\nOperation=Install\nTarget=*\n[Action]\nWhen=PostTransaction\nExec=/bin/sh -c "echo hook >> /log"\n' > l-1-1/usr/share/libalpm/hooks/l.hook
        echo 'post_install() { echo post >> /log; }' > l-1-1.install; pkg l 1-1"#;
    same("ldconfig", packages, &[Install(&["l-1-1"]), Install(&["l-1-1"])]);
}
