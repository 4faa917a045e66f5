//! Relations between packages, see deb-control(5) and the Debian Policy Manual, chapter 7.

use std::fmt;

use super::version::Version;

/// Why a relation field cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a relation to a package: {reason}")]
pub struct Error {
    text: String,
    reason: String,
}

/// The fields that relate a package to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Field {
    /// Must be configured before this package is unpacked.
    PreDepends,
    /// Must be configured before this package is.
    Depends,
    /// Should be there in all but unusual installations.
    Recommends,
    /// May be useful together with this package.
    Suggests,
    /// This package may be useful together with those.
    Enhances,
    /// Cannot be unpacked at the same time.
    Conflicts,
    /// Cannot be configured at the same time.
    Breaks,
    /// Files of those packages may be overwritten.
    Replaces,
    /// Names that this package also answers to.
    Provides,
}

impl Field {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::PreDepends,
        Self::Depends,
        Self::Recommends,
        Self::Suggests,
        Self::Enhances,
        Self::Conflicts,
        Self::Breaks,
        Self::Replaces,
        Self::Provides,
    ];

    /// The field's name in a control file.
    pub fn name(self) -> &'static str {
        match self {
            Self::PreDepends => "Pre-Depends",
            Self::Depends => "Depends",
            Self::Recommends => "Recommends",
            Self::Suggests => "Suggests",
            Self::Enhances => "Enhances",
            Self::Conflicts => "Conflicts",
            Self::Breaks => "Breaks",
            Self::Replaces => "Replaces",
            Self::Provides => "Provides",
        }
    }
}

/// How a version is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operator {
    /// `<<`
    Less,
    /// `<=`, and the obsolete `<`
    LessOrEqual,
    /// `=`
    Equal,
    /// `>=`, and the obsolete `>`
    GreaterOrEqual,
    /// `>>`
    Greater,
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Less => "<<",
            Self::LessOrEqual => "<=",
            Self::Equal => "=",
            Self::GreaterOrEqual => ">=",
            Self::Greater => ">>",
        })
    }
}

/// The versions that a relation means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionConstraint {
    /// The comparison; the package's version stands to the left of it.
    pub operator: Operator,
    /// The version compared with.
    pub version: Version,
}

impl VersionConstraint {
    /// Whether `version` is one of those meant.
    pub fn admits(&self, version: &Version) -> bool {
        match self.operator {
            Operator::Less => *version < self.version,
            Operator::LessOrEqual => *version <= self.version,
            Operator::Equal => *version == self.version,
            Operator::GreaterOrEqual => *version >= self.version,
            Operator::Greater => *version > self.version,
        }
    }
}

/// One package named in a relation field: `name[:architecture] [(operator version)]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// The package's name; a package that provides it may stand for it.
    pub name: String,
    /// What follows the colon: `any`, `native` or an architecture.
    pub architecture: Option<String>,
    /// The versions meant, all where there is none.
    pub constraint: Option<VersionConstraint>,
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(architecture) = &self.architecture {
            write!(f, ":{architecture}")?;
        }
        match &self.constraint {
            Some(constraint) => write!(f, " ({} {})", constraint.operator, constraint.version),
            None => Ok(()),
        }
    }
}

/// One member of a comma-separated relation field: any of the alternatives will do, the first is preferred. Fields that
/// know no alternatives (`Conflicts`, `Provides`, …) have exactly one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// What will do, best first; never empty.
    pub alternatives: Vec<Relation>,
}

impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nr, relation) in self.alternatives.iter().enumerate() {
            write!(f, "{}{relation}", if nr == 0 { "" } else { " | " })?;
        }
        Ok(())
    }
}

/// Parses the value of a relation field. An empty value and empty members are fine.
///
/// # Errors
/// The member that cannot be read. Restrictions to architectures or build profiles (`[amd64]`, `<!nocheck>`) are not
/// known to binary packages and are refused.
pub fn parse(value: &str) -> Result<Vec<Dependency>, Error> {
    let mut dependencies = Vec::new();
    for member in value.split(',') {
        if member.trim().is_empty() {
            continue;
        }
        let alternatives = member.split('|').map(parse_one).collect::<Result<_, _>>()?;
        dependencies.push(Dependency { alternatives });
    }
    Ok(dependencies)
}

