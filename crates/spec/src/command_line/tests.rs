use std::path::Path;

use super::*;
use crate::{ConsoleMode, CustomMount, MachineName, Ownership, PrivateUsers, Source, StartMode};

fn words(text: &[&str]) -> Vec<OsString> {
    text.iter().map(OsString::from).collect()
}

fn request(text: &[&str]) -> Result<Request, UsageError> {
    let variable = |name: &OsStr| (name == "HERE").then(|| OsString::from("value"));
    read(&words(text), Caller { directory: Path::new("/here"), variable: &variable })
}

fn spec(text: &[&str]) -> ContainerSpec {
    match request(text) {
        Ok(Request::Run(spec)) => *spec,
        other => panic!("{text:?}: {other:?}"),
    }
}

fn error(text: &[&str]) -> UsageError {
    match request(text) {
        Err(error) => error,
        Ok(other) => panic!("{text:?}: {other:?}"),
    }
}

#[test]
fn clusters_abbreviations_and_the_first_operand() {
    let expected = spec(&["--boot", "--directory=/x"]);
    for text in [
        &["-bD/x"][..],
        &["-bD", "/x"],
        &["-D/x", "-b"],
        &["--boo", "--dir", "/x"],
        &["--dir=/x", "--bo"],
        &["-b", "--directory", "/x", "--"],
    ] {
        assert_eq!(spec(text), expected, "{text:?}");
    }
    for text in [&["-b", "-D/x", "ls", "-q"][..], &["-b", "-D/x", "--", "ls", "-q"]] {
        assert_eq!(spec(text).exec().arguments, words(&["ls", "-q"]), "{text:?}");
        assert!(!spec(text).run().quiet, "{text:?}");
    }
    assert_eq!(spec(&["-", "-q"]).exec().arguments, words(&["-", "-q"]));
    assert_eq!(spec(&["--", "-q"]).exec().arguments, words(&["-q"]));
    assert_eq!(spec(&["", "-q"]).exec().arguments, words(&["", "-q"]));
}

#[test]
fn optional_values_follow_after_an_equals_sign_alone() {
    let volatile = spec(&["--volatile", "state"]);
    assert_eq!(volatile.image().volatile, crate::Volatile::Yes);
    assert_eq!(volatile.exec().arguments, words(&["state"]));
    assert_eq!(spec(&["--volatile=state"]).image().volatile, crate::Volatile::State);
    assert!(matches!(error(&["--volatile="]), UsageError::Value { .. }));
    assert_eq!(spec(&["--dry-run"]).run().dry_run, Some(crate::DryRun::Text));
}

#[test]
fn required_values_may_look_like_switches_and_be_empty() {
    assert_eq!(spec(&["-D", "-q"]).image().source, Source::Directory("/here/-q".into()));
    assert_eq!(spec(&["-D/x", "-D", ""]).image().source, Source::Directory("/here".into()));
    assert_eq!(spec(&["-M", "a", "--machine="]).identity().machine, None);
    assert_eq!(spec(&["--hostname=a", "--hostname="]).identity().hostname, None);
    assert_eq!(spec(&["-u", "a", "--user="]).exec().user, None);
    assert_eq!(
        spec(&["--cpu-affinity=1", "--cpu-affinity=", "--cpu-affinity=0,2"]).resources().cpu_affinity,
        "0,2".parse().ok()
    );
}

#[test]
fn mistakes_are_named() {
    assert_eq!(error(&["--nonsense"]), UsageError::Unknown("--nonsense".into()));
    assert_eq!(error(&["--direcotry=/x"]), UsageError::Misspelled("--direcotry".into(), "--directory".into()));
    assert_eq!(error(&["-y"]), UsageError::Unknown("-y".into()));
    assert_eq!(error(&["-qy"]), UsageError::Unknown("-y".into()));
    assert_eq!(
        error(&["--private"]),
        UsageError::Ambiguous(
            "--private".into(),
            "--private-users, --private-users-ownership, --private-users-delegate or --private-network".into()
        )
    );
    assert_eq!(error(&["-qxbD"]), UsageError::Missing("-D".into(), "PATH"));
    assert_eq!(error(&["--directory"]), UsageError::Missing("--directory".into(), "PATH"));
    assert_eq!(error(&["--boot=yes"]), UsageError::Superfluous("--boot".into()));
    assert_eq!(error(&["--=x"]), UsageError::Unknown("--".into()));
    let shown = error(&["--console=bogus"]).to_string();
    assert!(shown.starts_with("--console=bogus: it is none of interactive, "), "{shown}");
    assert!(error(&["-M", "a/b"]).to_string().starts_with("-M a/b: "));
}

#[test]
fn own_options_do_not_take_abbreviations_away() {
    assert_eq!(spec(&["--dr=cap_kill"]), spec(&["--drop-capability=cap_kill"]));
    assert_eq!(error(&["--completion=bash"]), UsageError::Misspelled("--completion".into(), "--completions".into()));
}

