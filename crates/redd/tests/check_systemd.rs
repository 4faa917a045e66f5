//! `redd check` where systemd manages the host and its services answer.

use testkit::managed_host::{self, ManagedHost};
use testkit::{fixture, requires};

const REDD: &str = env!("CARGO_BIN_EXE_redd");

#[test]
#[ignore = "boots a host with systemd"]
fn services_of_systemd_say_who_they_are() {
    requires!(root, cgroup2, userns);
    let Some(tree) = managed_host::tree("bookworm") else { return };
    let inner = fixture::tree();
    let host = ManagedHost::boot(REDD, &tree, inner.path());
    let report = host.run("/work/bin/redd check --json=short").expect_code(0).output;
    let report: serde_json::Value = serde_json::from_str(report.trim()).expect("JSON");
    let row = |feature: &str| {
        let rows = report["findings"].as_array().expect("findings").iter();
        rows.clone().find(|row| row["feature"] == feature).unwrap_or_else(|| panic!("no {feature}")).to_string()
    };
    let systemd = row("systemd");
    assert!(systemd.contains("version 252") && systemd.contains("manages this host"), "{systemd}");
    assert!(row("systemd-nsresourced").contains("not installed"), "{}", row("systemd-nsresourced"));
    // On this version it has a name on the bus alone, which it has once somebody has asked it.
    host.run(
        "busctl call org.freedesktop.machine1 /org/freedesktop/machine1 org.freedesktop.machine1.Manager ListMachines",
    )
    .expect_code(0);
    let text = host.run("/work/bin/redd check --no-legend").expect_code(0).output;
    assert!(text.lines().any(|line| line.contains("systemd-machined") && line.contains(" ok ")), "{text}");
    assert!(text.lines().any(|line| line.contains("own groups") && line.contains(" ok ")), "{text}");
}
