//! The same packages, targets and options given to pacman itself: what it would install has to be the same, in the same
//! order, and where one of the two refuses, so does the other.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Output};

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{TestCaseError, TestRunner};
use testkit::requires;

use super::*;
use crate::pacman::desc;

/// A package, as far as it matters here.
#[derive(Debug, Clone)]
struct Small {
    version: String,
    architecture: &'static str,
    depends: Vec<String>,
    provides: Vec<String>,
    conflicts: Vec<String>,
    groups: Vec<String>,
}

/// Repositories, what is installed, and what is asked for.
#[derive(Debug, Clone)]
struct Universe {
    repositories: Vec<BTreeMap<String, Small>>,
    usages: Vec<&'static str>,
    installed: BTreeMap<String, (Small, bool)>,
    targets: Vec<String>,
    ignore_packages: Vec<String>,
    ignore_groups: Vec<String>,
    nodeps: usize,
    needed: bool,
    /// Which questions are answered otherwise than usual.
    ask: u32,
    /// What is answered where everything is asked.
    answers: Vec<u8>,
}

/// The numbers of pacman's questions for its option `--ask`.
const INSTALL_IGNORED: u32 = 1;
const REMOVE_CONFLICTING: u32 = 4;
const SKIP_UNRESOLVABLE: u32 = 16;

/// Answers as pacman does with `--noconfirm --ask`.
struct Asked(u32);

impl Questions for Asked {
    fn install_ignored(&mut self, _candidate: &Candidate) -> bool {
        self.0 & INSTALL_IGNORED == 0
    }

    fn remove_conflicting(&mut self, _conflict: &Conflict) -> bool {
        self.0 & REMOVE_CONFLICTING != 0
    }

    fn skip_unresolvable(&mut self, _targets: &[&Candidate]) -> bool {
        self.0 & SKIP_UNRESOLVABLE != 0
    }
}

/// How many of each kind there are, and what they can have.
#[derive(Debug, Clone, Copy)]
struct Kind {
    conflicts: bool,
    installed: usize,
}

fn wanted() -> impl Strategy<Value = String> {
    let name = select(vec!["a", "b", "c", "d", "e", "f", "g", "h", "v", "w"]);
    let version = prop_oneof![3 => Just(""), 1 => select(vec!["=1", "=1-1", ">=1", ">=1", ">=2", "<2", ">1", "<=1-2"])];
    (name, version).prop_map(|(name, version)| format!("{name}{version}"))
}

fn provided() -> impl Strategy<Value = String> {
    let name = select(vec!["v", "w", "v", "w", "a", "c", "h"]);
    (name, select(vec!["", "", "=1", "=2", "=1-1"])).prop_map(|(name, version)| format!("{name}{version}"))
}

fn package(conflicts: bool) -> impl Strategy<Value = Small> {
    let group = prop_oneof![4 => Just(vec![]), 1 => vec(select(vec!["k".to_owned(), "l".to_owned()]), 1..3)];
    let conflict =
        if conflicts { prop_oneof![4 => Just(vec![]), 1 => vec(wanted(), 1..3)].boxed() } else { Just(vec![]).boxed() };
    (
        select(vec!["1-1", "1-1", "1-2", "2-1", "1:1-1"]),
        prop_oneof![40 => Just("any"), 10 => Just("x86_64"), 1 => Just("arm")],
        prop_oneof![2 => Just(vec![]), 3 => vec(wanted(), 1..4)],
        prop_oneof![1 => Just(vec![]), 1 => vec(provided(), 1..3)],
        conflict,
        group,
    )
        .prop_map(|(version, architecture, depends, provides, conflicts, mut groups)| {
            groups.dedup();
            Small { version: version.to_owned(), architecture, depends, provides, conflicts, groups }
        })
}

