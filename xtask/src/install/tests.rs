use std::collections::BTreeMap;
use std::fs;

use super::*;

/// A root with programs that were built, in a directory of its own.
struct Host {
    directory: tempfile::TempDir,
    built: [PathBuf; 2],
}

impl Host {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let built = ["redd", "redd-spawn"].map(|name| directory.path().join("built").join(name));
        fs::create_dir(directory.path().join("built")).expect("a directory");
        for path in &built {
            fs::write(path, path.file_name().expect("a name").as_encoded_bytes()).expect("a file");
        }
        Self { directory, built }
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    fn write(&self, path: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().expect("a directory")).expect("directories");
        fs::write(path, "somebody else's").expect("a file");
    }

    fn options(&self, prefix: &str, upstream_names: bool) -> Install {
        Install { place: Place { prefix: prefix.into(), destdir: Some(self.root()) }, upstream_names, programs: None }
    }

    /// As [`install`], without the build.
    fn install(&self, prefix: &str, upstream_names: bool) -> Result<()> {
        let options = self.options(prefix, upstream_names);
        let directory = options.place.directory()?;
        let mut manifest = Manifest::read(&directory)?;
        let all = files::all(&self.built, &options.place.prefix.join("bin"), upstream_names)?;
        let all = without_conflicts(all, &options, &directory, &manifest)?;
        all.iter().try_for_each(|file| manifest.put(file))?;
        manifest.finish(&all)
    }

    fn uninstall(&self, prefix: &str) -> Result<()> {
        super::uninstall(&self.options(prefix, false).place)
    }

    /// All that is there, with its contents.
    fn contents(&self) -> BTreeMap<PathBuf, String> {
        let (mut all, mut waiting) = (BTreeMap::new(), vec![self.root()]);
        while let Some(directory) = waiting.pop() {
            for entry in fs::read_dir(&directory).into_iter().flatten() {
                let path = entry.expect("an entry").path();
                let status = path.symlink_metadata().expect("metadata");
                let text = match () {
                    () if status.is_symlink() => format!("-> {}", fs::read_link(&path).expect("a link").display()),
                    () if status.is_dir() => {
                        waiting.push(path.clone());
                        "/".to_owned()
                    }
                    () => fs::read_to_string(&path).expect("a text"),
                };
                all.insert(path.strip_prefix(self.root()).expect("below").to_owned(), text);
            }
        }
        all
    }

    fn text(&self, path: &str) -> Option<String> {
        self.contents().remove(Path::new(path))
    }
}

#[test]
fn what_is_installed_is_removed_and_nothing_else() {
    let host = Host::new();
    host.write("usr/bin/redd-other");
    fs::create_dir_all(host.root().join("usr/lib/systemd")).expect("an empty directory");
    let before = host.contents();
    for upstream_names in [true, true, false] {
        host.install("/usr", upstream_names).expect("installed, also over itself");
    }
    assert_eq!(host.text("usr/bin/redd-spawn").as_deref(), Some("redd-spawn"));
    assert_eq!(host.text("usr/bin/machinectl"), None, "what the last one had no more is gone");
    assert!(host.contents().keys().all(|path| !path.to_string_lossy().ends_with(".new")));
    host.uninstall("/usr").expect("removed");
    assert_eq!(host.contents(), before);
    let error = host.uninstall("/usr").expect_err("nothing is there").to_string();
    assert!(error.contains("nothing is noted as installed"), "{error}");
}

