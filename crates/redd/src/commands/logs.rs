//! `redd logs`: what a machine has logged.

use std::os::fd::OwnedFd;
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use machine::entrance;
use machine::log::{former_log_path, log_path};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::failure::Failure;
use crate::log::carrier::{Over, carry};
use crate::log::journal::{self, Query};
use crate::log::place::{self, Found};
use crate::log::plain;
use crate::log::sink::{Form, Sink};
use crate::machinectl::{Json, steering};

/// How many lines are shown before those that come.
const BEFORE: u64 = 10;

/// Show the log of a machine: its journal, else what its syslog has written, else its console
///
/// The machine may run or not. Its journal is read by journalctl, of the host where it can be confined, else of the machine.
/// The console is kept of machines that were started with 'redd start'.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// A machine, see redd list and redd list-images
    #[arg(value_name = "NAME")]
    name: String,
    /// Go on with what is added, until the machine ends
    #[arg(short, long)]
    follow: bool,
    /// Show no more than the last lines; 10 with --follow
    #[arg(short = 'n', long, value_name = "NUMBER")]
    lines: Option<u64>,
    /// How entries of the journal are shown, see journalctl(1)
    #[arg(short, long, value_name = "MODE", default_value = "short", value_parser = super::status::mode)]
    output: String,
    /// Show entries of the journal from this time on, see systemd.time(7)
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    since: Option<String>,
    /// Show entries of the journal up to this time
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    until: Option<String>,
    /// Show entries of the machine's last boot, or of that of this number or id, see journalctl(1)
    #[arg(short, long, value_name = "BOOT", num_args = 0..=1, require_equals = true, default_missing_value = "0")]
    boot: Option<String>,
    /// Show entries of this unit; may be given more than once
    #[arg(short, long = "unit", value_name = "UNIT")]
    units: Vec<String>,
    /// Show what the machine has printed to its console, whatever else there is
    #[arg(long)]
    console: bool,
    /// Print JSON: pretty, short (a line for each entry) or off
    #[arg(long, value_name = "MODE", default_value = "off")]
    json: Json,
    /// Print JSON, a line for each entry
    #[arg(short = 'j')]
    as_json: bool,
    /// Do not pipe output into a pager
    #[arg(long)]
    no_pager: bool,
}

/// Prints it.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let found = place::find(&arguments.name).map_err(failure)?;
    if arguments.console {
        return console(arguments, &found);
    }
    if let Some(journal) = found.journal().map_err(failure)? {
        return read_journal(arguments, &found, journal);
    }
    if let Some(path) = found.file().map_err(failure)? {
        let root = found.root.as_ref();
        let open = || place::open_file(root.ok_or(Errno::NOENT)?, path);
        return read_file(arguments, &found, &format!("/{path}"), &open);
    }
    if has_console(&arguments.name) {
        return console(arguments, &found);
    }
    Err(nothing(&found))
}

fn nothing(found: &Found) -> Failure {
    let name = &found.name;
    match (&found.root, found.runs()) {
        (None, _) => Failure::new(
            anyhow!("the log of {name} is in its disk image, which is read only while the machine runs"),
            Some("start it, or look into the image with: redd spawn --image="),
        ),
        (_, true) => Failure::new(
            anyhow!("{name} has no log: neither a journal nor /var/log/syslog or /var/log/messages"),
            Some("`redd exec NAME` runs commands inside, such as dmesg or whatever its log is read with"),
        ),
        (_, false) => Failure::new(
            anyhow!(
                "{name} has no log: neither a journal nor /var/log/syslog or /var/log/messages, and it does not run"
            ),
            Some("a journal in memory, below /run/log/journal, is there only while the machine runs"),
        ),
    }
}

fn failure(error: place::Error) -> Failure {
    let hint = match &error {
        place::Error::Host => Some("run: journalctl"),
        place::Error::Unknown(_) => Some("`redd list` shows the machines that run, `redd list-images` those installed"),
        place::Error::Entrance(entrance::Error::Virtual(_)) => Some("ssh(1) may reach it"),
        place::Error::Entrance(entrance::Error::SameMounts(_)) => Some("run: journalctl"),
        place::Error::Entrance(error) => steering::entrance_hint(error),
        place::Error::Open { source: Errno::ACCESS | Errno::PERM, .. } => Some("try it as root"),
        _ => None,
    };
    Failure::new(error, hint)
}

impl Arguments {
    fn lines(&self) -> Option<u64> {
        self.lines.or(self.follow.then_some(BEFORE))
    }

    fn json(&self) -> Json {
        match (self.json, self.as_json) {
            (Json::Off, true) => Json::Short,
            (json, _) => json,
        }
    }

    /// What journalctl is asked for.
    fn query(&self) -> Query {
        let output = match self.json() {
            Json::Off => self.output.clone(),
            Json::Short => "json".to_owned(),
            Json::Pretty => "json-pretty".to_owned(),
        };
        Query {
            follow: self.follow,
            lines: self.lines(),
            output,
            since: self.since.clone(),
            until: self.until.clone(),
            boot: self.boot.clone(),
            units: self.units.clone(),
        }
    }

    /// How lines are shown that are no entries of a journal; what cannot be done with these is refused.
    fn form_of_lines(&self, what: &str) -> Result<Form, Failure> {
        let given = [
            ("--since=", self.since.is_some()),
            ("--until=", self.until.is_some()),
            ("--boot", self.boot.is_some()),
            ("--unit=", !self.units.is_empty()),
        ];
        let refuse = |option: &str| {
            let error = anyhow!("{option} chooses among entries of a journal, and the log of {} is {what}", self.name);
            Failure::usage(error).or_else("leave it out, and choose lines with grep(1)")
        };
        if let Some((option, _)) = given.iter().find(|(_, given)| *given) {
            return Err(refuse(option));
        }
        match (self.json(), self.output.as_str()) {
            (Json::Pretty, _) | (_, "json-pretty") => Ok(Form::PrettyJson),
            (Json::Short, _) | (_, "json") => Ok(Form::Json),
            (_, "short" | "cat") => Ok(Form::Text),
            (_, other) => Err(refuse(&format!("--output={other}"))),
        }
    }

