//! The table of all options and keys in `docs/compatibility.md` is complete and says of each what is the case.

use std::path::{Path, PathBuf};

use spec::options::{self, Argument, OptionRow};

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
            if option != "COMMAND..." {
                assert!(tries(row, file, &text), "{file} never runs anything with {option}");
            }
        }
    }
}

/// Whether a test runs something with this option: in a list of cases one that is not refused, elsewhere the switch is a
/// word of its own.
fn tries(row: &OptionRow, file: &str, text: &str) -> bool {
    if file.contains("/conformance/") || file.ends_with("conformance_command_line.rs") {
        return accepted_options(text).iter().any(|word| is_switch(row, word));
    }
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| line.split(|letter: char| letter.is_whitespace() || "\"'`()[]{},;".contains(letter)))
        .any(|word| is_switch(row, word))
}

/// Whether a word of a command line is this option, with a value where it takes one.
fn is_switch(row: &OptionRow, word: &str) -> bool {
    let rest = match word.strip_prefix("--") {
        Some(long) if !row.long.is_empty() => long.strip_prefix(row.long),
        Some(_) => None,
        None => word.strip_prefix('-').and_then(|short| row.short.and_then(|letter| short.strip_prefix(letter))),
    };
    match row.argument {
        Argument::None => rest == Some(""),
        _ if word.starts_with("--") => rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('=')),
        _ => rest.is_some(),
    }
}

/// A part of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Mark(char),
}

/// As much of the language as the lists of cases need.
fn tokens(text: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let mut length = letter.len_utf8();
        if rest.starts_with("//") {
            length = rest.find('\n').unwrap_or(rest.len());
        } else if let Some((open, close)) =
            [("r#\"", "\"#"), ("r\"", "\"")].into_iter().find(|(open, _)| rest.starts_with(open))
        {
            let end = rest[open.len()..].find(close).expect("the end of a text");
            found.push(Token::Text(rest[open.len()..open.len() + end].to_owned()));
            length = open.len() + end + close.len();
        } else if letter == '"' {
            let mut escaped = false;
            let ends = |letter: char| {
                let escapes = letter == '\\' && !escaped;
                !std::mem::replace(&mut escaped, escapes) && letter == '"'
            };
            let end = rest[1..].find(ends).expect("the end of a text");
            found.push(Token::Text(rest[1..=end].to_owned()));
            length = end + 2;
        } else if letter.is_alphabetic() || letter == '_' {
            length = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(rest.len());
            found.push(Token::Word(rest[..length].to_owned()));
        } else if !letter.is_whitespace() {
            found.push(Token::Mark(letter));
        }
        rest = &rest[length..];
    }
    found
}

/// The options of all cases of a list that are not refused.
fn accepted_options(text: &str) -> Vec<String> {
    let all = tokens(text);
    let word = |word: &str| Token::Word(word.to_owned());
    // Options that have a name.
    let mut named = Vec::new();
    for part in all.windows(7) {
        if let [first, Token::Word(name), Token::Mark(':'), Token::Mark('&'), _, Token::Mark('='), Token::Text(text)] =
            part
            && *first == word("const")
        {
            named.push((name.clone(), text.clone()));
        }
    }
    let start = all.iter().position(|token| *token == word("CASES")).expect("a list of cases");
    let list = all[start..].iter().position(|token| *token == Token::Mark('=')).expect("a list") + start;
    // Behind `= &[` to its end, in parts between commas.
    let (mut depth, mut cases) = (0_i32, vec![Vec::new()]);
    for token in &all[list + 3..] {
        match token {
            Token::Mark('(' | '[' | '{') => depth += 1,
            Token::Mark(')' | ']' | '}') => depth -= 1,
            Token::Mark(',') if depth == 0 => cases.push(Vec::new()),
            _ => {}
        }
        if depth < 0 {
            break;
        }
        cases.last_mut().expect("a case").push(token.clone());
    }
    let refused = ["refused", "refuses", "Refused"].map(word);
    cases.retain(|case: &Vec<Token>| !case.iter().any(|token| refused.contains(token)));
    let options = |case: &Vec<Token>| {
        let begin = case.windows(2).position(|pair| pair == [Token::Mark('&'), Token::Mark('[')])?;
        let given = case[begin + 2..].iter().take_while(|token| **token != Token::Mark(']')).cloned();
        Some(given.collect::<Vec<_>>())
    };
    let value = |token: Token| match token {
        Token::Text(text) => Some(text),
        Token::Word(name) => named.iter().find(|(known, _)| *known == name).map(|(_, text)| text.clone()),
        Token::Mark(_) => None,
    };
    cases.iter().filter_map(options).flatten().filter_map(value).collect()
}

#[test]
fn only_cases_that_are_not_refused_count() {
    let text = r##"
        const USERS: &str = "--private-users=pick"; // --quiet
        pub(crate) const CASES: &[Case] = &[
            Case::refused("a", &["--bind=", "-x"]),
            // Case::inside("b", &["--tmpfs=/x"], ""),
            Case::inside("c, \"d\"", &[USERS, "-E", "A=--machine=x"], "echo --uuid=x").before(r#"" --slice=y"#),
            shows("--read-only", &["--user=user"], r"--volatile\"),
        ];
        const NAME: &str = "--as-pid2";
    "##;
    assert_eq!(accepted_options(text), ["--private-users=pick", "-E", "A=--machine=x", "--user=user"]);
    let lines = "const CASES: &[(&[&str], Outcome, Differs)] = &[
        (&[\"--system\"], Taken, Never), (&[\"--pids=0\"], Refused, In(OWN))];";
    assert_eq!(accepted_options(lines), ["--system"]);
    let tried = |name: &str, file: &str, text: &str| {
        let row = rows().find(|row| row.long == name).expect("an option");
        tries(row, file, text)
    };
    assert!(tried("setenv", "a/conformance/b.rs", text) && tried("private-users", "a/conformance/b.rs", text));
    for name in ["user", "bind", "ephemeral", "private-users-ownership", "as-pid2", "volatile", "slice", "quiet"] {
        assert!(!tried(name, "a/conformance/b.rs", text), "{name}");
    }
    assert!(
        tried("user", "a.sh", "redd --user true") && !tried("user", "a.rs", "// --user\n\"--user=x\", \"--users\"")
    );
    assert!(tried("forward-journal", "a.rs", "\"--forward-journal={work}/all\""));
    assert!(!tried("forward-journal", "a.rs", "\"--forward-journal-max-use=1\""));
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
