//! The tree. Disk images have a file of their own.

use super::case::Case;

const KEEP: &str = "cat {tree}/kept 2>/dev/null || echo nothing";
/// Writes into a directory of the tree, and looks whether the root can be written to.
const WRITE: &str = "echo new 2>/dev/null > /etc/new && cat /etc/new || echo no; touch /new 2>/dev/null && echo writable || echo read-only";
/// The tree is found by its name.
const NAMED: &str = "mount -t tmpfs tmpfs /var/lib; mkdir /var/lib/machines; ln -s {tree} /var/lib/machines/";
/// The same, and it is marked as `machinectl read-only` does it.
const MARKED: &str = "mount -t tmpfs tmpfs /var/lib; mkdir /var/lib/machines; ln -s {tree} /var/lib/machines/; chattr +i {tree}";
const MARK: &str = "umount /var/lib; chattr -i {tree}; ls {tree}/etc/new {tree}/new 2>/dev/null || echo nothing";

pub(crate) const CASES: &[Case] = &[
    Case::inside("read-only", &["--read-only"], "touch /x 2>/dev/null || echo no").prints("no\n"),
    Case::inside("read-only mount", &["--read-only"], "grep -o ' / / r[ow],' /proc/self/mountinfo; grep -c ' / r[ow],' /proc/self/mountinfo; touch /x 2>/dev/null || echo no"),
    Case::inside("read-only leaves run and tmp", &["--read-only"], "touch /run/x /tmp/x /dev/x && echo yes").prints("yes\n"),
    Case::inside("changes stay", &[], "echo new > /kept").own_tree().after(KEEP).prints(""),
    Case::inside("an ephemeral copy goes", &["-x"], "echo new > /kept; cat /kept").own_tree().after(KEEP).prints("new\n"),
    Case::inside("an ephemeral copy, long", &["--ephemeral"], "rm /etc/passwd; ls /etc/passwd 2>/dev/null || echo gone").own_tree().after("ls {tree}/etc/passwd").prints("gone\n"),
    Case::inside("an ephemeral copy sees the tree", &["-x"], "cat /data; stat -c '%a %u:%g' /data").before("echo old > {tree}/data; chmod 640 {tree}/data; chown 3:4 {tree}/data").prints("old\n640 3:4\n"),
    Case::inside("ephemeral and read-only", &["-x", "--read-only"], "touch /x 2>/dev/null || echo no").prints("no\n"),
    Case::inside("nothing is left of a copy", &["-x"], "echo ran").own_tree().after("ls -A $(dirname {tree}) | grep -v -x -e host -e {name} | wc -l").prints("ran\n"),
    Case::inside("volatile is yes", &["--volatile"], "stat -f -c %T /; ls /usr/bin/env >/dev/null && touch /etc/x /var/x && echo writable"),
    Case::inside("volatile yes", &["--volatile=yes"], "stat -f -c %T / /usr; touch /usr/x 2>/dev/null || echo usr no; ls /etc").own_tree().after(KEEP),
    Case::inside("volatile yes, links", &["--volatile=yes"], "readlink /bin; readlink /lib; stat -c %F /root /var; stat -c %a /root"),
    Case::inside("volatile state", &["--volatile=state"], "stat -f -c %T /var; sed -n 's,.* / /var \\([^ ]*\\) .*,\\1,p' /proc/self/mountinfo; stat -c %a /var; touch /var/x && echo var; touch /x 2>/dev/null || echo root no; ls /etc/passwd").own_tree().after("ls {tree}/var/x 2>/dev/null || echo nothing"),
    Case::inside("volatile overlay", &["--volatile=overlay"], "stat -f -c %T /; touch /x && echo written; cat /data").before("echo old > {tree}/data").after("ls {tree}/x 2>/dev/null || echo nothing").prints("overlayfs\nwritten\nold\n"),
    Case::inside("volatile no", &["--volatile=no"], "echo new > /kept").own_tree().after(KEEP),
    Case::inside("volatile overlay and read-only", &["--volatile=overlay", "--read-only"], "touch /x 2>/dev/null && echo yes || echo no"),
    Case::inside("the tree's mode", &[], "stat -c '%a %u:%g' /").before("chmod 751 {tree}"),
    Case::inside("a path with a slash", &["-D", "{tree}/"], "echo here").prints("here\n"),
    Case::inside("a relative path", &["-D", "../{name}"], "echo here").prints("here\n"),
    Case::inside("a path through a link", &["-D", "{host}/l"], "echo here").before("ln -s {tree} l").prints("here\n"),
    Case::inside("a long option with a space", &["--directory", "{tree}"], "echo here").prints("here\n"),
    Case::inside("the last directory counts", &["-D", "{host}", "-D", "{tree}"], "echo here").prints("here\n"),
    Case::refused("no directory", &["-D", "{host}/none"]),
    Case::refused("a file for a directory", &["-D", "{host}/f"]).before("touch f"),
    Case::refused("an empty directory", &["-D", "{host}"]),
    Case::refused("a directory without usr is left alone", &["-D", "{host}/no"]).before("mkdir -p no/bin; cp {tree}/bin/sh no/bin").after("ls {host}/no"),
    Case::refused("pivot-root to a directory without usr", &["--pivot-root=/srv"]).own_tree().after("ls {tree}/srv"),
    Case::refused("a directory with usr alone as a file", &["-D", "{host}"]).before("touch usr"),
    Case::inside("a machine by its name", &["-M", "{name}"], WRITE).before(NAMED).after(MARK).prints("new\nwritable\n"),
    Case::inside("a machine that is marked read-only", &["-M", "{name}"], WRITE).before(MARKED).after(MARK).prints("no\nread-only\n"),
    Case::inside("a copy of a machine that is marked read-only", &["-M", "{name}", "-x"], WRITE).before(MARKED).after(MARK).prints("new\nwritable\n"),
    Case::inside("a marked directory by its path", &["-D", "{tree}"], WRITE).before(MARKED).after(MARK).prints("new\nread-only\n"),
    Case::refused("machine without an image", &["--machine=nosuchmachineanywhere"]),
    Case::refused("an ephemeral template", &["-x", "--template={tree}", "-D", "{host}/new"]),
    Case::inside("a template", &["--template={tree}", "-D", "{host}/new"], "echo here; cat /data").before("echo old > {tree}/data").after("cat {host}/new/data").prints("here\nold\n"),
    Case::inside("a template that is not needed", &["--template={host}/none", "-D", "{tree}"], "echo here").prints("here\n").differs("where nothing is copied nothing has to be there"),
    Case::refused("a template that is not there", &["--template={host}/none", "-D", "{host}/new"]),
    Case::inside("pivot-root", &["--pivot-root=/inner"], "cat /data; ls /inner 2>/dev/null || echo gone").before("mkdir {tree}/inner; cp -a {tree}/usr {tree}/bin {tree}/lib* {tree}/etc {tree}/inner/; mkdir -p {tree}/inner/proc {tree}/inner/sys {tree}/inner/dev {tree}/inner/run {tree}/inner/tmp; echo in > {tree}/inner/data").prints("in\ngone\n"),
    Case::inside("pivot-root with the old one", &["--pivot-root=/inner:/old"], "cat /data /old/data").before("mkdir {tree}/inner; cp -a {tree}/usr {tree}/bin {tree}/lib* {tree}/etc {tree}/inner/; mkdir -p {tree}/inner/proc {tree}/inner/sys {tree}/inner/dev {tree}/inner/run {tree}/inner/tmp {tree}/inner/old; echo in > {tree}/inner/data; echo out > {tree}/data").prints("in\nout\n").differs_until(257, "the original cannot move the old root there"),
    Case::refused("pivot-root to nothing", &["--pivot-root=/none"]),
    Case::inside("pivot-root in a tree with nothing else", &["--pivot-root=/deploy/one"], "cat /data; cat /etc/machine-id; tr '\\0' '\\n' </proc/1/environ | grep container_uuid").before("mkdir -p {tree}/deploy/one; mv {tree}/usr {tree}/bin {tree}/lib* {tree}/etc {tree}/deploy/one/; cd {tree}/deploy/one; for d in {tree}/sbin; do ! test -e $d || mv $d .; done; mkdir -p proc sys dev run tmp; echo in > data; echo 0123456789abcdef0123456789abcdef > etc/machine-id").prints("in\n0123456789abcdef0123456789abcdef\ncontainer_uuid=01234567-89ab-cdef-0123-456789abcdef\n"),
    Case::inside("pivot-root and boot", &["-b", "--pivot-root=/deploy/one"], "").runs(&["word"]).before("mkdir -p {tree}/deploy/one; cp -a {tree}/usr {tree}/bin {tree}/lib* {tree}/etc {tree}/deploy/one/; rm -rf {tree}/etc/os-release {tree}/usr/lib/os-release; cd {tree}/deploy/one; mkdir -p sbin proc sys dev run tmp; printf '#!/bin/sh\necho booted \"$@\"\n' > init; chmod 755 init; for p in sbin/init usr/lib/systemd/systemd; do mkdir -p $(dirname $p); cp init $p; done").prints("booted word\n"),
    Case::refused("pivot-root and boot of no system", &["-b", "--pivot-root=/srv"]).before("mkdir -p {tree}/srv/usr"),
    Case::inside("mounts", &[], "cut -d' ' -f5,6 /proc/self/mountinfo | grep -v -e /proc -e /sys -e /run/host/ | sort"),
    Case::inside("proc and sys", &[], "for p in /proc/sys /proc/sysrq-trigger /proc/kmsg /proc/kcore /sys /sys/class; do echo $p $(test -w $p && echo w); done"),
    Case::inside("devices", &[], "cd /dev; stat -c '%n %F %a %t:%T' null zero full random urandom tty ptmx; readlink fd stdin stdout stderr"),
    Case::inside("device nodes work", &[], "head -c 4 /dev/zero | wc -c; echo x > /dev/null; head -c 1 /dev/full | wc -c; (echo x > /dev/full) 2>/dev/null || echo full; head -c 3 /dev/urandom | wc -c"),
    Case::inside("no other devices", &[], "ls /dev | grep -v -x -e null -e zero -e full -e random -e urandom -e tty -e ptmx -e pts -e shm -e mqueue -e fd -e stdin -e stdout -e stderr -e core -e console -e net -e char -e fuse -e hugepages; echo end"),
    Case::inside("net devices", &[], "ls /dev/net /dev/fuse 2>/dev/null; ls /dev/char 2>/dev/null | grep -c : || true").since(257),
    Case::inside("host files", &[], "ls /run/host; cat /run/host/container-manager; stat -c %a /run/host/os-release").since(256),
    Case::inside("shm and mqueue", &[], "stat -f -c %T /dev/shm /dev/mqueue; stat -c %a /dev/shm"),
    Case::inside("tmp", &[], "stat -f -c %T /tmp; stat -c '%a %u:%g' /tmp"),
    Case::inside("run", &[], "stat -f -c %T /run; stat -c '%a %u:%g' /run"),
    Case::inside("processes of ours alone", &[], "set -- /proc/[0-9]*; echo $#; test -r /proc/1/environ && echo own"),
    Case::inside("container words", &[], "echo $container; tr '\\0' '\\n' </proc/1/environ | grep ^container="),
    Case::inside("control groups", &[], "cat /proc/self/cgroup | tail -1; grep -c cgroup /proc/self/mountinfo").since(258),
];
