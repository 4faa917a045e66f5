//! What the host's proc says of a process. Names and command lines are the process's own choice: they come out printable
//! and not longer than is asked for.

use std::fs::File;
use std::io::Read;

/// The bit of `PF_KTHREAD` among the flags of proc_pid_stat(5).
const KERNEL_THREAD: u64 = 0x0020_0000;
/// How much of a command line is read.
const LONGEST: u64 = 1 << 16;

/// From `/proc/PID/stat`, see proc_pid_stat(5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// The name of its program.
    pub(crate) name: String,
    /// What it does, as a letter: `S` sleeps, `Z` has ended.
    pub(crate) state: char,
    /// Clock ticks in its own code and in the kernel's.
    pub(crate) ticks: u64,
    /// How many threads it has.
    pub(crate) threads: u64,
    /// Memory that is there, in pages.
    pub(crate) resident: u64,
    /// It runs in the kernel alone.
    pub(crate) kernel_thread: bool,
}

impl Stat {
    /// Reads it; `None` if the process is gone.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        Self::parse(&read(pid, "stat", LONGEST)?)
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let begin = text.iter().position(|byte| *byte == b'(')? + 1;
        // The name may hold anything, parentheses too.
        let end = text.iter().rposition(|byte| *byte == b')')?;
        let name = spec::printable(&String::from_utf8_lossy(text.get(begin..end)?));
        let fields: Vec<&str> = std::str::from_utf8(&text[end + 1..]).ok()?.split_ascii_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Self {
            name,
            state: fields.first()?.chars().next()?,
            ticks: number(11)?.saturating_add(number(12)?),
            threads: number(17).unwrap_or(1),
            resident: number(21).unwrap_or(0),
            kernel_thread: number(6)? & KERNEL_THREAD != 0,
        })
    }
}

/// What it was started with, or its name in brackets where it does not say; with words quoted as for a shell, where they
/// have to be. `None` if it is gone.
pub(crate) fn command_line(pid: i32, quoted: bool) -> Option<String> {
    let bytes = read(pid, "cmdline", LONGEST)?;
    let end = bytes.iter().rposition(|byte| *byte != 0);
    match end {
        Some(end) => {
            let words = bytes[..=end].split(|byte| *byte == 0).map(String::from_utf8_lossy);
            let words = words.map(|word| if quoted { quote(&word) } else { word.into_owned() });
            Some(spec::printable(&words.collect::<Vec<_>>().join(" ")))
        }
        None => Some(format!("[{}]", Stat::of(pid)?.name)),
    }
}

/// In double quotes if a shell would not take it for one plain word.
fn quote(word: &str) -> String {
    const PLAIN: &str = "-_+=:,./@%^~{}]#";
    if !word.is_empty() && word.chars().all(|letter| letter.is_alphanumeric() || PLAIN.contains(letter)) {
        return word.to_owned();
    }
    let mut text = String::from("\"");
    for letter in word.chars() {
        if matches!(letter, '"' | '\\' | '`' | '$') {
            text.push('\\');
        }
        text.push(letter);
    }
    text.push('"');
    text
}

/// Memory in bytes that belongs to it alone, without what comes from files (proc_pid_statm(5)).
pub(crate) fn own_memory(pid: i32) -> Option<u64> {
    let text = String::from_utf8(read(pid, "statm", 4096)?).ok()?;
    let mut pages = text.split_ascii_whitespace().skip(1).map_while(|word| word.parse::<u64>().ok());
    let (resident, shared) = (pages.next()?, pages.next()?);
    Some(resident.saturating_sub(shared) * rustix::param::page_size() as u64)
}

/// Bytes that it has read from disks and written to them (proc_pid_io(5)).
pub(crate) fn transferred(pid: i32) -> Option<(u64, u64)> {
    let text = String::from_utf8(read(pid, "io", 4096)?).ok()?;
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    Some((value("read_bytes:")?, value("write_bytes:")?))
}

/// The beginning of one of its files.
pub(crate) fn read(pid: i32, file: &str, longest: u64) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    File::open(format!("/proc/{pid}/{file}")).ok()?.take(longest).read_to_end(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_they_must_be() {
        assert_eq!(quote("--noclear"), "--noclear");
        assert_eq!(quote("115200,38400"), "115200,38400");
        assert_eq!(quote(r"-p -- \u"), r#""-p -- \\u""#);
        assert_eq!(quote(r#"a"$b`"#), r#""a\"\$b\`""#);
        assert_eq!(quote(""), r#""""#);
    }

    #[test]
    fn names_may_hold_anything() {
        let line = b"12 (a) b\x1b(c) Z 1 2 3 4 5 2097152 0 0 0 0 7 8 0 0 20 0 1 0 100 4096 33 0";
        let stat = Stat::parse(line).unwrap();
        let expected = Stat {
            name: r"a) b\u{1b}(c".to_owned(),
            state: 'Z',
            ticks: 15,
            threads: 1,
            resident: 33,
            kernel_thread: true,
        };
        assert_eq!(stat, expected);
        assert_eq!(Stat::parse(b"12 (a"), None);
    }

    #[test]
    fn the_caller_s_own() {
        let pid = i32::try_from(std::process::id()).unwrap();
        assert!(command_line(pid, false).unwrap().contains("redd"));
        let stat = Stat::of(pid).unwrap();
        assert!(!stat.kernel_thread && stat.resident > 0);
        assert_eq!(command_line(i32::MAX, false), None);
    }
}
