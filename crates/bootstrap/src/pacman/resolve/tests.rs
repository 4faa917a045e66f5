use std::fmt::Write;

use super::*;

/// A repository of packages, each `NAME VERSION key=value …`, with keys as in a PKGINFO.
fn repository(name: &str, packages: &str) -> SyncDatabase {
    let candidate = |line: &str| Candidate {
        package: package(line),
        repository: 0,
        file_name: format!("{}.pkg.tar.zst", line.replace(' ', "-")),
        compressed_size: 1,
        sha256: None,
        signature: None,
    };
    SyncDatabase::new(name, packages.lines().map(str::trim).filter(|line| !line.is_empty()).map(candidate).collect())
}

fn package(line: &str) -> Package {
    let mut words = line.split(' ');
    let mut package = Package::new(words.next().unwrap(), Version::new(words.next().unwrap()));
    for word in words {
        let (key, value) = word.split_once(':').unwrap();
        match key {
            "needs" => package.depends.push(value.parse().unwrap()),
            "is" => package.provides.push(value.parse().unwrap()),
            "against" => package.conflicts.push(value.parse().unwrap()),
            "in" => package.groups.push(value.to_owned()),
            "for" => value.clone_into(&mut package.architecture),
            _ => panic!("{word}"),
        }
    }
    package
}

pub(super) fn installed(package: Package, reason: Reason) -> Installed {
    let (validation, files, backup) = (Vec::new(), Vec::new(), Vec::new());
    Installed { package, reason, validation, install_date: 0, files, backup }
}

/// Notes what is asked, and answers.
#[derive(Default)]
struct Answers {
    asked: Vec<String>,
    provider: usize,
    /// The members of a group, if not all.
    members: Option<Vec<usize>>,
    refuse_ignored: bool,
    remove: bool,
    skip: bool,
    stop: bool,
}

fn names(candidates: &[&Candidate]) -> String {
    candidates.iter().map(|candidate| candidate.package.name.as_str()).collect::<Vec<_>>().join(" ")
}

impl Questions for Answers {
    fn choose_provider(&mut self, wanted: &Dependency, providers: &[&Candidate]) -> usize {
        self.asked.push(format!("{wanted}: {}", names(providers)));
        self.provider
    }

    fn choose_members(&mut self, group: &str, members: &[&Candidate]) -> Vec<usize> {
        self.asked.push(format!("{group}: {}", names(members)));
        self.members.clone().unwrap_or_else(|| (0..members.len()).collect())
    }

    fn install_ignored(&mut self, candidate: &Candidate) -> bool {
        self.asked.push(format!("ignored {}", candidate.package.name));
        !self.refuse_ignored
    }

    fn remove_conflicting(&mut self, conflict: &Conflict) -> bool {
        self.asked.push(conflict.to_string());
        self.remove
    }

    fn skip_unresolvable(&mut self, targets: &[&Candidate]) -> bool {
        self.asked.push(format!("without {}", names(targets)));
        self.skip
    }

    fn proceed(&mut self, _resolution: &Resolution<'_>) -> bool {
        !self.stop
    }
}

/// Databases and what is asked of them.
struct Case {
    databases: Vec<SyncDatabase>,
    installed: Vec<Installed>,
    ignored: Vec<String>,
    architectures: Vec<String>,
    answers: Answers,
}

impl Case {
    fn new(packages: &str) -> Self {
        Self {
            databases: vec![repository("core", packages)],
            installed: Vec::new(),
            ignored: Vec::new(),
            architectures: vec!["x86_64".to_owned()],
            answers: Answers::default(),
        }
    }

    fn installed(mut self, lines: &[&str]) -> Self {
        self.installed = lines.iter().map(|line| installed(package(line), Reason::Dependency)).collect();
        self
    }

    fn run<T>(&mut self, targets: &str, see: impl FnOnce(Resolution<'_>) -> T) -> Result<T, Error> {
        let sources: Vec<Source<'_>> =
            self.databases.iter().map(|database| Source { database, usage: Usage::ALL }).collect();
        let targets: Vec<String> = targets.split(' ').map(str::to_owned).collect();
        let options =
            Options { ignore_packages: &self.ignored, architectures: &self.architectures, ..Options::default() };
        let installed: Vec<&Installed> = self.installed.iter().collect();
        let request = Request { sources: &sources, installed: &installed, targets: &targets, options };
        resolve(&request, &mut self.answers).map(see)
    }

    /// What is installed, in order; those that were asked for with a star.
    fn installs(&mut self, targets: &str) -> String {
        let shown = |resolution: Resolution<'_>| {
            let star = |reason| if reason == Reason::Explicit { "*" } else { "" };
            let name = |choice: &Choice<'_>| format!("{}{}", choice.candidate.package.name, star(choice.reason));
            resolution.install.iter().map(name).collect::<Vec<_>>().join(" ")
        };
        self.run(targets, shown).unwrap_or_else(|error| panic!("{error}"))
    }

    fn error(&mut self, targets: &str) -> String {
        self.run(targets, |resolution| format!("{resolution:?}")).unwrap_err().to_string()
    }

