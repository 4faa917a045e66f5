//! Signals: masks, [`signalfd(2)`](https://man7.org/linux/man-pages/man2/signalfd.2.html), dispositions, and sending through a
//! process file descriptor.
//!
//! Signals are plain numbers here, because the real-time ones (such as `SIGRTMIN+3`) have no names that a type could hold.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::{Errno, Result};

use crate::clone::last_errno;

/// A set of signals, see [`sigsetops(3)`](https://man7.org/linux/man-pages/man3/sigsetops.3.html).
#[derive(Clone, Copy)]
pub struct SignalSet(libc::sigset_t);

impl SignalSet {
    /// No signal at all.
    #[must_use]
    pub fn empty() -> Self {
        let mut set = MaybeUninit::uninit();
        // SAFETY: sigemptyset() initialises the whole set it is given.
        Self(unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            set.assume_init()
        })
    }

    /// Every signal.
    #[must_use]
    pub fn all() -> Self {
        let mut set = MaybeUninit::uninit();
        // SAFETY: sigfillset() initialises the whole set it is given.
        Self(unsafe {
            libc::sigfillset(set.as_mut_ptr());
            set.assume_init()
        })
    }

    /// Adds a signal; a number that is no signal changes nothing.
    pub fn insert(&mut self, signal: i32) {
        // SAFETY: the set is initialised; a bad number is refused with EINVAL.
        unsafe { libc::sigaddset(&raw mut self.0, signal) };
    }

    /// Whether the signal is in the set.
    #[must_use]
    pub fn contains(&self, signal: i32) -> bool {
        // SAFETY: the set is initialised; a bad number is refused with EINVAL.
        unsafe { libc::sigismember(&raw const self.0, signal) == 1 }
    }
}

impl FromIterator<i32> for SignalSet {
    fn from_iter<T: IntoIterator<Item = i32>>(signals: T) -> Self {
        let mut set = Self::empty();
        signals.into_iter().for_each(|signal| set.insert(signal));
        set
    }
}

impl std::fmt::Debug for SignalSet {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_set().entries((1..=last_signal()).filter(|&signal| self.contains(signal))).finish()
    }
}

/// The number of `rt_sigtimedwait(2)`, as `/proc/PID/syscall` shows a process that waits for signals in it.
pub const CALL_THAT_WAITS: std::ffi::c_long = libc::SYS_rt_sigtimedwait;

/// `SIGRTMIN` as the GNU C library counts: the first real-time signal that programs may use. musl keeps one more for itself, but
/// what the numbers mean is between us and the programs of machines, whichever library this one is linked with.
#[must_use]
pub const fn real_time_minimum() -> i32 {
    34
}

/// `SIGRTMAX`: the highest signal number.
#[must_use]
pub fn last_signal() -> i32 {
    libc::SIGRTMAX()
}

/// Adds `signals` to those that the calling thread blocks and returns what it blocked before.
///
/// See [`pthread_sigmask(3)`](https://man7.org/linux/man-pages/man3/pthread_sigmask.3.html).
///
/// # Errors
/// None is documented for valid arguments.
pub fn block(signals: &SignalSet) -> Result<SignalSet> {
    change_mask(libc::SIG_BLOCK, signals)
}

/// Makes `signals` those that the calling thread blocks and returns what it blocked before.
///
/// # Errors
/// None is documented for valid arguments.
pub fn set_mask(signals: &SignalSet) -> Result<SignalSet> {
    change_mask(libc::SIG_SETMASK, signals)
}

/// Sends a blocked signal to the calling thread and lets it through: returns when its disposition has taken effect, for
/// a job control signal when the process was continued.
///
/// # Errors
/// `EINVAL` for a number that is no signal.
pub fn take_effect(signal: i32) -> Result<()> {
    // SAFETY: the signal goes to the calling thread; a bad number is refused.
    match unsafe { libc::pthread_kill(libc::pthread_self(), signal) } {
        0 => {}
        error => return Err(Errno::from_raw_os_error(error)),
    }
    let before = change_mask(libc::SIG_UNBLOCK, &[signal].into_iter().collect())?;
    set_mask(&before)?;
    Ok(())
}

fn change_mask(how: libc::c_int, signals: &SignalSet) -> Result<SignalSet> {
    let mut before = SignalSet::empty();
    // SAFETY: both sets are initialised and live through the call.
    match unsafe { libc::pthread_sigmask(how, &raw const signals.0, &raw mut before.0) } {
        0 => Ok(before),
        error => Err(Errno::from_raw_os_error(error)),
    }
}

