//! The seeds of the fuzz target for command lines, and what fuzzing has found.

#[path = "../../../fuzz/words.rs"]
mod words;

#[test]
fn seeds_are_read_without_panics() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/command_line");
    let seeds: Vec<_> = std::fs::read_dir(directory).expect("seeds").flatten().collect();
    assert!(!seeds.is_empty());
    for seed in seeds {
        let bytes = std::fs::read(seed.path()).expect("a seed");
        (0..=bytes.len()).for_each(|length| words::command_line(&bytes[..length]));
    }
}

#[path = "../../../fuzz/oci.rs"]
mod oci;

#[test]
fn bundles_are_read_without_panics() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/oci_config");
    let seeds: Vec<_> = std::fs::read_dir(directory).expect("seeds").flatten().collect();
    assert!(!seeds.is_empty());
    for seed in seeds {
        let bytes = std::fs::read(seed.path()).expect("a seed");
        (0..=bytes.len()).for_each(|length| oci::oci_config(&bytes[..length]));
    }
}
