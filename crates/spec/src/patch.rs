//! From the switches of a command line to the checked specification.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use crate::command_line::{UsageError, Word, split};
use crate::{
    AbsPath, ApiVfs, BindSource, CapabilitySet, ConsoleMode, ConsoleSpec, ContainerSpec, CustomMount, DryRun, ExecSpec,
    FilterItem, IdentitySpec, ImageSpec, IntegrationSpec, NetworkSpec, Ownership, Personality, PivotRoot, PrivateUsers,
    PropertySpec, Register, ResourcesSpec, RunSpec, SecuritySpec, SettingsMode, Source, StartMode, UsersSpec, Volatile,
};

/// Reads a command line. `current` is the caller's working directory, `variable` looks up its environment.
///
/// # Errors
/// A [`UsageError`] for what is wrong with it.
pub fn from_command_line(
    arguments: &[OsString],
    current: &Path,
    variable: &dyn Fn(&OsStr) -> Option<OsString>,
) -> Result<ContainerSpec, UsageError> {
    let (words, rest) = split(arguments)?;
    let mut spec = defaults(current, rest);
    for word in &words {
        apply(&mut spec, word, current, variable).map_err(|reason| UsageError::Value {
            option: if word.name.len() == 1 { format!("-{}", word.name) } else { format!("--{}", word.name) },
            reason,
        })?;
    }
    environment(&mut spec, variable)?;
    check(&spec, &words)?;
    let directory = words.iter().any(|word| word.name == "directory");
    if let (false, Some(name)) = (directory, &spec.identity.machine) {
        spec.image.source = Source::Machine(name.clone());
    }
    Ok(spec)
}

fn defaults(current: &Path, arguments: Vec<OsString>) -> ContainerSpec {
    ContainerSpec {
        run: RunSpec {
            quiet: false,
            settings: SettingsMode::No,
            cleanup: false,
            dry_run: None,
            cgroup_namespace: true,
        },
        image: ImageSpec {
            source: Source::Directory(current.to_owned()),
            template: None,
            ephemeral: false,
            read_only: false,
            volatile: Volatile::No,
            pivot_root: None,
        },
        exec: ExecSpec {
            mode: StartMode::Pid1,
            arguments,
            chdir: None,
            environment: Vec::new(),
            user: None,
            kill_signal: None,
            notify_ready: false,
        },
        identity: IdentitySpec { machine: None, hostname: None, uuid: None },
        property: PropertySpec { keep_unit: false, register: Register::Auto },
        users: UsersSpec { private_users: PrivateUsers::No, ownership: Ownership::Auto },
        network: NetworkSpec { private: false },
        security: SecuritySpec {
            capabilities: CapabilitySet::EMPTY,
            drop_capabilities: CapabilitySet::EMPTY,
            no_new_privileges: false,
            system_call_filter: Vec::new(),
            api_vfs_writable: ApiVfs::No,
        },
        resources: ResourcesSpec {
            rlimits: BTreeMap::new(),
            oom_score_adjust: None,
            cpu_affinity: None,
            personality: None,
        },
        integration: IntegrationSpec {},
        mounts: Vec::new(),
        console: ConsoleSpec { mode: None },
    }
}

