//! Attempts to reach or harm the host from inside, one line each: `name=ok`, or the error.
//!
//! Every attempt is harmless where it succeeds: values are written as they were read, clocks are set to the present.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::kernel::{self, Attempt, End, number};
use crate::say;

const MS_RDONLY: u64 = 1;
const MS_REMOUNT: u64 = 32;
const MS_BIND: u64 = 4096;
const MS_REC: u64 = 16384;
const MS_PRIVATE: u64 = 1 << 18;
const MNT_DETACH: i32 = 2;
const NEWNS: i32 = 0x2_0000;
const NEWUSER: i32 = 0x1000_0000;
const NEWPID: i32 = 0x2000_0000;
const NEWCGROUP: i32 = 0x200_0000;
const BLOCK: u32 = 0o060_000;
const CHARACTER: u32 = 0o020_000;
const O_NONBLOCK: i32 = 0o4000;
const O_PATH: i32 = 0o1000_0000;
const O_DIRECTORY: i32 = 0o20_0000;
const HERE: usize = -100isize as usize;

/// Not an error of the kernel: the attempt went through and what it wanted to reach is not there.
const HIDDEN: i32 = 200;

/// What the test has prepared on the host, from arguments `name=value`.
pub(crate) struct Host {
    /// A process of the host.
    pid: usize,
    /// The number of a loop device.
    device: u64,
    /// The path of a file that only the host has.
    canary: String,
    /// A link of the host.
    link: String,
    /// The name of an abstract socket.
    socket: String,
    /// The key of a shared memory segment.
    key: usize,
}

impl Host {
    /// Reads the arguments.
    pub(crate) fn from_arguments(arguments: &[String]) -> Self {
        let value = |name: &str| {
            let mut all = arguments.iter().filter_map(|argument| argument.strip_prefix(name)?.strip_prefix('='));
            all.next().unwrap_or_default().to_owned()
        };
        let (major, minor): (u64, u64) = match value("loop").split_once(':') {
            Some((major, minor)) => (major.parse().unwrap_or(7), minor.parse().unwrap_or(0)),
            None => (7, 0),
        };
        Self {
            pid: value("pid").parse().unwrap_or(1),
            device: device(major, minor),
            canary: value("canary"),
            link: value("link"),
            socket: value("socket"),
            key: value("key").parse::<i32>().unwrap_or(0) as usize,
        }
    }
}

fn device(major: u64, minor: u64) -> u64 {
    (minor & 0xff) | (major & 0xfff) << 8 | (minor & !0xff) << 12
}

