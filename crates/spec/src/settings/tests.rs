mod reported;
mod trust;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;

use super::*;
use crate::command_line::{Request, UsageError, read_with};
use crate::{ContainerSpec, CustomMount, PrivateUsers, SettingsMode, StartMode, Volatile};

/// One settings file, and the warnings that it has given.
struct One {
    text: &'static str,
    trusted: bool,
    warnings: RefCell<Vec<String>>,
}

impl Files for One {
    fn find(&self, _: &SpecPatch) -> Result<Option<File>, Error> {
        let path = "/m/box.nspawn".into();
        Ok(Some(File { path, text: self.text.into(), trusted: self.trusted, machine: "box".into() }))
    }

    fn specifier(&self, letter: char) -> Option<String> {
        match letter {
            'v' => Some("6.1".into()),
            'm' => Some("0123".into()),
            _ => None,
        }
    }

    fn warn(&self, text: &str) {
        self.warnings.borrow_mut().push(text.to_owned());
    }
}

/// Somebody without variables.
fn caller() -> Caller<'static> {
    Caller { directory: Path::new("/m/box"), variable: &|_| None }
}

type Answer = (Result<ContainerSpec, UsageError>, Vec<String>);

fn ask(text: &'static str, trusted: bool, words: &[&str]) -> Answer {
    let files = One { text, trusted, warnings: RefCell::default() };
    let words: Vec<_> = words.iter().map(|word| (*word).into()).collect();
    let read = read_with(&words, caller(), &files);
    let spec = read.map(|request| match request {
        Request::Run(spec) => *spec,
        other => panic!("{other:?}"),
    });
    (spec, files.warnings.into_inner())
}

/// What a trusted file asks for, without a word.
fn fine(text: &'static str, words: &[&str]) -> ContainerSpec {
    let (spec, warnings) = ask(text, true, words);
    assert_eq!(warnings, [""; 0], "{text}");
    spec.expect(text)
}

/// What is warned of in a trusted file that is accepted.
fn warnings(text: &'static str) -> Vec<String> {
    let (spec, warnings) = ask(text, true, &[]);
    spec.expect(text);
    warnings
}

#[test]
fn every_key_of_the_manual_is_known() {
    const MANUAL: &str = "\
        Exec: Boot Ephemeral ProcessTwo Parameters Environment User WorkingDirectory PivotRoot Capability DropCapability \
        AmbientCapability NoNewPrivileges KillSignal Personality MachineID PrivateUsers PrivateUsersDelegate NotifyReady \
        SystemCallFilter RestrictAddressFamilies LimitCPU LimitFSIZE LimitDATA LimitSTACK LimitCORE LimitRSS LimitNOFILE \
        LimitAS LimitNPROC LimitMEMLOCK LimitLOCKS LimitSIGPENDING LimitMSGQUEUE LimitNICE LimitRTPRIO LimitRTTIME \
        OOMScoreAdjust CPUAffinity Hostname ResolvConf Timezone LinkJournal SuppressSync
        Files: ReadOnly Volatile Bind BindReadOnly BindUser BindUserShell TemporaryFileSystem Inaccessible Overlay \
        OverlayReadOnly PrivateUsersOwnership
        Network: Private NamespacePath VirtualEthernet VirtualEthernetExtra Interface MACVLAN IPVLAN Bridge Zone Port";
    let mut known = BTreeSet::new();
    for line in MANUAL.lines() {
        let (section, keys) = line.trim().split_once(": ").expect("a section");
        for key in keys.split_whitespace() {
            assert!(find_key(section, key).is_some(), "{section}: {key}");
            known.insert((section, key.to_owned()));
        }
    }
    let told = report(&Settings::default(), &[], caller()).expect("a report");
    let told: BTreeSet<_> = told.into_iter().map(|entry| (entry.section, entry.key)).collect();
    assert_eq!(told, known);
    for (section, key) in
        [("Exec", "Bind"), ("Files", "Boot"), ("Exec", "Limit"), ("Exec", "LimitFOO"), ("exec", "Boot")]
    {
        assert!(find_key(section, key).is_none(), "{section}: {key}");
    }
}

