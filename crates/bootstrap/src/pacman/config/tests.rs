use std::collections::BTreeMap;
use std::process::Command;

use proptest::prelude::*;
use testkit::requires;

use super::*;
use crate::pacman::pattern::Patterns;
use crate::pacman::sig_level::{Check, Demand, Trust};

/// Files that are nowhere.
struct Given(BTreeMap<&'static str, String>);

impl Files for Given {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let text = path.to_str().and_then(|path| self.0.get(path));
        text.map(|text| text.clone().into_bytes()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn expand(&self, pattern: &str) -> Vec<PathBuf> {
        let fits = |path: &&&str| crate::pacman::pattern::matches(pattern.as_bytes(), path.as_bytes());
        self.0.keys().filter(fits).map(PathBuf::from).collect()
    }
}

fn read(files: &[(&'static str, &str)]) -> Result<Config, Error> {
    let given = files.iter().map(|(path, text)| (*path, (*text).to_owned())).collect();
    Config::read_with(Path::new(files[0].0), &Given(given), "x86_64")
}

fn config(text: &str) -> Config {
    read(&[("c", text)]).unwrap_or_else(|error| panic!("{error}"))
}

fn error(text: &str) -> String {
    read(&[("c", text)]).unwrap_err().to_string()
}

#[test]
fn archs_own_configuration_is_read() {
    let conf = "
# comment
[options]
HoldPkg     = pacman glibc
Architecture = auto
NoExtract = usr/share/man/* !usr/share/man/man1/*
NoExtract = usr/share/info/*
IgnorePkg=linux*
Color
ILoveCandy
CheckSpace
ParallelDownloads = 5
DownloadUser = alpm
DisableSandboxFilesystem
SigLevel    = Required DatabaseOptional
LocalFileSigLevel = Optional

[core]
Include = /etc/pacman.d/mirrorlist

[extra]
SigLevel = Never
CacheServer = http://cache/$arch
Include = /etc/pacman.d/mirrorlist
Usage = Sync Install
";
    let list =
        "## Worldwide\n#Server = https://no/$repo\nServer = https://one/$repo/os/$arch\nServer=https://two/$repo/\n";
    let read = read(&[("/etc/pacman.conf", conf), ("/etc/pacman.d/mirrorlist", list)]).unwrap();
    assert_eq!(read.warnings, []);
    let options = &read.options;
    assert_eq!(options.architectures, ["x86_64"]);
    let no_extract = Patterns::new(options.no_extract.iter().map(String::as_str));
    assert!(no_extract.match_path(b"usr/share/man/de/x") && !no_extract.match_path(b"usr/share/man/man1/ls.1"));
    assert_eq!((&options.ignore_packages[..], options.hold_packages.len()), (&["linux*".to_owned()][..], 2));
    assert!(options.color && options.candy && options.check_space && options.disable_sandbox && !options.use_syslog);
    assert_eq!((options.parallel_downloads.get(), options.download_user.as_deref()), (5, Some("alpm")));
    assert_eq!(options.local_file_sig_level.package.check, Check::Optional);
    assert_eq!(options.remote_file_sig_level, options.sig_level);
    let [core, extra] = &read.repositories[..] else { panic!("{:?}", read.repositories) };
    assert_eq!(core.servers, ["https://one/core/os/x86_64", "https://two/core"]);
    assert_eq!((core.usage, core.sig_level), (Usage::ALL, SigLevel::default()));
    assert_eq!((extra.name.as_str(), &extra.cache_servers[..]), ("extra", &["http://cache/x86_64".to_owned()][..]));
    assert_eq!(extra.usage, Usage { sync: true, search: false, install: true, upgrade: false });
    assert_eq!(extra.sig_level.package, Demand { check: Check::Never, trust: Trust::TrustedOnly });
}

#[test]
fn what_an_included_file_begins_goes_on_behind_it() {
    let read = read(&[
        ("c", "Include = o*\n[a]\nInclude = more\nServer = 2\n"),
        ("o1", "[options]\nColor"),
        ("o2", "CheckSpace\nArchitecture = i686 auto i686\n"),
        ("more", "Server = 1/$arch\n[b]\n"),
    ])
    .unwrap();
    assert!(read.options.color && read.options.check_space);
    assert_eq!(read.options.architectures, ["i686", "x86_64"]);
    let servers: Vec<_> = read.repositories.iter().map(|one| (one.name.as_str(), one.servers.join(" "))).collect();
    assert_eq!(servers, [("a", "1/i686".to_owned()), ("b", "2".to_owned())]);
}

#[test]
fn errors_name_the_file_the_line_and_the_key() {
    for (text, expected) in [
        ("Color\n", "c:1: 'Color' is in no section; '[options]' or the name of a repository has to come before it"),
        ("[options]\n\nRootDir =\n", "c:3: 'RootDir' needs a value"),
        (
            "[options]\nCacheDir = /a b\n",
            "c:2: 'b' is no value of 'CacheDir': absolute paths without blanks are wanted",
        ),
        (
            "[options]\nParallelDownloads = 0\n",
            "c:2: '0' is no value of 'ParallelDownloads': a number from 1 on is wanted",
        ),
        (
            "[options]\nSigLevel = Optional Maybe\n",
            "c:2: 'Maybe' is no signature level of 'SigLevel'; these are: Required, Optional, Never, TrustedOnly, TrustAll, also with Package or Database before them",
        ),
        (
            "[options]\nXferCommand = /usr/bin/curl %u\n",
            "c:2: 'XferCommand' is not supported: downloads are never left to another program",
        ),
        ("[a]\nServer\n", "c:2: 'Server' needs a value"),
        ("[a]\nServer = x/$arch\n", "c:2: the server 'x/$arch' has '$arch' in it, and no 'Architecture' is set"),
        ("[a]\nUsage = Sync x\n", "c:2: 'x' is no value of 'Usage': Sync, Search, Install, Upgrade or All are wanted"),
        ("[local]\n", "c:1: no repository can be called 'local': that is the database of what is installed"),
        ("[../x]\n", "c:1: no repository can be called '../x': its database has that name as a file"),
        ("[a b]\n", "c:1: no repository can be called 'a b': it has a blank in it"),
        ("[a]\n[options]\n[a]\n", "c:3: the repository 'a' is there already, at c:1"),
        ("[a]\nInclude = none\n", "c:2: the included file 'none' cannot be read"),
        ("[a]\nInclude = c\n", "c:2: files include each other more than 10 deep"),
        ("[a]\nServer = \u{1b}[31m\n", "c:2: the line is no text in UTF-8, or has control characters"),
    ] {
        assert_eq!(error(text), expected);
    }
    assert_eq!(read(&[("a", "Include = b"), ("b", "\n\nx\n")]).unwrap_err().to_string().split(':').next(), Some("b"));
    let twice = read(&[("c", &("[a]\n".to_owned() + &"Include = c\n".repeat(5000)))]).unwrap_err();
    assert!(matches!(twice, Error::TooDeep { .. }), "{twice}");
}

#[test]
fn unknown_keys_are_passed_over_with_a_warning() {
    let read = config("[options]\nNoPassiveFtp\nColor = always\n[a]\nIgnorePkg = x\n");
    let warnings: Vec<String> = read.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "c:2: there is no 'NoPassiveFtp' in '[options]'; it is passed over",
            "c:3: 'Color' takes no value; it is switched on whatever is said",
            "c:4: there is no 'IgnorePkg' in '[a]'; it is passed over",
        ]
        .map(|warning| warning.replace("c:4", "c:5"))
    );
    assert!(read.options.color);
}

#[test]
fn a_file_that_includes_others_over_and_over_ends() {
    let texts: Vec<(&'static str, String)> = (0..10)
        .map(|nr| ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"][nr])
        .map(|name| (name, format!("[a]\nServer = x\nInclude = {}\n", name.parse::<u8>().unwrap_or(0) + 1).repeat(50)))
        .chain([("10", "Server = y\n".repeat(50))])
        .collect();
    let error = Config::read_with(Path::new("0"), &Given(texts.into_iter().collect()), "x").unwrap_err();
    assert!(matches!(error, Error::TooLong { .. }), "{error}");
}

#[test]
fn files_of_the_machine_are_found_by_patterns() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    for (name, text) in [("b.x", "[b]\n"), ("a.x", "[a]\n"), (".c.x", "[c]\n"), ("c.y", "[c]\n"), ("s/d.x", "[d]\n")] {
        std::fs::create_dir_all(path(name).parent().unwrap()).unwrap();
        std::fs::write(path(name), text).unwrap();
    }
    let place = directory.path().display();
    std::fs::write(path("conf"), format!("# \u{e4}\n#\nInclude = {place}/*.x\nInclude = {place}/?/[d-e].x\n")).unwrap();
    let names = |config: &Config| config.repositories.iter().map(|one| one.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&Config::read(&path("conf")).unwrap()), ["a", "b", "d"]);
    std::fs::write(path("conf"), b"# \xe4\n[a]\n".as_slice()).unwrap();
    assert_eq!(names(&Config::read(&path("conf")).unwrap()), ["a"]);
    std::fs::write(path("conf"), b"[\xe4]\n".as_slice()).unwrap();
    assert!(matches!(Config::read(&path("conf")), Err(Error::NoText { .. })));
    std::fs::write(path("conf"), format!("Include = {place}/*.none\n")).unwrap();
    assert!(matches!(Config::read(&path("conf")), Err(Error::Include { .. })));
    assert!(matches!(Config::read(&path("none")), Err(Error::Read { .. })));
    assert!(matches!(Config::read(directory.path()), Err(Error::Read { .. })));
}

#[test]
fn paths_have_pacmans_defaults() {
    let paths = config("[options]\nGPGDir = /g\nHookDir = /h /i\n").options.paths(Some(Path::new("/mnt")));
    assert_eq!((paths.database, paths.log), ("/mnt/var/lib/pacman/".into(), "/mnt/var/log/pacman.log".into()));
    assert_eq!((paths.gpg, paths.hooks), ("/g".into(), vec!["/h".into(), "/i".into()]));
    assert_eq!(paths.caches, [PathBuf::from("/var/cache/pacman/pkg/")]);
    let paths = config("[options]\nRootDir = /r\nDBPath = /d\n").options.paths(None);
    assert_eq!((paths.root, paths.database, paths.log), ("/r".into(), "/d".into(), "/r/var/log/pacman.log".into()));
}

/// Sections with their keys and values.
type Shown = Vec<(String, BTreeMap<String, Vec<String>>)>;

/// What pacman-conf(8) says. It leaves out levels that are as those of `[options]`.
fn parsed(text: &str) -> Shown {
    let mut sections: Shown = Vec::new();
    for line in text.lines() {
        if line.starts_with('[') {
            sections.push((line.to_owned(), BTreeMap::new()));
            continue;
        }
        let (key, value) = line.split_once(" = ").unwrap_or((line, "on"));
        sections.last_mut().unwrap().1.entry(key.to_owned()).or_default().push(value.to_owned());
    }
    // Said twice, an architecture is no other.
    let mut seen = std::collections::BTreeSet::new();
    if let Some(architectures) = sections[0].1.get_mut("Architecture") {
        architectures.retain(|one| seen.insert(one.clone()));
    }
    let start = sections[0].1["SigLevel"].clone();
    let of_package = || start.iter().filter(|value| value.starts_with("Package")).cloned().collect();
    for key in ["LocalFileSigLevel", "RemoteFileSigLevel"] {
        sections[0].1.entry(key.to_owned()).or_insert_with(of_package);
    }
    for (_, section) in &mut sections[1..] {
        section.entry("SigLevel".to_owned()).or_insert_with(|| start.clone());
    }
    sections
}

/// The same of ours.
fn shown(config: &Config) -> Shown {
    let options = &config.options;
    let paths = options.paths(None);
    let all = |paths: &[PathBuf]| paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
    let on = |on: bool| if on { vec!["on".to_owned()] } else { Vec::new() };
    let keeps = |method| options.clean_methods.contains(&method);
    let methods = [
        ("KeepInstalled", keeps(CleanMethod::KeepInstalled) || options.clean_methods.is_empty()),
        ("KeepCurrent", keeps(CleanMethod::KeepCurrent)),
    ];
    let said = |words: &[(&str, bool)]| {
        words.iter().filter(|(_, on)| *on).map(|(word, _)| (*word).to_owned()).collect::<Vec<_>>()
    };
    let section = |keys: Vec<(&str, Vec<String>)>| {
        let keys = keys.into_iter().filter(|(_, values)| !values.is_empty());
        keys.map(|(key, values)| (key.to_owned(), values)).collect::<BTreeMap<_, _>>()
    };
    let of_options = section(vec![
        ("RootDir", all(&[paths.root])),
        ("DBPath", all(&[paths.database])),
        ("CacheDir", all(&paths.caches)),
        ("HookDir", all(&paths.hooks)),
        ("GPGDir", all(&[paths.gpg])),
        ("LogFile", all(&[paths.log])),
        ("HoldPkg", options.hold_packages.clone()),
        ("IgnorePkg", options.ignore_packages.clone()),
        ("IgnoreGroup", options.ignore_groups.clone()),
        ("NoUpgrade", options.no_upgrade.clone()),
        ("NoExtract", options.no_extract.clone()),
        ("Architecture", options.architectures.clone()),
        ("UseSyslog", on(options.use_syslog)),
        ("Color", on(options.color)),
        ("CheckSpace", on(options.check_space)),
        ("VerbosePkgLists", on(options.verbose_package_lists)),
        ("DisableDownloadTimeout", on(options.disable_download_timeout)),
        ("ILoveCandy", on(options.candy)),
        ("NoProgressBar", on(options.no_progress_bar)),
        ("ParallelDownloads", vec![options.parallel_downloads.to_string()]),
        ("CleanMethod", said(&methods)),
        (
            "SigLevel",
            [words("Package", options.sig_level.package), words("Database", options.sig_level.database)].concat(),
        ),
        ("LocalFileSigLevel", words("Package", options.local_file_sig_level.package)),
        ("RemoteFileSigLevel", words("Package", options.remote_file_sig_level.package)),
    ]);
    let mut sections = vec![("[options]".to_owned(), of_options)];
    for one in &config.repositories {
        let (usage, whole) = (one.usage, one.usage == Usage::ALL);
        let usage = [
            ("All", whole),
            ("Sync", usage.sync && !whole),
            ("Search", usage.search && !whole),
            ("Install", usage.install && !whole),
            ("Upgrade", usage.upgrade && !whole),
        ];
        let keys = section(vec![
            ("Usage", said(&usage)),
            ("SigLevel", [words("Package", one.sig_level.package), words("Database", one.sig_level.database)].concat()),
            ("Server", one.servers.clone()),
        ]);
        sections.push((format!("[{}]", one.name), keys));
    }
    sections
}

fn words(kind: &str, demand: Demand) -> Vec<String> {
    let mut words = vec![format!("{kind}{:?}", demand.check)];
    if demand.check != Check::Never {
        words.push(format!("{kind}{:?}", demand.trust));
    }
    words
}

fn line() -> impl Strategy<Value = String> {
    let word = "[a-z*!/]{1,4}";
    let level = prop::collection::vec("(Package|Database|)(Never|Optional|Required|TrustAll|TrustedOnly)", 1..4)
        .prop_map(|words| words.join(" "));
    prop_oneof![
        2 => Just("[options]".to_owned()),
        3 => "\\[[a-d]\\]",
        3 => (prop::sample::select(vec!["HoldPkg", "IgnorePkg", "IgnoreGroup", "NoUpgrade", "NoExtract"]), word, word)
            .prop_map(|(key, one, two)| format!("  {key} =  {one} {two} ")),
        2 => (prop::sample::select(vec!["RootDir", "DBPath", "GPGDir", "LogFile", "CacheDir", "HookDir"]), "/[a-c]")
            .prop_map(|(key, path)| format!("{key}={path}")),
        2 => prop::sample::select(vec!["UseSyslog", "Color", "CheckSpace", "VerbosePkgLists", "DisableDownloadTimeout",
            "ILoveCandy", "NoProgressBar", "nonsense", "# SigLevel = x", ""]).prop_map(str::to_owned),
        2 => "Architecture = (auto|i686|x86_64)",
        1 => "ParallelDownloads = [0-9]",
        1 => "CleanMethod = (KeepInstalled|KeepCurrent)",
        3 => (prop::sample::select(vec!["SigLevel", "LocalFileSigLevel", "RemoteFileSigLevel"]), level)
            .prop_map(|(key, level)| format!("{key} = {level}")),
        4 => "Server = http://[a-c]/(\\$repo|\\$arch|x)",
        2 => "Usage = (Sync|Search|Install|Upgrade|All)",
        1 => Just("Server".to_owned()),
    ]
}

/// Compares what a random configuration means with what pacman-conf(8) says.
fn compare(cases: u32) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pacman.conf");
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases)
    });
    runner
        .run(&prop::collection::vec(line(), 0..16), |lines| {
            let start = "[options]\nSigLevel = Required DatabaseOptional TrustedOnly\n";
            std::fs::write(&path, format!("{start}{}\n", lines.join("\n"))).unwrap();
            let theirs = Command::new("pacman-conf").arg("--config").arg(&path).output().unwrap();
            let ours = match Config::read(&path) {
                // Sections that come twice are an error as soon as pacman uses them.
                Err(Error::Twice { .. }) => return Ok(()),
                ours => ours,
            };
            let text = String::from_utf8_lossy(&theirs.stdout);
            prop_assert_eq!(ours.is_ok(), theirs.status.success(), "{:?}\n{:?}", ours, theirs);
            if let Ok(ours) = ours {
                prop_assert_eq!(shown(&ours), parsed(&text));
            }
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_configuration_means_what_pacman_takes_it_for() {
    requires!(program "pacman-conf");
    compare(150);
}
