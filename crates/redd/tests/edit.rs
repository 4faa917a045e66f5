//! `redd edit` and `redd cat`: the settings files of machines.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use testkit::disk::Mounted;
use testkit::{Ended, Isolated, requires, run_limited};

const LIMIT: Duration = Duration::from_secs(60);
const OWN: &str = "/etc/systemd/nspawn";
const IMAGES: &str = "/var/lib/machines";

/// A host with neither images nor settings files, and an editor.
struct Place {
    _mounts: [Mounted; 3],
    _isolated: Isolated,
    editor: TempDir,
}

impl Place {
    fn new() -> Self {
        let isolated = Isolated::enter();
        let own = |path: &str| {
            std::fs::create_dir_all(path).expect("directory");
            Mounted::new(&["-t", "tmpfs", "-o", "mode=755", "tmpfs"], Path::new(path))
        };
        let mounts = [own("/etc/systemd"), own("/run/systemd"), own(IMAGES)];
        Self { _mounts: mounts, _isolated: isolated, editor: tempfile::tempdir().expect("directory") }
    }

    fn redd(&self, verb: &str, words: &[&str], editor: Option<&str>) -> Ended {
        let mut command = Command::new(env!("CARGO_BIN_EXE_redd"));
        command.arg(verb).args(words);
        for name in ["SYSTEMD_EDITOR", "EDITOR", "VISUAL"] {
            command.env_remove(name);
        }
        if let Some(editor) = editor {
            command.env("EDITOR", editor);
        }
        run_limited(command, Vec::new(), LIMIT)
    }

    /// Edits with a script, whose arguments are the copies.
    fn edit(&self, words: &[&str], script: &str) -> Ended {
        let path = self.editor.path().join("editor");
        std::fs::write(&path, script).expect("script");
        self.redd("edit", words, Some(&format!("sh -eu {}", path.display())))
    }

    fn cat(&self, words: &[&str]) -> Ended {
        self.redd("cat", words, None)
    }
}

fn image(name: &str) -> PathBuf {
    let tree = Path::new(IMAGES).join(name);
    std::fs::create_dir_all(tree.join("usr")).expect("tree");
    tree.with_file_name(format!("{name}.nspawn"))
}

fn own(name: &str) -> PathBuf {
    Path::new(OWN).join(format!("{name}.nspawn"))
}

fn names(directory: &str) -> Vec<String> {
    let entries = std::fs::read_dir(directory).map(|all| all.collect::<Result<Vec<_>, _>>().expect("entries"));
    let mut names: Vec<_> =
        entries.unwrap_or_default().iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn a_new_file_is_the_administrators() {
    requires!(root);
    let place = Place::new();
    image("images-new.ä");
    let script = "test ! -s \"$1\"; case $1 in /etc/systemd/nspawn/.#*) ;; *) exit 1 ;; esac; \
                  printf '[Exec]\\nBoot=yes\\nBoot=maybe\\nNonsense=1\\n' > \"$1\"";
    let ended = place.edit(&["images-new.ä"], script).expect_code(0);
    let path = own("images-new.ä");
    assert_eq!(text(&path), "[Exec]\nBoot=yes\nBoot=maybe\nNonsense=1\n");
    assert_eq!(names(OWN), ["images-new.ä.nspawn"]);
    let status = std::fs::metadata(&path).expect("file");
    assert_eq!((status.mode() & 0o7777, status.uid(), status.gid()), (0o644, 0, 0));
    for line in [3, 4] {
        assert!(ended.errors.contains(&format!("{}:{line}: ", path.display())), "{ended}");
    }
    assert!(!ended.errors.contains("there is no image"), "{ended}");
    // Without an image it is made, too, and that is said.
    let ended = place.edit(&["images-none"], "echo '[Exec]' > \"$1\"").expect_code(0);
    assert!(ended.errors.contains("there is no image of images-none"), "{ended}");
    assert_eq!(text(&own("images-none")), "[Exec]\n");
    // A file that is broken altogether is kept and told of.
    let ended = place.edit(&["images-none"], "echo '[Exec' > \"$1\"").expect_code(0);
    assert!(ended.errors.contains("images-none.nspawn:1: this is no section"), "{ended}");
}

#[test]
fn a_file_is_edited_where_it_is() {
    requires!(root);
    let place = Place::new();
    let beside = image("images-one");
    std::fs::write(&beside, "[Exec]\n").expect("write");
    chown(&beside, Some(1000), Some(1001)).expect("owner");
    std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o640)).expect("mode");
    let script = "test \"$(cat \"$1\")\" = '[Exec]'; test \"$(dirname \"$1\")\" = /var/lib/machines; \
                  test \"$(stat -c %a \"$1\")\" = 600; echo Capability=all >> \"$1\"";
    let ended = place.edit(&["images-one"], script).expect_code(0);
    assert_eq!(text(&beside), "[Exec]\nCapability=all\n");
    let status = std::fs::metadata(&beside).expect("file");
    assert_eq!((status.mode() & 0o7777, status.uid(), status.gid()), (0o640, 1000, 1001));
    assert!(ended.errors.contains("images-one.nspawn:2: Capability= is ignored"), "{ended}");
    // The administrator's comes first, and may be a link.
    std::fs::create_dir(OWN).expect("directory");
    let real = place.editor.path().join("real");
    std::fs::write(&real, "[Network]\n").expect("write");
    symlink(&real, own("images-one")).expect("link");
    let ended = place.edit(&["images-one.nspawn"], "echo Private=yes >> \"$1\"").expect_code(0);
    assert!(!ended.errors.contains("Capability"), "{ended}");
    assert_eq!(text(&real), "[Network]\nPrivate=yes\n");
    assert!(own("images-one").is_symlink());
    // Several at once, and a path; the same one twice is one.
    let path = place.editor.path().join("other.nspawn");
    let words = ["images-one", "images-two", "images-one", path.to_str().expect("ours")];
    let ended = place.edit(&words, "test $# = 3; for copy; do echo '[Files]' > \"$copy\"; done");
    ended.expect_code(0);
    for path in [&real, &own("images-two"), &path] {
        assert_eq!(text(path), "[Files]\n");
    }
    assert_eq!(names(IMAGES), ["images-one", "images-one.nspawn"]);
}

