use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::*;
use crate::http::Patience;
use crate::progress::Silent;
use crate::test_server::{Reply, Request, Server};

const IMPATIENT: Patience =
    Patience { stall: Some(Duration::from_millis(200)), attempts: 3, pause: Duration::from_millis(1) };

struct Fixture {
    directory: tempfile::TempDir,
    cache: Cache,
    server: Server,
    client: Client,
}

impl Fixture {
    fn new(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(directory.path()).unwrap();
        Self { directory, cache, server: Server::start(handler), client: Client::new(None, IMPATIENT).unwrap() }
    }

    fn file(&self, path: &str, content: &[u8]) -> File {
        File {
            name: path.to_owned(),
            urls: vec![format!("{}/{path}", self.server.url)],
            size: content.len() as u64,
            sha256: Sha256::of(content),
        }
    }

    fn fetch(&self, files: &[File]) -> Result<Vec<PathBuf>, Error> {
        let (client, cache) = (&self.client, &self.cache);
        Downloader { client, cache, progress: &Silent, phase: Phase::Download }.all(files)
    }

    fn partial_length(&self, content: &[u8]) -> u64 {
        let path = self.directory.path().join("partial").join(Sha256::of(content).to_string());
        path.metadata().map_or(0, |metadata| metadata.len())
    }
}

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|nr| (nr * 7 % 251) as u8).collect()
}

#[test]
fn many_files_over_few_connections() {
    let files: Vec<Vec<u8>> = (0..40).map(|nr| content(1000 * nr)).collect();
    let served = files.clone();
    let fixture =
        Fixture::new(move |request| Reply::ranged(request, &served[request.target[1..].parse::<usize>().unwrap()]));
    let wanted: Vec<File> = files.iter().enumerate().map(|(nr, file)| fixture.file(&nr.to_string(), file)).collect();
    let paths = fixture.fetch(&wanted).unwrap();
    for (path, file) in paths.iter().zip(&files) {
        assert_eq!(std::fs::read(path).unwrap(), *file);
    }
    assert!(fixture.server.connections() <= CONNECTIONS, "{}", fixture.server.connections());
    assert_eq!(fixture.server.requests().len(), 40);
    // A second time nothing is asked for.
    assert_eq!(fixture.fetch(&wanted).unwrap(), paths);
    assert_eq!(fixture.server.requests().len(), 40);
}

#[test]
fn goes_on_where_the_connection_broke() {
    let whole = content(500_000);
    let served = whole.clone();
    let fixture = Fixture::new(move |request| {
        let mut reply = Reply::ranged(request, &served);
        reply.cut = Some(150_000);
        reply
    });
    let paths = fixture.fetch(&[fixture.file("a", &whole)]).unwrap();
    assert_eq!(std::fs::read(&paths[0]).unwrap(), whole);
    let starts: Vec<_> = fixture.server.requests().iter().map(Request::range_start).collect();
    assert_eq!(starts, [None, Some(150_000), Some(300_000), Some(450_000)]);
}

#[test]
fn goes_on_where_an_earlier_run_stopped() {
    let whole = content(10_000);
    let served = whole.clone();
    let fixture = Fixture::new(move |request| Reply::ranged(request, &served));
    fixture.cache.begin(&Sha256::of(&whole)).unwrap().unwrap().write(&whole[..4000]).unwrap();
    fixture.fetch(&[fixture.file("a", &whole)]).unwrap();
    assert_eq!(fixture.server.requests()[0].range_start(), Some(4000));

    // What was left is something else, or too long: it is thrown away.
    for (nr, rubbish) in [vec![0; 5000], vec![0; 20_000], vec![0; 10_001]].into_iter().enumerate() {
        fixture.cache.forget(&Sha256::of(&whole)).unwrap();
        fixture.cache.begin(&Sha256::of(&whole)).unwrap().unwrap().write(&rubbish).unwrap();
        fixture.fetch(&[fixture.file("a", &whole)]).unwrap_or_else(|e| panic!("{nr}: {e}"));
    }
}

#[test]
fn a_server_that_cannot_begin_in_the_middle() {
    let whole = content(10_000);
    let served = whole.clone();
    let fixture = Fixture::new(move |_| Reply::ok(served.clone()));
    fixture.cache.begin(&Sha256::of(&whole)).unwrap().unwrap().write(&whole[..4000]).unwrap();
    let paths = fixture.fetch(&[fixture.file("a", &whole)]).unwrap();
    assert_eq!(std::fs::read(&paths[0]).unwrap(), whole);
}

#[test]
fn errors_that_pass() {
    let whole = content(10_000);
    let (served, count) = (whole.clone(), Arc::new(AtomicU64::new(0)));
    let fixture = Fixture::new(move |request| match count.fetch_add(1, Ordering::Relaxed) {
        0 => Reply::status(503),
        1 => Reply { cut: Some(0), ..Reply::ranged(request, &served) },
        _ => Reply::ranged(request, &served),
    });
    fixture.fetch(&[fixture.file("a", &whole)]).unwrap();
    assert_eq!(fixture.server.requests().len(), 3);
}

