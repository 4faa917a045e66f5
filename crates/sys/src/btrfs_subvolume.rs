//! What btrfs tells of a subvolume, and its quotas, see
//! [`btrfs-ioctl(3)`](https://btrfs.readthedocs.io/en/latest/btrfs-ioctl.html) and
//! [`btrfs-qgroup(8)`](https://btrfs.readthedocs.io/en/latest/btrfs-qgroup.html).
//!
//! All descriptors must be open for reading (not `O_PATH`).

use std::os::fd::BorrowedFd;

use rustix::io::{Errno, Result};
use rustix::ioctl::{Getter, NoArg, Opcode, Setter, Updater, ioctl, opcode};

const MAGIC: u8 = 0x94;
/// The tree that quotas are kept in, and the kinds of its items.
const QUOTA_TREE: u64 = 8;
const QGROUP_INFO: u32 = 242;
const QGROUP_LIMIT: u32 = 244;
/// The flag of a limit of the space that is referred to.
const LIMIT_REFERENCED: u64 = 1;
const LIMIT_EXCLUSIVE: u64 = 2;
/// The level of groups that hold a subvolume with those below it, as systemd makes them.
const SUBTREE_LEVEL: u64 = 255;

#[repr(C)]
#[derive(Clone, Copy)]
struct Time {
    seconds: u64,
    nanoseconds: u32,
}

