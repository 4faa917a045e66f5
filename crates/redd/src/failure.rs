//! How a failure is told: once, with its causes, and with the next step where one is known.

use std::io::Write;
use std::process::ExitCode;

/// The exit code for a command line that makes no sense.
const USAGE: u8 = 2;

/// Why a command ends without having done its work.
#[derive(Debug)]
pub(crate) struct Failure {
    error: anyhow::Error,
    hint: Option<String>,
    code: u8,
}

impl Failure {
    /// A failure with what can be done about it.
    pub(crate) fn new(error: impl Into<anyhow::Error>, hint: Option<&str>) -> Self {
        Self { error: error.into(), hint: hint.map(str::to_owned), code: 1 }
    }

    /// The command line asks for something that there is not.
    pub(crate) fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self { error: error.into(), hint: None, code: USAGE }
    }

    /// Why, without the next step.
    pub(crate) fn error(&self) -> &anyhow::Error {
        &self.error
    }

    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        self.code
    }

    /// Ends with this code.
    pub(crate) fn with_code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// The original has but one code for all failures of its own.
    pub(crate) fn like_original(mut self) -> Self {
        if self.code == USAGE {
            self.code = 1;
        }
        self
    }

    /// Has one more thing that can be done.
    pub(crate) fn or_else(mut self, hint: &str) -> Self {
        self.hint = Some(match self.hint {
            Some(before) => format!("{before}; {hint}"),
            None => hint.to_owned(),
        });
        self
    }
}

/// Prints a failure and gives the program's exit code.
pub(crate) fn report(result: Result<ExitCode, Failure>) -> ExitCode {
    report_as("redd", result)
}

/// Tells of something that went wrong beside what was asked for.
pub(crate) fn warn(error: &anyhow::Error) {
    // Nobody is left to tell if this fails.
    let _ = writeln!(std::io::stderr(), "{}", spec::printable_lines(&format!("{error:#}")));
}

/// The same under another name of the program.
pub(crate) fn report_as(program: &str, result: Result<ExitCode, Failure>) -> ExitCode {
    report_behind(&format!("{program}: "), result)
}

/// The same without the name of the program, as machinectl does.
pub(crate) fn report_plainly(result: Result<ExitCode, Failure>) -> ExitCode {
    report_behind("", result)
}

fn report_behind(begin: &str, result: Result<ExitCode, Failure>) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(failure) => {
            let mut text = format!("{begin}{:#}\n", failure.error);
            if let Some(hint) = failure.hint {
                text.push_str(&format!("hint: {hint}\n"));
            }
            // Nobody is left to tell if this fails.
            let _ = std::io::stderr().write_all(spec::printable_lines(&text).as_bytes());
            ExitCode::from(failure.code)
        }
    }
}
