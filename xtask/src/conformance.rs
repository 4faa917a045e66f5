//! `cargo xtask conformance`: the conformance cases beside other versions of systemd-nspawn than the installed one. A Debian
//! that has such a version is installed and booted as a host of its own, with systemd, and the cases run inside.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::workspace::{cargo, run, say, target_directory};

/// What the cases use of such a host, beyond what boots.
const PACKAGES: &str = "systemd-container,iproute2,procps,e2fsprogs,btrfs-progs,squashfs-tools,erofs-utils,fdisk,\
    xfsprogs,dosfstools,systemd-journal-remote,systemd-resolved,dbus-bin,libnss-systemd";

/// The tests of `crates/redd-spawn/tests` that compare with the original.
const TESTS: [&str; 2] = ["conformance", "conformance_command_line"];

/// A container that runs containers: it may do nearly all that a host may, except to reach the real one's network.
const OPTIONS: [&str; 13] = [
    "-qbx",
    "--capability=all",
    "--private-network",
    "--console=read-only",
    "--system-call-filter=bpf @mount @keyring @raw-io @module @reboot @swap @clock @obsolete @cpu-emulation",
    "--property=DeviceAllow=block-* rwm",
    // For cases that allow a device.
    "--property=DeviceAllow=char-mem rwm",
    // Trees and temporary directories lie on a real disk, where ids can be mapped and overlays have an upper layer, as they
    // cannot on the overlay that the host's root is.
    "--bind=:/var/tmp",
    "--bind=/dev/loop-control",
    "--bind=/dev/fuse",
    "--bind=/dev/net/tun",
    "--private-users=no",
    "--register=no",
];

const UNIT: &str = "[Unit]\nAfter=dbus.service\n[Service]\nType=oneshot\nTimeoutStartSec=infinity\n\
    ExecStart=/bin/bash /conformance/script\n";

/// A proc and a sysfs without anything on top, as every host has: without them the kernel lets no user namespace mount others.
const WHOLE: &str = "mkdir -p /tmp/proc /tmp/sys && mount -t proc proc /tmp/proc && mount -t sysfs sysfs /tmp/sys";

/// Disk images. The original asks udev and opens the nodes of partitions at once, so that they have to be there when the
/// kernel has made the partitions: in its own file system of devices. That is the real host's, where nothing is to change:
/// udev has no rules, and sees nodes in the container's /dev, and partitions through links, to which it does nothing.
const DEVICES: &str = "\
mkdir -p /run/devices /run/udev /run/no-rules
mount -t devtmpfs devtmpfs /run/devices && mount -o remount,bind,ro /run/devices
for i in $(seq 0 255); do
    mknod -m 600 /dev/loop$i b 7 $i
    for p in 1 2 3 4 5 6 7 8 9; do echo loop${i}p$p; done
done | while read -r name; do ln -s /run/devices/$name /dev/$name; done
for rules in /usr/lib/udev/rules.d /etc/udev/rules.d; do [ ! -d $rules ] || mount --bind /run/no-rules $rules; done
mount -o remount,rw /sys
/lib/systemd/systemd-udevd >/dev/null 2>&1 &
for i in $(seq 50); do [ -e /run/udev/control ] && break; sleep .1; done";

/// Which hosts.
#[derive(Debug, clap::Args)]
pub(crate) struct Conformance {
    /// Suites of Debian: bookworm has version 252, trixie 257, sid the newest
    #[arg(default_values = ["sid"])]
    suites: Vec<String>,
    /// Only cases of this group
    #[arg(long, default_value = "")]
    group: String,
}

impl Conformance {
    /// The oldest version that is compared with, and the newest.
    pub(crate) fn everything() -> Self {
        Self { suites: ["bookworm", "sid"].map(str::to_owned).into(), group: String::new() }
    }
}

