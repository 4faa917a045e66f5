//! Users and groups from the container's own files, read as text: none of its programs has to run for that.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

/// The largest database that is read, in bytes.
pub const LIMIT: usize = 16 << 20;

/// A user, as `/etc/passwd` has it (passwd(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its login name, if the database has one.
    pub name: OsString,
    /// Its number.
    pub uid: u32,
    /// Its first group.
    pub gid: u32,
    /// Its home directory.
    pub home: OsString,
    /// Its login shell.
    pub shell: Option<OsString>,
}

impl User {
    /// One whose name no database is asked for.
    pub fn of_ids(uid: u32, gid: u32) -> Self {
        let (name, home) = if uid == 0 { ("root", "/root") } else { ("", "/") };
        Self { name: name.into(), uid, gid, home: home.into(), shell: None }
    }

    /// Root, as every system has it.
    pub fn root() -> Self {
        Self { name: "root".into(), uid: 0, gid: 0, home: "/root".into(), shell: None }
    }
}

/// Looks a user up by name or number. A number that the database does not know is a user without a name, with a group
/// of the same number.
pub fn find(passwd: &[u8], wanted: &str) -> Option<User> {
    let number = wanted.bytes().all(|byte| byte.is_ascii_digit()).then(|| wanted.parse::<u32>().ok()).flatten();
    let mut users = passwd.split(|byte| *byte == b'\n').filter_map(user);
    let found = users.find(|user| match number {
        Some(number) => user.uid == number,
        None => user.name.as_encoded_bytes() == wanted.as_bytes(),
    });
    found.or_else(|| {
        number.filter(|number| *number != u32::MAX).map(|number| User {
            name: wanted.into(),
            uid: number,
            gid: number,
            home: "/".into(),
            shell: None,
        })
    })
}

fn user(line: &[u8]) -> Option<User> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b':').collect();
    let [name, _, uid, gid, _, home, shell] = fields[..] else { return None };
    let text = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    if name.is_empty() || name.contains(&0) || home.contains(&0) || shell.contains(&0) {
        return None;
    }
    Some(User {
        name: text(name),
        uid: id(uid)?,
        gid: id(gid)?,
        home: if home.is_empty() { "/".into() } else { text(home) },
        shell: (!shell.is_empty()).then(|| text(shell)),
    })
}

/// The groups that list the user as a member (group(5)), and its first one.
pub fn groups(group: &[u8], user: &User) -> Vec<u32> {
    let mut all = vec![user.gid];
    for line in group.split(|byte| *byte == b'\n') {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b':').collect();
        let [_, _, number, members] = fields[..] else { continue };
        let member = members.split(|byte| *byte == b',').any(|name| name == user.name.as_encoded_bytes());
        if let (true, Some(number)) = (member, id(number))
            && !all.contains(&number)
        {
            all.push(number);
        }
    }
    all
}

/// The number of the group with this name.
pub fn group(group: &[u8], name: &str) -> Option<u32> {
    group.split(|byte| *byte == b'\n').find_map(|line| {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b':').collect();
        let [found, _, number, _] = fields[..] else { return None };
        id(number).filter(|_| found == name.as_bytes())
    })
}

fn id(text: &[u8]) -> Option<u32> {
    std::str::from_utf8(text).ok()?.parse().ok().filter(|number| *number != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] =
        b"root:x:0:0:root:/root:/bin/bash\nbroken\na:x:1000:100::/home/a:/bin/sh\nb:x:99999999999:1::/:\n";

    #[test]
    fn by_name_and_number() {
        assert_eq!(find(PASSWD, "a").map(|user| (user.uid, user.gid)), Some((1000, 100)));
        assert_eq!(find(PASSWD, "1000").map(|user| user.name), Some("a".into()));
        assert_eq!(find(PASSWD, "7").map(|user| (user.uid, user.gid)), Some((7, 7)));
        assert_eq!(find(PASSWD, "nobody"), None);
        assert_eq!(find(PASSWD, "b"), None);
        assert_eq!(find(PASSWD, "4294967295"), None);
        assert_eq!(find(b"", "root"), None);
    }

    #[test]
    fn supplementary_groups() {
        let group = b"users:x:100:\nwheel:x:10:b,a\naudio:x:11:ab\nbad:x:x:a\nwheel2:x:10:a\n";
        let user = find(PASSWD, "a").expect("user");
        assert_eq!(groups(group, &user), [100, 10]);
        assert_eq!(super::group(group, "audio"), Some(11));
        assert_eq!(super::group(group, "bad"), None);
        assert_eq!(super::group(group, "aud"), None);
    }
}
