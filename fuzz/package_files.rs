// What is done with bytes that come in packages for pacman. Shared by the fuzz targets and by the test that replays the seeds.

use bootstrap::pacman::hook::{Changes, Hook, Operation};
use bootstrap::pacman::{mtree, pkginfo};

/// `.PKGINFO`, and `.MTREE` as it is decompressed.
pub(crate) fn pkginfo(data: &[u8]) {
    if let Ok(package) = pkginfo::parse(&String::from_utf8_lossy(data)) {
        let entry = format!("{}-{}", package.name, package.version);
        assert!(!entry.contains('/') && !entry.starts_with('.'), "one directory, here");
    }
    let _ = mtree::parse(data);
}

/// Hook files.
pub(crate) fn hook(data: &[u8]) {
    let Ok(hook) = Hook::parse("fuzz.hook", &String::from_utf8_lossy(data)) else { return };
    assert!(!hook.words.is_empty());
    let all = vec![Operation::Install, Operation::Upgrade, Operation::Remove];
    let changed = [(b"usr/bin/a".to_vec(), all.clone()), (b"a".to_vec(), all)];
    let changes = Changes { packages: changed.clone().into(), paths: changed.into() };
    let _ = hook.targets(&changes);
}