#[test]
fn the_first_of_help_version_and_mistakes_counts() {
    assert_eq!(request(&["-h"]), Ok(Request::Help));
    assert_eq!(request(&["-hx", "--nonsense"]), Ok(Request::Help));
    assert_eq!(request(&["--version", "--help"]), Ok(Request::Version));
    assert_eq!(error(&["--nonsense", "--help"]), UsageError::Unknown("--nonsense".into()));
    assert_eq!(request(&["--completions=fish"]), Ok(Request::Completions(Shell::Fish)));
    assert!(matches!(error(&["--completions=sh"]), UsageError::Value { .. }));
}

#[test]
fn help_as_a_value_lists_all_values() {
    assert_eq!(
        request(&["--console=help"]),
        Ok(Request::Values("interactive\nread-only\npassive\npipe\nautopipe\n".into()))
    );
    let Ok(Request::Values(text)) = request(&["--drop-capability", "help"]) else { panic!("no list") };
    assert!(text.contains("cap_sys_admin\n"));
    let Ok(Request::Values(text)) = request(&["--kill-signal=help"]) else { panic!("no list") };
    assert!(text.contains("TERM\n") && text.contains("RTMIN+3\n"));
    assert!(matches!(error(&["--personality=help"]), UsageError::Value { .. }));
}

#[test]
fn user_is_a_scope_or_the_old_spelling_of_uid() {
    for text in [&["--user=a"][..], &["--user", "a"], &["--use", "a"], &["-ua"], &["--uid", "a"]] {
        assert_eq!(spec(text).exec().user.as_deref(), Some("a"), "{text:?}");
    }
    for text in [&["--user"][..], &["--user", "--", "a"], &["--user", "-q"]] {
        assert!(spec(text).property().user_manager && spec(text).exec().user.is_none(), "{text:?}");
    }
    assert_eq!(spec(&["--user", "a", "b"]).exec().arguments, words(&["b"]));
}

#[test]
fn what_is_not_carried_out_is_refused_by_name() {
    for row in options::all() {
        let Effect::Later(why) = row.effect else { continue };
        for spelling in row.short.map(|short| format!("-{short}")).into_iter().chain([row.spelling()]) {
            let mut text = vec![spelling.as_str()];
            text.extend((row.argument != Argument::None).then_some("value"));
            assert_eq!(error(&text), UsageError::NotCarriedOut(spelling.clone(), why));
            let shown = error(&text).to_string();
            assert!(shown.contains("not carried out by this version of redd"), "{shown}");
        }
    }
    for text in [
        "--register=auto",
        "--register=yes",
        "--register=no",
        "--settings=off",
        "--resolv-conf=auto",
        "--timezone=auto",
        "--link-journal=no",
    ] {
        spec(&[text]);
    }
}

#[test]
fn a_unit_that_is_kept_gets_no_limits_from_a_bundle() {
    let limited = || crate::SpecPatch {
        properties: Some(vec![crate::Property::parse("TasksMax=5").expect("a property")]),
        bundle: Some(crate::oci::BundleSpec::default()),
        ..crate::SpecPatch::default()
    };
    let kept = |kept, properties| {
        let patch = crate::SpecPatch { keep_unit: Some(kept), properties, ..crate::SpecPatch::default() };
        with_bundle(patch, limited(), Path::new("/")).map(drop)
    };
    assert_eq!(kept(true, None), Err(UsageError::LimitsOfBundle("TasksMax")));
    let own = vec![crate::Property::parse("TasksMax=6").expect("a property")];
    assert_eq!(kept(true, Some(own)), Err(UsageError::LimitsOfBundle("TasksMax")), "they do not replace the bundle's");
    assert_eq!(kept(false, None), Ok(()));
}

#[test]
fn options_that_do_not_go_together() {
    for text in [
        &["-ab"][..],
        &["-x", "--template=/t", "-D/x"],
        &["--template=/t"],
        &["--cleanup"],
        &["-x", "--link-journal=host"],
    ] {
        assert!(matches!(error(text), UsageError::Conflict(_)), "{text:?}");
    }
    assert_eq!(spec(&["--template=/t", "-M", "a"]).image().template.as_deref(), Some(Path::new("/t")));
    assert!(spec(&["--cleanup", "-M", "a"]).run().cleanup);
    spec(&["-bP"]);
    spec(&["--read-only", "--volatile=overlay", "-Ux"]);
}

#[test]
fn users_and_ownership() {
    let users = |text: &[&str]| spec(text).users().clone();
    assert_eq!(users(&[]).private_users, PrivateUsers::No);
    let picked = users(&["-U"]);
    assert_eq!((picked.private_users, picked.ownership, picked.optional), (PrivateUsers::Pick, Ownership::Auto, true));
    let picked = users(&["--private-users=pick"]);
    assert_eq!((picked.private_users, picked.ownership, picked.optional), (PrivateUsers::Pick, Ownership::Auto, false));
    assert_eq!(users(&["--private-users=524288"]).ownership, Ownership::Off);
    assert_eq!(users(&["--private-users=identity"]).ownership, Ownership::Off);
    assert_eq!(users(&["--private-users-ownership=map", "--private-users=524288"]).ownership, Ownership::Map);
    assert_eq!(users(&["-U", "--private-users=no"]).private_users, PrivateUsers::No);
}

