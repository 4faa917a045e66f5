//! The program: its process, arguments, directory, environment, user, signals.

use super::case::Case;

/// Prepares the host, and asks the engine to end as soon as there is a file `up` in the tree: it is the first of the
/// processes with its command line.
macro_rules! stop {
    ($before:literal) => {
        concat!(
            $before,
            "
            (for i in $(seq 400); do
                if test -e {tree}/up; then
                    kill -TERM $(pgrep -o -f '^(/[^ ]*/redd-spawn|systemd-nspawn) -q .*{tree}( |$)'); break
                fi
                sleep 0.05
            done) >/dev/null 2>&1 &"
        )
    };
}
pub(crate) use stop;

/// Says which signal has come.
pub(crate) const STOPPED: &str =
    "trap 'echo stopped; exit 3' USR1; touch /up; for i in $(seq 200); do sleep 0.1; done; echo nothing came";

/// Prepares the host, and has a service manager's socket on it.
macro_rules! hear {
    ($before:literal) => {
        concat!(
            $before,
            "
            ({probe} hear {host}/manager >{host}/heard; touch {host}/over) >/dev/null 2>&1 &
            until test -S {host}/manager; do sleep 0.05; done"
        )
    };
}
pub(crate) use hear;

pub(crate) const MANAGER: &[(&str, &str)] = &[("NOTIFY_SOCKET", "{host}/manager")];
/// The first process, which alone is heard, says that it is ready. It is there for a moment longer.
pub(crate) const READY: &str = "exec /probe notify READY=1 STATUS=up STATUS=busy";
pub(crate) const SAID: &str = "notify READY=1=Ok(7)\nnotify STATUS=up=Ok(9)\nnotify STATUS=busy=Ok(11)\n";
/// How often the service manager has heard of it.
pub(crate) const HEARD: &str = "until test -e over; do sleep 0.05; done; grep -c READY=1 heard || true";

