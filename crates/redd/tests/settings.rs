//! `redd settings`, as people and programs call it.

use std::path::Path;
use std::process::{Command, Output};

fn redd(directory: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_redd"))
        .arg("settings")
        .args(words)
        .current_dir(directory)
        .env("HOME", "/home-of-nobody")
        .env("SYSTEMD_SUPPRESS_SYNC", "1")
        .output()
        .expect("redd runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn every_setting_has_its_source() {
    let place = tempfile::tempdir().expect("directory");
    let file = place.path().join("box.nspawn");
    std::fs::create_dir_all(place.path().join("box/usr")).expect("tree");
    std::fs::write(&file, "[Exec]\nUser=me\nHostname=%i-inside\n[Files]\nBind=/srv\n").expect("write");
    let output = redd(place.path(), &["./box", "--chdir=/usr", "-E", "A=b c", "-E", "HOME", "--rlimit=LimitCORE=5"]);
    let (shown, told) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{told}");
    let line = |key: &str| {
        let start = format!("{key}=");
        let line = shown.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("{key}: {shown}"));
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let place_of = |number: u32| format!("{}:{number}", file.display());
    assert_eq!(line("User"), format!("User=me {}", place_of(2)));
    assert_eq!(line("Hostname"), format!("Hostname=box-inside {}", place_of(3)));
    assert_eq!(line("WorkingDirectory"), "WorkingDirectory=/usr command line");
    assert_eq!(line("Environment"), "Environment=\"A=b c\" command line");
    assert!(shown.contains("\nEnvironment=HOME=/home-of-nobody "), "{shown}");
    assert_eq!(line("LimitCORE"), "LimitCORE=5 command line");
    assert_eq!(line("SuppressSync"), "SuppressSync=yes environment");
    assert_eq!(line("Boot"), "Boot=no default");
    assert_eq!(line("Bind"), "Bind=- default");
    assert!(told.contains(&format!("{}: Bind= is ignored", place_of(5))), "{told}");
    assert!(shown.contains("not trusted") && !shown.contains('\u{1b}'), "{shown}");
    let trusted = text(&redd(place.path(), &["./box", "--settings=trusted"]).stdout);
    assert!(trusted.lines().any(|line| line.starts_with("Bind=/srv ")), "{trusted}");
}

#[test]
fn programs_get_json() {
    let place = tempfile::tempdir().expect("directory");
    let file = place.path().join("box.nspawn");
    std::fs::write(&file, "[Exec]\nUser=me\n").expect("write");
    std::fs::write(place.path().join("box.raw"), "").expect("write");
    let beside = redd(place.path(), &["./box.raw"]);
    assert!(text(&beside.stdout).starts_with(&format!("Settings file: {}", file.display())), "{beside:?}");
    let output = redd(place.path(), &["--json", "./box", "-b"]);
    let whole: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(whole["file"].as_str(), file.to_str());
    assert_eq!((whole["trusted"].as_bool(), whole["mode"].as_str()), (Some(false), Some("yes")));
    let find = |key: &str| {
        let all = whole["settings"].as_array().expect("a list");
        all.iter().find(|one| one["key"] == key).unwrap_or_else(|| panic!("{key}"))
    };
    assert_eq!(find("User")["source"]["line"], 2);
    assert_eq!(find("Boot")["source"]["kind"], "command line");
    assert_eq!(find("Zone")["value"], serde_json::Value::Null);
}

#[test]
fn what_is_wrong_is_told() {
    let place = tempfile::tempdir().expect("directory");
    std::fs::write(place.path().join("box.nspawn"), "[Exec\nUser=a\n").expect("write");
    std::fs::create_dir(place.path().join("odd.nspawn")).expect("directory");
    for (words, code, told) in [
        (&["./box"][..], 1, "box.nspawn:1: this is no section: [Exec"),
        (&["./odd"], 1, "odd.nspawn: it is no regular file; repair it"),
        (&["./box", "--nonsense"], 2, "there is no option --nonsense"),
        (&["./box", "--completions=bash"], 2, "only options"),
        (&[], 2, "NAME|PATH"),
        (&["no-such-machine"], 1, "neither a machine named no-such-machine in /etc/machines, "),
        (&["./no-such-tree"], 1, "./no-such-tree: No such file or directory"),
        (&["./no-such.raw"], 1, "no settings file beside it either"),
        (&["./no-such-tree", "--settings=no"], 1, "./no-such-tree: No such"),
    ] {
        let output = redd(place.path(), words);
        assert_eq!(output.status.code(), Some(code), "{words:?}");
        let errors = text(&output.stderr);
        assert!(errors.contains(told) && !errors.contains("--help\""), "{words:?}: {errors}");
        assert!(output.stdout.is_empty(), "{words:?}");
    }
    let output = redd(place.path(), &["./box", "--settings=no"]);
    assert!(output.status.success() && text(&output.stdout).starts_with("No settings file is looked for"));
    std::fs::create_dir(place.path().join("tree")).expect("directory");
    let output = redd(place.path(), &["./tree"]);
    assert!(output.status.success() && text(&output.stdout).starts_with("There is no settings file."));
}