#[test]
fn the_last_one_counts_and_lists_grow() {
    let spec = spec(&[
        "--console=passive",
        "-P",
        "--bind=/a",
        "--tmpfs=/b",
        "--bind-ro=/c",
        "-EA=1",
        "-EB=2",
        "--setenv=A=3",
        "-EHERE",
        "--capability=cap_kill",
        "--capability=cap_sys_time,cap_bpf",
        "--rlimit=NOFILE=1:2",
        "--rlimit=RLIMIT_NOFILE=3",
        "--cpu-affinity=0",
        "--cpu-affinity=2-3",
        "--system-call-filter=@clock bpf",
        "--system-call-filter=~mount",
    ]);
    assert_eq!(spec.console().mode, Some(ConsoleMode::Pipe));
    assert!(matches!(
        &spec.mounts()[..],
        [
            CustomMount::Bind { read_only: false, .. },
            CustomMount::Tmpfs { .. },
            CustomMount::Bind { read_only: true, .. }
        ]
    ));
    let environment: Vec<_> =
        spec.exec().environment.iter().map(|(name, value)| format!("{}={}", name.display(), value.display())).collect();
    assert_eq!(environment, ["B=2", "A=3", "HERE=value"]);
    assert_eq!(spec.security().capabilities.to_string(), "CAP_KILL,CAP_SYS_TIME,CAP_BPF");
    assert_eq!(spec.resources().rlimits.len(), 1);
    assert_eq!(spec.resources().cpu_affinity, "2-3".parse().ok());
    let filter: Vec<_> =
        spec.security().system_call_filter.iter().map(|item| (item.allow, item.name.as_str())).collect();
    assert_eq!(filter, [(true, "@clock"), (true, "bpf"), (false, "mount")]);
}

#[test]
fn where_the_tree_is() {
    let source = |text: &[&str]| spec(text).image().source.clone();
    assert_eq!(source(&[]), Source::Directory("/here".into()));
    assert_eq!(source(&["-D", "sub"]), Source::Directory("/here/sub".into()));
    assert_eq!(source(&["-M", "a"]), Source::Machine(MachineName::try_from("a").expect("a name")));
    assert_eq!(source(&["-M", "a", "-D/x"]), Source::Directory("/x".into()));
    assert_eq!(spec(&["-a"]).exec().mode, StartMode::Pid2);
}

#[test]
fn a_higher_source_replaces_a_setting_of_a_lower_one() {
    let higher = SpecPatch { quiet: Some(false), mounts: Some(vec![]), ..SpecPatch::default() };
    let tmpfs = CustomMount::Inaccessible { path: "/x".parse().expect("a path") };
    let lower = SpecPatch { quiet: Some(true), boot: Some(true), mounts: Some(vec![tmpfs]), ..SpecPatch::default() };
    let both = higher.over(lower);
    assert_eq!((both.quiet, both.boot, both.mounts), (Some(false), Some(true), Some(vec![])));
}

#[test]
fn limits_of_forwarded_journals() {
    let limits = |words: &[&str]| {
        let all = [&["--forward-journal=rel"], words].concat();
        let forwarded = spec(&all).integration().forward_journal.clone().expect("a place");
        assert_eq!(forwarded.path, Path::new("/here/rel"));
        forwarded.limits
    };
    assert_eq!(limits(&[]), crate::JournalLimits::default());
    for (value, bytes) in
        [("10M", 10 << 20), ("1.5K", 1536), ("5 M", 5 << 20), ("1G1", (1 << 30) + 1), ("0", 0), ("1E", 1 << 60)]
    {
        let option = format!("--forward-journal-max-use={value}");
        assert_eq!(limits(&[&option]).max_use, Some(bytes), "{value}");
    }
    let all = limits(&[
        "--forward-journal-keep-free=1",
        "--forward-journal-max-file-size=2",
        "--forward-journal-max-files=3",
    ]);
    assert_eq!((all.keep_free, all.max_file_size, all.max_files), (Some(1), Some(2), Some(3)));
}

#[test]
fn limits_without_a_forwarded_journal_are_refused_by_their_names() {
    for name in ["max-use", "keep-free", "max-file-size", "max-files"] {
        let option = format!("--forward-journal-{name}=");
        let text = error(&[&format!("{option}7")]).to_string();
        assert!(text.starts_with(&option) && text.contains("without --forward-journal="), "{text}");
    }
    let text = error(&["--forward-journal-keep-free=1", "--forward-journal-max-files=2"]).to_string();
    assert!(text.starts_with("--forward-journal-keep-free=, --forward-journal-max-files=: "), "{text}");
}
