//! What root inside can do to the host: the probe's table of attempts, in each mode, for us and for the reference.

use std::collections::BTreeMap;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::{Child, Command};
use std::time::Duration;

use testkit::{Engine, HostState, Isolated, Spawn, Terminal, fixture, requires};

const REDD: &str = env!("CARGO_BIN_EXE_redd-spawn");

/// How a container is started.
struct Mode {
    name: &'static str,
    options: &'static [&'static str],
    /// It has users of its own.
    users: bool,
    /// It has a network of its own.
    network: bool,
    /// What its files belong to on disk, from there on.
    owner: u32,
    /// With what the reference is started where it has no such mode, or cannot start with it.
    reference: Option<&'static [&'static str]>,
}

impl Mode {
    const fn new(name: &'static str, options: &'static [&'static str]) -> Self {
        Self { name, options, users: false, network: false, owner: 0, reference: None }
    }

    const fn with_users(name: &'static str, options: &'static [&'static str]) -> Self {
        Self { users: true, ..Self::new(name, options) }
    }

    /// The words of the table of attempts that fit it.
    fn is(&self, word: &str) -> bool {
        word == "-U" && self.users || word == "--private-network" && self.network
    }
}

const SHIFTED: u32 = 0x000c_0000;
const FOREIGN: u32 = 0x7ffe_0000;
const PICK: &str = "--private-users=pick";
const CHOWN: &str = "--private-users-ownership=chown";
const MAP: &str = "--private-users-ownership=map";

const MODES: [Mode; 16] = [
    Mode::new("default", &[]),
    Mode { network: true, ..Mode::new("--private-network", &["--private-network"]) },
    Mode::with_users("-U", &["-U"]),
    Mode { network: true, ..Mode::with_users("-U --private-network", &["-U", "--private-network"]) },
    Mode::with_users("pick, map", &[PICK, MAP]),
    Mode::with_users("pick, chown", &[PICK, CHOWN]),
    Mode {
        owner: FOREIGN,
        reference: Some(&["-U"]),
        ..Mode::with_users("pick, foreign", &[PICK, "--private-users-ownership=foreign"])
    },
    Mode { owner: SHIFTED, ..Mode::with_users("yes", &["--private-users=yes"]) },
    Mode { owner: SHIFTED, ..Mode::with_users("a range", &["--private-users=786432:65536"]) },
    Mode::with_users("a range, map", &["--private-users=786432", MAP]),
    Mode::with_users("-U -x", &["-U", "-x"]),
    Mode::with_users("chown -x", &["-x", PICK, CHOWN]),
    Mode { reference: Some(&["-U"]), ..Mode::with_users("-U --volatile=yes", &["-U", "--volatile=yes"]) },
    Mode { reference: Some(&["-U"]), ..Mode::with_users("-U --volatile=state", &["-U", "--volatile=state"]) },
    Mode::with_users("-U --volatile=overlay", &["-U", "--volatile=overlay"]),
    Mode::with_users("-U --read-only", &["-U", "--read-only"]),
];

/// Attempts that may go through in a mode, because nothing of the host is reached; what would reach it has a probe of
/// its own.
const OWN: [(&str, &str, &str); 5] = [
    ("fresh-proc", "-U", "another view of the container's own processes, needed by containers within containers"),
    ("proc-sys-remount", "-U", "the container's own mount; what is the host's there cannot be written"),
    ("io-uring", "-U", "a call for every process; the kernel checks what is asked for as it does for the other calls"),
    ("abstract-socket", "-U", "the host's network is shared unless --private-network is given"),
    ("sysctl-forwarding", "--private-network", "a setting of the container's own network"),
];

/// Devices are closed also to a container without users of its own, which the reference leaves open.
const DEVICES: [&str; 8] =
    ["mknod-loop", "open-loop", "write-loop", "mknod-mem", "open-mem", "devtmpfs-loop", "mount-loop", "mount-loop-api"];

/// What the host has and the container must not reach.
struct Bait {
    canary: fixture::Tree,
    sleeper: Child,
    loop_device: String,
    shared_memory: (String, String),
    _listener: UnixListener,
    socket: String,
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

impl Bait {
    fn lay() -> Self {
        let canary = fixture::empty();
        canary.write("canary", "the host's", 0o644);
        let image = canary.write("image", vec![0u8; 1 << 20], 0o600);
        let loop_device = output("losetup", &["--find", "--show", &image.to_string_lossy()]);
        output("ip", &["link", "add", "redd-bait", "type", "bridge"]);
        let memory = output("ipcmk", &["-M", "4096"]);
        let id = memory.rsplit(' ').next().expect("the id of the segment").to_owned();
        let table = std::fs::read_to_string("/proc/sysvipc/shm").expect("segments");
        let mut rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let key = rows.find(|row| row.get(1) == Some(&id.as_str())).expect("our segment")[0].to_owned();
        let socket = canary.name();
        let address = SocketAddr::from_abstract_name(&socket).expect("address");
        Self {
            sleeper: Command::new("sleep").arg("600").spawn().expect("sleep"),
            _listener: UnixListener::bind_addr(&address).expect("socket"),
            canary,
            loop_device,
            shared_memory: (id, key),
            socket,
        }
    }

    /// What is hard to make inside: nodes of devices that no container should open.
    fn put_nodes(&self, tree: &fixture::Tree) {
        let (major, minor) = self.loop_number();
        let nodes = [("loop", 'b', major, minor), ("mem", 'c', 1, 1), ("kmsg", 'c', 1, 11), ("rtc", 'c', 10, 135)];
        for (name, kind, major, minor) in nodes {
            let path = tree.join(&format!("host-{name}")).display().to_string();
            output("mknod", &["-m", "666", &path, &kind.to_string(), &major.to_string(), &minor.to_string()]);
        }
    }

    fn loop_number(&self) -> (u32, u32) {
        let name = self.loop_device.trim_start_matches("/dev/");
        let text = std::fs::read_to_string(format!("/sys/block/{name}/dev")).expect("number of the loop device");
        let (major, minor) = text.trim().split_once(':').expect("major:minor");
        (major.parse().expect("number"), minor.parse().expect("number"))
    }

    fn words(&self) -> Vec<String> {
        let (major, minor) = self.loop_number();
        vec![
            format!("pid={}", self.sleeper.id()),
            format!("loop={major}:{minor}"),
            format!("canary={}", self.canary.join("canary").display()),
            "link=redd-bait".to_owned(),
            format!("socket={}", self.socket),
            format!("key={}", self.shared_memory.1),
        ]
    }
}

impl Drop for Bait {
    fn drop(&mut self) {
        // All of it is tried, whatever the test has come to.
        let _ = self.sleeper.kill();
        let _ = self.sleeper.wait();
        let _ = Command::new("losetup").args(["-d", &self.loop_device]).status();
        let _ = Command::new("ipcrm").args(["-m", &self.shared_memory.0]).status();
    }
}

/// The probe is where every mode has it.
fn tree_of(mode: &Mode) -> fixture::Tree {
    let tree = fixture::tree();
    std::fs::copy(tree.join("probe"), tree.join("usr/bin/probe"))
        .unwrap_or_else(|error| panic!("{}: {error}", mode.name));
    tree
}

fn attempt_all(engine: &Engine, mode: &Mode, bait: &Bait) -> BTreeMap<String, String> {
    let tree = tree_of(mode);
    bait.put_nodes(&tree);
    let options = match engine {
        Engine::Reference => mode.reference.unwrap_or(mode.options),
        Engine::Redd(_) => mode.options,
    };
    if options == mode.options && mode.owner != 0 {
        output("chown", &["-hR", &format!("{0}:{0}", mode.owner), &tree.path().display().to_string()]);
    }
    let before = HostState::capture(tree.path(), &[bait.canary.path()]);
    let ended = Spawn::of(engine, tree.path())
        .args(options)
        .args(["/usr/bin/probe", "escape"])
        .args(bait.words())
        .limit(Duration::from_secs(120))
        .run();
    assert_eq!(ended.code(), 0, "{ended}");
    let lines = ended.output.lines().filter_map(|line| line.trim_end().split_once('='));
    let results = lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    if matches!(engine, Engine::Redd(_)) {
        before.assert_same();
    }
    results
}

#[test]
fn no_worse_than_the_reference_and_with_users_of_its_own_nothing_works() {
    requires!(
        root,
        cgroup2,
        userns,
        idmap,
        loop,
        program "losetup",
        program "ip",
        program "ipcmk",
        program "systemd-nspawn"
    );
    let _isolated = Isolated::enter();
    let bait = Bait::lay();
    let mut wrong = Vec::new();
    for mode in &MODES {
        let ours = attempt_all(&Engine::Redd(REDD.into()), mode, &bait);
        let reference = attempt_all(&Engine::Reference, mode, &bait);
        for (name, result) in &ours {
            let theirs = reference.get(name).map_or("-", String::as_str);
            println!("{:22} {name:28} {result:14} {theirs}", mode.name);
        }
        wrong.extend(judge(mode, &ours, &reference));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is wrong: attempts that go through and must not. What fails must have been tried at all.
fn judge(mode: &Mode, ours: &BTreeMap<String, String>, reference: &BTreeMap<String, String>) -> Vec<String> {
    let (users, name_of_mode) = (mode.users, mode.name);
    let mut wrong = Vec::new();
    for (name, result) in ours {
        let theirs = reference.get(name).map_or("nothing", String::as_str);
        let own = OWN.iter().any(|(probe, when, _)| probe == name && mode.is(when));
        let allowed = own || !users && !DEVICES.contains(&name.as_str());
        let bad = result == "ok" && !(allowed && theirs == "ok");
        if bad || result.starts_with("no child") || result.starts_with("signal") {
            wrong.push(format!("{name_of_mode}: {name}: {result} (reference: {theirs})"));
        }
    }
    if ours.len() < 80 || ours.len() != reference.len() {
        wrong.push(format!("{name_of_mode}: {} attempts, with the reference {}", ours.len(), reference.len()));
    }
    wrong
}

/// Runs the engine from a shell that has more descriptors open than it should hand on.
fn descriptors(engine: &Engine, options: &[&str], directory: &fixture::Tree) -> Vec<String> {
    let tree = fixture::tree();
    let inner = Spawn::of(engine, tree.path()).args(options).args(["/probe", "descriptors"]).command();
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec 5</ 7</etc/passwd; exec 8<\"$0\"; exec \"$@\""]).arg(directory.path());
    shell.arg(inner.get_program()).args(inner.get_args());
    let ended = testkit::run_limited(shell, Vec::new(), Duration::from_secs(30)).expect_code(0);
    ended.output.lines().map(|line| line.trim_end().to_owned()).collect()
}

#[test]
fn no_descriptor_of_the_callers_is_inherited() {
    requires!(root, cgroup2, userns, idmap);
    let directory = fixture::empty();
    for Mode { name: mode, options, .. } in MODES.iter().filter(|mode| mode.owner == 0 && !mode.name.contains("=yes")) {
        let found = descriptors(&Engine::Redd(REDD.into()), options, &directory);
        let numbers: Vec<_> =
            found.iter().filter_map(|line| line.strip_prefix("descriptor ")?.split('=').next()).collect();
        assert_eq!(numbers.len(), 3, "{mode}: {found:?}");
        assert!(["0", "1", "2"].iter().all(|number| numbers.contains(number)), "{mode}: {found:?}");
    }
}

/// Whether a letter that the payload has injected arrives at the terminal that the engine was called from.
fn letter_arrives(engine: &Engine, options: &[&str]) -> bool {
    let limit = Duration::from_secs(30);
    let tree = fixture::tree();
    let inner = Spawn::of(engine, tree.path()).args(options).args(["/probe", "inject"]).command();
    let mut shell = Command::new("sh");
    let script = "stty -icanon -echo; \"$0\" \"$@\"; stty -icanon -echo min 0 time 3; printf 'read<'; cat; echo '>'";
    shell.args(["-c", script]).arg(inner.get_program()).args(inner.get_args());
    let mut terminal = Terminal::start(&mut shell);
    terminal.expect("inject=", limit);
    terminal.expect("read<", limit);
    let text = terminal.expect(">", limit);
    terminal.wait(limit);
    text.contains('X')
}

#[test]
fn nothing_is_typed_on_the_callers_terminal() {
    requires!(root, cgroup2, userns, idmap, program "stty", program "systemd-nspawn");
    for Mode { name: mode, options, users, .. } in &MODES[..4] {
        for console in ["interactive", "pipe"] {
            let options: Vec<&str> =
                options.iter().copied().chain([["--console=", console].concat().leak() as &str]).collect();
            let arrives = letter_arrives(&Engine::Redd(REDD.into()), &options);
            println!("{mode} {console}: {arrives}");
            if arrives {
                let theirs = letter_arrives(&Engine::Reference, &options);
                assert!(theirs && console == "pipe" && !users, "{mode} {console}, reference: {theirs}");
            }
        }
    }
}
