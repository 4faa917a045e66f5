//! `redd completions`: the names that the shells offer.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use testkit::disk::Mounted;
use testkit::{Isolated, Running, fixture, requires, run_limited};

const REDD: &str = env!("CARGO_BIN_EXE_redd");
const IMAGES: &str = "/var/lib/machines";

/// A host with one machine and three images, one of them with a name that a careless shell would carry out; and a directory with
/// `redd` in it and the script of a shell.
struct Place {
    running: Running,
    scripts: tempfile::TempDir,
    _mounts: [Mounted; 2],
    _isolated: Isolated,
}

const EVIL: &str = "web$(touch evil)`touch evil`;touch evil";

impl Place {
    fn new(word: &str) -> Self {
        let isolated = Isolated::enter();
        let own = |path: &str| {
            std::fs::create_dir_all(path).expect("directory");
            Mounted::new(&["-t", "tmpfs", "-o", "mode=755", "tmpfs"], Path::new(path))
        };
        let mounts = [own("/run/redd"), own(IMAGES)];
        for name in ["web", "mail", EVIL, "web\x1b[2J"] {
            std::fs::create_dir_all(Path::new(IMAGES).join(name).join("usr")).expect("image");
        }
        let name = format!("completed-{word}-{}", std::process::id());
        let tree = Path::new(IMAGES).join(".hidden");
        std::fs::create_dir(&tree).expect("tree");
        fixture::tree_at(&tree);
        let mut command = Command::new(REDD);
        command.args(["spawn", "-q", "-M", &name, "-D"]).arg(&tree).args(["/bin/sleep", "1000"]);
        let running = Running::start(command, &name);
        let scripts = tempfile::tempdir().expect("directory");
        std::os::unix::fs::symlink(REDD, scripts.path().join("redd")).expect("link");
        let script = Command::new(REDD).args(["completions", word]).output().expect("script");
        assert!(script.status.success(), "{script:?}");
        std::fs::write(scripts.path().join("_redd"), script.stdout).expect("script");
        Self { running, scripts, _mounts: mounts, _isolated: isolated }
    }

    /// What a program of the shell prints, line by line in order.
    fn lines(&self, words: &[&str]) -> Vec<String> {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).current_dir(self.scripts.path());
        command.env("PATH", format!("{}:{path}", self.scripts.path().display())).env("HOME", self.scripts.path());
        let ended = run_limited(command, Vec::new(), Duration::from_secs(60)).expect_code(0);
        assert!(!self.scripts.path().join("evil").exists(), "a name was carried out");
        let mut lines: Vec<String> = ended.output.lines().map(|line| line.trim_end().to_owned()).collect();
        lines.retain(|line| !line.is_empty());
        lines.sort();
        lines
    }
}

#[test]
fn bash_offers_the_names_that_there_are() {
    requires!(root, cgroup2, program "bash");
    let place = Place::new("bash");
    let machine = place.running.name().to_owned();
    let completed = |words: &[&str]| {
        let program = r#"source ./_redd; declared=$(complete -p redd)
            function=${declared##*-F }; function=${function%% *}
            COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
            "$function" redd "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
            printf '%s\n' "${COMPREPLY[@]}""#;
        place.lines(&[&["bash", "--norc", "-c", program, "bash", "redd"], words].concat())
    };
    for verb in ["status", "poweroff", "exec", "stop", "copy-to", "logs"] {
        assert_eq!(completed(&[verb, ""]), std::slice::from_ref(&machine), "{verb}");
        assert_eq!(completed(&[verb, "comp"]), std::slice::from_ref(&machine), "{verb}");
        assert_eq!(completed(&[verb, "zzz"]), [""; 0], "{verb}");
    }
    assert_eq!(completed(&["exec", "-t", "comp"]), std::slice::from_ref(&machine));
    assert_eq!(completed(&["exec", &machine, "comp"]), [""; 0]);
    for verb in ["start", "remove", "clone", "edit", "image-status"] {
        let offered = completed(&[verb, "w"]);
        assert_eq!(offered.len(), 2, "{offered:?}");
        assert!(
            offered.contains(&"web".to_owned()) && offered.iter().all(|name| !name.contains('\x1b')),
            "{offered:?}"
        );
        // Quoted as one word.
        assert!(offered.iter().any(|name| name.contains(r"\$\(touch\ evil\)")), "{offered:?}");
    }
    assert_eq!(completed(&["remove", "mail", "m"]), [""; 0], "none twice");
    assert_eq!(completed(&["poweroff", "--json=short", "--ti"]), ["--timeout"]);
    assert_eq!(completed(&["powero"]), ["poweroff"]);
    place.running.stop();
}

#[test]
fn fish_offers_the_names_that_there_are() {
    requires!(root, cgroup2, program "fish");
    let place = Place::new("fish");
    let machine = place.running.name().to_owned();
    let completed =
        |line: &str| place.lines(&["fish", "--no-config", "-c", "source ./_redd; complete -C $argv[1]", line]);
    assert_eq!(completed("redd poweroff comp"), std::slice::from_ref(&machine));
    assert_eq!(completed("redd exec comp"), std::slice::from_ref(&machine));
    assert_eq!(completed(&format!("redd exec {machine} comp")), [""; 0]);
    assert_eq!(completed("redd remove mai"), ["mail"]);
    assert_eq!(completed("redd clone w").len(), 2);
    place.running.stop();
}

#[test]
fn zsh_offers_the_names_that_there_are() {
    requires!(root, cgroup2, program "zsh");
    let place = Place::new("zsh");
    let machine = place.running.name().to_owned();
    // What would be offered is printed instead. Where that is, the script says: see the tests beside it.
    let program = "compadd() { print -rl -- $names }; compdef() {}; source ./_redd; _redd_$1";
    let offered = |kind: &str| place.lines(&["zsh", "-f", "-c", program, "zsh", kind]);
    assert_eq!(offered("machines"), [machine]);
    assert_eq!(offered("images"), ["mail", "web", EVIL]);
    place.running.stop();
}
