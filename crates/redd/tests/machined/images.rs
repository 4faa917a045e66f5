//! `io.systemd.MachineImage`.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};
use testkit::disk::{Disk, Mounted};
use testkit::{fixture, requires};

use crate::client::Client;
use crate::service::{IMAGES, Machined, as_user, isolate, refused, spawn};

const POOL: &str = "/var/lib/machines";
const LIST: &str = "io.systemd.MachineImage.List";

/// A place for images that is this test's alone.
fn pool() -> Mounted {
    std::fs::create_dir_all(POOL).expect("directory");
    Mounted::new(&["-t", "tmpfs", "-o", "mode=700", "tmpfs"], Path::new(POOL))
}

fn image(name: &str) {
    let tree = Path::new(POOL).join(name);
    std::fs::create_dir_all(&tree).expect("directory");
    fixture::tree_at(&tree);
    std::fs::create_dir_all(tree.join("etc")).expect("directory");
    std::fs::write(tree.join("etc/hostname"), "web.example\n").expect("file");
    std::fs::write(tree.join("etc/machine-id"), "0123456789abcdef0123456789abcdef\n").expect("file");
    std::fs::write(tree.join("etc/machine-info"), "ICON_NAME=x\n").expect("file");
    std::fs::write(tree.join("etc/os-release"), "ID=testos\nNAME=\"Test OS\"\n").expect("file");
}

fn call(client: &mut Client, method: &str, parameters: Value) -> Result<Value, (String, Value)> {
    client.call(&format!("io.systemd.MachineImage.{method}"), parameters)
}

#[test]
fn images_are_listed_with_what_they_say_of_themselves() {
    requires!(root);
    let _isolated = isolate();
    let _pool = pool();
    image("machined-one");
    image("machined-two");
    let _service = Machined::start();
    let mut client = Client::connect(IMAGES);
    let all = client.call_more(LIST, json!({})).expect("list");
    let names: Vec<&str> = all.iter().filter_map(|one| one["name"].as_str()).collect();
    assert!(
        names.contains(&"machined-one") && names.contains(&"machined-two") && names.contains(&".host"),
        "{names:?}"
    );
    assert_eq!(refused(call(&mut client, "List", json!({}))), "org.varlink.service.ExpectedMore");
    let one = call(&mut client, "List", json!({ "name": "machined-one" })).expect("found");
    assert_eq!(one["path"], format!("{POOL}/machined-one"));
    assert_eq!(
        (&one["type"], &one["class"], &one["readOnly"]),
        (&json!("directory"), &json!("machine"), &json!(false))
    );
    assert_eq!((&one["usage"], &one["hostname"]), (&Value::Null, &Value::Null));
    let said = call(&mut client, "List", json!({ "name": "machined-one", "acquireMetadata": "yes" })).expect("found");
    assert_eq!(
        (&said["hostname"], &said["machineId"]),
        (&json!("web.example"), &json!("0123456789abcdef0123456789abcdef"))
    );
    assert_eq!(
        (&said["machineInfo"], &said["OSRelease"]),
        (&json!(["ICON_NAME=x"]), &json!(["ID=testos", "NAME=Test OS"]))
    );
    // One that cannot be looked into: an error, or passed over where that is good enough.
    std::fs::write(Path::new(POOL).join("machined-odd.raw"), "no file system").expect("file");
    let odd = |acquire: &str| json!({ "name": "machined-odd", "acquireMetadata": acquire });
    assert_eq!(call(&mut client, "List", odd("graceful")).expect("found")["type"], "raw");
    assert_eq!(refused(call(&mut client, "List", odd("yes"))), "io.systemd.System");
    let none = call(&mut client, "List", json!({ "name": "machined-none" }));
    assert_eq!(refused(none), "io.systemd.MachineImage.NoSuchImage");
    for (parameter, value) in [("name", json!("a/b")), ("acquireMetadata", json!("maybe")), ("more", json!(true))] {
        let mut bad = json!({ "name": "machined-one" });
        bad[parameter] = value;
        assert_eq!(
            refused(call(&mut client, "List", bad)),
            format!("org.varlink.service.InvalidParameter {parameter}")
        );
    }
}

