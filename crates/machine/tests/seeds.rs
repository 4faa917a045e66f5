//! The seeds of the fuzz targets for control sockets and copies, and what fuzzing has found.

#[path = "../../../fuzz/control.rs"]
mod control;
#[path = "../../../fuzz/transfer.rs"]
mod transfer;

/// Reads each seed, cut off anywhere.
fn replay(target: &str, read: fn(&[u8])) {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target);
    let seeds: Vec<_> = std::fs::read_dir(directory).expect("seeds").flatten().collect();
    assert!(!seeds.is_empty());
    for seed in seeds {
        let bytes = std::fs::read(seed.path()).expect("a seed");
        (0..=bytes.len()).for_each(|length| read(&bytes[..length]));
    }
}

#[test]
fn seeds_are_read_without_panics() {
    replay("control", control::control);
    replay("transfer", transfer::transfer);
}
