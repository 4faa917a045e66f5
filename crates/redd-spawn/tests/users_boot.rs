//! A whole system with users of its own, in every way in which its files get them.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use testkit::{HostState, Spawn, Terminal, fixture, requires};

const REDD: &str = env!("CARGO_BIN_EXE_redd-spawn");
const LIMIT: Duration = Duration::from_secs(120);
const FOREIGN: u32 = 0x7ffe_0000;
const OTHER: u32 = 0x000e_0000;

/// Options, the first id of the tree's files before, and whether they have another one afterwards.
const MODES: [(&[&str], u32, bool); 15] = [
    (&["-U"], 0, false),
    (&["-U", "--private-network"], 0, false),
    (&["--private-users=pick", "--private-users-ownership=map"], 0, false),
    (&["-U", "--volatile=yes"], 0, false),
    (&["-U", "--volatile=state"], 0, false),
    (&["-U", "--volatile=overlay"], 0, false),
    (&["-U", "--read-only"], 0, false),
    (&["-U", "-x"], 0, false),
    (&["--private-users=pick", "--private-users-ownership=foreign"], FOREIGN, false),
    (&["-U", "-x"], FOREIGN, false),
    (&["-U", "--volatile=overlay"], FOREIGN, false),
    (&["--private-users=yes"], OTHER, false),
    (&["-x", "--private-users=yes"], OTHER, false),
    (&["-x", "--private-users=pick", "--private-users-ownership=chown"], OTHER, false),
    (&["--private-users=pick", "--private-users-ownership=chown"], FOREIGN, true),
];

fn owner(tree: &Path) -> u32 {
    tree.metadata().expect("the tree").uid()
}

/// Has redd give the tree to other ids.
fn give(tree: &Path, base: u32) {
    if owner(tree) != base {
        let range = format!("--private-users={base}");
        Spawn::redd(REDD, tree).args([&range, "--private-users-ownership=chown", "/bin/true"]).run().expect_code(0);
    }
    assert_eq!(owner(tree), base);
}

#[test]
#[ignore = "boots fifteen times: for the acceptance"]
#[allow(clippy::print_stdout, reason = "the acceptance shows what was seen")]
fn debian_boots_in_every_way() {
    requires!(root, cgroup2, userns, idmap);
    let Some(debian) = fixture::debian_tree() else { return };
    let place = fixture::empty();
    let tree = place.join(&format!("users{}", std::process::id()));
    fixture::copy(&debian, &tree);
    for (options, base, changes) in MODES {
        give(&tree, base);
        let before = HostState::capture(&tree, &[]);
        let mut command = Command::new(REDD);
        command.args(["-q", "-bD"]).arg(&tree).args(options).env("TERM", "dumb");
        let mut terminal = Terminal::start(&mut command);
        let (read_only, fresh) = (options.contains(&"--read-only"), options.contains(&"--volatile=yes"));
        if fresh {
            // With an empty /etc it asks who it is to be.
            terminal.expect("configure ", LIMIT);
            // Three times ^] ends it.
            terminal.write("\x1d\x1d\x1d");
            terminal.wait(LIMIT);
        } else {
            terminal.expect("login: ", LIMIT);
            terminal.write_line("root");
            terminal.expect("# ", LIMIT);
            terminal.write_line(
                "echo is $(systemctl is-system-running --wait) failed: \
                 $(systemctl --failed --plain --no-legend) strangers: \
                 $(find / \\( -path /proc -o -path /sys \\) -prune -o \\( -uid 65534 -o -gid 65534 \\) -print) e\"\"nd",
            );
            let answer = terminal.expect(" end", LIMIT);
            let state = if read_only { "is " } else { "is running failed: strangers: end" };
            let words = answer.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(words.contains(state) && words.contains("strangers: end"), "{options:?} on {base}: {words}");
            terminal.write_line("systemctl poweroff");
            assert_eq!(terminal.wait(LIMIT).code(), Some(0), "{options:?} on {base}: {}", terminal.transcript());
        }
        before.assert_same();
        let after = owner(&tree);
        assert_eq!(after != base, changes, "{options:?}: {after}");
        println!(
            "{options:?} on {base}: login{}",
            if fresh { " or its first question" } else { ", power-off, exit code 0" }
        );
    }
}