pub(crate) const CASES: &[Case] = &[
    Case::inside("process 1", &[], "echo $$").prints("1\n"),
    Case::inside("process 2", &["-a"], "echo $$; cat /proc/1/comm").prints("2\n(sd-stubinit)\n"),
    Case::inside("process 2, long", &["--as-pid2"], "echo $$").prints("2\n"),
    Case::inside("process 2 over mounts of others", &["-a", "--overlay={host}/a:{host}/b:/mnt"], "echo $$")
        .before("mkdir {host}/a {host}/b")
        .prints("2\n"),
    Case::inside("process 2 over a mount with other owners", &["-a", "-U", "--bind={host}:/mnt:rootidmap"], "echo $$")
        .since(258)
        .prints("2\n"),
    Case::inside("code", &[], "exit 7").code(7),
    Case::inside("code of process 2", &["-a"], "exit 7").code(7),
    Case::inside("signals to the stub", &["-a"], "for s in HUP QUIT USR1 USR2 ALRM TERM PWR; do kill -$s 1; done; sleep 0.2; echo alive").prints("alive\n"),
    Case::inside("power-off of the stub", &["-a"], "kill -38 1; sleep 20; echo alive").code(0).prints(""),
    Case::inside("halt of the stub", &["-a"], "kill -37 1; sleep 20; echo alive").code(0).prints(""),
    Case::inside("orphans are reaped", &["-a"], "(sleep 0.1 &) ; sleep 0.5; ps -e -o stat= | grep -c Z").code(1),
    Case::inside("words", &[], "").runs(&["printenv", "HOME"]),
    Case::inside("search path", &[], "").runs(&["echo", "found"]).prints("found\n"),
    Case::inside("no such program", &[], "")
        .runs(&["/no/such"])
        .code(1)
        .prints("").differs("the error is told by redd, not on the container's console"),
    Case::inside("chdir", &["--chdir=/usr/lib"], "pwd").prints("/usr/lib\n"),
    Case::inside("chdir through a link", &["--chdir=/srv/l"], "pwd -P")
        .before("mkdir -p {tree}/srv; ln -s /usr/lib {tree}/srv/l")
        .prints("/usr/lib\n"),
    Case::refused("chdir to nothing", &["--chdir=/nonexistent"]),
    Case::refused("chdir to a file", &["--chdir=/etc/passwd"]),
    Case::inside(
        "environment",
        &[],
        "env | grep -v -e ^TERM= -e ^container_uuid= -e ^container_host -e ^COLORTERM -e ^NO_COLOR | sort",
    ),
    Case::inside(
        "environment as process 2",
        &["-a"],
        "env | grep -v -e ^TERM= -e ^container_uuid= -e ^container_host -e ^COLORTERM -e ^NO_COLOR | sort",
    ),
    Case::inside("setenv", &["-E", "A=b c", "--setenv=B="], "echo \"$A,$B.\"; env | grep -c -e ^B=")
        .prints("b c,.\n1\n"),
    Case::inside("setenv from outside", &["-E", "REDD_CASE"], "echo $REDD_CASE")
        .environment(&[("REDD_CASE", "passed")])
        .prints("passed\n"),
    Case::inside("setenv not there outside", &["-E", "REDD_CASE"], "env | grep ^REDD_CASE").prints("REDD_CASE=\n"),
    Case::inside("setenv twice", &["-E", "A=1", "-E", "A=2"], "env | grep ^A=").prints("A=2\n"),
    Case::inside("setenv wins", &["-E", "HOME=/x", "-E", "PATH=/bin"], "echo $HOME $PATH").prints("/x /bin\n"),
    Case::inside("setenv container", &["-E", "container=x"], "echo $container"),
    Case::inside("user by name", &["-u", "user"], "id; echo $HOME $USER $LOGNAME $SHELL; pwd"),
    Case::inside("user by old switch", &["--user=user"], "id -u").prints("1000\n"),
    Case::inside("user by new switch", &["--uid=user"], "id -u").since(258).prints("1000\n"),
    Case::inside("user root", &["-u", "root"], "id; echo $HOME $USER $LOGNAME $SHELL"),
    Case::inside("user's home is made", &["-u", "user"], "stat -c '%u %g %a' $HOME")
        .before("rm -rf {tree}/home")
        .prints("1000 1000 755\n"),
    Case::inside("user's home is made below a link", &["-U", "-u", "user"], "stat -c '%u %g %a' $HOME")
        .before("rm -rf {tree}/home; mkdir -p {tree}/srv; ln -s srv {tree}/home")
        .prints("1000 1000 755\n"),
    Case::inside("user's home that is there", &["-u", "user"], "stat -c '%u %g %a' $HOME")
        .before("rm -rf {tree}/home; mkdir -p -m 0700 {tree}/home/user")
        .prints("0 0 700\n"),
    Case::inside("user's home in a tree that is not written to", &["--read-only", "-u", "user"], "test -e $HOME || exit 7")
        .before("rm -rf {tree}/home")
        .code(7)
        .prints("")
        .differs("a home that is not there is no reason not to start, as one that is not root's alone"),
    Case::inside("a user without a home", &["-u", "user"], "test -e /nonexistent || exit 7")
        .before("rm -rf {tree}/home; sed -i s,/home/user,/nonexistent, {tree}/etc/passwd")
        .code(7)
        .prints("")
        .differs("/nonexistent must not exist"),
    Case::inside("user by number", &["-u", "1000"], "id -u; id -g; echo $HOME $USER").prints("1000\n1000\n/home/user user\n").differs("$USER is a name"),
    Case::inside("user by a number that nobody has", &["-u", "12345"], "id -u; id -g; echo \"$HOME,$USER.\"")
        .prints("12345\n12345\n/,12345.\n").differs("a tree need not have a database of users"),
    Case::refused("user that is not there", &["-u", "nosuchuser"]),
    Case::inside("user's capabilities", &["-u", "user"], "grep Cap /proc/self/status").differs_since(257, "what a user can inherit, a file's capabilities could give to it"),
    Case::inside("user's groups", &["-u", "user"], "id -G").before("echo extra:x:50:user >>{tree}/etc/group"),
    Case::inside("user as process 2", &["-a", "-u", "user"], "id -u; stat -c %u /proc/1")
        .prints("1000\n0\n").differs("the user has no hold on process 1"),
    Case::inside("root's home", &[], "echo $HOME $USER $LOGNAME; pwd"),
    Case::inside("standard descriptors", &["--pipe"], "ls /proc/self/fd | wc -l"),
    Case::inside("no descriptors of ours", &["-P"], "exec 3</dev/null; ls /proc/self/fd | wc -l"),
    Case::inside("signals are as they were", &["-P"], "grep -e SigBlk -e SigIgn /proc/self/status"),
    Case::inside("session", &["-P"], "read -r a b c d e f g </proc/self/stat; echo $e $f"),
    Case::inside("umask", &[], "umask").prints("0022\n"),
    Case::inside("no new privileges off", &["--no-new-privileges=no"], "grep NoNewPrivs /proc/self/status"),
    Case::inside("nice value", &[], "nice").prints("0\n"),
    Case::inside("kill signal of a command", &["--kill-signal=SIGUSR1"], STOPPED)
        .before(stop!("")).code(3).prints("stopped\n"),
    Case::inside("the last kill signal counts", &["--kill-signal=TERM", "--kill-signal=10"], STOPPED)
        .before(stop!("")).code(3).prints("stopped\n"),
    Case::inside("notify socket", &["--notify-ready=yes"], "echo $NOTIFY_SOCKET; stat -c %F $NOTIFY_SOCKET"),
    Case::inside("ready when it says so", &["--notify-ready=yes"], READY)
        .before(hear!("")).environment(MANAGER).after(HEARD).prints(SAID).leaves("1\n"),
    Case::inside("not ready when it says nothing", &["--notify-ready=yes"], "echo up")
        .before(hear!("")).environment(MANAGER).after(HEARD).prints("up\n").leaves("0\n"),
    Case::inside("ready when it is started", &["--notify-ready=yes", "--notify-ready=no"], "echo up")
        .before(hear!("")).environment(MANAGER).after(HEARD).prints("up\n").leaves("1\n"),
    Case::inside("code 255", &[], "exit 255").code(255),
    Case::inside("code 133 is not a reboot", &[], "exit 133").code(133).prints("").differs("it is a code like any other"),
    Case::inside("killed by itself", &["-a"], "kill -9 $$; sleep 1").code(137).prints("").differs("128 and the signal's number, as a shell says it"),
    Case::inside("an empty argument", &[], "").runs(&["/bin/sh", "-c", "echo $#", "", ""]).prints("1\n"),
    Case::inside("an argument with a newline", &[], "").runs(&["/bin/sh", "-c", "printf %s \"$0\"", "a\nb"]).prints("a\nb").differs_since(257, "the output is shown as it is, without a line's end of ours"),
    Case::inside("words that look like options", &[], "").runs(&["echo", "-D", "--boot"]).prints("-D --boot\n"),
    Case::inside("dashes before the words", &["--"], "").runs(&["echo", "x"]).prints("x\n"),
    Case::inside("a script without a shebang", &[], "").runs(&["/script"]).before("printf 'echo x' > {tree}/script; chmod 755 {tree}/script"),
    Case::inside("a file that is no program", &[], "").runs(&["/etc/passwd"]).code(1).prints("").differs("the error is told by redd, not on the container's console"),
    Case::inside("path of the environment", &["--setenv=PATH=/nowhere"], "").runs(&["/bin/echo", "x"]).prints("x\n"),
    Case::inside("boot without an init", &["-b"], "").runs(&[]).code(1).prints("").differs("the error is told by redd, not on the container's console"),
    Case::inside("boot runs init", &["-b"], "").runs(&["one", "two"]).before("mkdir -p {tree}/sbin; printf '#!/bin/sh\necho pid $$ \"$@\" $container\n' > {tree}/usr/sbin/init; chmod 755 {tree}/usr/sbin/init; test -e {tree}/sbin/init || ln {tree}/usr/sbin/init {tree}/sbin/init"),
    Case::inside("boot takes variables from words", &["-b"], "").runs(&["A=1", "b.c=2", "d-e=3"]).before("mkdir -p {tree}/sbin; printf '#!/bin/sh\necho \"$@\"; env | grep -e ^A= -e ^d | sort\n' > {tree}/usr/sbin/init; chmod 755 {tree}/usr/sbin/init; test -e {tree}/sbin/init || ln {tree}/usr/sbin/init {tree}/sbin/init").since(256),
    Case::inside("supplementary groups are gone", &[], "id -G").prints("0\n"),
    Case::inside("scheduler", &[], "cut -d' ' -f41 /proc/self/stat").prints("0\n"),
    Case::inside("oom score is the caller's", &[], "cat /proc/self/oom_score_adj"),
    Case::inside("seccomp is on", &[], "grep -e ^Seccomp: /proc/self/status").prints("Seccomp:\t2\n"),
    Case::inside("host name is the machine's", &[], "uname -n").prints("{name}\n"),
    Case::inside("limits", &[], "ulimit -a | grep -v -e pending -e 'max locked' -e 'max user'"),
    Case::inside("chdir home of a user", &["-u", "user", "--chdir=/home/user"], "pwd").prints("/home/user\n"),
    Case::refused("chdir where a user may not", &["-u", "user", "--chdir=/closed"]).before("mkdir -m 700 {tree}/closed"),
    Case::inside("pid of the shell is one", &["-u", "user"], "echo $$").prints("1\n"),
];
