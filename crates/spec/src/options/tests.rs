use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use super::*;
use crate::{CustomMount, IdEntry, IdMapping, PrivateUsers};

/// The options of systemd-nspawn(1) and systemd.nspawn(5), version 262: long and short spelling, whether a value
/// follows, the line of a settings file and whether an untrusted one may have it, and the group.
const MANUAL: &str = "\
    --quiet                         -q none  -                            -   run
    --settings                      -  value -                            -   run
    --cleanup                       -  none  -                            -   run
    --directory                     -D value -                            -   image
    --template                      -  value -                            -   image
    --ephemeral                     -x none  Exec.Ephemeral               yes image
    --image                         -i value -                            -   image
    --image-policy                  -  value -                            -   image
    --mstack                        -  value -                            -   image
    --oci-bundle                    -  value -                            -   image
    --read-only                     -  none  Files.ReadOnly               yes image
    --volatile                      -  value Files.Volatile               yes image
    --root-hash                     -  value -                            -   image
    --root-hash-sig                 -  value -                            -   image
    --verity-data                   -  value -                            -   image
    --pivot-root                    -  value Exec.PivotRoot               yes image
    --as-pid2                       -a none  Exec.ProcessTwo              yes exec
    --boot                          -b none  Exec.Boot                    yes exec
    --chdir                         -  value Exec.WorkingDirectory        yes exec
    --setenv                        -E value Exec.Environment             yes exec
    --uid                           -u value Exec.User                    yes exec
    --kill-signal                   -  value Exec.KillSignal              yes exec
    --notify-ready                  -  value Exec.NotifyReady             yes exec
    --suppress-sync                 -  value Exec.SuppressSync            yes exec
    --machine                       -M value -                            -   identity
    --hostname                      -  value Exec.Hostname                yes identity
    --uuid                          -  value Exec.MachineID               no  identity
    --slice                         -S value -                            -   property
    --property                      -  value -                            -   property
    --register                      -  value -                            -   property
    --keep-unit                     -  none  -                            -   property
    --private-users                 -  value Exec.PrivateUsers            no  users
    --private-users-ownership       -  value Files.PrivateUsersOwnership  no  users
    --private-users-delegate        -  value Exec.PrivateUsersDelegate    no  users
    -                               -U none  -                            -   users
    --private-network               -  none  Network.Private              yes network
    --network-interface             -  value Network.Interface            no  network
    --network-macvlan               -  value Network.MACVLAN              no  network
    --network-ipvlan                -  value Network.IPVLAN               no  network
    --network-veth                  -n none  Network.VirtualEthernet      no  network
    --network-veth-extra            -  value Network.VirtualEthernetExtra no  network
    --network-bridge                -  value Network.Bridge               no  network
    --network-zone                  -  value Network.Zone                 no  network
    --network-namespace-path        -  value Network.NamespacePath        no  network
    --port                          -p value Network.Port                 no  network
    --capability                    -  value Exec.Capability              no  security
    --drop-capability               -  value Exec.DropCapability          yes security
    --ambient-capability            -  value Exec.AmbientCapability       no  security
    --no-new-privileges             -  value Exec.NoNewPrivileges         yes security
    --system-call-filter            -  value Exec.SystemCallFilter        no  security
    --restrict-address-families     -  value Exec.RestrictAddressFamilies yes security
    --selinux-context               -Z value -                            -   security
    --selinux-apifs-context         -L value -                            -   security
    --rlimit                        -  value Exec.Limit*                  no  resources
    --oom-score-adjust              -  value Exec.OOMScoreAdjust          no  resources
    --cpu-affinity                  -  value Exec.CPUAffinity             no  resources
    --personality                   -  value Exec.Personality             yes resources
    --resolv-conf                   -  value Exec.ResolvConf              no  integration
    --timezone                      -  value Exec.Timezone                no  integration
    --link-journal                  -  value Exec.LinkJournal             no  integration
    -                               -j none  -                            -   integration
    --forward-journal               -  value -                            -   integration
    --forward-journal-max-use       -  value -                            -   integration
    --forward-journal-keep-free     -  value -                            -   integration
    --forward-journal-max-file-size -  value -                            -   integration
    --forward-journal-max-files     -  value -                            -   integration
    --bind                          -  value Files.Bind                   no  mounts
    --bind-ro                       -  value Files.BindReadOnly           no  mounts
    --bind-user                     -  value Files.BindUser               no  mounts
    --bind-user-shell               -  value Files.BindUserShell          no  mounts
    --bind-user-group               -  value -                            -   mounts
    --inaccessible                  -  value Files.Inaccessible           no  mounts
    --tmpfs                         -  value Files.TemporaryFileSystem    no  mounts
    --overlay                       -  value Files.Overlay                no  mounts
    --overlay-ro                    -  value Files.OverlayReadOnly        no  mounts
    --console                       -  value -                            -   console
    --pipe                          -P none  -                            -   console
    --background                    -  value -                            -   console
    --load-credential               -  value -                            -   credentials
    --set-credential                -  value -                            -   credentials
    --system                        -  none  -                            -   run
    --user                          -  none  -                            -   run
    --no-pager                      -  none  -                            -   run
    --no-ask-password               -  none  -                            -   run
    --help                          -h none  -                            -   run
    --version                       -  none  -                            -   run
