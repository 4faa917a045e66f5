//! User namespaces.

use super::case::Case;

/// What every mode shows: the map without the first id outside, and owners of what is everywhere.
const LOOK: &str = "cat /proc/self/uid_map /proc/self/gid_map | while read -r inside _ count; do echo $inside $count; done; \
     stat -c '%n %u:%g %F' / /etc /bin/sh /dev /dev/null /dev/pts /run /tmp /proc/self";

/// What it shows of a range of the usual size.
const LOOKED: &str = "0 65536\n0 65536\n/ 0:0 directory\n/etc 0:0 directory\n/bin/sh 0:0 regular file\n\
     /dev 0:0 directory\n/dev/null 0:0 character special file\n/dev/pts 0:0 directory\n/run 0:0 directory\n/tmp 0:0 directory\n/proc/self 65534:65534 symbolic link\n";

/// The range on disk, for the modes that leave the tree as it is.
const SHIFTED: &str = "chown -R 655360:655360 {tree}";

const CHOWN: &str = "--private-users-ownership=chown";
const FOREIGN: &str = "--private-users-ownership=foreign";

/// Version 252 does not know the word; version 262 cannot make files in such a tree as root.
const FOREIGN_FAILS: &str = "the original does not start";

pub(crate) const CASES: &[Case] = &[
    Case::inside("a range", &["--private-users=524288:65536"], "cat /proc/self/uid_map").own_tree(),
    Case::inside("a range of the usual size", &["--private-users=655360"], "cat /proc/self/uid_map /proc/self/gid_map")
        .before(SHIFTED),
    Case::inside("a small range", &["--private-users=655360:1000"], "cat /proc/self/uid_map").before(SHIFTED),
    Case::inside("a range from zero", &["--private-users=0"], "cat /proc/self/uid_map").own_tree(),
    Case::inside("identity", &["--private-users=identity"], "cat /proc/self/uid_map /proc/self/gid_map").own_tree(),
    Case::inside("no", &["--private-users=no"], "cat /proc/self/uid_map"),
    Case::inside("no, as a boolean", &["--private-users=off"], "cat /proc/self/uid_map"),
    Case::inside("the owner's range", &["--private-users=yes"], "cat /proc/self/uid_map /proc/self/gid_map")
        .before(SHIFTED),
    Case::inside("the owner's range, without a value", &["--private-users"], LOOK).before(SHIFTED),
    Case::inside("the owner's range, as another boolean", &["--private-users=true"], LOOK).before(SHIFTED),
    Case::inside("the owner's range, owner in its midst", &["--private-users=yes"], "cat /proc/self/uid_map; stat -c %u /")
        .before("chown -R 655360:655360 {tree}; chown 655365:655361 {tree}"),
    Case::inside("the owner is root", &["--private-users=yes"], "cat /proc/self/uid_map; stat -c %u /").own_tree(),
    Case::refused("owner and group differ", &["--private-users=yes"])
        .before("chown -R 655360:655360 {tree}; chgrp 720896 {tree}"),
    Case::inside("owner and group differ, and nobody minds", &["--private-users=655360"], "stat -c %u:%g /")
        .before("chown -R 655360:655360 {tree}; chgrp 720896 {tree}"),
    Case::inside("pick what the tree has", &["--private-users=pick"], "cat /proc/self/uid_map; stat -c %u:%g / /bin/sh")
        .before(SHIFTED),
    Case::inside("pick a tree of root's", &["--private-users=pick"], LOOK).own_tree(),
    Case::inside("-U", &["-U"], LOOK).own_tree(),
    Case::inside("-U leaves the tree as it is", &["-U"], "stat -c %u:%g /etc")
        .own_tree()
        .after("stat -c %u:%g {tree} {tree}/etc {tree}/bin/sh"),
    Case::inside("pick and map", &["--private-users=pick", "--private-users-ownership=map"], LOOK)
        .own_tree()
        .after("stat -c %u:%g {tree} {tree}/etc"),
    Case::inside("a range and map", &["--private-users=655360", "--private-users-ownership=map"], LOOK).own_tree(),
    Case::inside("files made are root's on disk", &["--private-users=655360", "--private-users-ownership=map"], "touch /new")
        .own_tree()
        .after("stat -c %u:%g {tree}/new"),
    Case::inside("a range and off", &["--private-users=655360", "--private-users-ownership=off"], LOOK).before(SHIFTED),
    Case::inside("a tree that does not fit", &["--private-users=655360"], "stat -c %u:%g /bin/sh").own_tree(),
    Case::inside("ownership without users", &["--private-users=no", "--private-users-ownership=map"], "cat /proc/self/uid_map"),
    Case::inside("the last switch counts", &["-U", "--private-users=no"], "cat /proc/self/uid_map"),
    Case::inside("the last range counts", &["--private-users=1000", "--private-users=655360"], "cat /proc/self/uid_map")
        .before(SHIFTED),
    Case::inside("chown", &["--private-users=655360", CHOWN], LOOK)
        .own_tree()
        .after("stat -c %u:%g {tree} {tree}/etc {tree}/bin/sh"),
    Case::inside("chown to where it is", &["--private-users=655360", CHOWN], LOOK)
        .before(SHIFTED)
        .after("stat -c %u:%g {tree} {tree}/etc {tree}/bin/sh"),
    Case::inside("chown back to the host's ids", &["--private-users=0", CHOWN], LOOK)
        .before(SHIFTED)
        .after("stat -c %u:%g {tree} {tree}/etc {tree}/bin/sh"),
    Case::inside("chown from another range", &["--private-users=720896", CHOWN], "stat -c %u:%g /srv/x")
        .before("mkdir -p {tree}/srv; touch {tree}/srv/x; chown -R 655360:655360 {tree}; chown 655365:655366 {tree}/srv/x")
        .after("stat -c %u:%g {tree}/srv/x"),
    Case::inside("chown what a killed one has left", &["--private-users=655360", CHOWN], LOOK)
        .before("chown -R 655360:655360 {tree}/usr; chown 4294836224:4294836224 {tree}")
        .after("stat -c %u:%g {tree} {tree}/usr {tree}/bin/sh"),
    Case::inside("chown of links, nodes and fifos", &["--private-users=655360", CHOWN], "cd /srv; stat -c '%n %u %f' *")
        .before("cd {tree}/srv 2>/dev/null || { mkdir {tree}/srv; cd {tree}/srv; }; ln -s /etc/passwd l; mkfifo f; mknod n c 1 3; chown -h 3 l f n")
        .after("cd {tree}/srv; stat -c '%n %u %f' *"),
    Case::inside("chown keeps set-user-id", &["--private-users=655360", CHOWN], "stat -c '%u %a' /su /sg")
        .before("touch {tree}/su {tree}/sg; chmod 4755 {tree}/su; chmod 2711 {tree}/sg")
        .after("stat -c '%u %a' {tree}/su {tree}/sg"),
    Case::inside("chown without users", &["--private-users=no", CHOWN], "stat -c %u /")
        .after("stat -c %u {tree}"),
    Case::inside("pick and chown", &["--private-users=pick", CHOWN], LOOK).own_tree(),
    Case::inside("pick and chown of a copy", &["-x", "--private-users=pick", CHOWN], LOOK)
        .own_tree()
        .after("stat -c %u {tree} {tree}/etc"),
    Case::inside("yes and map", &["--private-users=yes", "--private-users-ownership=map"], LOOK).own_tree(),
    Case::inside("a range and auto", &["--private-users=655360", "--private-users-ownership=auto"], LOOK)
        .own_tree()
        .after("stat -c %u {tree} {tree}/etc"),
    Case::inside("pick and foreign", &["--private-users=pick", FOREIGN], LOOK)
        .before("chown -R 2147352576:2147352576 {tree}")
        .after("stat -c %u:%g {tree} {tree}/etc")
        .prints(LOOKED).leaves("2147352576:2147352576\n2147352576:2147352576\n")
        .differs(FOREIGN_FAILS),
    Case::inside("a range and foreign", &["--private-users=655360", FOREIGN], "touch /new; stat -c %u:%g / /new")
        .before("chown -R 2147352576:2147352576 {tree}")
        .after("stat -c %u:%g {tree}/new")
        .prints("0:0\n0:0\n").leaves("2147352576:2147352576\n")
        .differs(FOREIGN_FAILS),
    Case::inside("a foreign tree, automatically", &["-U"], "touch /new; stat -c %u:%g / /new")
        .before("chown -R 2147352576:2147352576 {tree}")
        .after("stat -c %u:%g {tree}/new")
        .prints("0:0\n0:0\n").leaves("2147352576:2147352576\n")
        .differs("the files are mapped, not changed"),
    Case::inside("-x", &["-U", "-x"], LOOK).own_tree(),
    Case::inside("-x of a range", &["-x", "--private-users=yes"], LOOK)
        .before(SHIFTED)
        .prints(LOOKED)
        .differs("the original's copy belongs to root"),
    Case::inside("volatile", &["-U", "--volatile=yes"], "stat -c '%n %u:%g' / /usr /etc /var /bin/sh").own_tree().since(257),
    Case::inside("volatile state", &["-U", "--volatile=state"], "stat -c '%n %u:%g' / /usr /var /bin/sh").own_tree().since(257),
    Case::inside("volatile overlay", &["-U", "--volatile=overlay"], "touch /new; stat -c '%n %u:%g' / /usr /new /bin/sh")
        .own_tree(),
    Case::inside("read-only", &["-U", "--read-only"], "touch /new 2>/dev/null || stat -c '%n %u:%g' / /usr").own_tree(),
    Case::refused("chown and read-only", &["--private-users=655360", CHOWN, "--read-only"]),
    Case::refused("chown and volatile", &["--private-users=655360", CHOWN, "--volatile=yes"]),
    Case::refused("chown and volatile state", &["--private-users=655360", CHOWN, "--volatile=state"]),
    Case::refused("chown and volatile overlay", &["--private-users=655360", CHOWN, "--volatile=overlay"]),
    Case::refused("chown to a small range", &["--private-users=655360:1000", CHOWN]),
    Case::refused("chown to a crooked range", &["--private-users=655361", CHOWN]),
    Case::refused("empty", &["--private-users="]),
    Case::refused("no word", &["--private-users=maybe"]),
    Case::refused("no number", &["--private-users=5x"]),
    Case::refused("negative", &["--private-users=-5"]),
    Case::refused("no count", &["--private-users=655360:"]),
    Case::refused("empty range", &["--private-users=655360:0"]),
    Case::refused("too many numbers", &["--private-users=655360:65536:5"]),
    Case::refused("past the last id", &["--private-users=4294967295"]),
    Case::refused("count past the last id", &["--private-users=4294901760:65537"]),
    Case::refused("no first", &["--private-users=:65536"]),
    Case::refused("no ownership", &["--private-users-ownership=bogus"]),
    Case::refused("empty ownership", &["--private-users-ownership="]),
    Case::refused("ownership without a value", &["--private-users-ownership"]),
    Case::refused("delegation of no number", &["--private-users-delegate=x"]),
    Case::refused("delegation of nothing", &["--private-users-delegate="]),
    Case::refused("negative delegation", &["--private-users=managed", "--private-users-delegate=-1"]),
    Case::refused("delegation without users", &["--private-users-delegate=2"]),
    Case::refused("delegation of a picked range", &["--private-users=pick", "--private-users-delegate=2"]),
    Case::refused("delegation of too much", &["--private-users=managed", "--private-network", "--private-users-delegate=17"]),
    Case::inside("no delegation", &["--private-users-delegate=0"], "ls /run/systemd 2>/dev/null; cat /proc/self/uid_map")
        .prints("         0          0 4294967295\n")
        .since(260)
        .differs_since(260, "no delegation asks for no users, by the manual; the original picks some then"),
    Case::inside("no delegation of a picked range", &["-U", "--private-users-delegate=0"], "ls /run/systemd 2>/dev/null; stat -c %u /").own_tree().since(260),
    Case::inside("the last delegation counts", &["--private-users-delegate=5", "--private-users-delegate=0"], "echo ran").since(260),
    Case::refused("-U with a value", &["-U=x"]),
];
