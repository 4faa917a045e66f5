use proptest::prelude::*;

use super::*;

const WHOLE: &str = "# comment\n[Trigger]\nOperation = Install\nOperation=Upgrade\nType = Path\nTarget = usr/lib/*.so\n\
    Target = !usr/lib/libx.so\n\n[Trigger]\nOperation = Remove\nType = Package\nTarget = gcc\n[Action]\n\
    Description = Does it = all\nWhen = PreTransaction\nExec = /bin/sh -c 'echo \"a b\"' x\\ y\nDepends = bash\n\
    Depends = glibc\nAbortOnFail\nNeedsTargets\n";

fn changes(packages: &[(&str, Operation)], paths: &[(&str, Operation)]) -> Changes {
    let map = |all: &[(&str, Operation)]| {
        all.iter().map(|(name, operation)| (name.as_bytes().to_vec(), vec![*operation])).collect()
    };
    Changes { packages: map(packages), paths: map(paths) }
}

#[test]
fn a_hook_is_read() {
    let hook = Hook::parse("a.hook", WHOLE).unwrap();
    assert_eq!(hook.words, ["/bin/sh", "-c", "echo \"a b\"", "x y"]);
    assert_eq!(hook.depends, ["bash", "glibc"]);
    assert_eq!(hook.description.as_deref(), Some("Does it = all"));
    assert_eq!(hook.when, When::PreTransaction);
    assert!(hook.abort_on_fail && hook.needs_targets);
    assert_eq!(hook.triggers.len(), 2);
}

#[test]
fn what_is_no_hook_is_refused() {
    let action = "[Action]\nWhen = PostTransaction\nExec = /bin/true\n";
    let trigger = "[Trigger]\nType = Package\nOperation = Install\nTarget = a\n";
    Hook::parse("a", &format!("{trigger}{action}")).unwrap();
    Hook::parse("a", &format!("{action}{trigger}")).unwrap();
    for (text, what) in [
        (String::new(), "no Trigger"),
        (action.to_owned(), "no Trigger"),
        (trigger.to_owned(), "no Exec"),
        (format!("[Trigger]\nType = Package\nOperation = Install\n{action}"), "no Target"),
        (format!("[Trigger]\nType = Package\nTarget = a\n{action}"), "no Operation"),
        (format!("[Trigger]\nOperation = Install\nTarget = a\n{action}"), "no Type"),
        (format!("{trigger}[Action]\nExec = x\n"), "no When"),
        (format!("{trigger}{action}AbortOnFail\n"), "AbortOnFail needs"),
        (format!("{trigger}{action}Exec = 'x\n"), "line 8: a quote"),
        (format!("{trigger}{action}Foo = x\n"), "'Foo = x' means nothing"),
        (format!("{trigger}{action}When = Now\n"), "'When = Now' means nothing"),
        (format!("{trigger}Operation = Fix\n{action}"), "'Operation = Fix' means nothing"),
        (format!("{trigger}{action}NeedsTargets = 1\n"), "means nothing"),
        (format!("{trigger}{action}Exec\n"), "has no value"),
        (format!("{trigger}{action}[Other]\n"), "no section 'Other'"),
        (format!("Type = Path\n{trigger}{action}"), "line 1: it belongs to no section"),
    ] {
        let error = Hook::parse("a", &text).unwrap_err();
        assert!(error.contains(what), "{text}: {error}");
    }
}

#[test]
fn what_triggers_is_told_sorted_and_once() {
    use Operation::{Install, Remove, Upgrade};
    let hook = Hook::parse("a.hook", WHOLE).unwrap();
    let targets = |changes| {
        let targets = hook.targets(&changes)?;
        Some(targets.into_iter().map(|target| String::from_utf8(target).unwrap()).collect::<Vec<_>>())
    };
    let found = targets(changes(
        &[("gcc", Remove), ("bash", Remove)],
        &[
            ("usr/lib/z.so", Install),
            ("usr/lib/libx.so", Install),
            ("usr/lib/d/a.so", Upgrade),
            ("usr/lib/r.so", Remove),
        ],
    ));
    assert_eq!(found.unwrap(), ["gcc", "usr/lib/d/a.so", "usr/lib/z.so"]);
    assert_eq!(targets(changes(&[("gcc", Install)], &[("usr/lib/libx.so", Install)])), None);
    assert_eq!(targets(Changes::default()), None);
}

#[test]
fn command_lines_are_parted_as_a_shell_does() {
    let parted = |line| words(line).map(|words| words.join("|"));
    assert_eq!(parted("  a  b\tc ").unwrap(), "a|b|c");
    assert_eq!(parted("a'b c'd \"e \\\" \\x\" '' f\\'g").unwrap(), "ab cd|e \" \\x||f'g");
    assert_eq!(parted("a 'b"), None);
    assert_eq!(parted("a \"b'"), None);
}

#[test]
fn later_directories_and_links_to_nothing_override() {
    let directory = tempfile::tempdir().unwrap();
    let tree = Tree::open(directory.path()).unwrap();
    let hook = |exec: &str| {
        let trigger = "[Trigger]\nType = Package\nOperation = Install\nTarget = *\n[Action]\nWhen = PostTransaction\n";
        format!("{trigger}Exec = {exec}\n")
    };
    for (path, exec) in
        [("a/10-x.hook", "1"), ("a/20-y.hook", "2"), ("a/10.hook", "3"), ("b/20-y.hook", "4"), ("b/no", "5")]
    {
        tree.write(path, hook(exec).as_bytes(), 0o644).unwrap();
    }
    tree.write("b/30-bad.hook", b"[Trigger]\n", 0o644).unwrap();
    tree.link("/dev/null", "b/10-x.hook").unwrap();
    tree.link("nowhere", "b/40-lost.hook").unwrap();
    let (hooks, wrong) = read(&tree, &["/a/".to_owned(), "b".to_owned(), "missing".to_owned()]).unwrap();
    let hooks: Vec<(&str, &str)> = hooks.iter().map(|hook| (&*hook.name, &*hook.words[0])).collect();
    assert_eq!(hooks, [("10.hook", "3"), ("20-y.hook", "4")]);
    assert_eq!(wrong.iter().map(|error| &*error.file).collect::<Vec<_>>(), ["b/30-bad.hook", "b/40-lost.hook"]);
}

proptest! {
    #[test]
    fn any_text_is_a_hook_or_an_error(
        text in "(\\[(Trigger|Action)\\]\n|(Type|Operation|Target|When|Exec|Depends) ?= ?[a-zA-Z'\" \\\\]{0,12}\n|[ -~]{0,9}\n){0,12}"
    ) {
        if let Ok(hook) = Hook::parse("a", &text) {
            prop_assert!(!hook.words.is_empty());
        }
    }
}
