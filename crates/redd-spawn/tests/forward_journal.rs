//! The container's journal, written on the host by systemd-journal-remote as it comes.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::mount::MountFlags;
use testkit::{HostState, Isolated, Spawn, fixture, requires};

const REDD: &str = env!("CARGO_BIN_EXE_redd-spawn");
const LIMIT: Duration = Duration::from_secs(120);
const REMOTE: &str = "/usr/lib/systemd/systemd-journal-remote";

/// A host whose systemd-journal-remote is a script of the test's; it is gone with the test's thread.
struct Host {
    _isolated: Isolated,
    work: tempfile::TempDir,
}

impl Host {
    /// `script` finds its directory in `$WORK`; without one there is no such program.
    fn new(script: Option<&str>) -> Self {
        let isolated = Isolated::enter();
        let work = tempfile::tempdir_in(fixture::place()).expect("directory");
        let mounted = rustix::mount::mount("tmpfs", "/usr/lib/systemd", "tmpfs", MountFlags::empty(), c"mode=755");
        mounted.expect("tmpfs");
        if let Some(script) = script {
            let text = format!("#!/bin/sh\nWORK={}\n{script}\n", work.path().display());
            std::fs::write(REMOTE, text).expect("script");
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(REMOTE, mode).expect("mode");
        }
        Self { _isolated: isolated, work }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.work.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Runs a small container with these options; `{work}` in them is the test's directory.
    fn run(&self, options: &[&str], script: &str) -> testkit::Ended {
        let tree = fixture::tree();
        let before = HostState::capture(tree.path(), &[]);
        let work = self.work.path().display().to_string();
        let options = options.iter().map(|option| option.replace("{work}", &work));
        let ended = Spawn::redd(REDD, tree.path()).arg("--pipe").args(options).script(script).limit(LIMIT).run();
        before.assert_same();
        ended
    }
}

/// As much of the real one as is seen from outside: answers one caller at the socket it is given.
const ANSWERS: &str = "case $1 in --help) echo '--max-use=BYTES'; exit;; esac
    printf '%s\\n' \"$@\" >$WORK/arguments
    echo \"$LISTEN_FDS $LISTEN_PID $$\" >$WORK/environment
    cat /proc/$$/stat | cut -d' ' -f6 >$WORK/session
    grep -e SigBlk -e SigIgn /proc/self/status >$WORK/signals
    exec PROBE answer >/dev/null";

fn answers() -> String {
    ANSWERS.replace("PROBE", testkit::PROBE)
}

#[test]
fn it_is_started_like_a_socket_unit_and_called_from_inside() {
    requires!(root, cgroup2);
    let host = Host::new(Some(&answers()));
    let mut modes = vec![&[][..], &["-x"], &["--read-only"], &["-a"]];
    if testkit::missing(&[testkit::Requirement::UserNamespaces, testkit::Requirement::IdMap]).is_none() {
        modes.push(&["-U"]);
    }
    for options in modes {
        let all = [&["--forward-journal={work}/deep/down/all.journal"], options].concat();
        let look = "/probe call /run/host/journal/socket; cat $CREDENTIALS_DIRECTORY/journal.forward_to_socket; \
            echo; stat -c '%F %a %u' /run/host/journal/socket; exec /probe descriptors";
        let ended = host.run(&all, look);
        let lines: Vec<_> = ended.output.lines().collect();
        assert!(ended.code() == 0 && lines[0].starts_with("call=true answered by "), "{options:?}: {ended}");
        assert_eq!(lines[1..3], ["/run/host/journal/socket", "socket 644 0"], "{options:?}: {ended}");
        assert_eq!(lines.iter().filter(|line| line.starts_with("descriptor ")).count(), 3, "{options:?}: {ended}");
        let file = host.path("deep/down/all.journal");
        assert_eq!(host.read("arguments"), format!("--output={}\n--split-mode=none\n", file.display()));
        assert!(host.path("deep/down").is_dir());
        let environment = host.read("environment");
        let words: Vec<_> = environment.split_whitespace().collect();
        assert!(words[0] == "1" && words[1] == words[2], "{environment}");
        assert_eq!(host.read("session").trim(), words[1], "a session of its own");
        assert!(host.read("signals").contains("SigBlk:\t0000000000000000\n"), "{}", host.read("signals"));
        assert!(!Path::new("/proc").join(words[1]).exists(), "{options:?}: it is still there");
    }
}

#[test]
fn directories_and_limits_are_its_own_words() {
    requires!(root, cgroup2);
    let host = Host::new(Some(&answers()));
    let options = [
        "--forward-journal={work}/all",
        "--forward-journal-max-use=1G",
        "--forward-journal-keep-free=1.5K",
        "--forward-journal-max-file-size=4096",
        "--forward-journal-max-files=7",
    ];
    host.run(&options, "/probe call /run/host/journal/socket").expect_code(0);
    let expected = format!(
        "--output={}\n--split-mode=host\n--max-use=1073741824\n--keep-free=1536\n--max-file-size=4096\n--max-files=7\n",
        host.path("all").display()
    );
    assert_eq!(host.read("arguments"), expected);
    assert!(host.path("all").is_dir());
}

#[test]
fn without_it_nothing_starts() {
    requires!(root, cgroup2);
    let host = Host::new(None);
    for limit in [None, Some("--forward-journal-max-use="), Some("--forward-journal-max-files=")] {
        let mut options = vec!["--forward-journal={work}/all".to_owned()];
        options.extend(limit.map(|name| format!("{name}1")));
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let ended = host.run(&options, "echo up");
        assert_eq!((ended.code(), ended.output.as_str()), (1, ""), "{ended}");
        let named = ["--forward-journal=", limit.unwrap_or_default(), "install the package systemd-journal-remote"];
        assert!(named.iter().all(|word| ended.errors.contains(word)), "{ended}");
        assert!(!host.path("all").exists());
    }
}

#[test]
fn an_old_one_knows_no_limits() {
    requires!(root, cgroup2);
    let host = Host::new(Some("exit 1"));
    let ended = host.run(&["--forward-journal={work}/all", "--forward-journal-max-use=1G"], "echo up");
    assert_eq!((ended.code(), ended.output.as_str()), (1, ""), "{ended}");
    assert!(ended.errors.contains("too old for --forward-journal-max-use="), "{ended}");
}

#[test]
fn its_failure_is_told_and_disturbs_nobody() {
    requires!(root, cgroup2);
    for (script, told) in [("exit 3", "code 3"), ("kill -9 $$", "signal 9"), ("exec /no/such/program", "could not")] {
        let host = Host::new(Some(script));
        let ended = host.run(&["--forward-journal={work}/all"], "sleep 0.5; echo up; exit 5");
        assert_eq!((ended.code(), ended.output.as_str()), (5, "up\n"), "{script}: {ended}");
        assert!(ended.errors.contains("systemd-journal-remote") && ended.errors.contains(told), "{script}: {ended}");
    }
    // One that ignores that it is to end is ended.
    let host = Host::new(Some("trap '' TERM; while :; do sleep 1; done"));
    let begin = Instant::now();
    let ended = host.run(&["--forward-journal={work}/all"], "exit 4");
    assert_eq!(ended.code(), 4, "{ended}");
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
}

#[test]
fn where_it_cannot_write_nothing_runs_on() {
    requires!(root, cgroup2);
    let host = Host::new(Some(&answers()));
    std::fs::write(host.path("file"), "").expect("file");
    let ended = host.run(&["--forward-journal={work}/file/all"], "sleep 30; echo up");
    assert_eq!((ended.code(), ended.output.as_str()), (1, ""), "{ended}");
    assert!(ended.errors.contains("for the forwarded journal"), "{ended}");
}

#[test]
fn a_system_is_heard_to_its_end() {
    requires!(root, cgroup2, path "/usr/lib/systemd/systemd-journal-remote");
    let Some(tree) = fixture::debian_tree() else { return };
    let work = tempfile::tempdir_in(fixture::place()).expect("directory");
    let unit = "[Service]\nType=oneshot\nExecStart=/bin/echo the-words-of-the-container\n\
        ExecStart=/bin/journalctl --sync\nExecStart=/bin/systemctl --no-block poweroff\n";
    std::fs::write(work.path().join("mark.service"), unit).expect("unit");
    for options in [&[][..], &["-U"]] {
        let file = work.path().join("all.journal");
        let bind = format!("{}:/etc/systemd/system/mark.service", work.path().join("mark.service").display());
        let ended = Spawn::redd(REDD, &tree)
            .args(["-xb", "--console=read-only", "--private-network"])
            .args(options)
            .arg(format!("--forward-journal={}", file.display()))
            .arg(format!("--bind-ro={bind}"))
            .arg("systemd.wants=mark.service")
            .limit(LIMIT)
            .run();
        assert_eq!(ended.code(), 0, "{ended}");
        let bytes = std::fs::read(&file).expect("the journal");
        let has = |words: &str| bytes.windows(words.len()).any(|window| window == words.as_bytes());
        assert!(has("MESSAGE=the-words-of-the-container"), "{options:?}");
        std::fs::remove_file(&file).expect("remove");
    }
}
