//! What is planned for a command line on a host whose facts are fixed.
//!
//! The snapshots are files beside this one. Where a change of them is meant, `INSTA_UPDATE=always cargo test -p
//! redd-plan` writes them anew; review them like any other change.

mod fixture;

use fixture::{Host, plan};
use insta::assert_snapshot;
use plan::{EphemeralFacts, EphemeralKind, NodeKind};

fn explained(words: &[&str], host: Host) -> String {
    plan::explain(&plan(words, host))
}

fn json(words: &[&str], host: Host) -> String {
    serde_json::to_string_pretty(&plan(words, host)).expect("a plan is JSON")
}

fn overlay() -> EphemeralFacts {
    EphemeralFacts { kind: EphemeralKind::Overlay, place: "/srv".into(), notice: None }
}

#[test]
fn a_shell() {
    assert_snapshot!(explained(&["-D/srv/debian"], Host::new()));
}

#[test]
fn a_shell_for_programs() {
    assert_snapshot!(json(&["-D/srv/debian"], Host::new()));
}

#[test]
fn a_command_between_pipes() {
    assert_snapshot!(explained(&["-qPD/srv/debian", "--", "tar", "-c", "/etc"], Host::new()));
}

#[test]
fn a_boot() {
    assert_snapshot!(explained(&["-bD/srv/debian", "systemd.unit=rescue.target", "TERM=dumb"], Host::new()));
}

#[test]
fn a_boot_with_users_of_its_own() {
    assert_snapshot!(explained(&["-bUD/srv/debian"], Host::new()));
}

#[test]
fn a_boot_with_users_of_its_own_for_programs() {
    assert_snapshot!(json(&["-bUD/srv/debian", "--private-network"], Host::new()));
}

#[test]
fn users_where_the_kernel_has_none() {
    let host = Host::new().change(|facts| facts.host.user_namespaces = false);
    assert_eq!(explained(&["-UD/srv/debian"], host.clone()), explained(&["-D/srv/debian"], host.clone()));
    assert_eq!(
        fixture::try_plan(&["--private-users=pick", "-D/srv/debian"], host).map(|_| ()),
        Err(plan::Error::NoUserNamespaces)
    );
}

#[test]
fn a_range_of_users_as_the_files_have_them() {
    let host = Host::new().change(|facts| facts.tree.owner = 524_288);
    assert_snapshot!(explained(&["-D/srv/debian", "--private-users=524288:65536"], host));
}

#[test]
fn a_network_of_its_own() {
    assert_snapshot!(explained(&["--private-network", "-D/srv/debian"], Host::new()));
}

#[test]
fn an_ephemeral_copy() {
    let host = Host::new().change(|facts| facts.tree.ephemeral = Some(overlay()));
    assert_snapshot!(explained(&["-xD/srv/debian"], host));
}

#[test]
fn the_host_in_an_ephemeral_copy() {
    let host = Host::new().change(|facts| {
        facts.tree.ephemeral = Some(overlay());
        facts.tree.host_root = true;
        facts.tree.path = "/".into();
    });
    assert_snapshot!(explained(&["-xbD/"], host.clone()));
    assert_eq!(fixture::try_plan(&["-bD/"], host).map(|_| ()), Err(plan::Error::HostRoot));
}

#[test]
fn read_only() {
    assert_snapshot!(explained(&["--read-only", "-D/srv/debian"], Host::new()));
}

#[test]
fn volatile_yes() {
    assert_snapshot!(explained(&["--volatile", "-bD/srv/debian"], Host::new()));
}

#[test]
fn volatile_state() {
    assert_snapshot!(explained(&["--volatile=state", "-bD/srv/debian"], Host::new()));
}

#[test]
fn volatile_overlay() {
    assert_snapshot!(explained(&["--volatile=overlay", "-bD/srv/debian"], Host::new()));
}

