//! What a container sees in a small tree, mode by mode, against a capture of a whole mount table and all else under
//! systemd 262 (`data/view.txt`), owners and limits of file systems included. It needs no Debian, so it runs everywhere;
//! `view.rs` looks at a whole system, and at the installed reference.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use testkit::{Isolated, Spawn, fixture, requires};

const REDD: &str = env!("CARGO_BIN_EXE_redd-spawn");

const CAPTURED: &str = include_str!("data/view.txt");

/// Prints the facts, in sections.
const SCRIPT: &str = "
echo '## environment'; env
echo '## mounts'; findmnt -rn -o TARGET,SOURCE,FSTYPE,OPTIONS
echo '## dev'; LC_ALL=C ls -ln /dev
echo '## run'; find /run/host -printf '%M %U:%G %p\\n' 2>/dev/null
echo '## status'; grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status
echo '## oom'; cat /proc/self/oom_score_adj
echo '## cgroup'; cat /proc/self/cgroup
echo '## links'; ip -br link
echo '## uid_map'; cat /proc/self/uid_map
echo '## sysctl'; cat /proc/sys/net/ipv4/ping_group_range /proc/sys/net/ipv4/ip_unprivileged_port_start
echo '## masked'; stat -c '%A %n' /proc/kallsyms /proc/keys /proc/timer_list /proc/acpi /proc/bus /proc/fs /proc/irq \\
    /proc/sys /proc/sys/net /proc/sys/kernel /sys /sys/fs/selinux 2>/dev/null; exit 0
";

/// Differences that stay: the mode, `-` and the section and the line of the capture or `+` and ours, and the row in
/// docs/compatibility.md that explains them.
const DIFFERENCES: [(&str, &str, &str); 20] = [
    ("", "- mounts /run/host/incoming tmpfs[PROPAGATE] ", INCOMING),
    ("", "+ mounts /run/host/incoming tmpfs[/host/incoming] ", INCOMING),
    ("-U", "- mounts /run/host/unix-export tmpfs tmpfs mode=755,", OWNER_SHOWN),
    ("-U", "+ mounts /run/host/unix-export tmpfs tmpfs gid=BASE,mode=755,", OWNER_SHOWN),
    ("-U --private-network", "- mounts /sys/fs/selinux tmpfs[/fs/selinux] tmpfs mode=555,", OWNER_SHOWN),
    ("-U --private-network", "+ mounts /sys/fs/selinux tmpfs[/fs/selinux] tmpfs gid=BASE,mode=555,", OWNER_SHOWN),
    ("-U", "- run -r--r--r-- 65534:65534 /run/host/container-manager", OWNER),
    ("-U", "+ run -r--r--r-- 0:0 /run/host/container-manager", OWNER),
    ("-U", "- run -r--r--r-- 65534:65534 /run/host/container-uuid", OWNER),
    ("-U", "+ run -r--r--r-- 0:0 /run/host/container-uuid", OWNER),
    ("-U", "- run -rw-r--r-- 65534:65534 /run/host/os-release", OWNER),
    ("-U", "+ run -rw-r--r-- 0:0 /run/host/os-release", OWNER),
    ("-U", "- mounts /run/host/os-release DISK DISK nodev,", OWNER),
    ("-U", "+ mounts /run/host/os-release DISK DISK idmapped,", OWNER),
    ("-U", "- dev drwxrwxrwt 65534 65534 mqueue", QUEUES),
    ("-U", "+ dev drwxrwxrwt 0 0 mqueue", QUEUES),
    ("-U", "- run dr-xr-xr-x 65534:65534 /run/host/inaccessible", OWNER),
    ("-U", "+ run dr-xr-xr-x 0:0 /run/host/inaccessible", OWNER),
    ("-U", "- run drw------- 65534:65534 /run/host/incoming", OWNER),
    ("-U", "+ run drw------- 0:0 /run/host/incoming", OWNER),
];

const INCOMING: &str = "| `/run/host/incoming` |";
const OWNER_SHOWN: &str =
    "| owner of `/run/host/unix-export` and `/sys/fs/selinux` in the mount table with private users |";
const QUEUES: &str = "| owner of `/dev/mqueue` with private users |";
const OWNER: &str = "| owner of `/run/host/*` with private users |";

type View = BTreeMap<String, Vec<String>>;

/// Sections of sorted lines.
fn sections(text: &str) -> View {
    let mut view = View::new();
    let mut section = String::new();
    for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
        match line.strip_prefix("## ") {
            Some(name) => section = name.to_owned(),
            None => view.entry(section.clone()).or_default().push(line.to_owned()),
        }
    }
    view.values_mut().for_each(|lines| lines.sort());
    view
}

/// The capture of one mode.
fn captured(mode: &str) -> View {
    let part = CAPTURED.split("\n# ").find(|part| part.trim_start_matches("# ").lines().next() == Some(mode));
    let text = part.unwrap_or_else(|| panic!("no capture of {mode:?}"));
    sections(text.split_once('\n').expect("a capture has lines").1)
}

/// Takes away what differs from run to run and from machine to machine.
fn normalise(view: View, tree: &str) -> View {
    let map = view.get("uid_map").and_then(|lines| lines.first()).cloned().unwrap_or_default();
    let base: u64 = map.split_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
    let one = |section: &str, line: &str| match section {
        "environment" => environment(line),
        // The captured host had no zone.
        "mounts" if line.starts_with("/etc/localtime ") => None,
        "mounts" => Some(mount(line, base)),
        "dev" => device(line),
        "cgroup" => line.rsplit(':').next().map(str::to_owned),
        "uid_map" => Some(words(line).replace(&base.to_string(), if base == 0 { "0" } else { "BASE" })),
        "status" => Some(words(line)),
        _ => Some(words(line)),
    };
    let mut result: View = view
        .iter()
        .map(|(section, lines)| {
            let mut lines: Vec<String> = lines.iter().filter_map(|line| one(section, line)).collect();
            lines.iter_mut().for_each(|line| *line = line.replace(tree, "NAME"));
            lines.sort();
            (section.clone(), lines)
        })
        .collect();
    result.entry("cgroup".to_owned()).or_default().dedup();
    result
}

