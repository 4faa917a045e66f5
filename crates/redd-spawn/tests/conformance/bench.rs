//! Where both engines run a case.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use testkit::{fixture, run_limited};

use super::case::{Case, End, Payload};
use super::images;
use super::tree::Tree;

/// How long one case may take.
const LIMIT: Duration = Duration::from_secs(40);

/// One of the two.
#[derive(Clone, Debug)]
pub(crate) enum Engine {
    /// Ours.
    Redd,
    /// The installed systemd-nspawn.
    Original,
}

/// The program under test; elsewhere than where it was built `$REDD_SPAWN` says where it is.
pub(crate) fn redd() -> PathBuf {
    std::env::var_os("REDD_SPAWN").map_or_else(|| env!("CARGO_BIN_EXE_redd-spawn").into(), PathBuf::from)
}

/// The version of the installed original.
pub(crate) fn original() -> Option<u32> {
    let output = Command::new("systemd-nspawn").arg("--version").output().ok()?;
    String::from_utf8_lossy(&output.stdout).split_whitespace().nth(1)?.parse().ok()
}

/// Whether systemd manages the host.
pub(crate) fn systemd() -> bool {
    Path::new("/run/systemd/system").exists()
}

/// Whether the original can use disk images: it asks udev, and waits for it.
pub(crate) fn udev() -> bool {
    Path::new("/run/udev/control").exists()
}

/// What there was to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// How it ended.
    pub(crate) end: End,
    /// What the payload printed.
    pub(crate) inside: String,
    /// What the script printed that looked afterwards.
    pub(crate) outside: String,
}

/// The directories of one engine.
pub(crate) struct Bench {
    engine: Engine,
    directory: tempfile::TempDir,
    name: String,
    images: PathBuf,
    tree: Tree,
    used: bool,
}

impl Bench {
    /// With a tree; machines are called `name`. `images` is where disk images are made from.
    pub(crate) fn new(engine: Engine, name: &str, images: Option<&Path>) -> Self {
        let directory = tempfile::tempdir_in(fixture::place()).expect("a directory");
        let images = images.unwrap_or(Path::new("")).to_owned();
        let tree = Tree::new(directory.path().join(name));
        Self { engine, directory, name: name.to_owned(), images, tree, used: false }
    }

    /// Where all of its files are.
    pub(crate) fn place(&self) -> &Path {
        self.directory.path()
    }

    fn host(&self) -> PathBuf {
        self.directory.path().join("host")
    }

    fn tree(&self) -> &Path {
        self.tree.path()
    }

    /// Runs one case; the errors are for people alone.
    pub(crate) fn run(&mut self, case: &Case) -> (Seen, String) {
        // A new one, if the last case has changed it.
        if std::mem::take(&mut self.used) {
            self.tree.renew();
        }
        self.used = case.own_tree && !case.image;
        if self.host().exists() {
            fs::remove_dir_all(self.host()).expect("the last directory goes away");
        }
        fs::create_dir(self.host()).expect("directory");
        // A settings file of the case before.
        drop(fs::remove_file(self.directory.path().join(format!("{}.nspawn", self.name))));
        self.script(case, case.before, true);
        let ended = run_limited(self.command(case), Vec::new(), LIMIT);
        let outside = self.script(case, case.after, false);
        let mut inside = self.plain(&ended.output);
        let errors = ended.errors.clone();
        let end = match ended.status.map(|status| status.code()) {
            None => {
                self.tidy_up();
                End::Never
            }
            Some(Some(code)) if case.end == End::Code(code) => End::Code(code),
            // Both ways to say that nothing has run; the payload would have printed something.
            Some(Some(1 | 2)) if !errors.is_empty() && inside.is_empty() => End::Refused,
            Some(Some(code)) => End::Code(code),
            Some(None) => End::Code(-1),
        };
        if end == End::Refused {
            inside.clear();
            self.forget_scope();
        }
        (Seen { end, inside, outside }, errors)
    }

    /// Takes away what the original, when it is killed, leaves in the way of the next machine of the name.
    fn tidy_up(&self) {
        let left = Path::new("/run/systemd/nspawn").join(&self.name);
        drop(Command::new("umount").arg("--lazy").arg(left.join("unix-export")).output());
        drop(fs::remove_dir_all(left));
    }

    /// A scope that the original has begun and given up stays for a moment, in the way of the next one of the name.
    fn forget_scope(&self) {
        if matches!(self.engine, Engine::Original) && systemd() {
            for verb in ["stop", "reset-failed"] {
                drop(Command::new("systemctl").args([verb, &format!("{}.scope", self.name)]).output());
            }
        }
    }

    fn command(&self, case: &Case) -> Command {
        let mut command = match self.engine {
            Engine::Redd => Command::new(redd()),
            Engine::Original => Command::new("systemd-nspawn"),
        };
        let says = |start: &str| case.options.iter().any(|option| option.starts_with(start));
        command.arg("-q");
        if let (Engine::Original, false) = (&self.engine, says("--register")) {
            command.arg("--register=no");
        }
        if let (Engine::Original, false, false) = (&self.engine, systemd(), says("--keep-unit")) {
            command.arg("--keep-unit");
        }
        if !["-D", "--directory", "-i", "--image", "-M", "--machine", "--oci", "--template"].into_iter().any(says) {
            command.arg("-D").arg(self.tree());
        }
        command.args(case.options.iter().map(|option| OsString::from(self.filled(option))));
        match case.payload {
            Payload::Script(script) => command.args(["/bin/sh", "-c", &self.filled(script)]),
            Payload::Words(words) => command.args(words.iter().map(|word| self.filled(word))),
        };
        command.current_dir(self.host());
        command.envs(case.environment.iter().map(|(name, value)| (name, self.filled(value))));
        command
    }

    fn script(&self, case: &Case, script: &str, must_work: bool) -> String {
        if script.is_empty() {
            return String::new();
        }
        let mut command = Command::new("sh");
        let words = if case.image { format!("{}\n{script}", images::WORDS) } else { script.to_owned() };
        command.args(["-ec", &self.filled(&words)]).current_dir(self.host()).stdin(Stdio::null());
        let output = command.output().expect("a shell");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!must_work || output.status.success(), "{}: before: {errors}", case.name);
        self.plain(&format!("{}{errors}", String::from_utf8_lossy(&output.stdout)))
    }

    fn filled(&self, text: &str) -> String {
        text.replace("{host}", &self.host().to_string_lossy())
            .replace("{tree}", &self.tree().to_string_lossy())
            .replace("{name}", &self.name)
            .replace("{images}", &self.images.to_string_lossy())
            .replace("{probe}", testkit::PROBE)
    }

    fn plain(&self, text: &str) -> String {
        text.replace('\r', "")
            .replace(&*self.host().to_string_lossy(), "{host}")
            .replace(&*self.tree().to_string_lossy(), "{tree}")
            .replace(&self.name, "{name}")
            .replace(&*self.directory.path().file_name().unwrap_or_default().to_string_lossy(), "{top}")
    }
}
