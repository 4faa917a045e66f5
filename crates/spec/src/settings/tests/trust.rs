//! What a file that nobody vouches for can do: never more than the command line alone.

use super::*;
use crate::{CapabilitySet, FamilySet};

/// Values for each key that counts in such files: those that open most, and those that take away.
fn values(key: &str) -> &'static [&'static str] {
    match key {
        "Boot" | "ProcessTwo" | "Ephemeral" | "ReadOnly" | "Private" | "NoNewPrivileges" | "NotifyReady"
        | "SuppressSync" => &["yes", "no", "0", "1", "", "maybe"],
        "Parameters" => &["/bin/sh", "-c 'a b'", ""],
        "WorkingDirectory" | "PivotRoot" => &["/", "/srv", "/a:/b", ""],
        "Environment" => &["A=1", "LD_PRELOAD=/x", ""],
        "User" => &["root", "0", "nobody", ""],
        "KillSignal" => &["SIGKILL", "SIGTERM"],
        "DropCapability" => &["CAP_KILL", "CAP_SYS_ADMIN", "all", "", "CAP_NONE"],
        "RestrictAddressFamilies" => {
            &["AF_INET AF_UNIX AF_PACKET", "~AF_INET", "none", "", "AF_PACKET", "AF_UNIX", "~AF_UNIX", "AF_NONE"]
        }
        "Hostname" => &["other", ""],
        "Volatile" => &["yes", "no", "state", "overlay", "off", ""],
        "Personality" => &["x86", "x86-64"],
        other => panic!("{other}= counts in untrusted files: say here what can be written, and below what it opens"),
    }
}

/// Command lines: with nothing, as machines in the background have it, with everything taken away, with something added.
const COMMAND_LINES: [&[&str]; 6] = [
    &[],
    &["-b", "-U", "--private-network", "--link-journal=try-guest"],
    &[
        "--private-network",
        "--private-users=524288",
        "--drop-capability=CAP_SYS_ADMIN,CAP_NET_ADMIN",
        "--no-new-privileges=yes",
        "--read-only",
        "--restrict-address-families=AF_UNIX AF_INET",
        "--restrict-address-families=~AF_INET",
        "--system-call-filter=~mount",
        "--uid=1000",
        "--rlimit=NOFILE=5",
        "--oom-score-adjust=5",
        "--cpu-affinity=0",
        "/bin/true",
    ],
    &["-x", "--uid=root", "--restrict-address-families=~AF_PACKET"],
    &["--volatile=overlay", "--private-users=identity", "--restrict-address-families=none"],
    &["--volatile=state", "--capability=CAP_SYS_TIME", "--no-new-privileges=no"],
];

fn capabilities(spec: &ContainerSpec) -> CapabilitySet {
    let own_users = spec.users().private_users != PrivateUsers::No;
    spec.security().effective_capabilities(own_users, spec.network().private)
}

fn may_make(spec: &ContainerSpec, family: &str) -> bool {
    let families = spec.security().address_families;
    let bit = FamilySet::named(family).expect("a family").bits();
    families.allow.is_none_or(|set| set.bits() & bit != 0) && families.deny.bits() & bit == 0
}

