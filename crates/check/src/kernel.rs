//! The kernel itself.

use crate::finding::{Feature, Finding, Need, State, Topic};
use crate::setting::Configuration;

static VERSION: Feature = Feature {
    name: "kernel",
    topic: Topic::Isolation,
    need: Need::Needed,
    why: "redd makes mounts by calls that Linux has since 5.12.",
};

/// The first one that has all that redd needs.
const OLDEST: (u32, u32) = (5, 12);

pub(crate) fn version(configuration: Option<&Configuration>) -> Finding {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    let told = match configuration {
        Some(configuration) => format!("; configured as {} says", configuration.shown_path()),
        None => "; nothing says how it was configured, which is no loss: all is tried".to_owned(),
    };
    let found = format!("Linux {}{told}", spec::printable(&release));
    match parse(&release) {
        Some(version) if version < OLDEST => {
            VERSION.is(State::Missing, found).advise("Use Linux 5.12 or newer; distributions have had it since 2021.")
        }
        Some(_) => VERSION.is(State::Works, found),
        None => VERSION.is(State::Unknown, found).advise("Compare it with 5.12 yourself."),
    }
}

fn parse(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases() {
        assert_eq!(parse("6.18.5-arch1-1"), Some((6, 18)));
        assert_eq!(parse("5.4"), Some((5, 4)));
        assert_eq!(parse("unknown"), None);
        assert!(parse("5.4.0-100-generic") < Some(OLDEST));
    }
}