    fn notes(&mut self, targets: &str) -> Vec<String> {
        self.run(targets, |resolution| resolution.notes.iter().map(ToString::to_string).collect()).unwrap()
    }
}

const SYSTEM: &str = "
    base 3-2 needs:glibc needs:bash needs:init
    bash 5.2-1 needs:readline>=8 needs:glibc is:sh
    dash 0.5-1 needs:glibc is:sh
    glibc 2.40-1 needs:filesystem
    filesystem 2024-1
    readline 8.2-1 needs:glibc
    runit 2-1 is:init=2 against:init
    systemd 256-1 needs:glibc is:init=1 against:init
    gcc 14-1 in:devel
    make 4-1 in:devel needs:sh
    patch 2-1 in:devel";

#[test]
fn dependencies_come_before_what_needs_them() {
    let mut case = Case::new(SYSTEM);
    assert_eq!(case.installs("base"), "filesystem glibc readline bash runit base*");
    assert_eq!(case.answers.asked, ["init: runit systemd"]);
    case.answers.provider = 1;
    assert_eq!(case.installs("base make"), "filesystem glibc readline bash systemd base* make*");
    // What was asked for will do.
    assert_eq!(case.installs("dash make"), "filesystem glibc dash* make*");
    assert_eq!(case.installs("init=2"), "runit*");
}

#[test]
fn groups_are_asked_for() {
    let mut case = Case::new(SYSTEM);
    assert_eq!(case.installs("devel"), "gcc* filesystem glibc readline bash make* patch*");
    case.answers.members = Some(vec![2, 0, 7]);
    assert_eq!(case.installs("devel bash"), "gcc* patch* filesystem glibc readline bash*");
    assert_eq!(case.answers.asked[0], "devel: gcc make patch");
    assert_eq!(case.installs("core/devel"), "gcc* patch*");
}

#[test]
fn the_first_repository_has_precedence() {
    let mut case = Case::new("a 1-1\nb 1-1 needs:a>=2");
    case.databases.push(repository("extra", "a 2-1\nc 1-1 is:b"));
    assert_eq!(case.run("a", |resolution| resolution.install[0].candidate.package.version.to_string()).unwrap(), "1-1");
    assert_eq!(case.installs("b"), "a b*");
    assert_eq!(case.run("extra/a", |done| done.install[0].candidate.package.version.to_string()).unwrap(), "2-1");
    assert_eq!(
        case.error("core/a extra/a"),
        "'core/a 1-1' and 'extra/a 2-1' are both wanted, and only one of them can be installed"
    );
}

#[test]
fn what_another_target_needs_takes_the_place_of_one_of_that_name() {
    let mut case = Case::new("g 2-1");
    case.databases.push(repository("extra", "g 1-1\nd 1-1 needs:g<2"));
    assert_eq!(case.installs("d g"), "g* d*");
    assert_eq!(case.run("d g", |done| done.install[0].candidate.package.version.to_string()).unwrap(), "1-1");
}

#[test]
fn what_cannot_be_had_is_named_with_who_needs_it() {
    let mut case = Case::new(SYSTEM);
    case.databases.push(repository(
        "extra",
        "x 1-1 needs:glibc>=3\ny 1-1 needs:x\nz 1-1 needs:nothing\ni 1-1 needs:patch\nforeign 1-1 for:arm",
    ));
    assert_eq!(case.error("bsh"), "there is no package or group 'bsh'; is one of these meant: bash?");
    assert_eq!(case.error("develop"), "there is no package or group 'develop'; is one of these meant: devel?");
    assert_eq!(case.error("extra/bash"), "there is no package or group 'extra/bash'");
    assert_eq!(case.error("none/bash"), "there is no repository 'none' for 'none/bash'; these are: core, extra");
    assert_eq!(case.error("bash>=6"), "'bash>=6' cannot be had: there is core/bash 5.2-1");
    assert_eq!(
        case.error("y"),
        "not all that is needed can be had: x needs 'glibc>=3': there is only core/glibc 2.40-1; y needs 'x': extra/x 1-1 cannot be installed"
    );
    assert_eq!(case.answers.asked, ["without y"]);
    assert_eq!(case.error("z"), "not all that is needed can be had: z needs 'nothing', which no repository has");
    case.ignored = vec!["pat*".to_owned()];
    assert_eq!(case.error("i"), "not all that is needed can be had: i needs 'patch': core/patch 2-1 is to be ignored");
    assert_eq!(case.error("foreign"), "the package 'foreign' is for arm, and only x86_64 can be installed");
    case.answers.skip = true;
    assert_eq!(case.installs("y gcc"), "gcc*");
    case.answers.stop = true;
    assert_eq!(case.error("gcc"), "nothing is done, as was answered");
}

