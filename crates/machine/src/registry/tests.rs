use rustix::process::getpid;

use super::*;
use crate::process::Process;
use crate::state::{Class, Timestamp};

fn registry() -> (tempfile::TempDir, Registry) {
    let directory = tempfile::tempdir().unwrap();
    let registry = Registry { directory: directory.path().join("machines") };
    (directory, registry)
}

fn state(name: &str, leader: Process, supervised: bool) -> State {
    State {
        version: VERSION,
        name: name.to_owned(),
        id: None,
        service: Some("systemd-nspawn".to_owned()),
        class: Class::Container,
        leader,
        supervisor: None,
        root_directory: Some("/trees/a".to_owned()),
        unit: None,
        subgroup: None,
        control_group: None,
        timestamp: Timestamp::now(),
        network_interfaces: Vec::new(),
        v_sock_cid: None,
        ssh_address: None,
        ssh_private_key_path: None,
        control_address: None,
        uid: 0,
        users: None,
        boots: false,
        private_network: false,
        supervised,
    }
}

fn myself() -> Process {
    Process::of(getpid().as_raw_nonzero().get()).unwrap()
}

fn dead() -> Process {
    let mut child = std::process::Command::new("true").spawn().unwrap();
    let process = Process::of(i32::try_from(child.id()).unwrap()).unwrap();
    child.wait().unwrap();
    process
}

fn names(registry: &Registry) -> Vec<String> {
    let (machines, errors) = registry.list().unwrap();
    assert!(errors.is_empty(), "{errors:?}");
    machines.into_iter().map(|machine| machine.state.name).collect()
}

#[test]
fn an_entry_lasts_as_long_as_it_is_kept() {
    let (directory, registry) = registry();
    assert!(names(&registry).is_empty());
    let confinement = Confinement { capabilities: 7, ..Confinement::default() };
    let published = registry.publish(&state("b.c", myself(), true), &confinement).unwrap();
    let other = registry.publish(&state("a", myself(), true), &confinement).unwrap();
    assert_eq!(names(&registry), ["a", "b.c"]);
    let found = registry.find("b.c").unwrap();
    assert_eq!(found.state, state("b.c", myself(), true).at(found.state.timestamp));
    assert_eq!(found.confinement().unwrap(), Some(confinement.clone()));
    assert_eq!(found.control(), Some(published.control()));
    assert!(matches!(registry.publish(&state("a", myself(), true), &confinement), Err(Error::Exists(_))));
    drop((published, other));
    assert!(matches!(registry.find("b.c"), Err(Error::NoSuchMachine(_))));
    let left = std::fs::read_dir(directory.path().join("machines")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, [CHANGES]);
}

impl State {
    fn at(self, timestamp: Timestamp) -> Self {
        Self { timestamp, ..self }
    }
}

#[test]
fn what_a_dead_keeper_left_is_passed_over_and_removed() {
    let (_directory, registry) = registry();
    // The leader lives, but nobody holds the lock: it has nobody who looks after it.
    let mut leader = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    let abandoned = Process::of(leader.id().cast_signed()).unwrap();
    let published = registry.publish(&state("a", abandoned, true), &Confinement::default()).unwrap();
    let here = registry.directory.join("a");
    let saved = registry.directory.join("saved");
    std::fs::create_dir(&saved).unwrap();
    for name in [STATE, LOCK, CONFINEMENT] {
        std::fs::copy(here.join(name), saved.join(name)).unwrap();
    }
    drop(published);
    std::fs::rename(&saved, &here).unwrap();
    assert!(names(&registry).is_empty());
    assert!(!here.exists());
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&leader.wait().unwrap()), Some(9));
    // Half made, by somebody who died on the way.
    std::fs::create_dir(&here).unwrap();
    std::fs::write(here.join(LOCK), "").unwrap();
    assert_eq!(registry.sweep().unwrap(), ["a"]);
    assert!(!here.exists());
    assert!(!registry.clear("a").unwrap());
    std::fs::create_dir(&here).unwrap();
    std::fs::write(here.join(LOCK), "").unwrap();
    assert!(registry.clear("a").unwrap());
    let again = registry.publish(&state("a", myself(), true), &Confinement::default()).unwrap();
    assert_eq!(names(&registry), ["a"]);
    drop(again);
}

#[test]
fn machines_of_others_live_with_their_first_process() {
    let (_directory, registry) = registry();
    registry.register(&state("vm", myself(), false)).unwrap();
    assert!(matches!(registry.register(&state("vm", myself(), false)), Err(Error::Exists(_))));
    assert_eq!(registry.find("vm").unwrap().control(), None);
    let changed = State { unit: Some("vm.scope".to_owned()), ..state("vm", myself(), false) };
    registry.amend(&changed).unwrap();
    assert_eq!(registry.find("vm").unwrap().state.unit.as_deref(), Some("vm.scope"));
    registry.register(&state("gone", dead(), false)).unwrap();
    assert_eq!(names(&registry), ["vm"]);
    assert!(!registry.directory.join("gone").exists());
    registry.unregister("vm").unwrap();
    assert!(names(&registry).is_empty());
}

