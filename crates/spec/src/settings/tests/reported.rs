//! What is reported is what a start uses.

use std::ffi::OsString;

use proptest::prelude::*;
use proptest::sample::subsequence;

use super::*;

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(|word| (*word).into()).collect()
}

fn file(text: &str) -> File {
    File { path: "/m/box.nspawn".into(), text: text.into(), trusted: true, machine: "box".into() }
}

#[test]
fn a_report_says_who_has_said_what() {
    let text = "[Exec]\nUser=a\nUser=b\nEnvironment=A=1\nEnvironment=\"B=x y\"\nLimitCORE=1\nBoot=yes\n";
    let settings = read(&file(text), true, &NoFiles, caller()).expect("settings");
    let all = |given: &[&str]| {
        let variable: &dyn Fn(&std::ffi::OsStr) -> Option<OsString> = &|name| (name == "FOO").then(|| "o o".into());
        report(&settings, &words(given), Caller { variable, ..caller() }).expect("a report")
    };
    let of = |given: &[&str], key: &str| {
        let entries = all(given).into_iter().filter(|entry| entry.key == key);
        entries.map(|entry| (entry.value, entry.origin)).collect::<Vec<_>>()
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(of(&[], "User"), [(some("b"), Origin::Line(3))]);
    assert_eq!(of(&[], "Environment"), [(some("A=1"), Origin::Line(4)), (some("\"B=x y\""), Origin::Line(5))]);
    assert_eq!(of(&["-E", "C=3"], "Environment"), [(some("C=3"), Origin::CommandLine)]);
    assert_eq!(of(&["-E", "C=1", "-E", "C=2"], "Environment"), [(some("C=2"), Origin::CommandLine)]);
    assert_eq!(of(&["-E", "FOO"], "Environment"), [(some("\"FOO=o o\""), Origin::CommandLine)]);
    assert_eq!(of(&["-E", "BAR"], "Environment"), [(some("BAR="), Origin::CommandLine)]);
    assert_eq!(of(&["--settings=override", "-E", "C=3"], "Environment").len(), 2);
    assert_eq!(of(&["true"], "Boot"), [(some("no"), Origin::Default)]);
    for limit in ["--rlimit=NOFILE=3", "--rlimit=RLIMIT_NOFILE=3", "--rlimit=LimitNOFILE=3"] {
        assert_eq!(of(&[limit], "LimitCORE"), [(some("1"), Origin::Line(6))]);
        assert_eq!(of(&[limit], "LimitNOFILE"), [(some("3"), Origin::CommandLine)]);
    }
    assert_eq!(of(&["-U"], "PrivateUsers"), [(some("pick"), Origin::CommandLine)]);
    assert_eq!(of(&["--private-users=1"], "PrivateUsers"), [(some("1:65536"), Origin::CommandLine)]);
    assert_eq!(of(&["-u", "a", "--uid="], "User"), [(some("b"), Origin::Line(3))]);
    assert_eq!(of(&[], "Hostname"), [(None, Origin::Default)]);
    assert!(report(&settings, &words(&["--nonsense"]), caller()).is_err());
}

#[test]
fn the_users_that_a_start_has_are_reported() {
    let settings = read(&file("[Exec]\nPrivateUsers=managed\n"), true, &NoFiles, caller()).expect("settings");
    let entries = report(&settings, &words(&["--private-users-delegate=2"]), caller()).expect("a report");
    let of = |key: &str| {
        let entry = entries.iter().find(|entry| entry.key == key).expect(key);
        (entry.value.as_deref(), entry.origin.clone())
    };
    assert_eq!(of("PrivateUsers"), (Some("managed"), Origin::Line(2)));
    assert_eq!(of("PrivateUsersDelegate"), (Some("2"), Origin::CommandLine));
    assert_eq!(of("PrivateUsersOwnership"), (Some("auto"), Origin::Default));
}

#[test]
fn a_variable_of_the_environment_is_reported() {
    let settings = read(&file("[Exec]\nSuppressSync=no\n"), true, &NoFiles, caller()).expect("settings");
    let caller = Caller { variable: &|name| (name == "SYSTEMD_SUPPRESS_SYNC").then(|| "1".into()), ..caller() };
    let entries = report(&settings, &words(&["--suppress-sync=no"]), caller).expect("a report");
    let entry = entries.into_iter().find(|entry| entry.key == "SuppressSync").expect("an entry");
    assert_eq!((entry.value.as_deref(), entry.origin), (Some("yes"), Origin::Environment));
}

const LINES: [&str; 30] = [
    "Boot=yes",
    "Boot=no",
    "ProcessTwo=yes",
    "Parameters=a \"b c\" 'd\"e' \"\"",
    "Ephemeral=yes",
    "Environment=A=1 \"B=x y\" A=2",
    "Environment=C=100%%",
    "User=me",
    "WorkingDirectory=/srv",
    "Capability=CAP_SYS_TIME CAP_SYS_ADMIN",
    "DropCapability=CAP_KILL",
    "NoNewPrivileges=yes",
    "KillSignal=SIGUSR1",
    "MachineID=0123456789abcdef0123456789abcdef",
    "PrivateUsers=pick",
    "PrivateUsers=managed",
    "PrivateUsers=0",
    "PrivateUsers=524288:65536",
    "PrivateUsersDelegate=3",
    "SystemCallFilter=~mount @clock",
    "RestrictAddressFamilies=AF_INET AF_UNIX",
    "RestrictAddressFamilies=~AF_PACKET",
    "LimitNOFILE=5:6",
    "LimitCORE=1M",
    "Hostname=inside",
    "LinkJournal=no",
    "[Files]\nReadOnly=yes\nVolatile=state\n[Exec]",
    "[Files]\nBind=/a:/b\nTemporaryFileSystem=/t\n[Exec]",
    "[Files]\nPrivateUsersOwnership=map\n[Exec]",
    "[Network]\nPrivate=no\n[Exec]",
];

const OPTIONS: [&[&str]; 32] = [
    &["-b"],
    &["-a"],
    &["-x"],
    &["-E", "A=3", "-E", "D=y"],
    &["-E", "HOME"],
    &["-u", "you"],
    &["--uid="],
    &["--chdir=/"],
    &["--capability=CAP_NET_ADMIN,CAP_KILL"],
    &["--drop-capability=CAP_SYS_ADMIN,CAP_CHOWN"],
    &["--no-new-privileges=no"],
    &["--kill-signal=9"],
    &["--uuid=11111111222222223333333344444444"],
    &["-U"],
    &["--private-users"],
    &["--private-users=no"],
    &["--private-users=1"],
    &["--private-users-ownership=chown"],
    &["--private-users-delegate=2"],
    &["--system-call-filter=swapon"],
    &["--restrict-address-families=AF_INET AF_NETLINK"],
    &["--restrict-address-families="],
    &["--rlimit=RLIMIT_NOFILE=9", "--rlimit=LimitAS=7G"],
    &["--hostname=other"],
    &["-j"],
    &["--read-only"],
    &["--volatile"],
    &["--bind=/c", "--tmpfs=/u"],
    &["--private-network"],
    &["--suppress-sync=yes"],
    &["--settings=override"],
    &["--settings=trusted"],
];

/// What there is a key for, as far as a settings file can say it.
fn comparable(spec: &ContainerSpec) -> impl PartialEq + std::fmt::Debug {
    let mut mounts: Vec<_> = spec.mounts().iter().map(|mount| format!("{mount:?}")).collect();
    mounts.sort();
    let mut environment = spec.exec().environment.clone();
    environment.sort();
    let exec = spec.exec();
    let (users, image, security) = (spec.users(), spec.image(), spec.security());
    let own_users = users.private_users != PrivateUsers::No;
    (
        (exec.mode, exec.arguments.clone(), exec.chdir.clone(), environment, exec.user.clone(), exec.kill_signal),
        (spec.identity().hostname.clone(), spec.identity().uuid, spec.integration().clone(), mounts),
        (users.private_users, users.ownership, users.delegate, spec.network().private),
        (image.ephemeral, image.read_only, image.volatile, spec.resources().clone()),
        (security.effective_capabilities(own_users, spec.network().private), security.address_families),
        (security.no_new_privileges, security.system_call_filter.clone(), security.suppress_sync),
    )
}

proptest! {
    /// A report, written down as a trusted settings file, asks for what was reported.
    #[test]
    fn a_report_says_what_a_start_uses(
        lines in subsequence(LINES.to_vec(), 0..8).prop_shuffle(),
        options in subsequence(OPTIONS.to_vec(), 0..6).prop_shuffle(),
        arguments in prop_oneof![Just(vec![]), Just(vec!["run", "it's \"so\"", "x  y", "10%"])],
        trusted: bool,
        suppressed: bool,
    ) {
        let text = format!("[Exec]\n{}\n", lines.join("\n"));
        let given = words(&[options.concat(), arguments].concat());
        let variable = |name: &std::ffi::OsStr| match name.to_str() {
            Some("HOME") => Some("/ro ot".into()),
            Some("SYSTEMD_SUPPRESS_SYNC") if suppressed => Some("1".into()),
            _ => None,
        };
        let caller = Caller { variable: &variable, ..caller() };
        let files = One { text: Box::leak(text.clone().into_boxed_str()), trusted, warnings: RefCell::default() };
        // Not all go together.
        let Ok(Request::Run(spec)) = read_with(&given, caller, &files) else { return Ok(()) };
        let trusts = trusted || spec.run().settings == SettingsMode::Trusted;
        let settings = read(&files.find(&SpecPatch::default())?.expect("a file"), trusts, &files, caller)?;
        let mut again = String::new();
        for entry in report(&settings, &given, caller)? {
            if let Some(value) = entry.value {
                again.push_str(&format!("[{}]\n{}={}\n", entry.section, entry.key, value.replace('%', "%%")));
            }
        }
        let again: &'static str = Box::leak(again.into_boxed_str());
        let (told, warnings) = ask(again, true, &[]);
        prop_assert_eq!(&warnings, &[""; 0], "{}", again);
        let told = told.map_err(|error| TestCaseError::fail(format!("{error}: {again}")))?;
        prop_assert_eq!(comparable(&told), comparable(&spec), "{}{:?}\n{}", text, given, again);
    }
}
