//! `redd ps`: the processes of a machine.

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::Context;
use serde_json::json;

use crate::display;
use crate::failure::Failure;
use crate::form::{self, Column, Form};
use crate::host_process::{self, Stat};
use crate::inside_users::Users;
use crate::observation::Observed;

/// Show the processes of a machine, by its control group
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The machine
    name: String,
    /// Show whole command lines
    #[arg(short = 'l', long)]
    full: bool,
    #[command(flatten)]
    form: Form,
}

/// One process.
struct Row {
    pid: i32,
    inner: Option<i32>,
    uid: Option<u32>,
    user: Option<String>,
    stat: Stat,
    command: String,
}

/// Prints them.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let observed = Observed::find(&arguments.name)?;
    let users = Users::of(&observed.state);
    let processes = observed.processes().with_context(|| format!("cannot read the processes of {}", arguments.name));
    let processes = processes.map_err(|error| Failure::new(error, None))?;
    let level = numbers(observed.state.leader.pid).map_or(0, |numbers| numbers.len());
    let rows: Vec<Row> = processes.into_iter().filter_map(|pid| row(pid, level, &users)).collect();
    let text = match arguments.form.as_json(&rows.iter().map(as_json).collect()) {
        Some(text) => text,
        None => table(&rows, arguments),
    };
    form::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// `None` if it is gone.
fn row(pid: i32, level: usize, users: &Users) -> Option<Row> {
    let stat = Stat::of(pid)?;
    let uid = effective_user(pid)?;
    let inside = users.inside(uid);
    let inner = numbers(pid)?.get(level.checked_sub(1)?).copied();
    let user = inside.and_then(|inside| users.name(inside)).map(str::to_owned);
    Some(Row { pid, inner, uid: inside, user, stat, command: host_process::command_line(pid, false)? })
}

/// A line of `/proc/PID/status`, see proc_pid_status(5).
fn status(pid: i32, name: &str) -> Option<String> {
    let text = host_process::read(pid, "status", 1 << 16)?;
    let text = String::from_utf8_lossy(&text);
    // The first line has the process's own name in it, with line ends escaped.
    text.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim().to_owned()))
}

/// Its numbers, from the host's down to the innermost namespace that it is in.
fn numbers(pid: i32) -> Option<Vec<i32>> {
    status(pid, "NSpid")?.split_ascii_whitespace().map(|word| word.parse().ok()).collect()
}

fn effective_user(pid: i32) -> Option<u32> {
    status(pid, "Uid")?.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn memory(row: &Row) -> u64 {
    row.stat.resident.saturating_mul(rustix::param::page_size() as u64)
}

/// Processor time in seconds.
fn seconds(row: &Row) -> f64 {
    row.stat.ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

fn as_json(row: &Row) -> serde_json::Value {
    json!({
        "pid": row.inner,
        "hostPid": row.pid,
        "uid": row.uid,
        "user": row.user,
        "state": row.stat.state.to_string(),
        "threads": row.stat.threads,
        "memory": memory(row),
        "cpuSeconds": seconds(row),
        "command": row.command,
    })
}

const COLUMNS: [Column; 7] = [
    Column::Right("PID"),
    Column::Right("HOST-PID"),
    Column::Left("USER"),
    Column::Left("S"),
    Column::Right("MEMORY"),
    Column::Right("CPU-TIME"),
    Column::Left("COMMAND"),
];

fn table(rows: &[Row], arguments: &Arguments) -> String {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let fields: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            vec![
                or_none(row.inner.map(|pid| pid.to_string())),
                row.pid.to_string(),
                or_none(row.user.clone().or_else(|| row.uid.map(|uid| uid.to_string()))),
                row.stat.state.to_string(),
                form::bytes(memory(row)),
                clock(seconds(row)),
                row.command.clone(),
            ]
        })
        .collect();
    let lines = form::table(&COLUMNS, &fields);
    let full = arguments.full || !std::io::stdout().is_terminal();
    let limit = if full { usize::MAX } else { display::columns() };
    let skipped = usize::from(!arguments.form.legend());
    lines.iter().skip(skipped).map(|line| display::shortened(line, limit, display::unicode()) + "\n").collect()
}

/// `0:01.25`, `75:00.00`.
fn clock(seconds: f64) -> String {
    let hundredths = (seconds * 100.0).round() as u64;
    format!("{}:{:02}.{:02}", hundredths / 6000, hundredths / 100 % 60, hundredths % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!([0.0, 1.254, 59.999, 4500.0].map(clock), ["0:00.00", "0:01.25", "1:00.00", "75:00.00"]);
    }

    #[test]
    fn the_caller_s_own_numbers() {
        let pid = i32::try_from(std::process::id()).unwrap();
        assert_eq!(numbers(pid).unwrap()[0], pid);
        assert_eq!(effective_user(pid), Some(rustix::process::geteuid().as_raw()));
    }
}
