//! A command as a transient service on a terminal.

use std::ffi::OsString;

use bus::Value;

use super::Error;
use crate::join::Command;

/// What becomes of a service that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Afterwards {
    /// It stays until it is dismissed, so that its exit code can be asked for.
    Kept,
    /// Its manager lets go of it, however it has ended.
    Forgotten,
}

/// What the manager has waited for when it says that a service is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waits {
    /// That its program is executed.
    ForPrograms,
    /// Nothing beyond a process of its own.
    ForNothing,
}

/// A transient service for a command.
pub(super) struct Service {
    pub(super) user: String,
    pub(super) program: String,
    arguments: Vec<String>,
    environment: Vec<String>,
    directory: String,
}

impl Service {
    pub(super) fn of(command: &Command) -> Result<Self, Error> {
        let text = |word: &OsString| word.to_str().map(str::to_owned).ok_or_else(|| Error::NotText(word.clone()));
        let arguments = command.arguments.iter().map(text).collect::<Result<Vec<_>, _>>()?;
        let (program, arguments) = match arguments.first().cloned() {
            Some(program) if !program.starts_with('/') => return Err(Error::NotAbsolute(program)),
            Some(program) => {
                let mut words = arguments;
                if let Some(called) = &command.called {
                    words[0] = text(called)?;
                }
                (program, words)
            }
            // systemd knows the user's shell, wherever it has its users from.
            None => ("/bin/sh".into(), ["-sh", "-c", "exec \"${SHELL:-/bin/sh}\" -l"].map(str::to_owned).to_vec()),
        };
        // Otherwise systemd would put variables of the service in their place, see systemd.service(5).
        let arguments = arguments.into_iter().map(|word| word.replace('$', "$$")).collect();
        let term = std::env::var("TERM").ok().filter(|term| !term.is_empty()).unwrap_or_else(|| "vt220".into());
        // The manager takes no variable twice; the last one counts.
        let mut environment = vec![("TERM".to_owned(), term)];
        for (name, value) in &command.environment {
            let (name, value) = (text(name)?, text(value)?);
            environment.retain(|(other, _)| *other != name);
            environment.push((name, value));
        }
        let environment = environment.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        let directory = command.directory.as_ref().map(|path| text(&path.clone().into_os_string())).transpose()?;
        Ok(Self {
            user: command.user.clone().unwrap_or_else(|| "root".into()),
            program,
            arguments,
            environment,
            // The user's home, if it is there.
            directory: directory.unwrap_or_else(|| "-~".into()),
        })
    }

    /// Its properties on this terminal.
    pub(super) fn on_terminal(&self, tty: &str, after: Afterwards, waits: Waits) -> Vec<(&'static str, Value)> {
        let text = |value: &str| Value::String(value.to_owned());
        let after = match after {
            Afterwards::Kept => ("RemainAfterExit", Value::Boolean(true)),
            Afterwards::Forgotten => ("CollectMode", text("inactive-or-failed")),
        };
        vec![
            ("Description", Value::String(format!("Shell for User {}", self.user))),
            (
                "Type",
                text(match waits {
                    // What cannot be executed has failed to start.
                    Waits::ForPrograms => "exec",
                    Waits::ForNothing => "simple",
                }),
            ),
            after,
            ("ExecStart", Value::Commands(vec![(self.program.clone(), self.arguments.clone(), false)])),
            ("User", text(&self.user)),
            ("PAMName", text("login")),
            ("WorkingDirectory", text(&self.directory)),
            ("Environment", Value::Strings(self.environment.clone())),
            ("StandardInput", text("tty")),
            ("StandardOutput", text("tty")),
            ("StandardError", text("tty")),
            // It is new: resetting it would throw away what was written and not read by then.
            ("TTYPath", text(tty)),
            ("UtmpIdentifier", text(tty.trim_start_matches("/dev/"))),
            ("UtmpMode", text("user")),
            ("KillMode", text("mixed")),
            ("IgnoreSIGPIPE", Value::Boolean(false)),
            ("SendSIGHUP", Value::Boolean(true)),
            // Who leaves does not wait long for what ignores the hangup.
            ("TimeoutStopUSec", Value::U64(5_000_000)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(words: &[&str], environment: &[(&str, &str)]) -> Command {
        Command {
            arguments: words.iter().map(OsString::from).collect(),
            environment: environment.iter().map(|(name, value)| (name.into(), value.into())).collect(),
            ..Command::default()
        }
    }

    #[test]
    fn no_variable_is_given_twice() {
        let given = [("A", "1"), ("TERM", "vt100"), ("B", "2"), ("A", "3")];
        let service = Service::of(&command(&["/bin/sh"], &given)).expect("a service");
        assert_eq!(service.environment, ["TERM=vt100", "B=2", "A=3"]);
        let service = Service::of(&command(&["/bin/sh"], &[])).expect("a service");
        assert!(matches!(&service.environment[..], [term] if term.starts_with("TERM=") && term.len() > 5));
    }
}
