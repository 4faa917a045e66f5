//! Package files that somebody names, as `pacman -U` takes them.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::super::archive::{self, PackageArchive};
use super::super::config::Usage;
use super::super::keyring::Web;
use super::super::verify::{self, LONGEST_SIGNATURE, Signed};
use super::{
    Candidate, Error as StrapError, Installed, Interrupted, PackageFile, Phase, Progress, Questions, Request, Site,
    Source, Strap, SyncDatabase, Validation, resolve,
};

/// What stands for the repository that files come from. No repository of a configuration can have this name.
const FILES: &str = "local";

/// Why a package file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is an address.
    #[error("'{0}' is not a file of this machine")]
    Address(String),
    /// It cannot be opened.
    #[error("cannot open '{}'", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is no package.
    #[error(transparent)]
    Archive(#[from] archive::Error),
    /// It is not accepted.
    #[error(transparent)]
    Verify(#[from] verify::Error),
    /// Two of them hold the same package.
    #[error("two of the files hold the package '{0}'")]
    Twice(String),
}

impl Error {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Address(_) => {
                Some("fetch it first, with its signature beside it, or install it from a repository without -U")
            }
            Self::Open { .. } => Some("with -U packages are named by their files"),
            Self::Archive(error) => error.hint(),
            Self::Verify(error) => error.hint(),
            Self::Twice(_) => Some("name one of them"),
        }
    }
}

/// A file that was looked at.
struct Named {
    path: PathBuf,
    file: Arc<File>,
    candidate: Candidate,
    signed: bool,
}

impl Strap<'_> {
    pub(super) fn install_files(
        &self,
        site: &Site<'_>,
        files: &[String],
        questions: &mut dyn Questions,
    ) -> Result<usize, StrapError> {
        let Site { target, progress, .. } = *site;
        let web = Web::new(&self.trusted.keyring, SystemTime::now());
        progress.begin(Phase::Check, files.len() as u64, 0);
        let named: Result<Vec<Named>, Error> = files.iter().map(|file| self.look_at(file, &web, progress)).collect();
        progress.end(Phase::Check);
        let named = named?;
        let candidates: Vec<Candidate> = named.iter().map(|one| one.candidate.clone()).collect();
        let mut targets: Vec<String> = candidates.iter().map(|one| one.package.name.clone()).collect();
        targets.sort();
        if let Some([twice, _]) = targets.array_windows().find(|[one, other]| one == other) {
            return Err(Error::Twice(twice.clone()).into());
        }
        let targets: Vec<String> = candidates.iter().map(|one| one.package.name.clone()).collect();
        let database = SyncDatabase::new(FILES, candidates);
        let sources = [Source { database: &database, usage: Usage::ALL }];
        let local = super::local(target)?;
        // Nothing but the files is there to be installed.
        let all = Interrupted::of(&local).with_targets(&targets, |_| false, progress)?;
        let installed: Vec<&Installed> = local.whole().collect();
        let request = Request { sources: &sources, installed: &installed, targets: &all, options: self.options() };
        let resolution = resolve(&request, questions)?;
        let mut packages = Vec::with_capacity(resolution.install.len());
        for choice in &resolution.install {
            let package = &choice.candidate.package;
            let Some(one) = named.iter().find(|one| one.candidate.package.name == package.name) else { continue };
            packages.push(PackageFile {
                path: one.path.clone(),
                file: Some(Arc::clone(&one.file)),
                expected: Some((package.name.clone(), package.version.clone())),
                reason: choice.reason,
                validation: vec![if one.signed { Validation::Pgp } else { Validation::None }],
            });
        }
        let removals: Vec<String> = resolution.remove.iter().map(|package| package.name.clone()).collect();
        self.commit(site, &packages, &removals)?;
        Ok(packages.len())
    }

    fn look_at(&self, name: &str, web: &Web<'_>, progress: &dyn Progress) -> Result<Named, Error> {
        let path = match (name.strip_prefix("file://"), name.contains("://")) {
            (Some(path), _) => PathBuf::from(path),
            (None, true) => return Err(Error::Address(name.to_owned())),
            (None, false) => PathBuf::from(name),
        };
        let opened = |source| Error::Open { path: path.clone(), source };
        let file = Arc::new(File::open(&path).map_err(opened)?);
        let signature = signature_of(&path).map_err(opened)?;
        let demand = self.config.options.local_file_sig_level.package;
        let signers = verify::check(web, demand, name, signature.as_deref(), Signed::File(&file))?;
        let archive = PackageArchive::read_open(Arc::clone(&file), &path)?;
        progress.item(Phase::Check, &archive.package.name);
        let compressed_size = file.metadata().map_err(opened)?.len();
        let candidate = Candidate {
            package: archive.package,
            repository: 0,
            file_name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            compressed_size,
            sha256: None,
            signature: None,
        };
        Ok(Named { path, file, candidate, signed: !signers.is_empty() })
    }
}

/// What is in the file of signatures beside a package; `None` if there is none.
fn signature_of(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut name = path.as_os_str().to_owned();
    name.push(".sig");
    match File::open(name) {
        Ok(file) => {
            let mut content = Vec::new();
            file.take(LONGEST_SIGNATURE).read_to_end(&mut content)?;
            Ok(Some(content))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
