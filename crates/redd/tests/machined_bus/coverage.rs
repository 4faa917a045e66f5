//! Every method, property and signal of the bus, the test that sees it work, and the one that sees it fail.

use super::INTERFACES;
use super::covered::{Sources, assert_complete};

const SOURCES: Sources = Sources(&[
    include_str!("../machined_bus.rs"),
    include_str!("terminals.rs"),
    include_str!("refusals.rs"),
    include_str!("../machined_unit.rs"),
]);

const OTHERS: &str = "machines_of_others_come_and_go";
const BAD: &str = "registrations_in_properties_and_bad_ones";
const LOOKED: &str = "machines_of_ours_are_looked_into";
const GONE: &str = "machines_that_are_not_there_or_of_another_kind";
const FILES: &str = "files_go_in_and_out";
const OBJECTS: &str = "files_by_the_objects_of_machines";
const IMAGES: &str = "images_are_made_changed_and_removed";
const NO_IMAGE: &str = "images_that_are_not_there_or_the_host_s";
const BTRFS: &str = "on_btrfs_images_are_counted_and_limited";
const UNITS: &str = "machines_get_units";
const HOST: &str = "the_host_is_there_and_stays";
const SSH: &str = "how_to_reach_the_ssh_server_of_a_machine";
const TERMINALS: &str = "terminals_of_machines";
const LOGINS: &str = "logins_where_no_systemd_runs";
const SHELLS: &str = "shells_are_as_asked_for";
const NO_SHELLS: &str = "shells_that_are_refused";
const SIGNALS: &str = "signals_are_of_what_has_happened_alone";

/// Of `Manager`, `Machine` and `Image`.
const METHODS: [(&str, &str, &str); 68] = [
    ("Manager.BindMountMachine", FILES, GONE),
    ("Manager.CleanPool", IMAGES, IMAGES),
    ("Manager.CloneImage", IMAGES, NO_IMAGE),
    ("Manager.CopyFromMachine", OBJECTS, GONE),
    ("Manager.CopyFromMachineWithFlags", OBJECTS, GONE),
    ("Manager.CopyToMachine", FILES, GONE),
    ("Manager.CopyToMachineWithFlags", FILES, GONE),
    ("Manager.CreateMachine", UNITS, BAD),
    ("Manager.CreateMachineEx", UNITS, BAD),
    ("Manager.CreateMachineWithNetwork", UNITS, BAD),
    ("Manager.GetImage", IMAGES, IMAGES),
    ("Manager.GetImageHostname", IMAGES, IMAGES),
    ("Manager.GetImageMachineID", IMAGES, IMAGES),
    ("Manager.GetImageMachineInfo", IMAGES, IMAGES),
    ("Manager.GetImageOSRelease", IMAGES, IMAGES),
    ("Manager.GetMachine", OTHERS, HOST),
    ("Manager.GetMachineAddresses", LOOKED, GONE),
    ("Manager.GetMachineByPID", OTHERS, HOST),
    ("Manager.GetMachineOSRelease", LOOKED, GONE),
    ("Manager.GetMachineSSHInfo", SSH, OTHERS),
    ("Manager.GetMachineUIDShift", LOOKED, GONE),
    ("Manager.KillMachine", OTHERS, GONE),
    ("Manager.ListImages", IMAGES, NO_IMAGE),
    ("Manager.ListMachines", OTHERS, NO_IMAGE),
    ("Manager.MapFromMachineGroup", LOOKED, GONE),
    ("Manager.MapFromMachineUser", LOOKED, GONE),
    ("Manager.MapToMachineGroup", LOOKED, LOOKED),
    ("Manager.MapToMachineUser", LOOKED, LOOKED),
    ("Manager.MarkImageReadOnly", BTRFS, NO_IMAGE),
    ("Manager.OpenMachineLogin", LOGINS, GONE),
    ("Manager.OpenMachinePTY", TERMINALS, GONE),
    ("Manager.OpenMachineRootDirectory", LOOKED, GONE),
    ("Manager.OpenMachineShell", SHELLS, NO_SHELLS),
    ("Manager.RegisterMachine", SIGNALS, BAD),
    ("Manager.RegisterMachineEx", BAD, BAD),
    ("Manager.RegisterMachineWithNetwork", OTHERS, "registrations_with_links"),
    ("Manager.RemoveImage", IMAGES, NO_IMAGE),
    ("Manager.RenameImage", IMAGES, NO_IMAGE),
    ("Manager.SetImageLimit", BTRFS, NO_IMAGE),
    ("Manager.SetPoolLimit", BTRFS, NO_IMAGE),
    ("Manager.TerminateMachine", LOOKED, HOST),
    ("Manager.UnregisterMachine", OTHERS, HOST),
    ("Machine.BindMount", OBJECTS, GONE),
    ("Machine.CopyFrom", FILES, GONE),
    ("Machine.CopyFromWithFlags", FILES, GONE),
    ("Machine.CopyTo", OBJECTS, GONE),
    ("Machine.CopyToWithFlags", OBJECTS, GONE),
    ("Machine.GetAddresses", LOOKED, GONE),
    ("Machine.GetOSRelease", LOOKED, GONE),
    ("Machine.GetSSHInfo", SSH, GONE),
    ("Machine.GetUIDShift", LOOKED, GONE),
    ("Machine.Kill", OTHERS, GONE),
    ("Machine.OpenLogin", LOGINS, GONE),
    ("Machine.OpenPTY", TERMINALS, GONE),
    ("Machine.OpenRootDirectory", OBJECTS, GONE),
    ("Machine.OpenShell", SHELLS, NO_SHELLS),
    ("Machine.Terminate", GONE, GONE),
    ("Image.Clone", IMAGES, NO_IMAGE),
    ("Image.GetHostname", IMAGES, NO_IMAGE),
    ("Image.GetMachineID", IMAGES, NO_IMAGE),
    ("Image.GetMachineInfo", IMAGES, NO_IMAGE),
    ("Image.GetOSRelease", IMAGES, NO_IMAGE),
    ("Image.MarkReadOnly", BTRFS, NO_IMAGE),
    ("Image.Remove", IMAGES, NO_IMAGE),
    ("Image.Rename", IMAGES, NO_IMAGE),
    ("Image.SetLimit", BTRFS, NO_IMAGE),
    // Told of what there is, and of nothing else.
    ("Manager.MachineNew", OTHERS, SIGNALS),
    ("Manager.MachineRemoved", OTHERS, SIGNALS),
];

