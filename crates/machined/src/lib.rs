//! `systemd-machined`: a face on the registry of running machines and the images that are installed, for programs that know
//! systemd's interfaces. Nothing of redd needs it; it holds nothing that is not in the registry, so it can end at any time.
//!
//! | module | holds |
//! |---|---|
//! | [`service`] | what can be done; both faces call it |
//! | [`varlink`] | the Varlink face |
//! | [`dbus`] | the D-Bus face |
//! | `activation` | sockets that were passed, and what the service manager is told |

mod activation;
pub mod dbus;
mod log;
pub mod service;
pub mod varlink;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep};

use service::Service;
use varlink::Connections;

/// How long a service that is started when it is needed stays without a machine and without a caller.
const IDLE: Duration = Duration::from_secs(30);
/// How many threads may wait for something at once.
const THREADS: usize = 64;
/// For a command line that makes no sense.
const USAGE: u8 = 2;

const HELP: &str = "\
Usage: systemd-machined [--idle=SECONDS|never]

Keeps track of virtual machines and containers, for programs that ask systemd-machined:
over D-Bus as org.freedesktop.machine1 where there is a system bus, and over Varlink at
/run/systemd/machine and /run/systemd/userdb. Runs until it is told to end.

  --idle=SECONDS   End after this time without machines and callers; by default 30 seconds
                   where sockets were passed to it, and never elsewhere
  -h --help        Show this help
     --version     Show the version
";

