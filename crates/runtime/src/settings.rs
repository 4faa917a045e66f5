//! Finds and reads settings files, see systemd.nspawn(5): in the administrator's directories first, then beside the tree.
//!
//! A file beside a tree may be anybody's work: links are not followed there, nothing but a regular file is read, and no
//! more of it than a settings file needs.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat, readlinkat};
use rustix::io::Errno;
use spec::settings::{Error, File, Files, LARGEST};
use spec::{MachineName, SpecPatch};

/// Where the administrator puts them, the first hit wins.
pub const TRUSTED: [&str; 2] = ["/etc/systemd/nspawn", "/run/systemd/nspawn"];

/// The search for the file of a machine, and what percent signs in it stand for.
#[derive(Clone, Copy)]
pub struct Search<'a> {
    /// The caller's working directory: the tree where a command line names none.
    pub directory: &'a Path,
    /// Is given what a person should know.
    pub say: &'a dyn Fn(&str),
}

impl Files for Search<'_> {
    fn find(&self, command_line: &SpecPatch) -> Result<Option<File>, Error> {
        let tree = match (command_line.directory.as_ref().or(command_line.image.as_ref()), &command_line.machine) {
            (Some(path), _) => Some(real(path)),
            (None, Some(_)) => None,
            (None, None) => Some(real(self.directory)),
        };
        let machine = match (&command_line.machine, &tree) {
            (Some(name), _) => Some(name.clone()),
            (None, Some(tree)) if tree == Path::new("/") => MachineName::made_of(&host_name()),
            (None, tree) => {
                let last = tree.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
                let image = command_line.image.as_ref().and(last.as_deref()).and_then(|name| name.strip_suffix(".raw"));
                image.or(last.as_deref()).and_then(MachineName::made_of)
            }
        };
        // That it can have no name is told where the name is needed.
        let Some(machine) = machine else { return Ok(None) };
        let name = format!("{machine}.nspawn");
        let found = |path: PathBuf, text, trusted| File { path, text, trusted, machine: machine.to_string() };
        for place in TRUSTED {
            let path = Path::new(place).join(&name);
            if let Some(text) = read(&path, OFlags::empty())? {
                return Ok(Some(found(path, text, true)));
            }
        }
        let beside = match &tree {
            Some(tree) => tree.parent().map(|parent| parent.join(&name)),
            // Where there is no such machine, the engine says so.
            None => image::locate::machine(&machine).ok().and_then(|found| Some(found.path().parent()?.join(&name))),
        };
        let Some(path) = beside else { return Ok(None) };
        Ok(read(&path, OFlags::NOFOLLOW)?.map(|text| found(path, text, false)))
    }

    fn specifier(&self, letter: char) -> Option<String> {
        specifier(letter)
    }

    fn warn(&self, text: &str) {
        (self.say)(text);
    }
}

/// The path of a tree without a symbolic link at its end, where its name and its neighbours are.
fn real(path: &Path) -> PathBuf {
    let plain = path.file_name().is_some() && readlinkat(CWD, path, Vec::new()).is_err();
    let ends_in_dot = path.as_os_str().as_bytes().ends_with(b"/.");
    if plain && !ends_in_dot {
        path.to_owned()
    } else {
        std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
    }
}

/// What is in a settings file; `None` if there is none.
fn read(path: &Path, more: OFlags) -> Result<Option<Vec<u8>>, Error> {
    let error = |reason: String| Error::Read { path: path.to_owned(), reason };
    // A fifo or a device must not hold the start up.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC | more;
    match openat(CWD, path, flags, Mode::empty()) {
        Ok(file) => contents(&file).map(Some).map_err(error),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(Errno::LOOP) => Err(error("it is a symbolic link".into())),
        Err(errno) => Err(error(errno.to_string())),
    }
}

