//! Users and groups of machines on the host.

use serde_json::{Value, json};
use testkit::{fixture, requires};

use crate::client::Client;
use crate::service::{Foreign, Machined, USERS, isolate, machines, refused, spawn};

fn map(client: &mut Client, method: &str, parameters: Value) -> Result<Value, (String, Value)> {
    client.call(&format!("io.systemd.Machine.{method}"), parameters)
}

fn record(client: &mut Client, kind: &str, mut parameters: Value) -> Result<Value, (String, Value)> {
    if parameters["service"].is_null() {
        parameters["service"] = json!("io.systemd.Machine");
    }
    Ok(client.call(&format!("io.systemd.UserDatabase.Get{kind}Record"), parameters)?["record"].clone())
}

#[test]
fn users_of_machines_are_known_on_the_host() {
    requires!(root, cgroup2, userns, idmap);
    let _isolated = isolate();
    let tree = fixture::tree();
    let _service = Machined::start();
    let running = spawn(tree.path(), "machined-users", &["-U"]);
    let mut client = machines();
    let client = &mut client;
    let shift = map(client, "MapFrom", json!({ "name": "machined-users", "uid": 0, "gid": 0 })).expect("mapped");
    let root = shift["uid"].as_u64().expect("number");
    assert!(root >= 65536 && shift["gid"] == root, "{shift}");
    let metadata = json!({ "name": "machined-users", "acquireMetadata": "graceful" });
    assert_eq!(client.call("io.systemd.Machine.List", metadata).expect("found")["UIDShift"], root);
    let back = map(client, "MapTo", json!({ "uid": root + 5, "gid": root + 7 })).expect("mapped");
    assert_eq!(back, json!({ "uid": 5, "gid": 7, "machineName": "machined-users" }));
    for (method, parameters, error) in [
        ("MapFrom", json!({ "name": "machined-users", "uid": 70000 }), "io.systemd.Machine.NoSuchUser"),
        ("MapFrom", json!({ "name": "machined-users", "gid": 70000 }), "io.systemd.Machine.NoSuchGroup"),
        ("MapFrom", json!({ "name": "machined-none", "uid": 0 }), "io.systemd.Machine.NoSuchMachine"),
        ("MapFrom", json!({ "name": "machined-users" }), "org.varlink.service.InvalidParameter uid"),
        ("MapFrom", json!({ "uid": 0 }), "org.varlink.service.InvalidParameter name"),
        ("MapTo", json!({}), "org.varlink.service.InvalidParameter uid"),
        ("MapTo", json!({ "uid": u32::MAX }), "org.varlink.service.InvalidParameter uid"),
        ("MapTo", json!({ "uid": 1000 }), "io.systemd.Machine.UserInHostRange"),
        ("MapTo", json!({ "gid": 1000 }), "io.systemd.Machine.GroupInHostRange"),
        ("MapTo", json!({ "uid": root + 65536 }), "io.systemd.Machine.NoSuchUser"),
        ("MapTo", json!({ "gid": root + 65536 }), "io.systemd.Machine.NoSuchGroup"),
    ] {
        assert_eq!(refused(map(client, method, parameters.clone())), error, "{method} {parameters}");
    }
    let foreign = Foreign::start();
    let told = json!({ "name": "machined-kvm", "class": "vm", "leader": foreign.pid() });
    map(client, "Register", told).expect("registered");
    let vm = json!({ "name": "machined-kvm", "uid": 0 });
    assert_eq!(refused(map(client, "MapFrom", vm)), "io.systemd.Machine.NotSupported");

    let mut client = Client::connect(USERS);
    let client = &mut client;
    let user = record(client, "User", json!({ "uid": root + 5 })).expect("a user");
    assert_eq!((&user["userName"], &user["uid"]), (&json!("vu-machined-users-5"), &json!(root + 5)));
    assert_eq!((&user["disposition"], &user["service"]), (&json!("container"), &json!("io.systemd.Machine")));
    assert_eq!(record(client, "User", json!({ "userName": "vu-machined-users-5" })).as_ref(), Ok(&user));
    assert_eq!(
        record(client, "User", json!({ "userName": "vu-machined-users-5", "uid": root + 5 })).as_ref(),
        Ok(&user)
    );
    let group = record(client, "Group", json!({ "gid": root })).expect("a group");
    assert_eq!((&group["groupName"], &group["gid"]), (&json!("vg-machined-users-0"), &json!(root)));
    assert_eq!(record(client, "Group", json!({ "groupName": "vg-machined-users-0" })), Ok(group));
    for (kind, parameters, error) in [
        ("User", json!({ "uid": 0 }), "NoRecordFound"),
        ("User", json!({ "uid": root + 65536 }), "NoRecordFound"),
        ("User", json!({ "userName": "root" }), "NoRecordFound"),
        ("User", json!({ "userName": "vu-machined-users-70000" }), "NoRecordFound"),
        ("User", json!({ "userName": "vu-machined-none-0" }), "NoRecordFound"),
        ("User", json!({ "userName": "vu-machined-kvm-0" }), "NoRecordFound"),
        ("User", json!({ "userName": "vu-machined-users-5", "uid": root }), "ConflictingRecordFound"),
        ("User", json!({}), "EnumerationNotSupported"),
        ("User", json!({ "uid": root, "service": "io.systemd.Home" }), "BadService"),
        ("Group", json!({}), "EnumerationNotSupported"),
        ("Group", json!({ "groupName": "vu-machined-users-0" }), "NoRecordFound"),
    ] {
        let name = format!("io.systemd.UserDatabase.{error}");
        assert_eq!(refused(record(client, kind, parameters.clone())), name, "{kind} {parameters}");
    }
    let memberships = json!({ "userName": "vu-machined-users-0", "service": "io.systemd.Machine" });
    let memberships = client.call_more("io.systemd.UserDatabase.GetMemberships", memberships);
    assert_eq!(memberships.unwrap_err().0, "io.systemd.UserDatabase.NoRecordFound");
    running.stop();
    let gone = record(client, "User", json!({ "uid": root }));
    assert_eq!(refused(gone), "io.systemd.UserDatabase.NoRecordFound");
}

#[test]
fn users_of_a_machine_without_its_own_are_the_host_s() {
    requires!(root, cgroup2);
    let _isolated = isolate();
    let tree = fixture::tree();
    let _service = Machined::start();
    let running = spawn(tree.path(), "machined-plain", &[]);
    let answer = map(&mut machines(), "MapFrom", json!({ "name": "machined-plain", "uid": 5 })).expect("mapped");
    assert_eq!(answer, json!({ "uid": 5 }));
    let mut client = Client::connect(USERS);
    let none = record(&mut client, "User", json!({ "userName": "vu-machined-plain-100000" }));
    assert_eq!(refused(none), "io.systemd.UserDatabase.NoRecordFound");
    running.stop();
}
