//! The option table: every switch of systemd-nspawn(1), one row each, one file for each group. The parser, the help
//! text, the manual page, the completions and the settings files are all made from it.

mod bind_user;
mod console;
mod credentials;
mod exec;
mod identity;
mod image;
mod integration;
mod mounts;
mod network;
mod property;
mod resources;
mod run;
mod security;
#[cfg(test)]
mod tests;
mod users;
mod value;

use serde::Serialize;

use crate::SpecPatch;
use crate::{CAPABILITY_NAMES, Resource, Signal};
pub use exec::ARGUMENTS;
pub(crate) use value::integer;
pub use value::{Caller, Given, Problem, boolean};

/// What follows a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    /// Nothing.
    None,
    /// A value, in the same word or the next one.
    Required(&'static str),
    /// A value in the same word, after `=`.
    Optional(&'static str),
}

impl Argument {
    /// How the value is called in the help text.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Required(name) | Self::Optional(name) => Some(name),
        }
    }
}

/// Which settings files a key counts in. One that was found beside the image is not trusted: nobody vouches for it, and
/// whatever it says, the container may have no more access than the command line alone would have given it.
#[derive(Clone, Copy, Debug)]
pub enum Trust {
    /// Trusted ones alone: it raises privileges, or takes something of the host inside.
    Trusted,
    /// All: no value of it gives access.
    Anyone,
    /// All, but one that is not trusted can only take access away: a value that gives it back, which the function tells
    /// of what was read, is ignored there.
    OnlyAway(fn(&SpecPatch) -> bool),
    /// All, but one that is not trusted takes access away beside what the command line does, also where files win: the
    /// function is given the file's and the command line's and leaves in each what counts. What it says is why a line of
    /// the file is ignored.
    Beside(fn(&mut SpecPatch, &mut SpecPatch) -> Option<&'static str>),
}

impl Trust {
    /// Whether it counts in files that are not trusted, for some values at least.
    #[must_use]
    pub const fn has_untrusted(self) -> bool {
        !matches!(self, Self::Trusted)
    }
}

/// The line of a settings file that says the same as a switch, see systemd.nspawn(5).
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The section, such as `Exec`.
    pub section: &'static str,
    /// The key; one that ends in `*` stands for all that begin like it.
    pub key: &'static str,
    /// Which files may set it.
    pub trust: Trust,
}

/// What a second use of the same switch does. A settings file and the command line are merged by the setting: where
/// both have one, the one of higher precedence counts alone, whatever the rule here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Merge {
    /// The last one counts.
    Last,
    /// They make a list, in the order given.
    List,
    /// They make a set.
    Union,
    /// The last one of each name counts.
    ByName,
}

/// What a value is, for completion and for `--option=help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// Anything, or there is none.
    Free,
    /// A path of the host.
    Path,
    /// A directory of the host.
    Directory,
    /// A path inside the container.
    Inside,
    /// One of these.
    Words(&'static [&'static str]),
    /// yes or no.
    Boolean,
    /// The name of a machine.
    Machine,
    /// A user of the host.
    User,
    /// A group of the host.
    Group,
    /// A network link of the host.
    Link,
    /// Names of capabilities, with commas between them, or all.
    Capabilities,
    /// Names of capabilities, with commas between them.
    SomeCapabilities,
    /// A signal.
    Signal,
    /// A resource limit and its value.
    Rlimit,
    /// Names of system calls and of their groups.
    SystemCalls,
}

impl ValueKind {
    /// All that it can be, where that is known.
    #[must_use]
    pub fn words(self) -> Vec<String> {
        match self {
            Self::Words(words) => words.iter().map(|word| (*word).to_owned()).collect(),
            Self::Boolean => vec!["yes".into(), "no".into()],
            Self::Capabilities => {
                let names = CAPABILITY_NAMES.iter().map(|name| name.to_ascii_lowercase());
                names.chain(["all".to_owned()]).collect()
            }
            Self::SomeCapabilities => CAPABILITY_NAMES.iter().map(|name| name.to_ascii_lowercase()).collect(),
            Self::Signal => Signal::names(),
            Self::Rlimit => Resource::ALL.into_iter().map(|resource| resource.name().to_owned()).collect(),
            _ => Vec::new(),
        }
    }
}

