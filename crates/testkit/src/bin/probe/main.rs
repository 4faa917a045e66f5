//! The static program that tests run inside of containers. Its first argument says what it does; each fact is one line
//! `name=value`.
//!
//! Compiled by the build script without any crate, so that it is static and runs in any tree.

mod escape;
mod kernel;
mod login;
mod spy;
mod stall;
mod store;
mod sync;

use std::fs;
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    arguments.next();
    let what = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.map(|argument| argument.to_string_lossy().into_owned()).collect();
    match what.to_string_lossy().as_ref() {
        // Without arguments it is an init system that has nothing to do.
        "self" | "" => about_self(),
        "descriptors" => descriptors(),
        "inject" => inject(),
        "notify" => notify(&rest),
        "hear" => hear(&rest),
        "sockets" => sockets(&rest),
        "store" => store(&rest),
        "restart" => restart(),
        "answer" => answer(),
        "call" => call(&rest),
        "yield" => give_way(&rest),
        "yield32" => give_way32(),
        "sync" => sync::run(),
        "stall" => stall::run(),
        "outlive" => outlive(),
        "stay" => {
            say("stay=Ok");
            stay()
        }
        "spy" => spy::run(&rest),
        "nothing" => {}
        // KEYCTL_GET_KEYRING_ID of that of the session, which is not made.
        "keyring" => say(&format!("keyring={:?}", kernel::call(kernel::number::KEYCTL, [0, usize::MAX - 2, 0, 0, 0]))),
        "login" => login::enter(&rest),
        "key" => login::read(&rest),
        "pause" => stay(),
        "escape" => escape::run(&escape::Host::from_arguments(&rest)),
        other => {
            say(&format!("error=there is no probe {other:?}"));
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

/// Sees to it that the kernel does not end this process when its parent ends (`PR_SET_PDEATHSIG`), and stays.
fn outlive() {
    let freed = kernel::attempt(kernel::number::PRCTL, [1, 0, 0, 0, 0]);
    say(&format!("outlive={freed:?}"));
    stay()
}

fn stay() -> ! {
    loop {
        std::thread::park();
    }
}

/// Writes a line. Nobody is left to tell if that fails.
fn say(line: &str) {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Arguments, environment, process id, ids, directory, and what the kernel's status file says of privileges.
fn about_self() {
    for (number, argument) in std::env::args().enumerate() {
        say(&format!("argument {number}={argument}"));
    }
    for (name, value) in std::env::vars() {
        say(&format!("variable {name}={value}"));
    }
    say(&format!("pid={}", std::process::id()));
    if let Ok(directory) = std::env::current_dir() {
        say(&format!("directory={}", directory.display()));
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    for (name, value) in status.lines().filter_map(|line| line.split_once(':')) {
        if [
            "Uid",
            "Gid",
            "Groups",
            "CapInh",
            "CapPrm",
            "CapEff",
            "CapBnd",
            "CapAmb",
            "NoNewPrivs",
            "Seccomp",
            "SigBlk",
            "SigIgn",
        ]
        .contains(&name)
        {
            let words: Vec<&str> = value.split_whitespace().collect();
            say(&format!("{name}={}", words.join(" ")));
        }
    }
}

/// What is open: number and target of each descriptor.
fn descriptors() {
    for entry in fs::read_dir("/proc/self/fd").into_iter().flatten().flatten() {
        if let Ok(target) = fs::read_link(entry.path()) {
            // The one that lists the directory itself.
            if !target.ends_with("fd") {
                say(&format!("descriptor {}={}", entry.file_name().to_string_lossy(), target.display()));
            }
        }
    }
}

/// Says each word to whoever listens at `$NOTIFY_SOCKET`, waiting for a moment before each.
fn notify(words: &[String]) {
    let address = std::env::var_os("NOTIFY_SOCKET").unwrap_or_default();
    for word in words {
        std::thread::sleep(std::time::Duration::from_millis(300));
        let sent = std::os::unix::net::UnixDatagram::unbound()
            .and_then(|socket| socket.send_to(word.as_bytes(), std::path::Path::new(&address)));
        say(&format!("notify {word}={sent:?}"));
    }
}

/// Listens at a socket, as a service manager does, and says what it hears, until that is the end or nothing for a minute.
fn hear(words: &[String]) {
    let socket = std::os::unix::net::UnixDatagram::bind(words.first().map_or("", String::as_str));
    let heard = socket.and_then(|socket| {
        socket.set_read_timeout(Some(std::time::Duration::from_secs(60)))?;
        let mut message = [0; 4096];
        loop {
            let length = socket.recv(&mut message)?;
            let text = String::from_utf8_lossy(message.get(..length).unwrap_or_default());
            say(&text);
            if text.contains("STOPPING=1") {
                return Ok(());
            }
        }
    });
    say(&format!("hear={heard:?}"));
}

/// Says what the first word says, `/` standing for the end of a line, and passes the descriptors whose numbers follow.
fn store(words: &[String]) {
    let descriptors: Vec<i32> = words.iter().skip(1).filter_map(|word| word.parse().ok()).collect();
    let message = words.first().map(|word| word.replace('/', "\n")).unwrap_or_default();
    say(&format!("store={:?}", store::send(&message, &descriptors)));
}

/// Answers one caller at the listening socket that is descriptor 3, see sd_listen_fds(3).
fn answer() {
    use std::os::fd::FromRawFd;
    // SAFETY: whoever starts this probe passes a socket as this number, and nothing else here knows of it.
    let listener = unsafe { std::os::unix::net::UnixListener::from_raw_fd(3) };
    let answered = listener.accept().and_then(|(mut stream, _)| writeln!(stream, "answered by {}", std::process::id()));
    say(&format!("answer={answered:?}"));
}

/// Calls the socket at a path, and says what it answers.
fn call(words: &[String]) {
    let mut text = String::new();
    let called = std::os::unix::net::UnixStream::connect(words.first().map_or("", String::as_str))
        .and_then(|mut stream| std::io::Read::read_to_string(&mut stream, &mut text));
    say(&format!("call={:?} {}", called.is_ok(), text.trim()));
}

/// Gives way to others, by a call that has no arguments: only a filter looks at those given here.
fn give_way(words: &[String]) {
    let mut arguments = [0; 5];
    for (argument, word) in arguments.iter_mut().zip(words) {
        let digits = word.strip_prefix("0x");
        let value = digits.map_or_else(|| word.parse::<u64>(), |digits| u64::from_str_radix(digits, 16));
        *argument = value.unwrap_or_default() as usize;
    }
    say(&format!("yield={:?}", kernel::attempt(kernel::number::SCHED_YIELD, arguments)));
}

/// The same in the way of 32-bit programs.
fn give_way32() {
    #[cfg(target_arch = "x86_64")]
    say(&format!("yield32={:?}", kernel::call_i386(158, 0, 0)));
}

/// Asks for a restart of the system: reboot(2).
fn restart() {
    let result = kernel::attempt(kernel::number::REBOOT, [0xfee1_dead, 672_274_793, 0x0123_4567, 0, 0]);
    say(&format!("restart={result:?}"));
}

/// Makes a socket of each of these families, by number; then a pair of sockets, and one more in the way of 32-bit programs.
fn sockets(families: &[String]) {
    for family in families {
        let number = family.parse().unwrap_or(-1);
        // Where the kernel lacks the family, that is the same error as the filter's.
        let kind = if number == 17 || number == 16 { 3 } else { 2 };
        say(&format!("socket {family}={:?}", kernel::open_socket(number, kind, 0).map(drop)));
    }
    let pair = std::os::unix::net::UnixStream::pair().map(drop).map_err(|error| error.raw_os_error().unwrap_or(5));
    say(&format!("pair={pair:?}"));
    #[cfg(target_arch = "x86_64")]
    {
        // A null pointer to the arguments: the kernel says EFAULT, the filter something else.
        say(&format!("socketcall socket={:?}", kernel::call_i386(102, 1, 0)));
        say(&format!("socketcall socketpair={:?}", kernel::call_i386(102, 8, 0)));
    }
}

/// Types a letter on the terminal that is standard input: TIOCSTI.
fn inject() {
    let letter = b'X';
    let result = kernel::control(0, 0x5412, &raw const letter as usize);
    say(&format!("inject={result:?}"));
}
