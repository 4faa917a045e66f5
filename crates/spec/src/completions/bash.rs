//! Completion for bash(1). It needs nothing beside bash itself.

use super::{MACHINES, proposals, rows};
use crate::options::{Argument, OptionRow, ValueKind};

pub(super) fn script(name: &str) -> String {
    let function = format!("_{}", name.replace('-', "_"));
    let mut text = format!("# Completion of {name} for bash.\n{function}() {{\n{START}");
    text.push_str("    case \"$option\" in\n");
    for row in rows().filter(|row| row.argument != Argument::None) {
        text.push_str(&format!("    {}) {} ;;\n", spellings(row).join("|"), values(row)));
    }
    text.push_str("    *) given=no ;;\n    esac\n");
    let long: Vec<_> = rows().filter(|row| !row.long.is_empty()).map(long_word).collect();
    let short: Vec<_> = rows().filter_map(|row| row.short).map(|short| format!("-{short}")).collect();
    text.push_str(&format!(
        "    if [[ $given == no && $current == -* ]]; then\n        mapfile -t COMPREPLY < <(compgen -W '{} {}' -- \"$current\")\n        \
         [[ ${{#COMPREPLY[@]}} -eq 1 && ${{COMPREPLY[0]}} == *= ]] && compopt -o nospace\n    fi\n    return 0\n}}\n",
        short.join(" "),
        long.join(" ")
    ));
    text.push_str(&format!("complete -o bashdefault -F {function} {name}\n"));
    let takes = rows().filter(|row| matches!(row.argument, Argument::Required(_)));
    let takes: Vec<_> = takes.flat_map(spellings).collect();
    text.replace("@TAKES@", &takes.join("|"))
}

/// Finds the word to complete and the option whose value it is. bash parts words at `=` and `:`.
const START: &str = r#"    local current=${COMP_WORDS[COMP_CWORD]} option= given=yes at=1 word head
    COMPREPLY=()
    while ((at < COMP_CWORD)); do
        word=${COMP_WORDS[at]} option=
        case "$word" in
        --) compopt -o default; return 0 ;;
        =) ;;
        @TAKES@)
            option=$word
            [[ ${COMP_WORDS[at + 1]} == = ]] && ((at++))
            ((at++))
            ;;
        --*) [[ ${COMP_WORDS[at + 1]} == = ]] && { option=$word; ((at += 2)); } ;;
        -?*) ;;
        *) compopt -o default; return 0 ;;
        esac
        ((at++))
    done
    ((at > COMP_CWORD)) || option=
    [[ $current == = ]] && current=
"#;

fn long_word(row: &'static OptionRow) -> String {
    match row.argument {
        Argument::Required(_) => format!("--{}=", row.long),
        Argument::None | Argument::Optional(_) => format!("--{}", row.long),
    }
}

/// All ways to write it.
fn spellings(row: &'static OptionRow) -> Vec<String> {
    let short = row.short.map(|short| format!("-{short}"));
    let long = Some(row.long).filter(|long| !long.is_empty()).map(|long| format!("--{long}"));
    short.into_iter().chain(long).collect()
}

/// What completes its value.
fn values(row: &OptionRow) -> String {
    let words =
        |words: &[String]| format!("mapfile -t COMPREPLY < <(compgen -W '{}' -- \"$current\")", words.join(" "));
    match row.kind {
        ValueKind::Directory => "compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- \"$current\")".into(),
        ValueKind::Path => "compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- \"$current\")".into(),
        ValueKind::User => "mapfile -t COMPREPLY < <(compgen -u -- \"$current\")".into(),
        ValueKind::Group => "mapfile -t COMPREPLY < <(compgen -g -- \"$current\")".into(),
        ValueKind::Machine => {
            format!("mapfile -t COMPREPLY < <(compgen -W \"$(command ls {MACHINES} 2>/dev/null)\" -- \"$current\")")
        }
        ValueKind::Link => {
            "mapfile -t COMPREPLY < <(compgen -W \"$(command ls /sys/class/net)\" -- \"$current\")".into()
        }
        // A list: only its last name is completed.
        ValueKind::Capabilities | ValueKind::SomeCapabilities => format!(
            "head=; [[ $current == *,* ]] && head=${{current%,*}},; \
             mapfile -t COMPREPLY < <(compgen -P \"$head\" -W '{}' -- \"${{current##*,}}\")",
            row.kind.words().join(" ")
        ),
        ValueKind::Rlimit => {
            let names: Vec<_> = row.kind.words().iter().map(|name| format!("RLIMIT_{name}=")).collect();
            format!("compopt -o nospace; {}", words(&names))
        }
        ValueKind::Words(_) | ValueKind::Boolean | ValueKind::Signal => words(&proposals(row)),
        ValueKind::Free | ValueKind::Inside | ValueKind::SystemCalls => ":".into(),
    }
}
