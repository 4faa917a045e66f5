//! What is in a file: shared with the copy where the file system can, else copied without its holes.

use std::os::fd::OwnedFd;

use rustix::fs::{SeekFrom, Stat, copy_file_range, ftruncate, ioctl_ficlone, seek};
use rustix::io::{Errno, pread, pwrite};

/// How much is copied before the observer is asked again, in bytes.
const AT_ONCE: u64 = 32 * 1024 * 1024;
const BUFFER: usize = 256 * 1024;
/// The smallest hole that is looked for, in bytes.
const HOLE: usize = 4096;

pub(super) struct Contents {
    /// Reflinks have not been refused yet.
    try_sharing: bool,
    /// The kernel's own copying has not been refused yet.
    try_range: bool,
    buffer: Vec<u8>,
    pub(super) shared: bool,
    pub(super) bytes: u64,
}

impl Contents {
    pub(super) fn new() -> Self {
        Self { try_sharing: true, try_range: true, buffer: Vec::new(), shared: false, bytes: 0 }
    }

    /// Copies a part from `position` on; the next position, or none at the end.
    pub(super) fn copy(
        &mut self,
        from: &OwnedFd,
        to: &OwnedFd,
        status: &Stat,
        position: u64,
    ) -> rustix::io::Result<Option<u64>> {
        let size = u64::try_from(status.st_size).unwrap_or(0);
        if size == 0 || position == 0 && self.share(from, to)? {
            return Ok(None);
        }
        // st_blocks counts 512 bytes each, whatever the file system's own blocks are.
        let has_holes = u64::try_from(status.st_blocks).unwrap_or(0) * 512 < size;
        let Some((start, end)) = (if has_holes { data(from, position, size)? } else { Some((position, size)) }) else {
            // A hole up to the end.
            ftruncate(to, size)?;
            return Ok(None);
        };
        // There are holes somewhere, and the file system does not tell where: they are looked for.
        let unknown = has_holes && (start, end) == (position, size);
        let end = end.min(start + AT_ONCE);
        let reached =
            if unknown { self.without_zeroes(from, to, start, end)? } else { self.range(from, to, start, end)? };
        if unknown && reached == size {
            ftruncate(to, size)?;
        }
        self.bytes += reached - start;
        if reached < end {
            // The file has become shorter meanwhile.
            return Ok(None);
        }
        Ok((end < size).then_some(end))
    }

    fn share(&mut self, from: &OwnedFd, to: &OwnedFd) -> rustix::io::Result<bool> {
        if !self.try_sharing {
            return Ok(false);
        }
        match ioctl_ficlone(to, from) {
            Ok(()) => {
                self.shared = true;
                Ok(true)
            }
            Err(Errno::OPNOTSUPP | Errno::XDEV | Errno::NOTTY | Errno::NOSYS) => {
                self.try_sharing = false;
                Ok(false)
            }
            // This file cannot be shared, for example one without checksums.
            Err(Errno::INVAL | Errno::PERM | Errno::TXTBSY | Errno::ACCESS) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// Copies what is between two positions; the position that was reached.
    fn range(&mut self, from: &OwnedFd, to: &OwnedFd, start: u64, end: u64) -> rustix::io::Result<u64> {
        let mut position = start;
        while position < end {
            let length = usize::try_from(end - position).unwrap_or(usize::MAX);
            let copied = if self.try_range {
                let (mut read, mut write) = (position, position);
                match rustix::io::retry_on_intr(|| copy_file_range(from, Some(&mut read), to, Some(&mut write), length))
                {
                    Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => {
                        self.try_range = false;
                        continue;
                    }
                    other => other?,
                }
            } else {
                self.piece(from, to, position, length)?
            };
            if copied == 0 {
                break;
            }
            position += copied as u64;
        }
        Ok(position)
    }

    /// The same, leaving out blocks of zeroes.
    fn without_zeroes(&mut self, from: &OwnedFd, to: &OwnedFd, start: u64, end: u64) -> rustix::io::Result<u64> {
        self.buffer.resize(BUFFER, 0);
        let mut position = start;
        while position < end {
            let wanted = usize::try_from(end - position).unwrap_or(usize::MAX).min(BUFFER);
            let read = rustix::io::retry_on_intr(|| pread(from, &mut self.buffer[..wanted], position))?;
            if read == 0 {
                break;
            }
            for (number, block) in self.buffer[..read].chunks(HOLE).enumerate() {
                let mut rest = if block.iter().all(|byte| *byte == 0) { &[][..] } else { block };
                let mut place = position + (number * HOLE) as u64;
                while !rest.is_empty() {
                    let written = rustix::io::retry_on_intr(|| pwrite(to, rest, place))?;
                    (rest, place) = (&rest[written..], place + written as u64);
                }
            }
            position += read as u64;
        }
        Ok(position)
    }

    fn piece(&mut self, from: &OwnedFd, to: &OwnedFd, position: u64, length: usize) -> rustix::io::Result<usize> {
        self.buffer.resize(BUFFER, 0);
        let wanted = length.min(BUFFER);
        let read = rustix::io::retry_on_intr(|| pread(from, &mut self.buffer[..wanted], position))?;
        let mut written = 0;
        while written < read {
            let rest = &self.buffer[written..read];
            written += rustix::io::retry_on_intr(|| pwrite(to, rest, position + written as u64))?;
        }
        Ok(read)
    }
}

/// The next part at or after `position` that is no hole.
fn data(file: &OwnedFd, position: u64, size: u64) -> rustix::io::Result<Option<(u64, u64)>> {
    let start = match seek(file, SeekFrom::Data(position)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return Ok(None),
        // No holes are known here.
        Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(Some((position, size))),
        Err(errno) => return Err(errno),
    };
    let end = seek(file, SeekFrom::Hole(start))?;
    Ok((start < size).then_some((start, end.min(size))))
}
