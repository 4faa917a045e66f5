//! Every method of Varlink, the test that sees it work, and the one that sees it fail; every error, and the test that brings it about.

use crate::covered::{Sources, assert_complete};

const SOURCES: Sources = Sources(&[
    include_str!("connections.rs"),
    include_str!("images.rs"),
    include_str!("machines.rs"),
    include_str!("refusals.rs"),
    include_str!("terminals.rs"),
    include_str!("users.rs"),
]);

const INTERFACES: [&str; 5] = [
    include_str!("../../../machined/interfaces/io.systemd.Machine.varlink"),
    include_str!("../../../machined/interfaces/io.systemd.MachineImage.varlink"),
    include_str!("../../../machined/interfaces/io.systemd.UserDatabase.varlink"),
    include_str!("../../../machined/interfaces/io.systemd.service.varlink"),
    include_str!("../../../machined/interfaces/org.varlink.service.varlink"),
];

const OTHERS: &str = "machines_of_others_are_registered_found_signalled_and_taken_out";
const OURS: &str = "machines_of_ours_are_listed_and_ended";
const NONE: &str = "machines_that_there_are_not";
const FILES: &str = "files_are_bound_and_copied";
const USERS: &str = "users_of_machines_are_known_on_the_host";
const IMAGES: &str = "images_are_cloned_changed_and_removed";
const BTRFS: &str = "on_btrfs_there_are_limits_and_snapshots";
const HIDDEN: &str = "hidden_images_are_cleaned_away";
const SERVICE: &str = "what_every_service_of_systemd_has";
const KEPT: &str = "interfaces_are_given_out_as_they_are_kept";
const ODD: &str = "users_of_a_damaged_machine_are_not_to_be_had_for_now";
const TURNS: &str = "calls_follow_each_other_and_some_want_no_answer";

const METHODS: [(&str, &str, &str); 26] = [
    ("io.systemd.Machine.Register", OTHERS, "what_is_no_registration_is_refused_by_its_parameter"),
    ("io.systemd.Machine.Unregister", OTHERS, NONE),
    ("io.systemd.Machine.Terminate", OURS, NONE),
    ("io.systemd.Machine.Kill", OURS, NONE),
    ("io.systemd.Machine.List", OTHERS, NONE),
    ("io.systemd.Machine.Open", "shells_are_opened_on_terminals_of_the_machine", NONE),
    ("io.systemd.Machine.MapFrom", USERS, NONE),
    ("io.systemd.Machine.MapTo", USERS, USERS),
    ("io.systemd.Machine.BindMount", FILES, NONE),
    ("io.systemd.Machine.CopyFrom", FILES, NONE),
    ("io.systemd.Machine.CopyTo", FILES, NONE),
    ("io.systemd.Machine.OpenRootDirectory", "the_root_directory_of_a_machine_is_opened", NONE),
    (
        "io.systemd.MachineImage.List",
        "images_are_listed_with_what_they_say_of_themselves",
        "images_are_listed_with_what_they_say_of_themselves",
    ),
    ("io.systemd.MachineImage.Update", BTRFS, IMAGES),
    ("io.systemd.MachineImage.Clone", IMAGES, IMAGES),
    ("io.systemd.MachineImage.Remove", IMAGES, IMAGES),
    ("io.systemd.MachineImage.SetPoolLimit", BTRFS, IMAGES),
    ("io.systemd.MachineImage.CleanPool", HIDDEN, HIDDEN),
    ("io.systemd.UserDatabase.GetUserRecord", ODD, ODD),
    ("io.systemd.UserDatabase.GetGroupRecord", ODD, ODD),
    // There are none: that is its answer.
    ("io.systemd.UserDatabase.GetMemberships", USERS, USERS),
    ("io.systemd.service.Ping", SERVICE, NONE),
    ("io.systemd.service.SetLogLevel", SERVICE, SERVICE),
    ("io.systemd.service.GetEnvironment", SERVICE, "an_environment_that_is_no_text_is_not_given_out"),
    ("org.varlink.service.GetInfo", KEPT, KEPT),
    ("org.varlink.service.GetInterfaceDescription", KEPT, KEPT),
];

