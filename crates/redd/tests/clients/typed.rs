//! Logins and shells by systemd's clients, as a person types them.

use testkit::Terminal;

use crate::host::{LIMIT, Replaced, Version};

const LEAVE: &str = "\x1d\x1d\x1d";

/// Waits for a shell's prompt, asks it who and where it is, and takes the answer.
#[track_caller]
fn ask(terminal: &mut Terminal, user: &str) {
    terminal.expect("# ", LIMIT);
    // What is typed comes back, too: what is waited for is not written in it.
    terminal.write_line("echo $(id -un) on $(tty) of $(stty size) e\"\"nd");
    terminal.expect(&format!("{user} on /dev/pts/"), LIMIT);
    terminal.expect("of 24 80 end", LIMIT);
}

#[track_caller]
fn leave(mut terminal: Terminal) {
    terminal.write(LEAVE);
    assert_eq!(terminal.wait(LIMIT).code(), Some(0), "{}", terminal.transcript());
    let said = terminal.transcript();
    assert!(said.contains("Press ^] three times within 1s to exit session."), "{said}");
    assert!(said.contains(" terminated."), "{said}");
}

/// Runs it to its end: what was written, and the code.
fn ended(on: &Replaced, command: &str) -> (String, Option<i32>) {
    let mut terminal = on.typed(command);
    let code = terminal.wait(LIMIT).code();
    (terminal.transcript().to_owned(), code)
}

pub(crate) fn sessions(on: &Replaced) {
    logins(on);
    shells(on);
    of_busybox(on);
    of_the_host(on);
    runs(on);
    by_ours(on);
    // Nothing of them is left.
    for place in ["", "-M deb"] {
        let units = "list-units --all --plain --no-legend 'container-shell@*' 'container-getty@*'";
        on.until(&format!("test -z \"$(systemctl {place} {units})\""));
    }
}

fn logins(on: &Replaced) {
    let mut terminal = on.typed("machinectl login deb");
    terminal.expect("login: ", LIMIT);
    terminal.write_line("root");
    ask(&mut terminal, "root");
    terminal.resize(100, 30);
    terminal.write_line("until [ \"$(stty size)\" = '30 100' ]; do sleep 0.1; done; echo resi\"\"zed");
    terminal.expect("resized", LIMIT);
    leave(terminal);
}

fn shells(on: &Replaced) {
    for name in ["deb", "root@deb"] {
        let mut terminal = on.typed(&format!("machinectl shell {name}"));
        ask(&mut terminal, "root");
        leave(terminal);
    }
    let mut terminal = on.typed("machinectl shell deb");
    ask(&mut terminal, "root");
    terminal.write_line("exit 3");
    // Theirs has no code for that.
    assert_eq!(terminal.wait(LIMIT).code(), Some(0));
    let who = "'echo as $(id -un) with $WORD in $(sed -n s/^0:://p /proc/self/cgroup)'";
    let (said, code) = ended(on, &format!("machinectl shell --setenv=WORD=x www-data@deb /bin/sh -c {who}"));
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("as www-data with x in /user.slice/user-33.slice/session-"), "{said}");
    // However soon it ends, and with whatever: it has run once, and what it wrote is seen.
    for code in [0, 7, 203] {
        let script = format!("echo ran >>/root/ran; echo se\"\"en; exit {code}");
        let (said, _) = ended(on, &format!("machinectl shell deb /bin/sh -c '{script}'"));
        assert!(said.contains("seen") || code == 203, "{code}: {said}");
    }
    on.says("systemd-run -M deb -q --wait --pipe sh -c 'wc -l </root/ran; rm /root/ran'", &["3"]);
    let (said, code) = ended(on, "machinectl shell nobody-here@deb");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("has no user nobody-here"), "{said}");
    let (said, code) = ended(on, "machinectl shell deb /bin/nosuch");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("cannot run /bin/nosuch"), "{said}");
    let (said, code) = ended(on, "machinectl shell nosuch");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("nosuch"), "{said}");
}