type Probe = (&'static str, fn(&Host) -> Attempt);

/// Carries all attempts out, each in a process and a mount namespace of its own.
pub(crate) fn run(host: &Host) {
    for (name, probe) in PROBES {
        let end = kernel::in_child(5, || {
            if kernel::leave(NEWNS).is_ok() {
                // What is unmounted here stays where it is elsewhere.
                let _ = kernel::mount_at("", "/", "", MS_PRIVATE | MS_REC, "");
            }
            probe(host).err().unwrap_or(0)
        });
        let text = match end {
            Ok(End::Code(0)) => "ok".to_owned(),
            Ok(End::Code(HIDDEN)) => "hidden".to_owned(),
            Ok(End::Code(errno)) => error_name(errno),
            Ok(End::Signal(signal)) => format!("signal {signal}"),
            Err(errno) => format!("no child: {}", error_name(errno)),
        };
        say(&format!("{name}={text}"));
    }
}

fn error_name(errno: i32) -> String {
    const NAMES: [(i32, &str); 24] = [
        (1, "EPERM"),
        (2, "ENOENT"),
        (3, "ESRCH"),
        (5, "EIO"),
        (6, "ENXIO"),
        (9, "EBADF"),
        (11, "EAGAIN"),
        (13, "EACCES"),
        (14, "EFAULT"),
        (15, "ENOTBLK"),
        (16, "EBUSY"),
        (17, "EEXIST"),
        (19, "ENODEV"),
        (20, "ENOTDIR"),
        (22, "EINVAL"),
        (25, "ENOTTY"),
        (30, "EROFS"),
        (38, "ENOSYS"),
        (40, "ELOOP"),
        (95, "EOPNOTSUPP"),
        (97, "EAFNOSUPPORT"),
        (111, "ECONNREFUSED"),
        (116, "ESTALE"),
        (126, "ENOKEY"),
    ];
    NAMES.iter().find(|(known, _)| *known == errno).map_or_else(|| errno.to_string(), |(_, name)| (*name).to_owned())
}

const PROBES: &[Probe] = &[
    // Interfaces of the kernel.
    ("sys-write", |_| rewrite("/sys/kernel/rcu_expedited")),
    ("sys-remount", |_| remount("/sys").and_then(|()| rewrite("/sys/kernel/rcu_expedited"))),
    ("sys-remount-super", |_| {
        kernel::mount_at("", "/sys", "", MS_REMOUNT, "").and_then(|()| rewrite("/sys/kernel/rcu_expedited"))
    }),
    ("sys-kernel-remount", |_| remount("/sys/kernel").and_then(|()| rewrite("/sys/kernel/rcu_expedited"))),
    ("proc-sys-write", |_| rewrite("/proc/sys/kernel/core_pattern")),
    ("proc-sys-remount", |_| remount("/proc/sys")),
    ("proc-sys-remount-write", |_| remount("/proc/sys").and_then(|()| rewrite("/proc/sys/kernel/core_pattern"))),
    ("proc-sys-unmount", |_| {
        kernel::unmount("/proc/sys", MNT_DETACH).and_then(|()| rewrite("/proc/sys/kernel/core_pattern"))
    }),
    ("proc-sys-setattr", |_| set_attributes("/proc/sys").and_then(|()| rewrite("/proc/sys/kernel/core_pattern"))),
    ("proc-sys-bind-elsewhere", |_| {
        let elsewhere = place("proc-bind")?;
        kernel::mount_at("/proc", &elsewhere, "", MS_BIND, "")?;
        rewrite(&format!("{elsewhere}/sys/kernel/core_pattern"))
    }),
    ("sysctl-forwarding", |_| rewrite("/proc/sys/net/ipv4/ip_forward")),
    ("sysrq", |_| open_to_write("/proc/sysrq-trigger").map(drop)),
    ("oom-of-host", |host| open_to_write(&format!("/proc/{}/oom_score_adj", host.pid)).map(drop)),
    ("fresh-proc", |_| fresh("proc", "").map(drop)),
    ("fresh-proc-write", |_| rewrite(&format!("{}/sys/kernel/core_pattern", fresh("proc", "")?))),
    ("fresh-proc-api", |_| fresh_detached("proc", "sys/kernel/core_pattern")),
    ("fresh-sysfs", |_| fresh("sysfs", "").map(drop)),
    ("fresh-sysfs-write", |_| rewrite(&format!("{}/kernel/rcu_expedited", fresh("sysfs", "")?))),
    ("fresh-sysfs-api", |_| fresh_detached("sysfs", "kernel/rcu_expedited")),
    ("fresh-debugfs", |_| fresh("debugfs", "").map(drop)),
    ("fresh-tracefs", |_| fresh("tracefs", "").map(drop)),
    ("fresh-securityfs", |_| fresh("securityfs", "").map(drop)),
    ("fresh-devtmpfs", |_| fresh("devtmpfs", "").map(drop)),
    ("fresh-pstore", |_| fresh("pstore", "").map(drop)),
    ("fresh-cgroup1", |_| fresh_cgroup1().map(drop)),
    ("cgroup1-release-agent", |_| rewrite(&format!("{}/release_agent", fresh_cgroup1()?))),
    ("cgroup1-devices-allow", |_| {
        let place = fresh("cgroup", "devices")?;
        open_to_write(&format!("{place}/devices.allow"))?.write_all(b"c 1:3 rwm").map_err(errno)
    }),
    ("cgroup1-in-new-namespace", |_| {
        kernel::leave(NEWCGROUP)?;
        rewrite(&format!("{}/release_agent", fresh_cgroup1()?))
    }),
    ("cgroup-leave", |host| {
        open_to_write("/sys/fs/cgroup/../cgroup.procs")?.write_all(host.pid.to_string().as_bytes()).map_err(errno)
    }),
    // What masks hide.
    ("unmask-kallsyms", |_| {
        // That nothing is there to be unmounted is no protection.
        let _ = kernel::unmount("/proc/kallsyms", MNT_DETACH);
        kernel_addresses()
    }),
    ("unmask-keys", |_| {
        let _ = kernel::unmount("/proc/keys", MNT_DETACH);
        keys_of_others()
    }),
    ("unmask-kmsg", |_| kernel::unmount("/proc/kmsg", MNT_DETACH).and_then(|()| read_some("/proc/kmsg"))),
    ("run-host-write", |_| File::create("/run/host/new").map(drop).map_err(errno)),
    ("run-host-remount-write", |_| {
        remount("/run/host").and_then(|()| File::create("/run/host/new").map(drop).map_err(errno))
    }),
    // Devices.
    ("mknod-loop", |host| kernel::make_node("/made-loop", BLOCK, host.device)),
    ("open-loop", |_| File::open("/host-loop").map(drop).map_err(errno)),
    ("write-loop", |_| open_to_write("/host-loop").map(drop)),
    ("mknod-mem", |_| kernel::make_node("/made-mem", CHARACTER, device(1, 1))),
    ("open-mem", |_| File::open("/host-mem").map(drop).map_err(errno)),
    ("open-kmsg-device", |_| open_nonblocking("/host-kmsg")),
    ("open-rtc", |_| open_nonblocking("/host-rtc")),
    ("devtmpfs-loop", |host| {
        let place = fresh("devtmpfs", "")?;
        File::open(format!("{place}/loop{}", host.device & 0xff)).map(drop).map_err(errno)
    }),
    ("mount-loop", |_| kernel::mount_at("/host-loop", &place("loop")?, "ext4", MS_RDONLY, "")),
    ("mount-loop-api", |_| {
        let context = kernel::descriptor(kernel::FSOPEN, [address("ext4\0"), 0, 0, 0, 0])?;
        let (key, value) = (address("source\0"), address("/host-loop\0"));
        kernel::attempt(kernel::FSCONFIG, [context, 1, key, value, 0])?;
        kernel::attempt(kernel::FSCONFIG, [context, 6, 0, 0, 0])
    }),
    // Time and power.
    ("clock-settime", |_| {
        let mut now = [0i64; 2];
        read_clock(&mut now);
        kernel::attempt(number::CLOCK_SETTIME, [0, now.as_ptr() as usize, 0, 0, 0])
    }),
    ("settimeofday", |_| {
        let mut now = [0i64; 2];
        read_clock(&mut now);
        now[1] /= 1000;
        kernel::attempt(number::SETTIMEOFDAY, [now.as_ptr() as usize, 0, 0, 0, 0])
    }),
    ("adjtimex", |_| {
        // ADJ_MAXERROR: the estimate, which the kernel changes all the time itself.
        let mut words = [0u64; 32];
        words[0] = 4;
        words[3] = 16_000_000;
        kernel::attempt(number::ADJTIMEX, [words.as_mut_ptr() as usize, 0, 0, 0, 0])
    }),
    ("reboot-of-host", |_| {
        // Forbids the key combination that reboots, which no container has a say in.
        kernel::attempt(number::REBOOT, [0xfee1_dead, 672_274_793, 0, 0, 0])
    }),
    ("kexec", |_| kernel::attempt(number::KEXEC_LOAD, [0; 5])),
    ("swapon", |_| kernel::attempt(number::SWAPON, [address("/host-loop\0"), 0, 0, 0, 0])),
    ("accounting", |_| kernel::attempt(number::ACCT, [address("/made-accounting\0"), 0, 0, 0, 0])),
    ("quota", |_| kernel::attempt(number::QUOTACTL, [0x80_0001 << 8, address("/host-loop\0"), 0, 0, 0])),
    // The network.
    ("link-of-host", |host| set_link_up(&host.link)),
    ("audit", |_| kernel::open_socket(16, 3, 9).map(drop)),
    ("abstract-socket", |host| {
        let fd = kernel::open_socket(1, 1, 0)?;
        let mut address = vec![1, 0, 0];
        address.extend(host.socket.as_bytes());
        kernel::connect_to(fd, &address)
    }),
    ("vsock", |_| {
        let fd = kernel::open_socket(40, 1 | O_NONBLOCK, 0)?;
        let (mut address, host_cid, port) = ([0u8; 16], 2u32, 1u32);
        address[0] = 40;
        address[4..8].copy_from_slice(&port.to_ne_bytes());
        address[8..12].copy_from_slice(&host_cid.to_ne_bytes());
        kernel::connect_to(fd, &address)
    }),
    // Calls that have no namespaces.
    ("bpf-map", |_| bpf_map()),
    ("perf", |_| perf_event()),
    ("add-key", |_| add_key()),
    ("keyring", |_| kernel::attempt(number::KEYCTL, [0, -3isize as usize, 0, 0, 0])),
    ("request-key", |_| kernel::attempt(number::REQUEST_KEY, [address("user\0"), address("redd\0"), 0, 0, 0])),
    ("io-uring", |_| {
        let parameters = [0u64; 16];
        kernel::attempt(kernel::IO_URING_SETUP, [1, parameters.as_ptr() as usize, 0, 0, 0])
    }),
    ("init-module", |_| kernel::attempt(number::INIT_MODULE, [address("\0"), 0, address("\0"), 0, 0])),
    ("finit-module", |_| {
        let file = File::open("/probe").map_err(errno)?;
        kernel::attempt(number::FINIT_MODULE, [file.as_raw_fd() as usize, address("\0"), 0, 0, 0])
    }),
    ("delete-module", |_| kernel::attempt(number::DELETE_MODULE, [address("no_such_module\0"), 0, 0, 0, 0])),
    ("syslog-read", |_| {
        let mut buffer = [0u8; 256];
        kernel::attempt(number::SYSLOG, [3, buffer.as_mut_ptr() as usize, buffer.len(), 0, 0])
    }),
    ("syslog-size", |_| kernel::attempt(number::SYSLOG, [10, 0, 0, 0, 0])),
    ("kmsg-read", |_| read_some("/proc/kmsg")),
    ("kcore", |_| read_some("/proc/kcore")),
    ("kallsyms", |_| kernel_addresses()),
    ("all-capabilities", |_| {
        let header = [0x2008_0522u32, 0];
        let all = [u32::MAX; 6];
        kernel::attempt(number::CAPSET, [header.as_ptr() as usize, all.as_ptr() as usize, 0, 0, 0])
    }),
    #[cfg(target_arch = "x86_64")]
    ("keyring-i386", |_| kernel::call_i386(288, 0, -3i32 as u32)),
    #[cfg(target_arch = "x86_64")]
    ("keyring-x32", |_| kernel::attempt(0x4000_0000 + number::KEYCTL, [0, -3isize as usize, 0, 0, 0])),
    #[cfg(target_arch = "x86_64")]
    ("swapon-i386", |_| kernel::call_i386(87, 0, 0)),
    // Processes and memory of the host.
    ("signal-host", |host| kernel::attempt(number::KILL, [host.pid, 0, 0, 0, 0])),
    ("ptrace-host", |host| kernel::attempt(number::PTRACE, [16, host.pid, 0, 0, 0])),
    ("pidfd-of-host", |host| kernel::attempt(kernel::PIDFD_OPEN, [host.pid, 0, 0, 0, 0])),
    ("memory-of-host", |host| {
        let mut buffer = [0u8; 8];
        let local = [buffer.as_mut_ptr() as usize, buffer.len()];
        let remote = [0x40_0000usize, 8];
        let (local, remote) = (local.as_ptr() as usize, remote.as_ptr() as usize);
        kernel::attempt(number::PROCESS_VM_READV, [host.pid, local, 1, remote, 1])
    }),
    ("shared-memory-of-host", |host| kernel::attempt(number::SHMGET, [host.key, 0, 0, 0, 0])),
    // Files of the host.
    ("dotdot", |host| see(&format!("/../../../../../..{}", host.canary))),
    ("root-of-init", |host| see(&format!("/proc/1/root{}", host.canary))),
    ("root-of-parent", |host| see(&format!("/proc/1/root/../../..{}", host.canary))),
    ("directory-of-init", |host| see(&format!("/proc/1/cwd/../../../../..{}", host.canary))),
    ("chroot-escape", |host| {
        let here = File::open("/").map_err(errno)?;
        kernel::change_root(&place("jail")?)?;
        let up = format!("/proc/self/fd/{}", here.as_raw_fd());
        let _ = std::env::set_current_dir(up);
        for _ in 0..64 {
            std::env::set_current_dir("..").map_err(errno)?;
        }
        kernel::change_root(".")?;
        see(&host.canary)
    }),
    ("below-the-root", |host| kernel::unmount("/", MNT_DETACH).and_then(|()| see(&host.canary))),
    ("root-of-file-system", |host| open_root_by_handle(&host.canary)),
    ("handle", |_| open_root_by_handle("/")),
    // Users of one's own within.
    ("nested-proc", |_| nested(|| fresh("proc", "").map(|_| ()))),
    ("nested-proc-sys-remount", |_| nested(|| remount("/proc/sys"))),
    ("nested-unmask", |_| nested(|| kernel::unmount("/proc/kallsyms", MNT_DETACH))),
    ("nested-sysfs", |_| nested(|| fresh("sysfs", "").map(|_| ()))),
    ("nested-open-tree", |_| {
        nested(|| {
            // A copy of /proc alone, without what is mounted on top of its parts.
            let tree = kernel::descriptor(kernel::OPEN_TREE, [HERE, address("/proc\0"), 1, 0, 0])?;
            let place = place("tree")? + "\0";
            kernel::attempt(kernel::MOVE_MOUNT, [tree, address("\0"), HERE, address(&place), 4])
        })
    }),
];

fn errno(error: std::io::Error) -> i32 {
    error.raw_os_error().unwrap_or(5)
}

/// The address of text that ends with a NUL.
fn address(text: &str) -> usize {
    assert!(text.ends_with('\0'));
    text.as_ptr() as usize
}

fn open_to_write(path: &str) -> Result<File, i32> {
    OpenOptions::new().write(true).custom_flags(O_NONBLOCK).open(path).map_err(errno)
}

fn open_nonblocking(path: &str) -> Attempt {
    OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path).map(drop).map_err(errno)
}

