//! The same cases for redd and for the installed systemd-nspawn: what is seen inside, what is left outside, what is
//! refused. Where the original is not installed redd alone is held to what the cases say.
//!
//! A case is a line or two of data, see [`case::Case`]: `Case::inside(NAME, OPTIONS, SCRIPT)` runs the script inside with
//! both engines, which must end well and print the same (`.prints(TEXT)`: exactly this); `Case::refused(NAME, OPTIONS)`
//! must start nothing. `.before(SCRIPT)` prepares the host in `{host}` or the tree `{tree}`, `.after(SCRIPT)` looks
//! afterwards. A case that says `.since(VERSION)` is not asked of an older original; one that says `.differs(REASON)`
//! must be answered otherwise by it; where that is so of all versions, the case itself says what is printed, and
//! `.leaves(TEXT)` what the look afterwards shows. `cargo xtask conformance` runs all beside other versions than the installed one. Each group of options has its file.
//!
//! The host's network is one of the test's own, with the loopback device and a link called `second`.
//!
//! Cases with disk images say `.image()`; they are put together from what [`images`] has made. Where udev does not run the
//! original refuses images, and redd alone is asked.
//!
//! The tree is a small one with a shell and the usual programs, and `/probe`, see [`testkit::fixture::tree`].

mod bench;
mod case;
mod images;
mod tree;

use std::fmt::Write as _;

use bench::{Bench, Engine, Seen};
use case::{Case, End};
use images::Images;
use testkit::{Isolated, Requirement, requires};

/// Runs a group's cases and says all that is wrong at once.
#[expect(clippy::print_stdout, reason = "what a test leaves out it says like requires!")]
fn check(group: &str, cases: &[Case]) {
    requires!(root, cgroup2);
    let images = cases.iter().any(|case| case.image);
    if images {
        requires!(loop, program "mkfs.ext4", program "mkfs.xfs", program "mkfs.btrfs", program "mksquashfs");
        requires!(program "mkfs.erofs", program "mkfs.vfat", program "sfdisk", program "losetup");
    }
    let _isolated = if images { Isolated::with_network() } else { Isolated::enter() };
    if !images {
        make_second_link();
    }
    let images = images.then(Images::make);
    // Without it nothing is compared, which must not go unsaid where all is to be tested.
    if let Some(missing) = testkit::missing(&[Requirement::Program("systemd-nspawn")]) {
        println!("SKIPPED the comparison of {group}: needs {missing}");
    }
    let version = bench::original();
    // Unlike any other test's, which may run at the same time, and each other's: units of systemd end a little later than
    // what ran in them.
    let name = |first: &str| format!("{first}{}-{}", std::process::id(), group.replace('_', "-"));
    let bench = |engine, name: &str| Bench::new(engine, name, images.as_ref().map(|images| images.path()));
    let mut ours = bench(Engine::Redd, &name("box"));
    let mut theirs = version.map(|_| bench(Engine::Original, &name("tub")));
    let mut wrong = String::new();
    for (index, case) in cases.iter().enumerate() {
        assert!(cases[..index].iter().all(|other| other.name != case.name), "{} is there twice", case.name);
        if case.systemd && !bench::systemd() || case.elsewhere && bench::systemd() {
            continue;
        }
        let (seen, errors) = ours.run(case);
        if let Some(complaint) = complain(case, &seen) {
            let _ = writeln!(wrong, "{}: {complaint}\n{seen:#?}\n{errors}", case.name);
            continue;
        }
        let asked = |version: &u32| *version >= case.since && (!case.image || bench::udev());
        let Some((version, bench)) = version.filter(asked).zip(theirs.as_mut()) else {
            continue;
        };
        let (original, their_errors) = bench.run(case);
        let expected =
            case.differs.filter(|(first, _)| (*first..case.differs_until).contains(&version)).map(|(_, reason)| reason);
        if (original == seen) == expected.is_some() {
            let word = if expected.is_some() { "does not differ" } else { "differs" };
            let _ = writeln!(
                wrong,
                "{}: version {version} {word}\n{original:#?}\n{their_errors}\nredd: {seen:#?}\n{errors}",
                case.name
            );
        }
    }
    let left = images.map_or_else(Vec::new, |images| images.loop_devices(&[&ours, theirs.as_ref().unwrap_or(&ours)]));
    assert!(left.is_empty(), "loop devices are left: {left:?}");
    assert!(wrong.is_empty(), "{wrong}");
}

/// A link that a container with a network of its own does not see, with an address and a route. Which kind it is depends on
/// what the kernel has.
fn make_second_link() {
    const MAKE: &str = "ip link add second type veth peer name third || ip link add second type dummy \
        || ip link add second type bridge || ip tuntap add second mode tun
        ip addr add 192.0.2.1/24 dev second && ip link set second up && test $(ip route | wc -l) = 1";
    let output = std::process::Command::new("sh").args(["-c", MAKE]).output().expect("a shell");
    assert!(output.status.success(), "no second link: {}", String::from_utf8_lossy(&output.stderr));
}

/// What redd does not do as the case says.
fn complain(case: &Case, seen: &Seen) -> Option<&'static str> {
    if seen.end != case.end {
        return Some("ends otherwise");
    }
    // Where nobody else is asked, the case has the last word.
    let said = case.leaves.or(case.is_alone().then_some(""));
    if said.is_some_and(|text| seen.outside != text) {
        return Some("leaves something else");
    }
    if let (Some(text), true) = (case.prints, case.end != End::Refused) {
        return (seen.inside != text).then_some("prints something else");
    }
    if case.is_alone() && case.end != End::Refused {
        return Some("is held to nothing: say what is printed, since the original prints something else");
    }
    let nothing = seen.inside.is_empty() && seen.outside.is_empty();
    (nothing && case.end == End::Code(0)).then_some("nothing was looked at")
}

macro_rules! groups {
    ($($name:ident)*) => {
        $(mod $name;)*

        $(
            #[test]
            fn $name() {
                check(stringify!($name), $name::CASES);
            }
        )*
    };
}

groups! {
    bind_user
    console
    credentials
    disk_image
    exec
    identity
    image
    integration
    mounts
    network
    oci
    oci_mounts
    oci_resources
    oci_seccomp
    property
    resources
    security
    settings
    users
}
