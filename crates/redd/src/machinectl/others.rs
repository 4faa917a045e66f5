//! Verbs of machinectl(1) that are not for us, or not yet: each is answered by its name.

const IMAGES: &str = "images are not fetched, imported or exported yet";
const IMAGES_HINT: &str =
    "importctl(1) does that where it is installed; `redd bootstrap` installs Debian or Ubuntu into a directory";

/// Why a verb cannot be carried out, and what can be done instead; nothing for what is no verb.
pub(super) fn reason(verb: &str) -> Option<(&'static str, &'static str)> {
    match verb {
        "bind-volume" | "unbind-volume" => Some((
            "volumes are for virtual machines, which redd does not run",
            "`machinectl bind` shows a directory inside a container",
        )),
        "import-tar" | "import-raw" | "import-fs" | "export-tar" | "export-raw" | "pull-tar" | "pull-raw"
        | "pull-dkr" | "list-transfers" | "cancel-transfer" => Some((IMAGES, IMAGES_HINT)),
        _ => None,
    }
}