fn universe(kind: Kind) -> impl Strategy<Value = Universe> {
    let name = || select(vec!["a", "b", "c", "d", "e", "f", "g", "h"]).prop_map(str::to_owned);
    let target = prop_oneof![
        6 => name(),
        2 => select(vec!["k", "l", "v", "w"]).prop_map(str::to_owned),
        2 => wanted(),
        1 => (0..3, name()).prop_map(|(nr, name)| format!("r{nr}/{name}")),
        1 => select(vec!["r0/k", "r1/k", "r0/l", "r1/v", "none"]).prop_map(str::to_owned),
    ];
    (
        vec((btree_map(name(), package(kind.conflicts), 6..9), prop_oneof![8 => Just("All"), 1 => Just("Sync"), 1 => Just("Search Upgrade")]), 1..3),
        btree_map(name(), (package(false), any::<bool>()), 0..=kind.installed),
        vec(target, 1..4),
        prop_oneof![5 => Just(vec![]), 1 => vec(select(vec!["a".to_owned(), "b".to_owned(), "[c-d]".to_owned()]), 1..3)],
        prop_oneof![9 => Just(vec![]), 1 => Just(vec!["k".to_owned()])],
        prop_oneof![8 => Just(0_usize), 1 => Just(1), 1 => Just(2)],
        (vec(any::<u8>(), 6), any::<bool>(), prop_oneof![Just(0), select(vec![INSTALL_IGNORED, REMOVE_CONFLICTING, SKIP_UNRESOLVABLE, REMOVE_CONFLICTING | SKIP_UNRESOLVABLE])]),
    )
        .prop_map(|(repositories, installed, targets, ignore_packages, ignore_groups, nodeps, (answers, needed, ask))| {
            let (repositories, usages) = repositories.into_iter().unzip();
            Universe { repositories, usages, installed, targets, ignore_packages, ignore_groups, nodeps, needed, ask, answers }
        })
}

/// Answers one after the other of what was drawn, and writes down what a person would have typed for that.
struct Typed<'a> {
    answers: std::iter::Cycle<std::slice::Iter<'a, u8>>,
    typed: String,
}

impl<'a> Typed<'a> {
    fn new(answers: &'a [u8]) -> Self {
        Self { answers: answers.iter().cycle(), typed: String::new() }
    }

    fn next(&mut self) -> usize {
        self.answers.next().map_or(0, |answer| usize::from(*answer))
    }

    fn yes(&mut self, often: usize) -> bool {
        let yes = !self.next().is_multiple_of(often);
        self.typed.push_str(if yes { "y\n" } else { "n\n" });
        yes
    }
}

impl Questions for Typed<'_> {
    fn choose_provider(&mut self, _wanted: &Dependency, providers: &[&Candidate]) -> usize {
        let chosen = self.next() % providers.len();
        writeln!(self.typed, "{}", chosen + 1).unwrap();
        chosen
    }

    fn choose_members(&mut self, _group: &str, members: &[&Candidate]) -> Vec<usize> {
        let bits = self.next();
        let chosen: Vec<usize> = (0..members.len()).filter(|at| bits >> (at % 8) & 1 == 1).collect();
        let all: String =
            (0..members.len()).filter(|at| !chosen.contains(at)).map(|at| format!("^{} ", at + 1)).collect();
        writeln!(self.typed, "{all}").unwrap();
        chosen
    }

    fn install_ignored(&mut self, _candidate: &Candidate) -> bool {
        self.yes(2)
    }

    fn remove_conflicting(&mut self, _conflict: &Conflict) -> bool {
        self.yes(3)
    }

    fn skip_unresolvable(&mut self, _targets: &[&Candidate]) -> bool {
        self.yes(3)
    }

    fn proceed(&mut self, resolution: &Resolution<'_>) -> bool {
        // It is not asked whether to do nothing.
        resolution.install.is_empty() || self.yes(8)
    }
}

impl Small {
    fn package(&self, name: &str) -> Package {
        let all = |list: &[String]| list.iter().map(|text| text.parse().unwrap()).collect();
        let mut package = Package::new(name, Version::new(&self.version));
        self.architecture.clone_into(&mut package.architecture);
        package.depends = all(&self.depends);
        package.provides = all(&self.provides);
        package.conflicts = all(&self.conflicts);
        package.groups.clone_from(&self.groups);
        package
    }