impl Time {
    fn microseconds(self) -> u64 {
        self.seconds.saturating_mul(1_000_000).saturating_add(u64::from(self.nanoseconds) / 1000)
    }
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Info {
    tree: u64,
    name: [u8; 256],
    parent: u64,
    directory: u64,
    generation: u64,
    flags: u64,
    uuids: [[u8; 16]; 3],
    transactions: [u64; 4],
    changed: Time,
    made: Time,
    sent: Time,
    received: Time,
    reserved: [u64; 8],
}

#[repr(C)]
#[derive(Clone, Copy)]
struct SearchKey {
    tree: u64,
    objects: [u64; 2],
    offsets: [u64; 2],
    transactions: [u64; 2],
    kinds: [u32; 2],
    items: u32,
    unused: u32,
    reserved: [u64; 4],
}

const FOUND: usize = 4096 - size_of::<SearchKey>();
const HEADER: usize = 32;

#[repr(C)]
#[derive(Clone, Copy)]
struct Search {
    key: SearchKey,
    found: [u8; FOUND],
}

#[repr(C)]
#[derive(Clone, Copy)]
struct LimitArgs {
    group: u64,
    flags: u64,
    referenced: u64,
    exclusive: u64,
    reserved: [u64; 2],
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Assignment {
    assign: u64,
    group: u64,
    above: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct NewGroup {
    make: u64,
    group: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Rescan {
    flags: u64,
    progress: u64,
    reserved: [u64; 6],
}

#[repr(C)]
#[derive(Clone, Copy)]
struct QuotaControl {
    command: u64,
    status: u64,
}

const SEARCH: Opcode = opcode::read_write::<Search>(MAGIC, 17);
const QUOTA_CONTROL: Opcode = opcode::read_write::<QuotaControl>(MAGIC, 40);
const ASSIGN: Opcode = opcode::write::<Assignment>(MAGIC, 41);
const MAKE_GROUP: Opcode = opcode::write::<NewGroup>(MAGIC, 42);
const RESCAN: Opcode = opcode::write::<Rescan>(MAGIC, 44);
const AWAIT_RESCAN: Opcode = opcode::none(MAGIC, 46);
const SET_LIMIT: Opcode = opcode::read::<LimitArgs>(MAGIC, 43);
const INFO: Opcode = opcode::read::<Info>(MAGIC, 60);

/// A subvolume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subvolume {
    /// Its number.
    pub id: u64,
    /// When it was made, in microseconds since 1970.
    pub made: u64,
    /// When something in it was changed last, in microseconds since 1970.
    pub changed: u64,
}

/// What a subvolume takes and may take, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// All that it refers to.
    pub referenced: u64,
    /// What no other one refers to.
    pub exclusive: u64,
    /// The limit of the first, if there is one.
    pub referenced_limit: Option<u64>,
    /// The limit of the second, if there is one.
    pub exclusive_limit: Option<u64>,
}

/// Examines the subvolume that the file is in.
///
/// # Errors
/// `ENOTTY` where that is not on btrfs, or the kernel is older than 4.18.
pub fn information(file: BorrowedFd<'_>) -> Result<Subvolume> {
    // SAFETY: the opcode writes a btrfs_ioctl_get_subvol_info_args, which Info is laid out as.
    let info = unsafe { ioctl(file, Getter::<INFO, Info>::new())? };
    Ok(Subvolume { id: info.tree, made: info.made.microseconds(), changed: info.changed.microseconds() })
}

/// What the subvolume with this number takes, with those below it if they are counted together; none where quotas are
/// not in use.
///
/// # Errors
/// `EPERM` without privilege, and others of `BTRFS_IOC_TREE_SEARCH`.
pub fn quota(file: BorrowedFd<'_>, id: u64) -> Result<Option<Quota>> {
    for group in [subtree(id), id] {
        let Some([_, referenced, _, exclusive, _]) = item(file, QGROUP_INFO, group)? else { continue };
        let [flags, limit, exclusive_limit, ..] = item(file, QGROUP_LIMIT, group)?.unwrap_or_default();
        let limit_of = |flag, limit| (flags & flag != 0 && limit != u64::MAX).then_some(limit);
        return Ok(Some(Quota {
            referenced,
            exclusive,
            referenced_limit: limit_of(LIMIT_REFERENCED, limit),
            exclusive_limit: limit_of(LIMIT_EXCLUSIVE, exclusive_limit),
        }));
    }
    Ok(None)
}

/// Limits what the subvolume with this number refers to, in bytes; none takes the limit away.
///
/// # Errors
/// `ENOTCONN` where quotas are not in use, `EPERM` without privilege, and others of `BTRFS_IOC_QGROUP_LIMIT`.
pub fn set_limit(file: BorrowedFd<'_>, id: u64, limit: Option<u64>) -> Result<()> {
    for group in [Some(id), is_counted_together(file, id).then(|| subtree(id))].into_iter().flatten() {
        let args = LimitArgs {
            group,
            flags: LIMIT_REFERENCED,
            referenced: limit.unwrap_or(u64::MAX),
            exclusive: 0,
            reserved: [0; 2],
        };
        // SAFETY: the opcode takes a btrfs_ioctl_qgroup_limit_args, which LimitArgs is laid out as.
        unsafe { ioctl(file, Setter::<SET_LIMIT, LimitArgs>::new(args))? };
    }
    Ok(())
}

/// Begins to count what the subvolumes of a file system take; no error if that is done already.
///
/// # Errors
/// Those of `BTRFS_IOC_QUOTA_CTL`.
pub fn enable_quotas(file: BorrowedFd<'_>) -> Result<()> {
    let mut args = QuotaControl { command: 1, status: 0 };
    // SAFETY: the opcode reads and writes a btrfs_ioctl_quota_ctl_args, which QuotaControl is laid out as.
    match unsafe { ioctl(file, Updater::<QUOTA_CONTROL, QuotaControl>::new(&mut args)) } {
        Err(Errno::EXIST) => Ok(()),
        other => other,
    }
}

/// Counts the subvolume with this number together with those that are added to it by [`count_in`], from now on.
///
/// # Errors
/// `ENOTCONN` where quotas are not in use, `EPERM` without privilege, and others of `BTRFS_IOC_QGROUP_CREATE`.
pub fn count_together(file: BorrowedFd<'_>, id: u64) -> Result<()> {
    let args = NewGroup { make: 1, group: subtree(id) };
    // SAFETY: the opcode takes a btrfs_ioctl_qgroup_create_args, which NewGroup is laid out as.
    match unsafe { ioctl(file, Setter::<MAKE_GROUP, NewGroup>::new(args)) } {
        Ok(()) | Err(Errno::EXIST) => count_in(file, id, id),
        Err(error) => Err(error),
    }
}

/// Whether more than the subvolume with this number is counted together with it.
#[must_use]
pub fn is_counted_together(file: BorrowedFd<'_>, id: u64) -> bool {
    item(file, QGROUP_INFO, subtree(id)).is_ok_and(|item| item.is_some())
}

/// Counts the subvolume `id` together with `whole`, for which [`count_together`] was called.
///
/// # Errors
/// As [`count_together`].
pub fn count_in(file: BorrowedFd<'_>, id: u64, whole: u64) -> Result<()> {
    let args = Assignment { assign: 1, group: id, above: subtree(whole) };
    // SAFETY: the opcode takes a btrfs_ioctl_qgroup_assign_args, which Assignment is laid out as.
    match unsafe { ioctl(file, Setter::<ASSIGN, Assignment>::new(args)) } {
        Err(Errno::EXIST) => Ok(()),
        other => other,
    }
}

/// Begins to count everything anew, after the last time that somebody has begun with it is over: what is shared is not known when
/// subvolumes are added. Until that is done limits may not hold.
///
/// # Errors
/// Those of `BTRFS_IOC_QUOTA_RESCAN` and `BTRFS_IOC_QUOTA_RESCAN_WAIT`.
pub fn count_anew(file: BorrowedFd<'_>) -> Result<()> {
    let args = Rescan { flags: 0, progress: 0, reserved: [0; 6] };
    loop {
        // SAFETY: the opcode takes a btrfs_ioctl_quota_rescan_args, which Rescan is laid out as.
        match unsafe { ioctl(file, Setter::<RESCAN, Rescan>::new(args)) } {
            // It has not seen what was added.
            Err(Errno::INPROGRESS) => await_count(file)?,
            other => return other,
        }
    }
}

/// Waits until that is done.
///
/// # Errors
/// Those of `BTRFS_IOC_QUOTA_RESCAN_WAIT`.
pub fn await_count(file: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: the opcode takes no argument.
    unsafe { ioctl(file, NoArg::<AWAIT_RESCAN>::new()) }
}

fn subtree(id: u64) -> u64 {
    SUBTREE_LEVEL << 48 | id
}

/// The five numbers of an item of the quota tree.
fn item(file: BorrowedFd<'_>, kind: u32, group: u64) -> Result<Option<[u64; 5]>> {
    let key = SearchKey {
        tree: QUOTA_TREE,
        objects: [0; 2],
        offsets: [group; 2],
        transactions: [0, u64::MAX],
        kinds: [kind; 2],
        items: 1,
        unused: 0,
        reserved: [0; 4],
    };
    let mut search = Search { key, found: [0; FOUND] };
    // SAFETY: the opcode reads and writes a btrfs_ioctl_search_args, which Search is laid out as.
    match unsafe { ioctl(file, Updater::<SEARCH, Search>::new(&mut search)) } {
        // There is no such tree.
        Err(Errno::NOENT) => return Ok(None),
        other => other?,
    }
    if search.key.items == 0 {
        return Ok(None);
    }
    let number = |at: usize| {
        let bytes = search.found[at..at + 8].try_into().unwrap_or_default();
        u64::from_le_bytes(bytes)
    };
    Ok(Some(std::array::from_fn(|index| number(HEADER + 8 * index))))
}

const _: () = assert!(size_of::<Info>() == 504 && size_of::<Search>() == 4096 && size_of::<LimitArgs>() == 48);
const _: () = assert!(size_of::<Assignment>() == 24 && size_of::<NewGroup>() == 16 && size_of::<Rescan>() == 64);