#[test]
fn images_are_cloned_changed_and_removed() {
    requires!(root, cgroup2);
    let _isolated = isolate();
    let _pool = pool();
    image("machined-old");
    let _service = Machined::start();
    let mut client = Client::connect(IMAGES);
    let client = &mut client;
    let read_only = |client: &mut Client, name: &str| {
        call(client, "List", json!({ "name": name })).map(|found| found["readOnly"] == true)
    };
    call(client, "Clone", json!({ "name": "machined-old", "newName": "machined-new" })).expect("cloned");
    assert!(Path::new(POOL).join("machined-new/etc/hostname").exists());
    let (name, why) = call(client, "Clone", json!({ "name": "machined-old", "newName": "machined-new" })).unwrap_err();
    assert_eq!((name.as_str(), &why["errnoName"]), ("io.systemd.System", &json!("EEXIST")));
    let none = json!({ "name": "machined-none", "newName": "machined-x" });
    assert_eq!(refused(call(client, "Clone", none)), "io.systemd.MachineImage.NoSuchImage");
    for (method, parameters, parameter) in [
        ("Clone", json!({ "name": "machined-old", "newName": "../x" }), "newName"),
        ("Clone", json!({ "name": "machined-old" }), "newName"),
        ("Clone", json!({ "newName": "machined-x" }), "name"),
        ("Update", json!({ "name": "machined-old", "newName": "a/b" }), "newName"),
        ("Update", json!({ "name": "machined-old", "limit": -1 }), "limit"),
        ("Update", json!({ "readOnly": true }), "name"),
        ("Remove", json!({}), "name"),
        ("SetPoolLimit", json!({}), "limit"),
        ("SetPoolLimit", json!({ "limit": "much" }), "limit"),
    ] {
        let refused = refused(call(client, method, parameters.clone()));
        assert_eq!(refused, format!("org.varlink.service.InvalidParameter {parameter}"), "{method} {parameters}");
    }
    call(client, "Update", json!({ "name": "machined-new", "newName": "machined-named" })).expect("renamed");
    assert_eq!(read_only(client, "machined-named"), Ok(false));
    assert_eq!(
        refused(call(client, "Update", json!({ "name": "machined-new" }))),
        "io.systemd.MachineImage.NoSuchImage"
    );
    let limit = json!({ "name": "machined-named", "limit": 1 << 20 });
    assert_eq!(refused(call(client, "Update", limit)), "io.systemd.MachineImage.NotSupported");
    assert_eq!(
        refused(call(client, "SetPoolLimit", json!({ "limit": 1 << 30 }))),
        "io.systemd.MachineImage.NotSupported"
    );
    assert_eq!(refused(call(client, "Remove", json!({ "name": ".host" }))), "io.systemd.MachineImage.NotSupported");

    let running = spawn(&Path::new(POOL).join("machined-old"), "machined-old", &[]);
    let (name, why) = call(client, "Remove", json!({ "name": "machined-old" })).unwrap_err();
    assert_eq!((name.as_str(), &why["errnoName"]), ("io.systemd.System", &json!("EBUSY")));
    running.stop();
    call(client, "Remove", json!({ "name": "machined-old" })).expect("removed");
    assert!(!Path::new(POOL).join("machined-old").exists());
    assert_eq!(
        refused(call(client, "Remove", json!({ "name": "machined-old" }))),
        "io.systemd.MachineImage.NoSuchImage"
    );
}