fn contents(file: &OwnedFd) -> Result<Vec<u8>, String> {
    let status = fstat(file).map_err(|errno| errno.to_string())?;
    if !FileType::from_raw_mode(status.st_mode).is_file() {
        return Err("it is no regular file".into());
    }
    let mut text = Vec::new();
    // Whatever its size is said to be: one byte more than allowed shows that it is too large.
    while text.len() <= LARGEST {
        let begin = text.len();
        text.resize(begin + 4096, 0);
        let length = rustix::io::retry_on_intr(|| rustix::io::read(file, &mut text[begin..]));
        let length = length.map_err(|errno| errno.to_string())?;
        text.truncate(begin + length);
        if length == 0 {
            return Ok(text);
        }
    }
    Err(format!("it is larger than {LARGEST} bytes"))
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The letters of systemd.unit(5), "Specifiers", that mean something here.
fn specifier(letter: char) -> Option<String> {
    let line = |path: &str| std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    Some(match letter {
        'm' => line("/etc/machine-id").filter(|id| id.len() == 32)?,
        'b' => line("/proc/sys/kernel/random/boot_id")?.replace('-', ""),
        'H' => host_name(),
        'l' => host_name().split('.').next()?.to_owned(),
        'v' => rustix::system::uname().release().to_string_lossy().into_owned(),
        'a' => architecture(&rustix::system::uname().machine().to_string_lossy()).to_owned(),
        'u' => account()?.name,
        'g' => group()?,
        'U' => rustix::process::getuid().as_raw().to_string(),
        'G' => rustix::process::getgid().as_raw().to_string(),
        'h' => account()?.home,
        't' => "/run".to_owned(),
        'T' => "/tmp".to_owned(),
        'V' => "/var/tmp".to_owned(),
        'S' => "/var/lib".to_owned(),
        'C' => "/var/cache".to_owned(),
        'L' => "/var/log".to_owned(),
        'E' => "/etc".to_owned(),
        _ => return None,
    })
}

/// The machine that uname(2) names, as systemd calls it (systemd.unit(5), `ConditionArchitecture=`).
fn architecture(machine: &str) -> &str {
    match machine {
        "x86_64" => "x86-64",
        "i386" | "i486" | "i586" | "i686" => "x86",
        "aarch64" => "arm64",
        other if other.starts_with("arm") => "arm",
        "ppc64le" => "ppc64-le",
        "loongarch64" => "loongarch64",
        other => other,
    }
}

struct Account {
    name: String,
    home: String,
}

/// The name of the caller's group in the host's /etc/group.
fn group() -> Option<String> {
    let id = rustix::process::getgid().as_raw().to_string();
    let text = std::fs::read_to_string("/etc/group").ok()?;
    text.lines().find_map(|line| {
        let fields: Vec<_> = line.split(':').collect();
        (fields.get(2) == Some(&id.as_str())).then(|| fields[0].to_owned())
    })
}

/// The caller's line of the host's /etc/passwd.
fn account() -> Option<Account> {
    let id = rustix::process::getuid().as_raw().to_string();
    let text = std::fs::read_to_string("/etc/passwd").ok()?;
    text.lines().find_map(|line| {
        let fields: Vec<_> = line.split(':').collect();
        let matches = fields.get(2) == Some(&id.as_str());
        matches.then(|| Some(Account { name: fields[0].to_owned(), home: (*fields.get(5)?).to_owned() })).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(path: &Path, flags: OFlags) -> Result<Option<usize>, String> {
        read(path, flags).map(|text| text.map(|text| text.len())).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_but_small_regular_files_is_read() {
        let place = tempfile::tempdir().expect("directory");
        let at = |name: &str| place.path().join(name);
        assert_eq!(outcome(&at("none"), OFlags::NOFOLLOW), Ok(None));
        assert_eq!(outcome(&at("none/below"), OFlags::NOFOLLOW), Ok(None));
        std::fs::write(at("file"), "[Exec]\n").expect("write");
        assert_eq!(outcome(&at("file"), OFlags::NOFOLLOW), Ok(Some(7)));
        std::os::unix::fs::symlink("file", at("link")).expect("link");
        assert_eq!(outcome(&at("link"), OFlags::empty()), Ok(Some(7)), "the administrator may link");
        assert!(outcome(&at("link"), OFlags::NOFOLLOW).expect_err("link").contains("symbolic link"));
        rustix::fs::mkfifoat(CWD, at("fifo"), Mode::RWXU).expect("fifo");
        assert!(outcome(&at("fifo"), OFlags::NOFOLLOW).expect_err("fifo").contains("no regular file"));
        assert!(outcome(Path::new("/dev/zero"), OFlags::NOFOLLOW).expect_err("device").contains("no regular file"));
        assert!(outcome(place.path(), OFlags::NOFOLLOW).expect_err("directory").contains("no regular file"));
        std::fs::write(at("large"), vec![b'#'; LARGEST]).expect("write");
        assert_eq!(outcome(&at("large"), OFlags::NOFOLLOW), Ok(Some(LARGEST)));
        std::fs::write(at("larger"), vec![b'#'; LARGEST + 1]).expect("write");
        assert!(outcome(&at("larger"), OFlags::NOFOLLOW).expect_err("large").contains("larger than"));
    }

    #[test]
    fn a_link_to_a_tree_is_followed_to_its_neighbours() {
        let place = tempfile::tempdir().expect("directory");
        let place = std::fs::canonicalize(place.path()).expect("path");
        std::fs::create_dir_all(place.join("real/box")).expect("tree");
        std::os::unix::fs::symlink("real/box", place.join("link")).expect("link");
        std::fs::write(place.join("real/box.nspawn"), "[Exec]\n").expect("write");
        let search = Search { directory: &place.join("real/box"), say: &|_| {} };
        let find = |directory: Option<PathBuf>| {
            let patch = SpecPatch { directory, ..SpecPatch::default() };
            search.find(&patch).expect("readable").map(|file| (file.path, file.trusted, file.machine))
        };
        let expected = Some((place.join("real/box.nspawn"), false, "box".to_owned()));
        for path in ["link", "real/box", "real/box/", "real/box/.", "real/../real/box"] {
            let found = find(Some(place.join(path))).expect(path);
            assert_eq!(
                (std::fs::canonicalize(found.0).ok(), found.1, found.2),
                expected.clone().map(|(path, trusted, name)| (Some(path), trusted, name)).expect("known")
            );
        }
        assert_eq!(find(None), expected, "the working directory");
        assert_eq!(find(Some(place.join("real"))), None);
    }

    #[test]
    fn percent_signs_know_the_host() {
        assert_eq!(specifier('U'), Some(rustix::process::getuid().as_raw().to_string()));
        assert_eq!(specifier('H'), Some(host_name()));
        assert_eq!(specifier('b').map(|id| id.len()), Some(32));
        assert_eq!(specifier('q'), None);
        // All that an untrusted file must not ask for has a value elsewhere.
        for letter in ['m', 'b', 'H', 'l', 'u', 'U', 'g', 'G', 'h'] {
            assert!(specifier(letter).is_some() || letter == 'm', "%{letter}");
        }
        assert_eq!(architecture("x86_64"), "x86-64");
    }
}
