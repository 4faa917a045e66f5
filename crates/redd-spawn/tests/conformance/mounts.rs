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

/// A tmpfs as the kernel has it.
const MEMORY: &str = "grep ' /mnt ' /proc/self/mountinfo | cut -d' ' -f 6,9-; stat -c '%u %g %a' /mnt";
/// One node of every kind.
const KINDS: &str = "echo file > file; mkdir dir; mkfifo fifo; mknod chr c 1 3; mknod blk b 7 200 2>/dev/null || mknod blk c 1 5; ln -s file link; mkdir {tree}/k; \
                     cp -a . {tree}/k";
/// A file system below another one.
const BELOW: &str = "grep -o ' /dst[^ ]* r[ow],' /proc/self/mountinfo; touch /dst/a || echo no; ls /dst";

/// What the probe says of synchronous writing where it is suppressed.
pub(crate) const SUPPRESSED: &str = "fsync=0\nfdatasync=0\nsyncfs=0\nsync_file_range=0\nmsync=0\nsync=0\n\
     fsync -1=9\nfdatasync -1=9\nsyncfs -1=9\nsync_file_range -1=9\nopen=0\nopen O_APPEND=0\nopen O_SYNC=22\n\
     open O_DSYNC=22\nopen O_SYNC O_APPEND=22\n";

/// What may be done with the device at /dst, which makes loop devices.
const DEVICE: &str = "(exec 3</dst) 2>/dev/null && echo read; (exec 3>>/dst) 2>/dev/null && echo written; mknod /n c 10 237 || echo no other";