#[test]
fn of_two_in_conflict_one_goes_if_the_other_provides_it() {
    let mut case = Case::new(
        "iptables 1-1\niptables-nft 1-1 is:iptables against:iptables\nufw 1-1 needs:iptables\na 1-1 against:b<2\nb 1-1\nc 1-1 needs:b",
    );
    assert_eq!(case.installs("iptables iptables-nft ufw"), "iptables-nft* ufw*");
    assert_eq!(
        case.notes("iptables iptables-nft"),
        ["iptables is left out: iptables-nft is in conflict with it and provides it"]
    );
    assert_eq!(case.error("c a"), "not everything can be installed together: a 1-1 and b 1-1 are in conflict (b<2)");
}

#[test]
fn what_is_installed_and_in_conflict_goes_only_if_that_is_wanted() {
    let mut case = Case::new("new 1-1 against:old is:old").installed(&["old 1-1", "user 1-1 needs:old"]);
    let text = "new 1-1 and old 1-1, which is installed, are in conflict";
    assert_eq!(case.error("new"), format!("not everything can be installed together: {text}"));
    assert_eq!(case.answers.asked, [text]);
    case.answers.remove = true;
    let removed = case.run("new", |done| done.remove.iter().map(|one| one.name.clone()).collect::<Vec<_>>());
    assert_eq!(removed.unwrap(), ["old"]);
    let mut case = Case::new("new 1-1 against:old").installed(&["old 1-1", "user 1-1 needs:old"]);
    case.answers.remove = true;
    assert_eq!(case.error("new"), "not all that is needed can be had: user needs 'old': removing old breaks it");
}

#[test]
fn what_is_installed_counts() {
    let mut case =
        Case::new("a 1-1 needs:b\nb 2-1\nc 1-1 needs:v\nd 1-1 is:v\ne 1-1 is:v").installed(&["b 2-1", "e 1-1"]);
    assert_eq!(case.installs("a"), "a*");
    // It keeps its reason.
    assert_eq!(case.installs("b"), "b");
    assert_eq!(case.notes("b"), ["b 2-1 is up to date and is installed again"]);
    let mut case = Case::new("b 1-1").installed(&["b 2-1", "user 1-1 needs:b>=2"]);
    assert_eq!(case.error("b"), "not all that is needed can be had: user needs 'b>=2': installing b 1-1 breaks it");
    let mut case = Case::new("b 1-1").installed(&["b 2-1"]);
    assert_eq!(case.notes("b"), ["b 2-1 is replaced by the older 1-1"]);
}

#[test]
fn packages_that_need_each_other_are_told_of() {
    let mut case = Case::new("a 1-1 needs:b\nb 1-1 needs:c\nc 1-1 needs:a");
    assert_eq!(case.installs("a"), "c b a*");
    assert_eq!(case.notes("a"), ["packages need each other: c is installed before a, which it needs"]);
}

#[test]
fn ignored_targets_are_asked_about() {
    let mut case = Case::new("a 1-1 in:g\nb 1-1 in:g");
    case.ignored = vec!["a".to_owned()];
    assert_eq!(case.installs("a"), "a*");
    assert_eq!(case.answers.asked, ["ignored a"]);
    case.answers.refuse_ignored = true;
    assert_eq!(case.installs("g"), "b*");
    assert_eq!(case.notes("a b"), ["'a' is left out"]);
}

#[test]
fn long_chains_take_neither_stack_nor_ages() {
    let count = 30_000;
    let mut lines: String = (1..count).map(|nr| format!("p{nr} 1-1 needs:p{} needs:p0\n", nr - 1)).collect();
    lines.push_str("p0 1-1\n");
    let mut case = Case::new(&lines);
    assert_eq!(case.run(&format!("p{}", count - 1), |done| done.install.len()).unwrap(), count);
}

#[test]
fn packages_that_need_each_other_in_endless_ways_are_given_up() {
    let layers = 40;
    let mut lines = String::from("top 1-1 needs:p0a needs:p0b\n");
    for layer in 0..layers {
        let next = layer + 1;
        let needs = if next < layers { format!("needs:p{next}a needs:p{next}b") } else { "needs:gone".to_owned() };
        writeln!(lines, "p{layer}a 1-1 {needs}\np{layer}b 1-1 {needs}").unwrap();
    }
    let mut case = Case::new(&lines);
    let error = case.error("top");
    let start = "packages need each other in too many ways to try them all, and of what is needed not all can be had: \
        p39a needs 'gone', which no repository has; p38a needs 'p39a': core/p39a 1-1 cannot be installed; ";
    assert!(error.starts_with(start) && error.ends_with("; and so on"), "{error}");
    assert!(case.answers.asked.is_empty());
    // Where all can be had there is one way.
    lines.push_str("gone 1-1\n");
    assert_eq!(Case::new(&lines).run("top", |done| done.install.len()).unwrap(), 2 * layers + 2);
    // And few ways are tried to the end, each lack told of once.
    let mut case = Case::new("a 1-1 needs:c\nb 1-1 needs:c\nc 1-1 needs:gone\nd 1-1");
    case.answers.skip = true;
    assert_eq!(case.installs("a b d"), "d*");
    let lacks = [
        "'gone' cannot be had, and c needs it",
        "'c' cannot be had, and a needs it",
        "'c' cannot be had, and b needs it",
    ];
    assert_eq!(case.notes("a b d"), lacks);
}
