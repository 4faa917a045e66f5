//! Overlays beside the root.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use plan::{LayerSource, MountFlags, MountIds, OverlayStep, Plan, SourceNumber, UpperLayer};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, mkdirat, openat, symlinkat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, mount_change,
};
use sys::clone::Namespaces;
use sys::open::openat2;

use super::files::{About, Failure, Files, place_on_host, restrict, take_mount};
use super::launch::Launched;
use super::{assembly, delegated_mount, id_map, overlay};

/// Mounts it. `users` is the container's user namespace, if it has one.
///
/// # Errors
/// The kernel's reason and what it was about.
pub(super) fn mount(
    step: &OverlayStep,
    plan: &Plan,
    launched: &Launched,
    files: &mut Files,
    users: Option<&OwnedFd>,
) -> Result<(), Failure> {
    let users = match (step.by_users, users) {
        (false, _) => None,
        (true, Some(users)) => Some(users),
        (true, None) => return Err(Errno::BADF.into()),
    };
    let lower = step.lower.iter().map(|layer| {
        let found = match &layer.source {
            LayerSource::Taken(number) => taken(launched, *number)?,
            LayerSource::Inside(path) => {
                let at = files.open(path.as_path(), OFlags::PATH | OFlags::DIRECTORY).about(path)?;
                take_mount(at.as_fd(), false).about(path)?
            }
        };
        mapped(found, layer.ids.as_ref(), &layer.source)
    });
    let lower = lower.collect::<Result<_, Failure>>()?;
    let upper = step.upper.as_ref().map(|upper| Upper::find(upper, launched)).transpose()?;
    // In a mount namespace that goes away with all that is put together in it.
    let made = delegated_mount::by(|| {
        sys::clone::unshare(Namespaces::MOUNT)?;
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).about("/")?;
        let bench = overlay::workbench(plan)?;
        let layers = Layers { lower, upper };
        layers.place(&bench)?;
        if let Some(users) = users {
            overlay::enter(users)?;
        }
        layers.mount(users.is_some())
    })?;
    let attributes = if step.upper.is_none() { MountFlags::READ_ONLY } else { MountFlags::NONE };
    restrict(made.as_fd(), attributes, false)?;
    files.place(&made, step.target.as_path(), true)
}

fn taken(launched: &Launched, number: SourceNumber) -> Result<OwnedFd, Failure> {
    let (_, mount) = launched.sources.iter().find(|(known, _)| *known == number).ok_or(Errno::BADF)?;
    Ok(mount.try_clone().map_err(|_| Errno::MFILE)?)
}

fn mapped(mount: OwnedFd, ids: Option<&MountIds>, source: &LayerSource) -> Result<OwnedFd, Failure> {
    let Some(ids) = ids else { return Ok(mount) };
    // These never ask for the owner of the place.
    let place = mount.try_clone().map_err(|_| Errno::MFILE)?;
    let name = match source {
        LayerSource::Taken(number) => number.to_string(),
        LayerSource::Inside(path) => path.to_string(),
    };
    id_map::apply(mount, ids, &place, id_map::Origin::Host)
        .map_err(|Failure { errno, detail }| Failure { errno, detail: format!("{name}: {detail}") })
}

/// The directory that holds the upper layer and the work directory, and the paths of both in it.
struct Upper {
    /// Absent where it is in memory: on the workbench itself.
    around: Option<OwnedFd>,
    upper: PathBuf,
    work: PathBuf,
    temporary: bool,
}

impl Upper {
    fn find(layer: &UpperLayer, launched: &Launched) -> Result<Self, Failure> {
        let around = |number, ids| {
            let number = SourceNumber::Around(number);
            mapped(taken(launched, number)?, ids, &LayerSource::Taken(number)).map(Some)
        };
        let (upper, work) = ("upper".into(), "work".into());
        Ok(match layer {
            UpperLayer::Memory => Self { around: None, upper, work, temporary: true },
            UpperLayer::Temporary(number) => Self { around: around(*number, None)?, upper, work, temporary: true },
            UpperLayer::Host { number, name, ids } => {
                let holder = launched.work.iter().find(|(known, _)| known == number).map(|(_, name)| name);
                let work = Path::new(holder.ok_or(Errno::NOENT)?).join(number.to_string());
                Self { around: around(*number, ids.as_ref())?, upper: name.into(), work, temporary: false }
            }
        })
    }

