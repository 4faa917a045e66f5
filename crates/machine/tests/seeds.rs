//! The seeds of the fuzz target for control sockets, and what fuzzing has found.

#[path = "../../../fuzz/control.rs"]
mod control;

#[test]
fn seeds_are_read_without_panics() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/control");
    let seeds: Vec<_> = std::fs::read_dir(directory).expect("seeds").flatten().collect();
    assert!(!seeds.is_empty());
    for seed in seeds {
        let bytes = std::fs::read(seed.path()).expect("a seed");
        // Cut off anywhere.
        (0..=bytes.len()).for_each(|length| control::control(&bytes[..length]));
    }
}
