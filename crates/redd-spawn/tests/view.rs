//! What a program sees in its container, beside the installed systemd-nspawn: environment, mounts, devices, `/run/host`,
//! capabilities, the console.
//!
//! `view/capture.sh` runs inside and prints it; what depends on the machine is replaced by words. `view_capture.rs` compares
//! with the newest version line by line.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use testkit::{Ended, Engine, Spawn, Terminal, fixture, requires};

const REDD: &str = env!("CARGO_BIN_EXE_redd-spawn");
const SCRIPT: &str = include_str!("view/capture.sh");
const LIMIT: Duration = Duration::from_secs(60);

const MODES: [&[&str]; 8] = [
    &[],
    &["-U"],
    &["--private-network"],
    &["-U", "--private-network"],
    &["--volatile=yes"],
    &["--volatile=state"],
    &["--volatile=overlay"],
    &["--private-users=identity"],
];

fn capture(engine: &Engine, tree: &Path, options: &[&str]) -> Ended {
    let mut spawn = Spawn::new(engine).args(["-q", "-P", "--register=no", "--keep-unit", "-M", "viewed"]);
    if matches!(engine, Engine::Redd(_)) && !options.iter().any(|option| option.starts_with("--volatile")) {
        spawn = spawn.arg("-x");
    }
    spawn.arg("-D").arg(tree).args(options).args(["/bin/bash", "-c", SCRIPT]).env("TERM", "dumb").limit(LIMIT).run()
}

/// The lines, each with its section, without what differs between machines and runs. `None` for lines that say nothing.
fn normalise(text: &str) -> Vec<String> {
    let mut section = "";
    let mut all = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("## ") {
            section = name;
            continue;
        }
        let line = match section {
            "environment" => environment(line),
            "mounts" => mount(line),
            "status" if line.starts_with("Cap") => None,
            "status" => Some(
                line.split_once(":\t")
                    .map_or(line, |(name, value)| if name == "Seccomp_filters" { name } else { value })
                    .to_owned(),
            ),
            "cgroup" => line.starts_with("0::").then(|| line.to_owned()),
            "links" => Some(line.to_owned()).filter(|name| name == "lo"),
            "uid_map" => Some(identifiers(line)),
            "names" if line.contains("localtime") => None,
            _ => Some(line.to_owned()),
        };
        all.extend(line.map(|line| format!("{section}: {line}")));
    }
    all.sort();
    all
}

fn environment(line: &str) -> Option<String> {
    match line.split_once('=')? {
        // What the host is, and what the shell adds.
        (name, _) if name.starts_with("container_host_") => None,
        ("_" | "OLDPWD" | "PWD" | "SHLVL", _) => None,
        ("container_uuid", _) => Some("container_uuid=UUID".into()),
        _ => Some(line.to_owned()),
    }
}

/// Target, what is mounted, type, and the options that every file system has.
fn mount(line: &str) -> Option<String> {
    let [target, source, kind, options] = line.split(' ').collect::<Vec<_>>().try_into().ok()?;
    if target == "/" {
        // A copy is an overlay, where the reference would copy every file.
        return None;
    }
    const KNOWN: [&str; 11] =
        ["rw", "ro", "nosuid", "nodev", "noexec", "relatime", "nosymfollow", "idmapped", "mode", "gid", "ptmxmode"];
    let options = options.split(',').filter_map(|option| {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        match name {
            "gid" if kind == "devpts" => Some("gid=TTY".to_owned()),
            "gid" => None,
            _ if !KNOWN.contains(&name) => None,
            _ => Some(if value.is_empty() { name.to_owned() } else { option.to_owned() }),
        }
    });
    let options = options.collect::<Vec<_>>().join(",");
    let disk = source.starts_with('/');
    Some(format!("{target} {} {} {options}", if disk { "DISK" } else { source }, if disk { "DISK" } else { kind }))
}

/// Ranges of ids are picked anew.
fn identifiers(line: &str) -> String {
    let words = line.split_whitespace();
    words.map(|word| if word.len() > 6 && word != "4294967295" { "BASE" } else { word }).collect::<Vec<_>>().join(" ")
}