pub(crate) const CASES: &[Case] = &[
    Case::inside("synchronous writing", &[], "/probe sync | grep -v openat2"),
    Case::inside("synchronous writing suppressed", &["--suppress-sync=yes"], "/probe sync | grep -v openat2").prints(SUPPRESSED),
    Case::inside("synchronous writing after all", &["--suppress-sync=yes", "--suppress-sync=no"], "/probe sync | grep '^open O_D*SYNC='")
        .prints("open O_SYNC=0\nopen O_DSYNC=0\n"),
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
    Case::inside("overlay-ro", &["--overlay-ro={host}/low:{host}/high:/ov"], "cat /ov/*; echo x > /ov/new || echo no; \
        grep -o ' /ov ro,' /proc/self/mountinfo")
        .before(LAYERS),
    Case::inside("overlay-ro, empty upper", &["--overlay-ro={host}/low::/ov"], "ls /ov; echo x > /ov/new || echo no").before(LAYERS),
    Case::inside("overlay, escapes", &["--overlay=a\\:b:c\\\\d:/e\\:f"], "ls /e:f; echo > /e:f/new")
        .before("mkdir a:b 'c\\d'; echo > a:b/one")
        .after("ls -A 'c\\d'")
        .prints("one\n").leaves("new\n")
        .differs("the original gives such names to the kernel as they are, which parts them"),
    Case::inside("overlay and users", &[USERS, MAP, "--overlay={host}/low:{host}/up:/ov"], "stat -c '%u %g' /ov /ov/one; \
        echo > /ov/new; echo done")
        .before("mkdir low up; echo > low/one")
        .after("stat -c '%u %g' up/new")
        .prints("0 0\n0 0\ndone\n").leaves("0 0\n")
        .differs("the original leaves the files to nobody, so that nothing can be written"),
    Case::inside("temporary overlay and users", &[USERS, MAP, "--overlay=+/data::/data"], "stat -c '%u %g' /data /data/one; \
        echo > /data/new; echo done")
        .before("mkdir {tree}/data; echo > {tree}/data/one")
        .prints("0 0\n0 0\ndone\n")
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
    Case::inside("tmpfs alone", &["--tmpfs=/mnt"], MEMORY),
    Case::inside("tmpfs:", &["--tmpfs=/mnt:"], MEMORY),
    Case::inside("tmpfs:size=1m", &["--tmpfs=/mnt:size=1m"], MEMORY),
    Case::inside("tmpfs:mode=0700,uid=5,gid=6", &["--tmpfs=/mnt:mode=0700,uid=5,gid=6"], MEMORY),
    Case::inside("tmpfs:ro", &["--tmpfs=/mnt:ro"], MEMORY),
    Case::inside("tmpfs:rw,nosuid", &["--tmpfs=/mnt:rw,nosuid"], MEMORY),
    Case::inside("tmpfs:dev", &["--tmpfs=/mnt:dev"], MEMORY),
    Case::inside("tmpfs:noexec,nodev", &["--tmpfs=/mnt:noexec,nodev"], MEMORY),
    Case::inside("tmpfs:strictatime", &["--tmpfs=/mnt:strictatime"], MEMORY),
    Case::inside("tmpfs:norelatime", &["--tmpfs=/mnt:norelatime"], MEMORY),
    Case::inside("tmpfs:atime", &["--tmpfs=/mnt:atime"], MEMORY),
    Case::inside("tmpfs:sync", &["--tmpfs=/mnt:sync"], MEMORY),
    Case::inside("tmpfs:dirsync", &["--tmpfs=/mnt:dirsync"], MEMORY),
    Case::inside("tmpfs:async", &["--tmpfs=/mnt:async"], MEMORY),
    Case::inside("tmpfs:lazytime", &["--tmpfs=/mnt:lazytime"], MEMORY),
    Case::inside("tmpfs:nosymfollow", &["--tmpfs=/mnt:nosymfollow"], MEMORY),
    Case::inside("tmpfs:silent", &["--tmpfs=/mnt:silent"], MEMORY),
    Case::inside("tmpfs:nr_inodes=10", &["--tmpfs=/mnt:nr_inodes=10"], MEMORY),
    Case::inside("tmpfs:huge=never", &["--tmpfs=/mnt:huge=never"], MEMORY),
    Case::inside("tmpfs:inode64", &["--tmpfs=/mnt:inode64"], MEMORY),
    Case::inside("tmpfs:size=1m,,mode=700", &["--tmpfs=/mnt:size=1m,,mode=700"], MEMORY),
    Case::inside("tmpfs:x-systemd.foo=1", &["--tmpfs=/mnt:x-systemd.foo=1"], MEMORY),
    Case::inside("tmpfs:uid=70000", &["--tmpfs=/mnt:uid=70000"], MEMORY),
    Case::inside("tmpfs:noatime", &["--tmpfs=/mnt:noatime"], MEMORY)
        .prints("rw,nodev,noatime tmpfs tmpfs rw\n0 0 1777\n")
        .differs("the original mounts it with strictatime all the same"),
    Case::inside("tmpfs:relatime", &["--tmpfs=/mnt:relatime"], MEMORY)
        .prints("rw,nodev,relatime tmpfs tmpfs rw\n0 0 1777\n")
        .differs("the original mounts it with strictatime all the same"),
    Case::inside("tmpfs and users", &[USERS, MAP, "--tmpfs=/mnt"], MEMORY),
    Case::inside("tmpfs:size and users", &[USERS, MAP, "--tmpfs=/mnt:size=1m"], MEMORY),
    Case::inside("tmpfs:uid and users", &[USERS, MAP, "--tmpfs=/mnt:mode=700,uid=5,gid=6"], "stat -c '%u %g %a' /mnt")
        .prints("5 6 700\n")
        .differs("the original takes no owner but root"),
    Case::refused("tmpfs:bogus", &["--tmpfs=/mnt:bogus"]),
    Case::refused("tmpfs:size=x", &["--tmpfs=/mnt:size=x"]),
    Case::refused("tmpfs:mode=9", &["--tmpfs=/mnt:mode=9"]),
    Case::refused("tmpfs:defaults", &["--tmpfs=/mnt:defaults"]),
    Case::refused("tmpfs:remount", &["--tmpfs=/mnt:remount"]),
    Case::refused("tmpfs:nofail", &["--tmpfs=/mnt:nofail"]),
    Case::refused("tmpfs:loop", &["--tmpfs=/mnt:loop"]),
    Case::refused("tmpfs:rshared", &["--tmpfs=/mnt:rshared"]),
    Case::refused("tmpfs:context=foo", &["--tmpfs=/mnt:context=foo"]),
    Case::refused("tmpfs without a path", &["--tmpfs="]),
    Case::refused("tmpfs at a relative path", &["--tmpfs=mnt"]),
    Case::refused("tmpfs with nothing but options", &["--tmpfs=:size=1m"]),
    Case::refused("tmpfs with a backslash at the end", &["--tmpfs=/mnt\\"]),
    Case::inside("tmpfs, escapes", &["--tmpfs=/a\\:b:mode=700"], "stat -c %a /a:b").own_tree(),
    Case::inside("tmpfs is made", &["--tmpfs=/new/deep/er"], "stat -c '%a %u' /new /new/deep").own_tree().after("find {tree}/new | sort | sed s,{tree},,"),
    Case::inside("bind of a file", &["--bind={host}/file:/dst"], "stat -c '%F %a %u %t:%T' /dst; grep -c ' /dst ' /proc/self/mountinfo").before(KINDS).after("stat -c %F {tree}/dst"),
    Case::inside("bind of a dir", &["--bind={host}/dir:/dst"], "stat -c '%F %a %u %t:%T' /dst; grep -c ' /dst ' /proc/self/mountinfo").before(KINDS).after("stat -c %F {tree}/dst"),
    Case::inside("bind of a fifo", &["--bind={host}/fifo:/dst"], "stat -c '%F %a %u %t:%T' /dst; grep -c ' /dst ' /proc/self/mountinfo").before(KINDS).after("stat -c %F {tree}/dst"),
    Case::inside("bind of a link", &["--bind={host}/link:/dst"], "stat -c '%F %a %u %t:%T' /dst; grep -c ' /dst ' /proc/self/mountinfo").before(KINDS).after("stat -c %F {tree}/dst"),
    Case::refused("bind of nothing", &["--bind={host}/nothing:/dst"]),
    Case::refused("bind of a dead link", &["--bind={host}/link:/dst"]).before("ln -s nothing link"),
    Case::refused("bind of a file on a directory", &["--bind={host}/file:/etc"]).before(KINDS),
    Case::refused("bind of a directory on a file", &["--bind={host}/dir:/etc/passwd"]).before(KINDS),
    Case::inside("bind through a link", &["--bind={host}/dir:/l/x"], "ls -d /mnt/x; grep -o \" /mnt/x\" /proc/self/mountinfo").before("mkdir dir; ln -s /mnt {tree}/l"),
    Case::inside("bind through a link upwards", &["--bind={host}/dir:/l/x"], "ls -d /mnt/x").before("mkdir dir; ln -s ../../../../mnt {tree}/l"),
    Case::inside("bind through a link to nothing", &["--bind={host}/file:/l"], "cat /new/deep").before("echo x > file; ln -s /new/deep {tree}/l"),
    Case::inside("bind of a directory through a link to nothing", &["--bind={host}/dir:/l"], "ls /new/deep").before("mkdir dir; touch dir/x; ln -s new/deep {tree}/l"),
    Case::refused("bind through a loop", &["--bind={host}/file:/l"]).before("echo x > file; ln -s /l {tree}/l"),
    Case::inside("bind, relative source", &["--bind=dir:/dst"], "ls /dst").before("mkdir dir; touch dir/x"),
    Case::inside("bind, relative source with dots", &["--bind=./dir/../dir:/dst"], "ls /dst").before("mkdir dir; touch dir/x"),
    Case::inside("bind, source is a link", &["--bind=l:/dst"], "ls /dst").before("mkdir dir; touch dir/x; ln -s dir l"),
    Case::inside("bind of the tree", &["--bind=+/data:/dst"], "ls /dst; touch /data/y; ls /dst").before("mkdir {tree}/data; touch {tree}/data/x"),
    Case::inside("bind of the tree at its own place", &["--bind-ro=+/data"], "ls /data; touch /data/y || echo no").before("mkdir {tree}/data; touch {tree}/data/x"),
    Case::refused("bind of nothing in the tree", &["--bind=+/nothing:/dst"]),
    Case::inside("bind, temporary", &["--bind=:/dst"], "stat -c '%u %g %a' /dst; touch /dst/x; ls /dst").after("ls"),
    Case::inside("bind-ro, temporary", &["--bind-ro=:/dst"], "touch /dst/x || echo no"),
    Case::inside("bind, temporary, and users", &[USERS, MAP, "--bind=:/dst"], "stat -c '%u %g %a' /dst; touch /dst/x; chown 5 /dst/x; ls -n /dst | wc -l"),
    Case::inside("bind-ro", &["--bind-ro={host}/dir:/dst"], BELOW).before("mkdir dir; touch dir/x"),
    Case::inside("bind norbind,rbind", &["--bind={host}/dir:/dst:norbind,rbind"], BELOW).before("mkdir dir; touch dir/x"),
    Case::inside("bind with empty options", &["--bind={host}/dir:/dst:"], BELOW).before("mkdir dir"),
    Case::inside("bind with commas", &["--bind={host}/dir:/dst:,,rbind,"], BELOW).before("mkdir dir"),
    Case::inside("bind with slashes", &["--bind={host}/dir://dst//x/:rbind"], "ls -d /dst/*").before("mkdir dir"),
    Case::inside("bind with dots", &["--bind={host}/dir:/dst/./x"], "ls -d /dst/*").before("mkdir dir"),
    Case::inside("bind with escapes", &["--bind={host}/a\\:b:/c\\:d\\\\e"], "ls /c:d*").before("mkdir a:b; touch a:b/x"),
    Case::inside("bind at the same place twice", &["--bind={host}/a:/dst", "--bind={host}/b:/dst"], "ls /dst").before("mkdir a b; touch a/a b/b"),
    Case::inside("bind and tmpfs at the same place", &["--tmpfs=/dst", "--bind={host}/a:/dst"], "ls /dst; echo seen").before("mkdir a; touch a/a"),
    Case::inside("inaccessible and bind at the same place", &["--bind={host}/a:/dst/x", "--tmpfs=/dst"], "ls /dst/x").before("mkdir a; touch a/a"),
    Case::inside("nearer to the root first", &["--bind={host}/a:/mnt/deep/a", "--tmpfs=/mnt/deep", "--tmpfs=/mnt"], "ls /mnt/deep/a; grep -o \" /mnt[^ ]*\" /proc/self/mountinfo | sort").before("mkdir a; touch a/a"),
    Case::inside("bind at the root", &["--bind={host}/box:/"], "cat /where; ls -d /proc/1 /dev/null").before("cp -a {tree} box; echo box > box/where"),
    Case::inside("bind below /dev", &["--bind={host}/dir:/dev/x"], "ls /dev/x").before("mkdir dir; touch dir/a"),
    Case::inside("bind below /run", &["--bind={host}/dir:/run/x"], "ls /run/x").before("mkdir dir; touch dir/a"),
    Case::inside("bind below /tmp", &["--bind={host}/dir:/tmp/x"], "ls /tmp/x").before("mkdir dir; touch dir/a"),
    Case::inside("bind over /tmp", &["--bind={host}/dir:/tmp"], "ls /tmp").before("mkdir dir; touch dir/a"),
    Case::inside("bind in a read-only tree", &["--read-only", "--bind={host}/dir:/home"], "touch /home/x && echo written; touch /y || echo no").before("mkdir dir"),
    Case::refused("bind in a read-only tree, no mount point", &["--read-only", "--bind={host}/dir:/new"]).before("mkdir dir"),
    Case::refused("bind=", &["--bind="]),
    Case::refused("bind=:", &["--bind=:"]),
    Case::refused("bind=::", &["--bind=::"]),
    Case::refused("bind=x:", &["--bind=x:"]),
    Case::refused("bind=/usr:", &["--bind=/usr:"]),
    Case::refused("bind=/usr::", &["--bind=/usr::"]),
    Case::refused("bind=/usr::norbind", &["--bind=/usr::norbind"]),
    Case::refused("bind=/usr:a", &["--bind=/usr:a"]),
    Case::refused("bind=/usr:/a:bogus", &["--bind=/usr:/a:bogus"]),
    Case::refused("bind=/usr:/a:rbind:x", &["--bind=/usr:/a:rbind:x"]),
    Case::refused("bind=/a\\", &["--bind=/a\\"]),
    Case::refused("bind=+a:/b", &["--bind=+a:/b"]),
    Case::refused("bind=+", &["--bind=+"]),
    Case::refused("bind=/usr:/a:RBIND", &["--bind=/usr:/a:RBIND"]),
    Case::inside("inaccessible file", &["--inaccessible=/k/file"], "stat -L -c '%F %a %u' /k/file; ls /k/dir; cat /k/file").before(KINDS).on_systemd(),
    Case::inside("inaccessible dir", &["--inaccessible=/k/dir"], "stat -L -c '%F %a %u' /k/dir; ls /k/dir; cat /k/file").before(KINDS).on_systemd(),
    Case::inside("inaccessible fifo", &["--inaccessible=/k/fifo"], "stat -L -c '%F %a %u' /k/fifo; ls /k/dir; cat /k/file").before(KINDS).on_systemd(),
    Case::inside("inaccessible chr", &["--inaccessible=/k/chr"], "stat -L -c '%F %a %u' /k/chr; ls /k/dir; cat /k/file").before(KINDS).on_systemd(),
    Case::inside("inaccessible blk", &["--inaccessible=/k/blk"], "stat -L -c '%F %a %u' /k/blk; ls /k/dir; cat /k/file").before(KINDS).on_systemd(),
    Case::inside("inaccessible link", &["--inaccessible=/k/link"], "stat -L -c '%F %a %u' /k/link; ls /k/dir; cat /k/file").before(KINDS).on_systemd(),
    Case::refused("inaccessible, nothing there", &["--inaccessible=/nothing"]),
    Case::refused("inaccessible, dead link", &["--inaccessible=/l"]).before("ln -s /nothing {tree}/l"),
    Case::refused("inaccessible, relative", &["--inaccessible=etc"]),
    Case::refused("inaccessible, empty", &["--inaccessible="]),
    Case::inside("bind of a device", &["--bind=/dev/full:/dst"], "stat -c '%F %t:%T' /dst; echo x > /dst || echo full; \
        grep -c ' /dst ' /proc/self/mountinfo")
        .after("stat -c %F {tree}/dst")
        .own_tree(),
    Case::inside("bind of a device on a file", &["--bind=/dev/zero:/etc/passwd"], "stat -c '%F %t:%T' /etc/passwd"),
    Case::inside("bind-ro of a device", &["--bind-ro=/dev/null:/dst"], "echo x > /dst && echo written; \
        grep -o ' /dst r.' /proc/self/mountinfo")
        .own_tree(),
    Case::inside("a device that no container has", &["--bind=/dev/loop-control:/dst"], DEVICE).own_tree().on_systemd(),
    Case::inside("a device that no container has, read-only", &["--bind-ro=/dev/loop-control:/dst"], DEVICE).own_tree().on_systemd(),
    Case::inside("overlay-ro, all of the tree", &["--overlay-ro=+/a:+/b:/ov"], "ls /ov")
        .before("mkdir {tree}/a {tree}/b; echo > {tree}/a/one; echo > {tree}/b/two"),
    Case::refused("bind over /proc", &["--bind={host}/d:/proc"]).before("mkdir d"),
    Case::refused("bind below /proc", &["--bind={host}/d:/proc/sys"]).before("mkdir d"),
    Case::refused("bind over /dev", &["--bind={host}/d:/dev"]).before("mkdir d"),
    Case::refused("bind over /run", &["--bind={host}/d:/run"]).before("mkdir d"),
    Case::refused("inaccessible /proc", &["--inaccessible=/proc/kcore"]),
    Case::refused("tmpfs over /proc", &["--tmpfs=/proc"]).differs("the original runs without a proc, which nothing does"),
    Case::inside("bind in /sys", &["--bind={host}/d:/sys/kernel"], "ls /sys/kernel").before("mkdir d; touch d/x"),
    Case::inside("bind in /sys, private network", &["--private-network", "--bind={host}/d:/sys/kernel"], "ls /sys/kernel")
        .before("mkdir d; touch d/x")
        .prints("x\n")
        .differs("the original covers it with its own /sys"),
    Case::inside("bind in /sys, private network and users", &[USERS, MAP, "--private-network", "--bind={host}/d:/sys/kernel"],
        "ls /sys/kernel")
        .before("mkdir d; touch d/x")
        .prints("x\n")
        .differs("the original covers it with its own /sys"),
    Case::inside("bind over message queues", &["--bind={host}/d:/dev/mqueue"], "ls /dev/mqueue").before("mkdir d; touch d/x"),
    Case::inside("bind over shared memory", &["--bind={host}/d:/dev/shm"], "ls /dev/shm").before("mkdir d; touch d/x"),
];