fn parse_one(text: &str) -> Result<Relation, Error> {
    let text = text.trim();
    let error = |reason: &str| Error { text: text.chars().take(120).collect(), reason: reason.to_owned() };
    let is_name = |b: u8| b.is_ascii_alphanumeric() || b"+-._".contains(&b);
    let end = text.bytes().position(|b| !is_name(b)).unwrap_or(text.len());
    let (name, mut rest) = text.split_at(end);
    if name.is_empty() || !name.as_bytes()[0].is_ascii_alphanumeric() {
        return Err(error("the package's name is missing"));
    }
    let mut architecture = None;
    if let Some(qualified) = rest.strip_prefix(':') {
        let end = qualified.bytes().position(|b| !is_name(b)).unwrap_or(qualified.len());
        if end == 0 {
            return Err(error("the architecture is missing"));
        }
        architecture = Some(qualified[..end].to_owned());
        rest = &qualified[end..];
    }
    let rest = rest.trim_start();
    let constraint = match rest.strip_prefix('(') {
        None if rest.is_empty() => None,
        None => return Err(error("something follows the name that is no version")),
        Some(inner) => {
            let inner =
                inner.strip_suffix(')').ok_or_else(|| error("the parenthesis is not closed at the end"))?.trim();
            let end = inner.bytes().position(|b| !b"<>=".contains(&b)).unwrap_or(inner.len());
            let operator = match &inner[..end] {
                "<<" => Operator::Less,
                "<=" | "<" => Operator::LessOrEqual,
                "=" => Operator::Equal,
                ">=" | ">" => Operator::GreaterOrEqual,
                ">>" => Operator::Greater,
                _ => return Err(error("the comparison is none of <<, <=, =, >=, >>")),
            };
            let version = inner[end..].trim_start().parse::<Version>().map_err(|e| error(&e.to_string()))?;
            Some(VersionConstraint { operator, version })
        }
    };
    Ok(Relation { name: name.to_owned(), architecture, constraint })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_form() {
        let all = parse("libc6 (>= 2.36), python3:any | python3-minimal:amd64 (<< 4~),, a(=1:2-3)\n , b").unwrap();
        let shown: Vec<_> = all.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["libc6 (>= 2.36)", "python3:any | python3-minimal:amd64 (<< 4~)", "a (= 1:2-3)", "b"]);
        assert_eq!(parse("").unwrap(), []);
        assert_eq!(parse("a (< 1)").unwrap()[0].to_string(), "a (<= 1)");
    }

    #[test]
    fn refused() {
        for value in [
            "a (1)",
            "a (>= )",
            "a (>= 1",
            "a b",
            "| a",
            "a |",
            "a [amd64]",
            "a <!nocheck>",
            "a:",
            "(= 1)",
            "a (=> 1)",
            "ä",
        ] {
            assert!(parse(value).is_err(), "{value}");
        }
    }

    #[test]
    fn constraints_admit() {
        let admits = |constraint: &str, version: &str| {
            let relation = parse(&format!("a ({constraint})")).unwrap().remove(0).alternatives.remove(0);
            relation.constraint.unwrap().admits(&version.parse().unwrap())
        };
        for (operator, below, same, above) in [
            ("<<", true, false, false),
            ("<=", true, true, false),
            ("=", false, true, false),
            (">=", false, true, true),
            (">>", false, false, true),
        ] {
            let constraint = format!("{operator} 2");
            assert_eq!(
                [admits(&constraint, "1"), admits(&constraint, "2"), admits(&constraint, "3")],
                [below, same, above]
            );
        }
    }

    proptest! {
        #[test]
        fn never_panics(value in "\\PC{0,40}") {
            let _ = parse(&value);
        }

        #[test]
        fn shown_and_read_again_is_the_same(value in "[a-c]{1,3}(:any)?( \\((<<|<=|=|>=|>>) [0-9]{1,2}\\))?( \\| [a-c]{2})?(, [a-c]{2})?") {
            let read = parse(&value).unwrap();
            let shown = read.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            prop_assert_eq!(parse(&shown).unwrap(), read);
        }
    }
}
