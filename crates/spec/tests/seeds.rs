//! The seeds of the fuzz targets for command lines, option arguments, settings files and bundles, and what fuzzing has found.

#[path = "../../../fuzz/words.rs"]
mod words;

#[path = "../../../fuzz/oci.rs"]
mod oci;

/// Every seed of a target, and every beginning of it.
fn replay(target: &str, one: fn(&[u8])) {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target);
    let seeds: Vec<_> = std::fs::read_dir(directory).expect("seeds").flatten().collect();
    assert!(!seeds.is_empty(), "{target}");
    for seed in seeds {
        let bytes = std::fs::read(seed.path()).expect("a seed");
        (0..=bytes.len()).for_each(|length| one(&bytes[..length]));
    }
}

#[test]
fn bundles_are_read_without_panics() {
    replay("oci_config", oci::oci_config);
}

#[test]
fn command_lines_are_read_without_panics() {
    replay("command_line", words::command_line);
}

#[test]
fn settings_files_are_read_without_panics() {
    replay("settings", words::settings);
}

#[test]
fn option_arguments_are_read_without_panics() {
    replay("option_arguments", words::option_arguments);
}