#[test]
fn hidden_images_are_cleaned_away() {
    requires!(root);
    let _isolated = isolate();
    let _pool = pool();
    image("machined-shown");
    image(".machined-hidden");
    let _service = Machined::start();
    let mut client = Client::connect(IMAGES);
    let clean =
        |client: &mut Client| client.call_more("io.systemd.MachineImage.CleanPool", json!({ "mode": "hidden" }));
    let hidden = json!({ "mode": "hidden" });
    assert_eq!(refused(call(&mut client, "CleanPool", hidden)), "org.varlink.service.ExpectedMore");
    let wrong = call(&mut client, "CleanPool", json!({ "mode": "some" }));
    assert_eq!(refused(wrong), "org.varlink.service.InvalidParameter mode");
    let removed = clean(&mut client).expect("cleaned");
    assert_eq!(removed.iter().map(|one| &one["name"]).collect::<Vec<_>>(), [".machined-hidden"]);
    assert!(Path::new(POOL).join("machined-shown").exists());
    assert_eq!(clean(&mut client).unwrap_err().0, "io.systemd.MachineImage.NoSuchImage");
}

#[test]
fn on_btrfs_there_are_limits_and_snapshots() {
    requires!(root, loop, program "mkfs.btrfs");
    let _isolated = isolate();
    let disk = Disk::new("btrfs", 256);
    std::fs::create_dir_all(POOL).expect("directory");
    let at = disk.path();
    let _pool = Mounted::new(&["--bind", at.to_str().expect("text")], Path::new(POOL));
    let mut create = std::process::Command::new("btrfs");
    testkit::disk::run(create.args(["subvolume", "create"]).arg(Path::new(POOL).join("machined-sub")));
    image("machined-sub");
    let _service = Machined::start();
    let mut client = Client::connect(IMAGES);
    let client = &mut client;
    call(client, "SetPoolLimit", json!({ "limit": 200 << 20 })).expect("limited");
    call(client, "Update", json!({ "name": "machined-sub", "limit": 100 << 20 })).expect("limited");
    let found = call(client, "List", json!({ "name": "machined-sub" })).expect("found");
    assert_eq!((&found["type"], &found["limit"]), (&json!("subvolume"), &json!(100 << 20)));
    call(client, "Clone", json!({ "name": "machined-sub", "newName": "machined-snap", "readOnly": true }))
        .expect("cloned");
    let found = call(client, "List", json!({ "name": "machined-snap" })).expect("found");
    assert_eq!((&found["type"], &found["readOnly"]), (&json!("subvolume"), &json!(true)));
    let both = json!({ "name": "machined-snap", "readOnly": false, "newName": "machined-free" });
    call(client, "Update", both).expect("changed");
    let found = call(client, "List", json!({ "name": "machined-free" })).expect("found");
    assert_eq!(found["readOnly"], false);
}

#[test]
fn others_than_root_may_only_look() {
    requires!(root);
    let _isolated = isolate();
    let _pool = pool();
    image("machined-own");
    std::fs::set_permissions("/run/systemd", std::fs::Permissions::from_mode(0o755)).expect("mode");
    let _service = Machined::start();
    let answers = as_user(|| {
        let mut client = Client::connect(IMAGES);
        let look = call(&mut client, "List", json!({ "name": "machined-own" })).is_ok();
        let mut refusals = Vec::new();
        for (method, parameters) in [
            ("Clone", json!({ "name": "machined-own", "newName": "machined-stolen" })),
            ("Update", json!({ "name": "machined-own", "readOnly": true })),
            ("Remove", json!({ "name": "machined-own" })),
            ("SetPoolLimit", json!({ "limit": 1 })),
        ] {
            refusals.push(refused(call(&mut client, method, parameters)));
        }
        refusals.push(client.call_more("io.systemd.MachineImage.CleanPool", json!({ "mode": "all" })).unwrap_err().0);
        (look, refusals)
    });
    assert!(answers.0);
    assert!(answers.1.iter().all(|refusal| refusal == "org.varlink.service.PermissionDenied"), "{answers:?}");
    assert!(Path::new(POOL).join("machined-own/etc/hostname").exists());
    assert!(!Path::new(POOL).join("machined-stolen").exists());
}

