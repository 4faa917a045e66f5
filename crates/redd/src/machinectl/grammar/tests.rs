use clap::CommandFactory as _;

use super::*;
use crate::machinectl::Machinectl;

fn line(words: &[&str]) -> Result<String, Error> {
    let words: Vec<OsString> = words.iter().map(OsString::from).collect();
    let line = ordered(&words, &Machinectl::command())?;
    Ok(line.join(OsStr::new(" ")).into_string().unwrap())
}

#[test]
fn options_stand_before_and_behind_the_verb() {
    assert_eq!(line(&["--no-legend", "list", "-a"]).unwrap(), "list --no-legend --all");
    assert_eq!(line(&["-s", "KILL", "kill", "a", "b"]).unwrap(), "kill --signal=KILL a b");
    assert_eq!(line(&["-sKILL", "kill", "a"]).unwrap(), "kill --signal=KILL a");
    assert_eq!(line(&["show", "a", "-pName", "-p", "Id"]).unwrap(), "show --property=Name --property=Id a");
    assert_eq!(line(&["show", "-P", "Name", "a"]).unwrap(), "show -PName a");
    assert_eq!(line(&["-aqj", "list"]).unwrap(), "list --all --quiet -j");
    assert_eq!(line(&[]).unwrap(), "");
    assert_eq!(line(&["help"]).unwrap(), "--help");
    assert_eq!(line(&["--help"]).unwrap(), "--help");
    assert_eq!(line(&["show", "--", "-x"]).unwrap(), "show -- -x");
}

#[test]
fn names_are_abbreviated_as_far_as_they_are_known() {
    assert_eq!(line(&["--no-l", "list"]).unwrap(), "list --no-legend");
    assert_eq!(line(&["--sig=HUP", "kill", "a"]).unwrap(), "kill --signal=HUP a");
    assert_eq!(line(&["--kill-w", "leader", "kill", "a"]).unwrap(), "kill --kill-whom=leader a");
}

#[test]
fn what_a_verb_has_no_use_for_is_accepted() {
    assert_eq!(line(&["list", "--signal=HUP", "--mkdir", "--force", "-E", "A=b", "--uid=x"]).unwrap(), "list");
    assert_eq!(line(&["kill", "a", "--max-addresses", "3", "-n", "7"]).unwrap(), "kill a");
}

#[test]
fn what_is_wrong_is_told_as_by_the_original() {
    let message = |words: &[&str]| line(words).unwrap_err().to_string();
    assert_eq!(message(&["--foo"]), "unrecognized option '--foo'");
    assert_eq!(message(&["-p"]), "option requires an argument -- 'p'");
    assert_eq!(message(&["--all=x"]), "option '--all' doesn't allow an argument");
    assert_eq!(message(&["--ma"]), "option '--ma' is ambiguous; possibilities: '--machine' '--max-addresses'");
    assert_eq!(message(&["-x"]), "invalid option -- 'x'");
    assert_eq!(message(&["--kill-whom"]), "option '--kill-whom' requires an argument");
    assert_eq!(message(&["frobnicate"]), "Unknown command verb 'frobnicate'.");
    assert_eq!(message(&["--value-of=x"]), "unrecognized option '--value-of'");
}
