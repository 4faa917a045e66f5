//! A host that systemd manages, where there is none: a Debian that is booted in a container which may do nearly all that a
//! host may, and stays up while a test runs commands in it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::fixture;
use crate::running::Running;
use crate::spawn::{Ended, run_limited};

/// What such a Debian has beyond what boots.
const PACKAGES: &str =
    "systemd-container,systemd-userdbd,dbus,dbus-bin,polkitd,libnss-mymachines,libnss-systemd,iproute2,procps";

/// A container that runs containers; it does not reach the real host's network.
const OPTIONS: [&str; 9] = [
    "-qbx",
    "--capability=all",
    "--private-network",
    "--console=read-only",
    "--system-call-filter=bpf @mount @keyring @raw-io @module @reboot @swap @clock @obsolete @cpu-emulation",
    "--private-users=no",
    "--bind=/dev/fuse",
    "--bind=/dev/net/tun",
    "--link-journal=no",
];

/// How long it may take to boot.
const BOOT: Duration = Duration::from_secs(180);
/// How long a command may take.
const LIMIT: Duration = Duration::from_secs(120);

/// A proc and a sysfs without anything on top, as every host has: without them the kernel lets no user namespace mount
/// others.
const WHOLE: &str = "mkdir -p /tmp/proc /tmp/sys && mount -t proc proc /tmp/proc && mount -t sysfs sysfs /tmp/sys";

/// The tree of such a host: a Debian of this suite, such as `bookworm` (systemd 252) or `sid` (the newest), with what
/// systemd has for containers. The variable `REDD_TEST_HOST_bookworm` names one; else redd itself installs it once, and it is
/// kept in the build directory. Start it with `--ephemeral`.
///
/// # Panics
/// Where `REDD_REQUIRED=1` is set and there is none.
pub fn tree(suite: &str) -> Option<PathBuf> {
    fixture::suite_tree(&format!("REDD_TEST_HOST_{suite}"), &format!("redd-test-host-{suite}"), suite, PACKAGES)
}

/// The host, while it is up. It is powered off with the value.
#[derive(Debug)]
pub struct ManagedHost {
    redd: PathBuf,
    running: Running,
    work: tempfile::TempDir,
}

impl ManagedHost {
    /// Boots it. `redd` is the program that was built: `env!("CARGO_BIN_EXE_redd")`; inside it is in `/work/bin`, also as
    /// `redd-spawn` and as `machinectl`. The directory `/work` is [`ManagedHost::work`], on a real disk; `/srv/tree` is `inner` for
    /// machines of the host's own, read-only.
    ///
    /// # Panics
    /// If it does not come up.
    #[track_caller]
    pub fn boot(redd: &str, tree: &Path, inner: &Path) -> Self {
        let work = tempfile::Builder::new().prefix("redd-test-host-").tempdir_in(fixture::place()).expect("directory");
        let programs = work.path().join("bin");
        fs::create_dir(&programs).expect("directory");
        fs::create_dir(work.path().join("machines")).expect("directory");
        fs::create_dir(work.path().join("tmp")).expect("directory");
        fs::copy(redd, programs.join("redd")).expect("copy");
        for name in ["redd-spawn", "machinectl"] {
            symlink("redd", programs.join(name)).expect("link");
        }
        let name = work.path().file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let name = name.replace('_', "-");
        let mut command = Command::new(redd);
        command.arg("spawn").args(OPTIONS).arg("-D").arg(tree).arg("-M").arg(&name);
        let bind = |from: &Path, to: &str| format!("--bind={}:{to}", from.display());
        command.arg(bind(work.path(), "/work")).arg(bind(&work.path().join("machines"), "/var/lib/machines"));
        command.arg(bind(&work.path().join("tmp"), "/var/tmp"));
        command.arg(format!("--bind-ro={}:/srv/tree", inner.display()));
        let running = Running::start(command, &name);
        let host = Self { redd: redd.into(), running, work };
        let up = "until systemctl is-system-running 2>/dev/null | grep -qE 'running|degraded'; do sleep 0.2; done";
        host.run_within(&format!("{up}\n{WHOLE}"), BOOT).expect_code(0);
        host
    }

    /// The directory that is `/work` inside.
    pub fn work(&self) -> &Path {
        self.work.path()
    }

    /// Its name among the machines of the real host.
    pub fn name(&self) -> &str {
        self.running.name()
    }

    /// Runs a shell script in it, as root.
    ///
    /// # Panics
    /// If `redd exec` cannot be started.
    pub fn run(&self, script: &str) -> Ended {
        self.run_within(script, LIMIT)
    }

    /// The same with another time limit.
    ///
    /// # Panics
    /// As [`ManagedHost::run`].
    pub fn run_within(&self, script: &str, limit: Duration) -> Ended {
        let mut command = Command::new(&self.redd);
        command.args(["exec", self.name(), "--", "/bin/sh", "-c"]).arg(script);
        run_limited(command, Vec::new(), limit)
    }

    /// Powers it off and waits for that.
    ///
    /// # Panics
    /// If it does not end, or not well.
    #[track_caller]
    pub fn power_off(self) {
        let Self { running, .. } = self;
        let status = running.stop();
        assert!(status.success(), "the host ended with {status}");
    }
}
