use super::*;

/// A person who stops it as soon as something has come.
struct Impatient<'a>(&'a Interrupt);

impl Progress for Impatient<'_> {
    fn begin(&self, _phase: Phase, _items: u64, _bytes: u64) {}
    fn advance(&self, _phase: Phase, _bytes: u64) {
        self.0.trigger();
    }
    fn item(&self, _phase: Phase, _name: &str) {}
    fn end(&self, _phase: Phase) {}
    fn notice(&self, _text: &str) {}
}

#[test]
fn who_stops_it_is_heard_in_the_middle_of_a_file() {
    let fixture = Fixture::new();
    let content = vec![7; 1 << 20];
    let candidate = candidate(&content, Some(fixture.sign(&content)));
    fs::write(fixture.directory.path().join(NAME), &content).unwrap();
    let here = format!("file://{}", fixture.directory.path().display());
    let origin = origin(&[&here, &here]);
    let cache = PackageCache::of_host(&fixture.path()).unwrap();
    let web = Web::new(&fixture.keyring, now());
    let fetcher = Fetcher { progress: &Impatient(&fixture.interrupt), parallel: 1, ..fixture.fetcher(&web) };
    let error = fetcher.packages(&[(&candidate, &origin)], &[cache]).unwrap_err();
    assert!(matches!(error, Error::Interrupted), "{error:?}");
    let part = fs::metadata(fixture.path().join(format!("{NAME}.part"))).unwrap().len();
    assert!(part > 0 && part < 1 << 20, "{part}");
    // Which the next run goes on from.
    let again = Fixture { interrupt: Interrupt::default(), ..fixture };
    assert_eq!(again.package(&candidate, &origin).unwrap(), content);
}

/// A client that would wait for hours before it tries again.
fn patient(fixture: Fixture) -> Fixture {
    let patience = Patience { attempts: 2, pause: Duration::from_secs(10_000), ..*fixture.client.patience() };
    Fixture { client: Client::new(None, patience).unwrap(), ..fixture }
}

/// A server that is always overburdened, and whose first request lets somebody lose patience.
fn overburdened(interrupt: &Arc<Interrupt>) -> Server {
    let interrupt = Arc::clone(interrupt);
    Server::start(move |_| {
        interrupt.trigger();
        Reply::status(503)
    })
}

#[test]
fn nobody_waits_for_the_next_attempt_or_server_who_stops_it() {
    let fixture = patient(Fixture::new());
    let candidate = candidate(b"content", Some(fixture.sign(b"content")));
    let web = Web::new(&fixture.keyring, now());
    // The first time before it is tried again, the second time before the next server is.
    for database in [true, false] {
        let interrupt = Arc::default();
        let (busy, other) = (overburdened(&interrupt), server(&[("core.db", b"database"), (NAME, b"content")]));
        let origin = origin(&[&busy.url, &other.url]);
        let fetcher = Fetcher { interrupt: &interrupt, ..fixture.fetcher(&web) };
        let error = match database {
            true => fetcher.databases(std::slice::from_ref(&origin)).unwrap_err(),
            false => {
                let cache = PackageCache::of_host(&fixture.path()).unwrap();
                fetcher.packages(&[(&candidate, &origin)], &[cache]).unwrap_err()
            }
        };
        assert!(matches!(error, Error::Interrupted), "{error:?}");
        assert_eq!((busy.requests().len(), other.requests().len()), (1, 0));
    }
    assert!(!fixture.told().contains("next server"), "{}", fixture.told());
}

#[test]
fn a_failure_ends_the_waits_of_the_others_and_is_what_is_told() {
    let fixture = patient(Fixture::new());
    let waiting = Arc::new(Mutex::new(false));
    let seen = Arc::clone(&waiting);
    // One is to be tried again after hours, the other is not there.
    let server = Server::start(move |request: &Request| {
        if request.target == "/core.db" {
            *seen.lock().unwrap() = true;
            return Reply::status(503);
        }
        while !*waiting.lock().unwrap() {
            std::thread::sleep(Duration::from_millis(10));
        }
        Reply::status(404)
    });
    let extra = Repository { name: "extra".to_owned(), ..origin(&[&server.url]) };
    let error = fixture.databases(&[origin(&[&server.url]), extra]).unwrap_err();
    assert!(chain(&error).contains("cannot fetch 'extra.db'"), "{error:?}");
}

#[test]
fn who_waits_for_another_run_is_told_so_and_may_stop() {
    let fixture = Fixture::new();
    fs::create_dir(fixture.path()).unwrap();
    let other = fs::File::create(fixture.path().join(format!("{NAME}.part"))).unwrap();
    other.lock().unwrap();
    // What is wrong is left to the other one.
    let damaged = fixture.path().join(NAME);
    fs::write(&damaged, "damaged").unwrap();
    let candidate = candidate(b"content", Some(fixture.sign(b"content")));
    std::thread::scope(|scope| {
        let run = scope.spawn(|| fixture.package(&candidate, &origin(&["http://127.0.0.1:1"])));
        while !fixture.told().contains("another run fetches") {
            std::thread::sleep(Duration::from_millis(10));
        }
        fixture.interrupt.trigger();
        let error = run.join().unwrap().unwrap_err();
        assert!(matches!(error, Error::Interrupted), "{error:?}");
    });
    assert_eq!(fixture.told().lines().count(), 1, "{}", fixture.told());
    assert_eq!(fs::read(&damaged).unwrap(), b"damaged");
    // When the other one has come to its end, it is gone on with.
    let again = Fixture { interrupt: Interrupt::default(), told: Told::default(), ..fixture };
    let whole = server(&[(NAME, b"content")]);
    std::thread::scope(|scope| {
        let run = scope.spawn(|| again.package(&candidate, &origin(&[&whole.url])));
        while !again.told().contains("another run fetches") {
            std::thread::sleep(Duration::from_millis(10));
        }
        drop(other);
        assert_eq!(run.join().unwrap().unwrap(), b"content");
    });
}

#[test]
fn nobody_waits_for_a_server_that_says_nothing_who_stops_it() {
    let fixture = Fixture::new();
    let content = vec![7; 1 << 20];
    let candidate = candidate(&content, Some(fixture.sign(&content)));
    let patience = Patience { stall: None, ..*fixture.client.patience() };
    let fixture = Fixture { client: Client::new(None, patience).unwrap(), ..fixture };
    let web = Web::new(&fixture.keyring, now());
    // It falls silent in the midst of the head, or of the content; who stops it does so then.
    for (before, database) in [(None, true), (Some(10), true), (None, false), (Some(10), false)] {
        let (interrupt, body) = (Arc::new(Interrupt::default()), content.clone());
        let told = Arc::clone(&interrupt);
        let silent = Server::start(move |_| {
            told.trigger();
            while before.is_none() {
                std::thread::park();
            }
            Reply { stall: before, ..Reply::ok(body.clone()) }
        });
        let origin = origin(&[&silent.url]);
        let fetcher = Fetcher { interrupt: &interrupt, ..fixture.fetcher(&web) };
        let cache = PackageCache::of_host(&fixture.path()).unwrap();
        let error = match database {
            true => fetcher.databases(&[origin]).unwrap_err(),
            false => fetcher.packages(&[(&candidate, &origin)], &[cache]).unwrap_err(),
        };
        assert!(matches!(error, Error::Interrupted), "{error:?}");
    }
}