#[test]
fn copies_are_dropped_that_say_nothing_new() {
    requires!(root);
    let place = Place::new();
    let beside = image("images-old");
    std::fs::write(&beside, "[Exec]\nBoot=yes\n").expect("write");
    let before = std::fs::metadata(&beside).expect("file").ino();
    let both = &["images-old", "images-fresh", "images-fresh2"];
    for (script, code, told) in [
        ("true", 0, "nothing"),
        ("for copy; do : > \"$copy\"; done", 0, "nothing is left"),
        ("rm \"$@\"", 0, "nothing is left"),
        ("for copy; do echo '[Exec]' > \"$copy\"; done; exit 3", 1, "failed (exit status: 3); nothing is changed"),
        ("kill -KILL $$", 1, "failed (signal: 9"),
    ] {
        let ended = place.edit(both, script).expect_code(code);
        assert!(ended.errors.contains(told), "{script}: {ended}");
        assert_eq!(names(IMAGES), ["images-old", "images-old.nspawn"], "{script}");
        assert!(!Path::new(OWN).exists(), "{script}");
        assert_eq!(std::fs::metadata(&beside).expect("file").ino(), before, "{script}");
    }
    let ended = place.redd("edit", both, Some("/no/such/editor -x")).expect_code(1);
    assert!(ended.errors.contains("cannot start the editor /no/such/editor"), "{ended}");
    let ended = place.redd("edit", both, None).expect_code(1);
    assert!(ended.errors.contains("no terminal to edit on"), "{ended}");
    assert!(!Path::new(OWN).exists());
    // Control-C is for the editor.
    place.edit(&["images-old"], "sleep 1; kill -INT $PPID; sleep 0.2; echo '[Files]' > \"$1\"").expect_code(0);
    assert_eq!(text(&beside), "[Files]\n");
}

#[test]
fn what_somebody_else_has_written_meanwhile_stays() {
    requires!(root);
    let place = Place::new();
    for (name, before) in [("images-there", true), ("images-not", false)] {
        let beside = image(name);
        if before {
            std::fs::write(&beside, "[Exec]\n").expect("write");
        }
        let path = if before { beside } else { own(name) };
        let script = format!("echo '[Files]' > \"$1\"; echo '[Network]' > {}", path.display());
        let ended = place.edit(&[name], &script).expect_code(1);
        assert!(ended.errors.contains("somebody else has changed it meanwhile"), "{ended}");
        assert_eq!(text(&path), "[Network]\n");
        let directory = path.parent().and_then(Path::to_str).expect("ours");
        let kept = names(directory).into_iter().find(|file| file.starts_with(&format!(".#{name}."))).expect("kept");
        assert!(ended.errors.contains(&kept), "{ended}");
        assert_eq!(text(&Path::new(directory).join(kept)), "[Files]\n");
    }
    let ended = place.edit(&["images-large"], "head -c 65537 /dev/zero | tr '\\0' '#' > \"$1\"").expect_code(1);
    assert!(ended.errors.contains("larger than 65536 bytes"), "{ended}");
    assert!(!own("images-large").exists());
}

