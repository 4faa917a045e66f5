//! User namespaces.

use super::case::Case;

/// What every mode shows: the map without the first id outside, and owners of what is everywhere.
const LOOK: &str = "awk '{print $1, $3}' /proc/self/uid_map /proc/self/gid_map; \
     stat -c '%n %u:%g %F' / /etc /bin/sh /dev /dev/null /dev/pts /run /tmp /proc/self";

/// The range on disk, for the modes that leave the tree as it is.
const SHIFTED: &str = "chown -R 655360:655360 {tree}";

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
    Case::inside("ownership without users", &["--private-users-ownership=map"], "cat /proc/self/uid_map"),
    Case::inside("the last switch counts", &["-U", "--private-users=no"], "cat /proc/self/uid_map"),
    Case::inside("the last range counts", &["--private-users=1000", "--private-users=655360"], "cat /proc/self/uid_map")
        .before(SHIFTED),
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
    Case::refused("-U with a value", &["-U=x"]),
];