/// What `spec` gives that `base` does not; nothing where the two are alike.
fn opened(spec: &ContainerSpec, base: &ContainerSpec) -> Vec<&'static str> {
    // It goes with a network of its own, and can do nothing to the host's.
    let own = CapabilitySet::named("CAP_NET_ADMIN").filter(|_| spec.network().private && !base.network().private);
    let gained = capabilities(spec).without(capabilities(base)).without(own.unwrap_or_default());
    // In the host's network with users of its own it means nothing, and is not shown.
    let gained = gained.without(CapabilitySet::named("CAP_NET_BIND_SERVICE").expect("a capability"));
    let families = ["AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK", "AF_PACKET", "AF_VSOCK"];
    let (image, other) = (spec.image(), base.image());
    let (security, other_security) = (spec.security(), base.security());
    let volatile = |spec: &ContainerSpec| spec.image().volatile != Volatile::No;
    let all = [
        ("network", base.network().private && !spec.network().private),
        ("capabilities", gained != CapabilitySet::EMPTY),
        ("ambient capabilities", security.ambient_capabilities != other_security.ambient_capabilities),
        ("new privileges", other_security.no_new_privileges && !security.no_new_privileges),
        ("address families", families.iter().any(|family| may_make(spec, family) && !may_make(base, family))),
        ("system calls", security.system_call_filter != other_security.system_call_filter),
        ("kernel interfaces", security.api_vfs_writable != other_security.api_vfs_writable),
        ("labels", security.selinux_context != other_security.selinux_context),
        ("users", spec.users() != base.users()),
        ("user", base.exec().user.is_some() && spec.exec().user != base.exec().user),
        ("writing", other.read_only && !image.read_only),
        ("lasting changes", other.ephemeral && !image.ephemeral || volatile(base) && !volatile(spec)),
        ("tree", (&image.source, &image.template) != (&other.source, &other.template)),
        ("mounts", spec.mounts() != base.mounts()),
        ("users of the host", spec.bind_users() != base.bind_users()),
        ("credentials", spec.credentials() != base.credentials()),
        ("resources", {
            let fixed = |spec: &ContainerSpec| {
                let resources = spec.resources();
                (resources.rlimits.clone(), resources.oom_score_adjust, resources.cpu_affinity.clone())
            };
            fixed(spec) != fixed(base)
        }),
        ("what is seen of the host", spec.integration() != base.integration()),
        ("unit", spec.property() != base.property()),
        ("machine id", spec.identity().uuid != base.identity().uuid),
    ];
    all.iter().filter(|(_, more)| *more).map(|(what, _)| *what).collect()
}

#[test]
fn an_untrusted_file_gives_no_more_than_the_command_line() {
    let rows = crate::options::all().chain(std::iter::once(&crate::options::ARGUMENTS));
    let mut tried = 0;
    for setting in rows.filter_map(|row| row.setting).filter(|setting| setting.trust.has_untrusted()) {
        let texts = values(setting.key).iter().map(|value| format!("[{}]\n{}={value}\n", setting.section, setting.key));
        for text in texts.map(|text| -> &'static str { Box::leak(text.into_boxed_str()) }) {
            for words in COMMAND_LINES
                .iter()
                .flat_map(|words| ["--settings=yes", "--settings=override"].map(|mode| [&[mode][..], words].concat()))
            {
                let base = ask("", false, &words).0.expect("the command line is right");
                // One that is refused opens nothing.
                let Ok(spec) = ask(text, false, &words).0 else { continue };
                assert_eq!(opened(&spec, &base), [""; 0], "{text}{words:?}");
                tried += 1;
            }
        }
    }
    assert!(tried > 500, "{tried}");
}

#[test]
fn what_would_give_back_is_told() {
    let cases = [
        (
            "[Network]\nPrivate=no",
            "Private=no is ignored: in a file that is not trusted it can only take access away; ",
        ),
        ("[Network]\nPrivate=0", "Private=0 is ignored: in a file that is not trusted"),
        ("[Exec]\nEphemeral=off", "Ephemeral=off is ignored: in a file"),
        ("[Exec]\nNoNewPrivileges=no", "NoNewPrivileges=no is ignored: in a file"),
        ("[Files]\nReadOnly=no", "ReadOnly=no is ignored: in a file"),
        ("[Files]\nVolatile=no", "Volatile=no is ignored: in a file"),
        ("[Exec]\nUser=root", "User= is ignored: --uid= says which user it is, and the file is not trusted"),
    ];
    for (text, expected) in cases {
        let (spec, told) = ask(text, false, &["--settings=override", "-u", "me"]);
        spec.expect(text);
        let expected = format!("/m/box.nspawn:2: {expected}");
        assert!(told.len() == 1 && told[0].starts_with(&expected), "{text}: {told:?}");
        assert_eq!(ask(text, true, &["--settings=override", "-u", "me"]).1, [""; 0], "{text}: trusted");
    }
    // Where the command line says nothing of it there is nothing to lose.
    let (spec, told) = ask("[Exec]\nUser=you\n[Network]\nPrivate=yes\n", false, &["--settings=override"]);
    let spec = spec.expect("it starts");
    assert_eq!((spec.exec().user.as_deref(), spec.network().private, told.len()), (Some("you"), true, 0));
}