/// Where no systemd runs inside, upstream's systemd-machined opens none.
fn of_busybox(on: &Replaced) {
    let mut terminal = on.typed("machinectl shell box");
    terminal.expect("# ", LIMIT);
    terminal.write_line("echo $0 e\"\"nd");
    terminal.expect("sh end", LIMIT);
    leave(terminal);
    let (said, code) = ended(on, "machinectl shell box /bin/nosuch");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("/bin/nosuch"), "{said}");
    let mut terminal = on.typed("machinectl login box");
    terminal.expect("login: ", LIMIT);
    leave(terminal);
}

fn of_the_host(on: &Replaced) {
    on.says("echo of-the-host >/run/mark", &[]);
    let mut terminal = on.typed("machinectl shell .host");
    ask(&mut terminal, "root");
    terminal.write_line("cat /run/mark");
    terminal.expect("of-the-host", LIMIT);
    leave(terminal);
    let (said, code) = ended(on, "machinectl shell .host /bin/sh -c 'cat /run/mark /proc/self/cgroup'");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("of-the-host") && said.contains("0::/user.slice/user-0.slice/session-"), "{said}");
    let mut terminal = on.typed("machinectl login .host");
    terminal.expect("login: ", LIMIT);
    leave(terminal);
}

/// systemd-run takes a terminal of systemd-machined, and the service manager inside does the rest.
fn runs(on: &Replaced) {
    let mut terminal = on.typed("systemd-run -M deb -q -t sh -c 'echo rea\"\"dy; read word; echo got-$word; exit 5'");
    terminal.expect("ready", LIMIT);
    terminal.write_line("hello");
    terminal.expect("got-hello", LIMIT);
    assert_eq!(terminal.wait(LIMIT).code(), Some(5));
    let (said, code) = ended(on, "systemd-run -M deb --wait sh -c 'exit 6'");
    assert_eq!(code, Some(6), "{said}");
    assert!(said.contains("Finished with result:"), "{said}");
    // 252 does not let go of it, on its own systemd-machined neither.
    if on.version == Version::New {
        let mut terminal = on.typed("systemd-run -M deb -q -t sh -c 'echo rea\"\"dy; read word; exit 5'");
        terminal.expect("ready", LIMIT);
        terminal.write(LEAVE);
        assert_eq!(terminal.wait(LIMIT).code(), Some(0));
    }
    let (said, code) = ended(on, "systemd-run -M nosuch -t true");
    assert_eq!(code, Some(1), "{said}");
}

/// Our machinectl asks the same service managers.
fn by_ours(on: &Replaced) {
    let mut terminal = on.typed("/work/bin/machinectl shell deb");
    ask(&mut terminal, "root");
    terminal.write_line("exit 9");
    assert_eq!(terminal.wait(LIMIT).code(), Some(9));
    for name in ["deb", "box"] {
        let script = "'echo ran >>/root/ran; echo se\"\"en; exit 7'";
        let (said, code) = ended(on, &format!("/work/bin/machinectl shell {name} -E TERM=vt100 /bin/sh -c {script}"));
        assert!(code == Some(7) && said.contains("seen"), "{code:?} {said}");
        assert_eq!(on.run(&format!("cat /var/lib/machines/{name}/root/ran")).expect_code(0).output, "ran\n");
        let (said, code) = ended(on, &format!("/work/bin/machinectl shell {name} /bin/nosuch"));
        assert!(code == Some(127) && said.contains("/bin/nosuch"), "{code:?} {said}");
        let (said, code) = ended(on, &format!("/work/bin/machinectl shell nobody-here@{name}"));
        assert!(code == Some(1) && said.contains("has no user nobody-here"), "{code:?} {said}");
        let mut terminal = on.typed(&format!("/work/bin/machinectl login {name}"));
        terminal.expect("login: ", LIMIT);
        leave(terminal);
    }
}