#[test]
fn mounts_of_all_kinds() {
    let device = NodeKind::CharacterDevice { major: 10, minor: 229 };
    let host =
        Host::new().sources(&[Some(NodeKind::Directory), Some(NodeKind::File), Some(device), None, None, None, None]);
    let words = [
        "-D/srv/debian",
        "--bind=/srv/data:/data:norbind",
        "--bind-ro=/etc/hosts",
        "--bind=/dev/fuse",
        "--bind=+/usr/share:/mnt",
        "--bind=:/scratch",
        "--tmpfs=/var/cache:mode=0700",
        "--inaccessible=/etc/shadow",
    ];
    assert_snapshot!(explained(&words, host));
}

#[test]
fn everything_about_the_program() {
    let words = [
        "-aqD/srv/debian",
        "--user=daemon",
        "--chdir=/tmp",
        "-ELANG=C",
        "-MOther.name",
        "--hostname=inside",
        "--uuid=f1b5b9f4000000000000000000000001",
        "--no-new-privileges=yes",
        "--drop-capability=cap_sys_admin",
        "--rlimit=NOFILE=10:20",
        "--oom-score-adjust=100",
        "--cpu-affinity=0,2-3",
        "--personality=x86",
        "--system-call-filter=~@mount bpf",
        "--kill-signal=SIGINT",
        "--notify-ready=yes",
        "id",
    ];
    assert_snapshot!(explained(&words, Host::new()));
}

#[test]
fn another_root_in_the_tree() {
    assert_snapshot!(explained(&["-bD/srv/debian", "--pivot-root=/deploy/1:/sysroot"], Host::new()));
}

#[test]
fn a_terminal_gets_an_interactive_console() {
    let host = Host::new().change(|facts| {
        facts.caller.console = plan::StandardStreams { input_is_terminal: true, output_is_terminal: true };
    });
    let console = |words: &[&str], host| {
        let text = explained(words, host);
        text.lines().find_map(|line| line.trim().strip_prefix("on the console: ").map(str::to_owned))
    };
    assert_eq!(console(&["-D/srv/debian"], host.clone()), Some("Interactive".into()));
    assert_eq!(console(&["-D/srv/debian"], Host::new()), Some("ReadOnly".into()));
    assert_eq!(console(&["--console=autopipe", "-D/srv/debian"], host), Some("Interactive".into()));
    assert_eq!(console(&["--console=autopipe", "-D/srv/debian"], Host::new()), Some("Pipe".into()));
}

#[test]
fn names_that_are_made_of_the_tree() {
    let name = |words: &[&str], path: &str| {
        let host = Host::new().change(|facts| facts.tree.path = path.into());
        fixture::try_plan(words, host).map(|plan| plan.machine)
    };
    assert_eq!(name(&["-D/x"], "/srv/deb_12"), Ok("deb12".into()));
    assert_eq!(name(&["-D/x", "-Mgiven"], "/srv/deb_12"), Ok("given".into()));
    assert_eq!(name(&["-xD/x"], "/srv/deb_12"), Ok("deb12-00000000000000ff".into()));
    assert_eq!(name(&["-D/x"], "/srv/__"), Err(plan::Error::NoName("__".into())));
}

#[test]
fn a_host_that_systemd_manages() {
    let host = Host::new().change(|facts| facts.host.service_manager = true);
    let text = explained(&["-D/srv/debian", "-Mmy-name"], host.clone());
    assert!(text.contains("new unit my-name.scope in machine.slice (\"Container my-name\")"), "{text}");
    assert!(text.contains("make the control group in my-name.scope"), "{text}");
    let kept = explained(&["-D/srv/debian", "--keep-unit"], host);
    assert!(kept.contains("control group in the caller's unit") && !kept.contains(".scope"), "{kept}");
    let elsewhere = explained(&["-D/srv/debian", "--keep-unit"], Host::new());
    assert_eq!(elsewhere, explained(&["-D/srv/debian"], Host::new()));
}

