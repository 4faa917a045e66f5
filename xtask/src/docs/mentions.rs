//! Paths, links, commands and options that a page mentions.

use std::path::Path;

use super::markdown;

/// What there is.
pub(super) struct Known<'a> {
    /// The repository.
    pub root: &'a Path,
    /// The tasks of `cargo xtask`.
    pub tasks: &'a [String],
    /// The help text of one of redd's verbs.
    pub help: &'a dyn Fn(&str) -> Option<String>,
}

/// Names under which the engine is called directly.
const ENGINE_NAMES: &[&str] = &["redd-spawn", "systemd-nspawn"];

/// Everything that the page mentions and that is not there.
pub(super) fn problems(page: &Path, text: &str, known: &Known<'_>) -> Vec<String> {
    let mut problems = Vec::new();
    let mut say = |line: usize, what: String| problems.push(format!("{}:{line}: {what}", page.display()));
    for (line, target) in markdown::links(text) {
        let path = target.split('#').next().unwrap_or_default();
        let local = !path.is_empty() && !path.contains("://") && !path.starts_with("mailto:");
        let directory = known.root.join(page.parent().unwrap_or(Path::new("")));
        if local && !directory.join(path).exists() {
            say(line, format!("there is no {path}"));
        }
    }
    for code in markdown::code(text) {
        if let Some(what) = quoted(&code, known) {
            say(code.line, what);
        }
        for (offset, command) in code.text.lines().enumerate() {
            let line = code.line + offset + usize::from(!code.info.is_empty());
            paths(command, known).into_iter().for_each(|what| say(line, what));
            commands(command, known).into_iter().for_each(|what| say(line, what));
        }
    }
    problems
}

/// A block whose language is followed by a path is lines of that file.
fn quoted(code: &markdown::Code, known: &Known<'_>) -> Option<String> {
    let path = code.info.split_whitespace().nth(1).filter(|word| word.contains('/'))?;
    match std::fs::read_to_string(known.root.join(path)) {
        Ok(file) if file.contains(&code.text) => None,
        Ok(_) => Some(format!("this is not what {path} says")),
        Err(error) => Some(format!("cannot read {path}: {error}")),
    }
}

/// Words that start like a path of the repository must be one. Braces stand for alternatives.
fn paths(code: &str, known: &Known<'_>) -> Vec<String> {
    let words = code.split(|character: char| character.is_whitespace() || "'\"()".contains(character));
    let mut missing = Vec::new();
    for word in words {
        let path = word.trim_end_matches([',', '.', ';', ':']);
        let first = path.split('/').next().unwrap_or_default();
        let ours = path.contains('/') && ["crates", "docs", "xtask", ".ci", "fuzz", ".cargo"].contains(&first);
        if ours && !path.contains(['<', '*']) {
            let absent = alternatives(path).into_iter().filter(|one| !known.root.join(one).exists());
            missing.extend(absent.map(|one| format!("there is no {one}")));
        }
    }
    missing
}

/// `a/{b,c}` as `a/b` and `a/c`.
fn alternatives(path: &str) -> Vec<String> {
    let Some((before, rest)) = path.split_once('{') else { return vec![path.to_owned()] };
    let Some((inside, after)) = rest.split_once('}') else { return vec![path.to_owned()] };
    inside.split(',').flat_map(|one| alternatives(&format!("{before}{one}{after}"))).collect()
}

/// Commands of ours in a line of code.
fn commands(code: &str, known: &Known<'_>) -> Vec<String> {
    let parts = code.split("&&").flat_map(|part| part.split(['|', ';']));
    parts.filter_map(|part| command(part, known)).collect()
}

/// What is wrong with one command.
fn command(part: &str, known: &Known<'_>) -> Option<String> {
    let words: Vec<&str> = part.split_whitespace().skip_while(|word| ["$", "#", "sudo"].contains(word)).collect();
    match words.as_slice() {
        ["cargo", "xtask", task, ..] if is_word(task) => {
            (!known.tasks.iter().any(|known| known == task)).then(|| format!("there is no cargo xtask {task}"))
        }
        ["cargo", "run", rest @ ..] => {
            let own = rest.iter().position(|word| *word == "--")?;
            ours(rest[own + 1..].first()?, &rest[own + 2..], known)
        }
        ["redd", verb, rest @ ..] => ours(verb, rest, known),
        [name, rest @ ..] if ENGINE_NAMES.contains(name) => ours("spawn", rest, known),
        _ => None,
    }
}

