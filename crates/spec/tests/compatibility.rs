//! The table of all options and keys in `docs/compatibility.md` is complete and says of each what is the case.

use std::path::{Path, PathBuf};

use spec::options::{self, OptionRow};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The lines of the table: option, key, carried out, tested by, differences.
fn table() -> Vec<[String; 5]> {
    let text = std::fs::read_to_string(root().join("docs/compatibility.md")).expect("the document");
    let (_, table) =
        text.split_once("\n| option | key | carried out | tested by | differences |\n").expect("the table");
    let lines = table.lines().take_while(|line| line.starts_with('|')).skip(1);
    lines
        .map(|line| {
            let cells: Vec<_> = line.split('|').map(|cell| cell.trim().replace('`', "")).collect();
            let [_, option, key, carried_out, tested_by, differences, _] = &cells[..] else {
                panic!("not five columns: {line}")
            };
            [option, key, carried_out, tested_by, differences].map(Clone::clone)
        })
        .collect()
}

fn rows() -> impl Iterator<Item = &'static OptionRow> {
    options::all().chain(std::iter::once(&options::ARGUMENTS))
}

fn spelling(row: &OptionRow) -> String {
    if row.long.is_empty() && row.short.is_none() { "COMMAND...".to_owned() } else { row.spelling() }
}

#[test]
fn every_option_and_key_has_a_line() {
    let table = table();
    let expected: Vec<(String, String)> = rows()
        .map(|row| {
            let key = row.setting.map_or_else(String::new, |setting| format!("{}.{}", setting.section, setting.key));
            (spelling(row), key)
        })
        .collect();
    let found: Vec<(String, String)> = table.iter().map(|[option, key, ..]| (option.clone(), key.clone())).collect();
    let missing: Vec<_> = expected.iter().filter(|one| !found.contains(one)).collect();
    let superfluous: Vec<_> = found.iter().filter(|one| !expected.contains(one)).collect();
    assert!(missing.is_empty(), "not in docs/compatibility.md: {missing:#?}");
    assert!(superfluous.is_empty(), "no such option and key: {superfluous:#?}");
    assert_eq!(found, expected, "in the order of the option table, each once");
}

#[test]
fn what_is_carried_out_is_tested_and_what_is_not_says_so() {
    for ([option, _, carried_out, tested_by, _], row) in table().iter().zip(rows()) {
        let carried = row.carried_out() || option == "COMMAND...";
        assert!(matches!(carried_out.as_str(), "yes" | "partly" | "no"), "{option}: {carried_out}");
        assert_eq!(carried_out != "no", carried, "{option}: the option table says otherwise");
        if !carried {
            continue;
        }
        assert!(!tested_by.is_empty(), "{option} is tested by nothing");
        for file in tested_by.split(", ") {
            let path = root().join("crates").join(file);
            let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{option}: {file}: {error}"));
            let short = row.short.map(|short| format!("\"-{short}"));
            let named = text.contains(&option[..]) || short.is_some_and(|short| text.contains(&short));
            assert!(named || option == "COMMAND...", "{option} does not appear in {file}");
        }
    }
}

#[test]
fn what_is_carried_out_in_part_says_what_differs() {
    for [option, _, carried_out, _, differences] in table() {
        assert!(carried_out == "yes" || !differences.is_empty(), "{option}: say what is missing");
    }
}

#[test]
fn every_key_that_is_carried_out_is_tried_in_a_file() {
    let read = |file: &str| {
        let path = root().join("crates/redd-spawn/tests/conformance").join(file);
        std::fs::read_to_string(path).expect("cases")
    };
    let cases = read("settings.rs") + &read("bind_user.rs");
    for [option, key, carried_out, ..] in table() {
        let Some((_, key)) = key.split_once('.').filter(|_| carried_out == "yes") else { continue };
        let given = format!("\\n{}", key.trim_end_matches('*'));
        assert!(cases.contains(&given), "{option}: {key}= is in no case");
    }
}