/// Writes what it reads, or to what can only be written.
fn rewrite(path: &str) -> Attempt {
    let mut file = open_to_write(path)?;
    let old = fs::read(path).map_err(errno)?;
    file.write_all(&old).map_err(errno)
}

fn read_some(path: &str) -> Attempt {
    let mut file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path).map_err(errno)?;
    match file.read(&mut [0; 64]) {
        Ok(0) => Err(HIDDEN),
        Ok(_) => Ok(()),
        Err(error) => Err(errno(error)),
    }
}

/// Where the kernel's functions are, unless only zeroes are told.
fn kernel_addresses() -> Attempt {
    let text = fs::read_to_string("/proc/kallsyms").map_err(errno)?;
    let told = text.lines().any(|line| line.split(' ').next().is_some_and(|word| word.bytes().any(|b| b != b'0')));
    if told { Ok(()) } else { Err(HIDDEN) }
}

/// Keys besides the keyring that each container has for itself.
fn keys_of_others() -> Attempt {
    let text = fs::read_to_string("/proc/keys").map_err(errno)?;
    if text.lines().any(|line| !line.contains(" keyring   _ses:")) { Ok(()) } else { Err(HIDDEN) }
}

fn see(path: &str) -> Attempt {
    if Path::new(path).exists() { Ok(()) } else { Err(HIDDEN) }
}

