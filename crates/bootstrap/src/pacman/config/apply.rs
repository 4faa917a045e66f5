//! What the directives of a configuration mean.

use std::num::NonZeroU32;
use std::path::PathBuf;

use super::file::{Directive, Section};
use super::{CleanMethod, Config, Error, Options, Repository, Usage, Warning};
use crate::pacman::SigLevel;

/// Options come first, wherever they stand: what servers and signature levels mean depends on them.
pub(super) fn sections(sections: &[Section], machine: &str) -> Result<Config, Error> {
    let mut warnings = Vec::new();
    let of_options = |section: &&Section| section.name == "options";
    let mut reading = Reading { machine, warnings: &mut warnings, local: Vec::new(), remote: Vec::new() };
    let mut options = empty();
    for directive in sections.iter().filter(of_options).flat_map(|section| &section.directives) {
        reading.option(&mut options, directive)?;
    }
    options.local_file_sig_level = level(options.sig_level, &reading.local)?;
    options.remote_file_sig_level = level(options.sig_level, &reading.remote)?;
    let mut repositories: Vec<Repository> = Vec::new();
    for section in sections.iter().filter(|section| !of_options(section)) {
        check_name(section)?;
        if let Some(first) = repositories.iter().find(|first| first.name == section.name) {
            let (name, first) = (section.name.clone(), first.place.clone());
            return Err(Error::Twice { place: section.place.clone(), name, first });
        }
        repositories.push(repository(section, &options, &mut warnings)?);
    }
    Ok(Config { options, repositories, warnings })
}

fn empty() -> Options {
    Options {
        root_directory: None,
        database_path: None,
        cache_directories: Vec::new(),
        hook_directories: Vec::new(),
        gpg_directory: None,
        log_file: None,
        hold_packages: Vec::new(),
        ignore_packages: Vec::new(),
        ignore_groups: Vec::new(),
        architectures: Vec::new(),
        no_upgrade: Vec::new(),
        no_extract: Vec::new(),
        clean_methods: Vec::new(),
        sig_level: SigLevel::default(),
        local_file_sig_level: SigLevel::default(),
        remote_file_sig_level: SigLevel::default(),
        use_syslog: false,
        color: false,
        no_progress_bar: false,
        candy: false,
        check_space: false,
        verbose_package_lists: false,
        disable_download_timeout: false,
        parallel_downloads: NonZeroU32::MIN,
        download_user: None,
        disable_sandbox: false,
    }
}

/// Names become parts of paths and addresses.
fn check_name(section: &Section) -> Result<(), Error> {
    let name = &section.name;
    let reason = if name.is_empty() {
        "it is empty"
    } else if name == "local" {
        "that is the database of what is installed"
    } else if name.contains('/') || name.starts_with(['.', '-']) {
        "its database has that name as a file"
    } else if name.contains(|c: char| c.is_whitespace() || c.is_control()) {
        "it has a blank in it"
    } else {
        return Ok(());
    };
    Err(Error::RepositoryName { place: section.place.clone(), name: name.clone(), reason })
}

/// A level, with directives that change it.
fn level(start: SigLevel, directives: &[&Directive]) -> Result<SigLevel, Error> {
    let mut level = start;
    for directive in directives {
        level.apply(words(value(directive)?)).map_err(|source| Error::SigLevel {
            place: directive.place.clone(),
            key: directive.key.clone(),
            source,
        })?;
    }
    Ok(level)
}

fn value(directive: &Directive) -> Result<&str, Error> {
    directive
        .value
        .as_deref()
        .filter(|value| !value.is_empty())
        .ok_or_else(|| Error::NoValue { place: directive.place.clone(), key: directive.key.clone() })
}

fn words(value: &str) -> impl Iterator<Item = &str> {
    value.split_ascii_whitespace()
}

fn wrong(directive: &Directive, value: &str, wanted: &'static str) -> Error {
    let (place, key) = (directive.place.clone(), directive.key.clone());
    Error::Value { place, key, value: value.to_owned(), wanted }
}

fn unknown(directive: &Directive, section: &str, warnings: &mut Vec<Warning>) {
    let text = format!("there is no '{}' in '[{section}]'; it is passed over", directive.key);
    warnings.push(Warning { place: directive.place.clone(), text });
}

struct Reading<'a, 'w> {
    machine: &'a str,
    warnings: &'w mut Vec<Warning>,
    /// `LocalFileSigLevel` and `RemoteFileSigLevel`, which change what `SigLevel` comes to in the end.
    local: Vec<&'a Directive>,
    remote: Vec<&'a Directive>,
}

