//! Terminals that are opened in machines and on the host: empty ones, with a login prompt, with a shell. What the words of callers
//! may be, and who may have it opened; how it is done is in `opening`.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};

use machine::join::Command;
use machine::state::{Class, State};

use super::access::action;
use super::inside::container_only;
use super::opening::{self, Opening};
use super::{Error, Service};

/// How many may be opened at once: each keeps a thread from others, and a machine may take its time.
const AT_ONCE: usize = 16;
/// How many are.
static OPENED: AtomicUsize = AtomicUsize::new(0);

/// What is wanted on a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Nothing.
    Terminal,
    /// A login prompt.
    Login,
    /// A shell or another program.
    Shell(Shell),
}

/// A program of a machine or of the host, as a caller describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shell(Command);

impl Shell {
    /// A program at a path with its arguments, the first of which is what it is called; the shell of the user (root where empty)
    /// where the path is empty. The environment is `NAME=VALUE`.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub fn new(user: &str, path: &str, arguments: &[String], environment: &[String]) -> Result<Self, Error> {
        let bad = |parameter, why: String| Error::Invalid { parameter, why };
        if user.chars().any(|letter| letter.is_control() || letter.is_whitespace() || "/:".contains(letter)) {
            return Err(bad("user", format!("{user:?} names no user")));
        }
        if !path.is_empty() && (!path.starts_with('/') || path.contains('\0')) {
            return Err(bad("path", format!("{path:?} is no absolute path")));
        }
        if path.is_empty() && !arguments.is_empty() {
            return Err(bad("args", "without a path there is nothing that they are for".to_owned()));
        }
        if arguments.iter().any(|argument| argument.contains('\0')) {
            return Err(bad("args", "no NUL characters".to_owned()));
        }
        let variable = |text: &String| {
            let (name, value) = text.split_once('=')?;
            let named = !name.is_empty() && !name.chars().any(char::is_control) && !value.contains('\0');
            named.then(|| (OsString::from(name), OsString::from(value)))
        };
        let environment = environment
            .iter()
            .map(|text| variable(text).ok_or_else(|| bad("environment", format!("{text:?} is not NAME=VALUE"))));
        let program = Some(path).filter(|path| !path.is_empty()).map(OsString::from);
        Ok(Self(Command {
            user: Some(user).filter(|user| !user.is_empty()).map(str::to_owned),
            arguments: program.into_iter().chain(arguments.iter().skip(1).map(OsString::from)).collect(),
            called: arguments.first().map(OsString::from),
            environment: environment.collect::<Result<_, _>>()?,
            directory: None,
            terminal: true,
        }))
    }

    /// The user, and the words of the command, as whoever is asked for permission reads them.
    fn described(&self) -> (&str, String) {
        let words: Vec<_> = self.0.arguments.iter().map(|word| word.to_string_lossy()).collect();
        (self.0.user.as_deref().unwrap_or("root"), words.join(" "))
    }
}

impl Wanted {
    /// Polkit's action for it.
    #[must_use]
    pub fn action(&self, state: &State) -> &'static str {
        match (self, state.class == Class::Host) {
            (Self::Terminal, false) => action::OPEN_PTY,
            (Self::Terminal, true) => action::HOST_OPEN_PTY,
            (Self::Login, false) => action::LOGIN,
            (Self::Login, true) => action::HOST_LOGIN,
            (Self::Shell(_), false) => action::SHELL,
            (Self::Shell(_), true) => action::HOST_SHELL,
        }
    }

    /// What polkit is told about it.
    #[must_use]
    pub fn details(&self, state: &State) -> Vec<(&'static str, String)> {
        let mut details = vec![("machine", state.name.clone())];
        match self {
            Self::Terminal => details.push(("verb", "pty".to_owned())),
            Self::Login => details.push(("verb", "login".to_owned())),
            Self::Shell(shell) => {
                let (user, program) = shell.described();
                details.extend([("verb", "shell".to_owned()), ("user", user.to_owned()), ("program", program)]);
            }
        }
        details
    }
}