/// What is there under a name: the files of the tree, or nothing; with settings that it has, or nothing.
fn seen(name: &str) -> (Option<usize>, bool) {
    let tree = Path::new(POOL).join(name);
    let files = std::fs::read_dir(tree.join("many")).ok().map(Iterator::count);
    (tree.exists().then(|| files.unwrap_or(0)), Path::new(POOL).join(format!("{name}.nspawn")).exists())
}

#[test]
fn a_service_that_is_killed_in_an_operation_has_done_it_or_not() {
    requires!(root);
    let _isolated = isolate();
    let _pool = pool();
    let files = 600;
    let make = |name: &str| {
        let _ = std::fs::remove_dir_all(Path::new(POOL).join(name));
        let many = Path::new(POOL).join(name).join("many");
        std::fs::create_dir_all(Path::new(POOL).join(name).join("usr")).expect("tree");
        std::fs::create_dir_all(&many).expect("tree");
        for number in 0..files {
            std::fs::write(many.join(number.to_string()), "x").expect("file");
        }
        std::fs::write(Path::new(POOL).join(format!("{name}.nspawn")), "[Exec]\n").expect("settings");
    };
    let whole = (Some(files), true);
    for round in 0..24_u64 {
        make("machined-from");
        let service = Machined::start();
        let mut client = Client::connect(IMAGES);
        let (method, parameters) = match round % 3 {
            0 => ("Clone", json!({ "name": "machined-from", "newName": "machined-to" })),
            1 => ("Update", json!({ "name": "machined-from", "newName": "machined-to" })),
            _ => ("Remove", json!({ "name": "machined-from" })),
        };
        let done = std::thread::scope(|scope| {
            let asked = scope.spawn(|| client.try_call(&format!("io.systemd.MachineImage.{method}"), parameters));
            // Every moment of it has its turn: the numbers are far apart, and the same in every run.
            std::thread::sleep(std::time::Duration::from_micros(round.pow(2) * 37 % 16_000));
            service.kill();
            asked.join().expect("thread")
        });
        let (from, to) = (seen("machined-from"), seen("machined-to"));
        match round % 3 {
            0 => {
                assert_eq!(from, whole, "{round}: the original stays");
                assert!(to == whole || (to.0.is_none() && !done), "{round}: {to:?} {done}");
            }
            1 => {
                let moved = to == whole && from.0.is_none();
                let stays = from == whole && to.0.is_none() && !done;
                assert!(moved || stays, "{round}: {from:?} {to:?} {done}");
            }
            _ => assert!(from.0.is_none() || (from == whole && !done), "{round}: {from:?} {done}"),
        }
        // The next one finds everything in order, finishes it where it was not, and nothing is left behind in the end.
        let _service = Machined::start();
        let mut client = Client::connect(IMAGES);
        if to.0.is_none() && round % 3 < 2 {
            let again = match round % 3 {
                0 => call(&mut client, "Clone", json!({ "name": "machined-from", "newName": "machined-to" })),
                _ => call(&mut client, "Update", json!({ "name": "machined-from", "newName": "machined-to" })),
            };
            again.unwrap_or_else(|error| panic!("{round}: {error:?}"));
            assert_eq!(seen("machined-to"), whole, "{round}");
        }
        for name in ["machined-from", "machined-to"] {
            if seen(name).0.is_some() {
                call(&mut client, "Remove", json!({ "name": name })).expect("removed");
            }
            let _ = std::fs::remove_file(Path::new(POOL).join(format!("{name}.nspawn")));
        }
        let cleaned = client.call_more("io.systemd.MachineImage.CleanPool", json!({ "mode": "hidden" }));
        assert!(cleaned.is_ok() || cleaned.is_err_and(|(name, _)| name.ends_with(".NoSuchImage")), "{round}");
        let left: Vec<_> = std::fs::read_dir(POOL).expect("pool").flatten().map(|entry| entry.file_name()).collect();
        assert!(left.is_empty(), "{round}: {left:?}");
    }
}
