//! The host's configuration inside.

use super::case::Case;

/// What is at `/etc/resolv.conf`: its kind, its mode, whether it says what the host's does, and how it is mounted.
const RESOLV: &str = "stat -c '%F %a %u' /etc/resolv.conf 2>/dev/null; readlink /etc/resolv.conf; \
    test -f /etc/resolv.conf && cat /etc/resolv.conf; \
    grep -o ' /etc/resolv.conf r[ow],[a-z,]*' /proc/self/mountinfo; echo end";
/// The same for `/etc/localtime`.
const TIME: &str = "stat -c '%F %a %u' /etc/localtime 2>/dev/null; readlink /etc/localtime; \
    test -f /etc/localtime && od -An -tx1 /etc/localtime | head -n 4; \
    grep -o ' /etc/localtime r[ow],[a-z,]*' /proc/self/mountinfo; echo end";

const OLD: &str = "echo old >{tree}/etc/resolv.conf; chmod 600 {tree}/etc/resolv.conf";
const LINK: &str = "ln -sf /run/nowhere/resolv.conf {tree}/etc/resolv.conf";
const OWN_ZONE: &str = "mkdir -p {tree}/usr/share/zoneinfo/Etc; echo UTC >{tree}/usr/share/zoneinfo/Etc/UTC; \
    zone=$(readlink /etc/localtime | sed s/.*zoneinfo.//); mkdir -p $(dirname {tree}/usr/share/zoneinfo/$zone); \
    echo zone >{tree}/usr/share/zoneinfo/$zone";
const OLD_TIME: &str = "rm -f {tree}/etc/localtime; echo old >{tree}/etc/localtime";
const FIFO: &str = "rm -f {tree}/etc/resolv.conf; mkfifo {tree}/etc/resolv.conf";

/// The host keeps journals, in a directory of the test's own.
const KEPT: &str = "mount -t tmpfs tmpfs /var/log; mkdir /var/log/journal";
const NOT_KEPT: &str = "mount -t tmpfs tmpfs /var/log";
/// What the host has afterwards.
const HOST: &str = "find /var/log -mindepth 1 -printf '%p %y %m %U %l\\n' | sort; umount /var/log";
/// What is seen inside of the machine's journal.
const JOURNAL: &str = "grep -o ' /var/log/journal.* r[ow],[a-z,]*' /proc/self/mountinfo | sed s/,idmapped//; \
    find /var/log/journal -printf '%p %y %m %U\\n' 2>/dev/null | sort; echo end";
/// Why newer versions differ where the host gets a link.
const NEWER_LINK: &str = "it leads to the tree, not to where the original had mounted it for this start";
const ID: &str = "--uuid=0123456789abcdef0123456789abcdef";

