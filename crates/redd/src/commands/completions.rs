//! `redd completions`: what a shell needs to complete redd's command line.
//!
//! Names of machines and images are asked for when a word is completed, by `redd completions --names=KIND`. Whoever made an image
//! has named it: in the scripts names are words that are compared and quoted, never text that a shell expands.

use std::process::ExitCode;

use clap::ValueHint;
use clap_complete::Shell;

use crate::failure::Failure;
use crate::form;
use crate::machinectl::images;

/// Verbs that take one machine, and then something else.
const OF_MACHINE: [&str; 8] = ["login", "shell", "bind", "copy-to", "copy-from", "exec", "ps", "logs"];
/// Verbs that take machines.
const OF_MACHINES: [&str; 13] = [
    "status",
    "show",
    "poweroff",
    "stop",
    "reboot",
    "restart",
    "terminate",
    "kill",
    "pause",
    "resume",
    "stats",
    "top",
    "wait",
];
/// Verbs that take one image, and then something else.
const OF_IMAGE: [&str; 5] = ["clone", "rename", "read-only", "set-limit", "settings"];
/// Verbs that take images.
const OF_IMAGES: [&str; 8] = ["start", "enable", "disable", "image-status", "show-image", "edit", "cat", "remove"];

/// Print the completions of a shell, to be read by it
///
/// For example: redd completions bash > /usr/share/bash-completion/completions/redd
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The shell
    #[arg(required_unless_present = "names")]
    shell: Option<Shell>,
    /// The names that there are, for these scripts
    #[arg(long, value_name = "KIND", hide = true, conflicts_with = "shell")]
    names: Option<Names>,
}

/// Whose names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Names {
    Machines,
    Images,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let text = match (arguments.names, arguments.shell) {
        (Some(names), _) => lines(names.find()?),
        (None, Some(shell)) => script(shell),
        (None, None) => String::new(),
    };
    form::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

impl Names {
    fn find(self) -> Result<Vec<String>, Failure> {
        match self {
            Self::Machines => {
                let (states, _) =
                    machine::machines::all(&machine::Registry::system()).map_err(|error| Failure::new(error, None))?;
                Ok(states.into_iter().map(|state| state.name).collect())
            }
            Self::Images => {
                let found = images::pool().list().map_err(images::failure)?;
                Ok(found.into_iter().filter(|image| !image.is_hidden()).map(|image| image.name).collect())
            }
        }
    }
}

fn lines(names: Vec<String>) -> String {
    // A line each, and nothing that a terminal takes for an order.
    let shown = names.into_iter().filter(|name| !name.contains(char::is_control));
    shown.map(|name| format!("{name}\n")).collect()
}

fn script(shell: Shell) -> String {
    let mut command = super::line(None);
    if shell == Shell::Zsh {
        command = with_hints(command);
    }
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "redd", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    match shell {
        Shell::Bash => bash(&script),
        Shell::Fish => script + &fish(),
        Shell::Zsh => zsh(&script),
        _ => script,
    }
}

/// The first argument of verbs that take names gets a hint that no other argument has, so that its place is known in the script.
fn with_hints(mut command: clap::Command) -> clap::Command {
    let all = [
        (&OF_MACHINE[..], ValueHint::Hostname),
        (&OF_MACHINES, ValueHint::Hostname),
        (&OF_IMAGE, ValueHint::Username),
        (&OF_IMAGES, ValueHint::Username),
    ];
    for (verbs, hint) in all {
        for verb in verbs {
            // The others are second names of these.
            if command.get_subcommands().any(|known| known.get_name() == *verb) {
                command = command.mut_subcommand(verb, |verb| first_hinted(verb, hint));
            }
        }
    }
    command
}

fn first_hinted(verb: clap::Command, hint: ValueHint) -> clap::Command {
    let first = verb.get_positionals().next().map(|argument| argument.get_id().clone());
    match first {
        // All are gone through: one that is changed alone would become the last.
        Some(first) => verb.mut_args(|argument| match *argument.get_id() == first {
            true => argument.value_hint(hint),
            false => argument,
        }),
        None => verb,
    }
}