/// A directory of ours to mount at.
fn place(name: &str) -> Result<String, i32> {
    let path = format!("/tmp/{name}");
    match fs::create_dir_all(&path) {
        Ok(()) => Ok(path),
        Err(error) => Err(errno(error)),
    }
}

fn remount(path: &str) -> Attempt {
    kernel::mount_at("", path, "", MS_REMOUNT | MS_BIND, "")
}

fn set_attributes(path: &str) -> Attempt {
    // struct mount_attr: nothing set, MOUNT_ATTR_RDONLY cleared.
    let change = [0u64, 1, 0, 0];
    let path = format!("{path}\0");
    kernel::attempt(kernel::MOUNT_SETATTR, [HERE, address(&path), 0, change.as_ptr() as usize, 32])
}

fn fresh(kind: &str, data: &str) -> Result<String, i32> {
    let place = place(&format!("fresh-{kind}"))?;
    kernel::mount_at(kind, &place, kind, 0, data)?;
    Ok(place)
}

/// By way of the mount calls that need no mount point.
fn fresh_detached(kind: &str, file: &str) -> Attempt {
    let kind = format!("{kind}\0");
    let context = kernel::descriptor(kernel::FSOPEN, [address(&kind), 0, 0, 0, 0])?;
    kernel::attempt(kernel::FSCONFIG, [context, 6, 0, 0, 0])?;
    let mount = kernel::descriptor(kernel::FSMOUNT, [context, 0, 0, 0, 0])?;
    rewrite(&format!("/proc/self/fd/{mount}/{file}"))
}

