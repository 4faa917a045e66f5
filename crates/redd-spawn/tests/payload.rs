//! Who the payload is, what it is given, and what becomes of it.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sys::signal::SignalSet;
use testkit::{Ended, Engine, HostState, Isolated, Spawn, fixture, requires, run_limited};

const REDD: &str = env!("CARGO_BIN_EXE_redd-spawn");
/// The first real-time signal that programs may use, as the GNU C library counts.
const SIGRTMIN: i32 = 34;

fn run(options: &[&str], script: &str) -> Ended {
    let tree = fixture::tree();
    Spawn::redd(REDD, tree.path()).args(options).script(script).run()
}

#[test]
fn its_exit_code_is_ours() {
    requires!(root, cgroup2);
    for code in [0, 1, 2, 7, 255] {
        run(&[], &format!("exit {code}")).expect_code(code);
        run(&["-a"], &format!("exit {code}")).expect_code(code);
    }
}

/// Both engines where both are there.
fn engines() -> Vec<Engine> {
    let there = Command::new("systemd-nspawn").arg("--version").output().is_ok();
    [Engine::Redd(REDD.into())].into_iter().chain(there.then_some(Engine::Reference)).collect()
}

/// Runs the engine by a shell that ignores these signals; not every one can ignore SIGCHLD.
fn ignoring(signals: &str, spawn: &Spawn) -> Ended {
    let engine = spawn.command();
    let mut shell = Command::new("bash");
    shell.args(["-c", &format!("trap '' {signals}; exec \"$@\""), "bash"]).arg(engine.get_program());
    shell.args(engine.get_args());
    run_limited(shell, Vec::new(), Duration::from_secs(30))
}

#[test]
fn how_it_ends_is_known_to_who_was_started_without_a_sign_of_it() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    for engine in engines() {
        let run = |options: &[&str]| {
            ignoring("CHLD", &Spawn::of(&engine, tree.path()).args(options).script("(exit 3); exit $?")).expect_code(3)
        };
        run(&["--pipe"]);
        run(&["--pipe", "-a"]);
        run(&["--pipe", "-U"]);
    }
}

#[test]
fn signals_that_its_starter_blocks_or_ignores_are_not_its_own() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    let script = "while read -r name set; do case $name in Sig[BI]*) echo $name$set;; esac; done </proc/self/status";
    for engine in engines() {
        let spawn = || Spawn::of(&engine, tree.path()).arg("--pipe").script(script);
        let usual = spawn().run().expect_code(0).output;
        assert!(usual.contains("SigBlk:0000000000000000"), "{usual}");
        assert_eq!(ignoring("USR1 TERM WINCH QUIT", &spawn()).expect_code(0).output, usual, "{engine:?}");
        let blocked: SignalSet = [10, 15, 17, SIGRTMIN + 1].into_iter().collect();
        let before = sys::signal::block(&blocked).expect("block");
        let ended = spawn().run();
        sys::signal::set_mask(&before).expect("mask");
        assert_eq!(ended.expect_code(0).output, usual, "{engine:?}");
    }
}

/// Its console goes to a file that may not become longer.
#[test]
fn a_file_that_may_not_grow_ends_nothing_but_the_output() {
    requires!(root, cgroup2);
    let _isolated = Isolated::enter();
    let tree = fixture::tree();
    let before = HostState::capture(tree.path(), &[]);
    let output = tempfile::NamedTempFile::new().expect("file");
    let engine = Spawn::redd(REDD, tree.path())
        .arg("--console=read-only")
        .script("i=0; while test $i -lt 30000; do echo 0123456789012345678901234567890123456789; i=$((i + 1)); done; exit 3")
        .command();
    // In kilobytes: what is noted of the machine is much less.
    let mut shell = Command::new("bash");
    shell.args(["-c", "ulimit -f 512; exec \"$@\"", "bash"]).arg(engine.get_program()).args(engine.get_args());
    shell.stdin(Stdio::null()).stdout(output.reopen().expect("file"));
    assert_eq!(shell.status().expect("start").code(), Some(3));
    assert_eq!(output.as_file().metadata().expect("file").len(), 512 << 10);
    before.assert_same();
}

#[test]
fn what_is_told_of_a_start_can_be_left_out() {
    requires!(root, cgroup2);
    const MORE_THAN_THERE_IS: &str = "--rlimit=NOFILE=99999999999";
    let tree = fixture::tree();
    let told = |options: &[&str]| {
        let spawn = Spawn::new(&Engine::Redd(REDD.into())).arg("-D").arg(tree.path()).arg(MORE_THAN_THERE_IS);
        spawn.args(options).script("exit 0").run().expect_code(0).errors
    };
    let all = told(&[]);
    assert!(all.contains("NOFILE") && all.contains("Running "), "{all}");
    assert_eq!(told(&["--quiet"]), "");
}