fn words(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn environment(line: &str) -> Option<String> {
    let (name, value) = line.split_once('=')?;
    match name {
        // The shell's own, and the host's names.
        "_" | "SHLVL" | "PWD" | "OLDPWD" => None,
        name if name.starts_with("container_host_") => None,
        "container_uuid" => Some("container_uuid=UUID".to_owned()),
        _ => Some(format!("{name}={value}")),
    }
}

fn mount(line: &str, base: u64) -> String {
    const OF_THE_MOUNT: [&str; 8] = ["rw", "ro", "nosuid", "nodev", "noexec", "relatime", "nosymfollow", "idmapped"];
    let fields: Vec<&str> = line.split(' ').collect();
    let [target, source, kind, options] = fields[..] else { return line.to_owned() };
    let disk = source.starts_with("/dev/") || source == "overlay";
    let number = |option: &str| -> String {
        match option.split_once('=') {
            Some(("size", _)) => "size=SIZE".to_owned(),
            Some((name @ ("uid" | "gid"), value)) => match value.parse::<u64>().map(|id| id.wrapping_sub(base)) {
                Ok(0) if base > 0 => format!("{name}=BASE"),
                Ok(id) if base > 0 && id < 65536 => format!("{name}=BASE+{id}"),
                _ => option.to_owned(),
            },
            _ => option.to_owned(),
        }
    };
    let options = options.split(',').filter(|option| !disk || OF_THE_MOUNT.contains(option));
    let options: BTreeSet<String> = options.map(number).collect();
    let options: Vec<String> = options.into_iter().collect();
    let (source, kind) = if disk { ("DISK", "DISK") } else { (source, kind) };
    format!("{target} {source} {kind} {}", options.join(","))
}

fn device(line: &str) -> Option<String> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (first, last) = (fields.first()?, fields.last()?);
    match first.as_bytes()[0] {
        b'c' | b'b' => Some(format!(
            "{first} {} {} {}:{} {last}",
            fields[2],
            fields[3],
            fields[4].trim_end_matches(','),
            fields[5]
        )),
        _ if *first == "total" => None,
        _ => Some(format!("{first} {} {} {last}", fields[2], fields[3])),
    }
}

/// Capabilities that this machine has not cannot be seen here, and those that the captured one had not, not there.
fn comparable(lines: &[String]) -> Vec<String> {
    /// CAP_SYS_RESOURCE: missing where the capture was made, and in many places where tests run.
    const RESOURCE: u64 = 1 << 24;
    let own = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bounding = own.lines().find_map(|line| line.strip_prefix("CapBnd:")).map(str::trim).unwrap_or_default();
    let bounding = u64::from_str_radix(bounding, 16).unwrap_or(u64::MAX);
    let mask = |line: &String| match line.split_once(": ") {
        Some((name, value)) if name.starts_with("Cap") => {
            let value = u64::from_str_radix(value, 16).unwrap_or(0) & bounding & !RESOURCE;
            format!("{name}: {value:016x}")
        }
        _ => line.clone(),
    };
    lines.iter().map(mask).collect()
}

fn difference(mode: &str, wanted: &View, found: &View) -> String {
    let mut text = String::new();
    for (section, wanted) in wanted {
        let wanted = comparable(wanted);
        let found = comparable(found.get(section).map_or(&[][..], Vec::as_slice));
        let mut missing = wanted.clone();
        let mut extra = Vec::new();
        for line in found {
            match missing.iter().position(|other| *other == line) {
                Some(at) => drop(missing.remove(at)),
                None => extra.push(line),
            }
        }
        let lines = missing.iter().map(|line| ('-', line)).chain(extra.iter().map(|line| ('+', line)));
        for (sign, line) in lines {
            let known = DIFFERENCES.iter().any(|(when, known, _)| {
                (when.is_empty() || mode.contains(when)) && format!("{sign} {section} {line}").starts_with(known)
            });
            if !known {
                writeln!(text, "{mode:30} {sign} {section} {line}").expect("text");
            }
        }
    }
    text
}

#[test]
fn a_container_sees_what_it_sees_under_systemd_262() {
    requires!(root, cgroup2, userns, idmap, program "findmnt", program "ip", program "find");
    let _isolated = Isolated::enter();
    let mut text = String::new();
    let modes = ["", "-U", "--private-network", "-U --private-network", "--volatile=yes", "--private-users=identity"];
    for mode in modes {
        let tree = fixture::tree();
        let ended = Spawn::redd(REDD, tree.path())
            .env("TERM", "dumb")
            .arg("--pipe")
            .args(mode.split_whitespace())
            .script(SCRIPT)
            .run()
            .expect_code(0);
        let found = normalise(sections(&ended.output), &tree.name());
        text += &difference(mode, &captured(mode), &found);
    }
    assert!(text.is_empty(), "{text}");
}

#[test]
fn every_difference_is_explained_and_still_there() {
    let explained = include_str!("../../../docs/compatibility.md");
    for (mode, line, row) in DIFFERENCES {
        assert!(explained.contains(row), "{row}");
        if let Some(line) = line.strip_prefix("- ") {
            let (section, line) = line.split_once(' ').expect("section and line");
            let captured = captured(mode);
            assert!(captured[section].iter().any(|other| other.starts_with(line)), "{mode}: {line}");
        }
    }
}
