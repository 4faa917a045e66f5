//! What is found of a feature, and in which words.

/// What features are shown together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// Containers themselves: the main job.
    Containers,
    /// What keeps them apart from the host.
    Isolation,
    /// User namespaces and ids.
    Users,
    /// Where trees and images are.
    Storage,
    /// Control groups.
    ControlGroups,
    /// Links and packet filters.
    Network,
    /// Devices of the host that redd uses.
    Devices,
    /// How much there may be of something.
    Limits,
    /// Other services and what is left of earlier runs.
    Host,
}

impl Topic {
    /// All, in the order in which they are shown.
    pub const ALL: [Self; 9] = [
        Self::Containers,
        Self::Isolation,
        Self::Users,
        Self::Storage,
        Self::ControlGroups,
        Self::Network,
        Self::Devices,
        Self::Limits,
        Self::Host,
    ];

    /// Its headline.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Containers => "Containers",
            Self::Isolation => "Isolation",
            Self::Users => "Users of its own",
            Self::Storage => "Trees and images",
            Self::ControlGroups => "Control groups",
            Self::Network => "Network",
            Self::Devices => "Devices",
            Self::Limits => "Limits",
            Self::Host => "This host",
        }
    }
}

/// How a feature stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It was tried and works, or nothing is wrong.
    Works,
    /// It works, but not all of it, or not for as much as one may want.
    Limited,
    /// The kernel has it, and it is switched off.
    Off,
    /// It is not there.
    Missing,
    /// It may be there, but not for who asks.
    Denied,
    /// It could not be found out.
    Unknown,
    /// It is not there, and nothing needs it.
    Absent,
}

impl State {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Works => "ok",
            Self::Limited => "limited",
            Self::Off => "off",
            Self::Missing => "missing",
            Self::Denied => "denied",
            Self::Unknown => "unknown",
            Self::Absent => "absent",
        }
    }

    /// Nothing has to be done.
    #[must_use]
    pub fn is_fine(self) -> bool {
        matches!(self, Self::Works | Self::Absent)
    }
}

/// What is lost without a feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// No container starts, or none that is kept apart well.
    Needed,
    /// What many will want.
    Useful,
    /// What some will want.
    Optional,
}

impl Need {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Needed => "needed",
            Self::Useful => "useful",
            Self::Optional => "optional",
        }
    }
}

/// Something that containers use.
#[derive(Debug, PartialEq, Eq)]
pub struct Feature {
    /// Its name, the same in every version.
    pub name: &'static str,
    /// What it is shown with.
    pub topic: Topic,
    /// What is lost without it.
    pub need: Need,
    /// Why it matters, as a sentence.
    pub why: &'static str,
}

/// What was found of a feature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which.
    pub feature: &'static Feature,
    /// How it stands.
    pub state: State,
    /// What was seen, in few words.
    pub found: String,
    /// What to do, as a sentence.
    pub advice: Option<String>,
}

impl Feature {
    pub(crate) fn is(&'static self, state: State, found: impl Into<String>) -> Finding {
        Finding { feature: self, state, found: found.into(), advice: None }
    }
}

impl Finding {
    /// With what to do about it, unless nothing has to be done.
    #[must_use]
    pub(crate) fn advise(mut self, advice: impl Into<String>) -> Self {
        if !self.state.is_fine() {
            self.advice = Some(advice.into());
        }
        self
    }
}
