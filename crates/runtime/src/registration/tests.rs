use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread::JoinHandle;

use super::machined::{Entry, Machined};
use super::*;
use uuid::Uuid;

/// A process number that is nobody's: they end below it.
const NOBODY: u32 = i32::MAX as u32;
const GONE: &str = r#"{"error":"io.systemd.Machine.NoSuchMachine","parameters":{}}"#;
const EXISTS: &str = r#"{"error":"io.systemd.Machine.MachineExists","parameters":{}}"#;
const DONE: &str = r#"{"parameters":{}}"#;

/// A service in a user's runtime directory that gives these answers and is then gone; in the end: what it was asked.
fn service(answers: Vec<String>) -> (tempfile::TempDir, ServiceManager, JoinHandle<Vec<String>>) {
    let directory = tempfile::tempdir().unwrap();
    let manager = ServiceManager::User(directory.path().to_owned());
    std::fs::create_dir_all(manager.machined().parent().unwrap()).unwrap();
    let listener = UnixListener::bind(manager.machined()).unwrap();
    let thread = std::thread::spawn(move || {
        let mut asked = Vec::new();
        let mut answers = answers.into_iter().peekable();
        while answers.peek().is_some() {
            let (mut stream, _) = listener.accept().unwrap();
            while let Some(question) = answers.peek().and_then(|_| question(&mut stream)) {
                asked.push(question);
                stream.write_all(answers.next().unwrap().as_bytes()).unwrap();
                stream.write_all(&[0]).unwrap();
            }
        }
        asked
    });
    (directory, manager, thread)
}

fn question(stream: &mut UnixStream) -> Option<String> {
    let mut question = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte).is_ok_and(|count| count == 1) {
        if byte == [0] {
            let asked: serde_json::Value = serde_json::from_slice(&question).unwrap();
            return Some(asked["method"].as_str().unwrap().rsplit('.').next().unwrap().to_owned());
        }
        question.push(byte[0]);
    }
    None
}

fn listed(leader: u32) -> String {
    format!(r#"{{"parameters":{{"name":"m","leader":{{"pid":{leader}}}}}}}"#)
}

#[test]
fn a_dead_machine_is_forgotten_and_a_living_one_is_not() {
    let answers = [&listed(NOBODY), DONE, &listed(NOBODY), GONE, GONE].map(str::to_owned).to_vec();
    let (_directory, manager, thread) = service(answers);
    forget(&manager, "m");
    assert_eq!(thread.join().unwrap(), ["List", "Unregister", "List", "Unregister", "List"]);
    let (_directory, manager, thread) = service(vec![listed(std::process::id())]);
    forget(&manager, "m");
    assert_eq!(thread.join().unwrap(), ["List"]);
}

#[test]
fn who_cannot_be_asked_is_not_waited_for() {
    let before = Instant::now();
    forget(&ServiceManager::User("/nonexistent".into()), "m");
    assert!(before.elapsed() < FORGOTTEN_WITHIN);
}

#[test]
fn what_varlink_does_not_know_goes_over_the_bus() {
    let unknown = r#"{"error":"org.varlink.service.MethodNotFound","parameters":{"method":"Register"}}"#;
    let entry = Entry { id: Uuid::nil(), leader: 1, root: "/tree" };
    for (answer, expected) in [(unknown, "cannot connect"), (EXISTS, "a machine of this name is registered already")] {
        let (_directory, manager, thread) = service(vec![answer.to_owned()]);
        let error = Machined::new(&manager, "m").register(&entry).unwrap_err();
        // There is no bus.
        assert_eq!(error.to_string(), expected);
        assert_eq!(thread.join().unwrap(), ["Register"]);
    }
}