impl<'a> Reading<'a, '_> {
    fn option(&mut self, options: &mut Options, directive: &'a Directive) -> Result<(), Error> {
        if let Some(switch) = switch(options, &directive.key) {
            *switch = true;
            if directive.value.is_some() {
                let text = format!("'{}' takes no value; it is switched on whatever is said", directive.key);
                self.warnings.push(Warning { place: directive.place.clone(), text });
            }
            return Ok(());
        }
        match directive.key.as_str() {
            "RootDir" => first(&mut options.root_directory, path(directive)?),
            "DBPath" => first(&mut options.database_path, path(directive)?),
            "GPGDir" => first(&mut options.gpg_directory, path(directive)?),
            "LogFile" => first(&mut options.log_file, path(directive)?),
            "CacheDir" => options.cache_directories.extend(paths(directive)?),
            "HookDir" => options.hook_directories.extend(paths(directive)?),
            "HoldPkg" => options.hold_packages.extend(list(directive)),
            "IgnorePkg" => options.ignore_packages.extend(list(directive)),
            "IgnoreGroup" => options.ignore_groups.extend(list(directive)),
            "NoUpgrade" => options.no_upgrade.extend(list(directive)),
            "NoExtract" => options.no_extract.extend(list(directive)),
            "Architecture" => self.architectures(options, directive),
            "CleanMethod" => clean_methods(options, directive)?,
            "SigLevel" => options.sig_level = level(options.sig_level, &[directive])?,
            "LocalFileSigLevel" => self.local.push(directive),
            "RemoteFileSigLevel" => self.remote.push(directive),
            "ParallelDownloads" => {
                let value = value(directive)?;
                options.parallel_downloads =
                    value.parse().map_err(|_| wrong(directive, value, "a number from 1 on is wanted"))?;
            }
            "DownloadUser" => options.download_user = Some(value(directive)?.to_owned()),
            "XferCommand" => return Err(Error::XferCommand { place: directive.place.clone() }),
            _ => unknown(directive, "options", self.warnings),
        }
        Ok(())
    }

    fn architectures(&mut self, options: &mut Options, directive: &Directive) {
        for name in list(directive) {
            let name = if name == "auto" { self.machine.to_owned() } else { name };
            if !options.architectures.contains(&name) {
                options.architectures.push(name);
            }
        }
    }
}

fn path(directive: &Directive) -> Result<PathBuf, Error> {
    let path = PathBuf::from(value(directive)?);
    if !path.is_absolute() {
        return Err(wrong(directive, value(directive)?, "an absolute path is wanted"));
    }
    Ok(path)
}

fn paths(directive: &Directive) -> Result<Vec<PathBuf>, Error> {
    words(value(directive)?)
        .map(|word| match PathBuf::from(word) {
            path if path.is_absolute() => Ok(path),
            _ => Err(wrong(directive, word, "absolute paths without blanks are wanted")),
        })
        .collect()
}

/// Where there can be one only, it is the first, as pacman has it.
fn first(option: &mut Option<PathBuf>, path: PathBuf) {
    option.get_or_insert(path);
}

fn list(directive: &Directive) -> impl Iterator<Item = String> + use<'_> {
    words(directive.value.as_deref().unwrap_or_default()).map(str::to_owned)
}

fn switch<'o>(options: &'o mut Options, key: &str) -> Option<&'o mut bool> {
    Some(match key {
        "UseSyslog" => &mut options.use_syslog,
        "Color" => &mut options.color,
        "NoProgressBar" => &mut options.no_progress_bar,
        "ILoveCandy" => &mut options.candy,
        "CheckSpace" => &mut options.check_space,
        "VerbosePkgLists" => &mut options.verbose_package_lists,
        "DisableDownloadTimeout" => &mut options.disable_download_timeout,
        "DisableSandbox" | "DisableSandboxFilesystem" | "DisableSandboxSyscalls" => &mut options.disable_sandbox,
        _ => return None,
    })
}

fn clean_methods(options: &mut Options, directive: &Directive) -> Result<(), Error> {
    for word in words(value(directive)?) {
        options.clean_methods.push(match word {
            "KeepInstalled" => CleanMethod::KeepInstalled,
            "KeepCurrent" => CleanMethod::KeepCurrent,
            _ => return Err(wrong(directive, word, "KeepInstalled, KeepCurrent or both are wanted")),
        });
    }
    Ok(())
}

fn repository(section: &Section, options: &Options, warnings: &mut Vec<Warning>) -> Result<Repository, Error> {
    let mut repository = Repository {
        name: section.name.clone(),
        servers: Vec::new(),
        cache_servers: Vec::new(),
        sig_level: options.sig_level,
        usage: Usage::ALL,
        place: section.place.clone(),
    };
    let mut usage: Option<Usage> = None;
    for directive in &section.directives {
        match directive.key.as_str() {
            "Server" => repository.servers.push(server(directive, section, options)?),
            "CacheServer" => repository.cache_servers.push(server(directive, section, options)?),
            "SigLevel" => repository.sig_level = level(repository.sig_level, &[directive])?,
            "Usage" => add_usage(
                usage.get_or_insert(Usage { sync: false, search: false, install: false, upgrade: false }),
                directive,
            )?,
            _ => unknown(directive, &section.name, warnings),
        }
    }
    repository.usage = usage.unwrap_or(Usage::ALL);
    Ok(repository)
}

fn server(directive: &Directive, section: &Section, options: &Options) -> Result<String, Error> {
    let server = value(directive)?.replace("$repo", &section.name);
    let server = match options.architectures.first() {
        Some(architecture) => server.replace("$arch", architecture),
        None if server.contains("$arch") => {
            return Err(Error::NoArchitecture { place: directive.place.clone(), server });
        }
        None => server,
    };
    // What is joined to it has a slash of its own.
    Ok(server.trim_end_matches('/').to_owned())
}

fn add_usage(usage: &mut Usage, directive: &Directive) -> Result<(), Error> {
    for word in words(value(directive)?) {
        match word {
            "Sync" => usage.sync = true,
            "Search" => usage.search = true,
            "Install" => usage.install = true,
            "Upgrade" => usage.upgrade = true,
            "All" => *usage = Usage::ALL,
            _ => return Err(wrong(directive, word, "Sync, Search, Install, Upgrade or All are wanted")),
        }
    }
    Ok(())
}