#[test]
fn services_are_for_the_programs_where_they_are() {
    let host = Host::new();
    host.install("/opt/redd", true).expect("installed");
    let all = host.contents();
    assert!(all.values().all(|text| !text.contains("@bindir@")));
    let unit = &all[Path::new("opt/redd/lib/systemd/system/systemd-nspawn@.service")];
    assert!(unit.contains("\nExecStart=/opt/redd/bin/redd-spawn --quiet --keep-unit --boot"), "{unit}");
    let unit = &all[Path::new("opt/redd/lib/systemd/system/systemd-machined.service")];
    assert!(unit.contains("\nExecStart=/opt/redd/bin/redd machined\n"), "{unit}");
    for name in ["machinectl", "pacstrap"] {
        assert_eq!(all[&Path::new("opt/redd/bin").join(name)], "-> redd");
    }
    for script in ["openrc/redd", "runit/redd/run", "s6/redd/run", "sysvinit/redd"] {
        use std::os::unix::fs::PermissionsExt;
        let path = host.root().join("opt/redd/share/redd").join(script);
        let checked = std::process::Command::new("sh").arg("-n").arg(&path).status().expect("sh");
        assert!(checked.success(), "{script}");
        assert_eq!(path.metadata().expect("metadata").permissions().mode() & 0o777, 0o755, "{script}");
        assert!(
            all[&Path::new("opt/redd/share/redd").join(script)].contains("/opt/redd/bin/redd autostart"),
            "{script}"
        );
    }
}

#[test]
fn programs_that_are_there_are_installed_as_they_are() {
    let host = Host::new();
    let programs = host.built[0].parent().expect("a directory").to_owned();
    let options = Install { programs: Some(programs.clone()), ..host.options("/usr", true) };
    install(&options).expect("installed");
    assert_eq!(host.text("usr/bin/redd").as_deref(), Some("redd"));
    assert_eq!(host.text("usr/bin/redd-spawn").as_deref(), Some("redd-spawn"));
    fs::remove_file(programs.join("redd-spawn")).expect("it is gone");
    let error = install(&options).expect_err("one is missing").to_string();
    assert!(error.contains("there is no program") && error.contains("redd-spawn"), "{error}");
}

#[test]
fn beside_systemds_own_nothing_is_replaced() {
    let host = Host::new();
    for path in [
        "bin/systemd-nspawn",
        "bin/machinectl",
        "lib/systemd/system/systemd-nspawn@.service",
        "lib/systemd/system/machines.target",
        "lib/systemd/system/machine.slice",
    ] {
        host.write(&format!("usr/{path}"));
    }
    fs::create_dir(host.root().join("usr/local")).expect("a directory");
    let before = host.contents();
    let error = host.install("/usr", true).expect_err("their names are taken").to_string();
    assert!(error.contains("belong to somebody else") && error.contains("--prefix=/usr/local"), "{error}");
    assert_eq!(host.contents(), before, "nothing was done");
    for prefix in ["/usr", "/usr/local"] {
        host.install(prefix, false).expect("beside them");
        assert!(before.iter().all(|(path, text)| host.contents().get(path) == Some(text)));
        assert_eq!(host.text("usr/local/lib/systemd/system/systemd-nspawn@.service"), None, "theirs counts");
        host.uninstall(prefix).expect("removed");
        assert_eq!(host.contents(), before);
    }
    // Below another prefix ours comes before theirs, which was asked for.
    host.install("/usr/local", true).expect("before them");
    assert!(before.iter().all(|(path, text)| host.contents().get(path) == Some(text)));
    assert!(host.text("usr/local/lib/systemd/system/systemd-nspawn@.service").is_some());
    host.uninstall("/usr/local").expect("removed");
    assert_eq!(host.contents(), before);
}

#[test]
fn a_note_that_leads_elsewhere_is_not_followed() {
    let host = Host::new();
    host.write("etc/passwd");
    for line in ["../etc/passwd", "/etc/passwd", ""] {
        let path = host.root().join("usr/share/redd/installed");
        fs::create_dir_all(path.parent().expect("a directory")).expect("directories");
        fs::write(path, format!("bin/redd\n{line}\n")).expect("a file");
        assert!(host.uninstall("/usr").is_err(), "{line}");
    }
    assert!(host.text("etc/passwd").is_some());
}

#[test]
fn prefixes() {
    let place = |prefix: &str, destdir: Option<&str>| {
        Place { prefix: prefix.into(), destdir: destdir.map(PathBuf::from) }.directory().ok()
    };
    assert_eq!(place("/usr", None), Some("/usr".into()));
    assert_eq!(place("/usr", Some("/tmp/x")), Some("/tmp/x/usr".into()));
    assert_eq!(place("usr", None), None);
}
