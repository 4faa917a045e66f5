//! `machinectl status`: machines, for people.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::process::{Command, ExitCode, Stdio};

use machine::addresses::{self, Address};
use machine::state::{Class, State};
use machine::{OsRelease, Process, Registry, machines};
use serde_json::{Value, json};

use crate::cgroup_tree;
use crate::failure::Failure;
use crate::machinectl::{Json, Options, pager, steering};
use crate::{host_process, moment, observation};

/// How journalctl(1) shows entries.
const MODES: [&str; 16] = [
    "short",
    "short-precise",
    "short-iso",
    "short-iso-precise",
    "short-full",
    "short-monotonic",
    "short-unix",
    "short-delta",
    "json",
    "json-pretty",
    "json-sse",
    "json-seq",
    "cat",
    "verbose",
    "export",
    "with-unit",
];
/// How far the tree of processes is indented.
const INDENT: usize = 18;
/// How much of a log file is looked at for its last lines, in bytes.
const TAIL: u64 = 256 << 10;

/// Show what is known of machines, their processes and the last lines of their logs, for people to read
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Machines that run, .host for the host
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
    /// How many lines of the log are shown
    #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = 10)]
    lines: u32,
    /// How entries of the journal are shown, see journalctl(1)
    #[arg(short, long, value_name = "MODE", default_value = "short", value_parser = mode)]
    output: String,
}

/// A mode of journalctl.
pub(super) fn mode(text: &str) -> Result<String, String> {
    if MODES.contains(&text) { Ok(text.to_owned()) } else { Err(format!("it is none of {}", MODES.join(", "))) }
}

/// Prints it.
pub(crate) fn run(arguments: &Arguments, options: &Options) -> Result<ExitCode, Failure> {
    let registry = Registry::system();
    let (mut found, mut failed) = (Vec::new(), Vec::new());
    for name in &arguments.names {
        match machines::find(&registry, name) {
            Ok(state) => found.push(Seen::of(state)),
            Err(error) => failed.push(steering::unknown(name, error, options)),
        }
    }
    let text = match options.json() {
        Json::Off => {
            let texts: Vec<String> = found.iter().map(|seen| seen.text(arguments, options)).collect();
            texts.join("\n")
        }
        json => {
            let all: Value = found.iter().map(Seen::as_json).collect();
            if json == Json::Pretty { format!("{all:#}\n") } else { format!("{all}\n") }
        }
    };
    pager::print(&text, options)?;
    steering::conclude(failed)
}

/// A machine, and what is seen of it from outside.
struct Seen {
    state: State,
    system: Option<OsRelease>,
    addresses: Vec<Address>,
    id_shift: Option<u32>,
}

impl Seen {
    fn of(state: State) -> Self {
        let addresses = match state.class {
            Class::Host => addresses::of_host().ok(),
            _ if state.private_network => addresses::of_machines(&[&state.leader]).pop().and_then(Result::ok),
            _ => None,
        };
        let system = match state.class {
            Class::Host => OsRelease::of_host().ok(),
            Class::Container => OsRelease::of_machine(&state).ok(),
            Class::Vm => None,
        };
        let id_shift = state.users.map(|users| users.start).or_else(|| mapped(&state));
        Self { state, system, addresses: addresses.unwrap_or_default(), id_shift: id_shift.filter(|shift| *shift > 0) }
    }

    fn text(&self, arguments: &Arguments, options: &Options) -> String {
        let mut text = self.fields();
        let state = &self.state;
        let group = observation::group_of(state).ok();
        match (&state.unit, &group) {
            (Some(unit), _) => line(&mut text, "\t    Unit", unit),
            (None, Some(group)) if state.class != Class::Host => {
                line(&mut text, "\t  CGroup", &group.to_string_lossy())
            }
            (None, _) => {}
        }
        if let Some(subgroup) = &state.subgroup {
            line(&mut text, "\tSubgroup", subgroup);
        }
        let tree = group.and_then(|group| {
            // What is below a subgroup that is named is all that there is of the machine.
            let whole = state.subgroup.as_ref().map_or(group.clone(), |below| group.join(below));
            let group = cgroup::View::of_machine(&whole).ok()?;
            let cut = std::io::stdout().is_terminal() && !options.full;
            let columns = cut.then(|| crate::display::columns().saturating_sub(INDENT));
            let like = cgroup_tree::Options { columns, as_by_manager: true, ..cgroup_tree::Options::for_output() };
            cgroup_tree::lines(&group, like).ok()
        });
        for one in tree.unwrap_or_default() {
            let _ = writeln!(text, "\t\t  {one}");
        }
        let log = self.log(arguments);
        if !log.is_empty() {
            text.push('\n');
            text.push_str(&log);
        }
        text
    }

