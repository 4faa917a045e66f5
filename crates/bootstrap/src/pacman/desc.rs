//! Files such as `desc` and `files` of package databases: `%FIELD%`, its values line by line, an empty line.

use super::dependency::{self, Dependency};
use super::package::Package;
use super::version::Version;

/// One field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its name without the percent signs.
    pub name: &'a str,
    /// Its values, a line for each.
    pub values: &'a str,
}

impl<'a> Field<'a> {
    /// The values.
    pub fn lines(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.values.lines()
    }

    /// The only value; the first if there are more.
    #[must_use]
    pub fn value(&self) -> &'a str {
        self.values.lines().next().unwrap_or_default()
    }
}

/// The fields of a file, as they come. Lines outside of a field are passed over, as pacman does.
pub fn fields(text: &str) -> impl Iterator<Item = Field<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
            if line.is_empty() && after.is_empty() {
                return None;
            }
            rest = after;
            let Some(name) = line.strip_prefix('%').and_then(|line| line.strip_suffix('%')) else { continue };
            let end = if rest.starts_with('\n') { 0 } else { rest.find("\n\n").map_or(rest.len(), |at| at + 1) };
            let (values, after) = rest.split_at(end);
            rest = after;
            return Some(Field { name, values });
        }
    })
}

/// Takes a field over that says what the package is, whether of a repository's or of the local database. False if it is
/// another field.
///
/// # Errors
/// A dependency, or the like, without a name.
pub fn apply(package: &mut Package, field: &Field<'_>) -> Result<bool, dependency::Error> {
    let text = || field.value().to_owned();
    let list = || field.lines().map(str::to_owned).collect();
    let dependencies = || field.lines().map(str::parse).collect::<Result<Vec<Dependency>, _>>();
    match field.name {
        "NAME" => package.name = text(),
        "VERSION" => package.version = Version::new(field.value()),
        "BASE" => package.base = text(),
        "DESC" => package.description = text(),
        "URL" => package.url = text(),
        "LICENSE" => package.licenses = list(),
        "GROUPS" => package.groups = list(),
        "ARCH" => package.architecture = text(),
        // What is no number is none for pacman, too: neither decides anything.
        "BUILDDATE" => package.build_date = field.value().parse().unwrap_or(0),
        "ISIZE" | "SIZE" => package.installed_size = field.value().parse().unwrap_or(0),
        "PACKAGER" => package.packager = text(),
        "DEPENDS" => package.depends = dependencies()?,
        "OPTDEPENDS" => package.optional_depends = list(),
        "PROVIDES" => package.provides = dependencies()?,
        "CONFLICTS" => package.conflicts = dependencies()?,
        "REPLACES" => package.replaces = dependencies()?,
        "XDATA" => package.extended_data = list(),
        _ => return Ok(false),
    }
    Ok(true)
}

/// Writes a field with its values, unless there are none.
pub fn write<'a>(into: &mut String, name: &str, values: impl IntoIterator<Item = &'a str>) {
    let mut values = values.into_iter().peekable();
    if values.peek().is_none() {
        return;
    }
    into.push('%');
    into.push_str(name);
    into.push_str("%\n");
    for value in values {
        into.push_str(value);
        into.push('\n');
    }
    into.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut text = String::new();
        write(&mut text, "NAME", ["bash"]);
        write(&mut text, "GROUPS", []);
        write(&mut text, "DEPENDS", ["glibc", "readline>=8"]);
        assert_eq!(text, "%NAME%\nbash\n\n%DEPENDS%\nglibc\nreadline>=8\n\n");
        let read: Vec<Field> = fields(&text).collect();
        assert_eq!(read.len(), 2);
        assert_eq!((read[0].name, read[0].value()), ("NAME", "bash"));
        assert_eq!(read[1].lines().collect::<Vec<_>>(), ["glibc", "readline>=8"]);
    }

    #[test]
    fn odd_files_are_read_to_their_end() {
        let names = |text| fields(text).map(|field| (field.name, field.values)).collect::<Vec<_>>();
        assert_eq!(names(""), []);
        assert_eq!(names("\n\nx\n%A%"), [("A", "")]);
        assert_eq!(names("%A%\n\n%B%\nb"), [("A", ""), ("B", "b")]);
        assert_eq!(names("%A%\na\n\nstray\n%B%\nb\n"), [("A", "a\n"), ("B", "b\n")]);
    }
}