/// Where older versions of systemd-nspawn differ from the newest one, and we from both; each with its reason in
/// docs/compatibility.md.
fn differs(line: &str) -> bool {
    const PARTS: [&str; 18] = [
        // Since 258, with users and a network of its own.
        "sysctl: ",
        // Masked or replaced since 256.
        "/proc/kallsyms",
        "/proc/keys",
        "/proc/timer_list",
        // Files of /run/host since 255, and their modes.
        "/run/host",
        "boot_id",
        "/proc/kmsg",
        // Since 254: fuse, and the mode of tun.
        "fuse",
        "net/tun",
        "10:229",
        // Older ones mount the host's own hierarchies.
        "/sys/fs/cgroup",
        // Since 256.
        "/sys/fs/selinux",
        "/dev/pts",
        "Seccomp_filters",
        // Names in /dev/char belong to the container's root with us.
        "char/",
        // So does the file system of message queues.
        "'mqueue'",
        // A copy in memory has no resolv.conf of before.
        "resolv.conf",
        // Nothing but the disk's own name.
        "DISK",
    ];
    PARTS.iter().any(|part| line.contains(part))
}

#[test]
fn the_installed_reference_shows_the_same() {
    requires!(root, cgroup2, idmap, program "systemd-nspawn");
    let Some(debian) = fixture::debian_tree() else { return };
    // The reference writes to the tree.
    let copy = fixture::empty();
    let tree = copy.join("viewed");
    fixture::copy(&debian, &tree);
    for options in MODES {
        let seen = |engine: &Engine| -> BTreeSet<String> {
            let ended = capture(engine, &tree, options);
            let lines: BTreeSet<_> = normalise(&ended.output).into_iter().filter(|line| !differs(line)).collect();
            assert!(lines.len() > 40, "{options:?}: too little to compare:\n{ended}");
            lines
        };
        let (ours, theirs) = (seen(&Engine::Redd(REDD.into())), seen(&Engine::Reference));
        let (more, less): (Vec<_>, Vec<_>) = (ours.difference(&theirs).collect(), theirs.difference(&ours).collect());
        assert!(more.is_empty() && less.is_empty(), "{options:?}: only ours: {more:#?}, only theirs: {less:#?}");
    }
}

#[test]
fn the_console_is_the_same_as_beside_it() {
    requires!(root, cgroup2, program "systemd-nspawn");
    let Some(debian) = fixture::debian_tree() else { return };
    let copy = fixture::empty();
    let tree = copy.join("viewed");
    fixture::copy(&debian, &tree);
    let script = "tty; stat -c '%A %u:%g %t:%T' /dev/console; stat -Lc %F /dev/stdin; findmnt -rn -o TARGET,FSTYPE /dev/console; \
                  ps -o tty= -p $$; stty size; echo E\"\"ND";
    let seen = |mut command: Command| {
        command.args(["-q", "--register=no", "--keep-unit", "-M", "shown", "--console=interactive", "-D"]).arg(&tree);
        let mut terminal = Terminal::start(command.args(["/bin/bash", "-c", script]).env("TERM", "dumb"));
        let text = terminal.expect("END", LIMIT);
        assert_eq!(terminal.wait(LIMIT).code(), Some(0), "{text}");
        // What the reference says of a race of its own with the hierarchies of old is no difference.
        let text = text.replace('\r', "");
        text.lines().filter(|line| !line.contains("to compat systemd cgroup")).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(seen(Command::new(REDD)), seen(Command::new("systemd-nspawn")));
}

#[test]
fn capabilities_are_those_that_were_asked_for() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    let bounding = |options: &[&str]| {
        let spawn = Spawn::redd(REDD, tree.path()).arg("-P").args(options);
        let ended = spawn
            .script("while read -r name value; do echo \"$name$value\"; done </proc/self/status")
            .limit(LIMIT)
            .run();
        let ended = ended.expect_code(0);
        let line = ended.output.lines().find_map(|line| line.strip_prefix("CapBnd:")).expect("a line").to_owned();
        u64::from_str_radix(&line, 16).expect("hexadecimal")
    };
    let (bind, admin, time) = (1 << 10, 1 << 12, 1 << 25);
    let plain = bounding(&[]);
    assert_eq!(plain & (bind | admin | time), bind);
    assert_eq!(bounding(&["--private-network"]), plain | admin);
    assert_eq!(bounding(&["--capability=CAP_NET_ADMIN"]), plain | admin);
    assert_eq!(bounding(&["--drop-capability=CAP_NET_BIND_SERVICE"]), plain & !bind);
    assert_eq!(bounding(&["--drop-capability=all"]), 0);
    // In the host's network it would mean nothing.
    assert_eq!(bounding(&["-U"]) & (bind | admin), 0);
    assert_eq!(bounding(&["-U", "--private-network"]) & (bind | admin), bind | admin);
}
