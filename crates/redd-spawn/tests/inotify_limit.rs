//! A machine that fails because the host's inotify instances are used up: whoever has started it is told which limit that is.

use testkit::{Isolated, Spawn, fixture, requires};

const REDD: &str = env!("CARGO_BIN_EXE_redd-spawn");
const NEXT_STEP: &str = "sysctl fs.inotify.max_user_instances=";

#[test]
fn an_init_system_that_has_said_so_and_failed_is_explained() {
    requires!(root, cgroup2);
    let _isolated = Isolated::enter();
    let said = "Failed to allocate manager object: Too many open files";
    for (text, code, explained) in [(said, 1, true), (said, 0, false), ("Failed to allocate manager object", 1, false)]
    {
        let tree = fixture::tree();
        tree.write("usr/sbin/init", format!("#!/bin/sh\necho '{text}'\nexit {code}\n"), 0o755);
        let ended = Spawn::redd(REDD, tree.path()).args(["-b", "--console=read-only"]).run();
        assert_eq!(ended.code(), code, "{ended}");
        assert!(ended.output.contains(text), "{ended}");
        let told = ended.errors.contains("Too many open files") && ended.errors.contains(NEXT_STEP);
        // Where others on this host have used them up that is said of every machine.
        let of_host = ended.errors.contains("no inotify instances left");
        assert!(of_host || told == explained, "{ended}");
    }
}
