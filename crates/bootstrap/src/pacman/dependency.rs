//! What packages need, provide, conflict with and replace: `name`, or a name with a version, such as `glibc>=2.38`.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use super::version::Version;

/// How a version has to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Relation {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `=`
    Equal,
    /// `>=`
    GreaterOrEqual,
    /// `>`
    Greater,
}

impl Relation {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Equal => "=",
            Self::GreaterOrEqual => ">=",
            Self::Greater => ">",
        }
    }

    fn allows(self, ordering: Ordering) -> bool {
        match self {
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
            Self::Equal => ordering.is_eq(),
            Self::GreaterOrEqual => ordering.is_ge(),
            Self::Greater => ordering.is_gt(),
        }
    }
}

/// A name, perhaps with versions.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Dependency {
    /// Of a package or of what packages provide.
    pub name: String,
    /// Which versions do.
    pub version: Option<(Relation, Version)>,
    /// Why one may want it: only for optional dependencies (`name: reason`).
    pub reason: Option<String>,
}

/// There is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' names no package")]
pub struct Error(String);

impl FromStr for Dependency {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (text, reason) = match text.split_once(": ") {
            Some((text, reason)) => (text, Some(reason.to_owned())),
            None => (text, None),
        };
        let at = text.find(['<', '=', '>']);
        let (name, rest) = text.split_at(at.unwrap_or(text.len()));
        if name.is_empty() {
            return Err(Error(text.chars().take(80).collect()));
        }
        let version =
            [Relation::LessOrEqual, Relation::GreaterOrEqual, Relation::Less, Relation::Equal, Relation::Greater]
                .into_iter()
                .find_map(|relation| Some((relation, Version::new(rest.strip_prefix(relation.as_str())?))));
        Ok(Self { name: name.to_owned(), version, reason })
    }
}

impl Dependency {
    /// Any version of `name`.
    #[must_use]
    pub fn any(name: &str) -> Self {
        Self { name: name.to_owned(), version: None, reason: None }
    }

    /// Whether a package of that very name and version does.
    #[must_use]
    pub fn is_met_by_name(&self, name: &str, version: &Version) -> bool {
        self.name == name && self.allows(version)
    }

    /// Whether what a package provides does. What is provided without a version only meets what asks for none.
    #[must_use]
    pub fn is_met_by_provision(&self, provision: &Self) -> bool {
        if self.name != provision.name {
            return false;
        }
        match (&self.version, &provision.version) {
            (None, _) => true,
            (Some(_), Some((Relation::Equal, version))) => self.allows(version),
            (Some(_), _) => false,
        }
    }

    fn allows(&self, version: &Version) -> bool {
        self.version.as_ref().is_none_or(|(relation, wanted)| relation.allows(version.compare(wanted)))
    }
}

impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some((relation, version)) = &self.version {
            write!(f, "{}{version}", relation.as_str())?;
        }
        match &self.reason {
            Some(reason) => write!(f, ": {reason}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dependency(text: &str) -> Dependency {
        let read: Dependency = text.parse().unwrap();
        assert_eq!(read.to_string(), text);
        read
    }

    #[test]
    fn dependencies_are_met_by_versions_that_compare_so() {
        let met = |wanted: &str, version: &str| dependency(wanted).is_met_by_name("a", &Version::new(version));
        assert!(met("a", "1-1"));
        assert!(met("a>=1", "1-1") && met("a>=1", "2-1") && !met("a>1", "1-1"));
        assert!(met("a=1", "1-7") && !met("a=1-6", "1-7"));
        assert!(met("a<1:0", "9-1") && met("a<=9", "9-1"));
        assert!(!met("b", "1-1"));
    }

    #[test]
    fn what_is_provided_without_a_version_meets_only_what_asks_for_none() {
        let met = |wanted: &str, provided: &str| dependency(wanted).is_met_by_provision(&dependency(provided));
        assert!(met("sh", "sh") && met("sh", "sh=5") && met("sh>=5", "sh=5"));
        assert!(!met("sh>=5", "sh") && !met("sh>5", "sh=5") && !met("sh=5", "sh>=5"));
    }

    #[test]
    fn reasons_of_optional_dependencies_are_kept() {
        let read = dependency("perl-tk>=8: for the window: with colours");
        assert_eq!(read.reason.as_deref(), Some("for the window: with colours"));
        assert_eq!(read.name, "perl-tk");
        assert!("".parse::<Dependency>().is_err() && "=5".parse::<Dependency>().is_err());
    }
}