    /// Opens both directories, and makes links to what was opened: where the container can write to the directory around
    /// them, it may have put links of its own in their places before it rebooted.
    fn link(&self) -> Result<[OwnedFd; 2], Failure> {
        let around = openat(CWD, ABOVE, DIRECTORY | OFlags::NOFOLLOW, Mode::empty()).about("the layers")?;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let linked = |path: &Path, link| {
            let directory = openat2(&around, path, DIRECTORY, Mode::empty(), resolve)?;
            symlinkat(format!("/proc/self/fd/{}", directory.as_raw_fd()), CWD, link)?;
            Ok(directory)
        };
        Ok([
            linked(&self.upper, UPPER).about("the upper layer")?,
            linked(&self.work, WORK).about("the work directory")?,
        ])
    }
}

/// All that an overlay is made of.
struct Layers {
    lower: Vec<OwnedFd>,
    upper: Option<Upper>,
}

impl Layers {
    /// Attaches all of it to directories of the workbench: overlays are made of paths.
    fn place(&self, bench: &OwnedFd) -> Result<(), Failure> {
        let numbered = self.lower.iter().enumerate().map(|(number, mount)| (number.to_string(), mount));
        let around = self.upper.iter().filter_map(|upper| upper.around.as_ref());
        for (name, mount) in numbered.chain(around.map(|mount| (ABOVE.to_owned(), mount))) {
            mkdirat(bench, &name, Mode::from_raw_mode(0o755)).about(&name)?;
            place_on_host(mount.as_fd(), &assembly().join(&name)).about(&name)?;
        }
        if self.upper.as_ref().is_some_and(|upper| upper.around.is_none()) {
            for name in ["", "upper", "work"] {
                mkdirat(bench, Path::new(ABOVE).join(name), Mode::from_raw_mode(0o755))?;
            }
        }
        Ok(())
    }

    fn mount(&self, in_user_namespace: bool) -> Result<OwnedFd, Failure> {
        // Relative paths are short, and the kernel takes but 255 bytes at once.
        rustix::process::chdir(assembly())?;
        let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).about("overlay")?;
        fsconfig_set_string(&context, "source", "overlay")?;
        if in_user_namespace {
            fsconfig_set_flag(&context, "userxattr").about("userxattr")?;
        }
        self.set_lower(&context)?;
        // Open until the overlay is there.
        let _open = self.upper.as_ref().map(Upper::link).transpose()?;
        if let Some(upper) = &self.upper {
            if upper.temporary {
                // Nobody reads it after a crash.
                overlay::forget_earlier_mount(&assembly().join(WORK).join("work/incompat"))?;
                fsconfig_set_flag(&context, "volatile").about("volatile")?;
            }
            fsconfig_set_string(&context, "upperdir", UPPER).about("the upper layer")?;
            fsconfig_set_string(&context, "workdir", WORK).about("the work directory")?;
        }
        fsconfig_create(&context).about("the overlay")?;
        fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).about("the overlay")
    }

    /// The topmost one comes first.
    fn set_lower(&self, context: &OwnedFd) -> Result<(), Failure> {
        const LONGEST: usize = 255;
        let names: Vec<String> = (0..self.lower.len()).rev().map(|number| number.to_string()).collect();
        let together = names.join(":");
        if together.len() <= LONGEST {
            return fsconfig_set_string(context, "lowerdir", together).about("the lower layers");
        }
        // One by one since Linux 6.7.
        names.iter().try_for_each(|name| fsconfig_set_string(context, "lowerdir+", name)).about("the lower layers")
    }
}

/// Names on the workbench: the directory around the upper layer, and links to what is in it. So what the kernel is told
/// has no characters that mean something to it, and is short.
const ABOVE: &str = "above";
const UPPER: &str = "upper";
const WORK: &str = "work";
const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