fn apply(
    spec: &mut ContainerSpec,
    word: &Word,
    current: &Path,
    variable: &dyn Fn(&OsStr) -> Option<OsString>,
) -> Result<(), String> {
    let value = word.value.as_deref().unwrap_or_default();
    let text = || value.to_str().ok_or_else(|| "it is no text".to_owned());
    let shown = |error: &dyn std::fmt::Display| error.to_string();
    match word.name.as_str() {
        "quiet" => spec.run.quiet = true,
        "no-pager" | "no-ask-password" | "help" | "version" => {}
        "settings" if matches!(text()?, "no" | "false" | "0" | "off") => {}
        "register" if matches!(text()?, "no" | "false" | "0" | "off") => spec.property.register = Register::No,
        "register" | "resolv-conf" | "timezone" if text()? == "auto" => {}
        "link-journal" if matches!(text()?, "auto" | "no") => {}
        "settings" | "register" | "resolv-conf" | "timezone" | "link-journal" => {
            return Err(format!("{:?} is not carried out by this version of redd yet", value));
        }
        "dry-run" => {
            spec.run.dry_run = Some(match text()? {
                "" | "text" => DryRun::Text,
                "json" => DryRun::Json,
                other => return Err(format!("{other:?} is neither text nor json")),
            });
        }
        "directory" => spec.image.source = Source::Directory(current.join(value)),
        "ephemeral" => spec.image.ephemeral = true,
        "template" => spec.image.template = Some(current.join(value)),
        "cleanup" => spec.run.cleanup = true,
        "read-only" => spec.image.read_only = true,
        "volatile" => spec.image.volatile = volatile(word.value.as_deref())?,
        "pivot-root" => spec.image.pivot_root = Some(pivot_root(text()?)?),
        "as-pid2" => spec.exec.mode = StartMode::Pid2,
        "boot" => spec.exec.mode = StartMode::Boot,
        "chdir" => spec.exec.chdir = Some(text()?.parse().map_err(|e| shown(&e))?),
        "setenv" => {
            let pair = assignment(value, variable)?;
            spec.exec.environment.push(pair);
        }
        "uid" => spec.exec.user = Some(text()?.to_owned()),
        "kill-signal" => spec.exec.kill_signal = Some(text()?.parse().map_err(|e| shown(&e))?),
        "machine" => spec.identity.machine = Some(text()?.parse().map_err(|e| shown(&e))?),
        "hostname" => spec.identity.hostname = Some(text()?.parse().map_err(|e| shown(&e))?),
        "uuid" => {
            let id = uuid::Uuid::try_parse(text()?).map_err(|e| shown(&e))?;
            spec.identity.uuid = Some(id);
        }
        "keep-unit" => spec.property.keep_unit = true,
        "private-users" => private_users(&mut spec.users, word.value.as_deref())?,
        "private-users-ownership" => {
            spec.users.ownership = match text()? {
                "off" => Ownership::Off,
                "map" => Ownership::Map,
                "auto" => Ownership::Auto,
                other => return Err(format!("{other:?} is not carried out by this version of redd yet")),
            };
        }
        "U" => spec.users.private_users = PrivateUsers::Pick,
        "private-network" => spec.network.private = true,
        "capability" => spec.security.capabilities = spec.security.capabilities.union(capabilities(text()?)?),
        "drop-capability" => {
            spec.security.drop_capabilities = spec.security.drop_capabilities.union(capabilities(text()?)?);
        }
        "no-new-privileges" => spec.security.no_new_privileges = boolean(text()?)?,
        "system-call-filter" => filter(&mut spec.security.system_call_filter, text()?),
        "rlimit" => {
            let (name, limit) = text()?.split_once('=').ok_or("it has no \"=\"")?;
            let resource = name.parse().map_err(|e| shown(&e))?;
            spec.resources.rlimits.insert(resource, limit.parse().map_err(|e| shown(&e))?);
        }
        "oom-score-adjust" => {
            let number: i32 = text()?.parse().map_err(|_| "it is no number".to_owned())?;
            if !(-1000..=1000).contains(&number) {
                return Err("it is not between -1000 and 1000".into());
            }
            spec.resources.oom_score_adjust = Some(number);
        }
        "cpu-affinity" => spec.resources.cpu_affinity = Some(text()?.parse().map_err(|e| shown(&e))?),
        "personality" => {
            spec.resources.personality = Some(match text()? {
                "x86" => Personality::X86,
                "x86-64" => Personality::X86_64,
                other => return Err(format!("{other:?} is neither x86 nor x86-64")),
            });
        }
        "bind" => spec.mounts.push(bind(value, current, false)?),
        "bind-ro" => spec.mounts.push(bind(value, current, true)?),
        "inaccessible" => spec.mounts.push(CustomMount::Inaccessible { path: absolute(value)? }),
        "tmpfs" => {
            let mut fields = fields(value)?.into_iter();
            let destination = absolute(&fields.next().unwrap_or_default())?;
            let options = fields.next().map(|field| field.to_string_lossy().into_owned());
            spec.mounts.push(CustomMount::Tmpfs { destination, options });
        }
        "pipe" => spec.console.mode = Some(ConsoleMode::Pipe),
        "console" => spec.console.mode = Some(console(text()?)?),
        other => return Err(format!("{other} has no meaning yet")),
    }
    Ok(())
}

fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "yes" | "y" | "true" | "t" | "on" => Ok(true),
        "0" | "no" | "n" | "false" | "f" | "off" => Ok(false),
        _ => Err(format!("{text:?} is neither yes nor no")),
    }
}

fn volatile(value: Option<&OsStr>) -> Result<Volatile, String> {
    match value.map(OsStr::to_string_lossy).as_deref() {
        None => Ok(Volatile::Yes),
        Some("state") => Ok(Volatile::State),
        Some("overlay") => Ok(Volatile::Overlay),
        Some(text) => Ok(if boolean(text)? { Volatile::Yes } else { Volatile::No }),
    }
}

fn pivot_root(text: &str) -> Result<PivotRoot, String> {
    let (new, old) = text.split_once(':').map_or((text, None), |(new, old)| (new, Some(old)));
    let parse = |text: &str| AbsPath::try_from(text).map_err(|error| error.to_string());
    Ok(PivotRoot { new: parse(new)?, old: old.map(parse).transpose()? })
}

fn assignment(value: &OsStr, variable: &dyn Fn(&OsStr) -> Option<OsString>) -> Result<(OsString, OsString), String> {
    let bytes = value.as_bytes();
    let (name, value) = match bytes.iter().position(|byte| *byte == b'=') {
        Some(at) => (OsStr::from_bytes(&bytes[..at]), OsStr::from_bytes(&bytes[at + 1..]).to_owned()),
        None => (value, variable(value).ok_or_else(|| "the variable is not set here either".to_owned())?),
    };
    if name.is_empty() { Err("the name is empty".into()) } else { Ok((name.to_owned(), value)) }
}

fn private_users(users: &mut UsersSpec, value: Option<&OsStr>) -> Result<(), String> {
    users.private_users = match value.map(OsStr::to_string_lossy).as_deref() {
        Some("pick") => PrivateUsers::Pick,
        Some("identity") => PrivateUsers::Identity,
        None | Some("yes" | "managed") => return Err("this mode is not carried out by this version of redd yet".into()),
        Some("no" | "false" | "off") => PrivateUsers::No,
        Some(range) => {
            // Numbers alone say nothing about the files: they stay as they are.
            users.ownership = if users.ownership == Ownership::Auto { Ownership::Off } else { users.ownership };
            PrivateUsers::Range(range.parse().map_err(|error: crate::NameError| error.to_string())?)
        }
    };
    Ok(())
}

fn capabilities(text: &str) -> Result<CapabilitySet, String> {
    let mut set = CapabilitySet::EMPTY;
    for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        if name == "all" {
            return Ok(CapabilitySet::ALL);
        }
        set = set.union(CapabilitySet::named(name).ok_or_else(|| format!("{name:?} is no capability"))?);
    }
    Ok(set)
}

fn filter(items: &mut Vec<FilterItem>, text: &str) {
    let (allow, names) = text.strip_prefix('~').map_or((true, text), |names| (false, names));
    items.extend(names.split_whitespace().map(|name| FilterItem { allow, name: name.to_owned() }));
}

fn console(text: &str) -> Result<ConsoleMode, String> {
    Ok(match text {
        "interactive" => ConsoleMode::Interactive,
        "read-only" => ConsoleMode::ReadOnly,
        "passive" => ConsoleMode::Passive,
        "pipe" => ConsoleMode::Pipe,
        "autopipe" => ConsoleMode::Autopipe,
        other => return Err(format!("{other:?} is none of interactive, read-only, passive, pipe, autopipe")),
    })
}

fn absolute(value: &OsStr) -> Result<AbsPath, String> {
    AbsPath::try_from(Path::new(value)).map_err(|error| error.to_string())
}