/// Boots each host and runs the cases in it.
pub(crate) fn compare(wanted: &Conformance) -> Result<()> {
    let build = target_directory()?.join("debug");
    cargo(&["build", "--workspace", "--bins", "--locked"])?;
    let tests = TESTS.iter().map(|name| executable(name)).collect::<Result<Vec<_>>>()?;
    let mut failed = Vec::new();
    for suite in &wanted.suites {
        let host = install(&build, suite)?;
        let (log, well) = boot(&build, &host, &script(&build, &tests, &wanted.group))?;
        say(&log);
        if !well {
            failed.push(suite.as_str());
        }
    }
    if failed.is_empty() { Ok(()) } else { bail!("redd and systemd-nspawn differ in {}", failed.join(", ")) }
}

/// Builds a test and says where it is.
fn executable(name: &str) -> Result<PathBuf> {
    let mut command = Command::new(env!("CARGO"));
    command.args(["test", "--locked", "--no-run", "--message-format=json", "-p", "redd-spawn", "--test", name]);
    let output = command.current_dir(crate::workspace::root()).stderr(Stdio::inherit()).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let messages = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let built = messages.filter(|message| message["target"]["name"] == *name);
    let path = built.filter_map(|message| message["executable"].as_str().map(PathBuf::from)).next_back();
    path.with_context(|| format!("cargo has not built the test {name}"))
}

/// The host's tree, kept in the build directory.
fn install(build: &Path, suite: &str) -> Result<PathBuf> {
    let tree = build.join(format!("conformance-{suite}"));
    let made_with = build.join(format!("conformance-{suite}.packages"));
    if tree.exists() {
        if fs::read_to_string(&made_with).is_ok_and(|packages| packages == PACKAGES) {
            return Ok(tree);
        }
        fs::remove_dir_all(&tree)?;
    }
    let stage = build.join(format!("conformance-{suite}.part"));
    if stage.exists() {
        fs::remove_dir_all(&stage)?;
    }
    let mut command = Command::new(build.join("redd"));
    command.args(["bootstrap", "debian", "--quiet", "--accept-expired", "--suite", suite, "--include", PACKAGES]);
    run(command.arg(&stage))?;
    fs::rename(&stage, &tree)?;
    fs::write(made_with, PACKAGES)?;
    Ok(tree)
}

/// What runs as a service of the host. Programs run from where they were built.
fn script(build: &Path, tests: &[PathBuf], group: &str) -> String {
    let mut script = format!(
        "exec >/conformance/log 2>&1\n{WHOLE}\n{DEVICES}\nexport REDD_REQUIRED=1 REDD_SPAWN={}\nsystemd-nspawn --version | head -n 1\ncode=0\n",
        build.join("redd-spawn").display()
    );
    for test in tests {
        script += &format!("{} {group} || code=1\n", test.display());
    }
    script + "echo code $code\nsystemctl poweroff\n"
}

/// Boots the host for one script; what that has written, and whether it ended well.
fn boot(build: &Path, host: &Path, script: &str) -> Result<(String, bool)> {
    let directory = tempfile::tempdir_in("/var/tmp")?;
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text);
    write("script", script)?;
    write("unit", UNIT)?;
    write("log", "")?;
    // Trees are on a real disk: the host's root is an overlay, which cannot map ids.
    let scratch = directory.path().join("scratch");
    fs::create_dir(&scratch)?;
    let bind = |from: &Path, to: &str| format!("--bind={}:{to}", from.display());
    let mut command = Command::new(build.join("redd-spawn"));
    command.args(OPTIONS).arg("-D").arg(host).arg(format!("--machine=conformance-{}", std::process::id()));
    command.arg(bind(&scratch, "/var/tmp"));
    command.arg(bind(directory.path(), "/conformance")).arg(bind(build, &build.to_string_lossy()));
    command.arg(bind(&directory.path().join("unit"), "/etc/systemd/system/conformance.service"));
    command.arg("systemd.wants=conformance.service").stdin(Stdio::null()).stdout(Stdio::null());
    run(&mut command)?;
    let log = fs::read_to_string(directory.path().join("log"))?;
    let well = log.lines().last() == Some("code 0");
    Ok((log, well))
}