#[test]
fn a_signal_that_ends_it_is_told_as_a_shell_would() {
    requires!(root, cgroup2);
    for (name, number) in [("TERM", 15), ("KILL", 9), ("USR1", 10)] {
        run(&["-a"], &format!("kill -{name} $$; sleep 10")).expect_code(128 + number);
    }
}

#[test]
fn the_command_is_the_first_process_or_with_a_stub_init_the_second() {
    requires!(root, cgroup2);
    assert_eq!(run(&[], "echo pid=$$").expect_code(0).value("pid"), "1");
    let ended = run(&["-a"], "echo pid=$$; echo parent=$PPID").expect_code(0);
    assert_eq!((ended.value("pid"), ended.value("parent")), ("2", "1"));
}

#[test]
fn the_stub_init_reaps_orphans() {
    requires!(root, cgroup2);
    let script = "for i in 1 2 3 4 5; do (sleep 0.1 & exit 0); done; sleep 0.6; \
                  cat /proc/[0-9]*/stat | grep -c ' Z ' | sed 's/^/dead=/'; exit 0";
    assert_eq!(run(&["-a"], script).expect_code(0).value("dead"), "0");
}

#[test]
fn the_stub_init_takes_from_inside_what_an_init_takes() {
    requires!(root, cgroup2, userns);
    for users in [&[][..], &["-U"]] {
        let run = |script: &str| run(&[users, &["-a"]].concat(), script);
        for signal in ["HUP", "QUIT", "USR1", "USR2", "ALRM", "TERM", "PWR", "RTMIN"] {
            let ended = run(&format!("kill -{signal} 1; sleep 0.2; echo alive=yes")).expect_code(0);
            assert_eq!(ended.value("alive"), "yes", "{signal}: {ended}");
        }
        // Power off: all are asked to end.
        for number in [3, 4] {
            let number = SIGRTMIN + number;
            let ended = run(&format!(
                "(trap 'echo asked=yes; exit' TERM; while :; do sleep 0.05; done) & sleep 0.2; kill -{number} 1; sleep 30"
            ));
            assert_eq!((ended.code(), ended.value("asked")), (0, "yes"), "{number}: {ended}");
        }
        // Reboot.
        for number in [2, SIGRTMIN + 5, SIGRTMIN + 6] {
            let script =
                format!("if test -e /again; then echo second=yes; exit 4; fi; : >/again; kill -{number} 1; sleep 30");
            let ended = run(&script);
            assert_eq!((ended.code(), ended.value("second")), (4, "yes"), "{number}: {ended}");
        }
    }
}

#[test]
fn a_request_to_stop_reaches_the_command_behind_the_stub_init() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    let script = "trap 'echo got=it; exit 5' USR1; echo ready; while :; do sleep 0.05; done";
    let mut command = Spawn::redd(REDD, tree.path()).args(["-a", "--kill-signal=SIGUSR1"]).script(script).command();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut child = command.spawn().expect("engine");
    let mut reader = std::io::BufReader::new(child.stdout.take().expect("pipe"));
    let mut line = String::new();
    std::io::BufRead::read_line(&mut reader, &mut line).expect("line");
    assert_eq!(line.trim_end(), "ready");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("signal");
    let end = Instant::now() + Duration::from_secs(20);
    let status = loop {
        match child.try_wait().expect("child") {
            Some(status) => break status,
            None if Instant::now() > end => {
                child.kill().expect("child");
                child.wait().expect("child");
                panic!("it did not stop");
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut reader, &mut rest).expect("output");
    assert_eq!((status.code(), rest.trim_end()), (Some(5), "got=it"));
}

#[test]
fn a_user_has_the_ids_and_groups_of_the_trees_database() {
    requires!(root, cgroup2);
    for user in ["user", "1000"] {
        for options in [&["-u", user][..], &["-U", "-u", user]] {
            let tree = fixture::tree();
            let ended = Spawn::redd(REDD, tree.path()).args(options).args(["/probe", "self"]).run().expect_code(0);
            assert_eq!(ended.value("Uid"), "1000 1000 1000 1000", "{ended}");
            assert_eq!(ended.value("Gid"), "1000 1000 1000 1000");
            let mut groups: Vec<_> = ended.value("Groups").split(' ').collect();
            groups.sort_unstable();
            // systemd asks the container's getent(1) and so has the primary group here as well.
            assert!(groups == ["29", "44"] || groups == ["1000", "29", "44"], "{ended}");
            assert_eq!(ended.value("CapEff"), "0000000000000000");
            assert_eq!(ended.value("variable HOME"), "/home/user");
            assert_eq!(ended.value("variable USER"), "user");
            assert_eq!(ended.value("variable LOGNAME"), "user");
        }
    }
}

#[test]
fn directory_and_environment_are_as_asked_for() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    let id = "0123456789abcdef0123456789abcdef";
    let ended = Spawn::redd(REDD, tree.path())
        .env("FROM_CALLER", "caller's")
        .env("NOT_ASKED_FOR", "1")
        .args(["--chdir=/usr/lib", "-E", "ONE=1=1", "-E", "FROM_CALLER", "--setenv=LANG=de", "--hostname=some-host"])
        .args(["--uuid", id, "/probe", "self", "a b", ""])
        .run()
        .expect_code(0);
    assert_eq!(ended.value("directory"), "/usr/lib");
    assert_eq!(ended.value("variable ONE"), "1=1");
    assert_eq!(ended.value("variable FROM_CALLER"), "caller's");
    assert_eq!(ended.value("variable LANG"), "de");
    assert_eq!(ended.value("variable container"), "systemd-nspawn");
    assert_eq!(ended.value("variable container_uuid").replace('-', ""), id);
    assert_eq!(ended.value("argument 2"), "a b");
    assert_eq!(ended.value("argument 3"), "");
    assert!(!ended.output.contains("NOT_ASKED_FOR"), "{ended}");
    assert_eq!(run(&["--hostname=some-host"], "echo name=$(uname -n)").value("name"), "some-host");
    assert_eq!(run(&["-M", "some-machine"], "echo name=$(uname -n)").value("name"), "some-machine");
}

