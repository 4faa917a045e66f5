//! The option table: every switch of systemd-nspawn(1), one row each. Parser and help are made from it.

/// What follows a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    /// Nothing.
    None,
    /// A value, in the same word or the next one.
    Required(&'static str),
    /// A value in the same word, after `=`.
    Optional(&'static str),
}

/// One switch.
#[derive(Clone, Copy, Debug)]
pub struct OptionRow {
    /// The long spelling, without dashes; empty where there is only a short one.
    pub long: &'static str,
    /// The short spelling.
    pub short: Option<char>,
    /// What follows it.
    pub argument: Argument,
    /// Its group in the help text.
    pub group: &'static str,
    /// What it does, in one line.
    pub help: &'static str,
    /// Whether this version carries it out. The others are refused by name.
    pub carried_out: bool,
}

const fn row(
    long: &'static str,
    short: Option<char>,
    argument: Argument,
    group: &'static str,
    help: &'static str,
) -> OptionRow {
    OptionRow { long, short, argument, group, help, carried_out: true }
}

const fn later(long: &'static str, short: Option<char>, argument: Argument, group: &'static str) -> OptionRow {
    OptionRow { long, short, argument, group, help: "Not carried out by this version", carried_out: false }
}

use Argument::{None as Bare, Optional as Opt, Required as Req};

/// All rows, by group.
pub const OPTIONS: &[OptionRow] = &[
    row("quiet", Some('q'), Bare, "run", "Say nothing about the run itself"),
    row("settings", None, Req("MODE"), "run", "Read settings files (only \"no\" yet)"),
    row("cleanup", None, Bare, "run", "Remove what runs that died have left, and start nothing"),
    row("dry-run", None, Opt("text|json"), "run", "Show what would happen, change nothing"),
    later("system", None, Bare, "run"),
    later("user", None, Opt("NAME"), "run"),
    row("no-pager", None, Bare, "run", "Use no pager; there is none here"),
    row("no-ask-password", None, Bare, "run", "Ask for no password; nothing asks for one"),
    row("help", Some('h'), Bare, "run", "Show this text"),
    row("version", None, Bare, "run", "Show the version"),
    row("directory", Some('D'), Req("PATH"), "image", "The tree to use as root directory"),
    row("template", None, Req("PATH"), "image", "Make the tree from this one if it does not exist"),
    row("ephemeral", Some('x'), Bare, "image", "Run a copy that is removed at the end"),
    later("image", Some('i'), Req("PATH"), "image"),
    later("image-policy", None, Req("POLICY"), "image"),
    later("mstack", None, Req("PATH"), "image"),
    later("oci-bundle", None, Req("PATH"), "image"),
    row("read-only", None, Bare, "image", "Nothing in the tree can be changed"),
    row("volatile", None, Opt("MODE"), "image", "Keep changes in memory: yes, state, overlay or no"),
    later("root-hash", None, Req("HEX"), "image"),
    later("root-hash-sig", None, Req("SIGNATURE"), "image"),
    later("verity-data", None, Req("PATH"), "image"),
    row("pivot-root", None, Req("NEW[:OLD]"), "image", "Make a directory of the tree the root"),
    row("as-pid2", Some('a'), Bare, "exec", "Run the program as process 2, below a stub"),
    row("boot", Some('b'), Bare, "exec", "Look for an init system and run it"),
    row("chdir", None, Req("PATH"), "exec", "Start the program in this directory"),
    row("setenv", Some('E'), Req("NAME[=VALUE]"), "exec", "Set an environment variable"),
    row("uid", Some('u'), Req("USER"), "exec", "Run the program as this user of the container"),
    row("kill-signal", None, Req("SIGNAL"), "exec", "What asks the first process to end"),
    later("notify-ready", None, Req("BOOL"), "exec"),
    later("suppress-sync", None, Req("BOOL"), "exec"),
    row("machine", Some('M'), Req("NAME"), "identity", "The machine's name"),
    row("hostname", None, Req("NAME"), "identity", "The host name inside"),
    row("uuid", None, Req("UUID"), "identity", "The machine's id"),
    later("slice", Some('S'), Req("SLICE"), "property"),
    later("property", None, Req("NAME=VALUE"), "property"),
    row("register", None, Req("BOOL|auto"), "property", "Register the machine (only \"no\" and \"auto\" yet)"),
    row("keep-unit", None, Bare, "property", "Stay in the caller's unit"),
    row("private-users", None, Opt("no|identity|pick|UID[:COUNT]"), "users", "Users and groups of its own"),
    row("private-users-ownership", None, Req("off|map|auto"), "users", "How the tree's files get their owners"),
    later("private-users-delegate", None, Req("N"), "users"),
    row("", Some('U'), Bare, "users", "As --private-users=pick"),
    row("private-network", None, Bare, "network", "A network of its own, with nothing in it"),
    later("network-interface", None, Req("HOST[:CONTAINER]"), "network"),
    later("network-macvlan", None, Req("HOST[:CONTAINER]"), "network"),
    later("network-ipvlan", None, Req("HOST[:CONTAINER]"), "network"),
    later("network-veth", Some('n'), Bare, "network"),
    later("network-veth-extra", None, Req("HOST[:CONTAINER]"), "network"),
    later("network-bridge", None, Req("BRIDGE"), "network"),
    later("network-zone", None, Req("NAME"), "network"),
    later("network-namespace-path", None, Req("PATH"), "network"),
    later("port", Some('p'), Req("[PROTOCOL:]HOST[:CONTAINER]"), "network"),
    row("capability", None, Req("CAP,..."), "security", "Keep these capabilities too"),
    row("drop-capability", None, Req("CAP,..."), "security", "Do not keep these capabilities"),
    later("ambient-capability", None, Req("CAP,..."), "security"),
    row("no-new-privileges", None, Req("BOOL"), "security", "Nothing it executes gets more privileges"),
    row("system-call-filter", None, Req("[~]CALL..."), "security", "Allow or (~) refuse system calls"),
    later("restrict-address-families", None, Req("[~]FAMILY..."), "security"),
    later("selinux-context", Some('Z'), Req("LABEL"), "security"),
    later("selinux-apifs-context", Some('L'), Req("LABEL"), "security"),
    row("rlimit", None, Req("NAME=SOFT[:HARD]"), "resources", "Limit a resource"),
    row("oom-score-adjust", None, Req("N"), "resources", "Who goes first when memory runs out"),
    row("cpu-affinity", None, Req("LIST"), "resources", "The processors it may use"),
    row("personality", None, Req("x86|x86-64"), "resources", "The machine that uname tells"),
    row("resolv-conf", None, Req("MODE"), "integration", "How names resolve (only \"auto\" yet)"),
    row("timezone", None, Req("MODE"), "integration", "The time zone (only \"auto\" yet)"),
    row("link-journal", None, Req("MODE"), "integration", "The journal (only \"auto\" and \"no\" yet)"),
    later("", Some('j'), Bare, "integration"),
    later("forward-journal", None, Req("PATH"), "integration"),
    later("forward-journal-max-use", None, Req("BYTES"), "integration"),
    later("forward-journal-keep-free", None, Req("BYTES"), "integration"),
    later("forward-journal-max-file-size", None, Req("BYTES"), "integration"),
    later("forward-journal-max-files", None, Req("N"), "integration"),
    row("bind", None, Req("SRC[:DST[:OPTIONS]]"), "mounts", "Mount a path of the host inside"),
    row("bind-ro", None, Req("SRC[:DST[:OPTIONS]]"), "mounts", "The same, read-only"),
    later("bind-user", None, Req("NAME"), "mounts"),
    later("bind-user-shell", None, Req("BOOL|PATH"), "mounts"),
    later("bind-user-group", None, Req("NAME"), "mounts"),
    row("inaccessible", None, Req("PATH"), "mounts", "Hide a path inside"),
    row("tmpfs", None, Req("PATH[:OPTIONS]"), "mounts", "Mount an empty file system in memory"),
    later("overlay", None, Req("LOWER...:UPPER:DST"), "mounts"),
    later("overlay-ro", None, Req("LOWER...:DST"), "mounts"),
    row("console", None, Req("MODE"), "console", "interactive, read-only, passive, pipe or autopipe"),
    row("pipe", Some('P'), Bare, "console", "As --console=pipe"),
    later("background", None, Req("COLOR"), "console"),
    later("load-credential", None, Req("ID:PATH"), "credentials"),
    later("set-credential", None, Req("ID:VALUE"), "credentials"),
];

/// The help text: the options by group.
#[must_use]
pub fn help() -> String {
    let mut text = String::from(
        "redd-spawn [OPTIONS...] [COMMAND [ARGUMENTS...]]\n\nRuns a command or boots an operating system in a lightweight \
         container.\n",
    );
    let mut group = "";
    for row in OPTIONS {
        if row.group != group {
            group = row.group;
            text.push_str(&format!("\n{group}:\n"));
        }
        let short = row.short.map_or("   ".to_owned(), |short| format!("-{short} "));
        let long = match (row.long, row.argument) {
            ("", _) => String::new(),
            (name, Argument::None) => format!("--{name}"),
            (name, Argument::Required(value)) => format!("--{name}={value}"),
            (name, Argument::Optional(value)) => format!("--{name}[={value}]"),
        };
        text.push_str(&format!("  {short}{long:<46} {}\n", row.help));
    }
    text
}
