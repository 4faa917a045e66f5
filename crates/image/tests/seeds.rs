//! The seeds of the fuzz target for disk images, and what fuzzing has found.

#[path = "../../../fuzz/images.rs"]
mod images;

#[test]
fn seeds_are_read_without_panics() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/gpt");
    let seeds: Vec<_> = std::fs::read_dir(directory).expect("seeds").flatten().collect();
    assert!(!seeds.is_empty());
    for seed in seeds {
        let bytes = std::fs::read(seed.path()).expect("a seed");
        (0..=bytes.len()).step_by(7).for_each(|length| images::gpt(&bytes[..length]));
        // Each byte turned over, one after the other.
        let mut changed = bytes.clone();
        for place in 0..changed.len().min(2048) {
            changed[place] ^= 0xff;
            images::gpt(&changed);
            changed[place] ^= 0xff;
        }
    }
}