#[test]
fn what_a_killed_edit_has_left_goes_with_the_next() {
    requires!(root);
    let place = Place::new();
    let beside = image("images-killed");
    std::fs::write(&beside, "[Exec]\n").expect("write");
    image("images-killed.x");
    let copies = || names(IMAGES).into_iter().filter(|name| name.starts_with(".#")).collect::<Vec<_>>();
    let killed = |script: &str| {
        let ended = place.edit(&["images-killed"], &format!("{script}; kill -KILL $PPID"));
        assert!(!ended.errors.contains("stays as it is"), "{ended}");
        assert_eq!(text(&beside), "[Exec]\n");
    };
    for script in [":", ": > \"$1\"", "cp \"$1\" \"$1.new\"; mv \"$1.new\" \"$1\""] {
        killed(script);
        assert_eq!(copies().len(), 1, "{script}");
        // One of another machine, or of an edit that goes on, stays.
        place.edit(&["images-killed.x"], "true").expect_code(0);
        assert_eq!(copies().len(), 1, "{script}");
        let ended = place.edit(&["images-killed"], "test \"$(ls -A /var/lib/machines | grep -c '^.#')\" = 1");
        assert!(!ended.expect_code(0).errors.contains("before its end"), "{script}");
        assert_eq!(copies(), [""; 0], "{script}");
    }
    killed("echo '[Files]' > \"$1\"");
    let left = copies();
    let ended = place.edit(&["images-killed"], "echo '[Network]' > \"$1\"").expect_code(0);
    assert!(ended.errors.contains(&left[0]), "work that is in none but the copy is told of: {ended}");
    assert_eq!((copies(), text(&beside)), (left.clone(), "[Network]\n".to_owned()));
    // Whatever lies there under such a name is not followed and not waited for.
    let name = |digits: &str| Path::new(IMAGES).join(format!(".#images-killed.{digits}.nspawn"));
    symlink(&beside, name("7fffffff00000001")).expect("link");
    testkit::disk::run(Command::new("mkfifo").arg(name("7fffffff00000002")));
    let own = name(&format!("{:08x}00000003", std::process::id()));
    std::fs::write(&own, "").expect("that of somebody who lives");
    place.edit(&["images-killed"], "true").expect_code(0);
    assert_eq!(copies().len(), 4);
    assert_eq!(text(&beside), "[Network]\n");
}

#[test]
fn files_are_shown_below_their_paths() {
    requires!(root);
    let place = Place::new();
    let (one, two) = (image("images-one"), image("images-two"));
    std::fs::write(&one, b"[Exec]\n# \xff\x1b no orders\n").expect("write");
    std::fs::create_dir(OWN).expect("directory");
    std::fs::write(own("images-two"), "[Files]").expect("write");
    std::fs::write(&two, "[Network]\n").expect("write");
    let beside = two.to_str().expect("ours");
    let shown = place.cat(&["images-two", beside]).expect_code(0).output;
    assert_eq!(shown, format!("# {OWN}/images-two.nspawn\n[Files]\n\n# {beside}\n[Network]\n"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_redd"));
    let output = command.args(["cat", "images-one"]).output().expect("redd");
    assert!(output.stdout.ends_with(b"[Exec]\n# \xff\x1b no orders\n"), "programs get every byte");
    // What is missing keeps nothing from being shown.
    image("images-bare");
    let ended = place.cat(&["images-bare", "images-two", "images-gone"]).expect_code(1);
    assert!(ended.output.contains("[Files]"), "{ended}");
    assert!(ended.errors.contains("the machine images-bare has no settings file"), "{ended}");
    assert!(ended.errors.contains("there is neither a settings file nor an image of images-gone"), "{ended}");
}

#[test]
fn bad_words_change_nothing() {
    requires!(root);
    let place = Place::new();
    let link = image("images-link");
    symlink("/etc/shadow", &link).expect("link");
    let fifo = image("images-fifo");
    testkit::disk::run(Command::new("mkfifo").arg(&fifo));
    std::fs::write(image("images-much"), vec![b'#'; 65537]).expect("write");
    std::fs::create_dir(OWN).expect("directory");
    symlink("/nowhere", own("images-lost")).expect("link");
    let before = (names(IMAGES), names(OWN));
    for (word, code, told) in [
        ("..", 1, "cannot be named"),
        ("", 1, "cannot be named"),
        (".#x", 1, "cannot be named"),
        ("a\nb", 1, "cannot be named"),
        (".host", 2, "the running system itself"),
        ("./no-ending", 2, "names end in .nspawn"),
        ("/tmp/.nspawn", 2, "names end in .nspawn"),
        ("images-link", 1, "it is a symbolic link"),
        ("images-fifo", 1, "it is no regular file"),
        ("images-much", 1, "larger than 65536 bytes"),
        ("images-lost", 1, "leads nowhere"),
    ] {
        for ended in [place.cat(&[word]), place.edit(&["images-good", word], "for c; do echo '[Exec]' > \"$c\"; done")]
        {
            let ended = ended.expect_code(code);
            assert!(ended.errors.contains(told), "{word:?}: {ended}");
        }
    }
    assert_eq!((names(IMAGES), names(OWN)), before);
    for verb in ["edit", "cat"] {
        let ended = place.redd(verb, &[], None).expect_code(2);
        assert!(ended.errors.contains("NAME|FILE"), "{ended}");
    }
}