#[test]
fn ours_are_not_for_others_to_change() {
    let (_directory, registry) = registry();
    let published = registry.publish(&state("a", myself(), true), &Confinement::default()).unwrap();
    assert!(matches!(registry.unregister("a"), Err(Error::Ours(_))));
    assert!(matches!(registry.amend(&state("a", myself(), false)), Err(Error::Ours(_))));
    assert!(matches!(registry.register(&state("a", myself(), false)), Err(Error::Exists(_))));
    assert_eq!(names(&registry), ["a"]);
    drop(published);
    assert!(matches!(registry.unregister("a"), Err(Error::NoSuchMachine(_))));
}

#[test]
fn a_supervisor_takes_the_name_of_nobody_else() {
    let (_directory, registry) = registry();
    let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let other = Process::of(i32::try_from(child.id()).unwrap()).unwrap();
    registry.register(&state("a", other, false)).unwrap();
    let ours = state("a", myself(), true);
    assert!(matches!(registry.publish(&ours, &Confinement::default()), Err(Error::Exists(_))));
    assert!(!registry.find("a").unwrap().state.supervised);
    assert!(matches!(registry.amend(&state("a", myself(), false)), Err(Error::NoSuchMachine(_))));
    child.kill().unwrap();
    child.wait().unwrap();
    // Of the dead, and of the same first process, it does.
    drop(registry.publish(&ours, &Confinement::default()).unwrap());
    registry.register(&state("a", myself(), false)).unwrap();
    drop(registry.publish(&ours, &Confinement::default()).unwrap());
    assert!(names(&registry).is_empty());
}

#[test]
fn readers_that_tidy_up_take_nothing_from_whoever_begins() {
    let (_directory, registry) = registry();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    registry.list().unwrap();
                    drop(registry.find("vm"));
                }
            });
        }
        let failed = (0..500).find_map(|round| {
            registry
                .register(&state("vm", myself(), false))
                .and_then(|()| registry.unregister("vm"))
                .err()
                .map(|e| (round, e))
        });
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(failed.is_none(), "{failed:?}");
    });
    assert!(names(&registry).is_empty());
}

#[test]
fn names_lead_nowhere() {
    let (_directory, registry) = registry();
    for name in ["..", ".", "a/b", "", "\u{e4}"] {
        assert!(matches!(registry.find(name), Err(Error::Name(_))), "{name}");
        assert!(registry.register(&state(name, myself(), false)).is_err(), "{name}");
    }
}

#[test]
fn what_cannot_be_read_hides_nothing_else() {
    let (_directory, registry) = registry();
    registry.register(&state("good", myself(), false)).unwrap();
    registry.register(&state("odd", myself(), false)).unwrap();
    std::fs::write(registry.directory.join("odd").join(STATE), "{").unwrap();
    registry.register(&State { version: VERSION + 1, ..state("later", myself(), false) }).unwrap();
    let (machines, errors) = registry.list().unwrap();
    assert_eq!(machines.len(), 1);
    assert!(matches!(errors[..], [Error::Later { .. }, Error::Malformed { .. }]), "{errors:?}");
}

/// Whatever lies in the place of a state: nobody waits, nothing huge is read, and what the dead have left goes.
#[test]
fn what_lies_in_the_place_of_a_state_holds_nobody_up() {
    let (_directory, registry) = registry();
    type Spoil = fn(&Path);
    let spoiled: [(&str, Spoil); 5] = [
        ("a pipe", |path| {
            rustix::fs::mknodat(CWD, path, rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
        }),
        ("a directory", |path| std::fs::create_dir(path).unwrap()),
        ("a symbolic link", |path| std::os::unix::fs::symlink("/dev/zero", path).unwrap()),
        ("bytes", |path| std::fs::File::create(path).unwrap().set_len(8 << 30).unwrap()),
        ("EOF", |path| std::fs::write(path, "{\"version\":1").unwrap()),
    ];
    for (what, spoil) in spoiled {
        registry.register(&state("odd", myself(), false)).unwrap();
        let path = registry.directory.join("odd").join(STATE);
        std::fs::remove_file(&path).unwrap();
        spoil(&path);
        let told = registry.find("odd").unwrap_err().to_string();
        assert!(told.contains(what) && told.contains(path.to_str().unwrap()) && told.contains("remove"), "{told}");
        assert!(registry.register(&state("odd", myself(), false)).is_err(), "{what}");
        assert!(path.symlink_metadata().is_ok(), "it is not ours to remove: somebody may live");
        // With a lock that nobody holds it is a dead supervisor's.
        std::fs::write(registry.directory.join("odd").join(LOCK), "").unwrap();
        assert!(names(&registry).is_empty(), "{what}");
        assert!(!registry.directory.join("odd").exists(), "{what}");
    }
}

/// A registration that was killed has no lock of its own, and may have come to any step.
#[test]
fn what_a_killed_registration_has_left_is_in_nobody_s_way() {
    let (_directory, registry) = registry();
    let here = registry.directory.join("vm");
    for half in [None, Some("{\"version\":1,")] {
        registry.register(&state("other", myself(), false)).unwrap();
        std::fs::create_dir(&here).unwrap();
        if let Some(half) = half {
            std::fs::write(here.join(NEW_STATE), half).unwrap();
        }
        assert_eq!(names(&registry), ["other"]);
        assert!(!here.exists(), "{half:?}");
        registry.register(&state("vm", myself(), false)).unwrap();
        registry.unregister("vm").unwrap();
        registry.unregister("other").unwrap();
    }
}
