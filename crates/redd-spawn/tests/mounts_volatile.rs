//! A whole system in the volatile modes, with users of its own and with mounts over what is thrown away.

use std::fs;
use std::path::Path;
use std::time::Duration;

use testkit::{HostState, Spawn, fixture, requires};

const BINARY: &str = env!("CARGO_BIN_EXE_redd-spawn");
/// A first boot has much to do, on a slow machine that does other things as well.
const LIMIT: Duration = Duration::from_secs(120);
const RANGE: &[&str] = &["--private-users=600000:65536", "--private-users-ownership=map"];

const SERVICE: &str = "[Unit]\nDescription=looks around\n[Service]\nType=exec\nExecStart=/bin/sh /var/host/look\n";
/// Waits until all is started, looks, and powers off.
const LOOK: &str = r#"exec > /var/host/seen 2>&1
echo state=$(timeout 60 systemctl is-system-running --wait)
echo failed=$(systemctl --failed --plain --no-legend | cut -d' ' -f1)
echo owners=$(stat -c '%u:%g' / /etc /var /usr /home /root /var/host /var/lib/bound | sort -u)
echo nobodys=$(find / -xdev \( -nouser -o -nogroup \) 2>/dev/null | head -n 3)
echo writable=$(for d in / /etc /var /usr /var/lib/bound; do touch $d/.mark 2>/dev/null && echo $d; done)
echo root=$(stat -f -c %T /) var=$(stat -f -c %T /var)
echo kept=$(cat /var/lib/bound/kept)
systemctl poweroff
"#;

#[test]
fn debian_boots_in_every_volatile_mode() {
    requires!(root, cgroup2, userns, idmap);
    let Some(tree) = fixture::debian_tree() else { return };
    for (mode, users) in
        [("yes", &["-U"][..]), ("state", &["-U"]), ("overlay", &["-U"]), ("overlay", RANGE), ("yes", &[])]
    {
        let host = fixture::empty();
        host.write("look", LOOK, 0o644);
        host.write("bound/kept", "kept", 0o644);
        let service = host.write("service", SERVICE, 0o644);
        let state = HostState::capture(&tree, &[&tree.join("etc"), &tree.join("root")]);
        let bind = |source: &Path, target: &str| format!("--bind={}:{target}:idmap", source.display());
        let ended = Spawn::redd(BINARY, &tree)
            .args(["-b", "-M"])
            .arg(host.name())
            .arg(format!("--volatile={mode}"))
            .args(users)
            .arg(bind(host.path(), "/var/host"))
            .arg(bind(&host.join("bound"), "/var/lib/bound"))
            .arg(bind(&service, "/run/systemd/system/look.service"))
            // nftables.service is there on some Debians, and wants a file of /etc.
            .args(["systemd.firstboot=no", "systemd.wants=look.service", "systemd.mask=nftables.service"])
            .limit(LIMIT)
            .run();
        assert_eq!(ended.code(), 0, "{mode} {users:?}: {ended}");
        let seen = fs::read_to_string(host.join("seen")).expect("the service has looked");
        let value = |name: &str| {
            let found = seen.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            found.unwrap_or_else(|| panic!("{mode} {users:?}: no {name} in {seen}")).to_owned()
        };
        assert_eq!(value("state"), "running", "{mode} {users:?}: {seen}");
        assert_eq!(value("owners"), "0:0", "{mode} {users:?}: {seen}");
        assert_eq!(value("nobodys"), "", "{mode} {users:?}: {seen}");
        assert_eq!(value("kept"), "kept", "{mode} {users:?}: {seen}");
        let (writable, root) = match mode {
            "yes" => ("/ /etc /var /var/lib/bound", "tmpfs var=tmpfs"),
            "state" => ("/var /var/lib/bound", " var=tmpfs"),
            _ => ("/ /etc /var /usr /var/lib/bound", "overlayfs var=overlayfs"),
        };
        assert_eq!(value("writable"), writable, "{mode} {users:?}: {seen}");
        assert!(value("root").ends_with(root), "{mode} {users:?}: {seen}");
        assert!(host.join("bound/.mark").exists(), "what is bound is the host's");
        state.assert_same();
    }
}
