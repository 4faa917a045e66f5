//! Users of the host that are taken inside. The host's databases are asked from the nearest to the farthest: its files,
//! the records in `userdb` directories, systemd's lookup service (Varlink, which systemd-homed is behind, too), and
//! what else the C library knows, by getent(1). A static program cannot load that library's modules itself.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use plan::{BOUND_IDS, BindUserFacts, UserFacts};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use serde_json::{Value, json};
use spec::{ContainerSpec, Secret};
use sys::open::openat2;

/// Where records of users lie as files, see nss-systemd(8).
const RECORDS: [&str; 5] =
    ["/etc/userdb", "/run/userdb", "/run/host/userdb", "/usr/local/lib/userdb", "/usr/lib/userdb"];
/// Where systemd answers for all its services and the C library's modules, see systemd-userdbd.service(8).
const MULTIPLEXER: &str = "/run/systemd/userdb/io.systemd.Multiplexer";
/// How long a lookup may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// The largest file that is read, in bytes.
const LIMIT: u64 = 16 << 20;

/// Why a user is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody knows it.
    #[error("there is no user {0} on this host")]
    Unknown(String),
    /// The home directory is not there.
    #[error("cannot take the home directory {home} of the user {name} inside", home = .home.display())]
    Home {
        /// The user.
        name: String,
        /// The directory.
        home: PathBuf,
        /// Why.
        source: rustix::io::Errno,
    },
    /// A database cannot be read.
    #[error("cannot read {path}", path = .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// The users, and what of their names and ids the container has itself.
pub(super) fn probe(spec: &ContainerSpec, root: BorrowedFd<'_>) -> Result<Option<BindUserFacts>, Error> {
    let wanted = &spec.bind_users().users;
    if wanted.is_empty() {
        return Ok(None);
    }
    let users = wanted.iter().map(|name| look_up(name)).collect::<Result<Vec<_>, _>>()?;
    for user in &users {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(&user.home, flags, Mode::empty()).map_err(|source| Error::Home {
            name: user.name.clone(),
            home: user.home.clone(),
            source,
        })?;
    }
    let mut facts = BindUserFacts { users, taken_names: Vec::new(), taken_ids: Vec::new() };
    for name in ["etc/passwd", "etc/group"] {
        for line in inside(root, name).split(|byte| *byte == b'\n') {
            let mut fields = line.split(|byte| *byte == b':');
            let (name, id) = (fields.next().unwrap_or_default(), fields.nth(1).unwrap_or_default());
            facts.taken_names.extend(wanted.iter().filter(|wanted| wanted.as_bytes() == name).cloned());
            let id = std::str::from_utf8(id).ok().and_then(|id| id.parse().ok());
            facts.taken_ids.extend(id.filter(|id| BOUND_IDS.contains(id)));
        }
    }
    Ok(Some(facts))
}

/// A database of the container, which is hostile; one that cannot be read is empty.
fn inside(root: BorrowedFd<'_>, path: &str) -> Vec<u8> {
    use std::io::Read;
    let open = |flags: OFlags| {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve).ok()
    };
    // Looked at first: opening a device or a fifo can do things by itself.
    let is_file = open(OFlags::PATH)
        .and_then(|fd| rustix::fs::fstat(fd).ok())
        .is_some_and(|status| FileType::from_raw_mode(status.st_mode).is_file());
    let mut bytes = Vec::new();
    if let Some(file) = open(OFlags::RDONLY | OFlags::NONBLOCK).filter(|_| is_file) {
        let _ = std::fs::File::from(file).take(LIMIT).read_to_end(&mut bytes);
    }
    bytes
}

fn look_up(name: &str) -> Result<UserFacts, Error> {
    if let Some(user) = from_files(name, Path::new("/etc"))? {
        return Ok(user);
    }
    let record = RECORDS.iter().find_map(|directory| from_record(name, Path::new(directory)));
    let record = record.or_else(|| from_service(name));
    let machine_id = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let user = record.and_then(|record| user_of(name, &record, machine_id.trim()));
    user.or_else(|| from_library(name)).ok_or_else(|| Error::Unknown(name.to_owned()))
}

