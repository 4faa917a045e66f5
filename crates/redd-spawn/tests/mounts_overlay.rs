//! Overlays beside the root: what is seen, where changes go, whose they are, and what is left.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};

use testkit::disk::Mounted;
use testkit::{Ended, HostState, Isolated, Spawn, fixture, requires};

const BINARY: &str = env!("CARGO_BIN_EXE_redd-spawn");
const FIRST: u32 = 600_000;
const MAPPED: &[&str] = &["--private-users=600000:65536", "--private-users-ownership=map"];
const MODES: [&[&str]; 4] = [&[], MAPPED, &["-U"], &["--private-users=identity"]];

/// A host's directory with two lower layers and an upper one, and a tree.
struct Layers {
    tree: fixture::Tree,
    host: fixture::Tree,
}

impl Layers {
    fn new() -> Self {
        let (tree, host) = (fixture::tree(), fixture::empty());
        for (name, text) in [("low/one", "low"), ("low/both", "low"), ("high/both", "high"), ("high/two", "high")] {
            host.write(name, text, 0o644);
        }
        fs::create_dir(host.join("up")).expect("directory");
        Self { tree, host }
    }

    fn path(&self, name: &str) -> String {
        self.host.join(name).display().to_string()
    }

    fn run(&self, options: &[&str], overlay: &str, script: &str) -> Ended {
        let host = self.host.path().display().to_string();
        let overlay = overlay.replace("HOST", &host);
        Spawn::redd(BINARY, self.tree.path()).arg("-P").args(options).arg(overlay).script(script).run()
    }