";

fn described(group: Group, row: &OptionRow) -> Vec<String> {
    let long = if row.long.is_empty() { "-".to_owned() } else { format!("--{}", row.long) };
    let short = row.short.map_or("-".to_owned(), |short| format!("-{short}"));
    let value = if row.argument == Argument::None { "none" } else { "value" };
    let key = row.setting.map_or("-".to_owned(), |setting| format!("{}.{}", setting.section, setting.key));
    let trust = row.setting.map_or("-", |setting| if setting.trust.has_untrusted() { "yes" } else { "no" });
    let group = format!("{group:?}").to_lowercase();
    vec![long, short, value.into(), key, trust.into(), group]
}

#[test]
fn the_table_is_that_of_the_manual() {
    let manual: BTreeSet<Vec<String>> =
        MANUAL.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect();
    let rows = Group::ALL.into_iter().flat_map(|group| group.rows().iter().map(move |row| (group, row)));
    let ours: BTreeSet<_> = rows.filter(|(_, row)| !row.own).map(|(group, row)| described(group, row)).collect();
    assert_eq!(ours.difference(&manual).collect::<Vec<_>>(), Vec::<&Vec<String>>::new(), "not in the manual");
    assert_eq!(manual.difference(&ours).collect::<Vec<_>>(), Vec::<&Vec<String>>::new(), "missing here");
    assert_eq!(manual.len(), 86);
}

#[test]
fn the_arguments_have_a_line_in_settings_files_too() {
    let setting = ARGUMENTS.setting.expect("a line");
    assert_eq!((setting.section, setting.key, setting.trust.has_untrusted()), ("Exec", "Parameters", true));
}

#[test]
fn every_spelling_and_every_key_is_there_once() {
    let (mut longs, mut shorts, mut keys) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for row in all() {
        assert!(row.long.is_empty() || longs.insert(row.long), "--{} is there twice", row.long);
        assert!(row.short.is_none_or(|short| shorts.insert(short)), "-{:?} is there twice", row.short);
        let key = row.setting.map(|setting| (setting.section, setting.key));
        assert!(key.is_none_or(|key| keys.insert(key)), "{key:?} is there twice");
        assert!(!row.long.is_empty() || row.short.is_some(), "a row cannot be written");
    }
}

#[test]
fn every_row_is_explained() {
    for row in all() {
        let name = row.spelling();
        assert!(!row.help.is_empty() && !row.help.ends_with('.'), "{name}: {:?}", row.help);
        assert!(row.details.ends_with('.'), "{name}: {:?}", row.details);
        if let Effect::Later(why) = row.effect {
            assert!(!why.is_empty() && !why.ends_with('.'), "{name}: {why:?}");
        }
    }
}

fn parsed(row: &OptionRow, value: Option<&str>) -> Result<SpecPatch, Problem> {
    let Effect::Patch(parse) = row.effect else { panic!("{} says nothing about a container", row.spelling()) };
    let mut patch = SpecPatch::default();
    let caller = Caller { directory: Path::new("/here"), variable: &|name| (name == "SET").then(|| "value".into()) };
    parse(&mut patch, &Given { value: value.map(OsStr::new), caller })?;
    Ok(patch)
}

fn long(name: &str) -> &'static OptionRow {
    all().find(|row| row.long == name).expect("an option")
}