#[test]
fn the_syntax_of_unit_files() {
    let text = "\u{feff}# comment\n; comment\n\n [Exec] \n  User = me  \nParameters=a \\\n# inside\n  b \\\\\n\
        [X-Mine]\nA=b\nnonsense\n[Exec]\nX-Foo=1\r\nBoot=no\r\n[Network]\nZone=last \\";
    let parsed = parse(text.as_bytes()).expect("well formed");
    let found: Vec<_> = parsed
        .assignments
        .iter()
        .map(|one| (one.section.as_str(), one.key.as_str(), one.value.as_str(), one.line))
        .collect();
    let expected = [
        ("Exec", "User", "me", 5),
        ("Exec", "Parameters", "a    b \\\\", 8),
        ("Exec", "Boot", "no", 14),
        ("Network", "Zone", "last", 16),
    ];
    assert_eq!(found, expected);
    assert_eq!(parsed.complaints, []);
    let parsed = parse(b"a=b\n[Foo]\nc\n[Files]\nBind\n\xff=1\nA\0=\n").expect("well formed");
    assert_eq!(parsed.assignments, []);
    assert_eq!(parsed.complaints.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 2, 5, 6, 7]);
    assert_eq!(parse(b"\n[Exec\n").expect_err("no section").line, 2);
}

#[test]
fn a_continued_line_keeps_its_white_space() {
    let cases = [
        ("A=x \\\n     y", "x       y"),
        ("A=x\\\n\ty", "x \ty"),
        ("A=x \\\n # c\n  ; c\n   y  \\\n  z  ", "x     y     z"),
        ("A=x \\\r\n  y\r", "x    y"),
        ("   A  =  x  ", "x"),
    ];
    for (text, value) in cases {
        let parsed = parse(format!("[Exec]\n{text}\n").as_bytes()).expect("well formed");
        assert_eq!(parsed.assignments[0].value, value, "{text}");
    }
}

