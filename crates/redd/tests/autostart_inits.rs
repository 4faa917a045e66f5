//! Hosts whose init is not systemd: the services that are shipped for them, installed as the documentation says, start the machine
//! that is enabled when the host boots, and power it off when the host is powered off.

#![allow(clippy::print_stdout, reason = "the acceptance shows the summary")]

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use testkit::{Ended, HostState, Running, fixture, requires, run_limited};

mod background;

const REDD: &str = env!("CARGO_BIN_EXE_redd");
const LIMIT: Duration = Duration::from_secs(120);

/// Containers that run containers.
const OPTIONS: [&str; 7] = [
    "-q",
    "--capability=all",
    "--private-network",
    "--console=read-only",
    "--system-call-filter=bpf @mount @keyring @raw-io @module @reboot @swap @clock @obsolete @cpu-emulation",
    "--private-users=no",
    "--link-journal=no",
];

/// A host with another init.
struct Init {
    name: &'static str,
    packages: &'static str,
    /// Its first process, unless that is found.
    program: &'static [&'static str],
    /// What the documentation says, or means.
    install: &'static str,
    /// Whether what is installed runs at once.
    supervises: bool,
}

const INITS: [Init; 4] = [
    Init {
        name: "sysvinit",
        packages: "sysvinit-core,sysv-rc,initscripts,procps",
        program: &["-b"],
        install: "cp /usr/local/share/redd/sysvinit/redd /etc/init.d/redd && update-rc.d redd defaults",
        supervises: false,
    },
    Init {
        name: "openrc",
        packages: "sysvinit-core,openrc,procps",
        program: &["-b"],
        install: "ln -s /usr/local/share/redd/openrc/redd /etc/init.d/redd && rc-update add redd",
        supervises: false,
    },
    Init {
        name: "runit",
        packages: "runit-init,procps",
        program: &["-b"],
        install: "ln -s /usr/local/share/redd/runit/redd /etc/service/",
        supervises: true,
    },
    Init {
        name: "s6",
        packages: "s6,procps",
        program: &["--", "/usr/bin/s6-svscan", "/srv/services"],
        install: "cp -r /usr/local/share/redd/s6/redd /srv/services/",
        supervises: true,
    },
];

/// The host, while it runs.
struct Host(Running);

impl Host {
    fn start(init: &Init, tree: &Path, work: &Path) -> Self {
        let name = format!("host-{}-{}", init.name, std::process::id());
        let mut command = Command::new(REDD);
        command.arg("spawn").args(OPTIONS).arg("-D").arg(tree).args(["-M", &name]);
        command.arg(format!("--bind={}:/work", work.display()));
        command.arg(format!("--bind={}:/var/lib/machines", work.join("machines").display()));
        command.args(init.program);
        Self(Running::start(command, &name))
    }

    fn run(&self, script: &str) -> Ended {
        let mut command = Command::new(REDD);
        let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        command.args(["exec", "-E", path, self.0.name(), "--", "/bin/sh", "-c", script]);
        run_limited(command, Vec::new(), LIMIT)
    }

    #[track_caller]
    fn until(&self, script: &str) {
        let end = Instant::now() + LIMIT;
        loop {
            let ended = self.run(script);
            if ended.code() == 0 {
                return;
            }
            assert!(Instant::now() < end, "{script}: {ended}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    #[track_caller]
    fn power_off(self) {
        let mut command = Command::new(REDD);
        command.args(["poweroff", self.0.name()]);
        run_limited(command, Vec::new(), LIMIT).expect_code(0);
        let _ = self.0.stop();
    }
}

#[test]
#[ignore = "installs and boots systems with four inits: for the acceptance"]
fn enabled_machines_start_with_every_init() {
    requires!(root, cgroup2);
    let place = tempfile::Builder::new().prefix("redd-inits-").tempdir_in(fixture::place()).expect("directory");
    let before = HostState::capture(place.path(), &[]);
    for init in &INITS {
        let (tree, work) = (place.path().join(init.name), place.path().join(format!("{}.work", init.name)));
        prepare(init, &tree, &work);
        let said = || std::fs::read_to_string(work.join("machines/box/said")).unwrap_or_default();

        let host = Host::start(init, &tree, &work);
        host.until("cp -a /work/dest/. / && test -e /usr/local/bin/redd");
        host.run(init.install).expect_code(0);
        host.run("redd enable box && test -e /etc/redd/autostart/box").expect_code(0);
        host.power_off();
        if !init.supervises {
            assert_eq!(said(), "", "{}: it was only enabled", init.name);
        }
        std::fs::write(work.join("machines/box/said"), "").expect("file");

        let host = Host::start(init, &tree, &work);
        host.until("redd list --no-legend | grep -q '^box ' && grep -q up /var/lib/machines/box/said");
        let supervisor = host.run("redd show box -p Leader --value");
        host.power_off();
        assert_eq!(said(), "up\ndown\n", "{}: powered off in order ({supervisor})", init.name);
        println!("{}: started at boot, powered off at shutdown", init.name);
    }
    before.assert_same();
}

/// Installs the system, redd beside it, and the tree of a machine that tells when it comes up and goes down.
fn prepare(init: &Init, tree: &Path, work: &Path) {
    let mut install = Command::new(REDD);
    install.args(["bootstrap", "debian", "--quiet", "--suite", "bookworm", "--variant", "minbase", "--include"]);
    install.arg(init.packages).arg(tree);
    run_limited(install, Vec::new(), LIMIT * 3).expect_code(0);
    let (programs, machine) = (work.join("bin"), work.join("machines/box"));
    // The last is what s6-svscan looks into.
    for directory in [&programs, &machine, &tree.join("srv/services")] {
        std::fs::create_dir_all(directory).expect("directory");
    }
    for name in ["redd", "redd-spawn"] {
        std::fs::copy(REDD, programs.join(name)).expect("program");
    }
    let mut install = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    install.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    install.args(["xtask", "install", "--prefix", "/usr/local", "--programs"]).arg(&programs);
    install.arg("--destdir").arg(work.join("dest"));
    run_limited(install, Vec::new(), LIMIT * 3).expect_code(0);
    fixture::copy(background::busybox().path(), &machine);
    let table = "::sysinit:/bin/sh -c 'echo up >>/said'\n::respawn:/bin/busybox sleep 1000\n\
                 ::shutdown:/bin/sh -c 'echo down >>/said'\n";
    std::fs::write(machine.join("etc/inittab"), table).expect("inittab");
}
