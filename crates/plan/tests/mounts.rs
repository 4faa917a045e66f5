//! Plans of overlays, of mapped ids, and what there is no plan for.

mod fixture;

use fixture::{Host, plan, try_plan};
use plan::{Error, LayerFacts, MountIds, NodeKind, OuterStep, OverlayStep, ParentStep, UpperLayer};

const USERS: [&str; 3] = ["-D/srv/debian", "--private-users=600000:65536", "--private-users-ownership=map"];

fn present(path: &str, owner: u32) -> LayerFacts {
    LayerFacts::Present { path: path.into(), owner, own_mount: false }
}

/// The only overlay of the plan.
fn overlay(words: &[&str], layers: &[LayerFacts]) -> Result<(OverlayStep, Vec<ParentStep>), Error> {
    let host = Host::new().change(|facts| facts.layers = vec![layers.to_vec()]);
    let plan = try_plan(words, host)?;
    let mut overlays = plan.outer.iter().filter_map(|step| match step {
        OuterStep::Overlay(step) => Some(step.clone()),
        _ => None,
    });
    let made = plan
        .parent
        .into_iter()
        .filter(|step| matches!(step, ParentStep::MakeLayers { .. } | ParentStep::MakeTemporary { .. }));
    Ok((overlays.next().expect("an overlay"), made.collect()))
}

#[test]
fn layers_are_mapped_unless_the_container_has_their_owner() {
    let words = [&USERS[..], &["--overlay=/low:/up:/ov"]].concat();
    for (low, up, mapped_from) in [
        (0, 0, [Some(0), Some(0)]),
        (1000, 600_000, [Some(0), None]),
        (665_535, 665_536, [None, Some(655_360)]),
        (0x7ffe_0000, 5, [Some(0x7ffe_0000), Some(0)]),
    ] {
        let (step, _) = overlay(&words, &[present("/low", low), present("/up", up)]).expect("a plan");
        let from = |ids: &Option<MountIds>| match ids {
            Some(MountIds::Lines(lines)) => lines.first().map(|line| line.file_system),
            _ => None,
        };
        let Some(UpperLayer::Host { ids, .. }) = &step.upper else { panic!("{step:?}") };
        assert_eq!([from(&step.lower[0].ids), from(ids)], mapped_from, "{low} {up}");
        assert_eq!(step.by_users, mapped_from[1].is_some(), "{low} {up}");
    }
}

#[test]
fn what_is_made_for_an_upper_layer() {
    let words = ["-D/srv/debian", "--overlay=/low::/ov"];
    let (step, made) = overlay(&words, &[present("/low", 0), LayerFacts::Temporary { fits: true }]).expect("a plan");
    assert_eq!(step.upper, Some(UpperLayer::Temporary(0)));
    assert_eq!(made, [ParentStep::MakeLayers { number: 0, beside: None, missing: None, owner: 0 }]);
    let (step, made) = overlay(&words, &[present("/low", 0), LayerFacts::Temporary { fits: false }]).expect("a plan");
    assert_eq!((step.upper, made.len()), (Some(UpperLayer::Memory), 0));
    let words = ["-D/srv/debian", "--overlay=/low:/x/up:/ov"];
    let missing = LayerFacts::Missing { path: "/x/up".into() };
    let (_, made) = overlay(&words, &[present("/low", 0), missing]).expect("a plan");
    let expected =
        ParentStep::MakeLayers { number: 0, beside: Some("/x".into()), missing: Some("/x/up".into()), owner: 0 };
    assert_eq!(made, [expected]);
    let words = ["-D/srv/debian", "--overlay-ro=/low:/up:/ov"];
    let (step, made) = overlay(&words, &[present("/low", 0), present("/up", 0)]).expect("a plan");
    assert_eq!((step.lower.len(), step.upper, made.len()), (2, None, 0));
}

