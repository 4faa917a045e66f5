// What is done with a bundle's config.json. Shared by the fuzz target and by the test that replays the seeds.

use std::path::Path;

pub(crate) fn oci_config(data: &[u8]) {
    if let Ok(bundle) = spec::oci::read(data, Path::new("/srv/bundle")) {
        let _ = spec::command_line::with_bundle(spec::SpecPatch::default(), bundle, Path::new("/srv"));
    }
}
