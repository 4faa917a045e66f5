//! The options of machinectl(1) that every verb takes.

use std::io::IsTerminal;

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
    /// How JSON is printed.
    pub(crate) fn json(&self) -> Json {
        match (self.json, self.as_json) {
            (Json::Off, true) if std::io::stdout().is_terminal() => Json::Pretty,
            (Json::Off, true) => Json::Short,
            (json, _) => json,
        }
    }

    /// Whether there are headings and a summary.
    pub(crate) fn legend(&self) -> bool {
        !self.no_legend && !self.quiet
    }
}