    fn names(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.host.join(directory)).expect("directory").flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

#[test]
fn changes_go_to_the_upper_layer_and_belong_to_root() {
    requires!(root, cgroup2, userns, idmap);
    let _isolated = Isolated::enter();
    for mode in MODES {
        let layers = Layers::new();
        let state = HostState::capture(layers.tree.path(), &[&layers.host.join("low"), &layers.host.join("high")]);
        let script = "cat /ov/one /ov/both /ov/two; stat -c %u:%g /ov /ov/one; echo new > /ov/new; rm /ov/one; \
                      echo more >> /ov/two; chown 5:6 /ov/two; mkdir /ov/dir; mv /ov/both /ov/dir; ls /ov /ov/dir";
        let ended = layers.run(mode, "--overlay=HOST/low:HOST/high:HOST/up:/ov", script).expect_code(0);
        let expected = "lowhighhigh0:0\n0:0\n/ov:\ndir\nnew\ntwo\n\n/ov/dir:\nboth\n";
        assert_eq!(ended.output, expected, "{mode:?}: {ended}");
        assert_eq!(layers.names("up"), ["both", "dir", "new", "one", "two"], "{mode:?}");
        assert_eq!(layers.names(""), ["high", "low", "up"], "{mode:?}: no work directory stays");
        let status = |name: &str| fs::symlink_metadata(layers.host.join(name)).expect("it is there");
        assert!(status("up/one").file_type().is_char_device(), "{mode:?}: a whiteout");
        assert_eq!((status("up/new").uid(), status("up/new").gid()), (0, 0), "{mode:?}");
        assert_eq!((status("up/two").uid(), status("up/two").gid()), (5, 6), "{mode:?}");
        assert_eq!(fs::read_to_string(layers.host.join("up/two")).expect("file"), "highmore\n", "{mode:?}");
        state.assert_same();
        // A second run goes on with what the first has left.
        let ended = layers.run(mode, "--overlay=HOST/low:HOST/high:HOST/up:/ov", "cat /ov/new; ls /ov").expect_code(0);
        assert_eq!(ended.output, "new\ndir\nnew\ntwo\n", "{mode:?}");
    }
}

#[test]
fn layers_that_belong_to_the_users_already_stay_theirs() {
    requires!(root, cgroup2, userns, idmap);
    let _isolated = Isolated::enter();
    let layers = Layers::new();
    for name in ["high", "high/two", "high/both", "up"] {
        chown(layers.host.join(name), Some(FIRST), Some(FIRST)).expect("owner");
    }
    let script = "stat -c %u /ov/one /ov/two; echo > /ov/new; echo >> /ov/one";
    let ended = layers.run(MAPPED, "--overlay=HOST/low:HOST/high:HOST/up:/ov", script).expect_code(0);
    assert_eq!(ended.output, "0\n0\n");
    for name in ["up/new", "up/one"] {
        assert_eq!(fs::metadata(layers.host.join(name)).expect("it is there").uid(), FIRST, "{name}");
    }
}

#[test]
fn a_temporary_upper_layer_and_parts_of_the_tree() {
    requires!(root, cgroup2, userns, idmap);
    let _isolated = Isolated::enter();
    for mode in MODES {
        let layers = Layers::new();
        layers.tree.write("data/file", "tree", 0o644);
        let state = HostState::capture(layers.tree.path(), &[layers.host.path()]);
        let script = "cat /data/file; echo x > /data/file; echo y > /data/new; ls /data; stat -c %u:%a /data";
        for options in [&[][..], &["--read-only"], &["-x"]] {
            let options: Vec<_> = mode.iter().chain(options).copied().collect();
            let ended = layers.run(&options, "--overlay=+/data::/data", script).expect_code(0);
            assert_eq!(ended.output, "treefile\nnew\n0:755\n", "{options:?}");
        }
        state.assert_same();
        let read_only = layers.run(mode, "--overlay-ro=+/data:HOST/low:/data", "ls /data; echo > /data/x || echo no");
        assert_eq!(read_only.expect_code(0).output, "both\nfile\none\nno\n");
        let empty = layers.run(mode, "--overlay-ro=HOST/low::/data", "ls /data").expect_code(0);
        assert_eq!(empty.output, "both\none\n");
        state.assert_same();
        // The upper layer in the tree itself.
        fs::create_dir(layers.tree.join("up")).expect("directory");
        layers.run(mode, "--overlay=HOST/low:+/up:/data", "echo x > /data/new; rm /data/one").expect_code(0);
        let status = fs::metadata(layers.tree.join("up/new")).expect("it is there");
        assert_eq!(status.uid(), 0, "{mode:?}");
        assert!(
            fs::read_dir(layers.tree.path())
                .expect("tree")
                .flatten()
                .all(|entry| { !entry.file_name().to_string_lossy().contains("redd") })
        );
    }
}

#[test]
fn two_paths_and_many_and_strange_names() {
    requires!(root, cgroup2);
    let _isolated = Isolated::enter();
    let layers = Layers::new();
    let up = layers.path("up");
    layers.run(&[], "--overlay=HOST/low:HOST/up", &format!("cat {up}/one; echo x > {up}/new")).expect_code(0);
    assert_eq!(layers.names("up"), ["new"]);
    // A missing upper layer is made, as the original does.
    layers.run(&[], "--overlay=HOST/low:HOST/made:/ov", "echo x > /ov/new").expect_code(0);
    assert_eq!(layers.names("made"), ["new"]);
    let strange = r"a,b:c\d e";
    let (lower, upper) = (layers.host.join(&format!("low {strange}")), layers.host.join(&format!("up {strange}")));
    for path in [&lower, &upper] {
        fs::create_dir(path).expect("directory");
    }
    fs::write(lower.join("file"), "strange").expect("file");
    let escaped = |path: &Path| path.display().to_string().replace('\\', r"\\").replace(':', r"\:");
    let overlay = format!("--overlay={}:{}:/o\\:v", escaped(&lower), escaped(&upper));
    assert_eq!(layers.run(&[], &overlay, "cat /o:v/file; echo x > /o:v/new").expect_code(0).output, "strange");
    assert!(upper.join("new").exists());
    let mut many = String::from("--overlay-ro=");
    for number in 0..120 {
        layers.host.write(&format!("many/{number}/file"), number.to_string(), 0o644);
        many += &format!("HOST/many/{number}:");
    }
    assert_eq!(layers.run(&[], &(many + "/ov"), "cat /ov/file").expect_code(0).output, "119");
}

#[test]
fn what_cannot_be_a_layer_is_refused_by_name() {
    requires!(root, cgroup2, userns);
    let _isolated = Isolated::enter();
    let layers = Layers::new();
    let state = HostState::capture(layers.tree.path(), &[&layers.host.join("low"), &layers.host.join("up")]);
    let names = layers.names("");
    for (options, overlay, word) in [
        (&[][..], "--overlay=HOST/nothing:HOST/up:/ov", "nothing"),
        (&[], "--overlay=HOST/low/one:HOST/up:/ov", "Not a directory"),
        (&[], "--overlay=HOST/low:HOST/low/one:/ov", "Not a directory"),
        (&[], "--overlay-ro=HOST/low:HOST/nothing:/ov", "nothing"),
        (&[], "--overlay=HOST/low:/proc:/ov", "mount point"),
        (&[], "--overlay=HOST/low:+/nothing:/ov", "+/nothing"),
        (&["-x"], "--overlay=HOST/low:+/tmp:/ov", "not kept"),
        (&["--read-only"], "--overlay=HOST/low:+/tmp:/ov", "read-only"),
        (MAPPED, "--overlay=/proc:HOST/up:/ov", "cannot map ids"),
    ] {
        let ended = layers.run(options, overlay, "echo started");
        assert_eq!(ended.code(), 1, "{overlay}: {ended}");
        assert!(ended.errors.contains(word) && ended.output.is_empty(), "{overlay}: {ended}");
    }
    state.assert_same();
    assert_eq!(layers.names(""), names);
}

#[test]
fn a_killed_supervisor_leaves_nothing_that_the_next_start_does_not_remove() {
    requires!(root, cgroup2, userns, idmap);
    let _isolated = Isolated::enter();
    for mode in [&[][..], MAPPED] {
        let layers = Layers::new();
        let state = HostState::capture(layers.tree.path(), &[&layers.host.join("low")]);
        let mut command = Command::new(BINARY);
        command.args(["-q", "--pipe", "-D"]).arg(layers.tree.path()).args(mode);
        command.arg(format!("--overlay={}:{}:/ov", layers.path("low"), layers.path("up")));
        command.arg(format!("--overlay={}::/two", layers.path("low")));
        command.args(["/bin/sh", "-c", "echo ready; exec sleep 1000"]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("start");
        let mut stdout = child.stdout.take().expect("pipe");
        stdout.read_exact(&mut [0; 6]).expect("ready");
        assert_eq!(layers.names("").len(), 4, "low, high, up and the work directory");
        child.kill().expect("kill");
        child.wait().expect("wait");
        let _ = stdout.read_to_end(&mut Vec::new());
        let cleanup = Spawn::redd(BINARY, layers.tree.path()).arg("--cleanup").run();
        assert_eq!(cleanup.code(), 0, "{cleanup}");
        assert_eq!(layers.names(""), ["high", "low", "up"], "{mode:?}");
        state.assert_same();
    }
}

#[test]
fn overlays_and_binds_live_through_a_reboot_of_the_container() {
    requires!(root, cgroup2, userns, idmap);
    let _isolated = Isolated::enter();
    for mode in [&[][..], MAPPED] {
        let layers = Layers::new();
        // The first process asks for a reboot; where there is a mark, that has happened.
        let script = "if test -e /ov/mark; then ls /ov /two /three /four; else \
                      touch /ov/mark /two/mark /three/mark /four/mark; exec /probe restart; fi";
        let ended = Spawn::redd(BINARY, layers.tree.path())
            .arg("-P")
            .args(mode)
            .arg(format!("--overlay={}:{}:/ov", layers.path("low"), layers.path("up")))
            .arg(format!("--overlay={}::/two", layers.path("high")))
            .arg("--bind=:/three")
            .arg(format!("--bind={}:/four:idmap", layers.path("high")))
            .script(script)
            .run()
            .expect_code(0);
        let expected = "/four:\nboth\nmark\ntwo\n\n/ov:\nboth\nmark\none\n\n/three:\nmark\n\n/two:\nboth\nmark\ntwo\n";
        assert_eq!(ended.output, expected, "{mode:?}: {ended}");
        assert_eq!(layers.names(""), ["high", "low", "up"], "{mode:?}");
    }
}

#[test]
fn where_no_upper_layer_fits_a_temporary_one_is_in_memory() {
    requires!(root, cgroup2);
    let _isolated = Isolated::enter();
    let layers = Layers::new();
    let memory = layers.host.join("memory");
    fs::create_dir(&memory).expect("directory");
    let _memory = Mounted::new(&["-t", "tmpfs", "tmpfs"], &memory);
    for name in ["u", "w"] {
        fs::create_dir(memory.join(name)).expect("directory");
    }
    // As on a machine that is a container itself: what temporary directories are in is an overlay.
    let options = format!("lowerdir=/var/tmp,upperdir={0}/u,workdir={0}/w", memory.display());
    let _overlay = Mounted::new(&["-t", "overlay", "-o", &options, "overlay"], Path::new("/var/tmp"));
    let ended = layers.run(&[], "--overlay=HOST/low::/ov", "echo x > /ov/new; cat /ov/one; ls /ov; stat -c %a /ov");
    assert_eq!(ended.output, "lowboth\nnew\none\n755\n", "{ended}");
    let host = layers.host.path().display().to_string();
    let loud = Command::new(BINARY)
        .args(["-P", "-D"])
        .arg(layers.tree.path())
        .arg(format!("--overlay={host}/low::/ov"))
        .args(["/bin/sh", "-c", "true"])
        .output()
        .expect("start");
    assert!(String::from_utf8_lossy(&loud.stderr).contains("kept in memory"), "{loud:?}");
}

#[test]
fn an_upper_layer_in_the_tree_stays_where_it_was_whatever_the_container_puts_in_its_place() {
    requires!(root, cgroup2);
    let _isolated = Isolated::enter();
    let layers = Layers::new();
    fs::create_dir_all(layers.tree.join("a/up")).expect("directory");
    // What would be taken for the layers, were the link followed on the host.
    let trap = fixture::empty();
    fs::create_dir(trap.join("up")).expect("directory");
    fs::create_dir_all(trap.join(&format!(".#redd.{}#mounts/0", layers.tree.name()))).expect("directory");
    let state = HostState::capture(layers.tree.path(), &[trap.path()]);
    let script = format!(
        "if test -L /a; then echo caught > /ov/second; else echo > /ov/first; mv /a /b; ln -s {} /a; \
         exec /probe restart; fi",
        trap.path().display()
    );
    layers.run(&[], "--overlay=HOST/low:+/a/up:/ov", &script).expect_code(0);
    state.assert_same();
    assert_eq!(fs::read_to_string(layers.tree.join("b/up/second")).expect("the changes"), "caught\n");
    assert_eq!(fs::read_dir(layers.tree.join("b")).expect("directory").count(), 1, "no work directory stays");
}

#[test]
fn layers_of_another_range_are_mapped_from_there() {
    requires!(root, cgroup2, userns, idmap);
    let _isolated = Isolated::enter();
    let layers = Layers::new();
    const OTHER: u32 = 0x000b_0000;
    for name in ["low", "low/one", "low/both", "up"] {
        chown(layers.host.join(name), Some(OTHER), Some(OTHER)).expect("owner");
    }
    chown(layers.host.join("low/one"), Some(OTHER + 5), Some(OTHER + 6)).expect("owner");
    let script = "stat -c %u:%g /ov /ov/one /ov/two; echo > /ov/new; chown 7 /ov/new";
    let ended = layers.run(MAPPED, "--overlay=HOST/high:HOST/low:HOST/up:/ov", script).expect_code(0);
    assert_eq!(ended.output, "0:0\n5:6\n0:0\n");
    assert_eq!(fs::metadata(layers.host.join("up/new")).expect("it is there").uid(), OTHER + 7);
}