fn zsh(script: &str) -> String {
    const NAMES: &str = r#"_redd_names() {
    local -a names
    names=("${(@f)$(redd completions --names="$1" 2>/dev/null)}")
    compadd -a -- names
}
_redd_machines() { _redd_names machines }
_redd_images() { _redd_names images }

if [ "$funcstack[1]" = "_redd" ]; then"#;
    let script = script.replace(":_hosts'", ":_redd_machines'").replace(":_users'", ":_redd_images'");
    script.replace(r#"if [ "$funcstack[1]" = "_redd" ]; then"#, NAMES)
}

fn bash(script: &str) -> String {
    let case = |verbs: &[&str]| verbs.join("|");
    let names = format!(
        r#"_redd_with_names() {{
    _redd "$@"
    local cur=${{COMP_WORDS[COMP_CWORD]}} kind several= name word
    [[ $COMP_CWORD -ge 2 && $cur != -* ]] || return 0
    case ${{COMP_WORDS[1]}} in
        {machine}) kind=machines ;;
        {machines}) kind=machines several=yes ;;
        {image}) kind=images ;;
        {images}) kind=images several=yes ;;
        *) return 0 ;;
    esac
    # The value of an option has been completed.
    [[ ${{COMP_WORDS[COMP_CWORD - 1]}} != -* || -z ${{COMPREPLY[0]-}} || ${{COMPREPLY[0]}} == -* ]] || return 0
    local found=()
    while IFS= read -r name; do
        for word in "${{COMP_WORDS[@]:2:COMP_CWORD - 2}}"; do
            if [[ $word == "$name" ]]; then
                [[ $several ]] || return 0
                continue 2
            fi
        done
        [[ $name == "$cur"* ]] && found+=("$(printf %q "$name")")
    done < <(redd completions --names="$kind" 2>/dev/null)
    COMPREPLY=("${{found[@]}}")
}}

"#,
        machine = case(&OF_MACHINE),
        machines = case(&OF_MACHINES),
        image = case(&OF_IMAGE),
        images = case(&OF_IMAGES),
    );
    let (functions, declared) = script.rsplit_once("\nif [[").unwrap_or((script, ""));
    format!("{functions}\n{names}if [[{}", declared.replace("complete -F _redd ", "complete -F _redd_with_names "))
}

fn fish() -> String {
    let line = |verbs: &[&str], kind: &str, several: bool| {
        let ask = format!("(redd completions --names={kind} 2>/dev/null)");
        let once = if several { String::new() } else { format!("; and not __fish_seen_subcommand_from {ask}") };
        let verbs = verbs.join(" ");
        format!("complete -c redd -n \"__fish_redd_using_subcommand {verbs}{once}\" -f -a '{ask}'\n")
    };
    [
        line(&OF_MACHINE, "machines", false),
        line(&OF_MACHINES, "machines", true),
        line(&OF_IMAGE, "images", false),
        line(&OF_IMAGES, "images", true),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verbs_are_there() {
        let command = crate::commands::line(None);
        for verb in OF_MACHINE.iter().chain(&OF_MACHINES).chain(&OF_IMAGE).chain(&OF_IMAGES) {
            assert!(command.find_subcommand(verb).is_some(), "{verb}");
        }
    }

    #[test]
    fn every_script_asks_for_names() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = script(shell);
            assert!(script.contains("redd completions --names="), "{shell}");
        }
        let zsh = script(Shell::Zsh);
        assert!(zsh.contains(":_redd_machines' ") && zsh.contains(":_redd_images' "));
        assert!(!zsh.contains("_hosts'") && !zsh.contains("_users'"));
    }

    #[test]
    fn names_are_lines_without_orders() {
        assert_eq!(lines(vec!["a".to_owned(), "b\x1b[2J".to_owned(), "c d".to_owned()]), "a\nc d\n");
    }
}
