//! The seeds of the fuzz target for calls of systemd-machined's, and what fuzzing has found.

#[path = "../../../fuzz/varlink.rs"]
mod varlink;

/// Reads each message of each seed, cut off anywhere.
#[test]
fn seeds_are_read_without_panics() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/machined");
    let seeds: Vec<_> = std::fs::read_dir(directory).expect("seeds").flatten().collect();
    assert!(!seeds.is_empty());
    for seed in seeds {
        let bytes = std::fs::read(seed.path()).expect("a seed");
        for message in bytes.split(|byte| *byte == 0) {
            (0..=message.len()).for_each(|length| varlink::machined(&message[..length]));
        }
    }
}
