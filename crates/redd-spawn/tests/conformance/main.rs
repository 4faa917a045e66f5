//! The same cases for redd and for the installed systemd-nspawn: what is seen inside, what is left outside, what is
//! refused. Where the original is not installed redd alone is held to what the cases say.
//!
//! A case is a line or two of data, see [`case::Case`]: `Case::inside(NAME, OPTIONS, SCRIPT)` runs the script inside with
//! both engines, which must end well and print the same (`.prints(TEXT)`: exactly this); `Case::refused(NAME, OPTIONS)`
//! must start nothing. `.before(SCRIPT)` prepares the host in `{host}` or the tree `{tree}`, `.after(SCRIPT)` looks
//! afterwards. A case that says `.since(VERSION)` is not asked of an older original; one that says `.differs(REASON)`
//! must be answered otherwise by it. `cargo xtask conformance` runs all beside other versions than the installed one. Each group of options has its file.
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
use testkit::{Isolated, requires};

/// Runs a group's cases and says all that is wrong at once.
fn check(group: &str, cases: &[Case]) {
    requires!(root, cgroup2);
    let images = cases.iter().any(|case| case.image);
    if images {
        requires!(loop, program "mkfs.ext4", program "mkfs.xfs", program "mkfs.btrfs", program "mksquashfs");
        requires!(program "mkfs.erofs", program "mkfs.vfat", program "sfdisk", program "losetup");
    }
    let _isolated = if images { Isolated::with_network() } else { Isolated::enter() };
    let images = images.then(Images::make);
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

/// What redd does not do as the case says.
fn complain(case: &Case, seen: &Seen) -> Option<&'static str> {
    if seen.end != case.end {
        return Some("ends otherwise");
    }
    if let (Some(text), true) = (case.prints, case.end != End::Refused) {
        return (seen.inside != text).then_some("prints something else");
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
