// What is done with command lines and settings files. Shared by the fuzz targets and by the test that replays the seeds.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// Words, each ended by a NUL.
pub(crate) fn command_line(data: &[u8]) {
    let words: Vec<OsString> = data.split(|byte| *byte == 0).map(|word| OsString::from_vec(word.to_vec())).collect();
    let caller = spec::options::Caller { directory: Path::new("/srv"), variable: &|_| None };
    let _ = spec::command_line::read(&words, caller);
}

/// A settings file, trusted and not. What it asks for is checked, too.
pub(crate) fn settings(data: &[u8]) {
    use spec::settings::{File, NoFiles};

    let caller = spec::options::Caller { directory: Path::new("/srv"), variable: &|_| None };
    for trusted in [false, true] {
        let file = File { path: "/srv/box.nspawn".into(), text: data.to_vec(), trusted, machine: "box".into() };
        let Ok(read) = spec::settings::read(&file, trusted, &NoFiles, caller) else { continue };
        let _ = spec::settings::report(&read, &[], caller);
        let _ = read.patch.validate(Path::new("/srv"));
    }
}

/// An option without its dashes, `=` and its argument, read three times into the same patch: list options get longer.
pub(crate) fn option_arguments(data: &[u8]) {
    let (name, value) = match data.iter().position(|byte| *byte == b'=') {
        Some(at) => (&data[..at], Some(std::ffi::OsStr::from_bytes(&data[at + 1..]))),
        None => (data, None),
    };
    let named = |row: &&spec::options::OptionRow| row.spelling().trim_start_matches('-').as_bytes() == name;
    let Some(row) = spec::options::all().find(named) else { return };
    let spec::options::Effect::Patch(parse) = row.effect else { return };
    let caller = spec::options::Caller { directory: Path::new("/srv"), variable: &|_| None };
    let mut patch = spec::SpecPatch::default();
    for value in [value, None, value] {
        let _ = parse(&mut patch, &spec::options::Given { value, caller });
    }
    let _ = patch.validate(Path::new("/srv"));
}