/// What is wrong with a verb of redd and its options.
fn ours(verb: &str, arguments: &[&str], known: &Known<'_>) -> Option<String> {
    if !is_word(verb) {
        return None;
    }
    let Some(mut help) = (known.help)(verb) else { return Some(format!("there is no redd {verb}")) };
    if help.contains("Options of 'redd spawn' that") {
        help.push_str(&(known.help)("spawn")?);
    }
    let options = arguments.iter().take_while(|word| **word != "--").filter_map(|word| {
        let name = word.trim_start_matches('[').strip_prefix("--")?;
        name.split(|character: char| character != '-' && !character.is_ascii_alphanumeric()).next()
    });
    let unknown = options.filter(|name| !name.is_empty()).find(|name| !has_option(&help, name))?;
    Some(format!("redd {verb} has no --{unknown}"))
}

fn has_option(help: &str, name: &str) -> bool {
    help.split(|character: char| character != '-' && !character.is_ascii_alphanumeric())
        .any(|word| word.strip_prefix("--") == Some(name))
}

/// Whether it is a verb or task, and no placeholder.
fn is_word(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.chars().all(|character| character.is_ascii_lowercase() || character == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let root = crate::workspace::root();
        let help = |verb: &str| match verb {
            "spawn" => Some("  -D --directory=PATH\n     --bind-ro=X".to_owned()),
            "settings" => Some("Options of 'redd spawn' that a start would be given\n  --json".to_owned()),
            _ => None,
        };
        let known = Known { root: &root, tasks: &["test".to_owned()], help: &help };
        problems(Path::new("docs/page.md"), text, &known)
    }

    #[test]
    fn links_and_paths() {
        assert_eq!(found("[a](../README.md) [b](https://x.org/) [c](#d)"), [""; 0]);
        assert_eq!(found("[a](gone.md)"), ["docs/page.md:1: there is no gone.md"]);
        assert_eq!(found("`crates/sys/src/lib.rs` `xtask/src/{main,sizes}.rs` `crates/<name>`"), [""; 0]);
        assert_eq!(found("\n`crates/sys/src/gone.rs`"), ["docs/page.md:2: there is no crates/sys/src/gone.rs"]);
        assert_eq!(found("`xtask/src/{main,gone}.rs`"), ["docs/page.md:1: there is no xtask/src/gone.rs"]);
    }

    #[test]
    fn quoted_files() {
        assert_eq!(found("```toml xtask/Cargo.toml\n[package]\nname = \"xtask\"\n```\n"), [""; 0]);
        let wrong = "```toml xtask/Cargo.toml\n[package]\nname = \"other\"\n```\n";
        assert_eq!(found(wrong), ["docs/page.md:1: this is not what xtask/Cargo.toml says"]);
        assert!(found("```toml xtask/Gone.toml\n```\n")[0].starts_with("docs/page.md:1: cannot read xtask/Gone.toml"));
    }

    #[test]
    fn tasks_verbs_and_options() {
        let good = "```sh\ncargo xtask test\ncargo run --release -- spawn -D x\nredd spawn --directory=x -- y --z\n```";
        assert_eq!(found(good), [""; 0]);
        assert_eq!(found("`cargo xtask fly`"), ["docs/page.md:1: there is no cargo xtask fly"]);
        assert_eq!(found("```sh\n\ncd x && redd fly\n```"), ["docs/page.md:3: there is no redd fly"]);
        assert_eq!(found("`redd spawn --bind`"), ["docs/page.md:1: redd spawn has no --bind"]);
        assert_eq!(found("`redd-spawn --gone=1`"), ["docs/page.md:1: redd spawn has no --gone"]);
        assert_eq!(found("`redd settings web --bind-ro=/x --json`"), [""; 0]);
        assert_eq!(found("`redd settings web --gone`"), ["docs/page.md:1: redd settings has no --gone"]);
        assert_eq!(found("`redd VERB` and `cargo run -- VERB`"), [""; 0]);
    }
}
