//! The manual page, in the macros of man(7).

use crate::help::synopsis;
use crate::options::{Effect, Group, OptionRow, Trust, ValueKind};

/// The manual page of `redd-spawn`, for section 1.
#[must_use]
pub fn manual_page(version: &str) -> String {
    let mut page = format!(".TH REDD\\-SPAWN 1 \"\" \"redd {version}\" \"redd\"\n");
    page.push_str(HEAD);
    page.push_str(".SH OPTIONS\n");
    for group in Group::ALL {
        page.push_str(&format!(".SS {}\n", escape(group.title())));
        group.rows().iter().for_each(|row| describe(&mut page, row));
    }
    page.push_str(TAIL);
    page
}

fn describe(page: &mut String, row: &OptionRow) {
    let spellings = synopsis(row);
    let words: Vec<_> = spellings.split_whitespace().map(|word| format!("\\fB{}\\fR", option(word))).collect();
    page.push_str(&format!(".TP\n{}\n", words.join(", ")));
    page.push_str(&format!("{}. {}\n", escape(row.help), escape(row.details)));
    if let ValueKind::Words(words) = row.kind {
        page.push_str(&format!(".IP\nValues: {}.\n", escape(&words.join(", "))));
    }
    if row.lists {
        page.push_str(".IP\nThe value \\fBhelp\\fR prints all values.\n");
    }
    if let Some(setting) = row.setting {
        let who = match setting.trust {
            Trust::Trusted => " (trusted files only)",
            Trust::OnlyAway(_) => " (others than trusted files only to take access away)",
            Trust::Anyone | Trust::Beside(_) => "",
        };
        page.push_str(&format!(".IP\nIn settings files: [{}] {}={who}.\n", setting.section, escape(setting.key)));
    }
    if let Effect::Later(why) = row.effect {
        page.push_str(&format!(".IP\n\\fIRefused by this version\\fR: {}.\n", escape(why)));
    }
}

/// The spelling of an option in bold, its value in italics.
fn option(word: &str) -> String {
    match word.split_once('=') {
        Some((name, value)) => {
            let bracket = if name.ends_with('[') { "]" } else { "" };
            format!("{}=\\fI{}\\fB{bracket}", escape(name), escape(value.strip_suffix(bracket).unwrap_or(value)))
        }
        None => escape(word),
    }
}

/// Takes a text as it is: roff reads backslashes, dashes, and dots and quotes at the start of a line.
fn escape(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq").replace('~', "\\(ti");
    let text = text.replace('^', "\\(ha");
    if text.starts_with('.') { format!("\\&{text}") } else { text }
}

const HEAD: &str = r".SH NAME
redd\-spawn \- run a command or boot an operating system in a lightweight container
.SH SYNOPSIS
.B redd\-spawn
[\fIOPTIONS\fR...] [\fICOMMAND\fR [\fIARGUMENTS\fR...]]
.br
.B redd\-spawn \-\-boot
[\fIOPTIONS\fR...] [\fIARGUMENTS\fR...]
.SH DESCRIPTION
Runs a program, or a whole operating system from its init system on, with a directory tree as its root directory and
with mounts, processes, host name, message queues and control groups of its own; on request with users and a network of
its own too. The options are those of
.BR systemd\-nspawn (1),
whose name the program may also be called by, and
.B redd spawn
which is the same.
.PP
Options end at the first word that is none, or at
.BR \-\- .
Long options may be shortened as long as they stay unique. A value that is required may follow after = or as the next
word; one that is not required follows after = alone. Options that this version does not carry out are refused by name.
.PP
Without
.B \-U
or another kind of
.BR \-\-private\-users= , root in the container is root of the host: the container then keeps its processes from accidents, but is no
boundary against a program that wants out.
";

const TAIL: &str = r".SH KEYS
On an interactive console, within one second:
.TP
.B Ctrl\-] Ctrl\-] Ctrl\-]
Kill the container.
.TP
.B Ctrl\-] Ctrl\-] r
Ask it to reboot.
.TP
.B Ctrl\-] Ctrl\-] p
Ask it to power off.
.SH SIGNALS
SIGTERM sends the signal of
.B \-\-kill\-signal=
to the first process; a second one, or a time\-out, kills the container.
.SH ENVIRONMENT
.TP
.B SYSTEMD_NSPAWN_API_VFS_WRITABLE
.IR yes :
/sys and /proc/sys can be written inside.
.IR network :
only what belongs to the network.
.IR no ,
the default: neither.
.TP
.B SYSTEMD_NSPAWN_USE_CGNS
.IR no :
control groups are seen as the host has them.
.TP
.B SYSTEMD_NSPAWN_TMPFS_TMP
.IR no :
/tmp is the tree's own, not in memory.
.TP
.B SYSTEMD_NSPAWN_CHECK_OS_RELEASE
.IR no :
what has no os\-release file is booted, too.
.TP
.B SYSTEMD_NSPAWN_CONTAINER_SERVICE
What the payload finds in
.B $container
and /run/host/container\-manager, in place of systemd\-nspawn.
.TP
.B SYSTEMD_SUPPRESS_SYNC
As
.BR \-\-suppress\-sync= .
.TP
.B CREDENTIALS_DIRECTORY
Where the credentials are that
.B \-\-load\-credential=
knows by name.
.TP
.B NOTIFY_SOCKET
Where the service manager is told that the container is ready, see
.BR sd_notify (3).
.TP
.B NO_COLOR
Nothing is shown in colours.
.SH EXIT STATUS
That of the program; 128 and the number of the signal that killed it; 1 where the container could not be run, 2 where
the command line was wrong.
.SH EXAMPLES
.TP
.B redd\-spawn \-xUD /srv/debian
A shell in a copy of the tree that is gone afterwards, with users of its own.
.TP
.B redd\-spawn \-bD /srv/debian
Boots the tree.
.TP
.B redd\-spawn \-qPD /srv/debian tar \-c /etc >etc.tar
A program between the pipes of a shell.
.SH SEE ALSO
.BR systemd\-nspawn (1),
.BR systemd.nspawn (5),
.BR machinectl (1),
.BR capabilities (7),
.BR namespaces (7)
";
