//! Notices whether files are opened: a device node in a hostile tree must not be, since that alone can do harm.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};

/// Files that are watched with inotify(7). Opening with `O_PATH` does not count.
#[derive(Debug)]
pub struct OpenWatch {
    queue: OwnedFd,
    paths: Vec<(i32, PathBuf)>,
}

impl OpenWatch {
    /// Watches these files, none of which is followed if it is a link.
    ///
    /// # Panics
    /// If there are too many watches.
    pub fn new<'a>(files: impl IntoIterator<Item = &'a Path>) -> Self {
        let queue = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).expect("inotify");
        let flags = WatchFlags::OPEN | WatchFlags::DONT_FOLLOW;
        let watch = |path: &Path| (inotify::add_watch(&queue, path, flags).expect("watch"), path.to_owned());
        let paths = files.into_iter().map(watch).collect();
        Self { queue, paths }
    }

    /// Those that have been opened since.
    pub fn opened(&self) -> Vec<&Path> {
        let mut buffer = [MaybeUninit::<u8>::uninit(); 4096];
        let mut reader = Reader::new(&self.queue, &mut buffer);
        let mut opened = Vec::new();
        while let Ok(event) = reader.next() {
            if event.events().contains(ReadFlags::OPEN) {
                opened.extend(self.paths.iter().filter(|(number, _)| *number == event.wd()).map(|(_, path)| &**path));
            }
        }
        opened
    }
}

#[cfg(test)]
mod tests {
    use super::OpenWatch;

    #[test]
    fn opening_is_noticed() {
        let directory = tempfile::tempdir().expect("directory");
        let paths = ["one", "two"].map(|name| directory.path().join(name));
        paths.iter().for_each(|path| std::fs::write(path, "").expect("file"));
        let watch = OpenWatch::new(paths.iter().map(|path| &**path));
        assert!(watch.opened().is_empty());
        drop(std::fs::File::open(&paths[1]).expect("file"));
        assert_eq!(watch.opened(), [&*paths[1]]);
    }
}
