//! The loop: waits for whatever comes first, and does what it asks for.

mod steering;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use machine::group::Group;
use machine::init::{Aside, Wish};
use plan::{Supervision, Tint};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Signal, WaitId, WaitIdOptions, WaitIdStatus, waitid};
use spec::ConsoleMode;

use super::control::{self, Server};
use super::input::Input;
use super::notify;
use super::output::Output;
use super::shortcut::Command;
use super::signals::{Request, Signals};
use super::stop::{Action, Stop};
use super::upstream::{Upstream, Watchdog};
use super::{Outcome, Supervised, tint, title};
use steering::{Question, Unheard};

/// How many descriptors are waited for beside those of the control socket.
const OWN: usize = 7;
/// How many there are in all.
const SLOTS: usize = OWN + control::SLOTS;

/// How long the reader of a system's console may take nothing: it is for looking on, and must not hold a system up.
const PATIENCE_OF_SYSTEMS: Duration = Duration::from_secs(1);
/// The same for a single command, whose output somebody may well page through.
const PATIENCE_OF_COMMANDS: Duration = Duration::from_secs(10);

/// The console as long as the container has one.
struct Console<'a> {
    master: &'a OwnedFd,
    /// Held open, because a master cannot be read as long as nobody has the other end open, and an init system opens
    /// and closes it all the time.
    peer: OwnedFd,
    input: Option<Input>,
    output: Output,
    titled: bool,
    /// The sequence that tints our terminal, once that has said that it can.
    tint: Option<String>,
    /// The background that was asked for, in place of the tint.
    background: Option<[u8; 3]>,
    /// Somebody sees its output.
    shown: bool,
}

impl<'a> Console<'a> {
    fn new(plan: &Supervision, master: &'a OwnedFd) -> rustix::io::Result<Self> {
        // Nobody else has this description any more.
        let flags = rustix::fs::fcntl_getfl(master)?;
        rustix::fs::fcntl_setfl(master, flags | OFlags::NONBLOCK)?;
        let stdout = rustix::stdio::stdout();
        let patience = if plan.boot { PATIENCE_OF_SYSTEMS } else { PATIENCE_OF_COMMANDS };
        let mut input = match plan.console {
            ConsoleMode::Interactive => Some(Input::new(rustix::stdio::stdin())?),
            _ => None,
        };
        let mut output = Output::new((plan.console != ConsoleMode::Passive).then_some(stdout), patience)?;
        if plan.boot {
            output.listen();
        }
        if let Some(text) = &plan.title {
            output.insert(&title::set(text));
        }
        if plan.tint.is_some() && input.as_mut().is_some_and(|input| input.expect_answer(Instant::now())) {
            output.insert(tint::ASK);
        }
        let peer = sys::pty::peer(master.as_fd())?;
        let background = match plan.tint {
            Some(Tint::Colour(colour)) => Some(colour),
            Some(Tint::Touch) | None => None,
        };
        let shown = plan.console != ConsoleMode::Passive;
        let console = Self { titled: plan.title.is_some(), tint: None, background, shown, master, peer, input, output };
        // It may have changed since the console was made.
        if plan.console_size.is_none() {
            console.follow_window_size();
        }
        Ok(console)
    }

    fn follow_window_size(&self) {
        if self.shown {
            // Where our output is no terminal there is no size to follow.
            let _ = sys::terminal::copy_window_size(rustix::stdio::stdout(), self.master.as_fd());
        }
    }

    fn resize(&self, columns: u16, rows: u16) -> rustix::io::Result<()> {
        sys::terminal::set_window_size(self.master.as_fd(), rows, columns)
    }

    /// Waits a moment for what the terminal was asked: whoever reads it next would take the answer for keys.
    fn await_answer(&mut self) -> rustix::io::Result<()> {
        const PATIENCE: Duration = Duration::from_millis(200);
        let end = Instant::now() + PATIENCE;
        while let Some(input) = self.input.as_mut().filter(|input| input.expects_answer()) {
            let now = Instant::now();
            self.output.flush_early();
            let Some(source) = input.waits_for().filter(|_| now < end) else { break };
            let mut fds = [PollFd::from_borrowed_fd(source, PollFlags::IN)];
            if rustix::io::retry_on_intr(|| poll(&mut fds, until(Some(end), now).as_ref()))? > 0 {
                // Keys come too late for the container.
                let _ = input.fill(now);
            }
        }
        Ok(())
    }

