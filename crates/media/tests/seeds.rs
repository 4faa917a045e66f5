//! The seeds of the fuzz targets for media and file systems, and what fuzzing has found.

#[path = "../../../fuzz/media.rs"]
mod media_images;

/// Whole, cut off, and with bytes turned over, which are spread out.
fn replay(target: &str, read: fn(&[u8])) {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target);
    let seeds: Vec<_> = std::fs::read_dir(directory).expect("seeds").flatten().collect();
    assert!(!seeds.is_empty());
    for seed in seeds {
        let bytes = std::fs::read(seed.path()).expect("a seed");
        read(&bytes);
        (0..=bytes.len()).step_by(bytes.len() / 50 + 1).for_each(|length| read(&bytes[..length]));
        let mut changed = bytes.clone();
        // What is all zeroes is no part of what is read.
        let places: Vec<usize> = (0..bytes.len()).filter(|place| bytes[*place] != 0).collect();
        for place in places.iter().step_by(places.len() / 400 + 1) {
            for change in [0xff, 0x01, 0x80] {
                changed[*place] ^= change;
                read(&changed);
                changed[*place] ^= change;
            }
        }
    }
}

#[test]
fn media_are_read_without_panics() {
    replay("iso", media_images::iso);
}

#[test]
fn squashfs_is_read_without_panics() {
    replay("squashfs", media_images::squashfs);
}

#[test]
fn erofs_is_read_without_panics() {
    replay("erofs", media_images::erofs);
}
