//! What systemd's machinectl does to machines and images, and who may do it.

use crate::host::{LIMIT, Replaced, Version};

pub(crate) fn files(on: &Replaced) {
    on.says("echo words >/tmp/file && mkdir -p /tmp/some/where && cp /tmp/file /tmp/some/where", &[]);
    for name in ["deb", "box"] {
        let inside = format!("/var/lib/machines/{name}/root");
        on.says(&format!("machinectl copy-to {name} /tmp/file /root/file && cat {inside}/file"), &["words"]);
        on.says(&format!("machinectl copy-to {name} /tmp/some /root/some && cat {inside}/some/where/file"), &["words"]);
        on.says(
            &format!("machinectl copy-from {name} /root/some /tmp/{name} && cat /tmp/{name}/where/file"),
            &["words"],
        );
    }
    on.refuses(on.run("machinectl copy-to deb /tmp/file /root/file"), 1, &["Failed to copy", "exists"]);
    on.says("machinectl bind --mkdir deb /tmp/some /mnt/some", &[]);
    on.says("machinectl bind --mkdir --read-only deb /tmp/some /mnt/kept", &[]);
    let inside = |script: &str| on.run(&format!("systemd-run -M deb -q --wait --pipe sh -c '{script}'"));
    on.refuses(inside("cat /mnt/some/where/file; echo > /mnt/kept/new"), 2, &["words", "Read-only file system"]);
}

pub(crate) fn images(on: &Replaced) {
    on.says("machinectl clone box copy && machinectl rename copy other && machinectl read-only other true", &[]);
    on.says("machinectl show-image other", &["Name=other", "ReadOnly=yes"]);
    on.says("machinectl read-only other false && machinectl remove other && machinectl clean", &["Removed 0 images"]);
    on.refuses(on.run("machinectl show-image other"), 1, &["other"]);
    on.refuses(on.run("machinectl remove deb"), 1, &["deb", "running"]);
}

/// Root does everything; to others real polkit permits what its rules say.
pub(crate) fn permission(on: &Replaced) {
    let (refused, granted) = (1500, 1501);
    for user in [refused, granted] {
        assert!(on.run_as(user, "machinectl status box -n 0").expect_code(0).output.contains("(init)"));
        on.refuses(on.run_as(user, "machinectl terminate box"), 1, &["Access denied"]);
        on.refuses(on.run_as(user, "machinectl remove box"), 1, &["Access denied"]);
        on.refuses(on.run_as(user, "machinectl copy-to deb /tmp/file /root/other"), 1, &["Access denied"]);
    }
    on.refuses(on.run_as(refused, "machinectl kill box --signal=SIGCONT"), 1, &["Access denied"]);
    on.run_as(granted, "machinectl kill box --signal=SIGCONT").expect_code(0);
    let kill = "busctl call org.freedesktop.machine1 /org/freedesktop/machine1 org.freedesktop.machine1.Manager \
                KillMachine ssi box leader 18";
    on.refuses(on.run_as(refused, kill), 1, &["Access denied"]);
    on.run_as(granted, kill).expect_code(0);
    if on.version == Version::New {
        let call = |method: &str, more: &str| {
            let socket = "/run/systemd/machine/io.systemd.Machine";
            format!("varlinkctl call {socket} io.systemd.Machine.{method} '{{\"name\":\"box\"{more}}}'")
        };
        let asked = &["io.systemd.InteractiveAuthenticationRequired"];
        on.refuses(on.run_as(refused, &call("Kill", ",\"signal\":18")), 1, asked);
        on.run_as(granted, &call("Kill", ",\"signal\":18")).expect_code(0);
        on.refuses(on.run_as(granted, &call("Terminate", "")), 1, asked);
    }
    on.says("machinectl show box -p State", &["State=running"]);
    terminals(on, refused, granted);
}

