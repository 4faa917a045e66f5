use super::*;
use crate::http::proxies::Proxies;

#[test]
fn a_server_that_is_never_there_is_not_asked_for_each_file() {
    let fixture = Fixture::new();
    let signature = fixture.sign(b"content");
    let names: Vec<String> = (0..10).map(|nr| format!("a{nr}-1-1-any.pkg.tar.zst")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b"content"[..])).collect();
    let whole = server(&files);
    // Nobody listens there.
    let dead = "http://127.0.0.1:1";
    let origin = origin(&[&format!("{dead}/core"), &whole.url]);
    let candidates: Vec<Candidate> = names
        .iter()
        .map(|name| Candidate { file_name: name.clone(), ..candidate(b"content", Some(signature.clone())) })
        .collect();
    let wanted: Vec<(&Candidate, &Repository)> = candidates.iter().map(|candidate| (candidate, &origin)).collect();
    let cache = PackageCache::of_host(&fixture.path()).unwrap();
    let web = Web::new(&fixture.keyring, now());
    let fetcher = Fetcher { parallel: 1, ..fixture.fetcher(&web) };
    assert_eq!(fetcher.packages(&wanted, &[cache]).unwrap().len(), names.len());
    let told = fixture.told();
    assert_eq!(told.matches("trying the next server").count(), 3, "{told}");
    assert_eq!(told.matches(&format!("'{dead}' has failed 3 times and is not asked any more")).count(), 1, "{told}");
    assert_eq!(told.lines().count(), 4, "{told}");
}

#[test]
fn the_last_server_is_asked_all_the_same() {
    let fixture = Fixture::new();
    let server = server(&[("core.db", b"database")]);
    let gone = "http://127.0.0.1:1";
    for _ in 0..5 {
        fixture.servers.failed(&server.url);
        fixture.servers.failed(gone);
    }
    assert!(fixture.databases(&[origin(&[gone, &server.url])]).is_ok());
    assert!(fixture.databases(&[origin(&[&server.url])]).is_ok());
    assert!(fixture.told().starts_with("'http://127.0.0.1:1' has failed 5 times"), "{}", fixture.told());
    assert_eq!(fixture.told().lines().count(), 1, "{}", fixture.told());
}

#[test]
fn what_is_refused_is_no_signature_where_there_need_be_none() {
    let fixture = Fixture::new();
    let refusing = |status| {
        Server::start(move |request: &Request| match request.target.ends_with(".sig") {
            true => Reply::status(status),
            false => Reply::ok("content"),
        })
    };
    let level = |words: &str| {
        let mut level = SigLevel::default();
        level.apply(words.split(' ')).unwrap();
        level
    };
    for status in [401, 403, 404, 410, 451] {
        let server = refusing(status);
        let optional = Repository { sig_level: level("Optional"), ..origin(&[&server.url]) };
        assert_eq!(fixture.databases(std::slice::from_ref(&optional)).unwrap()[0].as_ref().unwrap().signature, None);
        assert_eq!(fixture.package(&candidate(b"content", None), &optional).unwrap(), b"content");
        fs::remove_dir_all(fixture.path()).unwrap();
        let required = Repository { sig_level: level("Required"), ..optional };
        assert!(fixture.databases(std::slice::from_ref(&required)).is_err(), "{status}");
        assert!(fixture.package(&candidate(b"content", None), &required).is_err(), "{status}");
    }
    let broken = refusing(500);
    let optional = Repository { sig_level: level("Optional"), ..origin(&[&broken.url]) };
    assert!(chain(&fixture.databases(&[optional]).unwrap_err()).contains("500"));
}

#[test]
fn databases_that_are_not_to_be_fetched() {
    let fixture = Fixture::new();
    let server = server(&[("core.db", b"database")]);
    let usage = Usage { sync: false, ..Usage::ALL };
    let silent = Repository { name: "extra".to_owned(), usage, ..origin(&[&server.url]) };
    let databases = fixture.databases(&[silent, origin(&[&server.url])]).unwrap();
    assert_eq!(databases[0], None);
    assert_eq!(databases[1].as_ref().unwrap().content, b"database");
    assert!(server.requests().iter().all(|request| request.target.starts_with("/core")), "{:?}", server.requests());
}

#[test]
fn sizes_that_no_file_has() {
    let fixture = Fixture::new();
    let server = Server::start(|request: &Request| match request.target.contains("b-1") {
        true => Reply {
            status: 206,
            headers: vec![("Content-Range".into(), "bytes 7-8/9".into())],
            said_length: Some(usize::MAX),
            ..Reply::ok("")
        },
        false => Reply::ok("content"),
    });
    let origin = origin(&[&server.url]);
    let huge = Candidate { compressed_size: u64::MAX, ..candidate(b"content", None) };
    let other = Candidate { file_name: "b-1-1-any.pkg.tar.zst".to_owned(), ..huge.clone() };
    let cache = PackageCache::of_host(&fixture.path()).unwrap();
    fs::write(fixture.path().join("b-1-1-any.pkg.tar.zst.part"), "content").unwrap();
    let error = fixture.packages(&[(&huge, &origin), (&other, &origin)], &[cache]).unwrap_err();
    assert!(chain(&error).contains("are in the index"), "{}", chain(&error));
}

#[test]
fn a_proxy_that_is_none_is_told_of_once() {
    let fixture = Fixture::new();
    let proxies = Proxies::of([("http_proxy".to_owned(), "socks5://me:secret@proxy:1".to_owned())]);
    let fixture = Fixture { client: Client::with_proxies(proxies, Patience::default()), ..fixture };
    let error = fixture.databases(&[origin(&["http://a.example", "http://b.example"])]).unwrap_err();
    let text = chain(&error);
    assert!(text.contains("'socks5://proxy:1' is not a proxy") && !text.contains("secret"), "{text}");
    assert!(error.hint().unwrap().contains("http_proxy"), "{error:?}");
    assert_eq!(fixture.told(), "");
}