#[test]
fn upper_layers_that_cannot_be_are_refused() {
    let mount = LayerFacts::Present { path: "/up".into(), owner: 0, own_mount: true };
    let words = ["-D/srv/debian", "--overlay=/low:/up:/ov"];
    assert_eq!(overlay(&words, &[present("/low", 0), mount]).err(), Some(Error::UpperIsMount("/up".into())));
    assert_eq!(overlay(&words, &[present("/low", 0), present("/", 0)]).err(), Some(Error::UpperIsMount("/".into())));
    for option in ["--read-only", "--volatile=overlay", "--volatile=yes", "--volatile=state"] {
        let words = ["-D/srv/debian", option, "--overlay=/low:+/up:/ov"];
        let error = overlay(&words, &[present("/low", 0), present("/srv/debian/up", 0)]).err();
        assert!(matches!(error, Some(Error::UpperInCopy { .. })), "{option}: {error:?}");
    }
}

#[test]
fn places_of_the_containers_own_are_refused() {
    let directory = || Host::new().sources(&[Some(NodeKind::Directory)]);
    for place in ["/proc", "/proc/sys/net", "/dev", "/dev/pts", "/dev/pts/1", "/run", "/run/host", "/sys/fs/cgroup/a"] {
        for option in [format!("--bind=/a:{place}"), format!("--tmpfs={place}"), format!("--inaccessible={place}")] {
            let error = try_plan(&["-D/srv/debian", &option], directory()).err();
            assert_eq!(error, Some(Error::Reserved(place.into())), "{option}");
        }
    }
    for place in ["/dev/shm", "/dev/mqueue", "/run/a", "/run/host/a", "/sys", "/sys/kernel", "/tmp", "/processes"] {
        plan(&["-D/srv/debian", &format!("--bind=/a:{place}")], directory());
    }
    let words = ["-D/srv/debian", "--private-network", "--bind=/a:/sys"];
    assert_eq!(try_plan(&words, directory()).err(), Some(Error::Reserved("/sys".into())));
}

#[test]
fn ids_of_temporary_file_systems_are_the_containers() {
    let options = |option: &str| {
        let plan = try_plan(&[&USERS[..], &[option]].concat(), Host::new())?;
        let text = plan::explain(&plan);
        Ok(text.lines().find(|line| line.contains("tmpfs at /mnt")).expect("a mount").trim().to_owned())
    };
    assert_eq!(
        options("--tmpfs=/mnt:uid=5,gid=6,mode=700"),
        Ok("mount a new tmpfs at /mnt (nodev,strictatime) with uid=600000,gid=600000,uid=600005,gid=600006,mode=700"
            .into())
    );
    assert_eq!(options("--tmpfs=/mnt:uid=65536"), Err(Error::IdsOutside { mount: "/mnt".into(), last: 65_535 }));
}

#[test]
fn labels_are_given_where_the_kernel_has_selinux() {
    let host = || Host::new().change(|facts| facts.host.selinux = true);
    let words = ["-D/srv/debian", "--selinux-context=a:b:c", "--selinux-apifs-context=d:e:f"];
    let text = plan::explain(&plan(&words, host()));
    let made = |line: &&str| line.contains("a new tmpfs at") || line.contains("a new devpts at");
    let (made, others): (Vec<_>, Vec<_>) = text.lines().partition(made);
    assert!(made.len() > 3 && made.iter().all(|line| line.contains("context=d:e:f")), "{made:#?}");
    assert!(!others.iter().any(|line| line.contains("d:e:f")), "{others:#?}");
    assert_eq!(others.iter().filter(|line| line.contains("a:b:c")).count(), 1, "{others:#?}");
    for option in ["--selinux-context=", "--selinux-apifs-context="] {
        let words = ["-D/srv/debian", &format!("{option}a:b:c")];
        assert_eq!(try_plan(&words, Host::new()).err(), Some(Error::NoSelinux(option)));
    }
}
