//! Options before the verb: machinectl(1) takes all of its options anywhere, here each verb has its own.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// The same words with the verb first, behind the name of the program. What is behind the verb stays as it is.
pub(super) fn verb_first(command: &clap::Command, mut words: Vec<OsString>) -> Vec<OsString> {
    let mut at = 1;
    while let Some(word) = words.get(at) {
        match word.as_bytes() {
            // Nothing behind it is an option.
            b"--" => return words,
            [b'-', _, ..] => at += if has_value_apart(command, word) { 2 } else { 1 },
            _ => {
                let verb = words.remove(at);
                words.insert(1, verb);
                return words;
            }
        }
    }
    words
}

/// Whether the next word is the option's value. One that several verbs have means the same for all.
fn has_value_apart(command: &clap::Command, word: &OsStr) -> bool {
    let Some(word) = word.to_str() else { return false };
    let all = || command.get_arguments().chain(command.get_subcommands().flat_map(clap::Command::get_arguments));
    let takes = |argument: &clap::Arg| argument.get_action().takes_values() && !has_optional_value(argument);
    if let Some(long) = word.strip_prefix("--") {
        let named =
            |argument: &clap::Arg| argument.get_long_and_visible_aliases().is_some_and(|all| all.contains(&long));
        let hidden = |argument: &clap::Arg| argument.get_all_aliases().is_some_and(|all| all.contains(&long));
        return all().any(|argument| (named(argument) || hidden(argument)) && takes(argument));
    }
    // Of several in one word the first one that takes a value takes the rest of it.
    let letters: Vec<char> = word.chars().skip(1).collect();
    let valued = letters.iter().position(|letter| all().any(|one| one.get_short() == Some(*letter) && takes(one)));
    valued == Some(letters.len() - 1)
}

fn has_optional_value(argument: &clap::Arg) -> bool {
    argument.get_num_args().is_some_and(|range| range.min_values() == 0)
}

#[cfg(test)]
mod tests {
    use clap::{Arg, ArgAction, Command};

    use super::*;

    #[test]
    fn the_verb_comes_first() {
        let flag = |name: &'static str, short| Arg::new(name).long(name).short(short).action(ArgAction::SetTrue);
        let kill = Command::new("kill").arg(Arg::new("signal").long("signal").short('s').alias("sig"));
        let command = Command::new("machinectl").arg(flag("all", 'a')).arg(flag("quiet", 'q')).subcommand(kill);
        let order = |text: &str| {
            let words = text.split(' ').map(OsString::from).collect();
            verb_first(&command, words)
                .iter()
                .map(|word| word.to_string_lossy().into_owned())
                .collect::<Vec<_>>()
                .join(" ")
        };
        for (given, expected) in [
            ("m kill a -s 9", "m kill a -s 9"),
            ("m -s 9 kill a", "m kill -s 9 a"),
            ("m -s9 -a kill a", "m kill -s9 -a a"),
            ("m -as 9 kill a", "m kill -as 9 a"),
            ("m --signal 9 kill a --all", "m kill --signal 9 a --all"),
            ("m --sig 9 kill a", "m kill --sig 9 a"),
            ("m --signal=9 -q kill a", "m kill --signal=9 -q a"),
            ("m --all", "m --all"),
            ("m -s", "m -s"),
            ("m --unknown kill", "m kill --unknown"),
            ("m -- kill a", "m -- kill a"),
            ("m", "m"),
        ] {
            assert_eq!(order(given), expected, "{given}");
        }
    }
}
