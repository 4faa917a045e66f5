//! Credentials.

use super::case::Case;

/// Shows the contents, byte for byte.
const BYTES: &str = "cd /run/host/credentials && for f in *; do echo \"$f:\" $(od -An -v -tx1 \"$f\"); done";
const NAMES: &str = "ls -A /run/host/credentials | cat";
const STAT: &str = "cd /run/host/credentials && stat -c '%n %a %u %g %s %F' . *";

const fn shows(name: &'static str, options: &'static [&'static str], text: &'static str) -> Case {
    Case::inside(name, options, BYTES).prints(text)
}

pub(crate) const CASES: &[Case] = &[
    shows("a value", &["--set-credential=a:x"], "a: 78\n"),
    shows("a value in the next word", &["--set-credential", "a:x"], "a: 78\n"),
    shows("an abbreviated option", &["--set-c=a:x"], "a: 78\n"),
    shows("an empty value", &["--set-credential=a:"], "a:\n"),
    shows("a value with a colon", &["--set-credential=a:x:y:"], "a: 78 3a 79 3a\n"),
    shows("a value with blanks", &["--set-credential=a: x "], "a: 20 78 20\n"),
    shows("a value with quotes", &["--set-credential=a:\"x\""], "a: 22 78 22\n"),
    shows("a value that is no ASCII", &["--set-credential=a:ä"], "a: c3 a4\n"),
    shows("two", &["--set-credential=a:x", "--set-credential=b:y"], "a: 78\nb: 79\n"),
    shows("simple escapes", &[r"--set-credential=a:\a\b\f\n\r\t\v\s"], "a: 07 08 0c 0a 0d 09 0b 20\n"),
    shows("escaped quotes", &[r#"--set-credential=a:\\\"\'"#], "a: 5c 22 27\n"),
    shows("hexadecimal escapes", &[r"--set-credential=a:\x41\x00\xfF"], "a: 41 00 ff\n"),
    shows("octal escapes", &[r"--set-credential=a:\101\000\377"], "a: 41 00 ff\n"),
    shows("escaped characters", &[r"--set-credential=a:\u00e4\U0001f600\u0000"], "a: c3 a4 f0 9f 98 80 00\n"),
    shows("half a surrogate pair", &[r"--set-credential=a:\ud800"], "a: ed a0 80\n").differs_since(257, "bytes are bytes, as in earlier versions"),
    Case::refused("an unknown escape", &[r"--set-credential=a:\q"]),
    Case::refused("a backslash at the end", &["--set-credential=a:x\\"]),
    Case::refused("a hexadecimal escape that is cut off", &[r"--set-credential=a:\x4"]),
    Case::refused("a hexadecimal escape with a sign", &[r"--set-credential=a:\x+4"]),
    Case::refused("an octal escape that is cut off", &[r"--set-credential=a:\0"]),
    Case::refused("an octal escape that is too large", &[r"--set-credential=a:\400"]),
    Case::refused("a character that is too large", &[r"--set-credential=a:\U00110000"]),
    Case::refused("a character that is cut off", &[r"--set-credential=a:\u12"]),
    Case::refused("no value", &["--set-credential=a"]),
    Case::refused("nothing", &["--set-credential="]),
    Case::refused("no name", &["--set-credential=:x"]),
    Case::refused("a name with a slash", &["--set-credential=a/b:x"]),
    Case::refused("a name that is a directory", &["--set-credential=..:x"]),
    Case::refused("a name that is the directory", &["--set-credential=.:x"]),
    Case::refused("a name that is no ASCII", &["--set-credential=ä:x"]),
    Case::refused("a name with a control character", &["--set-credential=a\tb:x"]),
    Case::inside("a hidden name", &["--set-credential=.a:x"], NAMES).prints(".a\n"),
    Case::inside("a name with a blank", &["--set-credential=a b:x"], NAMES).prints("a b\n"),
    Case::inside("a name with quotes", &["--set-credential='a':x"], NAMES).prints("'a'\n"),
    Case::inside("a name with a backslash", &[r"--set-credential=a\x41:x"], NAMES).prints("ax41\n"),
    Case::inside("a name as systemd has them", &["--set-credential=passwd.hashed-password.root:x"], NAMES)
        .prints("passwd.hashed-password.root\n"),
    Case::refused("the same name twice", &["--set-credential=a:1", "--set-credential=a:2"]),
    Case::refused("the same name set and loaded", &["--set-credential=a:1", "--load-credential=a:/dev/null"]),
    shows("a file", &["--load-credential=a:{host}/f"], "a: 78 0a 00\n").before("printf 'x\\n\\0' >f"),
    shows("an empty file", &["--load-credential=a:/dev/null"], "a:\n"),
    shows("a link to a file", &["--load-credential=a:{host}/l"], "a: 78\n").before("printf x >f; ln -s f l"),
    shows("a fifo", &["--load-credential=a:{host}/p"], "a: 78\n").before("mkfifo p; (printf x >p) >/dev/null 2>&1 &"),
    shows("a relative path", &["--load-credential=a:./f"], "a: 78\n").since(258).before("printf x >f"),
    Case::inside("a mebibyte", &["--load-credential=a:{host}/f"], "wc -c </run/host/credentials/a")
        .before("head -c 1048576 /dev/zero >f")
        .prints("1048576\n"),
    Case::refused("more than a mebibyte", &["--load-credential=a:{host}/f"])
        .before("head -c 1048577 /dev/zero >f")
        .differs("the manual's limit, which systemd inside has too"),
    Case::refused("a file that is not there", &["--load-credential=a:/nonexistent"]),
    Case::refused("a directory", &["--load-credential=a:/etc"]),
    Case::refused("loaded without a path", &["--load-credential=a"]),
    Case::refused("loaded without a name", &["--load-credential=:/dev/null"]),
    Case::refused("loaded from an empty path", &["--load-credential=a:"]),
    Case::refused("loaded from a name where none were passed", &["--load-credential=a:nonexistent"]),
    shows("one that was passed", &["--load-credential=a:b"], "a: 78\n")
        .before("printf x >b")
        .environment(&[("CREDENTIALS_DIRECTORY", "{host}")]),
    Case::refused("one that was not passed", &["--load-credential=a:c"])
        .before("printf x >b")
        .environment(&[("CREDENTIALS_DIRECTORY", "{host}")]),
    shows("a file beside those that were passed", &["--load-credential=a:/dev/null"], "a:\n")
        .environment(&[("CREDENTIALS_DIRECTORY", "{host}")]),
    Case::inside("those of the caller stay outside", &[], "echo \"$CREDENTIALS_DIRECTORY.\"; ls -d /run/host/cred* 2>/dev/null || echo none")
        .before("printf x >b")
        .environment(&[("CREDENTIALS_DIRECTORY", "{host}")]),
    Case::inside("owner and mode", &["--set-credential=a:x", "--set-credential=b:"], STAT),
    Case::inside("owner and mode with users", &["--set-credential=a:x", "--private-users=4194304:65536"], STAT),
    Case::inside("as process 2", &["-a", "--set-credential=a:x"], STAT),
    Case::inside("in a read-only root", &["--read-only", "--set-credential=a:x"], STAT),
    Case::inside("the mount", &["--set-credential=a:x"], "grep credentials /proc/self/mountinfo | head -1 | cut -d' ' -f4,5,6,8-"),
    Case::inside("nothing can be added", &["--set-credential=a:x"], "cd /run/host/credentials; for f in a b; do (echo x >$f) 2>/dev/null || echo no $f; done; rm -f a 2>/dev/null || echo stays")
        .prints("no a\nno b\nstays\n"),
    Case::inside("the variable", &["--set-credential=a:x"], "echo $CREDENTIALS_DIRECTORY").prints("/run/host/credentials\n"),
    Case::inside("the variable where it is set", &["--set-credential=a:x", "-E", "CREDENTIALS_DIRECTORY=/x"], "echo $CREDENTIALS_DIRECTORY")
        .prints("/x\n"),
    Case::inside("none", &[], "echo \"$CREDENTIALS_DIRECTORY.\"; ls -d /run/host/credentials 2>/dev/null || echo none").prints(".\nnone\n"),
    Case::inside("another user", &["-u", "user", "--set-credential=a:x"], "cat /run/host/credentials/a 2>/dev/null || echo no").prints("no\n"),
    Case::inside("another user without new privileges", &["-u", "user", "--no-new-privileges=yes", "--set-credential=a:x"], STAT).since(258),
    Case::inside("another user of its own without new privileges", &["-u", "user", "--private-users=4194304:65536", "--no-new-privileges=yes", "--set-credential=a:x"], STAT).since(258),
    Case::inside("another user as process 2", &["-a", "-u", "user", "--no-new-privileges=yes", "--set-credential=a:x"], "cat /run/host/credentials/a 2>/dev/null || echo no").prints("no\n"),
    Case::inside("root without new privileges", &["--no-new-privileges=yes", "--set-credential=a:x"], STAT),
    Case::inside("user root without new privileges", &["-u", "root", "--no-new-privileges=yes", "--set-credential=a:x"], STAT),
];
