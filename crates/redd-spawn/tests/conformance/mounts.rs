//! Mounts beside the root.

use super::case::Case;

const USERS: &str = "--private-users=700000:65536";
const MAP: &str = "--private-users-ownership=map";
/// A directory of user 1000 and group 2000 with files of several owners.
const OWNED: &str = "mkdir s; for i in 0 1000 70000; do touch s/$i; chown $i:$i s/$i; done; chown 1000:2000 s; \
                     mkdir {tree}/dst";
const OWNERS: &str = "for f in /dst /dst/0 /dst/1000 /dst/70000; do stat -c '%u %g' $f; done";

pub(crate) const CASES: &[Case] = &[
    Case::inside("tmpfs", &["--tmpfs=/mnt"], "stat -f -c %T /mnt").prints("tmpfs\n"),
    Case::inside("bind", &["--bind={host}/f:/mnt/a/f"], "cat /mnt/a/f; stat -c '%a %u' /mnt/a")
        .before("echo host > f")
        .prints("host\n755 0\n"),
    Case::inside("bind noidmap", &[USERS, MAP, "--bind={host}/s:/dst:noidmap"], OWNERS).before(OWNED),
    Case::inside("bind idmap", &[USERS, MAP, "--bind={host}/s:/dst:idmap"], OWNERS).before(OWNED),
    Case::inside("bind rootidmap", &[USERS, MAP, "--bind={host}/s:/dst:rootidmap"], OWNERS).before(OWNED),
    Case::inside("bind owneridmap", &[USERS, MAP, "--bind={host}/s:/dst:owneridmap"], OWNERS)
        .before("mkdir s; for i in 0 1000 70000; do touch s/$i; chown $i:$i s/$i; done; chown 1000:2000 s; \
                 mkdir {tree}/dst; chown 5 {tree}/dst")
        .since(256),
    Case::inside("bind rootidmap without users", &["--bind={host}/s:/dst:rootidmap"], OWNERS).before(OWNED),
    Case::inside("bind-ro idmap", &[USERS, MAP, "--bind-ro={host}/s:/dst:idmap"], "stat -c %u /dst; touch /dst/x || echo no")
        .before("mkdir s; chown 12 s; mkdir {tree}/dst")
        .after("ls s"),
    Case::inside("bind idmap is written with the ids inside", &[USERS, MAP, "--bind={host}/s:/dst:idmap"],
        "touch /dst/x; chown 5:6 /dst/x; echo done")
        .before("mkdir s {tree}/dst")
        .after("stat -c '%u %g' s/x"),
];