/// A hierarchy of version 1, whichever the host has.
fn fresh_cgroup1() -> Result<String, i32> {
    let mut last = 2;
    for data in ["devices", "memory", "pids", "cpu,cpuacct", "cpu", "freezer", "none,name=systemd"] {
        match fresh("cgroup", data) {
            Ok(place) => return Ok(place),
            Err(errno) => last = errno,
        }
    }
    Err(last)
}

fn read_clock(now: &mut [i64; 2]) {
    let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    *now = [time.as_secs() as i64, i64::from(time.subsec_nanos())];
}

/// Sets a link's flags to what they are: SIOCGIFFLAGS, SIOCSIFFLAGS.
fn set_link_up(name: &str) -> Attempt {
    let fd = kernel::open_socket(2, 2, 0)?;
    let mut request = [0u8; 40];
    request[..name.len()].copy_from_slice(name.as_bytes());
    kernel::control(fd, 0x8913, request.as_mut_ptr() as usize)?;
    kernel::control(fd, 0x8914, request.as_mut_ptr() as usize)
}

fn bpf_map() -> Attempt {
    // BPF_MAP_CREATE: an array, keys of 4 bytes, values of 4 bytes, one entry.
    let attributes = [2u32, 4, 4, 1, 0, 0, 0, 0];
    kernel::attempt(number::BPF, [0, attributes.as_ptr() as usize, 32, 0, 0])
}

