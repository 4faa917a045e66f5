//! The console. What a person sees on a terminal is compared in `console.rs` and `background.rs` beside this directory.

use super::case::Case;

/// Keeps version 262 from warning of it: a message where the standard streams are no terminal makes it take the payload's
/// own for none, too.
const NO_MESSAGE: &str = "--restrict-address-families=";
/// What the payload is told of its terminal.
const TERMINAL: &str = "env | grep -e ^TERM= -e ^COLORTERM= -e ^NO_COLOR= | sort";
const ALL_THREE: &[(&str, &str)] = &[("TERM", "screen"), ("COLORTERM", "truecolor"), ("NO_COLOR", "1")];
const THREE: &str = "COLORTERM=truecolor\nNO_COLOR=1\nTERM=screen\n";

pub(crate) const CASES: &[Case] = &[
    Case::inside("a pipe is no terminal", &["--console=pipe"], "test -t 0 || echo none").prints("none\n"),
    Case::inside("a pipe, short", &["-P"], "test -t 1 || echo none").prints("none\n"),
    Case::inside("a pipe, long", &["--pipe"], "test -t 2 || echo none").prints("none\n"),
    Case::inside("a pipe has no console", &["--pipe"], "ls /dev/console 2>/dev/null || echo none").prints("none\n"),
    Case::inside("a pipe has a terminal multiplexer", &["--pipe"], "readlink /dev/ptmx; stat -c '%F %a' /dev/pts/ptmx"),
    Case::inside("a pipe's carriage returns", &["--pipe"], "printf 'a\\nb\\n'").prints("a\nb\n"),
    Case::inside("a pipe, no controlling terminal", &["--pipe"], "(: </dev/tty) 2>/dev/null || echo none").prints("none\n"),
    Case::inside("a pipe, then interactive", &["--pipe", "--console=read-only"], "tty").prints("/dev/pts/0\n"),
    Case::inside("read-only, then a pipe", &["--console=read-only", "-P"], "tty").code(1).prints("not a tty\n"),
    Case::inside("autopipe without a terminal", &["--console=autopipe"], "test -t 0 || echo none").prints("none\n"),
    Case::inside("read-only terminal", &["--console=read-only"], "tty; test -t 0 && test -t 1 && test -t 2 && echo all").prints("/dev/pts/0\nall\n"),
    Case::inside("where nothing is said", &[], "tty").prints("/dev/pts/0\n"),
    Case::inside("passive", &["--console=passive"], "tty >/seen").own_tree().after("cat {tree}/seen").prints(""),
    Case::inside("passive shows nothing", &["--console=passive"], "echo hidden; test -t 1 && echo yes >/seen").own_tree().after("cat {tree}/seen").prints("").leaves("yes\n").differs("what is connected to nothing shows nothing"),
    Case::inside("passive has a console", &["--console=passive"], "test -e /dev/console && echo yes >/seen").own_tree().after("cat {tree}/seen").prints(""),
    Case::inside("passive, code", &["--console=passive"], "exit 9").code(9).prints(""),
    Case::inside("a controlling terminal", &[], "(: </dev/tty) && echo yes").prints("yes\n"),
    Case::inside("session leader", &[], "read -r a b c d e f g rest </proc/$$/stat; test $e = $f && echo leader"),
    Case::inside("TERM passes", &[], "echo $TERM").environment(&[("TERM", "xterm-256color")]).prints("xterm-256color\n")
        .differs_since(258, "its warning was no message on a terminal"),
    Case::inside("the terminal's words", &[NO_MESSAGE], TERMINAL).environment(ALL_THREE).since(261).prints(THREE),
    Case::inside("the terminal's words, passive", &[NO_MESSAGE, "--console=passive"], "env | grep -e ^TERM= -e ^COLORTERM= -e ^NO_COLOR= | sort >/seen")
        .environment(ALL_THREE).own_tree().after("cat {tree}/seen").since(261).prints(""),
    Case::inside("the terminal's words, read-only", &[NO_MESSAGE, "--console=read-only"], TERMINAL).environment(ALL_THREE).since(261).prints(THREE),
    Case::inside("the terminal's words, autopipe", &[NO_MESSAGE, "--console=autopipe"], TERMINAL).environment(ALL_THREE).since(261).prints("TERM=dumb\n"),
    Case::inside("a pipe is told to be dumb", &[NO_MESSAGE, "-P"], TERMINAL).environment(ALL_THREE).since(261).prints("TERM=dumb\n"),
    Case::inside("a dumb terminal", &[NO_MESSAGE], TERMINAL).environment(&[("TERM", "dumb"), ("COLORTERM", "truecolor")]).since(261).prints("TERM=dumb\n"),
    Case::inside("a terminal without a name", &[NO_MESSAGE], TERMINAL).environment(&[("TERM", ""), ("COLORTERM", "truecolor")]).since(261)
        .prints("COLORTERM=truecolor\nTERM=\n"),
    Case::inside("a name of the caller's own", &[NO_MESSAGE, "--setenv=TERM=foo", "-P"], TERMINAL).environment(ALL_THREE).since(261).prints("TERM=foo\n"),
    Case::inside("standard error of a terminal", &[], "echo err >&2").prints("err\n"),
    Case::inside("terminal's owner", &[], "stat -Lc '%u %g' /dev/pts/0"),
    Case::inside("terminal's owner with a user", &["-u", "user"], "stat -Lc '%u %g' /dev/pts/0; echo out >/dev/stderr"),
    Case::refused("no mode", &["--console=bogus"]),
    Case::refused("empty mode", &["--console="]),
    Case::refused("half a mode", &["--console=inter"]),
    // the background: nothing of it shows inside
    Case::inside("background", &["--background=41"], "echo up").since(256).prints("up\n"),
    Case::inside("background of 256 colours", &["--background=48;5;17"], "echo up").since(256).prints("up\n"),
    Case::inside("background of all colours", &["--background=48;2;1;2;3"], "echo up").since(256).prints("up\n"),
    Case::inside("no background", &["--background="], "echo up").since(256).prints("up\n"),
    Case::inside("a foreground for a background", &["--background=31"], "echo up").since(256).prints("up\n"),
    Case::refused("background by name", &["--background=red"]),
    Case::refused("background in hexadecimal", &["--background=#102030"]),
    Case::refused("background with colons", &["--background=48:2:1:2:3"]),
    Case::refused("background as a sequence", &["--background=41m"]),
    Case::refused("background, semicolon", &["--background=;"]),
    // last: it is killed, and what newer versions leave then would be in the way of the next
    Case::inside("interactive without input", &["--console=interactive"], "tty; cat")
        .prints("/dev/pts/0\n")
        .differs("an empty standard input ends"),
];