#[test]
fn capabilities_of_a_file_that_wins_come_on_top() {
    let bounds = |text, trusted, words: &[&str]| {
        let (spec, _) = ask(text, trusted, &[&["--settings=override"][..], words].concat());
        capabilities(&spec.expect(text))
    };
    let usual = CapabilitySet::container_default();
    let one = |name| CapabilitySet::named(name).expect("a capability");
    let (kill, admin, time) = (one("CAP_KILL"), one("CAP_SYS_ADMIN"), one("CAP_SYS_TIME"));
    const DROP: &str = "[Exec]\nDropCapability=CAP_KILL\n";
    for trusted in [false, true] {
        let words = ["--drop-capability=CAP_SYS_ADMIN", "--capability=CAP_SYS_TIME"];
        assert_eq!(bounds(DROP, trusted, &words), usual.union(time).without(kill).without(admin), "{trusted}");
    }
    const BACK: &str = "[Exec]\nCapability=CAP_SYS_ADMIN CAP_SYS_TIME\nDropCapability=CAP_SYS_TIME\n";
    let words = ["--drop-capability=CAP_SYS_ADMIN,CAP_KILL"];
    assert_eq!(bounds(BACK, true, &words), usual.without(kill));
    assert_eq!(bounds(BACK, false, &words), usual.without(kill).without(admin));
}

#[test]
fn users_their_number_and_the_owners_are_decided_one_by_one() {
    use crate::Ownership::{Auto, Map, Off};
    const OWNERSHIP: &str = "[Files]\nPrivateUsersOwnership=map\n";
    const PICK: &str = "[Exec]\nPrivateUsers=pick\n";
    const RANGE: &str = "[Exec]\nPrivateUsers=524288\n";
    const MANAGED: &str = "[Exec]\nPrivateUsers=managed\nPrivateUsersDelegate=3\n";
    const NO: &str = "[Exec]\nPrivateUsers=no\n";
    let range = PrivateUsers::Range("524288".parse().expect("a range"));
    let cases: [(&'static str, &[&str], _, _, u32); 11] = [
        (OWNERSHIP, &["-U", "--settings=override"], PrivateUsers::Pick, Map, 0),
        (OWNERSHIP, &["-U"], PrivateUsers::Pick, Auto, 0),
        (OWNERSHIP, &["--private-users=524288"], range, Map, 0),
        (PICK, &["--private-users-ownership=map"], PrivateUsers::Pick, Map, 0),
        (RANGE, &["-U", "--settings=override"], range, Auto, 0),
        (NO, &["-U", "--settings=override"], PrivateUsers::No, Off, 0),
        (NO, &["-U"], PrivateUsers::Pick, Auto, 0),
        (MANAGED, &[], PrivateUsers::Managed, Auto, 3),
        (MANAGED, &["--private-users-delegate=2"], PrivateUsers::Managed, Auto, 2),
        (MANAGED, &["-U"], PrivateUsers::Pick, Auto, 0),
        (OWNERSHIP, &["--private-users=no"], PrivateUsers::No, Off, 0),
    ];
    for (text, words, users, ownership, delegate) in cases {
        let spec = fine(text, words);
        let found = (spec.users().private_users, spec.users().ownership, spec.users().delegate);
        assert_eq!(found, (users, ownership, delegate), "{text}{words:?}");
    }
    let told = ask(NO, true, &["--private-users-delegate=2"]).0.expect_err("they are for managed users").to_string();
    assert!(told.contains("--private-users=managed"), "{told}");
}

#[test]
fn yes_and_no_are_no_ids_in_a_file() {
    let users = |value: &str| {
        let text = Box::leak(format!("[Exec]\nPrivateUsers={value}\n").into_boxed_str());
        fine(text, &[]).users().private_users
    };
    assert_eq!((users("0"), users("no"), users("off")), (PrivateUsers::No, PrivateUsers::No, PrivateUsers::No));
    assert_eq!((users("1"), users("yes")), (PrivateUsers::Owner, PrivateUsers::Owner));
    assert!(matches!(users("1:65536"), PrivateUsers::Range(range) if range.start() == 1));
    assert!(matches!(users("65536"), PrivateUsers::Range(range) if range.start() == 65536));
}
