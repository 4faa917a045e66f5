//! Files of the host, as if a server had sent them.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::Instant;

use rustix::fs::OFlags;

use super::{Error, Patience, Response};

/// Opens what `file://` and that path mean, from a byte on.
pub(super) fn open(url: &str, path: &str, from: u64, patience: Patience) -> Result<Response, Error> {
    let refused = |reason: &str| Error::Url { url: url.to_owned(), reason: reason.to_owned() };
    // `file://localhost/path` is the same as `file:///path`.
    let path = path.strip_prefix("localhost").unwrap_or(path);
    if !path.starts_with('/') {
        return Err(refused("the path after file:// is not absolute"));
    }
    let failed = |source| Error::File { url: url.to_owned(), source };
    let path = decoded(path).ok_or_else(|| refused("there is something else than two digits behind a percent sign"))?;
    // Not blocking, so that a named pipe does not stop us.
    let flags = OFlags::NONBLOCK.bits() as i32;
    let mut file = File::options().read(true).custom_flags(flags).open(path).map_err(failed)?;
    let status = file.metadata().map_err(failed)?;
    if !status.is_file() {
        return Err(refused("it is no regular file"));
    }
    // What is not as long as the part that is there already is another file.
    let offset = if from <= status.len() { from } else { 0 };
    file.seek(SeekFrom::Start(offset)).map_err(failed)?;
    let length = status.len() - offset;
    let reader = Box::new(file.take(length));
    let url = url.to_owned();
    let modified = status.modified().ok();
    Ok(Response { url, offset, length: Some(length), modified, reader, patience, got: 0, window: (Instant::now(), 0) })
}

/// A path with the bytes that `%` and two digits stand for.
fn decoded(path: &str) -> Option<PathBuf> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || (rest.next()? as char).to_digit(16);
                (digit()? << 4 | digit()?) as u8
            }
            byte => byte,
        });
    }
    Some(PathBuf::from(OsString::from_vec(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Client;

    #[test]
    fn files_are_read_where_that_is_allowed() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("a b"), "content").unwrap();
        let url = format!("file://{}/a%20b", directory.path().display());
        let client = Client::new(None, Patience::default()).unwrap();
        assert!(matches!(client.get(&url, 0), Err(Error::Url { .. })));
        let client = client.with_files();
        assert_eq!(client.get_all(&url, 7).unwrap(), b"content");
        assert!(matches!(client.get_all(&url, 6), Err(Error::TooLarge { .. })));
        let mut rest = [0; 9];
        let mut response = client.get(&url, 4).unwrap();
        assert_eq!((response.offset(), response.length()), (4, Some(3)));
        let count = response.read(&mut rest).unwrap();
        assert_eq!(&rest[..count], b"ent");
        assert_eq!(client.get(&url, 8).unwrap().offset(), 0);

        let refused = |url: &str| client.get(url, 0).unwrap_err();
        assert!(matches!(refused(&format!("{url}c")), Error::File { .. }));
        assert!(refused(&format!("{url}c")).is_missing());
        for bad in ["file://etc/passwd", "file:///a%2", "file:///dev/null", "file:///"] {
            assert!(matches!(refused(bad), Error::Url { .. }), "{bad}");
        }
    }
}