    fn set_tint(&mut self, tint: String) {
        self.output.insert(&tint);
        self.tint = Some(tint);
    }

    /// Reads and writes what is left after the container's end. Tells whether its init system has run out of files.
    fn finish(mut self) -> rustix::io::Result<bool> {
        self.await_answer()?;
        let Self { master, peer, input, mut output, titled, tint, .. } = self;
        // The terminal is the caller's again.
        drop(input);
        // What is not of the container may still have the console open. It is not waited for.
        drop(peer);
        let mut more = true;
        let mut last = String::new();
        if tint.is_some() {
            last.push_str(tint::RESTORE);
        }
        if titled {
            last.push_str(title::RESTORE);
        }
        loop {
            let now = Instant::now();
            output.expire(now);
            while more && output.has_room() {
                more = output.fill(master.as_fd(), now)?;
            }
            if !more && output.has_room() {
                output.insert(&std::mem::take(&mut last));
            }
            output.flush_early();
            if output.is_done() && !more {
                return Ok(output.said_shortage());
            }
            output.is_waited_for(now);
            let limit = until(output.deadline(), now);
            if let Some(waits) = output.waits_for() {
                let mut fds = [PollFd::from_borrowed_fd(waits, PollFlags::OUT)];
                if rustix::io::retry_on_intr(|| poll(&mut fds, limit.as_ref()))? > 0 {
                    output.flush();
                }
            }
        }
    }
}

struct Loop<'a> {
    plan: &'a Supervision,
    supervised: &'a Supervised<'a>,
    upstream: Option<&'a Upstream>,
    watchdog: Option<Watchdog>,
    stop: Stop,
    console: Option<Console<'a>>,
    control: Option<&'a mut Server>,
    /// All processes of the container, where it is listed.
    group: Option<Group>,
    started: Instant,
    /// How its first process is looked at and asked.
    first: Aside<'a>,
    /// What the container was asked for and has not heard yet.
    unheard: Option<Unheard>,
    /// A signal for this process, once whoever has asked for it has an answer.
    own_signal: Option<i32>,
}

/// Watches over a container until it ends.
///
/// # Errors
/// Those of the system calls. The container is killed and reaped before.
pub fn run(
    plan: &Supervision,
    supervised: &Supervised<'_>,
    signals: &Signals,
    upstream: Option<&Upstream>,
    control: Option<&mut Server>,
) -> rustix::io::Result<Outcome> {
    let watched = watch(plan, supervised, signals, upstream, control);
    if watched.is_err() {
        // Nobody would watch over it.
        let _ = rustix::process::pidfd_send_signal(supervised.pidfd, Signal::KILL);
        let _ = waitid(WaitId::PidFd(supervised.pidfd), WaitIdOptions::EXITED);
    }
    watched
}

fn watch(
    plan: &Supervision,
    supervised: &Supervised<'_>,
    signals: &Signals,
    upstream: Option<&Upstream>,
    control: Option<&mut Server>,
) -> rustix::io::Result<Outcome> {
    let console = supervised.master.as_ref().map(|master| Console::new(plan, master)).transpose()?;
    let watchdog = plan.watchdog.map(|microseconds| Watchdog::new(microseconds, Instant::now()));
    let stop = Stop::new(plan.kill_signal);
    let mut this = Loop {
        plan,
        supervised,
        upstream,
        watchdog,
        stop,
        console,
        group: control.as_deref().and_then(|control| steering::open_group(control.state()).ok()),
        control,
        started: Instant::now(),
        first: Aside::new(supervised.pid, supervised.pidfd),
        unheard: None,
        own_signal: None,
    };
    if let Some(upstream) = upstream {
        let ready = if plan.notify_ready { "" } else { "READY=1\n" };
        upstream.tell(&format!("{ready}STATUS=Container started.\nX_NSPAWN_LEADER_PID={}\n", supervised.pid));
    }
    let watched = loop {
        match this.wait(signals) {
            Ok(false) => {}
            other => break other,
        }
    };
    let Loop { console, stop, first, .. } = this;
    // Whatever it was, our terminal gets back what it had.
    let finished = console.map_or(Ok(false), Console::finish);
    watched?;
    supervised.said_shortage.set(finished?);
    let ended = reap(supervised.pidfd)?;
    first.finish();
    Ok(match ended {
        // Whoever asked for the end does not want a new beginning.
        Outcome::Rebooted if stop.is_requested() => Outcome::PoweredOff,
        Outcome::Killed(signal) if signal == Signal::KILL.as_raw() && stop.died_as_asked() => Outcome::PoweredOff,
        other => other,
    })
}