#[test]
fn words_that_are_proposed_have_a_meaning_and_others_have_none() {
    for row in all().filter(|row| matches!(row.effect, Effect::Patch(_))) {
        if !matches!(row.kind, ValueKind::Words(_) | ValueKind::Boolean | ValueKind::Signal | ValueKind::Capabilities) {
            continue;
        }
        for word in row.kind.words() {
            let result = parsed(row, Some(&word));
            assert!(!matches!(result, Err(Problem::Invalid(_))), "{} {word}: {result:?}", row.spelling());
        }
        let result = parsed(row, Some("nonsense"));
        assert!(matches!(result, Err(Problem::Invalid(_))), "{}: {result:?}", row.spelling());
    }
}

#[test]
fn an_option_without_a_value_says_something() {
    for row in all().filter(|row| row.argument == Argument::None && matches!(row.effect, Effect::Patch(_))) {
        let changed = parsed(row, None) != Ok(SpecPatch::default());
        assert_eq!(changed, !matches!(row.long, "no-pager" | "no-ask-password"), "{}", row.spelling());
    }
}

/// A value of `--bind=` and what it is: source, destination, whether mounts below come too.
fn bound(value: &str) -> Result<(String, String, bool), Problem> {
    let mounts = parsed(long("bind"), Some(value))?.mounts.expect("a mount");
    match &mounts[..] {
        [CustomMount::Bind { source, destination, recursive, read_only: false, .. }] => {
            Ok((format!("{source:?}"), destination.to_string(), *recursive))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn bind_mounts() {
    for (value, source, destination, recursive) in [
        ("/a", "Host(\"/a\")", "/a", true),
        ("/a/./b/", "Host(\"/a/./b/\")", "/a/b", true),
        ("a", "Host(\"/here/a\")", "/here/a", true),
        ("../a", "Host(\"/here/../a\")", "/a", true),
        ("/a:/b", "Host(\"/a\")", "/b", true),
        ("/a:/b:norbind,rbind", "Host(\"/a\")", "/b", true),
        ("/a:/b:noidmap", "Host(\"/a\")", "/b", true),
        (r"/a\:b:/c\\d", "Host(\"/a:b\")", r"/c\d", true),
        ("+/a:/b", "Tree(AbsPath(\"/a\"))", "/b", true),
        ("+/a", "Tree(AbsPath(\"/a\"))", "/a", true),
        (":/b", "Temporary", "/b", true),
    ] {
        assert_eq!(bound(value), Ok((source.into(), destination.into(), recursive)), "{value}");
    }
    for value in [
        "",
        ":",
        "::",
        "/a:",
        "/a::norbind",
        "/a:b",
        "+a",
        "+",
        "/a:/b:bogus",
        "/a:/b:rbind:x",
        r"/a\",
        "/a:/../b",
        "/../a",
    ] {
        assert!(matches!(bound(value), Err(Problem::Invalid(_))), "{value}");
    }
}

#[test]
fn owners_of_bind_mounts() {
    let ids = |value: &str| match parsed(long("bind-ro"), Some(value))?.mounts.expect("a mount").remove(0) {
        CustomMount::Bind { ids, read_only: true, .. } => Ok(ids),
        other => panic!("{other:?}"),
    };
    let entry = |inside, outside, count| IdEntry { inside, outside, count };
    for (value, expected) in [
        ("/a", IdMapping::Unmapped),
        ("/a:/b:idmap", IdMapping::Same),
        ("/a:/b:rootidmap,rbind", IdMapping::Root),
        ("/a:/b:norbind,owneridmap", IdMapping::Owner),
        ("/a:/b:idmap,noidmap", IdMapping::Unmapped),
        ("/a:/b:map=0:1000:1", IdMapping::Listed(vec![entry(0, 1000, 1)])),
        ("/a:/b:map=0:1000:1,norbind,map=5:0:10", IdMapping::Listed(vec![entry(0, 1000, 1), entry(5, 0, 10)])),
        ("/a:/b:map=0:1000:1,idmap,map=5:0:10", IdMapping::Listed(vec![entry(5, 0, 10)])),
        ("/a:/b:map=0:0:4294967295", IdMapping::Listed(vec![entry(0, 0, u32::MAX)])),
    ] {
        assert_eq!(ids(value), Ok(expected), "{value}");
    }
    for options in [
        "map=",
        "map=0",
        "map=0:0",
        "map=0:0:0",
        "map=0:0:1:1",
        "map=-1:0:1",
        "map=0:0:4294967296",
        "map=1:0:4294967295",
        "map=0:0:2,map=1:5:1",
        "map=0:0:2,map=5:1:1",
        "map=a:b:c",
        "rbind:map=0:0:1",
    ] {
        assert!(matches!(ids(&format!("/a:/b:{options}")), Err(Problem::Invalid(_))), "{options}");
    }
}

#[test]
fn temporary_file_systems_keep_their_options_as_they_are() {
    let mount = |value| parsed(long("tmpfs"), Some(value)).map(|patch| patch.mounts.expect("a mount").remove(0));
    let tmpfs = |path: &str, options: Option<&str>| CustomMount::Tmpfs {
        destination: path.parse().expect("a path"),
        options: options.map(str::to_owned),
    };
    assert_eq!(mount("/a"), Ok(tmpfs("/a", None)));
    assert_eq!(mount("/a:"), Ok(tmpfs("/a", None)));
    assert_eq!(mount("/a:size=1m,mode=0700"), Ok(tmpfs("/a", Some("size=1m,mode=0700"))));
    assert_eq!(mount(r"/a\:b:x=1:2\3"), Ok(tmpfs("/a:b", Some(r"x=1:2\3"))));
    for value in ["", "a", "/", "/.", ":", r"/a\"] {
        assert!(mount(value).is_err(), "{value}");
    }
}

#[test]
fn users() {
    let row = long("private-users");
    let users = |value| parsed(row, value).map(|patch| patch.private_users.expect("users"));
    for (value, expected) in [
        ("no", PrivateUsers::No),
        ("off", PrivateUsers::No),
        ("pick", PrivateUsers::Pick),
        ("identity", PrivateUsers::Identity),
        ("0", PrivateUsers::Range("0:65536".parse().expect("a range"))),
        ("1", PrivateUsers::Range("1:65536".parse().expect("a range"))),
        ("524288:10", PrivateUsers::Range("524288:10".parse().expect("a range"))),
    ] {
        assert_eq!(users(Some(value)), Ok(expected), "{value}");
    }
    for value in [None, Some("yes"), Some("true")] {
        assert_eq!(users(value), Ok(PrivateUsers::Owner), "{value:?}");
    }
    assert_eq!(users(Some("managed")), Ok(PrivateUsers::Managed));
    let delegate =
        |value| parsed(long("private-users-delegate"), Some(value)).map(|patch| patch.private_users_delegate);
    for (value, count) in [("0", 0), ("1", 1), ("16", 16)] {
        assert_eq!(delegate(value), Ok(Some(count)));
    }
    for value in ["", "17", "-1", "x", "1:2"] {
        assert!(matches!(delegate(value), Err(Problem::Invalid(_))), "{value}");
    }
    for value in ["", "foo", "0:0", "4294967295", "1:2:3", "-1", "1:", "no:"] {
        assert!(matches!(users(Some(value)), Err(Problem::Invalid(_))), "{value}");
    }
}

#[test]
fn numbers_as_c_reads_them() {
    use super::value::integer;
    for (text, number) in [("0", 0), ("-1000", -1000), ("+5", 5), ("0x10", 16), ("-0X1f", -31), ("010", 8), (" 5", 5)] {
        assert_eq!(integer(text), Some(number), "{text}");
    }
    for text in ["", "-", "+-1", "0x", "08", "5 ", "x", "1.5", "99999999999999999999"] {
        assert_eq!(integer(text), None, "{text}");
    }
}

#[test]
fn variables() {
    let row = long("setenv");
    let set = |value| parsed(row, Some(value)).map(|patch| patch.environment.expect("variables"));
    let pair = |name: &str, value: &str| vec![(OsString::from(name), OsString::from(value))];
    assert_eq!(set("A=b=c"), Ok(pair("A", "b=c")));
    assert_eq!(set("A="), Ok(pair("A", "")));
    assert_eq!(set("SET"), Ok(pair("SET", "value")));
    assert_eq!(set("UNSET"), Ok(pair("UNSET", "")));
    for value in ["", "=x", "A-B=x", "1A=x", "A B=x", "\u{e4}=x"] {
        assert!(matches!(set(value), Err(Problem::Invalid(_))), "{value}");
    }
}