    fn desc(&self, name: &str) -> String {
        let mut text = String::new();
        desc::write(&mut text, "NAME", [name]);
        desc::write(&mut text, "VERSION", [&*self.version]);
        desc::write(&mut text, "ARCH", [self.architecture]);
        for (field, values) in [
            ("DEPENDS", &self.depends),
            ("PROVIDES", &self.provides),
            ("CONFLICTS", &self.conflicts),
            ("GROUPS", &self.groups),
        ] {
            desc::write(&mut text, field, values.iter().map(String::as_str));
        }
        text
    }

    fn info(&self, name: &str) -> String {
        let mut text = format!("pkgname = {name}\npkgver = {}\narch = {}\nsize = 1\n", self.version, self.architecture);
        for (key, values) in [
            ("depend", &self.depends),
            ("provides", &self.provides),
            ("conflict", &self.conflicts),
            ("group", &self.groups),
        ] {
            values.iter().for_each(|value| writeln!(text, "{key} = {value}").unwrap());
        }
        text
    }
}

fn tar(files: impl IntoIterator<Item = (String, String)>) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        builder.append_data(&mut header, path, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

impl Universe {
    /// Puts it where pacman finds it, with the packages themselves.
    fn write(&self, place: &Path) {
        for directory in ["root", "db/sync", "db/local", "cache", "hooks", "gpg"] {
            std::fs::create_dir_all(place.join(directory)).unwrap();
        }
        std::fs::write(place.join("db/local/ALPM_DB_VERSION"), "9\n").unwrap();
        let mut conf = String::from("[options]\nArchitecture = x86_64\nSigLevel = Never\n");
        writeln!(
            conf,
            "IgnorePkg = {}\nIgnoreGroup = {}",
            self.ignore_packages.join(" "),
            self.ignore_groups.join(" ")
        )
        .unwrap();
        for (nr, repository) in self.repositories.iter().enumerate() {
            let directory = place.join(format!("r{nr}"));
            std::fs::create_dir_all(&directory).unwrap();
            writeln!(conf, "[r{nr}]\nServer = file://{}\nUsage = {}", directory.display(), self.usages[nr]).unwrap();
            let database = repository.iter().map(|(name, small)| {
                let file = format!("{name}-{}-r{nr}.pkg.tar", small.version);
                let content = tar([(".PKGINFO".to_owned(), small.info(name))]);
                let text = format!("%FILENAME%\n{file}\n\n%CSIZE%\n{}\n\n{}", content.len(), small.desc(name));
                std::fs::write(directory.join(&file), content).unwrap();
                (format!("{name}-{}/desc", small.version), text)
            });
            std::fs::write(place.join(format!("db/sync/r{nr}.db")), tar(database)).unwrap();
        }
        std::fs::write(place.join("pacman.conf"), conf).unwrap();
        for (name, (small, explicit)) in &self.installed {
            let directory = place.join(format!("db/local/{name}-{}", small.version));
            std::fs::create_dir_all(&directory).unwrap();
            let mut text = small.desc(name);
            desc::write(&mut text, "REASON", (!explicit).then_some("1"));
            std::fs::write(directory.join("desc"), text).unwrap();
            std::fs::write(directory.join("files"), "%FILES%\n").unwrap();
        }
    }

    /// Runs pacman: with the answers that are typed, or with its own.
    fn pacman(&self, place: &Path, operation: &[&str], typed: Option<&str>) -> Output {
        std::fs::write(place.join("typed"), typed.unwrap_or_default()).unwrap();
        let ask = self.ask.to_string();
        let alone = ["--noconfirm", "--ask", &ask];
        let mut command = Command::new("pacman");
        command.stdin(std::fs::File::open(place.join("typed")).unwrap());
        command.args(operation).args(if typed.is_some() { &[][..] } else { &alone });
        command.args(self.needed.then_some("--needed"));
        command.args(vec!["-d"; self.nodeps]).arg("--noprogressbar");
        for (option, path) in [
            ("--config", "pacman.conf"),
            ("--dbpath", "db"),
            ("--root", "root"),
            ("--cachedir", "cache"),
            ("--hookdir", "hooks"),
            ("--gpgdir", "gpg"),
            ("--logfile", "log"),
        ] {
            command.arg(option).arg(place.join(path));
        }
        command.arg("--").args(&self.targets).env("LC_ALL", "C").output().unwrap()
    }

    /// What is chosen here: what `see` makes of it, or the error.
    fn resolved<T>(
        &self,
        place: &Path,
        questions: &mut dyn Questions,
        see: impl FnOnce(&Resolution<'_>) -> T,
    ) -> Result<T, Error> {
        let config = crate::pacman::Config::read(&place.join("pacman.conf")).unwrap();
        let databases: Vec<SyncDatabase> = (0..self.repositories.len())
            .map(|nr| {
                let bytes = std::fs::read(place.join(format!("db/sync/r{nr}.db"))).unwrap();
                SyncDatabase::read(&format!("r{nr}"), nr, bytes).unwrap()
            })
            .collect();
        let usages = config.repositories.iter().map(|repository| repository.usage);
        let sources: Vec<Source<'_>> =
            databases.iter().zip(usages).map(|(database, usage)| Source { database, usage }).collect();
        let reason = |explicit| if explicit { Reason::Explicit } else { Reason::Dependency };
        let installed: Vec<Installed> = self
            .installed
            .iter()
            .map(|(name, (small, explicit))| super::tests::installed(small.package(name), reason(*explicit)))
            .collect();
        let options = Options {
            dependencies: [Dependencies::Checked, Dependencies::AnyVersion, Dependencies::Ignored][self.nodeps],
            needed: self.needed,
            ignore_packages: &config.options.ignore_packages,
            ignore_groups: &config.options.ignore_groups,
            architectures: &config.options.architectures,
        };
        let request = Request {
            sources: &sources,
            installed: &installed.iter().collect::<Vec<_>>(),
            targets: &self.targets,
            options,
        };
        resolve(&request, questions).map(|resolution| see(&resolution))
    }
}

fn run(cases: u32, kind: Kind, check: impl Fn(&Universe, &Path) -> Result<bool, TestCaseError>) {
    let config =
        ProptestConfig { failure_persistence: None, max_shrink_iters: 2000, ..ProptestConfig::with_cases(cases) };
    let good = std::cell::Cell::new(0);
    let result = TestRunner::new(config).run(&universe(kind), |universe| {
        let directory = tempfile::tempdir().unwrap();
        universe.write(directory.path());
        good.set(good.get() + u32::from(check(&universe, directory.path())?));
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
    println!("of {cases}, {} could be installed", good.get());
    // Of a few it may be few by chance.
    let least = if cases < 500 { 0 } else { cases / 8 };
    assert!(good.get() > least, "of {cases} only {} could be installed: that compares too little", good.get());
}

/// What `pacman -Sp` prints: it does not look at conflicts then.
fn printed(universe: &Universe, place: &Path) -> Result<bool, TestCaseError> {
    // Nothing is asked then, and `--ask` changes nothing.
    let output = universe.pacman(place, &["-Sp", "--print-format", "%r/%n %v"], None);
    let theirs = String::from_utf8_lossy(&output.stdout).into_owned();
    let ours = universe.resolved(place, &mut Defaults, |resolution| {
        let mut lines = String::new();
        for choice in &resolution.install {
            let Candidate { package, repository, .. } = choice.candidate;
            writeln!(lines, "r{repository}/{} {}", package.name, package.version).unwrap();
        }
        lines
    });
    prop_assert_eq!(ours.is_ok(), output.status.success(), "{:?}\n{:?}", ours, output);
    let Ok(ours) = ours else { return Ok(false) };
    let theirs: String =
        theirs.lines().filter(|line| *line != " there is nothing to do").map(|line| format!("{line}\n")).collect();
    let some = !ours.is_empty();
    prop_assert_eq!(ours, theirs, "{}", String::from_utf8_lossy(&output.stderr));
    Ok(some)
}

/// What is to be done, as pacman's log says it, with the reasons.
fn in_words(universe: &Universe, resolution: &Resolution<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(resolution.remove.iter().map(|package| format!("removed {} ({})", package.name, package.version)));
    for Choice { candidate, reason } in &resolution.install {
        let Package { name, version, .. } = &candidate.package;
        let before = universe.installed.get(name).map(|(small, _)| Version::new(&small.version));
        let line = match before.map(|before| (version.compare(&before), before)) {
            None => format!("installed {name} ({version})"),
            Some((std::cmp::Ordering::Equal, _)) => format!("reinstalled {name} ({version})"),
            Some((std::cmp::Ordering::Greater, before)) => format!("upgraded {name} ({before} -> {version})"),
            Some((std::cmp::Ordering::Less, before)) => format!("downgraded {name} ({before} -> {version})"),
        };
        lines.push(line + if *reason == Reason::Explicit { " explicit" } else { "" });
    }
    lines
}

/// What `pacman -S` does to the local database, by its log, and the reasons in it.
fn done(universe: &Universe, place: &Path) -> Result<bool, TestCaseError> {
    let ours = universe.resolved(place, &mut Asked(universe.ask), |resolution| in_words(universe, resolution));
    compare(universe, place, ours, None)
}

/// The same with all questions answered, in their order.
fn answered(universe: &Universe, place: &Path) -> Result<bool, TestCaseError> {
    let mut typed = Typed::new(&universe.answers);
    let ours = universe.resolved(place, &mut typed, |resolution| in_words(universe, resolution));
    compare(universe, place, ours, Some(&typed.typed))
}

fn compare(
    universe: &Universe,
    place: &Path,
    ours: Result<Vec<String>, Error>,
    typed: Option<&str>,
) -> Result<bool, TestCaseError> {
    let output = universe.pacman(place, &["-S", "--dbonly", "--noscriptlet"], typed);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    prop_assert_eq!(
        ours.is_ok(),
        output.status.success(),
        "{:?}\n{:?}\n{:?}\n{}",
        ours,
        output.stderr.escape_ascii(),
        typed,
        text
    );
    let Ok(ours) = ours else { return Ok(false) };
    let log = std::fs::read_to_string(place.join("log")).unwrap_or_default();
    let mut theirs = Vec::new();
    for line in log.lines() {
        let Some((_, line)) = line.split_once("[ALPM] ") else { continue };
        let words: Vec<&str> = line.split(' ').collect();
        if !matches!(words[0], "installed" | "reinstalled" | "upgraded" | "downgraded" | "removed") {
            continue;
        }
        let version = line.rsplit([' ', '(']).next().unwrap().trim_end_matches(')');
        let desc =
            std::fs::read_to_string(place.join(format!("db/local/{}-{version}/desc", words[1]))).unwrap_or_default();
        let explicit = words[0] != "removed" && !desc.contains("%REASON%");
        theirs.push(format!("{line}{}", if explicit { " explicit" } else { "" }));
    }
    let some = !ours.is_empty();
    prop_assert_eq!(ours, theirs, "{:?}\n{}", typed, text);
    Ok(some)
}

#[test]
fn the_same_packages_in_the_same_order() {
    requires!(program "pacman");
    run(80, Kind { conflicts: false, installed: 0 }, printed);
    run(60, Kind { conflicts: false, installed: 4 }, printed);
}

#[test]
fn the_same_is_done() {
    requires!(root, program "pacman");
    run(50, Kind { conflicts: true, installed: 0 }, done);
    run(30, Kind { conflicts: true, installed: 4 }, done);
}

#[test]
fn the_same_is_asked() {
    requires!(root, program "pacman");
    run(25, Kind { conflicts: true, installed: 4 }, answered);
}

#[test]
#[ignore = "runs pacman eighteen thousand times: for the acceptance"]
fn the_same_of_thousands() {
    requires!(root, program "pacman");
    std::thread::scope(|scope| {
        for installed in [0, 2, 6] {
            scope.spawn(move || {
                run(3000, Kind { conflicts: false, installed }, printed);
                run(1500, Kind { conflicts: true, installed }, done);
                run(1500, Kind { conflicts: true, installed }, answered);
            });
        }
    });
}
