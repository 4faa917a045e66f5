//! The variables of the caller's environment that stand for options.

use std::ffi::{OsStr, OsString};

use crate::command_line::UsageError;
use crate::options::boolean;
use crate::{ApiVfs, SpecPatch};

/// Variables that have the container share namespaces with the host.
const SHARED: [&str; 4] = [
    "SYSTEMD_NSPAWN_SHARE_SYSTEM",
    "SYSTEMD_NSPAWN_SHARE_NS_IPC",
    "SYSTEMD_NSPAWN_SHARE_NS_PID",
    "SYSTEMD_NSPAWN_SHARE_NS_UTS",
];

/// Looks a variable up.
type Variable<'a> = &'a dyn Fn(&OsStr) -> Option<OsString>;

fn text(variable: Variable<'_>, name: &str) -> Option<String> {
    variable(OsStr::new(name)).map(|value| value.to_string_lossy().into_owned())
}

fn yes(name: &str, value: &str) -> Result<bool, UsageError> {
    boolean(value).ok_or_else(|| UsageError::Value {
        option: format!("${name}={value}"),
        reason: "it is neither yes nor no".into(),
    })
}

fn flag(variable: Variable<'_>, name: &str) -> Result<Option<bool>, UsageError> {
    text(variable, name).map(|value| yes(name, &value)).transpose()
}

impl SpecPatch {
    /// Takes over what systemd documents as environment variables of systemd-nspawn
    /// (<https://systemd.io/ENVIRONMENT>). They win over what the command line says.
    ///
    /// # Errors
    /// A [`UsageError`] where one of them has a value without meaning, or asks for what is not carried out.
    pub fn read_environment(&mut self, variable: Variable<'_>) -> Result<(), UsageError> {
        const WRITABLE: &str = "SYSTEMD_NSPAWN_API_VFS_WRITABLE";
        if let Some(value) = text(variable, WRITABLE) {
            self.api_vfs_writable = Some(match value.as_str() {
                "network" => ApiVfs::Network,
                value if yes(WRITABLE, value)? => ApiVfs::Yes,
                _ => ApiVfs::No,
            });
        }
        let flags = [
            (&mut self.cgroup_namespace, "SYSTEMD_NSPAWN_USE_CGNS"),
            (&mut self.check_os_release, "SYSTEMD_NSPAWN_CHECK_OS_RELEASE"),
            (&mut self.tmpfs_tmp, "SYSTEMD_NSPAWN_TMPFS_TMP"),
            (&mut self.suppress_sync, "SYSTEMD_SUPPRESS_SYNC"),
        ];
        for (place, name) in flags {
            if let Some(value) = flag(variable, name)? {
                *place = Some(value);
            }
        }
        if let Some(name) = text(variable, "SYSTEMD_NSPAWN_CONTAINER_SERVICE") {
            self.container_service = Some(name);
        }
        for name in SHARED {
            if flag(variable, name)? == Some(true) {
                let reason = "a container of redd always has process ids, message queues and a host name of its own; \
                              unset it";
                return Err(UsageError::Value { option: format!("${name}"), reason: reason.into() });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, value: &str) -> Result<SpecPatch, UsageError> {
        let mut patch = SpecPatch::default();
        patch.read_environment(&|asked| (asked == name).then(|| value.into()))?;
        Ok(patch)
    }

    #[test]
    fn each_variable_has_its_place() {
        let patch = |name, value| read(name, value).expect("a good value");
        assert_eq!(patch("SYSTEMD_NSPAWN_USE_CGNS", "0").cgroup_namespace, Some(false));
        assert_eq!(patch("SYSTEMD_NSPAWN_CHECK_OS_RELEASE", "no").check_os_release, Some(false));
        assert_eq!(patch("SYSTEMD_NSPAWN_TMPFS_TMP", "off").tmpfs_tmp, Some(false));
        assert_eq!(patch("SYSTEMD_SUPPRESS_SYNC", "1").suppress_sync, Some(true));
        assert_eq!(patch("SYSTEMD_NSPAWN_API_VFS_WRITABLE", "network").api_vfs_writable, Some(ApiVfs::Network));
        assert_eq!(patch("SYSTEMD_NSPAWN_CONTAINER_SERVICE", "x").container_service.as_deref(), Some("x"));
        assert_eq!(patch("HOME", "/root"), SpecPatch::default());
    }

    #[test]
    fn what_has_no_meaning_or_is_not_carried_out_is_refused() {
        for name in ["SYSTEMD_NSPAWN_USE_CGNS", "SYSTEMD_NSPAWN_TMPFS_TMP", "SYSTEMD_NSPAWN_API_VFS_WRITABLE"] {
            assert!(read(name, "maybe").is_err(), "{name}");
        }
        for name in SHARED {
            assert!(read(name, "1").is_err(), "{name}");
            assert!(read(name, "x").is_err(), "{name}");
            assert_eq!(read(name, "0"), Ok(SpecPatch::default()));
        }
    }
}