#[test]
fn properties_go_to_the_scope_and_the_machine_is_registered() {
    let host = Host::new().change(|facts| {
        facts.host.service_manager = true;
        facts.limits = Some(plan::LimitFacts::default());
    });
    let text = explained(&["-D/srv/debian", "-Mm", "-Sa", "--property=CPUQuota=50%", "--memory=1G"], host.clone());
    assert!(
        text.contains("m.scope in a.slice (\"Container m\"), CPUQuotaPerSecUSec=500000, MemoryMax=1073741824"),
        "{text}"
    );
    assert!(text.contains("registered with the system's systemd-machined, if that works"), "{text}");
    let yes = explained(&["-D/srv/debian", "--register=yes"], host.clone());
    assert!(yes.contains("or else it does not start"), "{yes}");
    assert!(!explained(&["-D/srv/debian", "--register=no"], host.clone()).contains("machined"));
    assert!(!explained(&["-D/srv/debian"], Host::new()).contains("machined"));
    assert!(explained(&["-D/srv/debian", "--register=yes"], Host::new()).contains("machined"));
    let kept = fixture::plan(&["-D/srv/debian", "--keep-unit", "--slice=a"], host.clone());
    assert!(kept.notices.iter().any(|notice| notice.contains("no effect with --keep-unit")), "{:?}", kept.notices);
    let session = host.change(|facts| facts.host.user_session = true);
    assert_eq!(fixture::try_plan(&["-D/x", "--keep-unit"], session.clone()).err(), Some(plan::Error::UserSession));
    assert!(fixture::try_plan(&["-D/x", "--keep-unit", "--register=no"], session.clone()).is_ok());
    assert!(fixture::try_plan(&["-D/x"], session).is_ok());
}

#[test]
fn the_users_service_manager_is_asked_where_there_is_one() {
    let none = fixture::try_plan(&["-D/x", "--user"], Host::new()).err();
    assert_eq!(none, Some(plan::Error::NoUserManager("$XDG_RUNTIME_DIR".into())));
    let host = Host::new().change(|facts| {
        facts.host.service_manager = true;
        facts.caller.runtime_directory = Some("/run/user/7".into());
    });
    let plan = fixture::plan(&["-D/x", "--user"], host.clone());
    let manager = plan.registration.map(|registration| registration.manager);
    assert_eq!(manager, Some(plan::ServiceManager::User("/run/user/7".into())));
    let plan = fixture::plan(&["-D/x", "--user", "--system"], host);
    assert_eq!(plan.registration.map(|registration| registration.manager), Some(plan::ServiceManager::System));
}

#[test]
fn limits_where_no_service_manager_is_are_control_groups() {
    let host = |unified: &[&str]| {
        let hierarchy = plan::Hierarchy { controllers: vec!["pids".into()], own: "/sys/fs/cgroup/pids".into() };
        let unified = unified.iter().map(|name| (*name).into()).collect();
        let limits = plan::LimitFacts { unified, hierarchies: vec![hierarchy], ..Default::default() };
        Host::new().change(|facts| facts.limits = Some(limits))
    };
    let text = explained(&["-D/srv/debian", "--pids=5"], host(&[]));
    assert!(text.contains("make a control group in /sys/fs/cgroup/pids, TasksMax= as pids.max = 5"), "{text}");
    let text = explained(&["-D/srv/debian", "--pids=5", "--cpus=2"], host(&["pids", "cpu"]));
    assert!(text.contains("limit the control group by cpu, pids, CPUQuota= as cpu.max = 200000 100000"), "{text}");
    let error = fixture::try_plan(&["-D/x", "--memory=1G"], host(&["cpu"])).expect_err("no controller");
    assert!(error.to_string().contains("MemoryMax= needs the controller memory"), "{error}");
    assert_eq!(
        fixture::try_plan(&["-D/x", "--slice=a"], Host::new()).err(),
        Some(plan::Error::NoServiceManager("--slice".into()))
    );
}