#[test]
fn words_for_an_init_system_are_split_as_the_kernel_would() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    std::fs::create_dir_all(tree.join("usr/lib/systemd")).expect("directory");
    std::fs::copy(testkit::PROBE, tree.join("usr/lib/systemd/systemd")).expect("init");
    // The probe's first argument says what it does; an init system without words has nothing to do.
    let ended = Spawn::redd(REDD, tree.path())
        .args(["-b", "self", "KEY=value", "with-dash=1", "systemd.unit=rescue.target", "quiet", "EMPTY="])
        .run()
        .expect_code(0);
    assert_eq!(ended.value("pid"), "1");
    assert_eq!(ended.value("variable KEY"), "value");
    assert_eq!(ended.value("variable EMPTY"), "");
    assert_eq!(ended.value("variable with_dash"), "1");
    assert_eq!(ended.value("argument 2"), "systemd.unit=rescue.target");
    assert_eq!(ended.value("argument 3"), "quiet");
    assert!(!ended.output.contains("argument 4="), "{ended}");
}

#[test]
fn init_is_found_where_the_manual_says() {
    requires!(root, cgroup2);
    for place in ["usr/lib/systemd/systemd", "lib/systemd/systemd", "sbin/init"] {
        let tree = fixture::tree();
        let path = tree.join(place);
        std::fs::create_dir_all(path.parent().expect("parent")).expect("directory");
        std::fs::copy(testkit::PROBE, path).expect("init");
        assert_eq!(Spawn::redd(REDD, tree.path()).arg("-b").run().expect_code(0).value("pid"), "1");
    }
}

#[test]
fn plain_streams_pass_through() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    let long = "line of text\n".repeat(20_000);
    let ended = Spawn::redd(REDD, tree.path()).arg("--pipe").arg("cat").input(long.clone()).run().expect_code(0);
    assert_eq!(ended.output, long);
    let ended = run(&["--pipe"], "echo out; echo err >&2").expect_code(0);
    assert_eq!((ended.output.as_str(), ended.errors.as_str()), ("out\n", "err\n"));
}

#[test]
fn without_a_command_a_shell_reads_commands() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    let ended = Spawn::redd(REDD, tree.path()).arg("--pipe").input("echo in=$PWD; exit 4\n").run().expect_code(4);
    assert_eq!(ended.value("in"), "/root");
}

#[test]
fn names_resolve_as_on_the_host() {
    requires!(root, cgroup2, path "/etc/resolv.conf");
    let host = std::fs::read_to_string("/etc/resolv.conf").expect("read");
    let seen = |tree: &fixture::Tree, options: &[&str]| {
        let spawn = Spawn::redd(REDD, tree.path()).arg("-P").args(options);
        spawn.args(["/bin/cat", "/etc/resolv.conf"]).run().output
    };
    for options in [&[][..], &["-x"], &["-U"], &["--read-only"], &["--read-only", "-U"], &["--volatile=state"]] {
        let tree = fixture::tree();
        tree.write("/etc/resolv.conf", "of before\n", 0o644);
        assert_eq!(seen(&tree, options), host, "{options:?}");
        assert_eq!(seen(&tree, &[options, &["--private-network"]].concat()), {
            std::fs::read_to_string(tree.join("/etc/resolv.conf")).expect("read")
        });
        let linked = fixture::tree();
        let _ = std::fs::remove_file(linked.join("/etc/resolv.conf"));
        std::os::unix::fs::symlink("/etc/other", linked.join("/etc/resolv.conf")).expect("link");
        linked.write("/etc/other", "its own\n", 0o644);
        // A copy leaves a link alone; where there can be none, the host's file covers what it leads to.
        let covered = options.iter().any(|option| matches!(*option, "--read-only" | "--volatile=state"));
        assert_eq!(seen(&linked, options), if covered { &*host } else { "its own\n" }, "{options:?}");
    }
}