/// A journal that is forwarded: the container is told of a socket, which is there. Where the host's systemd-journal-remote
/// knows no limits, something else that takes them is in its place.
const fn forwarded(name: &'static str, options: &'static [&'static str]) -> Case {
    Case::inside(name, options, "test -S \"$(cat $CREDENTIALS_DIRECTORY/journal.forward_to_socket)\" && echo socket")
        .before(
            "if ! /usr/lib/systemd/systemd-journal-remote --help 2>/dev/null | grep -q -e --max-use=; then
                 mount -t tmpfs -o mode=755 remote /usr/lib/systemd
                 printf '#!/bin/sh\ncase $1 in --help) echo --max-use=BYTES; exit;; esac; exec sleep 60\n' >/usr/lib/systemd/systemd-journal-remote
                 chmod 755 /usr/lib/systemd/systemd-journal-remote
             fi",
        )
        .after("! findmnt -n -o SOURCE /usr/lib/systemd | grep -q -x remote || umount /usr/lib/systemd")
        .since(261)
        .prints("socket\n")
}

pub(crate) const CASES: &[Case] = &[
    // resolv.conf
    Case::inside("resolv.conf off", &["--resolv-conf=off"], RESOLV).before(OLD),
    Case::inside("resolv.conf off, none", &["--resolv-conf=off"], RESOLV).own_tree().prints("end\n"),
    Case::inside("resolv.conf copied", &["--resolv-conf=copy-host"], RESOLV).own_tree(),
    Case::inside("resolv.conf copied over a file", &["--resolv-conf=copy-host"], RESOLV).before(OLD),
    Case::inside("resolv.conf copied over a link", &["--resolv-conf=copy-host"], RESOLV)
        .before(LINK)
        .prints("symbolic link 777 0\n/run/nowhere/resolv.conf\nend\n"),
    Case::inside("resolv.conf replaced", &["--resolv-conf=replace-host"], RESOLV).own_tree(),
    Case::inside("resolv.conf replaced, a file", &["--resolv-conf=replace-host"], RESOLV).before(OLD),
    Case::inside("resolv.conf replaced, a link", &["--resolv-conf=replace-host"], RESOLV).before(LINK),
    Case::inside("resolv.conf replaced, a fifo", &["--resolv-conf=replace-host"], RESOLV).before(FIFO),
    Case::inside("resolv.conf bound", &["--resolv-conf=bind-host"], RESOLV).before(OLD),
    Case::inside("resolv.conf bound, none", &["--resolv-conf=bind-host"], RESOLV).own_tree(),
    Case::inside("resolv.conf bound, outside", &["--resolv-conf=bind-host"], "echo x >>/etc/resolv.conf || echo refused")
        .before(OLD)
        .after("cat {tree}/etc/resolv.conf"),
    Case::inside("resolv.conf bound over a link", &["--resolv-conf=bind-host"], "stat -c %F /etc/resolv.conf; cat /etc/good")
        .before("echo good >{tree}/etc/good; ln -sf /etc/good {tree}/etc/resolv.conf")
        .since(257)
        .prints("regular file\ngood\n"),
    Case::inside("resolv.conf bound over a link to nowhere", &["--resolv-conf=bind-host"], "stat -c %F /etc/resolv.conf; test -e /run/nowhere || echo none")
        .before(LINK)
        .since(257)
        .prints("regular file\nnone\n"),
    Case::inside("resolv.conf bound over a fifo", &["--resolv-conf=bind-host"], RESOLV).before(FIFO),
    Case::inside("resolv.conf bound over a directory", &["--resolv-conf=bind-host"], "stat -c %F /etc/resolv.conf")
        .before("mkdir {tree}/etc/resolv.conf")
        .prints("directory\n"),
    Case::inside("static resolv.conf copied", &["--resolv-conf=copy-static"], "cat /etc/resolv.conf; echo end").own_tree(),
    Case::inside("static resolv.conf replaced", &["--resolv-conf=replace-static"], "cat /etc/resolv.conf; echo end").before(LINK),
    Case::inside("static resolv.conf bound", &["--resolv-conf=bind-static"], "cat /etc/resolv.conf; echo end").before(OLD),
    Case::inside("stub copied", &["--resolv-conf=copy-stub"], RESOLV).before(OLD),
    Case::inside("stub replaced", &["--resolv-conf=replace-stub"], RESOLV).before(OLD),
    Case::inside("stub bound", &["--resolv-conf=bind-stub"], RESOLV).before(OLD),
    Case::inside("uplink copied", &["--resolv-conf=copy-uplink"], RESOLV).before(OLD),
    Case::inside("uplink replaced", &["--resolv-conf=replace-uplink"], RESOLV).before(OLD),
    Case::inside("uplink bound", &["--resolv-conf=bind-uplink"], RESOLV).before(OLD),
    Case::inside("resolv.conf deleted", &["--resolv-conf=delete"], RESOLV).before(OLD).prints("end\n"),
    Case::inside("resolv.conf deleted, a link", &["--resolv-conf=delete"], RESOLV).before(LINK).prints("end\n"),
    Case::inside("resolv.conf deleted, none", &["--resolv-conf=delete"], RESOLV).own_tree().prints("end\n"),
    Case::inside("resolv.conf deleted, a directory", &["--resolv-conf=delete"], "stat -c %F /etc/resolv.conf")
        .before("mkdir {tree}/etc/resolv.conf")
        .prints("directory\n"),
    Case::inside("resolv.conf deleted, read-only", &["--resolv-conf=delete", "--read-only"], RESOLV).before(OLD),
    Case::inside("resolv.conf auto", &[], RESOLV).before(OLD),
    Case::inside("resolv.conf auto, none", &["--resolv-conf=auto"], RESOLV).own_tree(),
    Case::inside("resolv.conf auto, private network", &["--private-network"], RESOLV).before(OLD).prints("regular file 600 0\nold\nend\n"),
    Case::inside("resolv.conf auto, read-only", &["--read-only"], RESOLV).before(OLD),
    Case::inside("resolv.conf auto, read-only, none", &["--read-only"], RESOLV).prints("end\n"),
    Case::inside("resolv.conf auto, read-only, private network", &["--read-only", "--private-network"], RESOLV).before(OLD),
    Case::inside("resolv.conf auto, volatile", &["--volatile=yes"], RESOLV).before(OLD),
    Case::inside("resolv.conf auto, volatile state", &["--volatile=state"], RESOLV).before(OLD),
    Case::inside("resolv.conf auto, volatile overlay", &["--volatile=overlay"], RESOLV).before(OLD).after("cat {tree}/etc/resolv.conf"),
    Case::inside("resolv.conf auto, ephemeral", &["-x"], RESOLV).before(OLD).after("cat {tree}/etc/resolv.conf"),
    Case::inside("resolv.conf copied, read-only", &["--read-only", "--resolv-conf=copy-host"], RESOLV).before(OLD),
    Case::inside("resolv.conf bound by hand", &["--bind-ro={host}/own:/etc/resolv.conf"], "cat /etc/resolv.conf")
        .before("echo own >{host}/own; touch {tree}/etc/resolv.conf")
        .prints("own\n"),
    Case::inside("resolv.conf bound by hand, writable", &["--bind={host}/own:/etc/resolv.conf"], "cat /etc/resolv.conf")
        .before("echo own >{host}/own; touch {tree}/etc/resolv.conf")
        .after("cat {host}/own")
        .prints("own\n")
        .leaves("own\n")
        .differs("what is bound is the host's own file and is not written over"),
    Case::refused("resolv.conf, no mode", &["--resolv-conf=bogus"]),
    Case::refused("resolv.conf, empty", &["--resolv-conf="]),
    Case::refused("resolv.conf, half a mode", &["--resolv-conf=copy"]),
    // time zone
    Case::inside("time zone off", &["--timezone=off"], TIME).before(OLD_TIME),
    Case::inside("time zone copied", &["--timezone=copy"], TIME).before(OLD_TIME),
    Case::inside("time zone copied, none", &["--timezone=copy"], TIME).own_tree(),
    Case::inside("time zone copied over a link", &["--timezone=copy"], TIME).before("ln -sf /run/x {tree}/etc/localtime"),
    Case::inside("time zone bound", &["--timezone=bind"], TIME).before(OLD_TIME),
    Case::inside("time zone bound, none", &["--timezone=bind"], TIME).own_tree(),
    Case::inside("time zone linked", &["--timezone=symlink"], TIME).before(OWN_ZONE),
    Case::inside("time zone linked over a file", &["--timezone=symlink"], TIME)
        .before("echo old >{tree}/etc/localtime; zone=$(readlink /etc/localtime | sed s/.*zoneinfo.//); mkdir -p $(dirname {tree}/usr/share/zoneinfo/$zone); echo zone >{tree}/usr/share/zoneinfo/$zone"),
    Case::inside("time zone linked, not there", &["--timezone=symlink"], TIME).before(OLD_TIME),
    Case::inside("time zone deleted", &["--timezone=delete"], TIME).before(OLD_TIME).prints("end\n"),
    Case::inside("time zone deleted, none", &["--timezone=delete"], TIME).own_tree().prints("end\n"),
    Case::inside("time zone auto", &["--timezone=auto"], TIME).before(OWN_ZONE),
    Case::inside("time zone auto, not there", &[], TIME).before(OLD_TIME),
    Case::inside("time zone auto, read-only", &["--read-only"], TIME).before(OLD_TIME),
    Case::inside("time zone auto, volatile state", &["--volatile=state"], TIME).before(OLD_TIME),
    Case::inside("time zone auto, volatile", &["--volatile=yes"], TIME).before(OWN_ZONE),
    Case::inside("time zone copied, read-only", &["--timezone=copy", "--read-only"], TIME).before(OLD_TIME),
    Case::inside("time zone bound by hand", &["--bind-ro={host}/own:/etc/localtime"], "cat /etc/localtime")
        .before("echo own >{host}/own; touch {tree}/etc/localtime")
        .prints("own\n")
        .differs("what is bound there was meant"),
    Case::refused("time zone, no mode", &["--timezone=bogus"]),
    Case::refused("time zone, empty", &["--timezone="]),
    // journal
    Case::refused("journal guest, not kept", &[ID, "--link-journal=guest"]).before(NOT_KEPT).after(HOST),
    Case::inside("journal guest, kept", &[ID, "--link-journal=guest"], JOURNAL).before(KEPT).after(HOST).differs_since(258, NEWER_LINK),
    Case::inside("journal guest, prepared for host", &[ID, "--link-journal=guest"], JOURNAL).before("mount -t tmpfs tmpfs /var/log; mkdir /var/log/journal; mkdir /var/log/journal/0123456789abcdef0123456789abcdef").after(HOST).differs_since(258, NEWER_LINK),
    Case::refused("journal guest, prepared for host and used", &[ID, "--link-journal=guest"]).before("mount -t tmpfs tmpfs /var/log; mkdir /var/log/journal; mkdir /var/log/journal/0123456789abcdef0123456789abcdef; touch /var/log/journal/0123456789abcdef0123456789abcdef/system.journal").after(HOST),
    Case::inside("journal guest, prepared for guest", &[ID, "--link-journal=guest"], JOURNAL).before("mount -t tmpfs tmpfs /var/log; mkdir /var/log/journal; ln -s {tree}/var/log/journal/0123456789abcdef0123456789abcdef /var/log/journal/0123456789abcdef0123456789abcdef").after(HOST).differs_since(258, NEWER_LINK),
    Case::inside("journal guest, prepared for another", &[ID, "--link-journal=guest"], JOURNAL).before("mount -t tmpfs tmpfs /var/log; mkdir /var/log/journal; ln -s /nowhere/var/log/journal/0123456789abcdef0123456789abcdef /var/log/journal/0123456789abcdef0123456789abcdef").after(HOST).differs_since(258, NEWER_LINK),
    Case::refused("journal guest, a file", &[ID, "--link-journal=guest"]).before("mount -t tmpfs tmpfs /var/log; mkdir /var/log/journal; touch /var/log/journal/0123456789abcdef0123456789abcdef").after(HOST),
    Case::refused("journal guest, ephemeral", &[ID, "--link-journal=guest", "-x"]).before(KEPT).after(HOST),
    Case::refused("journal guest, read-only", &[ID, "--link-journal=guest", "--read-only"]).before(KEPT).after(HOST),
    Case::inside("journal guest, volatile", &[ID, "--link-journal=guest", "--volatile=yes"], JOURNAL).before(KEPT).after(HOST).differs_since(258, NEWER_LINK),
    Case::inside("journal guest, volatile state", &[ID, "--link-journal=guest", "--volatile=state"], JOURNAL).before(KEPT).after(HOST).differs_since(258, NEWER_LINK),
    Case::inside("journal try-guest, not kept", &[ID, "--link-journal=try-guest"], JOURNAL).before(NOT_KEPT).after(HOST).prints("end\n").leaves("").differs("where nothing is linked nothing is made"),
    Case::inside("journal try-guest, kept", &[ID, "--link-journal=try-guest"], JOURNAL).before(KEPT).after(HOST).differs_since(258, NEWER_LINK),
    Case::inside("journal try-guest, prepared for host", &[ID, "--link-journal=try-guest"], JOURNAL).before("mount -t tmpfs tmpfs /var/log; mkdir /var/log/journal; mkdir /var/log/journal/0123456789abcdef0123456789abcdef").after(HOST).differs_since(258, NEWER_LINK),
    Case::refused("journal try-guest, prepared for host and used", &[ID, "--link-journal=try-guest"]).before("mount -t tmpfs tmpfs /var/log; mkdir /var/log/journal; mkdir /var/log/journal/0123456789abcdef0123456789abcdef; touch /var/log/journal/0123456789abcdef0123456789abcdef/system.journal").after(HOST),
    Case::inside("journal try-guest, prepared for guest", &[ID, "--link-journal=try-guest"], JOURNAL).before("mount -t tmpfs tmpfs /var/log; mkdir /var/log/journal; ln -s {tree}/var/log/journal/0123456789abcdef0123456789abcdef /var/log/journal/0123456789abcdef0123456789abcdef").after(HOST).differs_since(258, NEWER_LINK),
    Case::inside("journal try-guest, prepared for another", &[ID, "--link-journal=try-guest"], JOURNAL).before("mount -t tmpfs tmpfs /var/log; mkdir /var/log/journal; ln -s /nowhere/var/log/journal/0123456789abcdef0123456789abcdef /var/log/journal/0123456789abcdef0123456789abcdef").after(HOST).differs_since(258, NEWER_LINK),
    Case::refused("journal try-guest, a file", &[ID, "--link-journal=try-guest"]).before("mount -t tmpfs tmpfs /var/log; mkdir /var/log/journal; touch /var/log/journal/0123456789abcdef0123456789abcdef").after(HOST),
    Case::inside("journal try-guest, ephemeral", &[ID, "--link-journal=try-guest", "-x"], JOURNAL).before(KEPT).after(HOST),
    Case::inside("journal try-guest, read-only", &[ID, "--link-journal=try-guest", "--read-only"], JOURNAL).before(KEPT).after(HOST),
    Case::refused("journal host, not kept", &[ID, "--link-journal=host"]).before(NOT_KEPT).after(HOST),
    Case::inside("journal host, kept", &[ID, "--link-journal=host"], JOURNAL).before(KEPT).after(HOST),
    Case::inside("journal host, prepared for host", &[ID, "--link-journal=host"], JOURNAL).before("mount -t tmpfs tmpfs /var/log; mkdir /var/log/journal; mkdir /var/log/journal/0123456789abcdef0123456789abcdef").after(HOST),
    Case::inside("journal host, prepared for host and used", &[ID, "--link-journal=host"], JOURNAL).before("mount -t tmpfs tmpfs /var/log; mkdir /var/log/journal; mkdir /var/log/journal/0123456789abcdef0123456789abcdef; touch /var/log/journal/0123456789abcdef0123456789abcdef/system.journal").after(HOST),
    Case::inside("journal host, prepared for guest", &[ID, "--link-journal=host"], JOURNAL).before("mount -t tmpfs tmpfs /var/log; mkdir /var/log/journal; ln -s {tree}/var/log/journal/0123456789abcdef0123456789abcdef /var/log/journal/0123456789abcdef0123456789abcdef").after(HOST),
    Case::inside("journal host, prepared for another", &[ID, "--link-journal=host"], JOURNAL).before("mount -t tmpfs tmpfs /var/log; mkdir /var/log/journal; ln -s /nowhere/var/log/journal/0123456789abcdef0123456789abcdef /var/log/journal/0123456789abcdef0123456789abcdef").after(HOST),
    Case::refused("journal host, a file", &[ID, "--link-journal=host"]).before("mount -t tmpfs tmpfs /var/log; mkdir /var/log/journal; touch /var/log/journal/0123456789abcdef0123456789abcdef").after(HOST),
    Case::refused("journal host, ephemeral", &[ID, "--link-journal=host", "-x"]).before(KEPT).after(HOST),
    Case::refused("journal host, read-only", &[ID, "--link-journal=host", "--read-only"]).before(KEPT).after(HOST),
    Case::inside("journal host, volatile", &[ID, "--link-journal=host", "--volatile=yes"], JOURNAL).before(KEPT).after(HOST),
    Case::inside("journal host, volatile state", &[ID, "--link-journal=host", "--volatile=state"], JOURNAL).before(KEPT).after(HOST),
    Case::inside("journal try-host, not kept", &[ID, "--link-journal=try-host"], JOURNAL).before(NOT_KEPT).after(HOST).prints("end\n").leaves("").differs("where nothing is linked nothing is made"),
    Case::inside("journal try-host, kept", &[ID, "--link-journal=try-host"], JOURNAL).before(KEPT).after(HOST),
    Case::inside("journal try-host, prepared for host", &[ID, "--link-journal=try-host"], JOURNAL).before("mount -t tmpfs tmpfs /var/log; mkdir /var/log/journal; mkdir /var/log/journal/0123456789abcdef0123456789abcdef").after(HOST),
    Case::inside("journal try-host, prepared for host and used", &[ID, "--link-journal=try-host"], JOURNAL).before("mount -t tmpfs tmpfs /var/log; mkdir /var/log/journal; mkdir /var/log/journal/0123456789abcdef0123456789abcdef; touch /var/log/journal/0123456789abcdef0123456789abcdef/system.journal").after(HOST),
    Case::inside("journal try-host, prepared for guest", &[ID, "--link-journal=try-host"], JOURNAL).before("mount -t tmpfs tmpfs /var/log; mkdir /var/log/journal; ln -s {tree}/var/log/journal/0123456789abcdef0123456789abcdef /var/log/journal/0123456789abcdef0123456789abcdef").after(HOST),
    Case::inside("journal try-host, prepared for another", &[ID, "--link-journal=try-host"], JOURNAL).before("mount -t tmpfs tmpfs /var/log; mkdir /var/log/journal; ln -s /nowhere/var/log/journal/0123456789abcdef0123456789abcdef /var/log/journal/0123456789abcdef0123456789abcdef").after(HOST),
    Case::refused("journal try-host, a file", &[ID, "--link-journal=try-host"]).before("mount -t tmpfs tmpfs /var/log; mkdir /var/log/journal; touch /var/log/journal/0123456789abcdef0123456789abcdef").after(HOST),
    Case::inside("journal try-host, ephemeral", &[ID, "--link-journal=try-host", "-x"], JOURNAL).before(KEPT).after(HOST),
    Case::inside("journal try-host, read-only", &[ID, "--link-journal=try-host", "--read-only"], JOURNAL).before(KEPT).after(HOST),
    Case::inside("journal auto, not kept", &[ID, "--link-journal=auto"], JOURNAL).before(NOT_KEPT).after(HOST).prints("end\n").leaves("").differs("where nothing is linked nothing is made"),
    Case::inside("journal auto, kept", &[ID, "--link-journal=auto"], JOURNAL).before(KEPT).after(HOST).prints("end\n").leaves("/var/log/journal d 755 0 \n").differs("where nothing is linked nothing is made"),
    Case::inside("journal auto, prepared for host", &[ID, "--link-journal=auto"], JOURNAL).before("mount -t tmpfs tmpfs /var/log; mkdir /var/log/journal; mkdir /var/log/journal/0123456789abcdef0123456789abcdef").after(HOST),
    Case::inside("journal auto, prepared for host and used", &[ID, "--link-journal=auto"], JOURNAL).before("mount -t tmpfs tmpfs /var/log; mkdir /var/log/journal; mkdir /var/log/journal/0123456789abcdef0123456789abcdef; touch /var/log/journal/0123456789abcdef0123456789abcdef/system.journal").after(HOST),
    Case::inside("journal auto, prepared for guest", &[ID, "--link-journal=auto"], JOURNAL).before("mount -t tmpfs tmpfs /var/log; mkdir /var/log/journal; ln -s {tree}/var/log/journal/0123456789abcdef0123456789abcdef /var/log/journal/0123456789abcdef0123456789abcdef").after(HOST).differs_since(258, NEWER_LINK),
    Case::inside("journal auto, prepared for another", &[ID, "--link-journal=auto"], JOURNAL).before("mount -t tmpfs tmpfs /var/log; mkdir /var/log/journal; ln -s /nowhere/var/log/journal/0123456789abcdef0123456789abcdef /var/log/journal/0123456789abcdef0123456789abcdef").after(HOST).prints("end\n").leaves("/var/log/journal d 755 0 \n/var/log/journal/0123456789abcdef0123456789abcdef l 777 0 /nowhere/var/log/journal/0123456789abcdef0123456789abcdef\n").differs("the link is that of another tree with the same id, and stays"),
    Case::refused("journal auto, a file", &[ID, "--link-journal=auto"]).before("mount -t tmpfs tmpfs /var/log; mkdir /var/log/journal; touch /var/log/journal/0123456789abcdef0123456789abcdef").after(HOST),
    Case::inside("journal auto, ephemeral", &[ID, "--link-journal=auto", "-x"], JOURNAL).before(KEPT).after(HOST),
    Case::inside("journal auto, read-only", &[ID, "--link-journal=auto", "--read-only"], JOURNAL).before(KEPT).after(HOST),
    Case::inside("journal no, not kept", &[ID, "--link-journal=no"], JOURNAL).before(NOT_KEPT).after(HOST),
    Case::inside("journal no, kept", &[ID, "--link-journal=no"], JOURNAL).before(KEPT).after(HOST),
    Case::inside("journal no, prepared for host", &[ID, "--link-journal=no"], JOURNAL).before("mount -t tmpfs tmpfs /var/log; mkdir /var/log/journal; mkdir /var/log/journal/0123456789abcdef0123456789abcdef").after(HOST),
    Case::inside("journal no, prepared for host and used", &[ID, "--link-journal=no"], JOURNAL).before("mount -t tmpfs tmpfs /var/log; mkdir /var/log/journal; mkdir /var/log/journal/0123456789abcdef0123456789abcdef; touch /var/log/journal/0123456789abcdef0123456789abcdef/system.journal").after(HOST),
    Case::inside("journal no, prepared for guest", &[ID, "--link-journal=no"], JOURNAL).before("mount -t tmpfs tmpfs /var/log; mkdir /var/log/journal; ln -s {tree}/var/log/journal/0123456789abcdef0123456789abcdef /var/log/journal/0123456789abcdef0123456789abcdef").after(HOST),
    Case::inside("journal no, prepared for another", &[ID, "--link-journal=no"], JOURNAL).before("mount -t tmpfs tmpfs /var/log; mkdir /var/log/journal; ln -s /nowhere/var/log/journal/0123456789abcdef0123456789abcdef /var/log/journal/0123456789abcdef0123456789abcdef").after(HOST),
    Case::inside("journal no, a file", &[ID, "--link-journal=no"], JOURNAL).before("mount -t tmpfs tmpfs /var/log; mkdir /var/log/journal; touch /var/log/journal/0123456789abcdef0123456789abcdef").after(HOST),
    Case::inside("journal no, ephemeral", &[ID, "--link-journal=no", "-x"], JOURNAL).before(KEPT).after(HOST),
    Case::inside("journal no, read-only", &[ID, "--link-journal=no", "--read-only"], JOURNAL).before(KEPT).after(HOST),
    Case::refused("journal guest, the host's own id", &["--link-journal=guest"])
        .before("mount -t tmpfs tmpfs /var/log; mkdir /var/log/journal; cp /etc/machine-id {tree}/etc/machine-id")
        .after(HOST),
    Case::inside("journal try-guest, the host's own id", &["-j"], JOURNAL)
        .before("mount -t tmpfs tmpfs /var/log; mkdir /var/log/journal; cp /etc/machine-id {tree}/etc/machine-id")
        .after(HOST),
    Case::inside("journal, -j", &["-j", ID], JOURNAL).before(KEPT).after(HOST).differs_since(258, NEWER_LINK),
    Case::inside("journal by the tree's id", &["--link-journal=host"], JOURNAL)
        .before("mount -t tmpfs tmpfs /var/log; mkdir /var/log/journal; echo 11112222333344445555666677778888 >{tree}/etc/machine-id")
        .after(HOST),
    Case::inside("journal by --uuid and not the tree's id", &["--link-journal=host", ID], JOURNAL)
        .before("mount -t tmpfs tmpfs /var/log; mkdir /var/log/journal; echo 11112222333344445555666677778888 >{tree}/etc/machine-id")
        .after(HOST),
    Case::inside("journal host, written inside", &["--link-journal=host", ID], "echo entry >/var/log/journal/*/x; ls /var/log/journal/*")
        .before(KEPT)
        .after("cat /var/log/journal/*/x; find {tree}/var/log -type f; umount /var/log"),
    Case::inside("journal guest, written inside", &["--link-journal=guest", ID], "echo entry >/var/log/journal/*/x; ls /var/log/journal/*")
        .before(KEPT)
        .after("cat /var/log/journal/*/x; find {tree}/var/log -type f; umount /var/log"),
    // A journal that is forwarded.
    forwarded("journal forwarded to a file", &["--forward-journal={tree}-forwarded/all.journal"]),
    forwarded("journal forwarded to a directory", &["--forward-journal={tree}-forwarded/all"]),
    forwarded("journal forwarded, so much in all", &["--forward-journal={tree}-forwarded/all", "--forward-journal-max-use=64M"]),
    forwarded("journal forwarded, so much left", &["--forward-journal={tree}-forwarded/all", "--forward-journal-keep-free=1.5K"]),
    forwarded("journal forwarded, so much in a file", &["--forward-journal={tree}-forwarded/all", "--forward-journal-max-file-size=8M"]),
    forwarded("journal forwarded, so many files", &["--forward-journal={tree}-forwarded/all", "--forward-journal-max-files=7"]),
    Case::inside("journal not forwarded", &["--forward-journal="], "echo \"$CREDENTIALS_DIRECTORY.\"").since(261).prints(".\n"),
    Case::refused("journal, no mode", &["--link-journal=bogus"]),
    Case::refused("journal, empty", &["--link-journal="]),
];
