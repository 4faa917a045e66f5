//! What systemd's clients are told of machines and images.

use crate::host::{Replaced, Version};

const MANAGER: &str = "org.freedesktop.machine1 /org/freedesktop/machine1 org.freedesktop.machine1.Manager";
const SOCKET: &str = "/run/systemd/machine/io.systemd.Machine";
/// A link between the host and the machine, as nobody makes one for it here.
const LINK: &str = "
leader=$(machinectl show -p Leader --value deb)
ip link add ve-deb type veth peer name host0 netns $leader
nsenter -t $leader -n ip addr add 10.9.0.2/24 dev host0
nsenter -t $leader -n ip link set host0 up
ip addr add 10.9.0.1/24 dev ve-deb
ip link set ve-deb up";

pub(crate) fn machines_are_seen(on: &Replaced) {
    on.says(
        "systemctl show -p FragmentPath systemd-machined.service",
        &["FragmentPath=/usr/local/lib/systemd/system/"],
    );
    // Whoever registers a machine starts the service, by its socket or by the bus.
    on.says("systemctl start systemd-nspawn@box.service", &[]);
    on.says("machinectl start deb", &[]);
    on.says("ls /run/systemd/machines", &["box", "deb", "unit:systemd-nspawn@deb.service"]);
    on.until_up("deb");
    on.says(LINK, &[]);
    for (command, words) in OF_MACHINES {
        on.says(command, words);
    }
    // BusyBox has neither a bus nor a journal.
    on.refuses(on.run("systemctl -M box is-system-running"), 1, &["Failed to connect"]);
    on.says("journalctl -M box", &["No entries"]);
    on.refuses(on.run("journalctl -M nosuch"), 1, &["Failed to open"]);
    on.refuses(on.run("loginctl -M nosuch list-users"), 1, &["Failed to"]);
    for command in ["machinectl status nosuch", "machinectl show nosuch", "machinectl image-status nosuch"] {
        on.refuses(on.run(command), 1, &["nosuch is known"]);
    }
    on.says("getent hosts deb", &[" deb"]);
    on.says("getent ahostsv4 deb", &["10.9.0.2 STREAM deb"]);
    // One has no addresses, the other one is not there.
    for name in ["box", "nosuch"] {
        on.refuses(on.run(&format!("getent hosts {name}")), 2, &[]);
    }
    on_the_bus(on);
    inside(on);
    users(on);
    if on.version == Version::New {
        over_varlink(on);
    }
}

const OF_MACHINES: [(&str, &[&str]); 12] = [
    (
        "machinectl list --no-legend",
        &["box container systemd-nspawn busybox - -", "deb container systemd-nspawn debian", "10.9.0.2"],
    ),
    (
        "machinectl status deb -n 1",
        &[
            "(systemd)",
            "Service: systemd-nspawn; class container",
            "Root: /var/lib/machines/deb",
            "Address: 10.9.0.2",
            "OS: Debian GNU/Linux",
            "ID Shift: ",
            "Unit: systemd-nspawn@deb.service",
            "/systemd-journald",
        ],
    ),
    ("machinectl status box -n 1", &["(init)", "Unit: systemd-nspawn@box.service", "/bin/busybox sleep 1000"]),
    (
        "machinectl show deb",
        &[
            "Name=deb",
            "Class=container",
            "Service=systemd-nspawn",
            "State=running",
            "Unit=systemd-nspawn@deb.service",
            "RootDirectory=/var/lib/machines/deb",
        ],
    ),
    ("machinectl list-images --no-legend", &["box directory no", "deb directory no"]),
    ("machinectl image-status deb", &["Type: directory", "Path: /var/lib/machines/deb", "OS: Debian GNU/Linux"]),
    ("machinectl show-image deb", &["Name=deb", "Type=directory", "ReadOnly=no", "Path=/var/lib/machines/deb"]),
    ("systemctl list-machines --no-legend", &["box n/a", "deb running", "(host)"]),
    ("systemctl status systemd-nspawn@box.service", &["active (running)", "payload", "busybox sleep"]),
    ("systemd-cgls -M deb", &["/machine.slice/systemd-nspawn@deb.service", "payload", "console-getty.service"]),
    ("systemd-cgls --machine=box", &["/machine.slice/systemd-nspawn@box.service", "init"]),
    ("getent ahosts deb", &["10.9.0.2"]),
];

fn on_the_bus(on: &Replaced) {
    on.says("busctl status org.freedesktop.machine1", &["Unit=systemd-machined.service", "Exe=/usr/local/bin/redd"]);
    let tree = on.run("busctl tree org.freedesktop.machine1");
    assert_eq!(tree.errors, "", "{tree}");
    for name in ["machine/deb", "machine/box", "machine/_2ehost", "image/deb", "image/box"] {
        assert!(tree.output.contains(&format!("/org/freedesktop/machine1/{name}")), "{tree}");
    }
    let machine = "org.freedesktop.machine1 /org/freedesktop/machine1/machine/deb";
    let name = "org.freedesktop.machine1.Machine";
    on.says(
        &format!("busctl introspect {machine}"),
        &[".OpenShell method ssasas hs", ".Name property s \"deb\" const"],
    );
    on.says(&format!("busctl get-property {machine} {name} Class Service"), &["s \"container\" s \"systemd-nspawn\""]);
    let call = |words: &str| format!("busctl call {MANAGER} {words}");
    on.says(&call("GetMachine s deb"), &["o \"/org/freedesktop/machine1/machine/deb\""]);
    on.says(&call("GetMachineAddresses s deb"), &["2 4 10 9 0 2"]);
    on.says(&call("GetMachineOSRelease s box"), &["a{ss} 1 \"ID\" \"busybox\""]);
    on.says(&call("ListMachines"), &["a(ssso) 3", "\"deb\" \"container\" \"systemd-nspawn\""]);
    let own = "GetMachineByPID u $(machinectl show -p Leader --value box)";
    on.says(&call(own), &["machine/box\""]);
    on.refuses(on.run(&call("GetMachine s nosuch")), 1, &["nosuch"]);
    on.says("busctl -M deb list", &["org.freedesktop.systemd1", "org.freedesktop.login1"]);
}