/// passwd(5), group(5), shadow(5); the last one for who may read it.
fn from_files(name: &str, directory: &Path) -> Result<Option<UserFacts>, Error> {
    let read = |file: &str| match std::fs::read(directory.join(file)) {
        Ok(bytes) => Ok(bytes),
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied) => {
            Ok(Vec::new())
        }
        Err(source) => Err(Error::Read { path: directory.join(file), source }),
    };
    let passwd = read("passwd")?;
    let Some(user) = line_of(&passwd, name) else { return Ok(None) };
    Ok(user_of_lines(&user, line_of(&read("group")?, name).as_deref(), line_of(&read("shadow")?, name).as_deref()))
}

/// The line of a database that begins with this name.
fn line_of(database: &[u8], name: &str) -> Option<String> {
    let mut lines = database.split(|byte| *byte == b'\n');
    let line = lines.find(|line| line.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b":")))?;
    String::from_utf8(line.to_vec()).ok()
}

fn user_of_lines(passwd: &str, group: Option<&str>, shadow: Option<&str>) -> Option<UserFacts> {
    let fields: Vec<_> = passwd.trim_end().split(':').collect();
    let [name, password, uid, gid, _, home, shell] = fields[..] else { return None };
    let (uid, gid) = (uid.parse().ok()?, gid.parse().ok()?);
    let own_group = group.and_then(|line| line.split(':').nth(2)?.parse().ok()) == Some(gid);
    let hash = shadow.and_then(|line| line.split(':').nth(1)).unwrap_or(password);
    Some(UserFacts {
        name: name.to_owned(),
        uid,
        gid,
        own_group,
        home: PathBuf::from(if home.is_empty() { "/" } else { home }),
        shell: (!shell.is_empty()).then(|| shell.to_owned()),
        disposition: None,
        hashed_passwords: Some(hash)
            .filter(|hash| is_hash(hash))
            .map(|hash| Secret::new(hash.into()))
            .into_iter()
            .collect(),
        ssh_keys: Vec::new(),
    })
}

/// `x` and `*` say that there is no password here; `!` in front that it is locked.
fn is_hash(field: &str) -> bool {
    !matches!(field.trim_start_matches('!'), "x" | "*")
}

/// `NAME.user` and `NAME.user-privileged`.
fn from_record(name: &str, directory: &Path) -> Option<Value> {
    let read = |end: &str| -> Option<Value> {
        serde_json::from_slice(&std::fs::read(directory.join(format!("{name}.{end}"))).ok()?).ok()
    };
    let mut record = read("user")?;
    if let Some(privileged) =
        read("user-privileged").and_then(|mut record| record.get_mut("privileged").map(Value::take))
    {
        record.as_object_mut()?.insert("privileged".to_owned(), privileged);
    }
    Some(record)
}

/// Asks systemd (<https://systemd.io/USER_GROUP_API>).
fn from_service(name: &str) -> Option<Value> {
    let mut stream = UnixStream::connect(MULTIPLEXER).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let parameters = json!({ "userName": name, "service": "io.systemd.Multiplexer" });
    let call = json!({ "method": "io.systemd.UserDatabase.GetUserRecord", "parameters": parameters });
    stream.write_all(format!("{call}\0").as_bytes()).ok()?;
    let mut answer = Vec::new();
    BufReader::new(stream).read_until(0, &mut answer).ok()?;
    answer.pop();
    let mut answer: Value = serde_json::from_slice(&answer).ok()?;
    answer.get_mut("parameters")?.get_mut("record").map(Value::take)
}

