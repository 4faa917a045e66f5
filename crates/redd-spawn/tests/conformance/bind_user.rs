//! Users of the host inside. The host's users are made in a private `/etc` of the test's own mount namespace.

use super::case::Case;

/// Makes the users, once: in a file system in memory that covers `/etc` for this test alone.
macro_rules! host {
    ($more:literal) => {
        concat!(
            "mountpoint -q /run/systemd/nspawn-uid
            if ! [ -e /etc/redd-private ]; then
                mkdir e; mount -t tmpfs etc e; cp -a /etc/. e; touch e/redd-private; mount --move e /etc
                printf '%s\\n' >>/etc/passwd \\
                    'zoe:x:4242:4242:Zoe Zest,1,2,3:/etc/home/zoe:/bin/bash' \\
                    'yan:x:4243:4243::/etc/home/yan:' \\
                    'lost:x:4244:4244::/nonexistent:/bin/sh' \\
                    'shared:x:4245:100::/etc/home/zoe:/bin/sh' \\
                    'other:x:4246:4246::/etc/home/zoe:/bin/sh' \\
                    'zero:x:0:0::/etc/home/zoe:/bin/sh'
                printf 'zoe:x:4242:\\nyan:x:4243:\\nlost:x:4244:\\nusers:x:100:\\nothers:x:4246:\\nzero:x:0:\\n' >>/etc/group
                printf 'zoe:$y$j9T$salt$hash:19700:1:90:7:14:20000:\\nyan:!:1::::::\\n' >>/etc/shadow
            fi
            rm -rf /etc/home; mkdir -p /etc/home/zoe/.ssh /etc/home/yan
            echo mine >/etc/home/zoe/file; echo key >/etc/home/zoe/.ssh/authorized_keys; chown -R 4242:4242 /etc/home/zoe
            echo roots >/etc/home/zoe/roots; chown 4243:4243 /etc/home/yan
            ",
            $more
        )
    };
}

/// What the container is told of a user, with what is said of the shell.
macro_rules! record {
    ($name:literal, $shell:literal) => {
        concat!(
            "{\"userName\":\"",
            $name,
            "\",\"uid\":60514,\"gid\":60514,\"homeDirectory\":\"/run/host/home/",
            $name,
            "\",",
            $shell,
            "\"service\":\"io.systemd.NSpawn\"}\n"
        )
    };
}

/// All records of a single user.
macro_rules! records {
    ($shell:literal) => {
        concat!(
            "60514.group: {\"groupName\":\"zoe\",\"gid\":60514,\"service\":\"io.systemd.NSpawn\"}\n60514.user: ",
            record!("zoe", $shell),
            "60514.user-privileged: {\"privileged\":{\"hashedPassword\":[\"$y$j9T$salt$hash\"]}}\n",
            "zoe.group: {\"groupName\":\"zoe\",\"gid\":60514,\"service\":\"io.systemd.NSpawn\"}\nzoe.user: ",
            record!("zoe", $shell),
            "zoe.user-privileged: {\"privileged\":{\"hashedPassword\":[\"$y$j9T$salt$hash\"]}}\n",
        )
    };
}

const HOST: &str = host!("");
const USERS: &str = "--private-users=4194304:65536";
const MAP: &str = "--private-users-ownership=map";
/// Whom the home is for.
const OWN: &str = "nobody but the user can make files in the home, as from version 257 on";
/// What the records of version 262 have more.
const MEMBERS: &str = "a list of groups without members is left out, as in earlier versions";
/// Where the container has the host's ids, or those around the user's own.
const HOSTS: &str = "cat /proc/self/uid_map; cd /run/host; stat -c '%n %u %g' home home/zoe home/zoe/* userdb/*; cat home/zoe/file";
const RECORDS: &str = "cd /run/host/userdb; for f in *; do echo \"$f: $(cat \"$f\")\"; done";