/// Clients of the services that run inside.
fn inside(on: &Replaced) {
    on.says("systemctl -M deb list-units -t service", &["console-getty.service", "systemd-journald.service"]);
    on.says("systemctl -M deb stop cron.service", &[]);
    on.refuses(on.run("systemctl -M deb is-active cron.service"), 3, &["inactive"]);
    on.says("systemctl -M root@deb show -p Virtualization", &["Virtualization=systemd-nspawn"]);
    // The user whose manager that asked through is still there.
    on.says("loginctl -M deb list-users --no-legend", &["0 root"]);
    on.says("hostnamectl -M deb", &["Virtualization: systemd-nspawn"]);
    on.says("systemd-run -M deb -q --wait --pipe cat /proc/1/comm", &["systemd"]);
    on.refuses(on.run("systemd-run -M deb -q --wait --pipe sh -c 'exit 7'"), 7, &[]);
    on.says("systemd-run -M deb -q --wait echo written inside", &[]);
    on.until("journalctl -M deb -o cat | grep -qx 'written inside'");
    let refused = on.run("journalctl -M deb -o cat --grep='never written' -n 1");
    assert!(refused.code() == 1 && !refused.output.contains("written inside"), "{refused}");
    lingering(on);
}

/// Who asks from outside has no session inside, nor a process that is seen there. 262 looks for both, and refuses it; of upstream's
/// systemd-machined, too (`upstream_machined.rs`).
fn lingering(on: &Replaced) {
    let asked = on.run("loginctl -M deb enable-linger root");
    match on.version {
        Version::Old => drop(asked.expect_code(0)),
        Version::New => {
            on.refuses(asked, 1, &["Could not enable linger: No such process"]);
            on.says("systemd-run -M deb -q --wait --pipe loginctl enable-linger root", &[]);
        }
    }
    on.says("loginctl -M deb list-users --no-legend", &["0 root yes"]);
    on.says("systemd-run -M deb -q --wait --pipe loginctl disable-linger root", &[]);
}

fn users(on: &Replaced) {
    on.says("getent passwd vu-deb-0", &["vu-deb-0:x:", ":65534:UID 0 of Container deb:/:/usr/sbin/nologin"]);
    on.says("getent group vg-deb-5", &["vg-deb-5:x:"]);
    on.says("getent passwd $(id -u vu-deb-33)", &["vu-deb-33:x:"]);
    on.says("userdbctl user vu-deb-0", &["Disposition: container", "Service: io.systemd.Machine"]);
    on.says("userdbctl group vg-deb-5", &["Disposition: container", "GID 5 of Container deb"]);
    on.refuses(on.run("userdbctl user vu-nosuch-0"), 1, &["vu-nosuch-0"]);
    on.refuses(on.run("getent passwd vu-nosuch-0"), 2, &[]);
    on.refuses(on.run("userdbctl group vg-box-4000000000"), 1, &["vg-box-4000000000"]);
    on.says("userdbctl services --no-legend", &["io.systemd.Machine yes"]);
    on.says("ps -o user:20= -p $(machinectl show -p Leader --value deb)", &["vu-deb-0"]);
}

fn over_varlink(on: &Replaced) {
    on.says(&format!("varlinkctl info {SOCKET}"), &["io.systemd.Machine", "io.systemd.MachineImage"]);
    on.says(&format!("varlinkctl introspect {SOCKET} io.systemd.Machine"), &["method List(", "method BindMount("]);
    let call = |words: &str| format!("varlinkctl call {words}");
    let all = format!("--more {SOCKET} io.systemd.Machine.List '{{}}'");
    on.says(&call(&all), &["\"name\":\"deb\"", "\"name\":\"box\"", "\"name\":\".host\""]);
    let one = format!("{SOCKET} io.systemd.Machine.List '{{\"name\":\"deb\",\"acquireMetadata\":\"yes\"}}'");
    on.says(&call(&one), &["\"addresses\":[{\"address\":[10,9,0,2],\"family\":2", "ID=debian", "\"UIDShift\":"]);
    let image = format!("{SOCKET}Image io.systemd.MachineImage.List '{{\"name\":\"deb\"}}'");
    on.says(&call(&image), &["\"type\":\"directory\"", "\"path\":\"/var/lib/machines/deb\""]);
    let missing = format!("{SOCKET} io.systemd.Machine.List '{{\"name\":\"nosuch\"}}'");
    on.refuses(on.run(&call(&missing)), 1, &["io.systemd.Machine.NoSuchMachine"]);
}
