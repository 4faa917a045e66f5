//! A host that systemd manages with redd in place of systemd-nspawn and systemd-machined.

use std::process::Command;
use std::time::{Duration, Instant};

use testkit::{Ended, ManagedHost, Terminal, fixture};

use crate::{REDD, background};

const ENVIRONMENT: &str =
    "export PATH=/usr/bin:/usr/sbin:/bin:/sbin:/usr/local/bin SYSTEMD_PAGER=cat SYSTEMD_COLORS=0 LC_ALL=C.UTF-8";
const REPLACE: &str = include_str!("replace.sh");
/// How long anything may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A version of systemd, by the suite that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Old,
    New,
}

pub(crate) struct Replaced {
    pub(crate) host: ManagedHost,
    pub(crate) version: Version,
}

impl Replaced {
    /// Boots it, and puts redd there as it is installed with `--upstream-names`.
    pub(crate) fn boot(tree: &std::path::Path, version: Version) -> Self {
        let host = ManagedHost::boot(REDD, tree, tree);
        let mut install = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        install.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
        install.args(["xtask", "install", "--upstream-names", "--programs"]).arg(host.work().join("bin"));
        install.arg("--destdir").arg(host.work().join("dest"));
        let output = install.output().expect("cargo");
        assert!(output.status.success(), "{install:?}: {}", String::from_utf8_lossy(&output.stderr));
        let place = host.work().join("box");
        std::fs::create_dir(&place).expect("directory");
        fixture::copy(background::busybox().path(), &place);
        std::fs::write(host.work().join("replace.sh"), REPLACE).expect("script");
        host.run("sh /work/replace.sh").expect_code(0);
        Self { host, version }
    }

    /// Runs a command of the host's own; systemd's clients are found before those of redd.
    pub(crate) fn run(&self, command: &str) -> Ended {
        self.host.run(&format!("{ENVIRONMENT}\n{command}"))
    }

    /// Types a command on a terminal of the host's.
    pub(crate) fn typed(&self, command: &str) -> Terminal {
        let mut exec = Command::new(REDD);
        exec.args(["exec", "-t", self.host.name(), "--", "/bin/sh", "-c"]);
        Terminal::start(exec.arg(format!("{ENVIRONMENT} TERM=vt220\nexec {command}")))
    }

    /// The same for a user who is not root.
    pub(crate) fn run_as(&self, uid: u32, command: &str) -> Ended {
        self.run(&format!("setpriv --reuid={uid} --regid={uid} --clear-groups {command}"))
    }

    /// What another user types.
    pub(crate) fn typed_as(&self, uid: u32, command: &str) -> Terminal {
        self.typed(&format!("setpriv --reuid={uid} --regid={uid} --clear-groups {command}"))
    }

    /// It works, and says all of these; runs of blanks are one.
    #[track_caller]
    pub(crate) fn says(&self, command: &str, words: &[&str]) {
        let ended = self.run(command);
        assert_eq!(ended.code(), 0, "{command}: {ended}");
        self.has(command, &ended, words);
    }

    #[track_caller]
    fn has(&self, command: &str, ended: &Ended, words: &[&str]) {
        let said = format!("{}\n{}", ended.output, ended.errors);
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        for word in words {
            assert!(said.contains(word), "{:?}: {command} does not say {word:?}: {ended}", self.version);
        }
    }

    /// It is refused with this code, and says all of these.
    #[track_caller]
    pub(crate) fn refuses(&self, ended: Ended, code: i32, words: &[&str]) {
        assert_eq!(ended.code(), code, "{ended}");
        self.has("what was refused", &ended, words);
    }

    /// Waits until it works.
    #[track_caller]
    pub(crate) fn until(&self, command: &str) {
        let end = Instant::now() + LIMIT;
        loop {
            let ended = self.run(command);
            if ended.code() == 0 {
                return;
            }
            assert!(Instant::now() < end, "{command} does not come true: {ended}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits until the Debian inside has come up.
    #[track_caller]
    pub(crate) fn until_up(&self, name: &str) {
        self.until(&format!("systemctl -M {name} is-system-running | grep -qE 'running|degraded'"));
    }
}