/// A user's record; some of it may be in a section for this machine alone.
fn user_of(name: &str, record: &Value, machine_id: &str) -> Option<UserFacts> {
    let here = record.get("binding").and_then(|binding| binding.get(machine_id));
    let field = |key: &str| record.get(key).or_else(|| here?.get(key));
    let number = |key: &str| field(key).and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok());
    let text = |key: &str| field(key).and_then(Value::as_str).map(str::to_owned);
    let texts = |key: &str| -> Vec<String> {
        let list = record.get("privileged").and_then(|section| section.get(key)).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    if record.get("userName").and_then(Value::as_str) != Some(name) {
        return None;
    }
    let uid = number("uid")?;
    let gid = number("gid").unwrap_or(uid);
    Some(UserFacts {
        name: name.to_owned(),
        uid,
        gid,
        // What such records come with, unless they name another one.
        own_group: gid == uid,
        home: text("homeDirectory").map_or_else(|| Path::new("/home").join(name), PathBuf::from),
        shell: text("shell"),
        disposition: text("disposition"),
        hashed_passwords: texts("hashedPassword").into_iter().map(|hash| Secret::new(hash.into())).collect(),
        ssh_keys: texts("sshAuthorizedKeys"),
    })
}

/// What the C library's modules know, such as users of a directory service.
fn from_library(name: &str) -> Option<UserFacts> {
    let ask = |database: &str| -> Option<String> {
        let output = Command::new("getent").args([database, "--", name]).output().ok()?;
        line_of(&output.stdout, name)
    };
    user_of_lines(&ask("passwd")?, ask("group").as_deref(), ask("shadow").as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes(user: &UserFacts) -> Vec<&[u8]> {
        user.hashed_passwords.iter().map(Secret::reveal).collect()
    }

    #[test]
    fn users_of_files() {
        let place = tempfile::tempdir().expect("directory");
        let write = |name: &str, text: &str| std::fs::write(place.path().join(name), text).expect("file");
        assert_eq!(from_files("alice", place.path()).expect("readable"), None);
        write("passwd", "alicea:x:1:1::/:\nalice:x:4242:4242:Alice,,,:/home/alice:/bin/zsh\nb:*:7:8::/h:\nbroken:x\n");
        write("group", "alice:x:4242:\nb:x:9:\n");
        write("shadow", "alice:$y$hash:19700::::::\nb:!:1::::::\n");
        let alice = from_files("alice", place.path()).expect("readable").expect("alice");
        assert_eq!((alice.uid, alice.gid, alice.own_group), (4242, 4242, true));
        assert_eq!((alice.home.to_str(), alice.shell.as_deref()), (Some("/home/alice"), Some("/bin/zsh")));
        assert_eq!(hashes(&alice), [b"$y$hash"]);
        let b = from_files("b", place.path()).expect("readable").expect("b");
        assert!(!b.own_group && b.shell.is_none());
        assert_eq!(hashes(&b), [b"!"]);
        assert_eq!(from_files("broken", place.path()).expect("readable"), None);
    }

    #[test]
    fn what_a_password_field_says() {
        for (field, is) in [("x", false), ("*", false), ("!*", false), ("!", true), ("", true), ("!$6$a$b", true)] {
            assert_eq!(is_hash(field), is, "{field:?}");
        }
    }

    #[test]
    fn users_of_records() {
        let place = tempfile::tempdir().expect("directory");
        let write = |name: &str, text: &str| std::fs::write(place.path().join(name), text).expect("file");
        let record = r#"{"userName":"alice","disposition":"regular","shell":"/bin/zsh",
            "binding":{"0123":{"uid":60001,"homeDirectory":"/home/a"},"4567":{"uid":3}}}"#;
        write("alice.user", record);
        write(
            "alice.user-privileged",
            r#"{"privileged":{"hashedPassword":["$y$1","$y$2"],"sshAuthorizedKeys":["ssh-x y"]}}"#,
        );
        let record = from_record("alice", place.path()).expect("record");
        let alice = user_of("alice", &record, "0123").expect("alice");
        assert_eq!((alice.uid, alice.gid, alice.home.to_str()), (60001, 60001, Some("/home/a")));
        assert_eq!(hashes(&alice), [b"$y$1", b"$y$2"]);
        assert_eq!(alice.ssh_keys, ["ssh-x y"]);
        assert_eq!(alice.disposition.as_deref(), Some("regular"));
        assert_eq!(user_of("alice", &record, "9999"), None, "it has no id here");
        assert_eq!(user_of("bob", &record, "0123"), None);
        assert_eq!(from_record("bob", place.path()), None);
    }
}
