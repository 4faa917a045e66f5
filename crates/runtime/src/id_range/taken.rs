//! Ids that belong to somebody else than containers: users, groups, and the ranges that users may give to theirs.
//!
//! What other sources of the name service switch know is asked of nobody: that can take seconds, at every start. Ids of
//! directories are small by custom. Only `systemd-nsresourced` is asked, if it has given ranges: it answers at once.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bus::varlink::Client;
use serde_json::json;
use spec::UidRange;

/// Files whose lines have an id in these fields, separated by colons: passwd(5), group(5).
const IDS: [(&str, &[usize]); 2] = [("etc/passwd", &[2, 3]), ("etc/group", &[2])];
/// Files whose lines have a first id and a count behind a name: subuid(5), subgid(5).
const RANGES: [&str; 2] = ["etc/subuid", "etc/subgid"];
/// Directories with a file `ID.user` or `ID.group` for each user and group: nss-systemd(8), systemd-userdbd.service(8).
const RECORDS: [&str; 4] = ["etc/userdb", "run/userdb", "run/host/userdb", "usr/lib/userdb"];

/// Where `systemd-nsresourced` notes the ranges that it has given, and where it tells whose an id is.
const GIVEN: &str = "run/systemd/nsresource/registry";
const SERVICE: &str = "io.systemd.NamespaceResource";
/// How long it may take to tell.
const PATIENCE: Duration = Duration::from_millis(500);

/// The ids that containers cannot have.
#[derive(Debug, Default)]
pub(super) struct Taken {
    ranges: Vec<UidRange>,
    /// The socket of the service that has given ranges, if it has.
    service: Option<PathBuf>,
}

impl Taken {
    /// Those of the host below `root`. A file that is not there takes none.
    pub(super) fn read(root: &Path) -> Self {
        let mut taken = Self::default();
        for (file, fields) in IDS {
            taken.lines(&root.join(file), |fields_of_line| {
                fields.iter().filter_map(|number| Some((number_at(fields_of_line, *number)?, 1))).collect()
            });
        }
        for file in RANGES {
            taken
                .lines(&root.join(file), |fields| number_at(fields, 1).zip(number_at(fields, 2)).into_iter().collect());
        }
        for directory in RECORDS {
            taken.records(&root.join(directory));
        }
        let has_given = std::fs::read_dir(root.join(GIVEN)).is_ok_and(|mut notes| notes.next().is_some());
        taken.service = has_given.then(|| root.join("run/systemd/userdb").join(SERVICE));
        taken
    }

    fn lines(&mut self, path: &Path, ids: impl Fn(&[&[u8]]) -> Vec<(u32, u32)>) {
        let Ok(contents) = std::fs::read(path) else { return };
        for line in contents.split(|byte| *byte == b'\n') {
            let fields: Vec<&[u8]> = line.splitn(5, |byte| *byte == b':').collect();
            for (start, count) in ids(&fields) {
                self.add(start, count);
            }
        }
    }

    fn records(&mut self, directory: &Path) {
        let Ok(entries) = std::fs::read_dir(directory) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let id = name.to_str().and_then(|name| name.strip_suffix(".user").or_else(|| name.strip_suffix(".group")));
            if let Some(id) = id.and_then(|id| id.parse().ok()) {
                self.add(id, 1);
            }
        }
    }

    /// Most ids of a host are too small to be in a container's way.
    fn add(&mut self, start: u32, count: u32) {
        // A range that reaches past the last id ends with it.
        let count = count.min(u32::MAX - start);
        self.ranges.extend(UidRange::new(start, count).filter(|range| range.is_pickable()));
    }

    /// Whether any id of the range is somebody's.
    pub(super) fn overlaps(&self, range: UidRange) -> bool {
        self.ranges.iter().any(|taken| taken.overlaps(range))
            || self.service.as_ref().is_some_and(|socket| is_given(socket, range.start()))
    }
}

/// Whether the service has given a range with this id. One that does not answer is not waited for.
fn is_given(socket: &Path, id: u32) -> bool {
    let Ok(client) = Client::connect(socket) else { return false };
    let parameters = json!({ "uid": id, "service": SERVICE });
    client.patient_for(PATIENCE).call("io.systemd.UserDatabase.GetUserRecord", parameters, &[]).is_ok()
}

fn number_at(fields: &[&[u8]], number: usize) -> Option<u32> {
    std::str::from_utf8(fields.get(number)?).ok()?.trim_end().parse().ok()
}