/// Why the service ends.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Activation(#[from] activation::Error),
    #[error(transparent)]
    Service(#[from] service::Error),
    #[error("cannot serve on the system bus")]
    Bus(#[from] zbus::Error),
    #[error("the system bus has gone")]
    BusGone,
    #[error("cannot {what}")]
    System { what: &'static str, source: std::io::Error },
}

fn failed(what: &'static str) -> impl Fn(std::io::Error) -> Error {
    move |source| Error::System { what, source }
}

/// When the service ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Idle {
    /// Where it is started again when it is needed.
    ByActivation,
    Never,
    After(Duration),
}

/// Runs the service with these arguments, those behind the program's name.
pub fn main(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let first = arguments.next();
    if first.as_ref().is_some_and(|first| first == service::errand::OPTION) {
        return if service::errand::main(arguments.next()) { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let arguments = first.into_iter().chain(arguments);
    let idle = match read(arguments) {
        Ok(Wanted::Run(idle)) => idle,
        Ok(Wanted::Print(text)) => {
            // Nobody is left to tell if this fails.
            let _ = std::io::stdout().write_all(text.as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(reason) => {
            let _ = writeln!(std::io::stderr(), "systemd-machined: {}\nhint: see --help", spec::printable(&reason));
            return ExitCode::from(USAGE);
        }
    };
    match start(idle) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error(&error);
            ExitCode::FAILURE
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Run(Idle),
    Print(String),
}

fn read(arguments: impl Iterator<Item = OsString>) -> Result<Wanted, String> {
    let mut idle = Idle::ByActivation;
    let mut arguments = arguments.map(|argument| argument.to_string_lossy().into_owned());
    while let Some(argument) = arguments.next() {
        let value = match argument.as_str() {
            "-h" | "--help" => return Ok(Wanted::Print(HELP.to_owned())),
            "--version" => return Ok(Wanted::Print(format!("redd {}\n", env!("CARGO_PKG_VERSION")))),
            "--idle" => arguments.next().ok_or("--idle needs a time in seconds, or never")?,
            other => match other.strip_prefix("--idle=") {
                Some(value) => value.to_owned(),
                None => return Err(format!("{other} is no option, and there are no arguments")),
            },
        };
        idle = match value.as_str() {
            "never" => Idle::Never,
            text => match text.parse() {
                Ok(seconds) => Idle::After(Duration::from_secs(seconds)),
                Err(_) => return Err(format!("--idle={text} is neither a number of seconds nor never")),
            },
        };
    }
    Ok(Wanted::Run(idle))
}

fn start(idle: Idle) -> Result<(), Error> {
    // First of all: these descriptors have to be ours before anything else is opened.
    let passed = activation::passed()?;
    let idle = match idle {
        Idle::ByActivation if passed.is_empty() => None,
        Idle::ByActivation => Some(IDLE),
        Idle::Never => None,
        Idle::After(time) => Some(time),
    };
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(THREADS).build();
    let runtime = runtime.map_err(failed("start"))?;
    let done = runtime.block_on(run(passed, idle));
    // Whoever still waits for polkit or a supervisor is not waited for.
    runtime.shutdown_background();
    done
}

async fn run(passed: Vec<activation::Socket>, idle: Option<Duration>) -> Result<(), Error> {
    let mut terminate = signal(SignalKind::terminate()).map_err(failed("take signals"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed("take signals"))?;
    let service = Arc::new(Service::system());
    let connections = Connections::default();
    let serve = |sockets: Vec<activation::Socket>| -> Result<(), Error> {
        for (listener, face) in sockets {
            let listener = UnixListener::from_std(listener).map_err(failed("serve a socket"))?;
            tokio::spawn(varlink::serve(listener, face, service.clone(), connections.clone()));
        }
        Ok(())
    };
    let missing = activation::Missing::beside(&passed);
    // A bus that starts asks who users are before it takes anybody, and its question comes here (nss-systemd(8)): it is not waited for.
    let (users, others) = passed.into_iter().partition(|(_, face)| *face == varlink::Face::Users);
    serve(users)?;
    // Where another one serves nothing is touched that is its.
    let bus = if dbus::is_there() { Some(dbus::connect().await?) } else { None };
    let made = missing.make()?;
    service.begin()?;
    serve(others)?;
    serve(made)?;
    service::watch::start(service.clone()).map_err(failed("watch the registry"))?;
    let calls = match &bus {
        Some(bus) => dbus::serve(bus, &service).await?,
        None => dbus::Calls::default(),
    };
    if let Some(time) = activation::watchdog() {
        tokio::spawn(async move {
            loop {
                activation::tell("WATCHDOG=1");
                sleep(time).await;
            }
        });
    }
    activation::tell("READY=1\nSTATUS=Serving machines and images");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = until_idle(&service, (&connections, &calls), idle) => {}
        // Whoever starts services starts this one again, and a new bus with it.
        () = until_closed(bus.as_ref()) => return Err(Error::BusGone),
    }
    activation::tell("STOPPING=1");
    Ok(())
}

/// Waits until the bus ends the connection.
async fn until_closed(bus: Option<&zbus::Connection>) {
    match bus {
        Some(bus) => bus.closed().await,
        None => std::future::pending().await,
    }
}

/// Waits until nobody has needed the service for this time.
async fn until_idle(service: &Service, (connections, calls): (&Connections, &dbus::Calls), idle: Option<Duration>) {
    let Some(time) = idle else { return std::future::pending().await };
    let mut since = Instant::now();
    // Often enough that nobody sees the difference, seldom enough that nothing is used up.
    let pause = (time / 10).max(Duration::from_millis(10));
    let mut begun = calls.begun();
    loop {
        sleep(pause).await;
        let called = calls.count() > 0 || calls.begun() != begun;
        begun = calls.begun();
        if service.count() > 0 || service.operations() > 0 || connections.count() > 0 || called {
            since = Instant::now();
        } else if since.elapsed() >= time {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line() {
        let read = |words: &[&str]| read(words.iter().map(OsString::from));
        assert_eq!(read(&[]), Ok(Wanted::Run(Idle::ByActivation)));
        assert_eq!(read(&["--idle=5"]), Ok(Wanted::Run(Idle::After(Duration::from_secs(5)))));
        assert_eq!(read(&["--idle", "never"]), Ok(Wanted::Run(Idle::Never)));
        assert!(matches!(read(&["--help"]), Ok(Wanted::Print(_))));
        for wrong in [&["x"][..], &["--idle"], &["--idle=soon"], &["--idle=-1"], &["-x"]] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }
}
