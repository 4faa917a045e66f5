use proptest::prelude::*;

use super::*;
use Distribution::{Debian, Ubuntu};

/// A root with these files.
fn host(files: &[(&str, &str)], environment: &[(&str, &str)]) -> HostConfiguration {
    let root = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    HostConfiguration::read_below(root.path(), Proxies::of(environment))
}

#[test]
fn a_host_without_apt() {
    let host = host(&[], &[]);
    assert_eq!(host, HostConfiguration::default());
    assert_eq!((host.mirror(Debian, "amd64"), host.proxy("http://a/b")), (None, None));
}

#[test]
fn mirrors_in_both_formats() {
    let list = "# deb http://commented.example/debian trixie main\n\
                deb [arch=amd64,i386 signed-by=/x.gpg] http://mirror.example/debian/ bookworm main contrib # comment\n\
                deb-src http://source.example/debian bookworm main\n";
    let one = host(&[("etc/apt/sources.list", list)], &[]);
    assert_eq!(one.mirror(Debian, "amd64"), Some("http://mirror.example/debian"));
    assert_eq!(one.mirror(Debian, "arm64"), None);
    assert_eq!(one.mirror(Ubuntu, "amd64"), None);

    let sources = "Types: deb deb-src\nURIs: http://deb.example/debian http://other.example/debian\n\
                   Suites: bookworm bookworm-updates\nComponents: main\n\n\
                   Types: deb\nURIs: https://off.example/ubuntu\nSuites: noble\nComponents: main\nEnabled: no\n\n\
                   Types: deb\nURIs: cdrom:[x]/ file:/srv/ubuntu https://on.example/ubuntu/\nSuites: noble\nComponents: main universe\n";
    let both =
        host(&[("etc/apt/sources.list.d/x.sources", sources), ("etc/apt/sources.list.d/y.list.save", list)], &[]);
    assert_eq!(both.mirror(Debian, "amd64"), Some("http://deb.example/debian"));
    assert_eq!(both.mirror(Ubuntu, "amd64"), Some("https://on.example/ubuntu"));
    assert_eq!(both.mirror(Ubuntu, "arm64"), None);
}

#[test]
fn third_parties_are_no_mirrors() {
    let list = "deb https://download.docker.example/linux/debian bookworm stable\n\
                deb https://packages.example/debian/12/prod bookworm main\n\
                deb https://apt.example stable main\n\
                deb http://security.debian.org/debian-security bookworm-security main\n\
                deb http://deb.debian.org/debian bookworm-backports main\n\
                deb http://archive.raspberry.example/debian bookworm main\n\
                deb http://deb.debian.org/debian bookworm main\n";
    let all = host(&[("etc/apt/sources.list", list), ("etc/os-release", "NAME=x\nID=debian\n")], &[]);
    assert_eq!(all.mirror(Debian, "amd64"), Some("http://deb.debian.org/debian"));
    let but_the_last: Vec<_> = list.lines().take(5).collect();
    let none = host(&[("etc/apt/sources.list", &but_the_last.join("\n")), ("etc/os-release", "ID=\"debian\"\n")], &[]);
    assert_eq!(none.mirror(Debian, "amd64"), None);
    let own = "Types: deb\nURIs: http://apt.corp.example/mirror\nSuites: trixie\nComponents: main\n\
               Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n";
    let signed = host(&[("etc/apt/sources.list.d/corp.sources", own)], &[]);
    assert_eq!(signed.mirror(Debian, "amd64"), Some("http://apt.corp.example/mirror"));
}

#[test]
fn ubuntu_has_two_archives() {
    let list = "deb http://archive.ubuntu.com/ubuntu noble main\ndeb http://ports.ubuntu.com/ubuntu-ports noble main\n";
    let both = host(&[("etc/apt/sources.list", list)], &[]);
    assert_eq!(both.mirror(Ubuntu, "amd64"), Some("http://archive.ubuntu.com/ubuntu"));
    assert_eq!(both.mirror(Ubuntu, "arm64"), Some("http://ports.ubuntu.com/ubuntu-ports"));
}

#[test]
fn proxies_of_apt() {
    let conf = "// a comment\n# another\n/* and a {long} one; */\nAPT { Get \"x\"; Nested { A \"b\"; }; };\n\
                Acquire::http::Proxy \"http://proxy.example:3142/\";\n\
                acquire { HTTP { Proxy { Direct.Example \"DIRECT\"; \"named.example\" \"http://other.example:1\"; }; }; };\n\
                Acquire::https { Proxy \"DIRECT\"; }\n";
    let proxies = host(
        &[("etc/apt/apt.conf.d/01proxy", conf)],
        &[("http_proxy", "http://env.example:1"), ("https_proxy", "env:2")],
    );
    assert_eq!(proxies.proxy("http://a.example/debian").as_deref(), Some("http://proxy.example:3142"));
    assert_eq!(proxies.proxy("http://direct.example:80/debian"), None);
    assert_eq!(proxies.proxy("http://me:secret@named.example/debian").as_deref(), Some("http://other.example:1"));
    assert_eq!(proxies.proxy("https://a.example/debian"), None);
    // apt.conf comes last; https goes by the proxy of http where it has none of its own.
    let later = host(
        &[
            ("etc/apt/apt.conf.d/01proxy.conf", conf),
            ("etc/apt/apt.conf", "Acquire::http::Proxy \"last:1\"; Acquire::https::Proxy \"\";"),
        ],
        &[],
    );
    assert_eq!(later.proxy("http://a.example/debian").as_deref(), Some("http://last:1"));
    let shared = host(&[("etc/apt/apt.conf", "Acquire::http::Proxy \"http://p:1\";")], &[]);
    assert_eq!(shared.proxy("https://a.example").as_deref(), Some("http://p:1"));
}

#[test]
fn proxies_of_the_environment() {
    let environment =
        [("http_proxy", "http://p:1"), ("HTTPS_PROXY", "s:2"), ("no_proxy", "localhost, .corp.example,10.0.0.1:80")];
    let proxies = host(&[], &environment);
    assert_eq!(proxies.proxy("http://a.example/debian").as_deref(), Some("http://p:1"));
    assert_eq!(proxies.proxy("https://a.example/debian").as_deref(), Some("http://s:2"));
    for url in
        ["http://localhost/x", "http://mirror.corp.example/x", "http://CORP.example", "http://10.0.0.1:80/x", "ftp", ""]
    {
        assert_eq!(proxies.proxy(url), None, "{url}");
    }
    assert!(proxies.proxy("http://notcorp.example/").is_some());
    assert_eq!(host(&[], &[("http_proxy", "p"), ("no_proxy", "*")]).proxy("http://a"), None);
}

proptest! {
    #[test]
    fn parsers_never_panic(text in "([A-Za-z:]{0,8}|[\"{};\\[\\]#/*= \n.,]|ä|deb |Types: deb\nURIs: http://a/\nSuites: ){0,40}") {
        let mut configuration = Configuration::default();
        configuration.read(&text);
        let mut entries = sources::read_list(&text);
        entries.extend(sources::read_deb822(&text));
        for entry in entries {
            entry.evidence(Debian, "amd64", None);
        }
        let host = HostConfiguration { environment: Proxies::of([("http_proxy".to_owned(), text.clone())]), ..Default::default() };
        let _ = (host.proxy(&text), host.proxy(&format!("http://{text}")));
    }
}