/// Parts a value at its colons; a backslash takes the next character as it is.
fn fields(value: &OsStr) -> Result<Vec<OsString>, String> {
    let mut all = vec![Vec::new()];
    let mut bytes = value.as_bytes().iter();
    while let Some(byte) = bytes.next() {
        let last = all.len() - 1;
        match byte {
            b':' => all.push(Vec::new()),
            b'\\' => all[last].push(*bytes.next().ok_or("it ends in a backslash")?),
            other => all[last].push(*other),
        }
    }
    Ok(all.into_iter().map(OsString::from_vec).collect())
}

fn bind(value: &OsStr, current: &Path, read_only: bool) -> Result<CustomMount, String> {
    let fields = fields(value)?;
    let source = fields[0].as_bytes();
    let destination = fields.get(1).filter(|field| !field.is_empty());
    let source_path = match source.strip_prefix(b"+") {
        Some(inside) => BindSource::Tree(absolute(OsStr::from_bytes(inside))?),
        None if source.is_empty() => BindSource::Temporary,
        None => BindSource::Host(current.join(OsStr::from_bytes(source))),
    };
    let destination = match (destination, &source_path) {
        (Some(path), _) => absolute(path)?,
        (None, BindSource::Host(path)) => absolute(path.as_os_str())?,
        (None, BindSource::Tree(path)) => path.clone(),
        (None, BindSource::Temporary) => return Err("it has neither a source nor a destination".into()),
    };
    let mut recursive = true;
    let options = fields.get(2).map(|field| field.to_string_lossy().into_owned()).unwrap_or_default();
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "rbind" => recursive = true,
            "norbind" => recursive = false,
            "noidmap" => {}
            "idmap" | "rootidmap" | "owneridmap" => {
                return Err(format!("{option} is not carried out by this version of redd yet"));
            }
            other => return Err(format!("{other:?} is no option of a bind mount")),
        }
    }
    if fields.len() > 3 {
        return Err("it has more than a source, a destination and options".into());
    }
    Ok(CustomMount::Bind { source: source_path, destination, read_only, recursive })
}

/// The two variables that systemd documents for this.
fn environment(spec: &mut ContainerSpec, variable: &dyn Fn(&OsStr) -> Option<OsString>) -> Result<(), UsageError> {
    let error = |name: &str, reason| UsageError::Value { option: name.to_owned(), reason };
    let read = |name: &str| variable(OsStr::new(name)).map(|value| value.to_string_lossy().into_owned());
    if let Some(value) = read("SYSTEMD_NSPAWN_API_VFS_WRITABLE") {
        spec.security.api_vfs_writable = match value.as_str() {
            "network" => ApiVfs::Network,
            text if boolean(text).map_err(|reason| error("SYSTEMD_NSPAWN_API_VFS_WRITABLE", reason))? => ApiVfs::Yes,
            _ => ApiVfs::No,
        };
    }
    if let Some(value) = read("SYSTEMD_NSPAWN_USE_CGNS") {
        spec.run.cgroup_namespace = boolean(&value).map_err(|reason| error("SYSTEMD_NSPAWN_USE_CGNS", reason))?;
    }
    Ok(())
}

fn check(spec: &ContainerSpec, words: &[Word]) -> Result<(), UsageError> {
    let given = |name: &str| words.iter().any(|word| word.name == name);
    if given("boot") && given("as-pid2") {
        return Err(UsageError::Conflict("--boot and --as-pid2 exclude each other"));
    }
    if given("template") && given("ephemeral") {
        return Err(UsageError::Conflict("--template and --ephemeral exclude each other"));
    }
    if given("cleanup") && !given("directory") && !given("machine") {
        return Err(UsageError::Conflict("--cleanup needs --directory or --machine to know where to look"));
    }
    if spec.exec.mode == StartMode::Boot && spec.console.mode == Some(ConsoleMode::Pipe) {
        return Err(UsageError::Conflict("--boot needs a console, so it does not go with --pipe"));
    }
    Ok(())
}