fn perf_event() -> Attempt {
    // The software clock of the whole first processor.
    let mut attributes = [0u32; 16];
    (attributes[0], attributes[1]) = (1, 64);
    kernel::attempt(number::PERF_EVENT_OPEN, [attributes.as_ptr() as usize, -1isize as usize, 0, -1isize as usize, 0])
}

fn add_key() -> Attempt {
    // To the session's keyring.
    let (kind, name, value) = (address("user\0"), address("redd-probe\0"), address("x\0"));
    kernel::attempt(number::ADD_KEY, [kind, name, value, 1, -3isize as usize])
}

/// By number, which knows no directories: the root of the file system that the container's root lies on.
fn open_root_by_handle(canary: &str) -> Attempt {
    let root = File::open("/").map_err(errno)?;
    // struct file_handle: eight bytes of inode 2, generation 0.
    let handle = [8u32, 1, 2, 0];
    let flags = (O_PATH | O_DIRECTORY) as usize;
    let arguments = [root.as_raw_fd() as usize, handle.as_ptr() as usize, flags, 0, 0];
    let found = kernel::descriptor(number::OPEN_BY_HANDLE_AT, arguments)?;
    see(&format!("/proc/self/fd/{found}{canary}"))
}

/// As root of users of one's own, in a process namespace of its own.
fn nested(body: impl FnOnce() -> Attempt) -> Attempt {
    kernel::leave(NEWUSER | NEWNS | NEWPID)?;
    for (file, text) in [("setgroups", "deny"), ("uid_map", "0 0 1"), ("gid_map", "0 0 1")] {
        fs::write(format!("/proc/self/{file}"), text).map_err(errno)?;
    }
    match kernel::in_child(5, || body().err().unwrap_or(0))? {
        End::Code(0) => Ok(()),
        End::Code(errno) => Err(errno),
        End::Signal(_) => Err(HIDDEN),
    }
}
