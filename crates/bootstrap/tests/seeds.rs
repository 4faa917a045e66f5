//! The seeds of the fuzz targets, and what fuzzing has found: none may ever make a parser panic.

#[path = "../../../fuzz/archives.rs"]
mod archives;
#[path = "../../../fuzz/package_files.rs"]
mod package_files;
#[path = "../../../fuzz/repositories.rs"]
mod repositories;

fn each(target: &str, run: fn(&[u8])) {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target);
    let mut number = 0;
    for seed in std::fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display())) {
        let bytes = seed.and_then(|seed| std::fs::read(seed.path())).expect("a seed");
        run(&bytes);
        // Cut off anywhere.
        (0..bytes.len()).step_by(7).for_each(|length| run(&bytes[..length]));
        number += 1;
    }
    assert!(number > 0, "no seeds for {target}");
}

#[test]
fn seeds_are_read_without_panics() {
    each("archive", archives::archive);
    each("deb", archives::deb);
    each("signature", archives::signature);
    each("detached_signature", archives::detached_signature);
    each("keybox", archives::keybox);
    each("trust_database", archives::trust_database);
    each("pkginfo", package_files::pkginfo);
    each("hook", package_files::hook);
    each("pacman_config", repositories::pacman_config);
    each("pacman_database", repositories::pacman_database);
}
