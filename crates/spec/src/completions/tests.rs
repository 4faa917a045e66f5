use super::*;

const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

#[test]
fn what_is_carried_out_is_proposed_and_nothing_else() {
    for shell in SHELLS {
        let script = completions(shell, "some-name");
        for row in options::all().filter(|row| !row.long.is_empty()) {
            let spelling = match shell {
                Shell::Bash => row.spelling(),
                Shell::Zsh => format!("{}{}", row.spelling(), if row.argument.name().is_some() { "=" } else { "[" }),
                Shell::Fish => format!(" -l {}", row.long),
            };
            let words: Vec<&str> = script.split([' ', '|', ')', '\n', '\'', '=', '[', '}']).collect();
            let there = match shell {
                Shell::Bash => words.contains(&spelling.as_str()),
                Shell::Zsh => script.contains(&spelling),
                Shell::Fish => script.lines().any(|line| line.contains(&format!("{spelling} "))),
            };
            assert_eq!(there, row.carried_out(), "{shell:?} {spelling}");
        }
    }
}

#[test]
fn values_that_are_refused_are_not_proposed() {
    let words = |name: &str| proposals(options::all().find(|row| row.long == name).expect("an option"));
    assert_eq!(words("register"), ["yes", "no", "auto"]);
    assert_eq!(words("private-users"), ["no", "yes", "pick", "identity", "managed"]);
    assert_eq!(words("private-users-ownership"), ["off", "chown", "map", "foreign", "auto"]);
    assert_eq!(words("completions"), ["bash", "zsh", "fish"]);
}