/// Which test sees it, or why nobody can.
enum Seen {
    By(&'static str),
    Never(&'static str),
}

use Seen::{By, Never};

const ERRORS: [(&str, Seen); 28] = [
    ("io.systemd.Machine.NoSuchMachine", By(NONE)),
    ("io.systemd.Machine.MachineExists", By(OTHERS)),
    ("io.systemd.Machine.NoPrivateNetworking", By("what_is_looked_for_in_machines")),
    ("io.systemd.Machine.NoOSReleaseInformation", By("what_is_looked_for_in_machines")),
    ("io.systemd.Machine.NoUIDShift", By("users_that_are_no_single_range_have_no_shift")),
    ("io.systemd.Machine.NotAvailable", Never("only the SSH server can be, and D-Bus alone asks for that")),
    ("io.systemd.Machine.NotSupported", By("the_host_is_a_machine_that_cannot_be_ended")),
    ("io.systemd.Machine.NoIPC", Never("terminals and shells need none here")),
    ("io.systemd.Machine.NoSuchUser", By(USERS)),
    ("io.systemd.Machine.NoSuchGroup", By(USERS)),
    ("io.systemd.Machine.UserInHostRange", By(USERS)),
    ("io.systemd.Machine.GroupInHostRange", By(USERS)),
    ("io.systemd.MachineImage.NoSuchImage", By(IMAGES)),
    (
        "io.systemd.MachineImage.TooManyOperations",
        By("more_operations_than_there_may_be_are_refused_and_nothing_is_left_of_them"),
    ),
    ("io.systemd.MachineImage.NotSupported", By(IMAGES)),
    ("io.systemd.UserDatabase.NoRecordFound", By(ODD)),
    ("io.systemd.UserDatabase.BadService", By(USERS)),
    ("io.systemd.UserDatabase.ServiceNotAvailable", By(ODD)),
    ("io.systemd.UserDatabase.ConflictingRecordFound", By(USERS)),
    ("io.systemd.UserDatabase.NonMatchingRecordFound", Never("records are asked for by nothing but names and numbers")),
    ("io.systemd.UserDatabase.EnumerationNotSupported", By(USERS)),
    ("io.systemd.service.InconsistentEnvironment", By("an_environment_that_is_no_text_is_not_given_out")),
    ("org.varlink.service.InterfaceNotFound", By(KEPT)),
    ("org.varlink.service.MethodNotFound", By(KEPT)),
    ("org.varlink.service.MethodNotImplemented", By(TURNS)),
    ("org.varlink.service.InvalidParameter", By(NONE)),
    ("org.varlink.service.PermissionDenied", By("others_than_root_have_their_share_and_may_not_steer")),
    ("org.varlink.service.ExpectedMore", By(TURNS)),
];

/// The full names of what the interfaces have of this kind.
fn members(kind: &str) -> Vec<String> {
    let mut all = Vec::new();
    for text in INTERFACES {
        let interface = text.lines().find_map(|line| line.strip_prefix("interface ")).expect("its name");
        let names = text.lines().filter_map(|line| line.strip_prefix(kind)?.trim_start().split('(').next());
        all.extend(names.map(|name| format!("{interface}.{name}")));
    }
    all
}

#[test]
fn every_method_has_tests_of_its_success_and_of_its_failure_and_every_error_one() {
    assert_complete(&members("method "), &METHODS.map(|(method, ..)| method.to_owned()));
    assert_complete(&members("error "), &ERRORS.each_ref().map(|(error, _)| (*error).to_owned()));
    let name = |member: &str| member.rsplit('.').next().unwrap_or_default().to_owned();
    for (method, works, fails) in METHODS {
        SOURCES.assert_about(works, &[name(method)]);
        SOURCES.assert_about(fails, &[name(method)]);
    }
    for (error, seen) in ERRORS {
        match seen {
            By(test) => SOURCES.assert_about(test, &[name(error)]),
            Never(why) => assert!(!why.is_empty(), "{error}"),
        }
    }
}
