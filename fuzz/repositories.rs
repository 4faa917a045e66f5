// What is done with configurations of pacman and databases of its repositories. Shared by the fuzz targets and by the test
// that replays the seeds.

use std::io;
use std::path::{Path, PathBuf};

use bootstrap::pacman::config::{Config, Files, Usage};
use bootstrap::pacman::resolve::{Defaults, Options, Request, Source, resolve};
use bootstrap::pacman::{Candidate, SyncDatabase};

/// Files that follow each other with a zero byte between, called 0, 1, 2, and so on.
struct Parts<'a>(Vec<&'a [u8]>);

impl Files for Parts<'_> {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let number = path.to_str().and_then(|name| name.parse::<usize>().ok());
        let part = number.and_then(|number| self.0.get(number));
        part.map(|part| part.to_vec()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn expand(&self, _pattern: &str) -> Vec<PathBuf> {
        (1..self.0.len()).map(|number| number.to_string().into()).collect()
    }
}

/// Configurations with what they include.
pub(crate) fn pacman_config(data: &[u8]) {
    let files = Parts(data.split(|byte| *byte == 0).collect());
    let Ok(config) = Config::read_with(Path::new("0"), &files, "x86_64") else { return };
    for repository in &config.repositories {
        assert!(!repository.name.is_empty() && !repository.name.contains('/') && !repository.name.starts_with('.'));
    }
    let paths = config.options.paths(None);
    assert!(paths.caches.iter().chain(&paths.hooks).chain([&paths.gpg, &paths.log]).all(|path| path.is_absolute()));
}

/// Databases, and what is chosen of them.
pub(crate) fn pacman_database(data: &[u8]) {
    let Ok(database) = SyncDatabase::read("fuzz", 0, data.to_vec()) else { return };
    let is_part =
        |text: &str| !text.is_empty() && !text.contains(['/', '\0', '\n', '\x1b']) && !text.starts_with(['.', '-']);
    for Candidate { package, file_name, .. } in database.packages() {
        assert!(is_part(file_name) && is_part(&package.name) && is_part(package.version.as_str()));
    }
    let targets: Vec<String> = database.packages().iter().take(3).map(|one| one.package.name.clone()).collect();
    let sources = [Source { database: &database, usage: Usage::ALL }];
    let request = Request { sources: &sources, installed: &[], targets: &targets, options: Options::default() };
    let Ok(resolution) = resolve(&request, &mut Defaults) else { return };
    let chosen = || resolution.install.iter().map(|choice| &choice.candidate.package);
    for package in chosen() {
        assert!(package.depends.iter().all(|dependency| chosen().any(|other| other.meets(dependency))));
        assert!(
            !package
                .conflicts
                .iter()
                .any(|conflict| { chosen().any(|other| other.name != package.name && other.meets(conflict)) })
        );
    }
}