    fn sink(&self, form: Form) -> Sink {
        Sink::new(form, !self.no_pager && !self.follow)
    }
}

fn cannot_show(error: impl Into<anyhow::Error>) -> Failure {
    Failure::new(error.into().context("cannot show the log"), None)
}

fn read_journal(arguments: &Arguments, found: &Found, journal: place::Journal) -> Result<ExitCode, Failure> {
    let query = arguments.query();
    let machine = found.leader.as_ref().filter(|_| arguments.follow);
    let failed = |error: journal::Error| {
        let hint = match &error {
            journal::Error::NoProgram => Some("install systemd's journalctl, or start the machine if it has its own"),
            journal::Error::NoLandlock => Some("start the machine: it reads its journal itself then"),
            _ => None,
        };
        Failure::new(anyhow::Error::from(error).context(format!("cannot read the journal of {}", found.name)), hint)
    };
    let code = match (journal::on_host(journal, &query), &found.entry) {
        (Ok(mut child), _) => {
            let mut sink = arguments.sink(Form::Text);
            let (output, errors) = journal::outputs(&mut child).ok_or_else(|| cannot_show(Errno::BADF))?;
            let over = carry(&output, &errors, machine, &mut sink).map_err(cannot_show)?;
            sink.finish().map_err(cannot_show)?;
            let code = journal::end(child, over != Over::Reader);
            if over == Over::Reader { code } else { Some(0) }
        }
        (Err(error), Some(entry)) if error.is_lack() => {
            let mut running = journal::inside(entry, &query).map_err(failed)?;
            drop(running.input.take());
            let mut sink = arguments.sink(Form::Text);
            let outputs = running.output.take().zip(running.errors.take());
            let (output, errors) = outputs.ok_or_else(|| cannot_show(Errno::BADF))?;
            let over = carry(&output, &errors, machine, &mut sink).map_err(cannot_show)?;
            sink.finish().map_err(cannot_show)?;
            if over == Over::Reader {
                match running.wait().map_err(cannot_show)? {
                    machine::join::End::Exited(code) => Some(code),
                    machine::join::End::Killed(_) => None,
                }
            } else {
                // It ends with us.
                Some(0)
            }
        }
        (Err(error), _) => return Err(failed(error)),
    };
    // Why has been said by journalctl itself.
    Ok(if code == Some(0) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read_file(arguments: &Arguments, found: &Found, what: &str, open: plain::Opener<'_>) -> Result<ExitCode, Failure> {
    let form = arguments.form_of_lines(what)?;
    let mut sink = arguments.sink(form);
    let reading = || format!("cannot read {what} of {}", found.name);
    let failed = |error: anyhow::Error| Failure::new(error, None);
    let file = plain::show(open, arguments.lines(), &mut sink).with_context(reading).map_err(failed)?;
    if let Some(file) = file.filter(|_| arguments.follow) {
        plain::follow(open, file, found.leader.as_ref(), &mut sink).with_context(reading).map_err(failed)?;
    }
    sink.finish().map_err(cannot_show)?;
    Ok(ExitCode::SUCCESS)
}

/// Nothing but a regular file: the directory is root's, and still nothing is waited for.
fn open_console(path: &std::path::Path) -> rustix::io::Result<OwnedFd> {
    let file =
        rustix::fs::open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let kind = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode);
    if kind.is_file() { Ok(file) } else { Err(Errno::NOENT) }
}

fn has_console(name: &str) -> bool {
    spec::MachineName::try_from(name).is_ok() && !matches!(open_console(&log_path(name)), Err(Errno::NOENT))
}

/// What it has printed: where only the last lines are wanted and they are not all in the file of today, some of the former one.
fn console(arguments: &Arguments, found: &Found) -> Result<ExitCode, Failure> {
    let name = &found.name;
    if !has_console(name) {
        return Err(Failure::new(
            anyhow!("the console of {name} is not kept: it was not started in the background by `redd start`"),
            Some("`redd logs NAME` without --console shows its journal or syslog"),
        ));
    }
    let form = arguments.form_of_lines("its console")?;
    let failed = |error: std::io::Error| {
        let hint = (error.kind() == std::io::ErrorKind::PermissionDenied).then_some("try it as root");
        Failure::new(anyhow::Error::from(error).context(format!("cannot read the console of {name}")), hint)
    };
    let path = log_path(name);
    let open = || open_console(&path);
    let mut sink = arguments.sink(form);
    let wanted = arguments.lines();
    let now = wanted.map(|wanted| (wanted, plain::count(&open).unwrap_or(0)));
    let former = former_log_path(name);
    let open_former = || open_console(&former);
    let of_former = now.map(|(wanted, now)| wanted.saturating_sub(now));
    if of_former != Some(0) {
        match plain::show(&open_former, of_former, &mut sink) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Ok(Some(_)) => {}
            Ok(None) => return Ok(ExitCode::SUCCESS),
            Err(error) => return Err(failed(error)),
        }
    }
    let file = plain::show(&open, wanted, &mut sink).map_err(failed)?;
    if let Some(file) = file.filter(|_| arguments.follow) {
        plain::follow(&open, file, found.leader.as_ref(), &mut sink).map_err(failed)?;
    }
    sink.finish().map_err(cannot_show)?;
    Ok(ExitCode::SUCCESS)
}