const fn shows(name: &'static str, options: &'static [&'static str], script: &'static str) -> Case {
    Case::inside(name, options, script).before(HOST)
}

const fn refuses(name: &'static str, options: &'static [&'static str]) -> Case {
    Case::refused(name, options).before(HOST)
}

pub(crate) const CASES: &[Case] = &[
    shows("records", &[USERS, MAP, "--bind-user=zoe"], RECORDS).prints(records!("")).differs_since(257, MEMBERS),
    Case::inside("in a settings file", &["--settings=trusted"], RECORDS).before(host!(
        "printf '[Exec]\nPrivateUsers=4194304:65536\n[Files]\nPrivateUsersOwnership=map\nBindUser=zoe yan\n' >{tree}.nspawn"
    )).differs_since(257, MEMBERS),
    Case::inside("a shell in a settings file", &["--settings=trusted"], RECORDS)
        .before(host!(
            "printf '[Exec]\nPrivateUsers=4194304:65536\n[Files]\nPrivateUsersOwnership=map\nBindUser=zoe\nBindUserShell=/bin/sh\n' >{tree}.nspawn"
        ))
        .prints(records!("\"shell\":\"/bin/sh\","))
        .since(258).differs_since(257, MEMBERS),
    shows("in the next word", &[USERS, MAP, "--bind-user", "zoe"], RECORDS).differs_since(257, MEMBERS),
    shows("owners and modes", &[USERS, MAP, "--bind-user=zoe"], "cd /run/host/userdb; stat -c '%n %a %u %g %F' . *; readlink 60514.user 60514.group 60514.user-privileged"),
    shows("a locked password", &[USERS, MAP, "--bind-user=yan"], RECORDS).differs_since(257, MEMBERS),
    shows("no password", &[USERS, MAP, "--bind-user=zoe"], RECORDS)
        .before(host!("sed -i 's/^zoe:[^:]*:/zoe:*:/' /etc/shadow"))
        .after("sed -i 's/^zoe:[^:]*:/zoe:$y$j9T$salt$hash:/' /etc/shadow").differs_since(257, MEMBERS),
    shows("an empty password", &[USERS, MAP, "--bind-user=zoe"], RECORDS)
        .before(host!("sed -i 's/^zoe:[^:]*:/zoe::/' /etc/shadow"))
        .after("sed -i 's/^zoe:[^:]*:/zoe:$y$j9T$salt$hash:/' /etc/shadow").differs_since(257, MEMBERS),
    shows("two users", &[USERS, MAP, "--bind-user=yan", "--bind-user=zoe"], RECORDS).differs_since(257, MEMBERS),
    shows("two users in another order", &[USERS, MAP, "--bind-user=zoe", "--bind-user=yan"], "cd /run/host/home; stat -c '%n %u %g' *"),
    shows("the same user twice", &[USERS, MAP, "--bind-user=zoe", "--bind-user=zoe"], "ls /run/host/userdb | cat"),
    shows("the home", &[USERS, MAP, "--bind-user=zoe"], "cd /run/host/home; stat -c '%n %a %u %g %F' . zoe zoe/* zoe/.ssh; cat zoe/file"),
    shows("the home's mount", &[USERS, MAP, "--bind-user=zoe"], "grep ' /run/host/home' /proc/self/mountinfo | tail -1 | cut -d' ' -f5,6 | sed s/,idmapped//"),
    shows("the user writes to the home", &[USERS, MAP, "--bind-user=zoe"], "setpriv --reuid 60514 --regid 60514 --clear-groups sh -c 'echo new >/run/host/home/zoe/new'; stat -c '%u %g' /run/host/home/zoe/new")
        .after("stat -c '%n %u %g' /etc/home/zoe/new; cat /etc/home/zoe/new"),
    shows("others cannot write to it", &[USERS, MAP, "--bind-user=zoe"], "setpriv --reuid 60515 --regid 60515 --clear-groups sh -c 'echo new >/run/host/home/zoe/new' 2>/dev/null || echo no; (echo x >/run/host/home/zoe/new) 2>/dev/null || echo no")
        .after("ls -A /etc/home/zoe").differs_until(257, OWN),
    shows("files of others", &[USERS, MAP, "--bind-user=zoe"], "cd /run/host/home/zoe; touch 0; for id in 33 60513 60514 60515 65000; do setpriv --reuid $id --regid $id --clear-groups touch $id; done; stat -c '%n %u %g' *")
        .before(host!("chmod 777 /etc/home/zoe; echo >/etc/home/zoe/x; chown 4254818:4254818 /etc/home/zoe/x"))
        .after("cd /etc/home/zoe; stat -c '%n %u %g' *").differs_until(257, OWN),
    shows("a picked range", &["--private-users=pick", MAP, "--bind-user=zoe"], "stat -c '%u %g' /run/host/home/zoe /run/host/userdb/zoe.user-privileged"),
    shows("-U", &["-U", MAP, "--bind-user=zoe"], "stat -c '%u %g' /run/host/home/zoe"),
    shows("in a read-only root", &[USERS, MAP, "--read-only", "--bind-user=zoe"], RECORDS).differs_since(257, MEMBERS),
    shows("an id that is taken", &[USERS, MAP, "--bind-user=zoe"], "stat -c '%u %g' /run/host/home/zoe; ls /run/host/userdb | cat")
        .before(host!("echo guest:x:60514:100::/: >>{tree}/etc/passwd; echo guests:x:60515: >>{tree}/etc/group")),
    shows("nobody else's records", &[USERS, MAP], "ls -d /run/host/userdb /run/host/home 2>/dev/null || echo none").prints("none\n"),
    shows("records are read-only", &[USERS, MAP, "--bind-user=zoe"], "(echo >/run/host/userdb/zoe.user) 2>/dev/null || echo no").prints("no\n"),
    shows("without users of its own", &["--bind-user=zoe"], HOSTS).since(257),
    shows("without users of its own, as said", &["--private-users=no", "--bind-user=zoe"], HOSTS).since(257),
    shows("without users of its own, the home's mount", &["--bind-user=zoe"], "grep ' /run/host/home' /proc/self/mountinfo | tail -1 | cut -d' ' -f5,6").since(257),
    shows("without users of its own, records", &["--bind-user=zoe"], RECORDS).prints(records!("")).since(257).differs_since(257, MEMBERS),
    shows("without users of its own, the user writes", &["--bind-user=zoe"], "setpriv --reuid 60514 --regid 60514 --clear-groups sh -c 'echo new >/run/host/home/zoe/new'; touch /run/host/home/zoe/roots-own 2>/dev/null || echo no")
        .since(257).after("stat -c '%n %u %g' /etc/home/zoe/new; ls /etc/home/zoe"),
    shows("without users of its own, two users", &["--bind-user=yan", "--bind-user=zoe"], "cd /run/host/home; stat -c '%n %u %g' *").since(257),
    shows("with the host's ids", &["--private-users=identity", "--bind-user=zoe"], HOSTS).since(257),
    shows("with ids around the user's", &["--private-users=4096:65536", MAP, "--bind-user=zoe"], HOSTS).since(257),
    refuses("without users of its own, a user without a group", &["--bind-user=shared"]),
    refuses("without users of its own, a user that the container has", &["--bind-user=zoe"]).before(host!("echo zoe:x:5:5::/: >>{tree}/etc/passwd")),
    Case::refused("a user that is not there", &["--bind-user=nosuchuser", "--private-users=pick"]),
    refuses("root", &[USERS, MAP, "--bind-user=root"]),
    refuses("nobody", &[USERS, MAP, "--bind-user=nobody"]),
    refuses("another name of root", &[USERS, MAP, "--bind-user=zero"]),
    refuses("a user without a group of its own", &[USERS, MAP, "--bind-user=shared"]),
    refuses("a user whose group has another name", &[USERS, MAP, "--bind-user=other"]),
    refuses("a user without a home", &[USERS, MAP, "--bind-user=lost"]),
    refuses("a user that the container has", &[USERS, MAP, "--bind-user=zoe"]).before(host!("echo zoe:x:5:5::/: >>{tree}/etc/passwd")),
    refuses("a group that the container has", &[USERS, MAP, "--bind-user=zoe"]).before(host!("echo zoe:x:5: >>{tree}/etc/group")),
    refuses("a number", &[USERS, MAP, "--bind-user=4242"]),
    refuses("nothing", &[USERS, MAP, "--bind-user="]),
    refuses("a name with a colon", &[USERS, MAP, "--bind-user=zoe:x"]),
    refuses("a path", &[USERS, MAP, "--bind-user=/etc/home/zoe"]),
    refuses("one of several that is not there", &[USERS, MAP, "--bind-user=zoe", "--bind-user=nosuchuser"]),
    shows("the container's shell", &[USERS, MAP, "--bind-user=zoe", "--bind-user-shell=no"], "cat /run/host/userdb/zoe.user").prints(record!("zoe", "")).since(258).differs_since(257, MEMBERS),
    shows("the host's shell", &[USERS, MAP, "--bind-user=zoe", "--bind-user-shell=yes"], "cat /run/host/userdb/zoe.user").prints(record!("zoe", "\"shell\":\"/bin/bash\",")).since(258).differs_since(257, MEMBERS),
    shows("no shell on the host", &[USERS, MAP, "--bind-user=yan", "--bind-user-shell=yes"], "cat /run/host/userdb/yan.user; echo").prints(concat!(record!("yan", ""), "\n")).since(258).differs_since(257, MEMBERS),
    shows("a shell", &[USERS, MAP, "--bind-user=zoe", "--bind-user-shell=/bin/zsh"], "cat /run/host/userdb/zoe.user").prints(record!("zoe", "\"shell\":\"/bin/zsh\",")).since(258).differs_since(257, MEMBERS),
    shows("the last shell counts", &[USERS, MAP, "--bind-user-shell=/a", "--bind-user=zoe", "--bind-user-shell=/b"], "cat /run/host/userdb/zoe.user").prints(record!("zoe", "\"shell\":\"/b\",")).since(258).differs_since(257, MEMBERS),
    refuses("a relative shell", &[USERS, MAP, "--bind-user=zoe", "--bind-user-shell=sh"]),
    refuses("an empty shell", &[USERS, MAP, "--bind-user=zoe", "--bind-user-shell="]),
    refuses("a shell for nobody", &["--bind-user-shell=/bin/sh"]),
    Case::inside("no shell for nobody", &["--bind-user-shell=no"], "echo ran").since(258),
    shows("a group", &[USERS, MAP, "--bind-user=zoe", "--bind-user-group=wheel"], "ls /run/host/userdb | cat; stat -c '%a %u %g' '/run/host/userdb/zoe:wheel.membership'").since(259),
    shows("groups of all users", &[USERS, MAP, "--bind-user=zoe", "--bind-user=yan", "--bind-user-group=a", "--bind-user-group=b", "--bind-user-group=a"], "ls /run/host/userdb | cat").since(259),
    refuses("a group for nobody", &["--bind-user-group=wheel"]),
    refuses("an empty group", &[USERS, MAP, "--bind-user=zoe", "--bind-user-group="]),
    refuses("a group that is a path", &[USERS, MAP, "--bind-user=zoe", "--bind-user-group=a/b"]),
    refuses("a group that is a number", &[USERS, MAP, "--bind-user=zoe", "--bind-user-group=0"]),
];
