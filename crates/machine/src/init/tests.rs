use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};

use super::*;

#[test]
fn programs_are_known_by_their_names() {
    let known = [
        ("/usr/lib/systemd/systemd", Init::Systemd),
        ("/usr/lib/systemd/systemd (deleted)", Init::Systemd),
        ("/usr/sbin/init", Init::SysV),
        ("/sbin/openrc-init", Init::OpenRc),
        ("/bin/busybox", Init::BusyBox),
        ("/usr/bin/runit", Init::Runit),
        ("/usr/bin/s6-svscan", Init::S6),
        ("/sbin/dinit", Init::Dinit),
        ("/sbin/finit", Init::Finit),
    ];
    for (path, init) in known {
        assert_eq!(Init::by_program(path.as_bytes()), Some(init), "{path}");
    }
    for path in ["/bin/sh", "/usr/lib/systemd/systemd-executor", "/init/x", ""] {
        assert_eq!(Init::by_program(path.as_bytes()), None, "{path}");
    }
    assert_eq!(Init::of(std::process::id().cast_signed()), None);
}

#[test]
fn busybox_is_an_init_system_where_it_is_called_so() {
    for line in [&b"init\0"[..], b"/sbin/init\0", b"/bin/busybox\0init\0", b"-init\0", b"linuxrc\0x\0"] {
        assert!(is_init(line), "{}", String::from_utf8_lossy(line));
    }
    for line in [&b""[..], b"/bin/sh\0-c\0init\0", b"busybox\0", b"/bin/busybox.static\0sh\0/sbin/init\0", b"sleep\0"] {
        assert!(!is_init(line), "{}", String::from_utf8_lossy(line));
    }
}

#[test]
fn each_is_asked_in_its_way() {
    let minimum = sys::signal::real_time_minimum();
    let none = 0;
    let ways = [
        (Init::Systemd, Means::Signal(minimum + 4), Means::Signal(2)),
        (Init::SysV, Means::Runlevel(b'0'), Means::Runlevel(b'6')),
        (Init::OpenRc, Means::Signal(15), Means::Signal(2)),
        (Init::BusyBox, Means::Signal(12), Means::Signal(15)),
        (Init::Runit, Means::StopFiles(Wish::PowerOff), Means::StopFiles(Wish::Reboot)),
        (Init::S6, Means::Signal(15), Means::Signal(2)),
    ];
    for (init, off, reboot) in ways {
        assert_eq!(init.means(Wish::PowerOff, none), off, "{init:?}");
        assert_eq!(init.means(Wish::Reboot, none), reboot, "{init:?}");
    }
}

#[test]
fn signals_that_are_caught_or_blocked_are_taken() {
    let status = "Name:\tx\nSigPnd:\tffffffffffffffff\nSigBlk:\t0000000000004000\nSigIgn:\tffffffffffffffff\nSigCgt:\t8000000000000001\n";
    let taken_ones: Vec<i32> = (-1..70).filter(|signal| taken(status, *signal)).collect();
    assert_eq!(taken_ones, [1, 15, 64]);
    assert!(!taken("", 15));
    let us = std::process::id().cast_signed();
    assert!(takes(us, 9));
    assert!(!takes(us, 10));
}

#[test]
fn a_runlevel_goes_through_the_pipe_inside() {
    let tree = tempfile::tempdir().unwrap();
    let root: OwnedFd = std::fs::File::open(tree.path()).unwrap().into();
    std::fs::create_dir_all(tree.path().join("run")).unwrap();
    let path = tree.path().join("run/initctl");
    let ask = || request_runlevel(&root, b'0');
    assert_eq!(ask(), Err(Errno::AGAIN), "it is not there yet");
    rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    assert_eq!(ask(), Err(Errno::AGAIN), "nobody reads it yet");
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let mut reader = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(&path).unwrap();
    ask().unwrap();
    let mut request = [0; REQUEST + 1];
    assert_eq!(reader.read(&mut request).unwrap(), REQUEST);
    assert_eq!(request[..4], 0x0309_1969_u32.to_ne_bytes());
    assert_eq!(request[8], b'0');
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "").unwrap();
    assert_eq!(ask(), Err(Errno::NOTSUP), "no pipe");
}

#[test]
fn stop_files_stay_inside_the_tree() {
    let outside = tempfile::tempdir().unwrap();
    let tree = tempfile::tempdir().unwrap();
    let root: OwnedFd = std::fs::File::open(tree.path()).unwrap().into();
    std::fs::create_dir_all(tree.path().join("etc/runit")).unwrap();
    std::fs::create_dir_all(tree.path().join("run")).unwrap();
    symlink("/run/stopit", tree.path().join("etc/runit/stopit")).unwrap();
    mark(&root, "etc/runit/stopit", true).unwrap();
    let mode = |path: &str| tree.path().join(path).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("run/stopit"), 0o100);
    mark(&root, "etc/runit/reboot", false).unwrap();
    assert_eq!(mode("etc/runit/reboot"), 0);
    // A link to the host leads to nowhere inside.
    std::fs::remove_file(tree.path().join("etc/runit/reboot")).unwrap();
    symlink(outside.path().join("file"), tree.path().join("etc/runit/reboot")).unwrap();
    assert_eq!(mark(&root, "etc/runit/reboot", true), Err(Errno::NOENT));
    assert_eq!(outside.path().read_dir().unwrap().count(), 0);
}

#[test]
fn who_cannot_hear_is_not_asked() {
    let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
    let pid = child.id().cast_signed();
    let process =
        rustix::process::pidfd_open(rustix::process::Pid::from_child(&child), rustix::process::PidfdFlags::empty())
            .unwrap();
    // The C library of the Rust test may leave nothing caught: as long as it is the default, it is not sent.
    assert_eq!(ask(Means::Signal(12), pid, process.as_fd()), Err(Errno::AGAIN));
    assert!(child.try_wait().unwrap().is_none());
    sys::signal::send(process.as_fd(), 9).unwrap();
    child.wait().unwrap();
}