#[test]
fn truncated_for_ever() {
    let whole = content(10_000);
    let served = whole.clone();
    // Ranges are not understood, so nothing is gained by trying again.
    let fixture = Fixture::new(move |_| Reply { cut: Some(3000), ..Reply::ok(served.clone()) });
    let error = fixture.fetch(&[fixture.file("a", &whole)]).unwrap_err();
    assert!(matches!(error, Error::Http(http::Error::Truncated { .. })), "{error}");
    assert!(error.to_string().contains("/a'") && error.hint().is_some(), "{error}");

    // The same without a length: the end looks like a proper one.
    let served = whole.clone();
    let fixture = Fixture::new(move |_| Reply { cut: Some(3000), no_length: true, ..Reply::ok(served.clone()) });
    let error = fixture.fetch(&[fixture.file("a", &whole)]).unwrap_err();
    assert!(matches!(error, Error::Http(http::Error::Truncated { .. })), "{error}");
}

#[test]
fn stalls() {
    let whole = content(10_000);
    let served = whole.clone();
    let fixture = Fixture::new(move |_| Reply { stall: Some(3000), ..Reply::ok(served.clone()) });
    let began = Instant::now();
    let error = fixture.fetch(&[fixture.file("a", &whole)]).unwrap_err();
    assert!(matches!(error, Error::Http(http::Error::Stalled { .. })), "{error}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(fixture.server.requests().len(), 3);
}

#[test]
fn stalls_before_the_answer() {
    let fixture = Fixture::new(|_| {
        std::thread::sleep(Duration::from_millis(700));
        Reply::ok("late")
    });
    let error = fixture.fetch(&[fixture.file("a", b"late")]).unwrap_err();
    assert!(matches!(error, Error::Http(http::Error::Stalled { .. })), "{error}");
}

#[test]
fn without_a_limit_a_trickle_is_none() {
    let content = content(40);
    let served = content.clone();
    let fixture = Fixture::new(move |_| Reply { drip: Some(Duration::from_millis(20)), ..Reply::ok(served.clone()) });
    let client = Client::new(None, Patience { stall: None, attempts: 1, ..IMPATIENT }).unwrap();
    let fixture = Fixture { client, ..fixture };
    let paths = fixture.fetch(&[fixture.file("a", &content)]).unwrap();
    assert_eq!(std::fs::read(&paths[0]).unwrap(), content);
}

#[test]
fn a_trickle_is_a_stall() {
    let whole = content(1000);
    let served = whole.clone();
    let fixture = Fixture::new(move |_| Reply { drip: Some(Duration::from_millis(20)), ..Reply::ok(served.clone()) });
    let error = fixture.fetch(&[fixture.file("a", &whole)]).unwrap_err();
    assert!(matches!(error, Error::Http(http::Error::Stalled { .. })), "{error}");
}

#[test]
fn lies_about_sizes() {
    let whole = content(10_000);
    let served = whole.clone();
    let fixture = Fixture::new(move |request| match request.target.as_str() {
        "/longer" => Reply::ok(content(10_001)),
        "/shorter" => Reply::ok(content(9_999)),
        "/endless" => Reply { no_length: true, ..Reply::ok(content(1_000_000)) },
        _ => Reply { said_length: Some(20_000), ..Reply::ok(served.clone()) },
    });
    for path in ["longer", "shorter", "endless", "says-more"] {
        let error = fixture.fetch(&[fixture.file(path, &whole)]).unwrap_err();
        assert!(matches!(error, Error::Size { expected: 10_000, .. }), "{path}: {error}");
        assert!(error.to_string().contains(path) && error.hint().is_some(), "{error}");
        assert_eq!(fixture.partial_length(&whole), 0, "{path}");
    }
}

#[test]
fn a_wrong_hash() {
    let whole = content(10_000);
    let mut changed = whole.clone();
    changed[5000] ^= 1;
    let fixture = Fixture::new(move |_| Reply::ok(changed.clone()));
    let error = fixture.fetch(&[fixture.file("a", &whole)]).unwrap_err();
    assert!(matches!(error, Error::Hash { .. }), "{error}");
    assert_eq!(fixture.partial_length(&whole), 0);
    assert!(!fixture.cache.path(&Sha256::of(&whole)).exists());
    assert_eq!(fixture.server.requests().len(), 1, "it is not tried again");
}

#[test]
fn missing_files() {
    let fixture = Fixture::new(|request| match request.target.as_str() {
        "/plain" => Reply::ok("content"),
        _ => Reply::status(404),
    });
    let error = fixture.fetch(&[fixture.file("gone", b"content")]).unwrap_err();
    assert!(matches!(error, Error::Http(http::Error::Status { status: 404, .. })), "{error}");
    assert!(error.to_string().contains("/gone'"), "{error}");
    assert_eq!(fixture.server.requests().len(), 1, "it is not tried again");

    let mut file = fixture.file("by-hash", b"content");
    file.urls.push(format!("{}/plain", fixture.server.url));
    fixture.fetch(&[file]).unwrap();
}

#[test]
fn one_failure_ends_all() {
    let fixture = Fixture::new(|request| match request.target.as_str() {
        "/bad" => Reply::status(404),
        _ => Reply { drip: Some(Duration::from_millis(5)), ..Reply::ok(content(100_000)) },
    });
    let mut files: Vec<File> = (0..3).map(|nr| fixture.file(&nr.to_string(), &content(100_000))).collect();
    files[1].sha256 = Sha256([1; 32]);
    files[2].sha256 = Sha256([2; 32]);
    files.push(fixture.file("bad", &content(200_000)));
    let began = Instant::now();
    let error = fixture.fetch(&files).unwrap_err();
    assert!(matches!(error, Error::Http(http::Error::Status { status: 404, .. })), "{error}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn nobody_listens() {
    let fixture = Fixture::new(|_| Reply::status(500));
    let mut file = fixture.file("a", b"x");
    file.urls = vec!["http://127.0.0.1:1/a".to_owned()];
    let error = fixture.fetch(&[file.clone()]).unwrap_err();
    assert!(matches!(error, Error::Http(http::Error::Connection { .. })), "{error}");
    file.urls = vec!["ftp://127.0.0.1/a".to_owned()];
    assert!(matches!(fixture.fetch(&[file.clone()]).unwrap_err(), Error::Http(http::Error::Url { .. })));
    let error = fixture.fetch(&[fixture.file("a", b"x")]).unwrap_err();
    assert!(matches!(error, Error::Http(http::Error::Status { status: 500, .. })), "{error}");
    assert_eq!(fixture.server.requests().len(), 3, "tried three times");
}

#[test]
fn two_runs_at_once_fetch_it_once() {
    let whole = content(300_000);
    let served = whole.clone();
    let fixture = Fixture::new(move |request| {
        std::thread::sleep(Duration::from_millis(50));
        Reply::ranged(request, &served)
    });
    let file = fixture.file("a", &whole);
    std::thread::scope(|scope| {
        let runs: Vec<_> =
            (0..4).map(|_| scope.spawn(|| fixture.fetch(std::slice::from_ref(&file)).unwrap())).collect();
        for run in runs {
            assert_eq!(std::fs::read(&run.join().unwrap()[0]).unwrap(), whole);
        }
    });
    assert_eq!(fixture.server.requests().len(), 1);
}

#[test]
fn by_a_proxy_the_whole_address_is_asked_for() {
    let proxy = Server::start(|request| match request.target.as_str() {
        "http://no-such-host.example/dir/file" => Reply::ok("content"),
        "http://other.example/file" => Reply::redirect("http://no-such-host.example/dir/file"),
        _ => Reply::status(404),
    });
    let address = proxy.url.replace("http://", "http://me:secret@");
    let client = Client::new(Some(&address), IMPATIENT).unwrap();
    for url in
        ["http://no-such-host.example/dir/file", "http://other.example/file", "http://no-such-host.example/dir/file"]
    {
        assert_eq!(client.get_all(url, 100).unwrap(), b"content");
    }
    let requests = proxy.requests();
    assert_eq!(requests.len(), 4);
    for request in requests {
        assert_eq!(request.header("proxy-authorization"), Some("Basic bWU6c2VjcmV0"));
    }
}

#[test]
fn credentials_go_to_the_mirror_and_nowhere_else() {
    let server = Server::start(|request| match request.header("authorization") {
        Some("Basic bWU6c2VjcmV0") if request.target == "/a" => Reply::ok("content"),
        _ => Reply::status(401),
    });
    let url = server.url.replace("http://", "http://me:secret@");
    let client = Client::new(None, IMPATIENT).unwrap();
    assert_eq!(client.get_all(&format!("{url}/a"), 100).unwrap(), b"content");
    let error = client.get_all(&format!("{url}/b"), 100).unwrap_err();
    assert!(!error.to_string().contains("secret") && error.to_string().contains("401"), "{error}");
}

#[test]
fn small_things_have_a_limit() {
    let server = Server::start(|request| match request.target.as_str() {
        "/loop" => Reply::redirect("/loop"),
        _ => Reply { no_length: true, ..Reply::ok(content(1_000_000)) },
    });
    let client = Client::new(None, IMPATIENT).unwrap();
    let error = client.get_all(&format!("{}/a", server.url), 100_000).unwrap_err();
    assert!(matches!(error, http::Error::TooLarge { .. }), "{error}");
    let error = client.get_all(&format!("{}/loop", server.url), 100_000).unwrap_err();
    assert!(matches!(error, http::Error::Redirection { .. }), "{error}");
}