/// What polkit permits is looked at by machine and user, as its rules name them.
fn terminals(on: &Replaced, refused: u32, granted: u32) {
    let call = |method: &str| {
        let manager = "org.freedesktop.machine1 /org/freedesktop/machine1 org.freedesktop.machine1.Manager";
        format!("busctl call {manager} {method}")
    };
    let shell = |name: &str| format!("machinectl -q shell {name} /bin/sh -c 'echo as $(id -un)'");
    let login = |name: &str| format!("machinectl login {name}");
    for (user, command) in [
        (refused, shell("www-data@deb")),
        (refused, login("deb")),
        (refused, call("OpenMachinePTY s deb")),
        (granted, shell("root@deb")),
        (granted, shell("www-data@box")),
        (granted, shell("www-data@.host")),
        (granted, login("box")),
        (granted, login(".host")),
        (granted, call("OpenMachinePTY s box")),
        (granted, call("OpenMachinePTY s .host")),
    ] {
        let ended = on.run_as(user, &command);
        assert!(ended.code() == 1 && ended.errors.contains("Access denied"), "{user} {command}: {ended}");
    }
    on.run_as(granted, &call("OpenMachinePTY s deb")).expect_code(0);
    let mut typed = on.typed_as(granted, "machinectl shell www-data@deb /bin/sh");
    typed.expect("$ ", LIMIT);
    typed.write_line("echo $(id -un) on $(tty) e\"\"nd");
    typed.expect("www-data on /dev/pts/", LIMIT);
    typed.write("\x1d\x1d\x1d");
    assert_eq!(typed.wait(LIMIT).code(), Some(0));
    let mut typed = on.typed_as(granted, &login("deb"));
    typed.expect("login: ", LIMIT);
    typed.write("\x1d\x1d\x1d");
    assert_eq!(typed.wait(LIMIT).code(), Some(0));
    if on.version == Version::New {
        let open = |name: &str, mode: &str| {
            let socket = "/run/systemd/machine/io.systemd.Machine";
            format!("varlinkctl call {socket} io.systemd.Machine.Open '{{\"name\":\"{name}\",\"mode\":\"{mode}\"}}'")
        };
        for (user, name, mode) in
            [(refused, "deb", "tty"), (refused, "deb", "login"), (granted, "box", "tty"), (granted, "deb", "shell")]
        {
            let asked = &["io.systemd.InteractiveAuthenticationRequired"];
            on.refuses(on.run_as(user, &open(name, mode)), 1, asked);
        }
        let ended = on.run_as(granted, &open("deb", "tty")).expect_code(0);
        assert!(ended.output.contains("/dev/pts/"), "{ended}");
    }
}

/// Signals, reboots and ends.
pub(crate) fn lives(on: &Replaced) {
    let leader = |name: &str| on.run(&format!("machinectl show -p Leader --value {name}")).expect_code(0).output;
    let before = leader("deb");
    on.says("machinectl reboot deb", &[]);
    on.until(&format!("test \"$(machinectl show -p Leader --value deb)\" != {}", before.trim()));
    on.until_up("deb");
    on.says("machinectl kill deb --kill-whom=leader --signal=SIGRTMIN+20", &[]);
    on.says("machinectl poweroff deb", &[]);
    on.until(
        "! machinectl show deb 2>/dev/null && systemctl show -p Result systemd-nspawn@deb | grep -qx Result=success",
    );
    // To BusyBox the signal of systemd's machinectl means nothing: ours asks it in its own way.
    on.says("machinectl poweroff box", &[]);
    on.until(
        "! machinectl show box 2>/dev/null && systemctl show -p Result systemd-nspawn@box | grep -qx Result=success",
    );
    on.says("machinectl start box && machinectl terminate box", &[]);
    on.until("! machinectl show box 2>/dev/null && systemctl is-active systemd-nspawn@box | grep -qx inactive");
    on.says("systemctl show -p Result systemd-nspawn@box", &["Result=success"]);
    on.says("machinectl list", &["No machines."]);
    on.until("test -z \"$(ls /run/systemd/machines)\"");
    for verb in ["status", "terminate", "poweroff", "kill"] {
        on.refuses(on.run(&format!("machinectl {verb} nosuch")), 1, &["ach"]);
    }
    on.refuses(on.run("machinectl start nosuch"), 1, &["Machine image 'nosuch' does not exist"]);
}
