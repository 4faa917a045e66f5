//! Small files that are read again and again, with a buffer that is used again.

use std::os::fd::BorrowedFd;

use rustix::io::{self, read, retry_on_intr};

/// Half of what is asked for at first, in bytes: most files are shorter.
const USUAL: usize = 2 << 10;

/// What tells that a file ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// A read that brings less than was asked for: so it is with files of file systems.
    Short,
    /// One that brings nothing: the kernel's own files come as it likes.
    Empty,
}

/// What is in a file, as far as `most` bytes.
///
/// # Errors
/// Those of read(2).
pub(crate) fn read_at_most<'a>(
    file: BorrowedFd<'_>,
    end: End,
    most: usize,
    buffer: &'a mut Vec<u8>,
) -> io::Result<&'a [u8]> {
    let mut length = 0;
    while length < most {
        let room = (length.max(USUAL) * 2).min(most);
        if buffer.len() < room {
            buffer.resize(room, 0);
        }
        let rest = &mut buffer[length..room];
        let asked = rest.len();
        let came = retry_on_intr(|| read(file, &mut *rest))?;
        length += came;
        if came == 0 || (end == End::Short && came < asked) {
            break;
        }
    }
    Ok(&buffer[..length])
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn files_of_all_lengths() {
        let mut buffer = Vec::new();
        for length in [0, 1, USUAL - 1, USUAL, USUAL + 1, 3 * USUAL, 100_000] {
            let contents: Vec<u8> = (0..length).map(|place| u8::try_from(place % 251).unwrap()).collect();
            let mut file = tempfile::tempfile().unwrap();
            std::io::Write::write_all(&mut file, &contents).unwrap();
            for (end, most) in [(End::Short, 1 << 20), (End::Empty, 1 << 20), (End::Short, 1000), (End::Empty, 1000)] {
                std::io::Seek::rewind(&mut file).unwrap();
                let text = read_at_most(file.as_fd(), end, most, &mut buffer).unwrap();
                assert!(text == &contents[..length.min(most)], "{length} bytes, {end:?}, at most {most}");
            }
        }
    }

    #[test]
    fn a_file_of_the_kernel_s() {
        let file = std::fs::File::open("/proc/self/status").unwrap();
        let mut buffer = Vec::new();
        let text = read_at_most(file.as_fd(), End::Empty, 1 << 20, &mut buffer).unwrap();
        assert!(text.starts_with(b"Name:") && text.ends_with(b"\n"));
    }
}