/// Whether one of the signals that ask a program to end (`SIGINT`, `SIGTERM`, `SIGHUP`, `SIGQUIT`) waits, blocked, to be
/// taken, see [`sigpending(2)`](https://man7.org/linux/man-pages/man2/sigpending.2.html).
#[must_use]
pub fn end_is_pending() -> bool {
    let mut set = SignalSet::empty();
    // SAFETY: the kernel writes a set, to which this is the only reference.
    let result = unsafe { libc::sigpending(&raw mut set.0) };
    result == 0 && [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT].iter().any(|signal| set.contains(*signal))
}

/// Whether this process ignores the signal, as `nohup(1)` and shells without job control arrange it for their children.
#[must_use]
pub fn is_ignored(signal: i32) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: the action is written, not read; all zeroes are a valid one, should the call fail.
    unsafe {
        libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) == 0
            && action.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

/// Gives every signal its default disposition: what a payload expects to start with.
///
/// To be called in a new process before it executes a program; handlers and ignored signals of the parent end here.
pub fn reset_dispositions() {
    for signal in 1..=last_signal() {
        // SAFETY: SIG_DFL is no function of ours; SIGKILL, SIGSTOP and the C library's own signals are refused with EINVAL.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Has the kernel keep how children end until they are asked after, whoever started us: where their signal is ignored it forgets
/// them, see the notes of [`waitpid(2)`](https://man7.org/linux/man-pages/man2/waitpid.2.html). To be called before there is one.
pub fn keep_children() {
    // SAFETY: SIG_DFL is no function of ours, and for this signal it does nothing.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

/// A file descriptor that the given signals are read from; they must be blocked. Non-blocking and close-on-exec.
///
/// # Errors
/// Those of `signalfd(2)`: no descriptors or memory left.
pub fn open(signals: &SignalSet) -> Result<OwnedFd> {
    // SAFETY: the set is initialised; -1 asks for a new descriptor, which nobody else owns.
    unsafe {
        match libc::signalfd(-1, &raw const signals.0, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
            -1 => Err(last_errno()),
            fd => Ok(OwnedFd::from_raw_fd(fd)),
        }
    }
}

/// A signal that was read from a descriptor of [`open`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// Its number.
    pub signal: i32,
    /// The process that sent it, as this process's PID namespace numbers it; 0 where the kernel did.
    pub sender: u32,
}

/// Takes the next signal, if one is pending.
///
/// # Errors
/// Those of `read(2)`.
pub fn next(descriptor: BorrowedFd<'_>) -> Result<Option<Delivered>> {
    let mut info = MaybeUninit::<libc::signalfd_siginfo>::zeroed();
    let size = size_of::<libc::signalfd_siginfo>();
    // SAFETY: the buffer is as large as is said; the structure holds numbers alone, so any bytes are valid.
    let (read, info) = unsafe {
        let read = libc::read(descriptor.as_raw_fd(), info.as_mut_ptr().cast(), size);
        (read, info.assume_init())
    };
    match read {
        -1 => match last_errno() {
            Errno::AGAIN | Errno::INTR => Ok(None),
            error => Err(error),
        },
        read if read.unsigned_abs() == size => {
            Ok(Some(Delivered { signal: info.ssi_signo.cast_signed(), sender: info.ssi_pid }))
        }
        _ => Err(Errno::IO),
    }
}

/// A signal that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Its number.
    pub signal: i32,
    /// The process that sent it, where one did that is in our namespace of process ids.
    pub sender: Option<rustix::process::Pid>,
}

/// Waits for one of the signals, which must be blocked, and takes it. Interruptions are none.
///
/// # Errors
/// Those of [`sigwaitinfo(2)`](https://man7.org/linux/man-pages/man2/sigwaitinfo.2.html).
pub fn wait(signals: &SignalSet) -> Result<Received> {
    let mut details = MaybeUninit::<libc::siginfo_t>::zeroed();
    loop {
        // SAFETY: the set is initialised, and the details are ours to be written.
        match unsafe { libc::sigwaitinfo(&raw const signals.0, details.as_mut_ptr()) } {
            -1 => match last_errno() {
                Errno::INTR => {}
                error => return Err(error),
            },
            signal => {
                // SAFETY: the call has succeeded, and all bytes were initialised before.
                let details = unsafe { details.assume_init() };
                let sent = matches!(details.si_code, libc::SI_USER | libc::SI_TKILL | libc::SI_QUEUE);
                // SAFETY: what is sent by a process has its number, 0 where we do not see it.
                let sender = if sent { rustix::process::Pid::from_raw(unsafe { details.si_pid() }) } else { None };
                return Ok(Received { signal, sender });
            }
        }
    }
}

/// Sends a signal to a process by its number, for who is its parent and has not waited for it.
///
/// # Errors
/// Those of [`kill(2)`](https://man7.org/linux/man-pages/man2/kill.2.html).
pub fn send_to(process: rustix::process::Pid, signal: i32) -> Result<()> {
    // SAFETY: both arguments are numbers.
    match unsafe { libc::kill(process.as_raw_nonzero().get(), signal) } {
        -1 => Err(last_errno()),
        _ => Ok(()),
    }
}

/// Sends a signal to all processes that the caller may send it to, but itself: for the first process of a namespace of process
/// ids, which has nobody else in it.
///
/// # Errors
/// Those of [`kill(2)`](https://man7.org/linux/man-pages/man2/kill.2.html); `EPERM` for who is not such a process.
pub fn send_to_all(signal: i32) -> Result<()> {
    // What all processes of the host are is not reached by mistake.
    if rustix::process::getpid() != rustix::process::Pid::INIT {
        return Err(Errno::PERM);
    }
    // SAFETY: both arguments are numbers.
    match unsafe { libc::kill(-1, signal) } {
        -1 => Err(last_errno()),
        _ => Ok(()),
    }
}

/// Sends a signal to the process behind a process file descriptor.
///
/// See [`pidfd_send_signal(2)`](https://man7.org/linux/man-pages/man2/pidfd_send_signal.2.html).
///
/// # Errors
/// `ESRCH` where it has ended, `EPERM`, `EINVAL` for a number that is no signal.
pub fn send(process: BorrowedFd<'_>, signal: i32) -> Result<()> {
    let info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo makes the kernel fill in what kill(2) would; the other arguments are numbers.
    match unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), signal, info, 0) } {
        -1 => Err(last_errno()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};

    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    use super::*;

    #[test]
    #[cfg(target_env = "gnu")]
    fn real_time_signals_begin_where_the_gnu_library_says() {
        assert_eq!(real_time_minimum(), libc::SIGRTMIN());
    }

    #[test]
    fn a_set_holds_what_was_put_in() {
        let set: SignalSet = [libc::SIGTERM, real_time_minimum() + 3, 0, 4711].into_iter().collect();
        assert!(set.contains(libc::SIGTERM));
        assert!(set.contains(real_time_minimum() + 3));
        assert!(!set.contains(libc::SIGINT));
        assert_eq!(format!("{set:?}"), format!("{{15, {}}}", real_time_minimum() + 3));
    }

    #[test]
    fn a_blocked_signal_is_read_from_its_descriptor() {
        // Sent to this thread alone, so that other tests do not see it.
        let set: SignalSet = [libc::SIGUSR2].into_iter().collect();
        let before = block(&set).unwrap();
        assert!(!before.contains(libc::SIGUSR2));
        let descriptor = open(&set).unwrap();
        assert_eq!(next(descriptor.as_fd()).unwrap(), None);
        // SAFETY: the signal goes to the calling thread, which blocks it.
        unsafe { libc::pthread_kill(libc::pthread_self(), libc::SIGUSR2) };
        let delivered = next(descriptor.as_fd()).unwrap().unwrap();
        assert_eq!(delivered, Delivered { signal: libc::SIGUSR2, sender: std::process::id() });
        assert_eq!(next(descriptor.as_fd()).unwrap(), None);
        let ours = set_mask(&before).unwrap();
        assert!(ours.contains(libc::SIGUSR2));
    }

    #[test]
    fn a_signal_that_does_nothing_is_let_through_and_blocked_again() {
        let set: SignalSet = [libc::SIGURG].into_iter().collect();
        let before = block(&set).unwrap();
        let descriptor = open(&set).unwrap();
        take_effect(libc::SIGURG).unwrap();
        assert_eq!(next(descriptor.as_fd()).unwrap(), None);
        assert!(set_mask(&before).unwrap().contains(libc::SIGURG));
        assert_eq!(take_effect(4711), Err(Errno::INVAL));
    }

    #[test]
    fn a_real_time_signal_reaches_a_process() {
        let mut child = Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap();
        let pid = Pid::from_child(&child);
        let process = pidfd_open(pid, PidfdFlags::empty()).unwrap();
        send(process.as_fd(), real_time_minimum() + 3).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(real_time_minimum() + 3));
        assert_eq!(send(process.as_fd(), libc::SIGTERM), Err(Errno::SRCH));
    }

    #[test]
    fn ignored_signals_are_seen() {
        assert!(!is_ignored(libc::SIGWINCH));
        // The Rust runtime ignores it.
        assert!(is_ignored(libc::SIGPIPE));
        assert!(!is_ignored(4711));
    }
}
