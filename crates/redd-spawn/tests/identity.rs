//! The machine's id, as a system inside takes it over.

use std::time::Duration;

use testkit::{Isolated, Spawn, fixture, requires};

const REDD: &str = env!("CARGO_BIN_EXE_redd-spawn");

/// Tells the machine id and powers off.
const UNIT: &str = "--set-credential=systemd.extra-unit.ask.service:[Service]\\nType=oneshot\\nStandardOutput=tty\\n\
                    TTYPath=/dev/console\\nExecStart=/bin/sh -c 'echo the id is $$(cat /etc/machine-id)'\\n\
                    ExecStopPost=/bin/systemctl poweroff --no-block\\n";

#[test]
fn a_first_boot_takes_the_id_that_is_given() {
    requires!(root, cgroup2);
    let _isolated = Isolated::enter();
    let Some(tree) = fixture::debian_tree() else { return };
    // (With --volatile=yes, without /etc, it would ask for a locale first.)
    for options in [&["-x"][..], &["-x", "-U"], &["--volatile=overlay"]] {
        let ended = Spawn::redd(REDD, &tree)
            .args(["-b", "--uuid=11112222-3333-4444-5555-666677778888", UNIT])
            .args(options)
            .arg("systemd.wants=ask.service")
            .limit(Duration::from_secs(120))
            .run();
        assert!(ended.output.contains("the id is 11112222333344445555666677778888"), "{options:?}: {ended}");
    }
}