    /// Headings end in the same column.
    fn fields(&self) -> String {
        let state = &self.state;
        let mut text = match state.id {
            Some(id) => format!("{}({})\n", state.name, id.simple()),
            None => format!("{}\n", state.name),
        };
        if let Some(moment) = moment::timestamp(state.timestamp.realtime) {
            line(&mut text, "\t   Since", &format!("{moment}; {}", moment::ago(state.timestamp.realtime)));
        }
        line(&mut text, "\t  Leader", &named(&state.leader));
        if let Some(supervisor) = &state.supervisor {
            line(&mut text, "\t Superv.", &named(supervisor));
        }
        match &state.service {
            Some(service) => line(&mut text, "\t Service", &format!("{service}; class {}", state.class.name())),
            None => line(&mut text, "\t   Class", state.class.name()),
        }
        if state.uid != 0 {
            line(&mut text, "\t     UID", &state.uid.to_string());
        }
        if let Some(root) = &state.root_directory {
            line(&mut text, "\t    Root", root);
        }
        let links: Vec<String> = state.network_interfaces.iter().filter_map(|index| link_name(*index)).collect();
        if !links.is_empty() {
            line(&mut text, "\t   Iface", &links.join(" "));
        }
        for (index, address) in self.addresses.iter().enumerate() {
            let heading = if index == 0 { "\t Address: " } else { "\t          " };
            let _ = writeln!(text, "{heading}{}", self.with_link(address));
        }
        if let Some(system) = self.system.as_ref().and_then(OsRelease::pretty_name) {
            line(&mut text, "\t      OS", system);
        }
        if let Some(shift) = self.id_shift {
            line(&mut text, "\tID Shift", &shift.to_string());
        }
        text
    }

    /// An address of one link says which that is on the host, where there is but one.
    fn with_link(&self, address: &Address) -> String {
        match self.state.network_interfaces.as_slice() {
            [link] if address.is_of_link() => format!("{}%{link}", address.address),
            _ => address.address.to_string(),
        }
    }

    fn as_json(&self) -> Value {
        let mut value = serde_json::to_value(&self.state).unwrap_or_default();
        let addresses: Vec<String> = self.addresses.iter().map(|address| address.address.to_string()).collect();
        value["operatingSystem"] = json!(self.system.as_ref().and_then(OsRelease::pretty_name));
        value["addresses"] = json!(addresses);
        value["idShift"] = json!(self.id_shift);
        value
    }

    /// The last lines of its log: the journal's where there is one for its unit, else those of its output.
    fn log(&self, arguments: &Arguments) -> String {
        if arguments.lines == 0 {
            return String::new();
        }
        let journal = self.state.unit.as_ref().and_then(|unit| {
            let mut command = Command::new("journalctl");
            let (seconds, rest) =
                (self.state.timestamp.realtime / 1_000_000, self.state.timestamp.realtime % 1_000_000);
            command.args(["--quiet", "--no-pager"]).arg(format!("--unit={unit}"));
            command.arg(format!("--lines={}", arguments.lines)).arg(format!("--output={}", arguments.output));
            command.arg(format!("--since=@{seconds}.{rest:06}")).stdin(Stdio::null()).stderr(Stdio::null());
            let output = command.output().ok().filter(|output| output.status.success())?;
            Some(spec::printable_lines(&String::from_utf8_lossy(&output.stdout)))
        });
        journal
            .filter(|text| !text.is_empty())
            .or_else(|| {
                (self.state.class != Class::Host).then(|| last_lines(&self.state.name, arguments.lines)).flatten()
            })
            .unwrap_or_default()
    }
}

fn line(text: &mut String, heading: &str, value: &str) {
    let _ = writeln!(text, "{heading}: {}", spec::printable(value));
}

fn named(process: &Process) -> String {
    let name = host_process::read(process.pid, "comm", 64);
    match name.filter(|_| process.lives()) {
        Some(name) => format!("{} ({})", process.pid, String::from_utf8_lossy(&name).trim_end()),
        None => process.pid.to_string(),
    }
}

/// Which user of the host is root inside.
fn mapped(state: &State) -> Option<u32> {
    let map = host_process::read(state.leader.pid, "uid_map", 1 << 16).filter(|_| state.leader.lives())?;
    let map = String::from_utf8(map).ok()?;
    map.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        if words.next()? == "0" { words.next()?.parse().ok() } else { None }
    })
}

fn link_name(index: i32) -> Option<String> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with};
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None).ok()?;
    netdevice::index_to_name(&socket, index.try_into().ok()?).ok()
}

fn last_lines(name: &str, lines: u32) -> Option<String> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = std::fs::File::open(machine::log::log_path(name)).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).ok()?;
    let mut text = Vec::new();
    file.take(TAIL).read_to_end(&mut text).ok()?;
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().collect();
    let from = all.len().saturating_sub(usize::try_from(lines).unwrap_or(usize::MAX));
    Some(all[from..].iter().map(|line| format!("{}\n", spec::printable(line.trim_matches('\r')))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_like_the_original_s() {
        let me = Process::of(i32::try_from(std::process::id()).unwrap()).unwrap();
        let state = State {
            name: "web".to_owned(),
            id: "00112233445566778899aabbccddeeff".parse().ok(),
            class: Class::Container,
            service: Some("systemd-nspawn".to_owned()),
            root_directory: Some("/srv/w\neb".to_owned()),
            leader: me.clone(),
            ..machines::host()
        };
        let addresses = ["10.0.0.2", "fd00::1"].map(|address| Address::everywhere(address.parse().unwrap()));
        let system = Some(OsRelease::parse(b"PRETTY_NAME='Debian 12'\n"));
        let text = Seen { state, system, addresses: addresses.into(), id_shift: Some(65536) }.fields();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "web(00112233445566778899aabbccddeeff)");
        assert!(lines[1].starts_with("\t   Since: ") && lines[1].contains("; "), "{text}");
        assert!(lines[2].starts_with(&format!("\t  Leader: {} (", me.pid)), "{text}");
        let rest = [
            "\t Service: systemd-nspawn; class container",
            "\t    Root: /srv/w\\neb",
            "\t Address: 10.0.0.2",
            "\t          fd00::1",
            "\t      OS: Debian 12",
            "\tID Shift: 65536",
        ];
        assert_eq!(lines[3..], rest);
    }
}
