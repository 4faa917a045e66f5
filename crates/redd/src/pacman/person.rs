//! Who answers what has to be decided about packages.

use std::io::{self, BufRead, IsTerminal, Write};

use bootstrap::pacman::resolve::{Choice, Conflict, Questions, Resolution};
use bootstrap::pacman::{Candidate, Dependency};
use indicatif::HumanBytes;

use super::dialog::Dialog;

/// As wide as a list is where there is no terminal.
const WIDTH: usize = 80;

/// A person at the keyboard, or nobody: then pacman's defaults are shown and taken.
pub(crate) struct Person<R, W> {
    dialog: Dialog<R, W>,
    repositories: Vec<String>,
    /// Whether each package has a line of its own in the summary: `VerbosePkgLists`.
    verbose: bool,
    /// Whether nobody answered where a default would not do.
    gone: bool,
    failure: Option<io::Error>,
}

/// Who is at standard input and output.
pub(crate) type Here = Person<io::StdinLock<'static>, Box<dyn Write>>;

impl Here {
    /// Standard input and output. Nobody is asked unless `interactive`; where it has to be quiet, nobody is told either.
    pub(crate) fn here(quiet: bool, interactive: bool, repositories: Vec<String>, verbose: bool) -> Self {
        let output: Box<dyn Write> = if quiet { Box::new(io::sink()) } else { Box::new(io::stdout()) };
        let answers = interactive.then(|| io::stdin().lock());
        let size = rustix::termios::tcgetwinsize(io::stdout());
        let width = size.map_or(WIDTH, |size| if size.ws_col == 0 { WIDTH } else { usize::from(size.ws_col) });
        let dialog = Dialog::new(answers, output, io::stdin().is_terminal(), width);
        Self { dialog, repositories, verbose, gone: false, failure: None }
    }
}

impl<R: BufRead, W: Write> Person<R, W> {
    /// Why nothing could be asked or told.
    pub(crate) fn failure(self) -> Option<io::Error> {
        self.failure
    }

    /// What an input or output that fails means: no answer.
    fn attempt<T>(&mut self, ask: impl FnOnce(&mut Dialog<R, W>) -> io::Result<Option<T>>) -> Option<T> {
        let answer = ask(&mut self.dialog).unwrap_or_else(|error| {
            self.failure.get_or_insert(error);
            None
        });
        self.gone |= answer.is_none();
        answer
    }

    fn confirm(&mut self, question: &str, default: bool) -> bool {
        self.attempt(|dialog| dialog.confirm(question, default).map(Some)).unwrap_or(false)
    }

    /// Lists packages with numbers, below the names of their repositories.
    fn list(dialog: &mut Dialog<R, W>, repositories: &[String], packages: &[&Candidate]) -> io::Result<()> {
        let mut first = 0;
        for group in packages.chunk_by(|one, other| one.repository == other.repository) {
            if let Some(repository) = group.first().and_then(|one| repositories.get(one.repository)) {
                dialog.say(&format!(":: Repository {repository}"))?;
            }
            let names: Vec<String> = group.iter().map(|one| one.package.name.clone()).collect();
            dialog.list(first + 1, &names)?;
            first += group.len();
        }
        Ok(())
    }

    fn line(&self, choice: &Choice<'_>) -> String {
        let Candidate { package, repository, compressed_size, .. } = choice.candidate;
        let from = self.repositories.get(*repository).map_or("", String::as_str);
        let size = HumanBytes(*compressed_size);
        if self.verbose {
            format!("{from}/{} {}  {size}", package.name, package.version)
        } else {
            format!("{}-{}", package.name, package.version)
        }
    }
}

impl<R: BufRead, W: Write> Questions for Person<R, W> {
    fn choose_provider(&mut self, wanted: &Dependency, providers: &[&Candidate]) -> usize {
        let repositories = std::mem::take(&mut self.repositories);
        let chosen = self.attempt(|dialog| {
            dialog.say(&format!(":: There are {} providers available for {wanted}:", providers.len()))?;
            Self::list(dialog, &repositories, providers)?;
            dialog.choose_one(providers.len())
        });
        self.repositories = repositories;
        chosen.unwrap_or(0)
    }

    fn choose_members(&mut self, group: &str, members: &[&Candidate]) -> Vec<usize> {
        let repositories = std::mem::take(&mut self.repositories);
        let chosen = self.attempt(|dialog| {
            let (verb, noun) = if members.len() == 1 { ("is", "member") } else { ("are", "members") };
            dialog.say(&format!(":: There {verb} {} {noun} in group {group}:", members.len()))?;
            Self::list(dialog, &repositories, members)?;
            dialog.choose_several(members.len())
        });
        self.repositories = repositories;
        chosen.unwrap_or_default()
    }

    fn install_ignored(&mut self, candidate: &Candidate) -> bool {
        let name = &candidate.package.name;
        self.confirm(&format!("{name} is in IgnorePkg/IgnoreGroup. Install anyway?"), true)
    }

    fn remove_conflicting(&mut self, conflict: &Conflict) -> bool {
        self.confirm(&format!("{conflict}. Remove {}?", conflict.other), false)
    }

    fn skip_unresolvable(&mut self, targets: &[&Candidate]) -> bool {
        let names: Vec<&str> = targets.iter().map(|target| target.package.name.as_str()).collect();
        let what = "cannot be installed because of dependencies that cannot be met";
        self.confirm(&format!("{} {what}. Go on without?", names.join(", ")), false)
    }

    fn proceed(&mut self, resolution: &Resolution<'_>) -> bool {
        let lines: Vec<String> = resolution.install.iter().map(|choice| self.line(choice)).collect();
        let sum = |of: fn(&Candidate) -> u64| {
            // A database may say any number.
            let sizes = resolution.install.iter().map(|one| of(one.candidate));
            HumanBytes(sizes.fold(0, u64::saturating_add))
        };
        let (fetched, installed) = (sum(|one| one.compressed_size), sum(|one| one.package.installed_size));
        let between = if self.verbose { "\n" } else { "  " };
        let told = self.attempt(|dialog| {
            for note in &resolution.notes {
                dialog.say(&format!("warning: {note}"))?;
            }
            for package in &resolution.remove {
                dialog.say(&format!("{} ({}) will be removed", package.name, package.version))?;
            }
            dialog.say(&format!("\nPackages ({}) {}\n", lines.len(), lines.join(between).trim_end()))?;
            dialog.say(&format!("Total Package Size:    {fetched}\nTotal Installed Size:  {installed}\n"))?;
            Ok(Some(()))
        });
        told.is_some() && !self.gone && self.confirm("Proceed with installation?", true)
    }
}
