//! Looks at the host, the caller and the tree, once, and changes nothing.

mod bind_user;
mod credentials;
mod host;
mod image;
mod integration;
mod journal;
mod layers;
mod limits;
mod tree;

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use ::image::{RunDirectory, Tree, locate};
use plan::{CallerFacts, HostFacts, Localtime, NodeKind, Random, SourceFacts};
use rustix::fs::{FileType, major, minor};
use spec::{BindSource, ContainerSpec, CustomMount, PrivateUsers, Source};
use uuid::Uuid;

use crate::id_range::managed::{self, Managed};

/// Where a machine that is made from a template is put.
const MACHINES: &str = "/var/lib/machines";

/// Why the facts cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The tree.
    #[error(transparent)]
    Tree(#[from] locate::Error),
    /// The disk image.
    #[error(transparent)]
    Image(#[from] ::image::disk::attach::Error),
    /// The machine's name.
    #[error(transparent)]
    Name(plan::Error),
    /// Where a tree is to be made.
    #[error("cannot make a tree in {path}", path = .path.display())]
    Parent {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The directory of the tree that `--pivot-root=` names.
    #[error("cannot make {path} of the tree the root", path = .path.display())]
    Pivot {
        /// Seen from the tree's root.
        path: PathBuf,
        /// Why.
        source: rustix::io::Errno,
    },
    /// Locks of the tree.
    #[error(transparent)]
    Lock(#[from] ::image::lock::Error),
    /// A range of user ids.
    #[error(transparent)]
    Range(#[from] crate::id_range::Error),
    /// One that a service gives.
    #[error(transparent)]
    Managed(#[from] managed::Error),
    /// The source of a bind mount.
    #[error("cannot bind {path} into the container", path = .path.display())]
    Source {
        /// What.
        path: std::path::PathBuf,
        /// Why.
        source: rustix::io::Errno,
    },
    /// A layer of an overlay.
    #[error("cannot make {path} a layer of an overlay", path = .path.display())]
    Layer {
        /// What.
        path: std::path::PathBuf,
        /// Why.
        source: rustix::io::Errno,
    },
    /// A user of the host.
    #[error(transparent)]
    BindUser(#[from] bind_user::Error),
    /// A credential.
    #[error(transparent)]
    Credential(#[from] credentials::Error),
    /// Random numbers.
    #[error("the kernel gives no random numbers")]
    Random(#[source] rustix::io::Errno),
}

/// The facts, the tree that they are about, and the range of ids if a service has given one.
///
/// # Errors
/// An [`Error`] for what the container cannot do without.
pub fn probe(spec: &ContainerSpec, caller: CallerFacts) -> Result<(HostFacts, Tree, Option<Managed>), Error> {
    let run = RunDirectory::system();
    let random = random()?;
    let (tree, target) = find(spec, random.suffix)?;
    let machine = spec.identity().machine.as_ref().map(|name| name.as_str().to_owned());
    let name = machine.unwrap_or_else(|| {
        target
            .as_ref()
            .unwrap_or(&tree.path)
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default()
    });
    // The service takes it back when the last descriptor of its namespace is closed.
    let managed = match spec.users().private_users {
        PrivateUsers::Managed => {
            let place = Path::new(managed::PLACE);
            Some(Managed::allocate(&place.join(managed::SOCKET), &name, spec.users().delegate)?)
        }
        _ => None,
    };
    let free_id_range = match spec.users().private_users {
        PrivateUsers::Pick => Some(crate::id_range::find_free(&run, &name, tree.uid)?),
        _ => managed.as_ref().map(Managed::start),
    };
    let host = host::probe(spec, &caller);
    let zone = match &host.localtime {
        Localtime::Link { zone, .. } if integration::links_timezone(spec) => zone.as_deref(),
        _ => None,
    };
    let pivot = tree::pivot(spec, &tree)?;
    let pivot = pivot.as_ref().map(AsFd::as_fd);
    let tree_facts = tree::probe(&run, spec, (&tree, pivot), target, zone)?;
    let machine_id = plan::machine_uuid(spec, tree_facts.machine_id, &random);
    let facts = HostFacts {
        caller,
        limits: limits::probe(spec, host.service_manager),
        journal_remote: journal::probe_remote(spec),
        journal: journal::probe(spec, machine_id, machine_id != random.container_uuid),
        tree: tree_facts,
        host,
        sources: spec.mounts().iter().map(source).collect::<Result<_, _>>()?,
        layers: spec.mounts().iter().map(|mount| layers::probe(mount, &tree)).collect::<Result<_, _>>()?,
        bind_users: bind_user::probe(spec, pivot.unwrap_or_else(|| tree.fd.as_fd()))?,
        credentials: credentials::probe(spec.credentials())?,
        free_id_range,
        delegation_sockets: match spec.users().delegate {
            0 => Vec::new(),
            _ => managed::sockets(),
        },
        delegated_ranges: managed.as_ref().map(|managed| managed.delegated().to_vec()).unwrap_or_default(),
        random,
    };
    Ok((facts, tree, managed))
}

/// The tree, or the root of a disk image. If it is still to be made from a template: that, and where the tree will be.
fn find(spec: &ContainerSpec, suffix: u64) -> Result<(Tree, Option<PathBuf>), Error> {
    let found = match &spec.image().source {
        Source::Directory(path) if spec.image().pivot_root.is_some() || !spec.image().needs_usr => {
            locate::any_directory(path)
        }
        Source::Directory(path) => locate::directory(path),
        Source::Image(path) => {
            locate::image(path)?;
            return Ok((self::image::open(spec, path, suffix, false)?, None));
        }
        Source::Machine(name) => match locate::machine(name) {
            Ok(locate::Machine::Image { path, read_only }) => {
                return Ok((self::image::open(spec, &path, suffix, read_only)?, None));
            }
            Ok(locate::Machine::Tree(tree)) => Ok(*tree),
            Err(error) => Err(error),
        },
    };
    let target = match (&found, &spec.image().source) {
        (Err(locate::Error::Tree(::image::tree::Error::Missing(_))), Source::Directory(path)) => path.clone(),
        (Err(locate::Error::NoMachine { .. }), Source::Machine(name)) => Path::new(MACHINES).join(name.as_str()),
        _ => return Ok((found?, None)),
    };
    let Some(template) = &spec.image().template else { return Ok((found?, None)) };
    let template = locate::directory(template)?;
    Ok((template, Some(resolve_parent(&target)?)))
}

/// The path without symbolic links, of something that does not exist yet in a directory that does.
fn resolve_parent(target: &Path) -> Result<PathBuf, Error> {
    let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else { return Ok(target.to_owned()) };
    match std::fs::canonicalize(parent) {
        Ok(parent) => Ok(parent.join(name)),
        Err(source) => Err(Error::Parent { path: parent.to_owned(), source }),
    }
}

/// The facts for the next boot of the same container.
///
/// # Errors
/// [`Error::Random`].
pub fn another_boot(facts: &mut HostFacts) -> Result<(), Error> {
    facts.random.boot_id = random()?.boot_id;
    Ok(())
}

fn random() -> Result<Random, Error> {
    let mut bytes = [0u8; 40];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).map_err(Error::Random)?;
    let uuid = |from: usize| {
        let mut id = [0; 16];
        id.copy_from_slice(&bytes[from..from + 16]);
        uuid::Builder::from_random_bytes(id).into_uuid()
    };
    let (container_uuid, boot_id): (Uuid, Uuid) = (uuid(0), uuid(16));
    let mut suffix = [0; 8];
    suffix.copy_from_slice(&bytes[32..]);
    Ok(Random { container_uuid, boot_id, suffix: u64::from_ne_bytes(suffix) })
}

fn source(mount: &CustomMount) -> Result<Option<SourceFacts>, Error> {
    let CustomMount::Bind { source: BindSource::Host(path), .. } = mount else { return Ok(None) };
    let error = |source| Error::Source { path: path.clone(), source };
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, rustix::fs::Mode::empty()).map_err(error)?;
    let status = rustix::fs::fstat(file.as_fd()).map_err(error)?;
    let (major, minor) = (major(status.st_rdev), minor(status.st_rdev));
    let kind = match FileType::from_raw_mode(status.st_mode) {
        FileType::Directory => NodeKind::Directory,
        FileType::CharacterDevice => NodeKind::CharacterDevice { major, minor },
        FileType::BlockDevice => NodeKind::BlockDevice { major, minor },
        _ => NodeKind::File,
    };
    Ok(Some(SourceFacts { kind }))
}
