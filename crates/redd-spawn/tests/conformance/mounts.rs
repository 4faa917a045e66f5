//! Mounts beside the root.

use super::case::Case;

const USERS: &str = "--private-users=700000:65536";
const MAP: &str = "--private-users-ownership=map";
/// A directory of user 1000 and group 2000 with files of several owners.
const OWNED: &str = "mkdir s; for i in 0 1000 70000; do touch s/$i; chown $i:$i s/$i; done; chown 1000:2000 s; \
                     mkdir {tree}/dst";
const OWNERS: &str = "for f in /dst /dst/0 /dst/1000 /dst/70000; do stat -c '%u %g' $f; done";

const LAYERS: &str = "mkdir low high up; echo low > low/one; echo low > low/both; echo high > high/both; echo high > high/two";
const MERGED: &str = "cat /ov/one /ov/both /ov/two; echo new > /ov/new; rm /ov/one; ls /ov; stat -f -c %T /ov";

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
    Case::inside("overlay", &["--overlay={host}/low:{host}/high:{host}/up:/ov"], MERGED).before(LAYERS).after("ls -A . up"),
    Case::inside("overlay, relative", &["--overlay=low:./high:up:/ov"], MERGED).before(LAYERS).after("ls -A . up"),
    Case::inside("overlay of two paths", &["--overlay={host}/low:{host}/up"], "ls {host}/up; echo x > {host}/up/new")
        .before("mkdir low up; echo > low/one; mkdir -p {tree}/{host}")
        .after("ls -A . up"),
    Case::inside("overlay, missing upper", &["--overlay=low:up:/ov"], "ls /ov; echo > /ov/new")
        .before("mkdir low; echo > low/one")
        .after("ls -A . up"),
    Case::inside("overlay, empty upper", &["--overlay=low::/ov"], "ls /ov; echo > /ov/new; ls /ov; stat -c '%a %u %g' /ov")
        .before("mkdir low; chmod 700 low; echo > low/one")
        .after("ls -A . low"),
    Case::inside("overlay of the tree", &["--overlay=+/data::/data"], "ls /data; echo > /data/new; rm /data/file; ls /data")
        .before("mkdir {tree}/data; echo > {tree}/data/file")
        .after("ls {tree}/data"),
    Case::inside("overlay, all of the tree", &["--overlay=+/a:+/b:/ov"], "ls /ov; echo > /ov/new; ls /a /b | sort")
        .before("mkdir {tree}/a {tree}/b; echo > {tree}/a/one; echo > {tree}/b/two")
        .after("ls {tree}/a {tree}/b"),
    Case::inside("overlay-ro", &["--overlay-ro={host}/low:{host}/high:/ov"], "cat /ov/*; echo x > /ov/new || echo no; \
        grep -o ' /ov ro,' /proc/self/mountinfo")
        .before(LAYERS),
    Case::inside("overlay-ro, empty upper", &["--overlay-ro={host}/low::/ov"], "ls /ov; echo x > /ov/new || echo no").before(LAYERS),
    Case::inside("overlay, escapes", &["--overlay=a\\:b:c\\\\d:/e\\:f"], "ls /e:f; echo > /e:f/new")
        .before("mkdir a:b 'c\\d'; echo > a:b/one")
        .after("ls -A 'c\\d'")
        .differs("the original gives such names to the kernel as they are, which parts them"),
    Case::inside("overlay and users", &[USERS, MAP, "--overlay={host}/low:{host}/up:/ov"], "stat -c '%u %g' /ov /ov/one; \
        echo > /ov/new; echo done")
        .before("mkdir low up; echo > low/one")
        .after("stat -c '%u %g' up/new")
        .differs("the original leaves the files to nobody, so that nothing can be written"),
    Case::inside("temporary overlay and users", &[USERS, MAP, "--overlay=+/data::/data"], "stat -c '%u %g' /data /data/one; \
        echo > /data/new; echo done")
        .before("mkdir {tree}/data; echo > {tree}/data/one")
        .differs("the original leaves the directory to nobody, so that nothing can be written"),
    Case::refused("overlay with one path", &["--overlay=/a"]),
    Case::refused("overlay without paths", &["--overlay="]),
    Case::refused("overlay with a colon", &["--overlay=:"]),
    Case::refused("overlay with colons", &["--overlay=::"]),
    Case::refused("overlay with an empty lower", &["--overlay=:/ov"]),
    Case::refused("overlay with an empty lower and an empty upper", &["--overlay=::/ov"]),
    Case::refused("overlay with an empty middle", &["--overlay=/usr::/tmp:/ov"]),
    Case::refused("overlay with an empty destination", &["--overlay=/usr:/tmp:"]),
    Case::refused("overlay at a relative destination", &["--overlay=/usr:/tmp:ov"]),
    Case::refused("overlay over the root", &["--overlay={host}/low:{host}/up:/"])
        .before(LAYERS)
        .differs("the original starts, and finds no program"),
    Case::refused("overlay of a relative path of the tree", &["--overlay=+a:+/b:/ov"]),
    Case::refused("overlay of a file", &["--overlay={host}/low/one:{host}/up:/ov"]).before(LAYERS),
    Case::refused("overlay onto a file", &["--overlay={host}/low:{host}/low/one:/ov"]).before(LAYERS),
];