impl Loop<'_> {
    /// Waits once, and acts. True when the container has ended.
    fn wait(&mut self, signals: &Signals) -> rustix::io::Result<bool> {
        let now = Instant::now();
        let ready = self.poll(signals, now)?;
        let [child, signal, notify, console, input, output, upstream] = std::array::from_fn(|slot| ready[slot]);
        let now = Instant::now();
        if let (true, Some(upstream)) = (upstream, self.upstream) {
            upstream.flush();
        }
        if let (Some(watchdog), Some(upstream)) = (&mut self.watchdog, self.upstream) {
            watchdog.expire(now, upstream);
        }
        if notify {
            notify::receive(
                self.supervised.notify.as_fd(),
                self.supervised.pid,
                self.plan.notify_ready,
                self.upstream,
            )?;
        }
        if signal {
            self.signalled(signals, now)?;
        }
        self.carry(now, [console, input, output])?;
        self.steered(&ready[OWN..], now)?;
        let action = self.stop.expire(now);
        self.act(action, now)?;
        Ok(child)
    }

    /// Serves the control socket, and asks again for what was not heard.
    fn steered(&mut self, ready: &[bool], now: Instant) -> rustix::io::Result<()> {
        if let Some(control) = self.control.take() {
            control.turn(ready, now, &mut |state, call| self.call(state, call, now));
            self.control = Some(control);
        }
        self.ask_again(now)?;
        match self.own_signal.take() {
            Some(signal) => sys::signal::send_to(rustix::process::getpid(), signal),
            None => Ok(()),
        }
    }

    fn poll(&self, signals: &Signals, now: Instant) -> rustix::io::Result<[bool; SLOTS]> {
        let nothing = || PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::empty());
        let mut fds: [PollFd<'_>; SLOTS] = std::array::from_fn(|_| nothing());
        fds[0] = PollFd::from_borrowed_fd(self.supervised.pidfd, PollFlags::IN);
        fds[1] = PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN);
        fds[2] = PollFd::from_borrowed_fd(self.supervised.notify.as_fd(), PollFlags::IN);
        if let Some(socket) = self.upstream.and_then(Upstream::waits_for) {
            // Nothing more is taken from the container until our own manager has heard the last.
            fds[2] = nothing();
            fds[6] = PollFd::from_borrowed_fd(socket, PollFlags::OUT);
        }
        let watchdog = self.watchdog.as_ref().filter(|_| self.upstream.is_some()).map(Watchdog::deadline);
        let unheard = self.unheard.as_ref().map(Unheard::deadline);
        let mut deadlines = [self.stop.deadline(), None, None, watchdog, unheard, None];
        if let Some(control) = self.control.as_deref() {
            control.watch(&mut fds[OWN..]);
            deadlines[5] = control.deadline();
        }
        if let Some(console) = &self.console {
            let mut events = PollFlags::empty();
            events.set(PollFlags::IN, console.output.has_room());
            events.set(PollFlags::OUT, console.input.as_ref().is_some_and(Input::is_pending));
            fds[3] = PollFd::from_borrowed_fd(console.master.as_fd(), events);
            if let Some(fd) = console.input.as_ref().and_then(Input::waits_for) {
                fds[4] = PollFd::from_borrowed_fd(fd, PollFlags::IN);
            }
            if let Some(fd) = console.output.waits_for() {
                fds[5] = PollFd::from_borrowed_fd(fd, PollFlags::OUT);
            }
            deadlines[1] = console.input.as_ref().and_then(Input::deadline);
            deadlines[2] = console.output.deadline();
        }
        let limit = until(deadlines.into_iter().flatten().min(), now);
        rustix::io::retry_on_intr(|| poll(&mut fds, limit.as_ref()))?;
        Ok(fds.map(|fd| !fd.revents().is_empty()))
    }

    /// Carries bytes both ways, as far as something is ready.
    fn carry(&mut self, now: Instant, [console, input, output]: [bool; 3]) -> rustix::io::Result<()> {
        let Some(this) = &mut self.console else { return Ok(()) };
        this.output.expire(now);
        if console && this.output.has_room() {
            this.output.fill(this.master.as_fd(), now)?;
        }
        if output {
            this.output.flush();
        } else if console {
            this.output.flush_early();
        }
        let mut command = None;
        if let Some(keys) = &mut this.input {
            keys.expire(now);
            if input {
                command = keys.fill(now);
            }
            if keys.is_pending() {
                keys.flush(this.master.as_fd())?;
            }
        }
        if let Some(touch) = this.input.as_mut().and_then(Input::take_tint) {
            let tint = this.background.map_or(touch, tint::exactly);
            this.set_tint(tint);
        }
        let action = match command {
            None => return Ok(()),
            Some(Command::Kill) => self.stop.kill(),
            Some(Command::PowerOff) => self.stop.request(now),
            Some(Command::Reboot) => return self.ask(Question::Wish(Wish::Reboot), now),
        };
        self.act(action, now)
    }

    fn signalled(&mut self, signals: &Signals, now: Instant) -> rustix::io::Result<()> {
        while let Some(request) = signals.next()? {
            match request {
                Request::StopOrEnded if has_ended(self.supervised.pidfd)? => {}
                Request::Child => self.first.reap(),
                Request::WindowSize => self.console.iter().for_each(Console::follow_window_size),
                Request::Stop | Request::StopOrEnded => {
                    let action = self.stop.request(now);
                    self.tell_stopping();
                    self.act(action, now)?;
                }
                Request::Suspend => self.suspend()?,
                Request::Continue => self.resume(),
            }
        }
        Ok(())
    }

    /// Stops as a job of the shell's, with the terminal as we found it. Goes on here when we are continued.
    fn suspend(&mut self) -> rustix::io::Result<()> {
        if let Some(input) = self.console.as_mut().and_then(|console| console.input.as_mut()) {
            input.suspend();
        }
        if let Some(console) = self.console.as_mut().filter(|console| console.tint.is_some()) {
            console.output.insert(tint::RESTORE);
            console.output.flush_early();
        }
        // By the signal itself: the kernel ignores it where no shell is left that could continue us.
        sys::signal::take_effect(Signal::TSTP.as_raw())?;
        self.resume();
        Ok(())
    }

    fn resume(&mut self) {
        if let Some(console) = &mut self.console {
            if let Some(input) = &mut console.input {
                input.resume();
            }
            if let Some(tint) = console.tint.take() {
                console.set_tint(tint);
            }
            console.follow_window_size();
        }
    }

    fn tell_stopping(&self) {
        if let Some(upstream) = self.upstream {
            upstream.tell("STOPPING=1\nSTATUS=Stopping the container.\n");
        }
    }

    fn act(&mut self, action: Action, now: Instant) -> rustix::io::Result<()> {
        match action {
            Action::Nothing => return Ok(()),
            Action::Send(signal) => return self.ask(Question::Stop(signal), now),
            Action::TerminateAll => return self.terminate_all(now),
            Action::Kill => {}
        }
        self.unheard = None;
        match sys::signal::send(self.supervised.pidfd, Signal::KILL.as_raw()) {
            // It has ended just now.
            Err(Errno::SRCH) => Ok(()),
            other => other,
        }
    }
}

/// Whether the process has ended, reaped or not.
pub(crate) fn has_ended(pidfd: BorrowedFd<'_>) -> rustix::io::Result<bool> {
    let mut fds = [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
    Ok(rustix::io::retry_on_intr(|| poll(&mut fds, Some(&Timespec::default())))? > 0)
}

fn until(deadline: Option<Instant>, now: Instant) -> Option<Timespec> {
    let left = deadline?.saturating_duration_since(now);
    Some(Timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(left.subsec_nanos()),
    })
}

/// reboot(2) in a PID namespace shows as a death of its first process by SIGHUP or SIGINT (pid_namespaces(7)).
fn reap(child: BorrowedFd<'_>) -> rustix::io::Result<Outcome> {
    let status: Option<WaitIdStatus> =
        rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(child), WaitIdOptions::EXITED))?;
    let status = status.ok_or(Errno::CHILD)?;
    Ok(match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Outcome::Exited(code),
        (None, Some(signal)) if signal == Signal::HUP.as_raw() => Outcome::Rebooted,
        (None, Some(signal)) if signal == Signal::INT.as_raw() => Outcome::PoweredOff,
        (None, signal) => Outcome::Killed(signal.unwrap_or(Signal::KILL.as_raw())),
    })
}
