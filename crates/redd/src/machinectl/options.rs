//! The options of machinectl(1) that every verb takes.

use std::io::IsTerminal;

use anyhow::anyhow;

use crate::failure::Failure;

// No doc comment: it would become each verb's own description.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Print JSON: pretty, short (one line) or off
    #[arg(long, value_name = "MODE", help_heading = "Options for all verbs", default_value = "off")]
    json: Json,
    /// The same as --json=pretty on a terminal, else --json=short
    #[arg(short = 'j', help_heading = "Options for all verbs")]
    as_json: bool,
    /// Print no headings and no summary
    #[arg(long, help_heading = "Options for all verbs")]
    no_legend: bool,
    /// Say only what was asked for
    #[arg(short, long, help_heading = "Options for all verbs")]
    quiet: bool,
    /// Show also what is hidden, empty or not set
    #[arg(short, long, help_heading = "Options for all verbs")]
    pub(crate) all: bool,
    /// Do not shorten what is shown
    #[arg(short = 'l', long, help_heading = "Options for all verbs")]
    pub(crate) full: bool,
    /// Show only properties of this name; may be given more than once
    #[arg(short, long = "property", value_name = "NAME", help_heading = "Options for all verbs")]
    property: Vec<String>,
    /// Show only the values of properties, without their names
    #[arg(long, help_heading = "Options for all verbs")]
    value: bool,
    /// The same as --value --property=NAME
    #[arg(short = 'P', value_name = "NAME", help_heading = "Options for all verbs")]
    value_of: Vec<String>,
    /// Do not pipe output into a pager
    #[arg(long, help_heading = "Options for all verbs")]
    no_pager: bool,
    /// Do not ask for passwords
    #[arg(long, help_heading = "Options for all verbs")]
    no_ask_password: bool,
    /// Do it to the machines of another host, over ssh(1)
    #[arg(short = 'H', long, value_name = "[USER@]HOST[:PORT][/NAME]", help_heading = "Options for all verbs")]
    pub(super) host: Option<String>,
    /// Do it to the machines inside of this machine
    #[arg(short = 'M', long, value_name = "[USER@]NAME", help_heading = "Options for all verbs")]
    pub(super) machine: Option<String>,
    /// The machines of the system, which is the default
    #[arg(long, help_heading = "Options for all verbs")]
    system: bool,
    /// The machines of the user who asks
    #[arg(long, help_heading = "Options for all verbs", conflicts_with = "system")]
    user: bool,
    /// Called as machinectl: where that does something else than redd, that is done.
    #[arg(skip)]
    pub(crate) as_machinectl: bool,
}

/// How JSON is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Json {
    /// For people.
    Pretty,
    /// In one line.
    Short,
    /// Not at all.
    #[default]
    Off,
}

impl Options {
    /// Whether it may be somebody else who does what is asked for.
    pub(super) fn is_for_elsewhere(&self) -> bool {
        self.host.is_some() || self.machine.is_some()
    }

    /// How JSON is printed.
    pub(crate) fn json(&self) -> Json {
        match (self.json, self.as_json) {
            (Json::Off, true) if std::io::stdout().is_terminal() => Json::Pretty,
            (Json::Off, true) => Json::Short,
            (json, _) => json,
        }
    }

    /// Whether only what was asked for is said.
    pub(crate) fn quiet(&self) -> bool {
        self.quiet
    }

    /// Whether there are headings and a summary.
    pub(crate) fn legend(&self) -> bool {
        // The original's --quiet keeps them.
        !self.no_legend && (self.as_machinectl || !self.quiet)
    }

    /// Whether long output is shown in a pager.
    pub(crate) fn pages(&self) -> bool {
        !self.no_pager
    }

    /// Whether passwords may be asked for.
    pub(super) fn asks(&self) -> bool {
        !self.no_ask_password
    }

    /// Refuses what cannot be done yet, before anything is done.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let refuse = |what: String, hint: &str| Err(Failure::new(anyhow!(what), Some(hint)).with_code(1));
        if self.user {
            return refuse(
                "--user: the machines of users are not registered apart yet".to_owned(),
                "without --user all machines of the system are meant",
            );
        }
        Ok(())
    }

    /// Whether a property of this name is wanted; none named stands for all.
    pub(crate) fn wants_property(&self, name: &str) -> bool {
        let mut named = self.property.iter().chain(&self.value_of).peekable();
        named.peek().is_none() || named.any(|wanted| wanted == name)
    }

    /// Whether only values of properties are printed.
    pub(crate) fn values_only(&self) -> bool {
        self.value || !self.value_of.is_empty()
    }
}
