//! How many files this process may have open at once.

use std::error::Error;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What to do where there are too many: see [`is_exhausted`].
pub(crate) const HINT: &str = "more files have to be open at once than this process may have: raise the limit with \
                               ulimit -Hn, or LimitNOFILE= of the service";

/// Raises the limit as far as this process may. That it is lower is for programs with select(2) only, and what is started
/// in containers has limits of its own.
pub(crate) fn allow_many() {
    let present = getrlimit(Resource::Nofile);
    // Where that is not allowed, what goes wrong is told when a file cannot be opened.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: present.maximum, ..present });
}

/// Whether the cause of an error is that too many files are open.
pub(crate) fn is_exhausted(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let io = error.downcast_ref::<std::io::Error>().or_else(|| {
            match error.downcast_ref::<Box<ureq::Error>>()?.as_ref() {
                ureq::Error::Io(error) => Some(error),
                _ => None,
            }
        });
        let found = io.and_then(Errno::from_io_error).or_else(|| error.downcast_ref().copied());
        if found == Some(Errno::MFILE) {
            return true;
        }
        next = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http;
    use crate::pacman::{archive, fetch, strap};

    #[test]
    fn too_many_open_files_are_told_of_as_such() {
        let exhausted = || std::io::Error::from(Errno::MFILE);
        let cache = |source| strap::Error::from(fetch::CacheError { action: "open", path: "a".into(), source });
        let package = archive::Error { path: "a".into(), source: exhausted().into() };
        let connection = ureq::Error::Io(exhausted());
        let connection = http::Error::Connection { url: String::new(), source: Box::new(connection) };
        let source = Box::new(connection.into());
        let connection = fetch::Error::Fetch { file: String::new(), repository: String::new(), source };
        let errors = [cache(exhausted()), strap::Error::Transaction(package.into()), strap::Error::from(connection)];
        for error in errors {
            assert_eq!(error.hint().as_deref(), Some(HINT), "{error:?}");
        }
        assert_ne!(cache(Errno::NOENT.into()).hint().as_deref(), Some(HINT));
    }
}
