//! Limits in cgroup2: on the machine's group, above the one that is given to the container.

use super::{Error, File};
use crate::{Group, Layout, subtree};

/// Has the group get the controllers and writes the files.
///
/// # Errors
/// [`Error::Controller`] where the kernel does not hand one on, [`Error::Value`] where it refuses a value.
pub fn apply(group: &Group, layout: &Layout, controllers: &[String], files: &[File<'_>]) -> Result<(), Error> {
    for controller in controllers {
        for above in group.above(layout) {
            subtree::write(above, "cgroup.subtree_control", format!("+{controller}").as_bytes()).map_err(|source| {
                Error::Controller { controller: controller.clone(), group: layout.path.display().to_string(), source }
            })?;
        }
    }
    for file in files {
        subtree::write(group.machine(), file.name, file.value.as_bytes()).map_err(|source| Error::Value {
            property: file.property.to_owned(),
            value: file.value.to_owned(),
            file: group.path().join(file.name).display().to_string(),
            source,
        })?;
    }
    Ok(())
}
