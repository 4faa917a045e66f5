use std::path::PathBuf;

/// The value of a file of the machine's own group, above the payload's: the one of version 1 or of cgroup2. `None` where
/// none of these files is in any group of this name.
#[must_use]
pub fn group_value(machine: &str, files: &[&str]) -> Option<String> {
    let mut waiting: Vec<PathBuf> = vec!["/sys/fs/cgroup".into()];
    while let Some(directory) = waiting.pop() {
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_name().to_string_lossy().ends_with(machine)
                && let Some(value) = files.iter().find_map(|file| std::fs::read_to_string(path.join(file)).ok())
            {
                return Some(value.trim().to_owned());
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                waiting.push(path);
            }
        }
    }
    None
}