impl Service {
    /// Opens a terminal: our end of it, and the path of the other end where that is.
    ///
    /// # Errors
    /// [`Error::NotSupported`] for virtual machines, [`Error::TooManyTerminals`], [`Error::NoUserNamed`], [`Error::Errand`].
    pub fn open(&self, state: &State, wanted: Wanted) -> Result<(OwnedFd, String), Error> {
        if state.class == Class::Vm {
            return Err(container_only(state, "opening a terminal"));
        }
        let before = OPENED.fetch_add(1, Ordering::Relaxed);
        let opened = if before < AT_ONCE {
            opening::open(
                &state.name,
                &match wanted {
                    Wanted::Terminal => Opening::Terminal,
                    Wanted::Login => Opening::Login,
                    Wanted::Shell(Shell(command)) => Opening::Shell(command),
                },
            )
        } else {
            Err(Error::TooManyTerminals)
        };
        OPENED.fetch_sub(1, Ordering::Relaxed);
        opened
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn what_callers_may_say() {
        let Shell(command) = Shell::new("", "", &[], &[]).unwrap();
        assert_eq!(command, Command { terminal: true, ..Command::default() });
        let Shell(command) =
            Shell::new("web", "/bin/sh", &words(&["-sh", "-c", "x"]), &words(&["A=b=c", "B="])).unwrap();
        assert_eq!(command.user.as_deref(), Some("web"));
        assert_eq!(command.arguments, ["/bin/sh", "-c", "x"]);
        assert_eq!(command.called.as_deref(), Some("-sh".as_ref()));
        assert_eq!(command.environment, [("A".into(), "b=c".into()), ("B".into(), "".into())]);
        let bad = |user: &str, path: &str, arguments: &[&str], environment: &[&str]| match Shell::new(
            user,
            path,
            &words(arguments),
            &words(environment),
        ) {
            Err(Error::Invalid { parameter, .. }) => parameter,
            other => panic!("{other:?}"),
        };
        assert_eq!(bad("a b", "", &[], &[]), "user");
        assert_eq!(bad("a\0", "", &[], &[]), "user");
        assert_eq!(bad("../x", "", &[], &[]), "user");
        assert_eq!(bad("", "sh", &[], &[]), "path");
        assert_eq!(bad("", "/a\0", &[], &[]), "path");
        assert_eq!(bad("", "", &["sh"], &[]), "args");
        assert_eq!(bad("", "/a", &["a\0"], &[]), "args");
        for variable in ["A", "=b", "A\n=b", "A=\0"] {
            assert_eq!(bad("", "", &[], &[variable]), "environment", "{variable:?}");
        }
    }

    #[test]
    fn each_has_its_action_and_says_what_it_is() {
        let host = machine::machines::host();
        let guest = State { name: "web".to_owned(), class: Class::Container, ..host.clone() };
        let shell = Wanted::Shell(Shell::new("", "/bin/sh", &words(&["sh", "-c", "x"]), &[]).unwrap());
        let all = [Wanted::Terminal, Wanted::Login, shell.clone()];
        assert_eq!(all.clone().map(|one| one.action(&guest)), [action::OPEN_PTY, action::LOGIN, action::SHELL]);
        let of_host = [action::HOST_OPEN_PTY, action::HOST_LOGIN, action::HOST_SHELL];
        assert_eq!(all.map(|one| one.action(&host)), of_host);
        let details = shell.details(&guest);
        let told = |name: &str| details.iter().find(|(one, _)| *one == name).map(|(_, value)| value.as_str());
        assert_eq!((told("machine"), told("user"), told("program")), (Some("web"), Some("root"), Some("/bin/sh -c x")));
    }

    #[test]
    fn not_everybody_waits_for_machines_at_once() {
        let service = Service::system();
        OPENED.fetch_add(AT_ONCE, Ordering::Relaxed);
        let refused = service.open(&machine::machines::host(), Wanted::Terminal);
        OPENED.fetch_sub(AT_ONCE, Ordering::Relaxed);
        assert!(matches!(refused, Err(Error::TooManyTerminals)));
        let vm = State { name: "vm".to_owned(), class: Class::Vm, ..machine::machines::host() };
        assert!(matches!(service.open(&vm, Wanted::Login), Err(Error::NotSupported { .. })));
    }
}
