//! Looks as fast as it can at each process that appears, and counts what it should not have got to see.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::{kernel, say};

/// The lines of proc_pid_status(5) that hold a set of capabilities.
const SETS: [&str; 5] = ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"];

/// Looks until the first path exists. Processes that are there at the beginning are of no interest, nor is what is this
/// very program with nothing but standard input, output and error. The second word is not to be found in any process.
pub(crate) fn run(words: &[String]) {
    let [until, secret] = words else {
        say("error=spy takes a path and a word");
        return;
    };
    let mut spy = Spy {
        own: fs::read_to_string("/proc/self/status").unwrap_or_default(),
        old: processes().collect(),
        secret: secret.as_bytes().to_vec(),
        counts: BTreeMap::new(),
        taken: Vec::new(),
    };
    let mut next = spy.old.last().copied().unwrap_or(1);
    say("ready=yes");
    loop {
        // Numbers are given out one after the other.
        for _ in 0..200 {
            if let Some(number) = (next..next + 4).rfind(|number| spy.watch(*number)) {
                next = number;
            }
        }
        if Path::new(until).exists() {
            break;
        }
        // Others may have taken numbers, in between or all of them.
        for number in processes().collect::<Vec<_>>() {
            next = next.max(number);
            spy.look(number);
        }
    }
    spy.try_to_change();
    spy.counts.iter().for_each(|(what, count)| say(&format!("{what}={count}")));
    say("done=yes");
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

struct Spy {
    /// What is said of ourselves: nobody here may more.
    own: String,
    old: BTreeSet<u32>,
    secret: Vec<u8>,
    counts: BTreeMap<String, usize>,
    /// Files that were got hold of by processes.
    taken: Vec<(String, fs::File)>,
}

impl Spy {
    fn count(&mut self, what: &str) {
        *self.counts.entry(what.to_owned()).or_default() += 1;
    }

    /// Looks for as long as there is something to be seen.
    fn watch(&mut self, number: u32) -> bool {
        let seen = self.look(number);
        while seen && self.look(number) {}
        seen
    }

    /// Looks once. False where there is nobody.
    fn look(&mut self, number: u32) -> bool {
        if self.old.contains(&number) {
            return false;
        }
        let Ok(status) = fs::read_to_string(format!("/proc/{number}/status")) else { return false };
        if field(&status, "State:").starts_with(['Z', 'X']) {
            return false;
        }
        self.count("looks");
        let early = field(&status, "Name:") != "probe";
        if early {
            self.count("looks before it is the program");
        }
        for name in SETS {
            let set = |text| u64::from_str_radix(field(text, name), 16).unwrap_or(u64::MAX);
            let limit = u64::from_str_radix(field(&self.own, "CapBnd:"), 16).unwrap_or(0);
            if set(&status) & !limit != 0 {
                self.count(&format!("too strong {name}"));
            }
        }
        for name in ["NoNewPrivs:", "Seccomp:", "Seccomp_filters:", "Uid:", "Gid:"] {
            if field(&status, name) != field(&self.own, name) {
                self.count(&format!("other {name} {}", field(&status, name)));
            }
        }
        self.links(number);
        for name in ["environ", "cmdline"] {
            let text = fs::read(format!("/proc/{number}/{name}")).unwrap_or_default();
            if text.windows(self.secret.len()).any(|window| window == self.secret) {
                self.count(&format!("secret in {name}"));
            }
        }
        true
    }

    /// Keeps what a link leads to, by which it can be opened once more when nobody runs it any longer.
    fn take(&mut self, name: &str, target: &Path, link: &Path) {
        let what = format!("{name} {}", kind(target));
        let known = self.taken.iter().filter(|(known, _)| *known == what).count();
        if name != "fd"
            && known < 3
            && let Ok(file) = fs::File::open(link)
        {
            self.taken.push((what.clone(), file));
        }
        self.count(&what);
    }

    /// Whether what was taken could be changed. Nothing is.
    fn try_to_change(&mut self) {
        for (what, file) in std::mem::take(&mut self.taken) {
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            let Ok(opened) = fs::OpenOptions::new().read(true).write(true).open(path) else { continue };
            if kernel::map_for_writing(opened.as_raw_fd()).is_ok() {
                self.count(&format!("can be changed: {what}"));
            }
        }
    }

    /// What it has open, runs, has mapped and where it is.
    fn links(&mut self, number: u32) {
        let process = format!("/proc/{number}");
        // The beginning of every program in Rust has it open.
        let own = PathBuf::from(format!("{process}/maps"));
        for directory in ["fd", "map_files"] {
            for entry in fs::read_dir(format!("{process}/{directory}")).into_iter().flatten().flatten() {
                let standard = directory == "fd" && matches!(entry.file_name().as_bytes(), b"0" | b"1" | b"2");
                match fs::read_link(entry.path()) {
                    Ok(target) if !standard && target != own && target != Path::new("/probe") => {
                        self.take(directory, &target, &entry.path());
                    }
                    _ => {}
                }
            }
        }
        for name in ["exe", "cwd", "root"] {
            match fs::read_link(format!("{process}/{name}")) {
                Ok(target) if !matches!(target.to_str(), Some("/" | "/probe" | "/root")) => {
                    self.take(name, &target, Path::new(&format!("{process}/{name}")));
                }
                _ => {}
            }
        }
    }
}

/// A target without numbers, so that there are not too many different ones.
fn kind(target: &Path) -> String {
    target.to_string_lossy().split(['[', '=']).next().unwrap_or_default().to_owned()
}

fn field<'a>(status: &'a str, name: &str) -> &'a str {
    status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim()
}