#[test]
fn words_and_quotes() {
    let cases: [(&str, Result<&[&str], ()>); 6] = [
        ("a  b\tc", Ok(&["a", "b", "c"])),
        ("\"a b\" 'c \"d'", Ok(&["a b", "c \"d"])),
        ("A=\"x y\"z ''", Ok(&["A=x yz", ""])),
        ("a\\ b \\\"c\\\"", Ok(&["a\\", "b", "\\c\\"])),
        ("  ", Ok(&[])),
        ("'a", Err(())),
    ];
    for (text, expected) in cases {
        let expected = expected.map(|words| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!(syntax::words(text).map_err(|_| ()), expected, "{text}");
    }
}

#[test]
fn values_of_keys() {
    let spec = fine(
        "[Exec]\nProcessTwo=yes\nParameters=sh -c 'echo  $A'\nEnvironment=A=1 \"B=x y\"\nEnvironment=C=\nUser=me\n\
         WorkingDirectory=/srv\nCapability=CAP_NET_ADMIN CAP_SYS_TIME\nDropCapability=CAP_CHOWN\nNoNewPrivileges=on\n\
         KillSignal=SIGUSR1\nMachineID=0123456789abcdef0123456789abcdef\nPrivateUsers=pick\nNotifyReady=true\n\
         LimitNOFILE=100:200\nLimitCORE=0\nOOMScoreAdjust=5\nHostname=inside\n[Files]\nReadOnly=no\nVolatile=state\n\
         Bind=/a:/b\nTemporaryFileSystem=/c\nInaccessible=/d\n[Network]\nPrivate=1\n",
        &[],
    );
    assert_eq!(spec.exec().mode, StartMode::Pid2);
    assert_eq!(spec.exec().arguments, ["sh", "-c", "echo  $A"]);
    let variables: Vec<_> =
        spec.exec().environment.iter().map(|(name, value)| (name.to_str(), value.to_str())).collect();
    assert_eq!(variables, [(Some("A"), Some("1")), (Some("B"), Some("x y")), (Some("C"), Some(""))]);
    assert_eq!(spec.exec().user.as_deref(), Some("me"));
    assert_eq!(spec.security().capabilities.bits(), 1 << 12 | 1 << 25);
    assert!(spec.security().no_new_privileges && spec.exec().notify_ready && spec.network().private);
    assert_eq!(spec.users().private_users, PrivateUsers::Pick);
    assert_eq!(spec.resources().rlimits.len(), 2);
    assert_eq!(spec.image().volatile, Volatile::State);
    assert!(!spec.image().read_only);
    assert!(matches!(
        spec.mounts()[..],
        [CustomMount::Bind { .. }, CustomMount::Tmpfs { .. }, CustomMount::Inaccessible { .. }]
    ));
}

#[test]
fn an_empty_value_takes_back() {
    let spec = fine("[Exec]\nEnvironment=A=1\nEnvironment=\nEnvironment=B=2\nUser=me\nUser=\nBoot=yes\nBoot=\n", &[]);
    assert_eq!(spec.exec().environment, [("B".into(), "2".into())]);
    assert_eq!((spec.exec().user.as_deref(), spec.exec().mode), (None, StartMode::Pid1));
}

#[test]
fn what_is_wrong_is_told_by_line_and_key() {
    for (text, word) in [
        ("[Exec]\nBoot=maybe", "/m/box.nspawn:2: Boot=maybe is ignored: "),
        ("[Exec]\nFoo=1", "/m/box.nspawn:2: there is no key Foo= in [Exec]"),
        ("[Foo]\nA=1", "/m/box.nspawn:1: there is no section [Foo]"),
        ("[Exec]\n\nBoot", "/m/box.nspawn:3: this has no \"=\""),
        ("[Exec]\nBoot=yes\nProcessTwo=yes\nParameters=a", "/m/box.nspawn:3: ProcessTwo=yes is ignored: "),
        ("[Exec]\nEnvironment=NAME", "/m/box.nspawn:2: Environment=NAME is ignored: "),
        ("[Exec]\nParameters='a", "/m/box.nspawn:2: Parameters='a is ignored: a quote"),
        ("[Exec]\nCapability=CAP_FOO CAP_CHOWN", "/m/box.nspawn:2: Capability=CAP_FOO is ignored: "),
        ("[Exec]\nLimitFOO=1", "/m/box.nspawn:2: there is no key LimitFOO="),
        ("[Exec]\nUser=%q\n", "/m/box.nspawn:2: User=: %q means nothing and stays as it is; write %% "),
        ("[Exec]\nUser=a%\n", "/m/box.nspawn:2: User=: % at the end means nothing and stays as it is; "),
        ("[Files]\nBind=a:b:c:d", "/m/box.nspawn:2: Bind=a:b:c:d is ignored: "),
    ] {
        let told = warnings(text);
        assert!(told.len() == 1 && told[0].starts_with(word), "{text}: {told:?}");
    }
}

#[test]
fn what_must_not_be_ignored_refuses_the_start() {
    for (text, word) in [
        ("[Exec\n", "/m/box.nspawn:1: this is no section: [Exec"),
        ("[Network]\n\nZone=z\n", "/m/box.nspawn:3: Zone= is not carried out by this version of redd: "),
    ] {
        let (spec, _) = ask(text, true, &[]);
        let error = spec.expect_err(text).to_string();
        assert!(error.starts_with(word), "{text}: {error}");
    }
    // Only what counts is refused.
    assert!(ask("[Network]\nZone=z\n", false, &[]).0.is_ok());
    assert!(ask("[Network]\nZone=z\n", true, &["--settings=no"]).0.is_ok());
}

#[test]
fn an_untrusted_file_cannot_raise_privileges() {
    for group in crate::options::Group::ALL {
        for row in group.rows() {
            let Some(setting) = row.setting.filter(|setting| !setting.trust.has_untrusted()) else { continue };
            let key = setting.key.replace('*', "NOFILE");
            let text: &'static str = Box::leak(format!("[{}]\n{key}=1\n", setting.section).into_boxed_str());
            let (spec, told) = ask(text, false, &[]);
            let (plain, _) = ask("", false, &[]);
            assert_eq!(spec, plain, "{text}");
            let [told] = &told[..] else { panic!("{text}: {told:?}") };
            assert!(
                told.starts_with(&format!("/m/box.nspawn:2: {key}= is ignored: it is for trusted files")),
                "{told}"
            );
            assert!(told.contains("--settings=trusted") && told.contains("/etc/systemd/nspawn"), "{told}");
        }
    }
    let (spec, told) = ask("[Files]\nBind=/a\n", false, &["--settings=trusted"]);
    assert_eq!((spec.expect("trusted").mounts().len(), told.len()), (1, 0));
    // Dates are written like this, too.
    let (spec, told) = ask("[Exec]\nEnvironment=A=%Y-%m-%i\n", false, &[]);
    assert_eq!(spec.expect("it starts").exec().environment, [("A".into(), "%Y-%m-box".into())]);
    assert!(
        told[0].contains("%Y means nothing and stays") && told[1].contains("%m is for trusted files only and stays")
    );
}

#[test]
fn percent_signs() {
    let spec = fine("[Exec]\nHostname=%i-%v\nEnvironment=A=100%% B=%m\n", &[]);
    assert_eq!(spec.identity().hostname.as_ref().map(ToString::to_string).as_deref(), Some("box-6.1"));
    assert_eq!(spec.exec().environment, [("A".into(), "100%".into()), ("B".into(), "0123".into())]);
}

#[test]
fn the_command_line_decides_what_it_speaks_of() {
    const FILE: &str = "[Exec]\nBoot=yes\nParameters=a\nUser=file\nEnvironment=A=1\nCapability=CAP_SYS_TIME\n\
        LimitNOFILE=1\nLimitCORE=2\nPrivateUsers=pick\n[Files]\nBind=/a\n";
    let words = ["-E", "B=2", "--rlimit=NOFILE=5", "--tmpfs=/t", "--drop-capability=CAP_CHOWN", "true"];
    let spec = fine(FILE, &words);
    assert_eq!((spec.exec().mode, &spec.exec().arguments[..]), (StartMode::Pid1, &["true".into()][..]));
    assert_eq!(spec.exec().environment, [("B".into(), "2".into())]);
    assert_eq!(spec.exec().user.as_deref(), Some("file"));
    assert!(spec.security().capabilities.bits() == 0);
    assert_eq!(spec.resources().rlimits.len(), 2);
    assert!(matches!(spec.mounts()[..], [CustomMount::Tmpfs { .. }]));
    assert_eq!(spec.users().private_users, PrivateUsers::Pick);

    let spec = fine(FILE, &[&["--settings=override"][..], &words].concat());
    assert_eq!((spec.exec().mode, &spec.exec().arguments[..]), (StartMode::Boot, &["a".into()][..]));
    assert_eq!(spec.exec().environment, [("A".into(), "1".into())]);
    assert!(matches!(spec.mounts()[..], [CustomMount::Bind { .. }]));
    assert_eq!((spec.security().capabilities.bits(), spec.security().drop_capabilities.bits()), (1 << 25, 1));

    assert_eq!(fine("[Exec]\nBoot=no\n", &["-b", "--settings=override"]).exec().mode, StartMode::Pid1);
    let spec = fine("[Exec]\nParameters=a\n", &["-b", "--settings=override"]);
    assert_eq!((spec.exec().mode, spec.exec().arguments.len()), (StartMode::Boot, 1));
    assert_eq!(fine(FILE, &["--settings=no"]).exec().environment, []);
}
