//! Where something is mounted, as this process sees it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// The table of mounts, see proc_pid_mountinfo(5).
pub(crate) const TABLE: &str = "/proc/self/mountinfo";

/// What is mounted at a path without symbolic links, or below it.
///
/// # Errors
/// Those of reading the table.
pub fn at_or_below(path: &Path) -> rustix::io::Result<Vec<PathBuf>> {
    let table = std::fs::read(TABLE).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    let points = table.split(|byte| *byte == b'\n').filter_map(mount_point);
    Ok(points.filter(|point| point.starts_with(path)).collect())
}

/// The fifth word of a line, in which spaces and the like stand as `\040`.
fn mount_point(line: &[u8]) -> Option<PathBuf> {
    let word = line.split(|byte| *byte == b' ').nth(4)?;
    let mut plain = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((first, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|digits| *first == b'\\' && digits.iter().all(u8::is_ascii_digit));
        let byte = octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        plain.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[3..] } else { after };
    }
    Some(OsString::from_vec(plain).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_as_the_kernel_writes_them() {
        let line = br"36 35 98:0 / /var/a\040b\134c rw - ext4 /dev/root rw";
        assert_eq!(mount_point(line), Some(PathBuf::from(r"/var/a b\c")));
        assert_eq!(mount_point(b""), None);
        assert!(at_or_below(Path::new("/")).is_ok_and(|points| !points.is_empty()));
    }
}