/// Where each property is read. That none of them can be set, and what is none, one test tries with all.
const PROPERTIES: [(&str, &str); 32] = [
    ("Manager.PoolLimit", BTRFS),
    ("Manager.PoolPath", IMAGES),
    ("Manager.PoolUsage", BTRFS),
    ("Machine.Class", OTHERS),
    ("Machine.Id", OTHERS),
    ("Machine.Leader", OTHERS),
    ("Machine.LeaderPIDFDId", OTHERS),
    ("Machine.Name", OTHERS),
    ("Machine.NetworkInterfaces", OTHERS),
    ("Machine.RootDirectory", OTHERS),
    ("Machine.SSHAddress", SSH),
    ("Machine.SSHPrivateKeyPath", SSH),
    ("Machine.Service", OTHERS),
    ("Machine.State", OTHERS),
    ("Machine.Subgroup", OTHERS),
    ("Machine.Supervisor", OTHERS),
    ("Machine.SupervisorPIDFDId", OTHERS),
    ("Machine.Timestamp", OTHERS),
    ("Machine.TimestampMonotonic", OTHERS),
    ("Machine.UID", OTHERS),
    ("Machine.Unit", HOST),
    ("Machine.VSockCID", SSH),
    ("Image.CreationTimestamp", BTRFS),
    ("Image.Limit", BTRFS),
    ("Image.LimitExclusive", BTRFS),
    ("Image.ModificationTimestamp", BTRFS),
    ("Image.Name", IMAGES),
    ("Image.Path", IMAGES),
    ("Image.ReadOnly", BTRFS),
    ("Image.Type", IMAGES),
    ("Image.Usage", BTRFS),
    ("Image.UsageExclusive", BTRFS),
];

/// The members of the interfaces that are properties, or those that are not.
fn members(properties: bool) -> Vec<String> {
    let mut interface = "";
    let mut all = Vec::new();
    for line in INTERFACES.lines() {
        match line.strip_prefix('.').map(|line| line.split(' ').collect::<Vec<_>>()) {
            None => interface = line.rsplit('.').next().unwrap_or_default(),
            Some(words) if (words[1] == "property") == properties => all.push(format!("{interface}.{}", words[0])),
            Some(_) => {}
        }
    }
    all
}

/// How a test names it.
fn words(member: &str) -> [String; 2] {
    let name = member.split_once('.').map_or(member, |(_, name)| name);
    [member.to_owned(), format!("\"{name}\"")]
}

#[test]
fn every_member_has_tests_of_its_success_and_of_its_failure() {
    assert_complete(&members(false), &METHODS.map(|(member, ..)| member.to_owned()));
    assert_complete(&members(true), &PROPERTIES.map(|(member, _)| member.to_owned()));
    for (member, works, fails) in METHODS {
        // Those of terminals are called by names that begin with the interface's, too; the units are asked for by busctl(1).
        let bare = member.split_once('.').map_or(member, |(_, name)| name).to_owned();
        let words = [words(member).as_slice(), &[bare]].concat();
        SOURCES.assert_about(works, &words);
        SOURCES.assert_about(fails, &words);
    }
    for (member, read) in PROPERTIES {
        SOURCES.assert_about(read, &words(member));
    }
    SOURCES.assert_about("properties_are_read_without_the_name_of_an_interface", &["PropertyReadOnly".to_owned()]);
}