/// Reads a value into a patch.
pub type Parse = fn(&mut SpecPatch, &Given<'_>) -> Result<(), Problem>;

/// What a switch does.
#[derive(Clone, Copy, Debug)]
pub enum Effect {
    /// It says something about the container.
    Patch(Parse),
    /// It prints the help text.
    Help,
    /// It prints the version.
    Version,
    /// It prints what a shell needs to complete command lines.
    Completions,
    /// This version does not carry it out; why, as the end of a sentence. It is refused by name, never ignored.
    Later(&'static str),
}

/// The groups, in the order of the help text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// The run itself.
    Run,
    /// The tree.
    Image,
    /// The program.
    Exec,
    /// Names.
    Identity,
    /// The unit and the registration.
    Property,
    /// User namespaces.
    Users,
    /// The network.
    Network,
    /// What the payload may do.
    Security,
    /// What the payload may use.
    Resources,
    /// What of the host's configuration is seen inside.
    Integration,
    /// Mounts beside the root.
    Mounts,
    /// The console.
    Console,
    /// Credentials.
    Credentials,
}

impl Group {
    /// All, in order.
    pub const ALL: [Self; 13] = [
        Self::Run,
        Self::Image,
        Self::Exec,
        Self::Identity,
        Self::Property,
        Self::Users,
        Self::Network,
        Self::Security,
        Self::Resources,
        Self::Integration,
        Self::Mounts,
        Self::Console,
        Self::Credentials,
    ];

    /// Its heading.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Run => "Run",
            Self::Image => "Image",
            Self::Exec => "Execution",
            Self::Identity => "System identity",
            Self::Property => "Unit and registration",
            Self::Users => "User namespace",
            Self::Network => "Network",
            Self::Security => "Security",
            Self::Resources => "Resources",
            Self::Integration => "Integration with the host",
            Self::Mounts => "Mounts",
            Self::Console => "Console",
            Self::Credentials => "Credentials",
        }
    }

    /// Its rows of the table.
    #[must_use]
    pub const fn rows(self) -> &'static [OptionRow] {
        match self {
            Self::Run => run::ROWS,
            Self::Image => image::ROWS,
            Self::Exec => exec::ROWS,
            Self::Identity => identity::ROWS,
            Self::Property => property::ROWS,
            Self::Users => users::ROWS,
            Self::Network => network::ROWS,
            Self::Security => security::ROWS,
            Self::Resources => resources::ROWS,
            Self::Integration => integration::ROWS,
            Self::Mounts => mounts::ROWS,
            Self::Console => console::ROWS,
            Self::Credentials => credentials::ROWS,
        }
    }
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct OptionRow {
    /// The long spelling, without dashes; empty where there is only a short one.
    pub long: &'static str,
    /// The short spelling.
    pub short: Option<char>,
    /// What follows it.
    pub argument: Argument,
    /// The line of a settings file that says the same.
    pub setting: Option<Setting>,
    /// What a second use does.
    pub merge: Merge,
    /// What the value is.
    pub kind: ValueKind,
    /// The value `help` prints all values.
    pub lists: bool,
    /// systemd-nspawn does not have it. Then it is not considered for abbreviations, so that those stay the same.
    pub own: bool,
    /// What it does, in a few words.
    pub help: &'static str,
    /// What it does, for the manual page.
    pub details: &'static str,
    /// What it does.
    pub effect: Effect,
}

impl OptionRow {
    /// What most rows have in common.
    const BASE: Self = Self {
        long: "",
        short: None,
        argument: Argument::None,
        setting: None,
        merge: Merge::Last,
        kind: ValueKind::Free,
        lists: false,
        own: false,
        help: "",
        details: "",
        effect: Effect::Later(""),
    };

    /// How it is written: the long spelling where it has one.
    #[must_use]
    pub fn spelling(&self) -> String {
        match (self.long, self.short) {
            ("", Some(short)) => format!("-{short}"),
            (long, _) => format!("--{long}"),
        }
    }

    /// Whether this version carries it out.
    #[must_use]
    pub const fn carried_out(&self) -> bool {
        !matches!(self.effect, Effect::Later(_))
    }
}

/// A key that any settings file may set.
const fn anyone(section: &'static str, key: &'static str) -> Option<Setting> {
    Some(Setting { section, key, trust: Trust::Anyone })
}

/// A key that only a trusted settings file may set.
const fn trusted(section: &'static str, key: &'static str) -> Option<Setting> {
    Some(Setting { section, key, trust: Trust::Trusted })
}

/// A key by which an untrusted settings file can take access away; for which values it would give it back.
const fn only_away(section: &'static str, key: &'static str, back: fn(&SpecPatch) -> bool) -> Option<Setting> {
    Some(Setting { section, key, trust: Trust::OnlyAway(back) })
}

/// A key that counts in an untrusted settings file beside what the command line says.
const fn beside(
    section: &'static str,
    key: &'static str,
    settle: fn(&mut SpecPatch, &mut SpecPatch) -> Option<&'static str>,
) -> Option<Setting> {
    Some(Setting { section, key, trust: Trust::Beside(settle) })
}

/// All rows, by group.
pub fn all() -> impl Iterator<Item = &'static OptionRow> {
    Group::ALL.into_iter().flat_map(|group| group.rows())
}
